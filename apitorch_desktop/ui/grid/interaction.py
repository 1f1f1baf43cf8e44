"""Input of the grid: mouse with rubber band, keyboard, and drops, each a collaborator of the view."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPoint, QRect, Qt, QTimer, SignalInstance
from PySide6.QtGui import QDragMoveEvent, QDropEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QScrollBar, QWidget

from apitorch_desktop.api.types import TrainingImage, label_name
from apitorch_desktop.ui.grid.layout import Box, GridLayout, Step
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.utils.text import plural

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
SMALLEST, LARGEST, DEFAULT = 64, 384, 120
"""Minimum cell sizes in pixels that can be chosen: cells are enlarged a little so that rows fill the width."""

_STEPS: dict[int, Step] = {
    Qt.Key.Key_Left: "left",
    Qt.Key.Key_Right: "right",
    Qt.Key.Key_Up: "up",
    Qt.Key.Key_Down: "down",
    Qt.Key.Key_Home: "start",
    Qt.Key.Key_End: "end",
    Qt.Key.Key_PageUp: "page_up",
    Qt.Key.Key_PageDown: "page_down",
}
_MIRRORED: dict[Step, Step] = {"left": "right", "right": "left"}
_TICK = 16
"""Milliseconds between two steps of scrolling at an edge."""
_EDGE = 28
"""Pixels from the edge within which a rubber band or a drag scrolls."""


class InteractiveGrid(Protocol):
    """The view, as its input needs it."""

    images: GridModel

    @property
    def left(self) -> SignalInstance: ...
    @property
    def label_key(self) -> SignalInstance: ...
    @property
    def content_dropped(self) -> SignalInstance: ...
    @property
    def images_dropped(self) -> SignalInstance: ...
    @property
    def drag_over(self) -> SignalInstance: ...
    @property
    def drop_refused(self) -> SignalInstance: ...
    @property
    def content(self) -> GridLayout: ...

    def viewport(self) -> QWidget: ...
    def verticalScrollBar(self) -> QScrollBar: ...
    def isRightToLeft(self) -> bool: ...
    def currentIndex(self) -> QModelIndex: ...
    def scrollTo(self, index: QModelIndex) -> None: ...
    def top(self) -> int: ...
    def row_under(self, point: QPoint) -> int | None: ...
    def header_under(self, point: QPoint) -> int | None: ...
    def group_under(self, point: QPoint) -> int | None: ...
    def set_current(self, row: int | None) -> None: ...
    def set_pivot(self, row: int) -> None: ...
    def choose(self, row: int) -> None: ...
    def toggle(self, row: int) -> None: ...
    def extend_to(self, row: int, *, add: bool = False) -> None: ...
    def choose_group(self, position: int, *, add: bool = False, extend: bool = False) -> None: ...
    def selection_changed(self) -> None: ...
    def clearSelection(self) -> None: ...
    def focused_image(self) -> TrainingImage | None: ...
    def start_drag(self) -> None: ...


class GridMouse(QObject):
    """Clicks, the rubber band, and the start of a drag.

    A press acts at once, except on a selected photo: a drag of the whole selection may follow.
    """

    def __init__(self, view: InteractiveGrid) -> None:
        super().__init__(view.viewport())
        self._view = view
        self._pressed: QPoint | None = None
        self._on_release: tuple[QPersistentModelIndex, bool] | None = None
        self._origin: tuple[int, int] | None = None
        self._toggle = False
        self._pointer = QPoint()
        self._edge_timer = QTimer(self, interval=_TICK)
        self._edge_timer.timeout.connect(self._scroll_band)

    @property
    def busy(self) -> bool:
        """True while a button is held down."""
        return self._pressed is not None

    def band(self) -> QRect | None:
        """Return the rubber band in the viewport."""
        if self._origin is None:
            return None
        start = QPoint(self._origin[0], self._origin[1] - self._view.top())
        return QRect(start, self._pointer).normalized()

    # --- events

    def press(self, event: QMouseEvent) -> None:
        """Handle the press of a button."""
        view, point = self._view, event.position().toPoint()
        row, group = view.row_under(point), view.header_under(point)
        if event.button() == Qt.MouseButton.RightButton:
            if row is not None and row not in view.images.selection:
                view.choose(row)
            elif row is not None:
                view.set_current(row)
            return
        if event.button() != Qt.MouseButton.LeftButton:
            return
        self._pressed, self._pointer = point, point
        if row is not None:
            self._press_cell(row, event.modifiers())
        elif group is not None:
            self._pressed = None
            view.choose_group(group, add=bool(event.modifiers() & CTRL), extend=bool(event.modifiers() & SHIFT))
        else:
            self._start_band(event.modifiers())

    def _press_cell(self, row: int, modifiers: Qt.KeyboardModifier) -> None:
        view = self._view
        if modifiers & SHIFT:
            view.extend_to(row, add=bool(modifiers & CTRL))
        elif row in view.images.selection:
            self._on_release = (QPersistentModelIndex(view.images.index(row)), bool(modifiers & CTRL))
            view.set_current(row)
            if not modifiers & CTRL:
                view.set_pivot(row)
        elif modifiers & CTRL:
            view.toggle(row)
        else:
            view.choose(row)

    def _start_band(self, modifiers: Qt.KeyboardModifier) -> None:
        view = self._view
        if not modifiers & (CTRL | SHIFT):
            view.clearSelection()
        self._toggle = bool(modifiers & CTRL)
        view.images.selection.hold()
        self._origin = (self._pointer.x(), self._pointer.y() + view.top())

    def move(self, event: QMouseEvent) -> None:
        """Handle a move of the pointer."""
        point = event.position().toPoint()
        if self._pressed is None:
            return
        if not event.buttons() & Qt.MouseButton.LeftButton:  # the release went to another window
            self.end()
            return
        if self._origin is not None:
            self._pointer = point
            self._update_band()
            if not self._edge_timer.isActive() and edge_speed(point.y(), self._view.viewport().height()):
                self._edge_timer.start()
        elif (point - self._pressed).manhattanLength() >= QApplication.startDragDistance():
            self.end()
            self._view.start_drag()

    def release(self, event: QMouseEvent) -> None:
        """Handle the release of a button."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._origin is not None:
            self._pointer = event.position().toPoint()
            self._update_band()
        if self._on_release is not None:
            pressed, toggle = self._on_release
            if pressed.isValid() and toggle:
                self._view.toggle(pressed.row())
            elif pressed.isValid():
                self._view.choose(pressed.row())
        self.end()

    def end(self) -> None:
        """Forget the press, and end the rubber band."""
        self._pressed = None
        self._on_release = None
        if self._origin is not None:
            self._origin = None
            self._edge_timer.stop()
            self._view.images.selection.release()
            self._view.viewport().update()

    # --- the rubber band

    def _update_band(self) -> None:
        view, band = self._view, self.band()
        if band is None:
            return
        left = view.viewport().width() - band.right() - 1 if view.isRightToLeft() else band.left()
        box = Box(left, band.top() + view.top(), max(1, band.width()), max(1, band.height()))
        view.images.selection.band(view.content.runs_in(box), toggle=self._toggle)
        row = view.row_under(self._pointer)
        if row is not None:
            view.set_current(row)
            view.set_pivot(row)
        view.selection_changed()

    def _scroll_band(self) -> None:
        speed = edge_speed(self._pointer.y(), self._view.viewport().height())
        if not speed or self._origin is None:
            self._edge_timer.stop()
            return
        bar = self._view.verticalScrollBar()
        bar.setValue(bar.value() + speed)
        self._update_band()


class GridKeys:
    """Keyboard: arrows and paging move the focus, Space and Escape select; other characters are label keys."""

    def __init__(self, view: InteractiveGrid) -> None:
        self._view = view

    def press(self, event: QKeyEvent) -> None:
        """Handle the press of a key; unknown ones are ignored."""
        view, key = self._view, event.key()
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        ctrl = bool(modifiers & CTRL)
        if key in _STEPS and view.images.shown:
            self._step(_STEPS[key], ctrl=ctrl, shift=bool(modifiers & SHIFT))
        elif not self._command(key):
            text = event.text()
            if not modifiers & ~SHIFT and len(text) == 1 and text.isalnum():
                view.label_key.emit(text)
            else:
                if key == Qt.Key.Key_Escape:
                    view.left.emit()
                event.ignore()

    def _command(self, key: int) -> bool:
        """Run the command of a key. Return False for a key without one."""
        view = self._view
        if key == Qt.Key.Key_Space and view.focused_image() is not None:
            view.toggle(view.currentIndex().row())
        elif key == Qt.Key.Key_Escape and view.images.selection:
            view.clearSelection()
        else:
            return False
        return True

    def _step(self, step: Step, *, ctrl: bool, shift: bool) -> None:
        view = self._view
        if view.isRightToLeft():
            step = _MIRRORED.get(step, step)
        index = view.currentIndex()
        if index.isValid():
            row = view.content.step(index.row(), step, view.verticalScrollBar().pageStep())
        else:
            row = view.images.shown - 1 if step == "end" else 0
        if shift:
            view.extend_to(row, add=ctrl)
        elif ctrl:
            view.set_current(row)
        else:
            view.choose(row)
        view.scrollTo(view.images.index(row))


class GridDrops(QObject):
    """Drops on the grid, of photos from within and of content from other programs; scrolls at the edges during a drag."""

    def __init__(self, view: InteractiveGrid) -> None:
        super().__init__(view.viewport())
        self._view = view
        self.target: tuple[int, str] | None = None
        """(group under the pointer, effect of a drop in words)"""
        self.dragged_labels: set[str] = set()
        """Labels of the photos that are dragged out of this grid."""
        self._speed = 0
        self._edge_timer = QTimer(self, interval=_TICK)
        self._edge_timer.timeout.connect(self._scroll)

    def move(self, event: QDragMoveEvent) -> None:
        """Mark the group under the pointer and report the effect of a drop."""
        point = event.position().toPoint()
        self._speed = edge_speed(point.y(), self._view.viewport().height())
        if self._speed and not self._edge_timer.isActive():
            self._edge_timer.start()
        internal = event.mimeData().hasFormat(drag_drop.IDS_TYPE)
        if drag_drop.accepts(event.mimeData()) and self._aim(point, internal, drag_drop.holds_folder(event.mimeData())):
            event.acceptProposedAction()
        else:
            event.ignore()

    def leave(self) -> None:
        """Remove the mark."""
        self._edge_timer.stop()
        self._set_target(None, "")

    def drop(self, event: QDropEvent) -> None:
        """Report the dropped content with the label it was dropped on."""
        view, label = self._view, self._label(self._view.group_under(event.position().toPoint()))
        content = drag_drop.read(event.mimeData())
        self.leave()
        event.acceptProposedAction()
        if not content:
            view.drop_refused.emit(
                "There is no photo in what was dropped, and no address of one: drop photos, files or folders."
            )
        elif not content.image_ids:
            view.content_dropped.emit(content, label)
        elif label is not None:
            view.images_dropped.emit(list(content.image_ids), label)

    def _label(self, group: int | None) -> str | None:
        return self._view.images.group_label(group)

    def _aim(self, point: QPoint, internal: bool, folder: bool) -> bool:
        """Mark the target of a drop. Return False if a drop would have no effect."""
        group = self._view.group_under(point)
        label = self._label(group)
        if folder:
            words = "Import the folder into this set: a plan comes first"
        elif not internal:
            words = f"Add to “{label_name(label)}”" if label else "Add to this set"
        elif label is None or self.dragged_labels == {label}:
            words = ""
        else:
            words = f"Move {plural(len(self._view.images.selection), 'photo')} to “{label_name(label)}”"
        self._set_target((group, words) if group is not None and words else None, words)
        return bool(words)

    def _set_target(self, target: tuple[int, str] | None, words: str) -> None:
        if target != self.target:
            self.target = target
            self._view.viewport().update()
        self._view.drag_over.emit(words)

    def _scroll(self) -> None:
        bar = self._view.verticalScrollBar()
        bar.setValue(bar.value() + self._speed)
        if not self._speed:
            self._edge_timer.stop()


def edge_speed(y: int, height: int) -> int:
    """Return by how many pixels a tick scrolls with the pointer at `y`: more, the nearer to or further over an edge."""
    if y < _EDGE:
        return -max(1, min(60, (_EDGE - y) // 2))
    if y > height - _EDGE:
        return max(1, min(60, (y - height + _EDGE) // 2))
    return 0
