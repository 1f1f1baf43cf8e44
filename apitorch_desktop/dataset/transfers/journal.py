"""Journal of transfers: an SQLite file, durable at every commit, and files of images that were given as bytes."""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.sources.image_source import (
    ArchiveMember,
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    UploadItem,
)
from apitorch_desktop.utils.files import atomic_write, sync
from apitorch_desktop.utils.sqlite import SqliteFile
from apitorch_desktop.utils.text import shown

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS transfers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, connection TEXT NOT NULL, training_set TEXT NOT NULL,
    title TEXT NOT NULL, folder BLOB, state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', position REAL NOT NULL,
    created_at REAL NOT NULL, finished_at REAL, baseline BLOB, listed INTEGER NOT NULL DEFAULT 0
)""",
    """CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, transfer INTEGER NOT NULL REFERENCES transfers ON DELETE CASCADE,
    label TEXT NOT NULL, kind TEXT NOT NULL, source BLOB NOT NULL, name TEXT NOT NULL, size INTEGER, sha256 TEXT,
    state INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    advice TEXT NOT NULL DEFAULT '', image_id TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL DEFAULT 0,
    split TEXT NOT NULL DEFAULT ''
)""",
    "CREATE INDEX IF NOT EXISTS items_by_state ON items (transfer, state, id)",
)
_MIGRATIONS = ("ALTER TABLE items ADD COLUMN split TEXT NOT NULL DEFAULT ''",)
"""The first turns version 1, of 0.1.0, into version 2."""


class ItemState(IntEnum):
    """State of an item. SENDING: it may have been sent, and the answer is unknown."""

    WAITING = 0
    SENDING = 1
    DONE = 2
    SKIPPED = 3
    FAILED = 4


class TransferItem(NamedTuple):
    """An image of a transfer. Of a download, `source` is the path below the folder and `image_id` the image."""

    id: int
    label: str
    kind: str
    source: bytes
    name: str
    size: int | None
    sha256: str | None
    state: int
    reason: str
    advice: str
    image_id: str
    created: int
    split: str


class ItemResult(NamedTuple):
    """Result of an item, or that it waits again."""

    item: int
    state: ItemState
    size: int | None = None
    sha256: str | None = None
    reason: str = ""
    advice: str = ""
    image_id: str = ""
    created: bool = False


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer in the journal. `state` is a `TransferState`, “waiting” for one that is to be processed."""

    id: int
    kind: str
    connection: str
    training_set: Id
    title: str
    folder: Path | None
    state: str
    note: str
    position: float
    created_at: float
    finished_at: float | None
    listed: bool


class Tally(NamedTuple):
    """Number and bytes of a transfer's items in one state."""

    state: ItemState
    items: int
    bytes: int


class TransferJournal:
    """Journal in a folder, created if missing. Thread-safe; other processes may have it open too.

    What a method writes is on disk when it returns. Raises FileError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images = folder / "pictures"
        self._file = SqliteFile(folder / "transfers.sqlite", _SCHEMA, migrations=_MIGRATIONS)

    @property
    def folder(self) -> Path:
        """Folder of the journal."""
        return self._folder

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def changed_elsewhere(self) -> int:
        """Return a number that changes when another process has written."""
        return int(self._file.read("PRAGMA data_version")[0][0])

    # --- transfers

    def add(
        self,
        kind: str,
        connection: str,
        training_set: Id,
        title: str,
        folder: Path | None,
        items: Iterable[UploadItem],
        lock: Callable[[int], object],
    ) -> int:
        """Add a transfer at the end of the queue and return its id. `lock(id)` is called before others can see it."""
        rows = [self._row(item) for item in items]
        kept = {row[2].partition(b"\0")[0].decode() for row in rows if row[1] == "picture"}
        if kept:
            sync([self._images / digest for digest in kept])
        with self._file.transaction() as write:
            position = write.execute("SELECT COALESCE(MAX(position), 0) + 1 FROM transfers").fetchone()[0]
            added = write.execute(
                "INSERT INTO transfers (kind, connection, training_set, title, folder, state, position, created_at)"
                " VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?)",
                (
                    kind, connection, json.dumps(Id(training_set).wire), title,
                    os.fsencode(folder) if folder else None, position, time(),
                ),
            )  # fmt: skip
            transfer = int(added.lastrowid or 0)
            self._insert(write, transfer, rows)
            lock(transfer)
        return transfer

    def fill(self, transfer: int, images: Iterable[tuple[str, str, str, int | None, str | None, str]]) -> None:
        """Add the items of a download: label, path below the folder, name, size, sha256 and image id."""
        rows = [
            (label, "image", path.encode("utf-8", "surrogateescape"), name, size, sha256, image_id, "")
            for label, path, name, size, sha256, image_id in images
        ]
        with self._file.transaction() as write:
            self._insert(write, transfer, rows)
            write.execute("UPDATE transfers SET listed = 1 WHERE id = ?", (transfer,))

    def entries(self) -> list[TransferRow]:
        """Return all transfers in the order in which they are processed."""
        rows = self._file.read(
            "SELECT id, kind, connection, training_set, title, folder, state, note, position, created_at, finished_at,"
            " listed FROM transfers ORDER BY position, id"
        )
        return [
            TransferRow(
                row[0], row[1], row[2], Id(json.loads(row[3])), row[4], Path(os.fsdecode(row[5])) if row[5] else None,
                row[6], row[7], row[8], row[9], row[10], bool(row[11]),
            )
            for row in rows
        ]  # fmt: skip

    def set_state(self, transfer: int, state: str, note: str = "", *, finished: bool = False) -> float | None:
        """Write the state of a transfer; return when it finished, if it did."""
        finished_at = time() if finished else None
        with self._file.transaction() as write:
            write.execute(
                "UPDATE transfers SET state = ?, note = ?, finished_at = ? WHERE id = ?",
                (state, note, finished_at, transfer),
            )
        return finished_at

    def place_first(self, transfers: Sequence[int]) -> None:
        """Move transfers before all others, in this order."""
        with self._file.transaction() as write:
            first = write.execute("SELECT COALESCE(MIN(position), 0) FROM transfers").fetchone()[0] - len(transfers)
            write.executemany(
                "UPDATE transfers SET position = ? WHERE id = ?",
                [(first + place, transfer) for place, transfer in enumerate(transfers)],
            )

    def forget(self, transfer: int) -> None:
        """Delete a transfer with its items."""
        with self._file.transaction() as write:
            write.execute("DELETE FROM items WHERE transfer = ?", (transfer,))
            write.execute("DELETE FROM transfers WHERE id = ?", (transfer,))
        self.sweep()

    def baseline(self, transfer: int) -> set[str] | None:
        """Return the image ids that existed before the transfer began, None before they were recorded."""
        packed = self._file.read("SELECT baseline FROM transfers WHERE id = ?", transfer)[0][0]
        return set(zlib.decompress(packed).decode().split("\n")) if packed is not None else None

    def set_baseline(self, transfer: int, image_ids: Iterable[str]) -> None:
        """Record the image ids that existed before the transfer."""
        packed = zlib.compress("\n".join(image_ids).encode(), 1)
        with self._file.transaction() as write:
            write.execute("UPDATE transfers SET baseline = ? WHERE id = ?", (packed, transfer))

    # --- items

    def tallies(self, transfer: int) -> list[Tally]:
        """Return the number of items, and their bytes as far as known, in each state."""
        rows = self._file.read(
            "SELECT state, COUNT(*), COALESCE(SUM(size), 0) FROM items WHERE transfer = ? GROUP BY state", transfer
        )
        return [Tally(ItemState(row[0]), row[1], row[2]) for row in rows]

    def claim(self, transfer: int, count: int) -> list[TransferItem]:
        """Return the next waiting items, now marked as being sent."""
        with self._file.transaction() as write:
            rows = write.execute(
                "SELECT * FROM items WHERE transfer = ? AND state = 0 ORDER BY id LIMIT ?", (transfer, count)
            ).fetchall()
            items = [_item(row) for row in rows]
            write.executemany("UPDATE items SET state = 1 WHERE id = ?", [(item.id,) for item in items])
        return items

    def record(self, results: Iterable[ItemResult]) -> None:
        """Write results of items; sizes and hashes that are None are not changed."""
        with self._file.transaction() as write:
            write.executemany(
                "UPDATE items SET state = ?, size = COALESCE(?, size), sha256 = COALESCE(?, sha256), reason = ?,"
                " advice = ?, image_id = CASE WHEN ? = '' THEN image_id ELSE ? END, created = ? WHERE id = ?",
                [
                    (
                        int(result.state), result.size, result.sha256, result.reason, result.advice,
                        result.image_id, result.image_id, int(result.created), result.item,
                    )
                    for result in results
                ],
            )  # fmt: skip

    def items(self, transfer: int, *states: ItemState) -> list[TransferItem]:
        """Return the items in these states, in order."""
        marks = ", ".join(str(int(state)) for state in states)
        query = f"SELECT * FROM items WHERE transfer = ? AND state IN ({marks}) ORDER BY id"  # noqa: S608 - numbers
        return [_item(row) for row in self._file.read(query, transfer)]

    def item_of(self, connection: str, image_id: str, sha256: str = "") -> TransferItem | None:
        """Return the newest upload of an image, by its id, else by its hash where that is given."""
        query = (
            "SELECT items.* FROM items JOIN transfers ON transfers.id = items.transfer"
            " WHERE (items.image_id IN (?, ?) OR (items.sha256 = ? AND items.image_id != '')) AND transfers.connection = ?"
            " AND transfers.kind = 'upload' ORDER BY items.image_id IN (?, ?) DESC, items.id DESC LIMIT 1"
        )
        bare = image_id.removeprefix("ti_")
        ids = (bare, f"ti_{bare}")
        return next((_item(row) for row in self._file.read(query, *ids, sha256 or None, connection, *ids)), None)

    def labels(self, transfer: int) -> list[str]:
        """Return the labels of a transfer's items."""
        return [row[0] for row in self._file.read("SELECT DISTINCT label FROM items WHERE transfer = ?", transfer)]

    def wait_again(self, transfer: int, state: ItemState) -> None:
        """Set all items in a state back to waiting."""
        with self._file.transaction() as write:
            write.execute(
                "UPDATE items SET state = 0, reason = '', advice = '' WHERE transfer = ? AND state = ?",
                (transfer, int(state)),
            )

    # --- images given as bytes

    def source(self, item: TransferItem) -> Source:
        """Return the source of an upload; bytes from memory are read from their file. Raises OSError."""
        match item.kind:
            case "file":
                return ImageFile(Path(os.fsdecode(item.source)))
            case "member":
                archive, _, name = item.source.partition(b"\0")
                return ArchiveMember(Path(os.fsdecode(archive)), name.decode("utf-8", "surrogateescape"))
            case "picture":
                digest, _, name = item.source.partition(b"\0")
                return ImageBytes(
                    (self._images / digest.decode()).read_bytes(), name.decode("utf-8", "surrogateescape")
                )
            case _:
                return ImageUrl(item.source.decode())

    def sweep(self) -> None:
        """Delete files of images that no unfinished item needs."""
        if not self._images.is_dir():
            return
        with self._file.transaction() as write:  # nobody adds a file meanwhile whose row is not there yet
            rows = write.execute("SELECT source FROM items WHERE kind = 'picture' AND state NOT IN (2, 3)").fetchall()
            needed = {bytes(row[0]).partition(b"\0")[0].decode() for row in rows}
            for path in self._images.iterdir():
                if path.name not in needed and time() - path.stat().st_mtime > 60:
                    path.unlink(missing_ok=True)

    # --- SQLite

    def _row(self, upload: UploadItem) -> tuple[Any, ...]:
        size, sha256 = upload.size, upload.sha256
        match upload.source:
            case ImageFile(path):
                kind, source = "file", os.fsencode(path.absolute())
            case ArchiveMember(archive, name):
                kind = "member"
                source = os.fsencode(archive.absolute()) + b"\0" + name.encode("utf-8", "surrogateescape")
            case ImageUrl(url):
                kind, source = "url", url.encode("utf-8", "replace")
            case ImageBytes(data, name):
                size, sha256 = len(data), hashlib.sha256(data).hexdigest()
                self._keep(sha256, data)
                kind, source = "picture", sha256.encode() + b"\0" + name.encode("utf-8", "surrogateescape")
        return upload.label, kind, source, shown(upload.name), size, sha256, "", upload.split

    def _keep(self, digest: str, data: bytes) -> None:
        self._images.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(self._images / digest, mode=0o600, durable=False) as part:
            part.write_bytes(data)

    def _insert(self, write: sqlite3.Connection, transfer: int, rows: Iterable[tuple[Any, ...]]) -> None:
        write.executemany(
            "INSERT INTO items (transfer, label, kind, source, name, size, sha256, image_id, split)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((transfer, *row) for row in rows),
        )


def _item(row: Sequence[Any]) -> TransferItem:
    return TransferItem(row[0], *row[2:])
