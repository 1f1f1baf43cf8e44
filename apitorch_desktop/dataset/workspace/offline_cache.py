"""What was seen of each connection, kept for when it is away: training sets, listings, and a cache of thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import time
from typing import Final, TypeVar

import msgspec

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.utils.sqlite import SqliteFile

T = TypeVar("T")

THUMBNAIL_BYTES: Final = 512 * 2**20
"""Bytes of thumbnails that are kept; the longest unused go first."""
_CHUNK = 2000
_LEFT_AFTER_EVICTION = 0.9
_TOUCHES = 500

_SEEN = (
    "CREATE TABLE IF NOT EXISTS connection (id TEXT PRIMARY KEY, extensions BLOB, training_sets BLOB)",
    """CREATE TABLE IF NOT EXISTS listing (
        connection TEXT, training_set TEXT, head BLOB, seen_at REAL, PRIMARY KEY (connection, training_set))""",
    # A piece of a listing is named by its content: what has not changed is not written again
    """CREATE TABLE IF NOT EXISTS piece (
        connection TEXT, training_set TEXT, hash BLOB, body BLOB, PRIMARY KEY (connection, training_set, hash))""",
)
_THUMBNAILS = (
    """CREATE TABLE IF NOT EXISTS thumbnail (
        id INTEGER PRIMARY KEY, connection TEXT, image TEXT, used_at INTEGER, bytes INTEGER, jpeg BLOB)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS thumbnail_image ON thumbnail (connection, image)",
    "CREATE INDEX IF NOT EXISTS thumbnail_used ON thumbnail (used_at, bytes)",
)


@dataclass(slots=True)
class Listing:
    """A training set's labels in the service's order, empty ones included, and its images in the order of the labels.

    `images` are the wire's records with `label` filled in. `label_ids` maps a label to its id where the service gives
    one. `seen_at` is seconds since the epoch.
    """

    training_set_id: Id
    slug: str
    labels: list[str]
    images: list[TrainingImage]
    url: str = ""
    label_ids: dict[str, str] = field(default_factory=dict)
    seen_at: float = 0.0


class _CachedHeader(msgspec.Struct):
    training_set_id: Id
    slug: str
    url: str
    labels: list[str]
    label_ids: dict[str, str]
    pieces: list[bytes]


class OfflineCache:
    """Kept in `folder`, which is made. Thread-safe. A damaged file is begun anew; a full disk loses nothing but the cache."""

    def __init__(self, folder: Path, thumbnail_bytes: int = THUMBNAIL_BYTES) -> None:
        self._seen = SqliteFile(folder / "catalog.sqlite", _SEEN, cache=True)
        self._thumbnails = SqliteFile(folder / "thumbnails.sqlite", _THUMBNAILS, cache=True)
        self._limit = thumbnail_bytes
        self._lock = Lock()
        self._touched: set[tuple[str, str]] = set()
        self._held = self._sum()

    def close(self) -> None:
        """Close the files."""
        self._note_use()
        self._seen.close()
        self._thumbnails.close()

    # --- what was seen

    def save_training_sets(
        self, connection_id: str, training_sets: list[TrainingSet], extensions: Iterable[str]
    ) -> None:
        """Remember the training sets in place of those known, with the service's extensions."""
        rows = msgspec.msgpack.encode(sorted(extensions)), msgspec.msgpack.encode(training_sets)
        with self._seen.transaction() as rows_of:
            rows_of.execute("INSERT OR REPLACE INTO connection VALUES (?, ?, ?)", (connection_id, *rows))

    def training_sets(self, connection_id: str) -> list[TrainingSet]:
        """The training sets as they were last seen."""
        for (body,) in self._seen.read("SELECT training_sets FROM connection WHERE id = ?", connection_id):
            return _decoded(body, list[TrainingSet]) or []
        return []

    def extensions(self, connection_id: str) -> frozenset[str]:
        """The extensions as they were last seen."""
        for (body,) in self._seen.read("SELECT extensions FROM connection WHERE id = ?", connection_id):
            return frozenset(_decoded(body, list[str]) or [])
        return frozenset()

    def save_listing(self, connection_id: str, listing: Listing) -> None:
        """Remember a listing in place of the one known, in one transaction; what is the same is not written again."""
        owner = connection_id, str(listing.training_set_id)
        named = [(blake2b(body, digest_size=16).digest(), body) for body in _pieces(listing.images)]
        pieces = dict(named)
        head = _CachedHeader(
            listing.training_set_id,
            listing.slug,
            listing.url,
            listing.labels,
            listing.label_ids,
            [key for key, _ in named],
        )
        where = "WHERE connection = ? AND training_set = ?"
        with self._seen.transaction() as rows:
            there = {key for (key,) in rows.execute(f"SELECT hash FROM piece {where}", owner)}  # noqa: S608 - our own text
            rows.executemany(
                f"DELETE FROM piece {where} AND hash = ?",  # noqa: S608
                [(*owner, key) for key in there - pieces.keys()],
            )
            rows.executemany(
                "INSERT INTO piece VALUES (?, ?, ?, ?)",
                [(*owner, key, body) for key, body in pieces.items() if key not in there],
            )
            rows.execute(
                "INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?)",
                (*owner, msgspec.msgpack.encode(head), listing.seen_at),
            )

    def listing(self, connection_id: str, training_set_id: Id) -> Listing | None:
        """A listing as it was last seen."""
        owner = connection_id, str(training_set_id)
        heads: list[tuple[bytes, float]] = []
        bodies: dict[bytes, bytes] = {}
        with self._seen.transaction() as rows:  # one moment for both tables
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
            return Listing(head.training_set_id, head.slug, head.labels, images, head.url, head.label_ids, seen_at)
        return None

    def forget_training_set(self, connection_id: str, training_set_id: Id) -> None:
        """Forget a listing that is no more."""
        owner = connection_id, str(training_set_id)
        with self._seen.transaction() as rows:
            rows.execute("DELETE FROM listing WHERE connection = ? AND training_set = ?", owner)
            rows.execute("DELETE FROM piece WHERE connection = ? AND training_set = ?", owner)

    def forget_connection(self, connection_id: str) -> None:
        """Forget all of a connection, thumbnails included."""
        with self._seen.transaction() as rows:
            rows.execute("DELETE FROM connection WHERE id = ?", (connection_id,))
            rows.execute("DELETE FROM listing WHERE connection = ?", (connection_id,))
            rows.execute("DELETE FROM piece WHERE connection = ?", (connection_id,))
        with self._thumbnails.transaction() as rows:
            rows.execute("DELETE FROM thumbnail WHERE connection = ?", (connection_id,))
        self._recount()

    # --- thumbnails

    def thumbnail(self, connection_id: str, image_id: str) -> bytes | None:
        """A thumbnail (JPEG) from the cache."""
        sql = "SELECT jpeg FROM thumbnail WHERE connection = ? AND image = ?"
        for (jpeg,) in self._thumbnails.read(sql, connection_id, image_id):
            self._touched.add((connection_id, image_id))
            if len(self._touched) >= _TOUCHES:
                self._note_use()
            return bytes(jpeg)
        return None

    def save_thumbnail(self, connection_id: str, image_id: str, jpeg: bytes) -> None:
        """Keep a thumbnail; the longest unused make room."""
        if len(jpeg) > self._limit:
            return
        with self._lock, self._thumbnails.transaction() as rows:
            before = rows.execute(
                "SELECT bytes FROM thumbnail WHERE connection = ? AND image = ?", (connection_id, image_id)
            ).fetchone()
            self._held += len(jpeg) - (before[0] if before else 0)
            rows.execute(
                "INSERT OR REPLACE INTO thumbnail (connection, image, used_at, bytes, jpeg) VALUES (?, ?, ?, ?, ?)",
                (connection_id, image_id, int(time()), len(jpeg), jpeg),
            )
        if self._held > self._limit:
            self._make_room()

    def copy_thumbnails(self, connection_id: str, ids: dict[str, str]) -> None:
        """Give images whose id changed (old → new) the thumbnails they had."""
        with self._thumbnails.transaction() as rows:
            rows.executemany(
                """INSERT OR IGNORE INTO thumbnail (connection, image, used_at, bytes, jpeg)
                   SELECT connection, ?, used_at, bytes, jpeg FROM thumbnail WHERE connection = ? AND image = ?""",
                [(new, connection_id, old) for old, new in ids.items()],
            )
        self._recount()

    def _make_room(self) -> None:
        self._note_use()
        with self._lock, self._thumbnails.transaction() as rows:
            surplus = self._held - self._limit * _LEFT_AFTER_EVICTION
            gone = []
            for number, size in rows.execute("SELECT id, bytes FROM thumbnail ORDER BY used_at, id"):
                if surplus <= 0:
                    break
                surplus -= size
                gone.append((number,))
            rows.executemany("DELETE FROM thumbnail WHERE id = ?", gone)
        self._recount()

    def _note_use(self) -> None:
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
            self._held = self._sum()

    def _sum(self) -> int:
        return sum(int(size or 0) for (size,) in self._thumbnails.read("SELECT SUM(bytes) FROM thumbnail"))


def _pieces(images: list[TrainingImage]) -> Iterator[bytes]:
    """The images in pieces that end with their label, so that a change in one label leaves the others' as they are."""
    start = 0
    for end in range(1, len(images) + 1):
        last = end == len(images) or images[end].label != images[start].label
        if last or end - start == _CHUNK:
            yield msgspec.msgpack.encode(images[start:end])
            start = end


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError:  # written by another version
        return None
