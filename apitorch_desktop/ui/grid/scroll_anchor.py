"""Where the person is in the grid, kept through changes: the photo at a height of the window, and the focus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.layout import GridLayout
from apitorch_desktop.ui.grid.model import GridModel


class ScrollAnchor(NamedTuple):
    """A row, a height in its cell (0…1), and where in the window that is, in pixels from the top."""

    row: int
    share: float
    y: float

    def scroll(self, content: GridLayout) -> int:
        """How far to scroll so that it is there again."""
        box = content.box(min(self.row, content.count - 1))
        return round(box.y + self.share * box.height - self.y)


def anchor_at(content: GridLayout, top: int, y: float, row: int | None = None) -> ScrollAnchor | None:
    """What is at a height of the window: `row`, where it is known, or the first one there, or the nearest below, or above."""
    at = top + round(y)
    rows = content.rows_between(at, at + 2 * content.pitch + content.spacing.header)
    if row is None:
        row = rows.start if rows else content.count - 1
    if row < 0:
        return None
    box = content.box(row)
    share = min(1.0, max(0.0, (at - box.y) / box.height))
    return ScrollAnchor(row, share, box.y + share * box.height - top)


class ScrollBookmark:
    """Taken before images change places; says afterwards where scroll and focus belong.

    Images that went to another label don't count: the person stays where those were.
    """

    def __init__(self, model: GridModel, content: GridLayout, rows: Iterable[int], top: int, focus: int | None) -> None:
        self._model = model
        self._seen = [(model.image(row), model.label_at(row), content.box(row).y - top) for row in rows]
        self._focus = focus
        self._beside: list[TrainingImage] = []
        self._label = ""
        if focus is not None:
            position = content.group_of(focus)
            self._label = model.groups[position].label
            self._beside = model.groups[position].images  # a list of its own after the change
            self._place = focus - content.rows_of(position).start

    def anchor(self) -> ScrollAnchor | None:
        """The first image seen that is still there."""
        for image, label, y in self._seen:
            row = self._row(image, label)
            if row is not None:
                return ScrollAnchor(row, 0, y)
        return None

    def focus(self) -> int | None:
        """The row for the focus: the same image, or the one that came up in its place, or the last before it."""
        if self._focus is None or not self._model.shown:
            return None
        for image in [*self._beside[self._place :], *reversed(self._beside[: self._place])]:
            row = self._row(image, self._label)
            if row is not None:
                return row
        return min(self._focus, self._model.shown - 1)

    def _row(self, image: TrainingImage, label: str) -> int | None:
        image_id = image.image_id
        return self._model.row_of(image_id) if self._model.label_of(image_id) == label else None
