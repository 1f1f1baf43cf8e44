"""From what is dropped, pasted or chosen to an upload: at once onto a label, else through the plan; always journalled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QFileDialog, QWidget

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.importer.plan import Dropped, Plan
from apitorch_desktop.dataset.importer.undoable_import import ImportResult
from apitorch_desktop.dataset.sources.image_source import Source, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.ui.importer.dialog import ImportDialog, ImportOrder
from apitorch_desktop.ui.importer.plan_checks import Existing
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils.text import plural

LISTING_INTERVAL = 350
"""Milliseconds between two looks for what an upload brought into the open training set."""
_LISTS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".csv", ".tsv", ".jsonl", ".txt")
COUNTS_INTERVAL = 2000
"""Milliseconds between two looks at the counts of the others."""


class ImportController(QObject):
    """The one way for pictures into a training set."""

    def __init__(
        self, session: Session, editing: EditController, transfers: TransferController, theme: Theme, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session = session
        self._editing = editing
        self._transfers = transfers
        self._theme = theme
        self._window = window
        self._waiting: list[DroppedContent] = []
        self._listing_timer = QTimer(self, interval=LISTING_INTERVAL, singleShot=True)
        self._listing_timer.timeout.connect(self._refresh_open_set)
        self._counts_timer = QTimer(self, interval=COUNTS_INTERVAL, singleShot=True)
        self._counts_timer.timeout.connect(session.refresh_sets)
        session.service_connected.connect(self._resume_waiting)
        session.service_connected.connect(self._recover)
        transfers.progressed.connect(self._progressed)
        transfers.ended.connect(self._ended)

    # --- ways in

    def choose_folder(self) -> None:
        """Ask for a folder."""
        folder = QFileDialog.getExistingDirectory(self._window, "Import a folder of photos", str(Path.home()))
        if folder:
            self.begin(DroppedContent(paths=(Path(folder),)))

    def choose_files(self) -> None:
        """Ask for photos, archives or lists."""
        from apitorch_desktop.dataset.importer.scanner import SUFFIXES

        suffixes = " ".join(f"*{one}" for one in (*sorted(SUFFIXES), *_LISTS))
        kinds = f"Photos, archives and lists ({suffixes});;All files (*)"
        names, _ = QFileDialog.getOpenFileNames(self._window, "Import photos", str(Path.home()), kinds)
        if names:
            self.begin(DroppedContent(paths=tuple(map(Path, names))))

    def begin(self, content: DroppedContent, set_id: str | None = None, label: str | None = None) -> None:
        """Import into a training set (default: the open one), under a label where one is given."""
        session = self._session
        if session.workspace is None or session.state is ConnectionState.STARTING:
            self._waiting.append(content)
            session.show_message("The import begins as soon as the service is up.", "muted", "waiting")
            return
        sources = sources_of(content)
        found = session.find_set(set_id) if set_id is not None else None
        if found is not None and label is not None:
            self._add_to_label(sources, found, label, _name_of(content))
            return
        open_set = session.open_set.training_set if session.open_set is not None else None
        self._plan(sources, found or open_set, content)

    def open_sample(self) -> None:
        """Open the sample training set; it is made and sent where it is not there yet."""
        from apitorch_desktop.dataset.importer.sample_set import NAME, uploads

        session = self._session
        found = next((training_set for training_set in session.training_sets if training_set.name == NAME), None)
        if found is not None:
            session.open(str(found.id))
            return
        session.tasks.run(
            Lane.DISK,
            lambda _context: uploads(),
            done=lambda items: self._send_to_new(NAME, "Sending the sample", items),
            failed=lambda error: session.show_error(error, "Reading the sample"),
            owner=session.connection_scope,
            title="Read the sample",
        )

    def _resume_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._session.message_expired.emit("waiting")
        for content in waiting:
            self.begin(content)

    # --- straight onto a label

    def _add_to_label(self, sources: Sequence[Dropped], target: TrainingSet, label: str, name: str) -> None:
        session = self._session

        def look(context: JobContext) -> Plan:
            from apitorch_desktop.dataset.importer.plan import scan

            return scan(sources, default_label=label, cancelled=context.cancelled)

        def looked(plan: Plan) -> None:
            sending = plan.sending()
            if any(item.label != label for item in sending):  # it brought labels of its own along
                self._show_plan(plan, target, name)
                return
            bad = [item for item in plan.items if item.problem]
            if bad:
                first = f"“{bad[0].name}”: {bad[0].problem}"
                more = f" And {len(bad) - 1:,} more." if len(bad) > 1 else ""
                session.show_message(f"Not added: {first}{more}", "warn", "import")
            elif not sending:
                session.show_message("There is no photo in what was dropped.", "warn", "import")
            if sending:
                title = f"Adding {plural(len(sending), 'photo')} to “{label}”"
                self._send(target.id, title, plan.uploads())

        session.tasks.run(
            Lane.DISK,
            look,
            done=looked,
            failed=lambda error: session.show_error(error, "Looking at what was dropped"),
            owner=session.connection_scope,
            title="Look at what was dropped",
        )

    def add(self, photos: Sequence[tuple[Source, str]], set_id: str, label: str) -> None:
        """Send photos (where each is, and its name) to a label as they are: they were looked at already."""
        from apitorch_desktop.dataset.sources.image_source import UploadItem

        uploads = [UploadItem(label, source, name) for source, name in photos]
        self._send(set_id, f"Adding {plural(len(uploads), 'photo')} to “{label}”", uploads)

    # --- through the plan

    def _plan(self, sources: Sequence[Dropped], target: TrainingSet | None, content: DroppedContent) -> None:
        dialog = self._dialog(target, _name_of(content))

        def look(context: JobContext) -> Plan:
            from apitorch_desktop.dataset.importer.plan import scan

            return scan(sources, progress=context.progress, cancelled=context.cancelled)

        dialog.scan(look)
        dialog.open()

    def _show_plan(self, plan: Plan, target: TrainingSet, name: str) -> None:
        dialog = self._dialog(target, name)
        dialog.show_plan(plan)
        dialog.open()

    def _dialog(self, target: TrainingSet | None, suggestion: str) -> ImportDialog:
        from PySide6.QtCore import Qt

        from apitorch_desktop.ui.importer import dialog as import_dialog

        session = self._session
        workspace = session.workspace
        assert workspace is not None  # noqa: S101 - `begin` waits for it

        def existing(set_id: Id) -> Existing:
            from apitorch_desktop.api.errors import ConnectionFailed
            from apitorch_desktop.dataset.importer.plan import existing_of

            try:
                listing = workspace.listing(set_id)
            except ConnectionFailed:  # what was seen last is better than nothing; the service itself knows a duplicate
                seen = workspace.cached_listing(set_id)
                if seen is None:
                    raise
                listing = seen
            return existing_of(listing.images), listing.labels

        def alike(plan: Plan, set_id: Id | None, context: JobContext) -> Mapping[int, str]:
            from apitorch_desktop.dataset.importer.similarity import find_similar, known_of

            there = known_of(workspace, set_id, context.cancelled) if set_id is not None else []
            return find_similar(
                plan, there, progress=lambda done, of: context.progress((done, of)), cancelled=context.cancelled
            )

        dialog = import_dialog.ImportDialog(
            self._theme,
            session.tasks,
            session.training_sets,
            target.id if target is not None else None,
            suggestion=suggestion,
            no_new_set=session.unavailable_reason("training-sets"),
            existing_of=existing,
            similar=alike,
            parent=self._window,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.agreed.connect(lambda order: self._agreed(order, suggestion))
        return dialog

    def _agreed(self, order: ImportOrder, name: str) -> None:
        uploads = order.plan.uploads()
        title = f"Importing “{name}”" if name else f"Importing {plural(len(uploads), 'photo')}"
        if order.training_set_id is None:
            self._send_to_new(order.new_name, title, uploads)
        else:
            self._send(order.training_set_id, title, uploads)

    # --- sending

    def _send_to_new(self, name: str, title: str, uploads: Sequence[UploadItem]) -> None:
        session = self._session
        stores, workspace = session.stores, session.workspace
        if stores is None or workspace is None:
            return
        imports, connection_id = stores.imports, workspace.connection.id

        def job(context: JobContext) -> None:
            begun = imports.create_training_set(connection_id, workspace.client, name)
            context.post(begun.training_set)
            imports.upload(connection_id, begun.training_set.id, title, uploads, new_set=begun)

        def made(one: TrainingSet) -> None:
            if session.workspace is workspace:
                session.show_new_set(one)

        session.tasks.run(
            Lane.INTERACTIVE,
            job,
            progress=made,
            done=lambda _none: self._transfers.reload(),
            failed=lambda error: session.show_error(error, f"Making “{name}”"),
            owner=self,
            title="Make the training set",
        )

    def _send(self, set_id: Id, title: str, uploads: Sequence[UploadItem]) -> None:
        session = self._session
        connection, stores, workspace = session.connection, session.stores, session.workspace
        if connection is None or stores is None or workspace is None:
            return
        labels = self._labels(set_id)

        def accept(_context: JobContext) -> int:
            seen = workspace.cached_listing(set_id)
            before = {*labels, *(seen.labels if seen is not None else ())}
            return stores.imports.upload(connection.id, set_id, title, uploads, labels_before=before)

        session.tasks.run(
            Lane.DISK,
            accept,
            done=lambda _id: self._transfers.reload(),
            failed=lambda error: session.show_error(error, "Accepting the photos"),
            owner=self,
            title="Accept the photos",
        )
        session.open(str(set_id))

    def _labels(self, set_id: Id) -> list[str]:
        """The labels a training set has now, as far as the window knows."""
        session = self._session
        found = session.find_set(set_id)
        labels = list(found.labels or ()) if found is not None else []
        if session.open_set is not None and str(session.open_set.training_set.id) == str(set_id):
            labels += session.open_set.labels
        return labels

    # --- what comes of it

    def _progressed(self, status: TransferStatus) -> None:
        if not self._is_current(status):
            return
        open_set = self._session.open_set
        timer = (
            self._listing_timer
            if open_set is not None and str(open_set.training_set.id) == str(status.training_set_id)
            else self._counts_timer
        )
        if not timer.isActive():
            timer.start()

    def _refresh_open_set(self) -> None:
        if self._session.open_set is not None:
            self._session.open_set.fetch_new_images()

    def _ended(self, status: TransferStatus) -> None:
        if status.kind != "upload" or not self._is_current(status):
            return
        self._progressed(status)
        session = self._session
        stores, labels = session.stores, self._labels(status.training_set_id)
        if stores is None:
            return
        imports = stores.imports
        session.tasks.run(
            Lane.INTERACTIVE,  # it may have to wait for an edit under way
            lambda _context: imports.finish(status.connection_id, status.id, labels),
            done=lambda ended: self._show_result(status, ended),
            failed=lambda error: session.show_error(error, "Remembering the import for Undo"),
            owner=session.connection_scope,
            title="Remember the import",
        )

    def _recover(self) -> None:
        """Remember imports that ended when nobody was there to do it, and clear away those that never really began."""
        session = self._session
        stores, workspace = session.stores, session.workspace
        if stores is None or workspace is None:
            return
        imports = stores.imports

        def done(lost: list[str]) -> None:
            if lost:
                names = "”, “".join(lost)
                text = f"The import into “{names}” was cut off before its photos were read. Drop them again."
                session.show_message(text, "warn", "import")
                session.refresh()

        session.tasks.run(
            Lane.INTERACTIVE,
            lambda _context: imports.recover(workspace),
            done=done,
            failed=lambda error: session.show_error(error, "Remembering the imports for Undo"),
            owner=session.connection_scope,
            title="Remember the imports of the last run",
        )

    def _show_result(self, status: TransferStatus, ended: ImportResult) -> None:
        if status.state == "failed":
            return  # the transfer itself stays in the line, with its failures
        if ended.created and ended.edit is None:
            return  # it was told before, or is undone by now
        parts = [f"Added {plural(ended.created, 'photo')}"] if ended.created else ["Nothing new was added"]
        if status.skipped:
            parts.append(f"{status.skipped:,} {'was' if status.skipped == 1 else 'were'} there already")
        actions = (("Undo", self._editing.undo),) if ended.created else ()
        self._session.show_message(f"{'; '.join(parts)}.", "", "edit", actions)

    def _is_current(self, status: TransferStatus) -> bool:
        connection = self._session.connection
        return connection is not None and connection.id == status.connection_id


def sources_of(content: DroppedContent) -> list[Dropped]:
    """What was dropped, as `importing.scan` takes it."""
    from apitorch_desktop.dataset.sources.image_source import ImageBytes

    sources: list[Dropped] = list(content.paths)
    if content.urls:
        sources.append("\n".join(content.urls))
    sources += [ImageBytes(one.data, one.name or "picture") for one in content.images]
    return sources


def _name_of(content: DroppedContent) -> str:
    """What an import may be called: the one folder or archive that was dropped."""
    if len(content.paths) != 1 or content.urls or content.images:
        return ""
    path = content.paths[0]
    return path.name if path.suffix.lower() not in (".jpg", ".jpeg", ".png") else ""
