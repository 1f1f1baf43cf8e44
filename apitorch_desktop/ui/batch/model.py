"""A batch as a Qt model: a row for each photo, a column for each classifier, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QIcon, QImage, QPainter, QPixmap

from apitorch_desktop.dataset.batch import BatchRow
from apitorch_desktop.ui.theme.theme import Theme

_Index = QModelIndex | QPersistentModelIndex
_Role = Qt.ItemDataRole
_NOWHERE = QModelIndex()

SORT = int(_Role.UserRole)
"""Role of what a column is sorted by; an answer by its confidence, the least sure first."""
ROW = SORT + 1
"""Role of the `BatchRow`."""


class BatchModel(QAbstractTableModel):
    """Rows come first, their answers later."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.slugs: list[str] = []
        self.rows: list[BatchRow] = []
        self._numbers: dict[int, int] = {}
        self._icons: dict[int, QIcon] = {}
        self._failed = 0
        self._answered = 0

    def begin(self, slugs: Sequence[str], rows: Sequence[BatchRow]) -> None:
        """Show these rows, without answers."""
        self.beginResetModel()
        self.slugs, self.rows = list(slugs), list(rows)
        self._numbers = {id(row): number for number, row in enumerate(self.rows)}
        self._icons.clear()
        self._answered = sum(bool(row.problem) for row in rows)
        self._failed = self._answered
        self.endResetModel()

    def changed(self, row: BatchRow) -> None:
        """A row has its answers."""
        number = self._numbers.get(id(row))
        if number is None:
            return
        self._answered += 1
        self._failed += failed(row)
        self.dataChanged.emit(self.index(number, 0), self.index(number, self.columnCount() - 1))

    def clear_answers(self, row: BatchRow) -> None:
        """A row waits for its answers again."""
        self._answered -= 1
        self._failed -= failed(row)
        row.answers = {}

    def show_thumbnail(self, row: BatchRow, image: QImage) -> None:
        """A row's picture, small."""
        number = self._numbers.get(id(row))
        if number is not None:
            self._icons[number] = _icon(image)
            self.dataChanged.emit(self.index(number, 0), self.index(number, 0))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Answered (failures with them), failed, all."""
        return self._answered, self._failed, len(self.rows)

    @property
    def comparable(self) -> bool:
        """Whether two classifiers share labels."""
        return any(row.disagreement is not None for row in self.rows)

    def rowCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else 2 + len(self.slugs)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        """Qt's; a first click shows where the classifiers disagree most."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _Role.ToolTipRole:
            return ["", *self.slugs, "How far the answers are apart, from 0 to 1"][section]
        if role == _Role.InitialSortOrderRole:
            apart = section == len(self.slugs) + 1
            return Qt.SortOrder.DescendingOrder if apart else Qt.SortOrder.AscendingOrder
        if role != _Role.DisplayRole:
            return None
        return ["Photo", *self.slugs, "Disagreement"][section]

    def data(self, index: _Index, role: int = _Role.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == ROW:
            return row
        if column == 0:
            return self._photo(row, index.row(), role)
        if column == len(self.slugs) + 1:
            return self._disagreement(row, role)
        return self._answer(row, self.slugs[column - 1], role)

    def _photo(self, row: BatchRow, number: int, role: int) -> Any:
        if role in (_Role.DisplayRole, SORT):
            return row.name
        if role == _Role.ToolTipRole:
            return row.place
        if role == _Role.DecorationRole:
            return self._icons.get(number)
        return None

    def _disagreement(self, row: BatchRow, role: int) -> Any:
        apart = row.disagreement
        if role == SORT:
            return -1.0 if apart is None else apart
        if role == _Role.DisplayRole and apart is not None:
            return f"{apart:.2f}"
        if role == _Role.ForegroundRole and apart is not None and apart >= 0.5:
            return self._theme.color("warn_text")
        return None

    def _answer(self, row: BatchRow, slug: str, role: int) -> Any:
        answer = row.answers.get(slug)
        failure = row.problem or (answer if isinstance(answer, str) else "")
        if role == SORT:
            value = row.confidence(slug)
            return value if value is not None else (2.0 if answer is None else 1.5)
        if role == _Role.DisplayRole:
            if failure:
                return failure
            if answer is None or isinstance(answer, str):
                return "…"
            value = row.confidence(slug)
            return answer.label if value is None else f"{value:.2f} {answer.label}"
        if role == _Role.ToolTipRole:
            return failure or (answer.sentence if answer is not None and not isinstance(answer, str) else None)
        if role == _Role.ForegroundRole:
            return self._theme.color("bad_text") if failure else None
        return None


class BatchFilter(QSortFilterProxyModel):
    """The rows with a text in their name or an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.setSortRole(SORT)
        self._text = ""

    def search(self, text: str) -> None:
        """Show only rows with this text."""
        self.beginFilterChange()
        self._text = text.casefold()
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    def filterAcceptsRow(self, source_row: int, source_parent: _Index) -> bool:
        if not self._text:
            return True
        row: BatchRow = self.sourceModel().index(source_row, 0).data(ROW)
        said = [answer if isinstance(answer, str) else answer.label for answer in row.answers.values()]
        return self._text in "\n".join([row.name, row.problem, *said]).casefold()


def _icon(image: QImage) -> QIcon:
    """A picture in the middle of a square, so that names begin at one line; not tinted where its row is selected."""
    edge = max(image.width(), image.height())
    square = QPixmap(edge, edge)
    square.fill(Qt.GlobalColor.transparent)
    painter = QPainter(square)
    painter.drawImage((edge - image.width()) // 2, (edge - image.height()) // 2, image)
    painter.end()
    icon = QIcon(square)
    icon.addPixmap(square, QIcon.Mode.Selected)
    return icon


def failed(row: BatchRow) -> bool:
    """Whether a row has no answer from some classifier."""
    return bool(row.problem) or any(isinstance(answer, str) for answer in row.answers.values())
