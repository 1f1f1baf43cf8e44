"""Icons drawn from the SVG files in resources/icons, in a token's color, sharp at any scale."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QByteArray, QPoint, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QIconEngine, QPainter, QPen, QPixmap
from PySide6.QtSvg import QSvgRenderer


def dot(size: int, color: str, *, checkable: bool = False) -> QIcon:
    """Return a filled circle in a color (`#rrggbb`), `size` pixels across; if `checkable`, with a mark when checked."""
    icon = QIcon(_disc(size, color))
    if checkable:
        icon.addPixmap(_disc(size, color, checked=True), QIcon.Mode.Normal, QIcon.State.On)
    return icon


def _disc(size: int, color: str, *, checked: bool = False) -> QPixmap:
    pixmap = QPixmap(size * 2, size * 2)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawEllipse(1, 1, size - 2, size - 2)
    if checked:
        pen = QPen(QColor("white"), size / 8)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline([QPointF(size * x, size * y) for x, y in ((0.29, 0.53), (0.44, 0.67), (0.71, 0.36))])
    painter.end()
    return pixmap


class TintedIcon(QIconEngine):
    """Draws an SVG in the color of the token `tint`, at the requested size.

    `color` returns the current color of a token, `svg` the drawing; `currentColor` in it is replaced.
    """

    def __init__(self, svg: Callable[[], bytes], tint: str, color: Callable[[str], QColor]) -> None:
        super().__init__()
        self._svg, self._tint, self._color = svg, tint, color

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        """Draw the icon; muted when disabled."""
        disabled = mode == QIcon.Mode.Disabled
        color = self._color("muted" if disabled else self._tint)
        if disabled:
            painter.setOpacity(0.6)
        QSvgRenderer(QByteArray(self._svg().replace(b"currentColor", color.name().encode()))).render(painter, rect)
        painter.setOpacity(1)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        """Draw the icon on a transparent background."""
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return TintedIcon(self._svg, self._tint, self._color)
