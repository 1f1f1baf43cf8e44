"""Versions of a classifier: lists them, compares two on a page, and lets the user choose the one in use, undoably."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET
from PySide6.QtCore import QEvent, QItemSelectionModel, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStackedWidget, QToolTip, QTreeView, QWidget

from apitorch_desktop.api.types import ClassificationChange, ClassifierVersion, TrainingImage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow, Row
from apitorch_desktop.ui.photo_board.page import BoardPage
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, in_column, in_row, label, native_keys
from apitorch_desktop.ui.widgets.dates import time_text_of
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, TableModel
from apitorch_desktop.utils.text import percent, plural

BUDGET = 32 * 2**20
"""Bytes of decoded thumbnails kept for the page."""


class VersionsController(QObject):
    """Versions of the classifier of the open training set."""

    shown = Signal(bool)
    """The page has to be shown, or left."""
    photo_requested = Signal(object)
    """The `TrainingImage` to open full size."""

    def __init__(self, session: Session, edits: EditController, theme: Theme) -> None:
        super().__init__(session)
        self._session = session
        self._edits = edits
        loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=self)
        self.page = VersionsPage(theme, loader)
        self._compared: tuple[int, int] | None = None
        self._listed: object = None
        page = self.page
        page.closed.connect(lambda: self.shown.emit(False))
        page.pair_chosen.connect(self._compare)
        page.use_requested.connect(self.use)
        page.keep_requested.connect(self.keep)
        page.open_requested.connect(self.photo_requested)
        session.classifier_changed.connect(self._classifier_changed)
        session.open_set_changed.connect(self._clear)
        session.open_set_changed.connect(loader.clear)
        session.images.ids_replaced.connect(loader.rename_ids)

    def reason(self) -> str:
        """Return why there are no versions to show, "" if there are."""
        session, open_set = self._session, self._session.open_set
        if open_set is None:
            return "No training set is open."
        if reason := session.unavailable_reason("versions"):
            return reason
        classifier = open_set.classifier_status.classifier
        known = classifier is not None and classifier.version is not UNSET
        return "" if known else "It has no classifier yet."

    def open(self) -> None:
        """Show the page, at the version that waits or the newest one."""
        self._clear()
        self.shown.emit(True)
        self._list()
        self.page.focus()

    # --- listing and comparing

    def _clear(self) -> None:
        self._compared = self._listed = None
        self.page.show_versions([])

    def _classifier_changed(self) -> None:
        open_set = self._session.open_set
        classifier = open_set.classifier_status.classifier if open_set is not None else None
        state = classifier and (classifier.version, classifier.waiting_version, classifier.trained_at)
        if self.page.isVisible() and state != self._listed:
            self._listed = state
            self._list()

    def _list(self) -> None:
        connected, open_set = self._session.connected, self._session.open_set
        if connected is None or open_set is None:
            return
        workspace, slug = connected.workspace, open_set.classifier_status.slug

        def job(_context: JobContext) -> list[ClassifierVersion]:
            return workspace.run(lambda: workspace.client.versions(slug))

        def done(versions: list[ClassifierVersion]) -> None:
            if versions != self.page.versions or not versions:
                self.page.show_versions(versions, "There is no version yet.")

        self._session.run("Listing the versions", job, done, owner=open_set)

    def _compare(self, pair: ComparedVersions | None) -> None:
        connected, open_set = self._session.connected, self._session.open_set
        numbers = (pair.older.version, pair.newer.version) if pair is not None else None
        if numbers == self._compared and numbers is not None:
            return
        self._compared = numbers
        if connected is None or open_set is None or numbers is None:
            self.page.show_changes([], "There is no earlier version to compare it with.")
            return
        workspace, slug = connected.workspace, open_set.classifier_status.slug

        def job(_context: JobContext) -> list[ClassificationChange]:
            return workspace.run(lambda: workspace.client.changes(slug, *numbers))

        def done(changes: list[ClassificationChange]) -> None:
            if self._compared == numbers:
                rows = changed_rows(changes, self._session.images.record)
                self.page.show_changes(rows, "Both give the same answer for every photo.")

        def failed(error: Exception) -> None:
            if self._compared == numbers:
                self.page.show_changes([], error_message(error).text)

        self.page.show_changes([], "Comparing…")
        self._session.run("Comparing the versions", job, done, failed=failed, owner=open_set)

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        return self._session.read_thumbnail(image, cancelled)

    # --- choosing

    def use(self, version: int) -> None:
        """Use a version, undoably."""
        self._choose(version, f"Version {version} is in use")

    def keep(self) -> None:
        """Keep the version in use, and let the one that waits wait no more."""
        if current := next((each.version for each in self.page.versions if each.current), None):
            self._choose(current, f"Version {current} stays in use")

    def _choose(self, version: int, done: str) -> None:
        open_set = self._session.open_set
        if open_set is None:
            return
        set_id, versions = open_set.training_set.id, self.page.versions
        current = next((each.version for each in versions if each.current), version)
        waiting = next((each.version for each in versions if each.waiting is True), 0)
        self._edits.do(
            "Choosing the version",
            lambda edits, workspace, _run: edits.choose_version(workspace, set_id, version, current, waiting),
            done=done,
        )


KINDS: Final = {"worse": "Worse", "better": "Better", "sideways": "Still wrong"}
"""Kinds of changed answers with their headings, in the order of the page."""
_NOTES: Final = {
    "worse": "right before, wrong now",
    "better": "wrong before, right now",
    "sideways": "wrong before and now, but differently",
}
_ROW_HEIGHT: Final = 26
_ROWS_SHOWN: Final = (3, 5)
"""Least and most rows of the table without scrolling."""
_MARGIN, _GAP = 16, 12
"""Pixels at both sides of the page, and between table and chart."""
_CHART_WIDTH: Final = (140, 220)
"""Least and most pixels of the chart's width."""
_DISPENSABLE: Final = ("Made", "Changed photos", "Photos")
"""Columns that are hidden, in this order, where not all of them fit; the tool tip of a version has them."""


def data_text(version: ClassifierVersion) -> str:
    """Return what changed in the photos since the version that was in use before: `+12 −3, 2 relabeled`."""
    found = version.difference
    if found is UNSET:
        return ""
    parts = [f"{sign}{count:,}" for sign, count in (("+", found.added), ("−", found.removed)) if count]
    relabeled = [f"{found.relabeled:,} relabeled"] if found.relabeled else []
    return ", ".join([*([" ".join(parts)] if parts else []), *relabeled]) or "the same photos"


def answers_text(version: ClassifierVersion) -> str:
    """Return how the answers changed since the version that was in use before: `5 better, 2 worse`."""
    found = version.difference
    if found is UNSET:
        return ""
    counts = ((found.better, "better"), (found.worse, "worse"), (found.sideways, "still wrong"))
    return ", ".join(f"{count:,} {word}" for count, word in counts if count) or "none changed"


def details_text(version: ClassifierVersion) -> str:
    """Return what a version was learned from, and when."""
    made = time_text_of(version.trained_at)
    parts = (plural(version.images, "photo"), data_text(version), f"made {made}" if made else "")
    return " · ".join(part for part in parts if part)


def state_text(version: ClassifierVersion) -> str:
    """Return whether a version is in use or waits."""
    return "in use" if version.current else "waits" if version.waiting is True else ""


def accuracy(version: ClassifierVersion) -> float | None:
    """Return a version's accuracy on photos it had not seen, None if it is not known."""
    return version.metrics.accuracy if version.metrics is not UNSET else None


@dataclass(frozen=True, slots=True)
class ComparedVersions:
    """Two versions that are compared, `older` first."""

    older: ClassifierVersion
    newer: ClassifierVersion

    def sentence(self) -> str:
        """Return how the figures of the two differ."""
        older, newer = self.older, self.newer
        before, after = accuracy(older), accuracy(newer)
        text = f"Version {newer.version} compared with version {older.version}"
        if before is None or after is None:
            return f"{text}."
        text += f": {percent(before)} → {percent(after)} right, {plural(older.images, 'photo')} → {newer.images:,}."
        shares = {each.label: each.accuracy for each in older.metrics.labels} if older.metrics is not UNSET else {}
        changes = [
            (each.accuracy - shares[each.label], each.label, shares[each.label], each.accuracy)
            for each in (newer.metrics.labels if newer.metrics is not UNSET else ())
            if each.label in shares
        ]
        for word, change in (("Most lost", min(changes, default=None)), ("Most gained", max(changes, default=None))):
            if change is not None and (change[0] < -0.005 if word == "Most lost" else change[0] > 0.005):
                text += f" {word}: {change[1]}, {percent(change[2])} → {percent(change[3])}."
        return text


def changed_rows(changes: Sequence[ClassificationChange], record: Callable[[str], TrainingImage | None]) -> list[Row]:
    """Return rows of the board for changed answers, by kind; photos that are not there any more are left out."""
    rows: list[Row] = []
    for kind, title in KINDS.items():
        found: list[Row] = []
        for change in changes:
            image = record(change.image_id) if (change.kind or "sideways") == kind else None
            if image is not None:
                shares = f"{percent(float(change.from_value))} → {percent(float(change.to_value))}"
                texts = (
                    f"{change.from_label} → {change.to_label}",
                    f"is {change.label}" if kind == "sideways" else shares,
                )
                found.append(PhotoRow(f"{kind} {change.image_id}", image, texts))
        if found:
            rows += [HeadingRow(kind, f"{title} · {len(found):,}", _NOTES[kind]), *found]
    return rows


class AccuracyChart(QWidget):
    """Accuracy over versions as a line with a dot for each; a click chooses a version."""

    chosen = Signal(int)
    """The number of a version."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._versions: list[ClassifierVersion] = []
        self.marked: set[int] = set()
        """Numbers of the versions that are selected."""
        self.setAccessibleName("Accuracy over versions")
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_versions(self, versions: Sequence[ClassifierVersion]) -> None:
        """Show versions, newest first as the service lists them."""
        self._versions = [version for version in reversed(versions) if accuracy(version) is not None]
        self.update()

    def points(self) -> list[tuple[ClassifierVersion, QPointF]]:
        """Return the place of each version's dot."""
        px = self._theme.px
        area = QRectF(self.rect()).adjusted(px(48), px(14), -px(16), -px(28))
        low, high = self._range()
        step = area.width() / max(1, len(self._versions) - 1)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        found = []
        for at, version in enumerate(self._versions):
            x = area.left() + at * step if len(self._versions) > 1 else area.center().x()
            y = area.bottom() - area.height() * ((accuracy(version) or 0) - low) / (high - low)
            found.append((version, QPointF(self.width() - x if mirrored else x, y)))
        return found

    def _range(self) -> tuple[float, float]:
        """Return the accuracies at bottom and top: whole tenths around all of them."""
        shares = [accuracy(version) or 0.0 for version in self._versions] or [0.0, 1.0]
        low, high = int(min(shares) * 10) / 10, min(1.0, int(max(shares) * 10 + 1) / 10)
        return (low, high) if high > low else (low - 0.1, high)

    def paintEvent(self, event: QPaintEvent) -> None:
        px, color = self._theme.px, self._theme.color
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font("tiny"))
        low, high = self._range()
        top, bottom = px(14), self.height() - px(28)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        for share, y in ((high, top), (low, bottom)):
            painter.setPen(QPen(color("line"), 1))
            painter.drawLine(px(40), y, self.width() - px(8), y) if not mirrored else painter.drawLine(
                px(8), y, self.width() - px(40), y
            )
            painter.setPen(color("muted"))
            place = QRectF(self.width() - px(38) if mirrored else 0, y - px(10), px(36), px(20))
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, percent(share))
        points = self.points()
        painter.setPen(QPen(color("muted"), 1.5))
        painter.drawPolyline(QPolygonF([point for _, point in points]))
        for version, point in points:
            tone = "accent" if version.current else "warn" if version.waiting is True else "muted"
            painter.setBrush(color(tone))
            painter.setPen(QPen(color("text" if version.version in self.marked else "canvas"), 2))
            painter.drawEllipse(point, px(5), px(5))
        painter.setPen(color("muted"))
        for version, point in (points[0], points[-1]) if len(points) > 1 else points:
            place = QRectF(point.x() - px(30), self.height() - px(22), px(60), px(18))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(version.version))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the version nearest to the pointer."""
        if found := self._nearest(event.position()):
            self.chosen.emit(found.version)

    def event(self, event: QEvent) -> bool:
        """Show a version's figures as the tooltip of its dot."""
        if isinstance(event, QHelpEvent) and (found := self._nearest(QPointF(event.pos()))) is not None:
            QToolTip.showText(event.globalPos(), f"Version {found.version}: {percent(accuracy(found) or 0)}", self)
            return True
        return super().event(event)

    def _nearest(self, place: QPointF) -> ClassifierVersion | None:
        points = self.points()
        return min(points, key=lambda pair: abs(pair[1].x() - place.x()))[0] if points else None


class VersionsPage(BoardPage):
    """Shows versions and the photos whose answer changed between two of them; emits what the user requests."""

    pair_chosen = Signal(object)
    """The `ComparedVersions` to compare, None for none."""
    use_requested = Signal(int)
    keep_requested = Signal()
    """Decide against the version that waits."""
    open_requested = Signal(object)
    """The `TrainingImage` to open full size."""

    def __init__(self, theme: Theme, loader: ThumbnailLoader) -> None:
        super().__init__(theme, loader, "Photos whose answer changed")
        self._theme = theme
        self.versions: list[ClassifierVersion] = []
        self.model: TableModel[ClassifierVersion] = TableModel(self._columns(), theme, self)
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True)
        self.chart = AccuracyChart(theme)
        self.words = label("", "base", wrap=True)
        self.use = button("", "", self._use)
        self.keep = button("", "primary", self.keep_requested.emit)
        self.back = button("", "", self._go_back)
        self._none = label("", "base", "muted", wrap=True)
        self._none.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stack = QStackedWidget()
        self._lay_out_versions()
        self.chart.chosen.connect(self.choose)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._selected())
        self.board.action_requested.connect(self._act)

    def _columns(self) -> list[Column[ClassifierVersion]]:
        return [
            Column(
                title="Version",
                text=lambda row: " · ".join(part for part in (str(row.version), state_text(row)) if part),
                tone=lambda row: "warn_text" if row.waiting is True else "accent_text" if row.current else "",
                tooltip=details_text,
            ),
            Column(
                title="Right",
                text=lambda row: "–" if (share := accuracy(row)) is None else percent(share),
                title_tooltip="Share of photos that were classified right by a classifier that had not seen them",
            ),
            Column(
                title="Changed answers",
                text=answers_text,
                title_tooltip="On the photos that this version and the one in use before both learned",
            ),
            Column(title="Photos", text=lambda row: f"{row.images:,}"),
            Column(title="Changed photos", text=data_text),
            Column(title="Made", text=lambda row: time_text_of(row.trained_at)),
        ]

    def _lay_out_versions(self) -> None:
        px, table = self._theme.px, self.table
        table.setModel(self.model)
        table.setAccessibleName("Versions")
        table.setProperty("kind", "table")
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for part in (self.board, self._none):
            self.stack.addWidget(part)
        top = in_row((table, 1), self.chart, spacing=px(_GAP))
        center = QWidget()
        in_column(
            top, self.words, (self.stack, 1), on=center, margins=(px(_MARGIN), px(4), px(_MARGIN), 0), spacing=px(8)
        )
        hint = f"Two versions selected with {native_keys('Ctrl')} are compared · Return opens a photo full size"
        self.lay_out("Versions", (self.use, self.keep, self.back), hint, center=center)

    def resizeEvent(self, event: object) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give the chart what the columns of the table leave; hide it, then columns, where there is too little room."""
        px, table = self._theme.px, self.table
        widths: dict[str, int] = {}
        for at, column in enumerate(self.model.columns):
            table.setColumnHidden(at, False)  # a hidden one has no width
            widths[column.title] = max(table.header().sectionSizeHint(at), table.sizeHintForColumn(at))
        frame = 2 * table.frameWidth() + table.verticalScrollBar().sizeHint().width()
        room = self.width() - 2 * px(_MARGIN) - frame - sum(widths.values())
        least, most = map(px, _CHART_WIDTH)
        self.chart.setFixedWidth(max(least, min(most, room - px(_GAP))))
        self.chart.setVisible(room - px(_GAP) >= least)
        for title in _DISPENSABLE:
            table.setColumnHidden(list(widths).index(title), room < 0)
            room += widths[title] if room < 0 else 0

    # --- display

    def show_versions(self, versions: Sequence[ClassifierVersion], none: str = "") -> None:
        """Show versions, newest first; `none` is shown where there are none."""
        chosen = {row.version for row in self.selected()}
        self.versions = list(versions)
        self.model.show(self.versions)
        self.chart.show_versions(self.versions)
        least, most = _ROWS_SHOWN
        height = self._theme.px(_ROW_HEIGHT * (max(least, min(most, len(self.versions))) + 1) + 20)
        for part in (self.table, self.chart):
            part.setFixedHeight(height)
        self._fit()
        waiting = next((row.version for row in self.versions if row.waiting is True), None)
        kept = [row.version for row in self.versions if row.version in chosen]
        first = waiting or (self.versions[0].version if self.versions else 0)
        if not self.versions:
            self._none.setText(none)
            self.show_changes([])
        for at, number in enumerate(kept or [first]):
            self.choose(number, add=at > 0)
        self._show_controls()

    def choose(self, number: int, *, add: bool = False) -> None:
        """Select a version, or `add` it to the selection."""
        for at, row in enumerate(self.versions):
            if row.version == number:
                flags = QItemSelectionModel.SelectionFlag
                how = flags.Select if add else flags.ClearAndSelect
                self.table.selectionModel().setCurrentIndex(self.model.index(at, 0), how | flags.Rows)

    def selected(self) -> list[ClassifierVersion]:
        """Return the selected versions, newest first."""
        rows: list[ClassifierVersion] = [index.data(ROW_ROLE) for index in self.table.selectionModel().selectedRows()]
        return sorted(rows, key=lambda row: -row.version)

    def pair(self) -> ComparedVersions | None:
        """Return the versions to compare: the two selected ones, or the selected one and the one in use before it."""
        chosen = self.selected()
        if not chosen:
            return None
        if len(chosen) > 1:
            return ComparedVersions(chosen[-1], chosen[0])
        newer = chosen[0]
        older = [row for row in self.versions if row.version < newer.version]
        before = newer.difference.version if newer.difference is not UNSET else 0
        found = next((row for row in older if row.version == before), older[0] if older else None)
        return ComparedVersions(found, newer) if found is not None else None

    def show_changes(self, rows: Sequence[Row], none: str = "") -> None:
        """Show the photos whose answer changed, or `none`."""
        self.board.rows.show(rows)
        if none:
            self._none.setText(none)
        self.stack.setCurrentWidget(self.board if rows else self._none)

    def focus(self) -> None:
        """Focus the versions."""
        self.table.setFocus()

    def _selected(self) -> None:
        self.chart.marked = {row.version for row in self.selected()}
        self.chart.update()
        pair = self.pair()
        self.words.setText(pair.sentence() if pair is not None else "")
        self.pair_chosen.emit(pair)
        self._show_controls()

    def _show_controls(self) -> None:
        chosen = self.selected()
        current = next((row.version for row in self.versions if row.current), 0)
        usable = len(chosen) == 1 and not chosen[0].current
        before = self._before()
        self.use.setVisible(usable)
        self.use.setText(f"Use version {chosen[0].version}" if usable else "")
        self.keep.setVisible(any(row.waiting is True for row in self.versions))
        self.keep.setText(f"Keep version {current}")
        self.back.setVisible(before > 0 and self.keep.isHidden() and not (usable and chosen[0].version == before))
        self.back.setText(f"Go back to version {before}")

    def _before(self) -> int:
        """Return the number of the version before the one in use, 0 for none."""
        current = next((row.version for row in self.versions if row.current), 0)
        return max((row.version for row in self.versions if row.version < current), default=0)

    # --- actions

    def _use(self) -> None:
        if chosen := self.selected():
            self.use_requested.emit(chosen[0].version)

    def _go_back(self) -> None:
        if before := self._before():
            self.use_requested.emit(before)

    def _act(self, name: str) -> None:
        rows = self.board.selected_rows()
        if name in ("open", "return") and rows:
            self.open_requested.emit(rows[0].image)
