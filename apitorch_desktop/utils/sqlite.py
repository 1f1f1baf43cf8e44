"""An SQLite file of the person's own: one connection behind a lock, whole transactions, and an answer to damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from apitorch_desktop.utils.errors import UserError


class FileError(UserError, OSError):
    """The file cannot be read or written: `str()` is a sentence that says which, why, and what to do."""

    def __init__(self, path: Path, fault: Exception) -> None:
        reason = "the disk is full" if "full" in str(fault) else str(fault)
        super().__init__(f"{path} cannot be used: {reason}. Free some space or check the folder, then try again.")

    def __str__(self) -> str:
        return str(self.args[0])


class SqliteFile:
    """`schema` is run at each opening. A `cache` forgets rather than fails; any other file raises FileFailed.

    A damaged file is begun anew; what is no cache is first moved aside, and `note` says where to.
    """

    def __init__(self, path: Path, schema: Sequence[str], *, cache: bool = False) -> None:
        self.path = path
        self.note = ""
        self._schema = schema
        self._cache = cache
        self._lock = RLock()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        if not cache:
            self._open()

    def close(self) -> None:
        """Close the file; later calls of a cache find nothing, of any other fail."""
        with self._lock:
            self._closed = True
            self._drop()

    def read(self, sql: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        with self._lock:
            try:
                return self._open().execute(sql, values).fetchall()
            except FileError:
                if self._cache:
                    return []
                raise
            except sqlite3.Error as fault:
                self._failed(fault)
                return []

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on disk at its end, unless it is a cache."""
        with self._lock:
            try:
                connection = self._open()
            except FileError:
                if not self._cache:
                    raise
                connection = sqlite3.connect(":memory:", isolation_level=None)
                for statement in self._schema:
                    connection.execute(statement)
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as fault:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if not isinstance(fault, sqlite3.Error):
                    raise
                self._failed(fault)
            finally:
                if connection is not self._connection:
                    connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if self._closed:
            raise FileError(self.path, RuntimeError("it was closed"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
        except sqlite3.DatabaseError as fault:
            self._drop()
            if isinstance(fault, sqlite3.OperationalError):
                raise FileError(self.path, fault) from None
            self._put_aside()
            try:
                self._connection = self._connect()
            except sqlite3.Error as again:
                raise FileError(self.path, again) from None
        except OSError as fault:
            raise FileError(self.path, fault) from None
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=20)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'OFF' if self._cache else 'FULL'}")
            for statement in self._schema:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _failed(self, fault: sqlite3.Error) -> None:
        damaged = isinstance(fault, sqlite3.DatabaseError) and not isinstance(
            fault, (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
        )
        if damaged:
            self._drop()
            self._put_aside()
        if not self._cache or isinstance(fault, sqlite3.ProgrammingError):
            raise FileError(self.path, fault) from None

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _put_aside(self) -> None:
        aside = self.path.with_name(self.path.name + ".damaged")
        try:
            if self._cache:
                self.path.unlink(missing_ok=True)
            else:
                self.path.replace(aside)
                self.note = f"{self.path.name} was damaged and is begun anew; the old one is {aside}."
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as fault:
            raise FileError(self.path, fault) from None
