"""Which rows are selected: a byte a row, so that everything from one click to a million rows is a few copies of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress

_INVERT = bytes.maketrans(b"\0\1", b"\1\0")


class Selection:
    """Selected rows of a listing of `size` rows. Out-of-range rows are the caller's mistake (IndexError)."""

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
    def size(self) -> int:
        """Rows there are."""
        return len(self._flags)

    @property
    def flags(self) -> bytearray:
        """1 for a selected row; not to be written to."""
        return self._flags

    def whole(self, rows: range) -> bool:
        """Whether all rows of a run are selected; False for an empty run."""
        return bool(rows) and self._flags.count(1, rows.start, rows.stop) == len(rows)

    def count(self, rows: range) -> int:
        """How many rows of a run are selected."""
        return self._flags.count(1, rows.start, rows.stop)

    # --- what the person does

    def clear(self) -> None:
        """Nothing."""
        self._flags = bytearray(len(self._flags))

    def all(self) -> None:
        """Everything."""
        self._flags = bytearray(b"\1") * len(self._flags)

    def invert(self) -> None:
        """The others."""
        self._flags = self._flags.translate(_INVERT)

    def set(self, rows: range, on: bool = True) -> None:
        """Select a run, or not."""
        self._flags[rows.start : rows.stop] = (b"\1" if on else b"\0") * len(rows)

    def toggle(self, row: int) -> None:
        """The other way round."""
        self._flags[row] ^= 1

    def only(self, runs: Iterable[range]) -> None:
        """These runs and nothing else."""
        self.clear()
        for run in runs:
            self.set(run)

    # --- a rubber band: what it covers, over what was selected before

    def hold(self) -> None:
        """Remember what is selected now, for `band`."""
        self._held = bytearray(self._flags)

    def band(self, runs: Iterable[range], *, toggle: bool = False) -> None:
        """What was held, with the rows of `runs` selected too, or the other way round."""
        self._flags = bytearray(self._held if self._held is not None else self._flags)
        for run in runs:
            if toggle:
                self._flags[run.start : run.stop] = self._flags[run.start : run.stop].translate(_INVERT)
            else:
                self.set(run)

    def release(self) -> None:
        """The band has ended."""
        self._held = None

    # --- what the model does

    def insert(self, row: int, count: int) -> None:
        """Rows come in, unselected."""
        self._flags[row:row] = bytes(count)
        if self._held is not None:
            self._held[row:row] = bytes(count)

    def replace(self, flags: bytes | bytearray) -> None:
        """Another listing with its flags."""
        self._flags = bytearray(flags)
        if self._held is not None:
            self.hold()
