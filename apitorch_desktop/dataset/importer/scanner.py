"""Finds the pictures in what was dropped or pasted, and the label each brings along. Opens no more than it must."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from apitorch_desktop.dataset.sources import image_lists
from apitorch_desktop.dataset.sources.archives import Archives, InvalidArchive, is_archive
from apitorch_desktop.dataset.sources.image_source import (
    ArchiveMember,
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    filename_of,
)
from apitorch_desktop.utils.text import reason, shown

SUFFIXES: Final = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".mpo", ".heic", ".heif",
    ".avif", ".jp2", ".jxl", ".ico", ".psd", ".svg", ".dng", ".cr2", ".nef", ".arw", ".tga", ".ppm", ".pgm",
})  # fmt: skip
"""What names a picture, also of kinds that cannot be read: the person is told so, rather than that they are skipped."""
_MAGIC: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp(?:heic|heix|mif1|avif)",
    re.DOTALL,
)
_PARTS: Final = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_CLUTTER: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})
_DEEPEST = 100

Dropped = Path | str | ImageBytes


@dataclass(slots=True)
class InspectedFile:
    """What was seen of a picture's bytes: see `PlanItem`."""

    size: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    problem: str | None = None


@dataclass(slots=True)
class FoundImage:
    """A picture and the label it brings along, as spelled. `look` is there where it had to be read to be found."""

    source: Source
    label: str
    name: str
    look: InspectedFile | None = None


def is_picture(name: str, head: bytes) -> bool:
    """Whether a file is taken for a picture: by its name, else by its first bytes."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES or _MAGIC.match(head) is not None


class Scanner:
    """Collects what is found of things dropped one after the other, in their order.

    `look(data)` is called for pictures inside archives while they pass by; `limit` is the most bytes of one. `tick` is
    called now and then; `cancelled` ends the search. `notes`, `ignored` and `complete` are those of the plan.
    """

    def __init__(
        self,
        default_label: str,
        archives: Archives,
        look: Callable[[bytes], InspectedFile],
        limit: int,
        tick: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self.found: list[FoundImage] = []
        self.notes: list[str] = []
        self.ignored: list[str] = []
        self.complete = True
        self._default = default_label
        self._archives = archives
        self._look = look
        self._limit = limit
        self._tick = tick
        self._cancelled = cancelled

    def add(self, dropped: Dropped) -> None:
        """Search one thing that was dropped or pasted."""
        if isinstance(dropped, ImageBytes):
            self._take(dropped, self._default)
        elif isinstance(dropped, Path):
            self._add_path(dropped)
        else:
            sources, strange = image_lists.in_text(dropped)
            for line in strange:
                self._complain(f"“{shown(line[:100])}” is neither a web address nor a file.")
            for source in sources:
                if isinstance(source, ImageFile):
                    self._add_path(source.path)
                else:
                    self._take(source, self._default)

    def _take(self, source: Source, label: str, look: InspectedFile | None = None) -> None:
        if look is None and isinstance(source, ImageUrl) and len(source.url) > 8000:
            look = InspectedFile(problem="The web address is too long.")
        self.found.append(FoundImage(source, label, shown(filename_of(source)), look))
        self._tick(len(self.found))

    def _add_path(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            self._refuse(path, not_plain(path))
            return
        if stat.S_ISDIR(mode):
            self._add_folder(path)
        elif not stat.S_ISREG(mode):
            self._refuse(path, f"“{shown(path.name)}” is no ordinary file.")
        elif path.suffix.lower() in image_lists.SUFFIXES:
            self._add_list(path)
        elif path.suffix.lower() not in SUFFIXES and is_archive(path):
            self._add_archive(path)
        else:
            self._take(ImageFile(path), self._default)

    def _complain(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.complete = False

    def _refuse(self, path: Path, sentence: str) -> None:
        self._take(ImageFile(path), self._default, InspectedFile(problem=sentence))

    # --- lists and archives

    def _add_list(self, path: Path) -> None:
        try:
            rows = image_lists.rows(path)
        except image_lists.InvalidList as error:
            self._complain(str(error))
            return
        for row in rows:
            source = image_lists.resolve(row.where, path.parent)
            look = None
            if isinstance(source, ImageFile) and (sentence := not_plain(source.path)):
                look = InspectedFile(problem=sentence)
            self._take(source, row.label or self._default, look)
            if self._cancelled():
                return

    def _add_archive(self, path: Path) -> None:
        entries: list[tuple[tuple[str, ...], Source, InspectedFile | None]] = []
        tables: dict[tuple[str, ...], list[image_lists.ListEntry]] = {}
        try:
            for name, size, data in self._archives.members(path, self._limit, self._cancelled):
                parts = _parts(name)
                if not parts or any(_hidden(part) for part in parts):
                    continue
                if parts[-1] in image_lists.METADATA and size > 0:
                    self._read_table(parts, data, tables)
                elif is_picture(parts[-1], data[:16]):
                    entries.append((parts, ArchiveMember(path, name), self._look_at_member(size, data)))
                    self._tick(len(self.found) + len(entries))
                else:
                    self.ignored.append(shown(name))
                if self._cancelled():
                    break
        except InvalidArchive as error:
            self._complain(str(error))
        root = path.name
        while (suffix := PurePosixPath(root).suffix.lower()) in {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".txz"}:
            root = root[: -len(suffix)]
        self._assign(entries, root, tables)

    def _look_at_member(self, size: int, data: bytes) -> InspectedFile:
        if size < 0:
            return InspectedFile(problem="It cannot be unpacked: it is damaged, encrypted or packed in an unknown way.")
        if size > self._limit:
            return InspectedFile(size, problem=too_large(size, self._limit))
        return self._look(data)

    def _read_table(
        self, parts: tuple[str, ...], data: bytes, tables: dict[tuple[str, ...], list[image_lists.ListEntry]]
    ) -> None:
        try:
            rows = image_lists.parse(data, parts[-1])
        except image_lists.InvalidList as error:
            self._complain(str(error))
            return
        if any(row.label for row in rows):
            tables.setdefault(parts[:-1], rows)

    # --- folders

    def _add_folder(self, folder: Path) -> None:
        entries: list[tuple[tuple[str, ...], Source, InspectedFile | None]] = []
        tables: dict[tuple[str, ...], list[image_lists.ListEntry]] = {}
        for parts, path, sentence in self._walk(folder):
            if parts[-1] in image_lists.METADATA and not sentence:
                try:
                    self._read_table(parts, path.read_bytes(), tables)
                except OSError as error:
                    self._complain(f"“{shown(path.name)}” cannot be read: {reason(error)}.")
            elif is_picture(parts[-1], b"" if sentence else _head(path)):
                entries.append((parts, ImageFile(path), InspectedFile(problem=sentence) if sentence else None))
                self._tick(len(self.found) + len(entries))
            else:
                self.ignored.append(shown("/".join(parts)))
            if self._cancelled():
                break
        self._assign(entries, folder.name or folder.resolve().name, tables)

    def _walk(self, root: Path) -> Iterator[tuple[tuple[str, ...], Path, str]]:
        """Every file under a folder: its parts from there, its path, and what is wrong with it if something is.

        Links are followed. No folder is entered twice for one label, which also ends loops.
        """
        entered: set[tuple[tuple[str, ...], int, int]] = set()
        waiting: list[tuple[tuple[str, ...], Path]] = [((), root)]
        while waiting:
            above, folder = waiting.pop()
            try:
                status = folder.stat()
                mark = (above[:2], status.st_dev, status.st_ino)
                if mark in entered or len(above) > _DEEPEST:
                    continue
                entered.add(mark)
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: natural(entry.name))
            except OSError as error:
                self._complain(f"The folder “{shown(folder.name)}” cannot be opened: {reason(error)}.")
                continue
            below: list[tuple[tuple[str, ...], Path]] = []
            for entry in entries:
                if _hidden(entry.name):
                    continue
                kind, sentence = _kind(entry)
                if kind == "folder":
                    below.append(((*above, entry.name), folder / entry.name))
                else:
                    yield (*above, entry.name), folder / entry.name, sentence
            waiting += reversed(below)

    # --- labels

    def _assign(
        self,
        entries: Sequence[tuple[tuple[str, ...], Source, InspectedFile | None]],
        root: str,
        tables: dict[tuple[str, ...], list[image_lists.ListEntry]],
    ) -> None:
        listed = {
            (*above, *_parts(row.where)): row.label for above, rows in tables.items() for row in rows if row.label
        }
        skip = self._depth_of_labels([parts for parts, _, _ in entries if parts not in listed])
        some_have = listed or any(len(parts) > skip + 1 for parts, _, _ in entries)
        for parts, source, look in entries:
            if parts in listed:
                label = listed[parts]
            elif len(parts) > skip + 1:
                label = parts[skip]
            else:
                label = self._default or ("" if some_have else root)
            self._take(source, label, look)

    def _depth_of_labels(self, pictures: Sequence[tuple[str, ...]]) -> int:
        """How many folders lie above the labels: 0, but for wrapping folders and the parts of a split."""
        skip = 0
        while True:
            here = {parts[skip] for parts in pictures if len(parts) > skip}
            deep = all(len(parts) >= skip + 3 for parts in pictures)
            if not (here and deep):
                return skip
            if {name.lower() for name in here} <= _PARTS:
                self.notes.append(f"{_listed(here)} are taken for parts of one set: their sub-folders are the labels.")
                return skip + 1
            if len(here) > 1 or len({parts[skip + 1] for parts in pictures}) < 2:
                return skip
            self.notes.append(f"{_listed(here)} holds all the rest: its sub-folders are the labels.")
            skip += 1


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: `a2` before `a10`, capitals beside small letters."""
    return [
        (0, int(part), part) if part.isascii() and part.isdigit() and len(part) < 4000 else (1, 0, part.casefold())
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def _listed(names: Iterable[str]) -> str:
    quoted = [f"“{shown(name)}”" for name in sorted(names)]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a path inside an archive or a list; nothing in it leads out."""
    return tuple(
        part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."} and not part.endswith(":")
    )


def _kind(entry: "os.DirEntry[str]") -> tuple[str, str]:
    """“folder” or “file”, and what is wrong with the file if something is."""
    try:
        if entry.is_dir():
            return "folder", ""
        if entry.is_file():
            return "file", ""
        entry.stat()
    except FileNotFoundError:
        return "file", f"“{shown(entry.name)}” is a link that leads nowhere."
    except OSError as error:
        return "file", f"“{shown(entry.name)}” cannot be read: {reason(error)}."
    return "file", f"“{shown(entry.name)}” is no ordinary file."


def not_plain(path: Path) -> str:
    """What keeps a path from being a plain file that can be looked at, as a sentence; empty where nothing does."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else f"“{shown(path.name)}” is no ordinary file."
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "it has no possible name"
        return f"“{shown(path.name)}” cannot be read: {why}."


def _head(path: Path) -> bytes:
    if path.suffix.lower() in SUFFIXES:
        return b""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


def too_large(size: int, limit: int) -> str:
    """The sentence for a file of too many bytes."""
    return f"It has {size / 2**20:,.1f} MiB, and {limit // 2**20} MiB is the most: make it smaller."
