"""Builds the window after the first paint, in short steps: lanes and service first, then the parts, then their connections."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSocketNotifier, Qt, QTimer
from PySide6.QtGui import QFontDatabase, QGuiApplication, QIcon
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane, TaskRunner
from apitorch_desktop.utils import paths

if TYPE_CHECKING:  # the service is started before the session and the controls are loaded
    from collections.abc import Callable
    from pathlib import Path

    from PySide6.QtCore import QSettings
    from PySide6.QtWidgets import QApplication

    from apitorch_desktop.api.types import TrainingImage
    from apitorch_desktop.dataset.app_data import AppData
    from apitorch_desktop.dataset.edits.history import EditOutcome
    from apitorch_desktop.ui.main_window.main_window import MainWindow
    from apitorch_desktop.ui.session.session import Session
    from apitorch_desktop.ui.tasks.runner import JobContext
    from apitorch_desktop.ui.theme.theme import Theme
    from apitorch_desktop.utils.crash_log import CrashLog


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class UnixSignals(QObject):
    """Wakes Qt's event loop for signals by a socket: Python runs handlers only between its own instructions."""

    def __init__(self, close: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._handlers_before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(lambda *_: self._on_wake_up(close))

    def _on_wake_up(self, close: Callable[[], object]) -> None:
        try:
            numbers = self._reader.recv(64)
        except BlockingIOError:
            return
        if any(number in _SIGNALS for number in numbers):
            close()

    def end(self) -> None:
        """Restore the handlers that were set before."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()


TOPIC = "crash"
IDLE = 1000
"""Milliseconds before each of the modules that are needed later is loaded."""


class CrashReport(QObject):
    """Offers what the last run left in the crash log."""

    def __init__(self, log: CrashLog, session: Session, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._log = log
        self._session = session
        self._theme = theme
        self._window = window
        session.run("Reading the crash log", lambda _context: log.report(), self._offer, lane=Lane.DISK, owner=self)

    def _offer(self, report: str) -> None:
        if report:
            text = "The program ended unexpectedly, or an error was not handled, when it ran last."
            actions = (("Show report…", lambda: self.show(report)), ("Discard", self._discard))
            self._session.show_message(text, "warn", TOPIC, actions)

    def show(self, report: str) -> None:
        """Open the report in a dialog."""
        dialog = CrashReportDialog(report, self._theme, self._window)
        dialog.discarded.clicked.connect(self._discard)
        dialog.open()

    def _discard(self) -> None:
        self._session.run(
            "Discarding the crash report", lambda _context: self._log.discard(), lane=Lane.DISK, owner=self
        )


class CrashReportDialog(QDialog):
    """The report with what can be done with it."""

    def __init__(self, report: str, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Report of the last run")
        self.text = QPlainTextEdit(report)
        self.text.setReadOnly(True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setAccessibleName("Report")
        buttons = QDialogButtonBox()
        self.copied = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        self.discarded = buttons.addButton("Discard", QDialogButtonBox.ButtonRole.DestructiveRole)
        self.closed = buttons.addButton("Close", QDialogButtonBox.ButtonRole.RejectRole)
        self.closed.setDefault(True)
        self.copied.clicked.connect(lambda: QGuiApplication.clipboard().setText(report))
        self.discarded.clicked.connect(self.accept)
        self.closed.clicked.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(16)] * 4)
        column.setSpacing(theme.px(12))
        words = (
            "It holds places in the program’s code, no keys and no names of photos. It stays here until you discard it."
        )
        from apitorch_desktop.ui.widgets.controls import label

        column.addWidget(label(words, "base", "muted", wrap=True))
        column.addWidget(self.text)
        column.addWidget(buttons)
        self.resize(theme.px(760), theme.px(480))


def _loads(*names: str) -> list[Callable[[], object]]:
    return [partial(import_module, f"apitorch_desktop.ui.{name}") for name in names]


class Bootstrap(QObject):
    """Creates every object of the window once, passes each what it needs, and ends them."""

    def __init__(
        self,
        app: QApplication,
        theme: Theme,
        settings: QSettings,
        window: MainWindow,
        crash_log: CrashLog,
        arguments: list[str],
    ) -> None:
        super().__init__(window)
        self._app = app
        self.theme = theme
        self.settings = Settings(store=settings)
        self.window = window
        self._crash_log = crash_log
        self._starts = [arguments]
        self._stores: AppData | None = None
        self._signals: UnixSignals | None = None
        self.tasks = TaskRunner()
        # Each step is short, so that input and painting come in between: one module a turn, then the objects of those
        self._steps: list[Callable[[], object]] = [
            self._start_service,
            *_loads(
                "widgets.controls",
                "widgets.drag_drop",
                "main_window.toolbar",
                "sidebar.panel",
                "main_window.status_bar",
                "main_window.central_widget",
            ),
            self._apply_theme,
            self._make_central_widget,
            self._open_stores,
            *_loads("grid.model", "session.session", "session.edit_controller", "transfers.controller"),
            self._make_session,
            *_loads("grid.view", "viewer.view", "photos.controller"),
            self._make_photos,
            *_loads("review.panel", "review.navigation", "set_page.page", "map.page", "versions.controller"),
            self._make_review,
            *_loads("labeling.key_strip", "labeling.controller"),
            self._make_labeling,
            *_loads("importer.controller", "connections.menu", "transfers.panel"),
            self._make_flows,
            *_loads("classify.answer_card", "classify.panel", "classify.controller", "batch.panel", "batch.controller"),
            *_loads("watch.controller", "camera.controller"),
            self._make_classify,
            *_loads("wiring"),
            self._wire,
            self._show_stores,
        ]
        self._later: list[Callable[[], object]] = _loads("importer.dialog")
        """Modules that the first import would otherwise wait for."""

    def start(self) -> None:
        """Run the steps, one in each turn of the event loop; then load, at leisure, what is needed later."""
        if self._steps:
            self._steps.pop(0)()
            QTimer.singleShot(0, self, self.start)
        elif self._later:
            QTimer.singleShot(IDLE, self, self._load_later)

    def _load_later(self) -> None:
        self._later.pop(0)()
        self.start()

    # --- the steps

    def _start_service(self) -> None:
        """Start the embedded service at once, since it takes longest, unless another connection was open last."""
        from apitorch_desktop.ui.session.embedded_service import KEY_FILE, EmbeddedService, ServiceSettings

        settings = self.settings
        port = settings.service_port if settings.service_shared else 0
        self.embedded = EmbeddedService(
            self.tasks,
            paths.service_folder(),
            self,
            settings=ServiceSettings(paths.desktop_folder() / KEY_FILE, port, settings.threads),
        )
        wanted = not os.environ.get("APITORCH_BASE_URL") and settings.connection == "embedded"
        if wanted or settings.service_shared:
            self.embedded.start()

    def _open_stores(self) -> None:
        folder, cache = paths.desktop_folder(), paths.cache_folder()

        def job(_context: JobContext) -> AppData:
            from apitorch_desktop.dataset.app_data import open_app_data

            return open_app_data(folder, cache)

        self.tasks.run(
            Lane.DISK,
            job,
            done=self._on_stores_opened,
            failed=self._on_stores_failed,
            owner=self,
            title="Open the stores",
        )

    def _apply_theme(self) -> None:
        self.theme.apply(self._app)
        self._app.setWindowIcon(QIcon(str(paths.resources() / "icons" / "apitorch-desktop.svg")))

    def _make_central_widget(self) -> None:
        from apitorch_desktop.ui.main_window.central_widget import CentralWidget
        from apitorch_desktop.ui.main_window.main_window import MENU_BAR

        self.central_widget = CentralWidget(self.theme, self.settings, self._unavailable_reason)
        self.central_widget.empty.show_busy("Starting…")
        menu_bar = self.window.menuBar()  # still empty, so that nothing moves when it is filled
        menu_bar.setMinimumHeight(self.theme.px(MENU_BAR))
        menu_bar.setVisible(self.settings.menu_bar_shown)
        self.window.setCentralWidget(self.central_widget)
        self.central_widget.setFocus()  # otherwise the first button would look like the default one

    def _make_session(self) -> None:
        from apitorch_desktop.ui.grid.model import GridModel
        from apitorch_desktop.ui.session.edit_controller import EditController
        from apitorch_desktop.ui.session.session import Session
        from apitorch_desktop.ui.session.similar_photos import SimilarPhotos
        from apitorch_desktop.ui.transfers.controller import TransferController

        self.model = GridModel()
        self.session = Session(self.tasks, self.model, self)
        self.similar = SimilarPhotos(self.session)
        self.edits = EditController(self.session)
        self.transfers = TransferController(self.tasks, self)

    def _make_photos(self) -> None:
        from apitorch_desktop.ui.actions import ActionRegistry
        from apitorch_desktop.ui.photos.controller import PhotosController
        from apitorch_desktop.ui.photos.similar_page import SimilarPage

        self.actions = ActionRegistry(self.window, self.theme, self.settings.action_keys)
        self.photos = PhotosController(
            self.session,
            self.edits,
            self.model,
            self.actions,
            self.theme,
            self.settings,
            self._local_copy,
            self.similar,
            self._origin,
        )
        self.photos.loader.set_budget(self.settings.thumbnail_memory * 2**20)
        self.edits.edited.connect(self._follow_origins)
        self.central_widget.add_page(self.photos.grid)
        self.central_widget.add_page(self.photos.big)
        self.similar_page = SimilarPage(self.similar, self.session, self.theme)
        self.central_widget.add_page(self.similar_page)

    def _make_review(self) -> None:
        from apitorch_desktop.ui.map.page import MapPage
        from apitorch_desktop.ui.review.navigation import ReviewNavigation
        from apitorch_desktop.ui.set_page.page import SetPage
        from apitorch_desktop.ui.trash import TrashPage
        from apitorch_desktop.ui.versions.controller import VersionsController

        self.review = ReviewNavigation(
            self.session,
            self.edits,
            self.photos,
            self.central_widget.tree,
            self.theme,
            self.settings,
            TrashPage(self.session, self.edits, self.theme),
        )
        self.central_widget.add_page(self.review.panel)
        self.central_widget.add_page(self.review.trash_page)
        self.set_page = SetPage(self.session, self.edits, self.actions, self.theme)
        self.central_widget.add_page(self.set_page)
        self.map = MapPage(self.session, self.photos.grid, self.photos.loader, paths.cache_folder(), self.theme)
        self.central_widget.add_page(self.map)
        self.versions = VersionsController(self.session, self.edits, self.theme)
        self.central_widget.add_page(self.versions.page)

    def _make_labeling(self) -> None:
        from apitorch_desktop.ui.labeling.controller import LabelingController

        self.labeling = LabelingController(
            self.session, self.edits, self.photos, self.review, self.central_widget, self.theme, self.settings
        )

    def _make_flows(self) -> None:
        from apitorch_desktop.ui.compare.controller import CompareController
        from apitorch_desktop.ui.connections.menu import ConnectionMenu
        from apitorch_desktop.ui.exporter.controller import ExportController
        from apitorch_desktop.ui.importer.controller import ImportController
        from apitorch_desktop.ui.transfers.panel import TransfersPanel

        self.imports = ImportController(self.session, self.edits, self.transfers, self.theme, self.window)
        self.exports = ExportController(self.session, self.transfers, self.theme, self.settings, self.window)
        self.comparisons = CompareController(self.session, self.transfers, self.theme, self.window)
        self.connection_menu = ConnectionMenu(
            self.session, self.central_widget.toolbar.connection_menu, self.theme, self.settings, self.window
        )
        self.transfers_panel = TransfersPanel(self.theme)
        self.central_widget.add_page(self.transfers_panel)

    def _make_classify(self) -> None:
        from apitorch_desktop.ui.batch.controller import BatchController
        from apitorch_desktop.ui.batch.panel import BatchPanel
        from apitorch_desktop.ui.classify.controller import ClassifyController
        from apitorch_desktop.ui.classify.panel import ClassifyPanel

        self.classify_panel = ClassifyPanel(self.theme)
        self.classify = ClassifyController(
            self.session, self.edits, self.classify_panel, self.theme, self.settings, self.window, self.similar
        )
        self.central_widget.add_panel(self.classify_panel)
        self.batch_panel = BatchPanel(self.theme, self.tasks)
        self.batch = BatchController(
            self.session, self.batch_panel, self.classify_panel, self.actions, self.theme, self.window
        )
        self.central_widget.add_page(self.batch_panel)
        from apitorch_desktop.ui.watch.controller import WatchController
        from apitorch_desktop.ui.watch.panel import WatchPanel

        self.watch_panel = WatchPanel(self.theme, self.tasks)
        self.watches = WatchController(
            self.session, self.edits, self.watch_panel, self.actions, self.theme, self.window
        )
        self.central_widget.add_page(self.watch_panel)
        from apitorch_desktop.ui.camera.controller import CameraController
        from apitorch_desktop.ui.camera.page import CameraPage

        self.camera_page = CameraPage(self.theme)
        self.camera = CameraController(
            self.session, self.labeling, self.camera_page, self.actions, self.settings, self.window
        )
        self.central_widget.add_page(self.camera_page)

    def _wire(self) -> None:
        from dataclasses import fields

        from apitorch_desktop.ui.wiring import WindowParts, Wiring

        # each part has the same name here and there
        self.wiring = Wiring(WindowParts(**{part.name: getattr(self, part.name) for part in fields(WindowParts)}))
        self.crash_report = CrashReport(self._crash_log, self.session, self.theme, self.window)
        self._signals = UnixSignals(self.window.close, self)
        self.window.closing.connect(self._on_closing)

    def _show_stores(self) -> None:
        if self._stores is not None:
            self._use_stores(self._stores)

    # --- stores on disk

    def _on_stores_opened(self, stores: AppData) -> None:
        self._stores = stores
        if not self._steps:
            self._use_stores(stores)

    def _on_stores_failed(self, error: Exception) -> None:
        from apitorch_desktop.ui.session.error_messages import error_message

        if self._steps:
            QTimer.singleShot(0, self, lambda: self._on_stores_failed(error))
            return
        self.central_widget.empty.show_failure("The program’s folder cannot be used", error_message(error).text)

    def _use_stores(self, stores: AppData) -> None:
        self.wiring.begin(stores)
        while self._starts:
            self.wiring.open_arguments(self._starts.pop(0))

    def _unavailable_reason(self, extension: str) -> str:
        return (
            self.session.unavailable_reason(extension) if hasattr(self, "session") else "The window is just starting."
        )

    def _local_copy(self, image: TrainingImage, cancelled: Callable[[], bool]) -> Path:
        """Write an image to a file for other programs, and return that; for workers."""
        from apitorch_desktop.ui.photos.share import local_copy

        return local_copy(self.session, paths.cache_folder() / "out", image, cancelled)

    def _origin(self, image: TrainingImage) -> str:
        """Return the file or address that an image was imported from, "" if unknown; for workers."""
        if (connected := self.session.connected) is None:
            return ""
        sha256 = image.sha256 if isinstance(image.sha256, str) else ""
        return connected.stores.transfers.origin(connected.connection.id, image.image_id, sha256)

    def _follow_origins(self, outcome: EditOutcome) -> None:
        """Carry the origins over to the ids that an edit has changed."""
        connected, ids = self.session.connected, dict(outcome.changed)
        if connected is not None and ids:
            self.session.run(
                "Updating the origins of photos",
                lambda _context: connected.stores.transfers.update_ids(connected.connection.id, ids),
                failed=self.session.show_error,
                lane=Lane.DISK,
                owner=self,
            )

    def on_second_start(self, arguments: list[str]) -> None:
        """Come to the front and import or classify the arguments of a second start."""
        self.window.setWindowState(self.window.windowState() & ~Qt.WindowState.WindowMinimized)
        self.window.raise_()
        self.window.activateWindow()
        if self._steps or self._stores is None:
            self._starts.append(arguments)
        else:
            self.wiring.open_arguments(arguments)

    # --- end

    def _on_closing(self) -> None:
        self.central_widget.save()
        self.photos.save()
        self.wiring.connections.save()
        self.wiring.view_state.save()

    def end(self) -> bool:
        """Stop all jobs and the service; return False if a job did not stop."""
        if self._signals is not None:
            self._signals.end()
        ended = self.tasks.shutdown()
        if ended and self._stores is not None:
            self._stores.close()
        return ended
