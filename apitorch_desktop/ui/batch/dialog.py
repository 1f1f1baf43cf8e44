"""Dialog that adds the photos of a batch to a training set, each under its answer, from a confidence on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.batch.classification import AnsweredUploads, BatchRow, uploads_under_answers
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, label, spin_box
from apitorch_desktop.utils.text import plural

_LEAST = 80
"""Percent from which an answer is taken, at first."""


class AddEachDialog(QDialog):
    """Chooses training set, classifier and threshold, and says what would be added.

    `there` returns the SHA-256 of the photos of a training set, as far as they are known.
    """

    agreed = Signal(list, object)
    """(`UploadItem`s, training set id)"""

    def __init__(
        self,
        theme: Theme,
        rows: Sequence[BatchRow],
        slugs: Sequence[str],
        sets: Sequence[TrainingSet],
        chosen: Id | None,
        there: Callable[[Id], Collection[str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._rows = rows
        self._there = there
        self.setWindowTitle("Add each photo under its answer")
        self.target = ComboBox(theme, "Training set")
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen)))
        self.classifier = ComboBox(theme, "Classifier")
        for slug in slugs:
            self.classifier.addItem(slug, slug)
        own = next((training_set.slug for training_set in sets if training_set.id == chosen), "")
        self.classifier.setCurrentIndex(max(0, self.classifier.findData(own)))
        self.least = spin_box(theme, "Least confidence", _LEAST, 0, 100, " %")
        self.least.setSingleStep(5)
        self.summary = label("", "base", wrap=True)
        self.left_out = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Add", "primary", self._confirm)
        self.start.setDefault(True)
        for choice in (self.target, self.classifier):
            choice.currentIndexChanged.connect(lambda _index: self._show_summary())
        self.least.valueChanged.connect(lambda _value: self._show_summary())
        self._lay_out(theme, several=len(slugs) > 1)
        self._show_summary()

    def _lay_out(self, theme: Theme, *, several: bool) -> None:
        px = theme.px
        fields = QFormLayout()
        fields.addRow("Into", self.target)
        fields.addRow("Under the answer of", self.classifier)
        fields.setRowVisible(self.classifier, several)
        fields.addRow("From a confidence of", self.least)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addLayout(fields)
        rows.addWidget(self.summary)
        rows.addWidget(self.left_out)
        rows.addStretch(1)
        rows.addLayout(buttons)
        self.setMinimumWidth(px(440))

    def found(self) -> AnsweredUploads:
        """Return what would be added, and what is left out."""
        target = Id(self.target.currentData() or "")
        slug = str(self.classifier.currentData() or "")
        return uploads_under_answers(self._rows, slug, self.least.value() / 100, self._there(target))

    def _show_summary(self) -> None:
        found = self.found()
        labels = len({upload.label for upload in found.uploads})
        photos = plural(len(found.uploads), "photo")
        self.summary.setText(f"{photos} under {plural(labels, 'label')}" if found.uploads else "Nothing to add")
        reasons = (
            (found.unsure, "less sure"),
            (found.none_of_these, "of none of the labels"),
            (found.there, "in the set already"),
            (found.unanswered, "without an answer"),
        )
        parts = [f"{count:,} {reason}" for count, reason in reasons if count]
        self.left_out.setText(f"Left out: {' · '.join(parts)}." if parts else "")
        self.start.setText(f"Add {photos}" if found.uploads else "Add")
        self.start.setEnabled(bool(found.uploads))

    def _confirm(self) -> None:
        uploads, target = self.found().uploads, Id(self.target.currentData() or "")
        if uploads:
            self.accept()
            self.agreed.emit(uploads, target)
