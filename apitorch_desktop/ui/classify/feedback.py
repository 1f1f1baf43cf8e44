"""Feedback on answers: sends a confirmation, a correction or a message, and reports when the classifier is trained."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET
from PySide6.QtCore import (
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSize,
    QSortFilterProxyModel,
    QStringListModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QListView,
    QPlainTextEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Classification, Classifier, Id, TrainingSet
from apitorch_desktop.dataset.workspace.training import TRAINING_DELAY, newest_version, wait_until_trained
from apitorch_desktop.ui.classify.answer_card import AnswerCard
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, in_column, in_row, label, lay_out_dialog, native_keys

_ROW = 28
"""Height of a row in pixels at 100 %."""


class _RowDelegate(QStyledItemDelegate):
    """Paints rows of one height: a `QListView` leaves that of the style sheet out of account."""

    def __init__(self, height: int, parent: QObject) -> None:
        super().__init__(parent)
        self._height = height

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(super().sizeHint(option, index).width(), self._height)


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
        self.list.setItemDelegate(_RowDelegate(theme.px(_ROW), self.list))
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
        question = label(f"It said “{answer}”. What is it?", "answer", wrap=True)
        lay_out_dialog(
            self, theme, (question, self.line, self.list, self.note), (self.cancel, self.send), grows=self.list
        )
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
        to = label(f"To {service}", "answer", wrap=True)
        buttons = in_row((label(f"{native_keys('Ctrl+Enter')} sends it.", "small", "muted"), 1), self.cancel, self.send)
        in_column(to, (self.text, 1), buttons, on=self, margins=theme.px(16), spacing=theme.px(8))
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


class FeedbackController(QObject):
    """Feedback on the answer cards of the classify panel."""

    trained = Signal(str, str)
    """(slug, label): the classifier has been trained since the correction to this label."""

    def __init__(self, session: Session, edits: EditController, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._edits = edits
        self._theme = theme
        self._window = window

    def confirm(self, card: AnswerCard) -> None:
        """Confirm an answer: the photo joins the training images of its label."""
        if card.answer is not None:
            self._send(card, card.answer, card.answer.label)

    def correct(self, card: AnswerCard) -> None:
        """Ask the user for the right label, and send it."""
        answer = card.answer
        if answer is None:
            return
        own = self._set_of(card.slug)
        fixed = "" if own is not None else f"The labels of “{card.slug}” are fixed."
        labels = self._labels_for(answer, own)
        dialog = FeedbackDialog(
            self._theme, answer.label, labels, no_new_label=fixed if labels else "", parent=self._window
        )
        dialog.corrected.connect(lambda label: self._send(card, answer, label))
        dialog.open()

    def _set_of(self, slug: str) -> TrainingSet | None:
        return next((found for found in self._session.training_sets if found.slug == slug), None)

    def _labels_for(self, answer: Classification, own: TrainingSet | None) -> list[str]:
        """Return the labels that could be right: the next best answers first, then the others."""
        likely = [other.label for other in (answer.alternatives or ())]
        known = next((found for found in self._session.classifiers if found.slug == answer.classifier), None)
        listed = [
            *((known.labels or ()) if known is not None else ()),
            *(own.classes if own is not None else ()),
        ]
        open_set = self._session.open_set
        if open_set is not None and own is not None and open_set.training_set.id == own.id:
            listed += open_set.labels
        return list(dict.fromkeys([*likely, *listed]))

    def _send(self, card: AnswerCard, answer: Classification, right: str) -> None:
        """Send the right label; `trained` is emitted once the classifier has been trained on it."""
        own = self._set_of(card.slug)
        ids = {found.label: found.label_id for found in (answer, *(answer.alternatives or ()))}
        open_set = self._session.open_set
        if open_set is not None and own is not None and open_set.training_set.id == own.id:
            ids[right] = open_set.label_id(right) or ids.get(right, UNSET)
        label_id = ids.get(right)
        set_id = own.id if own is not None else Id()
        agreed = right == answer.label
        card.show_note("Sending…", busy=True)

        def done(_outcome: object) -> None:
            if own is None:
                card.show_note("Thank you: the correction is kept for this classifier.")
                self._session.refresh_sets()
            elif self._session.unavailable_reason("training"):
                card.show_note("Sent. The service learns from it in its own time; try again later.")
            else:
                card.show_note("Learning from it…", busy=True)
                self._wait_until_trained(card, answer, right)

        self._edits.do(
            "Sending the correction",
            lambda edits, workspace, _run: edits.correct(
                workspace, answer, right, training_set_id=set_id, label_id=label_id or None
            ),
            done=f"Confirmed “{right}”" if agreed else f"Corrected to “{right}”",
            then=done,
            failed=lambda _error: card.show_note(""),
        )

    def _wait_until_trained(self, card: AnswerCard, answer: Classification, label: str) -> None:
        """Wait until a version newer than the one that answered is trained."""
        connected = self._session.connected
        if connected is None:
            return
        workspace, slug = connected.workspace, card.slug
        version = answer.version if isinstance(answer.version, int) else 0

        def done(state: Classifier | None) -> None:
            if card.answer is not answer:  # another photo, or another answer
                return
            if state is not None and newest_version(state) > version:
                self.trained.emit(slug, label)
            else:
                message = state.status_message if state is not None else ""
                card.show_note(str(message or "It is still learning: try again in a moment."))

        self._session.run(
            f"Waiting for “{slug}”",
            lambda context: wait_until_trained(workspace, slug, version, patience=TRAINING_DELAY, wait=context.wait),
            done,
            failed=lambda _error: card.show_note("It is still learning: try again in a moment."),
            lane=Lane.WATCH,
            owner=card,
        )

    def write_message(self) -> None:
        """Let the user write a free-form message to the operators of the service, and send it."""
        session = self._session
        if (connected := session.connected) is None:
            return
        dialog = MessageDialog(self._theme, f"“{connected.connection.name}”", self._window)
        dialog.sent.connect(
            lambda text: session.run(
                "Sending the message",
                lambda _context: connected.workspace.send_message(text),
                lambda _answer: session.show_message("Your message was sent.", "muted", "message"),
            )
        )
        dialog.open()
