"""Image files by content hash: in a folder here, or in a bucket (`blob_bucket`).

An image becomes durable in two steps. `stage` runs on the caller's thread and writes the bytes; `commit` runs on the
writer's thread, for many images at once, and when it returns they are durable under their names. A file whose row is
not committed afterwards is an orphan, which the next sweep removes.

A folder is read and listed without obstore, which renames whole files into place but syncs none, takes 0.12 ms for a
100 kB image where the file itself takes 0.016 ms, and 0.6 s to list 100,000 where the folders take 0.05 s. The layout
is the same, so that either can be copied to the other.
"""

import errno
import hashlib
import logging
import os
import sqlite3
import stat
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from apitorch_desktop.service.storage.errors import DamagedImage, StorageFault, StorageUnreachable, to_store_error
from apitorch_desktop.utils.files import FEW, SYNCABLE, fsync_folder, move_into_place, sync_all

_QUICK = 2**17  # bytes whose hash takes a tenth of a millisecond, a tenth of what a request does
_REMEMBERED = 20_000
_AT_ONCE = 64  # files open at a time in `commit`
SHA256_DIGITS = 64
MARKER = "database"
"""The name under which the id of the database is stored with the images."""


class Staged:
    """Staged bytes. `error` is set by `commit` where they could not be stored; `synced` by `stage_soon`.

    `repairs`: they take the place of a damaged file. The writer then clears its mark for all processes.
    """

    def __init__(self, sha256: str, data: bytes, file: Path | None = None, *, repairs: bool = False) -> None:
        self.sha256 = sha256
        self.data = data
        self.file = file
        self.repairs = repairs
        self.synced = False
        self.error: Exception | None = None


class Blobs(ABC):
    """Stored image files. Reading is thread-safe; `commit` and `delete` are for the writer's thread alone.

    `location` is the place in words; `fast_listing`: whether `names` may be called at every start.
    """

    location: str
    fast_listing: bool

    def __init__(self) -> None:
        self.damaged: set[str] = set()
        """Images whose file is gone or does not have their content any more; `commit` replaces the file."""
        self.shared = False
        """True where other processes use the images too."""

    @abstractmethod
    def stage(self, sha256: str, data: bytes) -> Staged:
        """Write bytes for `commit`. Raises DiskFull or StorageFault, and then keeps nothing."""

    def stage_soon(self, sha256: str, data: bytes) -> Staged:
        """Write bytes as `stage` does, without waiting for a storage elsewhere, which then takes them later.

        As much of `commit` as can be done ahead is done too, on the caller's thread. Raises DiskFull or StorageFault.
        """
        return self.stage(sha256, data)

    def resume(self) -> None:  # noqa: B027 - there is nothing to do where all is done at once
        """Go on with what an earlier run left for later."""

    def settle(self) -> None:  # noqa: B027
        """Wait for what is done in the background, within limits."""

    def close(self) -> None:  # noqa: B027
        """End the work in the background."""

    @abstractmethod
    def discard(self, staged: Staged) -> None:
        """Drop what was staged and will not be committed."""

    @abstractmethod
    def commit(self, staged: Sequence[Staged]) -> None:
        """Make staged bytes durable; failures are set as the `error` of each."""

    @abstractmethod
    def exists(self, sha256: str) -> bool:
        """Return whether the image is stored, as far as can be determined."""

    def seems_whole(self, sha256: str) -> bool:
        """Return whether an image that has a row is there, as far as that is known without waiting for a storage elsewhere."""
        return sha256 not in self.damaged

    @abstractmethod
    def modified(self, sha256: str) -> float:
        """Return when the image was stored, in seconds since the epoch; 0 if that is not known."""

    @abstractmethod
    def read(self, sha256: str, size: int | None = None, *, afresh: bool = False) -> bytes:
        """Return the bytes. Raises DamagedImage where they are gone, of another `size`, or not what came; StorageFault.

        Their hash is checked; where that takes long, and not `afresh`, only at the first read of what is there.
        """

    def has(self, sha256: str, data: bytes) -> bool:
        """Return whether exactly `data` is stored; True where a storage elsewhere cannot be reached, as a read reports it."""
        try:
            return self.read(sha256, len(data)) == data
        except StorageUnreachable:
            return True
        except StorageFault:
            return False

    @abstractmethod
    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete images, ignoring missing ones. Raises StorageFault; the next sweep tries again."""

    def remove(self, sha256s: Sequence[str]) -> None:
        """Delete images at once, on any thread. Raises StorageFault."""
        self.delete(sha256s)

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Yield the sha256 of every stored image."""

    @abstractmethod
    def database_id(self) -> str | None:
        """Return the id of the database these images belong to, None if not set."""

    @abstractmethod
    def set_database_id(self, database: str) -> None:
        """Store the id of the database with the images, durably. Raises DiskFull, StorageFault."""


class FolderBlobs(Blobs):
    """Image files in a folder.

    A file is synced before it is renamed and its folder after, all of a group at once: 16 folders by the first digit
    keep the syncs few and the folders short.
    """

    fast_listing = True

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        super().__init__()
        self.location = str(folder)
        self._folder = folder
        self._incoming = folder / "incoming"
        self._checked: dict[str, int] = {}
        """The version of each larger file whose hash was checked."""
        self._folders = {digit: folder / digit for digit in "0123456789abcdef"}
        if not writable:
            return
        for each in (self._incoming, *self._folders.values()):
            each.mkdir(exist_ok=True, mode=0o700)
        for left in self._incoming.iterdir():  # left by a crash: no other process uses this folder
            left.unlink()
        fsync_folder(folder)

    def stage(self, sha256: str, data: bytes) -> Staged:
        """Write the bytes to a temporary file."""
        path = None
        try:
            descriptor, path = tempfile.mkstemp(dir=self._incoming)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
        except OSError as error:
            if path is not None:
                with suppress(OSError):
                    Path(path).unlink()
            raise to_store_error(error, self._folder) from error
        return Staged(sha256, data, Path(path), repairs=sha256 in self.damaged)

    def stage_soon(self, sha256: str, data: bytes) -> Staged:
        """Write and sync a temporary file ahead of `commit`, which otherwise syncs all at once."""
        staged = self.stage(sha256, data)
        self._sync_files([staged])
        staged.synced = staged.error is None
        return staged

    def discard(self, staged: Staged) -> None:
        """Remove the staged file."""
        if staged.file is not None:
            with suppress(OSError):
                staged.file.unlink(missing_ok=True)
            staged.file = None

    def commit(self, staged: Sequence[Staged]) -> None:
        """Sync the files, rename them, sync their folders."""
        unsynced = [item for item in staged if not item.synced]
        if not self._sync_together(len(unsynced)):
            for start in range(0, len(unsynced), _AT_ONCE):
                self._sync_files(unsynced[start : start + _AT_ONCE])
        changed: dict[Path, list[Staged]] = {}
        for item in staged:
            if item.error is None:
                self._put_in_place(item, changed)
        if self._sync_together(len(changed)):
            return
        for folder, items in changed.items():
            try:
                fsync_folder(folder)
            except OSError as error:
                for item in items:
                    item.error = to_store_error(error, self._folder)

    def _sync_together(self, count: int) -> bool:
        """Sync the whole file system at once if that is less than `count` syncs; return False if it is not, or fails."""
        try:
            return count > FEW and sync_all(self._folder)
        except OSError:  # syncing each file then shows which failed
            return False

    def exists(self, sha256: str) -> bool:
        """Return whether the file exists and is not known to be damaged."""
        try:
            return sha256 not in self.damaged and stat.S_ISREG(self._path(sha256).lstat().st_mode)
        except OSError:
            return False

    def seems_whole(self, sha256: str) -> bool:
        """Return whether the file exists and is not known to be damaged."""
        return self.exists(sha256)

    def modified(self, sha256: str) -> float:
        """Return the time of the last change of the file, 0 without one."""
        try:
            return self._path(sha256).stat().st_mtime
        except OSError:
            return 0

    def read(self, sha256: str, size: int | None = None, *, afresh: bool = False) -> bytes:
        """Return the bytes of a regular file, and never of what a link leads to. Raises DamagedImage, StorageFault."""
        try:
            data, version = read_file(self._path(sha256), size)
        except OSError as error:
            raise to_store_error(error, self._folder) from error
        if afresh or len(data) <= _QUICK or self._checked.get(sha256) != version:
            check_content(data, sha256)
            if len(data) > _QUICK:
                if len(self._checked) >= _REMEMBERED:
                    self._checked.clear()
                self._checked[sha256] = version
        return data

    def has(self, sha256: str, data: bytes) -> bool:
        """Return whether exactly `data` is stored, without a copy of it in memory."""
        view = memoryview(data)
        try:
            with _opened(self._path(sha256), len(data)) as (file, _):
                return all(file.read(_PIECE) == view[at : at + _PIECE] for at in range(0, len(data), _PIECE))
        except (StorageFault, OSError):
            return False

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete files, ignoring missing ones."""
        try:
            for sha256 in sha256s:
                self._path(sha256).unlink(missing_ok=True)
        except OSError as error:
            raise to_store_error(error, self._folder) from error

    def names(self) -> Iterator[str]:
        """Yield the sha256 of every stored file."""
        for folder in self._folders.values():
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if len(entry.name) == SHA256_DIGITS and entry.is_file(follow_symlinks=False):
                        yield entry.name

    def database_id(self) -> str | None:
        """Return the id of the database these images belong to, None if not set."""
        try:
            return (self._folder / MARKER).read_text()
        except FileNotFoundError:
            return None

    def set_database_id(self, database: str) -> None:
        """Store the id of the database with the images."""
        staged = self.stage(MARKER, database.encode())
        self._sync_files([staged])
        if staged.error is not None or staged.file is None:
            self.discard(staged)
            raise staged.error or StorageFault("The images could not be marked.")
        move_into_place(staged.file, self._folder / MARKER)
        fsync_folder(self._folder)

    def _path(self, sha256: str) -> Path:
        return self._folders[sha256[0]] / sha256

    def _sync_files(self, staged: Sequence[Staged]) -> None:
        opened: list[tuple[Staged, int]] = []
        try:
            for item in staged:
                try:
                    descriptor = os.open(item.file or self._incoming, SYNCABLE)
                    opened.append((item, descriptor))
                    if hasattr(os, "posix_fadvise"):  # starts writing all of them, so that each sync waits less
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                except OSError as error:
                    item.error = to_store_error(error, self._folder)
            for item, descriptor in opened:
                try:
                    os.fsync(descriptor)
                except OSError as error:
                    item.error = to_store_error(error, self._folder)
        finally:
            for _, descriptor in opened:
                os.close(descriptor)

    def _put_in_place(self, item: Staged, changed: dict[Path, list[Staged]]) -> None:
        path = self._path(item.sha256)
        try:
            if item.file is not None:
                move_into_place(item.file, path)
                item.file = None
                self.damaged.discard(item.sha256)
        except OSError as error:
            item.error = to_store_error(error, self._folder)
        else:
            changed.setdefault(path.parent, []).append(item)


_READING = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
)
_PIECE = 2**20  # bytes that are compared at a time
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EIO}
"""Errors of a link, a socket, a folder, and a disk that cannot read: an upload replaces each."""


def check_content(data: bytes, sha256: str) -> None:
    """Raise DamagedImage for bytes of another hash."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedImage


@contextmanager
def _opened(path: Path, size: int | None) -> Iterator[tuple[FileIO, os.stat_result]]:
    """Open an image's file. Raises DamagedImage for one that is gone or of another size, OSError."""
    try:
        with open(os.open(path, _READING), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or size not in (None, found.st_size):
                raise DamagedImage
            yield file, found
    except FileNotFoundError as error:
        raise DamagedImage("The stored image is gone from the disk.") from error
    except OSError as error:
        if error.errno in _NO_FILE:
            raise DamagedImage from error
        raise


def read_file(path: Path, size: int | None = None) -> tuple[bytes, int]:
    """Return the bytes of an image's file, and a number that is another once the file is written to or replaced.

    Raises DamagedImage for one that is gone or of another size, OSError.
    """
    with _opened(path, size) as (file, found):
        return file.read(), hash((found.st_ino, found.st_mtime_ns, found.st_ctime_ns))


def in_batches(sha256s: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of at most `size` items."""
    batch: list[str] = []
    for sha256 in sha256s:
        batch.append(sha256)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


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
