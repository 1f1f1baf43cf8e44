"""Transfer engine: the transfers in memory, and the loop in which worker threads process them.

A transfer belongs to the process that holds its lock file. Its items pass through these steps, which any of the threads
in `work` may take:

    LOCK ──► PREPARE ──► CLAIM ──► PERFORM … ──► FINISH
               ▲           ▲          │
               │           └──────────┤  until no item is waiting
               └──────────────────────┘  an answer was lost, and sending again could make a second image

The journal is written first, then the memory; refreshes take in what other processes wrote.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import count
from threading import Condition, Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, ConnectionFailed, NotFound, RateLimited, StorageFull, WrongKey
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import SourceMissing
from apitorch_desktop.dataset.transfers.downloads import Downloader, NameTaken
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal
from apitorch_desktop.dataset.transfers.model import (
    ENDED,
    Outcome,
    TransferKind,
    TransferMethod,
    TransferMissing,
    TransferRun,
    TransferState,
    TransferStatus,
)
from apitorch_desktop.dataset.transfers.rate_control import RateController
from apitorch_desktop.dataset.transfers.uploads import Uploader
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.files import try_lock
from apitorch_desktop.utils.sqlite import FileError
from apitorch_desktop.utils.text import reason

if TYPE_CHECKING:
    from filelock import BaseFileLock

_NOTIFY_INTERVAL: Final = 0.05
_REFRESH_INTERVAL: Final = 1.0
_CLAIM: Final = 64
_LOW: Final = 16
"""Claimed items at which the next are claimed, so that threads need not wait for the journal."""
_FLUSH_AFTER: Final = 0.1
_LOCK_INTERVAL: Final = 2.0
_MAX_ATTEMPTS: Final = 20
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


class _ConnectionMissing(ApiError):  # noqa: N818 - named for what happened
    advice = "Add it again, then resume; or cancel."


class _EngineStep(Enum):
    LOCK = "lock"
    PREPARE = "prepare"
    CLAIM = "claim"
    FINISH = "finish"
    PERFORM = "perform"


class TransferEngine:
    """The transfers in memory, and what the threads in `work` do with them. Thread-safe.

    `condition` guards `runs` and is notified of every change; nobody holds it while waiting for the disk or the network.
    """

    def __init__(self, journal: TransferJournal, client_for: Callable[[str], ApiClient]) -> None:
        self.condition = Condition()
        self.runs: dict[int, TransferRun] = {}
        self._commands = Lock()
        """Held while the state of a transfer changes, in the journal and then in memory."""
        self._journal = journal
        self._client_for = client_for
        self._archives = Archives()
        self._rates: dict[str, RateController] = {}
        self._unreported: set[int] = set()
        self._removals_unreported = False
        self._listeners: list[tuple[Callable[[TransferStatus], None], Callable[[], object]]] = []
        self._sequence = count(1)
        self._version = -1
        self._refresh_at = 0.0

    def close(self) -> None:
        """Write all results to the journal and release the locks."""
        for run in list(self.runs.values()):
            self.return_claimed(run)
            self.flush(run)
            self.release(run)
        self._archives.close()

    # --- the transfers in memory

    def load(self) -> None:
        """Read the journal, the first time."""
        if self._version < 0:
            self.refresh()

    def refresh(self, *, force: bool = True) -> None:
        """Take in what this and other processes wrote into the journal; without `force` at most once a second."""
        if not force and monotonic() < self._refresh_at:
            return
        with self._commands:
            self._refresh_at = monotonic() + _REFRESH_INTERVAL
            version = self._journal.changed_elsewhere()
            if not force and version == self._version:
                return
            self._version = version
            entries = self._journal.entries()
            tallies = {
                entry.id: self._journal.tallies(entry.id)
                for entry in entries
                if (run := self.runs.get(entry.id)) is None
                or (run.lock is None and not (entry.state == run.entry.state and entry.state in ENDED))
            }
            with self.condition:
                known, self.runs = self.runs, {}
                for entry in entries:
                    run = known.get(entry.id)
                    if run is None:
                        run = TransferRun(entry, tallies[entry.id])
                    elif run.lock is None and entry.id in tallies:
                        run.load(entry, tallies[entry.id])
                    elif run.lock is not None and run.active != (entry.state == TransferState.WAITING):
                        run.state, run.note = TransferState(entry.state), entry.note  # e.g. paused by another process
                    run.entry = entry
                    self.runs[entry.id] = run
                self._unreported |= tallies.keys()
                removed = [run for run in known.values() if run.id not in self.runs]
                for run in removed:  # another process has ended and forgotten it
                    run.state, self._removals_unreported = TransferState.CANCELLED, True
            for run in removed:
                self.release(run)

    def run(self, transfer: int) -> TransferRun:
        """Return a transfer. Raises TransferMissing."""
        self.load()
        with self.condition:
            if (run := self.runs.get(transfer)) is None:
                raise TransferMissing
            return run

    def status(self, transfer: int) -> TransferStatus:
        """Return the status of a transfer. Raises TransferMissing."""
        run = self.run(transfer)
        with self.condition:
            return run.status(next(self._sequence))

    def snapshot(self) -> tuple[int, list[TransferStatus]]:
        """Return all statuses with their common sequence: larger than that of every status taken before."""
        with self.condition:
            sequence = next(self._sequence)
            return sequence, [run.status(sequence) for run in self.runs.values()]

    def acquire(self, transfer: int) -> "BaseFileLock | None":
        """Lock a transfer for this process; return None while another process works on it."""
        return try_lock(self._journal.folder / "locks" / f"{transfer}.lock")

    def release(self, run: TransferRun) -> None:
        """Release the lock of a transfer."""
        lock, run.lock, run.prepared = run.lock, None, False
        if lock is not None:
            lock.release()

    def add(self, transfer: int, lock: "BaseFileLock | None") -> None:
        """Take up a transfer that this process has just added to the journal."""
        self.refresh()
        with self.condition:
            self.runs[transfer].lock = lock
        self._report(transfer)

    @contextmanager
    def command(self, transfer: int) -> Iterator[TransferRun]:
        """Yield a transfer to be changed, in the journal first, and notify the listeners. Raises TransferMissing."""
        self.load()
        with self._commands:
            yield self.run(transfer)
        self._report(transfer)

    def add_listener(
        self, changed: Callable[[TransferStatus], None], removed: Callable[[], object]
    ) -> Callable[[], None]:
        """See `TransferQueue.add_listener`."""
        listener = (changed, removed)
        with self.condition:
            self._listeners.append(listener)

        def remove() -> None:
            with self.condition, suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    def _report(self, transfer: int) -> None:
        with self.condition:
            self._unreported.add(transfer)
            self.condition.notify_all()
        self._notify(force=True)

    def _notify(self, *, force: bool = False) -> None:
        """Notify the listeners of changes, in the queue's order; without `force` at most once in `_NOTIFY_INTERVAL` each."""
        now = monotonic()
        with self.condition:
            due = [
                run
                for run in self.runs.values()
                if run.id in self._unreported and (force or now - run.notified_at >= _NOTIFY_INTERVAL)
            ]
            for run in due:
                run.notified_at = now
            self._unreported = (self._unreported & self.runs.keys()) - {run.id for run in due}
            statuses = [run.status(next(self._sequence)) for run in due]
            listeners = list(self._listeners)
            has_removals, self._removals_unreported = self._removals_unreported, False
        for changed, removed in listeners:
            for status in statuses:
                changed(status)
            if has_removals:
                removed()

    # --- the loop of a worker thread

    def work(self, cancelled: Callable[[], bool], only: int | None, until_done: bool) -> None:
        """See `TransferQueue.work`."""
        self.load()
        while not cancelled():
            self.refresh(force=False)
            step = self._next(only)
            if not isinstance(step, float):
                self._execute(*step, cancelled)
            elif until_done and not self._is_work_left(only):
                break
            else:
                with self.condition:
                    self.condition.wait(min(step, _NOTIFY_INTERVAL if self._unreported else 0.2))
            self._notify()
        self._notify(force=True)

    def retry_now(self, run: TransferRun) -> None:
        """Let a transfer that waits for its service try again at once."""
        with self.condition:
            self._rate(run).retry_now()
            self.condition.notify_all()

    def _next(self, only: int | None) -> tuple[_EngineStep, TransferRun, list[TransferItem]] | float:
        """Return the next step for a thread, or the seconds until there may be one."""
        soonest = 1.0
        with self.condition:
            for run in self.runs.values():
                if not run.active or run.busy or (only is not None and run.id != only):
                    continue
                step = self._step(run)
                if isinstance(step, float):
                    soonest = min(soonest, step)
                    continue
                items: list[TransferItem] = []
                if step is _EngineStep.PERFORM:
                    items = self._take_claimed(run)
                elif step is _EngineStep.CLAIM:
                    run.claiming = True
                    run.flushing += 1  # nothing is finished or prepared again meanwhile
                else:
                    run.busy = True
                if step in (_EngineStep.PERFORM, _EngineStep.PREPARE):
                    self._rate(run).in_flight += 1
                if step is not _EngineStep.LOCK:
                    self._unreported.add(run.id)
                return step, run, items
        return soonest

    def _take_claimed(self, run: TransferRun) -> list[TransferItem]:
        """Take the next claimed item, and those of its bundle; one that failed before goes alone."""
        items = [run.claimed.popleft()]
        while (
            run.method is not None
            and run.claimed
            and not run.attempts[items[0].id]
            and not run.attempts[run.claimed[0].id]
            and run.method.fits_bundle(items, run.claimed[0])
        ):
            items.append(run.claimed.popleft())
        run.in_flight |= dict.fromkeys((item.id for item in items), 0)
        run.calls += 1
        return items

    def _step(self, run: TransferRun) -> _EngineStep | float:
        if run.lock is None:
            return max(0.0, run.lock_at - monotonic()) or _EngineStep.LOCK
        if not run.prepared:
            delay = float("inf") if run.in_flight or run.flushing else self._rate(run).delay()
            return delay or _EngineStep.PREPARE
        low = _LOW if self._claim_size(run) > _LOW else 0
        if not (run.all_claimed or run.claiming) and len(run.claimed) <= low:
            return _EngineStep.CLAIM
        if run.claimed and run.method is not None and run.calls >= run.method.max_parallel:
            return float("inf")
        if run.claimed:
            return self._rate(run).delay() or _EngineStep.PERFORM
        return float("inf") if run.in_flight or run.flushing else _EngineStep.FINISH

    def _claim_size(self, run: TransferRun) -> int:
        return 1 if run.method is None or run.method.verifies_lost else _CLAIM

    def _is_work_left(self, only: int | None) -> bool:
        with self.condition:
            return any(
                run.active and not run.locked_elsewhere for run in self.runs.values() if only is None or run.id == only
            )

    # --- the steps

    def _execute(
        self, step: _EngineStep, run: TransferRun, items: list[TransferItem], cancelled: Callable[[], bool]
    ) -> None:
        try:
            if items:
                self._perform(run, items, cancelled)
            else:
                self._manage(step, run, cancelled)
        except FileError as error:
            self._stop(run, f"{error} Then resume.")

    def _manage(self, step: _EngineStep, run: TransferRun, cancelled: Callable[[], bool]) -> None:
        changed = True
        try:
            if step is _EngineStep.LOCK:
                changed = self._lock(run)
            elif step is _EngineStep.PREPARE:
                self._prepare(run, cancelled)
            elif step is _EngineStep.CLAIM:
                self.flush(run)
                size = self._claim_size(run)
                items = self._journal.claim(run.id, size)
                with self.condition:
                    run.claimed.extend(items)
                    run.all_claimed = len(items) < size
            else:
                self._finish(run)
        finally:
            with self.condition:
                if step is _EngineStep.CLAIM:
                    run.claiming = False
                    run.flushing -= 1
                else:
                    run.busy = False
                if changed:
                    self._unreported.add(run.id)
                self.condition.notify_all()

    def _lock(self, run: TransferRun) -> bool:
        """Try to lock a transfer; return whether its status changed by that."""
        lock = self.acquire(run.id)
        changed = lock is not None or not run.locked_elsewhere
        run.locked_elsewhere = lock is None
        run.lock_at = monotonic() + _LOCK_INTERVAL
        self.refresh()  # what another process did before it released the lock
        if run.active:
            run.lock = lock
        elif lock is not None:
            lock.release()
        return changed

    def _prepare(self, run: TransferRun, cancelled: Callable[[], bool]) -> None:
        method: TransferMethod = (
            Downloader(self._journal, run.entry)
            if run.entry.kind == TransferKind.DOWNLOAD
            else Uploader(self._journal, run.entry, self._archives)
        )
        with self._errors_handled(run, None):
            self.flush(run)
            method.prepare(self._client(run), lambda: cancelled() or not run.active)
            tallies = self._journal.tallies(run.id)
            with self.condition:
                self._rate(run).down = False
                run.set_counts(tallies)
                run.method, run.prepared, run.all_claimed, run.note = method, True, False, ""
                run.claimed.clear()
        with self.condition:
            self._rate(run).in_flight -= 1

    def _perform(self, run: TransferRun, items: list[TransferItem], cancelled: Callable[[], bool]) -> None:
        assert run.method is not None  # noqa: S101 - for mypy: it was prepared
        begun, rate = monotonic(), self._rate(run)
        allowed = rate.allowed
        outcomes: Sequence[Outcome]
        try:
            outcomes = run.method.perform(
                self._client(run),
                items,
                lambda item, sent: self._set_progress(run, item, sent),
                lambda: cancelled() or run.state is TransferState.CANCELLED,
            )
        except Exception as error:  # noqa: BLE001 - `_errors_handled` handles every one
            outcomes = [error] * len(items)
        succeeded = False
        for item, outcome in zip(items, outcomes, strict=True):
            with self._errors_handled(run, item):
                if isinstance(outcome, Exception):
                    raise outcome
                with self.condition:
                    succeeded |= run.entry.kind == TransferKind.UPLOAD or outcome.state is ItemState.DONE
                    run.note = ""
                    run.record(item, outcome)
        with self.condition:
            if succeeded:
                rate.succeeded((monotonic() - begun) / len(items))
            rate.in_flight -= 1
            run.calls -= 1
            self._unreported.add(run.id)
            flush_due = (
                run.method.verifies_lost
                or not run.active
                or monotonic() - run.flushed_at > _FLUSH_AFTER
                or len(run.results) >= _CLAIM
            )
            if not (run.active and run.in_flight) or rate.allowed > allowed:
                self.condition.notify_all()
            elif flush_due:  # else this thread takes the next item itself
                self.condition.notify()
        if flush_due:
            self.flush(run)

    def _set_progress(self, run: TransferRun, item: TransferItem, sent: int) -> None:
        with self.condition:
            run.set_progress(item, sent)
            self._unreported.add(run.id)
        self._notify()

    def flush(self, run: TransferRun) -> None:
        """Write the results of items to the journal."""
        with self.condition:
            results, run.results = run.results, []
            run.flushed_at = monotonic()
            run.flushing += 1
        try:
            if results:
                if run.method is not None:
                    run.method.make_durable()
                self._journal.record(results)
        except BaseException:
            with self.condition:
                run.results = results + run.results
            raise
        finally:
            with self.condition:
                run.flushing -= 1
                self.condition.notify_all()

    def return_claimed(self, run: TransferRun) -> None:
        """Let claimed items that nobody has begun wait again; `flush` then writes that to the journal."""
        with self.condition:
            run.results += [ItemResult(item.id, ItemState.WAITING) for item in run.claimed]
            run.claimed.clear()
            run.all_claimed = False

    def _finish(self, run: TransferRun) -> None:
        self.flush(run)
        with self._commands:
            if not run.active:
                return
            state = TransferState.FAILED if run.failed else TransferState.DONE
            run.finished_at = self._journal.set_state(run.id, state, finished=True)
            run.state, run.note = state, ""
        self.release(run)
        self._journal.sweep()

    # --- errors

    @contextmanager
    def _errors_handled(self, run: TransferRun, item: TransferItem | None) -> Iterator[None]:
        """Handle every exception of the block: its item is retried or fails, or the transfer stops."""
        try:
            yield
        except Cancelled:
            self._requeue(run, item, sent=True)
        except ApiError as error:
            self._handle_api_error(run, item, error)
        except (SourceMissing, NameTaken) as error:
            self._fail(run, item, str(error), "Put it right, then retry.")
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._requeue(run, item, sent=False)
                folder = f"The folder “{run.entry.folder}”" if run.entry.folder else "The transfers’ own folder"
                self._stop(run, f"{folder} cannot be written: {reason(error)}. Make room there, then resume.")
            else:
                self._fail(run, item, f"The file cannot be handled: {reason(error)}.", "Put it right, then retry.")
        except Exception as error:  # noqa: BLE001 - a bug must neither end the thread nor be hidden
            self._fail(run, item, f"Something unforeseen went wrong ({type(error).__name__}: {error}).", "Retry.")

    def _handle_api_error(self, run: TransferRun, item: TransferItem | None, error: ApiError) -> None:
        sentence = f"{error} {error.advice}".strip()
        if isinstance(error, (WrongKey, _ConnectionMissing)) or (
            isinstance(error, ConnectionFailed) and not error.can_retry
        ):
            self._requeue(run, item, sent=False)
            self._stop(run, sentence)
        elif isinstance(error, NotFound) and (item is None or run.entry.kind == TransferKind.UPLOAD):
            self._requeue(run, item, sent=False)
            again = ", then import the photos into another one" if run.entry.kind == TransferKind.UPLOAD else ""
            self._stop(run, f"The training set is not there any more. Cancel this{again}.")
        elif not error.can_retry:
            self._fail(run, item, str(error), error.advice)
        else:
            with self.condition:
                if isinstance(error, RateLimited):
                    self._rate(run).limited(error.retry_after)
                else:
                    self._rate(run).failed(10.0 if isinstance(error, StorageFull) else error.retry_after)
                run.note = sentence
            if item is not None and not self._should_retry(run, item, error):
                self._fail(run, item, str(error), error.advice)
            else:
                self._requeue(run, item, sent=not (error.unsent or isinstance(error, (RateLimited, StorageFull))))

    def _should_retry(self, run: TransferRun, item: TransferItem, error: ApiError) -> bool:
        """Return False for an item that alone fails again and again, at a service that answers."""
        if error.unsent or isinstance(error, (RateLimited, StorageFull)):
            return True
        run.attempts[item.id] += 1 if isinstance(error, ConnectionFailed) else 4
        if run.attempts[item.id] < _MAX_ATTEMPTS:
            return True
        try:
            self._client(run).ping()
        except ApiError:
            return True
        return False

    def _requeue(self, run: TransferRun, item: TransferItem | None, *, sent: bool) -> None:
        """Let an item be tried again: after another `prepare` where it may have been sent, and that could matter."""
        if item is None:
            return
        with self.condition:
            run.in_flight.pop(item.id, None)
            if sent and run.method is not None and run.method.verifies_lost:
                run.prepared = False
            else:
                run.claimed.append(item)

    def _fail(self, run: TransferRun, item: TransferItem | None, sentence: str, advice: str) -> None:
        if item is None:
            self._stop(run, f"{sentence} {advice}".strip())
            return
        with self.condition:
            run.record(item, ItemResult(item.id, ItemState.FAILED, reason=sentence, advice=advice))

    def _stop(self, run: TransferRun, note: str) -> None:
        with self._commands:
            if run.active:
                with suppress(FileError):
                    self._journal.set_state(run.id, TransferState.STOPPED, note)
                run.state, run.note = TransferState.STOPPED, note

    def _client(self, run: TransferRun) -> ApiClient:
        try:
            return self._client_for(run.entry.connection)
        except (LookupError, NotFound):
            raise _ConnectionMissing("The connection of this transfer is not there any more.") from None

    def _rate(self, run: TransferRun) -> RateController:
        return self._rates.setdefault(run.entry.connection, RateController())
