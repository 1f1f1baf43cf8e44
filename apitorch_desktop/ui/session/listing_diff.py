"""Difference of a listing to the images shown, without what was changed here after the listing was requested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apitorch_desktop.api.types import TrainingImage


@dataclass(slots=True)
class ListingDiff:
    """Changes that lead from one listing to another."""

    added: list[TrainingImage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    moved: dict[str, list[str]] = field(default_factory=dict)
    """Label → ids of the images that were moved to it."""

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.moved)


def difference(where: Mapping[str, str], images: Sequence[TrainingImage]) -> ListingDiff:
    """Return the changes that lead from `where` (image id → label) to `images`."""
    found = ListingDiff()
    ids: set[str] = set()
    for image in images:
        name, label = image.image_id, str(image.label)
        ids.add(name)
        before = where.get(name)
        if before is None:
            found.added.append(image)
        elif before != label:
            found.moved.setdefault(label, []).append(name)
    found.missing = [name for name in where if name not in ids]
    return found


class LocalChanges:
    """Images and labels changed here since a listing was requested, which may not contain those changes."""

    def __init__(self) -> None:
        self._images: set[str] = set()
        self._labels: set[str] = set()
        self._held: Counter[str] = Counter()

    def begin(self) -> None:
        """Start over: a listing is requested now."""
        self._images, self._labels = set(self._held), set()

    def note(self, image_ids: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        """Note images and labels that an edit, or an answer newer than the listing, has changed."""
        self._images.update(image_ids)
        self._labels.update(labels)

    def hold(self, image_ids: Iterable[str]) -> None:
        """Note images with a running edit that is shown already."""
        self._held.update(image_ids)
        self._images.update(self._held)

    def release(self, image_ids: Iterable[str]) -> None:
        """Note that the edit has ended."""
        self._held.subtract(image_ids)
        self._held = +self._held

    def holds(self, image_id: str) -> bool:
        """Return True if an edit of the image is running."""
        return image_id in self._held

    def has_label(self, label: str) -> bool:
        """Return True if a label was created, renamed or deleted here since the request."""
        return label in self._labels

    def without(self, found: ListingDiff, where: Mapping[str, str]) -> tuple[ListingDiff, bool]:
        """Return the part of a difference to `where` that can be applied, and True if the images should be listed again.

        The part left out may contain changes by others.
        """
        own, left_out = self._images, set[str]()

        def holds(name: str) -> bool:
            if name in own:
                left_out.add(name)
            return name not in own

        kept = ListingDiff(
            [image for image in found.added if image.image_id in where or holds(image.image_id)],
            [name for name in found.missing if holds(name)],
            {label: [name for name in names if holds(name)] for label, names in found.moved.items()},
        )
        return kept, not left_out <= self._held.keys()
