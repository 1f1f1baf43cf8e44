"""Heartbeat of the connection: pings while no other call is answered, retries at growing intervals while it is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.tasks.runner import Lane, Task, TaskRunner


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Intervals in milliseconds.

    `look`: between checks for a failed call or a long silence. `beat`: of silence before a ping. `retry`: before the
    first retry while the service is away; each further one is half as long again, up to `longest`.
    """

    look: int = 1_000
    beat: int = 15_000
    retry: int = 3_000
    longest: int = 30_000


class Heartbeat(QObject):
    """Emits `connect_wanted` when the connection should be tried again. Stopped until `watch` or `retry` is called.

    A ping costs some milliseconds of one thread, and is left out as long as other calls are answered.
    """

    connect_wanted = Signal()
    ping_answered = Signal()
    ping_failed = Signal(object)
    """A ping raised this exception; the heartbeat is stopped."""

    def __init__(self, tasks: TaskRunner, rhythm: Rhythm, parent: QObject) -> None:
        super().__init__(parent)
        self.rhythm = rhythm
        self._tasks = tasks
        self._workspace: Workspace | None = None
        self._ping: Callable[[], object] = lambda: None
        self._task: Task | None = None
        self._retry_after = 0.0
        self._check_timer = QTimer(self, timerType=Qt.TimerType.CoarseTimer)
        self._check_timer.timeout.connect(self._check)
        self._retry_timer = QTimer(self, singleShot=True)
        self._retry_timer.timeout.connect(self.connect_wanted)
        app = QCoreApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._on_application_state)

    def stop(self, *, reset: bool = False) -> None:
        """Stop pings and retries; `reset` starts the next retries at the shortest interval."""
        if reset:
            self._retry_after = 0.0
        self._check_timer.stop()
        self._retry_timer.stop()
        self._workspace = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def watch(self, workspace: Workspace, ping: Callable[[], object]) -> None:
        """Watch a service that answered. `ping` blocks, makes one call with a short time-out, and raises on failure."""
        self.stop()
        self._workspace, self._ping, self._retry_after = workspace, ping, 0.0
        self._check_timer.start(self.rhythm.look)

    def retry(self) -> None:
        """Retry a service that is away, at growing intervals."""
        self.stop()
        self._retry_after = min(self._retry_after * 1.5 or self.rhythm.retry, self.rhythm.longest)
        self._retry_timer.start(round(self._retry_after))

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        """Retry at once when the user returns to the window, perhaps with the network back."""
        if state == Qt.ApplicationState.ApplicationActive and self._retry_timer.isActive():
            self._retry_after = 0.0
            self.connect_wanted.emit()

    def _check(self) -> None:
        workspace = self._workspace
        if workspace is None:
            return
        if workspace.offline:
            self._check_timer.stop()
            self.connect_wanted.emit()
        elif workspace.seconds_since_answer() * 1000 >= self.rhythm.beat and (
            self._task is None or not self._task.active
        ):
            ping = self._ping
            self._task = self._tasks.run(
                Lane.WATCH,
                lambda _context: workspace.run(ping),
                done=lambda _answer: self.ping_answered.emit(),
                failed=self._on_ping_failed,
                owner=self,
                title="Ping the service",
            )

    def _on_ping_failed(self, error: Exception) -> bool:
        from apitorch_desktop.api.errors import RateLimited

        if not isinstance(error, RateLimited) and self._check_timer.isActive():  # a service that throttles is there
            self._check_timer.stop()
            self.ping_failed.emit(error)
        return True
