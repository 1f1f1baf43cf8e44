"""Jobs on QThread lanes: plain Python in, callbacks on the GUI thread out; progress, cancel, one way for errors.

A worker never touches a QObject of a task. It leaves (task id, kind, payload) in a mailbox and rings one
signal; the GUI thread empties the mailbox in slices of a few milliseconds, finds the task by its id and
calls back. Job and result are let go on the GUI thread only, so that no widget one of them holds can be
destroyed on a worker.
"""

from __future__ import annotations

import sys
from enum import Enum
from heapq import heappop, heappush
from threading import Condition, Event, Lock
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThread, QTimer, Signal
from shiboken6 import Shiboken

from apitorch_desktop.ui.tasks.gc_timer import GcTimer
from apitorch_desktop.ui.tasks.mailbox import Mailbox, PostKind
from apitorch_desktop.utils.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SLICE = 0.006
"""Seconds the GUI thread gives to callbacks before it turns to input and painting again."""
PROGRESS_INTERVAL = 33
"""Milliseconds between two progress callbacks of a task; what is posted in between, the newest replaces."""


class Lane(Enum):
    """Where a job runs: jobs of one lane never wait for those of another."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    BATCH = "batch"
    THUMBNAILS = "thumbnails"
    KEYRING = "keyring"
    DISK = "disk"
    REVIEW = "review"
    """Waits for Review's own process; the transfers hold the threads of BULK."""
    WATCH = "watch"
    """Jobs that last as long as the window, and wait for news to pass them on; one thread is for the heartbeat."""


_THREADS = {
    Lane.INTERACTIVE: 3,
    Lane.BULK: 4,
    Lane.BATCH: 2,
    Lane.THUMBNAILS: 2,
    Lane.KEYRING: 1,
    Lane.DISK: 1,
    Lane.REVIEW: 1,
    Lane.WATCH: 3,
}


class JobContext:
    """What a job is given: its way to say how far it is, and to hear that it should stop."""

    def __init__(self, task_id: int, mailbox: Mailbox) -> None:
        self._id = task_id
        self._mailbox = mailbox
        self._stop = Event()
        self._lock = Lock()
        self._newest: Any = None
        self._waiting = False

    def progress(self, payload: Any) -> None:
        """Tell the task's `progress` callback; of several within 33 ms the newest arrives, and always the last."""
        with self._lock:
            self._newest = payload
            if self._waiting:
                return
            self._waiting = True
        self._mailbox.put((self._id, PostKind.PROGRESS, None))

    def post(self, payload: Any) -> None:
        """Tell the task's `progress` callback; every payload arrives, in order."""
        self._mailbox.put((self._id, PostKind.POST, payload))

    def cancelled(self) -> bool:
        """Whether the task was cancelled: nobody waits for the result any more."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the task was cancelled."""
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once when the task is cancelled; whether it is."""
        return self._stop.wait(seconds)

    def _take_progress(self) -> tuple[bool, Any]:
        with self._lock:
            waiting, payload = self._waiting, self._newest
            self._waiting, self._newest = False, None
            return waiting, payload


class Task:
    """A job on its way, as the GUI thread sees it."""

    def __init__(self, task_id: int, lane: Lane, title: str, context: JobContext, hub: TaskRunner | None) -> None:
        self.id = task_id
        self.lane = lane
        self.title = title
        self._context = context
        self._hub = hub
        self._job: Callable[[JobContext], Any] | None = None
        self._done: Callable[[Any], Any] | None = None
        self._failed: Callable[[Exception], bool | None] | None = None
        self._progress: Callable[[Any], Any] | None = None
        self._owner: QObject | None = None
        self._owner_key = 0
        self._started = False  # written by the worker under its queue's lock

    @property
    def active(self) -> bool:
        """Whether a callback may still come."""
        return self._hub is not None and not self._context.cancelled()

    def cancel(self) -> None:
        """Ask the job to stop; from now on none of its callbacks is called. Safe at any time and again."""
        self._context._stop.set()
        if self._hub is not None:
            self._hub._forget_callbacks(self)

    def _execute(self) -> tuple[int, PostKind, Any]:
        # On the worker. Nothing here outlives the call, so the last reference to job and result is
        # the GUI thread's.
        try:
            return self.id, PostKind.DONE, self._job(self._context)  # type: ignore[misc]
        except Exception as fault:  # noqa: BLE001 - handed to the GUI thread, whatever it is
            return self.id, PostKind.FAILED, fault
        except BaseException as fault:  # noqa: BLE001 - SystemExit in a job must not end the lane's thread
            return self.id, PostKind.FAILED, RuntimeError(f"The job “{self.title}” ended with {fault!r}.")


class _LaneQueue:
    """A lane's waiting tasks: highest priority first, then the oldest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Task]] = []
        self._ready = Condition()
        self._closed = False
        self.idle = 0

    def put(self, task: Task, priority: float) -> None:
        with self._ready:
            heappush(self._heap, (-priority, task.id, task))
            self._ready.notify()

    def take(self) -> Task | None:
        with self._ready:
            while True:
                while self._heap:
                    task = heappop(self._heap)[2]
                    if not task._context.cancelled():
                        task._started = True
                        return task
                if self._closed:
                    return None
                self.idle += 1
                self._ready.wait()
                self.idle -= 1

    def unstarted(self, task: Task) -> bool:
        """Whether a cancelled task was still waiting; then it will not be started any more."""
        with self._ready:
            return not task._started

    def busy(self) -> bool:
        with self._ready:
            return len(self._heap) > self.idle

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._heap.clear()
            self._ready.notify_all()


class _LaneWorker(QThread):
    def __init__(self, queue: _LaneQueue, mailbox: Mailbox, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self._queue = queue
        self._mailbox = mailbox

    def run(self) -> None:
        while (task := self._queue.take()) is not None:
            self._mailbox.put(task._execute())


class TaskRunner(QObject):
    """Runs jobs on lanes. Made once, in the assembly; made and called on the GUI thread only."""

    failures = Signal(object)
    """An exception nobody handled, for the one place that shows them; unconnected, `sys.excepthook` gets it."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._mailbox = Mailbox()
        self._mailbox.bell.rang.connect(self._drain, Qt.ConnectionType.QueuedConnection)
        self._queues: dict[Lane, _LaneQueue] = {}
        self._workers: dict[Lane, list[_LaneWorker]] = {}
        self._tasks: dict[int, Task] = {}
        self._owned: dict[int, set[int]] = {}
        self._late: set[int] = set()
        self._last_id = 0
        self._closed = False
        self._turn = QTimer(self, interval=0, singleShot=True)
        self._turn.timeout.connect(self._drain)
        self._beat = QTimer(self, interval=PROGRESS_INTERVAL, singleShot=True)
        self._beat.timeout.connect(self._tell_progress)
        self._garbage = GcTimer(self)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.shutdown)

    def run(
        self,
        lane: Lane,
        job: Callable[[JobContext], T],
        *,
        done: Callable[[T], Any] | None = None,
        failed: Callable[[Exception], bool | None] | None = None,
        progress: Callable[[Any], Any] | None = None,
        owner: QObject | None = None,
        title: str = "",
        priority: float = 0,
    ) -> Task:
        """Run `job(context)` on a thread of the lane.

        `done(result)`, `failed(exception)` and `progress(payload)` are called on the GUI thread; after `done`
        or `failed` comes nothing more. An exception goes to `failures` when there is no `failed` or it
        returns False. When `owner` is destroyed the task is cancelled. Higher `priority` starts first.
        After `shutdown` nothing starts: the task returned is a cancelled one.
        """
        self._last_id += 1
        context = JobContext(self._last_id, self._mailbox)
        if self._closed:
            context._stop.set()
            return Task(self._last_id, lane, title, context, None)
        task = Task(self._last_id, lane, title, context, self)
        task._job, task._done, task._failed, task._progress, task._owner = job, done, failed, progress, owner
        self._tasks[task.id] = task
        if owner is not None:
            self._watch(owner, task)
        queue = self._queues.setdefault(lane, _LaneQueue())
        queue.put(task, priority)
        workers = self._workers.setdefault(lane, [])
        if len(workers) < _THREADS[lane] and queue.busy():
            workers.append(_LaneWorker(queue, self._mailbox, f"{lane.value}-{len(workers) + 1}"))
            workers[-1].start()
        return task

    def active(self, lane: Lane | None = None) -> list[Task]:
        """Tasks whose callbacks may still come, oldest first."""
        return [task for task in self._tasks.values() if task.active and lane in (None, task.lane)]

    def shutdown(self, timeout: float = 5) -> bool:
        """Cancel everything and wait for the threads, at most `timeout` seconds in all; whether they ended.

        Where a job does not heed its cancellation the answer is False, and the process should leave by
        `os._exit`: to destroy a running QThread would abort it.
        """
        self._closed = True
        for task in list(self._tasks.values()):
            task.cancel()
        for queue in self._queues.values():
            queue.close()
        end = monotonic() + timeout
        ended = True
        for worker in [worker for workers in self._workers.values() for worker in workers]:
            ended = worker.wait(max(0, round((end - monotonic()) * 1000))) and ended
        self._turn.stop()
        self._beat.stop()
        if ended:
            self._workers.clear()
            while self._mailbox.take():
                pass
            self._tasks.clear()
            self._garbage.end()
        return ended

    # --- on the GUI thread, what the workers left

    def _drain(self) -> None:
        if self._closed:
            return
        self._turn.start()  # runs even while a callback sits in a nested event loop (a dialog)
        deadline = perf_counter() + SLICE
        while (post := self._mailbox.take()) is not None:
            self._deliver(*post)
            del post
            if perf_counter() > deadline:
                return
        self._turn.stop()

    def _deliver(self, task_id: int, kind: PostKind, payload: Any) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            return
        if kind is PostKind.PROGRESS:
            self._late.add(task_id)
            if not self._beat.isActive():
                self._beat.start()
            return
        if kind is PostKind.POST:
            self._call(task, task._progress, payload)
            return
        self._pass_on_progress(task)
        self._tasks.pop(task_id, None)
        self._unwatch(task)
        if kind is PostKind.DONE:
            self._call(task, task._done, payload)
        elif not task._context.cancelled():
            failed = task._failed
            handled = failed is not None and self._call(task, failed, payload) is not False
            if not handled:
                self._report(payload)
        task._hub = None
        task._job = None
        self._forget_callbacks(task)

    def _tell_progress(self) -> None:
        late, self._late = self._late, set()
        for task_id in late:
            if (task := self._tasks.get(task_id)) is not None:
                self._pass_on_progress(task)

    def _pass_on_progress(self, task: Task) -> None:
        waiting, payload = task._context._take_progress()
        if waiting:
            self._call(task, task._progress, payload)

    def _call(self, task: Task, callback: Callable[[Any], Any] | None, payload: Any) -> Any:
        if callback is None or task._context.cancelled():
            return None
        if task._owner is not None and not Shiboken.isValid(task._owner):
            task.cancel()
            return None
        try:
            return callback(payload)
        except Exception as fault:  # noqa: BLE001 - a fault in a callback reaches the person like one in a job
            self._report(fault)
            return None

    def _report(self, fault: Exception) -> None:
        if self.receivers("2failures(PyObject)"):
            self.failures.emit(fault)
        else:
            sys.excepthook(type(fault), fault, fault.__traceback__)

    # --- lifetimes

    def _forget_callbacks(self, task: Task) -> None:
        task._done = task._failed = task._progress = task._owner = None
        if task.id in self._tasks and self._queues[task.lane].unstarted(task):
            self._tasks.pop(task.id)
            self._unwatch(task)
            task._job = None
        if task.id not in self._tasks:
            task._hub = None

    def _watch(self, owner: QObject, task: Task) -> None:
        # One connection an owner, not one a task: it goes with the owner.
        key: int = Shiboken.getCppPointer(owner)[0]
        if key not in self._owned:
            self._owned[key] = set()
            owner.destroyed.connect(lambda: self._owner_gone(key))
        self._owned[key].add(task.id)
        task._owner_key = key

    def _unwatch(self, task: Task) -> None:
        self._owned.get(task._owner_key, set()).discard(task.id)

    def _owner_gone(self, key: int) -> None:
        for task_id in self._owned.pop(key, ()):
            if (task := self._tasks.get(task_id)) is not None:
                task.cancel()
