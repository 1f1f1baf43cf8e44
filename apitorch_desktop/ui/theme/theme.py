"""How the window looks: colour tokens, sizes that follow the system's type, the palette and style sheet made of them, icons.

The one `Theme` is made in the assembly and handed to every widget that paints; `changed` says that the tokens are others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtCore import Qt
    from PySide6.QtGui import QFont, QIcon
    from PySide6.QtWidgets import QApplication

BASE = 13
"""Pixels of the base type at which the sizes of LOOK.md are meant; other system types scale all of them."""

Role = Literal["base", "strong", "answer", "small", "tiny", "title", "heading"]
"""Kinds of type: `answer` is what was asked for (15 px semibold), `small` and `tiny` (12 and 11 px) for the rest."""

Scheme = Literal["system", "light", "dark"]

_SIZES: dict[Role, tuple[float, bool]] = {
    "base": (13, False),
    "strong": (13, True),
    "answer": (15, True),
    "title": (17, True),
    "small": (12, False),
    "tiny": (11, False),
    "heading": (11, True),
}


class Tokens(NamedTuple):
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
        self._base: QFont | None = None
        self._system_type = ("", 0.0)
        self._resources = resources
        self._app: QApplication | None = None
        self._wanted: Scheme = "system"
        self._system = ""
        self._first = LIGHT
        """What the system's own colours looked like at the start: for one that does not name its scheme."""
        self._svg: dict[str, bytes] = {}

    def prepare(self, app: QApplication) -> None:
        """Choose the tokens by what the system shows."""
        self._app = app
        self._base = app.font()
        dark = app.palette().window().color().lightness() < 128
        self._first = DARK if dark else LIGHT
        self._choose(self._first)

    def apply(self, app: QApplication) -> None:
        """Dress the application in type and style sheet, and follow the system from now on."""
        if self._app is None:
            self.prepare(app)
        from PySide6.QtGui import QFontDatabase

        app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._system_changed)
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        self._system_type = (font.family(), font.pointSizeF())
        self._dress()

    def set_scheme(self, scheme: Scheme) -> None:
        """Light or dark as the person wants it, whatever the system shows; or like the system again."""
        self._wanted = scheme
        self._dress()

    def px(self, pixels: float) -> int:
        """A size of LOOK.md in the pixels that go with the system's type."""
        return max(1, round(pixels * self.scale))

    def font(self, role: Role = "base") -> QFont:
        """The system's type in the size and weight of a role."""
        from PySide6.QtGui import QFont

        size, semibold = _SIZES[role]
        font = QFont(self._base) if self._base is not None else QFont()
        font.setPointSizeF(self._points() * size / BASE)
        font.setWeight(QFont.Weight.DemiBold if semibold else QFont.Weight.Normal)
        return font

    def color(self, token: str) -> QColor:
        """A token's colour by its name."""
        return QColor(getattr(self.tokens, token))

    def icon(self, name: str, tint: str = "text") -> QIcon:
        """The icon `resources/icons/<name>.svg` in a token's colour; sharp at any scale, greyed out where disabled."""
        from apitorch_desktop.ui.theme.icons import icon

        return icon(self, name, tint)

    def svg(self, name: str) -> bytes:
        """The drawing of an icon; `currentColor` in it stands for the text colour."""
        if name not in self._svg:
            self._svg[name] = (self._resources / "icons" / f"{name}.svg").read_bytes()
        return self._svg[name]

    def check_system_font(self) -> None:
        """The system says that its theme changed: dress anew where its type is another. The window hears of it."""
        from PySide6.QtGui import QFontDatabase

        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        if self._base is not None and (font.family(), font.pointSizeF()) != self._system_type:
            self._base, self._system_type = font, (font.family(), font.pointSizeF())
            self._dress()

    def _points(self) -> float:
        # 13 px at least, as drawn: Qt's own default on a bare X server is 12
        return max(self._base.pointSizeF() if self._base is not None else 0, BASE * 0.75)

    def _system_changed(self, scheme: Qt.ColorScheme) -> None:
        self._system = scheme.name.lower()
        self._dress()

    def _dress(self) -> None:
        from apitorch_desktop.ui.theme.palette import palette, style_sheet

        app = self._app
        if app is None:
            return
        system = self._system or app.styleHints().colorScheme().name.lower()
        tokens = {"light": LIGHT, "dark": DARK}
        self._choose(tokens.get(self._wanted) or tokens.get(system) or self._first)
        app.setPalette(palette(self.tokens))
        app.setFont(self.font())
        template = (self._resources / "theme" / "window.qss").read_text(encoding="utf-8")
        app.setStyleSheet(style_sheet(template, self.tokens, self.scale))
        self.changed.emit()

    def _choose(self, tokens: Tokens) -> None:
        self.tokens = tokens
        if self._app is not None:
            dots = self._app.primaryScreen().logicalDotsPerInch()
            self.scale = max(1.0, self._points() * dots / 72 / BASE)
