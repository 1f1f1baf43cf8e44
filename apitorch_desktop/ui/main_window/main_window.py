"""The main window: painted at once as bare surfaces, and filled with its central widget after that.

Before the first paint nothing here may use the namespace `Qt`, a font or an icon: see `theme.Theme.prepare`. The geometry
is read and written as a raw value, since the typed settings are loaded after the first paint.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QEvent, QTimer, Signal
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QMainWindow

if TYPE_CHECKING:
    from PySide6.QtCore import QSettings
    from PySide6.QtGui import QCloseEvent, QKeyEvent, QPaintEvent

    from apitorch_desktop.ui.theme.theme import Theme

WIDTH, HEIGHT = 1440, 900
LEFT, RIGHT, TOP, BOTTOM = 252, 348, 46, 44
"""Initial sizes of tree, classify panel, toolbar and status bar."""
MENU_BAR = 0 if sys.platform == "darwin" else 26
"""Height of the menu bar within the window."""
_ALT = 0x01000023
"""`Qt.Key.Key_Alt`, without the namespace."""


class MainWindow(QMainWindow):
    """Restores its geometry within its screen, and reports its first paint and its end."""

    painted = Signal()
    """The window was painted for the first time."""
    closing = Signal()
    alt_pressed = Signal()
    """Alt was pressed and released, with no other key in between."""

    def __init__(self, theme: Theme, settings: QSettings) -> None:
        super().__init__()
        self._theme = theme
        self._settings = settings
        self._unpainted = True
        self._alt_alone = False
        self.setWindowTitle("API Torch Desktop")
        self.setMinimumSize(theme.px(480), theme.px(360))
        geometry = settings.value("window/geometry")
        if not isinstance(geometry, QByteArray) or not self.restoreGeometry(geometry):
            room = self.screen().availableSize()
            self.resize(min(theme.px(WIDTH), room.width()), min(theme.px(HEIGHT), room.height()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the surfaces until the central widget covers them."""
        if self._unpainted:
            self._unpainted = False
            self._paint_surfaces()
            QTimer.singleShot(0, self._on_painted)
        elif self.centralWidget() is None:
            self._paint_surfaces()

    def _on_painted(self) -> None:
        self.fit_screen()  # the window manager has added its frame by now
        self.windowHandle().screenChanged.connect(lambda _screen: QTimer.singleShot(0, self.fit_screen))
        self.painted.emit()

    def fit_screen(self) -> None:
        """Shrink and move the window so that its frame lies within the available area of its screen."""
        if self.isMaximized() or self.isFullScreen():
            return
        room, frame = self.screen().availableGeometry(), self.frameGeometry()
        width = self.width() + min(0, room.width() - frame.width())
        height = self.height() + min(0, room.height() - frame.height())
        left = max(room.left(), frame.left() + min(0, room.right() - frame.right()))
        top = max(room.top(), frame.top() + min(0, room.bottom() - frame.bottom()))
        if (width, height) != (self.width(), self.height()):
            self.resize(width, height)
        if (left, top) != (frame.left(), frame.top()):
            self.move(left, top)

    def _paint_surfaces(self) -> None:
        theme, px = self._theme, self._theme.px
        width, height = self.width(), self.height()
        menu_bar = px(MENU_BAR) if self._settings.value("window/menu_bar") != "false" else 0
        top, bottom = menu_bar + px(TOP), height - px(BOTTOM)
        painter = QPainter(self)
        for token, x, y, w, h in (
            ("side", 0, 0, width, height),
            ("canvas", px(LEFT), top, width - px(LEFT) - px(RIGHT), bottom - top),
            ("panel", width - px(RIGHT), top, px(RIGHT), bottom - top),
            ("line", 0, menu_bar - 1, width, 1),
            ("line", 0, top, width, 1),
            ("line", 0, bottom, width, 1),
            ("line", px(LEFT), top, 1, bottom - top),
            ("line", width - px(RIGHT), top, 1, bottom - top),
        ):
            # One pixel, scaled: every other way to fill a rectangle has an overload that loads the namespace `Qt`
            pixel = theme.color(token).rgb().to_bytes(4, sys.byteorder)
            painter.resetTransform()
            painter.translate(x, y)
            painter.scale(w, h)
            painter.drawImage(0, 0, QImage(pixel, 1, 1, QImage.Format.Format_RGB32))
        painter.end()

    def changeEvent(self, event: QEvent) -> None:
        """Check the system's font after a change of its theme."""
        if event.type() == QEvent.Type.ThemeChange and not self._unpainted:
            self._theme.check_system_font()
        super().changeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Note whether Alt is pressed alone."""
        self._alt_alone = event.key() == _ALT
        super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Announce Alt."""
        if event.key() == _ALT and self._alt_alone:
            self._alt_alone = False
            self.alt_pressed.emit()
        super().keyReleaseEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep the geometry, and announce the end."""
        self._settings.setValue("window/geometry", self.saveGeometry())
        self.closing.emit()
        event.accept()
