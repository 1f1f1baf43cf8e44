"""Table model of a batch: a row for each photo, two columns for each classifier, and their disagreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter

from PySide6.QtGui import QIcon

from apitorch_desktop.dataset.batch.classification import BatchRow
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.table_model import Column, TableModel

IN_SET = 1
"""Column of the label under which the open training set has a photo."""


class BatchModel(TableModel[BatchRow]):
    """Rows come first, their answers later. `icon` returns a row's small picture."""

    def __init__(self, theme: Theme, icon: Callable[[BatchRow], QIcon]) -> None:
        super().__init__([], theme)
        self._icon = icon
        self.slugs: list[str] = []
        self.disagreement_column = 0
        self._known: Mapping[str, str] = {}

    def begin(self, slugs: Sequence[str], rows: Sequence[BatchRow]) -> None:
        """Show the rows of a batch."""
        self.slugs = list(slugs)
        photo: Column[BatchRow] = Column(
            title="Photo", text=attrgetter("name"), tooltip=attrgetter("place"), icon=self._icon
        )
        in_set: Column[BatchRow] = Column(
            title="In the set",
            text=self.label_in_set,
            tone=lambda _row: "muted",
            title_tooltip="Label under which the open training set has this very photo",
        )
        disagreement: Column[BatchRow] = Column(
            title="Disagreement",
            text=lambda row: "" if row.disagreement is None else f"{row.disagreement:.2f}",
            sort_key=lambda row: -1.0 if row.disagreement is None else row.disagreement,
            tone=lambda row: "warn_text" if (row.disagreement or 0) >= 0.5 else "",
            title_tooltip="How far the answers are apart, from 0 to 1",
            descending=True,
        )
        columns = [photo, in_set, *(column for slug in slugs for column in _answer_columns(slug)), disagreement]
        self.disagreement_column = columns.index(disagreement)
        self.show(rows, columns)

    def answer_column(self, slug: str) -> int:
        """Return the column of a classifier's labels; that of its confidence follows."""
        return IN_SET + 1 + 2 * self.slugs.index(slug)

    def set_known(self, known: Mapping[str, str]) -> None:
        """Set which photos the open training set has: SHA-256 → label."""
        self._known = known
        self.refresh()

    @property
    def known(self) -> Mapping[str, str]:
        """The photos of the open training set: SHA-256 → label."""
        return self._known

    def label_in_set(self, row: BatchRow) -> str:
        """Return the label under which the open training set has a row's photo, "" if it has it not."""
        return self._known.get(row.sha256, "")

    @property
    def counts(self) -> tuple[int, int, int]:
        """(answered rows with failures, failed rows, all rows)"""
        answered = sum(bool(row.problem or row.answers) for row in self.rows)
        return answered, sum(row.failed for row in self.rows), len(self.rows)

    @property
    def comparable(self) -> bool:
        """True if two classifiers share labels."""
        return any(row.disagreement is not None for row in self.rows)


def _answer_columns(slug: str) -> tuple[Column[BatchRow], Column[BatchRow]]:
    """Return the columns of a classifier: its labels, and how sure it is, the least sure first."""
    labels: Column[BatchRow] = Column(
        title=slug,
        text=partial(_answer_text, slug),
        sort_key=lambda row: f"{_answer_text(slug, row)} {1 - _order(slug, row):.4f}",
        tooltip=partial(_answer_tooltip, slug),
        tone=lambda row: "bad_text" if _failure(slug, row) else "",
        title_tooltip=slug,
    )
    confidence: Column[BatchRow] = Column(
        title="Sure",
        text=partial(_confidence_text, slug),
        sort_key=partial(_order, slug),
        tooltip=partial(_answer_tooltip, slug),
        title_tooltip=f"How sure {slug} is, from 0 to 1",
        numeric=True,
    )
    return labels, confidence


def _failure(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    return row.problem or (answer if isinstance(answer, str) else "")


def _answer_text(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    if failure := _failure(slug, row):
        return failure
    return "…" if answer is None or isinstance(answer, str) else answer.label_text


def _confidence_text(slug: str, row: BatchRow) -> str:
    value = row.confidence(slug)
    return "" if value is None else f"{value:.2f}"


def _order(slug: str, row: BatchRow) -> float:
    value = row.confidence(slug)
    return value if value is not None else (2.0 if slug not in row.answers else 1.5)


def _answer_tooltip(slug: str, row: BatchRow) -> str:
    answer = row.answers.get(slug)
    return _failure(slug, row) or (answer.sentence if answer is not None and not isinstance(answer, str) else "")
