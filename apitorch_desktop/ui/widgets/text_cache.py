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
"""Laid out texts kept."""


class _LaidOutText(NamedTuple):
    text: QStaticText
    width: float
    height: float


class TextCache:
    """Laid out texts by what they say and how. Layout is the main cost of painting one."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._kept: OrderedDict[tuple[str, Role, int, bool], _LaidOutText] = OrderedDict()
        self._fonts: dict[Role, tuple[QFont, QFontMetricsF]] = {}

    def clear(self) -> None:
        """The type has changed."""
        self._kept.clear()
        self._fonts.clear()

    def font(self, role: Role) -> tuple[QFont, QFontMetricsF]:
        """A role's type and its measures."""
        if role not in self._fonts:
            font = self._theme.font(role)
            self._fonts[role] = font, QFontMetricsF(font)
        return self._fonts[role]

    def get(self, words: str, role: Role, width: int = 1 << 20, *, wrap: bool = False) -> _LaidOutText:
        """Words in a role's type, cut off with an ellipsis at `width`, or wrapped and centered in it."""
        key = (words, role, width, wrap)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._lay_out(words, role, width, wrap)
            if len(self._kept) > _TEXTS:
                self._kept.popitem(last=False)
        return found

    def _lay_out(self, words: str, role: Role, width: int, wrap: bool) -> _LaidOutText:
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
        return _LaidOutText(text, size.width(), size.height())
