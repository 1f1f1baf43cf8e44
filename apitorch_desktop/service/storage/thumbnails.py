"""The thumbnail cache of the service: JPEGs by content in an SQLite file of its own. Losing it costs only time."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class ThumbnailCache:
    """Thumbnails by sha256. Thread-safe; never raises: after a failure there is no thumbnail.

    Writes are not synced (synchronous=OFF, which is safe when the process is killed). A damaged file is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def get(self, sha256: str) -> bytes | None:
        """Return a thumbnail, or None if it is not cached."""

        def select(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT jpeg FROM thumbnails WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else bytes(row[0])

        return self._run(select)

    def put(self, sha256: str, jpeg: bytes) -> None:
        """Store a thumbnail."""
        self._run(
            lambda connection: connection.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", (sha256, jpeg))
        )

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete the thumbnails of deleted images."""
        rows = [(sha256,) for sha256 in sha256s]
        self._run(lambda connection: connection.executemany("DELETE FROM thumbnails WHERE sha256 = ?", rows))

    def keep_only(self, known: set[str]) -> None:
        """Delete all thumbnails that are not in `known`."""

        def unknown(connection: sqlite3.Connection) -> list[str]:
            names: Iterator[tuple[str]] = connection.execute("SELECT sha256 FROM thumbnails")
            return [name for (name,) in names if name not in known]

        self.delete(self._run(unknown) or [])

    def close(self) -> None:
        """Close the file; from then on there are no thumbnails."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, operation: Callable[[sqlite3.Connection], _T]) -> _T | None:
        with self._lock:
            if self._closed:
                return None
            try:
                return operation(self._open())
            except sqlite3.Error as error:
                _log.warning("The thumbnail cache “%s” failed: %s", self._path, error)
                if isinstance(error, sqlite3.OperationalError):
                    return None
            return self._retry_with_new_file(operation)

    def _retry_with_new_file(self, operation: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Replace a damaged file and try again."""
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            for end in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            return operation(self._open())
        except (OSError, sqlite3.Error) as error:
            _log.warning("The thumbnail cache “%s” could not be made anew: %s", self._path, error)
            return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1)
            try:
                for setting in ("journal_mode=WAL", "synchronous=OFF"):
                    with closing(connection.execute(f"PRAGMA {setting}")):
                        pass
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS thumbnails (sha256 TEXT PRIMARY KEY, jpeg BLOB NOT NULL)"
                )
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection
