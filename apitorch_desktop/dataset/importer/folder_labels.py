"""Labels that folders give to the images in them: wrapping folders, containers and the parts of a split are no labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from apitorch_desktop.dataset.importer.part_prefixes import labels_behind_prefixes
from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.names import (
    is_container,
    is_deleted,
    is_derived,
    is_evaluation,
    is_form,
    is_view,
    named_value,
    names_year,
    normal,
    split_of,
    split_words,
    without_split,
    without_zeros,
)
from apitorch_desktop.utils.text import natural, plural, shown

_NUMBERED_CLASS: Final = re.compile(r"(?i)class|klasse|label|category|kategorie|type|grade|species|level")
"""Words whose numbers stand for classes, where others stand for series: days, sessions, cameras."""
_CAMERA_FOLDER: Final = re.compile(r"[1-9]\d\d\w{5}", re.ASCII)
"""Folder that a camera or phone makes in DCIM as another one is full: 100APPLE, 101_PANA, 202311__ (DCF 2.0, 3.2)."""
_TO: Final = re.compile(r"(?i)(?<![^\W_])to[\W_]+(?=predict)")
"""Word before another one that names a part of a set: images to predict."""
_NO_CLASS: Final = re.compile(r"(?i)unlabell?ed|no[\W_]*labels?|not[\W_]*labell?ed|predict")
"""Part of the names of folders without labels, which no class is called."""
_ABOUT: Final = frozenset(["docs", "doc", "documentation", "assets", "figures", "figs", "screenshots"])
"""Words in the names of folders whose images are about a set of photos and not in it."""
_SAMPLES: Final = "-samples"
"""End of the names that Teachable Machine gives to the photos of a class."""
_COUNTER: Final = re.compile(r"[^\W\d_]*[\W_]*\d{1,5}[\W_]*")
"""Names that files get by counting, as other files do elsewhere: 12, IMG_0012, cat (12)."""
_HASH: Final = re.compile(r"(?=[\da-f-]*\d)(?=[\da-f-]*[a-f])[\da-f]{8}[\da-f-]*(?![^\W_])", re.ASCII)
"""Beginning of the names of files that are called by a hash or UUID."""
_MOST: Final = 0.8
"""Share of names that are of one kind, from which the folder is taken to be of that kind."""
_DEEPEST: Final = 100
"""Folders of a path that may be labels; an archive may have any number."""
_EXPORTS: Final = frozenset(["googlephotos", "googlefotos", "googlefoto"])
"""Names of the folder of albums in an export of a cloud."""
_OWN: Final = frozenset(["my", "our", "meine", "unsere", "mes", "nos", "mis", "minhas", "mie"])
"""Words in the name of a container that say whose the images are."""
_PART: Final = re.compile(r"(.+-)\d{3}")
"""Name of one of the parts that a storage gives a download in: takeout-20210304T050607Z-001."""
_OF_SEVERAL: Final = re.compile(
    r"(?i)(.*?\w)[\W_]+(?:part|teil|partie|parte|deel|del)[\W_]+(\d{1,3})([\W_]+[^\W\d_]{2,4}[\W_]+\d{1,3})"
)
"""Name of one of several parts of a download: Photos Part 1 of 2."""
_NUMBER: Final = re.compile(r"\s*\(\d{1,3}\)|\s+\d{1,2}")
"""End of the names that systems give to a second folder of the same name: cat (1), cat 2."""
_MAX_COPIES: Final = 20
"""Folders of the same folders up to which one is looked for the copy of another."""
_SYNSET: Final = re.compile(r"n\d{8}")
"""Name of a class of ImageNet: a noun in WordNet."""
_FEW_VIEWS: Final = 5
"""Labels among which one may be called as a view of photos is: left, back."""
_LABELED: Final = frozenset(["train", "validation"])
"""Parts of a set that have labels wherever others have them."""
_CHUNK: Final = re.compile(r"([^\W\d_]*)[\W_]*([0-9]{1,5})")
"""Name of one of the folders that many photos are divided into: trunk00, part 2, 0."""
_MAX_STRAY: Final = 3
"""Images beside an only folder of folders up to which that folder is still no label."""


@dataclass(slots=True)
class FolderLabel:
    """Label of an image and its part of a split, as its folders name them; "" where they name none.

    `deleted`: the image lies in an album of deleted ones.
    """

    label: str = ""
    split: str = ""
    deleted: bool = False


@dataclass(slots=True)
class _Folder:
    name: str
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    images: list[int] = field(default_factory=list)

    def everything(self) -> Iterator[tuple[int, str, str]]:
        """Yield all images below: each with the part of a split that a folder on the way names, and its own folder."""
        yield from ((image, "", self.name) for image in self.images)
        for folder in self.folders.values():
            split = split_of(folder.name)
            yield from ((image, split or inner, name) for image, inner, name in folder.everything())


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
    top = _Folder(root)
    for number, parts in enumerate(images):
        folder = top
        for name in map(named_value, parts[:-1][:_DEEPEST]):
            folder = folder.folders.setdefault(name, _Folder(name))
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
    (`_take_out_copies`), and an alphabetical index (`_is_index`, `_is_index_of_files`). Then photos of a year and deleted ones
    beside albums, and those beside parts of a set, are set aside. In each folder, the first rule decides that fits its
    sub-folders:

    1. all name a part of a set and a label: train_cat, train_dog, test_cat (`_paired`);
    2. parts of a set and containers are no labels, what they hold is: train, test, images (`_transparent`),
       nor are sets with such parts beside anything else (`_sets_beside_others`), or forms of the photos in one (`_forms`);
    3. kinds of kinds: the innermost folders are the labels: animal/mammal/cat (`_are_nested`);
    4. sets, forms or sessions with labels in common: their sub-folders are the labels: day1/cat, day2/cat (`_are_series`),
       also beside a part of a set: train/cat, query/cat (`_beside_parts`);
    5. an only folder around all the rest is no label (`_is_wrapper`);
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

    def tidy(self, folder: _Folder) -> None:
        """Take out the folders below that are there twice, or only for order, and put what they hold in their place."""
        _join_spellings(folder)
        for child in folder.folders.values():
            self.tidy(child)
        self._join_parts(folder)
        only = list(folder.folders.values())
        if len(only) == 1 and _plain(only[0].name) == _plain(folder.name):
            folder.folders, folder.images = only[0].folders, folder.images + only[0].images
        names = {_plain(name): child for name, child in folder.folders.items()}
        plain = {
            name: child
            for name, child in names.items()
            if all(names.keys().isdisjoint(map(_plain, inner.folders)) for inner in _inwards(child))
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
            *_, child = _inwards(folder.folders.pop(name))
            self.notes.append(
                f"“{shown(name)}” holds the folders in “{shown(original.name)}” once more ({_first_quoted(child.folders)}): "
                "it is no label, and a photo that lies in both comes once."
            )
            _merge(original, child)
        if self._is_index_of_files(folder):
            self.indexes.append(_first_quoted(folder.folders))
            folder.images, folder.folders = [image for _, image in _places(folder)], {}
        index = list(folder.folders.values()) if _is_index(folder) else []
        if index:
            self.notes.append(f"{_first_quoted(folder.folders)} are only an index: their sub-folders are the labels.")
            for letter in index:
                _join_pairs(letter)
        for child in copies or index:
            del folder.folders[child.name]
            _merge(folder, child)
        self._take_out_copies(folder)

    def _join_parts(self, folder: _Folder) -> None:
        """Put together what lies in the same folder of several parts of a download, which are called after it."""
        self._join_counted_parts(folder)
        alike: dict[tuple[str, str], list[_Folder]] = {}
        for child in folder.folders.values():
            if (match := _PART.fullmatch(child.name)) and len(child.folders) == 1 and not child.images:
                (only,) = child.folders.values()
                if only.folders and not only.images and _plain(child.name).startswith(_plain(only.name)):
                    alike.setdefault((match[1], only.name), []).append(child)
        for parts in alike.values():
            if len(parts) > 1:
                self.notes.append(f"{_first_quoted(part.name for part in parts)} are parts of one download.")
                for part in parts:
                    _merge(folder, folder.folders.pop(part.name))

    def _join_counted_parts(self, folder: _Folder) -> None:
        """Put together folders that differ in their number of several alone: Photos Part 1 of 2, Photos Part 2 of 2."""
        alike: dict[tuple[str, str], dict[str, str]] = {}
        for name in folder.folders:
            if match := _OF_SEVERAL.fullmatch(name.strip()):
                alike.setdefault((match[1], match[3]), {})[match[2]] = name
        for (before, _), parts in alike.items():
            if len(parts) > 1:
                self.notes.append(f"{_first_quoted(parts.values())} are parts of one download.")
                joined = folder.folders.setdefault(before, _Folder(before))
                for name in parts.values():
                    _merge(joined, folder.folders.pop(name))

    def _take_out_copies(self, folder: _Folder) -> None:
        """Put what is in copies of single sub-folders into these: cat copy, cat (1), Copy of cat."""
        copies: dict[str, list[str]] = {}
        for child in sorted(folder.folders.values(), key=lambda one: (len(one.name), natural(one.name))):
            original = next((one for one in _copied(child, folder) if self._holds_all(one, child)), None)
            if original is not None:
                copies.setdefault(original.name, []).append(child.name)
                _merge(original, folder.folders.pop(child.name))
        for name, names in copies.items():
            hold, they = ("holds", "it is no label") if len(names) == 1 else ("hold", "they are no labels")
            self.notes.append(f"{_first_quoted(names)} {hold} photos of “{shown(name)}” once more: {they}.")

    def _holds_all(self, original: _Folder, copy: _Folder) -> bool:
        """Return whether all images of a folder are in another one, too."""
        there = {(*place, self.images[image][-1]): image for place, image in _places(original)}
        pairs = [(image, there.get((*place, self.images[image][-1]), -1)) for place, image in _places(copy)]
        return bool(pairs) and all(other >= 0 for _, other in pairs) and self.same(pairs)

    def _copy_in(self, child: _Folder, folder: _Folder, plain: dict[str, _Folder]) -> _Folder | None:
        """Return a sub-folder or an only one in it that holds the folders beside it once more: backup/2020-01-01."""
        return next((inner for inner in _inwards(child) if self._is_copy(child, inner, folder, plain)), None)

    def _is_copy(self, child: _Folder, inner: _Folder, folder: _Folder, plain: dict[str, _Folder]) -> bool:
        """Return whether a folder holds all those beside a sub-folder once more, as archives do that were packed twice.

        The sub-folder is called as its parent or after what was made of photos, is a container, or holds the same files. Any
        other one sorts the photos: rejected/cat. `plain` are the sub-folders that hold none called as one of them.
        """
        if inner.images or len(inner.folders) < max(1, len(plain) - 1):
            return False
        beside = {name: other for name, other in plain.items() if other is not child}
        inside = {_plain(name): other for name, other in inner.folders.items()}
        if not beside or not beside.keys() <= inside.keys():
            return False
        if _plain(child.name) == _plain(folder.name):
            return True
        if split_words(child.name)[0]:
            return False
        if _is_container(child):
            return True
        counters = any(map(is_container, _name_words(child.name)))
        return len(beside) > 1 and (
            is_derived(child.name)
            or self._are_same(beside, inside, counters=counters)
            or self._hold_same(_Folder("", {name: inside[name] for name in beside}), _Folder("", beside))
        )

    def _is_index_of_files(self, folder: _Folder) -> bool:
        """Return whether the names of images go on from those of their folders: aa/aardvark_1, 3f/3f09c2e1a4.

        A label may be short for one word, and its photos counted: be/berlin_1, de/de_1.
        """
        names = folder.folders.keys()
        if folder.images or len(names) < 3 or not all(len(name) < 3 and name.isalnum() for name in names):
            return False
        files = [("".join(place), _plain(self.images[image][-1])) for place, image in _places(folder)]
        if not all(file.startswith(place) for place, file in files):
            return False
        words = [word[0] for _, file in files if (word := re.match(r"[^\W\d_]{3,}", file))]
        hashes = [file for _, file in files if _HASH.match(file)]
        return len(hashes) >= _MOST * len(files) or (
            all(len(name) == 2 and name.isalpha() and not folder.folders[name].folders for name in names)
            and len(words) >= _MOST * len(files)
            and 2 * len(set(words)) >= 3 * len(names)
        )

    def _originals(self, folder: _Folder) -> dict[str, _Folder]:
        """Return name → the only sub-folder whose folders this one holds once more, by its name or the same files."""
        inner = {child.name: list(_inwards(child))[-1] for child in folder.folders.values()}
        holders = [
            _Folder(name, child.folders) for name, child in inner.items() if len(child.folders) > 1 and not child.images
        ]
        labels = {child.name: frozenset(map(_plain, child.folders)) for child in holders}
        alike = Counter(labels.values())
        found: dict[str, _Folder] = {}
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

    def _hold_same(self, one: _Folder, other: _Folder) -> bool:
        """Return whether one of two folders holds nothing but images of the other, in folders of the same names."""
        images, others = (
            {(*place, self.images[image][-1]): image for place, image in _places(folder)} for folder in (one, other)
        )
        common = images.keys() & others.keys()
        return 1 < len(common) == min(len(images), len(others)) and self.same(
            [(images[place], others[place]) for place in sorted(common)]
        )

    def _are_same(self, beside: dict[str, _Folder], inside: dict[str, _Folder], *, counters: bool) -> bool:
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
        self, folder: _Folder, split: str, part: str, *, innermost: bool | None = None, series: bool = False
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
        splits = _splits(folder.folders.values())
        if paired := _paired(list(folder.folders.values())):
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
        transparent = _transparent(folder, splits) | self._beside_parts(folder, splits) | sets | self._forms(folder)
        if innermost is None:
            innermost = self._are_nested(
                [child for child in folders if child.name not in transparent] or _below(folders)
            )
        if not transparent and not innermost and (series or _are_series(folders)):
            are = "hold the same folders" if _are_layers(folders) else "are a series"
            self.notes.append(f"{quoted(child.name for child in folders)} {are}: their sub-folders are the labels.")
            transparent = {child.name for child in folders}
        if (
            len(folders) == 1
            and not transparent
            and not innermost
            and _is_wrapper(folders[0], folder, in_part=bool(split))
        ):
            self.notes.append(f"{quoted([folders[0].name])} holds all the rest: its sub-folders are the labels.")
            self.descend(folders[0], split, part)
            return
        layered = _series_of_parts([child for child in folders if child.name in transparent & splits.keys()])
        holding = [child.name for child in folders if child.name in transparent & splits.keys() and child.folders]
        if holding and not (len(holding) == 1 and split_of(folder.name)):
            are = "are taken for parts of one set: their" if len(holding) > 1 else "is taken for a part of a set: its"
            self.notes.append(f"{quoted(holding)} {are} sub-folders are the labels.")
        if len(transparent) < len(folders) and (
            holders := [child.name for child in folders if child.name in transparent and _is_container(child)]
        ):
            are = "are taken for holders" if len(holders) > 1 else "is taken for a holder"
            self.notes.append(f"{quoted(holders)} {are} of images: the sub-folders are labels, not the name.")
        about = {child.name for child in folders if transparent and _is_about(child)} - transparent
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
                names = sorted(filter(_is_class, _classes(child)))
                if names and not innermost and not all(image in self.listed for image, *_ in held):
                    self.unused.setdefault(child.name, names)

    def _set_albums_aside(self, folder: _Folder) -> None:
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

    def _set_strays_aside(self, folder: _Folder, splits: dict[str, str]) -> None:
        """Give no label to the photos in folders that lie beside several parts of a set and are called as none of its labels."""
        parted = [child for child in folder.folders.values() if child.name in splits]
        labels = set().union(*map(_classes, parted))
        strays = [
            child
            for child in folder.folders.values()
            if not (child.folders or child.name in splits or child.name in labels or _is_container(child))
        ]
        if {"train"} < set(splits.values()) - {"unlabeled"} and (labels or len(strays) <= len(parted)):
            for child in strays:
                self._leave_unlabeled(folder.folders.pop(child.name), "the folder lies beside the parts of a set")

    def _open_numbered(self, folder: _Folder, splits: dict[str, str]) -> None:
        """Give no label to what is in numbered folders of the test, where the labels of other parts are words: test/part00."""
        labels = set().union(
            *(_classes(child) for child in folder.folders.values() if splits.get(child.name) in _LABELED)
        )
        if len(labels) < 2 or not all(map(_is_word, labels)):
            return
        for child in folder.folders.values():
            if splits.get(child.name, "") in {"test", "unlabeled"} and child.folders and _are_chunks(child.folders):
                are, they = ("is", "it is no label") if len(child.folders) == 1 else ("are", "they are no labels")
                self.notes.append(
                    f"{_first_quoted(child.folders)} in “{shown(child.name)}” {are} only numbered, where the labels in other "
                    f"parts of the set are words: {they}."
                )
                child.images, child.folders = [image for image, *_ in child.everything()], {}

    def _sets_beside_others(self, folder: _Folder, splits: dict[str, str]) -> set[str]:
        """Return the sub-folders with a set each, of train and test, and those beside them that are called so or hold its labels.

        Those that hold no folders for labels are set aside: a set lies beside the photos of a program's runs.
        """
        labels = {child.name: _labels_of_parts(child) for child in folder.folders.values() if child.name not in splits}
        sets = {name for name, own in labels.items() if own}
        if not sets or len(sets) == len(folder.folders):
            return set()
        hold, they = ("holds", "it is no label") if len(sets) == 1 else ("hold", "they are no labels")
        self.notes.append(f"{quoted(sets)} {hold} the parts of a set: {they}.")
        known = set().union(*labels.values())
        found = sets | splits.keys()
        for child in [child for child in folder.folders.values() if child.name not in found]:
            names = _classes(child)
            if names and names <= known:
                found.add(child.name)
            elif _plain(child.name) not in map(_plain, known) and not any(map(_is_class, _innermost(child))):
                self._leave_unlabeled(folder.folders.pop(child.name), "the folder lies beside the parts of a set")
        return found

    def _leave_unlabeled(self, folder: _Folder, why: str) -> None:
        """Give no label to what is in a folder, since its name is none; `why` says what it is."""
        images = [image for image, *_ in folder.everything()]
        self.why[folder.name] = why
        self.strays.update(images)
        self.first.setdefault(folder.name, images[0])
        self.unlabeled[folder.name] = self.unlabeled.get(folder.name, 0) + len(images)

    def _beside_parts(self, folder: _Folder, splits: dict[str, str]) -> set[str]:
        """Return the sub-folders that hold labels of the parts of a set beside them, as sets for retrieval do; notify of them."""
        if not splits:
            return set()
        classes = {
            child.name: _classes(child) for child in folder.folders.values() if child.name in splits or not child.images
        }
        labels = set().union(*(names for name, names in classes.items() if name in splits))
        found = {name for name, names in classes.items() if name not in splits and names and names <= labels - {name}}
        if found:
            hold = "holds" if len(found) == 1 else "hold"
            self.notes.append(f"{quoted(found)} {hold} labels of {quoted(splits)}: the sub-folders are the labels.")
        elif whole := _whole(folder.folders.values()):
            are = "is taken for a part" if len(splits) == 1 else "are taken for parts"
            self.notes.append(f"{quoted(splits)} {are} of “{shown(whole.name)}”, whose sub-folders are the labels.")
        return found

    def _forms(self, folder: _Folder) -> set[str]:
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

    def _are_nested(self, folders: list[_Folder]) -> bool:
        """Return whether folders are kinds of kinds, as in animal/mammal/cat, and notify of it."""
        leaves = [leaf for folder in folders for leaf in _leaves(folder, 1)]
        nested = (
            len(leaves) > 2
            and all(depth > 2 for depth, _ in leaves)
            and len({name.casefold() for _, name in leaves}) == len(leaves)
            and all(_is_kind(folder) for folder in folders)
        )
        if nested:
            self.notes.append(
                f"The folders are kinds of kinds: the innermost ones are the labels, as “{shown(leaves[0][1])}”."
            )
        return nested


def _are_chunks(names: Iterable[str]) -> bool:
    """Return whether names are numbered one after the other from 0 or 1 on, and differ in nothing else."""
    matches = [_CHUNK.fullmatch(name) for name in names]
    stems = {match[1] if match else "" for match in matches}
    numbers = {int(match[2]) if match else -1 for match in matches}
    return len(stems) == 1 and any(numbers == set(range(first, first + len(matches))) for first in (0, 1))


def _transparent(folder: _Folder, splits: dict[str, str]) -> set[str]:
    """Return the names of the sub-folders that are parts of a set, containers, or those of a camera."""
    if _whole(folder.folders.values()):
        return set(folder.folders)
    found = {name for name in folder.folders if name in splits or _is_container(folder.folders[name])}
    if len(found) < len(folder.folders) and len(set(splits.values())) < 2:  # a class may be called “train” or “photos”
        found = {name for name in splits if folder.folders[name].folders and not folder.folders[name].images}
        found |= {name for name, part in splits.items() if part == "unlabeled" and _NO_CLASS.search(name)}
        found |= {
            name for name, child in folder.folders.items() if _is_container(child) and _alone_has_folders(child, folder)
        }
    if folder.name.upper() == "DCIM":
        found |= set(filter(_CAMERA_FOLDER.fullmatch, folder.folders))
    return found


def _alone_has_folders(child: _Folder, folder: _Folder) -> bool:
    """Return whether a sub-folder holds folders, and none of those beside it does: data beside docs."""
    others = (other for other in folder.folders.values() if other is not child)
    return bool(child.folders) and len(child.images) <= _MAX_STRAY and not any(other.folders for other in others)


def _is_about(child: _Folder) -> bool:
    """Return True for a folder of images about a set, as a repository has them beside it."""
    return not child.folders and not _ABOUT.isdisjoint(_name_words(child.name.casefold()))


def _below(folders: list[_Folder]) -> list[_Folder]:
    """Return what the folders hold, each name once with all that is under it."""
    merged = _Folder("")
    for folder in folders:
        _merge(merged, folder)
    return list(merged.folders.values())


def _merge(into: _Folder, folder: _Folder) -> None:
    into.images += folder.images
    for name, child in folder.folders.items():
        _merge(into.folders.setdefault(name, _Folder(name)), child)


def _is_index(folder: _Folder) -> bool:
    """Return whether the sub-folders are letters that words below go on from: a/abbey, ba/barn, and 0-9/3d printer.

    What is below the letters of a sign alphabet begins with them as well, but not as a word does: A/A_1, A/a upper.
    """
    letters = [child for child in folder.folders.values() if len(child.name) < 3 and child.name.isalpha()]
    others = [child for child in folder.folders.values() if child not in letters]
    below = [(_plain(child.name), _plain(name)) for child in letters for name in child.folders]
    words = [name for letter, name in below if re.match(r"[^\W\d_]{3}", name)]
    return (
        len(letters) > 1
        and all(child.folders and not child.images for child in letters)
        and all(re.fullmatch(r"[\W\d_]+", child.name) for child in others)
        and all(name.startswith(letter) for letter, name in below)
        and len(words) >= _MOST * len(below)
        and (len(letters) > 2 or len(words) > len(letters))
    )


def _join_pairs(folder: _Folder) -> None:
    """Put the folders in place of those which hold nothing but several of them: church/indoor, church/outdoor."""
    for name, child in list(folder.folders.items()):
        below = list(child.folders.values())
        if len(below) > 1 and not child.images and not any(leaf.folders for leaf in below):
            del folder.folders[name]
            folder.folders |= {(both := f"{name}/{leaf.name}"): _Folder(both, images=leaf.images) for leaf in below}


def _join_spellings(folder: _Folder) -> None:
    """Put together the sub-folders whose names differ in case or blanks alone, as they lie in archives of other systems.

    “A” and “a” are two characters, and may be two classes: that they become one label is said later.
    """
    spelled: dict[str, _Folder] = {}
    for name, child in list(folder.folders.items()):
        if len(name) > 1 and (first := spelled.setdefault(_plain(name), child)) is not child:
            _merge(first, folder.folders.pop(name))


def _inwards(folder: _Folder) -> Iterator[_Folder]:
    """Yield a folder and, as long as one holds nothing but an only folder, that."""
    yield folder
    while len(folder.folders) == 1 and not folder.images:
        (folder,) = folder.folders.values()
        yield folder


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _places(folder: _Folder, above: Parts = ()) -> Iterator[tuple[Parts, int]]:
    """Yield the names of the folders above each image, and the image."""
    yield from ((above, image) for image in folder.images)
    for child in folder.folders.values():
        yield from _places(child, (*above, _plain(child.name)))


def _copied(child: _Folder, folder: _Folder) -> list[_Folder]:
    """Return the sub-folders that one beside them may be a copy of, by its name."""
    ends = [
        place for place in range(1, len(child.name)) if child.name[place - 1].isalnum() != child.name[place].isalnum()
    ]
    named = {child.name[:place].strip(): child.name[place:] for place in reversed(ends)}
    after = {child.name[place:].strip(): child.name[:place] for place in ends}
    return [
        folder.folders[name]
        for name, rest in (*named.items(), *after.items())
        if name in folder.folders and (is_derived(rest) or (name in named and _NUMBER.fullmatch(rest)))
    ]


def _leaves(folder: _Folder, depth: int) -> Iterator[tuple[int, str]]:
    """Yield depth and name of the folders that hold images themselves."""
    if folder.images:
        yield depth, folder.name
    for child in folder.folders.values():
        yield from _leaves(child, depth + 1)


def _is_kind(folder: _Folder) -> bool:
    """Return whether a folder and all in it have names of kinds, and images are in the innermost ones alone."""
    below = folder.folders.values()
    return _is_word(folder.name) and not (folder.images and below) and all(_is_kind(child) for child in below)


def _innermost(folder: _Folder) -> Iterator[str]:
    """Yield the names of the folders below that hold images themselves."""
    yield from (name for child in folder.folders.values() for _, name in _leaves(child, 1))


def _is_word(name: str) -> bool:
    """Return whether a name may be one of a kind: no number, date, container or part of a split."""
    return not re.search(r"\d", name) and not is_container(name) and not split_words(name)[0]


def _is_class(name: str) -> bool:
    """Return whether a name may be one of a label in several folders: a word, with a number before it or not, or a synset."""
    return _SYNSET.fullmatch(name) is not None or _is_word(_unnumbered(name))


def _unnumbered(name: str) -> str:
    """Return a name without the number before it: 01_palm."""
    return re.sub(r"^\d{1,3}[\W_]+(?=[^\W\d_])", "", name)


def _are_series(folders: list[_Folder]) -> bool:
    """Return whether folders are several sets, or have labels in common and are forms of one set, or numbered sessions."""
    if len(folders) < 2 or not all(folder.folders and not folder.images for folder in folders):
        return False
    if all(_is_set(folder) for folder in folders):
        return True
    if _share_classes(folders) or _are_layers(folders):
        return True
    counts = Counter(name for folder in folders for name in folder.folders)
    if not all(_is_word(name) for name in counts) or max(counts.values()) < 2:  # no labels in common
        return False
    stems = {re.sub(r"[\W\d_]+", "", folder.name.casefold()) for folder in folders}
    if "" not in stems and all(split_words(folder.name) == ("", ()) for folder in folders):  # forms: original, resized
        return True
    if len(stems) > 1 or not all(re.search(r"\d", folder.name) for folder in folders):
        return False
    if stem := next(iter(stems)):
        return not _NUMBERED_CLASS.fullmatch(stem)  # Class 1 is a label, day 1 is none
    return all(re.search(r"\d{4}", folder.name) for folder in folders)  # dates; shorter numbers may be classes


def _are_layers(folders: list[_Folder]) -> bool:
    """Return whether folders hold the same folders each, whose names are those of labels: art/dog, photo/dog.

    Below forms of photos two are enough: color/healthy, grayscale/healthy; and so are two synsets. Elsewhere there are about as
    many as folders, or more; fewer may be those who took the photos of each label, or how.
    """
    if len(folders) < 2 or not all(folder.folders and not folder.images for folder in folders):
        return False
    names = [set(folder.folders) for folder in folders]
    common = set.intersection(*names)
    sure = all(is_form(folder.name) for folder in folders) or all(map(_SYNSET.fullmatch, common))
    fewest = 2 if sure else max(3, len(folders) - 1)
    return (
        len(common) >= _MOST * len(set.union(*names))
        and len(common) >= fewest
        and all(map(_is_class, common))
        and _FEW_VIEWS * sum(map(is_view, map(_unnumbered, common))) <= len(common)
    )


def _share_classes(folders: list[_Folder]) -> bool:
    """Return whether all folders have labels in common, which lie in a part of a set or a container in some of them.

    Where there are only containers, the folders may be the labels themselves: cat/photos/indoor. More names in common than
    folders are labels.
    """
    classes = [_classes(folder) for folder in folders]
    common = set.intersection(*classes)
    deeper = any(names != folder.folders.keys() for names, folder in zip(classes, folders, strict=True))
    parted = any(split_words(name)[0] for folder in folders for name in folder.folders)
    fewest = 2 if parted else max(3, len(folders) + 1)
    return deeper and len(common) >= fewest and all(map(_is_word, common))


def _classes(folder: _Folder) -> set[str]:
    """Return the names of the sub-folders; of those in them where they are all parts of a set or containers."""
    below = list(folder.folders.values())
    if below and all(_is_container(child) or split_words(child.name)[0] for child in below):
        splits = _splits(below)
        if all(child.name in splits or _is_container(child) for child in below):
            return set().union(*map(_classes, below))
    return set(folder.folders)


def _whole(folders: Iterable[_Folder]) -> _Folder | None:
    """Return the only folder of labels, where all those beside it are called after a part of it: pets, pets-test."""
    folders = list(folders)
    named = {folder.name: split_words(folder.name) for folder in folders}
    holders = [folder for folder in folders if len(folder.folders) > 1 and not folder.images]
    whole = [folder for folder in holders if not named[folder.name][0]]
    if len(whole) != 1 or len(folders) < 2:
        return None
    labels = whole[0].folders.keys()
    others = [folder for folder in folders if folder is not whole[0]]
    if not all(named[other.name][0] and other.folders.keys() <= labels for other in others):
        return None
    own = named[whole[0].name][1]
    alike = all(any(_begin_alike(one, word) for one in own for word in named[other.name][1]) for other in others)
    is_set = all(map(_is_class, labels)) and not any(map(is_view, labels))
    return whole[0] if is_set and len(labels) >= (2 if alike else 3) else None


def _begin_alike(one: str, other: str) -> bool:
    return one == other or (min(len(one), len(other)) > 3 and one[:4] == other[:4])


def _splits(folders: Iterable[_Folder]) -> dict[str, str]:
    """Return name → part of a split: of folders called after one, and of several that differ in nothing else.

    So are those called after a part and more, beside a part or the whole that holds the labels: train, test_stg1; pets,
    pets-test. Of one part alone, three that differ by a short number are classes or a series: Test 1, Test 2, Test 3.
    Evaluation is validation, and the test where there is another part for validation.
    """
    folders = list(folders)
    whole = _whole(folders)
    found: dict[str, str] = {}
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in folders:
        part, rest = split_words(_TO.sub("", folder.name))
        if part and not rest:
            found[folder.name] = part
        elif part:
            alike.setdefault(rest, {})[folder.name] = part
    for group in alike.values():
        if len(set(group.values())) > 1 or whole:
            found |= group
    labels = {label for folder in folders if folder.name in found and not folder.images for label in folder.folders}
    known = {normal(label) for label in labels}
    for folder in folders:
        part, rest = split_words(folder.name)
        if part and labels and (folder.folders.keys() <= labels if folder.folders else "".join(rest) not in known):
            found[folder.name] = part
    numbered = [
        re.fullmatch(r"([^\W\d_]+[\W_]*)\d{1,3}", folder.name.casefold()) for folder in folders if not folder.folders
    ]
    stems = Counter(match[1] for match in numbered if match)
    if len(set(found.values())) == 1 and not any(map(_NO_CLASS.search, found)) and max(stems.values(), default=0) > 2:
        found = {name: part for name, part in found.items() if stems[name.casefold().rstrip("0123456789")] < 3}
    if "test" not in found.values() and any(
        part == "validation" and not is_evaluation(name) for name, part in found.items()
    ):
        found |= {name: "test" for name in found if is_evaluation(name)}
    return found


def _paired(folders: list[_Folder]) -> dict[str, tuple[str, str]]:
    """Return name → (label, part) of folders that name both: train_cat, train_dog, test_cat, test_dog; else nothing."""
    words = {folder.name: split_words(folder.name) for folder in folders if not folder.folders}
    parts, labels = {part for part, _ in words.values()}, {rest for _, rest in words.values()}
    if len(words) < len(folders) or "" in parts or () in labels or len(parts) < 2 or len(labels) < 2:
        return {}
    paired = {name: (without_split(name), part) for name, (part, _) in words.items()}
    return paired if len(set(paired.values())) == len(paired) else {}


def _is_wrapper(child: _Folder, parent: _Folder, *, in_part: bool) -> bool:
    """Return True for an only folder that gives no label: it holds several folders, or one of its own name."""
    below = list(child.folders.values())
    if not in_part and _is_structure(child):  # in a part of a set, a label may hold a container
        return True
    if len(parent.images) > _MAX_STRAY or (parent.images and child.images):  # beside it lie images, so it is a label
        return False
    if len(below) != 1 or child.images:
        return len(below) > 1
    if not below[0].folders and not in_part and not parent.images:  # one in the other: the innermost has the photos
        return _is_word(below[0].name)
    return below[0].name == child.name or _is_wrapper(below[0], child, in_part=in_part)


def _series_of_parts(parts: list[_Folder]) -> set[str]:
    """Return the parts of a set whose sub-folders are no labels since those of another part are none, with the same in them."""
    inside = {part.name: list(part.folders.values()) for part in parts if part.folders and not part.images}
    found = {name for name, folders in inside.items() if _are_series(folders)}
    labels = {child.name for name in found for child in _below(inside[name])}
    return {
        name
        for name, folders in inside.items()
        if found and all(child.folders.keys() <= labels and child.folders and not child.images for child in folders)
    }


def _is_set(folder: _Folder) -> bool:
    """Return whether a folder is a set by itself: it holds nothing but parts that have sub-folders for labels, or layers."""
    below = list(folder.folders.values())
    if len(_splits(below)) == len(below) and any(part.folders and not part.images for part in below):
        return True
    return _are_layers(below) or bool(_labels_of_parts(folder))


def _labels_of_parts(folder: _Folder) -> set[str]:
    """Return the labels that the parts of a set in a folder have in common; nothing where it holds none, or one alone.

    The set may lie in an only folder or in containers: master/images/{train,test}.
    """
    below = list(folder.folders.values())
    if len(below) == 1 or (below and all(map(_is_container, below))):
        return set().union(*map(_labels_of_parts, below))
    splits = _splits(below)
    parts = [child for child in below if child.name in splits and child.folders and not child.images]
    if len({splits[child.name] for child in parts}) < 2:
        return set()
    labels = set.intersection(*map(_classes, parts))
    return labels if len(labels) > 1 and not all(map(is_view, labels)) else set()


def _is_structure(folder: _Folder) -> bool:
    """Return True for a folder that holds parts of a set or containers, or only one that does."""
    below = list(folder.folders.values())
    splits = _splits(below)
    if below and all(child.name in splits or _is_container(child) for child in below):
        return True
    return len(below) == 1 and not folder.images and _is_structure(below[0])


def _is_container(folder: _Folder) -> bool:
    """Return True for a folder whose name says no more than that images are in it: images, data_large, my photos.

    One of several words may be a label where it holds images itself: original photos.
    """
    if is_container(folder.name):
        return True
    part, words = split_words(folder.name)
    if folder.images or re.search(r"\d", folder.name) or part or not _OWN.issuperset(words):
        return False
    return any(map(is_container, _name_words(folder.name)))


def _name_words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name)


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
