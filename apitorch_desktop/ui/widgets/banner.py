"""Banner: a line across the window with a message and actions."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QPushButton

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ElidedLabel, button, in_row, surface


class Banner(QFrame):
    """Hidden while it has no message."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        surface(self, "note")
        self._icon = QLabel()
        self.words = ElidedLabel()
        row = in_row(self._icon, (self.words, 1), on=self, margins=(14, 4, 14, 4), spacing=8)
        self._row = row
        theme.changed.connect(self._update_icon)
        self._update_icon()
        self.hide()

    def add(self, verb: str, act: Callable[[], object]) -> QPushButton:
        """Add an action."""
        action = button(verb, "link", act)
        self._row.addWidget(action)
        return action

    def show_message(self, text: str, tip: str = "") -> None:
        """Show a message with details as the tooltip; an empty one hides the banner."""
        self.words.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(f"{text} {tip}".strip())
        self.setVisible(bool(text))

    def _update_icon(self) -> None:
        size = QSize(self._theme.px(16), self._theme.px(16))
        self._icon.setPixmap(self._theme.icon("warning", "warn").pixmap(size, self.devicePixelRatioF()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._update_icon()
