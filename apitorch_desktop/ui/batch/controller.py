"""Many photos dropped on the classify panel: looked through, asked about two at a time, and what is done with the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QMenu, QWidget

from apitorch_desktop.api.types import Classifier
from apitorch_desktop.dataset.batch import BatchRow
from apitorch_desktop.dataset.workspace.training import wait_until_trained
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.batch.panel import BatchPanel
from apitorch_desktop.ui.classify.panel import ClassifyPanel
from apitorch_desktop.ui.classify.scratch_permission import REFUSED, ScratchPermission
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils.text import duration, plural

THREADS = 2
PROGRESS_INTERVAL = 100
"""Milliseconds between two looks at the progress."""
FILTERS = {"csv": "Table (*.csv)", "jsonl": "JSON lines (*.jsonl)"}


class BatchController(QObject):
    """The flow of the batch table. One batch at a time; a new one takes the place of the old."""

    shown = Signal(bool)
    add_requested = Signal(list, str, str)
    """Photos as (source, name), a training set's id and a label."""
    photo_requested = Signal(object)
    """`DroppedContent` of one photo, for the classify panel."""

    def __init__(
        self, session: Session, panel: BatchPanel, chooser: ClassifyPanel, theme: Theme, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session = session
        self._panel = panel
        self._chooser = chooser
        self._permission = ScratchPermission(session, theme, window)
        self._window = window
        self._owner = QObject(self)
        self._running = 0
        self._began = 0.0
        self._began_with = 0
        self._progress_timer = QTimer(self, interval=PROGRESS_INTERVAL)
        self._progress_timer.timeout.connect(self._show_progress)
        panel.stop_requested.connect(self._stop)
        panel.retry_requested.connect(self._retry_failed)
        panel.save_requested.connect(self._save)
        panel.opened.connect(self._open)
        panel.add_menu_opening.connect(self._fill_add_menu)
        panel.closed.connect(self._close)

    def begin(self, content: DroppedContent) -> None:
        """Classify all of it by the classifiers that are chosen."""
        from apitorch_desktop.ui.importer.controller import sources_of

        session = self._session
        slugs = self._chooser.chosen
        if session.workspace is None or not slugs:
            why = session.unavailable_reason("") or "Choose a classifier to ask, then drop the photos again."
            session.show_message(why, "warn", "batch")
            return
        self._stop()
        sources = sources_of(content)
        ids = content.image_ids
        open_set, workspace = session.open_set, session.workspace
        images = [image for image_id in ids if (image := session.images.record(image_id)) is not None]

        def look(context: JobContext) -> list[BatchRow]:
            from apitorch_desktop.dataset.batch import BatchRow
            from apitorch_desktop.dataset.importer.plan import scan
            from apitorch_desktop.dataset.sources.image_source import ImageBytes, place_of

            rows = []
            for image in images:
                if open_set is not None:
                    context.check()
                    name = image.original_filename or image.filename
                    data = workspace.image(open_set.training_set.id, image, cancelled=context.cancelled)
                    rows.append(BatchRow(ImageBytes(data, name), name, name))
            plan = scan(sources, cancelled=context.cancelled) if sources else None
            for slug in slugs if workspace.has("training") else ():
                wait_until_trained(
                    workspace, slug, report=partial(self._report_training, context, slug), wait=context.wait
                )
            items = plan.items if plan is not None else []
            return rows + [
                BatchRow(item.source, item.name, place_of(item.source), item.problem or "") for item in items
            ]

        def looked(rows: list[BatchRow]) -> None:
            from apitorch_desktop.dataset.sources.image_source import ImageUrl

            if not rows:
                session.show_message("There is no photo in what was dropped.", "warn", "batch")
                self._close()
                return
            self._panel.begin(f"Classify {plural(len(rows), 'photo')}", slugs, rows)
            asked = [row for row in rows if not row.problem]
            if self._permission.missing and any(not isinstance(row.source, ImageUrl) for row in asked):
                self._permission.ask(lambda: self._ask(asked), self._refused)
            else:
                self._ask(asked)

        self._panel.begin("Looking through the photos…", slugs, [])
        self._panel.show_progress("", going=True)
        self.shown.emit(True)
        session.tasks.run(
            Lane.BATCH,
            look,
            done=looked,
            failed=self._failed,
            progress=self._panel.title.setText,
            owner=self._owner,
            title="Look through the photos",
        )

    @staticmethod
    def _report_training(context: JobContext, slug: str, state: Classifier | None) -> None:
        if state is not None and state.status == "training" and not isinstance(state.version, int):
            context.progress(f"“{slug}” is learning. {state.status_message or ''}".strip())

    def _refused(self) -> None:
        self._session.show_message(REFUSED, "warn", "batch")
        self._close()

    # --- asking

    def _ask(self, rows: Sequence[BatchRow]) -> None:
        session, panel = self._session, self._panel
        workspace = session.workspace
        if workspace is None:
            return
        slugs = list(panel.model.slugs)
        queue = _RowQueue(rows)
        self._running = THREADS
        self._began, self._began_with = monotonic(), panel.model.counts[0]
        edge = panel.table.iconSize().width() * 2
        for _ in range(THREADS):
            session.tasks.run(
                Lane.BATCH,
                lambda context: _work(context, workspace, slugs, queue, edge),
                done=lambda _none: self._ended(),
                failed=self._failed,
                progress=self._receive,
                owner=self._owner,
                title="Classify the photos",
            )
        self._progress_timer.start()
        self._show_progress()

    def _receive(self, answer: tuple[BatchRow, QImage | None]) -> None:
        row, image = answer
        self._panel.model.changed(row)
        if image is not None:
            self._panel.model.show_thumbnail(row, image)

    def _ended(self) -> None:
        self._running -= 1
        if self._running <= 0:
            self._finish()

    def _failed(self, error: Exception) -> bool:
        self._stop()
        self._session.show_message(error_message(error, "Classifying").text, "bad", "batch")
        return True

    def _stop(self) -> None:
        self._owner.deleteLater()
        self._owner = QObject(self)
        self._finish()

    def _finish(self) -> None:
        self._running = 0
        self._progress_timer.stop()
        self._panel.show_progress("", going=False)

    def _show_progress(self) -> None:
        done, _, total = self._panel.model.counts
        fresh, spent = done - self._began_with, monotonic() - self._began
        words = ""
        if fresh > 2 and spent > 0.5:
            rate = fresh / spent
            words = f"{rate:.0f} a second · {duration((total - done) / rate)} left" if rate >= 1 else ""
        self._panel.show_progress(words, going=self._running > 0)

    def _retry_failed(self) -> None:
        from apitorch_desktop.ui.batch.model import failed

        model = self._panel.model
        rows = [row for row in model.rows if failed(row) and not row.problem]
        for row in rows:
            model.clear_answers(row)
        self._ask(rows)

    def _open(self, row: BatchRow) -> None:
        """Show a row's photo in the classify panel."""
        from apitorch_desktop.dataset.sources.image_source import ImageBytes, ImageFile, ImageUrl
        from apitorch_desktop.ui.widgets import drag_drop

        match row.source:
            case ImageFile(path):
                self.photo_requested.emit(drag_drop.DroppedContent(paths=(path,)))
            case ImageUrl(url):
                self.photo_requested.emit(drag_drop.DroppedContent(urls=(url,)))
            case ImageBytes(data, name):
                self.photo_requested.emit(drag_drop.DroppedContent(images=(drag_drop.DroppedImage(data, name),)))

    def _close(self) -> None:
        self._stop()
        self.shown.emit(False)

    # --- what is done with the answers

    def _save(self, form: str) -> None:
        from PySide6.QtWidgets import QFileDialog

        start = str(Path.home() / f"classified.{form}")
        asked = QFileDialog(self._window, "Save the table", start, FILTERS[form])
        asked.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        asked.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        asked.setDefaultSuffix(form)
        asked.fileSelected.connect(lambda name: self.save(Path(name)))
        asked.open()

    def save(self, path: Path) -> None:
        """Write the table to a file, as CSV or JSON lines by its name."""
        rows, session = list(self._panel.model.rows), self._session

        def write(_context: JobContext) -> None:
            from apitorch_desktop.dataset.batch import save_table

            save_table(path, rows)

        session.tasks.run(
            Lane.DISK,
            write,
            done=lambda _none: session.show_message(f"Saved “{path.name}”.", "muted"),
            failed=lambda error: session.show_error(error, "Saving the table"),
            owner=self,
            title="Save the table",
        )

    def _fill_add_menu(self, menu: QMenu) -> None:
        """The labels the selected photos may be added to."""
        from apitorch_desktop.ui.widgets.label_menu import fill_label_menu

        fill_label_menu(menu, self._session.training_sets, (), self._add)

    def _add(self, set_id: str, label: str) -> None:
        self.add_requested.emit([(row.source, row.name) for row in self._panel.selected()], set_id, label)


class _RowQueue:
    """Rows that several threads take from."""

    def __init__(self, rows: Sequence[BatchRow]) -> None:
        self._rows: Iterator[BatchRow] = iter(list(rows))
        self._lock = Lock()

    def take(self) -> BatchRow | None:
        with self._lock:
            return next(self._rows, None)


def _work(context: JobContext, workspace: Workspace, slugs: Sequence[str], queue: _RowQueue, edge: int) -> None:
    """Ask about rows until there are no more; each is posted with its small picture."""
    from apitorch_desktop.dataset.batch import classify
    from apitorch_desktop.dataset.sources.archives import Archives

    archives = Archives()
    try:
        while (row := queue.take()) is not None:
            context.check()
            row.answers = classify(workspace.classify, slugs, row.source, archives)
            context.post((row, _thumbnail(row, archives, edge)))
    finally:
        archives.close()


def _thumbnail(row: BatchRow, archives: object, edge: int) -> QImage | None:
    from apitorch_desktop.dataset.sources.archives import read
    from apitorch_desktop.dataset.sources.image_source import ImageUrl, SourceMissing
    from apitorch_desktop.ui.images.decode import from_image
    from apitorch_desktop.vision.images import MAX_BYTES, UnreadableImage

    if isinstance(row.source, ImageUrl):
        return None
    try:
        return from_image(read(row.source, archives, MAX_BYTES), edge)  # type: ignore[arg-type]
    except (SourceMissing, UnreadableImage):
        return None
