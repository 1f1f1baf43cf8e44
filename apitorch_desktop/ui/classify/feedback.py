"""What the person says to an answer: right, wrong and what it is, or a message; and what comes of it."""

from __future__ import annotations

from msgspec import UNSET
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.types import Classification, Classifier, TrainingSet
from apitorch_desktop.ui.classify.answer_card import AnswerCard
from apitorch_desktop.ui.classify.panel import ClassifyPanel
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme

POLL = 400
"""Milliseconds between two looks at a classifier that learns."""
PATIENCE = 90
"""Looks until it is given up: a classifier of 600 photos learns in seconds, one of 8,000 in some ten."""


class FeedbackController(QObject):
    """Feedback on the cards of the classify panel."""

    trained = Signal(str, str)
    """A classifier (its slug) has trained since the correction to this label: time to ask it again."""

    def __init__(
        self, session: Session, editing: EditController, panel: ClassifyPanel, theme: Theme, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session = session
        self._editing = editing
        self._panel = panel
        self._theme = theme
        self._window = window

    def right(self, card: AnswerCard) -> None:
        """Confirm an answer: the photo joins the training images of its label."""
        if card.answer is not None:
            self._correct(card, card.answer, card.answer.label)

    def wrong(self, card: AnswerCard) -> None:
        """Ask for the right label, and send it."""
        from apitorch_desktop.ui.classify.feedback_dialog import FeedbackDialog

        answer = card.answer
        if answer is None:
            return
        own = self._set_of(card.slug)
        fixed = "" if own is not None else f"The labels of “{card.slug}” are fixed."
        labels = self._labels_for(answer, own)
        dialog = FeedbackDialog(
            self._theme, answer.label, labels, no_new_label=fixed if labels else "", parent=self._window
        )
        dialog.corrected.connect(lambda label: self._correct(card, answer, label))
        dialog.open()

    def _set_of(self, slug: str) -> TrainingSet | None:
        return next((one for one in self._session.training_sets if one.slug == slug), None)

    def _labels_for(self, answer: Classification, own: TrainingSet | None) -> list[str]:
        """The labels that could be right: the next best answers first, then the rest."""
        likely = [other.label for other in (answer.alternatives or ())]
        known = next((one for one in self._session.classifiers if one.slug == answer.classifier), None)
        listed = [
            *((known.labels or ()) if known is not None else ()),
            *((own.labels or ()) if own is not None else ()),
        ]
        open_set = self._session.open_set
        if open_set is not None and own is not None and open_set.training_set.id == own.id:
            listed += open_set.labels
        return list(dict.fromkeys([*likely, *listed]))

    def _correct(self, card: AnswerCard, answer: Classification, right: str) -> None:
        """Send the right label; once the classifier has trained, ask it again."""
        own = self._set_of(card.slug)
        ids = {one.label: one.label_id for one in (answer, *(answer.alternatives or ()))}
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
                self._watch(card.slug, answer, right)

        self._editing.do(
            "Sending the correction",
            lambda edits, workspace, _run: edits.correct(
                workspace, answer, right, training_set_id=set_id, label_id=label_id or None
            ),
            done=f"Confirmed “{right}”" if agreed else f"Corrected to “{right}”",
            then=done,
            failed=lambda _fault: card.show_note(""),
        )

    def _watch(self, slug: str, before: Classification, right: str) -> None:
        """Look at the classifier until a newer version than the one that answered is ready, then ask it again."""
        workspace = self._session.workspace
        card = self._panel.cards.get(slug)
        old = before.version if isinstance(before.version, int) else 0
        left = [PATIENCE]

        def look() -> None:
            if workspace is None or card is None:
                return
            self._session.tasks.run(
                Lane.INTERACTIVE,
                lambda _context: workspace.classifier(slug),
                done=looked,
                failed=tired,
                owner=card,
                title="Has it trained?",
            )

        def looked(found: Classifier) -> None:
            version = found.version if isinstance(found.version, int) else 0
            left[0] -= 1
            if card is None or card.answer is not before:  # another photo, or another answer
                return
            if version > old and found.status == "ready":
                self.trained.emit(slug, right)
            elif found.status == "failed" or left[0] <= 0:
                card.show_note(str(found.status_message or "It is still learning: try again in a moment."))
            else:
                QTimer.singleShot(POLL, card, look)

        def tired(_fault: Exception) -> bool:
            left[0] -= 1
            if left[0] > 0 and card is not None:
                QTimer.singleShot(POLL * 2, card, look)
            return True

        look()

    def write_message(self) -> None:
        """Write a free-form message to who runs the service, and send it."""
        from apitorch_desktop.ui.classify.feedback_dialog import MessageDialog

        session = self._session
        workspace = session.workspace
        if workspace is None or session.connection is None:
            return
        dialog = MessageDialog(self._theme, f"“{session.connection.name}”", self._window)
        dialog.sent.connect(
            lambda text: session.tasks.run(
                Lane.INTERACTIVE,
                lambda _context: workspace.send_message(text),
                done=lambda _answer: session.show_message("Your message was sent.", "muted", "message"),
                failed=lambda error: session.show_error(error, "Sending the message"),
                owner=session.connection_scope,
                title="Send the message",
            )
        )
        dialog.open()
