"""The leave to classify local files on a service that takes addresses only: asked once for a connection."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingSet
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, label


class ScratchPermissionDialog(QDialog):
    """Says what would be done with a local file, and in which training set."""

    agreed = Signal(object)
    """The id of the training set."""

    def __init__(self, theme: Theme, service: str, sets: Sequence[TrainingSet], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classify files from this computer")
        self.target = ComboBox(theme, "Training set")
        for one in sets:
            self.target.addItem(one.name, one.id)
        self.cancel = button("Cancel", "", self.reject)
        self.allow = button("Allow", "primary", self._allow)
        self.allow.setEnabled(bool(sets))
        self.allow.setToolTip("" if sets else "There is no training set there yet")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[theme.px(16)] * 4)
        rows.setSpacing(theme.px(8))
        rows.addWidget(label(f"“{service}” classifies photos by their address only", "answer", wrap=True))
        text = (
            "To classify a file from this computer, it is uploaded to the label “desktop_scratch” of a training set of yours "
            "for a moment, and deleted again. Which training set may be used? You are asked once."
        )
        rows.addWidget(label(text, "base", "muted", wrap=True))
        rows.addWidget(self.target)
        verbs = QHBoxLayout()
        verbs.addStretch(1)
        verbs.addWidget(self.cancel)
        verbs.addWidget(self.allow)
        rows.addLayout(verbs)
        self.resize(theme.px(440), self.sizeHint().height())

    def _allow(self) -> None:
        self.accept()
        self.agreed.emit(self.target.currentData())
