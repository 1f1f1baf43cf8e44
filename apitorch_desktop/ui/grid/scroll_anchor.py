"""Scroll position and focus of the grid, kept through changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.layout import GridLayout
from apitorch_desktop.ui.grid.model import GridModel


class ScrollAnchor(NamedTuple):
    """A row, a height in its cell (0 to 1), and the y coordinate of that point in the viewport."""

    row: int
    share: float
    y: float

    def scroll(self, content: GridLayout) -> int:
        """Return the scroll offset at which the anchor is in the same place."""
        box = content.box(min(self.row, content.count - 1))
        return round(box.y + self.share * box.height - self.y)


def anchor_at(content: GridLayout, top: int, y: float, row: int | None = None) -> ScrollAnchor | None:
    """Return the anchor at a height of the viewport: `row` if given, else the first row there, or the nearest one."""
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
    """Scroll position and focus before images change places, from which those afterwards are determined.

    Images that moved to another label are not followed: the view stays where they were.
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
            self._beside = model.groups[position].images  # the change creates another list
            self._place = focus - content.rows_of(position).start

    def anchor(self) -> ScrollAnchor | None:
        """Return the first image of the former viewport that is still present."""
        for image, label, y in self._seen:
            row = self._row(image, label)
            if row is not None:
                return ScrollAnchor(row, 0, y)
        return None

    def focus(self) -> int | None:
        """Return the row for the focus: the same image, else the next one in its group, else the previous one."""
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
