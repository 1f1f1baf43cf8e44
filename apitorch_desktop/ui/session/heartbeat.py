"""When to look for the service: a ping while nothing else is heard of it, and while it is away less and less often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.tasks.runner import Lane, Task, TaskRunner


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Milliseconds. `look`: between two looks whether a call of any lane found nobody, or it has been quiet for long.

    `beat`: of quiet before a ping. `retry`: until a service that is away is tried again, half as long again each time,
    up to `longest`.
    """

    look: int = 1_000
    beat: int = 15_000
    retry: int = 3_000
    longest: int = 30_000


class Heartbeat(QObject):
    """Emits `wanted` when the service should be asked anew; at rest until told how it is.

    A ping costs some milliseconds of one thread, and is left out as long as other calls are answered.
    """

    wanted = Signal()
    missed = Signal(object)
    """A ping failed; the exception. At rest then."""

    def __init__(self, tasks: TaskRunner, rhythm: Rhythm, parent: QObject) -> None:
        super().__init__(parent)
        self.rhythm = rhythm
        self._tasks = tasks
        self._workspace: Workspace | None = None
        self._ping: Callable[[], object] = lambda: None
        self._task: Task | None = None
        self._pause = 0.0
        self._look = QTimer(self, timerType=Qt.TimerType.CoarseTimer)
        self._look.timeout.connect(self._listen)
        self._retry = QTimer(self, singleShot=True)
        self._retry.timeout.connect(self.wanted)
        app = QCoreApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._turned_to)

    def rest(self, *, forget: bool = False) -> None:
        """Look no more; `forget` how often it was tried already."""
        if forget:
            self._pause = 0.0
        self._look.stop()
        self._retry.stop()
        self._workspace = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def heard(self, workspace: Workspace, ping: Callable[[], object]) -> None:
        """The service is there: listen whether it stays. `ping` asks it, once and not for long; it blocks."""
        self.rest()
        self._workspace, self._ping, self._pause = workspace, ping, 0.0
        self._look.start(self.rhythm.look)

    def away(self) -> None:
        """The service is not there: try again by and by."""
        self.rest()
        self._pause = min(self._pause * 1.5 or self.rhythm.retry, self.rhythm.longest)
        self._retry.start(round(self._pause))

    def _turned_to(self, state: Qt.ApplicationState) -> None:
        """The person comes back to the window, perhaps with the network: no need to wait any longer."""
        if state == Qt.ApplicationState.ApplicationActive and self._retry.isActive():
            self._pause = 0.0
            self.wanted.emit()

    def _listen(self) -> None:
        workspace = self._workspace
        if workspace is None:
            return
        if workspace.offline:
            self._look.stop()
            self.wanted.emit()
        elif workspace.quiet_for() * 1000 >= self.rhythm.beat and (self._task is None or not self._task.active):
            ping = self._ping
            self._task = self._tasks.run(
                Lane.WATCH,
                lambda _context: workspace.noting(ping),
                failed=self._missed,
                owner=self,
                title="Look whether the service is there",
            )

    def _missed(self, fault: Exception) -> bool:
        from apitorch_desktop.api.errors import RateLimited

        if not isinstance(fault, RateLimited) and self._look.isActive():  # that one is there
            self._look.stop()
            self.missed.emit(fault)
        return True
