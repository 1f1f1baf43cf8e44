"""Table of a batch, with its model, and the dialog that adds its photos to a training set under their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from operator import attrgetter

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QFormLayout,
    QHeaderView,
    QLineEdit,
    QMenu,
    QTreeView,
    QWidget,
)

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.batch.classification import AnsweredUploads, BatchRow, uploads_under_answers
from apitorch_desktop.ui.images.source_thumbnails import SourceThumbnails
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    CentralPage,
    ComboBox,
    ElidedLabel,
    MenuButton,
    ProgressBar,
    button,
    enable_unless,
    in_column,
    in_row,
    label,
    lay_out_dialog,
    spin_box,
)
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, TableFilter, TableModel
from apitorch_desktop.utils.text import plural

THUMBNAIL = 36
"""Size of a row's thumbnail in pixels at 100 %."""


class AnswerTable(QTreeView):
    """The table: Return opens a row's photo, digits and letters put the selected ones under a label, Escape leaves."""

    label_key = Signal(str)
    """A character that is no command: the key of a label, or the first letter of its name."""
    left = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        text, modifiers = event.text(), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        elif not modifiers & ~Qt.KeyboardModifier.ShiftModifier and len(text) == 1 and text.isalnum():
            self.label_key.emit(text)
        else:
            super().keyPressEvent(event)


class BatchPanel(CentralPage):
    """Shows a batch and emits what the user requests."""

    stop_requested = Signal()
    resume_requested = Signal()
    retry_requested = Signal()
    """Classify the failed photos again."""
    save_requested = Signal(str)
    """Format in which the table has to be saved: "csv" or "jsonl"."""
    opened = Signal(object)
    """The `BatchRow` to show in the classify panel."""
    add_menu_opening = Signal(object)
    """The `QMenu` of *Add to set* is about to open and has to be filled."""
    add_each_requested = Signal()
    """Add each photo under its answer."""
    menu_requested = Signal(QPoint)
    """A context menu is wanted at this place of the screen."""

    def __init__(self, theme: Theme, tasks: TaskRunner) -> None:
        super().__init__(theme, "Close the table")
        self._theme = theme
        edge = round(theme.px(THUMBNAIL) * self.devicePixelRatioF())
        self._thumbnails = SourceThumbnails(tasks, edge, lambda row: self.model.refresh(row), self)
        self.model = BatchModel(theme, lambda row: self._thumbnails.icon(row, row.source))
        self._shown = TableFilter(self.model, self)
        self.title = label("", "answer")
        self.words = ElidedLabel("", "small", "muted")
        self.meter = ProgressBar(0, thin=True)
        self.search = QLineEdit(placeholderText="Find a photo or an answer", clearButtonEnabled=True)
        self.search.setAccessibleName("Find a photo or an answer")
        self.search.textChanged.connect(lambda text: self._shown.setFilterFixedString(text.strip()))
        self.table = AnswerTable(rootIsDecorated=False, uniformRowHeights=True, sortingEnabled=True)
        self.table.setModel(self._shown)
        self.table.setAccessibleName("Answers")
        self.table.setProperty("kind", "table")
        self.table.setSelectionMode(QTreeView.SelectionMode.ExtendedSelection)
        self.table.setIconSize(QSize(theme.px(THUMBNAIL), theme.px(THUMBNAIL)))
        self.table.activated.connect(lambda index: self.opened.emit(index.data(ROW_ROLE)))
        self.table.left.connect(self.closed)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(
            lambda place: self.menu_requested.emit(self.table.viewport().mapToGlobal(place))
        )
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_controls())
        self.stop = button("Cancel", "", self.stop_requested.emit)
        self.resume = button("Resume", "", self.resume_requested.emit)
        self.again = button("Retry failed", "", self.retry_requested.emit)
        self.save = MenuButton(theme, "Save")
        self.save.setAccessibleName("Save the table")
        save_menu = QMenu(self.save)
        for words, name in (("As CSV…", "csv"), ("As JSON lines…", "jsonl")):
            save_menu.addAction(words).triggered.connect(
                lambda _checked=False, name=name: self.save_requested.emit(name)
            )
        self.save.setMenu(save_menu)
        self.each = button("Add each…", "", self.add_each_requested.emit)
        self.each.setAccessibleName("Add each photo under its answer")
        self.send = MenuButton(theme, "Add to set")
        menu = QMenu(self.send)
        menu.aboutToShow.connect(lambda: self.add_menu_opening.emit(menu))
        self.send.setMenu(menu)
        self._lay_out()

    def _lay_out(self) -> None:
        px = self._theme.px
        head = in_row(self.title, (self.words, 1), self.stop, self.resume, self.again, self.close_button)
        tools = in_row((self.search, 1), self.each, self.send, self.save)
        in_column(
            head, self.meter, tools, (self.table, 1), on=self, margins=(px(16), px(8), px(16), px(16)), spacing=px(8)
        )

    def begin(self, title: str, slugs: Sequence[str], rows: Sequence[BatchRow]) -> None:
        """Show a batch, or the scan for a new one without rows."""
        self.title.setText(title)
        self._thumbnails.clear()
        self.model.begin(slugs, rows)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.search.clear()
        header = self.table.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        px, room = self._theme.px, self.table.viewport().width() - self._theme.px(14)  # of the scroll bar
        name, in_set, figure = min(px(240), max(px(160), room // 4)), px(112), px(60)
        answer = min(px(170), max(px(88), (room - name) // max(1, len(slugs)) - figure))
        self.table.setColumnWidth(0, name)
        self.table.setColumnWidth(self.model.in_set_column, in_set)
        self.table.setColumnHidden(self.model.in_set_column, True)
        for slug in slugs:
            self.table.setColumnWidth(self.model.answer_column(slug), answer)
            self.table.setColumnWidth(self.model.answer_column(slug) + 1, figure)
        self.table.setColumnWidth(self.model.disagreement_column, figure)
        self.table.setColumnHidden(self.model.disagreement_column, True)

    def show_progress(self, text: str, *, going: bool) -> None:
        """Show how far the batch is, with rate and time left in `text`; a batch that has stopped early is partial."""
        done, failures, total = self.model.counts
        partial = not going and done < total
        if going:
            parts = [f"{done:,} of {total:,}"]
        elif partial:
            parts = [f"Partial: {done:,} of {plural(total, 'photo')} classified"]
        else:
            parts = [f"{plural(done - failures, 'photo')} classified"]
        parts += [text] if text else []
        parts += [f"{failures:,} could not be classified"] if failures else []
        self.words.setText(" · ".join(parts))
        self.meter.set_share((done - failures) / max(1, total), "warn" if failures and not going else "accent")
        self.meter.setVisible(going)
        self.stop.setVisible(going)
        self.resume.setVisible(partial)
        self.again.setVisible(not going and not partial and any(not row.problem for row in self._failures()))
        self._show_known_column()  # a photo's hash is known once it was read
        if len(self.model.slugs) > 1 and self.model.comparable:
            self.table.setColumnHidden(self.model.disagreement_column, False)
        self._update_controls()

    def show_known(self, known: Mapping[str, str]) -> None:
        """Mark the photos that the open training set has: SHA-256 → label."""
        self.model.set_known(known)
        self._show_known_column()

    def _show_known_column(self) -> None:
        known = self.model.known
        self.table.setColumnHidden(self.model.in_set_column, not any(row.sha256 in known for row in self.model.rows))

    def shown_rows(self) -> list[BatchRow]:
        """Return the rows that pass the search, as they are sorted."""
        return [self._shown.index(row, 0).data(ROW_ROLE) for row in range(self._shown.rowCount())]

    def select_next(self) -> None:
        """Select the row after the last selected one."""
        last = max((index.row() for index in self.table.selectionModel().selectedRows()), default=-1)
        if 0 <= last < self._shown.rowCount() - 1:
            self.table.setCurrentIndex(self._shown.index(last + 1, 0))

    def selected(self) -> list[BatchRow]:
        """Return the selected photos without those that cannot be read."""
        rows: list[BatchRow] = [index.data(ROW_ROLE) for index in self.table.selectionModel().selectedRows()]
        return [row for row in rows if not row.problem]

    def _failures(self) -> list[BatchRow]:
        return [row for row in self.model.rows if row.failed]

    def _update_controls(self) -> None:
        chosen = len(self.selected())
        enable_unless(self.each, "" if self.model.counts[0] else "There is no answer yet")
        enable_unless(self.send, "" if chosen else "Select photos first")
        self.send.setText(f"Add {chosen:,} to set" if chosen else "Add to set")
        enable_unless(self.save, "" if self.model.counts[0] else "There is no answer yet")


class BatchModel(TableModel[BatchRow]):
    """Rows come first, their answers later. `icon` returns a row's small picture."""

    def __init__(self, theme: Theme, icon: Callable[[BatchRow], QIcon]) -> None:
        super().__init__([], theme)
        self._icon = icon
        self.slugs: list[str] = []
        self.in_set_column = self.disagreement_column = 0
        self._answers_at: dict[str, int] = {}
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
        answers = {slug: _answer_columns(slug) for slug in slugs}
        columns = [photo, in_set, *(column for pair in answers.values() for column in pair), disagreement]
        self.in_set_column, self.disagreement_column = columns.index(in_set), columns.index(disagreement)
        self._answers_at = {slug: columns.index(pair[0]) for slug, pair in answers.items()}
        self.show(rows, columns)

    def answer_column(self, slug: str) -> int:
        """Return the column of a classifier's labels; that of its confidence follows."""
        return self._answers_at[slug]

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


_LEAST = 80
"""Percent from which an answer is taken, at first."""


class AddEachDialog(QDialog):
    """Chooses training set, classifier and threshold, and says what would be added.

    `there` returns the SHA-256 of the photos of a training set, as far as they are known.
    """

    agreed = Signal(list, object)
    """(`UploadItem`s, training set id)"""

    def __init__(
        self,
        theme: Theme,
        rows: Sequence[BatchRow],
        slugs: Sequence[str],
        sets: Sequence[TrainingSet],
        chosen: Id | None,
        there: Callable[[Id], Collection[str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._rows = rows
        self._there = there
        self.setWindowTitle("Add each photo under its answer")
        self.target = ComboBox(theme, "Training set")
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen)))
        self.classifier = ComboBox(theme, "Classifier")
        for slug in slugs:
            self.classifier.addItem(slug, slug)
        own = next((training_set.slug for training_set in sets if training_set.id == chosen), "")
        self.classifier.setCurrentIndex(max(0, self.classifier.findData(own)))
        self.least = spin_box(theme, "Minimum confidence", _LEAST, 0, 100, " %")
        self.least.setSingleStep(5)
        self.summary = label("", "base", wrap=True)
        self.left_out = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Add", "primary", self._confirm)
        self.start.setDefault(True)
        for choice in (self.target, self.classifier):
            choice.currentIndexChanged.connect(lambda _index: self._show_summary())
        self.least.valueChanged.connect(lambda _value: self._show_summary())
        self._lay_out(theme, several=len(slugs) > 1)
        self._show_summary()

    def _lay_out(self, theme: Theme, *, several: bool) -> None:
        fields = QFormLayout()
        fields.addRow("Into", self.target)
        fields.addRow("By the answers of", self.classifier)
        fields.setRowVisible(self.classifier, several)
        fields.addRow("Minimum confidence", self.least)
        lay_out_dialog(self, theme, (fields, self.summary, self.left_out), (self.cancel, self.start))
        self.setMinimumWidth(theme.px(440))

    def found(self) -> AnsweredUploads:
        """Return what would be added, and what is left out."""
        target = Id(self.target.currentData() or "")
        slug = str(self.classifier.currentData() or "")
        return uploads_under_answers(self._rows, slug, self.least.value() / 100, self._there(target))

    def _show_summary(self) -> None:
        found = self.found()
        labels = len({upload.label for upload in found.uploads})
        photos = plural(len(found.uploads), "photo")
        self.summary.setText(f"{photos} under {plural(labels, 'label')}" if found.uploads else "Nothing to add")
        reasons = (
            (found.unsure, "less sure"),
            (found.none_of_these, "of none of the labels"),
            (found.there, "in the set already"),
            (found.unanswered, "without an answer"),
        )
        parts = [f"{count:,} {reason}" for count, reason in reasons if count]
        self.left_out.setText(f"Left out: {' · '.join(parts)}." if parts else "")
        self.start.setText(f"Add {photos}" if found.uploads else "Add")
        self.start.setEnabled(bool(found.uploads))

    def _confirm(self) -> None:
        uploads, target = self.found().uploads, Id(self.target.currentData() or "")
        if uploads:
            self.accept()
            self.agreed.emit(uploads, target)
