"""Card with the classifier's state, below the tree."""

from __future__ import annotations

from msgspec import UNSET
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout

from apitorch_desktop.api.types import INBOX, Classifier, Metrics, TrainingSet
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import Card, ElidedLabel, ProgressBar, label, set_property
from apitorch_desktop.utils.text import percent, plural

ENOUGH = 2
"""Labels that a classifier needs, and photos that each of them needs."""


class ClassifierCard(Card):
    """A headline, the version, a bar and a sentence; hidden while no training set is open. A click or Return opens it."""

    opened = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(margin=12, spacing=6)
        head = QHBoxLayout()
        self._title = ElidedLabel("", "strong")
        self._version = label("", "small", "muted")
        head.addWidget(self._title)
        head.addStretch(1)
        head.addWidget(self._version)
        self._bar = ProgressBar(0)
        self._sentence = ""
        self._text = label("", "small", "muted", wrap=True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip("Show the versions")
        self.rows.addLayout(head)
        self.rows.addWidget(self._bar)
        self.rows.addWidget(self._text)
        self.hide()

    def show_state(self, opened: TrainingSet | None, classifier: Classifier | None) -> None:
        """Show a classifier's state; services without the extension `training` have none to show."""
        if opened is None or (classifier is None and opened.counts is UNSET):
            self.hide()
            return
        title, share, text = headline(opened, classifier)
        version = classifier.version if classifier is not None and classifier.version is not UNSET else 0
        waits = classifier is not None and classifier.waiting_version is not UNSET
        set_property(self._title, "tone", "warn" if waits else "")
        self._title.setText(title)
        self._version.setText(f"version {version}" if version else "")
        self._bar.set_share(share, "accent")
        self._bar.setVisible(share is None or share > 0)
        self._sentence = text
        self._text.setText(text.replace("_", "_\u200b"))  # else a long label could not be wrapped
        self._text.setVisible(bool(text))
        self.setAccessibleName(f"{title}. {text}")
        self.show()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.opened.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit()
        else:
            super().keyPressEvent(event)

    def sentence(self) -> str:
        """Return the sentence below the bar."""
        return self._sentence

    def headline(self) -> str:
        """Return the headline."""
        return self._title.full_text()


def headline(opened: TrainingSet, classifier: Classifier | None) -> tuple[str, float | None, str]:
    """Return the headline, the share for the bar (None while training) and the sentence for a classifier's state."""
    status = classifier.status if classifier is not None and classifier.status is not UNSET else "needs_images"
    message = classifier.status_message if classifier is not None and classifier.status_message is not UNSET else ""
    if status == "needs_images":
        return "No classifier yet", 0, message or needs(opened)
    if status == "failed":
        return "Training failed", 0, message or "It is tried again at the next change."
    measured = _accuracy(classifier)
    if status == "training":
        return ("Learning…", None, measured[1] if measured else message or "The first answers come in a moment.")
    if classifier is not None and classifier.waiting_version is not UNSET:
        return f"Version {classifier.waiting_version} waits", measured[0] if measured else 1.0, message
    return ("Classifier ready", *(measured or (1.0, message)))


def _accuracy(classifier: Classifier | None) -> tuple[float, str] | None:
    if classifier is None or classifier.metrics is UNSET or not classifier.metrics.labels:
        return None
    return classifier.metrics.accuracy, accuracy_sentence(classifier.metrics)


def accuracy_sentence(metrics: Metrics) -> str:
    """Return how much a classifier gets right, and its weakest label, in a sentence or two."""
    held_out = [
        f", {percent(found.accuracy)} on {plural(found.images, f'{found.split} photo')}"
        for found in metrics.held_out or ()
    ]
    text = f"{percent(metrics.accuracy)} right on photos it had not seen{''.join(held_out)}."
    weakest = min(metrics.labels, key=lambda label: label.accuracy, default=None)
    if weakest is not None and weakest.accuracy < metrics.accuracy:
        text += f" Weakest: {weakest.label}."
    return text


def needs(opened: TrainingSet) -> str:
    """Return what a training set still needs for a classifier, in a sentence."""
    rule = f"Needs {ENOUGH} labels with {ENOUGH} photos each"
    counts = (
        {}
        if opened.counts is UNSET or opened.labels is UNSET
        else dict(zip(opened.labels, opened.counts, strict=False))
    )
    counts.pop(INBOX, None)
    enough = sum(count >= ENOUGH for count in counts.values())
    short = [f"{name} has {count}" for name, count in counts.items() if 0 < count < ENOUGH]
    if enough < ENOUGH and short:
        return f"{rule}: {', '.join(short[:2])}."
    if enough == 1:
        return f"{rule}: one label is there."
    return f"{rule}."
