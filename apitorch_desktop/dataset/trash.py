"""Trash: the bytes of images that were deleted, by content, on this machine until the trash is emptied."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class Trash:
    """A folder of files named by their sha256. Thread-safe; who needs which is the journal's to know."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Keep bytes; they are on disk when this returns. Answers their sha256 (hex). Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if self.has(sha256):
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{os.getpid()}-{secrets.token_hex(6)}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return sha256

    def settle(self, hashes: Collection[str]) -> None:
        """Write down the names of what was kept; with this they survive a loss of power. One sync for many files."""
        if os.name != "posix":  # a folder cannot be synced
            return
        for folder in {self._path(sha256).parent for sha256 in hashes} | {self._folder}:
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

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
            raise FileNotFoundError(f"The image {sha256[:12]}… in the trash is damaged.")
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

    def all(self) -> set[str]:
        """What is there, for a sweep; leftovers of a crash are removed on the way."""
        found = set()
        for path in self._folder.glob("??/*"):
            if path.name.endswith(".part"):
                path.unlink(missing_ok=True)
            else:
                found.add(path.name)
        return found

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256
