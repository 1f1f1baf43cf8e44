"""Errors of the store, and the mapping from operating system and database errors to them.

StoreError
├── RecordNotFound      404: does not exist, or belongs to another owner
├── RecordConflict      409: conflicts with an existing record
├── Invalid             400: an invalid name, label or id
├── DiskFull            507: no space left; nothing of the change was stored
│   └── StorageReadOnly 507: the data folder has become read-only
├── StorageFault        500: an I/O error
│   ├── DamagedImage    500: a stored image is missing or damaged
│   └── StorageUnreachable 503: the database or the bucket cannot be reached for now
│       └── BeingRemoved 503: the sweep is removing the image that is to be stored
├── Closed              the store was closed
└── CannotOpen          at the start only: read-only, damaged, made by a newer version
    └── InUse           another process uses this data folder
"""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError

from apitorch_desktop.utils.errors import UserError


class StoreError(UserError):
    """Base class; `str()` is for the user: what is wrong and, where that helps, what to do."""


class RecordNotFound(StoreError):  # noqa: N818 - named for what happened
    """The record does not exist, or belongs to another owner."""


class RecordConflict(StoreError):  # noqa: N818
    """The change conflicts with an existing record."""


class Invalid(StoreError):  # noqa: N818
    """A name, a label or an id is invalid."""


class DiskFull(StoreError):  # noqa: N818
    """No space left. Nothing of the change was stored; it works again as soon as there is space."""


class StorageReadOnly(DiskFull):
    """The data folder can no longer be written to."""


class StorageFault(StoreError):  # noqa: N818
    """The storage failed, or a stored image is missing or damaged."""


class DamagedImage(StorageFault):
    """The content of an image is not stored as it came: it is damaged, or gone."""

    def __init__(self, what: str = "The stored image is damaged.") -> None:
        super().__init__(f"{what} Upload it again, or restore it from a backup.")


class StorageUnreachable(StorageFault):
    """The database or the bucket cannot be reached for now."""


class BeingRemoved(StorageUnreachable):
    """The sweep removes, or has removed, the stored bytes that a change refers to: they have to be stored again."""


class Closed(StoreError):  # noqa: N818
    """The store was closed."""


class CannotOpen(StoreError):  # noqa: N818
    """The data folder or the database cannot be used."""


class InUse(CannotOpen):
    """Another process uses this data folder."""


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}
_TOO_FEW_BYTES = 64 * 1024  # SQLite reports a full disk as an I/O error where it cannot grow its WAL index
_SQLITE_BUSY, _SQLITE_READONLY, _SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_FULL, _SQLITE_CANTOPEN, _SQLITE_NOTADB = (
    5,
    8,
    10,
    11,
    13,
    14,
    26,
)
_POSTGRES_FULL, _POSTGRES_READONLY = {"53100", "53200"}, {"25006"}
_POSTGRES_OUTAGES = {"08", "25", "40", "53", "55", "57"}
"""Classes of SQLSTATE: connection, state of a transaction (the server ended an idle one), rollback (a deadlock), too few
resources, a lock, intervention (an end, a time limit)."""
_POSTGRES_CONFLICTS = {"40001", "40P01", "23503", "23505"}
"""Serialization, deadlock, and a foreign or unique key, as where another process has just deleted or made the same."""


def to_store_error(error: BaseException, folder: Path) -> StoreError:
    """Return the DiskFull, StorageReadOnly or StorageFault for an OSError or an error of SQLite or PostgreSQL."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DBAPIError):
        return _of_database(error, folder)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, folder)
    code = error.errno if isinstance(error, OSError) else None
    if code in _NO_ROOM:
        return _full(folder)
    if code in _NOT_ALLOWED:
        return _read_only(folder)
    return StorageFault(f"The storage failed ({_reason(error)}). Look at the disk of “{folder}”, and try again.")


def is_unreachable(error: DBAPIError) -> bool:
    """Return whether nobody can reach the database for now, so that trying each operation again would only take time."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return bool(code & 0xFF == _SQLITE_BUSY)
    return error.connection_invalidated or (_is_outage(error) and not is_conflict(error))


def is_conflict(error: BaseException) -> bool:
    """Return whether PostgreSQL refused a change because of one by another process, so that it may succeed when repeated."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _POSTGRES_CONFLICTS


def _of_database(error: DBAPIError, folder: Path) -> StoreError:
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error.orig, folder)
    state = getattr(error.orig, "sqlstate", None)
    if state in _POSTGRES_FULL:
        return DiskFull("There is no room left for the database. Free some, then try again.")
    if state in _POSTGRES_READONLY:
        return StorageReadOnly("The database is read-only. Make it writable, then try again.")
    if is_conflict(error):
        return StorageUnreachable("Others are changing the same at the same time. Try again.")
    kind = StorageUnreachable if error.connection_invalidated or _is_outage(error) else StorageFault
    return kind(f"The database failed ({_reason(error.orig)}). See that it runs, and try again.")


def _of_sqlite(error: sqlite3.Error, folder: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == _SQLITE_FULL:
        return _full(folder)
    if code in {_SQLITE_IOERR, _SQLITE_CANTOPEN, _SQLITE_READONLY}:
        if _is_full(folder):
            return _full(folder)
        if code == _SQLITE_READONLY or not os.access(folder, os.W_OK):
            return _read_only(folder)
    if code in {_SQLITE_CORRUPT, _SQLITE_NOTADB}:
        return StorageFault(
            f"The database in “{folder}” is damaged. Put back a copy of the folder, or use another one."
        )
    return StorageFault(f"The database failed ({_reason(error)}). Look at the disk of “{folder}”, and try again.")


def _is_outage(error: DBAPIError) -> bool:
    """Return whether PostgreSQL is out of reach, ending, starting, overloaded or too slow: that passes by itself."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError)
    return str(state)[:2] in _POSTGRES_OUTAGES


def _full(folder: Path) -> DiskFull:
    return DiskFull(f"There is no room left on the disk of “{folder}”. Free some, then try again.")


def _read_only(folder: Path) -> StorageReadOnly:
    return StorageReadOnly(f"“{folder}” cannot be written to: it is read-only. Make it writable, then try again.")


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _TOO_FEW_BYTES
    except OSError:
        return False


def _reason(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
