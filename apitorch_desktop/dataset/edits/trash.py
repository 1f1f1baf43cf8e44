"""Trash: the bytes of images that were deleted, by content, on this machine until the trash is emptied."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from apitorch_desktop.utils.files import sync


class TrashStore:
    """A folder of files named by their sha256. Thread-safe; who needs which is the journal's to know."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Keep bytes; safe from a loss of power after `settle`. Answers their sha256 (hex). Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.part"
            try:
                part.write_bytes(data)
                part.replace(self._path(sha256))
            finally:
                part.unlink(missing_ok=True)
        return sha256

    def settle(self, hashes: Collection[str]) -> None:
        """Return when these are on the disk. Raises OSError."""
        sync([self._path(sha256) for sha256 in hashes])

    def has(self, sha256: str) -> bool:
        """Whether these bytes are kept."""
        return self._path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Bytes of what is kept."""
        return self._path(sha256).stat().st_size

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises FileNotFoundError, also for a file that was damaged."""
        data = self._path(sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileNotFoundError(errno.ENOENT, "the image is damaged", str(self._path(sha256)))
        return data

    def drop(self, hashes: Collection[str]) -> int:
        """Delete bytes for good; how many bytes that freed."""
        freed = 0
        for sha256 in hashes:
            path = self._path(sha256)
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        return freed

    def put_aside(self) -> Path | None:
        """Move all that is there out of the way, for the journal that knew it is lost. Answers where to."""
        if not self._folder.is_dir():
            return None
        aside = self._folder.with_name(f"{self._folder.name}.{secrets.token_hex(4)}")
        self._folder.replace(aside)
        return aside

    def all(self) -> set[str]:
        """What is there, for a sweep; leftovers of a crash are removed on the way."""
        found = set()
        for path in self._folder.glob("*"):
            if path.name.endswith(".part"):
                path.unlink(missing_ok=True)
            else:
                found.add(path.name)
        return found

    def _path(self, sha256: str) -> Path:
        return self._folder / (sha256 or "none")
