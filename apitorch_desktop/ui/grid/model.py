"""Item model of the grid: training images grouped by label; filter, order and selection survive every change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from apitorch_desktop.api.types import INBOX, TrainingImage, label_name
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.listing import Images, LazyImages
from apitorch_desktop.ui.grid.groups import LabelGroup, LabelGroups
from apitorch_desktop.ui.grid.layout import GridLayout, ScrollAnchor
from apitorch_desktop.utils.text import percent, size

if TYPE_CHECKING:  # numpy comes with the first images, on a lane
    from apitorch_desktop.dataset.workspace.image_ids import Slots
    from apitorch_desktop.dataset.workspace.image_table import ImageTable, Mask
    from apitorch_desktop.ui.grid.groups import Keep, SortKey


_INVERT = bytes.maketrans(b"\0\1", b"\1\0")


class Selection:
    """The selection among `size` rows. Rows out of range raise IndexError."""

    def __init__(self, size: int = 0) -> None:
        self._flags = bytearray(size)
        self._held: bytearray | None = None

    def __len__(self) -> int:
        return self._flags.count(1)

    def __bool__(self) -> bool:
        return 1 in self._flags

    def __contains__(self, row: int) -> bool:
        return self._flags[row] == 1

    def __iter__(self) -> Iterator[int]:
        return compress(range(len(self._flags)), self._flags)

    @property
    def flags(self) -> bytearray:
        """1 for each selected row, read-only."""
        return self._flags

    def whole(self, rows: range) -> bool:
        """Return True if all rows of a range are selected; False for an empty one."""
        return bool(rows) and self._flags.count(1, rows.start, rows.stop) == len(rows)

    def count(self, rows: range) -> int:
        """Return the number of selected rows in a range."""
        return self._flags.count(1, rows.start, rows.stop)

    # --- changes by the user

    def clear(self) -> None:
        """Select nothing."""
        self._flags = bytearray(len(self._flags))

    def all(self) -> None:
        """Select all rows."""
        self._flags = bytearray(b"\1") * len(self._flags)

    def invert(self) -> None:
        """Invert the selection."""
        self._flags = self._flags.translate(_INVERT)

    def set(self, rows: range, on: bool = True) -> None:
        """Select or deselect a range of rows."""
        self._flags[rows.start : rows.stop] = (b"\1" if on else b"\0") * len(rows)

    def toggle(self, row: int) -> None:
        """Invert the selection of a row."""
        self._flags[row] ^= 1

    def only(self, runs: Iterable[range]) -> None:
        """Select these ranges only."""
        self.clear()
        for run in runs:
            self.set(run)

    # --- a rubber band over the former selection

    def hold(self) -> None:
        """Store the current selection for `band`."""
        self._held = bytearray(self._flags)

    def band(self, runs: Iterable[range], *, toggle: bool = False) -> None:
        """Select the rows of `runs` in addition to the stored selection, or invert them."""
        self._flags = bytearray(self._held if self._held is not None else self._flags)
        for run in runs:
            if toggle:
                self._flags[run.start : run.stop] = self._flags[run.start : run.stop].translate(_INVERT)
            else:
                self.set(run)

    def release(self) -> None:
        """Discard the stored selection."""
        self._held = None

    # --- changes of the rows

    def insert(self, row: int, count: int) -> None:
        """Insert unselected rows."""
        self._flags[row:row] = bytes(count)
        if self._held is not None:
            self._held[row:row] = bytes(count)

    def replace(self, flags: bytes | bytearray) -> None:
        """Replace all flags."""
        self._flags = bytearray(flags)
        if self._held is not None:
            self.hold()


__all__ = ["IMAGE_ROLE", "LABEL_ROLE", "FlatList", "GridModel", "LabelGroup"]

IMAGE_ROLE: Final = Qt.ItemDataRole.UserRole
"""Record of a row."""
LABEL_ROLE: Final = Qt.ItemDataRole.UserRole + 1
"""Label of a row."""
_ONE_BY_ONE = 16
"""Most new images of a sorted group that are inserted one by one; more are sorted in together."""


@dataclass(frozen=True, slots=True)
class FlatList:
    """All images in one list, whatever their labels."""

    title: str
    """Its heading."""
    caption: Callable[[str], str]
    """Returns what is written on an image before its label, by id."""


class GridModel(QAbstractListModel):
    """Images by group, with their selection, over the columns of an `ImageTable`. `move` is seen in records looked at.

    New rows are reported as insertions, all other changes of the order as layout changes, in which rows keep their
    selection and persistent indexes follow their images.
    """

    counts_changed = Signal()
    """`shown`, `total`, a group or its count has changed. Emitted after the signals of the rows."""
    about_to_rearrange = Signal()
    """Emitted before a layout change, while the former layout is still in place."""
    ids_replaced = Signal(dict)
    """Ids that a service changed: old → new."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.selection = Selection()
        self.badges: Mapping[str, str] = {}
        self.answers: Mapping[str, OutOfFoldAnswer] = {}
        """The classifier's answer by id."""
        self.answers_shown = False
        self.flat: FlatList | None = None
        """Set while the images are not grouped by label."""
        self._groups = LabelGroups()

    # --- content

    def set_groups(self, groups: Iterable[LabelGroup]) -> None:
        """Replace all groups by a reset, after which nothing is selected. Empty groups are kept as drop targets."""
        groups = list(groups)
        images = [image for group in groups for image in group.images]
        table = None
        if images:
            from apitorch_desktop.dataset.workspace.image_table import tabulate

            table = tabulate(images)
        accuracies = {group.label: group.accuracy for group in groups if group.accuracy is not None}
        self.set_table([group.label for group in groups], table, accuracies)

    def set_table(
        self, labels: Iterable[str], table: ImageTable | None, accuracies: Mapping[str, float] | None = None
    ) -> None:
        """Replace all images by those of a table, which belongs to the model from now on, under `labels`."""
        self.beginResetModel()
        self._groups.reset(labels, table, accuracies or {})
        self.selection.replace(bytes(self._groups.count))
        self.endResetModel()
        self.counts_changed.emit()

    def add(self, images: Iterable[TrainingImage]) -> None:
        """Add images, each to the group of its `label`, which may be new. A known id replaces its record."""
        fresh: dict[str, dict[str, TrainingImage]] = {}
        known: dict[int, TrainingImage] = {}
        for image in images:
            slot = self._groups.find(image.image_id)
            if slot >= 0:
                known[slot] = image
            else:
                fresh.setdefault(_label(image), {})[image.image_id] = image
        if known:
            self._rearrange(lambda: self._replace(known))
        for label, batch in fresh.items():
            self._add_to(label, list(batch.values()))
        if fresh or known:
            self.counts_changed.emit()

    def _replace(self, known: dict[int, TrainingImage]) -> None:
        import numpy as np

        for slot, image in known.items():
            self._groups.table.put_record(slot, image)
            if self._groups.label_of(slot) != _label(image):
                self._groups.put(_label(image), np.array([slot], np.intp))

    def _add_to(self, label: str, batch: list[TrainingImage]) -> None:
        groups = self._groups
        groups.add_label(label)
        if groups.ordered or (groups.sorted and len(batch) > _ONE_BY_ONE) or (groups.filtered and not groups.sorted):
            self._rearrange(lambda: groups.take_in(batch))
        elif groups.sorted:
            for slot in groups.passing(groups.take_in(batch)).tolist():
                groups.show_label(label)
                position, at = groups.place(label, slot)
                self._insert(groups.firsts[position] + at, 1, lambda slot=slot: groups.insert(label, slot))  # type: ignore[misc]
        else:
            row = groups.firsts[groups.show_label(label) + 1]
            self._insert(row, len(batch), lambda: groups.append(label, batch))

    def _insert(self, row: int, count: int, change: Callable[[], object]) -> None:
        self.beginInsertRows(QModelIndex(), row, row + count - 1)
        change()
        self.selection.insert(row, count)
        self.endInsertRows()

    def add_table(self, table: ImageTable) -> None:
        """Add the images of a table made on a lane, of which none is in the model; their labels may be new."""
        groups = self._groups

        def change() -> None:
            for label in table.labels:
                groups.add_label(label)
            groups.table.absorb(table)

        if table.size:
            self._change(change)

    def remove(self, images: Images) -> int:
        """Remove images, given by id or as a snapshot, and return how many; unknown ones are ignored."""
        slots = self._slots(images)
        if len(slots):
            self._groups.hold()
            self._change(lambda: self._groups.remove(slots))
        return len(slots)

    def move(self, images: Images, label: str) -> int:
        """Move images, given by id or as a snapshot, to the end of another label, and return how many.

        They stay selected.
        """
        return self.move_each({label: images})

    def move_each(self, images: Mapping[str, Images]) -> int:
        """Move images to the ends of labels (label → images) in one change, and return how many."""
        groups = self._groups
        moving: dict[str, Slots] = {}
        for label, some in images.items():
            slots = self._slots(some)
            if len(slots) and len(slots := slots[groups.table.label[slots] != groups.table.known_code(label)]):
                moving[label] = groups.take_order(slots)

        def change() -> None:
            for label, slots in moving.items():
                groups.put(label, slots)

        if moving:
            groups.hold()
            self._change(change)
        return sum(map(len, moving.values()))

    def _slots(self, images: Images) -> Slots:
        table = self._groups.table
        return images.slots_in(table) if isinstance(images, LazyImages) else table.find_all(images)

    def replace_ids(self, new_ids: Mapping[str, str]) -> None:
        """Adopt ids that a service changed: old → new."""
        for old, new in new_ids.items():
            self._groups.table.replace_id(old, new)
        self.badges = {new_ids.get(image_id, image_id): badge for image_id, badge in self.badges.items()}
        self.answers = {new_ids.get(image_id, image_id): answer for image_id, answer in self.answers.items()}
        self.ids_replaced.emit(dict(new_ids))
        self._touch()

    def set_splits(self, splits: Mapping[str, str]) -> None:
        """Set the splits of images by id, "" for none; a filter that asks for them has to be applied again."""
        by_split: dict[str, list[str]] = {}
        for image_id, split in splits.items():
            by_split.setdefault(split, []).append(image_id)
        for split, ids in by_split.items():
            self._groups.table.set_split(self._groups.find_all(ids), split)
        self._touch()

    def add_label(self, label: str) -> None:
        """Add an empty group, in alphabetical order."""
        if label not in self._groups.labels:
            self._change(lambda: self._groups.add_label(label))

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, or merge it into an existing one."""
        if old in self._groups.labels and old != new:
            self._groups.hold()
            self._change(lambda: self._groups.rename_label(old, new))

    def remove_label(self, label: str) -> None:
        """Remove a label with its images."""
        if label in self._groups.labels:
            self._change(lambda: self._groups.remove_label(label))

    def set_accuracies(self, accuracies: Mapping[str, float]) -> None:
        """Set the classifier's accuracy by label, 0 to 1; other labels have none."""
        self._groups.accuracy = dict(accuracies)
        for group in self._groups.shown:
            group.accuracy = accuracies.get(group.label)
        self.counts_changed.emit()

    def set_badges(self, badges: Mapping[str, str]) -> None:
        """Replace the small texts on images, such as "t_shirt?", by id."""
        self.badges = badges
        self._touch()

    def set_answers(self, answers: Mapping[str, OutOfFoldAnswer]) -> None:
        """Replace the classifier's answers, by id."""
        if answers is not self.answers:
            self.answers = answers
            self._touch()

    def show_answers(self, on: bool) -> None:
        """Show the classifier's answer as the badge of every image that has no other."""
        if on != self.answers_shown:
            self.answers_shown = on
            self._touch()

    def badge(self, image_id: str) -> str:
        """Return the small text on an image, "" for none; in a flat list its caption and label."""
        if self.flat is not None:
            parts = (self.flat.caption(image_id), label_name(self.label_of(image_id) or ""))
            return " · ".join(part for part in parts if part)
        badge, answer = self.badges.get(image_id, ""), self.answers.get(image_id)
        if answer is not None and self.label_of(image_id) == INBOX:
            return f"{answer.label}? {percent(answer.confidence)}"
        if not badge and self.answers_shown and answer is not None:
            return f"{answer.label} {percent(answer.confidence)}"
        return badge

    # --- filter and sort

    def set_filter(self, keep: Keep | None, *, again: bool = False) -> None:
        """Show only the images that `keep` returns, and no empty groups. Images still shown stay selected.

        `again`: it is the same filter with other results; labels ordered by their counts keep their places.
        """
        self._change(lambda: self._groups.set_filter(keep, again=again))

    def set_sort(
        self,
        key: SortKey | None,
        *,
        reverse: bool = False,
        by_count: int = 0,
        flat: FlatList | None = None,
    ) -> None:
        """Set the order within groups (None: as added), and of the groups: by count, most (1) or fewest (-1) first.

        `flat`: all images are one group in that order.

        Groups keep their places while images are moved and deleted, so that nothing jumps during labeling.
        """

        def change() -> None:
            self._groups.set_sort(key, reverse)
            self._groups.set_order(by_count, flat=flat is not None)
            self.flat = flat

        self._change(change)

    def _change(self, change: Callable[[], object]) -> None:
        self._rearrange(change)
        self.counts_changed.emit()

    def _rearrange(self, change: Callable[[], object]) -> None:
        """Apply a change of the shown rows; selection and persistent indexes follow the images."""
        groups = self._groups
        self.about_to_rearrange.emit()
        self.layoutAboutToBeChanged.emit()
        held = self.persistentIndexList()
        slots = [int(groups.rows[index.row()]) for index in held]
        selected: Any = groups.rows[self._selected()] if self.selection else ()
        change()
        groups.show()
        if not len(selected):
            self.selection.replace(bytes(groups.count))
        else:
            import numpy as np

            chosen = np.zeros(groups.table.size, np.bool_)
            chosen[selected] = True
            self.selection.replace(chosen[groups.rows].tobytes() if groups.count else b"")
        for index, slot in zip(held, slots, strict=True):
            row = groups.row_of(slot)
            self.changePersistentIndex(index, QModelIndex() if row is None else self.index(row))
        self.layoutChanged.emit()

    def _selected(self) -> Mask:
        """Return which rows are selected."""
        import numpy as np

        return np.frombuffer(bytes(self.selection.flags), np.bool_)

    def _touch(self) -> None:
        if self._groups.count:
            self.dataChanged.emit(self.index(0), self.index(self._groups.count - 1))

    # --- look-up

    @property
    def total(self) -> int:
        """Number of images, shown or not."""
        return self._groups.total

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of images by label, shown or not, in the order of labels."""
        return self._groups.counts

    @property
    def shown(self) -> int:
        """Number of rows: the images that pass the filter."""
        return self._groups.count

    @property
    def filtered(self) -> bool:
        """True if a filter is set."""
        return self._groups.filtered

    @property
    def groups(self) -> Sequence[LabelGroup]:
        """The groups as shown, read-only."""
        return self._groups.shown

    @property
    def labels(self) -> list[str]:
        """All labels in their order, shown or not."""
        return list(self._groups.labels)

    def image(self, row: int) -> TrainingImage:
        """Return the record of a row."""
        return self._groups.table.record(self.slot(row))

    def id_at(self, row: int) -> str:
        """Return the id of a row."""
        return self._groups.table.id_of(self.slot(row))

    def slot(self, row: int) -> int:
        """Return the slot of a row, which stays with the image."""
        if row < 0:
            raise IndexError(row)
        return int(self._groups.rows[row])

    def label_at(self, row: int) -> str:
        """Return the label of a row."""
        return self._groups.label_of(self.slot(row))

    def group_label(self, position: int | None) -> str | None:
        """Return the label of a group, None without a group and in a flat list."""
        return self.groups[position].label if position is not None and self.flat is None else None

    def has_proposals(self) -> bool:
        """Return True if the classifier has an answer about an image without a label."""
        return bool(self.answers) and bool(len(self._proposed()))

    def proposals(self) -> list[tuple[TrainingImage, OutOfFoldAnswer]]:
        """Return the images without a label, shown or not, for which the classifier has an answer, the surest first."""
        if not self.answers:
            return []
        images = self._groups.table.snapshot(self._proposed())
        found = [(image, self.answers[image.image_id]) for image in images]
        return sorted(found, key=lambda one: -one[1].confidence)

    def _proposed(self) -> Slots:
        table = self._groups.table
        waiting = table.under(INBOX)
        found: Slots = waiting[table.answers(self.answers).known[waiting]] if len(waiting) else waiting
        return found

    def label_of(self, image_id: str) -> str | None:
        """Return the label of an image, shown or not."""
        slot = self._groups.find(image_id)
        return self._groups.label_of(slot) if slot >= 0 else None

    def ids_under(self, label: str) -> list[str]:
        """Return the ids of the images of a label, shown or not."""
        if not self._groups.counts.get(label):
            return []
        return self._groups.table.ids_of(self._groups.table.under(label))

    def known(self, image_ids: Collection[str]) -> list[str]:
        """Return those of the ids that images, shown or not, have."""
        if not self._groups.total:
            return []
        return self._groups.table.ids_of(self._groups.find_all(image_ids))

    def row_of(self, image_id: str) -> int | None:
        """Return the row of an image, None if it is not shown."""
        return self._groups.row_of(self._groups.find(image_id))

    def rows_of(self, image_ids: Collection[str]) -> list[int]:
        """Return the rows of the images that are shown, in order; all in one pass."""
        if not image_ids or not self._groups.total:
            return []
        rows = self._groups.rows_of(self._groups.find_all(image_ids))
        return sorted(set(rows[rows >= 0].tolist()))

    def record(self, image_id: str) -> TrainingImage | None:
        """Return the record of an image, shown or not."""
        slot = self._groups.find(image_id)
        return self._groups.table.record(slot) if slot >= 0 else None

    def records_of(self, image_ids: Collection[str]) -> Sequence[TrainingImage]:
        """Return images, shown or not, in the order of the ids."""
        if not self._groups.total:
            return []
        return self._groups.table.snapshot(self._groups.find_all(list(dict.fromkeys(image_ids))))

    def records(self) -> Sequence[TrainingImage]:
        """Return all images, shown or not, label by label; their records are read when they are asked for."""
        if not self._groups.total:
            return []
        return self._groups.table.all_images(self._groups.labels)

    def changed_since(self, records: Sequence[TrainingImage]) -> dict[str, str | None] | None:
        """Return the images whose label is another than in `records`, with that, None if removed; None if all may be."""
        from apitorch_desktop.dataset.workspace.image_table import ImageSnapshot

        if not isinstance(records, ImageSnapshot) or not self._groups.total or records.table is not self._groups.table:
            return None
        return records.changed()

    def snapshot(self) -> Sequence[TrainingImage]:
        """Return all images, shown or not, in any order; their records are read when they are asked for."""
        return self._groups.table.snapshot() if self._groups.total else []

    def has_splits(self) -> bool:
        """Return True if an image is in one of the splits."""
        table = self._groups.table
        return bool(self._groups.total) and bool((table.split[table.label >= 0] > 0).any())

    def neighbor(self, image_id: str, step: int) -> TrainingImage | None:
        """Return the image `step` rows after another (before if negative); None past the ends, or if that one is not shown."""
        row = self.row_of(image_id)
        return self.image(row + step) if row is not None and 0 <= row + step < self.shown else None

    def selected_ids(self) -> list[str]:
        """Return the ids of the selected images, in row order."""
        return self._groups.table.ids_of(self._groups.rows[self._selected()]) if self.selection else []

    def selected_images(self) -> Sequence[TrainingImage]:
        """Return the selected images, in row order; their records are read when they are asked for."""
        return self._groups.table.snapshot(self._groups.rows[self._selected()]) if self.selection else []

    def selected_bytes(self) -> int:
        """Return the bytes of the selected images, as far as known."""
        return int(self._groups.table.file_size[self._groups.rows[self._selected()]].sum()) if self.selection else 0

    def row_under(self, slot: int, label: str | None) -> int | None:
        """Return the row of an image that is still under a label (None: any), None if it is not, or not shown."""
        row = self._groups.row_of(slot)
        return row if row is not None and label in (None, self._groups.label_of(slot)) else None

    def first_row_under(self, images: Sequence[TrainingImage], label: str | None) -> int | None:
        """Return the row of the first of the images of a group that is still under its label (None: any) and shown."""
        slots: Any = getattr(images, "slots", ())
        if not len(slots):
            return None
        rows = self._groups.rows_of(slots)
        there = rows >= 0
        if label is not None:
            there &= self._groups.table.label[slots] == self._groups.table.known_code(label)
        return int(rows[there][0]) if there.any() else None

    # --- item model

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self._groups.count

    def flags(self, index: QModelIndex | QPersistentModelIndex) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name, tooltip or accessible text."""
        if not index.isValid() or not 0 <= index.row() < self._groups.count:
            return None
        image, row = self.image(index.row()), index.row()
        if role == Qt.ItemDataRole.DisplayRole:
            return image.display_name
        if role == IMAGE_ROLE:
            return image
        if role == LABEL_ROLE:
            return self.label_at(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(_lines(image, self.answers.get(image.image_id)))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            badge = self.badge(image.image_id)
            parts = [self.label_at(row), image.display_name, badge, "selected" if row in self.selection else ""]
            return ", ".join(part for part in parts if part)
        return None


def _lines(image: TrainingImage, answer: OutOfFoldAnswer | None) -> list[str]:
    lines = [image.display_name]
    facts = []
    if isinstance(image.width, int) and isinstance(image.height, int):
        facts.append(f"{image.width:,} × {image.height:,}")
    if isinstance(image.bytes, int):
        facts.append(size(image.bytes))
    if image.known_split:
        facts.append(f"split: {image.known_split}")
    if facts:
        lines.append(" · ".join(facts))
    return lines if answer is None else [*lines, answer.text]


def _label(image: TrainingImage) -> str:
    return image.label if isinstance(image.label, str) else ""


class ScrollBookmark:
    """Scroll position and focus before images change places, from which those afterwards are determined.

    Images that moved to another label are not followed: the view stays where they were.
    """

    def __init__(self, model: GridModel, content: GridLayout, rows: Iterable[int], top: int, focus: int | None) -> None:
        self._model = model
        grouped = model.flat is None
        self._seen = [
            (model.slot(row), model.label_at(row) if grouped else None, content.box(row).y - top) for row in rows
        ]
        self._focus = focus
        if focus is not None:
            position = content.group_of(focus)
            images = model.groups[position].images  # a change makes another list
            self._beside = (model.group_label(position), images)
            self._place = focus - content.rows_of(position).start

    def anchor(self) -> ScrollAnchor | None:
        """Return the first image of the former viewport that is still present."""
        for slot, label, y in self._seen:
            row = self._model.row_under(slot, label)
            if row is not None:
                return ScrollAnchor(row, 0, y)
        return None

    def focus(self) -> int | None:
        """Return the row for the focus: the same image, else the next one in its group, else the previous one."""
        if self._focus is None or not self._model.shown:
            return None
        label, images = self._beside
        row = self._model.first_row_under(images[self._place :], label)
        if row is None:
            row = self._model.first_row_under(images[: self._place][::-1], label)
        return row if row is not None else min(self._focus, self._model.shown - 1)
