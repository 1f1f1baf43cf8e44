"""Icons: drawings from resources/icons in a token's colour, sharp at any scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

if TYPE_CHECKING:
    from apitorch_desktop.ui.theme.theme import Theme


def icon(theme: Theme, name: str, tint: str) -> QIcon:
    """The icon `resources/icons/<name>.svg` in a token's colour."""
    return QIcon(TintedIcon(theme, name, tint))


def dot(size: int, colour: str) -> QIcon:
    """A filled circle in a colour (`#rrggbb`), `size` pixels across."""
    pixmap = QPixmap(size * 2, size * 2)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawEllipse(1, 1, size - 2, size - 2)
    painter.end()
    return QIcon(pixmap)


class TintedIcon(QIconEngine):
    """Draws an SVG in a token's colour at the size asked for."""

    def __init__(self, theme: Theme, name: str, tint: str) -> None:
        super().__init__()
        self._theme, self._name, self._tint = theme, name, tint

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        """Draw it; muted where disabled."""
        color = self._theme.color("muted" if mode == QIcon.Mode.Disabled else self._tint)
        drawing = self._theme.svg(self._name).replace(b"currentColor", color.name().encode())
        if mode == QIcon.Mode.Disabled:
            painter.setOpacity(0.6)
        QSvgRenderer(QByteArray(drawing)).render(painter, rect)
        painter.setOpacity(1)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        """Draw it on nothing."""
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        """Another of the same."""
        return TintedIcon(self._theme, self._name, self._tint)
