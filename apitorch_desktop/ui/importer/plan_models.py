"""Models of an import plan, and its background checks against a training set: known photos, then near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter

from PySide6.QtCore import QObject, QSortFilterProxyModel, Signal
from PySide6.QtGui import QFont, QIcon

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, Id, label_name
from apitorch_desktop.dataset.importer.plan import ItemStatus, Plan, PlanItem, PlanLabel
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE, Column, Index, TableFilter, TableModel
from apitorch_desktop.utils.text import size

Existing = tuple[Mapping[str, Collection[str]], Collection[str]]
"""Content of a training set: sha256 → labels, and its labels."""
ExistingOf = Callable[[Id], Existing]
Similar = Callable[[Plan, Id | None, JobContext], Mapping[int, str]]
"""Finds near-duplicates: index of an item → what it looks like, as the end of a sentence."""


class PlanChecks(QObject):
    """Runs the checks on lanes. The plan is usable before near-duplicates are found."""

    compared = Signal()
    """The plan was compared with the training set."""
    similar_found = Signal()
    """Near-duplicates are marked in the plan."""
    progressed = Signal()
    failed = Signal(str)

    def __init__(self, tasks: TaskRunner, existing_of: ExistingOf, similar: Similar | None, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._existing_of = existing_of
        self._similar = similar
        self._comparison: Task | None = None
        self._similarity: Task | None = None
        self.labels: list[str] = []
        """Labels of the training set."""
        self.similarity_text = ""
        """Progress of the search for near-duplicates, "" while there is none."""

    @property
    def comparing(self) -> bool:
        """True while the training set's content is not known yet."""
        return self._comparison is not None

    def stop(self) -> None:
        """Cancel the checks under way."""
        for task in (self._comparison, self._similarity):
            if task is not None:
                task.cancel()
        self._comparison = self._similarity = None
        self.similarity_text = ""

    def check(self, plan: Plan, target: Id | None) -> None:
        """Check a plan against a training set, None for a new one."""
        self.stop()
        plan.set_similar({})
        if target is None:
            self.labels = []
            plan.set_existing({})
            self.compared.emit()
            self._find_similar(plan, None)
            return
        existing_of = self._existing_of

        def found(existing: Existing) -> None:
            self._comparison = None
            plan.set_existing(*existing)
            self.labels = list(existing[1])
            self.compared.emit()
            self._find_similar(plan, target)

        def failed(error: Exception) -> None:
            self._comparison = None
            self.compared.emit()
            self.failed.emit(f"Comparing with the training set failed. {error}")

        self._comparison = self._tasks.run(
            Lane.INTERACTIVE,
            lambda _context: existing_of(target),
            done=found,
            failed=failed,
            owner=self,
            title="Comparing with the training set",
        )

    def _find_similar(self, plan: Plan, target: Id | None) -> None:
        similar = self._similar
        if similar is None:
            return

        def found(alike: Mapping[int, str]) -> None:
            self._similarity, self.similarity_text = None, ""
            plan.set_similar(alike)
            self.similar_found.emit()

        def failed(_fault: Exception) -> None:
            self._similarity, self.similarity_text = None, ""
            self.progressed.emit()

        def progress(done_total: tuple[int, int]) -> None:
            self.similarity_text = "Looking for photos that look nearly the same: {:,} of {:,}.".format(*done_total)
            self.progressed.emit()

        self._similarity = self._tasks.run(
            Lane.BATCH,
            lambda context: similar(plan, target, context),
            done=found,
            failed=failed,
            progress=progress,
            owner=self,
            title="Searching near-duplicates",
        )


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


_NOT_SENT = (ItemStatus.THERE, ItemStatus.TWICE)
"""A tick would promise that they are sent."""


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
                checked=lambda item: item.included and item.problem is None and item.standing not in _NOT_SENT,
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
                text=self.note,
                sort_key=attrgetter("standing"),
                tooltip=_tooltip,
                tone=lambda item: _TONES.get(item.standing, "muted"),
            ),
        ]
        super().__init__(columns, theme)

    @staticmethod
    def note(item: PlanItem) -> str:
        """Return what is said of a photo, "" for one that is simply sent."""
        return item.note or _STATUS_TEXTS.get(item.standing, "")

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
