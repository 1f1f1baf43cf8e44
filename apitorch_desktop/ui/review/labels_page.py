"""Review page about labels: confusion matrix, accuracy and advice."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from apitorch_desktop.dataset.review.findings import Findings, LabelAdvice
from apitorch_desktop.ui.review.confusion_matrix import ConfusionMatrix
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import Card, button, label, surface
from apitorch_desktop.utils.text import percent


class LabelsPage(QScrollArea):
    """Confusion matrix above advice on the labels."""

    pair_chosen = Signal(str, str)
    label_requested = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(widgetResizable=True)
        inner = QWidget()
        surface(inner, "canvas")
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(16, 4, 16, 16)
        self._column.setSpacing(10)
        self._headline = label("", "strong", wrap=True)
        self._how = label(
            "Rows: the label a photo has. Columns: what it is taken for. Click a cell to see its photos.",
            "small",
            "muted",
            wrap=True,
        )
        self.matrix = ConfusionMatrix(theme)
        self.matrix.pair_chosen.connect(self.pair_chosen)
        self.matrix.pointed.connect(self._point)
        self._advice = QVBoxLayout()
        self._advice.setSpacing(8)
        self._advised: list[LabelAdvice] | None = None
        self._column.addWidget(self._headline)
        self._column.addWidget(self.matrix)
        self._column.addWidget(self._how)
        self._column.addLayout(self._advice)
        self._column.addStretch(1)
        self.setWidget(inner)
        self.viewport().setAutoFillBackground(False)

    def show_findings(self, found: Findings) -> None:
        """Show the findings."""
        learned = found.learned
        self.matrix.setVisible(learned is not None)
        self._how.setVisible(learned is not None)
        if learned is not None:
            self.matrix.show_figures(learned)
            weakest = min(zip(learned.label_accuracy, learned.labels, strict=True), default=None)
            tail = f" Weakest: {weakest[1]}, {percent(weakest[0])}." if weakest is not None else ""
            self._headline.setText(
                f"{percent(learned.accuracy)} right on photos not seen before, nor their near-duplicates.{tail}"
            )
        else:
            self._headline.setText(found.why_not or "How well labels are recognised is not known yet.")
        if found.advice != self._advised:
            self._advised = list(found.advice)
            self._show_advice(found.advice)

    def advice(self) -> list[str]:
        """Return the sentences shown."""
        return [advice_item.sentence for advice_item in self._advised or []]

    def _show_advice(self, advice: list[LabelAdvice]) -> None:
        while self._advice.count():
            item = self._advice.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.deleteLater()
        if not advice:
            self._advice.addWidget(label("The labels are in good balance.", "base", "muted", wrap=True))
        for advice_item in advice:
            card = Card(spacing=4)
            row = QHBoxLayout()
            row.addWidget(label(advice_item.sentence, "base", "warn" if advice_item.urgent else "", wrap=True), 1)
            if advice_item.label is not None:
                name = advice_item.label
                row.addWidget(
                    button("Show", "link", lambda name=name: self.label_requested.emit(name)),  # type: ignore[misc]
                    0,
                    Qt.AlignmentFlag.AlignTop,
                )
            card.rows.addLayout(row)
            self._advice.addWidget(card)

    def _point(self, sentence: str) -> None:
        self._how.setText(
            sentence or "Rows: the label a photo has. Columns: what it is taken for. Click a cell to see its photos."
        )
