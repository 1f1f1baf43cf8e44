"""Photos of an import plan: a table with filters above it and edits below."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QAbstractItemModel, QEvent, QObject, QSize, QStringListModel, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCompleter,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.dataset.importer.plan import Plan, PlanItem
from apitorch_desktop.ui.images.source_thumbnails import SourceThumbnails
from apitorch_desktop.ui.importer.plan_models import PlanFilter, PlanItemsModel
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, enable_unless, label
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Index

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
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(filters)
        column.addWidget(self.items, 1)
        column.addLayout(edits)
        column.addWidget(self.spelling)
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
        """Give the notes the width they need, and the rest to the names."""
        metrics, px = self.items.fontMetrics(), self._theme.px
        notes = {item.note for item in self._plan.items[:_MEASURED]} if self._plan is not None else set()
        needed = max((metrics.horizontalAdvance(note) for note in notes), default=0) + px(20)
        self.items.setColumnWidth(3, max(px(_NOTE[0]), min(px(_NOTE[1]), needed)))

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
