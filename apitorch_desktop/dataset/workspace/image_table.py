"""Images of a training set as columns: for a million images, what search, filter, order and selection need is some
100 bytes an image, and the records themselves are packed until they are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, overload

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray

from apitorch_desktop.api.types import SPLITS, TrainingImage
from apitorch_desktop.dataset.workspace.image_ids import ImageIds, Slots, enlarged
from apitorch_desktop.dataset.workspace.listing import LazyImages
from apitorch_desktop.dataset.workspace.packed_records import BLOCK, PackedRecords

Mask = NDArray[np.bool_]
"""One value for each slot."""

_DEAD, _DEAD_SHARE = 1024, 3
"""Empty slots and replaced records, and share of the images as 1 / n, up to which a table is not made anew for its file."""
_SEEN = 4096
"""Records that are kept unpacked."""
_COLUMNS: Final = {
    "label": np.int32, "order": np.int64, "width": np.int32, "height": np.int32, "file_size": np.int64,
    "created": np.int64, "split": np.uint8, "name_end": np.int64,
}  # fmt: skip


class Answer(Protocol):
    """A classifier's answer about an image."""

    @property
    def label(self) -> str:
        """The label that is answered."""

    @property
    def confidence(self) -> float:
        """Its probability."""


@dataclass(frozen=True, slots=True)
class TableParts:
    """All that an `ImageTable` is made of, for its file (`table_file`): whatever is large is an array, or packed.

    `arrays` are the columns by name, and `ids`, `names`, `keys`, `slots_by_key`, `by_label` and `label_starts`; `odd_ids`,
    `newer` and `splits` are by slot.
    """

    labels: list[str]
    next_order: int
    odd_ids: dict[int, str]
    newer: dict[int, TrainingImage]
    splits: dict[int, str]
    arrays: dict[str, NDArray[Any]]
    records: PackedRecords


class LabelOrder(NamedTuple):
    """All images by label, as they were: `codes` of the labels that had some, in their order; `by_code` are the slots of
    code n from `starts[n]` on. None of these arrays is changed any more.
    """

    by_code: NDArray[np.integer[Any]]
    starts: list[int]
    codes: list[int]

    def slots(self) -> Slots:
        """Return the slots in this order."""
        parts = [self.by_code[self.starts[code] : self.starts[code + 1]] for code in self.codes]
        return np.concatenate(parts, dtype=np.intp) if parts else np.empty(0, np.intp)

    def label_codes(self) -> NDArray[np.int32]:
        """Return the code of the label of each image."""
        counts = [self.starts[code + 1] - self.starts[code] for code in self.codes]
        return np.repeat(np.array(self.codes, np.int32), counts)


class ImageTable:
    """Images by slot: a slot belongs to one image for good, whatever label it is moved to.

    The columns are arrays over all slots, read-only for others; `label` is a code (the place in `labels`), -1 for images
    that were removed; `order` grows with each image that joins a label; `created` is in milliseconds since the epoch, 0
    where it is unknown; `split` is 0 for none, else the place in SPLITS plus 1. Changed on one thread; records may be read
    on others (`ImageSnapshot`).
    """

    label: NDArray[np.int32]
    order: NDArray[np.int64]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    file_size: NDArray[np.int64]
    created: NDArray[np.int64]
    split: NDArray[np.uint8]
    name_end: NDArray[np.int64]

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.size = 0
        self._codes: dict[str, int] = {}
        self._arrays: dict[str, NDArray[Any]] = {name: np.empty(0, kind) for name, kind in _COLUMNS.items()}
        self._ids = ImageIds()
        self._names = np.empty(0, np.uint8)
        self._next_order = 0
        self._records = PackedRecords()
        self._newer: dict[int, TrainingImage] = {}
        self._splits: dict[int, str] = {}
        self._seen: dict[int, TrainingImage] = {}
        self._name_order: Slots = np.empty(0, np.intp)
        self._name_rank: NDArray[np.float64] = np.empty(0)
        self._answers: tuple[Mapping[str, Answer], int, AnswerColumns] | None = None
        self._by_label: tuple[NDArray[np.integer[Any]], list[int]] | None = None
        self._all_in_order: tuple[list[int], Slots] | None = None
        self.version = 0
        """Grows whenever images come, go, or change their label or order."""
        self._trim()

    # --- parts

    def parts(self) -> TableParts:
        """Return the parts of the table, which share its memory."""
        by_label, starts = self._slots_by_label()
        arrays = {
            **{name: array[: self.size] for name, array in self._arrays.items()},
            **self._ids.parts(self.size),
            "names": self._names[: int(self.name_end[-1]) if self.size else 0],
            "by_label": by_label.astype(np.int32),
            "label_starts": np.array(starts, np.int64),
        }
        return TableParts(
            self.labels, self._next_order, self._ids.odd, self._newer, self._splits, arrays, self._records
        )

    @classmethod
    def of_parts(cls, parts: TableParts) -> ImageTable:
        """Return a table of parts, which belong to it from now on. Raises KeyError for one that is missing."""
        table, arrays = cls(), parts.arrays
        table.labels, table._codes = parts.labels, {label: code for code, label in enumerate(parts.labels)}
        table._arrays = {name: arrays[name] for name in _COLUMNS}
        table._ids, table._names = ImageIds.of_parts(arrays, parts.odd_ids), arrays["names"]
        table._records, table._by_label = parts.records, (arrays["by_label"], arrays["label_starts"].tolist())
        table._newer, table._splits = parts.newer, parts.splits
        table._next_order, table.size = parts.next_order, len(arrays["ids"])
        table._trim()
        return table

    def _trim(self) -> None:
        for name, array in self._arrays.items():
            setattr(self, name, array[: self.size])

    def __len__(self) -> int:
        return int(np.count_nonzero(self.label >= 0))

    # --- labels

    def code(self, label: str) -> int:
        """Return the code of a label, which may be new."""
        code = self._codes.get(label)
        if code is None:
            code = self._codes[label] = len(self.labels)
            self.labels.append(label)
        return code

    def known_code(self, label: str) -> int:
        """Return the code of a label, -2 for an unknown one, which no image has."""
        return self._codes.get(label, -2)

    def counts(self) -> NDArray[np.intp]:
        """Return the number of images by code."""
        if self._by_label is None:
            return np.bincount(self.label[self.label >= 0], minlength=len(self.labels))
        counts = np.zeros(len(self.labels), np.intp)
        known = np.diff(self._by_label[1])
        counts[: len(known)] = known
        return counts

    def under(self, label: str) -> Slots:
        """Return the images of a label in their order."""
        return self._by_order(np.flatnonzero(self.label == self.known_code(label)))

    def all_in_order(self, labels: Iterable[str]) -> Slots:
        """Return all images by label, in the order of `labels`, others last, within each in their order.

        The array is shared with who asks the same again before images change.
        """
        order = self.order_by_label(labels)
        known = self._all_in_order
        if known is None or known[0] != order.codes:
            known = self._all_in_order = order.codes, order.slots()
        return known[1]

    def order_by_label(self, labels: Iterable[str]) -> LabelOrder:
        """Return the order of `all_in_order`, as it is now."""
        slots, starts = self._slots_by_label()
        codes = dict.fromkeys(code for code in map(self.known_code, labels) if 0 <= code < len(starts) - 1)
        codes |= dict.fromkeys(range(len(starts) - 1))
        return LabelOrder(slots, starts, [code for code in codes if starts[code] < starts[code + 1]])

    def _slots_by_label(self) -> tuple[NDArray[np.integer[Any]], list[int]]:
        """Return all images by code, within each in their order, and the place at which each code begins, and the end."""
        if self._by_label is None:
            slots = self.in_order(np.flatnonzero(self.label >= 0), self.labels)
            self._by_label = slots, [0, *np.cumsum(self.counts()).tolist()]
        return self._by_label

    def _changed(self) -> None:
        self._by_label = self._all_in_order = None
        self.version += 1

    def in_order(self, slots: Slots, labels: Iterable[str], keys: NDArray[Any] | None = None) -> Slots:
        """Return images by label, in the order of `labels`, within each by `keys`, a number for each slot, and in their order."""
        slots = self._by_order(slots)
        if keys is not None:
            slots = slots[np.argsort(keys[slots], kind="stable")]
        rank = np.zeros(
            len(self.labels) + 2, np.int16 if len(self.labels) < 2**15 else np.int32
        )  # the last two: no label
        for place, label in enumerate(labels):
            rank[self.known_code(label)] = place
        return slots[np.argsort(rank[self.label[slots]], kind="stable")]  # by radix, for 16 bits

    def _by_order(self, slots: Slots) -> Slots:
        order = self.order[slots]
        return slots if (order[1:] >= order[:-1]).all() else slots[np.argsort(order, kind="stable")]

    def sort_label(self, label: str) -> None:
        """Put the images of a label into the order in which they were created, as a listing of our service has them."""
        slots = self.under(label)
        created = self.created[slots]
        if not (created[1:] >= created[:-1]).all():
            self.order[slots[np.argsort(created, kind="stable")]] = self.order[slots]
            self._changed()

    def rename_labels(self, names: Mapping[str, str]) -> None:
        """Rename labels, all at once (old → new); one that gets the name of another is merged into it."""
        renamed = [names.get(label, label) for label in self.labels]
        self.labels, self._codes = [], {}
        codes = np.array([*map(self.code, renamed), -1], np.int32)
        self.label[:] = codes[self.label]
        self._seen = {}
        self._changed()

    # --- ids

    def id_of(self, slot: int) -> str:
        """Return the id of an image."""
        return self._ids.id_of(slot)

    def ids_of(self, slots: Slots) -> list[str]:
        """Return the ids of images."""
        return self._ids.ids_of(slots)

    def find(self, image_id: str) -> int:
        """Return the slot of an image, -1 if there is none."""
        return self._ids.find(image_id, self.label)

    def find_all(self, image_ids: Collection[str]) -> Slots:
        """Return the slots of images in the order of the ids, without the unknown ones."""
        return self._ids.find_all(image_ids, self.label)

    def find_those_of(self, other: ImageTable, slots: Slots) -> Slots:
        """Return the slot here of each image of another table, -1 for those that are not here."""
        return self._ids.find_those_of(other._ids, slots, self.label)

    # --- records

    def record(self, slot: int) -> TrainingImage:
        """Return the record of an image; the same one while it is looked at."""
        found = self._seen.get(slot)
        if found is None:
            found = self._read(slot, self.labels[int(self.label[slot])])
            if len(self._seen) >= _SEEN:
                for old in list(self._seen)[: _SEEN // 2]:
                    del self._seen[old]
            self._seen[slot] = found
        return found

    def _read(self, slot: int, label: str) -> TrainingImage:
        found = self._newer.get(slot)
        if found is None:
            start, block = self._records.block(slot)
            found = block[slot - start]
        return self._with_split(slot, replace(found, label=label))

    def _with_split(self, slot: int, image: TrainingImage) -> TrainingImage:
        split = self._splits.get(slot)
        if split is not None:
            image.split = split or UNSET
        return image

    def read_all(self, slots: Slots, labels: Sequence[str], codes: NDArray[np.int32]) -> Iterator[TrainingImage]:
        """Yield new records of images under these labels; on any thread."""
        block, start = list[TrainingImage](), 0
        for slot, code in zip(slots.tolist(), codes.tolist(), strict=True):
            newer = self._newer.get(slot)
            if newer is not None:
                yield self._with_split(slot, replace(newer, label=labels[code]))
                continue
            if not start <= slot < start + len(block):
                start, block = self._records.block(slot)
            yield self._with_split(slot, replace(block[slot - start], label=labels[code]))

    # --- changes

    def append(self, images: Sequence[TrainingImage]) -> Slots:
        """Add images, of which none is in the table, each under its `label`; return their slots."""
        first, count = self.size, len(images)
        if not count:
            return np.empty(0, np.intp)
        names = [(image.original_filename or image.filename).lower().encode("utf-8", "replace") for image in images]
        self._grow(count, sum(map(len, names)))
        span = slice(first, self.size)
        written = int(self.name_end[first - 1]) if first else 0
        ends = written + np.cumsum([len(name) for name in names])
        self._names[written : ends[-1]] = np.frombuffer(b"".join(names), np.uint8)
        self.name_end[span] = ends
        self.label[span] = [self.code(image.label if isinstance(image.label, str) else "") for image in images]
        self.order[span] = np.arange(self._next_order, self._next_order + count)
        self._next_order += count
        self.width[span] = [image.width or 0 for image in images]
        self.height[span] = [image.height or 0 for image in images]
        self.file_size[span] = [image.bytes or 0 for image in images]
        self.created[span] = [_milliseconds(image.created_at) for image in images]
        self.split[span] = [SPLITS.index(image.split) + 1 if image.split in SPLITS else 0 for image in images]
        self._ids.append(first, [image.image_id for image in images])
        self._records.append(images)
        self._changed()
        return np.arange(first, self.size)

    def absorb(self, other: ImageTable) -> Slots:
        """Add the images of another table, of which none is in this one; return their slots.

        The other table is not used any more.
        """
        first, count = self.size, other.size
        if not count:
            return np.empty(0, np.intp)
        written = int(self.name_end[-1]) if first else 0
        more = int(other.name_end[-1])
        self._grow(count, more)
        span = slice(first, self.size)
        self._names[written : written + more] = other._names[:more]
        codes = np.array([*(self.code(label) for label in other.labels), -1], np.int32)
        for name in _COLUMNS:
            self._arrays[name][span] = other._arrays[name][:count]
        self.label[span] = codes[other.label]
        self.name_end[span] += written
        self.order[span] += self._next_order
        self._next_order += other._next_order
        self._ids.absorb(first, other._ids, count)
        self._newer |= {slot + first: image for slot, image in other._newer.items()}
        self._splits |= {slot + first: split for slot, split in other._splits.items()}
        self._records.absorb(other._records)
        self._changed()
        return np.arange(first, self.size)

    def _grow(self, count: int, name_bytes: int) -> None:
        size, written = self.size + count, int(self.name_end[-1]) if self.size else 0
        if size > (known := len(self._arrays["label"])):
            room = max(size, known * 5 // 4 + 64)
            for name, array in self._arrays.items():
                self._arrays[name] = enlarged(array, room)
        if written + name_bytes > len(self._names):
            self._names = enlarged(self._names, max(written + name_bytes, len(self._names) * 5 // 4 + 1024))
        self.size = size
        self._trim()

    def set_label(self, slots: Slots, label: str) -> None:
        """Put images at the end of a label, in the order given."""
        code = self.code(label)
        self.label[slots] = code
        self.order[slots] = np.arange(self._next_order, self._next_order + len(slots))
        self._next_order += len(slots)
        self._changed()
        self._relabel_seen(slots, label)

    def _relabel_seen(self, slots: Slots, label: str) -> None:
        if len(slots) < len(self._seen):
            for slot in slots.tolist():
                if slot in self._seen:
                    self._seen[slot].label = label
        else:
            code = self.known_code(label)
            for slot, image in self._seen.items():
                if self.label[slot] == code:
                    image.label = label

    def remove(self, slots: Slots) -> None:
        """Remove images; their slots stay empty."""
        self.label[slots] = -1
        self._changed()

    def set_split(self, slots: Slots, split: str) -> None:
        """Put images into a split, "" for none."""
        self.split[slots] = SPLITS.index(split) + 1 if split else 0
        changed = dict.fromkeys(slots.tolist(), split)
        self._splits |= changed
        for slot in changed.keys() & self._seen.keys():
            self._seen[slot].split = split or UNSET

    def put_record(self, slot: int, image: TrainingImage) -> None:
        """Replace the record of an image, which stays under its label."""
        self._newer[slot] = replace(image)
        self._splits.pop(slot, None)
        self._seen.pop(slot, None)
        self.width[slot], self.height[slot] = image.width or 0, image.height or 0
        self.file_size[slot], self.created[slot] = image.bytes or 0, _milliseconds(image.created_at)
        self.split[slot] = SPLITS.index(image.split) + 1 if image.split in SPLITS else 0

    def replace_id(self, old: str, new: str) -> None:
        """Give an image the id that its service gave it."""
        slot = self.find(old)
        if slot < 0:
            return
        image = self.record(slot)
        if isinstance(image.id, str):
            image.id = new
        else:
            image.filename = new.removeprefix("ti_") + "." + image.filename.rpartition(".")[2]
        self._newer[slot] = replace(image)
        self._ids.replace(old, new, slot)

    # --- columns that are made when they are needed

    def with_word(self, word: str) -> Mask:
        """Return the images whose label or file name contains a word, which is lower case and without spaces."""
        found = self.of_labels([word in label.lower() for label in self.labels])
        wanted = word.encode("utf-8", "replace")
        written = int(self.name_end[-1]) if self.size else 0
        names = self._names[:written]
        if not wanted or written < len(wanted):
            return found | (not wanted)
        places = np.flatnonzero(names[: written - len(wanted) + 1] == wanted[0])
        for offset, letter in enumerate(wanted[1:], 1):
            places = places[names[places + offset] == letter]
        owners = np.searchsorted(self.name_end, places, side="right")
        found[owners[places + len(wanted) <= self.name_end[owners]]] = True
        return found

    def of_labels(self, wanted: Sequence[bool]) -> Mask:
        """Return the images whose label's code has a true value."""
        return np.array([*wanted, False], bool)[self.label]  # those removed, -1, have the last value

    def name_rank(self) -> NDArray[np.float64]:
        """Return a number for each image by which the file names are in order, the same for the same name."""
        known = len(self._name_rank)
        if self.size - known > BLOCK or not known:
            self._sort_names()
        else:
            for slot in range(known, self.size):
                self._insert_name(slot)
        return self._name_rank

    def _name(self, slot: int) -> bytes:
        start = int(self.name_end[slot - 1]) if slot else 0
        return self._names[start : int(self.name_end[slot])].tobytes()

    def _sort_names(self) -> None:
        written = int(self.name_end[-1]) if self.size else 0
        everything, ends = self._names[:written].tobytes(), self.name_end.tolist()
        names = [everything[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        order = sorted(range(self.size), key=names.__getitem__)
        rank, last, ranks = -1, None, np.empty(self.size)
        for slot in order:
            name = names[slot]
            if name != last:
                rank, last = rank + 1, name
            ranks[slot] = rank
        self._name_order, self._name_rank = np.array(order, np.intp), ranks

    def _insert_name(self, slot: int) -> None:
        name, order = self._name(slot), self._name_order
        low, high = 0, len(order)
        while low < high:
            center = (low + high) // 2
            if self._name(int(order[center])) < name:
                low = center + 1
            else:
                high = center
        after = self._name_rank[order[low]] if low < len(order) else None
        if after is not None and self._name(int(order[low])) == name:
            rank = float(after)
        else:
            before = self._name_rank[order[low - 1]] if low else None
            rank = (
                float(before + 1) if after is None and before is not None
                else float(after - 1) if before is None and after is not None
                else (float(before) + float(after)) / 2 if before is not None and after is not None
                else 0.0
            )  # fmt: skip
            if rank in (before, after):  # no number is left between the two
                self._sort_names()
                return
        self._name_order = np.insert(order, low, slot)
        self._name_rank = np.append(self._name_rank, rank)

    def answers(self, answers: Mapping[str, Answer]) -> AnswerColumns:
        """Return the classifier's answers as columns."""
        known = self._answers
        if known is not None and known[0] is answers and known[1] == self.size:
            return known[2]
        confidence, codes = np.full(self.size, np.nan), np.full(self.size, -1, np.int32)
        names: dict[str, int] = {}
        present = [image_id for image_id in answers if self.find(image_id) >= 0] if len(answers) < BLOCK else answers
        slots = self.find_all(present)
        if len(slots) != len(present):
            present = self.ids_of(slots)
        found = [answers[image_id] for image_id in present]
        confidence[slots] = [answer.confidence for answer in found]
        codes[slots] = [names.setdefault(answer.label, len(names)) for answer in found]
        columns = AnswerColumns(confidence, codes, list(names))
        self._answers = (answers, self.size, columns)
        return columns

    def numbers(self, numbers: Mapping[str, float], default: float) -> NDArray[np.float64]:
        """Return a number for each image: that of its id, else `default`."""
        column = np.full(self.size, float(default))
        slots = self.find_all(numbers)
        column[slots] = [numbers[image_id] for image_id in self.ids_of(slots)]
        return column

    def compact(self) -> ImageTable:
        """Return this table, or one without empty slots and replaced records, if there are many of these."""
        if self.size - len(self) + len(self._newer) + len(self._splits) <= _DEAD + len(self) // _DEAD_SHARE:
            return self
        table, slots = ImageTable(), self.all_in_order(self.labels)
        for start in range(0, len(slots), _SEEN):
            table.append(list(self.snapshot(slots[start : start + _SEEN])))
        return table

    def listed(self, labels: Iterable[str]) -> ImageSnapshot:
        """Return all images as they are now, label by label; the table may be had from them (`ImageSnapshot.own_table`)."""
        found = self.all_images(labels)
        found.is_whole = True
        return found

    def all_images(self, labels: Iterable[str]) -> ImageSnapshot:
        """Return all images as they are now, label by label; it takes no time until they are looked at."""
        return ImageSnapshot(self, self.order_by_label(labels))

    def snapshot(self, slots: Slots | None = None) -> ImageSnapshot:
        """Return these images, by default all in the order of slots, as they are now."""
        return ImageSnapshot(self, np.flatnonzero(self.label >= 0) if slots is None else slots)


def tabulate(images: Sequence[TrainingImage]) -> ImageTable:
    """Return images as a table: their own, if they are all that it has, in its order."""
    if isinstance(images, ImageSnapshot) and (own := images.own_table()) is not None:
        return own
    table = ImageTable()
    table.append(images)
    return table


class AnswerColumns:
    """The classifier's answers: `confidence` 0 to 1, NaN without an answer; `label` the place in `labels`, else -1."""

    def __init__(self, confidence: NDArray[np.float64], label: NDArray[np.int32], labels: list[str]) -> None:
        self.confidence = confidence
        self.label = label
        self.labels = labels

    @property
    def known(self) -> Mask:
        """The images with an answer."""
        return self.label >= 0

    def confidence_or(self, default: float) -> NDArray[np.float64]:
        """Return the confidence of each image, `default` without an answer."""
        return np.where(self.known, self.confidence, default)

    def number_of_label(self, numbers: Sequence[float], default: float) -> NDArray[np.float64]:
        """Return the number of each answer's label, given in the order of `labels`, else `default`."""
        return np.array([*numbers, default], float)[self.label]

    def of_labels(self, wanted: Sequence[bool]) -> Mask:
        """Return the images whose answer's label has a true value."""
        return np.array([*wanted, False], bool)[self.label]


class ImageSnapshot(LazyImages):
    """Images of a table with the labels that they had; their records are read when they are asked for, on any thread.

    `is_whole` if they were all that the table had, label by label.
    """

    def __init__(self, table: ImageTable, of: Slots | LabelOrder) -> None:
        self.table = table
        self._order = of if isinstance(of, LabelOrder) else None
        self._slots: Slots | None = None if isinstance(of, LabelOrder) else of
        self._codes: NDArray[np.int32] | None = None if isinstance(of, LabelOrder) else table.label[of]
        self.label_names = list(table.labels)
        self._end = table.size  # slots from here on are of images that came later
        self._version = table.version
        self.is_whole = False
        self._ids: list[str] | None = None

    @property
    def slots(self) -> Slots:
        """The slots, in order."""
        if self._slots is None:
            assert self._order is not None  # noqa: S101 - for mypy
            self._slots = self._order.slots()
        return self._slots

    @property
    def codes(self) -> NDArray[np.int32]:
        """The places of their labels in `label_names`."""
        if self._codes is None:
            assert self._order is not None  # noqa: S101 - for mypy
            self._codes = self._order.label_codes()
        return self._codes

    def __len__(self) -> int:
        return len(self.slots) if self._order is None else self._order.starts[-1]

    @overload
    def __getitem__(self, place: int) -> TrainingImage: ...
    @overload
    def __getitem__(self, place: slice) -> ImageSnapshot: ...
    def __getitem__(self, place: int | slice) -> TrainingImage | ImageSnapshot:
        if isinstance(place, slice):
            return self.part(place)
        end = place + 1 or None
        found = list(self.table.read_all(self.slots[place:end], self.label_names, self.codes[place:end]))
        if not found:
            raise IndexError(place)
        return found[0]

    def __iter__(self) -> Iterator[TrainingImage]:
        return self.table.read_all(self.slots, self.label_names, self.codes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def label_code(self, label: str) -> int:
        """Return the place of a label in `label_names`, -1 for an unknown one."""
        return self.label_names.index(label) if label in self.label_names else -1

    def own_table(self) -> ImageTable | None:
        """Return the table of the images, if they are all that it has, label by label in its order; else None."""
        return self.table if self.is_whole and self._version == self.table.version else None

    def get(self, image_id: str) -> TrainingImage | None:
        """Return one of the images by its id, None for any other."""
        slot = self.table.find(image_id)
        if slot < 0 or not len(places := np.flatnonzero(self.slots == slot)):
            return None
        return self[int(places[0])]

    def changed(self) -> dict[str, str | None]:
        """Return the ids of those that have another label now, with that label, or were removed, with None."""
        table = self.table
        codes = table.label[self.slots]
        differ = codes != self.codes
        ids, names = table.ids_of(self.slots[differ]), table.labels
        labels = {
            one: names[code] if code >= 0 else None for one, code in zip(ids, codes[differ].tolist(), strict=True)
        }
        if None in labels.values():  # an image that comes back takes a slot at the end
            came = np.flatnonzero(table.label[self._end : table.size] >= 0) + self._end
            for one, code in zip(table.ids_of(came), table.label[came].tolist(), strict=True):
                if one in labels:
                    labels[one] = names[code]
        return labels

    def newest(self) -> ImageSnapshot:
        """Return the images that were created last, up to BLOCK of the same millisecond; none where no time is known."""
        if (table := self.own_table()) is not None:  # a column as it lies is looked through in a third of the time
            slots = np.flatnonzero(table.created == max(1, table.created.max(initial=0)))
            if len(slots := slots[table.label[slots] >= 0]):
                return table.snapshot(slots[-BLOCK:])
        created = self.table.created[self.slots]
        return self.part(np.flatnonzero(created == max(1, created.max(initial=0)))[-BLOCK:])

    def slots_in(self, table: ImageTable) -> Slots:
        """Return the slots in a table of those images that are in it."""
        if self.table is not table:
            return table.find_all(self.ids)
        there: Slots = self.slots[table.label[self.slots] >= 0]
        return there

    def part(self, place: Any) -> ImageSnapshot:
        """Return the images at some places: a slice, an array of places or a mask."""
        part = ImageSnapshot.__new__(ImageSnapshot)
        part.table, part.label_names, part.is_whole, part._ids = self.table, self.label_names, False, None
        part._order, part._slots, part._codes = None, self.slots[place], self.codes[place]
        part._end, part._version = self._end, self._version
        return part

    @property
    def ids(self) -> list[str]:
        """The ids, as they were when first asked for."""
        if self._ids is None:
            self._ids = self.table.ids_of(self.slots)
        return self._ids

    @property
    def label_column(self) -> list[str]:
        """The label of each image."""
        return [self.label_names[code] for code in self.codes.tolist()]

    def without_label(self, label: str) -> ImageSnapshot:
        """Return the images that are not under a label."""
        return self.part(np.flatnonzero(self.codes != self.label_code(label)))

    def by_label(self) -> Mapping[str, ImageSnapshot]:
        """Return the images of each label."""
        return {self.label_names[code]: self.part(np.flatnonzero(self.codes == code)) for code in np.unique(self.codes)}


def _milliseconds(created_at: object) -> int:
    if not isinstance(created_at, str) or not created_at:
        return 0
    try:
        return round(datetime.fromisoformat(created_at).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
