"""Comparison of two training sets; differences are copied by transfers and relabeled by undoable edits."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.compare import Comparison, Side, compare, uploads
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.compare.dialog import CompareDialog
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.utils.text import plural

START_PATIENCE = 30.0
"""Seconds to wait for the embedded service to start."""


class CompareController(QObject):
    """Opens the comparison dialog."""

    def __init__(self, session: Session, transfers: TransferController, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._transfers = transfers
        self._theme = theme
        self._window = window

    def open(self, set_id: str) -> CompareDialog | None:
        """Open the dialog for a training set of the open connection; None where it does not exist."""
        session = self._session
        found, stores, workspace = session.find_set(set_id), session.stores, session.workspace
        if found is None or stores is None or workspace is None:
            session.show_message(session.unavailable_reason("") or "This training set is no more.", "warn")
            return None
        others = stores.connections.all()
        current = next((other.id for other in others if other.id != workspace.connection.id), workspace.connection.id)
        dialog = CompareDialog(self._theme, found.name, others, current, self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        _Comparison(session, self._transfers, dialog, workspace, found)
        dialog.open()
        return dialog


class _Comparison(QObject):
    """Flow of one open dialog."""

    def __init__(
        self,
        session: Session,
        transfers: TransferController,
        dialog: CompareDialog,
        workspace: Workspace,
        here: TrainingSet,
    ) -> None:
        super().__init__(dialog)
        self._session = session
        self._transfers = transfers
        self._dialog = dialog
        self._workspace = workspace
        self._here = here
        self._other: Workspace | None = None
        self._there: Id | None = None
        self._found: Comparison | None = None
        self._task: Task | None = None
        dialog.other_chosen.connect(self._choose_connection)
        dialog.compare_requested.connect(self._compare)
        dialog.push_requested.connect(lambda relabel: self._push(relabel=relabel))
        dialog.pull_requested.connect(lambda relabel: self._pull(relabel=relabel))
        self._choose_connection(str(dialog.connection.currentData()))

    def _choose_connection(self, connection_id: str) -> None:
        stores = self._session.stores
        if stores is None:
            return
        mine = self._workspace
        self._other, self._there = None, None
        if self._task is not None:
            self._task.cancel()  # of the connection chosen before
        self._dialog.show_working("Asking the service…", None)

        def job(context: JobContext) -> tuple[Workspace, list[TrainingSet]]:
            if connection_id == mine.connection.id:
                return mine, mine.training_sets()
            connection = stores.connections.get(connection_id)
            other = stores.workspace(connection, _client(stores, connection, context))
            other.connect()
            return other, other.training_sets()

        def listed(answer: tuple[Workspace, list[TrainingSet]]) -> None:
            self._other, sets = answer
            if self._other is mine:
                sets = [training_set for training_set in sets if training_set.id != self._here.id]
            no_new = (
                "" if self._other.has("training-sets") else "This service makes training sets on its own page only."
            )
            self._dialog.show_sets(sets, self._here.name, no_new)

        self._run(Lane.INTERACTIVE, job, listed)

    def _compare(self, there: Id | None) -> None:
        self._there = there
        side_here, side_there = self._side_here(), self._side_there()

        def job(context: JobContext) -> Comparison:
            return compare(side_here, side_there, lambda done, of: context.progress((done, of)), context.cancelled)

        def compared(found: Comparison) -> None:
            self._found = found
            self._dialog.show_comparison(found)

        self._dialog.show_working("Comparing…", None)
        self._run(Lane.BATCH, job, compared, "Looking at photos")

    def _side_here(self) -> Side:
        return Side(self._workspace, self._here.id)

    def _side_there(self) -> Side | None:
        return Side(self._other, self._there) if self._other is not None and self._there is not None else None

    # --- copying

    def _push(self, *, relabel: bool) -> None:
        other, found = self._other, self._found
        if other is None or found is None:
            return
        moves = [(theirs, str(mine.label)) for mine, theirs in found.relabelled] if relabel else []
        self._send(self._side_here(), other, self._there, found.only_here, moves)

    def _pull(self, *, relabel: bool) -> None:
        found, there = self._found, self._side_there()
        if found is None or there is None:
            return
        moves = [(mine, str(theirs.label)) for mine, theirs in found.relabelled] if relabel else []
        self._send(there, self._workspace, self._here.id, found.only_there, moves)

    def _send(
        self,
        source: Side,
        target: Workspace,
        set_id: Id | None,
        images: list[TrainingImage],
        moves: list[tuple[TrainingImage, str]],
    ) -> None:
        """Copy images to `target` as an import (`set_id` None: into a new training set), and relabel there by edits."""
        session, transfers = self._session, self._transfers
        stores = session.stores
        if stores is None:
            return
        imports, connection_id, name = stores.imports, target.connection.id, target.connection.name
        title = f"Copying {plural(len(images), 'photo')} of “{self._here.name}” to “{name}”"

        def job(context: JobContext) -> bool:
            """Return True if all labels are changed; else the rest is in the journal."""
            by_label: dict[str, list[TrainingImage]] = {}
            for image, label in moves:
                by_label.setdefault(label, []).append(image)
            all_changed = True
            for label, moved in by_label.items():
                assert set_id is not None  # noqa: S101 - a new training set has no labels to change
                outcome = stores.edits.move(target, set_id, moved, label)
                all_changed &= outcome.edit.stage == "done"
            new_set, target_id = None, set_id
            if target_id is None:
                new_set = imports.create_training_set(connection_id, target.client, self._here.name)
                target_id = new_set.training_set.id
                context.post(new_set.training_set)
            if images or new_set is not None:
                items = uploads(source, images, lambda done, of: context.progress((done, of)), context.cancelled)
                cached = target.cached_listing(target_id)
                before = cached.labels if cached is not None else ()
                imports.upload(connection_id, target_id, title, items, labels_before=before, new_set=new_set)
            return all_changed

        def sent(all_changed: bool) -> None:
            transfers.reload()
            session.refresh()
            text = f"{plural(len(images), 'photo')} on the way to “{name}”"
            changed = f", {plural(len(moves), 'label')} changed there" if moves else ""
            if not all_changed:
                changed = (
                    f"; {plural(len(moves), 'label')} could not be changed yet: that goes on when “{name}” is open"
                )
            session.show_message(f"{text}{changed}.", "muted", "compare")
            self._dialog.accept()

        self._dialog.show_working("Fetching the photos…", None)
        self._run(Lane.BATCH, job, sent, "Fetching photos")

    def _run(
        self, lane: Lane, job: Callable[[JobContext], Any], done: Callable[[Any], object], doing: str = ""
    ) -> None:
        def failed(error: Exception) -> bool:
            self._dialog.show_failure(error_message(error).text)
            return True

        def progress(at: tuple[int, int] | TrainingSet) -> None:
            if not isinstance(at, tuple):  # created by this job, so that a retry does not create another
                self._there = at.id
                return
            self._dialog.show_working(f"{doing}: {at[0]:,} of {at[1]:,}", at[0] / max(1, at[1]))

        self._task = self._session.run("Comparing", job, done, failed=failed, progress=progress, lane=lane, owner=self)


def _client(stores: AppData, connection: Connection, context: JobContext) -> ApiClient:
    """Return a client for the other side; the embedded service may have to start first."""
    end = monotonic() + START_PATIENCE
    while True:
        try:
            return stores.clients.get(connection.id)
        except ConnectionFailed:
            if not connection.embedded or monotonic() > end or context.wait(0.1):
                raise
