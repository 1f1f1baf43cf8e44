"""Page of a watched folder: its state with controls, and the last answers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHeaderView, QTreeView

from apitorch_desktop.dataset.batch.classification import probability
from apitorch_desktop.dataset.sources.image_source import ImageFile
from apitorch_desktop.dataset.watch.store import WatchReport
from apitorch_desktop.ui.images.source_thumbnails import SourceThumbnails
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import WorkStatus, failed_text, state_text
from apitorch_desktop.ui.widgets.controls import (
    CentralPage,
    ElidedLabel,
    button,
    in_column,
    in_row,
    label,
)
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, TableFilter, TableModel
from apitorch_desktop.utils.text import shown

_THUMBNAIL = 36
"""Size of a row's thumbnail in pixels at 100 %."""


class ReportTable(QTreeView):
    """The table; Escape leaves it."""

    left = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)


class WatchPanel(CentralPage):
    """Shows one watched folder and emits what the user requests."""

    command_requested = Signal(str)
    """A command of `WatchController`."""
    opened = Signal(object)
    """The `WatchReport` to show in the classify panel."""

    def __init__(self, theme: Theme, tasks: TaskRunner) -> None:
        super().__init__(theme, "Close the page")
        px = theme.px
        edge = round(px(_THUMBNAIL) * self.devicePixelRatioF())
        self._thumbnails = SourceThumbnails(tasks, edge, lambda row: self.model.refresh(row), self)
        columns: list[Column[WatchReport]] = [
            Column(
                title="Photo",
                text=lambda row: shown(row.path.name),
                tooltip=lambda row: shown(str(row.path)),
                icon=lambda row: self._thumbnails.icon(row, ImageFile(row.moved or row.path)),
            ),
            Column(
                title="Answer", text=_answer_text, tone=lambda row: "bad_text" if isinstance(row.answer, str) else ""
            ),
            Column(title="Sure", text=_sure_text, numeric=True),
            Column(title="When", text=_when_text, sort_key=lambda row: row.at),
            Column(title="Moved to", text=lambda row: shown(str(row.moved.parent)) if row.moved is not None else ""),
        ]
        self.model: TableModel[WatchReport] = TableModel(columns, theme)
        self.title = ElidedLabel("", "answer")
        self.words = ElidedLabel("", "small", "muted")
        self.failed = label("", "small", "bad")
        self.table = ReportTable(rootIsDecorated=False, uniformRowHeights=True, sortingEnabled=True)
        self.table.setModel(TableFilter(self.model, self))
        self.table.setAccessibleName("Last answers")
        self.table.setProperty("kind", "table")
        self.table.setIconSize(QSize(px(_THUMBNAIL), px(_THUMBNAIL)))
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.table.activated.connect(lambda index: self.opened.emit(index.data(ROW_ROLE)))
        self.table.left.connect(self.closed)
        header = self.table.header()
        header.setStretchLastSection(False)
        for column, width in enumerate((0, 0, 60, 84, 130)):  # names and answers take what the others leave
            stretches = width == 0
            mode = QHeaderView.ResizeMode.Stretch if stretches else QHeaderView.ResizeMode.Interactive
            header.setSectionResizeMode(column, mode)
            if not stretches:
                self.table.setColumnWidth(column, px(width))
        text = "Nothing has arrived yet: put photos into the folder, and their answers appear here."
        self.empty = label(text, "base", "muted", wrap=True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        command = self.command_requested.emit
        self.pause = button("Pause", "", lambda: command("pause"))
        self.resume = button("Resume", "", lambda: command("resume"))
        self.retry = button("Retry failed", "", lambda: command("retry_failed"))
        self.change = button("Change…", "", lambda: command("change"))
        self.stop = button("Stop watching", "", lambda: command("cancel"))
        head = in_row((self.title, 1), self.close_button)
        controls = in_row(self.pause, self.resume, self.retry, self.change, self.stop, 1)
        below = in_row((self.words, 1), self.failed)
        in_column(
            head,
            below,
            controls,
            (self.table, 1),
            (self.empty, 1),
            on=self,
            margins=(px(16), px(8), px(16), px(16)),
            spacing=px(8),
        )

    def show_reports(self, reports: Sequence[WatchReport]) -> None:
        """Show the last answers, the newest first."""
        self.model.show(reports)
        self.table.setColumnHidden(self.model.columnCount() - 1, all(report.moved is None for report in reports))
        self.table.setVisible(bool(reports))
        self.empty.setVisible(not reports)

    def show_status(self, status: WorkStatus) -> None:
        """Show the state."""
        paused = status.state in ("paused", "stopped")
        self.title.setText(status.title)
        self.words.setText(state_text(status))
        self.failed.setText(failed_text(status))
        self.pause.setVisible(not paused)
        self.resume.setVisible(paused)
        self.retry.setVisible(bool(status.failed))


def _answer_text(report: WatchReport) -> str:
    return report.answer if isinstance(report.answer, str) else report.answer.label_text


def _sure_text(report: WatchReport) -> str:
    value = None if isinstance(report.answer, str) else probability(report.answer.confidence_value)
    return "" if value is None else f"{value:.2f}"


def _when_text(report: WatchReport) -> str:
    return f"{datetime.fromtimestamp(report.at).astimezone():%H:%M:%S}"
