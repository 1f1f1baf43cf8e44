"""Geometry of the grid by prefix sums over groups and bisection, so that a million images cost as little as ten.

Plain Python in pixels of the content: y grows downwards from the first header, x from the start of the line (the view
mirrors it for right-to-left). Rows are numbered through all groups; a group is a header and its cells.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

Step = Literal["left", "right", "up", "down", "start", "end", "page_up", "page_down"]


@dataclass(frozen=True, slots=True)
class Spacing:
    """Distances in pixels. `empty` is the height below the header of a group without images."""

    margin: int = 18
    gap: int = 10
    header: int = 42
    empty: int = 36
    foot: int = 8


class Box(NamedTuple):
    """A rectangle; `right` and `bottom` are exclusive."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The x coordinate past the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The y coordinate past the bottom edge."""
        return self.y + self.height


class GridLayout:
    """Geometry for groups of `counts` images at a width. Immutable: another width, size or count is another layout.

    `cell` is the minimum size of a cell; cells are enlarged so that rows fill the width, up to `most`.
    """

    def __init__(
        self, counts: Sequence[int], width: int, cell: int, spacing: Spacing | None = None, most: int | None = None
    ) -> None:
        self.spacing = spacing = spacing or Spacing()
        self.width = width
        room = max(cell, width - 2 * spacing.margin)
        self.columns = max(1, (room + spacing.gap) // (cell + spacing.gap))
        self.cell = max(cell, min((room + spacing.gap) // self.columns - spacing.gap, most or cell * 2))
        self.pitch = self.cell + spacing.gap
        # the rest of the width is distributed between the columns, so that the last one ends at the margin
        slack = room + spacing.gap - self.columns * self.pitch
        slack = slack if slack < self.columns else 0
        self._xs = [
            spacing.margin + at * self.pitch + at * slack // max(1, self.columns - 1) for at in range(self.columns)
        ]
        self.counts = list(counts)
        self._firsts = [0, *accumulate(self.counts)]
        self._tops = [0, *accumulate(self._group_height(count) for count in self.counts)]

    def _group_height(self, count: int) -> int:
        lines = -(-count // self.columns)
        body = lines * self.pitch - self.spacing.gap if lines else self.spacing.empty
        return self.spacing.header + body + self.spacing.foot

    @property
    def count(self) -> int:
        """Number of images."""
        return self._firsts[-1]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.counts)

    @property
    def height(self) -> int:
        """Height of the content in pixels."""
        return self._tops[-1] + (self.spacing.margin if self.counts else 0)

    # --- from rows to pixels

    def group_of(self, row: int) -> int:
        """Return the group of a row."""
        return bisect_right(self._firsts, row) - 1

    def rows_of(self, group: int) -> range:
        """Return the rows of a group."""
        return range(self._firsts[group], self._firsts[group + 1])

    def box(self, row: int) -> Box:
        """Return the cell of a row."""
        group = self.group_of(row)
        line, column = divmod(row - self._firsts[group], self.columns)
        return Box(self._xs[column], self._body(group) + line * self.pitch, self.cell, self.cell)

    def header(self, group: int) -> Box:
        """Return the header of a group, over the whole width."""
        return Box(0, self._tops[group], self.width, self.spacing.header)

    def group(self, group: int) -> Box:
        """Return the area of a group, header and cells."""
        return Box(0, self._tops[group], self.width, self._tops[group + 1] - self._tops[group])

    def _body(self, group: int) -> int:
        return self._tops[group] + self.spacing.header

    # --- from pixels to rows

    def group_at(self, y: int) -> int | None:
        """Return the group whose header or cells are at a y coordinate."""
        if not 0 <= y < self._tops[-1]:
            return None
        return bisect_right(self._tops, y) - 1

    def row_at(self, x: int, y: int) -> int | None:
        """Return the row whose cell contains a point; None between cells."""
        group = self.group_at(y)
        if group is None or y < self._body(group) or x < self.spacing.margin:
            return None
        column = bisect_right(self._xs, x) - 1
        line, below = divmod(y - self._body(group), self.pitch)
        if x >= self._xs[column] + self.cell or below >= self.cell:
            return None
        row = self._firsts[group] + line * self.columns + column
        return row if row < self._firsts[group + 1] else None

    def header_at(self, y: int) -> int | None:
        """Return the group whose header is at a y coordinate."""
        group = self.group_at(y)
        return group if group is not None and y < self._body(group) else None

    def sticky(self, top: int) -> tuple[int, int] | None:
        """Return the group whose header sticks at the scroll offset `top`, and the y coordinate of that header.

        The next header pushes it out. None above the first and below the last group.
        """
        group = self.group_at(top)
        if group is None:
            return None
        return group, min(top, self._tops[group + 1] - self.spacing.header)

    def groups_between(self, top: int, bottom: int) -> range:
        """Return the groups visible between two y coordinates, `bottom` exclusive."""
        top, bottom = max(0, top), min(bottom, self._tops[-1])
        if top >= bottom:
            return range(0)
        return range(bisect_right(self._tops, top) - 1, bisect_right(self._tops, bottom - 1))

    def rows_between(self, top: int, bottom: int) -> range:
        """Return the rows whose line of cells is visible between two y coordinates."""
        groups = self.groups_between(top, bottom)
        if not groups:
            return range(0)
        first, last = groups[0], groups[-1]
        start = self._firsts[first] + self._lines_above(first, top + self.spacing.gap) * self.columns
        body = bottom - self._body(last)
        end = self._firsts[last] + max(0, -(-body // self.pitch)) * self.columns
        return range(min(start, self._firsts[first + 1]), min(end, self._firsts[last + 1]))

    def _lines_above(self, group: int, y: int) -> int:
        return max(0, (y - self._body(group)) // self.pitch)

    def runs_in(self, box: Box) -> Iterator[range]:
        """Yield ranges of the rows whose cells intersect a box (a rubber band); whole lines of a group are one range."""
        left = bisect_right(self._xs, box.x - self.cell)
        right = bisect_left(self._xs, box.right)
        if left >= right:
            return
        for group in self.groups_between(box.y, box.bottom):
            first, end = self._firsts[group], self._firsts[group + 1]
            top = self._lines_above(group, box.y + self.spacing.gap)
            bottom = max(0, -(-(box.bottom - self._body(group)) // self.pitch))
            if left == 0 and right == self.columns:
                spans: Iterator[tuple[int, int]] = iter([(top * self.columns, bottom * self.columns)])
            else:
                bottom = min(bottom, -(-(end - first) // self.columns))
                spans = ((line * self.columns + left, line * self.columns + right) for line in range(top, bottom))
            for start, stop in spans:
                run = range(first + start, min(first + stop, end))
                if run:
                    yield run

    # --- keyboard navigation

    def step(self, row: int, step: Step, page: int = 1) -> int:
        """Return the row that a key leads to, the same row if there is none. `page` is the height of a page in pixels.

        Up and down keep the column across headers; in a shorter line they end on its last cell.
        """
        if step == "left":
            return max(0, row - 1)
        if step == "right":
            return min(self.count - 1, row + 1)
        if step == "start":
            return 0
        if step == "end":
            return self.count - 1
        if step in ("up", "down"):
            return self._vertical(row, 1 if step == "down" else -1)
        return self._page(row, page if step == "page_down" else -page)

    def _vertical(self, row: int, direction: int) -> int:
        group = self.group_of(row)
        rows = self.rows_of(group)
        line, column = divmod(row - rows.start, self.columns)
        last_line = (len(rows) - 1) // self.columns
        if 0 <= line + direction <= last_line:
            return min(row + direction * self.columns, rows.stop - 1)
        group += direction
        while 0 <= group < self.groups and not self.counts[group]:
            group += direction
        if not 0 <= group < self.groups:
            return row
        rows = self.rows_of(group)
        line = 0 if direction > 0 else (len(rows) - 1) // self.columns
        return min(rows.start + line * self.columns + column, rows.stop - 1)

    def _page(self, row: int, pixels: int) -> int:
        goal = self.box(row).y + pixels
        found = row
        while True:
            following = self._vertical(found, 1 if pixels > 0 else -1)
            y = self.box(following).y
            if following == found or (y > goal if pixels > 0 else y < goal):
                return found if found != row else following
            # far away: skip whole lines of this group
            found = self._jump(following, goal, 1 if pixels > 0 else -1)

    def _jump(self, row: int, goal: int, direction: int) -> int:
        rows = self.rows_of(self.group_of(row))
        lines = abs(goal - self.box(row).y) // self.pitch
        room = (rows.stop - 1 - row if direction > 0 else row - rows.start) // self.columns
        return row + direction * min(lines, room) * self.columns


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
