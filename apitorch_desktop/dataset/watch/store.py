"""Watched folders of the window, on disk: their tasks, how much was done, and the last answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Final

from apitorch_desktop.api.types import Id, decode_json, encode_json
from apitorch_desktop.dataset.batch.classification import Answers
from apitorch_desktop.dataset.watch.task import Answer, WatchTask
from apitorch_desktop.utils.sqlite import SqliteFile

KEPT: Final = 200
"""Last answers that are kept with a watched folder."""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS watch_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, folder BLOB NOT NULL, classifier TEXT NOT NULL,
    csv BLOB, destination BLOB, least REAL NOT NULL, training_set TEXT, labels INTEGER NOT NULL,
    unlabelled INTEGER NOT NULL, paused INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS watch_reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, watch INTEGER NOT NULL, path BLOB NOT NULL, answer BLOB NOT NULL, moved BLOB,
    at REAL NOT NULL)""",
)


@dataclass(slots=True, eq=False)
class WatchReport:
    """One photo that was handled: where it was and is, its answer, and when (seconds since 1970)."""

    path: Path
    answer: Answer
    moved: Path | None
    at: float


@dataclass(slots=True, eq=False)
class StoredWatch:
    """A watched folder of the window."""

    id: int
    task: WatchTask
    paused: bool
    done: int
    failed: int
    reports: list[WatchReport]


class WatchStore:
    """The watched folders of all connections. Raises FileError where the file cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / "watch_list.db", _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, task: WatchTask) -> StoredWatch:
        """Add a watched folder."""
        with self._file.transaction() as write:
            cursor = write.execute(
                "INSERT INTO watch_list (connection, folder, classifier, csv, destination, least, training_set, labels,"
                " unlabelled, paused, done, failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
                (
                    task.connection_id, os.fsencode(task.folder), task.classifier,
                    os.fsencode(task.table) if task.table else None,
                    os.fsencode(task.destination) if task.destination else None,
                    task.least, task.training_set_id, task.adds_labels, task.adds_unlabelled,
                ),
            )  # fmt: skip
        return StoredWatch(int(cursor.lastrowid or 0), task, paused=False, done=0, failed=0, reports=[])

    def all(self) -> list[StoredWatch]:
        """Return all watched folders, the oldest first, each with its last answers, the newest first."""
        reports: dict[int, list[WatchReport]] = {}
        for watch, path, answer, moved, at in self._file.read(
            "SELECT watch, path, answer, moved, at FROM watch_reports ORDER BY id DESC"
        ):
            found = next(iter(decode_json(answer, Answers).values()))
            report = WatchReport(Path(os.fsdecode(path)), found, Path(os.fsdecode(moved)) if moved else None, at)
            reports.setdefault(watch, []).append(report)
        watches = []
        for row in self._file.read("SELECT * FROM watch_list ORDER BY id"):
            number, connection, folder, classifier, csv, destination, least, set_id, labels, unlabelled = row[:10]
            task = WatchTask(
                connection, Path(os.fsdecode(folder)), classifier, Path(os.fsdecode(csv)) if csv else None,
                Path(os.fsdecode(destination)) if destination else None, least, Id(set_id) if set_id else None,
                bool(labels), bool(unlabelled),
            )  # fmt: skip
            watches.append(StoredWatch(number, task, bool(row[10]), row[11], row[12], reports.get(number, [])))
        return watches

    def report(self, watch_id: int, path: Path, answer: Answer, moved: Path | None) -> WatchReport:
        """Note a photo that was handled."""
        report = WatchReport(path, answer, moved, time())
        failed = isinstance(answer, str)
        with self._file.transaction() as write:
            write.execute(
                "INSERT INTO watch_reports (watch, path, answer, moved, at) VALUES (?, ?, ?, ?, ?)",
                (
                    watch_id, os.fsencode(path), encode_json({"": answer}), os.fsencode(moved) if moved else None,
                    report.at,
                ),
            )  # fmt: skip
            write.execute(
                "UPDATE watch_list SET done = done + ?, failed = failed + ? WHERE id = ?",
                (not failed, failed, watch_id),
            )
            write.execute(
                "DELETE FROM watch_reports WHERE watch = ? AND id <= (SELECT id FROM watch_reports WHERE watch = ?"
                " ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (watch_id, watch_id, KEPT),
            )
        return report

    def change(self, watch_id: int, task: WatchTask) -> None:
        """Save another task for a watched folder; what was done stays."""
        with self._file.transaction() as write:
            write.execute(
                "UPDATE watch_list SET classifier = ?, csv = ?, destination = ?, least = ?, training_set = ?, labels = ?,"
                " unlabelled = ? WHERE id = ?",
                (
                    task.classifier, os.fsencode(task.table) if task.table else None,
                    os.fsencode(task.destination) if task.destination else None,
                    task.least, task.training_set_id, task.adds_labels, task.adds_unlabelled, watch_id,
                ),
            )  # fmt: skip

    def set_paused(self, watch_id: int, paused: bool) -> None:
        """Save that a watch is paused or goes on."""
        with self._file.transaction() as write:
            write.execute("UPDATE watch_list SET paused = ? WHERE id = ?", (paused, watch_id))

    def clear_failed(self, watch_id: int, reports: Iterable[WatchReport]) -> None:
        """Remove failures that are tried again."""
        with self._file.transaction() as write:
            write.executemany(
                "DELETE FROM watch_reports WHERE watch = ? AND path = ?",
                [(watch_id, os.fsencode(report.path)) for report in reports],
            )
            write.execute("UPDATE watch_list SET failed = 0 WHERE id = ?", (watch_id,))

    def remove(self, watch_id: int) -> None:
        """Remove a watched folder; its journal stays, so that it goes on where it was if it is watched again."""
        with self._file.transaction() as write:
            write.execute("DELETE FROM watch_list WHERE id = ?", (watch_id,))
            write.execute("DELETE FROM watch_reports WHERE watch = ?", (watch_id,))
