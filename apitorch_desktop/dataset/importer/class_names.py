"""Names of numbered classes in the files beside lists and folders."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from apitorch_desktop.dataset.importer.unread_texts import ListFile
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.annotations import yolo_classes
from apitorch_desktop.dataset.sources.lists.index import ImageIndex, Parts
from apitorch_desktop.dataset.sources.lists.names import normal, without_zeros, words_of_list
from apitorch_desktop.dataset.sources.lists.table import decode
from apitorch_desktop.utils.text import natural, shown

MOST_DISTINCT: Final = 0.95
"""Part of the names in a list that are distinct, up to which they are labels of photos rather than names of classes."""
_TABLES: Final = frozenset({".csv", ".tsv", ".tab", ".txt", ".lst"})


class ClassNames:
    """Names of numbered classes in the files of a folder; `used` are the files that hold them.

    `notes`: sentences about files that may also be lists of photos whose names are numbers, and about folders that
    may be numbered in another way.
    """

    def __init__(self, lists: Sequence[ListFile], index: ImageIndex, folders: set[str], images: int) -> None:
        self._by_folder: dict[Parts, dict[str, str]] = {}
        self.used: set[Parts] = set()
        self.notes: list[str] = []
        self._lists = lists
        self._index = index
        self._folders = {without_zeros(folder) for folder in folders}
        self._images = images
        for parts, load in lists:
            if not reader.CLASS_NAME_FILES.fullmatch(parts[-1]):
                continue
            try:
                data = load()
            except reader.InvalidList:
                continue
            names = reader.class_names(data, parts[-1])
            if all(map(str.isdigit, names.values())) and len(set(names.values())) < len(names):
                continue  # numbers of numbers are ids of images with their classes
            if names and not _leads_to_images(data, parts, index) and not self._is_of_photos(names, data, parts):
                self._by_folder.setdefault(parts[:-1], {}).update(names)
                self.used.add(parts)

    def _is_of_photos(self, names: Mapping[str, str], data: bytes, parts: Parts) -> bool:
        """Return whether the numbers in a file are the names of photos, and the names their labels.

        The name of a class stands there once; the label of photos again and again.
        """
        part, _ = words_of_list(parts[-1])
        if not any(self._index.candidates(number, parts[:-1], part) for number in names):
            return False
        try:
            entries = reader.read_list(data, parts[-1], self._index.locator(parts[:-1], part, several=True)).entries
        except reader.InvalidList:
            return False
        found = {entry.path: len(self._index.candidates(entry.path, parts[:-1], part)) for entry in entries}
        photos = [path for path, count in found.items() if count]
        pairs = {(entry.path, names.get(entry.path, entry.label)) for entry in entries if entry.label}
        labels = [label for _, label in pairs]
        if not photos or not labels:
            return False
        of_folders = len(self._folders.intersection(map(without_zeros, names)))
        if len(set(labels)) <= MOST_DISTINCT * len(labels):
            return 2 * of_folders <= len(names) and (
                2 * len(photos) > len(entries) or 2 * len(set(labels)) <= len(labels)
            )
        if of_folders or not self._folders.isdisjoint(names.values()) or self._are_classes(names, parts):
            return False
        of_photos = 2 * list(found.values()).count(1) > max(self._images, len(entries))
        self.notes.append(
            f"“{shown(parts[-1])}” is taken for a list of "
            + (
                "photos, whose names are the numbers in it."
                if of_photos
                else "classes, though photos have its numbers."
            )
        )
        return of_photos

    def _are_classes(self, names: Mapping[str, str], own: Parts) -> bool:
        """Return whether another list or the boxes of YOLO give photos numbers that are named."""
        for parts, load in self._lists:
            if parts == own or not reader.is_list(parts[-1]):
                continue
            try:
                data = load()
                if (numbers := yolo_classes(data)) and names.keys() >= set(numbers):
                    return True
                locate = self._index.locator(parts[:-1], words_of_list(parts[-1])[0])
                entries = reader.read_list(data, parts[-1], locate).entries
            except reader.InvalidList:
                continue
            labels = {label for entry in entries for label in (*entry.several, entry.label) if label}
            if labels and (labels <= names.keys() or labels <= _counted_from_0(names).keys()):
                return True
        return False

    def count_as_lists(self) -> None:
        """Count the names of classes from where the lists of photos count, whose numbers all have to have one."""
        for folder, names in self._by_folder.items():
            if not all(map(str.isdigit, names)):
                continue
            used = {number for parts, load in self._lists for number in self._numbers_in(parts, load, folder)}
            from_0, from_1 = _counted_from_0(names), {str(int(key) + 1): name for key, name in names.items()}
            if used and not used <= names.keys():
                if used <= from_0.keys():
                    self._by_folder[folder] = from_0
                    self.notes.append(
                        f"The names of classes count from 1, and the lists from 0: “0” is “{from_0['0']}”."
                    )
                elif used <= from_1.keys():
                    self._by_folder[folder] = from_1

    def _numbers_in(self, parts: Parts, load: Callable[[], bytes], folder: Parts) -> set[str]:
        """Return the labels at both ends of a table of photos which has the names in a folder, where they are numbers."""
        table = PurePosixPath(parts[-1]).suffix.lower() in _TABLES and parts not in self.used
        if not table or self.near(parts[:-1]) is not self._by_folder[folder]:
            return set()
        if self._index.find(PurePosixPath(parts[-1]).stem, parts[:-1]):  # of one photo, as a text of boxes
            return set()
        with suppress(reader.InvalidList):
            data = load()
            if len(data) > 2 * reader.SAMPLE:
                head, tail = data[: reader.SAMPLE], data[-reader.SAMPLE :]
                data = head[: head.rfind(b"\n") + 1] + tail[tail.find(b"\n") + 1 :]
            locate = self._index.locator(parts[:-1], words_of_list(parts[-1])[0])
            labels = {entry.label for entry in reader.read_list(data, parts[-1], locate).entries if entry.label}
            return labels if all(map(str.isdigit, labels)) else set()
        return set()

    def near(self, folder: Parts) -> Mapping[str, str]:
        """Return the names that hold in a folder: of it, of one above, or the only ones."""
        for depth in range(len(folder), -1, -1):
            if (names := self._by_folder.get(folder[:depth])) is not None:
                return names
        return next(iter(self._by_folder.values())) if len(self._by_folder) == 1 else {}

    def normal_names(self) -> set[str]:
        """Return all names of classes as `normal` spells them."""
        return {normal(name) for names in self._by_folder.values() for name in names.values()}

    def mapping_for(self, folders: set[str]) -> dict[str, str]:
        """Return id → name of folders that are called by ids, or by numbers from 1 where the names count from 0."""
        numbers = {folder: without_zeros(folder) for folder in folders if folder.isdecimal()}
        for names in self._by_folder.values():
            ids = {without_zeros(key): name for key, name in names.items()}
            one_based = {str(int(key) + 1): name for key, name in ids.items() if key.isdecimal()}
            used = set(numbers.values())
            if used and not used <= ids.keys() and used == one_based.keys():
                return {folder: one_based[number] for folder, number in numbers.items()}
            if found := {folder: ids[key] for folder in folders if (key := without_zeros(folder)) in ids}:
                if used and "0" in ids and "0" not in used and folders.isdisjoint(names.values()):
                    first = min(found, key=natural)
                    self.notes.append(
                        f"The names of classes count from 0: the folder “{shown(first)}” is “{shown(found[first])}”."
                    )
                return found
        return {}


def _counted_from_0(names: Mapping[str, str]) -> dict[str, str]:
    """Return names that are numbered from 1 with the numbers from 0; nothing for others."""
    if not all(map(str.isdigit, names)) or min(map(int, names), default=0) != 1:
        return {}
    return {str(int(key) - 1): name for key, name in names.items()}


def _leads_to_images(data: bytes, parts: Parts, index: ImageIndex) -> bool:
    """Return whether most lines of a table name an image, which a list of classes does not."""
    if not parts[-1].lower().endswith((".csv", ".txt")):
        return False
    start = data[: data.rfind(b"\n", 0, 4096) + 1] or data[:4096]
    lines = [line for line in decode(start).splitlines()[:20] if line.strip()]
    cells = [[*re.split(r"[,;|\t ]", line.replace('"', "")), *re.findall(r'"([^"]+)"', line)] for line in lines]
    found = [any(cell and not cell.isdigit() and index.find(cell, parts[:-1]) for cell in row) for row in cells]
    return 2 * sum(found) > len(lines)
