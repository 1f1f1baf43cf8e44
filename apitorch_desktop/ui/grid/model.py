"""Item model of the grid: training images grouped by label; filter, order and selection survive every change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from typing import Any, Final

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from apitorch_desktop.api.types import INBOX, TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.ui.grid.groups import LabelGroup, LabelGroups
from apitorch_desktop.ui.grid.layout import GridLayout, ScrollAnchor
from apitorch_desktop.utils.text import percent, size

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


__all__ = ["IMAGE_ROLE", "LABEL_ROLE", "GridModel", "LabelGroup"]

IMAGE_ROLE: Final = Qt.ItemDataRole.UserRole
"""Record of a row."""
LABEL_ROLE: Final = Qt.ItemDataRole.UserRole + 1
"""Label of the group of a row."""
_ONE_BY_ONE = 16
"""Most new images of a sorted group that are inserted one by one; more are sorted in together."""


class GridModel(QAbstractListModel):
    """Images by group, with their selection. Records are not copied; `move` writes the new label into them.

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
        self._groups = LabelGroups()
        self._sizes: list[int] | None = None

    # --- content

    def set_groups(self, groups: Iterable[LabelGroup]) -> None:
        """Replace all groups by a reset, after which nothing is selected. Empty groups are kept as drop targets."""
        self.beginResetModel()
        self._groups.reset(groups)
        self.selection.replace(bytes(self._groups.rows))
        self._sizes = None
        self.endResetModel()
        self.counts_changed.emit()

    def add(self, images: Iterable[TrainingImage]) -> None:
        """Add images, each to the group of its `label`, which may be new. A known id replaces its record."""
        labels = self._groups.labels()
        fresh: dict[str, dict[str, TrainingImage]] = {}
        known: dict[str, TrainingImage] = {}
        for image in images:
            if image.image_id in labels:
                known[image.image_id] = image
            else:
                fresh.setdefault(_label(image), {})[image.image_id] = image
        if known:
            self._replace(known)
        for label, batch in fresh.items():
            self._add_to(label, list(batch.values()))
        if fresh or known:
            self._sizes = None
            self.counts_changed.emit()

    def _replace(self, known: dict[str, TrainingImage]) -> None:
        labels = self._groups.labels()
        moved = {image_id: image for image_id, image in known.items() if labels[image_id] != _label(image)}

        def change() -> None:
            self._groups.replace(known)
            for image in self._groups.take(moved):
                self._groups.put(_label(image), [image])

        self._rearrange(change)

    def _add_to(self, label: str, batch: list[TrainingImage]) -> None:
        groups = self._groups
        groups.add_label(label)
        passing = [image for image in batch if groups.passes(image)] if groups.filtered else batch
        if groups.ordered or (groups.sorted and len(passing) > _ONE_BY_ONE):
            self._rearrange(lambda: groups.take_in(label, batch))
        elif groups.sorted:
            groups.take_in(label, batch)
            for image in passing:
                groups.show_label(label)
                position, at = groups.place(label, image)
                self._insert(groups.firsts[position] + at, 1, lambda image=image: groups.insert(label, image))  # type: ignore[misc]
        elif passing:
            position = groups.show_label(label)
            row = groups.firsts[position] + len(groups.shown[position].images)
            self._insert(row, len(passing), lambda: groups.append(label, batch, passing))
        else:
            groups.take_in(label, batch)

    def _insert(self, row: int, count: int, change: Callable[[], object]) -> None:
        self.beginInsertRows(QModelIndex(), row, row + count - 1)
        change()
        self.selection.insert(row, count)
        self.endInsertRows()

    def remove(self, image_ids: Collection[str]) -> None:
        """Remove images; unknown ids are ignored."""
        if any(image_id in self._groups.labels() for image_id in image_ids):
            self._groups.hold()
            self._change(lambda: self._groups.take(image_ids))

    def move(self, image_ids: Collection[str], label: str) -> None:
        """Move images to the end of another label; they stay selected. Unknown ids are ignored."""
        labels = self._groups.labels()
        moved = [image_id for image_id in image_ids if labels.get(image_id, label) != label]
        if moved:
            self._groups.hold()
            self._change(lambda: self._groups.put(label, self._groups.take(moved)))

    def replace_ids(self, new_ids: Mapping[str, str]) -> None:
        """Adopt ids that a service changed: old → new."""
        self._groups.replace_ids(new_ids)
        self.badges = {new_ids.get(image_id, image_id): badge for image_id, badge in self.badges.items()}
        self.answers = {new_ids.get(image_id, image_id): answer for image_id, answer in self.answers.items()}
        self.ids_replaced.emit(dict(new_ids))
        self._touch()

    def add_label(self, label: str) -> None:
        """Add an empty group, in alphabetical order."""
        if label not in self._groups.all:
            self._change(lambda: self._groups.add_label(label))

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, or merge it into an existing one."""
        if old in self._groups.all and old != new:
            self._groups.hold()
            self._change(lambda: self._groups.rename_label(old, new))

    def remove_label(self, label: str) -> None:
        """Remove a label with its images."""
        if label in self._groups.all:
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
        """Return the small text on an image, "" for none."""
        badge, answer = self.badges.get(image_id, ""), self.answers.get(image_id)
        if answer is not None and self.label_of(image_id) == INBOX:
            return f"{answer.label}? {percent(answer.confidence)}"
        if not badge and self.answers_shown and answer is not None:
            return f"{answer.label} {percent(answer.confidence)}"
        return badge

    # --- filter and sort

    def set_filter(self, keep: Callable[[TrainingImage], bool] | None, *, again: bool = False) -> None:
        """Show only the images for which `keep` returns True, and no empty groups. Images still shown stay selected.

        `again`: it is the same filter with other results; labels ordered by their counts keep their places.
        """
        self._change(lambda: self._groups.set_filter(keep, again=again))

    def set_sort(
        self,
        key: Callable[[TrainingImage], Any] | None,
        *,
        reverse: bool = False,
        by_count: int = 0,
        by_best: bool = False,
    ) -> None:
        """Set the order within groups (None: as added), and of the groups: by count, most (1) or fewest (-1) first.

        `by_best`: the groups too are in that order, by their first images.

        Groups keep their places while images are moved and deleted, so that nothing jumps during labeling.
        """

        def change() -> None:
            self._groups.set_sort(key, reverse)
            self._groups.set_order(by_count, by_best=by_best)

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
        images = [groups.image(index.row()).image_id for index in held]
        flags = self.selection.flags
        selected = {image.image_id for image in compress(groups.flat(), flags)} if self.selection else set()
        change()
        groups.show()
        self._sizes = None
        if not selected:
            self.selection.replace(bytes(groups.rows))
        else:
            self.selection.replace(bytearray(image.image_id in selected for image in groups.flat()))
        for index, image_id in zip(held, images, strict=True):
            row = groups.row_of(image_id)
            self.changePersistentIndex(index, QModelIndex() if row is None else self.index(row))
        self.layoutChanged.emit()

    def _touch(self) -> None:
        if self._groups.rows:
            self.dataChanged.emit(self.index(0), self.index(self._groups.rows - 1))

    # --- look-up

    @property
    def total(self) -> int:
        """Number of images, shown or not."""
        return self._groups.total

    @property
    def shown(self) -> int:
        """Number of rows: the images that pass the filter."""
        return self._groups.rows

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
        return list(self._groups.all)

    def image(self, row: int) -> TrainingImage:
        """Return the record of a row."""
        return self._groups.image(row)

    def label_at(self, row: int) -> str:
        """Return the label of the group of a row."""
        return self._groups.shown[self._groups.position_of_row(row)].label

    def proposals(self) -> list[tuple[TrainingImage, OutOfFoldAnswer]]:
        """Return the images without a label, shown or not, for which the classifier has an answer, the surest first."""
        found = [
            (image, self.answers[image.image_id])
            for image in self._groups.all.get(INBOX, ())
            if image.image_id in self.answers
        ]
        return sorted(found, key=lambda one: -one[1].confidence)

    def label_of(self, image_id: str) -> str | None:
        """Return the label of an image, shown or not."""
        return self._groups.labels().get(image_id)

    def row_of(self, image_id: str) -> int | None:
        """Return the row of an image, None if it is not shown."""
        return self._groups.row_of(image_id)

    def rows_of(self, image_ids: Collection[str]) -> list[int]:
        """Return the rows of the images that are shown, in order; all in one pass."""
        wanted = set(image_ids)
        return [row for row, image in enumerate(self._groups.flat()) if image.image_id in wanted]

    def record(self, image_id: str) -> TrainingImage | None:
        """Return the record of an image, shown or not."""
        return self._groups.record(image_id)

    def records_of(self, image_ids: Collection[str]) -> list[TrainingImage]:
        """Return the records of images, shown or not, in the order of the ids; all in one pass."""
        wanted = set(image_ids)
        found = {
            image.image_id: image
            for image in chain.from_iterable(self._groups.all.values())
            if image.image_id in wanted
        }
        return [found[image_id] for image_id in dict.fromkeys(image_ids) if image_id in found]

    def records(self) -> list[TrainingImage]:
        """Return the records of all images, shown or not, label by label."""
        return list(chain.from_iterable(self._groups.all.values()))

    def neighbor(self, image_id: str, step: int) -> TrainingImage | None:
        """Return the image `step` rows after another (before if negative); None past the ends, or if that one is not shown."""
        row = self.row_of(image_id)
        return self.image(row + step) if row is not None and 0 <= row + step < self.shown else None

    def selected_ids(self) -> list[str]:
        """Return the ids of the selected images, in row order."""
        return [image.image_id for image in compress(self._groups.flat(), self.selection.flags)]

    def selected_images(self) -> list[TrainingImage]:
        """Return the records of the selected images, in row order."""
        return list(compress(self._groups.flat(), self.selection.flags))

    def selected_bytes(self) -> int:
        """Return the bytes of the selected images, as far as known."""
        if self._sizes is None:
            self._sizes = [image.bytes if isinstance(image.bytes, int) else 0 for image in self._groups.flat()]
        return sum(compress(self._sizes, self.selection.flags))

    # --- item model

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self._groups.rows

    def flags(self, index: QModelIndex | QPersistentModelIndex) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name, tooltip or accessible text."""
        if not index.isValid() or not 0 <= index.row() < self._groups.rows:
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
        self._seen = [(model.image(row), model.label_at(row), content.box(row).y - top) for row in rows]
        self._focus = focus
        self._beside: list[TrainingImage] = []
        self._label = ""
        if focus is not None:
            position = content.group_of(focus)
            self._label = model.groups[position].label
            self._beside = model.groups[position].images  # the change creates another list
            self._place = focus - content.rows_of(position).start

    def anchor(self) -> ScrollAnchor | None:
        """Return the first image of the former viewport that is still present."""
        for image, label, y in self._seen:
            row = self._row(image, label)
            if row is not None:
                return ScrollAnchor(row, 0, y)
        return None

    def focus(self) -> int | None:
        """Return the row for the focus: the same image, else the next one in its group, else the previous one."""
        if self._focus is None or not self._model.shown:
            return None
        for image in [*self._beside[self._place :], *reversed(self._beside[: self._place])]:
            row = self._row(image, self._label)
            if row is not None:
                return row
        return min(self._focus, self._model.shown - 1)

    def _row(self, image: TrainingImage, label: str) -> int | None:
        image_id = image.image_id
        return self._model.row_of(image_id) if self._model.label_of(image_id) == label else None
