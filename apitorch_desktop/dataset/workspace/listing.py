"""Listings of training sets: the `Listing` record, and the calls that fill it, in pages where the service has them.

The scratch label (`scratch.ScratchUploads.label`), under which local files lie while they are classified, is left out
here and nowhere else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from msgspec.structs import replace

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Id, LabelCount, TrainingImage, TrainingImages

_PAGE = 1000


class LazyImages(Sequence[TrainingImage]):
    """Images whose records are read when they are asked for (`image_table.ImageSnapshot`)."""

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """The ids."""

    @property
    @abstractmethod
    def label_column(self) -> list[str]:
        """The label of each image."""

    @abstractmethod
    def get(self, image_id: str) -> TrainingImage | None:
        """Return one of the images by its id, None for any other."""

    @abstractmethod
    def newest(self) -> Sequence[TrainingImage]:
        """Return the images that were created last, a few of the same millisecond; none where no time is known."""

    @abstractmethod
    def slots_in(self, table: Any) -> Any:
        """Return the slots in an `ImageTable` of those images that are in it."""

    @abstractmethod
    def without_label(self, label: str) -> LazyImages:
        """Return the images that are not under a label."""

    @abstractmethod
    def by_label(self) -> Mapping[str, LazyImages]:
        """Return the images of each label."""


Images = Collection[str] | LazyImages
"""Images given by id or as a snapshot, whose ids are made when they are asked for: there may be 100,000."""


def image_ids(images: Sequence[TrainingImage]) -> list[str]:
    """Return the ids of images."""
    return images.ids if isinstance(images, LazyImages) else [image.image_id for image in images]


def without_records(images: Sequence[TrainingImage]) -> Images:
    """Return a snapshot as it is, and the ids of other images: their records may change."""
    return images if isinstance(images, LazyImages) else image_ids(images)


def image_labels(images: Sequence[TrainingImage]) -> list[str]:
    """Return the labels of images, one for each image."""
    return images.label_column if isinstance(images, LazyImages) else [str(image.label) for image in images]


def without_label(images: Sequence[TrainingImage], label: str) -> Sequence[TrainingImage]:
    """Return those of the images that are not under a label, as they are now."""
    if isinstance(images, LazyImages):
        return images.without_label(label)
    return [replace(image) for image in images if image.label != label]


def ids_by_label(images: Sequence[TrainingImage]) -> dict[str, list[str]]:
    """Return label → ids of the images."""
    if isinstance(images, LazyImages):
        return {label: part.ids for label, part in images.by_label().items()}
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(str(image.label), []).append(image.image_id)
    return found


@dataclass(slots=True)
class Listing:
    """A training set's labels in the service's order, empty ones included, and its images in the order of the labels.

    `images`, as columns (`columnar_listing`) in those of a workspace, are the wire's records with `label` filled in.
    `label_ids` maps a label to its id where the service gives one. `seen_at` is seconds since the epoch; `revision` is
    where its changes are asked for from (`changes`), "" if unknown. `next` is the cursor of the page that follows where only
    the first pages have been listed, else "".
    """

    training_set_id: Id
    slug: str
    labels: list[str]
    images: Sequence[TrainingImage]
    url: str = ""
    label_ids: dict[str, str] = field(default_factory=dict)
    seen_at: float = 0.0
    revision: str = ""
    next: str = ""

    @classmethod
    def from_answers(cls, answers: Iterable[TrainingImages]) -> Listing:
        """Merge the service's answers, one or more pages; an image that comes twice is in the listing once."""
        listing: Listing | None = None
        groups: dict[str, list[TrainingImage]] = {}
        seen: set[str] = set()
        for answer in answers:
            if listing is None:
                listing = cls(answer.training_set_id, answer.training_set_slug, [], [], answer.training_set_url)
            for group in answer.data:
                images = groups.setdefault(group.label, [])
                if isinstance(group.id, str):
                    listing.label_ids[group.label] = group.id
                for image in group.images:
                    image_id = image.image_id
                    if image_id not in seen:
                        seen.add(image_id)
                        image.label = group.label
                        images.append(image)
        if listing is None:
            raise ValueError("no answer")
        listing.labels = list(groups)
        listing.images = [image for images in groups.values() for image in images]
        listing.seen_at = time()
        return listing


def list_labels(client: ApiClient, training_set_id: Id, scratch_label: str = "") -> list[LabelCount]:
    """`paging`: return the labels with their ids and counts, without the scratch label."""
    return [one for one in client.labels(training_set_id) if not is_scratch(one.label, scratch_label)]


def iter_answers(
    client: ApiClient,
    training_set_id: Id,
    *,
    paged: bool,
    label: str | None = None,
    after: str | None = None,
    first: int | None = None,
    limit: int = _PAGE,
    scratch_label: str = "",
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[TrainingImages]:
    """Yield the service's answers, without the scratch label: one, or pages of `limit` images with `paged`.

    `label` and `after`, an image's cursor, restrict a paged listing. `first` is the size of the first page.
    """
    size = first or limit
    while True:
        if paged:
            answer = client.image_page(training_set_id, label=label, after=after, limit=size, cancelled=cancelled)
        else:
            answer = client.images(training_set_id, cancelled=cancelled)
        answer.data = [group for group in answer.data if not is_scratch(group.label, scratch_label)]
        yield answer
        if not paged or not isinstance(answer.next, str) or answer.next == after:
            return
        after, size = answer.next, limit


def iter_images(
    client: ApiClient,
    training_set_id: Id,
    *,
    paged: bool,
    label: str | None = None,
    after: str | None = None,
    limit: int = _PAGE,
    scratch_label: str = "",
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[TrainingImage]:
    """Yield the images of a training set, each with its `label`; see `iter_answers`."""
    for answer in iter_answers(
        client, training_set_id, paged=paged, label=label, after=after, limit=limit,
        scratch_label=scratch_label, cancelled=cancelled,
    ):  # fmt: skip
        for group in answer.data:
            for image in group.images:
                image.label = group.label
                yield image


def is_scratch(label: str, scratch_label: str) -> bool:
    """Return whether a label, in any spelling, is the scratch label; "" stands for a training set without one."""
    return bool(scratch_label) and snake_case(label) == scratch_label
