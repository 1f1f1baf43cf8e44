"""Watched folders of the window: each runs in the background until it is paused or stopped, also after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDialog, QFileDialog, QFormLayout, QLineEdit, QSizePolicy, QWidget

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import Classifier, Id, TrainingSet
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.importer.undoable_import import ImportResult
from apitorch_desktop.dataset.transfers.queue import TransferFailure
from apitorch_desktop.dataset.watch.actions import SetAdder
from apitorch_desktop.dataset.watch.engine import FolderWatch
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.store import KEPT, StoredWatch, WatchReport
from apitorch_desktop.dataset.watch.task import Answer, WatchTask, lock_task
from apitorch_desktop.dataset.workspace.training import wait_until_trained
from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import BackgroundStatus
from apitorch_desktop.ui.watch.panel import WatchPanel
from apitorch_desktop.ui.widgets.controls import ComboBox, button, in_row, label, lay_out_dialog, spin_box
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import plural, shown

_FIRST_ID: Final = -1_000_000_000
"""Ids in the list of work, where no two are the same, are below this one: those of batches are negative and above."""
_TAKEN = "Another window or command watches this folder. This goes on once that ends."
_SLICE = 0.1
"""Seconds between two checks for a pause."""
_LEAST = 80
"""Percent from which an answer is acted on, at first."""
_HOW = (
    ("Under their answer", (True, False)),
    ("Under their answer, the less sure without a label", (True, True)),
    ("Without a label", (False, True)),
)


class NoClassifier(UserError):  # noqa: N818 - named for what it is
    """The classifier of a watched folder does not exist."""


class StopEvent(Event):
    """Set by a pause, and by the cancellation of the job that it is bound to."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: Callable[[], bool] = lambda: False

    def is_set(self) -> bool:
        """Return True if the work has to end."""
        return super().is_set() or self.cancelled()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for that, at most `timeout` seconds."""
        end = monotonic() + (timeout if timeout is not None else 1e9)
        while not self.is_set() and (left := end - monotonic()) > 0:
            super().wait(min(left, _SLICE))
        return self.is_set()


class _WatchRun:
    """A watched folder in memory."""

    def __init__(self, stored: StoredWatch) -> None:
        self.stored = stored
        self.stop: Event | None = None
        """Ends the job, while one runs."""
        self.again = False
        """Begin anew once the job has ended."""
        self.note = ""
        self.problem = ""
        """Reason why it ended by itself."""
        self.retry = False
        """Try again what has failed, when the job begins."""

    def status(self) -> BackgroundStatus:
        stored = self.stored
        state = "paused" if stored.paused else "stopped" if self.problem else "running"
        title = f"Watching “{shown(stored.task.folder.name or str(stored.task.folder))}” by {stored.task.classifier}"
        note = "" if stored.paused else self.problem or self.note
        return BackgroundStatus("watch", _FIRST_ID - stored.id, title, state, note, stored.done, stored.failed)


class WatchController(QObject):
    """Runs the watched folders; the page shows one of them."""

    shown = Signal(bool)
    changed = Signal()
    """The list of watched folders, or the status of one."""
    added = Signal()
    """Photos were added to training sets by transfers that are off the list already."""
    photo_requested = Signal(object)
    """`DroppedContent` of one photo, for the classify panel."""

    def __init__(
        self, session: Session, edits: EditController, panel: WatchPanel, actions: ActionRegistry, theme: Theme,
        window: QWidget,
    ) -> None:  # fmt: skip
        super().__init__(window)
        self._session = session
        self._edits = edits
        self._panel = panel
        self._theme = theme
        self._window = window
        self._stores: AppData | None = None
        self._runs: dict[int, _WatchRun] = {}
        self._current: _WatchRun | None = None
        panel.command_requested.connect(self._on_current)
        panel.opened.connect(
            lambda report: self.photo_requested.emit(DroppedContent(paths=(report.moved or report.path,)))
        )
        panel.closed.connect(lambda: self.shown.emit(False))
        actions.add(
            ActionSpec("classifier.watch", "Watch a folder…", self.ask, icon="folder", reason=self._unavailable_reason)
        )

    def start(self, stores: AppData) -> None:
        """Go on with the watched folders of earlier runs of the program."""
        self._stores = stores

        def done(found: list[StoredWatch]) -> None:
            for stored in found:
                run = self._runs[stored.id] = _WatchRun(stored)
                if not stored.paused:
                    self._run(run)
            self.changed.emit()

        self._session.tasks.run(
            Lane.DISK, lambda _context: stores.watches.all(), done=done, owner=self, title="Reading the watched folders"
        )

    @property
    def statuses(self) -> list[BackgroundStatus]:
        """All watched folders, the oldest first."""
        return [run.status() for run in self._runs.values()]

    def current(self) -> BackgroundStatus | None:
        """Return the watched folder for the status bar: one that has ended by itself, else the last one that goes on."""
        statuses = self.statuses
        return next((one for state in ("stopped", "running") for one in reversed(statuses) if one.state == state), None)

    def _unavailable_reason(self) -> str:
        session = self._session
        if session.connected is None:
            return session.unavailable_reason("")
        if not session.connected.workspace.has("classify.upload"):
            return f"“{session.connected.connection.name}” classifies photos by their web address only."
        return "" if session.classifiers else "There is no classifier yet."

    def ask(self) -> None:
        """Let the user choose a folder and what is done about it."""
        if (dialog := self._dialog(None)) is not None:
            dialog.agreed.connect(self.add)
            dialog.open()

    def _ask_for_change(self, run: _WatchRun) -> None:
        """Let the user choose another classifier for a watched folder, and other acts."""
        session, task = self._session, run.stored.task
        if session.connection is None or session.connection.id != task.connection_id:
            session.show_message(
                "Open the connection of this folder first: its classifiers are needed.", "warn", "watch"
            )
        elif reason := self._unavailable_reason():
            session.show_message(reason, "warn", "watch")
        elif (dialog := self._dialog(run)) is not None:
            dialog.agreed.connect(lambda changed: self._change(run, changed))
            dialog.open()

    def _change(self, run: _WatchRun, task: WatchTask) -> None:
        """Go on with another task; a photo that the new classifier has not seen is classified by it."""
        if (stores := self._stores) is None or run.stored.id not in self._runs:
            return

        def job(_context: JobContext) -> WatchTask:
            destination = task.destination and task.destination.resolve()
            changed = replace(task, folder=run.stored.task.folder, destination=destination)
            stores.watches.change(run.stored.id, changed)
            return changed

        def done(changed: WatchTask) -> None:
            run.stored.task = changed
            if not run.stored.paused and run.stored.id in self._runs:
                if run.stop is not None:
                    run.stop.set()
                self._run(run)
            self._notify(run)

        self._session.tasks.run(
            Lane.DISK, job, done=done, failed=self._show_error, owner=self, title="Changing the watch"
        )

    def _dialog(self, run: _WatchRun | None) -> WatchDialog | None:
        session = self._session
        if (connected := session.connected) is None:
            return None
        slugs = [found.slug for found in session.classifiers if isinstance(found.slug, str)]
        dialog = WatchDialog(
            self._theme,
            connected.connection.id,
            slugs,
            session.training_sets,
            session.open_set.training_set if session.open_set is not None else None,
            "" if connected.workspace.has_inbox else "The service has no photos without a label.",
            lambda task: self._problem(task, run),
            self._window,
        )
        if run is not None:
            dialog.fill(run.stored.task)
        return dialog

    def _problem(self, task: WatchTask, changed: _WatchRun | None) -> str:
        key = (task.connection_id, task.classifier, task.folder)
        known = [run.stored.task for run in self._runs.values() if run is not changed]
        if any((one.connection_id, one.classifier, one.folder) == key for one in known):
            return f"“{shown(task.folder.name)}” is being watched by {task.classifier} already."
        return ""

    def add(self, task: WatchTask) -> None:
        """Watch a folder from now on."""
        if (stores := self._stores) is None:
            return

        def job(_context: JobContext) -> StoredWatch:
            if not task.folder.is_dir():
                raise UserError(f"“{shown(str(task.folder))}” is no folder.")
            destination = task.destination and task.destination.resolve()
            return stores.watches.add(replace(task, folder=task.folder.resolve(), destination=destination))

        def done(stored: StoredWatch) -> None:
            run = self._runs[stored.id] = _WatchRun(stored)
            self._run(run)
            self._show(run)

        self._session.tasks.run(
            Lane.DISK, job, done=done, failed=self._show_error, owner=self, title="Watching the folder"
        )

    def _show_error(self, error: Exception) -> bool:
        self._session.show_message(error_message(error, "").text, "bad", "watch")
        return True

    # --- running

    def _run(self, run: _WatchRun) -> None:
        stores = self._stores
        if stores is None:
            return
        if run.stop is not None:  # the last job is just ending
            run.again = True
            return
        run.problem = run.note = ""
        run.again = False
        retry, run.retry = run.retry, False

        stop = run.stop = StopEvent()

        def job(context: JobContext) -> None:
            stop.cancelled = context.cancelled
            _work(context, stores, run.stored, stop, retry=retry)

        self._session.tasks.run(
            Lane.FOLDERS,
            job,
            done=lambda _none: self._ended(run, None),
            failed=lambda error: self._ended(run, error),
            progress=lambda post: self._receive(run, post),
            owner=self,
            title="Watching a folder",
        )
        self._notify(run)

    def _ended(self, run: _WatchRun, error: Exception | None) -> bool:
        run.stop = None
        if error is not None:
            run.problem = error_message(error, "").text
        if run.again and run.stored.id in self._runs:
            self._run(run)
        self._notify(run)
        return True

    def _receive(self, run: _WatchRun, post: str | tuple[int, int] | WatchReport) -> None:
        stored = run.stored
        if isinstance(post, str):
            run.note = post
        elif isinstance(post, tuple):
            count, edit_id = post
            self._edits.background.add(edit_id)
            if count:
                text = f"Added {plural(count, 'photo')} from “{shown(stored.task.folder.name)}”."
                self._session.show_message(text, "", "edit", (("Undo", lambda: self._edits.undo_edit(edit_id)),))
            self._edits.look_up_history()
            self.added.emit()
        else:
            run.note = ""
            failed = isinstance(post.answer, str)
            stored.done += not failed
            stored.failed += failed
            stored.reports.insert(0, post)
            del stored.reports[KEPT:]
            if run is self._current:
                self._panel.show_reports(stored.reports)
        self._notify(run)

    def _notify(self, run: _WatchRun) -> None:
        if run is self._current:
            self._panel.show_status(run.status())
        self.changed.emit()

    # --- commands

    def command(self, verb: str, work_id: int) -> None:
        """Run `open`, `pause`, `resume`, `cancel` (stop for good), `retry_failed`, `change` or `forget` on a watched folder."""
        run = self._runs[_FIRST_ID - work_id]
        match verb:
            case "open":
                self._show(run)
            case "pause":
                self._set_paused(run, paused=True)
                if run.stop is not None:
                    run.stop.set()
            case "resume":
                self._set_paused(run, paused=False)
                self._run(run)
            case "retry_failed":
                self._retry(run)
            case "change":
                self._ask_for_change(run)
            case _:
                self._remove(run)

    def failures(self, work_id: int) -> list[TransferFailure]:
        """Return the photos that failed, as far as they are among the last answers."""
        reports = self._runs[_FIRST_ID - work_id].stored.reports
        return [
            TransferFailure(shown(one.path.name), "", one.answer, "") for one in reports if isinstance(one.answer, str)
        ]

    def _set_paused(self, run: _WatchRun, *, paused: bool) -> None:
        run.stored.paused = paused
        run.problem = ""
        self._write(lambda stores: stores.watches.set_paused(run.stored.id, paused))
        self._notify(run)

    def _retry(self, run: _WatchRun) -> None:
        stored = run.stored
        failed = [report for report in stored.reports if isinstance(report.answer, str)]
        stored.reports = [report for report in stored.reports if not isinstance(report.answer, str)]
        stored.failed = 0
        run.retry = True
        self._write(lambda stores: stores.watches.clear_failed(stored.id, failed))
        if run is self._current:
            self._panel.show_reports(stored.reports)
        self._set_paused(run, paused=False)
        if run.stop is not None:
            run.stop.set()
        self._run(run)

    def _remove(self, run: _WatchRun) -> None:
        if run.stop is not None:
            run.stop.set()
        del self._runs[run.stored.id]
        self._write(lambda stores: stores.watches.remove(run.stored.id))
        if run is self._current:
            self._current = None
            self.shown.emit(False)
        self.changed.emit()

    def _write(self, write: Callable[[AppData], object]) -> None:
        if (stores := self._stores) is not None:
            self._session.tasks.run(
                Lane.DISK,
                lambda _context: write(stores),
                failed=self._show_error,
                owner=self,
                title="Keeping the watch",
            )

    def _on_current(self, verb: str) -> None:
        if self._current is not None:
            self.command(verb, self._current.status().id)

    def _show(self, run: _WatchRun) -> None:
        self._current = run
        self._panel.show_reports(run.stored.reports)
        self._panel.show_status(run.status())
        self.shown.emit(True)
        self._panel.table.setFocus()


def _work(context: JobContext, stores: AppData, stored: StoredWatch, stop: Event, *, retry: bool) -> None:
    """Work on a watched folder until it is stopped; posts sentences, (count, edit) of added photos, and reports."""
    task, folder = stored.task, paths.desktop_folder()
    while (lock := lock_task(folder, task)) is None:
        context.post(_TAKEN)
        if stop.wait(1):
            return
    context.post("")

    def client() -> ApiClient:
        return stores.clients.get(task.connection_id, attempts=1)

    def report_training(state: Classifier | None) -> None:
        if state is not None and state.status == "training" and not isinstance(state.version, int):
            context.post(f"“{task.classifier}” is learning.")

    @contextmanager
    def connect() -> Iterator[ApiClient]:
        found = client()
        if "training" in (found.ping().extensions or []):
            if wait_until_trained(found, task.classifier, report=report_training, wait=stop.wait) is None:
                raise NoClassifier(f"There is no classifier “{task.classifier}”.")
            context.post("")
        yield found

    def done(place: str, answer: Answer, moved: Path | None) -> None:
        context.post(stores.watches.report(stored.id, Path(place), answer, moved))

    def added(result: ImportResult) -> None:
        edit = result.edit
        context.post(
            (result.created, edit.id) if edit is not None else (0, 0)
        )  # the window may have journalled it before

    try:
        with closing(WatchJournal(folder, task)) as journal:
            for path in journal.failed() if retry else ():
                journal.forget(path)
            adder = SetAdder(task, stores.imports, stores.transfers, client, added)
            FolderWatch(task, journal, on_done=done, on_state=context.post, add=adder.add).work(connect, stop)
    finally:
        lock.release()


class PathLine(QWidget):
    """A line for a path, with a button that lets the user choose it."""

    def __init__(self, theme: Theme, name: str, choose: Callable[[QLineEdit], object]) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.line.setAccessibleName(name)
        self.button = button("Choose…", "", lambda: choose(self.line))
        in_row((self.line, 1), self.button, on=self, margins=0, spacing=theme.px(8))

    def path(self) -> Path | None:
        """Return the path that was entered, None for none."""
        text = self.line.text().strip()
        return Path(text).expanduser().absolute() if text else None


class WatchDialog(QDialog):
    """Chooses folder, classifier and acts; `problem(task)` returns why a folder cannot be watched, "" if it can."""

    agreed = Signal(object)
    """The `WatchTask`."""

    def __init__(
        self,
        theme: Theme,
        connection_id: str,
        classifiers: Sequence[str],
        sets: Sequence[TrainingSet],
        chosen: TrainingSet | None,
        no_inbox: str,
        problem: Callable[[WatchTask], str],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Watch a folder")
        self._connection_id = connection_id
        self._problem = problem
        self.folder = PathLine(theme, "Folder", self._choose_folder)
        self.classifier = ComboBox(theme, "Classifier")
        self.classifier.addItems(list(classifiers))
        if chosen is not None:
            self.classifier.setCurrentIndex(max(0, self.classifier.findText(str(chosen.slug))))
        self.adds = QCheckBox("Add the photos to")
        self.target = ComboBox(theme, "Training set")
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen.id if chosen is not None else None)))
        self.adds.setEnabled(bool(sets))
        self.how = ComboBox(theme, "How they are added")
        for text, data in _HOW:
            if not (data[1] and no_inbox):
                self.how.addItem(text, data)
        self.writes = QCheckBox("Write the answers into a table")
        self.table = PathLine(theme, "Table", self._choose_table)
        self.moves = QCheckBox("Move the photos into folders by label in")
        self.destination = PathLine(theme, "Folder for folders by label", self._choose_folder)
        self.least = spin_box(theme, "Minimum confidence", _LEAST, 0, 100, " %")
        self.least.setSingleStep(5)
        self.least.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.note = label("", "small", "bad", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Watch", "primary", self._confirm)
        self.start.setDefault(True)
        for box in (self.adds, self.writes, self.moves):
            box.toggled.connect(lambda _on: self._update())
        for line in (self.folder.line, self.table.line, self.destination.line):
            line.textChanged.connect(lambda _text: self._update())
        self.how.currentIndexChanged.connect(lambda _index: self._update())
        self._lay_out(theme)
        self._update()

    def _lay_out(self, theme: Theme) -> None:
        fields = QFormLayout()
        fields.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for box in (self.adds, self.writes, self.moves):
            box.setMinimumHeight(self.target.sizeHint().height())  # beside the middle of its field
        fields.addRow("Folder", self.folder)
        fields.addRow("Classifier", self.classifier)
        fields.addRow(self.adds, self.target)
        fields.addRow("", self.how)
        fields.addRow(self.writes, self.table)
        fields.addRow(self.moves, self.destination)
        fields.addRow("Minimum confidence", self.least)
        text = "Photos that are in the folder or arrive in it are classified once, also after a restart, until you stop it."
        about = label(text, "base", "muted", wrap=True)
        lay_out_dialog(self, theme, (about, fields), (self.cancel, self.start), beside=self.note, spacing=12)
        self.setMinimumWidth(theme.px(560))

    def fill(self, task: WatchTask) -> None:
        """Show a task that is to be changed; its folder stays."""
        self.setWindowTitle("Change the watch")
        self.start.setText("Change")
        self.folder.line.setText(str(task.folder))
        self.folder.setEnabled(False)
        self.classifier.setCurrentIndex(max(0, self.classifier.findText(task.classifier)))
        self.writes.setChecked(task.table is not None)
        self.table.line.setText(str(task.table or ""))
        self.moves.setChecked(task.destination is not None)
        self.destination.line.setText(str(task.destination or ""))
        self.least.setValue(round(100 * task.least))
        if task.training_set_id is not None:
            self.adds.setChecked(True)
            self.target.setCurrentIndex(max(0, self.target.findData(task.training_set_id)))
            how = (task.adds_labels, task.adds_unlabelled)
            offered = [self.how.itemData(at) for at in range(self.how.count())]
            self.how.setCurrentIndex(offered.index(how) if how in offered else 0)
        self._update()

    def task(self) -> WatchTask | None:
        """Return what was chosen, None without a folder. Folders are without links once `_confirm` has passed them on."""
        folder = self.folder.path()
        if folder is None:
            return None
        labels, unlabelled = self.how.currentData()
        adds = self.adds.isChecked()
        return WatchTask(
            self._connection_id,
            folder,
            self.classifier.currentText(),
            self.table.path() if self.writes.isChecked() else None,
            self.destination.path() if self.moves.isChecked() else None,
            self.least.value() / 100,
            Id(self.target.currentData()) if adds else None,
            adds and labels,
            adds and unlabelled,
        )

    def _why_not(self) -> str:
        task = self.task()
        if task is None:
            return "Choose a folder."
        if self.writes.isChecked() and task.table is None:
            return "Choose a file for the table."
        if self.moves.isChecked() and task.destination is None:
            return "Choose a folder to move to."
        return self._problem(task)

    def _update(self) -> None:
        self.target.setEnabled(self.adds.isChecked())
        self.how.setEnabled(self.adds.isChecked())
        self.table.setEnabled(self.writes.isChecked())
        self.destination.setEnabled(self.moves.isChecked())
        labels = self.adds.isChecked() and self.how.currentData()[0]
        self.least.setEnabled(labels or self.moves.isChecked())
        why_not = self._why_not()
        self.note.setText("" if self.folder.path() is None else why_not)
        self.start.setEnabled(not why_not)
        self.start.setToolTip(why_not)

    def _confirm(self) -> None:
        task = self.task()
        if task is not None and not self._why_not():
            self.accept()
            self.agreed.emit(task)

    def _choose_folder(self, line: QLineEdit) -> None:
        dialog = QFileDialog(self, "Choose a folder", line.text() or str(Path.home()))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        self._open(dialog, line)

    def _choose_table(self, line: QLineEdit) -> None:
        dialog = QFileDialog(self, "Choose a table", line.text() or str(Path.home()), "Table (*.csv)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
        dialog.setDefaultSuffix("csv")
        self._open(dialog, line)

    def _open(self, dialog: QFileDialog, line: QLineEdit) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(line.setText)
        dialog.open()
