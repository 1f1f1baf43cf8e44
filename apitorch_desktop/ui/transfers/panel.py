"""List of transfers and batches: a card for each with progress and controls, and the failed files with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QLineEdit, QScrollArea, QTreeView, QWidget

from apitorch_desktop.dataset.transfers.queue import TransferFailure
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import ENDED, WorkStatus, failed_text, state_text
from apitorch_desktop.ui.widgets.controls import (
    Card,
    ElidedLabel,
    ProgressBar,
    button,
    icon_button,
    in_column,
    in_row,
    label,
    set_property,
    surface,
)
from apitorch_desktop.ui.widgets.table_model import Column, TableFilter, TableModel

_COLUMNS: list[Column[TransferFailure]] = [
    Column(title="File", text=attrgetter("name")),
    Column(title="Label", text=attrgetter("label")),
    Column(title="Why", text=attrgetter("reason")),
    Column(title="What to do", text=attrgetter("advice")),
]


class _FailureList(QWidget):
    """Table of the failed files, with a line to filter it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = TableModel(_COLUMNS)
        self._sorted = TableFilter(self.model, self)
        self.filter = QLineEdit(placeholderText="Filter by file, label or reason", clearButtonEnabled=True)
        self.filter.setAccessibleName("Filter the failed files")
        self.filter.textChanged.connect(self._sorted.setFilterFixedString)
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True, sortingEnabled=True)
        self.table.setModel(self._sorted)
        self.table.setAccessibleName("Failed files")
        self.table.setProperty("kind", "table")
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.table.setMinimumHeight(140)
        header = self.table.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        for column, width in enumerate((180, 90, 320)):
            self.table.setColumnWidth(column, width)
        in_column(self.filter, self.table, on=self, margins=0)


class TransferCard(Card):
    """One transfer or batch. What the user requests is emitted by the panel."""

    def __init__(self, theme: Theme, panel: TransfersPanel, status: WorkStatus) -> None:
        super().__init__()
        self._panel = panel
        self.status = status
        self._title = ElidedLabel(role="strong")
        self._line = ElidedLabel(role="small", tone="muted")
        self._meter = ProgressBar()
        command = panel.command_requested.emit
        self.pause = button("Pause", "", lambda: command("pause", self.status.id))
        self.resume = button("Resume", "", lambda: command("resume", self.status.id))
        self.cancel = button("Cancel", "", lambda: command("cancel", self.status.id))
        self.retry = button("Retry failed", "", lambda: command("retry_failed", self.status.id))
        self.open = button("Open", "", lambda: command("open", self.status.id))
        self.save = button("Save a summary…", "", lambda: panel.summary_requested.emit(self.status.id))
        self.up = icon_button(theme, "chevron-up", "Start this one first")
        self.up.clicked.connect(lambda: command("first", self.status.id))
        self.forget = icon_button(theme, "close", "Remove from the list")
        self.forget.clicked.connect(lambda: command("forget", self.status.id))
        self.failed = button("", "link", self._toggle)
        self.failed.setCheckable(True)
        self.failures = _FailureList()
        self.failures.hide()
        top = QHBoxLayout()
        for part in (self._title, self.up, self.forget):
            top.addWidget(part, int(part is self._title))
        # in a line of their own: beside the title they would leave it no room in a narrow window
        controls = in_row(self.open, self.pause, self.resume, self.retry, self.cancel, self.save, 1)
        below = in_row((self._line, 1), self.failed)
        self.rows.addLayout(top)
        self.rows.addWidget(self._meter)
        self.rows.addLayout(below)
        self.rows.addLayout(controls)
        self.rows.addWidget(self.failures)
        self.show_status(status)

    def show_status(self, status: WorkStatus) -> None:
        """Show a newer status."""
        failures_changed = status.failed != self.status.failed
        self.status = status
        ended = status.state in ENDED
        paused = status.state in ("paused", "stopped")
        self._title.setText(status.title)
        self._line.setText(state_text(status))
        set_property(self._line, "tone", "bad" if status.state == "stopped" else "muted")
        self._meter.set_share(status.fraction, "warn" if status.failed or status.state == "stopped" else "accent")
        batch, watch = status.kind == "batch", status.kind == "watch"
        self._meter.setVisible(status.state != "done" and not watch)
        self._meter.setAccessibleName(f"{status.title}: {status.fraction:.0%}")
        self.pause.setVisible(not ended and not paused)
        self.resume.setVisible(paused or status.state == "cancelled")
        self.cancel.setVisible(not ended)
        self.up.setVisible(status.state == "waiting")
        self.cancel.setText("Stop watching" if watch else "Cancel")
        self.retry.setVisible((ended or watch) and bool(status.failed))
        self.open.setVisible(batch or watch)
        self.save.setVisible(ended and not batch)
        self.forget.setVisible(ended)
        self.failed.setText(failed_text(status))
        self.failed.setVisible(bool(status.failed))
        self.failed.setEnabled(not batch)  # the table of a batch shows what failed
        if not status.failed:
            self.failures.hide()
            self.failed.setChecked(False)
        elif failures_changed and self.failures.isVisible():
            self._panel.failures_requested.emit(status.id)

    def _toggle(self) -> None:
        self.failures.setVisible(self.failed.isChecked())
        if self.failed.isChecked():
            self._panel.failures_requested.emit(self.status.id)


class TransfersPanel(QWidget):
    """Cards of all transfers, newest first; emits what the user requests."""

    command_requested = Signal(str, int)
    """(command, id): a command of `TransferController` or `BatchController`; ids of batches are negative, and those
    of watched folders below `ui.watch.controller.FIRST_ID`."""
    failures_requested = Signal(int)
    summary_requested = Signal(int)
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._cards: dict[int, TransferCard] = {}
        surface(self, "panel")
        self._close = icon_button(theme, "close", "Close the list")
        self._close.clicked.connect(self.closed)
        self._empty = label(
            "Nothing yet: what you import, download or classify in bulk, and the folders you watch, are listed here.",
            "small",
            "muted",
            wrap=True,
        )
        inner = QWidget()
        surface(inner, "panel")
        self._list = in_column(self._empty, 1, on=inner, margins=(12, 0, 12, 12))
        area = QScrollArea(widgetResizable=True)
        area.setWidget(inner)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = in_row((label("Transfers and batches", "answer"), 1), self._close, margins=(16, 8, 8, 8))
        in_column(head, (area, 1), on=self, margins=0, spacing=0)

    def show_statuses(self, statuses: Sequence[WorkStatus]) -> None:
        """Show these transfers, new ones on top, and remove all others."""
        known = {status.id for status in statuses}
        for removed in [transfer_id for transfer_id in self._cards if transfer_id not in known]:
            self._cards.pop(removed).deleteLater()
        for status in statuses:
            self.show_status(status)
        self._empty.setVisible(not self._cards)

    def show_status(self, status: WorkStatus) -> None:
        """Show one transfer, on a new card if it has none."""
        card = self._cards.get(status.id)
        if card is not None:
            card.show_status(status)
            return
        card = self._cards[status.id] = TransferCard(self._theme, self, status)
        self._list.insertWidget(0, card)
        self._empty.hide()

    def show_failures(self, transfer_id: int, failures: Sequence[TransferFailure]) -> None:
        """Show the failed files that `failures_requested` asked for."""
        if (card := self._cards.get(transfer_id)) is not None:
            card.failures.model.show(failures)

    def card(self, transfer_id: int) -> TransferCard:
        """Return the card of a transfer. Raises KeyError."""
        return self._cards[transfer_id]
