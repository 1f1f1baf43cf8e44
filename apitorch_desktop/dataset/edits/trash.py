"""Content of deleted images, kept on this machine until the trash is emptied."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from apitorch_desktop.utils.files import move_into_place, sync

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class TrashStore:
    """A folder of files named by their sha256. Thread-safe; the journal knows which of them are needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes, known: str = "") -> str:
        """Store content, and return its sha256 (hex), `known` if that is at hand. It survives a loss of power after
        `sync`. Raises OSError.
        """
        sha256 = known or hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if not path.is_file():
            part = self._folder / f".{secrets.token_hex(8)}.part"
            try:
                self._write(part, data)
                move_into_place(part, path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return sha256

    def _write(self, part: Path, data: bytes) -> None:
        """Write a new file with as few calls as there can be: thousands are written in a row."""
        try:
            handle = os.open(part, _NEW_FILE, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(part, _NEW_FILE, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)

    def sync(self, hashes: Collection[str]) -> None:
        """Return when these are on the disk. Raises OSError."""
        sync([self._path(sha256) for sha256 in hashes])

    def has(self, sha256: str) -> bool:
        """Return whether content is stored."""
        return self._path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Return the size of stored content in bytes."""
        return self._path(sha256).stat().st_size

    def read(self, sha256: str) -> bytes:
        """Return stored content. Raises FileNotFoundError, also for a damaged file."""
        data = self._path(sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileNotFoundError(errno.ENOENT, "the photo is damaged", str(self._path(sha256)))
        return data

    def drop(self, hashes: Collection[str]) -> int:
        """Delete content for good, and return the number of bytes freed."""
        freed = 0
        for sha256 in hashes:
            path = self._path(sha256)
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        return freed

    def move_aside(self) -> Path | None:
        """Move the folder out of the way, since the journal that knew its files is lost. Returns its new path."""
        if not self._folder.is_dir():
            return None
        aside = self._folder.with_name(f"{self._folder.name}.{secrets.token_hex(4)}")
        move_into_place(self._folder, aside)
        return aside

    def all(self) -> set[str]:
        """Return all stored sha256, and delete part files that a crash left."""
        found = set()
        for path in self._folder.glob("*"):
            if path.name.endswith(".part"):
                path.unlink(missing_ok=True)
            else:
                found.add(path.name)
        return found

    def _path(self, sha256: str) -> Path:
        return self._folder / (sha256 or "none")
