"""Finds the images in what was dropped or pasted, and the label each brings along. Opens no more than it must."""

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Final

from apitorch_desktop.dataset.importer.companions import (
    CLUTTER,
    alike_note,
    array_note,
    away_note,
    backups,
    backups_note,
    closed_note,
    companion_kind,
    folders_of_user,
    hidden_notes,
    is_clutter,
    is_hidden_photo,
    is_library,
    is_live_photo,
    left_out_note,
    marked_folders,
    placeholder_of,
    unread_note,
)
from apitorch_desktop.dataset.importer.contents import (
    ContainedImage,
    Contents,
    InspectedFile,
    UnpackedImages,
    are_same,
    is_smaller,
)
from apitorch_desktop.dataset.importer.folder_labels import folder_labels, quoted, same_numbers
from apitorch_desktop.dataset.importer.listed_labels import ListedLabels
from apitorch_desktop.dataset.importer.secondary_images import secondary_images
from apitorch_desktop.dataset.importer.unread_texts import TEXT_BYTES
from apitorch_desktop.dataset.sources.archives import (
    ARCHIVE_SUFFIXES,
    READ_SUFFIXES,
    Archives,
    InvalidArchive,
    Member,
    archive_of,
    broken_archive,
    is_archive,
    packed_name,
    program_file,
)
from apitorch_desktop.dataset.sources.image_source import (
    ArchiveMember,
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    filename_of,
)
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.columns import ListEntry
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES, FolderIndex, ImageIndex, Parts, path_parts
from apitorch_desktop.dataset.sources.lists.names import normal, split_of, split_words
from apitorch_desktop.dataset.sources.name_encoding import decode_each, unescaped
from apitorch_desktop.dataset.sources.pasted_text import data_image, file_path, in_text, is_url
from apitorch_desktop.dataset.sources.split_files import parts_of, whole_name
from apitorch_desktop.utils.text import few, natural, plural, reason, shown
from apitorch_desktop.vision.file_kinds import begins_as_image, image_kind, is_text

SUFFIXES: Final = IMAGE_SUFFIXES
OFFERED_SUFFIXES: Final = IMAGE_SUFFIXES.union(READ_SUFFIXES, reader.SUFFIXES)
"""Suffixes of the photos, archives and lists that a dialog offers to import."""
_HIDDEN_DEPTH: Final = 3
"""Folders within a hidden one that are searched for a photo, in each and one in the other: a program may have thousands."""
_HEAD: Final = 132
"""First bytes of a file by which images are known, the name of DICOM at their end."""
_ANNEX: Final = ".git/annex/objects/"
_DEEPEST = 100
_LIST_HEAD: Final = 4096
"""Bytes at the beginning of a file without a suffix that say whether it is a list."""


@dataclass(frozen=True, slots=True)
class FileSelection:
    """Files picked out of a folder: its sub-folders label them as if it had been dropped with nothing else in it.

    Folders, archives and lists among them are read as if each had been dropped alone.
    """

    paths: tuple[Path, ...]


Dropped = Path | str | ImageBytes | FileSelection


@dataclass(slots=True)
class FoundImage:
    """Image and the label it brings along, as spelled. `look` is set where it had to be read to be found."""

    source: Source
    label: str
    name: str
    look: InspectedFile | None = None
    split: str = ""


def is_image(name: str, head: bytes) -> bool:
    """Return True for a file that is taken for an image: by its name, else by its first bytes."""
    if PurePosixPath(name).suffix.lower() in SUFFIXES:
        return True
    return begins_as_image(head) and not companion_kind(name)


class Scanner:
    """Collects what is found of things dropped one after the other, in their order.

    `look(data)` is called for images inside archives while they pass by; `limit` is the most bytes of one. `tick` is
    called now and then; `cancelled` ends the search. `notes`, `ignored` and `complete` are those of the plan. With
    `several` things dropped, those that are no photos by their names are passed over, as in a folder; one alone is asked
    for by name.
    """

    def __init__(
        self,
        default_label: str,
        archives: Archives,
        look: Callable[[bytes], InspectedFile],
        limit: int,
        tick: Callable[[int], None],
        cancelled: Callable[[], bool],
        *,
        several: bool = False,
    ) -> None:
        self.found: list[FoundImage] = []
        self.notes: list[str] = []
        self.ignored: list[str] = []
        self.complete = True
        self._empty: list[str] = []
        self._closed: list[str] = []
        self._away: list[str] = []
        self._hidden_folders: list[str] = []
        self._hidden_photos: list[str] = []
        self._unread: dict[str, list[str]] = {}
        self._joined: set[Path] = set()
        """Parts of archives that were read."""
        self._tables: dict[str, list[str]] = {}
        """Sentences about files that are not read, by what they say."""
        self._arrays: dict[str, list[str]] = {}
        """Files that may hold photos as numbers, by their kind."""
        self._several = several
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
        elif isinstance(dropped, FileSelection):
            self._add_selection(dropped.paths)
        else:
            sources, strange = in_text(dropped)
            for line in strange:
                self._complain(f"“{shown(line[:100])}” is neither a web address nor a file.")
            for source in sources:
                if isinstance(source, ImageFile):
                    self._add_path(source.path)
                else:
                    self._take(source, self._default)

    def finish(self) -> None:
        """Note what was left out in all; call it once, at the end."""
        self.notes += hidden_notes(self._hidden_folders, self._hidden_photos)
        self.notes += filter(None, [left_out_note(self.ignored), closed_note(self._closed)])
        self.notes += [unread_note(kind, names) for kind, names in self._unread.items()]
        self.notes += [alike_note(sentences) for sentences in self._tables.values()]
        if not self.found:
            self.notes += [array_note(kind, names) for kind, names in self._arrays.items()]
        if sentence := away_note(self._away):
            self._complain(sentence)

    def _take(
        self, source: Source, label: str, look: InspectedFile | None = None, split: str = "", name: str = ""
    ) -> None:
        if look is None and isinstance(source, ImageUrl) and len(source.url) > 8000:
            look = InspectedFile(problem="The web address is too long.")
        self.found.append(FoundImage(source, label, shown(name or filename_of(source)), look, split))
        self._tick(len(self.found))

    def _add_selection(self, paths: Sequence[Path]) -> None:
        files: list[Path] = []
        for path in paths:
            self._add_path(path, files)
            self._tick(len(self.found) + len(files))
            if self._cancelled():
                break
        if not files:
            return
        absolute = [os.path.abspath(path) for path in files]  # noqa: PTH100 - takes “..” out and follows no link
        root = Path(os.path.commonpath([os.path.dirname(path) for path in absolute]))  # noqa: PTH120 - of text
        contents = Contents()
        for path, place in zip(files, absolute, strict=True):
            *folders, name = Path(place).relative_to(root).parts
            own = folders_of_user(tuple(folders))
            if own is not None and not any(map(is_clutter, folders)):
                contents.images.append(ContainedImage((*own, name), ImageFile(path), None))
        self._assign(contents, root.name)

    def _add_path(self, path: Path, files: list[Path] | None = None) -> None:
        """Search a path; a file that is an image by itself goes to `files`, where that is given."""
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            self._refuse(path, not_plain(path))
            return
        if stat.S_ISDIR(mode):
            self._add_folder(path)
        elif not stat.S_ISREG(mode):
            self._refuse(path, f"“{shown(path.name)}” is no ordinary file.")
        elif self._several and self._is_companion(path):
            return
        elif reader.is_list(path.name) or reader.is_unnamed_list(path.name, _head(path)):
            self._add_list(path)
        elif sentence := reader.unread_list(path.name) or program_file(path):
            self._complain(sentence)
        elif path.suffix.lower() not in SUFFIXES and is_archive(path := archive_of(path) or path):
            if path in self._joined:
                return
            self._joined |= set(parts_of(path))
            contents = Contents()
            self._collect_archive(path, (), contents)
            if packed_name(path) or is_live_photo(path.name):
                for entry in contents.images:
                    self._take(entry.source, self._default, entry.look)
                return
            self._note_if_empty(path, contents)
            self._assign(contents, without_suffixes(path.name))
        elif path.suffix.lower() not in SUFFIXES and (sentence := broken_archive(path)):
            self._complain(sentence)
        elif files is not None:
            files.append(path)
        else:
            self._take(ImageFile(path), self._default)

    def _is_companion(self, path: Path) -> bool:
        """Return whether a file is no photo by its name, and note it; a description may be a list after all."""
        if photo := placeholder_of(path.name):
            self._away.append(photo)
        elif companion_kind(path.name) not in ("", "description"):
            self.ignored.append(shown(path.name))
        else:
            return is_clutter(path.name)
        return True

    def _complain(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.complete = False

    def _refuse(self, path: Path, sentence: str) -> None:
        self._take(ImageFile(path), self._default, InspectedFile(problem=sentence))

    # --- a list alone

    def _add_list(self, path: Path) -> None:
        folder = path.parent
        index = FolderIndex(folder, split_words(path.stem)[0])
        try:
            data = reader.load(path)
            content = reader.read_list(data, path.name, index.locator(), _names_beside(path))
        except reader.InvalidList as error:
            if self._several and companion_kind(path.name):
                self.ignored.append(shown(path.name))
            else:
                self._complain(str(error))
            return
        self.notes += [*content.notes, *filter(None, [reader.unused_labels(content, data, path.name)])]
        counting = reader.counts_rows(content)
        if counting:
            self.notes.append(f"The numbers in “{shown(path.name)}” count the lines there, and are no labels.")
        for entry in content.entries:
            source = _source_of(entry, folder, index)
            look = None
            if isinstance(source, ImageFile) and (sentence := not_plain(source.path)):
                if storage := re.match(r"(gs|s3|hdfs|azure|abfss?|wasbs?)://", entry.path):
                    sentence = f"It lies in a storage ({storage[1]}) and not beside the list: download it first."
                elif several := index.candidates(entry.path):
                    sentence = f"{plural(len(several), 'photo')} have this name: put its folder before it in the list."
                look = InspectedFile(problem=sentence)
            label = "" if counting else entry.label
            self._take(source, label or self._default, look, entry.split)
            if self._cancelled():
                return

    # --- folders and archives

    def _add_folder(self, folder: Path) -> None:
        contents = Contents()
        archives: list[tuple[Path, Parts, Contents]] = []
        self._empty = []
        for parts, path, sentence in self._walk(folder):
            if not sentence and (archive := archive_of(path)):
                if archive != path:  # it comes with the first part
                    continue
                inner = Contents()
                self._collect_archive(path, (), inner)
                archives.append((path, parts[:-1], inner))
            elif is_image(parts[-1], head := b"" if sentence else _head(path)):
                contents.images.append(
                    ContainedImage(parts, ImageFile(path), InspectedFile(problem=sentence) if sentence else None)
                )
                self._tick(len(self.found) + len(contents.images))
            elif sentence:  # a pipe is never opened, whatever its name
                contents.others.append(parts)
            elif reader.may_be_list(parts[-1], head):
                contents.lists.append((parts, partial(reader.load, path)))
            else:
                self._pass_over(contents, parts, head, partial(_head, path, TEXT_BYTES))
                if sentence := broken_archive(path):
                    self._complain(sentence)
            if self._cancelled():
                break
        self._leave_out_targets(contents)
        files = UnpackedImages()
        files.add(contents.images if archives else ())
        for path, above, inner in archives:
            self._place_archive(path, above, inner, contents, files)
        if self._empty:
            are, more = ("is", "") if len(self._empty) == 1 else ("are", ", …" if len(self._empty) > 5 else "")
            self.notes.append(f"{quoted(self._empty[:5])}{more} {are} empty.")
        name = _own_name(folder)
        self._assign(contents, "" if is_library(name) or is_live_photo(name) else name)

    def _leave_out_targets(self, contents: Contents) -> None:
        """Leave out the images without a suffix to which links with one lead, as in the caches of downloads."""
        paths = {entry.parts: entry.source.path for entry in contents.images if isinstance(entry.source, ImageFile)}
        nameless = {parts: os.path.realpath(path) for parts, path in paths.items() if not path.suffix}
        links = (
            {os.path.realpath(path) for path in paths.values() if path.suffix and path.is_symlink()} if nameless else ()
        )
        if targets := {parts for parts, place in nameless.items() if place in links}:
            folders = sorted({parts[-2] for parts in targets if len(parts) > 1})
            where = f" in {quoted(folders[:5])}" if folders else ""
            come = (
                "comes under the name of the link to it"
                if len(targets) == 1
                else "come under the names of the links to them"
            )
            self.notes.append(f"{plural(len(targets), 'photo')}{where} {come}.")
            contents.images = [entry for entry in contents.images if entry.parts not in targets]

    def _pass_over(self, contents: Contents, parts: Parts, head: bytes, load: Callable[[], bytes]) -> None:
        contents.others.append(parts)
        if kind := image_kind(head):
            self._unread.setdefault(kind, []).append(parts[-1])
        if sentence := reader.unread_list(parts[-1]):
            self._tables.setdefault(sentence.rpartition("”")[2], []).append(sentence)
        elif kind := reader.unread_array(parts[-1]):
            self._arrays.setdefault(kind, []).append(parts[-1])
        elif is_text(head):
            contents.texts.append((parts, load))

    def _note_if_empty(self, path: Path, contents: Contents) -> None:
        if self.complete and not contents.images:
            self.notes.append(f"“{shown(path.name)}” holds no photo.")

    def _place_archive(
        self, path: Path, above: Parts, inner: Contents, contents: Contents, files: UnpackedImages
    ) -> None:
        """Add the images in an archive in a folder: where they lie unpacked, else under its name.

        They need no name where the folders in the archive are labels.
        """
        if packed_name(path) or is_live_photo(path.name):
            contents.images += [replace(entry, parts=(*above, *entry.parts)) for entry in inner.images]
            return
        self._note_if_empty(path, inner)
        stem = without_suffixes(path.name)
        if (found := files.unpacked_at(stem, above, inner.images)) is not None:
            place, depth = found
            where = f"in “{shown(place[-1])}”" if place else "beside it"
            self.notes.append(
                f"“{shown(path.name)}” holds photos {where} once more: a photo that lies in both comes once."
            )
            contents.add(place, inner.below(depth))
            return
        tops = {entry.parts[0] for entry in inner.images if len(entry.parts) > 1}
        flat = any(len(entry.parts) == 1 for entry in inner.images)
        first = len(contents.images)
        contents.add(above if len(tops) > 1 and not flat and not split_of(stem) else (*above, stem), inner)
        files.add(contents.images[first:])

    def _collect_archive(self, path: Path, above: Parts, contents: Contents) -> None:
        """Add the images in an archive, as if it were a folder at `above`."""
        inner = []
        lost: dict[str, list[str]] = {}
        try:
            for member in self._archives.members(path, self._limit, self._cancelled, self.notes.append):
                parts = path_parts(member.path)
                if not parts or any(is_hidden(part) for part in parts):
                    self._away += filter(None, [placeholder_of(part) for part in parts[-1:]])
                    if parts and not any(is_hidden(part) for part in parts[:-1]) and is_hidden_photo(parts[-1]):
                        self._hide_photo((*above, *parts))
                    continue
                if (folders := folders_of_user(parts[:-1])) is None:
                    continue
                place = (*above, *folders, parts[-1])
                if member.lost:
                    lost.setdefault(member.problem, []).append(member.path)
                elif is_image(parts[-1], member.data[:_HEAD]):
                    look = self._look_at_member(member.size, member.data, member.problem)
                    contents.images.append(ContainedImage(place, ArchiveMember(path, member.name), look))
                    self._tick(len(self.found) + len(contents.images))
                elif reader.may_be_list(parts[-1], member.data[:_LIST_HEAD]):
                    contents.lists.append((place, partial(_data_of_list, member)))
                else:
                    text = member.data[:TEXT_BYTES]
                    self._pass_over(contents, place, text[:_HEAD], partial(bytes, text))
                    if parts[-1].lower().endswith(ARCHIVE_SUFFIXES):
                        inner.append(parts[-1])
                if self._cancelled():
                    break
        except InvalidArchive as error:
            self._complain(str(error))
        for why, links in lost.items():
            more = f" and {len(links) - 3:,} more" if len(links) > 3 else ""
            notify = self._complain if any(is_image(link, b"") for link in links) else self.notes.append
            notify(f"Links in “{shown(path.name)}” that {why} stay out: {quoted(links[:3])}{more}.")
        if inner:
            self._complain(
                f"“{shown(path.name)}” holds other archives, which are not opened: {quoted(inner[:5])}. Unpack it first."
            )

    def _look_at_member(self, size: int, data: bytes, problem: str) -> InspectedFile:
        if problem:
            return InspectedFile(problem=problem)
        if size > self._limit:
            return InspectedFile(size, problem=too_large(size, self._limit))
        return self._look(data)

    def _walk(self, root: Path) -> Iterator[tuple[Parts, Path, str]]:
        """Yield every file under a folder: its parts from there, its path, and what is wrong with it if something is.

        Where most names have backslashes, as some programs unpack a zip of Windows, these are folders: `cat\\1.jpg`. A link to a
        folder is followed once, and only where it leads out of the tree. Folders of programs are not entered,
        and give no parts: see `folders_of_user`.
        """
        top = root.resolve()
        own_name = _own_name(root)
        if is_library(own_name):
            self._note_library(own_name)
        entered = {_identity(root)}
        waiting: list[tuple[Parts, Path]] = [((), root)]
        while waiting:
            above, folder = waiting.pop()
            try:
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: natural(entry.name))
            except OSError as error:
                self._complain(f"The folder “{shown(folder.name)}” cannot be opened: {reason(error)}.")
                continue
            if not entries and above:
                self._empty.append(above[-1])
            below: list[tuple[Parts, Path]] = []
            place = (folders_of_user((own_name, *above)) or ())[1:]
            marked = marked_folders(folder)
            with_folders = 2 * sum("\\" in entry.name for entry in entries) > len(entries)
            for entry in entries:
                if is_hidden(entry.name):
                    self._note_if_hidden(entry, place)
                    continue
                path, parts = folder / entry.name, (*above, entry.name)
                kind, sentence = _kind(entry)
                if kind != "folder":
                    inside = path_parts(entry.name) if with_folders else ()
                    yield (*place, *(inside or (entry.name,))), path, sentence
                    continue
                if folders_of_user((own_name, *parts)) is None or entry.name in marked:
                    is_closed = entry.name in marked or folders_of_user((entry.name,)) is None
                    self._closed += [entry.name] if is_closed else []
                    continue
                if is_library(entry.name):
                    self._note_library(entry.name)
                if entry.is_symlink():
                    target = path.resolve()
                    identity = _identity(path)
                    if target.is_relative_to(top) or top.is_relative_to(target) or identity in entered:
                        name, where = shown("/".join(parts)), shown(target.name)
                        self.notes.append(f"“{name}” is a link to “{where}”, whose photos are counted once.")
                        continue
                    entered.add(identity)
                if len(parts) <= _DEEPEST:
                    below.append((parts, path))
            waiting += reversed(below)

    def _note_if_hidden(self, entry: "os.DirEntry[str]", place: Parts) -> None:
        """Remember a photo that is elsewhere, and photos that are passed over for the dot before their name or a folder's."""
        self._away += filter(None, [placeholder_of(entry.name)])
        if is_clutter(entry.name) or not entry.name.startswith("."):
            return
        if is_hidden_photo(entry.name) and entry.is_file():
            self._hide_photo((*place, entry.name))
        elif _holds_photos(entry.path, _HIDDEN_DEPTH):
            self._hidden_folders.append(entry.name)

    def _hide_photo(self, parts: Parts) -> None:
        self._hidden_photos.append(parts[-1])
        self.ignored.append(shown("/".join(parts)))

    def _note_library(self, name: str) -> None:
        self.notes.append(
            f"“{shown(name)}” is the library of a program: the original photos in it come, without its folders as labels."
        )

    # --- labels

    def _assign(self, contents: Contents, root: str) -> None:
        """Label the images of a folder or an archive: by the lists in it, else by its folders."""
        self._leave_out_secondary(contents)
        images = [entry.parts for entry in contents.images]
        listed = ListedLabels()
        listed.read(contents.lists, images, self._cancelled, contents.texts)
        self.complete = self.complete and listed.complete
        spelled = self._decoded_names(images, root)
        found, notes = folder_labels(
            [tuple(spelled.get(part, part) for part in parts) for parts in images],
            spelled.get(root, root),
            labeled=bool(self._default or listed.labels or None in listed.unlabeled.values()),
            listed={number for number, parts in enumerate(images) if listed.decides(parts)},
            same=lambda pairs: are_same([(contents.images[one], contents.images[other]) for one, other in pairs]),
        )
        listed.weigh({entry.parts: own.label for entry, own in zip(contents.images, found, strict=True)})
        self.notes += [*listed.notes, *notes]
        differing = 0
        emptied: list[str] = []
        chosen: list[tuple[ContainedImage, str, str]] = []
        for entry, by_folder in zip(contents.images, found, strict=True):
            if by_folder.deleted:
                continue
            labels = listed.labels.get(entry.parts, [])
            if by_folder.label and entry.parts in listed.weak:
                labels = []
            split = listed.splits.get(entry.parts, "") or _split_of_folders(entry.parts, labels, by_folder.split)
            folder_label = listed.folder_names.get(by_folder.label, by_folder.label)
            if not folder_label or listed.without_label(entry.parts, folder_label):
                emptied += [folder_label] if not labels and folder_label.casefold() in listed.given else []
                folder_label = self._default
            own = folder_label.casefold()
            differing += bool(labels) and own in listed.given and own not in [label.casefold() for label in labels]
            chosen += [(entry, label, split) for label in labels or [folder_label]]
        numbers = same_numbers(dict.fromkeys((label, split) for _, label, split in chosen))
        for entry, label, split in chosen:
            name = listed.originals.get(entry.parts, "")
            self._take(entry.source, numbers.get(label, label), entry.look, split, name)
        if others := {label: number for label, number in numbers.items() if label != number}:
            label, number = next(iter(others.items()))
            are = "is" if len(others) == 2 else "are"
            more = f", and so {are} {plural(len(others) - 1, 'more label')}" if len(others) > 1 else ""
            self.notes.append(
                f"“{label}” is the same number as “{number}” in another part of the set: one label{more}."
            )
        if differing:
            self.notes.append(
                f"{plural(differing, 'photo')} lie{'s' if differing == 1 else ''} in the folder of another label than "
                "the list gives: the list counts."
            )
        if emptied:
            has = "has" if len(emptied) == 1 else "have"
            self.notes.append(
                f"{plural(len(emptied), 'photo')} in {few(emptied)} {has} no label in the list, which counts."
            )
        self.ignored += [shown("/".join(parts)) for parts in [*contents.others, *listed.unused]]

    def _leave_out_secondary(self, contents: Contents) -> None:
        """Move backups, masks and small copies of photos to the files that are no photos."""
        self._move_to_others(contents, kept := backups([entry.parts for entry in contents.images]))
        if kept:
            self.notes.append(backups_note([parts[-1] for parts in contents.others[-len(kept) :]]))
        entries = contents.images
        images = [entry.parts for entry in entries]

        @cache
        def labels() -> Mapping[Parts, list[str]]:
            listed = ListedLabels()
            listed.read(contents.lists, images, self._cancelled)
            return listed.labels

        secondary, notes = secondary_images(
            images,
            lambda one, other: is_smaller(entries[one], entries[other]),
            lambda number: images[number] in labels(),
            contents.others,
        )
        self.notes += notes
        self._move_to_others(contents, secondary)

    @staticmethod
    def _move_to_others(contents: Contents, numbers: Collection[int]) -> None:
        if numbers:
            contents.others += [contents.images[number].parts for number in sorted(numbers)]
            contents.images = [entry for number, entry in enumerate(contents.images) if number not in numbers]

    def _decoded_names(self, images: list[Parts], root: str) -> dict[str, str]:
        """Return name → text of the folders whose names are no UTF-8, or have escapes in place of letters."""
        raw = {part for parts in images for part in parts[:-1]} | {root}
        odd = sorted(part for part in raw if any("\ud800" <= char <= "\udfff" for char in part))
        texts = decode_each([os.fsencode(part) for part in odd])
        for part, text in zip(odd, texts, strict=True):
            read = (
                "its encoding is not known: rename it"
                if "\ufffd" in text
                else f"it was read as “{shown(text)}”; rename it if that is wrong"
            )
            if text != shown(part):  # else it is the locale that is no UTF-8
                self.notes.append(f"The name “{shown(part)}” is no UTF-8: {read}.")
        escaped = {part: text for part in sorted(raw.difference(odd)) if (text := unescaped(part)) != part}
        for part, text in list(escaped.items())[:1]:
            more = f", and so with {plural(len(escaped) - 1, 'more name')}" if len(escaped) > 1 else ""
            self.notes.append(f"The name “{shown(part)}” has escapes and was read as “{shown(text)}”{more}.")
        return {**dict(zip(odd, texts, strict=True)), **escaped}


def _split_of_folders(image: Parts, labels: Sequence[str], split: str) -> str:
    """Return the part of a set that the folders of an image mean, where the innermost may be called by its label: train."""
    if split and len(image) > 1 and split_of(image[-2]) == split and normal(image[-2]) in map(normal, labels):
        return next(filter(None, map(split_of, reversed(image[:-2]))), "")
    return split


def _data_of_list(member: Member) -> bytes:
    if member.problem or len(member.data) < member.size:
        raise reader.InvalidList(f"“{shown(member.path)}” cannot be read. {member.problem or 'It is too long.'}")
    return reader.without_pointer(member.data, member.path)


def _names_beside(path: Path) -> dict[str, str]:
    """Return names of numbered classes from the files beside a list."""
    try:
        beside = sorted(path.parent.iterdir())[:2000]
    except OSError:
        return {}
    for other in beside:
        if other != path and reader.CLASS_NAME_FILES.fullmatch(other.name) and not not_plain(other):
            try:
                if other.stat().st_size < 2**20 and (names := reader.class_names(reader.load(other), other.name)):
                    return names
            except (OSError, reader.InvalidList):
                continue
    return {}


def _source_of(entry: ListEntry, folder: Path, index: ImageIndex) -> Source:
    """Return what an entry's path or address leads to; a path counts from `folder`."""
    if image := data_image(entry.path):
        return image
    if is_url(entry.path):
        return ImageUrl(entry.path.strip())
    if found := index.find(entry.path):
        return ImageFile(folder.joinpath(*found))
    if entry.path.lower().startswith("file:"):
        return ImageFile(file_path(entry.path))
    return ImageFile(folder / entry.path.replace("\\", "/"))


def without_suffixes(name: str) -> str:
    """Return the name of an archive without the suffixes of archives and their parts: photos.tar.gz, photos.zip.001."""
    name = whole_name(name)
    while (suffix := PurePosixPath(name).suffix.lower()) in ARCHIVE_SUFFIXES:
        name = name[: -len(suffix)]
    return name


def is_hidden(name: str) -> bool:
    """Return True for a name that begins with a dot, or is one of those that systems and storages make."""
    return name.startswith(".") or name.lower() in CLUTTER


def _own_name(folder: Path) -> str:
    return folder.name or folder.resolve().name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _holds_photos(folder: str, depth: int) -> bool:
    """Return whether a photo lies in a folder or those in it, as deep as given."""
    try:
        with os.scandir(folder) as inside:
            entries = [entry for entry in inside if not is_hidden(entry.name)]
    except OSError:  # no folder, or not to be opened
        return False
    if any(PurePosixPath(entry.name).suffix.lower() in SUFFIXES for entry in entries):
        return True
    below = [entry.path for entry in entries if depth and entry.is_dir(follow_symlinks=False)]
    return any(_holds_photos(path, depth - 1) for path in below[:_HIDDEN_DEPTH])


def _kind(entry: "os.DirEntry[str]") -> tuple[str, str]:
    """Return “folder” or “file”, and what is wrong with the file if something is."""
    try:
        if entry.is_dir():
            return "folder", ""
        if entry.is_file():
            return "file", ""
        entry.stat()
    except FileNotFoundError:
        return "file", _dead_link(Path(entry.path))
    except OSError as error:
        return "file", f"“{shown(entry.name)}” cannot be read: {reason(error)}."
    return "file", f"“{shown(entry.name)}” is no ordinary file."


def _dead_link(path: Path) -> str:
    try:
        of_annex = _ANNEX in path.readlink().as_posix()
    except OSError:
        of_annex = False
    if of_annex:
        return f"“{shown(path.name)}” is a link of git-annex to a file that is not here: run “git annex get” first."
    return f"“{shown(path.name)}” is a link that leads nowhere."


def not_plain(path: Path) -> str:
    """Return a sentence about what keeps a path from being a plain file that can be read; empty where nothing does."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else f"“{shown(path.name)}” is no ordinary file."
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            return _dead_link(path)
        why = reason(error) if isinstance(error, OSError) else "it has no possible name"
        return f"“{shown(path.name)}” cannot be read: {why}."


def _head(path: Path, size: int | None = None) -> bytes:
    """Return the first bytes of a file that is no image by its name: as many as say its kind, or `size`."""
    if path.suffix.lower() in SUFFIXES:
        return b""
    try:
        with path.open("rb") as file:
            return file.read(size or (_HEAD if path.suffix else _LIST_HEAD))
    except OSError:
        return b""


def too_large(size: int, limit: int) -> str:
    """Return the sentence for a file of too many bytes."""
    return f"It has {size / 2**20:,.1f} MiB, and {limit // 2**20} MiB is the most: make it smaller."
