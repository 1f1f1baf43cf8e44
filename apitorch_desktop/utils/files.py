"""Durable file writes: replace a file atomically, sync many files at once, lock a file."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from time import sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import BaseFileLock

LONGEST_NAME: Final = 255
"""Bytes of a file's name on the file systems of Linux; elsewhere as many characters."""
_LONGEST_ENDING: Final = 16
_WINDOWS_FORBIDDEN: Final = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
_WINDOWS_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows does not give to files (learn.microsoft.com, "Naming Files, Paths, and Namespaces")."""
SYNCABLE: Final = os.O_RDONLY if os.name == "posix" else os.O_RDWR
"""Flags to open what is to be synced: Windows syncs only what may be written."""
_DESCRIPTORS: Final = re.compile(
    r"/dev/(?:(?P<name>std(?:out|err))|fd/(?P<fd>\d{1,9}))|/proc/(?:self|thread-self)/fd/(?P<proc>\d{1,9})"
)
_MAX_LINKS: Final = 40  # as Linux follows
_PAUSES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5)
"""Seconds between two attempts to rename a file that is open."""
FEW = 4
"""Up to this many files are synced one by one: syncfs also waits for what other programs have written."""


def move_into_place(path: Path, target: Path) -> None:
    """Rename a file or folder, over a file that is there. Raises OSError.

    On Windows this fails while another program has one of the two open, as indexers and virus scanners have for a moment
    whatever was just written: it is tried again for two seconds.
    """
    for pause in _PAUSES if sys.platform == "win32" else ():
        try:
            path.replace(target)
        except PermissionError:
            sleep(pause)
        else:
            return
    path.replace(target)


@contextmanager
def atomic_write(path: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[Path]:
    """Yield the path of a part file beside `path`, which replaces `path` at the end of the block.

    The block writes the part file in whatever way suits it: `part.write_bytes(data)`, or
    `part.open("w", encoding="utf-8") as file`, closed within the block. After an exception the part file is removed and
    `path` is unchanged. The folder must exist. With `mode`, the part file is created with these permissions before the
    block runs. With `durable`, the file and its name are on the disk on return. Raises OSError.
    """
    part = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.part")  # short: `path` may use all 255 bytes
    try:
        if mode is not None:
            part.touch(mode, exist_ok=False)
        yield part
        if durable:
            _on(part, os.fsync)
        move_into_place(part, path)
        if durable:
            fsync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def descriptor_of(path: Path) -> int | None:
    """Return the open file descriptor that a path means, such as 1 for /dev/stdout or for where standard output goes.

    Opened by its name, a file behind it would be truncated, and written from its beginning.
    """
    place = path
    for _ in range(_MAX_LINKS):
        if match := _DESCRIPTORS.fullmatch(place.as_posix()):
            name, *numbers = match.group("name", "fd", "proc")
            return {"stdout": 1, "stderr": 2}[name] if name else int(numbers[0] or numbers[1])
        if not place.is_symlink():
            break
        place = place.parent / place.readlink()
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(number)):
                return number
    return None


def private_folder(folder: Path) -> None:
    """Create a folder that its owner alone may read, and take the rights of others away from all that is in it.

    Raises OSError for the folder itself; a file in it that cannot be changed, or is just being deleted, is left as it is.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for place, _folders, names in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in names)):
            with suppress(OSError):
                mode = path.lstat().st_mode
                if mode & 0o077 and not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) & 0o700)


def private_file(path: Path) -> None:
    """Create an empty file that its owner alone may read, in a folder that is created likewise. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(0o600)


def runtime_folder() -> Path | None:
    """Return a folder with a short path that only its owner may enter, for sockets; None where none can be made.

    Below XDG_RUNTIME_DIR, else in the folder for temporary files, where a folder that others made or may enter is no
    good: its name can be guessed.
    """
    import tempfile

    named = os.environ.get("XDG_RUNTIME_DIR", "")
    for folder in [Path(named) / "apitorch-desktop"] * bool(named) + [
        Path(tempfile.gettempdir()) / f"apitorch-desktop-{os.getuid()}"
    ]:
        with suppress(OSError):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                return folder
    return None


def fsync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk; does nothing where a folder cannot be synced. Raises OSError."""
    if os.name == "posix":
        _on(folder, os.fsync)


def try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file, which is created with its folder; return None while somebody else has it.

    The lock belongs to the caller, not to its thread, and ends with the process at the latest. Raises OSError.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def sync(paths: Collection[Path], *, missing_ok: bool = False) -> None:
    """Return when these files and their names are on the disk. Raises OSError.

    Uses one syncfs(2) for each file system where available: for 64 files, a fifth of the time of one fsync(2) each.
    """
    existing = [path for path in paths if path.exists()]
    if not missing_ok and len(existing) < len(paths):
        missing = next(path for path in paths if not path.exists())
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(missing))
    folders = {path.parent for path in existing}
    if len(existing) > FEW and all(
        sync_all(folder) for folder in {folder.stat().st_dev: folder for folder in folders}.values()
    ):
        return
    for path in existing:
        with suppress(FileNotFoundError):  # moved away by the user meanwhile
            _on(path, os.fsync)
    for folder in folders:
        fsync_folder(folder)


def sync_all(folder: Path) -> bool:
    """Sync the whole file system of a folder; return False where the system cannot do that. Raises OSError."""
    syncfs = _syncfs()
    if syncfs is not None:
        _on(folder, syncfs)
    return syncfs is not None


def _on(path: Path, act: Callable[[int], None]) -> None:
    handle = os.open(path, SYNCABLE)
    try:
        act(handle)
    finally:
        os.close(handle)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """Return `syncfs` where it also reports failures: Linux since 5.8."""
    if sys.platform != "linux" or tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (5, 8):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None

    def syncfs(handle: int) -> None:
        if call(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


def safe_filename(name: str) -> str:
    """Turn a name given by a service into the name of one file, without any path in it.

    One of too many bytes keeps its beginning and its ending, with a mark of the whole name between them.
    """
    kept = name.replace("/", "_").replace("\\", "_").replace("\0", "_")
    if os.name == "nt":
        kept = _WINDOWS_FORBIDDEN.sub("_", kept)
        kept = f"_{kept}" if _WINDOWS_DEVICES.match(kept) else kept
    raw = kept.encode("utf-8", "surrogateescape")
    if len(raw) > LONGEST_NAME:
        ending = PurePosixPath(kept).suffix.encode("utf-8", "surrogateescape")
        end = b"~" + hashlib.sha256(raw).hexdigest()[:8].encode() + (ending if len(ending) <= _LONGEST_ENDING else b"")
        kept = raw[: LONGEST_NAME - len(end)].decode("utf-8", "ignore") + end.decode("utf-8", "surrogateescape")
    return kept if kept not in {"", ".", ".."} else f"_{kept}"


def shortened_names(names: Iterable[str]) -> str:
    """Return a sentence about names that `safe_filename` shortens; empty where there is none."""
    long = sorted(name for name in set(names) if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME)
    if not long:
        return ""
    most = f"{LONGEST_NAME} bytes are the most a folder's name can have"
    first = f"“{long[0][:20]}…”"
    if len(long) == 1:
        return f"The folder of {first} has a shorter name, as {most}; “labels.csv” has the label in full."
    return f"The folders of {len(long):,} labels such as {first} have shorter names, as {most}; “labels.csv” has them in full."
