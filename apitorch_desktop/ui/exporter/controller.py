"""Exports: a folder tree as a transfer that can be resumed, every other format as one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.types import TrainingImage, TrainingSet
from apitorch_desktop.dataset.exporter.exporter import ExportFormat, ExportResult, export
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.exporter.dialog import ONNX, ExportDialog, ExportOrder
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.utils.files import atomic_write
from apitorch_desktop.utils.text import plural

_TOPIC = "export"


class ExportController(QObject):
    """Exports training sets of the open connection."""

    def __init__(self, session: Session, transfers: TransferController, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._transfers = transfers
        self._theme = theme
        self._window = window

    def ask(self, set_id: str) -> None:
        """Let the user choose format and folder, then export a training set."""
        session = self._session
        found = session.find_set(set_id)
        if found is None or session.workspace is None:
            session.show_message(session.unavailable_reason("") or "This training set is no more.", "warn", _TOPIC)
            return
        trained = any(classifier.slug == found.slug for classifier in session.classifiers)
        no_onnx = session.unavailable_reason("export.onnx") or ("" if trained else "It has no classifier yet.")
        dialog = ExportDialog(self._theme, f"“{found.name}”", no_onnx=no_onnx, parent=self._window)
        dialog.agreed.connect(lambda order: self.export(found, order))
        dialog.open()

    def ask_selection(self, images: Sequence[TrainingImage]) -> None:
        """Let the user choose format and folder, then export these photos of the open training set."""
        session, open_set = self._session, self._session.open_set
        workspace = session.workspace
        if open_set is None or workspace is None or not images:
            return
        found, chosen = open_set.training_set, [image.image_id for image in images]
        name = f"{plural(len(chosen), 'photo')} of “{found.name}”"
        dialog = ExportDialog(self._theme, name, no_onnx=None, parent=self._window)
        dialog.agreed.connect(lambda order: self._files(found, workspace, order, frozenset(chosen)))
        dialog.open()

    def export(self, found: TrainingSet, order: ExportOrder) -> None:
        """Export a training set."""
        session = self._session
        workspace, connection = session.workspace, session.connection
        if workspace is None or connection is None:
            session.show_message(session.unavailable_reason(""), "warn", _TOPIC)
        elif order.export_format == ONNX:
            self._classifier(found, workspace, order.folder)
        elif order.export_format == ExportFormat.IMAGEFOLDER and order.shares is None:
            self._transfers.download(connection.id, found.id, f"Exporting “{found.name}”", order.folder)
        else:
            self._files(found, workspace, order)

    def _files(
        self, found: TrainingSet, workspace: Workspace, order: ExportOrder, chosen: frozenset[str] | None = None
    ) -> None:
        """Export a training set, or only the `chosen` ids of it, as one job."""
        session, name = self._session, found.name

        def job(context: JobContext) -> ExportResult:
            from apitorch_desktop.dataset.exporter.split import Split

            split = None
            if order.shares is not None:
                train, validation, test = (share / 100 for share in order.shares)
                split = Split(train, validation, test, order.seed)
            order.folder.mkdir(parents=True, exist_ok=True)
            listing = workspace.listing(found.id, cancelled=context.cancelled)
            if chosen is not None:
                listing = replace(listing, images=[image for image in listing.images if image.image_id in chosen])
                listing.labels = list(dict.fromkeys(str(image.label) for image in listing.images))
            return export(
                listing,
                lambda image: workspace.image(found.id, image, cancelled=context.cancelled),
                order.folder,
                ExportFormat(order.export_format),
                split=split,
                progress=lambda done, total: context.progress((done, total)),
                cancelled=context.cancelled,
            )

        def stop() -> None:
            task.cancel()
            session.message_expired.emit(_TOPIC)
            session.show_message(f"The export of “{name}” was cancelled; nothing was written.", "muted", _TOPIC)

        def progress(at: tuple[int, int]) -> None:
            text = f"Exporting “{name}”: {at[0]:,} of {at[1]:,}"
            session.show_message(text, "muted", _TOPIC, (("Cancel", stop),))

        task = session.run(
            f"Exporting “{name}”", job, lambda result: self._done(name, result), progress=progress, lane=Lane.BATCH
        )

    def _done(self, name: str, result: ExportResult) -> None:
        self._session.message_expired.emit(_TOPIC)
        self._show_result(f"Exported {plural(result.written, 'photo')} of “{name}”.", result.path)
        if result.failed:
            filename, why = result.failed[0]
            more = f" And {len(result.failed) - 1:,} more." if len(result.failed) > 1 else ""
            text = f"{plural(len(result.failed), 'photo')} of “{name}” could not be exported. “{filename}”: {why}{more}"
            self._session.show_message(text, "warn", _TOPIC)

    def _classifier(self, found: TrainingSet, workspace: Workspace, folder: Path) -> None:
        session, name, slug = self._session, found.name, str(found.slug)

        def job(context: JobContext) -> Path:
            data = workspace.client.onnx(slug, cancelled=context.cancelled)
            folder.mkdir(parents=True, exist_ok=True)
            path = _free_path(folder, slug)
            with atomic_write(path) as part:
                part.write_bytes(data)
            return path

        session.show_message(f"Exporting the classifier of “{name}”…", "muted", _TOPIC)
        session.run(
            f"Exporting the classifier of “{name}”",
            job,
            lambda path: self._show_result(f"Exported the classifier of “{name}” as “{path.name}”.", path),
            lane=Lane.BATCH,
        )

    def _show_result(self, text: str, path: Path) -> None:
        def show() -> None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))

        self._session.show_message(text, "", _TOPIC, (("Show", show),))


def _free_path(folder: Path, slug: str) -> Path:
    """Return a path that does not exist yet."""
    path = folder / f"{slug}.onnx"
    number = 2
    while path.exists():
        path = folder / f"{slug}-{number}.onnx"
        number += 1
    return path
