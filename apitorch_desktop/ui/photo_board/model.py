"""Rows of the photo board, headings and photos, and the model that updates them in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import DuplicateGroup, LabelIssue
from apitorch_desktop.utils.text import percent

Index = QModelIndex | QPersistentModelIndex
_ONE_BY_ONE = 24
"""Most rows that are removed one by one; for more a reset is faster."""
BOARD_ROW_ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class HeadingRow:
    """A heading above photos. `actions` at its end are pairs (verb, name of the action)."""

    key: str
    title: str
    note: str = ""
    actions: tuple[tuple[str, str], ...] = ()
    group: DuplicateGroup | None = None


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo with up to two lines of text. `mark` is "keep", "go" or ""."""

    key: str
    image: TrainingImage
    lines: tuple[str, ...] = ()
    mark: str = ""
    group: DuplicateGroup | None = None


@dataclass(frozen=True, slots=True)
class LabelIssueRow:
    """A photo whose label may be wrong, with the likelier label."""

    key: str
    image: TrainingImage
    issue: LabelIssue


Row = HeadingRow | PhotoRow | LabelIssueRow


class BoardModel(QAbstractListModel):
    """Rows identified by their keys. Rows that stay are not reset, so that focus and scroll position stay."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the rows."""
        keys = {row.key for row in rows}
        if sum(row.key not in keys for row in self.rows) > _ONE_BY_ONE:
            self._reset(rows)
            return
        for at in range(len(self.rows) - 1, -1, -1):
            if self.rows[at].key not in keys:
                self.beginRemoveRows(QModelIndex(), at, at)
                del self.rows[at]
                self.endRemoveRows()
        if [row.key for row in self.rows] != [row.key for row in rows]:
            self._reset(rows)
        elif self.rows != rows:
            self.rows = list(rows)
            self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))

    def _reset(self, rows: Sequence[Row]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def row(self, index: Index) -> Row | None:
        """Return the row of an index."""
        return self.rows[index.row()] if index.isValid() and index.row() < len(self.rows) else None

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def flags(self, index: Index) -> Qt.ItemFlag:
        row = self.row(index)
        if row is None or isinstance(row, HeadingRow):
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.row(index)
        if row is None:
            return None
        if role == BOARD_ROW_ROLE:
            return row
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return _accessible_text(row)
        if role == Qt.ItemDataRole.ToolTipRole and not isinstance(row, HeadingRow):
            return row.image.display_name
        return None


def _accessible_text(row: Row) -> str:
    if isinstance(row, HeadingRow):
        return f"{row.title}. {row.note}"
    if isinstance(row, LabelIssueRow):
        issue = row.issue
        shares = f"{issue.given} {percent(issue.given_value)}, {issue.likely} {percent(issue.likely_value)}"
        return f"{row.image.display_name}: {shares}"
    mark = {"keep": "is kept", "go": "would be deleted"}.get(row.mark, "")
    return ", ".join(part for part in (row.image.display_name, *row.lines, mark) if part)
