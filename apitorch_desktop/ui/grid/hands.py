"""The mouse in the grid: click, Ctrl and Shift, rubber band with scrolling at the edges, and the start of a drag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPersistentModelIndex, QPoint, QRect, Qt, QTimer
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication

from apitorch_desktop.ui.grid.interaction import CTRL, SHIFT
from apitorch_desktop.ui.grid.layout import Box

if TYPE_CHECKING:
    from apitorch_desktop.ui.grid.view import GridView

_TICK = 16
_EDGE = 28
"""Pixels from the edge within which a band or a drag scrolls."""


class GridMouse(QObject):
    """What a press may still become. Everything acts on the press, except what a drag of the selection must wait for."""

    def __init__(self, view: GridView) -> None:
        super().__init__(view)
        self._view = view
        self._pressed: QPoint | None = None
        self._on_release: tuple[QPersistentModelIndex, bool] | None = None
        self._origin: tuple[int, int] | None = None
        self._toggle = False
        self._pointer = QPoint()
        self._edge = QTimer(self, interval=_TICK)
        self._edge.timeout.connect(self._scroll_band)

    @property
    def busy(self) -> bool:
        """Whether a button is held down."""
        return self._pressed is not None

    def band(self) -> QRect | None:
        """The rubber band in the viewport."""
        if self._origin is None:
            return None
        view = self._view
        start = QPoint(self._origin[0], self._origin[1] - view.top())
        return QRect(start, self._pointer).normalized()

    def shifted(self, pixels: int) -> None:
        """Content moved under the band."""
        if self._origin is not None:
            self._origin = (self._origin[0], self._origin[1] + pixels)

    # --- events

    def press(self, event: QMouseEvent) -> None:
        """A button went down."""
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
        elif row in view.images.selection:  # a drag of all that is selected may follow
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
        """The pointer moved with the left button down."""
        point = event.position().toPoint()
        if self._pressed is None:
            return
        if not event.buttons() & Qt.MouseButton.LeftButton:  # the release went elsewhere
            self.end()
            return
        if self._origin is not None:
            self._pointer = point
            self._follow_band()
            if not self._edge.isActive() and edge_speed(point.y(), self._view.viewport().height()):
                self._edge.start()
        elif (point - self._pressed).manhattanLength() >= QApplication.startDragDistance():
            self.end()
            self._view.start_drag()

    def release(self, event: QMouseEvent) -> None:
        """A button came up."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._origin is not None:
            self._pointer = event.position().toPoint()
            self._follow_band()
        if self._on_release is not None:
            pressed, toggle = self._on_release
            if pressed.isValid() and toggle:
                self._view.toggle(pressed.row())
            elif pressed.isValid():
                self._view.choose(pressed.row())
        self.end()

    def end(self) -> None:
        """Nothing is held any more."""
        self._pressed = None
        self._on_release = None
        if self._origin is not None:
            self._origin = None
            self._edge.stop()
            self._view.images.selection.release()
            self._view.viewport().update()

    # --- the band

    def _follow_band(self) -> None:
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
            self._edge.stop()
            return
        bar = self._view.verticalScrollBar()
        bar.setValue(bar.value() + speed)
        self._follow_band()


def edge_speed(y: int, height: int) -> int:
    """Pixels a tick by which to scroll when the pointer is at a height: more, the nearer to or further over an edge."""
    if y < _EDGE:
        return -max(1, min(60, (_EDGE - y) // 2))
    if y > height - _EDGE:
        return max(1, min(60, (y - height + _EDGE) // 2))
    return 0
