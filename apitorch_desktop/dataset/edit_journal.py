"""The journal of edits in SQLite: what was done, how far what is under way has come, what ids became, what is in the trash."""

from __future__ import annotations

from threading import Lock
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from apitorch_desktop.dataset.edit_records import Act, Entry, Facts, Placement, Stage, Trashed, image_id, set_id
from apitorch_desktop.dataset.sqlite_file import SqliteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable
    from pathlib import Path

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS edit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, training_set TEXT, act TEXT, title TEXT, stage TEXT,
        note TEXT, created_at REAL, facts BLOB)""",
    "CREATE INDEX IF NOT EXISTS edit_stage ON edit (connection, stage)",
    "CREATE TABLE IF NOT EXISTS placement (edit INTEGER, n INTEGER, body BLOB, PRIMARY KEY (edit, n)) WITHOUT ROWID",
    # What an id became; the end of such a chain is what the service calls the image now
    """CREATE TABLE IF NOT EXISTS became (
        connection TEXT, old TEXT, new TEXT, PRIMARY KEY (connection, old)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS trash (
        id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, training_set TEXT, image TEXT, label TEXT, name TEXT,
        sha256 TEXT, bytes INTEGER, deleted_at REAL)""",
    "CREATE INDEX IF NOT EXISTS trash_image ON trash (connection, image)",
    "CREATE INDEX IF NOT EXISTS trash_sha256 ON trash (sha256)",
)
_KEPT = 10_000
"""Edits of a connection that can be undone."""


class Journal:
    """Thread-safe; what is written is on disk when the call returns. Raises `sqlite_file.FileFailed`."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, _SCHEMA)
        self._lock = Lock()
        self._became: dict[str, dict[str, str]] = {}

    @property
    def note(self) -> str:
        """A sentence about a journal that was damaged and begun anew, or empty."""
        return self._file.note

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- edits

    def add(self, connection: str, training_set: str, act: Act, title: str, stage: Stage, facts: Facts) -> Entry:
        """A new edit; what was undone before it cannot be redone any more."""
        with self._file.transaction() as rows:
            undone = rows.execute(
                "SELECT id FROM edit WHERE connection = ? AND stage = ?", (connection, Stage.UNDONE)
            ).fetchall()
            _forget(rows, [number for (number,) in undone])
            old = rows.execute(
                "SELECT id FROM edit WHERE connection = ? AND stage IN (?, ?) ORDER BY id DESC LIMIT -1 OFFSET ?",
                (connection, Stage.DONE, Stage.REFUSED, _KEPT),
            ).fetchall()
            _forget(rows, [number for (number,) in old])
            now = time()
            number = rows.execute(
                "INSERT INTO edit (connection, training_set, act, title, stage, note, created_at, facts)"
                " VALUES (?, ?, ?, ?, ?, '', ?, ?)",
                (connection, training_set, act, title, stage, now, msgspec.json.encode(facts)),
            ).lastrowid
            assert number is not None  # noqa: S101 - for mypy: an INSERT has one
        return Entry(number, connection, training_set, act, title, stage, "", now, facts)

    def entries(self, connection: str, *stages: Stage, limit: int = -1, newest: bool = False) -> list[Entry]:
        """Edits in the given stages (all of them without any), oldest first or newest first; without placements."""
        marks = ", ".join("?" * len(stages))
        where = f"AND stage IN ({marks})" if stages else ""
        order = "DESC" if newest else "ASC"
        rows = self._file.read(
            f"SELECT * FROM edit WHERE connection = ? {where} ORDER BY id {order} LIMIT ?",  # noqa: S608 - our own text
            connection,
            *stages,
            limit,
        )
        return [_entry(row) for row in rows]

    def load(self, entry: Entry) -> Entry:
        """Fill in the placements."""
        rows = self._file.read("SELECT body FROM placement WHERE edit = ? ORDER BY n", entry.id)
        entry.placements = [msgspec.msgpack.decode(body, type=Placement) for (body,) in rows]
        return entry

    def plan(self, entry: Entry) -> None:
        """Write down an edit's facts and placements, in place of those there were."""
        with self._file.transaction() as rows:
            rows.execute("DELETE FROM placement WHERE edit = ?", (entry.id,))
            _put(rows, entry, entry.placements)

    def save(
        self,
        entry: Entry,
        placements: Iterable[Placement] = (),
        *,
        became: Iterable[tuple[str, str]] = (),
        trashed: Iterable[tuple[Placement, str, int]] = (),
        untrashed: Iterable[str] = (),
        alone: Iterable[str] = (),
    ) -> None:
        """Write down how far an edit is, all at once.

        `became`: (old id, new id). `trashed`: (placement, id it had, bytes). `untrashed`: ids that came back.
        `alone`: ids that had become another image's, and no longer are.
        """
        pairs = [(old, new) for old, new in became if old != new]
        alone = list(alone)
        with self._lock, self._file.transaction() as rows:
            _put(rows, entry, placements)
            for old, new in pairs:
                rows.execute("DELETE FROM became WHERE connection = ? AND old = ?", (entry.connection, new))
                rows.execute("INSERT OR REPLACE INTO became VALUES (?, ?, ?)", (entry.connection, old, new))
            now = time()
            rows.executemany(
                "INSERT INTO trash (connection, training_set, image, label, name, sha256, bytes, deleted_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (entry.connection, entry.training_set, old, where.source or where.target, where.name,
                     where.sha256, size, now)
                    for where, old, size in trashed
                ],
            )  # fmt: skip
            rows.executemany(
                "DELETE FROM trash WHERE connection = ? AND image = ?", [(entry.connection, old) for old in untrashed]
            )
            rows.executemany(
                "DELETE FROM became WHERE connection = ? AND old = ?", [(entry.connection, old) for old in alone]
            )
        known = self._chain(entry.connection)
        for old in alone:
            known.pop(old, None)
        for old, new in pairs:
            known.pop(new, None)
            known[old] = new

    def drop(self, entry: Entry) -> None:
        """Forget an edit."""
        with self._file.transaction() as rows:
            _forget(rows, [entry.id])

    # --- ids

    def now(self, connection: str, old: str) -> str:
        """What an id has become; `became` never leads in a circle, since the newest id leads nowhere."""
        known = self._chain(connection)
        while old in known:
            old = known[old]
        return old

    def _chain(self, connection: str) -> dict[str, str]:
        found = self._became.get(connection)
        if found is None:
            rows = self._file.read("SELECT old, new FROM became WHERE connection = ?", connection)
            found = self._became.setdefault(connection, dict(rows))
        return found

    # --- the trash

    def trash(self, connection: str | None = None) -> list[Trashed]:
        """What is in the trash, newest first."""
        sql = "SELECT id, connection, training_set, label, name, sha256, bytes, deleted_at FROM trash"
        if connection is None:
            rows = self._file.read(f"{sql} ORDER BY id DESC")
        else:
            rows = self._file.read(f"{sql} WHERE connection = ? ORDER BY id DESC", connection)
        return [
            Trashed(number, owner, set_id(self.now(owner, training_set)), *rest)
            for number, owner, training_set, *rest in rows
        ]

    def trashed_images(self, connection: str, numbers: Collection[int]) -> dict[int, str]:
        """The ids that images in the trash had, by their number there."""
        rows = self._file.read("SELECT id, image FROM trash WHERE connection = ?", connection)
        return {number: image_id(old) for number, old in rows if number in numbers}

    def empty_trash(self, connection: str | None) -> None:
        """Forget what is in the trash."""
        with self._file.transaction() as rows:
            if connection is None:
                rows.execute("DELETE FROM trash")
            else:
                rows.execute("DELETE FROM trash WHERE connection = ?", (connection,))

    def connections(self) -> list[str]:
        """Connections that have edits."""
        return [name for (name,) in self._file.read("SELECT DISTINCT connection FROM edit")]

    def needed(self, hashes: Collection[str] | None = None) -> set[str]:
        """Content that must stay, of these or at all: what is in the trash, and what unfinished edits carry."""
        if hashes is None:
            found = {sha256 for (sha256,) in self._file.read("SELECT DISTINCT sha256 FROM trash")}
        else:
            sql = "SELECT 1 FROM trash WHERE sha256 = ? LIMIT 1"
            found = {sha256 for sha256 in hashes if self._file.read(sql, sha256)}
        rows = self._file.read(
            "SELECT body FROM placement JOIN edit ON edit.id = placement.edit WHERE stage IN (?, ?, ?)",
            Stage.WAITING,
            Stage.DOING,
            Stage.UNDOING,
        )
        return (found | {msgspec.msgpack.decode(body, type=Placement).sha256 for (body,) in rows}) - {""}


def _entry(row: tuple[Any, ...]) -> Entry:
    number, connection, training_set, act, title, stage, note, created_at, facts = row
    return Entry(
        number,
        connection,
        training_set,
        Act(act),
        title,
        Stage(stage),
        note,
        created_at,
        msgspec.json.decode(facts, type=Facts),
    )


def _put(rows: sqlite3.Connection, entry: Entry, placements: Iterable[Placement]) -> None:
    rows.execute(
        "UPDATE edit SET training_set = ?, title = ?, stage = ?, note = ?, facts = ? WHERE id = ?",
        (entry.training_set, entry.title, entry.stage, entry.note, msgspec.json.encode(entry.facts), entry.id),
    )
    rows.executemany(
        "INSERT OR REPLACE INTO placement VALUES (?, ?, ?)",
        [(entry.id, placement.n, msgspec.msgpack.encode(placement)) for placement in placements],
    )


def _forget(rows: sqlite3.Connection, numbers: list[int]) -> None:
    rows.executemany("DELETE FROM placement WHERE edit = ?", [(number,) for number in numbers])
    rows.executemany("DELETE FROM edit WHERE id = ?", [(number,) for number in numbers])
