"""Pictures inside zip and tar files, read in place: nothing is unpacked to disk, and no bomb gets far."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageBytes, ImageFile, SourceMissing
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import reason, shown

MOST_MEMBERS: Final = 1_000_000
"""Members of an archive that are looked at; a tar of a million empty members is a few MB when packed."""
LEAST_BUDGET: Final = 2**30
MOST_GROWTH: Final = 100
"""An archive may unpack to `LEAST_BUDGET` bytes, or to so many times its own size: pictures hardly shrink."""
_CACHE_BYTES = 64 * 2**20
_OPENERS: Final[tuple[tuple[bytes, Callable[[Path], io.BufferedIOBase]], ...]] = (
    (b"\x1f\x8b", gzip.GzipFile),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_FAULTS = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, NotImplementedError)


class InvalidArchive(UserError):  # noqa: N818 - named for what is wrong
    """The archive cannot be read, or not further; `str()` is a sentence that names it."""


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, packed or not, by what is in it."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return True
    if head[257:262] == b"ustar":
        return True
    for magic, opener in _OPENERS:
        if head.startswith(magic):
            try:
                with opener(path) as unpacked:
                    return unpacked.read(512)[257:262] == b"ustar"
            except _FAULTS:
                return False
    return False


class Archives:
    """Open archives; thread-safe. Reading members in their order is quick for every kind."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[Path, _Archive] = {}

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        with self._lock:
            opened, self._open = list(self._open.values()), {}
        for archive in opened:
            archive.close()

    def members(
        self, path: Path, limit: int, cancelled: Callable[[], bool] | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Name, size and bytes of every plain file in an archive, in its order.

        A member of more than `limit` bytes comes with none, one that cannot be unpacked with its size as -1. Raises
        BadArchive where there is no going on: what came before is good.
        """
        archive = _open(path, cancelled)
        try:
            for count, (name, size, data) in enumerate(archive.members(limit)):
                if count >= MOST_MEMBERS:
                    raise InvalidArchive(
                        f"“{shown(path.name)}” holds more than {MOST_MEMBERS:,} files; the rest stays out."
                    )
                yield name, size, data
        except _FAULTS as error:
            raise InvalidArchive(f"“{shown(path.name)}” is damaged: {_why(error)}.") from None
        finally:
            archive.close()

    def read(self, path: Path, name: str, limit: int) -> bytes:
        """A member's bytes; of more than `limit`, the first `limit` + 1. Raises SourceGone."""
        try:
            with self._lock:
                archive = self._open.get(path)
                if archive is None:
                    archive = self._open[path] = _open(path, None)
            return archive.read(name, limit)
        except InvalidArchive as error:
            raise SourceMissing(str(error)) from None
        except KeyError:
            raise SourceMissing(f"“{shown(name)}” is not in “{shown(path.name)}” any more.") from None
        except _FAULTS as error:
            raise SourceMissing(f"“{shown(name)}” in “{shown(path.name)}” cannot be read: {_why(error)}.") from None


class _Archive(Protocol):
    def members(self, limit: int) -> Iterator[tuple[str, int, bytes]]: ...
    def read(self, name: str, limit: int) -> bytes: ...
    def close(self) -> None: ...


def _open(path: Path, cancelled: Callable[[], bool] | None) -> _Archive:
    try:
        budget = max(LEAST_BUDGET, MOST_GROWTH * path.stat().st_size)
        with path.open("rb") as file:
            head = file.read(8)
        if head.startswith(b"PK"):
            return _Zip(path, budget)
        opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
        return _Tar(path, opener or (lambda path: path.open("rb")), budget, cancelled)
    except _FAULTS as error:
        raise InvalidArchive(f"“{shown(path.name)}” cannot be opened: {_why(error)}.") from None


class _Zip:
    """A zip file: any member at any time."""

    def __init__(self, path: Path, budget: int) -> None:
        self._name = shown(path.name)
        self._budget = budget
        self._zip = zipfile.ZipFile(path)  # its reads share one file under a lock of its own

    def members(self, limit: int) -> Iterator[tuple[str, int, bytes]]:
        spent = 0
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1 or info.file_size > limit:
                yield info.filename, -1 if info.flag_bits & 1 else info.file_size, b""
                continue
            try:
                data = self.read(info.filename, limit)
            except _FAULTS:
                yield info.filename, -1, b""
                continue
            spent += len(data)
            if spent > self._budget:
                raise InvalidArchive(_bomb(self._name))
            yield info.filename, len(data), data

    def read(self, name: str, limit: int) -> bytes:
        try:
            with self._zip.open(name) as member:
                return member.read(limit + 1)  # whatever its header claims
        except RuntimeError as error:  # encrypted
            raise OSError(0, str(error)) from None

    def close(self) -> None:
        self._zip.close()


class _Tar:
    """A tar file, read from front to end; members that were passed over on the way are kept for a while."""

    def __init__(
        self, path: Path, opener: Callable[[Path], io.BufferedIOBase], budget: int, cancelled: Callable[[], bool] | None
    ) -> None:
        self._path = path
        self._opener = opener
        self._budget = budget
        self._cancelled = cancelled
        self._lock = Lock()
        self._stream: _BoundedStream | None = None
        self._tar: tarfile.TarFile | None = None
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._kept = 0
        self._start()

    def members(self, limit: int) -> Iterator[tuple[str, int, bytes]]:
        while (member := self._next(limit)) is not None:
            yield member

    def read(self, name: str, limit: int) -> bytes:
        with self._lock:
            for attempt in (1, 2):
                if name in self._passed:
                    data = self._passed.pop(name)
                    self._kept -= len(data)
                    return data
                while (member := self._next(limit)) is not None:
                    found, size, data = member
                    if found == name:
                        if size > limit:
                            raise OSError(0, "it is too large")
                        return data
                    self._keep(found, data)
                if attempt == 1:
                    self._start()  # it lies before where we are: from the front once more
            raise KeyError(name)

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
        if self._stream is not None:
            self._stream.close()

    def _start(self) -> None:
        self.close()
        self._stream = _BoundedStream(self._opener(self._path), self._budget, shown(self._path.name), self._cancelled)
        self._tar = tarfile.open(fileobj=self._stream, mode="r|", errorlevel=1)  # noqa: SIM115 - closed in `close`

    def _next(self, limit: int) -> tuple[str, int, bytes] | None:
        assert self._tar is not None  # noqa: S101 - for mypy: `_start` made it
        while (info := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined]  # else each header stays in memory
            if not info.isreg():  # links and devices lead elsewhere
                continue
            if info.size > limit:
                return info.name, info.size, b""
            file = self._tar.extractfile(info)
            if file is not None:
                data = file.read()
                return info.name, len(data), data
        return None

    def _keep(self, name: str, data: bytes) -> None:
        self._passed[name] = data
        self._kept += len(data)
        while self._kept > _CACHE_BYTES:
            self._kept -= len(self._passed.popitem(last=False)[1])


class _BoundedStream(io.RawIOBase):
    """A stream that ends in BadArchive when more comes out of it than an archive of pictures would hold."""

    def __init__(self, file: io.BufferedIOBase, budget: int, name: str, cancelled: Callable[[], bool] | None) -> None:
        self._file = file
        self._left = budget
        self._name = name
        self._cancelled = cancelled

    def read(self, size: int = -1) -> bytes:
        if self._cancelled is not None and self._cancelled():
            raise InvalidArchive(f"“{self._name}” was not looked through to its end.")
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidArchive(_bomb(self._name))
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _bomb(name: str) -> str:
    return f"“{name}” unpacks to far more than an archive of pictures would; the rest stays out."


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return reason(error)
    text = " ".join(str(error).split()).rstrip(".")
    return text[:1].lower() + text[1:] if text else "it ends too early"


def read(source: ImageFile | ArchiveMember | ImageBytes, archives: Archives, limit: int) -> bytes:
    """A source's bytes; of more than `limit`, the first `limit` + 1. Raises SourceGone."""
    match source:
        case ImageBytes(data, _):
            return data
        case ArchiveMember(archive, name):
            return archives.read(archive, name, limit)
        case ImageFile(path):
            try:
                with path.open("rb") as file:
                    return file.read(limit + 1)
            except OSError as error:
                raise SourceMissing(f"“{shown(path.name)}” cannot be read: {reason(error)}.") from None
