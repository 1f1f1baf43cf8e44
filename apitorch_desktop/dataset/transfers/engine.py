"""Works transfers off on any number of threads, whatever the network, the service and the machine do meanwhile."""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from time import monotonic
from typing import Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, ConnectionFailed, NotFound, RateLimited, StorageFull, WrongKey
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import SourceMissing
from apitorch_desktop.dataset.transfers.download import Downloader, NameTaken
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal
from apitorch_desktop.dataset.transfers.model import TransferKind, TransferMethod, TransferRun, TransferState
from apitorch_desktop.dataset.transfers.rate_control import RateController
from apitorch_desktop.dataset.transfers.registry import TELL_EVERY, TransferRegistry
from apitorch_desktop.dataset.transfers.upload import Uploader
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.text import reason

_CLAIM: Final = 64
_LOW: Final = 16
"""Items left in the queue when the next are claimed: the threads do not wait for the journal meanwhile."""
_FLUSH_AFTER: Final = 0.1
_OWN_EVERY: Final = 2.0
_MOST_TRIES: Final = 20
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


class _NoConnection(ApiError):  # noqa: N818 - named for what is wrong
    advice = "Add it again, then resume; or cancel."


class _EngineStep(Enum):
    OWN = "own"
    PREPARE = "prepare"
    FILL = "fill"
    FINISH = "finish"
    ITEM = "item"


class TransferEngine:
    """What the threads in `work` do. Thread-safe: all state is in the registry, under its lock."""

    def __init__(
        self, journal: TransferJournal, registry: TransferRegistry, client_for: "Callable[[str], ApiClient]"
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._ready = registry.ready
        self._client_for = client_for
        self._archives = Archives()
        self._paces: dict[str, RateController] = {}

    def work(self, cancelled: Callable[[], bool], only: int | None, until_done: bool) -> None:
        """See `Transfers.work`."""
        self._registry.load()
        while not cancelled():
            self._registry.refresh(at_once=False)
            step = self._next(only)
            if not isinstance(step, float):
                self._do(*step, cancelled)
            elif until_done and not self._left(only):
                break
            else:
                with self._ready:
                    self._ready.wait(min(step, TELL_EVERY if self._registry.changed else 0.2))
            self._registry.tell()
        self._registry.tell(at_once=True)

    def retry_now(self, run: TransferRun) -> None:
        """Try at once."""
        with self._ready:
            self._pace(run).retry_now()
            self._ready.notify_all()

    def close(self) -> None:
        """Write down what is known, and let go of everything."""
        for run in list(self._registry.runs.values()):
            with self._ready:
                run.ended += [ItemResult(item.id, ItemState.WAITING) for item in run.queue]
                run.queue.clear()
                run.exhausted = False
            self.flush(run)
            self.release(run)
        self._archives.close()

    # --- what to do next

    def _next(self, only: int | None) -> tuple[_EngineStep, TransferRun, TransferItem | None] | float:
        """The next step for a thread, or seconds until there may be one."""
        soonest = 1.0
        with self._ready:
            for run in self._registry.runs.values():
                if not run.active or run.busy or (only is not None and run.id != only):
                    continue
                step = self._step(run)
                if isinstance(step, float):
                    soonest = min(soonest, step)
                    continue
                item = None
                if step is _EngineStep.ITEM:
                    item = run.queue.popleft()
                    run.in_flight[item.id] = 0
                elif step is _EngineStep.FILL:
                    run.filling = True
                    run.flushing += 1  # until it is over nothing is finished, nor prepared again
                else:
                    run.busy = True
                if step in (_EngineStep.ITEM, _EngineStep.PREPARE):
                    self._pace(run).in_flight += 1
                if step is not _EngineStep.OWN:
                    self._registry.changed.add(run.id)
                return step, run, item
        return soonest

    def _step(self, run: TransferRun) -> _EngineStep | float:
        if run.lock is None:
            return max(0.0, run.own_at - monotonic()) or _EngineStep.OWN
        if not run.prepared:
            wait = float("inf") if run.in_flight or run.flushing else self._pace(run).wait()
            return wait or _EngineStep.PREPARE
        if not (run.exhausted or run.filling) and len(run.queue) <= (_LOW if self._claims(run) > _LOW else 0):
            return _EngineStep.FILL
        if run.queue and run.method is not None and len(run.in_flight) >= run.method.at_once:
            return float("inf")
        if run.queue:
            return self._pace(run).wait() or _EngineStep.ITEM
        return float("inf") if run.in_flight or run.flushing else _EngineStep.FINISH

    def _claims(self, run: TransferRun) -> int:
        return 1 if run.method is None or run.method.careful else _CLAIM

    def _left(self, only: int | None) -> bool:
        with self._ready:
            return any(
                run.active and not run.elsewhere
                for run in self._registry.runs.values()
                if only is None or run.id == only
            )

    def _do(
        self, step: _EngineStep, run: TransferRun, item: TransferItem | None, cancelled: Callable[[], bool]
    ) -> None:
        try:
            if item is not None:
                self._perform(run, item, cancelled)
            else:
                self._manage(step, run, cancelled)
        except sqlite3.Error as error:
            self._stop(run, f"The journal of transfers cannot be written: {error}. Make room on the disk, then resume.")

    def _manage(self, step: _EngineStep, run: TransferRun, cancelled: Callable[[], bool]) -> None:
        changed = True
        try:
            if step is _EngineStep.OWN:
                changed = self._own(run)
            elif step is _EngineStep.PREPARE:
                self._prepare(run, cancelled)
            elif step is _EngineStep.FILL:
                self.flush(run)
                count = self._claims(run)
                items = self._journal.claim(run.id, count)
                with self._ready:
                    run.queue.extend(items)
                    run.exhausted = len(items) < count
            else:
                self._finish(run)
        finally:
            with self._ready:
                if step is _EngineStep.FILL:
                    run.filling = False
                    run.flushing -= 1
                else:
                    run.busy = False
                if changed:
                    self._registry.changed.add(run.id)
                self._ready.notify_all()

    # --- the steps

    def _own(self, run: TransferRun) -> bool:
        """Begin to work on a transfer, where no other process does; whether anything changed by it."""
        lock = self._registry.own(run.id)
        changed = lock is not None or not run.elsewhere
        run.elsewhere = lock is None
        run.own_at = monotonic() + _OWN_EVERY
        self._registry.refresh()  # what another process did before it let go
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
        with self._trying(run, None):
            self.flush(run)
            method.prepare(self._client(run), lambda: cancelled() or not run.active)
            tallies = self._journal.tallies(run.id)
            with self._ready:
                self._pace(run).down = False
                run.count(tallies)
                run.method, run.prepared, run.exhausted, run.note = method, True, False, ""
                run.queue.clear()
        with self._ready:
            self._pace(run).in_flight -= 1

    def _perform(self, run: TransferRun, item: TransferItem, cancelled: Callable[[], bool]) -> None:
        assert run.method is not None  # noqa: S101 - for mypy: it was prepared
        begun, pace = monotonic(), self._pace(run)
        allowed = pace.allowed
        with self._trying(run, item):
            ended = run.method.perform(
                self._client(run),
                item,
                lambda sent: self._moved(run, item, sent),
                lambda: cancelled() or run.state is TransferState.CANCELLED,
            )
            with self._ready:
                if run.entry.kind == TransferKind.UPLOAD or ended.state is ItemState.DONE:
                    pace.succeeded(monotonic() - begun)
                run.note = ""
                run.end(item, ended)
        with self._ready:
            pace.in_flight -= 1
            self._registry.changed.add(run.id)
            due = (
                run.method.careful
                or not run.active
                or monotonic() - run.flushed_at > _FLUSH_AFTER
                or len(run.ended) >= _CLAIM
            )
            if not (run.active and run.in_flight) or pace.allowed > allowed:
                self._ready.notify_all()
            elif due:  # else this thread takes the place that is free
                self._ready.notify()
        if due:
            self.flush(run)

    def _moved(self, run: TransferRun, item: TransferItem, sent: int) -> None:
        with self._ready:
            run.moved(item, sent)
            self._registry.changed.add(run.id)
        self._registry.tell()

    def flush(self, run: TransferRun) -> None:
        """Write down how items ended."""
        with self._ready:
            ended, run.ended = run.ended, []
            run.flushed_at = monotonic()
            run.flushing += 1
        try:
            if ended:
                if run.method is not None:
                    run.method.make_durable()
                self._journal.record(ended)
        except BaseException:
            with self._ready:
                run.ended = ended + run.ended
            raise
        finally:
            with self._ready:
                run.flushing -= 1
                self._ready.notify_all()

    def _finish(self, run: TransferRun) -> None:
        self.flush(run)
        with self._registry.commands:
            if not run.active:
                return
            state = TransferState.FAILED if run.failed else TransferState.DONE
            run.finished_at = self._journal.set_state(run.id, state, finished=True)
            run.state, run.note = state, ""
        self.release(run)
        self._journal.sweep()

    def release(self, run: TransferRun) -> None:
        """Let other processes have a transfer."""
        lock, run.lock, run.prepared = run.lock, None, False
        if lock is not None:
            lock.release()

    # --- trouble

    @contextmanager
    def _trying(self, run: TransferRun, item: TransferItem | None) -> Iterator[None]:
        """Whatever goes wrong inside has its consequence here, and none beyond."""
        try:
            yield
        except Cancelled:
            self._give_back(run, item, sent=True)
        except ApiError as error:
            self._trouble(run, item, error)
        except (SourceMissing, NameTaken) as error:
            self._fail(run, item, str(error), "Put it right, then retry.")
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._give_back(run, item, sent=False)
                self._stop(run, f"{_where(run)} cannot be written: {reason(error)}. Make room there, then resume.")
            else:
                self._fail(run, item, f"The file cannot be handled: {reason(error)}.", "Put it right, then retry.")
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread, nor be hidden
            self._fail(run, item, f"Something unforeseen went wrong ({type(error).__name__}: {error}).", "Retry.")

    def _trouble(self, run: TransferRun, item: TransferItem | None, error: ApiError) -> None:
        sentence = f"{error} {error.advice}".strip()
        if isinstance(error, (WrongKey, _NoConnection)) or (
            isinstance(error, ConnectionFailed) and not error.can_retry
        ):
            self._give_back(run, item, sent=False)
            self._stop(run, sentence)
        elif isinstance(error, NotFound) and (item is None or run.entry.kind == TransferKind.UPLOAD):
            self._give_back(run, item, sent=False)
            self._stop(run, "The training set is not there any more. Choose another one, or cancel.")
        elif not error.can_retry:
            self._fail(run, item, str(error), error.advice)
        else:
            with self._ready:
                if isinstance(error, RateLimited):
                    self._pace(run).limited(error.retry_after)
                else:
                    self._pace(run).failed(10.0 if isinstance(error, StorageFull) else error.retry_after)
                run.note = sentence
            if item is not None and not self._worth_another(run, item, error):
                self._fail(run, item, str(error), error.advice)
            else:
                self._give_back(run, item, sent=not (error.unsent or isinstance(error, (RateLimited, StorageFull))))

    def _worth_another(self, run: TransferRun, item: TransferItem, error: ApiError) -> bool:
        """Whether to try an item again: not when it alone fails, over and over, at a service that answers."""
        if error.unsent or isinstance(error, (RateLimited, StorageFull)):
            return True
        run.tries[item.id] += 1 if isinstance(error, ConnectionFailed) else 4
        if run.tries[item.id] < _MOST_TRIES:
            return True
        try:
            self._client(run).ping()
        except ApiError:
            return True
        return False

    def _give_back(self, run: TransferRun, item: TransferItem | None, *, sent: bool) -> None:
        """An item is to be tried again; one that may have arrived at a service like API Torch's, after a look."""
        if item is None:
            return
        with self._ready:
            run.in_flight.pop(item.id, None)
            if sent and run.method is not None and run.method.careful:
                run.prepared = False
            else:
                run.queue.append(item)

    def _fail(self, run: TransferRun, item: TransferItem | None, sentence: str, advice: str) -> None:
        if item is None:
            self._stop(run, f"{sentence} {advice}".strip())
            return
        with self._ready:
            run.end(item, ItemResult(item.id, ItemState.FAILED, reason=sentence, advice=advice))

    def _stop(self, run: TransferRun, note: str) -> None:
        with self._registry.commands:
            if run.active:
                with suppress(sqlite3.Error):
                    self._journal.set_state(run.id, TransferState.STOPPED, note)
                run.state, run.note = TransferState.STOPPED, note

    def _client(self, run: TransferRun) -> "ApiClient":
        try:
            return self._client_for(run.entry.connection)
        except (LookupError, NotFound):
            raise _NoConnection("The connection of this transfer is not there any more.") from None

    def _pace(self, run: TransferRun) -> RateController:
        return self._paces.setdefault(run.entry.connection, RateController())


def _where(run: TransferRun) -> str:
    return f"The folder “{run.entry.folder}”" if run.entry.folder else "The transfers’ own folder"
