"""Contents of many images in few files.

A file for each image takes .25 ms of processor time, and .15 ms more when it is deleted (decision 23). A pack is written once:
a header with the sha256 and size of each content, then the contents, one after the other. What is not needed any more
stays in it until that is half of its bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Final

import msgspec

from apitorch_desktop.api.types import decode_msgpack, encode_msgpack
from apitorch_desktop.utils.files import atomic_write

_MARK: Final = b"packed images 1\n"
_LENGTH: Final = 8
"""Bytes of the header's length, little-endian, behind the mark."""


@dataclass(slots=True)
class _Pack:
    path: Path
    size: int
    """Bytes of all contents, also of those that are not needed any more."""
    held: frozenset[str]
    """Their sha256."""
    needed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Offset and size of the contents that are, by sha256."""


class ContentPacks:
    """The packs in a folder, to which other processes may add. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = RLock()
        self._packs: dict[str, _Pack] = {}
        self._pack_of: dict[str, _Pack] = {}

    def add(self, contents: Mapping[str, bytes]) -> None:
        """Write contents, given by sha256 (hex), as one pack; it is on the disk on return. Raises OSError."""
        header = encode_msgpack([(sha256, len(data)) for sha256, data in contents.items()])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{secrets.token_hex(16)}.pack"
        with atomic_write(path, mode=0o600) as part, part.open("r+b") as file:
            file.write(_MARK + len(header).to_bytes(_LENGTH, "little") + header)
            file.writelines(contents.values())
        with self._lock:
            self._load(path)

    def refresh(self) -> None:
        """Take in what other processes added or deleted. Raises OSError."""
        with self._lock:
            found: set[str] = set()
            with suppress(FileNotFoundError):
                found = {path.name for path in self._folder.iterdir() if path.suffix == ".pack"}
            for name in self._packs.keys() - found:
                self._forget(self._packs[name])
            for name in sorted(found - self._packs.keys()):
                with suppress(FileNotFoundError):
                    self._load(self._folder / name)

    def hashes(self) -> set[str]:
        """Return the sha256 of all contents that are known and needed."""
        with self._lock:
            return set(self._pack_of)

    def size(self, sha256: str) -> int | None:
        """Return the size of a content in bytes, None for one that is not known."""
        with self._lock:
            pack = self._pack_of.get(sha256)
            return None if pack is None else pack.needed[sha256][1]

    def read(self, sha256: str) -> bytes | None:
        """Return a content, as it is in the file, None for one that is not known. Raises OSError."""
        for _ in range(2):
            with self._lock:
                pack = self._pack_of.get(sha256)
                if pack is None:
                    return None
                offset, size = pack.needed[sha256]
            try:
                with pack.path.open("rb") as file:
                    file.seek(offset)
                    return file.read(size)
            except FileNotFoundError:  # another process has written it anew
                self.refresh()
        return None

    def drop(self, sha256s: Iterable[str]) -> int:
        """Note that contents are not needed any more; return the sum of their sizes. Raises OSError."""
        freed = 0
        with self._lock:
            self.refresh()
            touched: dict[str, _Pack] = {}
            for sha256 in sha256s:
                pack = self._pack_of.pop(sha256, None)
                if pack is not None:
                    freed += pack.needed.pop(sha256)[1]
                    touched[pack.path.name] = pack
            for pack in touched.values():
                if 2 * sum(size for _, size in pack.needed.values()) <= pack.size:
                    self._delete(pack)
            for pack in [each for each in self._packs.values() if each.held and not each.needed]:
                if self._pack_of.keys().isdisjoint(pack.held):  # it was written anew, and a crash left it there
                    self._delete(pack)
        return freed

    def delete_parts(self) -> None:
        """Delete what a crash left half written, and the folder where it was all."""
        for path in self._folder.glob(".*.part"):
            path.unlink(missing_ok=True)
        self._delete_if_empty()

    def forget_all(self) -> None:
        """Forget what is known, as the folder is another one now."""
        with self._lock:
            self._packs.clear()
            self._pack_of.clear()

    def _load(self, path: Path) -> None:
        """Read the header of a pack; one that is damaged has no contents."""
        with path.open("rb") as file:
            start = file.read(len(_MARK) + _LENGTH)
            length = int.from_bytes(start[len(_MARK) :], "little") if start.startswith(_MARK) else 0
            header = file.read(min(length, path.stat().st_size))
        entries: list[tuple[str, int]] = []
        with suppress(msgspec.DecodeError):
            entries = decode_msgpack(header, list[tuple[str, int]])
        pack = _Pack(path, sum(size for _, size in entries), frozenset(sha256 for sha256, _ in entries))
        offset = len(start) + len(header)
        for sha256, size in entries:
            if sha256 not in self._pack_of:
                pack.needed[sha256] = (offset, size)
                self._pack_of[sha256] = pack
            offset += size
        self._packs[path.name] = pack

    def _forget(self, pack: _Pack) -> None:
        del self._packs[pack.path.name]
        for sha256 in pack.needed:
            del self._pack_of[sha256]

    def _delete(self, pack: _Pack) -> None:
        """Delete a pack, after what is needed of it is written into a new one. Raises OSError."""
        kept = {}
        if pack.needed:
            with suppress(FileNotFoundError), pack.path.open("rb") as file:  # another process has just done the same
                for sha256, (offset, size) in pack.needed.items():
                    file.seek(offset)
                    kept[sha256] = file.read(size)
        self._forget(pack)
        try:
            if kept:
                self.add(kept)
            pack.path.unlink(missing_ok=True)
        except OSError:
            self._load(pack.path)
            raise
        if not self._packs:
            self._delete_if_empty()

    def _delete_if_empty(self) -> None:
        with suppress(OSError):
            self._folder.rmdir()
