"""The service's thumbnail cache: JPEGs by content in an SQLite file of its own. Losing it costs only time."""

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
    """Thumbnails by sha256. Thread-safe; never raises: what fails is a thumbnail that is not there.

    Writing waits for no disk (synchronous=OFF, which a killed process does no harm to). A damaged file is made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def get(self, sha256: str) -> bytes | None:
        """A thumbnail, or None where it has to be made."""

        def look(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT jpeg FROM thumbnails WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else bytes(row[0])

        return self._try(look)

    def put(self, sha256: str, jpeg: bytes) -> None:
        """Keep a thumbnail."""
        self._try(
            lambda connection: connection.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", (sha256, jpeg))
        )

    def forget(self, sha256s: Sequence[str]) -> None:
        """Drop the thumbnails of images that are gone."""
        rows = [(sha256,) for sha256 in sha256s]
        self._try(lambda connection: connection.executemany("DELETE FROM thumbnails WHERE sha256 = ?", rows))

    def keep_only(self, known: set[str]) -> None:
        """Drop what is not in `known`."""

        def strangers(connection: sqlite3.Connection) -> list[str]:
            names: Iterator[tuple[str]] = connection.execute("SELECT sha256 FROM thumbnails")
            return [name for (name,) in names if name not in known]

        self.forget(self._try(strangers) or [])

    def close(self) -> None:
        """Close the file; from then on there is no thumbnail."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _try(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        with self._lock:
            if self._closed:
                return None
            try:
                return work(self._open())
            except sqlite3.Error as error:
                _log.warning("The thumbnail cache “%s” failed: %s", self._path, error)
                if isinstance(error, sqlite3.OperationalError):
                    return None
            return self._anew(work)

    def _anew(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """After damage: without the old file."""
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            for end in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            return work(self._open())
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
