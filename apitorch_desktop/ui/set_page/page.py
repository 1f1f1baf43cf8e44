"""Page about the open training set: description, figures, labels with counts and accuracy as bars, and its actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import UNSET
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QHeaderView,
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from apitorch_desktop.api.types import SPLITS, Forecast, LabelForecast, TrainingImage
from apitorch_desktop.dataset.workspace.training import POLL
from apitorch_desktop.ui.actions import ActionRegistry
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.open_training_set import OpenTrainingSet
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    CentralPage,
    ElidedLabel,
    button,
    enable_unless,
    in_column,
    in_row,
    label,
)
from apitorch_desktop.ui.widgets.dates import date_text
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, TableFilter, TableModel
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.text import percent, plural, size

UPDATE_DELAY = 150
"""Milliseconds in which changes are gathered before the figures are added up again."""
_LEFT_TO_RIGHT = "\u200e"
"""Keeps a sign in front of its number in a window from right to left."""
ACTIONS = (
    ("set.export", "Export…"),
    ("set.export_classifier", "Export the classifier (ONNX)…"),
    ("classifier.versions", "Versions"),
    ("set.compare", "Compare…"),
    ("set.rename", "Rename…"),
    ("set.delete", "Delete"),
)
"""Buttons of the page: ids of actions, and verbs."""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Sums over the images of a training set, as far as the service gives sizes and dates (ISO 8601)."""

    images: int = 0
    bytes: int = 0
    first: str = ""
    last: str = ""
    splits: Counter[str] = field(default_factory=Counter)


def figures(images: Iterable[TrainingImage]) -> SetFigures:
    """Add up the figures of images; runs on a lane."""
    count = total = 0
    dates: list[str] = []
    splits: Counter[str] = Counter()
    for image in images:
        count += 1
        total += image.bytes if isinstance(image.bytes, int) else 0
        if isinstance(image.created_at, str):
            dates.append(image.created_at)
        if image.known_split:
            splits[image.known_split] += 1
    return SetFigures(count, total, min(dates, default=""), max(dates, default=""), splits)


def figures_text(found: SetFigures, labels: int, waiting: int = 0) -> str:
    """Return the figures as one line; `waiting` of the images have no label yet."""
    parts = [f"{plural(found.images - waiting, 'photo')} under {plural(labels, 'label')}"]
    if waiting:
        parts.append(f"{waiting:,} without a label yet")
    if found.bytes:
        parts.append(size(found.bytes))
    if found.first:
        first, last = (date_text(datetime.fromisoformat(date)) for date in (found.first, found.last))
        parts.append(f"added {first}" if first == last else f"added {first} to {last}")
    if found.splits:
        shares = [f"{name} {found.splits[name]:,}" for name in SPLITS if found.splits[name]]
        rest = found.images - found.splits.total()
        parts.append("splits: " + ", ".join([*shares, *([f"none {rest:,}"] if rest else [])]))
    return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """A label with the number of its images, the share of them that the classifier had right, and what more of them would
    bring, None if unknown.
    """

    label: str
    count: int
    accuracy: float | None
    forecast: LabelForecast | None = None


def gain_text(found: LabelForecast | None) -> str:
    """Return what more images of a label would bring to the accuracy on all images, in percentage points."""
    if found is None:
        return ""
    points = found.gain * 100
    return f"{points:+.1f} points".replace("-", "−") if abs(points) >= 0.05 else "nothing"


def forecast_text(found: Forecast) -> str:
    """Return which label's images would bring most, or why that is not known, as a sentence."""
    if found.status == "estimating":
        return "Estimating what more photos would bring…"
    if found.status != "ready" or not isinstance(found.accuracy, float) or not found.data:
        return found.message
    best = max(found.data, key=lambda row: row.gain)
    if best.gain < 0.0005:
        return f"{found.more} more photos of one label would make no measurable difference."
    now, then = percent(found.accuracy), percent(min(1.0, found.accuracy + best.gain))
    return (
        f"{found.more} more photos of “{best.label}” would help most: {percent(best.accuracy)} → "
        f"{percent(best.accuracy_then)} of them right, {now} → {then} of all."
    )


class BarDelegate(QStyledItemDelegate):
    """Paints a cell's text beside a bar; `share` returns the bar's length for a row's object, 0 to 1, None for no bar."""

    def __init__(self, theme: Theme, share: Callable[[Any], float | None], tone: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._share = share
        self._tone = tone

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        cell = QStyleOptionViewItem(option)
        self.initStyleOption(cell, index)
        text, cell.text = cell.text, ""
        rect: QRect = cell.rect
        (cell.widget.style() if cell.widget is not None else QApplication.style()).drawControl(
            QStyle.ControlElement.CE_ItemViewItem, cell, painter, cell.widget
        )
        px = self._theme.px
        figure = QRect(rect.left() + px(8), rect.top(), px(52), rect.height())
        track = QRect(figure.right() + px(8), rect.center().y() - px(3), 0, px(6))
        track.setRight(rect.right() - px(12))
        share = self._share(index.data(ROW_ROLE))
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._theme.color("text" if share is not None else "muted"))
        end = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignAbsolute
        end |= (
            Qt.AlignmentFlag.AlignLeft
            if cell.direction == Qt.LayoutDirection.RightToLeft
            else Qt.AlignmentFlag.AlignRight
        )
        painter.drawText(QStyle.visualRect(cell.direction, rect, figure), end, text)
        if share is not None and track.width() > px(8):
            painter.setPen(Qt.PenStyle.NoPen)
            filled = QRect(track)
            filled.setWidth(max(px(2), round(track.width() * min(1.0, share))))
            for token, bar in (("bar", track), (self._tone, filled))[: 2 if share > 0 else 1]:
                painter.setBrush(self._theme.color(token))
                painter.drawRoundedRect(QStyle.visualRect(cell.direction, rect, bar), px(3), px(3))
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(self._theme.px(120), self._theme.px(28))


class SetPage(CentralPage):
    """Describes the open training set; its buttons are actions of the registry."""

    label_requested = Signal(str)

    def __init__(self, session: Session, edits: EditController, actions: ActionRegistry, theme: Theme) -> None:
        super().__init__(theme)
        self._session = session
        self._edits = edits
        self._actions = actions
        self._theme = theme
        self.title = ElidedLabel("", "title")
        self.description = QLineEdit(placeholderText="Describe this training set…", maxLength=10_000)
        self.description.setAccessibleName("Description")
        self.description.editingFinished.connect(self._describe)
        self.figures = label("", "base", "muted", wrap=True)
        self.classifier = label("", "base", "muted", wrap=True)
        self.advice = label("", "base", wrap=True)
        self.basis = label("", "small", "muted", wrap=True)
        self._forecast: Forecast | None = None
        self._forecast_of: tuple[object, object] | None = None
        self.buttons = {
            action: button(verb, "", lambda action=action: self._actions.trigger(action))  # type: ignore[misc]
            for action, verb in ACTIONS
        }
        self.model: TableModel[LabelFigures] = TableModel(self._columns(), theme, self)
        self._sorted = TableFilter(self.model, self)
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True, sortingEnabled=True)
        self._lay_out_table()
        self._lay_out()
        self._timer = QTimer(self, interval=UPDATE_DELAY, singleShot=True)
        self._timer.timeout.connect(self._add_up)
        for signal in (session.listing_changed, session.classifier_changed, session.sets_changed):
            signal.connect(self._changed)

    def _columns(self) -> list[Column[LabelFigures]]:
        return [
            Column(title="Label", text=lambda row: row.label),
            Column(title="Photos", text=lambda row: f"{row.count:,}", sort_key=lambda row: row.count, descending=True),
            Column(
                title="Right",
                text=lambda row: "–" if row.accuracy is None else percent(row.accuracy),
                sort_key=lambda row: -1.0 if row.accuracy is None else row.accuracy,
                title_tooltip="Share of the label’s photos that were classified right by a classifier that had not seen them",
            ),
            Column(
                title="+50 photos",
                text=lambda row: _LEFT_TO_RIGHT + gain_text(row.forecast),
                sort_key=lambda row: row.forecast.gain if row.forecast is not None else -1.0,
                tooltip=lambda row: (
                    f"{row.label}: {percent(row.forecast.accuracy)} → {percent(row.forecast.accuracy_then)} right"
                    if row.forecast is not None
                    else ""
                ),
                title_tooltip="Estimate of how much more of all photos would be right with 50 more photos of the label",
                descending=True,
            ),
        ]

    def _lay_out_table(self) -> None:
        px, table = self._theme.px, self.table
        table.setModel(self._sorted)
        table.setAccessibleName("Labels")
        table.setProperty("kind", "table")
        self._count_bars = BarDelegate(self._theme, self._count_share, "muted", table)
        self._accuracy_bars = BarDelegate(self._theme, lambda row: row.accuracy, "accent", table)
        table.setItemDelegateForColumn(1, self._count_bars)
        table.setItemDelegateForColumn(2, self._accuracy_bars)
        header = table.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(px(64))
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        table.activated.connect(lambda index: self.label_requested.emit(index.data(ROW_ROLE).label))
        table.setToolTip("")

    def _lay_out(self) -> None:
        px = self._theme.px
        head = in_row((self.title, 1), self.close_button)
        row = QWidget()
        flow = FlowLayout(row)
        for control in self.buttons.values():
            flow.addWidget(control)
        in_column(
            head,
            self.description,
            self.figures,
            self.classifier,
            row,
            self.advice,
            (self.table, 1),
            self.basis,
            label("Return or a double-click shows a label’s photos", "small", "muted", wrap=True),
            on=self,
            margins=(px(16), px(8), px(16), px(12)),
            spacing=px(8),
        )

    # --- display

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the bars a fifth of the width each, the labels the rest."""
        for column in range(1, len(self.model.columns)):
            self.table.setColumnWidth(column, min(self._theme.px(180), self.width() * 22 // 100))

    def showEvent(self, event: QShowEvent) -> None:
        """Update the page, which is not done while it is hidden."""
        super().showEvent(event)
        self._show()
        self._add_up()

    def _changed(self) -> None:
        if self.isVisible():
            self._show()
            self._timer.start()

    def _show(self) -> None:
        session = self._session
        open_set = session.open_set
        if open_set is None:
            return
        found = session.find_set(open_set.training_set.id) or open_set.training_set
        self.title.setText(found.name)
        if not self.description.hasFocus():
            self.description.setText(" ".join((found.description or "").split()))
        reason = session.unavailable_reason("training-sets")
        self.description.setReadOnly(bool(reason))
        self.description.setToolTip(reason)
        for action, control in self.buttons.items():
            enable_unless(control, self._actions.reason(action))
        metrics = open_set.classifier_status.metrics
        accuracies = {each.label: each.accuracy for each in metrics.labels} if metrics is not None else {}
        self._request_forecast(open_set)
        found_for = {each.label: each for each in self._forecast.data} if self._forecast is not None else {}
        rows = [
            LabelFigures(name, count, accuracies.get(name), found_for.get(name))
            for name, count in open_set.counts.items()
        ]
        if rows != self.model.rows:
            chosen = self.table.currentIndex().data(ROW_ROLE)
            self.model.show(rows)
            self._choose(chosen.label if chosen is not None else "")
        classifier = open_set.classifier_status.classifier
        message = classifier.status_message if classifier is not None else ""
        self.classifier.setText(message or "")
        self.classifier.setVisible(bool(message))

    # --- what more photos would bring

    def _request_forecast(self, open_set: OpenTrainingSet) -> None:
        """Ask for the forecast of the version in use, once for each version."""
        connected, status = self._session.connected, open_set.classifier_status
        classifier = status.classifier
        version = classifier.version if classifier is not None and classifier.status == "ready" else UNSET
        wanted = (open_set.training_set.id, version)
        if wanted == self._forecast_of or connected is None:
            return
        self._forecast_of = wanted
        self._show_forecast(None)
        if version is UNSET or self._session.unavailable_reason("forecast"):
            return
        workspace, slug = connected.workspace, status.slug

        def job(context: JobContext) -> Forecast:
            while True:
                found = workspace.run(lambda: workspace.client.forecast(slug))
                if found.status != "estimating":
                    return found
                context.post(found)
                if context.wait(POLL):
                    raise Cancelled

        def show(found: Forecast) -> None:
            if self._forecast_of == wanted:
                self._show_forecast(found)

        def failed(error: Exception) -> None:
            show(Forecast(status="failed", message=error_message(error).text))

        self._session.run(
            "Estimating what more photos would bring",
            job,
            show,
            failed=failed,
            progress=show,
            lane=Lane.WATCH,
            owner=open_set,
        )

    def _show_forecast(self, found: Forecast | None) -> None:
        self._forecast = found
        self.advice.setText(forecast_text(found) if found is not None else "")
        self.basis.setText(found.message if found is not None and found.status == "ready" else "")
        for part in (self.advice, self.basis):
            part.setVisible(bool(part.text()))
        self.table.setColumnHidden(len(self.model.columns) - 1, found is None or found.status != "ready")
        if found is not None and found.status == "ready":
            self._show()

    def _choose(self, name: str) -> None:
        for at, row in enumerate(self.model.rows):
            if row.label == name or not name:
                self.table.setCurrentIndex(self._sorted.mapFromSource(self.model.index(at, 0)))
                return

    def _count_share(self, row: LabelFigures) -> float:
        return row.count / max(1, *(each.count for each in self.model.rows))

    def _add_up(self) -> None:
        session, open_set = self._session, self._session.open_set
        if open_set is None:
            return
        images, labels, waiting = session.images.records(), len(open_set.counts), open_set.waiting
        session.run(
            "Adding up the training set",
            lambda _context: figures(images),
            lambda found: self.figures.setText(figures_text(found, labels, waiting)),
            lane=Lane.DISK,
            owner=open_set,
        )

    # --- actions

    def _describe(self) -> None:
        open_set = self._session.open_set
        if open_set is None:
            return
        found = self._session.find_set(open_set.training_set.id) or open_set.training_set
        text, name = " ".join(self.description.text().split()), found.name
        if text == " ".join((found.description or "").split()):
            return
        set_id = found.id
        self._edits.do(
            f"Describing “{name}”",
            lambda edits, workspace, _run: edits.rename_training_set(workspace, set_id, description=text),
            done=f"Described “{name}”",
        )

    def focus(self) -> None:
        """Focus the labels."""
        self.table.setFocus()
