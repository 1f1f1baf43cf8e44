"""Database connections: SQLite in the data folder, or PostgreSQL by URL."""

import logging
import os
import secrets
import select as selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.errors import (
    CannotOpen,
    Closed,
    InUse,
    StorageUnreachable,
    to_store_error,
)
from apitorch_desktop.service.storage.validation import now

DATABASE = "store.db"
"""The file of SQLite in the data folder."""
LOCAL_OWNER = 1
"""The owner that always exists: the user of this machine."""

_READERS = 8
_BUSY_TIMEOUT = 10  # seconds a statement waits for a lock, such as a checkpoint's
_WAL_LIMIT = 16 * 2**20  # bytes of SQLite's log that remain on disk after a big change
_POSTGRES_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""Limits of libpq, so that a PostgreSQL server that has gone silent fails a call and does not hold it."""
_READ_TIMEOUT, _WRITE_TIMEOUT = 60, 600  # seconds that one statement may take in PostgreSQL
_POOL_TIMEOUT = 10  # seconds that a read waits for a connection
_LOCK_TIMEOUT = 10  # seconds that a change waits for a row that another process is changing
_IDLE_TIMEOUT = 60  # seconds after which PostgreSQL ends a transaction whose process has fallen silent
_SILENCE = 10.0  # seconds after which a running transaction makes the watchdog ask if the server still answers
_WATCH_INTERVAL = 1.0
_NO_SNAPSHOT = "no_snapshot"  # option of a connection to SQLite whose statements each see the last commit
_EARLIER_LOCK = 0x6170_6974_6F72_6368  # "apitorch": services that admitted no second one hold it all the time
_MIGRATION_LOCK = _EARLIER_LOCK + 1


_log = logging.getLogger(__name__)


class Database:
    """Two engines on one database: readers see the last commit, and `writing` is for the one writer of this process.

    A PostgreSQL database may be used by any number of processes; `sqlite` databases by one. Raises CannotOpen for a
    database that cannot be used.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._folder = folder
        self._closed = False
        self._watchdog: _Watchdog | None = None
        self.sqlite = url is None
        if url is None:
            self._readers = _sqlite(folder / DATABASE, "BEGIN", ("query_only=ON",), _READERS)
            self._writer = _sqlite(
                folder / DATABASE, "BEGIN IMMEDIATE", ("journal_mode=WAL", f"journal_size_limit={_WAL_LIMIT}"), 1
            )
            self._queries: Engine = self._readers.execution_options(**{_NO_SNAPSHOT: True})
        else:
            self._readers, self._queries, self._writer = _by_url(url)
            self._watchdog = _Watchdog(self._writer)
        try:
            self.secret, self.id = self._migrate()
        except DBAPIError as error:
            self.close()
            raise CannotOpen(f"The database cannot be used. {to_store_error(error, folder)}") from error
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection with a consistent snapshot, on any thread. A failure is raised as a StoreError."""
        with self._connected(self._readers, _READ_TIMEOUT) as connection:
            yield connection

    @contextmanager
    def querying(self) -> Iterator[Connection]:
        """Yield a connection as `reading` does, but each statement sees the last commit.

        That saves BEGIN and ROLLBACK, two of the three statements of a single query.
        """
        with self._connected(self._queries, _READ_TIMEOUT) as connection:
            yield connection

    @contextmanager
    def _connected(self, engine: Engine, limit: float) -> Iterator[Connection]:
        if self._closed:
            raise Closed("The service is ending.")
        try:
            connection = engine.connect()
            with self._watched(connection, limit), connection:  # its end is watched too: it sends a ROLLBACK
                yield connection
        except DBAPIError as error:
            raise to_store_error(error, self._folder) from error
        except PoolTimeout as error:
            raise StorageUnreachable("The database is too slow: all connections to it are busy. Try again.") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction of the writer: durably committed at the end, rolled back on an exception."""
        if self.sqlite:
            with self._writer.begin() as connection:
                yield connection
            return
        connection = self._writer.connect()
        with self._watched(connection, _WRITE_TIMEOUT), connection, connection.begin():
            yield connection

    def connect(self) -> Any:
        """Return a new connection of the driver to PostgreSQL, for `Listener`. The caller closes it."""
        arguments, options = self._writer.dialect.create_connect_args(self._writer.url)
        return self._writer.dialect.connect(*arguments, **{**options, **_POSTGRES_TIMEOUTS})

    def checkpoint(self) -> None:
        """Move committed data from SQLite's log into its file, so that the space of the log can be reused."""
        if self.sqlite:
            with closing(self._writer.raw_connection()) as connection:  # without a BEGIN, which does not allow it
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def close(self) -> None:
        """Close all idle connections; later reads raise Closed."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.stop()
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def _watched(self, connection: Connection, limit: float) -> Iterator[None]:
        if self._watchdog is None:
            yield
        else:
            with self._watchdog.watching(connection, limit):
                yield

    def _migrate(self) -> tuple[bytes, str]:
        with self.writing() as connection:
            if not self.sqlite:
                _wait_for_turn(connection)
            found = self._version(connection)
            if found > schema.VERSION:
                raise CannotOpen(f"{schema.too_new(found)} Use that version, or another data folder.")
            if found < schema.VERSION:
                schema.migrate(connection, found)
                self._set_version(connection, found)
            if connection.execute(select(schema.owners.c.id).where(schema.owners.c.id == LOCAL_OWNER)).first() is None:
                connection.execute(schema.owners.insert().values(name="local", created_at=now()))
            return _stored_random(connection, "secret"), _stored_random(connection, "id").hex()

    def _version(self, connection: Connection) -> int:
        if self.sqlite:
            return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if not connection.dialect.has_table(connection, schema.meta.name):
            return 0
        row = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == "version")).scalar()
        return int(row) if row is not None else 0

    def _set_version(self, connection: Connection, found: int) -> None:
        if self.sqlite:
            connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")
            return
        value = str(schema.VERSION).encode()
        if found:
            connection.execute(schema.meta.update().where(schema.meta.c.name == "version").values(value=value))
        else:
            connection.execute(schema.meta.insert().values(name="version", value=value))


def _wait_for_turn(connection: Connection) -> None:
    """Wait until no other process prepares the database. Raises InUse while a service of an earlier version uses it."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    if not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock_shared({_EARLIER_LOCK})").scalar():
        raise InUse(
            "A service of an earlier version uses this database, and takes it to be its alone. Stop it, then start this one."
        )


def _stored_random(connection: Connection, name: str) -> bytes:
    """Return 32 random bytes of this database, which are made at the first call."""
    value = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == name)).scalar()
    if value is None:
        value = secrets.token_bytes(32)
        connection.execute(schema.meta.insert().values(name=name, value=value))
    return bytes(value)


def _sqlite(path: Path, begin_statement: str, pragmas: tuple[str, ...], connections: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # a path may contain characters that are special in a URL
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT},
        pool_size=connections,
        max_overflow=-1,  # readers never wait for each other
    )

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # else sqlite3 begins and commits implicitly, also around savepoints
        for setting in (*pragmas, "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {setting}").close()

    def on_begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(_NO_SNAPSHOT):
            connection.exec_driver_sql(begin_statement)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _by_url(url: str) -> tuple[Engine, Engine, Engine]:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise CannotOpen("The database URL must be one of PostgreSQL, such as postgresql://user@host/name.")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # SQLAlchemy's default is psycopg2
        options: dict[str, Any] = {"connect_args": _POSTGRES_TIMEOUTS, "pool_timeout": _POOL_TIMEOUT}
        readers = create_engine(parsed, pool_size=_READERS, max_overflow=2 * _READERS, **options)
        writer = create_engine(parsed, pool_size=1, max_overflow=1, **options)
        for engine, seconds in ((readers, _READ_TIMEOUT), (writer, _WRITE_TIMEOUT)):
            _limit_statements(engine, seconds)
            event.listen(engine, "checkout", _check_connection)
    except (ImportError, NoSuchModuleError) as error:
        raise CannotOpen(
            "The driver for this database URL is not installed. pip install 'apitorch-desktop[postgres]' brings it."
        ) from error
    except ArgumentError as error:
        raise CannotOpen("The database URL cannot be read. Write it as postgresql://user@host/name.") from error
    return (
        readers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        readers.execution_options(isolation_level="AUTOCOMMIT"),
        writer,
    )


def _limit_statements(engine: Engine, seconds: int) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        connection.autocommit = True  # a rollback would undo the setting
        connection.execute(f"SET statement_timeout = {seconds * 1000}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_TIMEOUT * 1000}")
        connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT * 1000}")
        connection.autocommit = False

    event.listen(engine, "connect", on_connect)


def _check_connection(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that the server has ended. Costs no statement, other than `pool_pre_ping`."""
    if _is_readable(connection):
        raise DisconnectionError


def _is_readable(connection: Any) -> bool:
    try:
        descriptor = connection.fileno()
    except Exception:  # noqa: BLE001 - psycopg: the connection is closed
        return True
    if not hasattr(selectors, "poll"):  # Windows
        return bool(selectors.select([descriptor], [], [], 0)[0])
    poll = selectors.poll()  # `select` takes no descriptor above 1023
    poll.register(descriptor, selectors.POLLIN)
    return bool(poll.poll(0))


class _Watchdog:
    """Ends connections to a PostgreSQL server that has gone silent: a driver waits for an answer without a limit.

    The server itself ends statements that take too long, as long as it runs. Once a transaction has lasted for
    `_SILENCE` seconds, the watchdog connects anew; if nobody answers, it shuts down the sockets of all that wait.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[Any, float, float]] = {}  # connection, when it began, when it has to have ended
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, connection: Connection, limit: float) -> Iterator[None]:
        """Watch a connection for the duration of the block, which may last for `limit` seconds and a few more."""
        key, now = id(connection), time.monotonic()
        with self._lock:
            self._watched[key] = (connection.connection.driver_connection, now, now + limit + _SILENCE)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="database-watchdog", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._watched[key]

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_WATCH_INTERVAL):
            now = time.monotonic()
            slow = self._begun_before(now - _SILENCE)
            if slow and not self._answers():
                _log.error("the database does not answer; %d calls that wait for it are given up", len(slow))
                for connection, _, _ in self._begun_before(now):
                    shut_down(connection)
            else:
                for connection, _, end in slow:
                    if end < now:
                        shut_down(connection)

    def _begun_before(self, moment: float) -> list[tuple[Any, float, float]]:
        with self._lock:
            return [entry for entry in self._watched.values() if entry[1] <= moment]

    def _answers(self) -> bool:
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        try:
            with closing(self._engine.dialect.connect(*arguments, **{**options, **_POSTGRES_TIMEOUTS})):
                return True
        except Exception:  # noqa: BLE001 - the server has gone, or accepts no more connections
            return False


def shut_down(connection: Any) -> None:
    """Make the thread that waits on a connection's socket find it closed."""
    with suppress(Exception):  # it may have ended meanwhile
        copy = socket.socket(fileno=os.dup(connection.fileno()))
        with closing(copy):
            copy.shutdown(socket.SHUT_RDWR)
