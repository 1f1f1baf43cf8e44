"""Label picker: a popup over the photos that completes typed letters to a label, or offers a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QFrame, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ElidedLabel, surface

MAX_CHOICES = 6
"""Existing labels offered at a time."""
_ROW = 26
_CHOICE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A label offered: an existing or a new one."""

    label: str
    new: bool = False


def choices(typed: str, labels: Mapping[str, int]) -> list[LabelChoice]:
    """Return labels that start with the text, then those with a word that does, then those that contain it; then a new one."""
    from apitorch_desktop.api.slugs import snake_case

    wanted = snake_case(typed)
    if not wanted:
        return []

    def rank(name: str) -> int:
        return 0 if name.startswith(wanted) else 1 if f"_{wanted}" in name else 2

    found = sorted((name for name in labels if wanted in name), key=lambda name: (rank(name), name))
    existing = [LabelChoice(name) for name in found[:MAX_CHOICES]]
    return existing if wanted in labels else [*existing, LabelChoice(wanted, new=True)]


class _FilterField(QLineEdit):
    left = Signal()
    moved = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Handle Escape, and the keys that move in the list."""
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.moved.emit(-1 if event.key() == Qt.Key.Key_Up else 1)
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Close when the user clicks elsewhere."""
        super().focusOutEvent(event)
        if event.reason() in (Qt.FocusReason.MouseFocusReason, Qt.FocusReason.TabFocusReason):
            self.left.emit()


class LabelPicker(QFrame):
    """Covers the bottom of the photos while letters are typed."""

    chosen = Signal(object)
    """A `LabelChoice`."""
    left = Signal()
    """The picker was closed; the focus should return."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._labels: Mapping[str, int] = {}
        self._keys: Mapping[str, str] = {}
        self._place = QRect()
        """Left, bottom, width and maximum height of the picker."""
        surface(self, "card")
        self._title = ElidedLabel("", "small", "muted")
        self.line = _FilterField()
        self.line.setAccessibleName("Label")
        self.line.textChanged.connect(self._show)
        self.line.returnPressed.connect(self._take)
        self.line.moved.connect(self._move)
        self.line.left.connect(self.close_picker)
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setProperty("kind", "choices")
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setAccessibleName("Labels that fit")
        self.list.itemClicked.connect(self._take_item)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        column.addWidget(self._title)
        column.addWidget(self.line)
        column.addWidget(self.list)
        self.hide()

    def ask(self, title: str, typed: str, labels: Mapping[str, int], keys: Mapping[str, str], over: QWidget) -> None:
        """Open over the bottom of the widget `over`. `labels`: label → count; `keys`: label → key."""
        self._labels, self._keys = labels, keys
        self._title.setText(title)
        parent = self.parentWidget()
        assert parent is not None  # noqa: S101 - given by the constructor
        px = self._theme.px
        target = QRect(over.mapTo(parent, QPoint(0, 0)), over.size())
        width = min(px(320), target.width() - px(16))
        self._place = QRect(target.center().x() - width // 2, target.bottom() - px(8), width, target.height() - px(16))
        self.line.setText(typed)
        self._show()
        self.show()
        self.raise_()
        self.line.setFocus()

    def close_picker(self) -> None:
        """Close without a choice."""
        if self.isVisible():
            self.hide()
            self.left.emit()

    def _show(self) -> None:
        self.list.clear()
        for choice in choices(self.line.text(), self._labels):
            if choice.new:
                text = f"Make the label “{choice.label}”"
            else:
                key = self._keys.get(choice.label, "")
                text = f"{choice.label}   {self._labels[choice.label]:,}" + (f"   ({key})" if key else "")
            item = QListWidgetItem(text)
            item.setData(_CHOICE, choice)
            item.setSizeHint(QSize(0, self._theme.px(_ROW)))
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        self.list.setFixedHeight(max(1, self.list.count()) * self._theme.px(_ROW) + 4)
        height = min(self.sizeHint().height(), self._place.height())
        self.setGeometry(self._place.x(), self._place.y() - height, self._place.width(), height)

    def _move(self, step: int) -> None:
        count = self.list.count()
        if count:
            self.list.setCurrentRow((self.list.currentRow() + step) % count)

    def _take(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self._take_item(item)

    def _take_item(self, item: QListWidgetItem) -> None:
        choice = item.data(_CHOICE)
        self.hide()
        self.left.emit()
        self.chosen.emit(choice)
