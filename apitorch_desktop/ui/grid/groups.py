"""Images grouped by label, with filter, order, and look-up by row and by id. Plain Python."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from typing import Any

from apitorch_desktop.api.types import INBOX, TrainingImage, label_order


@dataclass(slots=True)
class LabelGroup:
    """A label, its images, and its accuracy out of fold (0 to 1), None where it is not known."""

    label: str
    images: list[TrainingImage] = field(default_factory=list)
    accuracy: float | None = None


class LabelGroups:
    """All images by label, and the groups that are shown.

    Without filter and order the lists of `shown` are those of `all`, so that showing costs nothing. Removing and
    reordering create new lists: a list obtained before stays as it was.
    """

    def __init__(self, groups: Iterable[LabelGroup] = ()) -> None:
        self.all: dict[str, list[TrainingImage]] = {}
        self.accuracy: dict[str, float] = {}
        self.shown: list[LabelGroup] = []
        self.firsts: list[int] = [0]
        self._keep: Callable[[TrainingImage], bool] | None = None
        self._key: Callable[[TrainingImage], Any] | None = None
        self._reverse = False
        self._by_count = 0
        self._by_best = False
        self._held: dict[str, int] | None = None
        self._labels: dict[str, str] | None = None
        self.reset(groups)

    def reset(self, groups: Iterable[LabelGroup]) -> None:
        """Replace all images; filter and order stay."""
        self.all = {}
        self.accuracy = {}
        for group in groups:
            if group.label in self.all:
                self.all[group.label] += group.images
            else:
                self.all[group.label] = list(group.images)
            if group.accuracy is not None:
                self.accuracy[group.label] = group.accuracy
        self._labels = self._held = None
        self.show()

    # --- look-up

    @property
    def total(self) -> int:
        """Number of images, shown or not."""
        return sum(map(len, self.all.values()))

    @property
    def rows(self) -> int:
        """Number of images shown."""
        return self.firsts[-1]

    def position_of_row(self, row: int) -> int:
        """Return the position in `shown` of the group of a row."""
        return bisect_right(self.firsts, row) - 1

    def image(self, row: int) -> TrainingImage:
        """Return the record of a row."""
        position = self.position_of_row(row)
        return self.shown[position].images[row - self.firsts[position]]

    def flat(self) -> Iterator[TrainingImage]:
        """Iterate over the shown images, row by row."""
        return chain.from_iterable(group.images for group in self.shown)

    def position(self, label: str) -> int | None:
        """Return the position of a label in `shown`, None if it is not shown."""
        return next((index for index, group in enumerate(self.shown) if group.label == label), None)

    def labels(self) -> dict[str, str]:
        """Return the label of every image by id. Built on the first call, then kept up to date."""
        if self._labels is None:
            self._labels = {image.image_id: label for label, images in self.all.items() for image in images}
        return self._labels

    def record(self, image_id: str) -> TrainingImage | None:
        """Return the record of an image, shown or not."""
        images = self.all.get(self.labels().get(image_id, ""), ())
        return next((image for image in images if image.image_id == image_id), None)

    def row_of(self, image_id: str) -> int | None:
        """Return the row of an image, None if it is not shown."""
        label = self.labels().get(image_id)
        position = None if label is None else self.position(label)
        if position is None:
            return None
        matches = (index for index, image in enumerate(self.shown[position].images) if image.image_id == image_id)
        index = next(matches, None)
        return None if index is None else self.firsts[position] + index

    # --- change

    def append(self, label: str, images: list[TrainingImage], passing: list[TrainingImage]) -> None:
        """Append new images to a group that is shown; `passing` are those that pass the filter."""
        position = self.position(label)
        if position is None:
            raise KeyError(label)
        shown = self.shown[position].images
        self.take_in(label, images)
        if shown is not self.all[label]:
            shown += passing
        for at in range(position + 1, len(self.firsts)):
            self.firsts[at] += len(passing)

    def take_in(self, label: str, images: list[TrainingImage]) -> None:
        """Append new images to a label without showing them."""
        self.all[label] += images
        self._note(label, images)

    def insert(self, label: str, image: TrainingImage) -> None:
        """Show an image that was already taken in, at its place in a sorted group."""
        position, at = self.place(label, image)
        self.shown[position].images.insert(at, image)
        for later in range(position + 1, len(self.firsts)):
            self.firsts[later] += 1

    def place(self, label: str, image: TrainingImage) -> tuple[int, int]:
        """Return the place of an image by the order: the position of its group, and its index in it."""
        position = self.position(label)
        if position is None:
            raise KeyError(label)
        images, key = self.shown[position].images, self._key
        if key is None:
            return position, len(images)
        low, high, new = 0, len(images), key(image)
        while low < high:
            center = (low + high) // 2
            other = key(images[center])
            if other >= new if self._reverse else other <= new:
                low = center + 1
            else:
                high = center
        return position, low

    def _note(self, label: str, images: list[TrainingImage]) -> None:
        if self._labels is not None:
            self._labels.update((image.image_id, label) for image in images)

    def replace(self, records: Mapping[str, TrainingImage]) -> None:
        """Replace records of known images, which stay under their labels. Needs a `show` afterwards."""
        known = self.labels()
        for label in {known[image_id] for image_id in records}:
            self.all[label] = [records.get(image.image_id, image) for image in self.all[label]]

    def take(self, image_ids: Collection[str]) -> list[TrainingImage]:
        """Remove images and return them in group order. Needs a `show` afterwards."""
        wanted, known = set(image_ids), self.labels()
        affected = {known[image_id] for image_id in wanted if image_id in known}
        taken: list[TrainingImage] = []
        for label in self.all:
            if label in affected:
                staying: list[TrainingImage] = []
                for image in self.all[label]:
                    (taken if image.image_id in wanted else staying).append(image)
                self.all[label] = staying
        for image_id in wanted:
            known.pop(image_id, None)
        return taken

    def put(self, label: str, images: list[TrainingImage]) -> None:
        """Append images to a label and write it into their records. Needs a `show` afterwards."""
        self.add_label(label)
        for image in images:
            image.label = label
        self.all[label] = self.all[label] + images
        self._note(label, images)

    def add_label(self, label: str) -> bool:
        """Add a label: in the order of labels if they have that, else last. Return False if it exists."""
        if label in self.all:
            return False
        labels = list(self.all)
        at = len(labels)
        keys = [label_order(name) for name in labels]
        if all(key <= following for key, following in pairwise(keys)):
            at = bisect_right(keys, label_order(label))
        items = list(self.all.items())
        items.insert(at, (label, []))
        self.all = dict(items)
        return True

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, or merge it into an existing one. Needs a `show` afterwards."""
        if old not in self.all or old == new:
            return
        images = self.all.pop(old)
        self.accuracy.pop(old, None)
        if self._held is not None and old in self._held:
            self._held.setdefault(new, self._held.pop(old))
        self.put(new, images)

    def remove_label(self, label: str) -> None:
        """Remove a label with its images. Needs a `show` afterwards."""
        removed = self.all.pop(label, [])
        self.accuracy.pop(label, None)
        if self._labels is not None:
            for image in removed:
                self._labels.pop(image.image_id, None)

    def replace_ids(self, new_ids: Mapping[str, str]) -> None:
        """Write ids that a service changed (old → new) into the records."""
        known = self.labels()
        for label in {known[old] for old in new_ids if old in known}:
            for image in self.all[label]:
                old = image.image_id
                new = new_ids.get(old)
                if new is None:
                    continue
                if isinstance(image.id, str):
                    image.id = new
                else:
                    image.filename = new.removeprefix("ti_") + "." + image.filename.rpartition(".")[2]
                known[new] = known.pop(old)

    # --- filter and sort

    def set_filter(self, keep: Callable[[TrainingImage], bool] | None, *, again: bool = False) -> None:
        """Set the filter; `again` if it is the same one with other results. Needs a `show` afterwards."""
        self._keep = keep
        if not again:
            self._held = None

    def set_sort(self, key: Callable[[TrainingImage], Any] | None, reverse: bool) -> None:
        """Set the order within groups. Needs a `show` afterwards."""
        self._key, self._reverse = key, reverse

    def set_order(self, by_count: int, *, by_best: bool = False) -> None:
        """Order the groups by their number of shown images: 1 most first, -1 fewest first, 0 by label.

        `by_best`: by their first images, in the order within groups.
        """
        self._by_count, self._by_best = by_count, by_best
        self._held = None

    def hold(self) -> None:
        """Fix the places of groups that are ordered by their counts, until an order or filter is set."""
        if self.ordered and self._held is None:
            self._held = {group.label: index for index, group in enumerate(self.shown)}

    @property
    def ordered(self) -> bool:
        """True if the groups are ordered by their images, which any added or removed one may change."""
        return self._by_count != 0 or self._by_best

    @property
    def filtered(self) -> bool:
        """True if a filter is set."""
        return self._keep is not None

    @property
    def sorted(self) -> bool:
        """True if the images of a group are sorted."""
        return self._key is not None

    def passes(self, image: TrainingImage) -> bool:
        """Return True if the filter accepts an image."""
        return self._keep is None or self._keep(image)

    def show(self) -> None:
        """Rebuild `shown` from `all`. With a filter, empty groups are left out, and the inbox is whenever it is empty."""
        self.shown = []
        for label, images in self.all.items():
            if label == INBOX and not images:
                continue
            if self._keep is not None:
                images = list(filter(self._keep, images))
                if not images:
                    continue
            if self._key is not None:
                images = sorted(images, key=self._key, reverse=self._reverse)
            self.shown.append(LabelGroup(label, images, self.accuracy.get(label)))
        if (held := self._held) is not None:
            self.shown.sort(key=lambda group: held.get(group.label, len(held)))
        elif self._by_count:
            self.shown.sort(key=lambda group: (group.label != INBOX, -self._by_count * len(group.images)))
        elif self._by_best and (key := self._key) is not None:
            empty = [group for group in self.shown if not group.images]
            filled = [group for group in self.shown if group.images]
            self.shown = [*sorted(filled, key=lambda group: key(group.images[0]), reverse=self._reverse), *empty]
        self.index()

    def index(self) -> None:
        """Recount the rows after a group was shown or hidden."""
        self.firsts = [0, *accumulate(len(group.images) for group in self.shown)]

    def show_label(self, label: str) -> int:
        """Return the position of a label in `shown`, where an empty group is inserted if necessary."""
        position = self.position(label)
        if position is not None:
            return position
        order = {name: index for index, name in enumerate(self.all)}
        position = sum(order[group.label] < order[label] for group in self.shown)
        images = self.all[label] if self._keep is None and self._key is None else []
        self.shown.insert(position, LabelGroup(label, images, self.accuracy.get(label)))
        self.index()
        return position
