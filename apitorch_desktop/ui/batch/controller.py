"""Batches: many photos classified in the background, two at a time, kept on disk, and shown in a table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.types import Classification, Classifier, Id
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.batch.classification import BatchRow, classify, digest, save_table
from apitorch_desktop.dataset.batch.store import Batch, BatchState, BatchStore
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import (
    ImageBytes,
    ImageFile,
    ImageUrl,
    SourceMissing,
    UploadItem,
    place_of,
)
from apitorch_desktop.dataset.workspace.training import wait_until_trained
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec, always
from apitorch_desktop.ui.batch.panel import AddEachDialog, BatchPanel
from apitorch_desktop.ui.classify.panel import ClassifyPanel
from apitorch_desktop.ui.classify.scratch_permission import REFUSED, ScratchPermission
from apitorch_desktop.ui.importer.controller import sources_of
from apitorch_desktop.ui.photos.share import ShareActions, write_copy
from apitorch_desktop.ui.session import file_manager
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import BackgroundStatus
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent, DroppedImage
from apitorch_desktop.ui.widgets.label_menu import fill_label_menu, menus_of
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import duration, plural

THREADS = 2
MOST_LOST = 4
"""Consecutive failures to reach the service after which a batch waits for it."""
PROGRESS_INTERVAL = 100
"""Milliseconds between two updates of the progress."""
_STATE_TEXTS = {
    BatchState.RUNNING: "waits for its service",
    BatchState.PAUSED: "paused",
    BatchState.CANCELLED: "cancelled",
}
SECTION = "Table of answers"
"""Section of the sheet of keys."""
_MOST_BYTES = 2**28
"""Largest image that is copied for other programs."""
FILTERS = {"csv": "Table (*.csv)", "jsonl": "JSON lines (*.jsonl)"}


class _BatchRun:
    """A batch in memory. The rows still to be classified are taken by several threads."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.owner: QObject | None = None
        """Owner of the jobs, while they run."""
        self.jobs = 0
        self.started, self.started_with = 0.0, 0
        self.count()
        self.lost: list[ConnectionFailed] = []
        """Consecutive failures to reach the service."""
        self._pending: list[int] = []
        self._lock = Lock()

    @property
    def complete(self) -> bool:
        """True if every row has its answers."""
        return self.answered >= len(self.batch.rows)

    def start(self, owner: QObject) -> None:
        """Collect the rows without answers."""
        rows = self.batch.rows
        self._pending = [number for number, row in enumerate(rows) if not row.problem and not row.answers]
        self._pending.reverse()
        self.lost.clear()
        self.owner, self.jobs = owner, THREADS
        self.count()
        self.started, self.started_with = monotonic(), self.answered

    def count(self) -> None:
        """Count the rows that are answered, and those that failed."""
        self.answered, self.failed = self.batch.answered, self.batch.failed

    def take(self) -> int | None:
        """Return the number of the next row, None at the end; for workers."""
        with self._lock:
            return self._pending.pop() if self._pending else None

    def status(self) -> BackgroundStatus:
        """Return the status for the list of work."""
        batch = self.batch
        waits = batch.state is BatchState.RUNNING and self.owner is None
        state = "failed" if batch.state is BatchState.DONE and self.failed else batch.state.value
        title = f"Classifying {plural(len(batch.rows), 'photo')}"
        note = "Waits for its service" if waits else ""
        done = self.answered - self.failed
        return BackgroundStatus("batch", -batch.id, title, state, note, done, self.failed, len(batch.rows))


class BatchController(QObject):
    """Runs batches, each in the background until it ends, is paused or cancelled; the table shows one of them."""

    shown = Signal(bool)
    add_requested = Signal(list, object)
    """`UploadItem`s and a training set's id."""
    photo_requested = Signal(object)
    """`DroppedContent` of one photo, for the classify panel."""
    changed = Signal()
    """The list of batches, or the status of one."""

    def __init__(
        self,
        session: Session,
        panel: BatchPanel,
        chooser: ClassifyPanel,
        actions: ActionRegistry,
        theme: Theme,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._session = session
        self._actions = actions
        self._theme = theme
        self.key_of: Callable[[str], str] = lambda _label: ""
        """Returns the key of a label of the open training set, "" for none."""
        self._share: ShareActions[BatchRow] = ShareActions(session, self._file_of, _origin)
        self._panel = panel
        self._chooser = chooser
        self._permission = ScratchPermission(session, theme, window)
        self._window = window
        self._store: BatchStore | None = None
        self._runs: dict[int, _BatchRun] = {}
        self._current: _BatchRun | None = None
        self._scan: Task | None = None
        self._progress_timer = QTimer(self, interval=PROGRESS_INTERVAL)
        self._progress_timer.timeout.connect(self._show_progress)
        panel.stop_requested.connect(self._stop)
        panel.resume_requested.connect(lambda: self._on_current("resume"))
        panel.retry_requested.connect(lambda: self._on_current("retry_failed"))
        panel.save_requested.connect(self._save)
        panel.opened.connect(self._open_row)
        panel.add_menu_opening.connect(self._fill_add_menu)
        panel.closed.connect(self._close)
        panel.add_each_requested.connect(lambda: actions.trigger("batch.add_each"))
        panel.menu_requested.connect(lambda place: self._menu().popup(place))
        session.listing_changed.connect(self._mark_known)
        session.open_set_changed.connect(self._mark_known)
        self._add_actions()
        session.service_connected.connect(self._continue)

    def start(self, stores: AppData) -> None:
        """Read the batches of earlier runs of the program, and continue the unfinished ones."""
        store = self._store = stores.batches

        def done(batches: list[Batch]) -> None:
            self._runs = {batch.id: _BatchRun(batch) for batch in batches} | self._runs
            self._continue()
            self.changed.emit()

        self._session.tasks.run(
            Lane.DISK, lambda _context: store.all(), done=done, owner=self, title="Reading the batches"
        )

    @property
    def statuses(self) -> list[BackgroundStatus]:
        """All batches, the oldest first."""
        return [run.status() for run in self._runs.values()]

    def current(self) -> BackgroundStatus | None:
        """Return the batch for the status bar: one that runs, or waits for its service."""
        return next((run.status() for run in self._runs.values() if run.batch.state is BatchState.RUNNING), None)

    def begin(self, content: DroppedContent, slugs: Sequence[str] = ()) -> None:
        """Classify dropped photos by these classifiers, or by the chosen ones."""
        session, store = self._session, self._store
        slugs = list(slugs) or self._chooser.chosen
        connected, open_set = session.connected, session.open_set
        if connected is None or store is None or not slugs:
            reason = session.unavailable_reason("") or "Choose a classifier to ask, then drop the photos again."
            session.show_message(reason, "warn", "batch")
            return
        sources, workspace = sources_of(content), connected.workspace
        set_id = open_set.training_set.id if open_set is not None else Id()
        images = [image for image_id in content.image_ids if (image := session.images.record(image_id)) is not None]

        def job(context: JobContext) -> Batch | None:
            rows = []
            for image in images:
                context.check()
                name = image.original_filename or image.filename
                data = workspace.image(set_id, image, cancelled=context.cancelled)
                rows.append(BatchRow(ImageBytes(data, name), name, name))
            from apitorch_desktop.dataset.importer.plan import scan

            items = scan(sources, cancelled=context.cancelled).items if sources else []
            rows += [BatchRow(item.source, item.name, place_of(item.source), item.problem or "") for item in items]
            for slug in slugs if workspace.has("training") else ():
                report = partial(_report_training, context, slug)
                wait_until_trained(workspace, slug, report=report, wait=context.wait)
            return store.add(connected.connection.id, slugs, rows) if rows else None

        def done(batch: Batch | None) -> None:
            self._scan = None
            if batch is None:
                session.show_message("There is no photo in what was dropped.", "warn", "batch")
                self._close()
                return
            run = self._runs[batch.id] = _BatchRun(batch)
            self._show(run)
            local = any(not row.problem and not isinstance(row.source, ImageUrl) for row in batch.rows)
            if self._permission.missing and local:
                self._permission.ask(lambda: self._run(run, workspace), lambda: self._refused(run))
            else:
                self._run(run, workspace)

        if self._scan is not None:
            self._scan.cancel()
        self._current = None
        self._panel.begin("Looking through the photos…", slugs, [])
        self._panel.show_progress("", going=True)
        self.shown.emit(True)
        self._scan = session.tasks.run(
            Lane.BATCH,
            job,
            done=done,
            failed=self._scan_failed,
            progress=self._panel.title.setText,
            owner=self,
            title="Looking through the photos",
        )

    def _scan_failed(self, error: Exception) -> bool:
        self._scan = None
        self._panel.show_progress("", going=False)
        self._session.show_message(error_message(error, "Classifying").text, "bad", "batch")
        return True

    def _refused(self, run: _BatchRun) -> None:
        self._session.show_message(REFUSED, "warn", "batch")
        self._close()
        self.command("forget", run.batch.id)

    # --- running

    def _continue(self) -> None:
        """Run the unfinished batches of the open connection."""
        for run in self._runs.values():
            if run.batch.state is BatchState.RUNNING and (workspace := self._workspace_of(run)) is not None:
                self._run(run, workspace)

    def _workspace_of(self, run: _BatchRun) -> Workspace | None:
        """Return the workspace of a batch's connection, None while its service is not connected."""
        session = self._session
        connected = session.connected if session.state is ConnectionState.READY else None
        return connected.workspace if connected and connected.connection.id == run.batch.connection_id else None

    def _run(self, run: _BatchRun, workspace: Workspace) -> None:
        store = self._store
        if store is None or run.owner is not None:
            return
        run.start(QObject(self))
        for _ in range(THREADS):
            self._session.tasks.run(
                Lane.BATCH,
                lambda context: _work(context, workspace, store, run),
                done=lambda _none: self._ended(run),
                failed=lambda error: self._failed(run, error),
                progress=lambda number: self._receive(run, number),
                owner=run.owner,
                title="Classifying the photos",
            )
        self._progress_timer.start()
        self._set_state(run, BatchState.RUNNING)

    def _receive(self, run: _BatchRun, number: int) -> None:
        row = run.batch.rows[number]
        run.answered += 1
        run.failed += row.failed
        if run is self._current:
            self._panel.model.refresh(row)

    def _ended(self, run: _BatchRun) -> None:
        run.jobs -= 1
        if run.jobs <= 0:
            self._halt(run, BatchState.DONE)
            if run is not self._current or not self._panel.isVisible():
                text = f"{plural(run.answered - run.failed, 'photo')} classified."
                self._session.show_message(text, "", "batch", (("Show the table", lambda: self._show(run)),))

    def _failed(self, run: _BatchRun, error: Exception) -> bool:
        if isinstance(error, ConnectionFailed):  # it continues once the service is connected again
            self._halt(run, BatchState.RUNNING)
            self._session.show_error(error)
        else:
            self._halt(run, BatchState.PAUSED)
            self._session.show_message(error_message(error, "Classifying").text, "bad", "batch")
        return True

    def _halt(self, run: _BatchRun, state: BatchState) -> None:
        if run.owner is not None:
            run.owner.deleteLater()
            run.owner = None
        run.count()
        self._set_state(run, state)

    def _set_state(self, run: _BatchRun, state: BatchState) -> None:
        run.batch.state = state
        self._write(lambda store: store.set_state(run.batch.id, state))
        self._show_progress()

    def _write(self, write: Callable[[BatchStore], object]) -> None:
        if (store := self._store) is not None:
            self._session.tasks.run(
                Lane.DISK,
                lambda _context: write(store),
                failed=lambda error: self._session.show_error(error, "Keeping the batch"),
                owner=self,
                title="Keeping the batch",
            )

    def command(self, verb: str, batch_id: int) -> None:
        """Run `open`, `pause`, `resume`, `cancel`, `retry_failed` or `forget` on a batch."""
        run = self._runs[abs(batch_id)]
        match verb:
            case "open":
                self._show(run)
            case "pause":
                self._halt(run, BatchState.PAUSED)
            case "cancel":
                self._halt(run, BatchState.CANCELLED)
            case "forget":
                self._halt(run, BatchState.CANCELLED)
                del self._runs[run.batch.id]
                self._write(lambda store: store.remove(run.batch.id))
                self.changed.emit()
            case "resume" | "retry_failed":
                if verb == "retry_failed":
                    self._clear_failed(run)
                self._set_state(run, BatchState.RUNNING)
                self._continue()

    def _clear_failed(self, run: _BatchRun) -> None:
        for number, row in enumerate(run.batch.rows):
            if row.failed and not row.problem:
                row.answers = {}
                run.answered -= 1
                run.failed -= 1
                self._write(partial(_clear_answers, run.batch.id, number))

    def _on_current(self, verb: str) -> None:
        if self._current is not None:
            self.command(verb, self._current.batch.id)

    def _stop(self) -> None:
        if self._scan is not None:
            self._scan.cancel()
            self._scan = None
            self._close()
        else:
            self._on_current("cancel")

    # --- the table

    def _show(self, run: _BatchRun) -> None:
        """Show a batch in the table."""
        self._current = run
        batch, panel = run.batch, self._panel
        panel.begin(f"Classify {plural(len(batch.rows), 'photo')}", batch.slugs, batch.rows)
        self._show_progress()
        self.shown.emit(True)
        self._mark_known()
        panel.table.setFocus()

    def _show_progress(self) -> None:
        run = self._current
        if run is not None:
            fresh, spent = run.answered - run.started_with, monotonic() - run.started
            text = _STATE_TEXTS.get(run.batch.state, "") if run.owner is None else ""
            if run.owner is not None and fresh > 2 and spent > 0.5 and (rate := fresh / spent) >= 1:
                left = duration((len(run.batch.rows) - run.answered) / rate)
                text = f"{rate:.0f} a second · {left} left"
            self._panel.show_progress(text, going=run.owner is not None)
        if all(other.owner is None for other in self._runs.values()):
            self._progress_timer.stop()
        self.changed.emit()

    def _close(self) -> None:
        run = self._current
        self.shown.emit(False)
        if run is not None and run.owner is not None:
            text = "The photos are classified in the background."
            self._session.show_message(text, "muted", "batch", (("Show the table", lambda: self._show(run)),))

    def _open_row(self, row: BatchRow) -> None:
        """Show a row's photo in the classify panel."""
        match row.source:
            case ImageFile(path):
                self.photo_requested.emit(DroppedContent(paths=(path,)))
            case ImageUrl(url):
                self.photo_requested.emit(DroppedContent(urls=(url,)))
            case ImageBytes(data, name):
                self.photo_requested.emit(DroppedContent(images=(DroppedImage(data, name),)))
            case _:
                self._session.run(
                    "Unpacking the photo",
                    lambda context: self._file_of(row, context.cancelled),
                    lambda path: self.photo_requested.emit(DroppedContent(paths=(path,))),
                    lane=Lane.DISK,
                    owner=self,
                )

    def _save(self, form: str) -> None:
        partial_table = self._current is not None and not self._current.complete
        name = f"classified{' (partial)' if partial_table else ''}.{form}"
        dialog = QFileDialog(self._window, "Save the table", str(Path.home() / name), FILTERS[form])
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(form)
        dialog.fileSelected.connect(lambda name: self.save(Path(name)))
        dialog.open()

    def save(self, path: Path) -> None:
        """Write the table to a file, as CSV or JSON lines by its name; a partial table reports that."""
        run, session = self._current, self._session
        if run is None:
            return
        rows, slugs = list(run.batch.rows), run.batch.slugs
        text = f"Saved “{path.name}”."
        if not run.complete:
            text = f"Saved “{path.name}”: partial, {run.answered:,} of {plural(len(rows), 'photo')}."
        session.run(
            "Saving the table",
            lambda _context: save_table(path, rows, slugs),
            lambda _none: session.show_message(text, "muted"),
            lane=Lane.DISK,
            owner=self,
        )

    def _fill_add_menu(self, menu: QMenu) -> None:
        """Fill the menu with the labels that the selected photos may be added to."""
        fill_label_menu(menu, self._session.training_sets, (), self._add)

    def _add(self, set_id: Id, label: str) -> None:
        uploads = [UploadItem(label, row.source, row.name) for row in self._panel.selected()]
        self.add_requested.emit(uploads, set_id)

    def put(self, label: str) -> None:
        """Add the selected photos to a label of the open training set."""
        if (open_set := self._session.open_set) is not None and self._panel.selected():
            self._add(open_set.training_set.id, label)

    def _mark_known(self) -> None:
        """Mark the rows whose photos the open training set has."""
        if self._current is not None and self._panel.isVisible():
            self._panel.show_known(self._known())

    def _known(self) -> dict[str, str]:
        """Return the photos of the open training set: SHA-256 → label, as far as the service lists hashes."""
        records = self._session.images.records() if self._session.open_set is not None else []
        return {record.sha256: str(record.label) for record in records if isinstance(record.sha256, str)}

    def _ask_add_each(self) -> None:
        """Let the user add the selected photos, or all that are shown, each under its answer."""
        run, session, panel = self._current, self._session, self._panel
        if run is None:
            return
        chosen = panel.selected()
        open_set = session.open_set
        opened = open_set.training_set.id if open_set is not None else None
        dialog = AddEachDialog(
            self._theme,
            chosen if len(chosen) > 1 else panel.shown_rows(),
            run.batch.slugs,
            session.training_sets,
            opened,
            lambda set_id: panel.model.known if set_id == opened else (),
            self._window,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.agreed.connect(self.add_requested)
        dialog.open()

    # --- actions

    def _add_actions(self) -> None:
        panel = self._panel

        def reason() -> str:
            return "" if panel.isVisible() and panel.selected() else "Select photos in a table of answers first."

        def reason_each() -> str:
            if not panel.isVisible() or self._current is None:
                return "Classify several photos first: it adds those of the table."
            if not self._session.training_sets:
                return "There is no training set yet."
            return "" if panel.model.counts[0] else "There is no answer yet."

        def named(what: str) -> str:
            return f"{what}{'' if len(panel.selected()) == 1 else 's'}"

        self._actions.add(
            ActionSpec("batch.add_each", "Add each under its answer…", self._ask_add_each, reason=reason_each),
            ActionSpec(
                "batch.open", "Open in the classify panel", lambda: self._open_row(panel.selected()[0]),
                "Return, Enter", "Show the photo in the classify panel", SECTION, reason=reason,
                within=(panel.table,), applies=always,
            ),
            ActionSpec(
                "batch.copy", lambda: f"Copy {named('photo')}", lambda: self._share.copy(panel.selected()),
                "Ctrl+C", "Copy photos", SECTION, reason=reason, within=(panel.table,),
            ),
            ActionSpec(
                "batch.copy_paths", lambda: f"Copy {named('path')}", lambda: self._share.copy_paths(panel.selected()),
                "Ctrl+Shift+C", "Copy their paths", SECTION, reason=reason, within=(panel.table,),
            ),
            ActionSpec(
                "batch.show_in_file_manager", f"Show in {file_manager.NAME}",
                lambda: self._share.show_in_folder(panel.selected()[0]), reason=reason,
            ),
        )  # fmt: skip

    def _menu(self) -> QMenu:
        """Return the context menu of the selected rows."""
        session, menu = self._session, QMenu(self._panel)
        menu.aboutToHide.connect(menu.deleteLater)
        self._actions.fill(menu, "batch.open", "")
        chosen = plural(len(self._panel.selected()), "photo")
        if (open_set := session.open_set) is not None:
            into = menu.addMenu(f"Add {chosen} to “{open_set.training_set.name.replace('&', '&&')}”")
            for below, name in menus_of(into, open_set.labels):
                action = below.addAction(name.replace("&", "&&"))
                action.setShortcut(QKeySequence(self.key_of(name)))
                action.triggered.connect(lambda _checked=False, name=name: self.put(name))
            into.setEnabled(bool(self._panel.selected()))
        fill_label_menu(others := menu.addMenu(f"Add {chosen} to a set"), session.training_sets, (), self._add)
        others.setEnabled(bool(self._panel.selected()))
        self._actions.fill(menu, "batch.add_each", "", "batch.copy", "batch.copy_paths", "batch.show_in_file_manager")
        return menu

    def _file_of(self, row: BatchRow, cancelled: Callable[[], bool]) -> Path:
        """Return a row's file, or write its photo to one; for workers."""
        match row.source:
            case ImageFile(path):
                return path
            case ImageUrl(url):
                if (connected := self._session.connected) is None:
                    raise SourceMissing("The service is away.")
                data = connected.workspace.client.download(url, cancelled=cancelled)
            case source:
                archives = Archives()
                try:
                    data = read(source, archives, _MOST_BYTES)
                finally:
                    archives.close()
        folder = paths.cache_folder() / "out" / hashlib.sha256(data).hexdigest()
        return write_copy(folder, row.name or "photo", data)


def _report_training(context: JobContext, slug: str, state: Classifier | None) -> None:
    if state is not None and state.status == "training" and not isinstance(state.version, int):
        context.progress(f"“{slug}” is learning. {state.status_message or ''}".strip())


def _clear_answers(batch_id: int, number: int, store: BatchStore) -> None:
    store.save_answers(batch_id, number, {})


def _origin(row: BatchRow) -> str:
    """Return a row's path, or its address."""
    match row.source:
        case ImageFile(path):
            return str(path)
        case ImageUrl(url):
            return url
        case _:
            return ""


def _work(context: JobContext, workspace: Workspace, store: BatchStore, run: _BatchRun) -> None:
    """Classify rows until there are no more; the number of each is posted once it is saved.

    A classification that was lost is not repeated: it may have been paid for. Raises ConnectionFailed after several in a
    row, so that an absent service does not fail all rows that are left.
    """
    archives, batch = Archives(), run.batch

    def service(*arguments: Any, **named: Any) -> list[Classification]:
        try:
            answers = workspace.classify(*arguments, **named)
        except ConnectionFailed as error:
            run.lost.append(error)
            raise
        run.lost.clear()
        return answers

    try:
        while not context.cancelled() and (number := run.take()) is not None:
            row = batch.rows[number]
            answers = classify(service, batch.slugs, row.source, archives)
            context.check()
            row.sha256 = row.sha256 or digest(row.source, archives)
            store.save_answers(batch.id, number, answers, row.sha256)
            row.answers = answers
            context.post(number)
            if len(run.lost) >= MOST_LOST:
                raise run.lost[-1]
    finally:
        archives.close()
