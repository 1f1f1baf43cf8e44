"""The embedded service: started or attached to on a lane, watched, and stopped at the end."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

STOP_TIMEOUT = 4.0
"""Seconds for which the service may finish its requests when the window closes, before it is killed."""


class EmbeddedService(QObject):
    """Runs the service once `start` is called; `url` and `key` are empty while it is down."""

    changed = Signal()

    def __init__(self, tasks: TaskRunner, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._folder = folder
        self._task: Task | None = None
        self.url = ""
        self.key = ""
        self.state_text = "Starting the service on this computer…"
        """Reason why the service is down, as a sentence."""
        self.gave_up = False
        """True if the service could not be started; `start` tries again."""

    def start(self) -> None:
        """Start the service, or attach to a running one; does nothing if it is up or starting."""
        if self._task is not None:
            return
        self.gave_up = False
        folder = self._folder

        def job(context: JobContext) -> None:
            from apitorch_desktop.service.launcher import ServiceProcess

            def report(state: str) -> None:
                up = state == "up"
                context.post((service.url if up else "", service.key if up else "", service.message))

            service = ServiceProcess(folder, on_change=report)
            try:
                service.attach_or_start()
                report("up")
                while not context.wait(1e6):
                    pass
            finally:
                service.stop(STOP_TIMEOUT)

        self._task = self._tasks.run(
            Lane.WATCH, job, progress=self._on_state, failed=self._failed, title="The service on this computer"
        )

    def _on_state(self, news: tuple[str, str, str]) -> None:
        self.url, self.key, message = news
        if not self.url:
            self.state_text = f"The service on this computer stopped. It is started again. {message}".strip()
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        from apitorch_desktop.ui.session.error_messages import error_message

        self._task = None
        self.url = self.key = ""
        self.gave_up = True
        self.state_text = error_message(error).text
        self.changed.emit()
