"""Command palette: finds an action of the registry by a few letters, and runs it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.ui.actions import ActionEntry, ActionRegistry
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import Card, ElidedLabel, label

_MAX_ROWS = 10
_ROW = 30
_ID = Qt.ItemDataRole.UserRole


def rank(typed: str, text: str) -> int | None:
    """Return how well a text matches the letters typed, 0 for best; None if it does not."""
    wanted, text = typed.lower().strip(), text.lower()
    if text.startswith(wanted):
        return 0
    if all(any(word.startswith(part) for word in text.split()) for part in wanted.split()):
        return 1
    if wanted in text:
        return 2
    letters = iter(text)
    return 3 if all(letter in letters for letter in wanted.replace(" ", "")) else None


class CommandPalette(QDialog):
    """A search field over a list of actions; unavailable ones are listed with the reason."""

    def __init__(self, registry: ActionRegistry, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._registry = registry
        self._theme = theme
        self._entries = registry.entries()
        self.setWindowTitle("Find an action")
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.line = QLineEdit()
        self.line.setPlaceholderText("Find an action")
        self.line.setAccessibleName("Find an action")
        self.line.setClearButtonEnabled(True)
        self.line.textChanged.connect(self._show)
        self.line.returnPressed.connect(self._run_current)
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setProperty("kind", "choices")
        self.list.setAccessibleName("Actions")
        self.list.itemClicked.connect(self._run)
        card = Card(10, 6)
        card.rows.addWidget(self.line)
        card.rows.addWidget(self.list)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(card)
        px = theme.px
        width = min(px(560), parent.width() - px(24))
        self.list.setFixedHeight(_MAX_ROWS * px(_ROW))
        self.resize(width, self.sizeHint().height())
        self.move(parent.mapToGlobal(QPoint((parent.width() - width) // 2, px(60))))
        self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move in the list by Up and Down."""
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and (count := self.list.count()):
            step = -1 if event.key() == Qt.Key.Key_Up else 1
            self.list.setCurrentRow((self.list.currentRow() + step) % count)
        else:
            super().keyPressEvent(event)

    def _show(self) -> None:
        typed = self.line.text()
        ranked = [(found, entry) for entry in self._entries if (found := rank(typed, entry.text)) is not None]
        self.list.clear()
        for _, entry in sorted(ranked, key=lambda pair: (pair[0], bool(pair[1].reason))):
            item = QListWidgetItem()
            item.setData(_ID, entry.id)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, " ".join((entry.text, entry.keys, entry.reason)).strip())
            item.setSizeHint(QSize(0, self._theme.px(_ROW)))
            self.list.addItem(item)
            self.list.setItemWidget(item, self._row(entry))
        self.list.setCurrentRow(0)

    def _row(self, entry: ActionEntry) -> QWidget:
        row = QWidget()
        row.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        columns = QHBoxLayout(row)
        columns.setContentsMargins(8, 0, 8, 0)
        size = self._theme.px(16)
        icon = QLabel()
        icon.setFixedWidth(size)
        if entry.icon:
            icon.setPixmap(self._theme.icon(entry.icon, "muted").pixmap(QSize(size, size), self.devicePixelRatioF()))
        columns.addWidget(icon)
        columns.addWidget(ElidedLabel(entry.text, "base", "muted" if entry.reason else ""))
        columns.addStretch(1)
        columns.addWidget(ElidedLabel(entry.reason, "small", "muted"))
        columns.addWidget(label(entry.keys, "small", "muted"))
        return row

    def _run_current(self) -> None:
        if (item := self.list.currentItem()) is not None:
            self._run(item)

    def _run(self, item: QListWidgetItem) -> None:
        action_id, registry = str(item.data(_ID)), self._registry
        self.accept()
        QTimer.singleShot(0, registry, lambda: registry.trigger(action_id))  # once the focus is back in the window
