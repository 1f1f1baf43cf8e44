"""The palette and the style sheet of the standard widgets, made from the tokens."""

from __future__ import annotations

import re
from string import Template

from PySide6.QtGui import QColor, QPalette

from apitorch_desktop.ui.theme.tokens import Tokens


def palette(tokens: Tokens) -> QPalette:
    """Return a palette that assigns the tokens to Qt's color roles."""
    role = QPalette.ColorRole
    result = QPalette()
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
        result.setColor(name, QColor(color))
    for name in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        result.setColor(QPalette.ColorGroup.Disabled, name, QColor(tokens.muted))
    return result


def style_sheet(template: str, tokens: Tokens, scale: float) -> str:
    """Return the style sheet with the tokens filled in; lengths above 2 px are scaled."""
    filled = Template(template).substitute(tokens._asdict())
    return re.sub(r"(\d+)px", lambda m: f"{_scaled(int(m[1]), scale)}px", filled)


def _scaled(pixels: int, scale: float) -> int:
    return pixels if pixels <= 2 else round(pixels * scale)
