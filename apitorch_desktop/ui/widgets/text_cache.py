"""Cache of laid-out texts: layout is the main cost of painting one."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QFont,
    QFontMetricsF,
    QStaticText,
    QTextOption,
)

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import Role

_TEXTS = 2000
"""Most texts in the cache."""


class LaidOutText(NamedTuple):
    """A text ready for painting, and its size in pixels."""

    text: QStaticText
    width: float
    height: float


class TextCache:
    """Laid-out texts by text, role and width."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._cache: OrderedDict[tuple[str, Role, int, bool], LaidOutText] = OrderedDict()
        self._fonts: dict[Role, tuple[QFont, QFontMetricsF]] = {}

    def clear(self) -> None:
        """Discard everything, after the type has changed."""
        self._cache.clear()
        self._fonts.clear()

    def font(self, role: Role) -> tuple[QFont, QFontMetricsF]:
        """Return the font of a role and its metrics."""
        if role not in self._fonts:
            font = self._theme.font(role)
            self._fonts[role] = font, QFontMetricsF(font)
        return self._fonts[role]

    def get(self, words: str, role: Role, width: int = 1 << 20, *, wrap: bool = False) -> LaidOutText:
        """Return a text in a role's type, elided at `width`, or wrapped and centered in it."""
        key = (words, role, width, wrap)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._lay_out(words, role, width, wrap)
            if len(self._cache) > _TEXTS:
                self._cache.popitem(last=False)
        return found

    def _lay_out(self, words: str, role: Role, width: int, wrap: bool) -> LaidOutText:
        font, metrics = self.font(role)
        if not wrap:
            words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, width)
        text = QStaticText(words)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setPerformanceHint(QStaticText.PerformanceHint.AggressiveCaching)
        if wrap:
            option = QTextOption(Qt.AlignmentFlag.AlignHCenter)
            option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
            text.setTextOption(option)
            text.setTextWidth(width)
        text.prepare(font=font)
        size = text.size()
        return LaidOutText(text, size.width(), size.height())
