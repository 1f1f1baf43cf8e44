"""Heat map over a photo: where the evidence for a label lies."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter

from apitorch_desktop.api.types import Evidence
from apitorch_desktop.utils.text import percent

_STRONGEST = 190
"""Opacity of the strongest evidence, of 255."""
_OUTSIDE = QColor(0, 0, 0, 110)
"""Over what the classifier does not look at."""


class HeatMap:
    """Paints `Evidence` in one color, the more opaque the stronger; evidence against the label is left clear."""

    def __init__(self, evidence: Evidence, color: QColor) -> None:
        self.evidence = evidence
        self._image = QImage(evidence.columns, evidence.rows, QImage.Format.Format_ARGB32)
        shade = QColor(color)
        for at, value in enumerate(evidence.values):
            shade.setAlpha(round(_STRONGEST * min(1.0, max(0.0, value))))
            self._image.setPixelColor(at % evidence.columns, at // evidence.columns, shade)

    @property
    def text(self) -> str:
        """Explanation of the map."""
        share = percent(self.evidence.share)
        return (
            f"The colored parts speak for “{self.evidence.label}” and against the other labels. They hold {share} of the "
            "evidence; the rest lies in no one place."
        )

    def paint(self, painter: QPainter, photo: QRectF) -> None:
        """Paint over a photo at this place; what the classifier does not look at is darkened."""
        left, top, right, bottom = self.evidence.box
        seen = QRectF(
            photo.x() + left * photo.width(),
            photo.y() + top * photo.height(),
            (right - left) * photo.width(),
            (bottom - top) * photo.height(),
        )
        for part in (
            QRectF(photo.left(), photo.top(), photo.width(), seen.top() - photo.top()),
            QRectF(photo.left(), seen.bottom(), photo.width(), photo.bottom() - seen.bottom()),
            QRectF(photo.left(), seen.top(), seen.left() - photo.left(), seen.height()),
            QRectF(seen.right(), seen.top(), photo.right() - seen.right(), seen.height()),
        ):
            painter.fillRect(part, _OUTSIDE)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(seen, self._image)
