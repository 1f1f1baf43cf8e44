"""Labels that the lists among the files of a folder or an archive give to the images in it."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

from apitorch_desktop.api.types import LONGEST_LABEL, SPLITS
from apitorch_desktop.dataset.importer.class_names import MOST_DISTINCT, ClassNames
from apitorch_desktop.dataset.importer.companions import companion_kind
from apitorch_desktop.dataset.importer.folder_labels import quoted
from apitorch_desktop.dataset.importer.photo_texts import PhotoTexts, labels_in_texts, speaks_of_others
from apitorch_desktop.dataset.importer.unread_texts import ListFile, unread_notes
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.annotations import box_classes, is_of_numbers
from apitorch_desktop.dataset.sources.lists.columns import ListEntry
from apitorch_desktop.dataset.sources.lists.index import ImageIndex, JoinedIndex, Parts
from apitorch_desktop.dataset.sources.lists.labels_in_values import labels_in
from apitorch_desktop.dataset.sources.lists.names import is_container, normal, split_of, words_of_list
from apitorch_desktop.dataset.sources.lists.table import decode, looks_like_path
from apitorch_desktop.dataset.sources.lists.text_forms import TABLES
from apitorch_desktop.utils.text import few, natural, plural, shown

_META: Final = ("metadata.jsonl", "metadata.csv")
"""Names that a Hugging Face image folder gives to the list beside its images."""
_MEANT: Final = re.compile(r"label|annot|metadata|class|caption", re.IGNORECASE)
"""Part of the name of a list that is meant for the images beside it: the user is notified if it cannot be used."""
_SUBMISSION: Final = re.compile(r"submission", re.IGNORECASE)
"""Part of the name of a list whose labels stand for nothing: the form of what a competition wants to have."""
_ANSWERS: Final = re.compile(r"predict|(?:^|[_-])preds?[_.-]|inference", re.IGNORECASE)
"""Part of the name of a list whose labels are a classifier's: the folders' go before them."""
_LIST_WORDS: Final = frozenset(
    {"list", "lists", "index", "ids", "id", "names", "filenames", "filelist", "paths", "meta", "metadata", "info", "label",
     "labels", "annotation", "annotations", "instances"}
)  # fmt: skip
"""Words in the name of a list that say no more than that it is one: test_list.txt."""
_FIRST: Final = 20
"""Entries of a list that say whether it names images that are there."""
_AGREEING: Final = 0.8
"""Share of the images of a list that lie in the folders which correspond to its numbers, from which these name them."""


class ListedLabels:
    """Labels and parts of a split by image, from all lists of a folder or an archive: the first that names an image counts.

    `weak`: images whose label gives way to that of a folder, since it is a classifier's answer or the name of an album.
    `numbered`: images whose label is a number without a name, which a folder may have; `guessed`: images whose label nothing
    calls so; `scored`: images whose label has a score, and may be the answer of a classifier that learned from the folders.
    `folder_names`: label by name of a folder, where a list says what folders stand for. `unused`: files that give nothing.
    `originals`: names that images had once. `unlabeled`: images that lists name and give no label, or several; with the
    number of folders above the list where it labels none at all. `notes` and `complete` are those of the plan.
    """

    def __init__(self) -> None:
        self.labels: dict[Parts, list[str]] = {}
        self.splits: dict[Parts, str] = {}
        self.originals: dict[Parts, str] = {}
        self.weak: set[Parts] = set()
        self.numbered: set[Parts] = set()
        self.guessed: set[Parts] = set()
        self.scored: set[Parts] = set()
        self.unlabeled: dict[Parts, int | None] = {}
        self.folder_names: dict[str, str] = {}
        self.unused: list[Parts] = []
        self.notes: list[str] = []
        self.complete = True
        self._sources: dict[Parts, str] = {}
        """Image → name of the list that gives its label."""
        self._by_number: set[Parts] = set()
        """Images whose label is the name of a number that nothing calls a label."""
        self._blank: set[Parts] = set()
        """Images whose cell is empty in a column of labels."""
        self._bare: list[tuple[reader.ListContent, Parts]] = []
        """Lists of nothing but photos, which say nothing of these."""
        self._named_lists: set[str] = set()
        """Those of them whose names are labels."""
        self._images = 0
        self._split_sources: dict[Parts, tuple[str, Parts]] = {}
        """Image → part of the set, and the list that gives it."""
        self._contradicting: dict[Parts, tuple[str, Parts]] = {}
        """Image → another part, and the list that gives it."""
        self._relabeled: set[str] = set()
        """Folders of images that have labels by lists, so that their names are no labels of other images in lists."""
        self._plain: set[Parts] = set()
        """Images whose label is that number, named or not, in a list of nothing but paths and numbers."""
        self._classes: set[str] = set()
        """Names of classes from files that number them."""
        self._keyed: list[tuple[reader.ListContent, Parts]] = []
        """Lists that give their images ids."""
        self._absent: list[tuple[str, list[str]]] = []
        """Names of lists of nothing but images that are not there, with their paths."""
        self._unjoined: dict[Parts, str] = {}
        """Table of labels → sentence that what it calls by ids is not there."""
        self._of_albums: dict[Parts, str] = {}
        """Image → name of the list that has an album of it for a label."""
        self._failed: dict[str, list[str]] = {}
        """Sentences about files that have labels and are not understood, by their end."""
        self._of_several: set[Parts] = set()
        """Images with objects of several classes, from lists of objects as `_of_one`."""
        self._of_one: set[Parts] = set()
        self._of_detector: dict[Parts, str] = {}
        """Image → name of the list that has a detector's answer for its label."""
        self._of_flags: dict[Parts, str] = {}
        """Image → name of the list that has names of columns of yes and no for its labels."""
        self._last: list[tuple[reader.ListContent, Parts]] = []
        """Lists of a classifier's answers, of albums, or of guessed or scored labels, which count where no other list does."""
        self._unread: set[Parts] = set()
        """Lists that are not understood, of which no sentence says so."""

    def read(
        self,
        lists: Sequence[ListFile],
        images: Sequence[Parts],
        cancelled: Callable[[], bool],
        texts: Sequence[ListFile] = (),
    ) -> None:
        """Read lists that lie among images, and search other texts for their names; `cancelled` ends it."""
        if not (lists or texts) or not images:
            self.unused += [parts for parts, _ in lists]
            return
        index = ImageIndex(images)
        self._images = len(images)
        folders = {part for parts in images for part in parts[:-1]}
        names = ClassNames(lists, index, folders, len(images))
        self.folder_names = names.mapping_for(folders)
        names.count_as_lists()
        self._classes = names.normal_names()
        self.notes += names.notes
        parts_of_set = _parts_by_list(parts for parts, _ in lists)
        alike = _alike(lists, parts_of_set)
        boxes: list[tuple[Parts, list[str]]] = []
        called: dict[Parts, tuple[Parts, bytes]] = {}
        alone = [one for one in lists if reader.is_label_file(one[0][-1])]
        for parts, load in sorted(
            lists, key=lambda one: (_rank_of_list(one[0][-1]), [natural(part) for part in one[0]])
        ):
            if parts in names.used or reader.is_label_file(parts[-1]) or cancelled():
                continue
            try:
                data = load()
            except reader.InvalidList as error:
                self._fail(str(error))
                self.complete = False
                continue
            image = index.find(parts[-1][:-4], parts[:-1]) if parts[-1].lower().endswith(".txt") else None
            if image is not None and (classes := box_classes(data)) is not None:
                boxes.append((image, classes))
            elif image is not None and is_of_numbers(data):  # about this image: no number in it is another one
                self.unused.append(parts)
                self._fail(f"“{shown(parts[-1])}” is not understood: it is called as a photo, and has numbers.")
            elif image is not None and not speaks_of_others(data):
                called[image] = parts, data[: reader.SAMPLE]
            else:
                self._use(data, parts, index, names, folders, parts_of_set.get(parts, ""), alike)
        self._drop_numbers_of_rows()
        self._label_lists_by_name(index)
        for content, parts in sorted(self._last, key=lambda one: (one[0].guessed, one[0].by_number)):
            if not self._merge(content, parts, index, parts_of_set.get(parts, "")):
                self.unused.append(parts)
        self._join(lists, index, names)
        self._merge_boxes(boxes, names)
        self._merge_label_files(alone, images, names)
        self._merge_texts(called)
        self._drop_contradicting_splits()
        self._note_absent()
        for failed in self._failed.values():
            more = f" And so with {plural(len(failed) - 1, 'more file')}." if len(failed) > 1 else ""
            self.notes.append(f"{failed[0]}{more}")
        self._unread.intersection_update(self.unused)
        unread = [one for one in lists if one[0] in self._unread]
        self.notes += unread_notes([*unread, *texts], index, len(images), self.labels)

    def _fail(self, sentence: str) -> None:
        """Note a file that has labels and is not understood; of several alike, the first."""
        self._failed.setdefault(sentence.rpartition("”")[2], []).append(sentence)

    def _complain(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.complete = False

    def _use(
        self,
        data: bytes,
        parts: Parts,
        index: ImageIndex,
        names: ClassNames,
        folders: set[str],
        part_of_set: str,
        alike: Mapping[tuple[Parts, tuple[str, ...]], bytes],
    ) -> None:
        """Use a file for the labels of images, else for those of folders, else not."""
        name, base = parts[-1], parts[:-1]
        problem, elsewhere = "", False
        may_be = reader.is_list(name) or not PurePosixPath(name).suffix
        if may_be and not _SUBMISSION.search(name):
            for several in (False, True):  # at last, names that several images have are names of images too
                locate = index.locator(base, words_of_list(name)[0], several=several)
                try:
                    others = alike.get((base, words_of_list(name)[1]), b"") if part_of_set else b""
                    content = reader.read_list(data, name, locate, names.near(base), others)
                except reader.InvalidList as error:
                    problem = problem or str(error)
                    continue
                if sentence := reader.unused_labels(content, data, name):
                    self._fail(sentence)
                if content.entries[0].keys:
                    self._keyed.append((content, parts))
                unsure = content.answers or content.of_albums or content.guessed or content.by_number
                if unsure or content.scored or content.flags:
                    self._last.append((content, parts))
                    return
                if self._merge(content, parts, index, part_of_set):
                    return
                there = any(index.candidates(entry.path, base) for entry in content.entries)
                elsewhere = not there and name not in dict(self._absent)
                self._bare += [(content, parts)] if content.bare else []
                break
        if reader.is_list(name) and (found := reader.labels_of_folders(data, name, folders)):
            self.folder_names = found | self.folder_names
            return
        if problem and _is_meant(name):
            self._complain(problem)
        elif (problem or elsewhere) and (labeled := reader.labeled_ids(data, name)):
            column, first = labeled
            self._unjoined[parts] = (
                f"“{shown(name)}” has labels, but no photo is called as in its column “{shown(column)}” (“{shown(first)}”)."
            )
        elif (
            problem
            and not companion_kind(name)
            and reader.speaks_of_labels(data, name, index.locator(base, several=True))
        ):
            self._fail(problem)
        elif problem or not may_be:
            self._unread.add(parts)
        self.unused.append(parts)

    def _merge(self, content: reader.ListContent, parts: Parts, index: ImageIndex, part_of_set: str) -> bool:
        """Add the entries of one list, where nothing is known yet; return whether it says anything of the images."""
        missing, ambiguous, named = [], [], []
        used = False
        name_part, _ = words_of_list(parts[-1])
        of_part = not content.labeled and not any(entry.split for entry in content.entries)
        if of_part and (content.bare or _LIST_WORDS.issuperset(words_of_list(parts[-1])[1])):
            part_of_set = name_part  # nothing but photos: the list is the part
        adding = _AddedList(content, parts, set(self.labels))
        for entry in content.entries:
            found = index.candidates(entry.path, parts[:-1], name_part)
            image = found[0] if len(found) == 1 else None
            if image is None and len(content.entries) == 1:  # a file for each image is called as that
                image = index.find(PurePosixPath(parts[-1]).stem, parts[:-1])
            if image is not None:
                named.append(entry.path)
                used = self._add(entry, image, adding, entry.split or part_of_set) or used
            elif found:
                ambiguous.append(f"“{shown(entry.path)}” ({' or '.join(shown('/'.join(one)) for one in found[:2])})")
            else:
                missing.append(entry.path)
        if named and all(map(looks_like_path, named)):  # what is called otherwise is a header, a count, or a box
            missing = [path for path in missing if looks_like_path(path) or "/" in path]
        differing = adding.differing
        if ambiguous:
            more = f", and {len(ambiguous) - 1:,} more" if len(ambiguous) > 1 else ""
            self._complain(
                f"“{shown(parts[-1])}” does not say which photo it means by {ambiguous[0]}{more}: put the folder before it."
            )
        if len(missing) < len(content.entries):
            self.notes += content.notes
        if not used and not differing:
            labeled = [entry.path for entry in content.entries if entry.label and looks_like_path(entry.path)]
            if missing and len(missing) == len(content.entries) and (len(labeled) > 1 or _is_meant(parts[-1])):
                self._absent.append((parts[-1], labeled or missing))
            return bool(ambiguous)
        if differing:
            image, counted, label = differing[0]
            self.notes.append(
                f"“{shown(parts[-1])}” gives {plural(len(differing), 'photo')} another label than "
                f"“{shown(self._sources[image])}”, which counts: “{shown(image[-1])}” is "
                f"“{shown(counted)}”, not “{shown(label)}”."
            )
        if missing:
            first = ", ".join(f"“{shown(path)}”" for path in missing[:3])
            more = ", …" if len(missing) > 3 else ""
            are = "is" if len(missing) == 1 else "are"
            self._complain(f"{plural(len(missing), 'photo')} in “{shown(parts[-1])}” {are} not there: {first}{more}.")
        return True

    def _add(self, entry: ListEntry, image: Parts, adding: "_AddedList", split: str) -> bool:
        """Add what a list says of one image; return whether it says anything."""
        content = adding.content
        several = adding.of_objects and self._has_several(image, entry)
        counts = entry.label and (image not in adding.known or entry.label in self.labels.get(image, ()))
        if content.unlabeled:
            self.unlabeled.setdefault(image, _common_depth(adding.parts[:-1], image[:-1]))
        elif adding.of_objects and not adding.weak and not entry.label:
            self.unlabeled[image] = None
        elif entry.blank and not adding.weak:
            self.unlabeled.setdefault(image, None)
            self._blank.add(image)
        if split:
            self._add_split(image, split, adding.parts)
        if entry.original:
            self.originals.setdefault(image, entry.original)
        if entry.label and not several:
            self._add_label(entry, image, adding)
        return content.unlabeled or bool(counts or split or entry.several)

    def _add_split(self, image: Parts, split: str, parts: Parts) -> None:
        """Add the part of a set that a list gives an image, or remember that it differs from that of a list before."""
        self.splits.setdefault(image, split)
        counted, by = self._split_sources.setdefault(image, (split, parts))
        if split != counted and by != parts and {split, counted} <= set(SPLITS) and "trainval" not in normal(parts[-1]):
            self._contradicting.setdefault(image, (split, parts))

    def _drop_contradicting_splits(self) -> None:
        """Take away the parts of a set where lists contradict each other, those of all images if they do so about most."""
        if not self._contradicting:
            return
        of_all = 2 * len(self._contradicting) > len(self.splits)
        image, (split, parts) = next(iter(self._contradicting.items()))
        counted, by = self._split_sources[image]
        others = len(self._contradicting) - 1
        more = f", and so with {plural(others, 'more photo')}" if others else ""
        self.notes.append(
            f"“{shown(by[-1])}” puts “{shown(image[-1])}” into {counted}, “{shown(parts[-1])}” into {split}{more}: "
            + (
                "the lists contradict each other, and none of their splits is taken."
                if of_all
                else "no split is taken."
            )
        )
        for one in list(self.splits) if of_all else self._contradicting:
            del self.splits[one]

    def _add_label(self, entry: ListEntry, image: Parts, adding: "_AddedList") -> None:
        """Add the label of one image, or remember that it differs from that of a list before."""
        content, name = adding.content, adding.parts[-1]
        if not (adding.numbered or adding.weak) and image in self.numbered:  # a name goes before a number
            self.numbered.discard(image)
            self._sources.pop(image, None)
            adding.known.discard(image)
            self.labels[image] = []
        if image in adding.known:
            bare = (adding.numbered or content.by_number) and image not in self.numbered  # a number says no other name
            if entry.label not in self.labels[image] and not bare and not (image in self.weak or image in self.guessed):
                adding.differing.append((image, self.labels[image][0], entry.label))
            return
        self.labels.setdefault(image, []).append(entry.label)
        self._sources.setdefault(image, name)
        if adding.paths.setdefault(image, entry.path) != entry.path and len(set(self.labels[image])) > 1:
            self._note_spellings(name, adding.paths[image], entry.path, self.labels[image])
        if content.by_number and not adding.numbered:
            self._by_number.add(image)
        if content.by_number and content.plain:
            self._plain.add(image)
        if adding.weak:
            self.weak.add(image)
            if content.of_albums:
                self._of_albums[image] = name
            elif content.answers:
                self._of_detector[image] = name
        elif adding.numbered:
            self.numbered.add(image)
        if content.guessed:
            self.guessed.add(image)
        if content.flags:
            self._of_flags[image] = name
        if content.scored:
            self.scored.add(image)

    def _note_spellings(self, name: str, first: str, other: str, labels: list[str]) -> None:
        self.notes.append(
            f"“{shown(name)}” gives several labels to one photo, which it calls “{shown(first)}” and “{shown(other)}” "
            f"({', '.join(labels[:5])}): it comes under each."
        )

    def _note_absent(self) -> None:
        """Notify of lists that could not be used since none of their photos is there."""
        for name, paths in self._absent[:3]:
            self.notes.append(f"No photo in “{shown(name)}” is there: {few(paths)}. Its labels are not used.")
        if len(self._absent) > 3:
            self.notes.append(f"So it is with {plural(len(self._absent) - 3, 'more list')}.")
        self.notes += self._unjoined.values()

    def _drop_numbers_of_rows(self) -> None:
        """Take the numbers for no labels that count the rows of a list, and those of the lists beside it."""
        sure = {parts[:-1] for content, parts in self._last if reader.counts_rows(content)}
        dropped = [(content, parts) for content, parts in self._last if content.counted and parts[:-1] in sure]
        for content, _ in dropped:
            content.entries = [replace(entry, label="") for entry in content.entries]
        if dropped:
            self.notes.append(
                f"The numbers in {few(parts[-1] for _, parts in dropped)} count the lines there, and are no labels."
            )

    def _label_lists_by_name(self, index: ImageIndex) -> None:
        """Take lists of nothing but photos for those of a label each, after which they are called: cat.txt, dog.txt."""
        by_folder: dict[Parts, list[tuple[reader.ListContent, Parts]]] = {}
        for content, parts in self._bare:
            if _label_of_list(parts[-1]):
                by_folder.setdefault(parts[:-1], []).append((content, parts))
        for base, lists in by_folder.items():
            found = [index.find(entry.path, base) for content, _ in lists for entry in content.entries]
            if len(lists) < 2 or None in found or len(set(found)) < max(len(found), self._images / 2):
                continue
            for content, parts in lists:
                label = _label_of_list(parts[-1])
                content.entries = [replace(entry, label=label) for entry in content.entries]
                content.of_albums = True
            self._last += lists
            self.unused = [own for own in self.unused if own not in {parts for _, parts in lists}]
            self._named_lists.update(parts[-1] for _, parts in lists)

    def _join(self, lists: Sequence[ListFile], index: ImageIndex, names: ClassNames) -> None:
        """Use tables that call images by ids which another list gives them."""
        keyed = {
            parts
            for content, parts in self._keyed
            if any(index.candidates(entry.path, parts[:-1]) for entry in content.entries[:_FIRST])
        }
        waiting = [
            (parts, load)
            for parts, load in lists
            if parts in self.unused
            and parts not in keyed
            and reader.is_list(parts[-1])
            and not _SUBMISSION.search(parts[-1])
        ]
        if not waiting or not keyed:
            return
        images: dict[str, Parts] = {}
        twice: set[str] = set()
        for content, parts in self._keyed:
            for entry in content.entries:
                image = index.find(entry.path, parts[:-1], words_of_list(parts[-1])[0])
                if image is not None:
                    twice.update(key for key in entry.keys if images.setdefault(key, image) != image)
        joined = JoinedIndex({key: image for key, image in images.items() if key not in twice})
        for parts, load in waiting:
            try:
                content = reader.read_list(load(), parts[-1], joined.locator(), names.near(parts[:-1]))
            except reader.InvalidList:
                continue
            found = sum(bool(joined.find(entry.path)) for entry in content.entries)
            split = any(entry.split for entry in content.entries)
            named = split or _MEANT.search(parts[-1]) or not (content.plain or content.guessed)
            enough = found >= (MOST_DISTINCT * len(images) if content.plain else 1)
            if enough and named and self._merge(content, parts, joined, ""):
                self.unused = [own for own in self.unused if own != parts and own not in keyed]
                self._unjoined.pop(parts, None)

    def _has_several(self, image: Parts, entry: ListEntry) -> bool:
        """Return whether this list of objects or another one names several classes for an image, which then has no label."""
        if entry.several:
            self._of_several.add(image)
            if image in self._of_one:
                self.labels.pop(image, None)
                for known in (self._of_one, self.weak, self.numbered, self.guessed, self.scored):
                    known.discard(image)
        elif entry.label and image not in self.labels:
            self._of_one.add(image)
        return image in self._of_several

    def without_label(self, image: Parts, folder_label: str) -> bool:
        """Return whether an image that lists name has no label, so that the name of its folder is none.

        It is one where the lists give it to other images, unless they leave the label of this one empty and name others in
        its folder; or where it is below a list without labels.
        """
        if image not in self.unlabeled or image in self._of_several:
            return image in self._of_several
        if image in self._blank:
            return folder_label in self._relabeled and labels_in(folder_label)[0] != []
        if (depth := self.unlabeled[image]) is not None:
            return all(split_of(name) or is_container(name) for name in image[depth:-1])
        return (
            folder_label.casefold() not in self.given and labels_in(folder_label)[0] != []
        )  # a folder may be called nan

    def decides(self, image: Parts) -> bool:
        """Return whether lists give an image a label that no folder replaces, or none."""
        gives_way = any(image in images for images in (self.weak, self.numbered, self.guessed, self.scored))
        return image in self._blank or (image in self.labels and not gives_way)

    @cached_property
    def given(self) -> set[str]:
        """All labels that lists give, without case; complete once lists were read."""
        return {label.casefold() for labels in self.labels.values() for label in labels}

    def weigh(self, folders: Mapping[Parts, str]) -> None:
        """Decide which labels give way to those of folders, the label of each image by its folders, "" for none."""
        self._weigh_flags(folders)
        self._relabeled = {self.folder_names.get(folders[image], folders[image]) for image in self.labels}
        self._weigh_albums(folders)
        if (
            counted := {name for image, name in self._of_albums.items() if not (image in self.weak and folders[image])}
            & self._named_lists
        ):
            self.notes.append(f"{few(counted)} are lists of nothing but photos: their names are the labels.")
        guessed = self.guessed - (self.numbered if self._name_numbers(folders) else set())
        folders = self._without_parts(folders)
        self.weak.update(
            image
            for image in self._by_number
            if (folders[image] in self.folder_names and not (image in self._plain and folders[image].isdecimal()))
            or normal(folders[image]) in self._classes
        )
        if len(set(filter(None, folders.values()))) < 2:  # one folder for all says less than a list
            return
        kept = self._plain - self.weak if self._are_numbers(folders.values()) else set()
        self.weak.update(image for image in guessed - kept if folders[image])
        if numbers := [
            label for image in kept for label in self.labels[image] if label.isdecimal() and label != folders[image]
        ]:
            self.notes.append(
                f"A list gives photos {few(numbers)} for labels, which count, not the numbers of the folders."
            )
        self._weigh_scored(folders)
        differing = [
            label
            for image in (guessed & self.weak) - self.numbered
            for label in self.labels[image]
            if label.casefold() != folders[image].casefold() != ""
        ]
        if differing:
            self.notes.append(
                f"A list gives photos the labels {few(differing)} in a column that is not called one: those of the folders count."
            )

    def _without_parts(self, folders: Mapping[Parts, str]) -> dict[Parts, str]:
        """Return labels of folders without names of parts of a set, where lists give several labels to images in one."""
        given: dict[str, set[str]] = {}
        for image in self.guessed:
            if split_of(folders[image]):
                given.setdefault(folders[image], set()).update(self.labels[image])
        return {image: "" if len(given.get(label, ())) > 1 else label for image, label in folders.items()}

    def _are_numbers(self, folders: Iterable[str]) -> bool:
        """Return whether folders have nothing but numbers for names, which say less than those that a list repeats."""
        own = [label for image in self._plain for label in self.labels[image]]
        return len(set(own)) < len(own) and all(map(str.isdecimal, filter(None, folders)))

    def _weigh_scored(self, folders: Mapping[Parts, str]) -> None:
        """Let labels with scores give way to folders that are called by these labels."""
        called = {image: normal(self.folder_names.get(label, label)) for image, label in folders.items()}
        labels = {image: [normal(label) for label in self.labels[image]] for image in self.scored - self.weak}
        names = set(called.values())
        known = sum(label in names for own in labels.values() for label in own)
        if known < _AGREEING * sum(map(len, labels.values())):
            return
        self.weak.update(labels)
        differing = sum(called[image] not in ("", *own) for image, own in labels.items())
        if differing:
            self.notes.append(
                f"A list gives {plural(differing, 'photo')} another label than the folder, with a score as a classifier does: "
                "the folders count."
            )

    def _weigh_flags(self, folders: Mapping[Parts, str]) -> None:
        """Let what columns say by yes and no give way to several folders that are called by other words."""
        called = {image: self.folder_names.get(folders[image], folders[image]) for image in self._of_flags}
        named = {
            image: label.casefold()
            for image, label in called.items()
            if label and not (re.search(r"\d", label) or split_of(label) or is_container(label))
        }
        given = {label.casefold() for image in self._of_flags for label in self.labels[image]}
        if len(set(named.values())) < 2 or not given.isdisjoint(named.values()):
            self._of_flags.clear()
            return
        self.weak.update(named)
        self._of_flags = {image: self._of_flags[image] for image in named}
        repeated = tuple({reader.repeated_by(name) for name in self._of_flags.values()})
        self.notes = [note for note in self.notes if not note.startswith(repeated)]

    def _weigh_albums(self, folders: Mapping[Parts, str]) -> None:
        """Keep names of several albums where all folders have one label; notify of those, and answers, that give way."""
        albums = {label for image in self._of_albums for label in self.labels[image]}
        if len(set(filter(None, folders.values()))) == 1 < len(albums):
            self.weak.difference_update(self._of_albums)
            return
        for lists, what in (
            (self._of_albums, "names of lists"),
            (self._of_detector, "answers of a detector"),
            (self._of_flags, "names of columns of yes and no"),
        ):
            differing: dict[str, list[str]] = {}
            for image, name in lists.items():
                if name in self._named_lists:
                    continue
                label = self.folder_names.get(folders[image], folders[image]).casefold()
                if label and label not in map(str.casefold, self.labels[image]):
                    differing.setdefault(name, []).extend(self.labels[image])
            self.notes += [
                f"“{shown(name)}” gives photos the {what} for labels ({few(labels)}): those of the folders count."
                for name, labels in differing.items()
            ]

    def _name_numbers(self, folders: Mapping[Parts, str]) -> bool:
        """Give names of folders to the numbers of a list that correspond to them; return whether there are any.

        The innermost folders may name the numbers too.
        """
        called = self.folder_names
        beside = {image: called.get(label, label) for image in self.numbered if (label := folders.get(image))}
        inner = {
            image: called.get(image[-2], image[-2])
            for image in self.numbered
            if len(image) > 1 and len(self.labels[image]) == 1
        }
        if len(set(beside.values())) > len({label for image in beside for label in self.labels[image]}) == 1:
            self.weak.update(beside)  # one number for all says less than their folders
            return False
        called_otherwise = {
            image: name for image, name in beside.items() if set(image[-2:-1]).isdisjoint(self.labels[image])
        }
        names = self._names_of_numbers(called_otherwise) or (
            self._names_of_numbers(inner) if len(set(inner.values())) > 1 else {}
        )
        if names:
            for image in self.numbered:
                self.labels[image] = [names.get(label, label) for label in self.labels[image]]
            return True
        differing = [
            image for image, label in beside.items() if image not in self.guessed and label not in self.labels[image]
        ]
        if differing:
            self.notes.append(
                f"A list gives {plural(len(differing), 'photo')} in {few(beside[image] for image in differing)} a number "
                f"for a label ({few(label for image in differing for label in self.labels[image])}), which counts: "
                "names for the numbers can stand in “classes.txt” beside it."
            )
        return False

    def _names_of_numbers(self, folders: Mapping[Parts, str]) -> dict[str, str]:
        """Return number → folder where each number has a folder of its own, called by a name; else nothing.

        Some images may lie in the folder of another number.
        """
        counts: dict[str, Counter[str]] = {}
        for image, folder in folders.items():
            for label in self.labels[image]:
                counts.setdefault(label, Counter())[folder] += 1
        names = {label: of_label.most_common(1)[0][0] for label, of_label in counts.items()}
        agreeing = sum(of_label[names[label]] for label, of_label in counts.items())
        if len(set(names.values())) < len(names) or agreeing < _AGREEING * sum(map(Counter.total, counts.values())):
            return {}
        unnamed = any(one.isdigit() or is_container(one) or split_of(one) for one in names.values())
        return {} if unnamed else names

    def _merge_boxes(self, boxes: list[tuple[Parts, list[str]]], names: ClassNames) -> None:
        """Add the classes of boxes, by number or name: an image has the label of its only class."""
        several, unnamed = [], 0
        labeled = any(numbers for _, numbers in boxes)
        for image, numbers in boxes:
            known = names.near(image[:-1])
            if not numbers and labeled:
                self.unlabeled.setdefault(image, None)
            if len(numbers) > 1:
                several.append(image[-1])
                self._of_several.add(image)
            elif numbers and (label := known.get(numbers[0], numbers[0] if not numbers[0].isdigit() else "")):
                self.labels.setdefault(image, []).append(label)
            elif numbers:
                unnamed += 1
        if several:
            more = ", …" if len(several) > 3 else ""
            self.notes.append(
                f"{plural(len(several), 'photo')} with objects of several classes: {quoted(several[:3])}{more}. Choose a label."
            )
        if unnamed:
            self.notes.append(
                f"The boxes of {plural(unnamed, 'photo')} name their classes by number only: "
                "there is no “classes.txt” or “data.yaml”."
            )

    def _merge_label_files(self, files: Sequence[ListFile], images: Sequence[Parts], names: ClassNames) -> None:
        """Add the labels of files that hold nothing else, each for the image of its name, where no list gave one."""
        called = {(image[:-1], PurePosixPath(image[-1]).stem): image for image in images} if files else {}
        for parts, load in files:
            image = called.get((parts[:-1], PurePosixPath(parts[-1]).stem))
            try:
                label = decode(load()).strip() if image is not None else ""
            except reader.InvalidList:
                label = ""
            if image is None or not 0 < len(label) <= LONGEST_LABEL or "\n" in label:
                self.unused.append(parts)
                self._unread.add(parts)
            elif image not in self.labels:
                self.labels[image] = [names.near(parts[:-1]).get(label, label)]
                if self.labels[image] == [label] and label.isdigit():
                    self.numbered.add(image)

    def _merge_texts(self, texts: PhotoTexts) -> None:
        """Add the labels in texts that are called as photos, where no list gave one."""
        files = [parts for parts, _ in texts.values()]
        if not (words := labels_in_texts(texts)):
            self.unused += files
            self._unread.update(files)
            return
        new = {image: [word] for image, word in words.items() if image not in self.labels}
        self.labels.update(new)
        self.guessed.update(new)
        names = few(parts[-1] for parts in files)
        self.notes.append(
            f"The words in {names} are the labels of the photos of these names, unless folders say another."
        )


class _AddedList:
    """A list whose entries are being added, with what all of them share.

    `known`: images that had a label before. `differing`: images with that label, and another one that this list gives.
    `paths`: how it calls each image first.
    """

    def __init__(self, content: reader.ListContent, parts: Parts, known: set[Parts]) -> None:
        self.content = content
        self.parts = parts
        self.known = known
        self.numbered = all(entry.label.isdigit() for entry in content.entries if entry.label)
        self.weak = content.answers or content.of_albums or _ANSWERS.search(parts[-1]) is not None
        self.of_objects = content.of_objects and content.labeled
        self.differing: list[tuple[Parts, str, str]] = []
        self.paths: dict[Parts, str] = {}


def _alike(lists: Sequence[ListFile], parts_of_set: Mapping[Parts, str]) -> dict[tuple[Parts, tuple[str, ...]], bytes]:
    """Return the texts of lists that differ in the part of the set alone, by their folder and words."""
    found: dict[tuple[Parts, tuple[str, ...]], bytes] = {}
    for parts, load in lists:
        if parts in parts_of_set and parts[-1].lower().endswith(".txt"):
            key = (parts[:-1], words_of_list(parts[-1])[1])
            with suppress(reader.InvalidList):
                found[key] = found.get(key, b"") + b"\n" + load()[: reader.SAMPLE]
    return found


def _common_depth(one: Parts, other: Parts) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _rank_of_list(name: str) -> int:
    """Return which lists are read first: those meant for images, then others, then a classifier's and both parts in one."""
    return 0 if name in _META else 2 if _ANSWERS.search(name) or "trainval" in normal(name) else 1


def _parts_by_list(lists: Iterable[Parts]) -> dict[Parts, str]:
    """Return list → part of a set, where several lists in a folder differ in the part alone: train.csv and test.csv."""
    alike: dict[tuple[Parts, tuple[str, ...]], dict[Parts, str]] = {}
    for parts in lists:
        part, others = words_of_list(parts[-1])
        if reader.is_list(parts[-1]) and part:
            alike.setdefault((parts[:-1], others), {})[parts] = part
    return {parts: part for named in alike.values() if len(set(named.values())) > 1 for parts, part in named.items()}


def _label_of_list(name: str) -> str:
    """Return the words in the name of a list that are neither a part of a set nor say that it is a list."""
    if not set(words_of_list(name)[1]) - _LIST_WORDS:
        return ""
    words = re.split(r"[\W_]+", name.partition(".")[0])
    return " ".join(word for word in words if word and word.casefold() not in _LIST_WORDS and not is_container(word))


def _is_meant(name: str) -> bool:
    """Return True for a list whose name says that it is about images; a text or JSON may be about anything."""
    return name in _META or (_MEANT.search(name) is not None and not name.lower().endswith((".txt", ".json", *TABLES)))
