"""Content of deleted images, kept on this machine until the trash is emptied."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from apitorch_desktop.dataset.edits.content_packs import ContentPacks
from apitorch_desktop.utils.files import FEW, move_into_place, sync

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_PACKS = "packs"


class TrashStore:
    """A folder of files named by their sha256, and of packs. Thread-safe; the journal knows what of them is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs = ContentPacks(folder / _PACKS)

    def add(self, data: bytes) -> str:
        """Store content, and return its sha256 (hex). It survives a loss of power after `sync`. Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            part = self._folder / f".{secrets.token_hex(8)}.part"
            try:
                self._write(part, data)
                move_into_place(part, self._path(sha256))
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

    def add_many(self, contents: Mapping[str, bytes]) -> None:
        """Store contents, by their sha256, in one file, which survives a loss of power on return. Raises OSError."""
        self._packs.add(contents)

    def sync(self, sha256s: Collection[str]) -> None:
        """Return when these are on the disk. Raises OSError."""
        sync([self._path(sha256) for sha256 in sha256s if self._packs.size(sha256) is None])

    def has(self, sha256: str) -> bool:
        """Return whether content is stored."""
        return bool(self.stored([sha256]))

    def stored(self, sha256s: Collection[str]) -> set[str]:
        """Return those of these contents that are stored."""
        if any(self._packs.size(sha256) is None for sha256 in sha256s):
            self._packs.refresh()
        found = {sha256 for sha256 in sha256s if self._packs.size(sha256) is not None}
        others = set(sha256s) - found
        if len(others) > FEW:
            with suppress(FileNotFoundError):
                found |= others.intersection(path.name for path in self._folder.iterdir())
            return found
        return found | {sha256 for sha256 in others if self._path(sha256).is_file()}

    def size(self, sha256: str) -> int:
        """Return the size of stored content in bytes. Raises OSError."""
        size = self._packs.size(sha256)
        return self._path(sha256).stat().st_size if size is None else size

    def read(self, sha256: str) -> bytes:
        """Return stored content. Raises FileNotFoundError, also for a damaged file."""
        if not self._path(sha256).is_file() and self._packs.size(sha256) is None:
            self._packs.refresh()
        packed = self._packs.read(sha256)
        data = self._path(sha256).read_bytes() if packed is None else packed
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileNotFoundError(errno.ENOENT, "the photo is damaged", str(self._path(sha256)))
        return data

    def drop(self, sha256s: Collection[str]) -> int:
        """Delete content for good, and return the number of bytes freed."""
        files = [sha256 for sha256 in sha256s if self._packs.size(sha256) is None]
        freed = self._packs.drop(sha256s)
        for sha256 in files:
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
        self._packs.forget_all()
        return aside

    def all(self) -> set[str]:
        """Return all stored sha256, and delete part files that a crash left."""
        self._packs.refresh()
        self._packs.delete_parts()
        found = self._packs.hashes()
        for path in self._folder.glob("*"):
            if path.name.endswith(".part"):
                path.unlink(missing_ok=True)
            elif path.name != _PACKS:
                found.add(path.name)
        return found

    def _path(self, sha256: str) -> Path:
        return self._folder / (sha256 or "none")
