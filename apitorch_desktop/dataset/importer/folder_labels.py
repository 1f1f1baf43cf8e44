"""Labels that folders give to the images in them: wrapping folders, containers and the parts of a split are no labels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from apitorch_desktop.dataset.sources.lists.index import Parts
from apitorch_desktop.dataset.sources.lists.names import is_container, split_of, split_words
from apitorch_desktop.utils.text import plural, shown

_MAX_STRAY = 3
"""Images beside an only folder of folders up to which that folder is still no label."""


@dataclass(slots=True)
class FolderLabel:
    """Label of an image and its part of a split, as its folders name them; "" where they name none."""

    label: str = ""
    split: str = ""


@dataclass(slots=True)
class _Folder:
    name: str
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    images: list[int] = field(default_factory=list)

    def everything(self) -> Iterator[tuple[int, str]]:
        """Yield all images below, each with the part of a split that a folder on the way names."""
        yield from ((image, "") for image in self.images)
        for folder in self.folders.values():
            split = split_of(folder.name)
            yield from ((image, split or inner) for image, inner in folder.everything())


def folder_labels(images: Sequence[Parts], root: str, *, labeled: bool = False) -> tuple[list[FolderLabel], list[str]]:
    """Return the label of each image by the folders above it, and sentences about what was taken for what.

    `images` are paths below the folder `root`. With `labeled`, some images have labels anyway, so that the name of the
    root is no label for the others; else a folder of nothing but images is one label.
    """
    top = _Folder(root)
    for number, parts in enumerate(images):
        folder = top
        for name in parts[:-1]:
            folder = folder.folders.setdefault(name, _Folder(name))
        folder.images.append(number)
    finder = _Finder([FolderLabel() for _ in images])
    finder.descend(top, split_of(root), root if split_of(root) else "")
    found, notes = finder.found, finder.notes
    if not labeled and not any(entry.label for entry in found):
        for entry in found:
            entry.label = "" if entry.split else root
    for name, count in finder.unlabeled.items():
        if not found[finder.first[name]].label:
            notes.append(
                f"{plural(count, 'photo')} in “{shown(name)}” {'has' if count == 1 else 'have'} no label: "
                "the name of a part of a set is none."
            )
    return found, notes


class _Finder:
    def __init__(self, found: list[FolderLabel]) -> None:
        self.found = found
        self.notes: list[str] = []
        self.unlabeled: dict[str, int] = {}
        self.first: dict[str, int] = {}

    def descend(self, folder: _Folder, split: str, part: str) -> None:
        """Label what is in a folder that is no label itself; `part` is the name of the folder that made the split."""
        for image in folder.images:
            self.found[image].split = split
            if part:
                self.first.setdefault(part, image)
                self.unlabeled[part] = self.unlabeled.get(part, 0) + 1
        folders = list(folder.folders.values())
        splits = _splits(folders)
        if paired := _paired(folders):
            for child in folders:
                label, part_of_set = paired[child.name]
                for image, _ in child.everything():
                    self.found[image] = FolderLabel(label, part_of_set)
            self.notes.append(f"{quoted(paired)} are taken for a part of a set and a label each.")
            return
        transparent = {child.name for child in folders if child.name in splits or is_container(child.name)}
        if (
            len(transparent) < len(folders) and len(set(splits.values())) < 2
        ):  # a class may be called “train” or “photos”
            transparent = {name for name in splits if folder.folders[name].folders and not folder.folders[name].images}
        if len(folders) == 1 and not transparent and _is_wrapper(folders[0], folder, in_part=bool(split)):
            self.notes.append(f"{quoted([folders[0].name])} holds all the rest: its sub-folders are the labels.")
            self.descend(folders[0], split, part)
            return
        holding = [child.name for child in folders if child.name in transparent & splits.keys() and child.folders]
        if holding and not (len(holding) == 1 and split_of(folder.name)):
            are = "are taken for parts of one set: their" if len(holding) > 1 else "is taken for a part of a set: its"
            self.notes.append(f"{quoted(holding)} {are} sub-folders are the labels.")
        for child in folders:
            if child.name in transparent:
                self.descend(child, splits.get(child.name, "") or split, child.name if child.name in splits else part)
            else:
                for image, inner in child.everything():
                    self.found[image] = FolderLabel(child.name, split or inner)


def _splits(folders: Iterable[_Folder]) -> dict[str, str]:
    """Return name → part of a split: of folders called after one, and of several that differ in nothing else."""
    found: dict[str, str] = {}
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in folders:
        part, rest = split_words(folder.name)
        if part and not rest:
            found[folder.name] = part
        elif part:
            alike.setdefault(rest, {})[folder.name] = part
    for group in alike.values():
        if len(set(group.values())) > 1:
            found |= group
    return found


def _paired(folders: list[_Folder]) -> dict[str, tuple[str, str]]:
    """Return name → (label, part) of folders that name both: train_cat, train_dog, test_cat, test_dog; else nothing."""
    words = {folder.name: split_words(folder.name) for folder in folders if not folder.folders}
    parts, labels = {part for part, _ in words.values()}, {rest for _, rest in words.values()}
    if len(words) < len(folders) or "" in parts or () in labels or len(parts) < 2 or len(labels) < 2:
        return {}
    return {name: (" ".join(rest), part) for name, (part, rest) in words.items()}


def _is_wrapper(child: _Folder, parent: _Folder, *, in_part: bool) -> bool:
    """Return True for an only folder that gives no label: it holds several folders, or one of its own name."""
    below = list(child.folders.values())
    if not in_part and _is_structure(child):  # in a part of a set, a label may hold a container
        return True
    if len(parent.images) > _MAX_STRAY or (parent.images and child.images):  # beside it lie images, so it is a label
        return False
    if len(below) != 1 or child.images:
        return len(below) > 1
    return below[0].name == child.name or _is_wrapper(below[0], child, in_part=in_part)


def _is_structure(folder: _Folder) -> bool:
    """Return True for a folder that holds parts of a set or containers, or only one that does."""
    below = list(folder.folders.values())
    splits = _splits(below)
    if below and all(child.name in splits or is_container(child.name) for child in below):
        return True
    return len(below) == 1 and not folder.images and _is_structure(below[0])


def quoted(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    marked = [f"“{shown(name)}”" for name in sorted(names)]
    return " and ".join(filter(None, [", ".join(marked[:-1]), marked[-1]]))
