"""Design tokens: the colors of the light and the dark scheme, and the type sizes. LOOK.md explains their use."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

BASE: Final = 13
"""Pixels of the base type at which all sizes are given; another system type scales them."""

Role = Literal["base", "strong", "answer", "small", "tiny", "title", "heading"]
"""Kinds of type: `answer` for the requested result (15 px semibold), `small` and `tiny` (12 and 11 px) for the rest."""

TYPE_SIZES: Final[dict[Role, tuple[float, bool]]] = {
    "base": (13, False),
    "strong": (13, True),
    "answer": (15, True),
    "title": (17, True),
    "small": (12, False),
    "tiny": (11, False),
    "heading": (11, True),
}
"""Pixels, and whether semibold."""


class Tokens(NamedTuple):
    """Colors as `#rrggbb`.

    `accent`, `good`, `warn` and `bad` are for shapes. Text in these colors uses the `…_text` variant, which has a
    contrast of 4.5 : 1 on every surface. `strong` fills the primary button, whose text is `on_strong`.
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
    muted="#6b665f",  # 4.5 : 1 on the bar and on the selected row as well
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
