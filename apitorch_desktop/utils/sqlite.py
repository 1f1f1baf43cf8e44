"""SQLite file of the user's data: one connection behind a lock, transactions, and recovery from damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.files import move_into_place, private_file


class FileError(UserError, OSError):
    """The file cannot be read or written; `str()` states which, why, and what to do."""

    def __init__(self, path: Path, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        reason = "the disk is full" if "full" in reason else f"{reason[:1].lower()}{reason[1:]}"
        super().__init__(f"{path} cannot be used: {reason}. Free some space or check the folder, then try again.")

    def __str__(self) -> str:
        return str(self.args[0])


class SqliteFile:
    """An SQLite file, created if missing; the statements of `schema` run at each opening, in any of its processes.

    `migrations` turn version 1, 2, … of the file (`user_version`) into the next one; a new file begins with the last.

    A damaged file is replaced by a new one; unless it is a `cache` it is moved aside first, and `note` states where to. A
    cache returns nothing where it cannot be used, any other file raises FileError.
    """

    def __init__(
        self, path: Path, schema: Sequence[str], *, cache: bool = False, migrations: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.note = ""
        self._schema = schema
        self._migrations = migrations
        self._cache = cache
        self._lock = RLock()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        if not cache:
            self._open()

    def close(self) -> None:
        """Close the file; later calls return nothing from a cache, and raise FileError for any other file."""
        with self._lock:
            self._closed = True
            self._drop()

    def read(self, sql: str, *values: Any) -> list[Any]:
        """Return all rows of a query."""
        with self._lock:
            try:
                return self._open().execute(sql, values).fetchall()
            except FileError:
                if self._cache:
                    return []
                raise
            except sqlite3.Error as error:
                self._failed(error)
                return []

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction; it is on disk at the end, unless the file is a cache."""
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
            except BaseException as error:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if not isinstance(error, sqlite3.Error):
                    raise
                self._failed(error)
            finally:
                if connection is not self._connection:
                    connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if self._closed:
            raise FileError(self.path, RuntimeError("it was closed"))
        try:
            private_file(self.path)  # SQLite gives its journals the same permissions
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            self._drop()
            if isinstance(error, sqlite3.OperationalError):
                raise FileError(self.path, error) from None
            self._put_aside()
            try:
                self._connection = self._connect()
            except sqlite3.Error as second_error:
                raise FileError(self.path, second_error) from None
        except OSError as error:
            raise FileError(self.path, error) from None
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=20)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'OFF' if self._cache else 'FULL'}")
            self._migrate(connection)
            for statement in self._schema:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        newest = len(self._migrations) + 1
        if not self._migrations or connection.execute("PRAGMA user_version").fetchone()[0] == newest:
            return
        connection.execute("BEGIN IMMEDIATE")  # other processes may open the file at the same moment
        version = connection.execute("PRAGMA user_version").fetchone()[0] or newest
        for statement in self._migrations[version - 1 :]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")

    def _failed(self, error: sqlite3.Error) -> None:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
        )
        if damaged:
            self._drop()
            self._put_aside()
        if not self._cache or isinstance(error, sqlite3.ProgrammingError):
            raise FileError(self.path, error) from None

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
                move_into_place(self.path, aside)
                self.note = f"{self.path.name} was damaged and is begun anew; the old one is {aside}."
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(self.path, error) from None
