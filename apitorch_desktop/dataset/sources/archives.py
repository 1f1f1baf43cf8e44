"""Images inside zip, tar and 7z files, read in place: nothing is unpacked to disk, and no bomb gets far."""

import bz2
import gzip
import io
import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tarfile import EOFHeaderError, HeaderError  # type: ignore[attr-defined]
from threading import Lock
from typing import Any, Final, Protocol, Self

from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageBytes, ImageFile, SourceMissing
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES
from apitorch_desktop.dataset.sources.name_encoding import decode_names
from apitorch_desktop.dataset.sources.split_files import is_part, open_whole, parts_of
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import lowered, reason, shown
from apitorch_desktop.vision.file_kinds import kind_of

MAX_MEMBERS: Final = 1_000_000
"""Members of an archive that are read; a tar of a million empty members is a few MB when packed."""
LEAST_BUDGET: Final = 2**30
MAX_GROWTH: Final = 100
"""An archive may unpack to `LEAST_BUDGET` bytes, or to so many times its own size: images hardly shrink."""
_CACHE_BYTES = 64 * 2**20
_CHUNK: Final = 2**16
_LONGEST_TARGET: Final = 4096
_METHODS: Final = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd"}
"""Ways of packing a member of a zip that Python does not read in every version, and what they are called."""
_UNICODE_PATH = 0x7075
"""Id of the extra field in which Info-ZIP stores the UTF-8 name of a member."""

Opener = Callable[[Any], io.BufferedIOBase]
"""Opens what a packed file, by its path or open, unpacks to."""


class InvalidArchive(UserError):  # noqa: N818 - named for what is wrong
    """The archive cannot be read, or not further; the text names it."""


@dataclass(frozen=True, slots=True)
class Member:
    """Plain file inside an archive. `name` is that of `ArchiveMember`; `problem` is a sentence where there are no bytes.

    A member of more bytes than the limit has its size and none of them. A link to another member has that one's bytes;
    `lost` is True for a link that leads to none, and `problem` then what such links do.
    """

    name: str
    size: int
    data: bytes = b""
    problem: str = ""
    lost: bool = False

    @property
    def path(self) -> str:
        """The name without the number that distinguishes members of the same name."""
        return self.name.partition("\0")[0]


def _open_gzip(source: Path | io.BufferedReader) -> io.BufferedIOBase:
    return gzip.open(source, "rb")


def _open_zstd(source: Path | io.BufferedReader) -> io.BufferedIOBase:
    import zstandard  # an extra of this program

    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    file = source.open("rb") if isinstance(source, Path) else source
    return io.BufferedReader(decompressor.stream_reader(file, read_across_frames=True))


_LARGEST_WINDOW: Final = 2**31
"""Bytes behind that a packed file may refer to, as `zstd --long=31` makes them."""
_OPENERS: Final[tuple[tuple[bytes, Opener], ...]] = (
    (b"\x1f\x8b", _open_gzip),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x5d\x00\x00", lzma.LZMAFile),
    (b"\x28\xb5\x2f\xfd", _open_zstd),
    *((bytes((number, 0x2A, 0x4D, 0x18)), _open_zstd) for number in range(0x50, 0x60)),  # a frame that is skipped
)
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_UNREAD: Final = (
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"MSCF\0\0\0\0", "a CAB archive"),
    (0, b"LZIP", "a lzip archive"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (0, b"\x1f\x9d", "a compress archive"),
    (0, b"\x60\xea", "an ARJ archive"),
    *((0, magic, "a cpio archive") for magic in (b"070701", b"070702", b"070707", b"\xc7\x71")),
    (0, b"!<arch>\n", "a Unix archive (ar, deb)"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"SIT!", "a StuffIt archive"),
    (0, b"StuffIt", "a StuffIt archive"),
    (2, b"-lh", "an LZH archive"),
    (7, b"**ACE**", "an ACE archive"),
)
"""Place and bytes of archives that are recognized and not read, and what they are called."""
_PROGRAMS: Final = (b"MZ", b"#!", b"\x7fELF")
"""First bytes of programs, which an archive that unpacks itself begins with."""
_SELF_UNPACKING: Final = frozenset({".exe", ".zip", ".sfx", ".run", ".bin", ".sh", ".cbz"})
"""Suffixes of programs that may be archives which unpack themselves."""
_VOLUME: Final = re.compile(r"\.(?:[zr]\d\d|rar\.\d{3})$", re.IGNORECASE)
"""End of the name of one of several files that together are an archive, and not by being joined."""
_DESCRIPTIONS: Final = frozenset({"[Content_Types].xml", "mimetype", "manifest.json", "META-INF/MANIFEST.MF"})
"""Members by which the zip of a program describes itself: documents of office programs, books, projects, apps."""
_STREAMS: Final = (".gz", ".bz2", ".xz", ".lzma", ".zst")
"""Suffixes of packed files: of a tar, or of one other file."""
READ_SUFFIXES: Final = (
    ".zip", ".cbz", ".livp", ".7z", ".tar", ".tgz", ".tbz2", ".tbz", ".txz", ".tzst", *_STREAMS,
)  # fmt: skip
"""Suffixes of archives that are read, and of packed files."""
ARCHIVE_SUFFIXES: Final = (
    *READ_SUFFIXES, ".rar", ".cab", ".lz", ".lz4", ".z", ".lzh", ".lha", ".arj", ".ace", ".sit", ".cpio",
)  # fmt: skip
"""Suffixes of archives, read or not."""


def packed_name(path: Path) -> str:
    """Return the name of the image that a file packed alone unpacks to (`cat.jpg.gz`), "" for any other file."""
    inner = path.with_suffix("").name
    if path.suffix.lower() not in _STREAMS:
        return ""
    return inner if PurePosixPath(inner).suffix.lower() in IMAGE_SUFFIXES else ""


def broken_archive(path: Path) -> str:
    """Return a sentence about a file called like an archive that is none that can be read, "" for any other file.

    A packed file that is no tar and not called one (`scan.nii.gz`) is no archive, and sound.
    """
    volume = _VOLUME.search(path.name)
    part = is_part(path.name) or parts_of(path)
    if not volume and not part and path.suffix.lower() not in ARCHIVE_SUFFIXES:
        return ""
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError:
        return ""
    if volume or head.startswith(b"PK\x07\x08"):
        return (
            f"“{shown(path.name)}” is one of several parts of an archive: unpack them with the program that made them."
        )
    if part:
        return f"“{shown(path.name)}” is one of several parts of an archive, and not all are there: put them into one folder."
    if not head:
        return f"“{shown(path.name)}” is empty."
    with suppress(InvalidArchive):
        if (
            path.suffix.lower() in _STREAMS
            and Path(path.stem).suffix.lower() != ".tar"
            and _unpacked_head(path, head) is not None
        ):
            return ""
    if (kind := kind_of(head)) and kind not in ("an archive", "a program"):
        return f"“{shown(path.name)}” is {kind} and no archive: download it again."
    with suppress(InvalidArchive):
        if _opener(_unpacked_head(path, head) or b""):
            return f"“{shown(path.name)}” was packed twice: unpack it once, and import what comes out."
    return (
        f"“{shown(path.name)}” is no archive that can be read: it is damaged, or only a part of one. Download it again."
    )


def program_file(path: Path) -> str:
    """Return a sentence about a zip that is the document or project of a program, "" for any other file."""
    if path.suffix.lower() in ("", *ARCHIVE_SUFFIXES, *IMAGE_SUFFIXES):
        return ""
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK\x03\x04"):
                return ""
        with zipfile.ZipFile(path) as archive:
            if _DESCRIPTIONS.isdisjoint(archive.namelist()):
                return ""
    except Exception:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
        return ""
    return f"“{shown(path.name)}” is the file of a program and no archive of photos: save the photos in it from that program."


def archive_of(path: Path) -> Path | None:
    """Return the archive that a file by its name is: of one that was cut into several parts the first; None for no archive."""
    first = next(iter(parts_of(path)), path)
    called_so = path.suffix.lower() in ARCHIVE_SUFFIXES or first != path or len(parts_of(path)) > 1
    return first if called_so and is_archive(first) else None


def is_archive(path: Path) -> bool:
    """Return True for an archive of a known kind, by its content. One that cannot be read raises on opening."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    if (is_part(path.name) or _VOLUME.search(path.name)) and len(parts_of(path)) < 2 and not zipfile.is_zipfile(path):
        return False
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", _SEVEN_ZIP)) or _unread_kind(head) or _is_tar(head):
        return True
    try:
        unpacked = _unpacked_head(path, head)
    except InvalidArchive:
        return True
    if unpacked is not None:
        return _is_tar(unpacked) or packed_name(path) != ""
    return head.startswith(_PROGRAMS) and path.suffix.lower() in _SELF_UNPACKING and zipfile.is_zipfile(path)


def _opener(head: bytes) -> Opener | None:
    return next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)


def _unpacking(path: Path, opener: Opener) -> io.BufferedIOBase:
    """Open what a packed file unpacks to. Raises InvalidArchive where its kind needs an extra that is not installed."""
    try:
        return opener(open_whole(path) if parts_of(path) else path)
    except ImportError:
        raise InvalidArchive(
            f"“{shown(path.name)}” is packed with Zstandard, which is not read here: unpack it."
        ) from None


def _unpacked_head(path: Path, head: bytes) -> bytes | None:
    """Return the first 512 bytes in a packed file that begins with `head`; None where it is not packed, or damaged.

    Raises InvalidArchive where its kind needs an extra that is not installed.
    """
    if (opener := _opener(head)) is None:
        return None
    try:
        with _unpacking(path, opener) as unpacked:
            return unpacked.read(512)
    except InvalidArchive:
        raise
    except Exception:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
        return None


def _unread_kind(head: bytes) -> str:
    return next((kind for place, magic, kind in _UNREAD if head.startswith(magic, place)), "")


def _is_tar(head: bytes) -> bool:
    """Return True for the header of a tar, also of the old form without a magic number: its checksum is right."""
    if head[257:262] == b"ustar":
        return True
    if len(head) < 512 or not head[0]:
        return False
    try:
        checksum = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return checksum == sum(head[:148]) + 8 * 32 + sum(head[156:])


class Archives:
    """Open archives. Thread-safe. Reading members in their order is quick for every kind."""

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
        self,
        path: Path,
        limit: int,
        cancelled: Callable[[], bool] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Member]:
        """Yield every plain file in an archive, in its order, with at most `limit` bytes each.

        Sentences about the archive as a whole go to `note`. Raises InvalidArchive where it cannot be read further: the
        members before are good.
        """
        archive = _open(path, cancelled)
        try:
            if note is not None and archive.encoding:
                note(_encoding_note(path.name, archive.encoding))
            for count, member in enumerate(archive.members(limit)):
                if count >= MAX_MEMBERS:
                    raise InvalidArchive(
                        f"“{shown(path.name)}” holds more than {MAX_MEMBERS:,} files; the rest stays out."
                    )
                yield member
        except InvalidArchive:
            raise
        except Exception as error:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
            raise InvalidArchive(
                f"“{shown(path.name)}” is damaged: {_why(error)}. More photos may be missing: download it again."
            ) from None
        finally:
            archive.close()

    def read(self, path: Path, name: str, limit: int) -> bytes:
        """Return a member's bytes; of more than `limit`, the first `limit` + 1. Raises SourceMissing."""
        shown_name = shown(name.partition("\0")[0])
        try:
            with self._lock:
                archive = self._open.get(path)
                if archive is None:
                    archive = self._open[path] = _open(path, None)
            return archive.read(name, limit)
        except InvalidArchive as error:
            raise SourceMissing(str(error)) from None
        except KeyError:
            raise SourceMissing(f"“{shown_name}” is not in “{shown(path.name)}” any more.") from None
        except Exception as error:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
            raise SourceMissing(f"“{shown_name}” in “{shown(path.name)}” cannot be read: {_why(error)}.") from None


class _Archive(Protocol):
    encoding: str
    """Encoding of names that are no UTF-8, "?" where it is not known."""

    def members(self, limit: int) -> Iterator[Member]: ...
    def read(self, name: str, limit: int) -> bytes: ...
    def close(self) -> None: ...


def _open(path: Path, cancelled: Callable[[], bool] | None) -> _Archive:
    try:
        budget = max(LEAST_BUDGET, MAX_GROWTH * sum(part.stat().st_size for part in parts_of(path) or [path]))
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(b"PK") or (head.startswith(_PROGRAMS) and zipfile.is_zipfile(path)):
            return _ZipArchive(path, budget)
        if head.startswith(_SEVEN_ZIP):
            return _SevenZipArchive(path, budget)
        if kind := _unread_kind(head):
            raise InvalidArchive(f"“{shown(path.name)}” is {kind}, which is not read here: unpack it.")
        opener = _opener(head)
        if opener is not None and (name := packed_name(path)):
            return _PackedFile(path, name, opener)
        return _TarArchive(path, opener, budget, cancelled)
    except InvalidArchive:
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
        if isinstance(error, OSError) and error.errno:
            raise InvalidArchive(f"The archive “{shown(path.name)}” cannot be opened: {_why(error)}.") from None
        why = "its end is missing" if head.startswith(b"PK") and not zipfile.is_zipfile(path) else _why(error)
        raise InvalidArchive(
            f"The archive “{shown(path.name)}” is incomplete or damaged: {why}. Download it again."
        ) from None


class _Numbering:
    """Numbers for members of the same name."""

    def __init__(self) -> None:
        self._counts = Counter[str]()

    def names(self) -> Iterable[str]:
        """Return the names that were numbered, each without its number."""
        return self._counts

    def key(self, name: str) -> str:
        """Return the `ArchiveMember.name` of the next member with this name."""
        name = name.replace("\0", "")
        self._counts[name] += 1
        count = self._counts[name]
        return name if count == 1 else f"{name}\0{count}"


_MAX_STEPS: Final = 40
"""Links that lead to links are followed so many times, as systems do."""


def _destination(link: str, target: str) -> str:
    """Return the path in an archive that a symbolic link of this name leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_place(link)), target))


def _place(name: str) -> str:
    """Return the path of a member in one spelling: `./cat/1.jpg` is `cat/1.jpg`."""
    return posixpath.normpath(name.partition("\0")[0])


def _followed(links: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return link → member that it leads to, and link → what links do that lead to none.

    `links`: link → path in the archive; `names` are those of all members.
    """
    steps = {_place(link): path for link, path in links.items()}
    places = {place: name for name in names if (place := _place(name)) not in steps}
    order: list[str] = []
    found, lost = {}, {}
    for link, path in links.items():
        for _ in range(_MAX_STEPS):
            if path in places or path not in steps:
                break
            path = steps[path]
        if path in places:
            found[link] = places[path]
            continue
        if path in steps:
            lost[link] = "lead back to themselves"
        elif path.startswith(("/", "..")):
            lost[link] = "lead out of it"
        else:
            order = order or sorted(places)
            below = bisect_left(order, f"{path}/")
            if path == "." or any(place.startswith(f"{path}/") for place in order[below : below + 1]):
                lost[link] = "lead to folders of it, whose photos come once,"
            else:
                lost[link] = "lead to nothing in it"
    return found, lost


class _Zip(zipfile.ZipFile):
    """Zip that closes its file."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._own = file
        try:
            super().__init__(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        super().close()
        self._own.close()


class _UnmarkedNames(io.BufferedReader):
    """Zip file in which no name is marked as UTF-8: some programs mark names that are not."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = bytearray(super().read(size))
        if len(data) == _LOCAL_HEADER and data.startswith(b"PK\3\4"):
            data[7] &= ~_MARKED
        at = 0
        while data.startswith(b"PK\1\2", at) and len(data) >= at + _DIRECTORY_ENTRY:
            data[at + 9] &= ~_MARKED
            at += _DIRECTORY_ENTRY + sum(struct.unpack_from("<3H", data, at + 28))
        return bytes(data)


_LOCAL_HEADER: Final = 30
_DIRECTORY_ENTRY: Final = 46
_MARKED: Final = 8
"""Bit of the second byte of the flags by which a name is UTF-8."""


class _ZipArchive:
    """Zip file: any member at any time."""

    def __init__(self, path: Path, budget: int) -> None:
        self._name = shown(path.name)
        self._budget = budget
        try:
            self._zip = _Zip(open_whole(path))  # its reads share one file under a lock of its own
        except UnicodeDecodeError:
            self._zip = _Zip(_UnmarkedNames(open_whole(path)))
        infos = [info for info in self._zip.infolist() if info.filename and not info.is_dir()]
        names = [_unicode_name(info) for info in infos]
        unknown = [info.orig_filename.encode("cp437") for info, name in zip(infos, names, strict=True) if not name]
        decoded, self.encoding = decode_names(unknown, archive=True)
        others, numbering = iter(decoded), _Numbering()
        self._infos = {numbering.key(name or next(others)): info for name, info in zip(names, infos, strict=True)}
        links = {name: self._target(name, info) for name, info in self._infos.items() if _is_link(info)}
        found, self._lost = _followed(links, self._infos)
        self._infos |= {link: self._infos[name] for link, name in found.items()}

    def _target(self, name: str, info: zipfile.ZipInfo) -> str:
        """Return the path in the archive that a link leads to; itself, as a link to nothing, where it cannot be read."""
        try:
            with self._zip.open(info) as link:
                return _destination(name, link.read(_LONGEST_TARGET).decode("utf-8", "surrogateescape"))
        except Exception:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
            return _place(name)

    def members(self, limit: int) -> Iterator[Member]:
        spent = 0
        for name, info in self._infos.items():
            if sentence := self._lost.get(name):
                yield Member(name, -1, problem=sentence, lost=True)
                continue
            if info.flag_bits & 1:
                yield Member(name, info.file_size, problem=_ENCRYPTED)
                continue
            if info.file_size > limit:
                yield Member(name, info.file_size)
                continue
            try:
                data = self.read(name, limit)
            except Exception:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
                method = _METHODS.get(info.compress_type)
                problem = f"It is packed with {method}, which is not read here: unpack the archive." if method else ""
                yield Member(name, -1, problem=problem or _NOT_UNPACKED)
                continue
            spent += len(data)
            if spent > self._budget:
                raise InvalidArchive(_bomb(self._name))
            yield Member(name, len(data), data)

    def read(self, name: str, limit: int) -> bytes:
        info = self._infos.get(name) or self._zip.getinfo(name)  # as version 0.1.0 spelled it
        try:
            with self._zip.open(info) as member:
                return member.read(limit + 1)  # whatever its header claims
        except RuntimeError as error:  # encrypted
            raise OSError(0, str(error)) from None

    def close(self) -> None:
        self._zip.close()


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


class _PackedFile:
    """One image packed alone."""

    encoding = ""

    def __init__(self, path: Path, name: str, opener: Opener) -> None:
        self._path, self._name, self._opener = path, name, opener

    def members(self, limit: int) -> Iterator[Member]:
        try:
            data = self.read(self._name, limit)
        except Exception:  # noqa: BLE001 - libraries raise whatever a damaged byte leads to
            yield Member(self._name, -1, problem=_NOT_UNPACKED)
            return
        yield Member(self._name, len(data), b"" if len(data) > limit else data)

    def read(self, name: str, limit: int) -> bytes:
        if name != self._name:
            raise KeyError(name)
        with _unpacking(self._path, self._opener) as file:
            return file.read(limit + 1)

    def close(self) -> None:
        """Nothing stays open between reads."""


def _unicode_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name where the zip marks it as Unicode, else ""."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    checksum = struct.pack("<I", zlib.crc32(info.orig_filename.encode("cp437")))
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[1:5] == checksum:
            return field[5:].decode("utf-8", "replace")
    return ""


class _SequentialArchive:
    """Archive that is read from front to end; members that were passed over on the way are kept for a while."""

    encoding = ""

    def __init__(self) -> None:
        self._lock = Lock()
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._kept = 0
        self._restart()

    def members(self, limit: int) -> Iterator[Member]:
        while (member := self._next(limit)) is not None:
            yield member

    def read(self, name: str, limit: int) -> bytes:
        with self._lock:
            for _ in range(2):
                if name in self._passed:
                    data = self._passed.pop(name)
                    self._kept -= len(data)
                    return data
                while (member := self._next(limit)) is not None:
                    if member.name == name:
                        if member.size > limit:
                            raise OSError(0, "it is too large")
                        return member.data
                    self._keep(member.name, member.data)
                self._restart()  # it lies before where we are: from the front once more
            raise KeyError(name)

    def _keep(self, name: str, data: bytes) -> None:
        self._passed[name] = data
        self._kept += len(data)
        while self._kept > _CACHE_BYTES:
            self._kept -= len(self._passed.popitem(last=False)[1])

    def _restart(self) -> None:
        raise NotImplementedError

    def _next(self, limit: int) -> Member | None:
        raise NotImplementedError


class _Tar(tarfile.TarFile):
    """Tar that keeps why it has no further header: its end, or damage, which look the same to the caller of `next`."""

    reason: HeaderError | None = None


class _TarHeader(tarfile.TarInfo):
    """Header in a `_Tar`."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """Read the next header; behind the end of a tar, that of another one which was joined to it."""
        end: HeaderError | None = None
        while True:
            try:
                return super().fromtarfile(tarfile)
            except EOFHeaderError as error:
                end = end or error
            except HeaderError as error:
                if isinstance(tarfile, _Tar):
                    tarfile.reason = end or error
                raise end or error from None


class _TarArchive(_SequentialArchive):
    """Tar file, packed or not. Its links come last, in a second pass over what they lead to."""

    def __init__(self, path: Path, opener: Opener | None, budget: int, cancelled: Callable[[], bool] | None) -> None:
        self._path = path
        self._opener = opener
        self._budget = budget
        self._cancelled = cancelled
        self._stream: _BoundedStream | None = None
        self._tar: _Tar | None = None
        self._links: dict[str, str] = {}
        self._found: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        super().__init__()

    def members(self, limit: int) -> Iterator[Member]:
        last = ""
        for member in super().members(limit):
            last = member.name
            yield member
        reason = self._tar.reason if self._tar is not None else None
        yield from self._linked(limit)
        if reason is not None and not isinstance(reason, EOFHeaderError):
            behind = f" behind “{shown(_place(last))}”" if last else ""
            raise InvalidArchive(
                f"“{shown(self._path.name)}” is cut or damaged{behind}: more photos may be missing. Download it again."
            )

    def _linked(self, limit: int) -> Iterator[Member]:
        """Yield the members that are links, after all others were passed."""
        for name, sentence in self._lost.items():
            yield Member(name, -1, problem=sentence, lost=True)
        links: dict[str, list[str]] = {}
        for link, name in self._found.items():
            links.setdefault(name, []).append(link)
        if not links:
            return
        spent = 0
        self._restart()
        for member in super().members(limit):
            for link in links.get(member.name, ()):
                spent += len(member.data)
                if spent > self._budget:
                    raise InvalidArchive(_bomb(shown(self._path.name)))
                yield replace(member, name=link)

    def read(self, name: str, limit: int) -> bytes:
        try:
            return super().read(self._found.get(name, name), limit)
        except KeyError:
            return super().read(self._found[name], limit)

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
        if self._stream is not None:
            self._stream.close()

    def _restart(self) -> None:
        self.close()
        self._numbering = _Numbering()
        file = open_whole(self._path) if self._opener is None else _unpacking(self._path, self._opener)
        self._stream = _BoundedStream(file, self._budget, shown(self._path.name), self._cancelled)
        try:
            self._tar = _Tar.open(fileobj=self._stream, mode="r|", errorlevel=1, tarinfo=_TarHeader)
        except BaseException:
            self._stream.close()
            raise

    def _next(self, limit: int) -> Member | None:
        assert self._tar is not None  # noqa: S101 - for mypy: `_restart` made it
        while (info := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined]  # else each header stays in memory
            if info.issym() or info.islnk():
                name = self._numbering.key(info.name)
                self._links[name] = _destination(info.name, info.linkname) if info.issym() else _place(info.linkname)
                continue
            if not info.isreg():  # a device leads elsewhere
                continue
            name = self._numbering.key(info.name)
            if info.size > limit:
                return Member(name, info.size)
            file = self._tar.extractfile(info)
            if file is not None:
                data = file.read()
                return Member(name, len(data), data)
        self._found, self._lost = _followed(self._links, self._numbering.names() if self._links else ())
        return None


class _BoundedStream(io.RawIOBase):
    """Stream that raises InvalidArchive when more comes out of it than an archive of images would hold."""

    def __init__(self, file: io.BufferedIOBase, budget: int, name: str, cancelled: Callable[[], bool] | None) -> None:
        self._file = file
        self._left = budget
        self._name = name
        self._cancelled = cancelled

    def read(self, size: int = -1) -> bytes:
        if self._cancelled is not None and self._cancelled():
            raise InvalidArchive(f"“{self._name}” was not looked through to its end.")
        pieces: list[bytes] = []
        missing = size
        try:  # what came before a packed file breaks off is good
            while missing and (piece := self._file.read1(min(missing, _CHUNK) if size >= 0 else _CHUNK)):
                pieces.append(piece)
                missing -= len(piece) if size >= 0 else 0
        except EOFError:
            if not pieces:
                raise
        data = b"".join(pieces)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidArchive(_bomb(self._name))
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


class _SevenZipArchive(_SequentialArchive):
    """7z file, by the library py7zr where it is installed: unpacked in memory, some members at a time."""

    def __init__(self, path: Path, budget: int) -> None:
        try:
            import py7zr
        except ImportError:
            raise InvalidArchive(f"“{shown(path.name)}” is a 7z archive, which is not read here: unpack it.") from None
        self._py7zr: Any = py7zr
        self._path = path
        with self._opened() as archive:
            if archive.needs_password():
                raise InvalidArchive(f"“{shown(path.name)}” is encrypted: unpack it with its password.")
            infos = [info for info in archive.list() if not info.is_directory]
        if sum(info.uncompressed for info in infos) > budget:
            raise InvalidArchive(_bomb(shown(path.name)))
        self._sizes = [(info.filename, info.uncompressed) for info in infos]
        self._links = {info.filename for info in infos if info.is_symlink}
        super().__init__()

    def close(self) -> None:
        """Nothing stays open between reads."""

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open the file; whatever the library raises of a damaged one becomes OSError. Raises InvalidArchive."""
        try:
            with open_whole(self._path) as file, self._py7zr.SevenZipFile(file) as archive:
                yield archive
        except self._py7zr.exceptions.PasswordRequired:
            raise InvalidArchive(f"“{shown(self._path.name)}” is encrypted: unpack it with its password.") from None
        except self._py7zr.exceptions.ArchiveError as error:
            raise OSError(0, str(error) or "it is damaged") from None
        except (InvalidArchive, OSError, MemoryError):
            raise
        except Exception as error:  # IndexError, TypeError, LZMAError …
            raise OSError(0, "it is damaged") from error

    def _restart(self) -> None:
        self._numbering = _Numbering()
        self._waiting = list(self._sizes)
        self._unpacked: dict[str, bytes] = {}

    def _next(self, limit: int) -> Member | None:
        if not self._waiting:
            return None
        name, size = self._waiting.pop(0)
        if name not in self._unpacked and size <= limit:
            self._unpack([(name, size), *self._waiting], limit)
        key = self._numbering.key(name)
        if name in self._links:
            return Member(key, -1, problem="are not followed in a 7z archive", lost=True)
        if size > limit:
            return Member(key, size)
        data = self._unpacked.pop(name, None)
        return Member(key, -1, problem=_NOT_UNPACKED) if data is None else Member(key, len(data), data)

    def _unpack(self, members: list[tuple[str, int]], limit: int) -> None:
        """Unpack the next members, as many as the cache takes: a solid archive is unpacked from its beginning each time."""
        wanted, total = [], 0
        for name, size in members:
            if size <= limit:
                total += size
                wanted.append(name)
            if total > _CACHE_BYTES:
                break
        factory = self._py7zr.io.BytesIOFactory(max(limit, 2**20))
        with self._opened() as archive:
            archive.extract(targets=wanted, factory=factory)
        self._unpacked = {name: product.read() for name, product in factory.products.items() if not product.seek(0)}


_ENCRYPTED: Final = "It is encrypted: unpack it with its password first."
_NOT_UNPACKED: Final = "It cannot be unpacked: it is damaged, encrypted or packed in an unknown way."


def _encoding_note(name: str, encoding: str) -> str:
    if encoding == "?":
        return (
            f"Names in “{shown(name)}” are in an unknown encoding: pack it anew with Unicode names, or unpack it first."
        )
    return f"Names in “{shown(name)}” are not in Unicode: they were read as {encoding.upper()}, which may be wrong."


def _bomb(name: str) -> str:
    return f"“{name}” unpacks to far more than an archive of photos would; the rest stays out."


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return reason(error)
    if isinstance(error, MemoryError) or "much memory" in str(error):
        return "unpacking it takes more memory than there is"
    text = " ".join(str(error).split()).rstrip(".")
    return lowered(text) or "it ends too early"


def read(source: ImageFile | ArchiveMember | ImageBytes, archives: Archives, limit: int) -> bytes:
    """Return a source's bytes; of more than `limit`, the first `limit` + 1. Raises SourceMissing."""
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
