"""Selected rows, a byte for each row, so that an operation on a million rows is a few copies of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress

_INVERT = bytes.maketrans(b"\0\1", b"\1\0")


class Selection:
    """The selection among `size` rows. Rows out of range raise IndexError."""

    def __init__(self, size: int = 0) -> None:
        self._flags = bytearray(size)
        self._held: bytearray | None = None

    def __len__(self) -> int:
        return self._flags.count(1)

    def __bool__(self) -> bool:
        return 1 in self._flags

    def __contains__(self, row: int) -> bool:
        return self._flags[row] == 1

    def __iter__(self) -> Iterator[int]:
        return compress(range(len(self._flags)), self._flags)

    @property
    def flags(self) -> bytearray:
        """1 for each selected row, read-only."""
        return self._flags

    def whole(self, rows: range) -> bool:
        """Return True if all rows of a range are selected; False for an empty one."""
        return bool(rows) and self._flags.count(1, rows.start, rows.stop) == len(rows)

    def count(self, rows: range) -> int:
        """Return the number of selected rows in a range."""
        return self._flags.count(1, rows.start, rows.stop)

    # --- changes by the user

    def clear(self) -> None:
        """Select nothing."""
        self._flags = bytearray(len(self._flags))

    def all(self) -> None:
        """Select all rows."""
        self._flags = bytearray(b"\1") * len(self._flags)

    def invert(self) -> None:
        """Invert the selection."""
        self._flags = self._flags.translate(_INVERT)

    def set(self, rows: range, on: bool = True) -> None:
        """Select or deselect a range of rows."""
        self._flags[rows.start : rows.stop] = (b"\1" if on else b"\0") * len(rows)

    def toggle(self, row: int) -> None:
        """Invert the selection of a row."""
        self._flags[row] ^= 1

    def only(self, runs: Iterable[range]) -> None:
        """Select these ranges only."""
        self.clear()
        for run in runs:
            self.set(run)

    # --- a rubber band over the former selection

    def hold(self) -> None:
        """Store the current selection for `band`."""
        self._held = bytearray(self._flags)

    def band(self, runs: Iterable[range], *, toggle: bool = False) -> None:
        """Select the rows of `runs` in addition to the stored selection, or invert them."""
        self._flags = bytearray(self._held if self._held is not None else self._flags)
        for run in runs:
            if toggle:
                self._flags[run.start : run.stop] = self._flags[run.start : run.stop].translate(_INVERT)
            else:
                self.set(run)

    def release(self) -> None:
        """Discard the stored selection."""
        self._held = None

    # --- changes of the rows

    def insert(self, row: int, count: int) -> None:
        """Insert unselected rows."""
        self._flags[row:row] = bytes(count)
        if self._held is not None:
            self._held[row:row] = bytes(count)

    def replace(self, flags: bytes | bytearray) -> None:
        """Replace all flags."""
        self._flags = bytearray(flags)
        if self._held is not None:
            self.hold()
