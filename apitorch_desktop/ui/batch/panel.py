"""Table of a batch: shows answers as they arrive, sorts by confidence and disagreement, and can be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QLineEdit, QMenu, QTreeView, QVBoxLayout, QWidget

from apitorch_desktop.dataset.batch.classification import BatchRow
from apitorch_desktop.ui.batch.model import IN_SET, BatchModel
from apitorch_desktop.ui.images.source_thumbnails import SourceThumbnails
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    MenuButton,
    ProgressBar,
    button,
    enable_unless,
    icon_button,
    label,
    surface,
)
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, TableFilter
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


class BatchPanel(QWidget):
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
    closed = Signal()

    def __init__(self, theme: Theme, tasks: TaskRunner) -> None:
        super().__init__()
        surface(self, "canvas")
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
        self.close_button = icon_button(theme, "close", "Close the table")
        self.close_button.clicked.connect(self.closed)
        self._lay_out()
        self._going = False

    def _lay_out(self) -> None:
        px = self._theme.px
        head = QHBoxLayout()
        head.addWidget(self.title)
        head.addWidget(self.words, 1)
        for control in (self.stop, self.resume, self.again):
            head.addWidget(control)
        head.addWidget(self.close_button)
        tools = QHBoxLayout()
        tools.addWidget(self.search, 1)
        tools.addWidget(self.each)
        tools.addWidget(self.send)
        tools.addWidget(self.save)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(px(16), px(8), px(16), px(16))
        rows.setSpacing(px(8))
        rows.addLayout(head)
        rows.addWidget(self.meter)
        rows.addLayout(tools)
        rows.addWidget(self.table, 1)

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
        name, in_set, figure = min(px(240), max(px(160), room // 4)), px(88), px(60)
        answer = min(px(170), max(px(88), (room - name) // max(1, len(slugs)) - figure))
        self.table.setColumnWidth(0, name)
        self.table.setColumnWidth(IN_SET, in_set)
        self.table.setColumnHidden(IN_SET, True)
        for slug in slugs:
            self.table.setColumnWidth(self.model.answer_column(slug), answer)
            self.table.setColumnWidth(self.model.answer_column(slug) + 1, figure)
        self.table.setColumnWidth(self.model.disagreement_column, figure)
        self.table.setColumnHidden(self.model.disagreement_column, True)

    def show_progress(self, text: str, *, going: bool) -> None:
        """Show how far the batch is, with rate and time left in `text`; a batch that has stopped early is partial."""
        done, failures, total = self.model.counts
        self._going = going
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
        if len(self.model.slugs) > 1 and self.model.comparable:
            self.table.setColumnHidden(self.model.disagreement_column, False)
        self._update_controls()

    def show_known(self, known: Mapping[str, str]) -> None:
        """Mark the photos that the open training set has: SHA-256 → label."""
        self.model.set_known(known)
        self.table.setColumnHidden(IN_SET, not any(row.sha256 in known for row in self.model.rows))

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
