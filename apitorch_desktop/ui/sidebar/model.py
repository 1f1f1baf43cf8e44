"""Model of the tree: training sets with labels and counts, and the findings of Review, updated in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

from msgspec import UNSET
from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from apitorch_desktop.api.types import INBOX, Id, TrainingSet, label_name, label_order
from apitorch_desktop.utils.text import plural

Index = QModelIndex | QPersistentModelIndex
LABEL_KEYS = "1234567890"
"""Default label keys, in the order of the labels."""


class RowType(Enum):
    """Kind of a row."""

    TRAINING_SET = "training set"
    LABEL = "label"
    HEADING = "heading"
    FINDING = "finding"
    DRAFT = "draft"
    """A new training set or label that is being named."""


NODE_ROLE = Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True, slots=True)
class FindingEntry:
    """A row of the review section with its title, icon and count."""

    key: str
    title: str
    icon: str
    count: int | None = None


@dataclass(eq=False, slots=True)
class TreeNode:
    """A row. `count` is None if it is not known; `hint` is the label's key; `serial` is the internal id of its indexes."""

    row_type: RowType
    key: str
    text: str
    count: int | None = None
    hint: str = ""
    icon: str = ""
    training_set: TrainingSet | None = None
    parent: TreeNode | None = None
    children: list[TreeNode] = field(default_factory=list)
    serial: int = 0

    @property
    def is_inbox(self) -> bool:
        """True for the photos without a label, a row that has no name of its own."""
        return self.row_type is RowType.LABEL and self.key == INBOX

    @property
    def set_id(self) -> Id:
        """Id of the training set of the row, of its own or of its label's; "" for a row of neither."""
        if self.training_set is not None:
            return self.training_set.id
        return self.parent.set_id if self.parent is not None else Id()


class TreeModel(QAbstractItemModel):
    """Training sets, their labels, and the review section of the open one."""

    renamed = Signal(object, str)
    """(TreeNode, name): the user renamed a row. The row changes once the service has done it."""
    drafted = Signal(object, str)
    """(TreeNode, name): a new row was named; the node is the training set of a label, None for a training set."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._root = TreeNode(RowType.HEADING, "", "")
        self._hints: dict[str, dict[str, str]] = {}
        self._nodes: dict[int, TreeNode] = {}  # by serial: an index must not hold the address of a deleted row
        self._serials = count(1)

    # --- content

    def set_training_sets(self, sets: Sequence[TrainingSet]) -> None:
        """Show these training sets; rows that stay keep selection and scroll position."""
        new = [self._node_of(training_set) for training_set in sets]
        old = [node for node in self._root.children if node.row_type is RowType.TRAINING_SET]
        self._sync(self._root, old, new)
        nodes = {node.key: node for node in self._root.children if node.row_type is RowType.TRAINING_SET}
        for fresh in new:
            node = nodes[fresh.key]
            node.training_set = fresh.training_set
            labels = [child for child in node.children if child.row_type is RowType.LABEL]
            self._sync(node, labels, list(fresh.children))

    def set_hints(self, set_id: Id, hints: dict[str, str]) -> None:
        """Set other keys than 1 to 0 for a training set's labels: label → key."""
        self._hints[set_id] = hints
        node = self.find(set_id)
        if node is not None and node.children:
            for child in node.children:
                child.hint = hints.get(child.key, "")
            self._changed(node.children[0], node.children[-1])

    def set_findings(self, heading: str, findings: Sequence[FindingEntry]) -> None:
        """Show findings under a heading; an empty list removes the section."""
        new = [TreeNode(RowType.FINDING, entry.key, entry.title, entry.count, icon=entry.icon) for entry in findings]
        if new:
            new.insert(0, TreeNode(RowType.HEADING, "review", heading))
        old = [node for node in self._root.children if node.row_type in (RowType.HEADING, RowType.FINDING)]
        self._sync(self._root, old, new, at_end=True)

    def start_draft(self, parent: TreeNode | None) -> QModelIndex:
        """Insert a row for the user to name: a label of a training set, or a training set if `parent` is None."""
        above = parent or self._root
        place = len(above.children) if parent else sum(node.row_type is RowType.TRAINING_SET for node in above.children)
        self.beginInsertRows(self.index_of(above), place, place)
        draft = self._adopt(TreeNode(RowType.DRAFT, "", ""), above, place)
        self.endInsertRows()
        return self.index_of(draft)

    def drop_draft(self) -> None:
        """Remove the row that was being named."""
        for above in (self._root, *self._root.children):
            for place, node in enumerate(above.children):
                if node.row_type is RowType.DRAFT:
                    self.beginRemoveRows(self.index_of(above), place, place)
                    self._discard(above, place)
                    self.endRemoveRows()
                    return

    # --- look-up

    def find(self, set_id: Id, label: str | None = None) -> TreeNode | None:
        """Return the row of a training set, or of a label in it."""
        node = next((row for row in self._root.children if row.key == set_id and row.training_set), None)
        if node is None or label is None:
            return node
        return next((row for row in node.children if row.row_type is RowType.LABEL and row.key == label), None)

    def node(self, index: Index) -> TreeNode | None:
        """Return the row of an index."""
        return self._nodes.get(index.internalId()) if index.isValid() else None

    def index_of(self, node: TreeNode) -> QModelIndex:
        """Return the index of a row."""
        if node.parent is None:
            return QModelIndex()
        return self.createIndex(node.parent.children.index(node), 0, node.serial)

    def top(self) -> list[TreeNode]:
        """Return the rows of the first level."""
        return list(self._root.children)

    # --- item model

    def index(self, row: int, column: int, parent: Index | None = None) -> QModelIndex:
        above = self._above(parent)
        if column == 0 and 0 <= row < len(above.children):
            return self.createIndex(row, 0, above.children[row].serial)
        return QModelIndex()

    def parent(self, index: Index | None = None) -> Any:
        """Return the parent of an index; without an index that of the QObject."""
        if index is None:
            return QObject.parent(self)
        node = self.node(index)
        return self.index_of(node.parent) if node is not None and node.parent is not None else QModelIndex()

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self._above(parent).children)

    def columnCount(self, parent: Index | None = None) -> int:
        return 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        node = self.node(index)
        if node is None:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return node.text
        if role == NODE_ROLE:
            return node
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._accessible_text(node)
        if role == Qt.ItemDataRole.ToolTipRole:
            return node.text
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Report a typed name."""
        node = self.node(index)
        name = " ".join(str(value).split())
        if node is None or role != Qt.ItemDataRole.EditRole:
            return False
        if node.row_type is RowType.DRAFT:
            above = node.parent if node.parent is not self._root else None
            self.drop_draft()
            if name:
                self.drafted.emit(above, name)
            return True
        if name and name != node.text:
            self.renamed.emit(node, name)
        return False

    def flags(self, index: Index) -> Qt.ItemFlag:
        node = self.node(index)
        if node is None:
            return Qt.ItemFlag.NoItemFlags
        if node.row_type is RowType.HEADING:
            return Qt.ItemFlag.ItemIsEnabled
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if node.is_inbox:
            return flags | Qt.ItemFlag.ItemIsDropEnabled
        if node.row_type in (RowType.TRAINING_SET, RowType.LABEL):
            return flags | Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsDropEnabled
        return flags | Qt.ItemFlag.ItemIsEditable if node.row_type is RowType.DRAFT else flags

    def _node_of(self, training_set: TrainingSet) -> TreeNode:
        names = [] if training_set.labels is UNSET else training_set.labels
        counts = {} if training_set.counts is UNSET else dict(zip(names, training_set.counts, strict=False))
        labels = sorted(names, key=label_order)  # as in the grid, so that keys and groups have the same order
        labels = [label for label in labels if label != INBOX or counts.get(label) != 0]
        keyed = [label for label in labels if label != INBOX]
        hints = self._hints.get(training_set.id) or dict(zip(keyed, LABEL_KEYS, strict=False))
        total = None if training_set.counts is UNSET else sum(training_set.counts)
        node = TreeNode(RowType.TRAINING_SET, training_set.id, training_set.name, total, training_set=training_set)
        node.children = [
            TreeNode(RowType.LABEL, label, label_name(label), counts.get(label), hints.get(label, ""))
            for label in labels
        ]
        return node

    def _accessible_text(self, node: TreeNode) -> str:
        parts = [node.text]
        if node.count is not None:
            parts.append(plural(node.count, "photo") if node.row_type is not RowType.FINDING else f"{node.count:,}")
        if node.hint:
            parts.append(f"key {node.hint}")
        return ", ".join(parts)

    def _above(self, parent: Index | None) -> TreeNode:
        return (self.node(parent) if parent is not None else None) or self._root

    def _adopt(self, node: TreeNode, above: TreeNode, place: int) -> TreeNode:
        node.parent, node.serial = above, next(self._serials)
        self._nodes[node.serial] = node
        above.children.insert(place, node)
        return node

    def _discard(self, above: TreeNode, place: int) -> None:
        node = above.children.pop(place)
        for removed in (node, *node.children):
            self._nodes.pop(removed.serial, None)

    def _changed(self, first: TreeNode, last: TreeNode) -> None:
        self.dataChanged.emit(self.index_of(first), self.index_of(last))

    def _sync(self, above: TreeNode, old: list[TreeNode], new: list[TreeNode], *, at_end: bool = False) -> None:
        """Turn the adjacent rows `old` of a parent into `new`: remove, insert, move, and change in place."""
        parent = self.index_of(above)
        start = above.children.index(old[0]) if old else (len(above.children) if at_end else 0)
        keys = {(node.row_type, node.key) for node in new}
        for node in old:
            if (node.row_type, node.key) not in keys:
                place = above.children.index(node)
                self.beginRemoveRows(parent, place, place)
                self._discard(above, place)
                self.endRemoveRows()
        known = {(node.row_type, node.key): node for node in old if (node.row_type, node.key) in keys}
        changed = False
        for place, fresh in enumerate(new, start):
            existing = known.get((fresh.row_type, fresh.key))
            if existing is None:
                children, fresh.children = fresh.children, []
                self.beginInsertRows(parent, place, place)
                self._adopt(fresh, above, place)
                self.endInsertRows()
                self._sync(fresh, [], children)
                continue
            index = above.children.index(existing)
            if index != place:
                self.beginMoveRows(parent, index, index, parent, place)
                above.children.insert(place, above.children.pop(index))
                self.endMoveRows()
            if (existing.text, existing.count, existing.hint) != (fresh.text, fresh.count, fresh.hint):
                existing.text, existing.count, existing.hint = fresh.text, fresh.count, fresh.hint
                changed = True
        if changed:
            self._changed(above.children[start], above.children[start + len(new) - 1])
