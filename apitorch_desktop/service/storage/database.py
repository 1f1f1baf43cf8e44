"""Database connections: SQLite in the data folder, or PostgreSQL by URL."""

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.errors import CannotOpen, Closed, InUse, to_store_error
from apitorch_desktop.service.storage.validation import now

LOCAL_OWNER = 1
"""The owner that always exists: the user of this machine."""

_READERS = 8
_BUSY_TIMEOUT = 10  # seconds a statement waits for a lock, such as a checkpoint's
_LOCK_TIMEOUT = 3  # seconds for PostgreSQL to notice that an earlier service has ended
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
_ADVISORY_LOCK = 0x6170_6974_6F72_6368  # "apitorch": one service a PostgreSQL database


class Database:
    """Two engines on one database: readers see the last commit, and `writing` is for the one writer.

    Raises CannotOpen for a database that cannot be used, InUse for a PostgreSQL database that another service uses.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._folder = folder
        self._closed = False
        self._lock_connection: Connection | None = None
        self.sqlite = url is None
        if url is None:
            self._readers = _sqlite(folder / "store.db", "BEGIN", ("query_only=ON",), _READERS)
            self._writer = _sqlite(
                folder / "store.db", "BEGIN IMMEDIATE", ("journal_mode=WAL", f"journal_size_limit={_WAL_LIMIT}"), 1
            )
        else:
            self._readers, self._writer = _by_url(url)
        try:
            if not self.sqlite:
                self._take_lock()
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
        if self._closed:
            raise Closed("The service is ending.")
        try:
            with self._readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise to_store_error(error, self._folder) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction of the writer: durably committed at the end, rolled back on an exception."""
        with self._writer.begin() as connection:
            yield connection

    def checkpoint(self) -> None:
        """Move committed data from SQLite's log into its file, so that the space of the log can be reused."""
        if self.sqlite:
            with closing(self._writer.raw_connection()) as connection:  # without a BEGIN, which does not allow it
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def close(self) -> None:
        """Close all idle connections; later reads raise Closed."""
        self._closed = True
        if self._lock_connection is not None:
            self._lock_connection.close()
        self._readers.dispose()
        self._writer.dispose()

    def _take_lock(self) -> None:
        self._lock_connection = self._writer.connect()
        end = time.monotonic() + _LOCK_TIMEOUT
        while not (
            held := self._lock_connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").scalar()
        ):
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        self._lock_connection.commit()
        if not held:
            raise InUse("Another service uses this database. Stop it first: two must not write to one database.")

    def _migrate(self) -> tuple[bytes, str]:
        with self.writing() as connection:
            found = self._version(connection)
            if found > schema.VERSION:
                raise CannotOpen(
                    f"The database was made by a newer version of this program (its tables are of version {found}, "
                    f"this program knows {schema.VERSION}). Use that version, or another data folder."
                )
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
        connection.exec_driver_sql(begin_statement)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _by_url(url: str) -> tuple[Engine, Engine]:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise CannotOpen("The database URL must be one of PostgreSQL, such as postgresql://user@host/name.")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # SQLAlchemy's default is psycopg2
        options: dict[str, Any] = {"pool_pre_ping": True, "connect_args": _POSTGRES_TIMEOUTS}
        readers = create_engine(parsed, pool_size=_READERS, max_overflow=2 * _READERS, **options)
        writer = create_engine(parsed, pool_size=1, max_overflow=1, **options)
        _limit_statements(readers, _READ_TIMEOUT)
        _limit_statements(writer, _WRITE_TIMEOUT)
    except (ImportError, NoSuchModuleError) as error:
        raise CannotOpen(
            "The driver for this database URL is not installed. pip install 'apitorch-desktop[postgres]' brings it."
        ) from error
    except ArgumentError as error:
        raise CannotOpen("The database URL cannot be read. Write it as postgresql://user@host/name.") from error
    return readers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), writer


def _limit_statements(engine: Engine, seconds: int) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        connection.autocommit = True  # a rollback would undo the setting
        connection.execute(f"SET statement_timeout = {seconds * 1000}")
        connection.autocommit = False

    event.listen(engine, "connect", on_connect)
