"""Import plan dialog: which photos get which label, and which are not sent; nothing is sent before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.importer.plan import ItemStatus, Plan, ScanProgress
from apitorch_desktop.ui.importer.plan_checks import ExistingOf, PlanChecks, Similar
from apitorch_desktop.ui.importer.plan_models import PlanLabelsModel
from apitorch_desktop.ui.importer.plan_table import PlanTable, plan_table
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, ProgressBar, button, label, set_property
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
        buttons = QHBoxLayout()
        buttons.addWidget(self.note, 1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addWidget(
            label("Web addresses of photos, one a line. They get their labels in the plan.", "base", wrap=True)
        )
        rows.addWidget(self.text, 1)
        rows.addLayout(buttons)
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
        top = QHBoxLayout()
        top.addWidget(label("Into"))
        top.addWidget(self.target)
        top.addWidget(self.name, 1)
        top.addStretch(0)
        self._split = QSplitter(Qt.Orientation.Horizontal, childrenCollapsible=False)
        self._split.setProperty("kind", "gap")
        self._split.setHandleWidth(px(8))
        self._split.addWidget(self.labels)
        self._split.addWidget(self.photos)
        self._split.setStretchFactor(1, 2)
        buttons = QHBoxLayout()
        buttons.addWidget(
            label("Photos are copied into the training set; your own files are not touched.", "small", "muted"), 1
        )
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addLayout(top)
        for widget in (self.head, self.below, self.notes, self.meter):
            rows.addWidget(widget)
        rows.addWidget(self._split, 1)
        rows.addLayout(buttons)
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
        parts.append(f"{len(plan.ignored):,} other files beside the photos")
    similar, doubled = counts["similar"], counts["other_label"]
    checks = []
    if similar:
        looks = "looks like a photo" if similar == 1 else "look like photos"
        checks.append(f"{similar:,} {looks} already in the set or this import")
    if doubled:
        checks.append(f"{doubled:,} under two labels")
    sentences = []
    if parts:
        sentences.append(f"Not sent: {' · '.join(parts)}.")
    if checks:
        sentences.append(f"{' · '.join(checks)}.")
    return " ".join(sentences)
