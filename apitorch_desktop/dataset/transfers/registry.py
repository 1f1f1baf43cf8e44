"""The transfers this process knows: as the journal and other processes have them, and who hears of a change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import Condition, Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from apitorch_desktop.dataset.transfers.journal import TransferJournal
from apitorch_desktop.dataset.transfers.model import ENDED, TransferRun, TransferState, TransferStatus
from apitorch_desktop.utils.files import try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

TELL_EVERY: Final = 0.05
_REFRESH_EVERY: Final = 1.0


class TransferRegistry:
    """The transfers in memory. `ready` guards them and is told of every change; nobody holds it while he waits.

    `commands` is held by whoever changes where a transfer stands, in the journal first and then here.
    """

    def __init__(self, journal: TransferJournal) -> None:
        self.ready = Condition()
        self.commands = Lock()
        self.runs: dict[int, TransferRun] = {}
        self.changed: set[int] = set()
        self._journal = journal
        self._listeners: list[Callable[[TransferStatus], None]] = []
        self._sequence = count(1)
        self._version = -1
        self._refresh_at = 0.0

    def status(self, transfer: int) -> TransferStatus:
        """One transfer as it stands. Raises KeyError."""
        with self.ready:
            return self.runs[transfer].status(next(self._sequence))

    def snapshot(self) -> tuple[int, list[TransferStatus]]:
        """All of them at one moment, and the sequence of that: what was taken before has a smaller one."""
        with self.ready:
            sequence = next(self._sequence)
            return sequence, [run.status(sequence) for run in self.runs.values()]

    def load(self) -> None:
        """Read the journal, the first time."""
        if self._version < 0:
            self.refresh()

    def refresh(self, *, at_once: bool = True) -> None:
        """Take in what was written into the journal, by other processes too; at most once a second, or at once."""
        if not at_once and monotonic() < self._refresh_at:
            return
        with self.commands:
            self._refresh_at = monotonic() + _REFRESH_EVERY
            version = self._journal.changed_elsewhere()
            if not at_once and version == self._version:
                return
            self._version = version
            entries = self._journal.entries()
            news = {
                entry.id: self._journal.tallies(entry.id)
                for entry in entries
                if (run := self.runs.get(entry.id)) is None
                or (run.lock is None and not (entry.state == run.entry.state and entry.state in ENDED))
            }
            with self.ready:
                known, self.runs = self.runs, {}
                for entry in entries:
                    run = known.get(entry.id)
                    if run is None:
                        run = TransferRun(entry, news[entry.id])
                    elif run.lock is None and entry.id in news:
                        run.take(entry, news[entry.id])
                    elif run.lock is not None and run.active != (entry.state == TransferState.WAITING):
                        run.state, run.note = TransferState(entry.state), entry.note  # another process paused it, say
                    run.entry = entry
                    self.runs[entry.id] = run
                self.changed |= news.keys()

    def own(self, transfer: int) -> "BaseFileLock | None":
        """The right to work on a transfer, None while another process has it. It ends with the process at the latest."""
        return try_lock(self._journal.folder / "locks" / f"{transfer}.lock")

    def added(self, transfer: int, lock: "BaseFileLock | None") -> None:
        """Take up a transfer that this process just wrote into the journal."""
        self.refresh()
        with self.ready:
            self.runs[transfer].lock = lock
            self.changed.add(transfer)
            self.ready.notify_all()
        self.tell(at_once=True)

    @contextmanager
    def command(self, transfer: int) -> Iterator[TransferRun]:
        """Change a transfer, in the journal first; listeners hear of it. Raises KeyError."""
        self.load()
        with self.commands:
            yield self.runs[transfer]
        with self.ready:
            self.changed.add(transfer)
            self.ready.notify_all()
        self.tell(at_once=True)

    def add_listener(self, listener: Callable[[TransferStatus], None]) -> Callable[[], None]:
        """See `TransferQueue.add_listener`."""
        with self.ready:
            self._listeners.append(listener)

        def end() -> None:
            with self.ready, suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def tell(self, *, at_once: bool = False) -> None:
        """Tell the listeners what has changed, unless they were told a moment ago."""
        now = monotonic()
        with self.ready:
            due = [
                run
                for transfer in self.changed
                if (run := self.runs.get(transfer)) and (at_once or now - run.told_at >= TELL_EVERY)
            ]
            for run in due:
                run.told_at = now
            self.changed -= {run.id for run in due}
            statuses = [run.status(next(self._sequence)) for run in due]
            listeners = list(self._listeners)
        for status in statuses:
            for listener in listeners:
                listener(status)
