"""Card with one classifier's answer: label, confidence, the next best labels, and controls for feedback."""

from __future__ import annotations

from msgspec import UNSET
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QMenu, QWidget

from apitorch_desktop.api.types import NONE_OF_THESE, Classification
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    Card,
    ElidedLabel,
    MenuButton,
    ProgressBar,
    Tone,
    button,
    enable_unless,
    in_row,
    label,
    set_property,
)
from apitorch_desktop.ui.widgets.thumbnail_row import ThumbnailRow

ALTERNATIVES = 2
"""Number of alternatives shown."""


def probability(value: object) -> float | None:
    """Return a decimal in a string as a number from 0 to 1, None where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


class AnswerCard(Card):
    """Shows a classifier at work, its answer, or its failure with advice; emits what the user requests."""

    confirmed = Signal()
    correction_requested = Signal()
    retry_requested = Signal()
    evidence_requested = Signal()
    """Show, or hide, where in the photo the evidence for the answer lies."""
    add_menu_opening = Signal(object)
    """The `QMenu` of *Add to set* is about to open and has to be filled."""

    def __init__(self, theme: Theme, slug: str, name: str = "") -> None:
        super().__init__()
        self.slug = slug
        self.name = name or slug
        """The classifier's name as its owner gave it."""
        self.answer: Classification | None = None
        self.waiting = False
        """True while the classifier has to be trained before it can answer."""
        self._theme = theme
        self.classifier = ElidedLabel(self.name, "small", "muted")
        self.classifier.setToolTip(f"Classifier {slug}")
        self.title = ElidedLabel("", "answer")
        self.confidence = label("", "small", "muted")
        self.value = label("", "small", "muted")
        self.bar = ProgressBar(None)
        self.sentence = label("", "small", "muted", wrap=True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.note = label("", "small", "accent", wrap=True)
        self.others = QWidget()
        self._rest = QGridLayout(self.others)
        self._rest.setContentsMargins(0, 0, 0, 0)
        self._rest.setColumnStretch(1, 1)
        self.nearest = ThumbnailRow(theme, "Nearest")
        """The training photos nearest to the photo, which explain the answer."""
        self.why = button("Explain the answer", "link", lambda: self.evidence_requested.emit())
        self.why.hide()
        self.right = button("Right", "", self.confirmed.emit)
        self.right.setIcon(theme.icon("check"))
        self.wrong = button("Wrong…", "", self.correction_requested.emit)
        self.again = button("Try again", "", self.retry_requested.emit)
        self.add = MenuButton(theme, "Add to set")
        menu = QMenu(self.add)
        menu.aboutToShow.connect(lambda: self.add_menu_opening.emit(menu))
        self.add.setMenu(menu)
        self.controls = QWidget()
        self._lay_out()
        self.show_working()

    def _lay_out(self) -> None:
        top = in_row(self.title, (self.confidence, Qt.AlignmentFlag.AlignBottom), 1, self.value, spacing=8)
        in_row(self.right, self.wrong, self.again, 1, self.add, on=self.controls, margins=(0, 4, 0, 0), spacing=8)
        self.rows.addWidget(self.classifier)
        self.rows.addLayout(top)
        # what comes later than the answer stands below the buttons, which it would move away under the pointer
        for part in (self.bar, self.others, self.sentence, self.note, self.controls, self.nearest):
            self.rows.addWidget(part)
        self.rows.addWidget(self.why, 0, Qt.AlignmentFlag.AlignLeading)

    def show_working(self, waiting: str = "") -> None:
        """Show that the classifier works, or, with `waiting`, what it has to wait for."""
        self.answer = None
        self._show("", sentence=waiting)
        self.waiting = bool(waiting)
        self.bar.show()
        self.bar.set_share(None)
        self.setAccessibleName(f"{self.name}: working")

    def show_answer(self, answer: Classification, note: str = "") -> None:
        """Show an answer; `note` reports what has happened since ("Learned from it.")."""
        self.answer = answer
        value = probability(answer.confidence_value)
        plain = answer.confidence is UNSET and value is None
        unknown = answer.none_of_these is True
        title, text = answer.label, self._text(answer)
        if unknown:
            title, text = "None of these", "" if answer.label == NONE_OF_THESE else f"Nearest: {answer.label}."
        self._show(title, sentence=text, note=note, tone="muted" if unknown else "")
        self.confidence.setText("" if answer.confidence is UNSET else str(answer.confidence))
        self.value.setText("" if value is None else f"{value:.2f}")
        for part in (self.confidence, self.value):
            part.show()
        self.bar.setVisible(value is not None)
        self.bar.set_share(value or 0)
        self._show_others(answer)
        self.controls.show()
        self.again.hide()
        for control in (self.right, self.wrong, self.add):
            control.show()
        self.right.setVisible(not unknown)  # a label that is right is chosen by Wrong…
        sure = "" if plain else f", {self.confidence.text()} {self.value.text()}".rstrip()
        self.setAccessibleName(f"{self.name}: {answer.label_text}{sure}. {self.sentence.text()}")

    def offer_evidence(self, *, shown: bool) -> None:
        """Offer to show where the evidence lies, or to hide it."""
        self.why.setText("Hide the explanation" if shown else "Explain the answer")
        self.why.show()

    def show_failure(self, text: str) -> None:
        """Show why there is no answer, and what to do."""
        self.answer = None
        self._show("", sentence=text)
        set_property(self.sentence, "tone", "bad")
        self.bar.hide()
        self.controls.show()
        self.again.show()
        for control in (self.right, self.wrong, self.add):
            control.hide()
        self.setAccessibleName(f"{self.name}: {text}")

    def show_note(self, text: str, *, busy: bool = False) -> None:
        """Show what became of the feedback; `busy` disables further feedback."""
        self.note.setText(text)
        self.note.setVisible(bool(text))
        for control in (self.right, self.wrong):
            control.setEnabled(not busy)

    def offer_feedback(self, reason: str) -> None:
        """Disable *Right* and *Wrong…* with a reason, or enable them with ""."""
        for control in (self.right, self.wrong):
            enable_unless(control, reason)

    def _show(self, title: str, *, sentence: str = "", tone: Tone = "", note: str = "") -> None:
        self.waiting = False
        self.title.setText(title)
        self.title.setVisible(bool(title))
        set_property(self.title, "tone", tone)
        for part in (self.confidence, self.value):
            part.clear()
            part.hide()
        self.sentence.setText(sentence)
        set_property(self.sentence, "tone", "muted")
        self.sentence.setVisible(bool(sentence))
        self.show_note(note)
        self.others.hide()
        self.nearest.show_images([])
        self.why.hide()
        self.controls.hide()

    @staticmethod
    def _text(answer: Classification) -> str:
        statement = answer.sentence.strip(" .").casefold().removeprefix("image ").removeprefix("is ")
        lines = [] if statement == answer.label.casefold() else [answer.sentence]  # the label stands above
        if isinstance(answer.text, str) and answer.text.strip():
            lines.append(f"“{answer.text.strip()[:300]}”")
        if answer.adjusted is True:
            lines.append("Adjusted by your corrections.")
        # The sentence of a training set's classifier repeats the label above it
        shown = [line for line in lines if line and not (answer.alternatives and line == answer.sentence)]
        return "\n".join(dict.fromkeys(shown))

    def _show_others(self, answer: Classification) -> None:
        while (item := self._rest.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        others = [] if answer.alternatives is UNSET else answer.alternatives[:ALTERNATIVES]
        for row, other in enumerate(others):
            value = probability(other.confidence_value)
            bar = ProgressBar(value or 0, "muted", thin=True)
            name = ElidedLabel(other.label, "small", "muted")
            name.setFixedWidth(self._theme.px(88))
            self._rest.addWidget(name, row, 0)
            self._rest.addWidget(bar, row, 1)
            self._rest.addWidget(label("" if value is None else f"{value:.2f}", "small", "muted"), row, 2)
        self.others.setVisible(bool(others))
