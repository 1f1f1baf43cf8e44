"""*Compare…*: the open training set against another one, pushed and pulled through transfers and undoable edits."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.compare import Comparison, Side
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
"""Seconds for which the embedded service is waited for."""


class CompareController(QObject):
    """Opens the dialog and does what it asks for."""

    def __init__(self, session: Session, transfers: TransferController, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._transfers = transfers
        self._theme = theme
        self._window = window

    def open(self, set_id: str) -> CompareDialog | None:
        """Compare a training set of the session's connection."""
        from apitorch_desktop.ui.compare.dialog import CompareDialog

        session = self._session
        found, stores, workspace = session.find_set(set_id), session.stores, session.workspace
        if found is None or stores is None or workspace is None:
            session.show_message(session.unavailable_reason("") or "This training set is no more.", "warn")
            return None
        others = stores.connections.all()
        current = next((one.id for one in others if one.id != workspace.connection.id), workspace.connection.id)
        dialog = CompareDialog(self._theme, found.name, others, current, self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        _Comparison(session, self._transfers, dialog, workspace, found)
        dialog.open()
        return dialog


class _Comparison(QObject):
    """One open dialog with its two sides."""

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
            self._task.cancel()  # of the connection that was chosen before; its answer may come late
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
            same = self._other is mine
            sets = [one for one in sets if not (same and one.id == self._here.id)]
            no_new = (
                "" if self._other.has("training-sets") else "This service makes training sets on its own page only."
            )
            self._dialog.show_sets(sets, self._here.name, no_new)

        self._run(Lane.INTERACTIVE, job, listed)

    def _compare(self, there: Id | None) -> None:
        self._there = there
        self._find(lambda found: self._dialog.show_comparison(found))

    def _find(self, then: Callable[[Comparison], object]) -> None:
        here, there = self._side_here(), self._side_there()

        def job(context: JobContext) -> Comparison:
            from apitorch_desktop.dataset.compare import compare

            return compare(here, there, lambda done, of: context.progress((done, of)), context.cancelled)

        def compared(found: Comparison) -> None:
            self._found = found
            then(found)

        self._dialog.show_working("Comparing…", None)
        self._run(Lane.BATCH, job, compared, "Looking at photos")

    def _side_here(self) -> Side:
        from apitorch_desktop.dataset.compare import Side

        return Side(self._workspace, self._here.id)

    def _side_there(self) -> Side | None:
        from apitorch_desktop.dataset.compare import Side

        return Side(self._other, self._there) if self._other is not None and self._there is not None else None

    # --- the way over

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
        """Put photos of one side to the other, as an import there (None: into a new set), and moves as edits there."""
        session, transfers = self._session, self._transfers
        stores = session.stores
        if stores is None:
            return
        imports, connection_id, name = stores.imports, target.connection.id, target.connection.name
        title = f"Copying {plural(len(images), 'photo')} of “{self._here.name}” to “{name}”"

        def job(context: JobContext) -> bool:
            """Whether all labels are changed by now; else the journal has what is left."""
            from apitorch_desktop.dataset.compare import uploads

            by_label: dict[str, list[TrainingImage]] = {}
            for image, wanted in moves:
                by_label.setdefault(wanted, []).append(image)
            all_changed = True
            for wanted, moving in by_label.items():
                assert set_id is not None  # noqa: S101 - a new one has no labels to be changed
                outcome = stores.edits.move(target, set_id, moving, wanted)
                all_changed &= outcome.edit.stage == "done"
            begun = (
                imports.create_training_set(connection_id, target.client, self._here.name) if set_id is None else None
            )
            if begun is not None:
                context.post(begun.training_set)
            there = begun.training_set.id if begun is not None else set_id
            if there is not None and (images or begun is not None):
                fetched = uploads(source, images, lambda done, of: context.progress((done, of)), context.cancelled)
                seen = target.cached_listing(there)
                before = seen.labels if seen is not None else ()
                imports.upload(connection_id, there, title, fetched, labels_before=before, new_set=begun)
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
            if not isinstance(at, tuple):  # made for what is sent, so that another try does not make another
                self._there = at.id
                return
            self._dialog.show_working(f"{doing}: {at[0]:,} of {at[1]:,}", at[0] / max(1, at[1]))

        self._task = self._session.tasks.run(
            lane, job, done=done, failed=failed, progress=progress, owner=self, title="Compare"
        )


def _client(stores: AppData, connection: Connection, context: JobContext) -> ApiClient:
    """A client of the other side; where that is the embedded service, it may just be starting."""
    from apitorch_desktop.api.errors import ConnectionFailed

    end = monotonic() + START_PATIENCE
    while True:
        try:
            return stores.clients.get(connection.id)
        except ConnectionFailed:
            if not connection.embedded or monotonic() > end or context.wait(0.1):
                raise
