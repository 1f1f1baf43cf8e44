"""Images grouped by label, with filter and order, over the columns of an image table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, overload

from apitorch_desktop.api.types import INBOX, TrainingImage, label_order

if TYPE_CHECKING:  # numpy comes with the first images, on a lane
    from numpy.typing import NDArray

    from apitorch_desktop.dataset.workspace.image_ids import Slots
    from apitorch_desktop.dataset.workspace.image_table import ImageTable, Mask

    Keep = Callable[[ImageTable], Mask]
    """Returns which images pass a filter."""
    SortKey = Callable[[ImageTable], NDArray[Any]]
    """Returns a number for each image."""


@dataclass(slots=True)
class LabelGroup:
    """A label, its images, and its accuracy out of fold (0 to 1), None where it is not known."""

    label: str
    images: Sequence[TrainingImage] = field(default_factory=list)
    accuracy: float | None = None


class GroupImages(Sequence[TrainingImage]):
    """The images of a group as shown; a record is read when it is asked for."""

    def __init__(self, table: ImageTable, slots: Slots) -> None:
        self._table = table
        self.slots = slots

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, place: int) -> TrainingImage: ...
    @overload
    def __getitem__(self, place: slice) -> GroupImages: ...
    def __getitem__(self, place: int | slice) -> TrainingImage | GroupImages:
        if isinstance(place, slice):
            return GroupImages(self._table, self.slots[place])
        return self._table.record(int(self.slots[place]))

    def __iter__(self) -> Iterator[TrainingImage]:
        return (self._table.record(slot) for slot in self.slots.tolist())


class LabelGroups:
    """All images by label, and the groups and rows that are shown.

    `labels` are in the order of groups. `rows` are the slots of the images shown, an array that each change replaces.
    """

    def __init__(self) -> None:
        self.labels: dict[str, None] = {}
        self.accuracy: dict[str, float] = {}
        self.shown: list[LabelGroup] = []
        self.firsts: list[int] = [0]
        self.rows: Any = ()
        self._table: ImageTable | None = None
        self._rows_by_slot: Any = None
        self._counts: dict[str, int] | None = None
        self._keep: Keep | None = None
        self._key: SortKey | None = None
        self._reverse = False
        self._by_count = 0
        self.flat = False
        """True if all images are one group, whatever their labels; its `label` is ""."""
        self._held: dict[str, int] | None = None

    @property
    def table(self) -> ImageTable:
        """The columns; made with the first images."""
        if self._table is None:
            from apitorch_desktop.dataset.workspace.image_table import ImageTable

            self._table = ImageTable()
        return self._table

    def reset(self, labels: Iterable[str], table: ImageTable | None, accuracy: Mapping[str, float]) -> None:
        """Replace all images; filter and order stay."""
        self.labels = dict.fromkeys(labels)
        self.accuracy = dict(accuracy)
        self._table = table
        self._held = None
        self.show()

    # --- look-up

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by label, shown or not, in the order of labels."""
        if self._counts is None:
            self._counts = dict.fromkeys(self.labels, 0)
            if self._table is not None:
                by_code = self._table.counts().tolist()
                for label in self.labels:
                    code = self._table.known_code(label)
                    self._counts[label] = by_code[code] if code >= 0 else 0
        return self._counts

    @property
    def total(self) -> int:
        """Number of images, shown or not."""
        return sum(self.counts.values())

    @property
    def count(self) -> int:
        """Number of images shown."""
        return self.firsts[-1]

    def position_of_row(self, row: int) -> int:
        """Return the position in `shown` of the group of a row."""
        return bisect_right(self.firsts, row) - 1

    def position(self, label: str) -> int | None:
        """Return the position of a label in `shown`, None if it is not shown."""
        return next((index for index, group in enumerate(self.shown) if group.label == label), None)

    def find(self, image_id: str) -> int:
        """Return the slot of an image, -1 if there is none."""
        return self._table.find(image_id) if self._table is not None else -1

    def find_all(self, image_ids: Collection[str]) -> Slots:
        """Return the slots of images in the order of the ids, without the unknown ones."""
        return self.table.find_all(image_ids)

    def label_of(self, slot: int) -> str:
        """Return the label of an image."""
        return self.table.labels[int(self.table.label[slot])]

    def row_of(self, slot: int) -> int | None:
        """Return the row of an image, None if it is not shown."""
        if slot < 0 or not len(self.rows):
            return None
        places = self._places()
        row = int(places[slot]) if slot < len(places) else -1
        return row if row >= 0 else None

    def rows_of(self, slots: Slots) -> NDArray[Any]:
        """Return the rows of images, -1 for those not shown; the images were there when the groups were last shown."""
        found: NDArray[Any] = self._places()[slots]
        return found

    # --- changes; all but `append` and `insert` need a `show` afterwards

    def append(self, label: str, images: Sequence[TrainingImage]) -> None:
        """Append new images, of which all pass the filter, to a group that is shown and not sorted."""
        position = self._shown(label)
        self._insert(position, self.firsts[position + 1], self.table.append(images))

    def take_in(self, images: Sequence[TrainingImage]) -> Slots:
        """Append new images to their labels without showing them; return their slots."""
        slots = self.table.append(images)
        self._counts = None
        return slots

    def insert(self, label: str, slot: int) -> None:
        """Show an image that was already taken in, at its place in a sorted group."""
        position, at = self.place(label, slot)
        self._insert(position, self.firsts[position] + at, [slot])

    def _insert(self, position: int, row: int, slots: Any) -> None:
        import numpy as np

        self.rows = np.insert(self.rows if len(self.rows) else np.empty(0, np.intp), row, slots)
        self._counts = None
        for at in range(position + 1, len(self.firsts)):
            self.firsts[at] += len(slots)
        self._rows_by_slot = None
        self._fill()

    def place(self, label: str, slot: int) -> tuple[int, int]:
        """Return the place of an image by the order: the position of its group, and its index in it."""
        import numpy as np

        position = self._shown(label)
        rows = self.rows[self.firsts[position] : self.firsts[position + 1]]
        if self._key is None or not len(rows):
            return position, len(rows)
        keys = self._keys()
        return position, int(np.searchsorted(keys[rows], keys[slot], side="right"))

    def _shown(self, label: str) -> int:
        position = self.position(label)
        if position is None:
            raise KeyError(label)
        return position

    def take_order(self, slots: Slots) -> Slots:
        """Return images, each given once, in the order in which they stand in their groups."""
        return self.table.in_order(slots, self.labels)

    def put(self, label: str, slots: Slots) -> None:
        """Put images at the end of a label, which may be new."""
        self.add_label(label)
        self.table.set_label(slots, label)

    def remove(self, slots: Slots) -> None:
        """Remove images."""
        self.table.remove(slots)

    def add_label(self, label: str) -> bool:
        """Add a label: in the order of labels if they have that, else last. Return False if it exists."""
        if label in self.labels:
            return False
        labels = list(self.labels)
        at = len(labels)
        keys = [label_order(name) for name in labels]
        if all(key <= following for key, following in pairwise(keys)):
            at = bisect_right(keys, label_order(label))
        labels.insert(at, label)
        self.labels = dict.fromkeys(labels)
        self._counts = None
        return True

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, or merge it into an existing one."""
        if old not in self.labels or old == new:
            return
        del self.labels[old]
        self._counts = None
        self.accuracy.pop(old, None)
        if self._held is not None and old in self._held:
            self._held.setdefault(new, self._held.pop(old))
        if self._table is None:
            self.add_label(new)
        else:
            self.put(new, self._table.under(old))

    def remove_label(self, label: str) -> None:
        """Remove a label with its images."""
        if label in self.labels:
            del self.labels[label]
            self._counts = None
            self.accuracy.pop(label, None)
            if self._table is not None:
                self._table.remove(self._table.under(label))

    # --- filter and sort

    def set_filter(self, keep: Keep | None, *, again: bool = False) -> None:
        """Set the filter; `again` if it is the same one with other results."""
        self._keep = keep
        if not again:
            self._held = None

    def set_sort(self, key: SortKey | None, reverse: bool) -> None:
        """Set the order within groups."""
        self._key, self._reverse = key, reverse

    def set_order(self, by_count: int, *, flat: bool = False) -> None:
        """Order the groups by their number of shown images: 1 most first, -1 fewest first, 0 by label.

        `flat`: one group of all.
        """
        self._by_count, self.flat = by_count, flat
        self._held = None

    def hold(self) -> None:
        """Fix the places of groups that are ordered by their counts, until an order or filter is set."""
        if self._by_count and self._held is None:
            self._held = {group.label: index for index, group in enumerate(self.shown)}

    @property
    def ordered(self) -> bool:
        """True if any image added or removed may change the places of others in other groups."""
        return self._by_count != 0 or self.flat

    @property
    def filtered(self) -> bool:
        """True if a filter is set."""
        return self._keep is not None

    @property
    def sorted(self) -> bool:
        """True if the images of a group are sorted."""
        return self._key is not None

    def passing(self, slots: Slots) -> Slots:
        """Return those of the images that the filter accepts."""
        return slots if self._keep is None else slots[self._keep(self.table)[slots]]

    def _keys(self) -> NDArray[Any]:
        """Return the sort keys of all images, ascending in the order that is shown."""
        assert self._key is not None  # noqa: S101 - for mypy
        keys = self._key(self.table)
        return -keys if self._reverse else keys

    def show(self) -> None:
        """Order the rows anew. With a filter, empty groups are left out, and the inbox is whenever it is empty."""
        self._counts = None
        counts, keys = self.counts, None
        if self._table is not None and self._table.size:
            import numpy as np

            table, label, slots = self._table, self._table.label, None
            if self._keep is not None:
                slots = np.flatnonzero((label >= 0) & self._keep(table))
                by_code = np.bincount(label[slots], minlength=len(table.labels)).tolist()
                counts = {name: by_code[code] if (code := table.known_code(name)) >= 0 else 0 for name in counts}
            if self._key is not None:
                keys = self._keys()
                slots = np.flatnonzero(label >= 0) if slots is None else slots
        shown = [name for name, count in counts.items() if count or (self._keep is None and name != INBOX)]
        if (held := self._held) is not None:
            shown.sort(key=lambda name: held.get(name, len(held)))
        elif self._by_count:
            shown.sort(key=lambda name: (name != INBOX, -self._by_count * counts[name]))
        if self._table is None or not self._table.size:
            self.rows, self._rows_by_slot = (), None
            self._group([] if self.flat else shown, counts)
            return
        if slots is None:
            self.rows = table.all_in_order(shown)
        else:
            self.rows = table.in_order(slots, shown, None if self.flat else keys)
        if self.flat:
            if keys is not None:
                self.rows = self.rows[np.argsort(keys[self.rows], kind="stable")]
            shown, counts = [""][: len(self.rows)], {"": len(self.rows)}
        self._rows_by_slot = None
        self._group(shown, counts)

    def _group(self, shown: Sequence[str], counts: Mapping[str, int]) -> None:
        self.firsts = [0, *accumulate(counts[name] for name in shown)]
        self.shown = [LabelGroup(name, [], self.accuracy.get(name)) for name in shown]
        self._fill()

    def _fill(self) -> None:
        if self._table is not None:
            for group, (start, end) in zip(self.shown, pairwise(self.firsts), strict=True):
                group.images = GroupImages(self._table, self.rows[start:end])

    def _places(self) -> Any:
        """Return the rows of all images by slot, -1 for those not shown; made when the first is asked for."""
        if self._rows_by_slot is None:
            import numpy as np

            self._rows_by_slot = np.full(self.table.size, -1, np.int32)
            if len(self.rows):
                self._rows_by_slot[self.rows] = np.arange(len(self.rows))
        return self._rows_by_slot

    def show_label(self, label: str) -> int:
        """Return the position of a label in `shown`, where an empty group is inserted if necessary."""
        position = self.position(label)
        if position is not None:
            return position
        order = {name: index for index, name in enumerate(self.labels)}
        position = sum(order[group.label] < order[label] for group in self.shown)
        self.shown.insert(position, LabelGroup(label, [], self.accuracy.get(label)))
        self.firsts.insert(position, self.firsts[position])
        self._fill()
        return position
