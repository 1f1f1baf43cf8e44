"""An import plan as Qt models: its labels, and its pictures with how each stands. What is edited goes through the plan."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QFont

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.dataset.importer.plan import Plan, PlanItem, PlanLabel
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import size

_Index = QModelIndex | QPersistentModelIndex
_Role = Qt.ItemDataRole
_NOWHERE = QModelIndex()

SORT = int(_Role.UserRole)
"""Role of what a column is sorted by."""
STATUS = SORT + 1
"""Role of an item's `Standing`."""
ITEM = SORT + 2
"""Role of the `PlanItem` itself."""

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_TONES = {"problem": "bad_text", "no_label": "warn_text", "other_label": "warn_text", "similar": "warn_text"}
_WORDS = {"new": "", "left_out": "Left out"}


class PlanLabelsModel(QAbstractTableModel):
    """Labels with how many pictures each gets; the name can be edited. `problem` says why an edit was refused."""

    renamed = Signal(str, str)
    """(what a label was called, what it is called now); `edited` comes after it."""
    edited = Signal()
    problem = Signal(str)
    _HEADERS = ("Label", "Photos", "Not sent", "")

    def __init__(self) -> None:
        super().__init__()
        self._plan: Plan | None = None
        self._rows: list[PlanLabel] = []

    def show(self, plan: Plan | None) -> None:
        """Show a plan's labels, or those of the same plan anew."""
        self.beginResetModel()
        self._plan = plan
        self._rows = plan.labels() if plan else []
        self.endResetModel()

    def label(self, row: int) -> PlanLabel:
        """The label of a row."""
        return self._rows[row]

    def row_of(self, label: str | None) -> int | None:
        """The row of a label, None where it has none."""
        return next((at for at, row in enumerate(self._rows) if row.label == label), None)

    def rowCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _Role.TextAlignmentRole and section in (1, 2):
            return _RIGHT
        return self._HEADERS[section] if role == _Role.DisplayRole else None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        """Names can be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == 0 else flags

    def data(self, index: _Index, role: int = _Role.DisplayRole) -> Any:
        row = self._rows[index.row()]
        column = index.column()
        if role == _Role.TextAlignmentRole and column in (1, 2):
            return _RIGHT
        if role == _Role.ToolTipRole:
            spelled = ", ".join(f"“{name}”" for name in row.spelled if name != row.label and name)
            return f"From {spelled}" if spelled else None
        if role == _Role.EditRole:
            return row.label
        if role != _Role.DisplayRole:
            return None
        name = row.label or "no label yet"
        return (name, f"{row.sending:,}", f"{row.staying:,}" if row.staying else "", "" if row.exists else "new")[
            column
        ]

    def setData(self, index: _Index, value: Any, role: int = _Role.EditRole) -> bool:
        """Put a label's pictures under another name."""
        label = self._rows[index.row()].label
        if self._plan is None or role != _Role.EditRole or str(value) == label:
            return False
        try:
            self._plan.rename_label(label, str(value))
        except ValueError as error:
            self.problem.emit(str(error))
            return False
        self.renamed.emit(label, snake_case(str(value)))
        self.edited.emit()
        return True


class PlanItemsModel(QAbstractTableModel):
    """The pictures of a plan: a tick for those that are wanted, name, label (can be edited), size, how it stands."""

    edited = Signal()
    problem = Signal(str)
    _HEADERS = ("Photo", "Label", "Size", "Note")

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._plan: Plan | None = None
        self._rows: list[PlanItem] = []

    def show(self, plan: Plan | None) -> None:
        """Show a plan's pictures."""
        self.beginResetModel()
        self._plan = plan
        self._rows = plan.items if plan else []
        self.endResetModel()

    def refresh(self) -> None:
        """The plan judged anew: every row may stand otherwise."""
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, len(self._HEADERS) - 1))

    def rowCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _Role.TextAlignmentRole and section == 2:
            return _RIGHT
        return self._HEADERS[section] if role == _Role.DisplayRole else None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        flags = super().flags(index)
        item = self._rows[index.row()]
        if index.column() == 0 and item.problem is None:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        if index.column() == 1 and item.problem is None:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def data(self, index: _Index, role: int = _Role.DisplayRole) -> Any:
        item = self._rows[index.row()]
        column = index.column()
        if role == _Role.DisplayRole:
            return self._text(item, column)
        if role == SORT:
            return (item.name, item.label, item.size or 0, item.standing.value)[column]
        if role == STATUS:
            return item.standing.value
        if role == ITEM:
            return item
        if role == _Role.EditRole and column == 1:
            return item.label
        if role == _Role.ToolTipRole:
            return item.note or item.name
        if role == _Role.CheckStateRole and column == 0:
            wanted = item.included and item.problem is None
            return Qt.CheckState.Checked if wanted else Qt.CheckState.Unchecked
        return self._look(item, column, role)

    def setData(self, index: _Index, value: Any, role: int = _Role.EditRole) -> bool:
        """Leave a picture out or take it in, or put it under another label."""
        if self._plan is None:
            return False
        item = self._rows[index.row()]
        if role == _Role.CheckStateRole:
            self._plan.set_included([item], Qt.CheckState(value) == Qt.CheckState.Checked)
        elif role == _Role.EditRole:
            try:
                self._plan.set_label([item], str(value))
            except ValueError as error:
                self.problem.emit(str(error))
                return False
        else:
            return False
        self.edited.emit()
        return True

    def _text(self, item: PlanItem, column: int) -> str:
        if column == 2:
            return size(item.size) if item.size is not None else ""
        return (item.name, item.label, "", item.note or _WORDS.get(item.standing.value, ""))[column]

    def _look(self, item: PlanItem, column: int, role: int) -> Any:
        if role == _Role.ForegroundRole:
            return self._theme.color(_TONES.get(item.standing.value, "muted")) if column == 3 else None
        if role == _Role.TextAlignmentRole and column == 2:
            return _RIGHT
        if role == _Role.FontRole and column == 0 and item.standing.value in ("left_out", "problem"):
            font = QFont(self._theme.font())
            font.setStrikeOut(item.standing.value == "left_out")
            return font
        return None


class PlanFilter(QSortFilterProxyModel):
    """Shows the pictures of some statuses, of one label, with a text in name, label or note."""

    def __init__(self) -> None:
        super().__init__()
        self._statuses: Collection[str] = ()
        self._label: str | None = None
        self._text = ""
        self.setSortRole(SORT)

    def narrow(self, statuses: Collection[str], label: str | None, text: str) -> None:
        """Show only these: empty statuses, no label (None) and an empty text let everything through."""
        self.beginFilterChange()
        self._statuses, self._label, self._text = statuses, label, text.casefold()
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    def filterAcceptsRow(self, source_row: int, source_parent: _Index) -> bool:
        item: PlanItem = self.sourceModel().index(source_row, 0).data(ITEM)
        if self._statuses and item.standing.value not in self._statuses:
            return False
        if self._label is not None and item.label != self._label:
            return False
        return not self._text or self._text in f"{item.name}\n{item.label}\n{item.note}".casefold()
