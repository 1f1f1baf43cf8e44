"""File of an image table: its columns as they lie in memory.

A table is opened by mapping its file: of a million images, what is looked at is read, and nothing else. Changes of an
open table stay in memory; the file is never written again, since others may have it open.

    magic (8 bytes) · length and CRC-32 of the header (2 × 4 bytes, little-endian) · header (MessagePack) · arrays, then
    blocks of records, each at a multiple of 64 bytes
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec
import numpy as np

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.workspace.image_table import ImageTable, TableParts
from apitorch_desktop.dataset.workspace.packed_records import PackedRecords
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC: Final = b"images\x003"
_LENGTHS: Final = struct.Struct("<II")
_ALIGNMENT: Final = 64


class _Section(msgspec.Struct, array_like=True):
    """Place of an array in the file: `shape` in items of `kind`, as NumPy writes it (`<i4`)."""

    name: str
    kind: str
    shape: list[int]
    start: int


class _Header(msgspec.Struct):
    labels: list[str]
    next_order: int
    odd_ids: dict[int, str]
    newer: dict[int, TrainingImage]
    splits: dict[int, str]
    sections: list[_Section]
    blocks_start: int
    size: int
    """Bytes after the header."""


_decode_header = msgspec.msgpack.Decoder(prepared(_Header)).decode


def write(table: ImageTable, path: Path) -> None:
    """Write a table; the file appears when its content is on the disk. Raises OSError."""
    parts = table.parts()
    starts, blocks = parts.records.packed()
    ends = np.cumsum([0, *map(len, blocks)], dtype=np.int64)
    arrays = {
        name: _little_endian(array)
        for name, array in {**parts.arrays, "block_starts": starts, "block_ends": ends}.items()
    }
    sections, place = [], 0
    for name, array in arrays.items():
        sections.append(_Section(name, array.dtype.str, list(array.shape), place))
        place = _aligned(place + array.nbytes)
    header = msgspec.msgpack.encode(
        _Header(
            parts.labels, parts.next_order, parts.odd_ids, parts.newer, parts.splits, sections,
            blocks_start=place, size=place + int(ends[-1]),
        )
    )  # fmt: skip
    with atomic_write(path, mode=0o600, durable=False) as part, part.open("r+b") as file:
        file.write(_MAGIC + _LENGTHS.pack(len(header), zlib.crc32(header)) + header)
        start = _pad(file)
        for section, array in zip(sections, arrays.values(), strict=True):
            assert file.tell() == start + section.start  # noqa: S101 - else the file is nonsense
            file.write(array.data)
            _pad(file)
        file.writelines(blocks)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> ImageTable:
    """Open a table. Raises OSError, and ValueError for what is no such file, a part of one, or of another version."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC) + _LENGTHS.size)
        if len(head) < len(_MAGIC) + _LENGTHS.size or not head.startswith(_MAGIC):
            raise ValueError("no table of images")
        length, checksum = _LENGTHS.unpack_from(head, len(_MAGIC))
        body = file.read(length)
        if zlib.crc32(body) != checksum:
            raise ValueError("a damaged table of images")
        header = _decode_header(body)
        start = _aligned(file.tell())
        if os.fstat(file.fileno()).st_size != start + header.size:
            raise ValueError("a part of a table of images")
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    arrays = {section.name: _array(mapped, start, section) for section in header.sections}
    try:
        records = PackedRecords(
            mapped[start + header.blocks_start :], arrays.pop("block_starts"), arrays.pop("block_ends")
        )
        return ImageTable.of_parts(
            TableParts(
                header.labels, header.next_order, header.odd_ids, header.newer, header.splits, arrays, records
            )
        )  # fmt: skip
    except KeyError as error:
        raise ValueError("a table of images of another version") from error


def _array(mapped: memoryview, start: int, section: _Section) -> NDArray[Any]:
    kind = np.dtype(section.kind)
    count = int(np.prod(section.shape, dtype=np.int64))
    return np.frombuffer(mapped, kind, count, start + section.start).reshape(section.shape)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("<")))


def _aligned(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def _pad(file: BinaryIO) -> int:
    place = file.tell()
    file.write(bytes(_aligned(place) - place))
    return _aligned(place)
