"""The service as a child process: start it, watch it, stop it; or attach to one that runs. No Qt; blocking."""

from collections.abc import Callable
from pathlib import Path


class ServiceFailed(Exception):  # noqa: N818 - named for what happened
    """The service did not start, or is gone for good; `str()` is one sentence for the person."""


class ServiceProcess:
    """The service on one data folder: a child of ours, or one that already runs there (`attached`).

    Once started it is watched: when it dies it is started again, with the same key and port, after 0.2 s doubling to
    10 s. `on_change` is then called on the watching thread with "down" (`message` says why), "up", or "failed" (given up).
    The child ends when this process does, however that happens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        raise NotImplementedError

    def start(self, timeout: float = 30) -> None:
        """Start a child and wait until it takes connections. Raises ServiceFailed with the child's own sentence."""
        raise NotImplementedError

    def attach_or_start(self, timeout: float = 30) -> None:
        """Use the service that runs on the folder, else start one. Raises ServiceFailed."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The base URL, ends in `/api/`; empty before the start."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """The key to call it with; empty before the start."""
        raise NotImplementedError

    @property
    def attached(self) -> bool:
        """Somebody else started it: `stop` leaves it running."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether the process runs at this moment."""
        raise NotImplementedError

    @property
    def message(self) -> str:
        """The last failure as a sentence, or empty."""
        raise NotImplementedError

    def stop(self, timeout: float = 15) -> None:
        """End the child cleanly (requests under way finish), by force after the timeout; no restart follows."""
        raise NotImplementedError


def attach(folder: Path) -> tuple[str, str] | None:
    """Base URL and key of the service that runs on a data folder and answers, else None."""
    raise NotImplementedError


def attach_or_start(folder: Path, *, on_change: Callable[[str], None] | None = None) -> ServiceProcess:
    """A started or attached ServiceProcess on the folder. Raises ServiceFailed."""
    raise NotImplementedError
