"""Changes that lead from the images shown to a new listing, without those made here meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.workspace.listing import Images, LazyImages


@dataclass(slots=True)
class ListingDiff:
    """Changes that lead from one listing to another."""

    added: list[TrainingImage] = field(default_factory=list)
    missing: Images = ()
    moved: dict[str, Images] = field(default_factory=dict)
    """Label → images that were moved to it."""

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.moved)


def difference(shown: Sequence[TrainingImage], images: Sequence[TrainingImage]) -> ListingDiff:
    """Return the changes that lead from the images that are shown to `images`; on a lane."""
    from apitorch_desktop.dataset.workspace.columnar_listing import changes_between

    found = changes_between(shown, images)
    return ListingDiff([images[place] for place in found.came.tolist()], found.went, dict(found.moved))


class OwnChanges(NamedTuple):
    """Images changed here since a listing was requested, and those of them with a running edit, as both were at a moment."""

    noted: tuple[Images, ...]
    held: tuple[Images, ...]

    def applicable_part(self, found: ListingDiff) -> tuple[ListingDiff, bool]:
        """Return the part of a difference that can be applied, and True if the images should be listed again; on a lane.

        The part left out may contain changes by others.
        """
        own, left_out = _all_ids(self.noted), set[str]()

        def without_own(images: Images) -> Images:
            ids = ids_of(images)
            own_ids = own.intersection(ids)
            left_out.update(own_ids)
            return [one for one in ids if one not in own_ids] if own_ids else images

        added = set(ids_of(without_own([image.image_id for image in found.added])))
        kept = ListingDiff(
            [image for image in found.added if image.image_id in added],
            without_own(found.missing),
            {label: some for label, images in found.moved.items() if (some := without_own(images))},
        )
        return kept, not left_out <= _all_ids(self.held)


class LocalChanges:
    """Images and labels changed here since a listing was requested, which may not contain those changes."""

    def __init__(self) -> None:
        self._noted: list[Images] = []
        self._labels: set[str] = set()
        self._held: list[Images] = []

    def begin(self) -> None:
        """Start over: a listing is requested now."""
        self._noted, self._labels = [*self._held], set()

    def note(self, images: Images = (), labels: Iterable[str] = ()) -> None:
        """Note images and labels that an edit, or an answer newer than the listing, has changed."""
        if images:
            self._noted.append(images)
        self._labels.update(labels)

    def hold(self, images: Images) -> None:
        """Note images with a running edit that is shown already, until `release` gets the same object."""
        self._held.append(images)
        self.note(images)

    def release(self, images: Images) -> None:
        """Note that the edit has ended."""
        self._held = [one for one in self._held if one is not images]

    def held(self) -> set[str]:
        """Return the ids of the images with a running edit."""
        return _all_ids(self._held)

    def snapshot(self) -> OwnChanges:
        """Return the images as they are noted now, for a lane."""
        return OwnChanges(tuple(self._noted), tuple(self._held))

    def has_label(self, label: str) -> bool:
        """Return True if a label was created, renamed or deleted here since the request."""
        return label in self._labels


def ids_of(images: Images) -> Collection[str]:
    """Return the ids of images."""
    return images.ids if isinstance(images, LazyImages) else images


def _all_ids(images: Iterable[Images]) -> set[str]:
    return set().union(*map(ids_of, images))
