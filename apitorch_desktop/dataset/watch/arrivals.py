"""Photos that arrive in a folder, until they are at rest."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from apitorch_desktop.dataset.importer.companions import is_of_program
from apitorch_desktop.dataset.importer.scanner import SUFFIXES, is_hidden, not_plain
from apitorch_desktop.dataset.watch.task import WatchTask
from apitorch_desktop.utils.text import shown

REST: Final = 2.0
"""Seconds for which a file's size and time of change stay the same before it is taken for complete."""
TICK = 1.0
"""Seconds between two looks at what is not at rest yet."""
_SCAN_PAUSE = 30.0
"""Seconds between two scans: shared folders of other machines report no changes. At least 20 times as long as a scan takes."""
AT_ONCE = 16
"""Photos that are handed out at once, at most."""
State = tuple[int, int]
"""Size of a file in bytes and time of its last change in ns."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A photo at rest."""

    path: Path
    state: State


def state_of(path: Path) -> State | None:
    """Return size and time of change of a file, or of that which a link leads to; None for what is no ordinary file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


class Arrivals:
    """Files that were found, until they are at rest and done with."""

    def __init__(self, task: WatchTask) -> None:
        self._task = task
        self._waiting: dict[Path, tuple[State, float]] = {}
        """Path → state at the last look, and from when on the file is ready if that stays so."""
        self._done: dict[Path, State] = {}
        self._dead: set[Path] = set()
        """Links that lead nowhere, which are reported once."""
        self._sentences: list[str] = []

    def scan(self, place: Path) -> None:
        """Note the photos in a folder, or the one that a path leads to.

        A link to a folder is followed as an import does: once, and only where it leads out of the watched folder.
        """
        if place != self._task.folder and not self._is_wanted(place):
            return
        if not place.is_dir():
            self._note(place)
            return
        entered: set[Path] = set()
        if not self._is_entered(place, entered):
            return
        for above, folders, names in os.walk(place, followlinks=True):
            parent = Path(above)
            folders[:] = [
                name
                for name in folders
                if not _is_apart(name)
                and self._task.contains(parent / name)
                and self._is_entered(parent / name, entered)
            ]
            for name in names:
                if not is_hidden(name):
                    self._note(parent / name)

    def ready(self) -> list[Arrival]:
        """Return photos that have been at rest for long enough, at most a few at once; they count as done."""
        found: list[Arrival] = []
        now = monotonic()
        for path, (state, due) in list(self._waiting.items()):
            if len(found) == AT_ONCE:
                break
            if now < due:
                continue
            current = state_of(path)
            if current is None or current == self._done.get(path):
                del self._waiting[path]
            elif current != state:
                self._waiting[path] = (current, now + REST)
            elif not current[0] or _is_being_written(path):
                self._waiting[path] = (current, now + TICK)
            else:
                del self._waiting[path]
                self._done[path] = current
                found.append(Arrival(path, current))
        return found

    def again(self, arrival: Arrival, pause: float) -> None:
        """Have a photo again, after some seconds."""
        self._done.pop(arrival.path, None)
        self._waiting[arrival.path] = (arrival.state, monotonic() + pause)

    def done(self, arrival: Arrival) -> None:
        """Count a photo as done."""
        self._done[arrival.path] = arrival.state

    def forget(self, path: Path) -> None:
        """Forget a photo that has moved: another of the name may come."""
        self._done.pop(path, None)

    def _is_wanted(self, path: Path) -> bool:
        return self._task.contains(path) and not any(map(_is_apart, path.relative_to(self._task.folder).parts))

    def _is_entered(self, folder: Path, entered: set[Path]) -> bool:
        """Return whether a folder is searched; add the target of a link to those that links lead to."""
        if not folder.is_symlink():
            return True
        target = folder.resolve()
        apart = [self._task.folder, *filter(None, [self._task.destination])]
        if target in entered or any(target.is_relative_to(one) or one.is_relative_to(target) for one in apart):
            return False
        entered.add(target)
        return True

    def _note(self, path: Path) -> None:
        if path.suffix.lower() in SUFFIXES and path not in self._waiting:
            state = state_of(path)
            if state is None and path.is_symlink() and path not in self._dead:
                self._dead.add(path)
                self._sentences.append(not_plain(path))
            if state is not None and state != self._done.get(path):
                self._waiting[path] = (state, monotonic() + REST)

    def changes(self, stop: Event, on_state: Callable[[str], object]) -> Generator[None, None, None]:
        """Note what arrives, and yield at least every second, until stopped.

        `on_state` receives a sentence when the folder is away or back, and about each link that leads nowhere.
        """
        import watchfiles  # 30 ms that other commands need not wait for

        folder, away = self._task.folder, False
        while not stop.is_set():
            identity = _identity(folder)
            if identity is None:
                if not away:
                    on_state(f"“{shown(str(folder))}” is not there. Waiting for it.")
                away = True
                stop.wait(TICK)
                continue
            if away:
                on_state(f"“{shown(str(folder))}” is back.")
            away = False
            try:
                found = watchfiles.watch(
                    folder, stop_event=stop, rust_timeout=int(TICK * 1000), yield_on_timeout=True, watch_filter=None,
                    raise_interrupt=False, ignore_permission_denied=True,
                )  # fmt: skip
                self.scan(folder)
                next_scan = 0.0  # again once changes are reported, for what came in between
                with closing(found):
                    for changed in found:
                        if monotonic() >= next_scan:
                            begun = monotonic()
                            self.scan(folder)
                            next_scan = monotonic() + max(_SCAN_PAUSE, 20 * (monotonic() - begun))
                        for change, path in changed:
                            if change is not watchfiles.Change.deleted:
                                self.scan(Path(path))
                        while self._sentences:
                            on_state(self._sentences.pop(0))
                        yield
                        if _identity(folder) != identity:
                            break
            except (OSError, RuntimeError):  # the folder went away, or the system watches no more: scanned instead
                self.scan(folder)
                yield
                stop.wait(TICK)


def _is_apart(name: str) -> bool:
    """Return True for what is hidden, and for the libraries of programs, out of which no photo may be moved."""
    return is_hidden(name) or is_of_program(name)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _is_being_written(path: Path) -> bool:
    """Return True while a program has a file open for writing, as far as the system tells: Linux does, of one's own files.

    A read lease (fcntl(2), F_SETLEASE) is refused then; it is given back at once.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # should a writer come just now: a signal that the process does not care about
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(handle)
    return False
