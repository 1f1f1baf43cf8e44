"""What is made of the tokens for everything that is not painted by hand: Qt's palette and the style sheet."""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

from PySide6.QtGui import QColor, QPalette

if TYPE_CHECKING:
    from apitorch_desktop.ui.theme.theme import Tokens


def palette(tokens: Tokens) -> QPalette:
    """The tokens as Qt's roles, for everything that is not painted by hand."""
    role = QPalette.ColorRole
    made = QPalette()
    colors = {
        role.Window: tokens.panel,
        role.WindowText: tokens.text,
        role.Base: tokens.canvas,
        role.AlternateBase: tokens.side,
        role.Text: tokens.text,
        role.Button: tokens.canvas,
        role.ButtonText: tokens.text,
        role.BrightText: tokens.bad,
        role.ToolTipBase: tokens.text,
        role.ToolTipText: tokens.canvas,
        role.PlaceholderText: tokens.muted,
        role.Highlight: tokens.strong,
        role.HighlightedText: tokens.on_strong,
        role.Accent: tokens.accent,
        role.Link: tokens.accent_text,
        role.LinkVisited: tokens.accent_text,
        role.Light: tokens.canvas,
        role.Midlight: tokens.side,
        role.Mid: tokens.line,
        role.Dark: tokens.line,
        role.Shadow: tokens.line,
    }
    for name, color in colors.items():
        made.setColor(name, QColor(color))
    for name in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        made.setColor(QPalette.ColorGroup.Disabled, name, QColor(tokens.muted))
    return made


def style_sheet(template: str, tokens: Tokens, scale: float) -> str:
    """The style sheet with the tokens filled in; lengths above 2 px are scaled."""
    filled = Template(template).substitute(tokens._asdict())
    return re.sub(r"(\d+)px", lambda m: f"{_scaled(int(m[1]), scale)}px", filled)


def _scaled(pixels: int, scale: float) -> int:
    return pixels if pixels <= 2 else round(pixels * scale)
