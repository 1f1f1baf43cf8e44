"""Listings whose images are columns: built page by page, brought up to date by what has changed, and compared.

A listing of a million images is some 200 MB as an `ImageTable`, and more than a gigabyte as records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import time
from typing import NamedTuple

import msgspec
import numpy as np

from apitorch_desktop.api.types import ListingChanges, TrainingImage, TrainingImages
from apitorch_desktop.dataset.workspace.image_ids import Slots
from apitorch_desktop.dataset.workspace.image_table import ImageSnapshot, ImageTable, tabulate
from apitorch_desktop.dataset.workspace.listing import Listing, is_scratch


class ListingBuilder:
    """Takes in the service's answers, one or more pages; an image that comes twice is in the listing once.

    `begun` is what a former one had taken in, which belongs to this one from now on.
    """

    def __init__(self, begun: Listing | None = None) -> None:
        self._table = tabulate(begun.images) if begun is not None else ImageTable()
        self._listing = begun

    def add(self, answer: TrainingImages) -> list[TrainingImage]:
        """Add an answer; return the images that it brought, with `label` filled in."""
        if self._listing is None:
            self._listing = Listing(answer.training_set_id, answer.training_set_slug, [], [], answer.training_set_url)
        listing, fresh = self._listing, dict[str, TrainingImage]()
        for group in answer.data:
            if group.label not in listing.labels:
                listing.labels.append(group.label)
            if isinstance(group.id, str):
                listing.label_ids[group.label] = group.id
            for image in group.images:
                image.label = group.label
                fresh.setdefault(image.image_id, image)
        for image_id in self._table.ids_of(self._table.find_all(fresh)):
            del fresh[image_id]
        images = list(fresh.values())
        self._table.append(images)
        return images

    def listing(self, labels: Iterable[str] = ()) -> Listing:
        """Return the listing, its labels in the order of `labels`; further ones come last. Raises ValueError without answers."""
        if self._listing is None:
            raise ValueError("no answer")
        self._listing.labels = list(dict.fromkeys([*labels, *self._listing.labels]))
        self._listing.images = self._table.listed(self._listing.labels)
        self._listing.seen_at = time()
        return self._listing


class ListingChange(msgspec.Struct):
    """Changes that lead from one listing to the next: labels renamed (old → new), images that went, then images that came.

    Images that changed are among both.
    """

    renamed: dict[str, str]
    removed: list[str]
    images: list[TrainingImage]

    @property
    def size(self) -> int:
        """Number of images that went or came."""
        return len(self.removed) + len(self.images)


def apply(change: ListingChange, table: ImageTable) -> None:
    """Apply a change to a table. Images that did not change keep their records, whose URLs may have expired."""
    if change.renamed:
        table.rename_labels(change.renamed)
    if change.removed:
        table.remove(table.find_all(change.removed))
    table.append(change.images)
    for label in {str(image.label) for image in change.images}:
        table.sort_label(label)


def updated(listing: Listing, changes: ListingChanges, scratch_label: str = "") -> tuple[Listing, ListingChange] | None:
    """Return the next listing and what has changed; None if a label was made anew, or it does not lead to the service's counts.

    The images of `listing` are not to be used any more. One of the first pages alone leads to no counts.
    """
    names = {one.id: one.label for one in changes.labels}
    ids = {one.label: one.id for one in changes.labels}
    if any(ids.get(label, key) != key and key not in names for label, key in listing.label_ids.items()):
        return None  # this is another database
    fresh = {image.image_id: image for image in changes.images}
    change = ListingChange(
        {label: names[key] for label, key in listing.label_ids.items() if names.get(key, label) != label},
        [*dict.fromkeys([*fresh, *changes.removed])],
        [image for image in fresh.values() if not is_scratch(str(image.label), scratch_label)],
    )
    table = tabulate(listing.images)
    apply(change, table)
    expected = {one.label: one.count for one in changes.labels if not is_scratch(one.label, scratch_label)}
    counts = dict(zip(table.labels, table.counts().tolist(), strict=True))
    if not listing.next and any(counts.get(label, 0) != expected.get(label, 0) for label in {*counts, *expected}):
        return None
    present = Listing(
        listing.training_set_id, listing.slug, list(expected), table.listed(expected), listing.url,
        {label: ids[label] for label in expected}, time(), changes.revision, listing.next,
    )  # fmt: skip
    return present, change


class ImageChanges(NamedTuple):
    """Changes that lead from some images to others: places in `after` of those that came; of those before, the ones that
    moved, by their new label, and the ones that went.
    """

    came: Slots
    moved: dict[str, ImageSnapshot]
    went: ImageSnapshot


def changes_between(before: Sequence[TrainingImage], after: Sequence[TrainingImage]) -> ImageChanges:
    """Return the changes that lead from some images to others, by id and label."""
    old, new = _snapshot(before), _snapshot(after)
    place_of = np.full(new.table.size, -1, np.intp)
    place_of[new.slots] = np.arange(len(new))
    found = new.table.find_those_of(old.table, old.slots)
    places = np.where(found >= 0, place_of[found], -1) if len(place_of) else np.full(len(old), -1, np.intp)
    stayed = places >= 0
    came = np.ones(len(new), bool)
    came[places[stayed]] = False
    codes = np.array([new.label_code(label) for label in old.label_names] or [-1], np.int32)
    labels = np.where(stayed, new.codes[places], -1) if len(new) else places
    labels[codes[old.codes] == labels] = -1
    moved = {new.label_names[code]: old.part(labels == code) for code in np.unique(labels[labels >= 0]).tolist()}
    return ImageChanges(np.flatnonzero(came), moved, old.part(~stayed))


def _snapshot(images: Sequence[TrainingImage]) -> ImageSnapshot:
    return images if isinstance(images, ImageSnapshot) else tabulate(images).snapshot()
