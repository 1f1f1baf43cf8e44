"""Batches on disk: their rows and answers, so that a batch can be reopened, and continued after a restart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import time
from typing import Final

from apitorch_desktop.api.types import decode_json, encode_json
from apitorch_desktop.dataset.batch.classification import Answers, BatchRow
from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageBytes, ImageFile, ImageUrl, Source
from apitorch_desktop.utils.sqlite import SqliteFile

KEPT_BYTES: Final = 256 * 2**20
"""Bytes of images without a file (pasted, or of a training set) that are kept with one batch."""
LOST: Final = "This photo was only in memory. Drop it again."
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, slugs TEXT NOT NULL, state TEXT NOT NULL,
    created_at REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS batch_rows (
    batch INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, source BLOB NOT NULL, name TEXT NOT NULL,
    place TEXT NOT NULL, problem TEXT NOT NULL, answers BLOB NOT NULL, PRIMARY KEY (batch, number)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS batch_hashes (
    batch INTEGER NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (batch, number)) WITHOUT ROWID""",
)


class BatchState(StrEnum):
    """State of a batch."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Batch:
    """A batch: its classifiers, its rows with their answers, and its state."""

    id: int
    connection_id: str
    slugs: list[str]
    state: BatchState
    rows: list[BatchRow]

    @property
    def answered(self) -> int:
        """Number of rows that have their answers, or cannot have any."""
        return sum(bool(row.problem or row.answers) for row in self.rows)

    @property
    def failed(self) -> int:
        """Number of rows without an answer of some classifier, of those answered."""
        return sum(row.failed for row in self.rows)


class BatchStore:
    """The batches of all connections. Raises FileError where the file cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / "batches.db", _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, connection_id: str, slugs: Sequence[str], rows: Sequence[BatchRow]) -> Batch:
        """Add a batch."""
        room = KEPT_BYTES
        values = []
        for number, row in enumerate(rows):
            kind, source = _encoded(row.source)
            if kind == "bytes":
                room -= len(source)
                if room < 0:
                    kind, source = "lost", b""
            values.append((number, kind, source, row.name, row.place, row.problem, encode_json(row.answers)))
        state = BatchState.RUNNING
        with self._file.transaction() as write:
            cursor = write.execute(
                "INSERT INTO batches (connection, slugs, state, created_at) VALUES (?, ?, ?, ?)",
                (connection_id, " ".join(slugs), state.value, time()),
            )
            batch_id = int(cursor.lastrowid or 0)
            write.executemany(
                "INSERT INTO batch_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(batch_id, *value) for value in values]
            )
        return Batch(batch_id, connection_id, list(slugs), state, list(rows))

    def all(self) -> list[Batch]:
        """Return all batches with their rows, the oldest first."""
        rows: dict[int, list[BatchRow]] = {}
        for batch, kind, source, name, place, problem, answers, sha256 in self._file.read(
            "SELECT batch, kind, source, name, place, problem, answers, COALESCE(sha256, '')"
            " FROM batch_rows LEFT JOIN batch_hashes USING (batch, number) ORDER BY batch, number"
        ):
            known = decode_json(answers, Answers)
            lost = LOST if kind == "lost" and not known else ""
            rows.setdefault(batch, []).append(
                BatchRow(_decoded(kind, source), name, place, problem or lost, known, sha256)
            )
        return [
            Batch(batch_id, connection, slugs.split(), BatchState(state), rows.get(batch_id, []))
            for batch_id, connection, slugs, state in self._file.read(
                "SELECT id, connection, slugs, state FROM batches ORDER BY id"
            )
        ]

    def save_answers(self, batch_id: int, number: int, answers: Answers, sha256: str = "") -> None:
        """Save the answers of a row, and the hash of its image; empty answers to have it classified again."""
        with self._file.transaction() as write:
            write.execute(
                "UPDATE batch_rows SET answers = ? WHERE batch = ? AND number = ?",
                (encode_json(answers), batch_id, number),
            )
            if sha256:
                write.execute("INSERT OR REPLACE INTO batch_hashes VALUES (?, ?, ?)", (batch_id, number, sha256))

    def set_state(self, batch_id: int, state: BatchState) -> None:
        """Save the state of a batch."""
        with self._file.transaction() as write:
            write.execute("UPDATE batches SET state = ? WHERE id = ?", (state.value, batch_id))

    def remove(self, batch_id: int) -> None:
        """Remove a batch with its rows."""
        with self._file.transaction() as write:
            write.execute("DELETE FROM batch_rows WHERE batch = ?", (batch_id,))
            write.execute("DELETE FROM batch_hashes WHERE batch = ?", (batch_id,))
            write.execute("DELETE FROM batches WHERE id = ?", (batch_id,))


def _encoded(source: Source) -> tuple[str, bytes]:
    match source:
        case ImageFile(path):
            return "file", os.fsencode(path.absolute())
        case ArchiveMember(archive, name):
            return "archive", os.fsencode(archive.absolute()) + b"\0" + name.encode("utf-8", "surrogateescape")
        case ImageUrl(url):
            return "url", url.encode("utf-8", "replace")
        case ImageBytes(data, name):
            return "bytes", name.encode("utf-8", "surrogateescape") + b"\0" + data


def _decoded(kind: str, source: bytes) -> Source:
    match kind:
        case "file":
            return ImageFile(Path(os.fsdecode(source)))
        case "archive":
            archive, _, member = source.partition(b"\0")
            return ArchiveMember(Path(os.fsdecode(archive)), member.decode("utf-8", "surrogateescape"))
        case "url":
            return ImageUrl(source.decode())
        case _:
            name, _, data = source.partition(b"\0")
            return ImageBytes(data, name.decode("utf-8", "surrogateescape"))
