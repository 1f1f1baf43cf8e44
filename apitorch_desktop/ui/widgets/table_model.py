"""Table model described by its columns, and a proxy that sorts and filters it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QFont, QIcon

from apitorch_desktop.ui.theme.theme import Theme

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex
_Role = Qt.ItemDataRole
_NO_PARENT = QModelIndex()
_AT_END = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

SORT_ROLE: Final = int(_Role.UserRole)
"""Value a cell is sorted by."""
ROW_ROLE: Final = SORT_ROLE + 1
"""Object a row shows, from any of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """A column: its title and, as functions of the row's object, what its cells show.

    `tone` names the theme's token for the text, "" for the palette's. `tooltip` defaults to the text, which may be cut
    off. `checked` gives the cell a check box. `edit` and `check` store a change and return False to reject it; `editable`
    says for which rows they apply. `edit_text` is what an editor starts with, by default the text.
    """

    title: str
    text: Callable[[Row], str]
    sort_key: Callable[[Row], Any] | None = None
    tooltip: Callable[[Row], str] | None = None
    tone: Callable[[Row], str] | None = None
    icon: Callable[[Row], QIcon | None] | None = None
    font: Callable[[Row], QFont | None] | None = None
    edit: Callable[[Row, str], bool] | None = None
    edit_text: Callable[[Row], str] | None = None
    checked: Callable[[Row], bool] | None = None
    check: Callable[[Row, bool], bool] | None = None
    editable: Callable[[Row], bool] | None = None
    numeric: bool = False
    """Aligned to the end, title included."""
    title_tooltip: str = ""
    descending: bool = False
    """The first click on the title sorts from the highest."""


class TableModel(QAbstractTableModel, Generic[Row]):
    """A row for each object of `rows`. `theme` is needed for columns with a `tone`."""

    def __init__(
        self, columns: Sequence[Column[Row]], theme: Theme | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.columns = list(columns)
        self.rows: list[Row] = []
        self._theme = theme
        self._numbers: dict[int, int] | None = None

    def show(self, rows: Iterable[Row], columns: Sequence[Column[Row]] | None = None) -> None:
        """Replace the rows, and the columns where they are given."""
        self.beginResetModel()
        self.rows, self._numbers = list(rows), None
        if columns is not None:
            self.columns = list(columns)
        self.endResetModel()

    def refresh(self, row: Row | None = None) -> None:
        """Report that a row has changed; None stands for all of them. An object that is not shown is ignored."""
        first, last = 0, len(self.rows) - 1
        if row is not None:
            number = self.number_of(row)
            if number is None:
                return
            first = last = number
        if self.rows:
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(self.columns) - 1))

    def number_of(self, row: Row) -> int | None:
        """Return the number of the row that shows this very object, None where there is none."""
        if self._numbers is None:
            self._numbers = {id(row): number for number, row in enumerate(self.rows)}
        return self._numbers.get(id(row))

    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        column = self.columns[section]
        if role == _Role.DisplayRole:
            return column.title
        if role == _Role.ToolTipRole:
            return column.title_tooltip or None
        if role == _Role.TextAlignmentRole:
            return _AT_END if column.numeric else None
        if role == _Role.InitialSortOrderRole:
            return Qt.SortOrder.DescendingOrder if column.descending else Qt.SortOrder.AscendingOrder
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = super().flags(index)
        if not index.isValid():
            return flags
        row, column = self.rows[index.row()], self.columns[index.column()]
        if column.editable is None or column.editable(row):
            if column.edit is not None:
                flags |= Qt.ItemFlag.ItemIsEditable
            if column.check is not None:
                flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: Index, role: int = _Role.DisplayRole) -> Any:
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == _Role.DisplayRole:
            return column.text(row)
        if role == _Role.ToolTipRole:
            return (column.tooltip or column.text)(row) or None
        if role == _Role.ForegroundRole:
            tone = column.tone(row) if column.tone is not None else ""
            return self._theme.color(tone) if tone and self._theme is not None else None
        if role == _Role.DecorationRole:
            return column.icon(row) if column.icon is not None else None
        if role == _Role.FontRole:
            return column.font(row) if column.font is not None else None
        if role == _Role.TextAlignmentRole:
            return _AT_END if column.numeric else None
        if role == _Role.CheckStateRole and column.checked is not None:
            return Qt.CheckState.Checked if column.checked(row) else Qt.CheckState.Unchecked
        if role == _Role.EditRole:
            return (column.edit_text or column.text)(row)
        if role == SORT_ROLE:
            return (column.sort_key or column.text)(row)
        return row if role == ROW_ROLE else None

    def setData(self, index: Index, value: Any, role: int = _Role.EditRole) -> bool:
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == _Role.CheckStateRole and column.check is not None:
            return column.check(row, Qt.CheckState(value) == Qt.CheckState.Checked)
        if role == _Role.EditRole and column.edit is not None:
            return column.edit(row, str(value))
        return False


class TableFilter(QSortFilterProxyModel):
    """Sorts a `TableModel` by its sort keys; `setFilterFixedString` keeps the rows with a text in any column."""

    def __init__(self, model: QAbstractTableModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setSourceModel(model)
        self.setSortRole(SORT_ROLE)
        self.setFilterKeyColumn(-1)
        self.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
