"""Table model of a batch: a row for each photo, a column for each classifier, and their disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter

from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon, QImage, QPainter, QPixmap

from apitorch_desktop.dataset.batch.classification import BatchRow
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.table_model import Column, TableModel


class BatchModel(TableModel[BatchRow]):
    """Rows come first, their answers later."""

    def __init__(self, theme: Theme) -> None:
        super().__init__([], theme)
        self.slugs: list[str] = []
        self.disagreement_column = 0
        self._icons: dict[int, QIcon] = {}

    def begin(self, slugs: Sequence[str], rows: Sequence[BatchRow]) -> None:
        """Show the rows of a batch."""
        self.slugs = list(slugs)
        self._icons.clear()
        photo: Column[BatchRow] = Column(
            title="Photo",
            text=attrgetter("name"),
            tooltip=attrgetter("place"),
            icon=lambda row: self._icons.get(id(row)),
        )
        disagreement: Column[BatchRow] = Column(
            title="Disagreement",
            text=lambda row: "" if row.disagreement is None else f"{row.disagreement:.2f}",
            sort_key=lambda row: -1.0 if row.disagreement is None else row.disagreement,
            tone=lambda row: "warn_text" if (row.disagreement or 0) >= 0.5 else "",
            title_tooltip="How far the answers are apart, from 0 to 1",
            descending=True,
        )
        columns = [photo, *map(_answer_column, slugs), disagreement]
        self.disagreement_column = columns.index(disagreement)
        self.show(rows, columns)

    def show_thumbnail(self, row: BatchRow, image: QImage) -> None:
        """Show the thumbnail of a row."""
        self._icons[id(row)] = _icon(image)
        self.refresh(row)

    @property
    def counts(self) -> tuple[int, int, int]:
        """(answered rows with failures, failed rows, all rows)"""
        answered = sum(bool(row.problem or row.answers) for row in self.rows)
        return answered, sum(row.failed for row in self.rows), len(self.rows)

    @property
    def comparable(self) -> bool:
        """True if two classifiers share labels."""
        return any(row.disagreement is not None for row in self.rows)


def _answer_column(slug: str) -> Column[BatchRow]:
    """Return the column of a classifier; it is sorted by confidence, the least sure first."""
    return Column(
        title=slug,
        text=partial(_answer_text, slug),
        sort_key=partial(_answer_order, slug),
        tooltip=partial(_answer_tooltip, slug),
        tone=lambda row: "bad_text" if _failure(slug, row) else "",
        title_tooltip=slug,
    )


def _failure(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    return row.problem or (answer if isinstance(answer, str) else "")


def _answer_text(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    if failure := _failure(slug, row):
        return failure
    if answer is None or isinstance(answer, str):
        return "…"
    value = row.confidence(slug)
    return answer.label_text if value is None else f"{value:.2f} {answer.label_text}"


def _answer_order(slug: str, row: BatchRow) -> float:
    value = row.confidence(slug)
    return value if value is not None else (2.0 if slug not in row.answers else 1.5)


def _answer_tooltip(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    return _failure(slug, row) or (answer.sentence if answer is not None and not isinstance(answer, str) else "")


def _icon(image: QImage) -> QIcon:
    """Return an image centered in a square, so that names are aligned; not tinted where its row is selected."""
    edge = max(image.width(), image.height())
    square = QPixmap(edge, edge)
    square.fill(Qt.GlobalColor.transparent)
    painter = QPainter(square)
    painter.drawImage((edge - image.width()) // 2, (edge - image.height()) // 2, image)
    painter.end()
    icon = QIcon(square)
    icon.addPixmap(square, QIcon.Mode.Selected)
    return icon
