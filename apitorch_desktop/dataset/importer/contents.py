"""Contents of a folder or an archive as they are found, and archives whose photos lie beside them unpacked."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from apitorch_desktop.dataset.importer.unread_texts import ListFile
from apitorch_desktop.dataset.sources.image_source import ImageFile, Source
from apitorch_desktop.dataset.sources.lists.index import Parts

_COMPARED: Final = 8
"""Images of a folder whose bytes are compared with those of its copy."""


@dataclass(slots=True)
class InspectedFile:
    """Properties read from an image's bytes: see `PlanItem`."""

    size: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    problem: str | None = None
    format: str = ""


@dataclass(slots=True)
class ContainedImage:
    """Image at a place below the folder or archive, given by `parts`. `look` is set where it had to be read to be found."""

    parts: Parts
    source: Source
    look: InspectedFile | None


@dataclass(slots=True)
class Contents:
    """Images of a folder or an archive, and the files beside them that may be lists."""

    images: list[ContainedImage] = field(default_factory=list)
    lists: list[ListFile] = field(default_factory=list)
    others: list[Parts] = field(default_factory=list)
    texts: list[ListFile] = field(default_factory=list)
    """Those of the others that begin with text."""
    _places: set[Parts] = field(default_factory=set)
    _placed: tuple[int, int] = (0, 0)
    """Numbers of `lists` and `others` that are in `_places`."""

    def below(self, depth: int) -> "Contents":
        """Return the contents without their `depth` outer folders; what lies in fewer keeps its place."""
        return Contents(
            [replace(entry, parts=entry.parts[depth:]) for entry in self.images],
            [(parts[depth:] or parts, load) for parts, load in self.lists],
            [parts[depth:] or parts for parts in self.others],
            [(parts[depth:] or parts, load) for parts, load in self.texts],
        )

    def add(self, place: Parts, inner: "Contents") -> None:
        """Add what an archive holds at a place; of the lists that are there, those in the folder count."""
        there = self._places_of_files()
        self.images += [replace(entry, parts=(*place, *entry.parts)) for entry in inner.images]
        self.lists += [(parts, load) for name, load in inner.lists if (parts := (*place, *name)) not in there]
        self.texts += [(parts, load) for name, load in inner.texts if (parts := (*place, *name)) not in there]
        self.others += [parts for name in inner.others if (parts := (*place, *name)) not in there]

    def _places_of_files(self) -> set[Parts]:
        """Return the places of all that is no image; a folder may have a thousand archives with a thousand files each."""
        lists, others = self._placed
        self._places.update(parts for parts, _ in self.lists[lists:])
        self._places.update(self.others[others:])
        self._placed = len(self.lists), len(self.others)
        return self._places


class UnpackedImages:
    """Images in a folder, among which those of its archives may lie unpacked."""

    def __init__(self) -> None:
        self._entries: dict[Parts, ContainedImage] = {}
        self._by_place: dict[Parts, list[Parts]] = {}
        """By the names of image and folder."""
        self._below = Counter[Parts]()
        """Number of images in each folder and the folders in it."""
        self._directly = Counter[Parts]()
        """Number of images in each folder itself."""

    def add(self, entries: Iterable[ContainedImage]) -> None:
        """Add images of the folder, or of an archive that does not lie there unpacked."""
        for entry in entries:
            parts = entry.parts
            if parts not in self._entries:
                self._by_place.setdefault(parts[-2:], []).append(parts)
                self._directly[parts[:-1]] += 1
                self._below.update(parts[:depth] for depth in range(len(parts)))
            self._entries[parts] = entry

    def unpacked_at(self, name: str, above: Parts, images: Sequence[ContainedImage]) -> tuple[Parts, int] | None:
        """Return the folder in which the images of an archive lie, and how many folders around them do not; else None."""
        around = 1 if len({entry.parts[0] for entry in images}) == 1 else 0
        for depth in range(around + 1):
            inside = {entry.parts[depth:]: entry for entry in images if len(entry.parts) > depth}
            tried: set[Parts] = set()
            for first in inside:
                ends = [first[-2:]] if len(first) > 1 else [(name, *first), (*above[-1:], *first)]
                found = (one for end in ends for one in self._by_place.get(end, ()) if one[-len(first) :] == first)
                places = {one[: -len(first)] for one in found} - tried
                tried |= places
                own_name_first = sorted(places, key=lambda one: (one[-1:] != (name,), one))
                for place in own_name_first:
                    if self._lie_at(place, name, above, inside):
                        return place, depth
        return None

    def _lie_at(self, place: Parts, name: str, above: Parts, images: Mapping[Parts, ContainedImage]) -> bool:
        """Return whether all images lie at a place, or most of them and nothing else.

        Images without folders may be those of a label: they lie in a folder of the archive's name, or alone beside it.
        """
        pairs = [
            (entry, self._entries[one]) for own, entry in images.items() if (one := (*place, *own)) in self._entries
        ]
        there = self._below[place]
        if (len(pairs) < len(images) and there > len(pairs)) or 2 * len(pairs) < len(images):
            return False
        is_label = place[-1:] != (name,) and any(len(own) == 1 for own in images)
        if is_label and (place != above or self._directly[place] > len(images)):
            return False
        return are_same(pairs)


def are_same(pairs: Sequence[tuple[ContainedImage, ContainedImage]]) -> bool:
    """Return whether each of two images has the size of the other, and some of them its bytes."""
    sample = pairs[:: max(1, len(pairs) // _COMPARED)]
    return all((size := _size(one)) is not None and size == _size(other) for one, other in pairs) and all(
        (digest := _digest(one)) is not None and digest == _digest(other) for one, other in sample
    )


def is_smaller(one: ContainedImage, other: ContainedImage) -> bool:
    """Return whether an image is a file of fewer bytes than another, as far as that is known."""
    return (size := _size(one)) is not None and (most := _size(other)) is not None and size < most


def _size(entry: ContainedImage) -> int | None:
    if entry.look is not None:
        return entry.look.size
    try:
        return entry.source.path.stat().st_size if isinstance(entry.source, ImageFile) else None
    except OSError:
        return None


def _digest(entry: ContainedImage) -> str | None:
    if entry.look is not None:
        return entry.look.sha256
    try:
        return (
            hashlib.sha256(entry.source.path.read_bytes()).hexdigest() if isinstance(entry.source, ImageFile) else None
        )
    except OSError:
        return None
