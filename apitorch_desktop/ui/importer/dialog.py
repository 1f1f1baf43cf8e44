"""Import plan dialog: which photos get which label, and which are not sent; nothing is sent before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QAbstractItemModel, QEvent, QObject, QSize, QStringListModel, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QCompleter,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QSplitter,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.importer.plan import ItemStatus, Plan, PlanItem, ScanProgress
from apitorch_desktop.ui.images.source_thumbnails import SourceThumbnails
from apitorch_desktop.ui.importer.plan_models import (
    ExistingOf,
    PlanChecks,
    PlanFilter,
    PlanItemsModel,
    PlanLabelsModel,
    Similar,
)
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    ComboBox,
    ProgressBar,
    button,
    enable_unless,
    in_column,
    in_row,
    label,
    lay_out_dialog,
    set_property,
)
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Index
from apitorch_desktop.utils.text import plural, size

_MOST_NOTES = 5


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """Confirmed plan, and the training set it goes to, or the name of a new one."""

    plan: Plan
    training_set_id: Id | None
    new_name: str


class AddressesDialog(QDialog):
    """Asks for web addresses of photos, one a line."""

    entered = Signal(str)
    """The lines that were entered."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Import from addresses")
        px = theme.px
        self.text = QPlainTextEdit()
        self.text.setPlaceholderText("https://example.org/photo.jpg")
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName("Addresses")
        self.text.textChanged.connect(self._count)
        self.note = label("", "small", "muted")
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Show the plan", "primary", self._enter)
        about = label("Web addresses of photos, one a line. They get their labels in the plan.", "base", wrap=True)
        lay_out_dialog(self, theme, (about, self.text), (self.cancel, self.start), beside=self.note, grows=self.text)
        self.resize(px(560), px(320))
        self._count()

    def _count(self) -> None:
        lines = sum(1 for line in self.text.toPlainText().splitlines() if line.strip())
        self.note.setText(plural(lines, "address", "addresses") if lines else "")
        self.start.setEnabled(bool(lines))

    def _enter(self) -> None:
        text = self.text.toPlainText()
        self.accept()
        self.entered.emit(text)


class ImportDialog(QDialog):
    """Scans dropped content on a lane, shows the plan for editing, and emits `agreed` when it is confirmed.

    `existing_of` and `similar` are passed to `PlanChecks`; they and the scan run on lanes.
    """

    agreed = Signal(object)
    """The `ImportOrder`."""

    def __init__(
        self,
        theme: Theme,
        tasks: TaskRunner,
        sets: Sequence[TrainingSet],
        chosen: Id | None,
        *,
        suggestion: str = "",
        no_new_set: str = "",
        existing_of: ExistingOf,
        similar: Similar | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._tasks = tasks
        self._checks = PlanChecks(tasks, existing_of, similar, self)
        self._plan: Plan | None = None
        self._label: str | None = None
        self._task: Task | None = None
        self.setWindowTitle("Import photos")
        self._build(sets, chosen, suggestion, no_new_set)
        self._checks.compared.connect(self._show_plan)
        self._checks.similar_found.connect(self._edited)
        self._checks.progressed.connect(self._update_controls)
        self._checks.failed.connect(self._show_problem)
        self._lay_out()
        self._show_plan()

    def scan(self, job: Callable[[JobContext], Plan]) -> None:
        """Run the scan of the dropped content; its progress is shown, and *Cancel* stops it."""
        self._task = self._tasks.run(
            Lane.DISK,
            job,
            done=self.show_plan,
            failed=self._failed,
            progress=self._show_progress,
            owner=self,
            title="Scanning the photos",
        )

    def show_plan(self, plan: Plan) -> None:
        """Show a finished plan, checked against the chosen training set."""
        self._plan = plan
        self._task = None
        self._check_against_target()

    @property
    def plan(self) -> Plan | None:
        """The plan, None while the scan runs."""
        return self._plan

    def reject(self) -> None:
        """Cancel the scan and the checks, and close."""
        if self._task is not None:
            self._task.cancel()
        self._checks.stop()
        super().reject()

    # --- widgets

    def _build(self, sets: Sequence[TrainingSet], chosen: Id | None, suggestion: str, no_new_set: str) -> None:
        self.target = ComboBox(self._theme, "Training set")
        self.target.setMinimumWidth(self._theme.px(240))
        if not no_new_set:
            self.target.addItem("A new training set", None)
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen)) if chosen is not None else 0)
        self.target.setToolTip(no_new_set)
        self.target.currentIndexChanged.connect(self._target_changed)
        self.name = QLineEdit(suggestion, placeholderText="Its name")
        self.name.setAccessibleName("Name of the new training set")
        self.name.setMaxLength(200)
        self.name.textChanged.connect(self._update_controls)
        self.head = label("", "answer", wrap=True)
        self.below = label("", "small", "muted", wrap=True)
        self.notes = label("", "small", "warn", wrap=True)
        self.meter = ProgressBar(None, thin=True)
        self.labels_model = PlanLabelsModel()
        self.labels_model.edited.connect(self._edited)
        self.labels_model.problem.connect(self._show_problem)
        self.labels_model.renamed.connect(self._follow_rename)
        widths = [self._theme.px(width) for width in (120, 64, 76, 44)]
        self.labels = plan_table("Labels", self.labels_model, widths)
        self.labels.selectionModel().selectionChanged.connect(lambda *_: self._label_chosen())
        self.photos = PlanTable(self._theme, self._tasks)
        self.photos.edited.connect(self._edited)
        self.photos.problem.connect(self._show_problem)
        self.photos.all_labels_requested.connect(self.labels.clearSelection)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Import", "primary", self._confirm)

    def _lay_out(self) -> None:
        px = self._theme.px
        top = in_row(label("Into"), self.target, (self.name, 1))
        top.addStretch(0)
        self._split = QSplitter(Qt.Orientation.Horizontal, childrenCollapsible=False)
        self._split.setProperty("kind", "gap")
        self._split.setHandleWidth(px(8))
        self._split.addWidget(self.labels)
        self._split.addWidget(self.photos)
        self._split.setStretchFactor(1, 2)
        about = label("Photos are copied into the training set; your own files are not touched.", "small", "muted")
        parts = (top, self.head, self.below, self.notes, self.meter, self._split)
        lay_out_dialog(self, self._theme, parts, (self.cancel, self.start), beside=about, grows=self._split)
        room = self.screen().availableGeometry()
        self.resize(min(px(1120), room.width() - px(48)), min(px(640), room.height() - px(64)))
        self._split.setSizes([px(308), self.width() - px(308)])

    # --- scanning

    def _show_progress(self, state: ScanProgress) -> None:
        if state.total is None:
            self.head.setText(f"Looking through the folders: {state.found:,} photos so far…")
        else:
            self.head.setText(f"Looking at the photos: {state.read:,} of {state.total:,}")
            self.meter.set_share(state.read / max(1, state.total))

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.meter.hide()
        self.head.setText("The photos could not be read")
        self._show_problem(str(error))

    def _target_changed(self) -> None:
        if self._plan is not None:
            self._check_against_target()
        else:
            self._update_controls()

    def _check_against_target(self) -> None:
        if self._plan is not None:
            self.head.setText("Comparing with what is there…")
            self._checks.check(self._plan, self.target.currentData())
            self._update_controls()

    # --- showing

    def _show_plan(self) -> None:
        plan = self._plan
        self.meter.setVisible(plan is None)
        self._split.setEnabled(plan is not None)
        self.labels_model.show_plan(plan)
        self.photos.show_plan(plan, self._checks.labels)
        self._show_problem("")
        if plan is None:
            self.head.setText("Looking at what was dropped…")
        self._update_controls()

    def _edited(self) -> None:
        self.labels_model.show_plan(self._plan)
        self._restore_label()
        self.photos.refresh(self._label)
        self._show_problem("")
        self._update_controls()

    def _update_controls(self) -> None:
        """Show what an import would do, and enable or disable it with a reason."""
        plan = self._plan
        new = self.target.currentData() is None
        self.name.setVisible(new)
        if plan is None:
            self.start.setEnabled(False)
            return
        sending = plan.sending()
        photos = f"{len(sending):,} photo{'s' * (len(sending) != 1)}"
        labels = sum(1 for row in plan.labels() if row.sending and row.label)
        self.start.setText(f"Import {photos}")
        unlabeled, waiting = (plan.counts()[status] for status in (ItemStatus.NO_LABEL, ItemStatus.WAITING))
        reason = "Give the photos a label first" if unlabeled else "There is nothing to send"
        reason = "" if sending else reason
        if new and not self.name.text().strip():
            reason = reason or "Give the new training set a name"
        if self._checks.comparing:
            reason = "Comparing with what is there"
        else:
            spread = f"{plural(len(sending) - waiting, 'photo')} under {plural(labels, 'label')}, {waiting:,} without a label"
            if not waiting or not labels:
                spread = f"{photos} under {plural(labels, 'label')}" if labels else f"{photos} without a label yet"
            nothing = f"{plural(unlabeled, 'photo')} without a label yet" if unlabeled else "Nothing to import"
            self.head.setText(f"{spread}, {size(plan.bytes_to_send())}" if sending else nothing)
        self.below.setText(" ".join(part for part in (_summary(plan), self._checks.similarity_text) if part))
        self.below.setVisible(bool(self.below.text()))
        self.start.setEnabled(not reason)
        self.start.setToolTip(reason)
        self.start.setDefault(not reason)

    def _show_problem(self, sentence: str) -> None:
        notes = [sentence] if sentence else []
        if self._plan is not None:
            notes += self._plan.notes[:_MOST_NOTES]
            if len(self._plan.notes) > _MOST_NOTES:
                notes.append(f"… and {len(self._plan.notes) - _MOST_NOTES:,} more.")
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))
        set_property(self.notes, "tone", "bad" if sentence else "warn")

    def _label_chosen(self) -> None:
        rows = self.labels.selectionModel().selectedRows()
        self._label = self.labels_model.rows[rows[0].row()].label if rows else None
        self.photos.show_label(self._label)

    def _restore_label(self) -> None:
        """Restore the selected label after the labels were shown again."""
        row = self.labels_model.row_of(self._label)
        if row is None:
            self._label = None
        else:
            self.labels.setCurrentIndex(self.labels_model.index(row, 0))

    def _follow_rename(self, old: str, new: str) -> None:
        if self._label == old:
            self._label = new
        QTimer.singleShot(0, self.labels, self.labels.setFocus)  # once the field of the old row is gone

    def _confirm(self) -> None:
        if self._plan is not None:
            self._checks.stop()
            order = ImportOrder(self._plan, self.target.currentData(), self.name.text().strip())
            self.accept()
            self.agreed.emit(order)


def _summary(plan: Plan) -> str:
    """Return what is not sent, and why: `Not sent: 4 cannot be read · 12 there already.`"""
    counts = {status.value: count for status, count in plan.counts().items()}
    reasons = {
        "problem": "cannot be read",
        "there": "there already",
        "twice": "twice in this import",
        "no_label": "without a label",
        "left_out": "skipped",
    }
    parts = [f"{counts[name]:,} {text}" for name, text in reasons.items() if counts[name]]
    if plan.ignored:
        parts.append(f"{plural(len(plan.ignored), 'other file')} beside the photos")
    similar, doubled = counts["similar"], counts["other_label"]
    checks = []
    if similar:
        looks = "looks like a photo" if similar == 1 else "look like photos"
        checks.append(f"{similar:,} {looks} already in the set or this import")
    if doubled:
        checks.append(f"{plural(doubled, 'photo')} under two labels")
    sentences = []
    if parts:
        sentences.append(f"Not sent: {' · '.join(parts)}.")
    if checks:
        sentences.append(f"{' · '.join(checks)}.")
    return " ".join(sentences)


_VIEWS: dict[str, tuple[str, ...]] = {
    "All": (),
    "To be sent": ("new", "similar", "other_label", "waiting"),
    "Cannot be read": ("problem",),
    "There already": ("there", "twice"),
    "Look nearly the same": ("similar",),
    "Under two labels": ("other_label",),
    "Without a label": ("no_label", "waiting"),
    "Skipped": ("left_out",),
}


THUMBNAIL = 28
"""Side of a photo in its row, in pixels at 100 %."""
_NOTE = (52, 300)
"""Least and most width of the notes in pixels at 100 %."""
_MEASURED = 2000
"""Photos whose notes are measured."""


class PlanTable(QWidget):
    """Table of a plan's photos, with filters and controls. Changes go through the plan."""

    edited = Signal()
    problem = Signal(str)
    """Reason why an edit was rejected."""
    all_labels_requested = Signal()

    def __init__(self, theme: Theme, tasks: TaskRunner) -> None:
        super().__init__()
        self._theme = theme
        self._plan: Plan | None = None
        self._only: str | None = None
        edge = theme.px(THUMBNAIL)
        self._thumbnails = SourceThumbnails(
            tasks, round(edge * self.devicePixelRatioF()), lambda item: self.items_model.refresh(item), self
        )
        self.items_model = PlanItemsModel(theme, lambda item: self._thumbnails.icon(item, item.source))
        self.items_model.edited.connect(self.edited)
        self.items_model.problem.connect(self.problem)
        self.filter_model = PlanFilter(self.items_model)
        self.view = ComboBox(theme, "Show")
        for name in _VIEWS:
            self.view.addItem(name, name)
        self.view.currentIndexChanged.connect(lambda _index: self.narrow())
        self.search = QLineEdit(placeholderText="Find a photo", clearButtonEnabled=True)
        self.search.setAccessibleName("Find a photo")
        self.search.textChanged.connect(lambda _text: self.narrow())
        self.all_labels = button("All labels", "", self.all_labels_requested.emit)
        self.all_labels.hide()
        self.items = plan_table("Photos", self.filter_model, [theme.px(width) for width in (0, 104, 72, 52)])
        self.items.setIconSize(QSize(edge, edge))
        self.items.header().setStretchLastSection(False)
        self.items.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.items.setSelectionMode(QTreeView.SelectionMode.ExtendedSelection)
        self.items.setSortingEnabled(True)
        self.items.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.items.selectionModel().selectionChanged.connect(lambda *_: self.update_controls())
        self.skip = button("Skip", "", lambda: self._set_included(included=False))
        self.include = button("Include", "", lambda: self._set_included(included=True))
        self.relabel = QLineEdit(placeholderText="Label for the selected…")
        self.relabel.setAccessibleName("Label for the selected photos")
        self.relabel.textChanged.connect(lambda _text: self._show_spelling())
        self._labels = QStringListModel(self)
        complete_labels(self.relabel, self._labels)
        self.items.setItemDelegateForColumn(1, _LabelDelegate(self._labels, self))
        self.spelling = label("", "small", "muted")
        self.spelling.hide()
        for part in (self.search, self.items, self.relabel):
            part.installEventFilter(self)
        self._lay_out()
        self.update_controls()

    def _lay_out(self) -> None:
        filters, edits = QHBoxLayout(), QHBoxLayout()
        filters.addWidget(self.view)
        filters.addWidget(self.search, 1)
        filters.addWidget(self.all_labels)
        edits.addWidget(self.skip)
        edits.addWidget(self.include)
        edits.addWidget(self.relabel, 1)
        in_column(filters, (self.items, 1), edits, self.spelling, on=self, margins=0)
        order = (self.view, self.search, self.all_labels, self.items, self.skip, self.include, self.relabel)
        for control, following in pairwise(order):
            QWidget.setTabOrder(control, following)

    # --- showing

    def show_plan(self, plan: Plan | None, labels: Sequence[str] = ()) -> None:
        """Show the photos of a plan; `labels` are those of the training set, for completion.

        Where no photo has a label yet (one that was pasted), all are selected, so that a label can be typed at once.
        """
        self._plan = plan
        self._thumbnails.clear()
        self.items_model.show_plan(plan)
        self._fit_notes()
        planned = [row.label for row in plan.labels() if row.label] if plan is not None else []
        self._labels.setStringList(sorted({*labels, *planned}))
        if planned == [] and plan is not None and any(item.problem is None for item in plan.items):
            self.items.selectAll()
            self.relabel.setFocus()
        self.update_controls()

    def refresh(self, only: str | None) -> None:
        """Show a plan whose statuses have changed: the photos of one label, None for all."""
        self.items_model.refresh()
        self._fit_notes()
        self.show_label(only)

    def _fit_notes(self) -> None:
        """Hide the notes where there are none; else give the names the width they need, and the notes the rest."""
        metrics, px = self.items.fontMetrics(), self._theme.px
        items = self._plan.items[:_MEASURED] if self._plan is not None else []
        notes = {self.items_model.note(item) for item in items} - {""}
        self.items.setColumnHidden(3, not notes)
        widest = max((metrics.horizontalAdvance(note) for note in notes), default=0) + px(20)
        names = max((metrics.horizontalAdvance(item.name) for item in items), default=0) + px(THUMBNAIL + 44)
        room = self.items.viewport().width() - self.items.columnWidth(1) - self.items.columnWidth(2)
        least = min(widest, px(_NOTE[0]))
        self.items.setColumnWidth(3, max(least, min(widest, px(_NOTE[1]), max(room - names, room * 2 // 5))))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the new width between names and notes."""
        super().resizeEvent(event)
        self._fit_notes()

    def show_label(self, only: str | None) -> None:
        """Show the photos of one label, None for all."""
        self._only = only
        self.all_labels.setVisible(only is not None)
        self.narrow()

    def narrow(self) -> None:
        """Apply the filters."""
        self.filter_model.narrow(_VIEWS[self.view.currentData()], self._only, self.search.text().strip())
        self.update_controls()

    def update_controls(self) -> None:
        """Enable the controls that apply to the selection."""
        reason = "" if self.selected() else "Select photos first"
        for control in (self.skip, self.include, self.relabel):
            enable_unless(control, reason)

    def _show_spelling(self) -> None:
        """Show how the typed label will be stored, if that differs."""
        typed = self.relabel.text().strip()
        stored = snake_case(typed)
        self.spelling.setText(f"Stored as “{stored}”.")
        self.spelling.setVisible(bool(stored) and stored != typed)

    def selected(self) -> list[PlanItem]:
        """Return the selected items."""
        rows = self.items.selectionModel().selectedRows() if self._plan else []
        return [row.data(ROW_ROLE) for row in rows]

    # --- editing

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle Enter in the two lines, which would activate the dialog's default button, and F2 in the table."""
        if event.type() != QEvent.Type.KeyPress or not isinstance(event, QKeyEvent):
            return super().eventFilter(watched, event)
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and watched is self.search:
            self._focus_table()
        elif enter and watched is self.relabel:
            self._relabel()
        elif event.key() == Qt.Key.Key_F2 and watched is self.items:
            self._edit_selected_labels()
        else:
            return super().eventFilter(watched, event)
        return True

    def _focus_table(self) -> None:
        """Focus the table, at its first photo where none is selected."""
        if not self.selected() and self.filter_model.rowCount():
            self.items.setCurrentIndex(self.filter_model.index(0, 0))
        self.items.setFocus()

    def _set_included(self, *, included: bool) -> None:
        if self._plan is not None:
            self._plan.set_included(self.selected(), included)
            self.edited.emit()

    def _relabel(self) -> None:
        if self._plan is None:
            return
        try:
            self._plan.set_label(self.selected(), self.relabel.text())
        except ValueError as error:
            self.problem.emit(str(error))
            return
        self.relabel.clear()
        self.items.setFocus()  # before the line is disabled: the selected photos may leave this view
        self.edited.emit()

    def _edit_selected_labels(self) -> None:
        """Edit the label of one photo in its row, of several in the line below."""
        selected = self.items.selectionModel().selectedRows(1)
        if len(selected) == 1:
            self.items.edit(selected[0])
        elif selected:
            self.relabel.setFocus()


class _LabelDelegate(QStyledItemDelegate):
    """Edits a label in its row, with completion."""

    def __init__(self, labels: QStringListModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._labels = labels

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        editor = super().createEditor(parent, option, index)
        if isinstance(editor, QLineEdit):
            complete_labels(editor, self._labels)
        return editor


def complete_labels(line: QLineEdit, labels: QStringListModel) -> None:
    """Complete labels in a line as they are typed: Enter takes the label shown, Delete removes the completed part."""
    completer = QCompleter(labels, line)
    completer.setCompletionMode(QCompleter.CompletionMode.InlineCompletion)
    completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
    line.setCompleter(completer)


def plan_table(name: str, model: QAbstractItemModel, widths: Sequence[int]) -> QTreeView:
    """Return a table whose last column takes the remaining width."""
    table = QTreeView(rootIsDecorated=False, uniformRowHeights=True)
    table.setModel(model)
    table.setAccessibleName(name)
    table.setProperty("kind", "table")
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setEditTriggers(QTreeView.EditTrigger.EditKeyPressed | QTreeView.EditTrigger.DoubleClicked)
    table.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    table.header().setStretchLastSection(True)
    for column, width in enumerate(widths):
        table.setColumnWidth(column, width)
    return table
