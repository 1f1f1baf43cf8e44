"""Table models of an import plan: its labels and its photos. Edits go through the plan."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter

from PySide6.QtCore import QSortFilterProxyModel, Signal
from PySide6.QtGui import QFont, QIcon

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, label_name
from apitorch_desktop.dataset.importer.plan import Plan, PlanItem, PlanLabel
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, Index, TableFilter, TableModel
from apitorch_desktop.utils.text import size

_TONES = {"problem": "bad_text", "no_label": "warn_text", "other_label": "warn_text", "similar": "warn_text"}
_STATUS_TEXTS = {"new": "", "left_out": "Skipped"}


class PlanLabelsModel(TableModel[PlanLabel]):
    """Labels of a plan, with how many photos each gets; labels can be renamed."""

    renamed = Signal(str, str)
    """(old, new) label; `edited` follows."""
    edited = Signal()
    problem = Signal(str)
    """Reason why an edit was rejected."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        columns: list[Column[PlanLabel]] = [
            Column(
                title="Label",
                text=lambda row: row.label or label_name(INBOX),
                tooltip=_spellings,
                edit=self._rename,
                edit_text=attrgetter("label"),
            ),
            Column(title="Photos", text=lambda row: f"{row.sending:,}", tooltip=_spellings, numeric=True),
            Column(
                title="Not sent",
                text=lambda row: f"{row.staying:,}" if row.staying else "",
                tooltip=_spellings,
                numeric=True,
            ),
            Column(title="New", text=lambda row: "" if row.exists or not row.label else "yes", tooltip=_spellings),
        ]
        super().__init__(columns)

    def show_plan(self, plan: Plan | None) -> None:
        """Show the labels of a plan, or show those of the same plan again."""
        self._plan = plan
        self.show(plan.labels() if plan else [])

    def row_of(self, label: str | None) -> int | None:
        """Return the row of a label, None where it has none."""
        return next((number for number, row in enumerate(self.rows) if row.label == label), None)

    def _rename(self, row: PlanLabel, text: str) -> bool:
        plan = self._plan
        if plan is None or text == row.label:
            return False
        try:
            plan.rename_label(row.label, text)
        except ValueError as error:
            self.problem.emit(str(error))
            return False
        self.renamed.emit(row.label, snake_case(text))
        self.edited.emit()
        return True


class PlanItemsModel(TableModel[PlanItem]):
    """Photos of a plan: a check box for those that are included, name, label (editable), size and a note."""

    edited = Signal()
    problem = Signal(str)
    """Reason why an edit was rejected."""

    def __init__(self, theme: Theme, icon: Callable[[PlanItem], QIcon]) -> None:
        self._plan: Plan | None = None
        self._skipped_font = QFont(theme.font())
        self._skipped_font.setStrikeOut(True)
        columns: list[Column[PlanItem]] = [
            Column(
                title="Photo",
                text=attrgetter("name"),
                icon=icon,
                tooltip=_tooltip,
                font=lambda item: self._skipped_font if item.standing == "left_out" else None,
                checked=lambda item: item.included and item.problem is None,
                check=self._include,
                editable=_readable,
            ),
            Column(
                title="Label",
                text=attrgetter("label"),
                tooltip=_tooltip,
                edit=self._set_label,
                editable=_readable,
            ),
            Column(
                title="Size",
                text=lambda item: size(item.size) if item.size is not None else "",
                sort_key=lambda item: item.size or 0,
                tooltip=_tooltip,
                numeric=True,
            ),
            Column(
                title="Note",
                text=lambda item: item.note or _STATUS_TEXTS.get(item.standing, ""),
                sort_key=attrgetter("standing"),
                tooltip=_tooltip,
                tone=lambda item: _TONES.get(item.standing, "muted"),
            ),
        ]
        super().__init__(columns, theme)

    def show_plan(self, plan: Plan | None) -> None:
        """Show the photos of a plan."""
        self._plan = plan
        self.show(plan.items if plan else [])

    def _include(self, item: PlanItem, included: bool) -> bool:
        return self._edit(lambda plan: plan.set_included([item], included))

    def _set_label(self, item: PlanItem, text: str) -> bool:
        return self._edit(lambda plan: plan.set_label([item], text))

    def _edit(self, edit: Callable[[Plan], None]) -> bool:
        if self._plan is None:
            return False
        try:
            edit(self._plan)
        except ValueError as error:
            self.problem.emit(str(error))
            return False
        self.edited.emit()
        return True


class PlanFilter(TableFilter):
    """Shows the photos with certain statuses, of one label, and with a text in name, label or note."""

    def __init__(self, model: PlanItemsModel) -> None:
        super().__init__(model)
        self._statuses: Collection[str] = ()
        self._label: str | None = None
        self._text = ""

    def narrow(self, statuses: Collection[str], label: str | None, text: str) -> None:
        """Set the filter: empty statuses, no label (None) and an empty text match everything."""
        self.beginFilterChange()
        self._statuses, self._label, self._text = statuses, label, text.casefold()
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        item: PlanItem = self.sourceModel().index(source_row, 0).data(ROW_ROLE)
        if self._statuses and item.standing.value not in self._statuses:
            return False
        if self._label is not None and item.label != self._label:
            return False
        return not self._text or self._text in f"{item.name}\n{item.label}\n{item.note}".casefold()


def _spellings(row: PlanLabel) -> str:
    spelled = ", ".join(f"“{name}”" for name in row.spelled if name != row.label and name)
    return f"From {spelled}" if spelled else ""


def _tooltip(item: PlanItem) -> str:
    about = item.note or item.name
    return f"{about}\nSplit: {item.split}" if item.split else about


def _readable(item: PlanItem) -> bool:
    return item.problem is None
