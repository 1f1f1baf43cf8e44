"""Journal of a watched folder: answers about its photos, and what was done about them."""

from __future__ import annotations

import os
from pathlib import Path

from apitorch_desktop.api.types import decode_json, encode_json
from apitorch_desktop.dataset.batch.classification import Answers
from apitorch_desktop.dataset.watch.arrivals import Arrival
from apitorch_desktop.dataset.watch.task import Answer, WatchTask
from apitorch_desktop.utils.sqlite import SqliteFile

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS watches (
    id INTEGER PRIMARY KEY, connection TEXT NOT NULL, classifier TEXT NOT NULL, folder BLOB NOT NULL,
    UNIQUE (connection, classifier, folder))""",
    """CREATE TABLE IF NOT EXISTS watched_photos (
    watch INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL, answer BLOB NOT NULL,
    target BLOB, PRIMARY KEY (watch, path)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS watched_rows (
    watch INTEGER NOT NULL, path BLOB NOT NULL, file BLOB NOT NULL, start INTEGER NOT NULL, written INTEGER NOT NULL,
    PRIMARY KEY (watch, path, file)) WITHOUT ROWID""",
)


class WatchJournal:
    """Answers about the photos of watched folders, and what was done about them. Raises FileError."""

    def __init__(self, folder: Path, task: WatchTask) -> None:
        self._file = SqliteFile(folder / "watched.db", _SCHEMA)
        self._classifier = task.classifier
        key = (task.connection_id, task.classifier, os.fsencode(task.folder))
        with self._file.transaction() as write:
            write.execute("INSERT OR IGNORE INTO watches (connection, classifier, folder) VALUES (?, ?, ?)", key)
        where = "connection = ? AND classifier = ? AND folder = ?"
        self._watch = int(self._file.read(f"SELECT id FROM watches WHERE {where}", *key)[0][0])  # noqa: S608 - a constant

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def photos(self) -> list[tuple[Arrival, Path | None]]:
        """Return the photos that have an answer, each with the path of a move under way."""
        return [
            (Arrival(Path(os.fsdecode(path)), (size, changed)), Path(os.fsdecode(target)) if target else None)
            for path, size, changed, target in self._file.read(
                "SELECT path, size, changed, target FROM watched_photos WHERE watch = ?", self._watch
            )
        ]

    def failed(self) -> list[Path]:
        """Return the photos that have a reason in place of an answer."""
        rows = self._file.read("SELECT path, answer FROM watched_photos WHERE watch = ?", self._watch)
        return [
            Path(os.fsdecode(path))
            for path, answer in rows
            if isinstance(next(iter(decode_json(answer, Answers).values())), str)
        ]

    def answer(self, arrival: Arrival) -> Answer | None:
        """Return the answer about a photo, None if there is none or the file has changed since."""
        found = self._file.read(
            "SELECT answer FROM watched_photos WHERE watch = ? AND path = ? AND size = ? AND changed = ?",
            self._watch, os.fsencode(arrival.path), *arrival.state,
        )  # fmt: skip
        return next(iter(decode_json(found[0][0], Answers).values())) if found else None

    def save(self, arrival: Arrival, answer: Answer) -> None:
        """Save the answer about a photo, which has nothing done about it yet."""
        path = os.fsencode(arrival.path)
        with self._file.transaction() as write:
            write.execute("DELETE FROM watched_rows WHERE watch = ? AND path = ?", (self._watch, path))
            write.execute(
                "INSERT OR REPLACE INTO watched_photos VALUES (?, ?, ?, ?, ?, NULL)",
                (self._watch, path, *arrival.state, encode_json({self._classifier: answer})),
            )

    def begin_move(self, path: Path, target: Path | None) -> None:
        """Save where a photo is about to move, None if it does not."""
        with self._file.transaction() as write:
            write.execute(
                "UPDATE watched_photos SET target = ? WHERE watch = ? AND path = ?",
                (os.fsencode(target) if target else None, self._watch, os.fsencode(path)),
            )

    def finish_move(self, path: Path, moved: Arrival) -> None:
        """Save that a photo has moved."""
        names = (os.fsencode(moved.path), self._watch, os.fsencode(path))
        with self._file.transaction() as write:
            for table in ("watched_photos", "watched_rows"):
                write.execute(f"DELETE FROM {table} WHERE path = ? AND watch = ?", names[:2])  # noqa: S608 - a constant
                write.execute(f"UPDATE {table} SET path = ? WHERE watch = ? AND path = ?", names)  # noqa: S608
            write.execute(
                "UPDATE watched_photos SET target = NULL, size = ?, changed = ? WHERE path = ? AND watch = ?",
                (*moved.state, *names[:2]),
            )

    def row(self, path: Path, file: Path) -> tuple[int, bool] | None:
        """Return where a photo's row of a table begins, in bytes, and whether it is known to be written; None if not begun."""
        found = self._file.read(
            "SELECT start, written FROM watched_rows WHERE watch = ? AND path = ? AND file = ?",
            self._watch, os.fsencode(path), os.fsencode(file),
        )  # fmt: skip
        return (found[0][0], bool(found[0][1])) if found else None

    def save_row(self, path: Path, file: Path, start: int, *, written: bool) -> None:
        """Save that a photo's row of a table is about to be written, or is."""
        with self._file.transaction() as write:
            write.execute(
                "INSERT OR REPLACE INTO watched_rows VALUES (?, ?, ?, ?, ?)",
                (self._watch, os.fsencode(path), os.fsencode(file), start, written),
            )

    def forget(self, path: Path) -> None:
        """Remove a photo that is done with and has left the folder."""
        with self._file.transaction() as write:
            for table in ("watched_photos", "watched_rows"):
                write.execute(
                    f"DELETE FROM {table} WHERE watch = ? AND path = ?",  # noqa: S608 - a constant
                    (self._watch, os.fsencode(path)),
                )
