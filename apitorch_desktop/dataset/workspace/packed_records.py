"""Records of images packed in blocks, in memory or in a mapped file, and unpacked when one of them is looked at."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.utils.decoding import prepared

BLOCK: Final = 32
"""Records that are packed together: one is read by unpacking them all, in some 0.1 ms."""
_decode_block = msgspec.msgpack.Decoder(prepared(list[TrainingImage])).decode
_Block = bytes | memoryview | list[TrainingImage]
_NONE: Final = np.zeros(1, np.int64)


class PackedRecords:
    """Records by slot, which is the number of those before. Appended to on one thread; read on any.

    The first ones may lie in `mapped`: block n has the slots from `starts[n]`, and lies between the bytes `ends[n]` and
    `ends[n + 1]`; the last of `starts` is the number of these records.
    """

    def __init__(
        self,
        mapped: memoryview = memoryview(b""),  # noqa: B008 - it is empty
        starts: NDArray[np.int64] = _NONE,
        ends: NDArray[np.int64] = _NONE,
    ) -> None:
        self._mapped, self._mapped_starts, self._ends = mapped, starts, ends
        self._mapped_size = self._size = int(starts[-1])
        self._blocks: list[_Block] = []
        self._starts: list[int] = []

    def block(self, slot: int) -> tuple[int, list[TrainingImage]]:
        """Return the slot at which the block of a record begins, and its records, which are not to be changed."""
        if slot < self._mapped_size:
            number = bisect_right(self._mapped_starts, slot) - 1
            return int(self._mapped_starts[number]), _unpacked(self._mapped_block(number))
        number = bisect_right(self._starts, slot) - 1
        return self._starts[number], _unpacked(self._blocks[number])

    def append(self, images: Sequence[TrainingImage]) -> None:
        """Add records, which may be changed by the caller afterwards."""
        images = [replace(image) for image in images]
        first, self._size = self._size, self._size + len(images)
        if self._blocks and isinstance(last := self._blocks[-1], list):  # replaced, since others may be reading it
            start = BLOCK - len(last)
            last = [*last, *images[:start]]
            self._blocks[-1] = _packed(last) if len(last) == BLOCK else last
            images, first = images[start:], first + start
        for start in range(0, len(images), BLOCK):
            block = images[start : start + BLOCK]
            self._blocks.append(_packed(block) if len(block) == BLOCK else block)
            self._starts.append(first + start)

    def absorb(self, other: PackedRecords) -> None:
        """Add all records of another one, which is not used any more."""
        for start, block in other._all():
            self._blocks.append(block)
            self._starts.append(self._size + start)
        self._size += other._size

    def packed(self) -> tuple[NDArray[np.int64], list[bytes | memoryview]]:
        """Return the slots at which blocks begin, with the number of all records as the last; and the blocks, packed."""
        starts, blocks = [], []
        for start, block in self._all():
            starts.append(start)
            blocks.append(_packed(block) if isinstance(block, list) else block)
        return np.array([*starts, self._size], np.int64), blocks

    def _all(self) -> Iterator[tuple[int, _Block]]:
        for number, (start, _) in enumerate(pairwise(self._mapped_starts.tolist())):
            yield start, self._mapped_block(number)
        yield from zip(self._starts, self._blocks, strict=True)

    def _mapped_block(self, number: int) -> memoryview:
        return self._mapped[int(self._ends[number]) : int(self._ends[number + 1])]


def _packed(images: list[TrainingImage]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(images), 1)


def _unpacked(block: _Block) -> list[TrainingImage]:
    return block if isinstance(block, list) else _decode_block(zlib.decompress(block))
