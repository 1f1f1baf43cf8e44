"""A tree of folders that hold images, and what their names and their contents say: parts of a set, containers, classes."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.names import (
    is_container,
    is_derived,
    is_evaluation,
    is_form,
    is_view,
    normal,
    split_of,
    split_words,
    without_split,
)

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
MOST: Final = 0.8
"""Share of names that are of one kind, from which the folder is taken to be of that kind."""
_OWN: Final = frozenset(["my", "our", "meine", "unsere", "mes", "nos", "mis", "minhas", "mie"])
"""Words in the name of a container that say whose the images are."""
_NUMBER: Final = re.compile(r"\s*\(\d{1,3}\)|\s+\d{1,2}")
"""End of the names that systems give to a second folder of the same name: cat (1), cat 2."""
_SYNSET: Final = re.compile(r"n\d{8}")
"""Name of a class of ImageNet: a noun in WordNet."""
_FEW_VIEWS: Final = 5
"""Labels among which one may be called as a view of photos is: left, back."""
_CHUNK: Final = re.compile(r"([^\W\d_]*)[\W_]*([0-9]{1,5})")
"""Name of one of the folders that many photos are divided into: trunk00, part 2, 0."""
_MAX_STRAY: Final = 3
"""Images beside an only folder of folders up to which that folder is still no label."""


@dataclass(slots=True)
class Folder:
    """A folder by its name, with its sub-folders and the numbers of the images that lie in it."""

    name: str
    folders: dict[str, "Folder"] = field(default_factory=dict)
    images: list[int] = field(default_factory=list)

    def everything(self) -> Iterator[tuple[int, str, str]]:
        """Yield all images below: each with the part of a split that a folder on the way names, and its own folder."""
        yield from ((image, "", self.name) for image in self.images)
        for folder in self.folders.values():
            split = split_of(folder.name)
            yield from ((image, split or inner, name) for image, inner, name in folder.everything())


def are_chunks(names: Iterable[str]) -> bool:
    """Return whether names are numbered one after the other from 0 or 1 on, and differ in nothing else."""
    matches = [_CHUNK.fullmatch(name) for name in names]
    stems = {match[1] if match else "" for match in matches}
    numbers = {int(match[2]) if match else -1 for match in matches}
    return len(stems) == 1 and any(numbers == set(range(first, first + len(matches))) for first in (0, 1))


def transparent_names(folder: Folder, splits: dict[str, str]) -> set[str]:
    """Return the names of the sub-folders that are parts of a set, containers, or those of a camera."""
    if whole_of(folder.folders.values()):
        return set(folder.folders)
    found = {name for name in folder.folders if name in splits or is_holder(folder.folders[name])}
    if len(found) < len(folder.folders) and len(set(splits.values())) < 2:  # a class may be called “train” or “photos”
        found = {name for name in splits if folder.folders[name].folders and not folder.folders[name].images}
        found |= {name for name, part in splits.items() if part == "unlabeled" and _NO_CLASS.search(name)}
        found |= {
            name for name, child in folder.folders.items() if is_holder(child) and _alone_has_folders(child, folder)
        }
    if folder.name.upper() == "DCIM":
        found |= set(filter(_CAMERA_FOLDER.fullmatch, folder.folders))
    return found


def _alone_has_folders(child: Folder, folder: Folder) -> bool:
    """Return whether a sub-folder holds folders, and none of those beside it does: data beside docs."""
    others = (other for other in folder.folders.values() if other is not child)
    return bool(child.folders) and len(child.images) <= _MAX_STRAY and not any(other.folders for other in others)


def is_about(child: Folder) -> bool:
    """Return True for a folder of images about a set, as a repository has them beside it."""
    return not child.folders and not _ABOUT.isdisjoint(name_words(child.name.casefold()))


def merged_below(folders: list[Folder]) -> list[Folder]:
    """Return what the folders hold, each name once with all that is under it."""
    merged = Folder("")
    for folder in folders:
        merge(merged, folder)
    return list(merged.folders.values())


def merge(into: Folder, folder: Folder) -> None:
    """Put what is in a folder into another one."""
    into.images += folder.images
    for name, child in folder.folders.items():
        merge(into.folders.setdefault(name, Folder(name)), child)


def is_index(folder: Folder) -> bool:
    """Return whether the sub-folders are letters that words below go on from: a/abbey, ba/barn, and 0-9/3d printer.

    What is below the letters of a sign alphabet begins with them as well, but not as a word does: A/A_1, A/a upper.
    """
    letters = [child for child in folder.folders.values() if len(child.name) < 3 and child.name.isalpha()]
    others = [child for child in folder.folders.values() if child not in letters]
    below = [(compared(child.name), compared(name)) for child in letters for name in child.folders]
    words = [name for letter, name in below if re.match(r"[^\W\d_]{3}", name)]
    return (
        len(letters) > 1
        and all(child.folders and not child.images for child in letters)
        and all(re.fullmatch(r"[\W\d_]+", child.name) for child in others)
        and all(name.startswith(letter) for letter, name in below)
        and len(words) >= MOST * len(below)
        and (len(letters) > 2 or len(words) > len(letters))
    )


def join_pairs(folder: Folder) -> None:
    """Put the folders in place of those which hold nothing but several of them: church/indoor, church/outdoor."""
    for name, child in list(folder.folders.items()):
        below = list(child.folders.values())
        if len(below) > 1 and not child.images and not any(leaf.folders for leaf in below):
            del folder.folders[name]
            folder.folders |= {(both := f"{name}/{leaf.name}"): Folder(both, images=leaf.images) for leaf in below}


def join_spellings(folder: Folder) -> None:
    """Put together the sub-folders whose names differ in case or blanks alone, as they lie in archives of other systems.

    “A” and “a” are two characters, and may be two classes: that they become one label is said later.
    """
    spelled: dict[str, Folder] = {}
    for name, child in list(folder.folders.items()):
        if len(name) > 1 and (first := spelled.setdefault(compared(name), child)) is not child:
            merge(first, folder.folders.pop(name))


def inwards_from(folder: Folder) -> Iterator[Folder]:
    """Yield a folder and, as long as one holds nothing but an only folder, that."""
    yield folder
    while len(folder.folders) == 1 and not folder.images:
        (folder,) = folder.folders.values()
        yield folder


def compared(name: str) -> str:
    """Return a name as it is compared: case, the form of accents and blanks around it do not count."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def places_of(folder: Folder, above: Parts = ()) -> Iterator[tuple[Parts, int]]:
    """Yield the names of the folders above each image, and the image."""
    yield from ((above, image) for image in folder.images)
    for child in folder.folders.values():
        yield from places_of(child, (*above, compared(child.name)))


def possible_originals(child: Folder, folder: Folder) -> list[Folder]:
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


def leaves_of(folder: Folder, depth: int) -> Iterator[tuple[int, str]]:
    """Yield depth and name of the folders that hold images themselves."""
    if folder.images:
        yield depth, folder.name
    for child in folder.folders.values():
        yield from leaves_of(child, depth + 1)


def is_kind(folder: Folder) -> bool:
    """Return whether a folder and all in it have names of kinds, and images are in the innermost ones alone."""
    below = folder.folders.values()
    return is_word(folder.name) and not (folder.images and below) and all(is_kind(child) for child in below)


def innermost_names(folder: Folder) -> Iterator[str]:
    """Yield the names of the folders below that hold images themselves."""
    yield from (name for child in folder.folders.values() for _, name in leaves_of(child, 1))


def is_word(name: str) -> bool:
    """Return whether a name may be one of a kind: no number, date, container or part of a split."""
    return not re.search(r"\d", name) and not is_container(name) and not split_words(name)[0]


def is_class(name: str) -> bool:
    """Return whether a name may be one of a label in several folders: a word, with a number before it or not, or a synset."""
    return _SYNSET.fullmatch(name) is not None or is_word(_unnumbered(name))


def _unnumbered(name: str) -> str:
    """Return a name without the number before it: 01_palm."""
    return re.sub(r"^\d{1,3}[\W_]+(?=[^\W\d_])", "", name)


def are_series(folders: list[Folder]) -> bool:
    """Return whether folders are several sets, or have labels in common and are forms of one set, or numbered sessions."""
    if len(folders) < 2 or not all(folder.folders and not folder.images for folder in folders):
        return False
    if all(_is_set(folder) for folder in folders):
        return True
    if _share_classes(folders) or are_layers(folders):
        return True
    counts = Counter(name for folder in folders for name in folder.folders)
    if not all(is_word(name) for name in counts) or max(counts.values()) < 2:  # no labels in common
        return False
    stems = {re.sub(r"[\W\d_]+", "", folder.name.casefold()) for folder in folders}
    if "" not in stems and all(split_words(folder.name) == ("", ()) for folder in folders):  # forms: original, resized
        return True
    if len(stems) > 1 or not all(re.search(r"\d", folder.name) for folder in folders):
        return False
    if stem := next(iter(stems)):
        return not _NUMBERED_CLASS.fullmatch(stem)  # Class 1 is a label, day 1 is none
    return all(re.search(r"\d{4}", folder.name) for folder in folders)  # dates; shorter numbers may be classes


def are_layers(folders: list[Folder]) -> bool:
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
        len(common) >= MOST * len(set.union(*names))
        and len(common) >= fewest
        and all(map(is_class, common))
        and _FEW_VIEWS * sum(map(is_view, map(_unnumbered, common))) <= len(common)
    )


def _share_classes(folders: list[Folder]) -> bool:
    """Return whether all folders have labels in common, which lie in a part of a set or a container in some of them.

    Where there are only containers, the folders may be the labels themselves: cat/photos/indoor. More names in common than
    folders are labels.
    """
    classes = [classes_of(folder) for folder in folders]
    common = set.intersection(*classes)
    deeper = any(names != folder.folders.keys() for names, folder in zip(classes, folders, strict=True))
    parted = any(split_words(name)[0] for folder in folders for name in folder.folders)
    fewest = 2 if parted else max(3, len(folders) + 1)
    return deeper and len(common) >= fewest and all(map(is_word, common))


def classes_of(folder: Folder) -> set[str]:
    """Return the names of the sub-folders; of those in them where they are all parts of a set or containers."""
    below = list(folder.folders.values())
    if below and all(is_holder(child) or split_words(child.name)[0] for child in below):
        splits = splits_of(below)
        if all(child.name in splits or is_holder(child) for child in below):
            return set().union(*map(classes_of, below))
    return set(folder.folders)


def whole_of(folders: Iterable[Folder]) -> Folder | None:
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
    is_set = all(map(is_class, labels)) and not any(map(is_view, labels))
    return whole[0] if is_set and len(labels) >= (2 if alike else 3) else None


def _begin_alike(one: str, other: str) -> bool:
    return one == other or (min(len(one), len(other)) > 3 and one[:4] == other[:4])


def splits_of(folders: Iterable[Folder]) -> dict[str, str]:
    """Return name → part of a split: of folders called after one, and of several that differ in nothing else.

    So are those called after a part and more, beside a part or the whole that holds the labels: train, test_stg1; pets,
    pets-test. Of one part alone, three that differ by a short number are classes or a series: Test 1, Test 2, Test 3.
    Evaluation is validation, and the test where there is another part for validation.
    """
    folders = list(folders)
    whole = whole_of(folders)
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


def paired_names(folders: list[Folder]) -> dict[str, tuple[str, str]]:
    """Return name → (label, part) of folders that name both: train_cat, train_dog, test_cat, test_dog; else nothing."""
    words = {folder.name: split_words(folder.name) for folder in folders if not folder.folders}
    parts, labels = {part for part, _ in words.values()}, {rest for _, rest in words.values()}
    if len(words) < len(folders) or "" in parts or () in labels or len(parts) < 2 or len(labels) < 2:
        return {}
    paired = {name: (without_split(name), part) for name, (part, _) in words.items()}
    return paired if len(set(paired.values())) == len(paired) else {}


def is_wrapper(child: Folder, parent: Folder, *, in_part: bool) -> bool:
    """Return True for an only folder that gives no label: it holds several folders, or one of its own name."""
    below = list(child.folders.values())
    if not in_part and _is_structure(child):  # in a part of a set, a label may hold a container
        return True
    if len(parent.images) > _MAX_STRAY or (parent.images and child.images):  # beside it lie images, so it is a label
        return False
    if len(below) != 1 or child.images:
        return len(below) > 1
    if not below[0].folders and not in_part and not parent.images:  # one in the other: the innermost has the photos
        return is_word(below[0].name)
    return below[0].name == child.name or is_wrapper(below[0], child, in_part=in_part)


def series_of_parts(parts: list[Folder]) -> set[str]:
    """Return the parts of a set whose sub-folders are no labels since those of another part are none, with the same in them."""
    inside = {part.name: list(part.folders.values()) for part in parts if part.folders and not part.images}
    found = {name for name, folders in inside.items() if are_series(folders)}
    labels = {child.name for name in found for child in merged_below(inside[name])}
    return {
        name
        for name, folders in inside.items()
        if found and all(child.folders.keys() <= labels and child.folders and not child.images for child in folders)
    }


def _is_set(folder: Folder) -> bool:
    """Return whether a folder is a set by itself: it holds nothing but parts that have sub-folders for labels, or layers."""
    below = list(folder.folders.values())
    if len(splits_of(below)) == len(below) and any(part.folders and not part.images for part in below):
        return True
    return are_layers(below) or bool(labels_of_parts(folder))


def labels_of_parts(folder: Folder) -> set[str]:
    """Return the labels that the parts of a set in a folder have in common; nothing where it holds none, or one alone.

    The set may lie in an only folder or in containers: master/images/{train,test}.
    """
    below = list(folder.folders.values())
    if len(below) == 1 or (below and all(map(is_holder, below))):
        return set().union(*map(labels_of_parts, below))
    splits = splits_of(below)
    parts = [child for child in below if child.name in splits and child.folders and not child.images]
    if len({splits[child.name] for child in parts}) < 2:
        return set()
    labels = set.intersection(*map(classes_of, parts))
    return labels if len(labels) > 1 and not all(map(is_view, labels)) else set()


def _is_structure(folder: Folder) -> bool:
    """Return True for a folder that holds parts of a set or containers, or only one that does."""
    below = list(folder.folders.values())
    splits = splits_of(below)
    if below and all(child.name in splits or is_holder(child) for child in below):
        return True
    return len(below) == 1 and not folder.images and _is_structure(below[0])


def is_holder(folder: Folder) -> bool:
    """Return True for a folder whose name says no more than that images are in it: images, data_large, my photos.

    One of several words may be a label where it holds images itself: original photos.
    """
    if is_container(folder.name):
        return True
    part, words = split_words(folder.name)
    if folder.images or re.search(r"\d", folder.name) or part or not _OWN.issuperset(words):
        return False
    return any(map(is_container, name_words(folder.name)))


def name_words(name: str) -> list[str]:
    """Return the words of a name."""
    return re.split(r"[\W_]+", name)
