"""Comparison of two training sets; differences are copied by transfers and relabeled by undoable edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from time import monotonic
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QDialog, QHeaderView, QTreeView, QWidget

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet, label_name
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.compare import Comparison, Side, compare, uploads
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.ui.widgets.controls import ComboBox, ProgressBar, button, enable_unless, in_column, in_row, label
from apitorch_desktop.ui.widgets.table_model import Column, TableModel
from apitorch_desktop.utils.text import plural

Difference = tuple[str, str, str]
"""(photo, label here, label there)"""


class CompareDialog(QDialog):
    """Shows a comparison and emits what the user requests. `here` names the training set it was opened for."""

    other_chosen = Signal(str)
    """Id of the connection whose training sets have to be listed."""
    compare_requested = Signal(object)
    """Id of the other training set, None for a new one."""
    push_requested = Signal(bool)
    """Send what is only here; True to relabel the others there as here."""
    pull_requested = Signal(bool)
    """Fetch what is only there; True to relabel the others here as there."""

    def __init__(
        self, theme: Theme, here: str, connections: Sequence[Connection], current: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._here = here
        self.setWindowTitle(f"Compare “{here}”")
        self.connection = ComboBox(theme, "Connection")
        for connection in connections:
            self.connection.addItem(connection.name, connection.id)
        self.connection.setCurrentIndex(max(0, self.connection.findData(current)))
        self.connection.currentIndexChanged.connect(lambda _index: self._choose())
        self.target = ComboBox(theme, "Training set")
        self.compare = button("Compare", "primary", self._compare)
        self.compare.setDefault(True)
        self.meter = ProgressBar(None, thin=True)
        self.meter.hide()
        self.text = label("", "base", wrap=True)
        self.model: TableModel[Difference] = TableModel([])
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True)
        self.table.setModel(self.model)
        self.table.setProperty("kind", "table")
        self.table.setAccessibleName("Differences")
        self.table.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.labels = ComboBox(theme, "Photos under another label there")
        self.labels.addItem("Leave labels as they are", False)
        self.labels.addItem("Use the labels of the side that sends", True)
        self.push = button("Send there", "", lambda: self.push_requested.emit(self._relabel()))
        self.pull = button("Fetch from there", "", lambda: self.pull_requested.emit(self._relabel()))
        self.cancel = button("Close", "", self.reject)
        self._found: Comparison | None = None
        self.labels.currentIndexChanged.connect(lambda _index: self._update_controls())
        self._lay_out()
        self._update_controls()

    def _lay_out(self) -> None:
        px = self._theme.px
        top = in_row(label("With"), self.connection, (self.target, 1), self.compare)
        buttons = in_row(self.labels, 1, self.cancel, self.pull, self.push)
        in_column(top, self.meter, self.text, (self.table, 1), buttons, on=self, margins=px(16), spacing=px(8))
        self.resize(px(680), px(460))

    def _choose(self) -> None:
        self.show_sets([], "")
        self.other_chosen.emit(str(self.connection.currentData()))

    def show_sets(self, sets: Sequence[TrainingSet], suggestion: str, no_new: str = "") -> None:
        """Offer the other connection's training sets, `suggestion` chosen; `no_new` is why none can be created, or ""."""
        self.target.clear()
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        if not no_new:
            self.target.addItem(f"A new one, “{self._here}”", None)
        self.target.setCurrentIndex(max(0, self.target.findText(suggestion)))
        self.compare.setEnabled(self.target.count() > 0)
        self.show_comparison(None)

    def show_working(self, text: str, share: float | None) -> None:
        """Show what is under way, and how far it is."""
        self.text.setText(text)
        self.meter.show()
        self.meter.set_share(share)
        for control in (self.compare, self.push, self.pull):
            control.setEnabled(False)

    def show_failure(self, text: str) -> None:
        """Show an error."""
        self.show_comparison(None)
        self.text.setText(text)

    def show_comparison(self, found: Comparison | None) -> None:
        """Show what differs; None before anything was compared."""
        self._found = found
        self.meter.hide()
        self.compare.setEnabled(self.target.count() > 0)
        titles = ("Photo", f"{self._here} (here)", f"{self.target.currentText()} (there)")
        columns: list[Column[Difference]] = [
            Column(title=title, text=itemgetter(at)) for at, title in enumerate(titles)
        ]
        first = not self.model.columnCount()
        self.model.show(_differences(found) if found is not None else [], columns)
        if first:  # a width is that of a column which is there
            for at, width in enumerate((260, 180)):
                self.table.setColumnWidth(at, self._theme.px(width))
        if found is None:
            self.text.setText("Nothing is sent before you have seen what would change.")
        elif found.equal:
            self.text.setText(f"Both are the same: {plural(found.same, 'photo')} under the same labels.")
        else:
            parts = [
                f"{len(found.only_here):,} only here",
                f"{len(found.only_there):,} only there",
                f"{len(found.relabelled):,} under another label",
                f"{found.same:,} the same",
            ]
            unread = f" {plural(len(found.unread), 'photo')} could not be read." if found.unread else ""
            self.text.setText(f"{' · '.join(parts)}.{unread}")
        self._update_controls()

    def _relabel(self) -> bool:
        return bool(self.labels.currentData())

    def _update_controls(self) -> None:
        found = self._found
        moves = len(found.relabelled) if found is not None and self._relabel() else 0
        there = (len(found.only_here) if found is not None else 0) + moves
        here = (len(found.only_there) if found is not None else 0) + moves
        reason = "Compare first" if found is None else "There is nothing to change"
        enable_unless(self.push, "" if there else reason)
        enable_unless(self.pull, "" if here else reason)
        self.push.setText(f"Send {there:,} there" if there else "Send there")
        self.pull.setText(f"Fetch {here:,} from there" if here else "Fetch from there")

    def _compare(self) -> None:
        self.compare_requested.emit(self.target.currentData())


def _differences(found: Comparison) -> list[Difference]:
    rows = [(_name(mine), _label(mine), _label(theirs)) for mine, theirs in found.relabelled]
    rows += [(_name(image), _label(image), "—") for image in found.only_here]
    return rows + [(_name(image), "—", _label(image)) for image in found.only_there]


def _label(image: TrainingImage) -> str:
    return label_name(str(image.label))


def _name(image: TrainingImage) -> str:
    return image.original_filename if isinstance(image.original_filename, str) else image.filename


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

    def open(self, set_id: Id) -> CompareDialog | None:
        """Open the dialog for a training set of the open connection; None where it does not exist."""
        session = self._session
        found, stores, workspace = session.find_set(set_id), session.stores, session.workspace
        if found is None or stores is None or workspace is None:
            session.show_message(session.unavailable_reason("") or "This training set is not there any more.", "warn")
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
            for image, new_label in moves:
                by_label.setdefault(new_label, []).append(image)
            all_changed = True
            for new_label, moved in by_label.items():
                assert set_id is not None  # noqa: S101 - a new training set has no labels to change
                outcome = stores.edits.move(target, set_id, moved, new_label)
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
