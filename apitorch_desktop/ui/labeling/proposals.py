"""Dialog that labels the photos without a label as the classifier proposes, where it is sure enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QSlider, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, enable_unless, label, spin_box
from apitorch_desktop.utils.text import plural

_MOST_NAMED = 6
"""Labels whose numbers of photos are named."""


class ProposalDialog(QDialog):
    """Asks how sure the classifier must be. `proposals` are images with their answers; `threshold` is in percent."""

    agreed = Signal(list, int)
    """The images that are accepted, each with its label; and the threshold in percent."""

    def __init__(
        self,
        theme: Theme,
        proposals: Sequence[tuple[TrainingImage, OutOfFoldAnswer]],
        threshold: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._proposals = proposals
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Accept proposals")
        self.threshold = spin_box(theme, "Least confidence", threshold, 0, 100, " %")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setValue(threshold)
        self.slider.setAccessibleName("Least confidence")
        self.head = label("", "answer", wrap=True)
        self.below = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Label", "primary", self._confirm)
        self.start.setDefault(True)
        self._lay_out(theme)
        self.threshold.valueChanged.connect(self.slider.setValue)
        self.slider.valueChanged.connect(self.threshold.setValue)
        self.threshold.valueChanged.connect(lambda _value: self._update_controls())
        self._update_controls()

    def _lay_out(self, theme: Theme) -> None:
        px = theme.px
        sure, buttons = QHBoxLayout(), QHBoxLayout()
        sure.addWidget(label("Accept where the classifier is at least this sure"))
        sure.addWidget(self.threshold)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addLayout(sure)
        for part in (self.slider, self.head, self.below):
            rows.addWidget(part)
        rows.addStretch(1)
        rows.addLayout(buttons)
        self.resize(px(460), px(220))

    def accepted_images(self) -> list[tuple[TrainingImage, str]]:
        """Return the images above the threshold, each with the label that is proposed."""
        least = self.threshold.value() / 100
        return [(image, answer.label) for image, answer in self._proposals if answer.confidence >= least]

    def _update_controls(self) -> None:
        accepted = self.accepted_images()
        counts = Counter(name for _, name in accepted).most_common()
        named = ", ".join(f"{count:,} {name}" for name, count in counts[:_MOST_NAMED])
        more = f" and {plural(len(counts) - _MOST_NAMED, 'more label')}" if len(counts) > _MOST_NAMED else ""
        others = " The others keep waiting." if len(accepted) < len(self._proposals) else ""
        self.head.setText(f"{len(accepted):,} of {plural(len(self._proposals), 'photo')}")
        self.below.setText(f"{named}{more}.{others}" if accepted else "None is that sure.")
        self.start.setText(f"Label {plural(len(accepted), 'photo')}")
        enable_unless(self.start, "" if accepted else "Lower the confidence")

    def _confirm(self) -> None:
        self.accept()
        self.agreed.emit(self.accepted_images(), self.threshold.value())
