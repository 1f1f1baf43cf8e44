"""Labels that folders give to the images in them: wrapping folders, containers and the parts of a split are no labels."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from apitorch_desktop.dataset.importer.folder_tree import (
    MOST,
    Folder,
    are_chunks,
    are_layers,
    are_series,
    classes_of,
    compared,
    innermost_names,
    inwards_from,
    is_about,
    is_class,
    is_holder,
    is_index,
    is_kind,
    is_word,
    is_wrapper,
    join_pairs,
    join_spellings,
    labels_of_parts,
    leaves_of,
    merge,
    merged_below,
    name_words,
    paired_names,
    places_of,
    possible_originals,
    series_of_parts,
    splits_of,
    transparent_names,
    whole_of,
)
from apitorch_desktop.dataset.importer.part_prefixes import labels_behind_prefixes
from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.names import (
    is_container,
    is_deleted,
    is_derived,
    is_form,
    named_value,
    names_year,
    normal,
    split_of,
    split_words,
    without_zeros,
)
from apitorch_desktop.utils.text import natural, plural, shown

_SAMPLES: Final = "-samples"
"""End of the names that Teachable Machine gives to the photos of a class."""
_COUNTER: Final = re.compile(r"[^\W\d_]*[\W_]*\d{1,5}[\W_]*")
"""Names that files get by counting, as other files do elsewhere: 12, IMG_0012, cat (12)."""
_HASH: Final = re.compile(r"(?=[\da-f-]*\d)(?=[\da-f-]*[a-f])[\da-f]{8}[\da-f-]*(?![^\W_])", re.ASCII)
"""Beginning of the names of files that are called by a hash or UUID."""
_DEEPEST: Final = 100
"""Folders of a path that may be labels; an archive may have any number."""
_EXPORTS: Final = frozenset(["googlephotos", "googlefotos", "googlefoto"])
"""Names of the folder of albums in an export of a cloud."""
_PART: Final = re.compile(r"(.+-)\d{3}")
"""Name of one of the parts that a storage gives a download in: takeout-20210304T050607Z-001."""
_OF_SEVERAL: Final = re.compile(
    r"(?i)(.*?\w)[\W_]+(?:part|teil|partie|parte|deel|del)[\W_]+(\d{1,3})([\W_]+[^\W\d_]{2,4}[\W_]+\d{1,3})"
)
"""Name of one of several parts of a download: Photos Part 1 of 2."""
_MAX_COPIES: Final = 20
"""Folders of the same folders up to which one is looked for the copy of another."""
_LABELED: Final = frozenset(["train", "validation"])
"""Parts of a set that have labels wherever others have them."""


@dataclass(slots=True)
class FolderLabel:
    """Label of an image and its part of a split, as its folders name them; "" where they name none.

    `deleted`: the image lies in an album of deleted ones.
    """

    label: str = ""
    split: str = ""
    deleted: bool = False


SameImages = Callable[[list[tuple[int, int]]], bool]
"""Function that returns whether each of two images, by their numbers, is the same as the other."""


def folder_labels(
    images: Sequence[Parts],
    root: str,
    *,
    labeled: bool = False,
    listed: Collection[int] = (),
    same: SameImages = lambda _: False,
) -> tuple[list[FolderLabel], list[str]]:
    """Return the label of each image by the folders above it, and sentences about what was taken for what.

    `images` are paths below the folder `root`. With `labeled`, some images have labels anyway, so that the name of the
    root is no label for the others, and images without a label are not mentioned; else a folder of nothing but images is
    one label. `listed` are the numbers of images that have or lack a label by a list, about which no sentence has to be.
    `same` is called for images of the same name in folders that may be copies.
    """
    top = Folder(root)
    for number, parts in enumerate(images):
        folder = top
        for name in map(named_value, parts[:-1][:_DEEPEST]):
            folder = folder.folders.setdefault(name, Folder(name))
        folder.images.append(number)
    finder = _Finder(images, same, listed)
    finder.tidy(top)
    finder.descend(top, split_of(root), root if split_of(root) else "")
    found, notes = finder.found, [*finder.index_note(), *dict.fromkeys(finder.notes), *finder.unused_names()]
    if all(entry.label.endswith(_SAMPLES) for entry in found if entry.label):
        for entry in found:
            entry.label = entry.label.removesuffix(_SAMPLES)
    if plain := labels_behind_prefixes((entry.label, entry.split) for entry in found if entry.label):
        first = plain[min(plain)]
        notes.append(
            f"{quoted(name for name, label in plain.items() if label == first)} are the label “{shown(first)}” in different "
            "parts of the set; so it is with all labels."
        )
        for entry in found:
            entry.label = plain.get(entry.label, entry.label)
    if not labeled and not any(entry.label for entry in found):
        for image, entry in enumerate(found):
            entry.label = "" if entry.split or image in finder.strays else root
    for name, count in finder.unlabeled.items():
        if not labeled and not found[finder.first[name]].label:
            notes.append(
                f"{plural(count, 'photo')} in “{shown(name)}” {'has' if count == 1 else 'have'} no label: "
                f"{finder.why.get(name, 'the name of a part of a set is none')}."
            )
    return found, notes


class _Finder:
    """Goes down the folders and decides which of them are labels.

    First folders that say nothing are taken out (`tidy`): the parts of a download (`_join_parts`), the only one in one of its
    own name, a copy of the folders beside it (`_is_copy`), of those in another one (`_originals`) or of a single one
    (`_take_out_copies`), and an alphabetical index (`is_index`, `_is_index_of_files`). Then photos of a year and deleted ones
    beside albums, and those beside parts of a set, are set aside. In each folder, the first rule decides that fits its
    sub-folders:

    1. all name a part of a set and a label: train_cat, train_dog, test_cat (`paired_names`);
    2. parts of a set and containers are no labels, what they hold is: train, test, images (`transparent_names`),
       nor are sets with such parts beside anything else (`_sets_beside_others`), or forms of the photos in one (`_forms`);
    3. kinds of kinds: the innermost folders are the labels: animal/mammal/cat (`_are_nested`);
    4. sets, forms or sessions with labels in common: their sub-folders are the labels: day1/cat, day2/cat (`are_series`),
       also beside a part of a set: train/cat, query/cat (`_beside_parts`);
    5. an only folder around all the rest is no label (`is_wrapper`);
    6. else each is a label, with all that is below it.
    """

    def __init__(self, images: Sequence[Parts], same: SameImages, listed: Collection[int]) -> None:
        self.images = images
        self.same = same
        self.listed = listed
        self.found = [FolderLabel() for _ in images]
        self.notes: list[str] = []
        self.unlabeled: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.why: dict[str, str] = {}
        self.strays: set[int] = set()
        self.unused: dict[str, list[str]] = {}
        self.indexes: list[str] = []

    def index_note(self) -> list[str]:
        """Return a sentence about folders that only sort photos by the beginnings of their names."""
        more = f", and so in {plural(len(self.indexes) - 1, 'more folder')}" if len(self.indexes) > 1 else ""
        return [
            f"{names} are only an index: the names of the photos in them begin in the same way{more}."
            for names in self.indexes[:1]
        ]

    def unused_names(self) -> list[str]:
        """Return a sentence about folders within labels whose names look like labels themselves."""
        if not self.unused:
            return []
        label, names = next(iter(self.unused.items()))
        others = len(self.unused) - 1
        more = f", and so with {plural(others, 'more label')}" if others else ""
        return [f"“{shown(label)}” holds folders of its own ({quoted(names[:3])}), whose photos get its label{more}."]

    def tidy(self, folder: Folder) -> None:
        """Take out the folders below that are there twice, or only for order, and put what they hold in their place."""
        join_spellings(folder)
        for child in folder.folders.values():
            self.tidy(child)
        self._join_parts(folder)
        only = list(folder.folders.values())
        if len(only) == 1 and compared(only[0].name) == compared(folder.name):
            folder.folders, folder.images = only[0].folders, folder.images + only[0].images
        names = {compared(name): child for name, child in folder.folders.items()}
        plain = {
            name: child
            for name, child in names.items()
            if all(names.keys().isdisjoint(map(compared, inner.folders)) for inner in inwards_from(child))
        }
        copied = [(child, self._copy_in(child, folder, plain)) for child in names.values()]
        copies = [child for child, inner in copied if inner]
        beside = folder.folders.keys() - {child.name for child in copies}
        for child in copies:
            self.notes.append(
                f"“{shown(child.name)}” holds the folders beside it once more ({_first_quoted(beside)}): it is no label, "
                "and a photo that lies in both comes once."
            )
        for child, inner in copied:
            child.folders = inner.folders if inner else child.folders
        for name, original in ({} if copies else self._originals(folder)).items():
            *_, child = inwards_from(folder.folders.pop(name))
            self.notes.append(
                f"“{shown(name)}” holds the folders in “{shown(original.name)}” once more ({_first_quoted(child.folders)}): "
                "it is no label, and a photo that lies in both comes once."
            )
            merge(original, child)
        if self._is_index_of_files(folder):
            self.indexes.append(_first_quoted(folder.folders))
            folder.images, folder.folders = [image for _, image in places_of(folder)], {}
        index = list(folder.folders.values()) if is_index(folder) else []
        if index:
            self.notes.append(f"{_first_quoted(folder.folders)} are only an index: their sub-folders are the labels.")
            for letter in index:
                join_pairs(letter)
        for child in copies or index:
            del folder.folders[child.name]
            merge(folder, child)
        self._take_out_copies(folder)

    def _join_parts(self, folder: Folder) -> None:
        """Put together what lies in the same folder of several parts of a download, which are called after it."""
        self._join_counted_parts(folder)
        alike: dict[tuple[str, str], list[Folder]] = {}
        for child in folder.folders.values():
            if (match := _PART.fullmatch(child.name)) and len(child.folders) == 1 and not child.images:
                (only,) = child.folders.values()
                if only.folders and not only.images and compared(child.name).startswith(compared(only.name)):
                    alike.setdefault((match[1], only.name), []).append(child)
        for parts in alike.values():
            if len(parts) > 1:
                self.notes.append(f"{_first_quoted(part.name for part in parts)} are parts of one download.")
                for part in parts:
                    merge(folder, folder.folders.pop(part.name))

    def _join_counted_parts(self, folder: Folder) -> None:
        """Put together folders that differ in their number of several alone: Photos Part 1 of 2, Photos Part 2 of 2."""
        alike: dict[tuple[str, str], dict[str, str]] = {}
        for name in folder.folders:
            if match := _OF_SEVERAL.fullmatch(name.strip()):
                alike.setdefault((match[1], match[3]), {})[match[2]] = name
        for (before, _), parts in alike.items():
            if len(parts) > 1:
                self.notes.append(f"{_first_quoted(parts.values())} are parts of one download.")
                joined = folder.folders.setdefault(before, Folder(before))
                for name in parts.values():
                    merge(joined, folder.folders.pop(name))

    def _take_out_copies(self, folder: Folder) -> None:
        """Put what is in copies of single sub-folders into these: cat copy, cat (1), Copy of cat."""
        copies: dict[str, list[str]] = {}
        for child in sorted(folder.folders.values(), key=lambda one: (len(one.name), natural(one.name))):
            original = next((one for one in possible_originals(child, folder) if self._holds_all(one, child)), None)
            if original is not None:
                copies.setdefault(original.name, []).append(child.name)
                merge(original, folder.folders.pop(child.name))
        for name, names in copies.items():
            hold, they = ("holds", "it is no label") if len(names) == 1 else ("hold", "they are no labels")
            self.notes.append(f"{_first_quoted(names)} {hold} photos of “{shown(name)}” once more: {they}.")

    def _holds_all(self, original: Folder, copy: Folder) -> bool:
        """Return whether all images of a folder are in another one, too."""
        there = {(*place, self.images[image][-1]): image for place, image in places_of(original)}
        pairs = [(image, there.get((*place, self.images[image][-1]), -1)) for place, image in places_of(copy)]
        return bool(pairs) and all(other >= 0 for _, other in pairs) and self.same(pairs)

    def _copy_in(self, child: Folder, folder: Folder, plain: dict[str, Folder]) -> Folder | None:
        """Return a sub-folder or an only one in it that holds the folders beside it once more: backup/2020-01-01."""
        return next((inner for inner in inwards_from(child) if self._is_copy(child, inner, folder, plain)), None)

    def _is_copy(self, child: Folder, inner: Folder, folder: Folder, plain: dict[str, Folder]) -> bool:
        """Return whether a folder holds all those beside a sub-folder once more, as archives do that were packed twice.

        The sub-folder is called as its parent or after what was made of photos, is a container, or holds the same files. Any
        other one sorts the photos: rejected/cat. `plain` are the sub-folders that hold none called as one of them.
        """
        if inner.images or len(inner.folders) < max(1, len(plain) - 1):
            return False
        beside = {name: other for name, other in plain.items() if other is not child}
        inside = {compared(name): other for name, other in inner.folders.items()}
        if not beside or not beside.keys() <= inside.keys():
            return False
        if compared(child.name) == compared(folder.name):
            return True
        if split_words(child.name)[0]:
            return False
        if is_holder(child):
            return True
        counters = any(map(is_container, name_words(child.name)))
        return len(beside) > 1 and (
            is_derived(child.name)
            or self._are_same(beside, inside, counters=counters)
            or self._hold_same(Folder("", {name: inside[name] for name in beside}), Folder("", beside))
        )

    def _is_index_of_files(self, folder: Folder) -> bool:
        """Return whether the names of images go on from those of their folders: aa/aardvark_1, 3f/3f09c2e1a4.

        A label may be short for one word, and its photos counted: be/berlin_1, de/de_1.
        """
        names = folder.folders.keys()
        if folder.images or len(names) < 3 or not all(len(name) < 3 and name.isalnum() for name in names):
            return False
        files = [("".join(place), compared(self.images[image][-1])) for place, image in places_of(folder)]
        if not all(file.startswith(place) for place, file in files):
            return False
        words = [word[0] for _, file in files if (word := re.match(r"[^\W\d_]{3,}", file))]
        hashes = [file for _, file in files if _HASH.match(file)]
        return len(hashes) >= MOST * len(files) or (
            all(len(name) == 2 and name.isalpha() and not folder.folders[name].folders for name in names)
            and len(words) >= MOST * len(files)
            and 2 * len(set(words)) >= 3 * len(names)
        )

    def _originals(self, folder: Folder) -> dict[str, Folder]:
        """Return name → the only sub-folder whose folders this one holds once more, by its name or the same files."""
        inner = {child.name: list(inwards_from(child))[-1] for child in folder.folders.values()}
        holders = [
            Folder(name, child.folders) for name, child in inner.items() if len(child.folders) > 1 and not child.images
        ]
        labels = {child.name: frozenset(map(compared, child.folders)) for child in holders}
        alike = Counter(labels.values())
        found: dict[str, Folder] = {}
        for child in sorted(holders, key=lambda holder: (is_derived(holder.name), natural(holder.name))):
            if split_of(child.name):
                continue
            derived = is_derived(child.name)
            others = [
                other
                for other in (holders if derived or 1 < alike[labels[child.name]] <= _MAX_COPIES else ())
                if other is not child and other.name not in found and not is_derived(other.name)
                if labels[child.name] <= labels[other.name] and (derived or natural(other.name) < natural(child.name))
            ]
            if not derived or len(others) > 1:
                others = [other for other in others if self._hold_same(child, other)]
            if len(others) == 1:
                found[child.name] = others[0]
        return found

    def _hold_same(self, one: Folder, other: Folder) -> bool:
        """Return whether one of two folders holds nothing but images of the other, in folders of the same names."""
        images, others = (
            {(*place, self.images[image][-1]): image for place, image in places_of(folder)} for folder in (one, other)
        )
        common = images.keys() & others.keys()
        return 1 < len(common) == min(len(images), len(others)) and self.same(
            [(images[place], others[place]) for place in sorted(common)]
        )

    def _are_same(self, beside: dict[str, Folder], inside: dict[str, Folder], *, counters: bool) -> bool:
        """Return whether folders hold files of the same names as those of a copy, by names that are not there by chance.

        `counters`: names that count the files, other ones in each folder, are enough.
        """
        seen: set[str] = set()
        for name, folder in beside.items():
            files, copied = (
                {self.images[image][-1] for image, *_ in one.everything()} for one in (folder, inside[name])
            )
            counted = not counters and all(is_counter(file.rpartition(".")[0]) for file in files)
            if files != copied or counted or not seen.isdisjoint(files):
                return False
            seen |= files
        return True

    def descend(
        self, folder: Folder, split: str, part: str, *, innermost: bool | None = None, series: bool = False
    ) -> None:
        """Label what is in a folder that is no label itself; `part` is the name of the folder that made the split.

        `innermost`: the innermost folders are the labels; None where that is not known yet. `series`: the sub-folders are no
        labels, as those of another part of the set.
        """
        for image in folder.images:
            self.found[image].split = split
            if part:
                self.first.setdefault(part, image)
                self.unlabeled[part] = self.unlabeled.get(part, 0) + 1
        self._set_albums_aside(folder)
        splits = splits_of(folder.folders.values())
        if paired := paired_names(list(folder.folders.values())):
            for child in folder.folders.values():
                label, part_of_set = paired[child.name]
                for image, *_ in child.everything():
                    self.found[image] = FolderLabel(label, part_of_set)
            self.notes.append(f"{quoted(paired)} are taken for a part of a set and a label each.")
            return
        self._set_strays_aside(folder, splits)
        self._open_numbered(folder, splits)
        sets = self._sets_beside_others(folder, splits)
        folders = list(folder.folders.values())
        transparent = (
            transparent_names(folder, splits) | self._beside_parts(folder, splits) | sets | self._forms(folder)
        )
        if innermost is None:
            innermost = self._are_nested(
                [child for child in folders if child.name not in transparent] or merged_below(folders)
            )
        if not transparent and not innermost and (series or are_series(folders)):
            are = "hold the same folders" if are_layers(folders) else "are a series"
            self.notes.append(f"{quoted(child.name for child in folders)} {are}: their sub-folders are the labels.")
            transparent = {child.name for child in folders}
        if (
            len(folders) == 1
            and not transparent
            and not innermost
            and is_wrapper(folders[0], folder, in_part=bool(split))
        ):
            self.notes.append(f"{quoted([folders[0].name])} holds all the rest: its sub-folders are the labels.")
            self.descend(folders[0], split, part)
            return
        layered = series_of_parts([child for child in folders if child.name in transparent & splits.keys()])
        self._note_transparent(folder, folders, transparent, splits)
        about = {child.name for child in folders if transparent and is_about(child)} - transparent
        if about:
            lie, their = ("lies", "its") if len(about) == 1 else ("lie", "their")
            self.notes.append(f"{quoted(about)} {lie} beside {quoted(transparent)}: {their} photos have no label.")
        for child in folders:
            if child.name in about:
                for image in child.images:
                    self.found[image].split = split
            elif child.name in transparent:
                own = child.name if child.name in splits else part
                self.descend(
                    child,
                    splits.get(child.name, "") or split,
                    own,
                    innermost=innermost or None,
                    series=child.name in layered,
                )
            else:
                held = list(child.everything())
                for image, inner, name in held:
                    self.found[image] = FolderLabel(name if innermost else child.name, split or inner)
                names = sorted(filter(is_class, classes_of(child)))
                if names and not innermost and not all(image in self.listed for image, *_ in held):
                    self.unused.setdefault(child.name, names)

    def _note_transparent(
        self, folder: Folder, folders: list[Folder], transparent: set[str], splits: dict[str, str]
    ) -> None:
        """Notify of the sub-folders that are no labels, as parts of a set or holders of images."""
        holding = [child.name for child in folders if child.name in transparent & splits.keys() and child.folders]
        if holding and not (len(holding) == 1 and split_of(folder.name)):
            are = "are taken for parts of one set: their" if len(holding) > 1 else "is taken for a part of a set: its"
            self.notes.append(f"{quoted(holding)} {are} sub-folders are the labels.")
        if len(transparent) < len(folders) and (
            holders := [child.name for child in folders if child.name in transparent and is_holder(child)]
        ):
            are = "are taken for holders" if len(holders) > 1 else "is taken for a holder"
            self.notes.append(f"{quoted(holders)} {are} of images: the sub-folders are labels, not the name.")

    def _set_albums_aside(self, folder: Folder) -> None:
        """Give no label to the photos of a year beside albums, which hold some of them too; nor to deleted ones."""
        years = [child for child in folder.folders.values() if names_year(child.name) and not child.folders]
        if years or normal(folder.name) in _EXPORTS:
            for child in [child for child in folder.folders.values() if is_deleted(child.name)]:
                del folder.folders[child.name]
                images = [image for image, *_ in child.everything()]
                for image in images:
                    self.found[image].deleted = True
                stay = "was deleted: it stays" if len(images) == 1 else "were deleted: they stay"
                self.notes.append(f"{plural(len(images), 'photo')} in “{shown(child.name)}” {stay} out.")
        why = "the name of a year is none; what an album holds too has its label"
        for child in years if len(years) < len(folder.folders) else ():
            self._leave_unlabeled(folder.folders.pop(child.name), why)

    def _set_strays_aside(self, folder: Folder, splits: dict[str, str]) -> None:
        """Give no label to the photos in folders that lie beside several parts of a set and are called as none of its labels."""
        parted = [child for child in folder.folders.values() if child.name in splits]
        labels = set().union(*map(classes_of, parted))
        strays = [
            child
            for child in folder.folders.values()
            if not (child.folders or child.name in splits or child.name in labels or is_holder(child))
        ]
        if {"train"} < set(splits.values()) - {"unlabeled"} and (labels or len(strays) <= len(parted)):
            for child in strays:
                self._leave_unlabeled(folder.folders.pop(child.name), "the folder lies beside the parts of a set")

    def _open_numbered(self, folder: Folder, splits: dict[str, str]) -> None:
        """Give no label to what is in numbered folders of the test, where the labels of other parts are words: test/part00."""
        labels = set().union(
            *(classes_of(child) for child in folder.folders.values() if splits.get(child.name) in _LABELED)
        )
        if len(labels) < 2 or not all(map(is_word, labels)):
            return
        for child in folder.folders.values():
            if splits.get(child.name, "") in {"test", "unlabeled"} and child.folders and are_chunks(child.folders):
                are, they = ("is", "it is no label") if len(child.folders) == 1 else ("are", "they are no labels")
                self.notes.append(
                    f"{_first_quoted(child.folders)} in “{shown(child.name)}” {are} only numbered, where the labels in other "
                    f"parts of the set are words: {they}."
                )
                child.images, child.folders = [image for image, *_ in child.everything()], {}

    def _sets_beside_others(self, folder: Folder, splits: dict[str, str]) -> set[str]:
        """Return the sub-folders with a set each, of train and test, and those beside them that are called so or hold its labels.

        Those that hold no folders for labels are set aside: a set lies beside the photos of a program's runs.
        """
        labels = {child.name: labels_of_parts(child) for child in folder.folders.values() if child.name not in splits}
        sets = {name for name, own in labels.items() if own}
        if not sets or len(sets) == len(folder.folders):
            return set()
        hold, they = ("holds", "it is no label") if len(sets) == 1 else ("hold", "they are no labels")
        self.notes.append(f"{quoted(sets)} {hold} the parts of a set: {they}.")
        known = set().union(*labels.values())
        found = sets | splits.keys()
        for child in [child for child in folder.folders.values() if child.name not in found]:
            names = classes_of(child)
            if names and names <= known:
                found.add(child.name)
            elif compared(child.name) not in map(compared, known) and not any(map(is_class, innermost_names(child))):
                self._leave_unlabeled(folder.folders.pop(child.name), "the folder lies beside the parts of a set")
        return found

    def _leave_unlabeled(self, folder: Folder, why: str) -> None:
        """Give no label to what is in a folder, since its name is none; `why` says what it is."""
        images = [image for image, *_ in folder.everything()]
        self.why[folder.name] = why
        self.strays.update(images)
        self.first.setdefault(folder.name, images[0])
        self.unlabeled[folder.name] = self.unlabeled.get(folder.name, 0) + len(images)

    def _beside_parts(self, folder: Folder, splits: dict[str, str]) -> set[str]:
        """Return the sub-folders that hold labels of the parts of a set beside them, as sets for retrieval do; notify of them."""
        if not splits:
            return set()
        classes = {
            child.name: classes_of(child)
            for child in folder.folders.values()
            if child.name in splits or not child.images
        }
        labels = set().union(*(names for name, names in classes.items() if name in splits))
        found = {name for name, names in classes.items() if name not in splits and names and names <= labels - {name}}
        if found:
            hold = "holds" if len(found) == 1 else "hold"
            self.notes.append(f"{quoted(found)} {hold} labels of {quoted(splits)}: the sub-folders are the labels.")
        elif whole := whole_of(folder.folders.values()):
            are = "is taken for a part" if len(splits) == 1 else "are taken for parts"
            self.notes.append(f"{quoted(splits)} {are} of “{shown(whole.name)}”, whose sub-folders are the labels.")
        return found

    def _forms(self, folder: Folder) -> set[str]:
        """Return the sub-folders where they are a container and forms of its photos: pictures, originals; notify of them."""
        children = list(folder.folders.values())
        if not any(is_container(child.name) for child in children) or len(children) < 2:
            return set()
        if any(child.folders or not (is_container(child.name) or is_form(child.name)) for child in children):
            return set()
        files = [{self.images[image][-1] for image in child.images} for child in children]
        counted = all(is_counter(file.rpartition(".")[0]) for file in files[0])
        if counted or any(names != files[0] for names in files):
            return set()
        self.notes.append(f"{quoted(folder.folders)} hold the same photos in several forms: they are no labels.")
        return set(folder.folders)

    def _are_nested(self, folders: list[Folder]) -> bool:
        """Return whether folders are kinds of kinds, as in animal/mammal/cat, and notify of it."""
        leaves = [leaf for folder in folders for leaf in leaves_of(folder, 1)]
        nested = (
            len(leaves) > 2
            and all(depth > 2 for depth, _ in leaves)
            and len({name.casefold() for _, name in leaves}) == len(leaves)
            and all(is_kind(folder) for folder in folders)
        )
        if nested:
            self.notes.append(
                f"The folders are kinds of kinds: the innermost ones are the labels, as “{shown(leaves[0][1])}”."
            )
        return nested


def same_numbers(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return label → label without zeros in front, of numbers spelled otherwise in another part of the set.

    `labels` are pairs of a label and its part of a split.
    """
    spelled: dict[str, dict[str, set[str]]] = {}
    for label, split in labels:
        if label.isascii() and label.isdigit():
            spelled.setdefault(without_zeros(label), {}).setdefault(label, set()).add(split)
    return {
        label: number
        for number, parts in spelled.items()
        if len(parts) > 1 and sum(map(len, parts.values())) == len(set().union(*parts.values()))
        for label in parts
    }


def is_counter(name: str) -> bool:
    """Return True for the name of a file, without its suffix, that other files have elsewhere: 12, IMG_0012."""
    return _COUNTER.fullmatch(name) is not None


def _first_quoted(names: Iterable[str]) -> str:
    """Return the first three names as a list in a sentence."""
    ordered = sorted(names)
    return quoted(ordered[:3]) + (", …" if len(ordered) > 3 else "")


def quoted(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    marked = [f"“{shown(name)}”" for name in sorted(names)]
    return " and ".join(filter(None, [", ".join(marked[:-1]), marked[-1]]))
