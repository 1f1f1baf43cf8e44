"""Cache of Review: features and embedding of each image, near-duplicates of each training set."""

from __future__ import annotations

import mmap
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.files import private_file
from apitorch_desktop.utils.sqlite import SqliteFile

MAX_IMAGES = 300_000
"""Images that are cached, some 8 kB each, two of one that was encoded twice; the least recently used ones go first."""
_ENCODED = 0.9
"""Share of a training set's images from which its own encoder is used: the service cannot read the others, or did not yet."""
_SIDE = 48
"""Side of a pattern, see `vision.near_duplicates`."""
_CHUNK = 500
_MAPPED = 64 * 2**20
"""Bytes of records after which the system may take back the memory of what was read."""
_HOUR = 3600
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS features (
        connection TEXT, image TEXT, encoder TEXT, used_at INTEGER, slot INTEGER, body BLOB,
        PRIMARY KEY (connection, image, encoder))""",
    "CREATE INDEX IF NOT EXISTS features_used ON features (used_at)",
    "CREATE INDEX IF NOT EXISTS features_slot ON features (encoder, slot)",
    # Of version 0.1.0: with the arrays in the body
    """CREATE TABLE IF NOT EXISTS seen (
        connection TEXT, image TEXT, encoder TEXT, used_at INTEGER, body BLOB, PRIMARY KEY (connection, image, encoder))""",
    """CREATE TABLE IF NOT EXISTS compared (
        connection TEXT, training_set TEXT, body BLOB, PRIMARY KEY (connection, training_set))""",
)


def is_encoded(encoded: int, images: int) -> bool:
    """Return whether a training set of `images` is analyzed by its own encoder, which has encoded so many of them."""
    return encoded > 0 and encoded >= _ENCODED * images


class CachedImage(msgspec.Struct, array_like=True):
    """Features of an image's thumbnail. `pattern` and `embedding` (float16) are bytes of arrays; see `vision.issues`. They
    are empty where `slot`, the number of their record in the cache's file, is not negative.

    `width`, `height`: of the thumbnail, or where it was measured, of the file, with `size` in bytes. `problem`: why it
    cannot be read; then nothing else is set.
    """

    blur: float = 0.0
    dark: float = 0.0
    bright: float = 0.0
    contrast: float = 0.0
    width: int = 0
    height: int = 0
    size: int = 0
    pattern: bytes = b""
    embedding: bytes = b""
    problem: str = ""
    slot: int = -1


class CachedComparison(msgspec.Struct, array_like=True):
    """Keys of images that were compared with each other, and the similar pairs with their likeness.

    `method` names the encoder and the version of the comparison; it is reused only with the same.
    """

    method: str
    keys: list[str]
    pairs: list[tuple[str, str, float]]


class _ArrayFile:
    """Patterns and embeddings of one encoder as records of a file that is mapped into memory for reading.

    It is written by ordinary writes: with a full disk those fail, where a mapped page would end the process.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        fields: Any = [("pattern", "u1", (_SIDE, _SIDE)), ("embedding", "<f2", (dimensions,)), ("mark", "<u4")]
        self._path = path
        self._record = np.dtype(fields)
        self.dimensions = dimensions
        self._rows: NDArray[Any] = np.empty(0, self._record)
        self._map: mmap.mmap | None = None
        self._touched = 0

    def write(self, records: Mapping[int, tuple[str, CachedImage]]) -> None:
        """Write records by slot: the image's key and its features. Raises OSError."""
        private_file(self._path)
        with self._path.open("r+b", buffering=0) as file:
            for slot, (key, image) in records.items():
                row = np.zeros(1, self._record)
                if image.pattern:
                    row["pattern"][0] = np.frombuffer(image.pattern, "u1").reshape(_SIDE, _SIDE)
                row["embedding"][0] = np.frombuffer(image.embedding, "<f2")
                row["mark"] = _mark(key)
                file.seek(slot * self._record.itemsize)
                file.write(row.tobytes())

    def mark(self, key: str, slot: int) -> None:
        """Let a record be that of an image with another key. Raises OSError."""
        with self._path.open("r+b", buffering=0) as file:
            file.seek((slot + 1) * self._record.itemsize - 4)
            file.write(_mark(key).to_bytes(4, "little"))

    def valid(self, keys: Sequence[str], slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return (n,): whether the slots hold these images' records."""
        rows = self._mapped(int(slots.max(initial=-1)))
        found = np.zeros(len(slots), bool)
        inside = slots < len(rows)
        marks = np.array([_mark(key) for key in keys], "<u4")
        found[inside] = rows["mark"][slots[inside]] == marks[inside]
        return found

    def read(self, field: str, slots: NDArray[np.intp]) -> NDArray[Any]:
        """Return a field of the records (n, …)."""
        found: NDArray[Any] = self._mapped(int(slots.max(initial=-1)))[field][slots]
        self._touched += len(slots) * self._record.itemsize
        if self._touched > _MAPPED:
            self.release()
        return found

    def release(self) -> None:
        """Let the system take back the memory of what was read."""
        self._touched = 0
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap the file."""
        self._rows = np.empty(0, self._record)
        self._map = None

    def _mapped(self, slot: int) -> NDArray[Any]:
        if slot >= len(self._rows):
            with suppress(OSError, ValueError), self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                count = len(self._map) // self._record.itemsize
                self._rows = np.frombuffer(self._map, self._record, count)
        return self._rows


def _mark(key: str) -> int:
    """Mark of a record, so that one that was never written, or is another image's, is not taken for this one's."""
    return zlib.crc32(key.encode()) | 1


class ReviewCache:
    """SQLite file in the cache folder, with arrays in files beside it. A damaged or full one forgets rather than fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = SqliteFile(folder / "review.sqlite", _SCHEMA, cache=True)
        self._arrays: dict[str, _ArrayFile] = {}
        self._earlier = bool(self._file.read("SELECT 1 FROM seen LIMIT 1"))
        self._evict()

    def close(self) -> None:
        """Close the files."""
        for arrays in self._arrays.values():
            arrays.close()
        self._file.close()

    def seen(self, connection: str, encoder: str, keys: Iterable[str]) -> dict[str, CachedImage]:
        """Return the cached features by key, with slots in place of arrays."""
        found: dict[str, CachedImage] = {}
        wanted = list(keys)
        now = int(time())
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            where = f"connection = ? AND encoder = ? AND image IN ({_marks(part)})"
            rows = self._file.read(
                f"SELECT image, slot, body, used_at FROM features WHERE {where}",  # noqa: S608 - our own text
                connection,
                encoder,
                *part,
            )
            for key, slot, body, _ in rows:
                with suppress(msgspec.MsgspecError):  # written by another version
                    found[key] = msgspec.msgpack.decode(body, type=prepared(CachedImage))
                    found[key].slot = slot
            if any(used_at < now - _HOUR for *_, used_at in rows):
                with self._file.transaction() as change:
                    change.execute(f"UPDATE features SET used_at = ? WHERE {where}", (now, connection, encoder, *part))  # noqa: S608
        if self._earlier:
            found |= self._adopt(connection, encoder, [key for key in wanted if key not in found])
        return self._valid(encoder, found)

    def remember(self, connection: str, encoder: str, seen: Mapping[str, CachedImage]) -> None:
        """Store features, and put slots in place of their arrays. They stay as they are where there is no room for them.

        Raises ValueError for embeddings of different lengths.
        """
        now = int(time())
        with suppress(OSError), self._file.transaction() as rows:
            new = [(key, one) for key, one in seen.items() if one.slot < 0]
            placed = dict(zip(_free_slots(rows, connection, encoder, [key for key, _ in new]), new, strict=True))
            if placed:
                self._array_file(encoder, len(new[0][1].embedding) // 2).write(placed)
            slots = {key: slot for slot, (key, _) in placed.items()}
            rows.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        connection,
                        key,
                        encoder,
                        now,
                        slots.get(key, one.slot),
                        msgspec.msgpack.encode(_without_arrays(one)),
                    )
                    for key, one in seen.items()
                ],
            )
            for slot, (_, one) in placed.items():
                one.slot, one.pattern, one.embedding = slot, b"", b""

    def patterns(self, encoder: str, images: Sequence[CachedImage]) -> NDArray[np.uint8]:
        """Return the brightness patterns (n, 48, 48)."""
        return self._read("pattern", encoder, images, (_SIDE, _SIDE))

    def embeddings(self, encoder: str, images: Sequence[CachedImage]) -> NDArray[np.float16]:
        """Return the embeddings (n, d); (0, 1) for none."""
        arrays = self._known_arrays(encoder)
        dimensions = arrays.dimensions if arrays else len(images[0].embedding) // 2 if images else 1
        return self._read("embedding", encoder, images, (dimensions,))

    def release(self) -> None:
        """Let the system take back the memory of what was read."""
        for arrays in self._arrays.values():
            arrays.release()

    def _read(self, field: str, encoder: str, images: Sequence[CachedImage], shape: tuple[int, ...]) -> NDArray[Any]:
        slots = np.fromiter((one.slot for one in images), np.intp, len(images))
        inside = slots >= 0
        arrays = self._known_arrays(encoder)
        if arrays and inside.all():
            return arrays.read(field, slots)
        found = np.zeros((len(images), *shape), "u1" if field == "pattern" else "<f2")
        if arrays and inside.any():
            found[inside] = arrays.read(field, slots[inside])
        for at in np.flatnonzero(~inside).tolist():
            found[at] = np.frombuffer(getattr(images[at], field), found.dtype).reshape(shape)
        return found

    def _valid(self, encoder: str, found: dict[str, CachedImage]) -> dict[str, CachedImage]:
        """Leave out images whose records are not there, as after a crash of the system."""
        keys = [key for key, one in found.items() if one.slot >= 0]
        arrays = self._known_arrays(encoder)
        if not keys or arrays is None:
            return {key: one for key, one in found.items() if one.slot < 0}
        valid = arrays.valid(keys, np.array([found[key].slot for key in keys], np.intp)).tolist()
        bad = {key for key, there in zip(keys, valid, strict=True) if not there}
        return {key: one for key, one in found.items() if key not in bad} if bad else found

    def _adopt(self, connection: str, encoder: str, keys: list[str]) -> dict[str, CachedImage]:
        """Take over features of version 0.1.0."""
        adopted: dict[str, CachedImage] = {}
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            where = f"connection = ? AND encoder = ? AND image IN ({_marks(part)})"
            some: dict[str, CachedImage] = {}
            for key, body in self._file.read(
                f"SELECT image, body FROM seen WHERE {where}",  # noqa: S608 - our own text
                connection,
                encoder,
                *part,
            ):
                with suppress(msgspec.MsgspecError):
                    some[key] = msgspec.msgpack.decode(body, type=prepared(CachedImage))
            if some:
                self.remember(connection, encoder, some)
                with self._file.transaction() as rows:
                    rows.execute(f"DELETE FROM seen WHERE {where}", (connection, encoder, *part))  # noqa: S608
                adopted |= some
        return adopted

    def _known_arrays(self, encoder: str) -> _ArrayFile | None:
        """Return the file of an encoder that was used before."""
        if encoder not in self._arrays:
            for path in self._folder.glob(f"{_stem(encoder)}-*.bin"):
                with suppress(ValueError):
                    self._arrays[encoder] = _ArrayFile(path, int(path.stem.rpartition("-")[2]))
        return self._arrays.get(encoder)

    def _array_file(self, encoder: str, dimensions: int) -> _ArrayFile:
        known = self._known_arrays(encoder)
        if known is None:
            path = self._folder / f"{_stem(encoder)}-{dimensions}.bin"
            known = self._arrays[encoder] = _ArrayFile(path, dimensions)
        return known

    def compared(self, connection: str, training_set: str) -> CachedComparison | None:
        """Return what was compared in a training set, None where nothing was."""
        sql = "SELECT body FROM compared WHERE connection = ? AND training_set = ?"
        for (body,) in self._file.read(sql, connection, training_set):
            try:
                return msgspec.msgpack.decode(body, type=prepared(CachedComparison))
            except msgspec.MsgspecError:
                return None
        return None

    def keep_compared(self, connection: str, training_set: str, compared: CachedComparison) -> None:
        """Store what was compared in a training set."""
        with self._file.transaction() as rows:
            rows.execute(
                "INSERT OR REPLACE INTO compared VALUES (?, ?, ?)",
                (connection, training_set, msgspec.msgpack.encode(compared)),
            )

    def replace_ids(self, connection: str, ids: Mapping[str, str]) -> None:
        """Replace keys of images, old → new: their features remain valid."""
        with self._file.transaction() as rows:
            rows.executemany(
                "UPDATE OR REPLACE seen SET image = ? WHERE connection = ? AND image = ?",
                [(new, connection, old) for old, new in ids.items()],
            )
        moved: list[tuple[str, str, int, str]] = []
        for old, new in ids.items():
            sql = "SELECT encoder, slot FROM features WHERE connection = ? AND image = ?"
            moved += [(new, encoder, slot, old) for encoder, slot in self._file.read(sql, connection, old)]
        with suppress(OSError), self._file.transaction() as rows:
            for new, encoder, slot, old in moved:
                if slot >= 0 and (arrays := self._known_arrays(encoder)):
                    arrays.mark(new, slot)
                rows.execute(
                    "UPDATE OR REPLACE features SET image = ? WHERE connection = ? AND image = ? AND encoder = ?",
                    (new, connection, old, encoder),
                )

    def _evict(self) -> None:
        with self._file.transaction() as rows:
            for table in ("features", "seen"):
                rows.execute(
                    f"DELETE FROM {table} WHERE rowid IN "  # noqa: S608 - our own text
                    f"(SELECT rowid FROM {table} ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
                    (MAX_IMAGES,),
                )


def _free_slots(rows: sqlite3.Connection, connection: str, encoder: str, keys: list[str]) -> list[int]:
    """Return slots for images: their own, else those that no image has any more, then new ones."""
    own: dict[str, int] = {}
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        sql = f"SELECT image, slot FROM features WHERE connection = ? AND encoder = ? AND image IN ({_marks(part)})"  # noqa: S608
        own |= {key: slot for key, slot in rows.execute(sql, (connection, encoder, *part)) if slot >= 0}
    count, most = rows.execute("SELECT count(slot), max(slot) FROM features WHERE encoder = ?", (encoder,)).fetchone()
    most = -1 if most is None else most
    free: list[int] = []
    if most >= count + _CHUNK:  # after an eviction
        taken = {slot for (slot,) in rows.execute("SELECT slot FROM features WHERE encoder = ?", (encoder,))}
        free = [slot for slot in range(most) if slot not in taken][: len(keys)]
    found = []
    for key in keys:
        if key in own:
            found.append(own[key])
        elif free:
            found.append(free.pop())
        else:
            most += 1
            found.append(most)
    return found


def _without_arrays(image: CachedImage) -> CachedImage:
    return msgspec.structs.replace(image, pattern=b"", embedding=b"", slot=-1)


def _stem(encoder: str) -> str:
    return f"features-{blake2b(encoder.encode(), digest_size=8).hexdigest()}"


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))
