"""Offline cache of each connection: training sets, listings and thumbnails as last seen.

A listing is a file with its columns (`table_file`), and what has changed since that was written: opening a training set
costs what is new.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import time
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet, decode_msgpack, encode_msgpack
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.utils.sqlite import SqliteFile

if TYPE_CHECKING:  # numpy comes with the first listing, on a lane
    from apitorch_desktop.dataset.workspace.columnar_listing import ListingChange

T = TypeVar("T")

THUMBNAIL_BYTES: Final = 512 * 2**20
"""Bytes of thumbnails that are kept; the least recently used are dropped first."""
_CHANGES = 64
"""Changes that are kept beside a listing's file; then it is written anew."""
_CHANGED = 5000
"""Images that these may concern, or a tenth of the listing."""
_LEFT_OVER = 24 * 3600
"""Seconds after which a file that belongs to no listing is deleted: a younger one may be about to."""
_KEPT_AFTER_EVICTION = 0.9
_TOUCHES = 500

_SEEN = (
    "CREATE TABLE IF NOT EXISTS connection (id TEXT PRIMARY KEY, extensions BLOB, training_sets BLOB)",
    """CREATE TABLE IF NOT EXISTS listed (
        connection TEXT, training_set TEXT, head BLOB, seen_at REAL, changed INTEGER, file TEXT,
        PRIMARY KEY (connection, training_set))""",
    """CREATE TABLE IF NOT EXISTS change (
        id INTEGER PRIMARY KEY, connection TEXT, training_set TEXT, body BLOB)""",
    "CREATE INDEX IF NOT EXISTS change_of ON change (connection, training_set)",
    # as version 0.1.0 wrote listings: a head, and pieces by the hash of their content
    "CREATE TABLE IF NOT EXISTS listing (connection TEXT, training_set TEXT, head BLOB, seen_at REAL)",
    "CREATE TABLE IF NOT EXISTS piece (connection TEXT, training_set TEXT, hash BLOB, body BLOB)",
)
_OF_SET = "WHERE connection = ? AND training_set = ?"
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
    pieces: list[bytes] = []
    """Version 0.1.0: hashes of the pieces, in the order of the images."""
    revision: str = ""
    next: str = ""

    @classmethod
    def of(cls, listing: Listing) -> _CachedHeader:
        return cls(
            listing.training_set_id, listing.slug, listing.url, listing.labels, listing.label_ids,
            revision=listing.revision, next=listing.next,
        )  # fmt: skip

    def listing(self, images: Sequence[TrainingImage], seen_at: float) -> Listing:
        return Listing(
            self.training_set_id, self.slug, self.labels, images, self.url, self.label_ids, seen_at, self.revision,
            self.next,
        )  # fmt: skip


class OfflineCache:
    """Cache in `folder`, which is created. Thread-safe. A damaged file is replaced; a full disk costs nothing but the cache."""

    def __init__(self, folder: Path, thumbnail_bytes: int = THUMBNAIL_BYTES) -> None:
        self._seen = SqliteFile(folder / "catalog.sqlite", _SEEN, cache=True)
        self._listings = folder / "listings"
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
        """Replace a cached listing: its file is written anew."""
        from apitorch_desktop.dataset.workspace import table_file
        from apitorch_desktop.dataset.workspace.image_table import tabulate

        owner = connection_id, listing.training_set_id
        path = self._listings / f"{secrets.token_hex(8)}.images"
        try:
            self._listings.mkdir(parents=True, exist_ok=True, mode=0o700)
            table_file.write(tabulate(listing.images).compact(), path)
        except OSError:  # the disk is full: what was seen before stays, and what has changed since is asked for again
            return
        head = _CachedHeader.of(listing)
        with self._forgetting(*owner) as rows:
            rows.execute(
                "INSERT INTO listed VALUES (?, ?, ?, ?, 0, ?)",
                (*owner, encode_msgpack(head), listing.seen_at, path.name),
            )
        self._delete_left_over()

    def save_change(self, connection_id: str, before: str, listing: Listing, change: ListingChange) -> None:
        """Note what has changed since the revision `before`, which led to `listing`."""
        owner = connection_id, listing.training_set_id
        head = _CachedHeader.of(listing)
        is_noted = False
        with self._seen.transaction() as rows:
            found = rows.execute(f"SELECT head, changed FROM listed {_OF_SET}", owner).fetchone()  # noqa: S608
            known = _decoded(found[0], _CachedHeader) if found else None
            (count,) = rows.execute(f"SELECT COUNT(*) FROM change {_OF_SET}", owner).fetchone()  # noqa: S608
            changed = (found[1] if found else 0) + change.size
            most = max(_CHANGED, len(listing.images) // 10)
            is_noted = known is not None and known.revision == before and changed <= most and count < _CHANGES
            if is_noted:
                if change.size or change.renamed:
                    rows.execute(
                        "INSERT INTO change (connection, training_set, body) VALUES (?, ?, ?)",
                        (*owner, encode_msgpack(change)),
                    )
                rows.execute(
                    f"UPDATE listed SET head = ?, seen_at = ?, changed = ? {_OF_SET}",  # noqa: S608
                    (encode_msgpack(head), listing.seen_at, changed, *owner),
                )
        if not is_noted:
            self.save_listing(connection_id, listing)

    def listing(self, connection_id: str, training_set_id: Id) -> Listing | None:
        """Return a listing as last seen, perhaps its first pages only. Its images are columns that belong to the caller."""
        from apitorch_desktop.dataset.workspace import columnar_listing, table_file

        owner = connection_id, training_set_id
        heads: list[tuple[bytes, float, str]] = []
        bodies: list[tuple[bytes]] = []
        with self._seen.transaction() as rows:  # one snapshot of both tables
            heads = rows.execute(f"SELECT head, seen_at, file FROM listed {_OF_SET}", owner).fetchall()  # noqa: S608
            bodies = rows.execute(f"SELECT body FROM change {_OF_SET} ORDER BY id", owner).fetchall()  # noqa: S608
        for body, seen_at, name in heads:
            head = _decoded(body, _CachedHeader)
            try:
                table = table_file.read(self._listings / name)
            except (OSError, ValueError):
                return None
            for (packed,) in bodies:
                change = _decoded(packed, columnar_listing.ListingChange)
                if change is None:
                    return None
                columnar_listing.apply(change, table)
            return head.listing(table.listed(head.labels), seen_at) if head is not None else None
        return self._listing_of_before(connection_id, training_set_id)

    def _listing_of_before(self, connection_id: str, training_set_id: Id) -> Listing | None:
        """Return a listing that version 0.1.0 saw, and save it as this version does."""
        from apitorch_desktop.dataset.workspace.image_table import tabulate

        owner = connection_id, training_set_id
        heads = self._seen.read(f"SELECT head, seen_at FROM listing {_OF_SET}", *owner)  # noqa: S608
        for body, seen_at in heads:
            head = _decoded(body, _CachedHeader)
            bodies = dict(self._seen.read(f"SELECT hash, body FROM piece {_OF_SET}", *owner))  # noqa: S608
            if head is None or any(key not in bodies for key in head.pieces):
                return None
            images: list[TrainingImage] = []
            for key in head.pieces:
                images += _decoded(bodies[key], list[TrainingImage]) or []
            listing = head.listing(tabulate(images).listed(head.labels), seen_at)
            self.save_listing(connection_id, listing)
            return listing
        return None

    def forget_training_set(self, connection_id: str, training_set_id: Id) -> None:
        """Delete the listing of a training set."""
        with self._forgetting(connection_id, training_set_id):
            pass

    @contextmanager
    def _forgetting(self, connection_id: str, training_set_id: Id | None = None) -> Iterator[sqlite3.Connection]:
        """Run a transaction that begins by deleting the listing of a training set, None for those of all."""
        where, values = _OF_SET, [connection_id, training_set_id]
        if training_set_id is None:
            where, values = "WHERE connection = ?", [connection_id]
        with self._seen.transaction() as rows:
            names = rows.execute(f"SELECT file FROM listed {where}", values).fetchall()  # noqa: S608 - our own text
            for table in ("listed", "change", "listing", "piece"):
                rows.execute(f"DELETE FROM {table} {where}", values)  # noqa: S608
            yield rows
        for (name,) in names:
            with suppress(OSError):  # Windows keeps a file that is open: it is left over
                (self._listings / name).unlink()

    def _delete_left_over(self) -> None:
        """Delete files of no listing, which a crash left."""
        used = {name for (name,) in self._seen.read("SELECT file FROM listed")}
        with suppress(OSError):
            for path in self._listings.iterdir():
                with suppress(OSError):
                    if path.name not in used and path.stat().st_mtime < time() - _LEFT_OVER:
                        path.unlink()

    def forget_connection(self, connection_id: str) -> None:
        """Delete all of a connection, thumbnails included."""
        with self._forgetting(connection_id) as rows:
            rows.execute("DELETE FROM connection WHERE id = ?", (connection_id,))
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


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return decode_msgpack(body, kind)
    except msgspec.MsgspecError:  # written by another version
        return None
