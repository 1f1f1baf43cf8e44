"""How the window looks: colour tokens, sizes that follow the system's type, the palette and style sheet made of them, icons.

The one `Theme` is made in the assembly and handed to every widget that paints; `changed` says that the tokens are others.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from string import Template
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QColor, QFont, QPalette

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtGui import QIcon
    from PySide6.QtWidgets import QApplication

BASE = 13
"""Pixels of the base type at which the sizes of LOOK.md are meant; other system types scale all of them."""

Role = Literal["base", "strong", "answer", "small", "tiny", "title", "heading"]
"""Kinds of type: `answer` is what was asked for (15 px semibold), `small` and `tiny` (12 and 11 px) for the rest."""

_SIZES: dict[Role, tuple[float, QFont.Weight]] = {
    "base": (13, QFont.Weight.Normal),
    "strong": (13, QFont.Weight.DemiBold),
    "answer": (15, QFont.Weight.DemiBold),
    "title": (17, QFont.Weight.DemiBold),
    "small": (12, QFont.Weight.Normal),
    "tiny": (11, QFont.Weight.Normal),
    "heading": (11, QFont.Weight.DemiBold),
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours, as `#rrggbb`.

    `accent`, `good`, `warn` and `bad` are for shapes; where words are written in them their `…_text` is used, which keeps
    4.5 : 1 on every surface. `strong` fills the one filled button under `on_strong`.
    """

    dark: bool
    canvas: str
    side: str
    panel: str
    line: str
    bar: str
    text: str
    muted: str
    accent: str
    accent_text: str
    behind_accent: str
    strong: str
    on_strong: str
    good: str
    good_text: str
    warn: str
    warn_text: str
    bad: str
    bad_text: str


LIGHT = Tokens(
    dark=False,
    canvas="#ffffff",
    side="#f6f5f4",
    panel="#fbfaf9",
    line="#e4e2df",
    bar="#ebe8e4",
    text="#1f1d1a",
    muted="#6b665f",  # a little darker than drawn: 4.5 : 1 on the bar and on the chosen row as well
    accent="#d9480f",
    accent_text="#bc3d0b",
    behind_accent="#fdeee6",
    strong="#c9420d",
    on_strong="#ffffff",
    good="#2b8a3e",
    good_text="#24742f",
    warn="#e67700",
    warn_text="#9a5000",
    bad="#c92a2a",
    bad_text="#c22727",
)
DARK = Tokens(
    dark=True,
    canvas="#1d1c1b",
    side="#252423",
    panel="#222120",
    line="#363432",
    bar="#383532",
    text="#ece9e5",
    muted="#a8a29a",
    accent="#ff8a4c",
    accent_text="#ff8a4c",
    behind_accent="#3a2a20",
    strong="#ff8a4c",
    on_strong="#1d1c1b",
    good="#69db7c",
    good_text="#69db7c",
    warn="#ffc078",
    warn_text="#ffc078",
    bad="#ff8787",
    bad_text="#ff8787",
)


class Theme(QObject):
    """The tokens in use, and what is made of them.

    `apply` dresses the application, and again whenever the system changes its light or dark, or its type. `prepare`
    before it is enough for a first paint: it touches nothing slow (the namespace `Qt` alone costs 15 ms, a font 5 ms).
    """

    changed = Signal()

    def __init__(self, resources: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tokens = LIGHT
        self.scale = 1.0
        self._base = QFont()
        self._resources = resources
        self._app: QApplication | None = None
        self._svg: dict[str, bytes] = {}

    def prepare(self, app: QApplication) -> None:
        """Choose the tokens by what the system shows, and colour the window's surfaces."""
        self._app = app
        app.setStyle("Fusion")
        self._base = app.font()
        dark = app.palette().window().color().lightness() < 128
        self._choose(DARK if dark else LIGHT)

    def apply(self, app: QApplication) -> None:
        """Dress the application in type and style sheet, and follow the system from now on."""
        if self._app is None:
            self.prepare(app)
        app.styleHints().colorSchemeChanged.connect(self._dress)
        app.installEventFilter(self)
        self._dress()

    def px(self, pixels: float) -> int:
        """A size of LOOK.md in the pixels that go with the system's type."""
        return max(1, round(pixels * self.scale))

    def font(self, role: Role = "base") -> QFont:
        """The system's type in the size and weight of a role."""
        size, weight = _SIZES[role]
        font = QFont(self._base)
        font.setPointSizeF(self._points() * size / BASE)
        font.setWeight(weight)
        return font

    def color(self, token: str) -> QColor:
        """A token's colour by its name."""
        return QColor(getattr(self.tokens, token))

    def icon(self, name: str, tint: str = "text") -> QIcon:
        """The icon `resources/icons/<name>.svg` in a token's colour; sharp at any scale, greyed out where disabled."""
        from apitorch_desktop.ui.icons import icon

        return icon(self, name, tint)

    def svg(self, name: str) -> bytes:
        """The drawing of an icon; `currentColor` in it stands for the text colour."""
        if name not in self._svg:
            self._svg[name] = (self._resources / "icons" / f"{name}.svg").read_bytes()
        return self._svg[name]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Qt's: the application's type changes with the system's."""
        if watched is self._app and event.type() == QEvent.Type.ApplicationFontChange:
            font = self._app.font()
            if font.pointSizeF() != self._points():
                self._base = font
                self._dress()
        return False

    def _points(self) -> float:
        # 13 px at least, as drawn: Qt's own default on a bare X server is 12
        return max(self._base.pointSizeF(), BASE * 0.75) if self._base.pointSizeF() > 0 else BASE * 0.75

    def _dress(self) -> None:
        from PySide6.QtCore import Qt

        app = self._app
        if app is None:
            return
        scheme = app.styleHints().colorScheme()
        if scheme is not Qt.ColorScheme.Unknown:
            self._choose(DARK if scheme is Qt.ColorScheme.Dark else LIGHT)
        app.setFont(self.font())
        template = (self._resources / "theme" / "window.qss").read_text(encoding="utf-8")
        app.setStyleSheet(style_sheet(template, self.tokens, self.scale))
        self.changed.emit()

    def _choose(self, tokens: Tokens) -> None:
        self.tokens = tokens
        if self._app is not None:
            dots = self._app.primaryScreen().logicalDotsPerInch()
            self.scale = max(1.0, self._points() * dots / 72 / BASE)
            self._app.setPalette(palette(tokens))


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
    filled = Template(template).substitute(asdict(tokens))
    return re.sub(r"(\d+)px", lambda m: f"{_scaled(int(m[1]), scale)}px", filled)


def _scaled(pixels: int, scale: float) -> int:
    return pixels if pixels <= 2 else round(pixels * scale)
