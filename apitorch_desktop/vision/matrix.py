"""Matrices of numbers, a row an image, read in batches: an array in memory, or a scratch file where there are too many.

What learns from a matrix goes through it in batches and keeps a few numbers an image; everything wider than that it puts
into another matrix of the same kind (`Matrix.like`). So the same code learns from an array, which is one batch, and from
files of any length with the memory of some batches of BATCH_NUMBERS each.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
_T = TypeVar("_T")

BATCH_NUMBERS: Final = 2**22
"""Numbers of a batch of a file at most, unless one row has more: 16 MiB as float32."""


class Matrix:
    """(n, c) numbers in an array. Not thread-safe."""

    _numbers = BATCH_NUMBERS

    def __init__(self, array: Array) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._array.shape[0], self._array.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, part: slice) -> Array:
        """Return consecutive rows; not to be changed."""
        return self._array[part]

    def whole(self) -> Array:
        """Return all rows, in memory."""
        return self.read(slice(0, len(self)))

    def take(self, index: Array) -> Array:
        """Return the rows of ascending indices, as a copy."""
        return np.asarray(self._array[index])

    def put(self, part: slice, values: Array) -> None:
        """Write consecutive rows; `values` are not to be changed afterwards."""
        if values.shape == self.shape and values.dtype == self._array.dtype:
            self._array = values
        else:
            self._array[part] = values

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._array = self._array[:count]

    def like(self, columns: int, dtype: DTypeLike) -> "Matrix":
        """Return a matrix of the same kind and length with other columns, to be filled."""
        return Matrix(np.empty((len(self), columns), dtype))

    def batches(self, _width: int = 0) -> Iterator[tuple[slice, Array]]:
        """Iterate over the rows in order: an array at once, a file in batches that have room for `width` numbers a row."""
        whole = slice(0, len(self))
        yield whole, self.read(whole)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Iterate over the rows in order in batches, an array too: for what would copy it."""
        step = max(1, self._numbers // max(1, self.shape[1]))
        for start in range(0, len(self), step):
            part = slice(start, min(start + step, len(self)))
            yield part, self.read(part)

    def map(self, make: Callable[[slice, Array], _T], _width: int = 0) -> Iterable[_T]:
        """Return what `make` makes of each batch, to be gone through more than once: kept for an array, else made anew."""
        return [make(part, batch) for part, batch in self.batches()]


class FileMatrix(Matrix):
    """(n, c) numbers in a file of `folder` without a name, which the system removes with this object, also after a crash.

    `float16` rows are stored as multiples of a power of two above their largest number, so that embeddings of any length
    keep eleven binary digits, and are read as float32. `numbers` are those of a batch, by default BATCH_NUMBERS. Raises OSError.
    """

    def __init__(self, folder: Path, rows: int, columns: int, dtype: DTypeLike, numbers: int | None = None) -> None:
        self._folder, self._rows, self._columns = folder, rows, columns
        self._numbers = BATCH_NUMBERS if numbers is None else numbers
        self._type = np.dtype(dtype).newbyteorder("<")
        self._scales = np.ones(rows, np.float32) if self._type == np.float16 else None
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this object
        self._file.truncate(rows * self._row_bytes)
        weakref.finalize(self, self._file.close)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._rows, self._columns

    @property
    def _row_bytes(self) -> int:
        return self._columns * self._type.itemsize

    def read(self, part: slice) -> Array:
        """Read consecutive rows."""
        start, stop, _ = part.indices(self._rows)
        found = np.empty((max(0, stop - start), self._columns), self._type)
        self._fill(start, found)
        return self._restore(found, part)

    def take(self, index: Array) -> Array:
        """Read the rows of ascending indices."""
        index = np.asarray(index, np.intp)
        found = np.empty((len(index), self._columns), self._type)
        for at in np.split(np.arange(len(index)), np.flatnonzero(np.diff(index) != 1) + 1):
            if len(at):
                self._fill(int(index[at[0]]), found[at[0] : at[-1] + 1])
        return self._restore(found, index)

    def put(self, part: slice, values: Array) -> None:
        """Write consecutive rows."""
        if self._scales is not None:
            largest = np.abs(values).max(axis=1, initial=0)
            scales = np.ldexp(np.float32(1), np.frexp(np.where(np.isfinite(largest), largest, 1))[1])
            self._scales[part] = scales
            values = values / scales[:, None]
        self._file.seek(part.indices(self._rows)[0] * self._row_bytes)
        self._file.write(np.ascontiguousarray(values, self._type).data)

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._rows = count
        if self._scales is not None:
            self._scales = self._scales[:count]

    def like(self, columns: int, dtype: DTypeLike) -> "Matrix":
        """Make a file beside this one."""
        return FileMatrix(self._folder, self._rows, columns, dtype, self._numbers)

    def batches(self, width: int = 0) -> Iterator[tuple[slice, Array]]:
        """Read batches of rows, one at a time."""
        step = max(1, self._numbers // max(1, self._columns, width))
        for start in range(0, self._rows, step):
            part = slice(start, min(start + step, self._rows))
            yield part, self.read(part)

    def map(self, make: Callable[[slice, Array], _T], width: int = 0) -> Iterable[_T]:
        """Make it of each batch, anew each time."""
        return _Again(lambda: (make(part, batch) for part, batch in self.batches(width)))

    def _fill(self, start: int, target: Array) -> None:
        self._file.seek(start * self._row_bytes)
        if self._file.readinto(target.data.cast("B")) != target.nbytes:
            raise OSError("A scratch file is shorter than it was.")

    def _restore(self, found: Array, index: Any) -> Array:
        if self._scales is None:
            return found
        return found.astype(np.float32) * self._scales[index, None]


class _Again(Generic[_T]):
    """Iterable that begins an iterator anew each time."""

    def __init__(self, begin: Callable[[], Iterator[_T]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[_T]:
        return self._begin()


def as_matrix(rows: Matrix | Array) -> Matrix:
    """Return a matrix of embeddings as it is, or one of an array (n, d), as float32."""
    return rows if isinstance(rows, Matrix) else Matrix(np.asarray(rows, np.float32))
