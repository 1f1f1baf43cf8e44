"""Files that were written together are brought to the disk together."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

FEW = 4
"""Up to so many are synced one by one: the whole file system may have much to write that is not ours."""


def sync(paths: Collection[Path], *, missing_ok: bool = False) -> None:
    """Return when these files and their names are on the disk. Raises OSError.

    Where the system has it, by one syncfs(2) a file system: for 64 files a fifth of the time of one fsync(2) each.
    """
    there = [path for path in paths if path.exists()]
    if not missing_ok and len(there) < len(paths):
        gone = next(path for path in paths if not path.exists())
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(gone))
    folders = {path.parent for path in there}
    if len(there) > FEW and all(
        sync_all(folder) for folder in {folder.stat().st_dev: folder for folder in folders}.values()
    ):
        return
    for path in there:
        with suppress(FileNotFoundError):  # moved away by the person meanwhile
            _on(path, os.fsync)
    if os.name == "posix":  # elsewhere a folder cannot be synced
        for folder in folders:
            _on(folder, os.fsync)


def sync_all(folder: Path) -> bool:
    """Have all that was written to a folder's file system on the disk; False where the system cannot do that.

    Raises OSError.
    """
    syncfs = _syncfs()
    if syncfs is not None:
        _on(folder, syncfs)
    return syncfs is not None


def _on(path: Path, act: Callable[[int], None]) -> None:
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        act(handle)
    finally:
        os.close(handle)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """`syncfs`, where it also tells of failures: Linux since 5.8."""
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


def safe(name: str) -> str:
    """A name that a service gave, as the name of one file: it leads nowhere else."""
    kept = name.replace("/", "_").replace("\\", "_").replace("\0", "_")
    return kept if kept not in {"", ".", ".."} else f"_{kept}"
