"""The embedded service as the window sees it: started or attached to on a lane, watched, and stopped at the end."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

STOP_TIMEOUT = 4.0
"""Seconds the service has to finish what is under way when the window closes; then it is ended by force."""


class EmbeddedService(QObject):
    """Comes up once `start` is called; `url` and `key` are empty while it is away."""

    changed = Signal()

    def __init__(self, tasks: TaskRunner, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._folder = folder
        self._task: Task | None = None
        self.url = ""
        self.key = ""
        self.state_text = "Starting the service on this computer…"
        """What is the matter while it is away."""
        self.gave_up = False
        """It could not be started at all; `start` tries again."""

    def start(self) -> None:
        """Start it, or attach to the one that runs; does nothing where it is up or on its way."""
        if self._task is not None:
            return
        self.gave_up = False
        folder = self._folder

        def job(context: JobContext) -> None:
            from apitorch_desktop.service.launcher import ServiceProcess

            def tell(state: str) -> None:
                up = state == "up"
                context.post((service.url if up else "", service.key if up else "", service.message))

            service = ServiceProcess(folder, on_change=tell)
            try:
                service.attach_or_start()
                tell("up")
                while not context.wait(1e6):
                    pass
            finally:
                service.stop(STOP_TIMEOUT)

        self._task = self._tasks.run(
            Lane.WATCH, job, progress=self._heard, failed=self._failed, title="The service on this computer"
        )

    def _heard(self, news: tuple[str, str, str]) -> None:
        self.url, self.key, message = news
        if not self.url:
            self.state_text = f"The service on this computer stopped. It is started again. {message}".strip()
        self.changed.emit()

    def _failed(self, fault: Exception) -> None:
        from apitorch_desktop.ui.session.error_messages import error_message

        self._task = None
        self.url = self.key = ""
        self.gave_up = True
        self.state_text = error_message(fault).text
        self.changed.emit()
