"""What is selected and focused in the grid, by program and by key: as in a file manager."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent, QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QWidget

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.geometry import DEFAULT
from apitorch_desktop.ui.grid.layout import Step
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.surface import GridSurface
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.theme.theme import Theme

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier

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


class SelectionSummary(NamedTuple):
    """What is selected: images and their bytes (of those whose size is known), and how many are shown and there."""

    images: int
    bytes: int
    shown: int
    total: int


class GridInteraction(GridSurface):
    """Selection, focus and keys on top of the surface."""

    image_activated = Signal(object)
    """TrainingImage: Enter or double-click."""
    summary_changed = Signal(object)
    """Summary, at most once a turn of the event loop."""
    delete_wanted = Signal(list)
    """Ids."""
    label_key = Signal(str)
    """A digit or letter typed."""

    def __init__(self, model: GridModel, loader: ThumbnailLoader, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(model, loader, theme, parent)
        self._pivot = QPersistentModelIndex()
        self._said: SelectionSummary | None = None
        self._say = QTimer(self, interval=0, singleShot=True)
        self._say.timeout.connect(self._tell_summary)
        model.counts_changed.connect(self._say.start)

    # --- selection, for others

    def summary(self) -> SelectionSummary:
        """What is selected now."""
        model = self.images
        count = len(model.selection)
        return SelectionSummary(count, model.selected_bytes() if count else 0, model.shown, model.total)

    def selected_ids(self) -> list[str]:
        """Ids of what is selected, in the order shown."""
        return self.images.selected_ids()

    def select(self, image_ids: Iterable[str]) -> None:
        """Select these and nothing else."""
        wanted = set(image_ids)
        found = (row for row in range(self.images.shown) if self.images.image(row).image_id in wanted) if wanted else ()
        self.images.selection.only(range(row, row + 1) for row in found)
        self.selection_changed()

    def selectAll(self) -> None:
        """Ctrl+A."""
        self.images.selection.all()
        self.selection_changed()

    def invert_selection(self) -> None:
        """Ctrl+I."""
        self.images.selection.invert()
        self.selection_changed()

    def clearSelection(self) -> None:
        """Escape."""
        if self.images.selection:
            self.images.selection.clear()
            self.selection_changed()

    def select_label(self, label: str) -> None:
        """Select a whole group and nothing else."""
        for position, group in enumerate(self.images.groups):
            if group.label == label:
                self.choose_group(position)

    def reveal(self, image_id: str) -> bool:
        """Focus an image and scroll to it; False where it is not shown."""
        row = self.images.row_of(image_id)
        if row is None:
            return False
        self.set_current(row)
        self.set_pivot(row)
        self.scrollTo(self.images.index(row))
        return True

    def reveal_label(self, label: str) -> bool:
        """Scroll a group's header to the top; False where it is not shown."""
        for position, group in enumerate(self.images.groups):
            if group.label == label:
                self.verticalScrollBar().setValue(self.content.header(position).y)
                return True
        return False

    def focused_image(self) -> TrainingImage | None:
        """The image with the keyboard focus."""
        index = self.currentIndex()
        return self.images.image(index.row()) if index.isValid() else None

    def advance(self) -> None:
        """Select only the focused image: after a move that is the one that came up in the moved one's place."""
        if self.currentIndex().isValid():
            self.choose(self.currentIndex().row())
            self.scrollTo(self.currentIndex())

    # --- selection, by hand

    def choose(self, row: int) -> None:
        """Select one row and nothing else."""
        self.images.selection.only([range(row, row + 1)])
        self.set_pivot(row)
        self.set_current(row)
        self.selection_changed()

    def toggle(self, row: int) -> None:
        """Select a row too, or no more."""
        self.images.selection.toggle(row)
        self.set_pivot(row)
        self.set_current(row)
        self.selection_changed()

    def extend_to(self, row: int, *, add: bool = False) -> None:
        """Select from where the last selection began to a row; with `add` beside what is selected."""
        pivot = self._pivot.row() if self._pivot.isValid() else row
        run = range(min(pivot, row), max(pivot, row) + 1)
        if add:
            self.images.selection.set(run)
        else:
            self.images.selection.only([run])
        self.set_current(row)
        self.selection_changed()

    def choose_group(self, position: int, *, add: bool = False, extend: bool = False) -> None:
        """Select a group; with `add` too or no more; with `extend` from where the last selection began to its end."""
        rows, selection = self.content.rows_of(position), self.images.selection
        if not rows:
            return
        if extend and self._pivot.isValid():
            pivot = self._pivot.row()
            selection.only([range(min(pivot, rows.start), max(pivot + 1, rows.stop))])
        elif add:
            selection.set(rows, not selection.whole(rows))
        else:
            selection.only([rows])
        if not extend:
            self.set_pivot(rows.start)
        self.set_current(rows.start)
        self.selection_changed()

    def set_pivot(self, row: int) -> None:
        """Where Shift selects from."""
        self._pivot = QPersistentModelIndex(self.images.index(row))

    def selection_changed(self) -> None:
        """Show it and say it."""
        self.viewport().update()
        self._say.start()
        if QAccessible.isActive() and self.currentIndex().isValid():
            changed = QAccessibleEvent(self, QAccessible.Event.NameChanged)  # "selected" is part of the name
            changed.setChild(self.currentIndex().row())
            QAccessible.updateAccessibility(changed)

    def _tell_summary(self) -> None:
        summary = self.summary()
        if summary != self._said:
            self._said = summary
            self.summary_changed.emit(summary)

    # --- keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows and their kin move; Space, Enter, Delete, Escape, Ctrl+A, Ctrl+I act; zoom; the rest are label keys."""
        key, modifiers = event.key(), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        ctrl = bool(modifiers & CTRL)
        if key in _STEPS and self.images.shown:
            self._step(_STEPS[key], ctrl=ctrl, shift=bool(modifiers & SHIFT))
        elif not self._command(key, ctrl):
            text = event.text()
            plain = not modifiers & ~SHIFT
            if plain and len(text) == 1 and text.isalnum():
                self.label_key.emit(text)
            else:
                event.ignore()

    def _command(self, key: int, ctrl: bool) -> bool:
        """Do what a key stands for; False where it stands for nothing here."""
        image = self.focused_image()
        if ctrl and key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_steps(1)
        elif ctrl and key == Qt.Key.Key_Minus:
            self.zoom_steps(-1)
        elif ctrl and key == Qt.Key.Key_0:
            self.set_cell_size(DEFAULT)
        elif ctrl and key == Qt.Key.Key_A:
            self.selectAll()
        elif ctrl and key == Qt.Key.Key_I:
            self.invert_selection()
        elif key == Qt.Key.Key_Space and image is not None:
            self.toggle(self.currentIndex().row())
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not ctrl and image is not None:
            self.image_activated.emit(image)
        elif key == Qt.Key.Key_Delete and self.images.selection:
            self.delete_wanted.emit(self.selected_ids())
        elif key == Qt.Key.Key_Escape and self.images.selection:
            self.clearSelection()
        else:
            return False
        return True

    def _step(self, step: Step, *, ctrl: bool, shift: bool) -> None:
        if self.isRightToLeft():
            step = _MIRRORED.get(step, step)
        index = self.currentIndex()
        if index.isValid():
            row = self.content.step(index.row(), step, self.verticalScrollBar().pageStep())
        else:
            row = self.images.shown - 1 if step == "end" else 0
        if shift:
            self.extend_to(row, add=ctrl)
        elif ctrl:
            self.set_current(row)
        else:
            self.choose(row)
        self.scrollTo(self.images.index(row))

    def focusInEvent(self, event: QFocusEvent) -> None:
        """A photo in the window gets the focus line where none has it."""
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.viewport().update()

    def moveCursor(self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier) -> QModelIndex:
        """Asked when the grid gets the focus and no photo has it."""
        rows = self.content.rows_between(self.top(), self.top() + self.viewport().height())
        return self.images.index(rows.start) if rows else QModelIndex()
