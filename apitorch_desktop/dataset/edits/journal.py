"""The journal of edits in SQLite: what was done, how far what is under way has come, what is in the trash.

Services give an image another id when it comes back, and may give its old one to another. So an edit knows its images
by handles: each handle leads to what the image is called now, or to a name of its own while it is nowhere.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, RLock
from time import time
from typing import Any

import msgspec

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.edits.model import (
    LABEL_ACTS,
    UNFINISHED,
    EditConflict,
    EditKind,
    EditPayload,
    EditRow,
    EditStage,
    Placement,
    TrashedImage,
    absent,
    is_absent,
    set_id,
)
from apitorch_desktop.utils.sqlite import SqliteFile

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS edit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, training_set TEXT, place INTEGER, act TEXT, title TEXT,
        stage TEXT, note TEXT, created_at REAL, facts BLOB)""",
    "CREATE INDEX IF NOT EXISTS edit_stage ON edit (connection, stage)",
    "CREATE TABLE IF NOT EXISTS placement (edit INTEGER, n INTEGER, body BLOB, PRIMARY KEY (edit, n)) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS handle (
        id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, edit INTEGER, name TEXT)""",
    "CREATE INDEX IF NOT EXISTS handle_name ON handle (connection, name)",
    "CREATE INDEX IF NOT EXISTS handle_edit ON handle (edit)",
    """CREATE TABLE IF NOT EXISTS trash (
        id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, training_set TEXT, place INTEGER, image TEXT, label TEXT,
        name TEXT, sha256 TEXT, bytes INTEGER, deleted_at REAL)""",
    "CREATE TABLE IF NOT EXISTS conflict (id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, body BLOB)",
    """CREATE TABLE IF NOT EXISTS hidden_label (
        connection TEXT, training_set TEXT, label TEXT, PRIMARY KEY (connection, training_set, label)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS trash_image ON trash (connection, image)",
    "CREATE INDEX IF NOT EXISTS trash_sha256 ON trash (sha256)",
)
_KEPT = 10_000
"""Edits of a connection that can be undone."""


class EditJournal:
    """The edits kept in `folder`. Thread-safe; what is written is on disk when the call returns. Raises FileError.

    `folder` also holds what belongs to the edits: the trash, and the locks of imports.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = SqliteFile(folder / "edits.sqlite", _SCHEMA)
        self._scopes_lock = Lock()
        self._scopes: defaultdict[str, RLock] = defaultdict(RLock)

    @property
    def note(self) -> str:
        """A sentence about a journal that was damaged and begun anew, or empty."""
        return self._file.note

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def connection_scope(self, connection_id: str) -> Iterator[None]:
        """Exclude all other edits of a connection; reentrant."""
        with self._scopes_lock:
            scope = self._scopes[connection_id]
        with scope:
            yield

    # --- edits

    def add(
        self, connection: str, training_set: str, act: EditKind, title: str, stage: EditStage, facts: EditPayload
    ) -> EditRow:
        """A new edit; what was undone before it cannot be redone any more, once it is more than begun."""
        with self._file.transaction() as rows:
            if stage is not EditStage.BEGUN:
                _forget_undone(rows, connection)
            old = rows.execute(
                "SELECT id FROM edit WHERE connection = ? AND stage IN (?, ?) ORDER BY id DESC LIMIT -1 OFFSET ?",
                (connection, EditStage.DONE, EditStage.REFUSED, _KEPT),
            ).fetchall()
            _forget(rows, [number for (number,) in old])
            now = time()
            number = rows.execute(
                "INSERT INTO edit (connection, training_set, act, title, stage, note, created_at, facts)"
                " VALUES (?, ?, ?, ?, ?, '', ?, ?)",
                (connection, training_set, act, title, stage, now, msgspec.json.encode(facts)),
            ).lastrowid
            assert number is not None  # noqa: S101 - for mypy: an INSERT has one
            place = _handle(rows, connection, number, training_set or absent())
            rows.execute("UPDATE edit SET place = ? WHERE id = ?", (place, number))
        return EditRow(number, connection, training_set, place, act, title, stage, "", now, facts)

    def rows(self, connection: str, *stages: EditStage, limit: int = -1, newest: bool = False) -> list[EditRow]:
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

    def undoable(self, connection_id: str) -> EditRow | None:
        """Return the edit that undo would take back, or None."""
        stages = (EditStage.DONE, EditStage.WAITING, EditStage.DOING, EditStage.BEGUN)
        for entry in self.rows(connection_id, *stages, limit=1, newest=True):
            return None if entry.facts.sealed else entry
        return None

    def redoable(self, connection_id: str) -> EditRow | None:
        """Return the edit that redo would do again, or None."""
        for entry in self.rows(connection_id, EditStage.UNDONE, limit=1):
            return entry
        return None

    def unfinished(self, connection_id: str) -> list[EditRow]:
        """Return the edits that wait for the service or were interrupted, oldest first."""
        return self.rows(connection_id, *UNFINISHED)

    def load(self, entry: EditRow) -> EditRow:
        """Fill in the placements."""
        rows = self._file.read("SELECT body FROM placement WHERE edit = ? ORDER BY n", entry.id)
        entry.placements = [msgspec.msgpack.decode(body, type=Placement) for (body,) in rows]
        return entry

    def plan(self, entry: EditRow) -> None:
        """Write down an edit's facts and placements, in place of those there were."""
        with self._file.transaction() as rows:
            rows.execute("DELETE FROM placement WHERE edit = ?", (entry.id,))
            kept = {placement.handle for placement in entry.placements} | {entry.place}
            old = [
                row for row in rows.execute("SELECT id FROM handle WHERE edit = ?", (entry.id,)) if row[0] not in kept
            ]
            rows.executemany("DELETE FROM handle WHERE id = ?", old)
            for placement in entry.placements:
                if not placement.handle:
                    placement.handle = _handle(rows, entry.connection, entry.id, placement.first)
            _put(rows, entry, entry.placements)

    def save(
        self,
        entry: EditRow,
        placements: Iterable[Placement] = (),
        *,
        became: Iterable[tuple[str, str]] = (),
        trashed: Iterable[tuple[Placement, str, int]] = (),
        untrashed: Iterable[str] = (),
    ) -> None:
        """Write down how far an edit is, all at once.

        `became`: (name, new name). `trashed`: (placement, name while it is absent, bytes). `untrashed`: such names of
        images that came back.
        """
        with self._file.transaction() as rows:
            now = time()
            for placement, name, size in trashed:
                label = placement.source or placement.target
                place = _handle(rows, entry.connection, 0, self._name(rows, entry.place))
                rows.execute(
                    "INSERT INTO trash (connection, training_set, place, image, label, name, sha256, bytes, deleted_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.connection,
                        entry.training_set,
                        place,
                        name,
                        label,
                        placement.name,
                        placement.sha256,
                        size,
                        now,
                    ),
                )
            _put(rows, entry, placements)
            rows.executemany(
                "UPDATE handle SET name = ? WHERE connection = ? AND name = ?",
                [(new, entry.connection, old) for old, new in became if old != new],
            )
            for name in untrashed:
                where = "FROM trash WHERE connection = ? AND image = ?"
                key = (entry.connection, name)
                rows.execute(f"DELETE FROM handle WHERE id IN (SELECT place {where})", key)  # noqa: S608 - our own text
                rows.execute(f"DELETE {where}", key)

    def forget_undone(self, connection: str) -> None:
        """What was undone cannot be redone any more."""
        with self._file.transaction() as rows:
            _forget_undone(rows, connection)

    def imports(self, connection: str, *stages: EditStage) -> list[EditRow]:
        """Imports in the given stages (all of them without any), oldest first; without placements."""
        rows = self._file.read(
            "SELECT * FROM edit WHERE connection = ? AND act = ? ORDER BY id", connection, EditKind.IMPORT
        )
        return [entry for entry in map(_entry, rows) if not stages or entry.stage in stages]

    def drop(self, entry: EditRow) -> None:
        """Forget an edit."""
        with self._file.transaction() as rows:
            _forget(rows, [entry.id])

    # --- what things are called

    def handle(self, entry: EditRow, name: str) -> int:
        """A new handle that leads to a name."""
        with self._file.transaction() as rows:
            return _handle(rows, entry.connection, entry.id, name)

    def now(self, handle: int) -> str:
        """What a handle leads to: an image's id, a training set's key, or a name of something absent."""
        for (name,) in self._file.read("SELECT name FROM handle WHERE id = ?", handle):
            return str(name)
        return absent()

    def called_before(self, connection: str, names: Collection[str]) -> dict[str, str]:
        """Names of images that are nowhere → the ids they had when they were deleted, as far as edits know them."""
        handles: dict[int, str] = {}
        edits: set[int] = set()
        for name in names:
            rows = self._file.read("SELECT id, edit FROM handle WHERE connection = ? AND name = ?", connection, name)
            handles |= {handle: name for handle, _ in rows}
            edits |= {edit for _, edit in rows}
        found: dict[str, str] = {}
        for edit in sorted(edits):
            for (body,) in self._file.read("SELECT body FROM placement WHERE edit = ?", edit):
                placement = msgspec.msgpack.decode(body, type=Placement)
                if placement.handle in handles and not is_absent(placement.first):
                    found[handles[placement.handle]] = placement.first
        return found

    def left_at(self, entry: EditRow, names: Collection[str]) -> dict[str, list[str]]:
        """Names of images → the labels under which other edits left them, the newest edit first."""
        found: dict[str, list[str]] = {}
        handles: dict[int, dict[int, str]] = {}
        for name in names:
            sql = "SELECT id, edit FROM handle WHERE connection = ? AND name = ? AND edit NOT IN (0, ?)"
            for handle, edit in self._file.read(sql, entry.connection, name, entry.id):
                handles.setdefault(edit, {})[handle] = name
        for edit in sorted(handles, reverse=True):
            for (body,) in self._file.read("SELECT body FROM placement WHERE edit = ?", edit):
                placement = msgspec.msgpack.decode(body, type=Placement)
                label = placement.target if placement.there else placement.source
                if placement.handle in handles[edit] and label is not None:
                    found.setdefault(handles[edit][placement.handle], []).append(label)
        return found

    def training_set_id(self, entry: EditRow) -> Id:
        """The id of an edit's training set: now, or where it is absent, when it was last seen; empty before that."""
        name = self.now(entry.place)
        key = entry.training_set if is_absent(name) else name
        return set_id(key) if key else ""

    @staticmethod
    def _name(rows: sqlite3.Connection, handle: int) -> str:
        found = rows.execute("SELECT name FROM handle WHERE id = ?", (handle,)).fetchone()
        return str(found[0]) if found else absent()

    # --- conflicts

    def add_conflicts(self, connection: str, conflicts: Iterable[EditConflict]) -> None:
        """Keep what is to be decided; of each photo the newest."""
        old = {one.image_id: one.id for one in self.conflicts(connection)}
        with self._file.transaction() as rows:
            for one in conflicts:
                rows.execute("DELETE FROM conflict WHERE id = ?", (old.get(one.image_id, 0),))
                body = msgspec.msgpack.encode(one)
                rows.execute("INSERT INTO conflict (connection, body) VALUES (?, ?)", (connection, body))

    def conflicts(self, connection: str) -> list[EditConflict]:
        """What is to be decided, oldest first."""
        rows = self._file.read("SELECT id, body FROM conflict WHERE connection = ? ORDER BY id", connection)
        decode = msgspec.msgpack.Decoder(EditConflict).decode
        return [msgspec.structs.replace(decode(body), id=number) for number, body in rows]

    def drop_conflicts(self, numbers: Iterable[int]) -> None:
        """These are decided."""
        with self._file.transaction() as rows:
            rows.executemany("DELETE FROM conflict WHERE id = ?", [(number,) for number in numbers])

    # --- labels that a service cannot delete

    def hide_labels(self, entry: EditRow, gone: Iterable[str], there: Iterable[str]) -> None:
        """Labels that a person dropped, and others that are back: a service without `labels` lists them, empty, for ever."""
        with self._file.transaction() as rows:
            key = (entry.connection, str(set_id(entry.training_set)))  # a number and its digits are one id
            rows.executemany("INSERT OR IGNORE INTO hidden_label VALUES (?, ?, ?)", [(*key, one) for one in gone])
            sql = "DELETE FROM hidden_label WHERE connection = ? AND training_set = ? AND label = ?"
            rows.executemany(sql, [(*key, one) for one in there])

    def hidden_labels(self, connection: str, training_set_id: Id) -> set[str]:
        """Labels of a training set that are not to be shown while they are empty."""
        sql = "SELECT label FROM hidden_label WHERE connection = ? AND training_set = ?"
        return {str(label) for (label,) in self._file.read(sql, connection, str(training_set_id))}

    # --- the trash

    def trash(self, connection: str) -> list[TrashedImage]:
        """What is in the trash, newest first."""
        rows = self._file.read(
            "SELECT trash.id, trash.connection, training_set, handle.name, label, trash.name, sha256, bytes, deleted_at"
            " FROM trash LEFT JOIN handle ON handle.id = trash.place WHERE trash.connection = ? ORDER BY trash.id DESC",
            connection,
        )
        return [
            TrashedImage(number, owner, set_id(before if place is None or is_absent(place) else place), *rest)
            for number, owner, before, place, *rest in rows
        ]

    def trashed_names(self, connection: str, numbers: Collection[int]) -> dict[int, str]:
        """What images in the trash are called while they are there, by their number."""
        rows = self._file.read("SELECT id, image FROM trash WHERE connection = ?", connection)
        return {number: name for number, name in rows if number in numbers}

    def empty_trash(self, connection: str | None) -> None:
        """Forget what is in the trash."""
        chosen = "" if connection is None else " WHERE connection = ?"
        key = () if connection is None else (connection,)
        with self._file.transaction() as rows:
            rows.execute(f"DELETE FROM handle WHERE id IN (SELECT place FROM trash{chosen})", key)  # noqa: S608 - our own
            rows.execute(f"DELETE FROM trash{chosen}", key)  # noqa: S608

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
            *UNFINISHED,
        )
        return (found | {msgspec.msgpack.decode(body, type=Placement).sha256 for (body,) in rows}) - {""}


def _entry(row: tuple[Any, ...]) -> EditRow:
    number, connection, training_set, place, act, title, stage, note, created_at, facts = row
    return EditRow(
        number,
        connection,
        training_set,
        place,
        EditKind(act),
        title,
        EditStage(stage),
        note,
        created_at,
        msgspec.json.decode(facts, type=EditPayload),
    )


def _handle(rows: sqlite3.Connection, connection: str, edit: int, name: str) -> int:
    sql = "INSERT INTO handle (connection, edit, name) VALUES (?, ?, ?)"
    number = rows.execute(sql, (connection, edit, name)).lastrowid
    assert number is not None  # noqa: S101 - for mypy: an INSERT has one
    return number


def _put(rows: sqlite3.Connection, entry: EditRow, placements: Iterable[Placement]) -> None:
    rows.execute(
        "UPDATE edit SET training_set = ?, title = ?, stage = ?, note = ?, facts = ? WHERE id = ?",
        (entry.training_set, entry.title, entry.stage, entry.note, msgspec.json.encode(entry.facts), entry.id),
    )
    rows.executemany(
        "INSERT OR REPLACE INTO placement VALUES (?, ?, ?)",
        [(entry.id, placement.n, msgspec.msgpack.encode(placement)) for placement in placements],
    )


def _forget_undone(rows: sqlite3.Connection, connection: str) -> None:
    found = rows.execute("SELECT id FROM edit WHERE connection = ? AND stage = ?", (connection, EditStage.UNDONE))
    _forget(rows, [number for (number,) in found.fetchall()])


def _forget(rows: sqlite3.Connection, numbers: list[int]) -> None:
    rows.executemany("DELETE FROM placement WHERE edit = ?", [(number,) for number in numbers])
    rows.executemany("DELETE FROM handle WHERE edit = ?", [(number,) for number in numbers])
    rows.executemany("DELETE FROM edit WHERE id = ?", [(number,) for number in numbers])


def note_conflicts(journal: EditJournal, entry: EditRow, forward: bool, gone: Collection[int]) -> int:
    """After an edit was sent, or could not be: keep what is to be decided of its images; how many.

    `forward`: the way it was sent; `gone`: which placements were left out before.
    """
    left_out = [one for one in entry.placements if one.gone and one.n not in gone]
    if entry.stage is EditStage.REFUSED and entry.kind in LABEL_ACTS and not entry.facts.planned:
        left_out = entry.placements  # the label itself is no more; where its images are now will be seen
    training_set_id, found = journal.training_set_id(entry), []
    for one in left_out:
        seen, wanted = (one.source, one.target) if forward else (one.target, one.source)
        if seen is not None:
            now = journal.now(one.handle)
            listed = one.record.sha256 if one.record is not None and isinstance(one.record.sha256, str) else ""
            name = one.first if is_absent(now) else now
            found.append(EditConflict(name, training_set_id, one.name, seen, wanted, one.sha256 or listed, one.record))
    if found:
        journal.add_conflicts(entry.connection, found)
    return len(found)
