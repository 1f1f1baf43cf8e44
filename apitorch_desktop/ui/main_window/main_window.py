"""The window itself: painted within a moment as bare surfaces, filled with its parts (`frame.py`) right behind that.

Before the first paint nothing here may touch the namespace `Qt`, a font or a drawing: see `theme.Theme.prepare`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QEvent, QTimer, Signal
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QMainWindow

if TYPE_CHECKING:
    from PySide6.QtCore import QSettings
    from PySide6.QtGui import QCloseEvent, QPaintEvent

    from apitorch_desktop.ui.theme.theme import Theme

WIDTH, HEIGHT = 1440, 900
LEFT, RIGHT, TOP, BOTTOM = 252, 348, 46, 44
"""Sizes at first of the tree, the classify panel, the toolbar and the status line."""


class MainWindow(QMainWindow):
    """Size and place, which survive; the first paint; the end."""

    painted = Signal()
    """On the screen for the first time: now the rest may start."""
    closing = Signal()

    def __init__(self, theme: Theme, settings: QSettings) -> None:
        super().__init__()
        self._theme = theme
        self._settings = settings
        self._unpainted = True
        self.setWindowTitle("API Torch Desktop")
        self.setMinimumSize(theme.px(480), theme.px(360))
        geometry = settings.value("window/geometry")
        if not isinstance(geometry, QByteArray) or not self.restoreGeometry(geometry):
            room = self.screen().availableSize()
            self.resize(min(theme.px(WIDTH), room.width()), min(theme.px(HEIGHT), room.height()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """The surfaces, until the parts lie over them; tells when they are seen for the first time."""
        if self._unpainted:
            self._unpainted = False
            self._paint_surfaces()
            QTimer.singleShot(0, self.painted.emit)  # behind this paint in the queue
        elif self.centralWidget() is None:
            self._paint_surfaces()

    def _paint_surfaces(self) -> None:
        theme, px = self._theme, self._theme.px
        width, height = self.width(), self.height()
        top, bottom = px(TOP), height - px(BOTTOM)
        painter = QPainter(self)
        for token, x, y, w, h in (
            ("side", 0, 0, width, height),
            ("canvas", px(LEFT), top, width - px(LEFT) - px(RIGHT), bottom - top),
            ("panel", width - px(RIGHT), top, px(RIGHT), bottom - top),
            ("line", 0, top, width, 1),
            ("line", 0, bottom, width, 1),
            ("line", px(LEFT), top, 1, bottom - top),
            ("line", width - px(RIGHT), top, 1, bottom - top),
        ):
            # One pixel made large: whatever else fills a rectangle has an overload that loads the namespace `Qt`
            pixel = theme.color(token).rgb().to_bytes(4, sys.byteorder)
            painter.resetTransform()
            painter.translate(x, y)
            painter.scale(w, h)
            painter.drawImage(0, 0, QImage(pixel, 1, 1, QImage.Format.Format_RGB32))
        painter.end()

    def changeEvent(self, event: QEvent) -> None:
        """The system's theme, and with it its type, may be another."""
        if event.type() == QEvent.Type.ThemeChange and not self._unpainted:
            self._theme.check_system_font()
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep size and place, and let the rest end."""
        self._settings.setValue("window/geometry", self.saveGeometry())
        self.closing.emit()
        event.accept()
