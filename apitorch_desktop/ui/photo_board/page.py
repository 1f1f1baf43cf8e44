"""Page with a photo board, a title, and controls for its actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QWidget

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.view import PhotoBoard
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import CentralPage, in_column, in_row, label, native_keys
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout

KeyHints = Sequence[tuple[str, str]]
"""Pairs of keys and what they do. Keys are ids of actions, and keys that cannot be changed, separated by ", "."""


def key_rows(hints: KeyHints, keys_of: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return hints with the keys of actions in place of their ids; `keys_of` returns them, "" for none."""
    rows = []
    for names, words in hints:
        parts = [keys_of(name) if "." in name else name for name in names.split(", ")]
        if any(parts):
            rows.append((", ".join(filter(None, parts)), words))
    return rows


def key_sentence(hints: KeyHints, keys_of: Callable[[str], str]) -> str:
    """Return hints as one line: `O or Return opens full size · D keeps all`."""
    rows = key_rows(hints, keys_of)
    return " · ".join(f"{native_keys(keys).replace(', ', ' or ')} {words}" for keys, words in rows)


class BoardPage(CentralPage):
    """Base class of pages with a board. A subclass calls `lay_out` once."""

    def __init__(self, theme: Theme, loader: ThumbnailLoader, name: str) -> None:
        super().__init__(theme)
        self.board = PhotoBoard(theme, loader)
        self.board.setAccessibleName(name)

    def lay_out(
        self, title: str, controls: Sequence[QWidget], hint: str, *, why: str = "", center: QWidget | None = None
    ) -> None:
        """Build the page. `why` is a sentence below the title, `center` replaces the board, `hint` explains the keys."""
        head = in_row((label(title, "title"), 1), self.close_button, margins=(16, 8, 8, 0))
        row = QWidget()
        flow = FlowLayout(row)
        for control in controls:
            flow.addWidget(control)
        below = in_column(margins=(16, 4, 16, 4), spacing=8)
        if why:
            below.addWidget(label(why, "base", "muted", wrap=True))
        below.addWidget(row)
        self.hint = label(hint, "small", "muted", wrap=True)
        foot = in_row(self.hint, margins=(16, 4, 16, 8))
        in_column(head, below, (center or self.board, 1), foot, on=self, margins=0, spacing=2)
