"""Reserved disk space for deletes: SQLite has to write in order to delete, also on a full disk."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

SIZE = 16 * 2**20
_MIN_SIZE = 2**20  # on a disk with less than SIZE to spare
_FREE_FACTOR = 4  # times its size must be free for it to be allocated
_ZEROS = bytes(2**20)
_AMPLE = 2 * 2**30  # with more than this free the file is not needed yet


class DiskReserve:
    """An empty file of up to 16 MiB, removed when a change that frees space has none to begin with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = False

    def acquire(self) -> None:
        """Allocate the file once the disk gets full, while enough is free. Quick; never raises."""
        if self._held:
            return
        try:
            if not self._path.exists():
                free = shutil.disk_usage(self._path.parent).free
                size = min(SIZE, free // _FREE_FACTOR)
                if free > _AMPLE or size < _MIN_SIZE:
                    return
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    if hasattr(os, "posix_fallocate"):
                        os.posix_fallocate(descriptor, 0, size)
                    else:  # macOS, Windows
                        for _ in range(0, size, len(_ZEROS)):
                            file.write(_ZEROS)
            self._held = True
        except OSError:
            with suppress(OSError):
                self._path.unlink()

    def release(self) -> bool:
        """Remove the file; return whether it existed."""
        self._held = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def is_scarce(self) -> bool:
        """Return whether so little is free that nothing is kept that was deleted. Quick; never raises."""
        try:
            usage = shutil.disk_usage(self._path.parent)
        except OSError:
            return True
        return usage.free < min(_AMPLE, usage.total // _FREE_FACTOR)

    def release_if_full(self) -> None:
        """Remove the file when less is free than opening a database takes."""
        with suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < SIZE // _FREE_FACTOR:
                self.release()
