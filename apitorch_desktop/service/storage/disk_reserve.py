"""Room kept aside on the disk, so that deleting still works when it is full: SQLite has to write in order to delete."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

SIZE = 16 * 2**20
_LEAST = 2**20  # on a disk that has less than SIZE to spare
_PLENTY = 4  # times its size must be free before the room is taken
_NEAR = 2 * 2**30  # with more than this free there is no hurry


class DiskReserve:
    """A file of up to 16 MiB that holds nothing; given up when a change that frees room has none to begin with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = False

    def keep(self) -> None:
        """Take the room once the disk gets full, while there is still plenty of it. Quick; never raises."""
        if self._held:
            return
        try:
            if not self._path.exists():
                free = shutil.disk_usage(self._path.parent).free
                size = min(SIZE, free // _PLENTY)
                if free > _NEAR or size < _LEAST:
                    return
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, size)
                finally:
                    os.close(descriptor)
            self._held = True
        except OSError:
            with suppress(OSError):
                self._path.unlink()

    def give(self) -> bool:
        """Give the room back; whether there was any."""
        self._held = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def give_if_full(self) -> None:
        """Give the room back when less is left than it takes to open a database."""
        with suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < SIZE // _PLENTY:
                self.give()
