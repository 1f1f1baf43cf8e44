"""Feedback on answers: sends a confirmation, a correction or a message, and reports when the classifier is trained."""

from __future__ import annotations

from msgspec import UNSET
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.types import Classification, Classifier, TrainingSet
from apitorch_desktop.dataset.workspace.training import TRAINING_DELAY, wait_until_trained
from apitorch_desktop.ui.classify.answer_card import AnswerCard
from apitorch_desktop.ui.classify.feedback_dialog import FeedbackDialog, MessageDialog
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme


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
            *((own.labels or ()) if own is not None else ()),
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
        set_id = own.id if own is not None else ""
        agreed = right == answer.label
        card.show_note("Sending…", busy=True)

        def done(_outcome: object) -> None:
            if own is None:
                card.show_note("Thank you: it is kept for this classifier.")
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
            if state is not None and isinstance(state.version, int) and state.version > version:
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
