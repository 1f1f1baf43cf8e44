"""Cache of Review: features and embedding of each image, near-duplicates of each training set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from time import time

import msgspec

from apitorch_desktop.utils.sqlite import SqliteFile

MAX_IMAGES = 150_000
"""Images that are cached, some 5.5 kB each; the least recently used ones go first."""
_CHUNK = 500
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS seen (
        connection TEXT, image TEXT, encoder TEXT, used_at INTEGER, body BLOB, PRIMARY KEY (connection, image, encoder))""",
    "CREATE INDEX IF NOT EXISTS seen_used ON seen (used_at)",
    """CREATE TABLE IF NOT EXISTS compared (
        connection TEXT, training_set TEXT, body BLOB, PRIMARY KEY (connection, training_set))""",
)


class CachedImage(msgspec.Struct, array_like=True):
    """Features of an image's thumbnail. `pattern` and `embedding` (float16) are bytes of arrays; see `vision.issues`.

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


class CachedComparison(msgspec.Struct, array_like=True):
    """Keys of images that were compared with each other, and the similar pairs with their likeness.

    `method` names the encoder and the version of the comparison; it is reused only with the same.
    """

    method: str
    keys: list[str]
    pairs: list[tuple[str, str, float]]


class ReviewCache:
    """SQLite file in the cache folder. A damaged or full one forgets rather than fails."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / "review.sqlite", _SCHEMA, cache=True)
        self._evict()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def seen(self, connection: str, encoder: str, keys: Iterable[str]) -> dict[str, CachedImage]:
        """Return the cached features by key."""
        found: dict[str, CachedImage] = {}
        wanted = list(keys)
        now = int(time())
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            where = f"connection = ? AND encoder = ? AND image IN ({marks})"
            for key, body in self._file.read(
                f"SELECT image, body FROM seen WHERE {where}",  # noqa: S608 - our own text
                connection,
                encoder,
                *part,
            ):
                try:
                    found[key] = msgspec.msgpack.decode(body, type=CachedImage)
                except msgspec.MsgspecError:  # written by another version
                    continue
            with self._file.transaction() as rows:
                rows.execute(f"UPDATE seen SET used_at = ? WHERE {where}", (now, connection, encoder, *part))  # noqa: S608
        return found

    def remember(self, connection: str, encoder: str, seen: Mapping[str, CachedImage]) -> None:
        """Store features."""
        now = int(time())
        with self._file.transaction() as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
                [(connection, key, encoder, now, msgspec.msgpack.encode(one)) for key, one in seen.items()],
            )

    def compared(self, connection: str, training_set: str) -> CachedComparison | None:
        """Return what was compared in a training set, None where nothing was."""
        sql = "SELECT body FROM compared WHERE connection = ? AND training_set = ?"
        for (body,) in self._file.read(sql, connection, training_set):
            try:
                return msgspec.msgpack.decode(body, type=CachedComparison)
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

    def _evict(self) -> None:
        with self._file.transaction() as rows:
            rows.execute(
                "DELETE FROM seen WHERE rowid IN (SELECT rowid FROM seen ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
                (MAX_IMAGES,),
            )
