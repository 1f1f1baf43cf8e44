"""Images by the hash of their content: in a folder, or by URL in a bucket (bucket.py).

Two steps make an image durable. `stage` runs on the caller's thread and gets the bytes out of the way; `settle` runs on
the writer's, for many at once, and when it returns they are there for good, under their name, whole. A file whose row
is not committed afterwards is an orphan, which the sweep at the next start, or soon after it, removes.

A folder is read and listed without obstore, which renames whole files into place but syncs none, takes 0.12 ms for a
100 kB image where the file itself takes 0.016 ms, and 0.6 s to list 100,000 where the folders take 0.05 s. The layout
is the same, so that either can be copied to the other.
"""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from apitorch_desktop.service.storage.errors import StorageFault
from apitorch_desktop.service.storage.trouble import storage_fault
from apitorch_desktop.utils.files import FEW, sync_all

_AT_ONCE = 64  # files open at a time in `settle`
SHA256_DIGITS = 64
MARKER = "database"
"""The name under which the id of the database is kept with the images."""


class Staged:
    """Bytes on their way in. `error` is set by `settle` for those that could not be kept; `synced` by `sync`."""

    def __init__(self, sha256: str, data: bytes, file: Path | None = None) -> None:
        self.sha256 = sha256
        self.data = data
        self.file = file
        self.synced = False
        self.error: Exception | None = None


class Blobs(ABC):
    """Stored images. Reading is for any thread; `settle` and `delete` are for the writer's alone.

    `place` is where they are, for sentences; `quick_to_list` whether `names` may be called at every start.
    """

    place: str
    quick_to_list: bool

    @abstractmethod
    def stage(self, sha256: str, data: bytes) -> Staged:
        """Take bytes in, for `settle`. Raises StorageFull or StorageFault; then nothing of them stays."""

    def sync(self, staged: Staged) -> None:  # noqa: B027 - what is staged in memory has nothing to sync
        """Do on the caller's thread what of `settle` can be done there, for who has something else to wait for."""

    @abstractmethod
    def discard(self, staged: Staged) -> None:
        """Drop what was staged and will not be settled."""

    @abstractmethod
    def settle(self, staged: Sequence[Staged]) -> None:
        """Make them durable; what could not be is told in each one's `error`."""

    @abstractmethod
    def has(self, sha256: str) -> bool:
        """Whether it is there, as far as that can be told."""

    @abstractmethod
    def read(self, sha256: str) -> bytes:
        """The bytes. Raises StorageFault."""

    @abstractmethod
    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete; what is not there is fine. Raises StorageFault; the next sweep tries again."""

    @abstractmethod
    def names(self) -> Iterator[str]:
        """The sha256 of everything stored."""

    @abstractmethod
    def marker(self) -> str | None:
        """What `mark` left: the id of the database these images belong to."""

    @abstractmethod
    def mark(self, database: str) -> None:
        """Keep the id of the database with the images, durably. Raises StorageFull, StorageFault."""


class FolderBlobs(Blobs):
    """Images in a folder.

    A file is synced before it gets its name and its folder after, all of a group at once: 16 folders by the first digit
    keep the syncs few and the folders short.
    """

    quick_to_list = True

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder
        self._incoming = folder / "incoming"
        self._folders = {digit: folder / digit for digit in "0123456789abcdef"}
        for each in (self._incoming, *self._folders.values()):
            each.mkdir(exist_ok=True)
        for left in self._incoming.iterdir():  # of a crash: nobody else has this folder
            left.unlink()
        _sync_folder(folder)

    def stage(self, sha256: str, data: bytes) -> Staged:
        """Write the bytes to a file without a name of its own yet."""
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
            raise storage_fault(error, self._folder) from error
        return Staged(sha256, data, Path(path))

    def sync(self, staged: Staged) -> None:
        """Sync the staged file ahead of `settle`, which else does it for all at once."""
        self._sync_files([staged])
        staged.synced = staged.error is None

    def discard(self, staged: Staged) -> None:
        """Remove the staged file."""
        if staged.file is not None:
            with suppress(OSError):
                staged.file.unlink(missing_ok=True)
            staged.file = None

    def settle(self, staged: Sequence[Staged]) -> None:
        """Sync the files, name them, sync their folders."""
        unsynced = [one for one in staged if not one.synced]
        if not self._sync_together(len(unsynced)):
            for start in range(0, len(unsynced), _AT_ONCE):
                self._sync_files(unsynced[start : start + _AT_ONCE])
        changed: dict[Path, list[Staged]] = {}
        for one in staged:
            if one.error is None:
                self._put_in_place(one, changed)
        if self._sync_together(len(changed)):
            return
        for folder, ones in changed.items():
            try:
                _sync_folder(folder)
            except OSError as error:
                for one in ones:
                    one.error = storage_fault(error, self._folder)

    def _sync_together(self, count: int) -> bool:
        """Sync all there is at once, where that is less than `count` syncs; False where that cannot be, or fails."""
        try:
            return count > FEW and sync_all(self._folder)
        except OSError:  # one by one then tells which
            return False

    def has(self, sha256: str) -> bool:
        """Whether it is there."""
        return self._path(sha256).is_file()

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises StorageFault."""
        try:
            return self._path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise StorageFault("The stored image is gone from the disk. Upload it again.") from error
        except OSError as error:
            raise storage_fault(error, self._folder) from error

    def delete(self, sha256s: Sequence[str]) -> None:
        """Delete; what is not there is fine."""
        try:
            for sha256 in sha256s:
                self._path(sha256).unlink(missing_ok=True)
        except OSError as error:
            raise storage_fault(error, self._folder) from error

    def names(self) -> Iterator[str]:
        """The sha256 of every stored file."""
        for folder in self._folders.values():
            with os.scandir(folder) as entries:
                yield from (entry.name for entry in entries if len(entry.name) == SHA256_DIGITS)

    def marker(self) -> str | None:
        """What `mark` left."""
        try:
            return (self._folder / MARKER).read_text()
        except FileNotFoundError:
            return None

    def mark(self, database: str) -> None:
        """Keep the id of the database with the images."""
        staged = self.stage(MARKER, database.encode())
        self._sync_files([staged])
        if staged.error is not None or staged.file is None:
            self.discard(staged)
            raise staged.error or StorageFault("The images could not be marked.")
        staged.file.replace(self._folder / MARKER)
        _sync_folder(self._folder)

    def _path(self, sha256: str) -> Path:
        return self._folders[sha256[0]] / sha256

    def _sync_files(self, staged: Sequence[Staged]) -> None:
        opened: list[tuple[Staged, int]] = []
        try:
            for one in staged:
                try:
                    descriptor = os.open(one.file or self._incoming, os.O_RDONLY)
                    opened.append((one, descriptor))
                    if hasattr(
                        os, "posix_fadvise"
                    ):  # begins writing all of them, so that each sync finds less to wait for
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                except OSError as error:
                    one.error = storage_fault(error, self._folder)
            for one, descriptor in opened:
                try:
                    os.fsync(descriptor)
                except OSError as error:
                    one.error = storage_fault(error, self._folder)
        finally:
            for _, descriptor in opened:
                os.close(descriptor)

    def _put_in_place(self, one: Staged, changed: dict[Path, list[Staged]]) -> None:
        path = self._path(one.sha256)
        try:
            if one.file is not None:
                one.file.replace(path)
                one.file = None
        except OSError as error:
            one.error = storage_fault(error, self._folder)
        else:
            changed.setdefault(path.parent, []).append(one)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_batches(sha256s: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size`."""
    batch: list[str] = []
    for sha256 in sha256s:
        batch.append(sha256)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
