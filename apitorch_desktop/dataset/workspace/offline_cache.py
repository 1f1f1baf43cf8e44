"""Offline cache of each connection: training sets, listings and thumbnails as last seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import time
from typing import Final, TypeVar

import msgspec

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet, decode_msgpack, encode_msgpack
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.utils.sqlite import SqliteFile

T = TypeVar("T")

THUMBNAIL_BYTES: Final = 512 * 2**20
"""Bytes of thumbnails that are kept; the least recently used are dropped first."""
_CHUNK = 2000
_KEPT_AFTER_EVICTION = 0.9
_TOUCHES = 500

_SEEN = (
    "CREATE TABLE IF NOT EXISTS connection (id TEXT PRIMARY KEY, extensions BLOB, training_sets BLOB)",
    """CREATE TABLE IF NOT EXISTS listing (
        connection TEXT, training_set TEXT, head BLOB, seen_at REAL, PRIMARY KEY (connection, training_set))""",
    # A piece of a listing is keyed by its content: unchanged pieces are not written again
    """CREATE TABLE IF NOT EXISTS piece (
        connection TEXT, training_set TEXT, hash BLOB, body BLOB, PRIMARY KEY (connection, training_set, hash))""",
)
_THUMBNAILS = (
    """CREATE TABLE IF NOT EXISTS thumbnail (
        id INTEGER PRIMARY KEY, connection TEXT, image TEXT, used_at INTEGER, bytes INTEGER, jpeg BLOB)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS thumbnail_image ON thumbnail (connection, image)",
    "CREATE INDEX IF NOT EXISTS thumbnail_used ON thumbnail (used_at, bytes)",
)


class _CachedHeader(msgspec.Struct):
    training_set_id: Id
    slug: str
    url: str
    labels: list[str]
    label_ids: dict[str, str]
    pieces: list[bytes]
    revision: str = ""


class OfflineCache:
    """Cache in `folder`, which is created. Thread-safe. A damaged file is replaced; a full disk costs nothing but the cache."""

    def __init__(self, folder: Path, thumbnail_bytes: int = THUMBNAIL_BYTES) -> None:
        self._seen = SqliteFile(folder / "catalog.sqlite", _SEEN, cache=True)
        self._thumbnails = SqliteFile(folder / "thumbnails.sqlite", _THUMBNAILS, cache=True)
        self._limit = thumbnail_bytes
        self._lock = Lock()
        self._touched: set[tuple[str, str]] = set()
        self._bytes = self._sum()

    def close(self) -> None:
        """Close the files."""
        self._record_use()
        self._seen.close()
        self._thumbnails.close()

    # --- training sets and listings

    def save_training_sets(
        self, connection_id: str, training_sets: list[TrainingSet], extensions: Iterable[str]
    ) -> None:
        """Replace the cached training sets and extensions of a connection."""
        rows = msgspec.msgpack.encode(sorted(extensions)), encode_msgpack(training_sets)
        with self._seen.transaction() as rows_of:
            rows_of.execute("INSERT OR REPLACE INTO connection VALUES (?, ?, ?)", (connection_id, *rows))

    def training_sets(self, connection_id: str) -> list[TrainingSet]:
        """Return the training sets as last seen."""
        for (body,) in self._seen.read("SELECT training_sets FROM connection WHERE id = ?", connection_id):
            return _decoded(body, list[TrainingSet]) or []
        return []

    def extensions(self, connection_id: str) -> frozenset[str]:
        """Return the extensions as last seen."""
        for (body,) in self._seen.read("SELECT extensions FROM connection WHERE id = ?", connection_id):
            return frozenset(_decoded(body, list[str]) or [])
        return frozenset()

    def save_listing(self, connection_id: str, listing: Listing) -> None:
        """Replace a cached listing in one transaction; unchanged pieces are not written again."""
        owner = connection_id, listing.training_set_id
        named = [(blake2b(body, digest_size=16).digest(), body) for body in _pieces(listing.images)]
        pieces = dict(named)
        head = _CachedHeader(
            listing.training_set_id,
            listing.slug,
            listing.url,
            listing.labels,
            listing.label_ids,
            [key for key, _ in named],
            listing.revision,
        )
        where = "WHERE connection = ? AND training_set = ?"
        with self._seen.transaction() as rows:
            existing = {key for (key,) in rows.execute(f"SELECT hash FROM piece {where}", owner)}  # noqa: S608 - our own text
            rows.executemany(
                f"DELETE FROM piece {where} AND hash = ?",  # noqa: S608
                [(*owner, key) for key in existing - pieces.keys()],
            )
            rows.executemany(
                "INSERT INTO piece VALUES (?, ?, ?, ?)",
                [(*owner, key, body) for key, body in pieces.items() if key not in existing],
            )
            rows.execute(
                "INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?)",
                (*owner, encode_msgpack(head), listing.seen_at),
            )

    def listing(self, connection_id: str, training_set_id: Id) -> Listing | None:
        """Return a listing as last seen."""
        owner = connection_id, training_set_id
        heads: list[tuple[bytes, float]] = []
        bodies: dict[bytes, bytes] = {}
        with self._seen.transaction() as rows:  # one snapshot of both tables
            heads = rows.execute(
                "SELECT head, seen_at FROM listing WHERE connection = ? AND training_set = ?", owner
            ).fetchall()
            bodies = dict(rows.execute("SELECT hash, body FROM piece WHERE connection = ? AND training_set = ?", owner))
        for body, seen_at in heads:
            head = _decoded(body, _CachedHeader)
            if head is None or any(key not in bodies for key in head.pieces):
                return None
            images: list[TrainingImage] = []
            for key in head.pieces:
                images += _decoded(bodies[key], list[TrainingImage]) or []
            return Listing(
                head.training_set_id,
                head.slug,
                head.labels,
                images,
                head.url,
                head.label_ids,
                seen_at,
                head.revision,
            )
        return None

    def forget_training_set(self, connection_id: str, training_set_id: Id) -> None:
        """Delete the listing of a training set."""
        owner = connection_id, training_set_id
        with self._seen.transaction() as rows:
            rows.execute("DELETE FROM listing WHERE connection = ? AND training_set = ?", owner)
            rows.execute("DELETE FROM piece WHERE connection = ? AND training_set = ?", owner)

    def forget_connection(self, connection_id: str) -> None:
        """Delete all of a connection, thumbnails included."""
        with self._seen.transaction() as rows:
            rows.execute("DELETE FROM connection WHERE id = ?", (connection_id,))
            rows.execute("DELETE FROM listing WHERE connection = ?", (connection_id,))
            rows.execute("DELETE FROM piece WHERE connection = ?", (connection_id,))
        with self._thumbnails.transaction() as rows:
            rows.execute("DELETE FROM thumbnail WHERE connection = ?", (connection_id,))
        self._recount()

    # --- thumbnails

    def thumbnail(self, connection_id: str, image_id: str) -> bytes | None:
        """Return a thumbnail (JPEG)."""
        sql = "SELECT jpeg FROM thumbnail WHERE connection = ? AND image = ?"
        for (jpeg,) in self._thumbnails.read(sql, connection_id, image_id):
            self._touched.add((connection_id, image_id))
            if len(self._touched) >= _TOUCHES:
                self._record_use()
            return bytes(jpeg)
        return None

    def save_thumbnail(self, connection_id: str, image_id: str, jpeg: bytes) -> None:
        """Save a thumbnail; the least recently used make room."""
        if len(jpeg) > self._limit:
            return
        with self._lock, self._thumbnails.transaction() as rows:
            before = rows.execute(
                "SELECT bytes FROM thumbnail WHERE connection = ? AND image = ?", (connection_id, image_id)
            ).fetchone()
            self._bytes += len(jpeg) - (before[0] if before else 0)
            rows.execute(
                "INSERT OR REPLACE INTO thumbnail (connection, image, used_at, bytes, jpeg) VALUES (?, ?, ?, ?, ?)",
                (connection_id, image_id, int(time()), len(jpeg), jpeg),
            )
        if self._bytes > self._limit:
            self._make_room()

    def copy_thumbnails(self, connection_id: str, ids: dict[str, str]) -> None:
        """Copy thumbnails to the new ids of images (old → new)."""
        with self._thumbnails.transaction() as rows:
            rows.executemany(
                """INSERT OR IGNORE INTO thumbnail (connection, image, used_at, bytes, jpeg)
                   SELECT connection, ?, used_at, bytes, jpeg FROM thumbnail WHERE connection = ? AND image = ?""",
                [(new, connection_id, old) for old, new in ids.items()],
            )
        self._recount()

    def _make_room(self) -> None:
        self._record_use()
        with self._lock, self._thumbnails.transaction() as rows:
            surplus = self._bytes - self._limit * _KEPT_AFTER_EVICTION
            dropped = []
            for number, size in rows.execute("SELECT id, bytes FROM thumbnail ORDER BY used_at, id"):
                if surplus <= 0:
                    break
                surplus -= size
                dropped.append((number,))
            rows.executemany("DELETE FROM thumbnail WHERE id = ?", dropped)
        self._recount()

    def _record_use(self) -> None:
        with self._lock:
            touched, self._touched = self._touched, set()
        now = int(time())
        with self._thumbnails.transaction() as rows:
            rows.executemany(
                "UPDATE thumbnail SET used_at = ? WHERE connection = ? AND image = ?",
                [(now, *key) for key in touched],
            )

    def _recount(self) -> None:
        with self._lock:
            self._bytes = self._sum()

    def _sum(self) -> int:
        return sum(int(size or 0) for (size,) in self._thumbnails.read("SELECT SUM(bytes) FROM thumbnail"))


def _pieces(images: list[TrainingImage]) -> Iterator[bytes]:
    """Split images into pieces that end with their label: a change in one label leaves the pieces of others as they are."""
    start = 0
    for end in range(1, len(images) + 1):
        last = end == len(images) or images[end].label != images[start].label
        if last or end - start == _CHUNK:
            yield msgspec.msgpack.encode(images[start:end])
            start = end


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return decode_msgpack(body, kind)
    except msgspec.MsgspecError:  # written by another version
        return None
