"""The band above the photos while the service is away: what is seen is what was last seen, and what waits to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QDateTime, QLocale, QSize, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from apitorch_desktop.ui.controls import Elided, button, surface
from apitorch_desktop.ui.words import plural

if TYPE_CHECKING:
    from PySide6.QtGui import QResizeEvent

    from apitorch_desktop.ui.theme import Theme


class AwayBand(QFrame):
    """A line across the window, there as long as the service is not."""

    again_wanted = Signal()
    change_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        surface(self, "note")
        self._icon = QLabel()
        self.words = Elided()
        self.again = button("Try again", "link", self.again_wanted.emit)
        self.change = button("Change the connection…", "link", self.change_wanted.emit)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 14, 4)
        row.setSpacing(8)
        row.addWidget(self._icon)
        row.addWidget(self.words, 1)
        row.addWidget(self.change)
        row.addWidget(self.again)
        theme.changed.connect(self._measure)
        self._measure()
        self.hide()

    def show_words(self, text: str, tip: str, *, can_change: bool = False) -> None:
        """Show a sentence, or with an empty one nothing; `tip` tells what the matter is in full."""
        self.words.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(f"{text} {tip}".strip())
        self.change.setVisible(can_change)
        self.setVisible(bool(text))

    def _measure(self) -> None:
        size = QSize(self._theme.px(16), self._theme.px(16))
        self._icon.setPixmap(self._theme.icon("warning", "warn").pixmap(size, self.devicePixelRatioF()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt's; the icon is as sharp as the screen."""
        super().resizeEvent(event)
        self._measure()


def away_words(name: str, seen_at: float, waiting: int) -> str:
    """`“Torch” is away: you see what was there 3 Jul 2026 14:05. 1 change waits; it is sent when the service is back.`"""
    seen = ""
    if seen_at:
        moment = QDateTime.fromSecsSinceEpoch(int(seen_at))
        seen = f": you see what was there {QLocale().toString(moment, QLocale.FormatType.ShortFormat)}"
    rest = {0: "Changes are kept, and sent when it is back.", 1: "1 change waits; it is sent when the service is back."}
    many = f"{plural(waiting, 'change')} wait; they are sent when the service is back."
    return f"“{name}” is away{seen}. {rest.get(waiting, many)}"
