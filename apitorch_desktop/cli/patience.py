"""Waiting for a service that does not answer or has no room: said once, ended by progress or after a bounded time."""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress
from threading import Event, Lock
from time import monotonic
from typing import Final

from apitorch_desktop.api.errors import ApiError, ConnectionFailed, RateLimited, StorageFull, TimedOut
from apitorch_desktop.cli import output
from apitorch_desktop.utils.text import duration, shown

DEFAULT: Final = 300.0
_GLITCH: Final = 1.0
"""Seconds without progress that are not worth a line: a connection was cut, and the next one is not."""
_SILENT: Final = 15.0
"""Seconds without progress after which there is a line though no call has failed yet."""
_ATTEMPTS: Final = 3
"""Calls of one photo that the service may have seen, and gave no answer to."""


def add_argument(parser: ArgumentParser) -> None:
    """Declare the option `--patience`."""
    parser.add_argument(
        "--patience", type=_seconds, default=DEFAULT, metavar="SECONDS",
        help="how long to wait, while nothing moves, for a service that does not answer or has no room (default: %(default)g)",
    )  # fmt: skip


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise ArgumentTypeError(f"“{shown(text)}” is no number of seconds")


class Patience:
    """Limit of the time that a command waits without progress. Thread-safe.

    On standard error there is one line why it waits, and one when it goes on, also where that is no terminal.
    """

    def __init__(self, seconds: float, line: output.ProgressLine) -> None:
        self._seconds = seconds
        self._line = line
        self._lock = Lock()
        self._moved_at = monotonic()
        self._failing_since: float | None = None
        self._said: set[str] = set()
        self._ended = Event()

    @property
    def over(self) -> bool:
        """True once there was no progress for too long."""
        return self._ended.is_set()

    def moved(self) -> None:
        """Record progress."""
        with self._lock:
            self._moved_at, self._failing_since = monotonic(), None
            if self._said and not self.over:
                self._write("Going on.")
            self._said.clear()

    def waits(self, why: str) -> bool:
        """Record that there is no progress; return whether to wait on. `why` is a sentence, "" while no call has failed."""
        with self._lock:
            now = monotonic()
            if why and self._failing_since is None:
                self._failing_since = now
            idle = now - (self._failing_since or self._moved_at)
            if why and idle >= min(_GLITCH, self._seconds):
                self._say(f"{why} Waiting, for {duration(self._seconds)} at most.")
            elif not why and idle >= _SILENT:
                self._say("The service takes long to answer. Waiting.")
            if why and idle >= self._seconds:
                self._ended.set()
            return not self.over

    def again(self, error: ApiError, attempt: int) -> bool:
        """Pause after a failed call, the `attempt`th of its photo; return whether to make it again."""
        refused = error.unsent or isinstance(error, (RateLimited, StorageFull))
        lost = type(error) in (ConnectionFailed, TimedOut) and attempt < _ATTEMPTS
        if not error.can_retry or not (refused or lost) or not self.waits(f"{error} {error.advice}".strip()):
            return False
        self._ended.wait(min(2.0, 0.25 * 2.0**attempt))
        return not self.over

    def _say(self, sentence: str) -> None:
        if sentence not in self._said and not self.over:
            self._said.add(sentence)
            self._write(sentence)

    def _write(self, sentence: str) -> None:
        self._line.clear()
        output.write(sentence, sys.stderr)
        with suppress(OSError):
            sys.stderr.flush()
