"""The table of a batch: fills as answers come, can be sorted by confidence and disagreement, saved, and sent to a label."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QLineEdit, QMenu, QTreeView, QVBoxLayout, QWidget

from apitorch_desktop.dataset.batch import BatchRow
from apitorch_desktop.ui.batch.model import ROW, BatchFilter, BatchModel
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
from apitorch_desktop.utils.text import plural

THUMBNAIL = 36
"""Pixels of a row's picture."""


class BatchPanel(QWidget):
    """Shows what it is told; says what is wanted."""

    stop_requested = Signal()
    retry_requested = Signal()
    """Ask about the failed ones again."""
    save_requested = Signal(str)
    """How the table is to be saved: "csv" or "jsonl"."""
    opened = Signal(object)
    """A `BatchRow` to look at in the classify panel."""
    add_menu_opening = Signal(object)
    """The `QMenu` of *Add to set* is about to open: time to fill it."""
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        surface(self, "canvas")
        self._theme = theme
        self.model = BatchModel(theme)
        self._shown = BatchFilter()
        self._shown.setSourceModel(self.model)
        self.title = label("", "answer")
        self.words = ElidedLabel("", "small", "muted")
        self.meter = ProgressBar(0, thin=True)
        self.search = QLineEdit(placeholderText="Find a photo or an answer", clearButtonEnabled=True)
        self.search.setAccessibleName("Find a photo or an answer")
        self.search.textChanged.connect(lambda text: self._shown.search(text.strip()))
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True, sortingEnabled=True)
        self.table.setModel(self._shown)
        self.table.setAccessibleName("Answers")
        self.table.setProperty("kind", "table")
        self.table.setSelectionMode(QTreeView.SelectionMode.ExtendedSelection)
        self.table.setIconSize(QSize(theme.px(THUMBNAIL), theme.px(THUMBNAIL)))
        self.table.activated.connect(lambda index: self.opened.emit(index.data(ROW)))
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_controls())
        self.stop = button("Cancel", "", self.stop_requested.emit)
        self.again = button("Retry failed", "", self.retry_requested.emit)
        self.save = MenuButton(theme, "Save")
        self.save.setAccessibleName("Save the table")
        forms = QMenu(self.save)
        for words, form in (("As CSV…", "csv"), ("As JSON lines…", "jsonl")):
            forms.addAction(words).triggered.connect(lambda _checked=False, form=form: self.save_requested.emit(form))
        self.save.setMenu(forms)
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
        for control in (self.stop, self.again):
            head.addWidget(control)
        head.addWidget(self.close_button)
        tools = QHBoxLayout()
        tools.addWidget(self.search, 1)
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
        """A new batch."""
        self.title.setText(title)
        self.model.begin(slugs, rows)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.search.clear()
        header = self.table.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        px, room = self._theme.px, self.table.viewport().width()
        name, figure = min(px(240), max(px(112), room // 3)), px(64)
        answer = min(px(170), max(px(104), (room - name - figure) // max(1, len(slugs))))
        for column, width in enumerate((name, *[answer] * len(slugs), figure)):
            self.table.setColumnWidth(column, width)
        self.table.setColumnHidden(len(slugs) + 1, True)

    def show_progress(self, words: str, *, going: bool) -> None:
        """How far it is; `words` as rate and time left."""
        done, failures, total = self.model.counts
        self._going = going
        parts = [f"{done:,} of {total:,}" if going else f"{plural(done - failures, 'photo')} classified"]
        parts += [words] if words else []
        parts += [f"{failures:,} could not be classified"] if failures else []
        self.words.setText(" · ".join(parts))
        self.meter.set_share((done - failures) / max(1, total), "warn" if failures and not going else "accent")
        self.meter.setVisible(going)
        self.stop.setVisible(going)
        self.again.setVisible(not going and any(not row.problem for row in self._failures()))
        if len(self.model.slugs) > 1 and self.model.comparable:
            self.table.setColumnHidden(len(self.model.slugs) + 1, False)
        self._update_controls()

    def selected(self) -> list[BatchRow]:
        """The photos that are selected; what is none, or cannot be read, is not among them."""
        rows: list[BatchRow] = [index.data(ROW) for index in self.table.selectionModel().selectedRows()]
        return [row for row in rows if not row.problem]

    def _failures(self) -> list[BatchRow]:
        from apitorch_desktop.ui.batch.model import failed

        return [row for row in self.model.rows if failed(row)] if self.model.counts[1] else []

    def _update_controls(self) -> None:
        chosen = len(self.selected())
        enable_unless(self.send, "" if chosen else "Select photos first")
        self.send.setText(f"Add {chosen:,} to set" if chosen else "Add to set")
        enable_unless(self.save, "" if self.model.counts[0] else "There is no answer yet")
