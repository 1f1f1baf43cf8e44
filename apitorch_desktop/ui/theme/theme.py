"""The look of the window: current tokens, sizes that follow the system's type, palette, style sheet and icons.

The program has one `Theme`, which every widget that paints receives; `changed` reports other tokens or sizes.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor, QPalette

from apitorch_desktop.ui.theme.tokens import BASE, DARK, LIGHT, TYPE_SIZES, Role, Tokens

if TYPE_CHECKING:  # the namespace `Qt` and fonts are slow to load, and not needed for the first paint
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QFont, QIcon
    from PySide6.QtWidgets import QApplication


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


def style_sheet(template: str, tokens: Tokens, scale: float, folder: Path = Path()) -> str:
    """Return the style sheet with the tokens filled in; lengths above 2 px are scaled. `folder` has its pictures."""
    check = (folder / f"check-{'dark' if tokens.dark else 'light'}.svg").as_posix()
    filled = Template(template).substitute(tokens._asdict(), check=check)
    return re.sub(r"(\d+)px", lambda m: f"{_scaled(int(m[1]), scale)}px", filled)


def _scaled(pixels: int, scale: float) -> int:
    return pixels if pixels <= 2 else round(pixels * scale)


Scheme = Literal["system", "light", "dark"]


class Theme(QObject):
    """The current tokens and everything derived from them.

    `apply` styles the application, and again whenever the system changes its color scheme or its type. `prepare` alone
    is enough for the first paint and loads nothing slow (the namespace `Qt` alone takes 15 ms, a font 5 ms).
    """

    changed = Signal()

    def __init__(self, resources: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tokens = LIGHT
        self.scale = 1.0
        self._base: QFont | None = None
        self._system_type = ("", 0.0)
        self._resources = resources
        self._app: QApplication | None = None
        self._scheme: Scheme = "system"
        self._type_size = 100
        self._system_scheme = ""
        self._initial = LIGHT
        """Tokens that match the system's colors at the start: for systems that do not report a scheme."""
        self._svg: dict[str, bytes] = {}

    def prepare(self, app: QApplication, scheme: object = "system", type_size: object = 100) -> None:
        """Choose the tokens by the user's choice as it was kept, else by the system's window color."""
        self._app = app
        self._base = app.font()
        if scheme in ("light", "dark"):
            self._scheme = scheme
        if str(type_size).isdecimal():
            self._type_size = min(200, max(100, int(str(type_size))))
        dark = app.palette().window().color().lightness() < 128
        self._initial = DARK if dark else LIGHT
        self._set_tokens({"light": LIGHT, "dark": DARK}.get(self._scheme, self._initial))

    def apply(self, app: QApplication) -> None:
        """Set type, palette and style sheet of the application, and follow the system from now on."""
        if self._app is None:
            self.prepare(app)
        from PySide6.QtGui import QFontDatabase

        app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._system_changed)
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        self._system_type = (font.family(), font.pointSizeF())
        self._restyle()

    def set_scheme(self, scheme: Scheme) -> None:
        """Use the light or the dark scheme whatever the system shows, or follow the system again."""
        self._scheme = scheme
        self._restyle()

    def set_type_size(self, percent: int) -> None:
        """Use another size of type, in percent of the system's."""
        if percent != self._type_size:
            self._type_size = percent
            self._restyle()

    def px(self, pixels: float) -> int:
        """Scale a size of LOOK.md to the system's type, at least 1 pixel."""
        return max(1, round(pixels * self.scale))

    def font(self, role: Role = "base") -> QFont:
        """Return the system's type in the size and weight of a role."""
        from PySide6.QtGui import QFont

        size, semibold = TYPE_SIZES[role]
        font = QFont(self._base) if self._base is not None else QFont()
        font.setPointSizeF(self._points() * size / BASE)
        font.setWeight(QFont.Weight.DemiBold if semibold else QFont.Weight.Normal)
        return font

    def color(self, token: str) -> QColor:
        """Return the color of the token with this name."""
        return QColor(getattr(self.tokens, token))

    def icon(self, name: str, tint: str = "text") -> QIcon:
        """Return the icon `resources/icons/<name>.svg` in a token's color; sharp at any scale, muted when disabled."""
        from PySide6.QtGui import QIcon

        from apitorch_desktop.ui.theme.icons import TintedIcon  # loads `Qt` and QtSvg

        return QIcon(TintedIcon(partial(self._load_svg, name), tint, self.color))

    def _load_svg(self, name: str) -> bytes:
        if name not in self._svg:
            self._svg[name] = (self._resources / "icons" / f"{name}.svg").read_bytes()
        return self._svg[name]

    def check_system_font(self) -> None:
        """Restyle if the system's type has changed; the window calls this when the system reports a theme change."""
        from PySide6.QtGui import QFontDatabase

        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        if self._base is not None and (font.family(), font.pointSizeF()) != self._system_type:
            self._base, self._system_type = font, (font.family(), font.pointSizeF())
            self._restyle()

    def _points(self) -> float:
        # 13 px at least: Qt's own default on a bare X server is 12
        points = max(self._base.pointSizeF() if self._base is not None else 0, BASE * 0.75)
        return points * self._type_size / 100

    def _system_changed(self, scheme: Qt.ColorScheme) -> None:
        self._system_scheme = scheme.name.lower()
        self._restyle()

    def _restyle(self) -> None:
        app = self._app
        if app is None:
            return
        system = self._system_scheme or app.styleHints().colorScheme().name.lower()
        schemes = {"light": LIGHT, "dark": DARK}
        self._set_tokens(schemes.get(self._scheme) or schemes.get(system) or self._initial)
        app.setPalette(palette(self.tokens))
        app.setFont(self.font())
        folder = self._resources / "theme"
        template = (folder / "window.qss").read_text(encoding="utf-8")
        app.setStyleSheet(style_sheet(template, self.tokens, self.scale, folder))
        self.changed.emit()

    def _set_tokens(self, tokens: Tokens) -> None:
        self.tokens = tokens
        if self._app is not None:
            dots = self._app.primaryScreen().logicalDotsPerInch()
            self.scale = max(1.0, self._points() * dots / 72 / BASE)
