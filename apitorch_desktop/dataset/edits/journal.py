"""The journal of edits in SQLite: edits and their progress, what things are called now, the trash, conflicts.

A service gives an image another id when it comes back, and may give the old id to another image. An edit therefore
refers to its images by handles: a handle leads to an image's current id, or to a unique name while it does not exist.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, RLock
from time import time
from typing import Any

import msgspec

from apitorch_desktop.api.types import Id, decode_msgpack, encode_json, encode_msgpack
from apitorch_desktop.dataset.edits.model import (
    UNFINISHED,
    Edit,
    EditConflict,
    EditKind,
    EditStage,
    Placement,
    TrashedImage,
    from_set_key,
    is_absent,
    new_absent_name,
)
from apitorch_desktop.dataset.edits.payloads import EditPayload, ImportPayload, decode_payload
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
    """CREATE TABLE IF NOT EXISTS trashed_split (
        connection TEXT, image TEXT, split TEXT, PRIMARY KEY (connection, image)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS conflict (id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, body BLOB)",
    """CREATE TABLE IF NOT EXISTS hidden_label (
        connection TEXT, training_set TEXT, label TEXT, PRIMARY KEY (connection, training_set, label)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS trash_image ON trash (connection, image)",
    "CREATE INDEX IF NOT EXISTS trash_sha256 ON trash (sha256)",
    "CREATE INDEX IF NOT EXISTS trash_place ON trash (place)",
)
_IN_QUERY = 500
"""Values in one query at most."""
_KEPT = 10_000
"""Edits of a connection that can be undone."""


@dataclass(slots=True)
class EditRow:
    """An edit as the journal keeps it.

    `set_key` is the key (`to_set_key`) of its training set when that was last seen, "" before it was created;
    `set_handle` leads to the current key. `placements` are filled in by `EditJournal.load`.
    """

    id: int
    connection_id: str
    set_key: str
    set_handle: int
    title: str
    stage: EditStage
    note: str
    created_at: float
    payload: EditPayload
    placements: list[Placement] = field(default_factory=list)

    @property
    def kind(self) -> EditKind:
        """The kind of edit."""
        return self.payload.kind

    @property
    def forward(self) -> bool:
        """True if the edit is to be done, false if it is to be undone."""
        return self.stage not in {EditStage.UNDOING, EditStage.UNDONE}


class EditJournal:
    """The edits kept in `folder`. Thread-safe; what is written is on disk when a method returns. Raises FileError.

    `folder` also holds what belongs to the edits: the trash, and the locks of imports.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = SqliteFile(folder / "edits.sqlite", _SCHEMA)
        self._scopes_lock = Lock()
        self._scopes: defaultdict[str, RLock] = defaultdict(RLock)
        self.is_transferring: Callable[[int], bool] = lambda _transfer_id: False
        """Returns whether a transfer, given by its id, has not ended; set by whoever has the transfers."""

    @property
    def note(self) -> str:
        """A sentence about a damaged journal that was started anew, or empty."""
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

    def add(self, connection_id: str, set_key: str, payload: EditPayload, title: str, stage: EditStage) -> EditRow:
        """Add an edit. Unless it is only begun, undone ones of its training set can no longer be redone."""
        with self._file.transaction() as db:
            if stage is not EditStage.BEGUN:
                _delete_undone(db, connection_id, set_key)
            old = db.execute(
                "SELECT id FROM edit WHERE connection = ? AND stage IN (?, ?) ORDER BY id DESC LIMIT -1 OFFSET ?",
                (connection_id, EditStage.DONE, EditStage.REFUSED, _KEPT),
            ).fetchall()
            _delete(db, [number for (number,) in old])
            now = time()
            number = db.execute(
                "INSERT INTO edit (connection, training_set, act, title, stage, note, created_at, facts)"
                " VALUES (?, ?, ?, ?, ?, '', ?, ?)",
                (connection_id, set_key, payload.kind, title, stage, now, encode_json(payload)),
            ).lastrowid
            assert number is not None  # noqa: S101 - for mypy: an INSERT has one
            handle = _add_handle(db, connection_id, number, set_key or new_absent_name())
            db.execute("UPDATE edit SET place = ? WHERE id = ?", (handle, number))
        return EditRow(number, connection_id, set_key, handle, title, stage, "", now, payload)

    def rows(
        self,
        connection_id: str,
        *stages: EditStage,
        limit: int = -1,
        newest: bool = False,
        set_name: str = "",
        before: int | None = None,
    ) -> list[EditRow]:
        """Return edits in the given stages (without any, all), oldest first or newest first; without placements.

        `set_name`: only those of the training set that has this key now, or this name while it does not exist. `before`:
        only those that are older than the edit with this id.
        """
        marks = ", ".join("?" * len(stages))
        where = f"AND stage IN ({marks})" if stages else ""
        if set_name:
            where += " AND EXISTS (SELECT 1 FROM handle WHERE handle.id = edit.place AND name IN (?, ?))"
        if before is not None:
            where += " AND id < ?"
        order = "DESC" if newest else "ASC"
        found = self._file.read(
            f"SELECT * FROM edit WHERE connection = ? {where} ORDER BY id {order} LIMIT ?",  # noqa: S608 - our own text
            connection_id,
            *stages,
            *(_spellings(set_name) if set_name else ()),
            *(() if before is None else (before,)),
            limit,
        )
        return [_row(values) for values in found]

    def row(self, connection_id: str, edit_id: int) -> EditRow | None:
        """Return an edit without its placements, None if the journal does not have it (any more)."""
        found = self._file.read("SELECT * FROM edit WHERE connection = ? AND id = ?", connection_id, edit_id)
        return next(map(_row, found), None)

    def undoable(self, connection_id: str, set_name: str = "") -> EditRow | None:
        """Return the edit that undo would take back, or None; never an import that is still running, or again.

        `set_name` as in `rows`.
        """
        stages = (EditStage.DONE, EditStage.WAITING, EditStage.DOING)
        before = None
        while found := self.rows(connection_id, *stages, limit=1, newest=True, set_name=set_name, before=before):
            (row,) = found
            if not self._is_running(row):
                return None if row.payload.sealed else row
            before = row.id
        return None

    def redoable(self, connection_id: str, set_name: str = "") -> EditRow | None:
        """Return the edit that redo would do again, or None; `set_name` as in `rows`."""
        return next(iter(self.rows(connection_id, EditStage.UNDONE, limit=1, set_name=set_name)), None)

    def unfinished(self, connection_id: str) -> list[EditRow]:
        """Return the edits that wait for the service or were interrupted, in the order in which they are finished.

        What is being undone comes first, the newest before the oldest; then what is still to be done, oldest first.
        """
        undoing = self.rows(connection_id, EditStage.UNDOING, newest=True)
        return undoing + self.rows(connection_id, EditStage.WAITING, EditStage.DOING)

    def imports(self, connection_id: str, *stages: EditStage) -> list[EditRow]:
        """Return imports in the given stages (without any, all), oldest first; without placements."""
        found = self._file.read(
            "SELECT * FROM edit WHERE connection = ? AND act = ? ORDER BY id", connection_id, EditKind.IMPORT
        )
        return [row for row in map(_row, found) if not stages or row.stage in stages]

    def running_imports(self, connection_id: str) -> list[EditRow]:
        """Return the imports under way, also those that were cancelled or had failures, and go on; without placements."""
        return [row for row in self.imports(connection_id) if self._is_running(row)]

    def _is_running(self, row: EditRow) -> bool:
        payload = row.payload
        return isinstance(payload, ImportPayload) and (
            row.stage is EditStage.BEGUN or self.is_transferring(payload.transfer_id)
        )

    def edit(self, row: EditRow) -> Edit:
        """Return an edit as callers see it."""
        set_id = self.training_set_id(row)
        return Edit(row.id, row.connection_id, set_id, row.kind, row.title, row.stage, row.note, row.created_at)

    def load(self, row: EditRow) -> EditRow:
        """Fill in the placements, and return the row."""
        found = self._file.read("SELECT body FROM placement WHERE edit = ? ORDER BY n", row.id)
        row.placements = [decode_msgpack(body, Placement) for (body,) in found]
        return row

    def replace_placements(self, row: EditRow) -> None:
        """Write an edit with its placements, in place of those stored before; new ones get their handles."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM placement WHERE edit = ?", (row.id,))
            kept = {placement.handle for placement in row.placements} | {row.set_handle}
            handles = db.execute("SELECT id FROM handle WHERE edit = ?", (row.id,)).fetchall()
            db.executemany("DELETE FROM handle WHERE id = ?", [handle for handle in handles if handle[0] not in kept])
            for placement in row.placements:
                if not placement.handle:
                    placement.handle = _add_handle(db, row.connection_id, row.id, placement.known_id)
            _write(db, row, row.placements)

    def save(
        self,
        row: EditRow,
        placements: Iterable[Placement] = (),
        *,
        renamed: Iterable[tuple[str, str]] = (),
        trashed: Iterable[tuple[Placement, str, int]] = (),
        untrashed: Iterable[str] = (),
    ) -> None:
        """Write an edit and some of its placements, in one transaction.

        `renamed`: (name, new name) of whatever handles lead to. `trashed`: (placement, name while absent, size in
        bytes). `untrashed`: such names of images that came back.
        """
        with self._file.transaction() as db:
            if trashed := list(trashed):
                now, place = time(), _add_handle(db, row.connection_id, 0, _resolve(db, row.set_handle))
                db.executemany(
                    "INSERT INTO trash (connection, training_set, place, image, label, name, sha256, bytes, deleted_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            row.connection_id,
                            row.set_key,
                            place,
                            name,
                            one.source or one.target,
                            one.name,
                            one.sha256,
                            size,
                            now,
                        )
                        for one, name, size in trashed
                    ],
                )
                db.executemany(
                    "INSERT OR REPLACE INTO trashed_split VALUES (?, ?, ?)",
                    [(row.connection_id, name, one.known_split) for one, name, _ in trashed if one.known_split],
                )
            _write(db, row, placements)
            db.executemany(
                "UPDATE handle SET name = ? WHERE connection = ? AND name = ?",
                [(new, row.connection_id, old) for old, new in renamed if old != new],
            )
            back = [(row.connection_id, name) for name in untrashed]
            places = {
                place
                for key in back
                for place in db.execute("SELECT place FROM trash WHERE connection = ? AND image = ?", key)
            }
            for table in ("trash", "trashed_split"):
                db.executemany(f"DELETE FROM {table} WHERE connection = ? AND image = ?", back)  # noqa: S608 - our own text
            db.executemany(
                "DELETE FROM handle WHERE id = ? AND NOT EXISTS (SELECT 1 FROM trash WHERE place = handle.id)",
                list(places),
            )

    def drop_undone(self, row: EditRow) -> None:
        """Delete the undone edits of an edit's training set: they can no longer be redone."""
        with self._file.transaction() as db:
            _delete_undone(db, row.connection_id, _resolve(db, row.set_handle))

    def drop(self, row: EditRow) -> None:
        """Delete an edit."""
        with self._file.transaction() as db:
            _delete(db, [row.id])

    # --- handles

    def add_handle(self, row: EditRow, name: str) -> int:
        """Return a new handle of an edit that leads to a name."""
        with self._file.transaction() as db:
            return _add_handle(db, row.connection_id, row.id, name)

    def resolve(self, handle: int) -> str:
        """Return what a handle leads to: an image's id, a training set's key, or the name of something absent."""
        return self.resolve_all([handle])[0]

    def resolve_all(self, handles: Sequence[int]) -> list[str]:
        """Return what each of many handles leads to, as `resolve` does."""
        found: dict[int, str] = {}
        for start in range(0, len(handles), _IN_QUERY):
            some = handles[start : start + _IN_QUERY]
            marks = ", ".join("?" * len(some))
            found.update(self._file.read(f"SELECT id, name FROM handle WHERE id IN ({marks})", *some))  # noqa: S608
        return [found.get(handle) or new_absent_name() for handle in handles]

    def training_set_id(self, row: EditRow) -> Id:
        """Return the id of an edit's training set: the current one, else the last one, "" before it was created."""
        name = self.resolve(row.set_handle)
        key = row.set_key if is_absent(name) else name
        return from_set_key(key) if key else Id()

    def ids_before_deletion(self, connection_id: str, names: Collection[str]) -> dict[str, str]:
        """Return names of absent images → the ids they had when they were deleted, as far as edits know them."""
        handles: dict[int, str] = {}
        edits: set[int] = set()
        for name in names:
            sql = "SELECT id, edit FROM handle WHERE connection = ? AND name = ?"
            for handle, edit in self._file.read(sql, connection_id, name):
                handles[handle] = name
                edits.add(edit)
        found: dict[str, str] = {}
        for edit in sorted(edits):
            for placement in self._placements(edit):
                if placement.handle in handles and not is_absent(placement.known_id):
                    found[handles[placement.handle]] = placement.known_id
        return found

    def labels_by_other_edits(self, row: EditRow, names: Collection[str]) -> dict[str, list[str]]:
        """Return names of images → the labels under which other edits left them, the newest edit first."""
        found: dict[str, list[str]] = {}
        handles: dict[int, dict[int, str]] = {}
        for name in names:
            sql = "SELECT id, edit FROM handle WHERE connection = ? AND name = ? AND edit NOT IN (0, ?)"
            for handle, edit in self._file.read(sql, row.connection_id, name, row.id):
                handles.setdefault(edit, {})[handle] = name
        for edit in sorted(handles, reverse=True):
            for placement in self._placements(edit):
                label = placement.target if placement.at_target else placement.source
                if placement.handle in handles[edit] and label is not None:
                    found.setdefault(handles[edit][placement.handle], []).append(label)
        return found

    def _placements(self, edit: int) -> Iterator[Placement]:
        for (body,) in self._file.read("SELECT body FROM placement WHERE edit = ?", edit):
            yield decode_msgpack(body, Placement)

    # --- conflicts

    def add_conflicts(self, connection_id: str, conflicts: Iterable[EditConflict]) -> None:
        """Store conflicts; a newer one of the same photo replaces the older."""
        old = {conflict.image_id: conflict.id for conflict in self.conflicts(connection_id)}
        with self._file.transaction() as db:
            for conflict in conflicts:
                db.execute("DELETE FROM conflict WHERE id = ?", (old.get(conflict.image_id, 0),))
                body = encode_msgpack(conflict)
                db.execute("INSERT INTO conflict (connection, body) VALUES (?, ?)", (connection_id, body))

    def conflicts(self, connection_id: str) -> list[EditConflict]:
        """Return the conflicts of a connection, oldest first."""
        found = self._file.read("SELECT id, body FROM conflict WHERE connection = ? ORDER BY id", connection_id)
        return [msgspec.structs.replace(decode_msgpack(body, EditConflict), id=number) for number, body in found]

    def drop_conflicts(self, numbers: Iterable[int]) -> None:
        """Delete conflicts by their number."""
        with self._file.transaction() as db:
            db.executemany("DELETE FROM conflict WHERE id = ?", [(number,) for number in numbers])

    # --- labels that a service cannot delete

    def hide_labels(self, row: EditRow, hidden: Iterable[str], shown: Iterable[str]) -> None:
        """Hide dropped labels, and show others again: a service without `labels` lists dropped ones, empty, for ever."""
        with self._file.transaction() as db:
            key = (row.connection_id, str(from_set_key(row.set_key)))  # a number and its digits are one id
            db.executemany("INSERT OR IGNORE INTO hidden_label VALUES (?, ?, ?)", [(*key, label) for label in hidden])
            sql = "DELETE FROM hidden_label WHERE connection = ? AND training_set = ? AND label = ?"
            db.executemany(sql, [(*key, label) for label in shown])

    def hidden_labels(self, connection_id: str, training_set_id: Id) -> set[str]:
        """Return the labels of a training set that are not shown while they are empty."""
        sql = "SELECT label FROM hidden_label WHERE connection = ? AND training_set = ?"
        return {str(label) for (label,) in self._file.read(sql, connection_id, training_set_id)}

    # --- the trash

    def trash(self, connection_id: str) -> list[TrashedImage]:
        """Return the images in the trash, newest first."""
        found = self._file.read(
            "SELECT trash.id, trash.connection, training_set, handle.name, label, trash.name, sha256, bytes, deleted_at"
            " FROM trash LEFT JOIN handle ON handle.id = trash.place WHERE trash.connection = ? ORDER BY trash.id DESC",
            connection_id,
        )
        return [
            TrashedImage(number, owner, from_set_key(last_key if key is None or is_absent(key) else key), *rest)
            for number, owner, last_key, key, *rest in found
        ]

    def trashed_names(self, connection_id: str, numbers: Collection[int]) -> dict[int, str]:
        """Return the names that images in the trash have while they are absent, by their number."""
        found = self._file.read("SELECT id, image FROM trash WHERE connection = ?", connection_id)
        return {number: name for number, name in found if number in numbers}

    def trashed_splits(self, connection_id: str) -> dict[str, str]:
        """Return the splits of images in the trash by the names that they have while they are absent."""
        return dict(self._file.read("SELECT image, split FROM trashed_split WHERE connection = ?", connection_id))

    def empty_trash(self, connection_id: str | None) -> None:
        """Delete the records of what is in the trash, of one connection or of all."""
        chosen = "" if connection_id is None else " WHERE connection = ?"
        key = () if connection_id is None else (connection_id,)
        with self._file.transaction() as db:
            db.execute(f"DELETE FROM handle WHERE id IN (SELECT place FROM trash{chosen})", key)  # noqa: S608 - our own
            db.execute(f"DELETE FROM trash{chosen}", key)  # noqa: S608
            db.execute(f"DELETE FROM trashed_split{chosen}", key)  # noqa: S608

    def connections(self) -> list[str]:
        """Return the ids of the connections that have edits."""
        return [name for (name,) in self._file.read("SELECT DISTINCT connection FROM edit")]

    def needed_content(self, hashes: Collection[str] | None = None) -> set[str]:
        """Return the sha256, of these or of all, whose content the trash or an unfinished edit needs."""
        if hashes is None:
            found = {sha256 for (sha256,) in self._file.read("SELECT DISTINCT sha256 FROM trash")}
        else:
            sql = "SELECT 1 FROM trash WHERE sha256 = ? LIMIT 1"
            found = {sha256 for sha256 in hashes if self._file.read(sql, sha256)}
        bodies = self._file.read(
            "SELECT body FROM placement JOIN edit ON edit.id = placement.edit WHERE stage IN (?, ?, ?)", *UNFINISHED
        )
        return (found | {decode_msgpack(body, Placement).sha256 for (body,) in bodies}) - {""}


def _row(values: tuple[Any, ...]) -> EditRow:
    number, connection_id, set_key, set_handle, kind, title, stage, note, created_at, stored = values
    payload = decode_payload(EditKind(kind), stored)
    return EditRow(number, connection_id, set_key, set_handle, title, EditStage(stage), note, created_at, payload)


def _resolve(db: sqlite3.Connection, handle: int) -> str:
    found = db.execute("SELECT name FROM handle WHERE id = ?", (handle,)).fetchone()
    return str(found[0]) if found else new_absent_name()


def _add_handle(db: sqlite3.Connection, connection_id: str, edit: int, name: str) -> int:
    sql = "INSERT INTO handle (connection, edit, name) VALUES (?, ?, ?)"
    number = db.execute(sql, (connection_id, edit, name)).lastrowid
    assert number is not None  # noqa: S101 - for mypy: an INSERT has one
    return number


def _write(db: sqlite3.Connection, row: EditRow, placements: Iterable[Placement]) -> None:
    db.execute(
        "UPDATE edit SET training_set = ?, title = ?, stage = ?, note = ?, facts = ? WHERE id = ?",
        (row.set_key, row.title, row.stage, row.note, encode_json(row.payload), row.id),
    )
    db.executemany(
        "INSERT OR REPLACE INTO placement VALUES (?, ?, ?)",
        [(row.id, placement.n, encode_msgpack(placement)) for placement in placements],
    )


def _spellings(set_name: str) -> tuple[str, str]:
    """Return the key of a training set, and the one that earlier versions wrote at times: with its number as text."""
    return set_name, f'set:"{set_name.removeprefix("set:")}"'


def _delete_undone(db: sqlite3.Connection, connection_id: str, set_name: str) -> None:
    """Delete the undone edits of a training set, and of those that do not exist: only undoing made them vanish."""
    found = db.execute(
        "SELECT edit.id, name FROM edit LEFT JOIN handle ON handle.id = edit.place WHERE edit.connection = ? AND stage = ?",
        (connection_id, EditStage.UNDONE),
    )
    _delete(
        db,
        [
            number
            for number, name in found.fetchall()
            if name is None or name in _spellings(set_name) or is_absent(name)
        ],
    )


def _delete(db: sqlite3.Connection, numbers: list[int]) -> None:
    db.executemany("DELETE FROM placement WHERE edit = ?", [(number,) for number in numbers])
    db.executemany("DELETE FROM handle WHERE edit = ?", [(number,) for number in numbers])
    db.executemany("DELETE FROM edit WHERE id = ?", [(number,) for number in numbers])
