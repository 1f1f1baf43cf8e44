"""Training in several processes on one database: each takes jobs by leases, and works on what it holds."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from apitorch_desktop.service.storage.coordination import LEASE, JobRepository
from apitorch_desktop.service.storage.errors import Closed, StoreError

_INTERVAL = 1.0  # seconds between two renewals, and at most until a job of a dead process is seen
_PAUSE = 0.1  # seconds between two rounds, however many changes there are
_CAPACITY = 16  # training sets that one process embeds and trains at a time
_TURN = 10.0  # seconds after which a set that has been trained makes room for others, however it changes
_MOST_ATTEMPTS = 5  # at a job that ends the process each time
_PIN_INTERVAL = 10.0  # seconds between two looks at which encoder all processes use
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobProgress:
    """The state of a job; `retry_after` is in seconds, None until the next change.

    `trained`: at least once since it began, and not just now.
    """

    missing: int = 0
    done: bool = False
    trained: bool = False
    failure: str = ""
    retry_after: float | None = None


class JobKeeper:
    """A thread that claims jobs for this process, renews them, and gives them back.

    `begin` starts the work on a training set, or tells that there are changes since; `drop` ends it; `progress` returns
    how it stands. `may_train` is asked before jobs are claimed. All of them return at once, save the last.
    """

    def __init__(
        self,
        jobs: JobRepository,
        *,
        begin: Callable[[int], None],
        drop: Callable[[int], None],
        progress: Callable[[int], JobProgress],
        may_train: Callable[[], bool],
    ) -> None:
        self._jobs = jobs
        self._begin = begin
        self._drop = drop
        self._progress = progress
        self._may_train = may_train
        self._held: dict[int, int] = {}  # changes of each training set that are known here
        self._held_since: dict[int, float] = {}
        self._reported: dict[int, int] = {}
        self._renewed_at = time.monotonic()
        self._pinned_at = -_PIN_INTERVAL
        self._pinned = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="job-keeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread, and leave the jobs to other processes."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def wake(self) -> None:
        """Look for changes now: a training set was changed here or elsewhere, or a job has come further."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_INTERVAL)
            time.sleep(_PAUSE)
            self._wake.clear()
            try:
                self._synchronize()
            except Closed:
                return
            except StoreError as error:
                _log.warning("training waits for the database: %s", error)
                if time.monotonic() > self._renewed_at + LEASE:  # others hold them by now
                    for set_id in list(self._held):
                        self._forget(set_id)
                time.sleep(_INTERVAL)
            except Exception:  # noqa: BLE001 - the thread must go on
                _log.exception("the jobs of this process could not be looked after")
                time.sleep(_INTERVAL)
        try:
            self._jobs.release(list(self._held))
        except StoreError as error:
            _log.warning("the jobs of this process are left to expire: %s", error)

    def _synchronize(self) -> None:
        began = time.monotonic()
        held = self._jobs.renew(list(self._held)) if self._held else {}
        self._renewed_at = began
        for set_id in self._held.keys() - held.keys():
            self._forget(set_id)
        for set_id, changes in held.items():
            if self._has_had_turn(set_id):
                self._jobs.give_back(set_id)
                self._forget(set_id)
            elif changes != self._held[set_id]:
                self._take(set_id, changes)
            else:
                self._settle(set_id)
        if self._stopping or len(self._held) >= _CAPACITY or not self._is_pinned():
            return
        for job in self._jobs.claim(_CAPACITY - len(self._held)):
            if job.attempts > _MOST_ATTEMPTS:
                sentence = f"Training was begun {_MOST_ATTEMPTS} times, and the process ended each time."
                self._jobs.fail(
                    job.training_set_id, job.changes, f"{sentence} It is tried again with the next change.", None
                )
            else:
                self._take(job.training_set_id, job.changes)

    def _has_had_turn(self, set_id: int) -> bool:
        """Return whether a set that changes all the time has been trained, while others may wait."""
        if len(self._held) < _CAPACITY or time.monotonic() < self._held_since[set_id] + _TURN:
            return False
        progress = self._progress(set_id)
        return progress.trained and not progress.done and not progress.failure

    def _take(self, set_id: int, changes: int) -> None:
        self._held_since.setdefault(set_id, time.monotonic())
        self._held[set_id] = changes
        self._begin(set_id)

    def _settle(self, set_id: int) -> None:
        """Give a job back that is done or has failed; report what is left of another."""
        progress, changes = self._progress(set_id), self._held[set_id]
        if progress.failure:
            if self._jobs.fail(set_id, changes, progress.failure, progress.retry_after):
                self._forget(set_id)
        elif progress.done:
            if self._jobs.finish(set_id, changes):
                self._forget(set_id)
        elif self._reported.get(set_id, 0) != progress.missing:
            self._jobs.report(set_id, progress.missing)
            self._reported[set_id] = progress.missing

    def _forget(self, set_id: int) -> None:
        self._held.pop(set_id, None)
        self._held_since.pop(set_id, None)
        self._reported.pop(set_id, None)
        self._drop(set_id)

    def _is_pinned(self) -> bool:
        if time.monotonic() > self._pinned_at + _PIN_INTERVAL:
            self._pinned = self._may_train()
            self._pinned_at = time.monotonic()
        return self._pinned
