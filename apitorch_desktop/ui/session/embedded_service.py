"""The embedded service: started or attached to on a lane, watched, and stopped at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import KEY_LENGTH
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.utils.files import atomic_write

STOP_TIMEOUT = 4.0
"""Seconds for which the service may finish its requests when the window closes, before it is killed."""
KEY_FILE = "service.key"
"""File in the desktop folder with the key for other programs."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of the embedded service.

    With `port`, other programs may use it: it listens on that port of this computer and accepts the key in `key_file`,
    which is made where there is none. With 0 both are new at each start. `threads`: processor cores to use, 0 for all.
    """

    key_file: Path | None = None
    port: int = 0
    threads: int = 0


class _ServiceState(NamedTuple):
    url: str
    key: str
    message: str
    attached: bool


class EmbeddedService(QObject):
    """Runs the service once `start` is called; `url` and `key` are empty while it is down."""

    changed = Signal()

    def __init__(
        self,
        tasks: TaskRunner,
        folder: Path,
        parent: QObject | None = None,
        *,
        settings: ServiceSettings | None = None,
    ) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._folder = folder
        self._settings = settings or ServiceSettings()
        self._new_key = False
        self._task: Task | None = None
        self._one_at_a_time = Lock()
        """Held by the job while its service runs: the next one must not attach to a service that is about to end."""
        self.url = ""
        self.key = ""
        self.attached = False
        """True if another program started the service: the settings here do not apply to it."""
        self.state_text = "Starting the service on this computer…"
        """Reason why the service is down, as a sentence."""
        self.gave_up = False
        """True if the service could not be started; `start` tries again."""

    def start(self) -> None:
        """Start the service, or attach to a running one; does nothing if it is up or starting."""
        if self._task is not None:
            return
        self.gave_up = False
        folder, settings, alone = self._folder, self._settings, self._one_at_a_time
        new_key, self._new_key = self._new_key, False

        def job(context: JobContext) -> None:
            from apitorch_desktop.service.launcher import ServiceProcess

            def report(state: str) -> None:
                url, key = (service.url, service.key) if state == "up" else ("", "")
                context.post(_ServiceState(url, key, service.message, service.attached))

            with alone:
                context.check()
                key = _kept_key(settings.key_file, new=new_key) if settings.key_file and settings.port else ""
                service = ServiceProcess(
                    folder, port=settings.port, key=key, threads=settings.threads, on_change=report
                )
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

    def configure(self, settings: ServiceSettings) -> None:
        """Use other settings; a running service is started again with them."""
        if settings != self._settings:
            self._settings = settings
            self._restart()

    def change_key(self) -> None:
        """Make a new key for other programs; the one before is refused from now on."""
        self._new_key = True
        self._restart()

    def _restart(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        self.state_text = "The service on this computer is started again…"
        self.url = self.key = ""
        self.changed.emit()
        self.start()

    def _on_state(self, news: _ServiceState) -> None:
        self.url, self.key, message, self.attached = news
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


def _kept_key(file: Path, *, new: bool) -> str:
    """Return the key for other programs, made if there is none yet or a new one is wanted. Raises OSError."""
    from apitorch_desktop.service.launcher import random_key

    if not new and file.is_file() and len(key := file.read_text("ascii", "replace").strip()) == KEY_LENGTH:
        return key
    key = random_key()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_write(file, mode=0o600) as part:
        part.write_text(key, "ascii")
    return key
