"""Overlay during a drag: a frame around the drop target, and a text that describes what a drop does."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from apitorch_desktop.ui.theme.theme import Theme

GRACE = 60
"""Milliseconds between leaving one target and entering the next without flicker."""


class DropOverlay(QWidget):
    """Covers the window during a drag; transparent for the pointer."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._window = parent
        self._text = ""
        self._framed = True
        self._part: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self._grace = QTimer(self, interval=GRACE, singleShot=True)
        self._grace.timeout.connect(self.hide)
        self.hide()

    def aim(self, part: QWidget, text: str, *, framed: bool = True) -> None:
        """Describe a drop on a part of the window; "" when the drag has left that.

        `framed` is False for a part that marks the target itself.
        """
        if not text:
            if part is self._part:
                self._grace.start()
            return
        self._grace.stop()
        self._part, self._text, self._framed = part, text, framed
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()
        self.update()

    def text(self) -> str:
        """Return the text shown, "" without a drag."""
        return self._text if self.isVisible() else ""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the frame around the part, and the text at its bottom."""
        if self._part is None:
            return
        theme, px = self._theme, self._theme.px
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        part = QRect(self._part.mapTo(self._window, self._part.rect().topLeft()), self._part.size())
        if self._framed:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.drawRoundedRect(QRectF(part).adjusted(4, 4, -4, -4), px(10), px(10))
        painter.setFont(theme.font("strong"))
        metrics = painter.fontMetrics()
        text = metrics.elidedText(self._text, Qt.TextElideMode.ElideMiddle, max(px(120), self.width() - px(80)))
        width, height = metrics.horizontalAdvance(text) + px(32), px(36)
        left = max(px(8), min(part.center().x() - width // 2, self.width() - width - px(8)))
        pill = QRectF(left, part.bottom() - height - px(20), width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("strong"))
        painter.drawRoundedRect(pill, height / 2, height / 2)
        painter.setPen(theme.color("on_strong"))
        painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, text)
