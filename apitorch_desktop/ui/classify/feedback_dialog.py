"""Dialogs for feedback to a service: the right label of a wrong answer, and a free-form message."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QSortFilterProxyModel, QStringListModel, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QListView, QPlainTextEdit, QVBoxLayout, QWidget

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, label


class FeedbackDialog(QDialog):
    """Chooses the right label by typing, or creates a new one; Enter takes the first.

    `labels` are in the order in which they are offered. `no_new_label` is the reason why no label can be created here,
    or "".
    """

    corrected = Signal(str)
    """The right label, in snake_case."""

    def __init__(
        self,
        theme: Theme,
        answer: str,
        labels: Sequence[str],
        *,
        no_new_label: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._no_new_label = no_new_label
        self._known = set(labels)
        self.setWindowTitle("Correct the answer")
        self.line = QLineEdit(placeholderText="Type to find a label" + ("" if no_new_label else ", or a new one"))
        self.line.setAccessibleName("The right label")
        self.line.installEventFilter(self)
        self._found = QSortFilterProxyModel(self)
        self._found.setSourceModel(QStringListModel([name for name in labels if name != answer], self))
        self._found.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.list = QListView(uniformItemSizes=True)
        self.list.setModel(self._found)
        self.list.setAccessibleName("Labels")
        self.list.setProperty("kind", "table")
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.activated.connect(self._send)
        self.list.selectionModel().currentChanged.connect(lambda *_: self._update_controls())
        self.note = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.send = button("Correct", "primary", self._send)
        self.send.setDefault(True)
        self.line.textChanged.connect(self._search)
        self._lay_out(theme, answer)
        self._search("")

    def _lay_out(self, theme: Theme, answer: str) -> None:
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[theme.px(16)] * 4)
        rows.setSpacing(theme.px(8))
        rows.addWidget(label(f"It said “{answer}”. What is it?", "answer", wrap=True))
        rows.addWidget(self.line)
        rows.addWidget(self.list, 1)
        rows.addWidget(self.note)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.send)
        rows.addLayout(buttons)
        self.resize(theme.px(380), theme.px(440))
        self.line.setFocus()

    def chosen(self) -> str:
        """Return the label that would be sent, "" while there is none."""
        current = self.list.currentIndex()
        if current.isValid():
            return str(current.data())
        typed = snake_case(self.line.text())
        return "" if self._no_new_label and typed not in self._known else typed

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let Up and Down move in the list while the line keeps the focus."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None and self._found.rowCount():
                row = min(max(0, self.list.currentIndex().row() + step), self._found.rowCount() - 1)
                self.list.setCurrentIndex(self._found.index(row, 0))
                return True
        return super().eventFilter(watched, event)

    def _search(self, text: str) -> None:
        label = snake_case(text) or text.strip()
        self._found.setFilterFixedString(label)
        exact = next((row for row in range(self._found.rowCount()) if self._found.index(row, 0).data() == label), None)
        row = exact if exact is not None else 0
        # A text inside labels, not at their start, may mean a new label: then no row is preselected
        is_prefix = self._found.rowCount() and str(self._found.index(row, 0).data()).startswith(label)
        self.list.setCurrentIndex(self._found.index(row, 0) if text and is_prefix else self._found.index(-1, -1))
        self._update_controls()

    def _update_controls(self) -> None:
        chosen = self.chosen()
        new = bool(chosen) and chosen not in self._known
        if not chosen and self._no_new_label and self.line.text().strip():
            self.note.setText(self._no_new_label)
        elif new:
            self.note.setText(f"Makes the new label “{chosen}”.")
        else:
            self.note.setText("The photo is added to that label, and the classifier learns from it.")
        self.send.setEnabled(bool(chosen))
        self.send.setToolTip("" if chosen else "Choose a label first")
        self.send.setText(f"Correct to “{chosen}”" if chosen else "Correct")

    def _send(self) -> None:
        if chosen := self.chosen():
            self.accept()
            self.corrected.emit(chosen)


class MessageDialog(QDialog):
    """A free-form message to the operators of the service."""

    sent = Signal(str)
    """The message."""

    def __init__(self, theme: Theme, service: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Send a message")
        self.text = QPlainTextEdit(placeholderText="What should they know?")
        self.text.setAccessibleName("Message")
        self.text.setTabChangesFocus(True)
        self.text.textChanged.connect(self._update_controls)
        self.cancel = button("Cancel", "", self.reject)
        self.send = button("Send", "primary", self._send)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[theme.px(16)] * 4)
        rows.setSpacing(theme.px(8))
        rows.addWidget(label(f"To {service}", "answer", wrap=True))
        rows.addWidget(self.text, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(label("Ctrl+Enter sends it.", "small", "muted"), 1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.send)
        rows.addLayout(buttons)
        self.resize(theme.px(420), theme.px(260))
        self._update_controls()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Ctrl+Enter sends."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._send()
            return
        super().keyPressEvent(event)

    def _update_controls(self) -> None:
        self.send.setEnabled(bool(self.text.toPlainText().strip()))

    def _send(self) -> None:
        if message := self.text.toPlainText().strip():
            self.accept()
            self.sent.emit(message)
