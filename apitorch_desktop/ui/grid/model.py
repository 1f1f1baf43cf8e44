"""The grid's rows: training images in group order, a group a label; filter, sort and selection kept through every change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from apitorch_desktop.api.types import TrainingImage


@dataclass(slots=True)
class Group:
    """A label, its images, and the share of them the classifier has right out of fold (0…1), where that is known."""

    label: str
    images: list[TrainingImage] = field(default_factory=list)
    accuracy: float | None = None


class GridModel(QAbstractListModel):
    """Images by group. The records are taken as they are; `move` writes their new label into them."""

    countsChanged = Signal()
    """`shown`, `total` or a group's count is another."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)

    # --- content
    def set_groups(self, groups: Iterable[Group]) -> None:
        """Show another listing (a reset; nothing stays selected). Empty groups are kept: they are drop targets."""
        raise NotImplementedError

    def add(self, images: Iterable[TrainingImage]) -> None:
        """Take in images as they come, each to the group of its `label` (made if new). A known id replaces its record."""
        raise NotImplementedError

    def remove(self, image_ids: Collection[str]) -> None:
        """Take images out; unknown ids are ignored."""
        raise NotImplementedError

    def move(self, image_ids: Collection[str], label: str) -> None:
        """Put images under another label, at its end; they stay selected. Unknown ids are ignored."""
        raise NotImplementedError

    def replace_ids(self, new_ids: Mapping[str, str]) -> None:
        """Follow ids that a service changed: old → new."""
        raise NotImplementedError

    def add_label(self, label: str) -> None:
        """An empty group, at its place in the alphabet."""
        raise NotImplementedError

    def rename_label(self, old: str, new: str) -> None:
        """Another name for a group; merges where `new` exists."""
        raise NotImplementedError

    def remove_label(self, label: str) -> None:
        """Take out a group with its images."""
        raise NotImplementedError

    def set_accuracies(self, accuracies: Mapping[str, float]) -> None:
        """The classifier's figures by label, 0…1; labels not named have none."""
        raise NotImplementedError

    def set_badges(self, badges: Mapping[str, str]) -> None:
        """Small text on images by id, such as "t_shirt?"; replaces all of them."""
        raise NotImplementedError

    # --- filter and sort
    def set_filter(self, keep: Callable[[TrainingImage], bool] | None) -> None:
        """Show only what `keep` says; groups without such an image are hidden. What stays shown stays selected."""
        raise NotImplementedError

    def set_sort(self, key: Callable[[TrainingImage], Any] | None, *, reverse: bool = False) -> None:
        """Order within the groups; None is the order of coming."""
        raise NotImplementedError

    # --- look-up
    @property
    def total(self) -> int:
        """Images there are, shown or not."""
        raise NotImplementedError

    @property
    def shown(self) -> int:
        """Images that pass the filter: the rows."""
        raise NotImplementedError

    def image(self, row: int) -> TrainingImage:
        """The record of a row."""
        raise NotImplementedError

    def label_at(self, row: int) -> str:
        """The label a row is under."""
        raise NotImplementedError

    def row_of(self, image_id: str) -> int | None:
        """The row of an image, None where it is not shown."""
        raise NotImplementedError

    def record(self, image_id: str) -> TrainingImage | None:
        """The record of an image, shown or not."""
        raise NotImplementedError

    def neighbour(self, image_id: str, step: int) -> TrainingImage | None:
        """The image `step` rows on (or back, when negative), None at the ends."""
        raise NotImplementedError

    def selected_ids(self) -> list[str]:
        """Ids of what is selected, in row order."""
        raise NotImplementedError

    def selected_images(self) -> list[TrainingImage]:
        """Records of what is selected, in row order."""
        raise NotImplementedError

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        """Qt's."""
        raise NotImplementedError

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Qt's: name, tool tip, and what a screen reader says."""
        raise NotImplementedError
