"""Import of dropped, pasted or chosen photos: directly to a label or through the plan, as an undoable transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget

from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.types import INBOX, Id, TrainingImage, TrainingSet, label_name
from apitorch_desktop.dataset.compare import Side, uploads
from apitorch_desktop.dataset.sources.image_source import ImageBytes, UploadItem
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES
from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import plural

if TYPE_CHECKING:  # readers of all formats and the dialog: 40 ms that the start need not wait for
    from apitorch_desktop.dataset.importer.plan import Dropped, Plan
    from apitorch_desktop.dataset.importer.undoable_import import ImportResult, RecoveredImports
    from apitorch_desktop.ui.importer.dialog import ImportDialog, ImportOrder
    from apitorch_desktop.ui.importer.plan_models import Existing

LISTING_INTERVAL = 350
"""Milliseconds between two requests for new images of the open training set during an upload."""
COUNTS_INTERVAL = 2000
"""Milliseconds between two requests for the counts of the other training sets."""


class ImportController(QObject):
    """Adds photos to training sets of the open connection."""

    import_agreed = Signal(object)
    """A plan was confirmed; the path of the one folder, archive or list that it was made of."""

    def __init__(
        self, session: Session, editing: EditController, transfers: TransferController, theme: Theme, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session = session
        self._editing = editing
        self._transfers = transfers
        self._theme = theme
        self._window = window
        self._waiting: list[tuple[DroppedContent, Id | None, str | None, bool]] = []
        self._listing_timer = QTimer(self, interval=LISTING_INTERVAL, singleShot=True)
        self._listing_timer.timeout.connect(self._refresh_open_set)
        self._counts_timer = QTimer(self, interval=COUNTS_INTERVAL, singleShot=True)
        self._counts_timer.timeout.connect(session.refresh_sets)
        session.service_connected.connect(self._resume_waiting)
        self._since = time()
        session.service_connected.connect(self._recover)
        transfers.progressed.connect(self._progressed)
        transfers.ended.connect(self._ended)

    # --- sources

    def choose_folder(self, *, new_set: bool = False) -> None:
        """Let the user choose a folder."""
        dialog = self._file_dialog("Import a folder of photos", QFileDialog.FileMode.Directory, new_set=new_set)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.open()

    def choose_files(self, *, new_set: bool = False) -> None:
        """Let the user choose photos, archives or lists."""
        from apitorch_desktop.dataset.importer.scanner import OFFERED_SUFFIXES

        suffixes = " ".join(f"*{suffix}" for suffix in sorted(OFFERED_SUFFIXES))
        kinds = f"Photos, archives and lists ({suffixes});;All files (*)"
        dialog = self._file_dialog("Import photos", QFileDialog.FileMode.ExistingFiles, new_set=new_set)
        dialog.setNameFilter(kinds)
        dialog.open()

    def ask_addresses(self, *, new_set: bool = False) -> None:
        """Let the user enter web addresses of photos."""
        from apitorch_desktop.ui.importer.dialog import AddressesDialog

        dialog = AddressesDialog(self._theme, self._window)
        dialog.entered.connect(lambda text: self.begin(drag_drop.read_lines(text), new_set=new_set))
        dialog.open()

    def paste(self, *, new_set: bool = False) -> None:
        """Import the content of the clipboard."""
        if content := drag_drop.read(QGuiApplication.clipboard().mimeData()):
            self.begin(content, new_set=new_set)
        else:
            self._session.show_message("There is no photo and no address on the clipboard.", "muted")

    def _file_dialog(self, title: str, mode: QFileDialog.FileMode, *, new_set: bool) -> QFileDialog:
        dialog = QFileDialog(self._window, title, str(Path.home()))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(mode)
        dialog.filesSelected.connect(
            lambda names: self.begin(DroppedContent(paths=tuple(map(Path, names))), new_set=new_set)
        )
        return dialog

    def begin(
        self, content: DroppedContent, set_id: Id | None = None, label: str | None = None, *, new_set: bool = False
    ) -> None:
        """Import into a training set (default: the open one), under a label where one is given.

        Photos go directly to a label; everything else (a folder, an archive, a list) through the plan.
        """
        session = self._session
        if session.workspace is None or session.state is ConnectionState.STARTING:
            self._waiting.append((content, set_id, label, new_set))
            session.show_message("The import begins as soon as the service runs.", "muted", "waiting")
            return
        if content.problem:
            session.show_message(content.problem, "warn", "import")
            content = replace(content, unusable=())
            if not content:
                return
        sources = sources_of(content)
        found = session.find_set(set_id) if set_id is not None else None
        if found is not None and label is not None:
            self._add_to_label(sources, found, label, _name_of(content))
            return
        open_set = session.open_set.training_set if session.open_set is not None else None
        self._plan(sources, None if new_set else found or open_set, content)

    def open_sample(self) -> None:
        """Open the sample training set, which is created first where it does not exist yet."""

        session = self._session
        found = next((training_set for training_set in session.training_sets if training_set.name == NAME), None)
        if found is not None:
            session.open(found.id)
            return
        session.run(
            "Reading the sample",
            lambda _context: sample_uploads(),
            lambda items: self._send_to_new(NAME, "Sending the sample", items),
            lane=Lane.DISK,
        )

    def _resume_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._session.message_expired.emit("waiting")
        for content, set_id, label, new_set in waiting:
            self.begin(content, set_id, label, new_set=new_set)

    # --- directly to a label

    def _add_to_label(self, sources: Sequence[Dropped], target: TrainingSet, label: str, name: str) -> None:
        session, inbox, as_jpeg = self._session, self._has_inbox(), self._converts()

        def job(context: JobContext) -> tuple[Plan, bool]:
            from apitorch_desktop.dataset.importer.plan import scan

            photos = all(_is_photo(source) for source in sources)
            plan = scan(sources, default_label=label, inbox=inbox, as_jpeg=as_jpeg, cancelled=context.cancelled)
            return plan, photos

        def done(answer: tuple[Plan, bool]) -> None:
            plan, photos = answer
            sending = plan.sending()
            if not photos or any((item.label or INBOX) != label for item in sending):
                self._show_plan(plan, target, name)
                return
            unreadable = [item for item in plan.items if item.problem]
            if unreadable:
                first = f"“{unreadable[0].name}”: {unreadable[0].problem}"
                more = f" And {len(unreadable) - 1:,} more." if len(unreadable) > 1 else ""
                session.show_message(f"Not added: {first}{more}", "warn", "import")
            elif not sending:
                session.show_message("There is no photo in what was dropped.", "warn", "import")
            if sending:
                title = f"Adding {plural(len(sending), 'photo')} to “{label_name(label)}”"
                self._send(target.id, title, plan.uploads())

        session.run(
            "Looking at what was dropped",
            job,
            done,
            lane=Lane.DISK,
        )

    def add(self, uploads: Sequence[UploadItem], set_id: Id) -> None:
        """Send photos to their labels; they were scanned before."""
        labels = {upload.label for upload in uploads}
        where = f"to “{label_name(labels.pop())}”" if len(labels) == 1 else f"under {len(labels):,} labels"
        self._send(set_id, f"Adding {plural(len(uploads), 'photo')} {where}", uploads)

    def copy(self, images: Sequence[TrainingImage], target: TrainingSet | str, label: str = "") -> None:
        """Copy photos of the open training set to another one, or to a new one of this name.

        They go under `label`, by default under the labels that they have; originals stay where they are.
        """
        session, open_set = self._session, self._session.open_set
        if (connected := session.connected) is None or open_set is None or not images:
            return
        imports, workspace = connected.stores.imports, connected.workspace
        name = target if isinstance(target, str) else target.name
        copied = [msgspec.structs.replace(image, label=label) if label else image for image in images]
        source = Side(workspace, open_set.training_set.id)
        title = f"Copying {plural(len(copied), 'photo')} to “{name}”"
        labels = [] if isinstance(target, str) else self._labels(target.id)

        def job(context: JobContext) -> None:
            connection_id, new_set = connected.connection.id, None
            if isinstance(target, str):
                new_set = imports.create_training_set(connection_id, workspace.client, target)
                context.post(new_set.training_set)
                set_id = new_set.training_set.id
            else:
                set_id = target.id
            items = uploads(source, copied, lambda done, of: context.progress((done, of)), context.cancelled)
            imports.upload(connection_id, set_id, title, items, labels_before=labels, new_set=new_set)

        def progress(at: tuple[int, int] | TrainingSet) -> None:
            if not isinstance(at, tuple):
                session.show_new_set(at)
            elif at[1] > 1:
                session.show_message(f"{title}: {at[0]:,} of {at[1]:,}", "muted", "copy")

        def done(_none: None) -> None:
            session.message_expired.emit("copy")
            self._transfers.reload()

        session.run(title, job, done, progress=progress, lane=Lane.BATCH, owner=self)

    # --- through the plan

    def _plan(self, sources: Sequence[Dropped], target: TrainingSet | None, content: DroppedContent) -> None:
        inbox, as_jpeg = self._has_inbox(), self._converts()

        def job(context: JobContext) -> Plan:
            from apitorch_desktop.dataset.importer.plan import scan

            return scan(sources, inbox=inbox, as_jpeg=as_jpeg, progress=context.progress, cancelled=context.cancelled)

        dialog = self._dialog(target, _name_of(content))
        if _name_of(content):  # a folder, an archive or a list
            dialog.agreed.connect(lambda _order: self.import_agreed.emit(content.paths[0]))
        dialog.scan(job)
        dialog.open()

    def _converts(self) -> bool:
        """Return whether the service gets photos of uncommon formats as JPEG."""
        workspace = self._session.workspace
        return workspace is not None and not workspace.has("formats")

    def _has_inbox(self) -> bool:
        workspace = self._session.workspace
        return workspace is not None and workspace.has_inbox

    def _show_plan(self, plan: Plan, target: TrainingSet, name: str) -> None:
        dialog = self._dialog(target, name)
        dialog.show_plan(plan)
        dialog.open()

    def _dialog(self, target: TrainingSet | None, suggestion: str) -> ImportDialog:
        from apitorch_desktop.dataset.importer.plan import existing_of
        from apitorch_desktop.ui.importer.dialog import ImportDialog

        session = self._session
        workspace = session.workspace
        assert workspace is not None  # noqa: S101 - `begin` waits for it

        def existing(set_id: Id) -> Existing:
            try:
                listing = workspace.listing(set_id)
            except ConnectionFailed:  # the cache is better than nothing, and the service itself rejects duplicates
                cached = workspace.cached_listing(set_id)
                if cached is None:
                    raise
                listing = cached
            return existing_of(listing.images), listing.labels

        def similar(plan: Plan, set_id: Id | None, context: JobContext) -> Mapping[int, str]:
            from apitorch_desktop.dataset.importer.plan import find_similar, known_of

            known = known_of(workspace, set_id, context.cancelled) if set_id is not None else []
            return find_similar(
                plan, known, progress=lambda done, of: context.progress((done, of)), cancelled=context.cancelled
            )

        dialog = ImportDialog(
            self._theme,
            session.tasks,
            session.training_sets,
            target.id if target is not None else None,
            suggestion=suggestion,
            no_new_set=session.unavailable_reason("training-sets"),
            existing_of=existing,
            similar=similar,
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
        if (connected := session.connected) is None:
            return
        imports, connection_id = connected.stores.imports, connected.connection.id

        def job(context: JobContext) -> None:
            new_set = imports.create_training_set(connection_id, connected.workspace.client, name)
            context.post(new_set.training_set)
            imports.upload(connection_id, new_set.training_set.id, title, uploads, new_set=new_set)

        def created(training_set: TrainingSet) -> None:
            if session.connected is connected:
                session.show_new_set(training_set)

        session.run(f"Making “{name}”", job, lambda _none: self._transfers.reload(), progress=created, owner=self)

    def _send(self, set_id: Id, title: str, uploads: Sequence[UploadItem]) -> None:
        session = self._session
        if (connected := session.connected) is None:
            return
        labels = self._labels(set_id)

        def job(_context: JobContext) -> int:
            cached = connected.workspace.cached_listing(set_id)
            before = {*labels, *(cached.labels if cached is not None else ())}
            imports = connected.stores.imports
            return imports.upload(connected.connection.id, set_id, title, uploads, labels_before=before)

        session.run("Accepting the photos", job, lambda _id: self._transfers.reload(), lane=Lane.DISK, owner=self)
        session.open(set_id)

    def _labels(self, set_id: Id) -> list[str]:
        """Return the labels of a training set, as far as the window knows them."""
        session = self._session
        found = session.find_set(set_id)
        labels = found.classes if found is not None else []
        if session.open_set is not None and session.open_set.training_set.id == set_id:
            labels += session.open_set.labels
        return labels

    # --- results

    def _progressed(self, status: TransferStatus) -> None:
        if not self._is_current(status):
            return
        open_set = self._session.open_set
        timer = (
            self._listing_timer
            if open_set is not None and open_set.training_set.id == status.training_set_id
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
        if status.finished_at is not None and status.finished_at < self._since:
            return  # in an earlier run: `_recover` journals what that left, the rest was undone since
        self._progressed(status)
        session = self._session
        if (connected := session.connected) is None:
            return
        imports, labels = connected.stores.imports, self._labels(status.training_set_id)
        session.run(  # not on the disk lane: it may have to wait for an edit under way
            "Remembering the import for Undo",
            lambda _context: imports.finish(status.connection_id, status.id, labels),
            lambda result: self._show_result(status, result),
        )

    def _recover(self) -> None:
        """Record imports that ended while no window was open or connected, and remove those that were cut off at their start."""
        session = self._session
        if (connected := session.connected) is None:
            return

        def done(found: RecoveredImports) -> None:
            for status, result in found.ended:
                if status.finished_at is not None and status.finished_at >= self._since:
                    self._show_result(status, result)  # it was journalled before `_ended` could do so
            if found.lost:
                names = "”, “".join(found.lost)
                text = f"The import into “{names}” was cut off before its photos were read. Drop them again."
                session.show_message(text, "warn", "import")
                session.refresh()

        session.run(
            "Remembering the imports for Undo",
            lambda _context: connected.stores.imports.recover(connected.workspace),
            done,
        )

    def _show_result(self, status: TransferStatus, result: ImportResult) -> None:
        self._editing.look_up_history()
        if status.state == "failed":
            return  # the status bar keeps the transfer with its failures
        if result.forgotten or (result.known and result.edit is None):
            return  # reported before, or undone since
        parts = [f"Added {plural(result.created, 'photo')}"] if result.created else ["Nothing new was added"]
        if status.skipped:
            parts.append(f"{status.skipped:,} {'was' if status.skipped == 1 else 'were'} there already")
        edit, editing = result.edit, self._editing
        actions = (("Undo", lambda: editing.undo_edit(edit.id)),) if result.created and edit is not None else ()
        self._session.show_message(f"{'; '.join(parts)}.", "", "edit", actions)

    def _is_current(self, status: TransferStatus) -> bool:
        connection = self._session.connection
        return connection is not None and connection.id == status.connection_id


def sources_of(content: DroppedContent) -> list[Dropped]:
    """Return dropped content as the arguments of `scan`."""
    sources: list[Dropped] = list(content.paths)
    if content.urls:
        sources.append("\n".join(content.urls))
    sources += [ImageBytes(image.data, image.name or "photo") for image in content.images]
    return sources


def _is_photo(source: Dropped) -> bool:
    """Return False for a folder, an archive or a list, which may bring labels of their own; reads the disk."""
    return not isinstance(source, Path) or (source.suffix.lower() in IMAGE_SUFFIXES and not source.is_dir())


def _name_of(content: DroppedContent) -> str:
    """Return a name for the import: that of the one folder or archive that was dropped, else ""."""
    if len(content.paths) != 1 or content.urls or content.images:
        return ""
    from apitorch_desktop.dataset.importer.plan import suggested_name

    return suggested_name(content.paths[0])


NAME = "Zebra coats"


def sample_uploads() -> list[UploadItem]:
    """Return the images of the sample training set, ready to upload. Blocking."""
    from apitorch_desktop.dataset.importer.plan import scan

    return scan([paths.resources() / "sample" / "zebra_coats.zip"]).uploads()
