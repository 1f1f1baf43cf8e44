"""Jobs on worker threads with callbacks on the GUI thread: progress, cancellation, and one place for errors.

A worker never touches a QObject of a task. It puts (task id, kind, payload) into a mailbox and emits one signal. The GUI
thread empties the mailbox in slices of a few milliseconds, finds the task by its id and calls back. Jobs and results are
released on the GUI thread only, so that no widget they refer to is destroyed on a worker.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum, IntEnum
from heapq import heappop, heappush
from threading import Condition, Event, Lock
from time import monotonic, perf_counter
from typing import Any, TypeVar

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThread, QTimer, Signal
from shiboken6 import Shiboken

from apitorch_desktop.utils.errors import Cancelled

INTERVAL = 1000
"""Milliseconds between two checks for enough objects to collect."""
MOST = 20_000
"""Most objects one collection examines: some 3 ms. Start-up alone leaves more than 100,000, modules and classes."""
MOST_REFERENCES = 100_000
"""Most references among them: a list of 100,000 ids is one object, and takes a collection 25 ms."""
_CONTAINERS = frozenset({list, tuple, set, dict})


class GcTimer(QObject):
    """Replaces Python's own collector as long as worker threads may run."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._timer = QTimer(self, interval=INTERVAL)
        self._timer.timeout.connect(self.collect)
        self._timer.start()
        self._was_enabled = gc.isenabled()
        gc.disable()

    def collect(self) -> None:
        """Collect everything if that is quick; else freeze the present objects and collect later ones only.

        Frozen objects are still released when nothing refers to them; only cycles among them stay. They are never
        unfrozen: collecting widgets after their application has ended crashes.
        """
        gc.disable()  # another runner may have ended and enabled it
        new = gc.get_count()[0]
        if new < gc.get_threshold()[0]:
            return
        if new > MOST or self._is_much():  # the count is at hand; to list very many objects takes a while by itself
            gc.freeze()
        else:
            gc.collect()

    def _is_much(self) -> bool:
        objects = [one for generation in range(3) for one in gc.get_objects(generation)]
        references = sum(len(one) for one in objects if type(one) in _CONTAINERS)
        return len(objects) > MOST or references > MOST_REFERENCES

    def end(self) -> None:
        """Restore Python's own collector, once no worker runs any more."""
        self._timer.stop()
        if self._was_enabled:
            gc.enable()


T = TypeVar("T")

SLICE = 0.006
"""Seconds the GUI thread spends on callbacks before it handles input and painting again."""
PROGRESS_INTERVAL = 33
"""Milliseconds between two progress callbacks of a task; only the newest report in between is kept."""


class Lane(Enum):
    """A group of worker threads: jobs of one lane never wait for those of another."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    BATCH = "batch"
    THUMBNAILS = "thumbnails"
    KEYRING = "keyring"
    DISK = "disk"
    REVIEW = "review"
    """Waits for the process of the review; transfers occupy the threads of BULK."""
    CAMERA = "camera"
    """Reads and encodes the camera's pictures, several times a second."""
    FOLDERS = "folders"
    """Watched folders, each of which occupies a thread; those beyond wait for their turn."""
    WATCH = "watch"
    """Long-running jobs that wait for changes and report them; one thread is for the heartbeat."""


_THREADS = {
    Lane.INTERACTIVE: 3,
    Lane.BULK: 4,
    Lane.BATCH: 2,
    Lane.THUMBNAILS: 2,
    Lane.KEYRING: 1,
    Lane.DISK: 1,
    Lane.REVIEW: 1,
    Lane.CAMERA: 1,
    Lane.FOLDERS: 16,
    Lane.WATCH: 5,
}


class PostKind(IntEnum):
    """Kind of a message from a worker."""

    PROGRESS = 0
    POST = 1
    DONE = 2
    FAILED = 3


Post = tuple[int, PostKind, Any]
"""(task id, kind, payload)"""


class Mailbox(QObject):
    """Queue of posts from workers to the GUI thread. `filled` is emitted for the first post of an empty queue only."""

    filled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._posts: deque[Post] = deque()
        self._notified = False

    def put(self, post: Post) -> None:
        """Append a post; thread-safe."""
        with self._lock:
            self._posts.append(post)
            del post  # else the worker might release the payload last
            if self._notified:
                return
            self._notified = True
        self.filled.emit()

    def take(self) -> Post | None:
        """Remove and return the oldest post, None when the queue is empty."""
        with self._lock:
            if self._posts:
                return self._posts.popleft()
            self._notified = False
            return None


class JobContext:
    """A job's means to report progress and to check for cancellation."""

    def __init__(self, task_id: int, mailbox: Mailbox) -> None:
        self._id = task_id
        self._mailbox = mailbox
        self._stop = Event()
        self._lock = Lock()
        self._newest: Any = None
        self._waiting = False

    def progress(self, payload: Any) -> None:
        """Report to the task's `progress` callback; of several reports within 33 ms the newest arrives, and always the last."""
        with self._lock:
            self._newest = payload
            if self._waiting:
                return
            self._waiting = True
        self._mailbox.put((self._id, PostKind.PROGRESS, None))

    def post(self, payload: Any) -> None:
        """Report to the task's `progress` callback; every payload arrives, in order."""
        self._mailbox.put((self._id, PostKind.POST, payload))

    def cancelled(self) -> bool:
        """Return True once the task is cancelled: its result is not needed any more."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the task is cancelled."""
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> bool:
        """Sleep, but return as soon as the task is cancelled. Return True if it is."""
        return self._stop.wait(seconds)

    def _take_progress(self) -> tuple[bool, Any]:
        with self._lock:
            waiting, payload = self._waiting, self._newest
            self._waiting, self._newest = False, None
            return waiting, payload


class Task:
    """A job that was started, as the GUI thread sees it."""

    def __init__(self, task_id: int, lane: Lane, title: str, context: JobContext, runner: TaskRunner | None) -> None:
        self.id = task_id
        self.lane = lane
        self.title = title
        self._context = context
        self._runner = runner
        self._job: Callable[[JobContext], Any] | None = None
        self._done: Callable[[Any], Any] | None = None
        self._failed: Callable[[Exception], bool | None] | None = None
        self._progress: Callable[[Any], Any] | None = None
        self._owner: QObject | None = None
        self._owner_key = 0
        self._started = False  # written by the worker under its queue's lock

    @property
    def active(self) -> bool:
        """True while a callback may still come."""
        return self._runner is not None and not self._context.cancelled()

    def cancel(self) -> None:
        """Ask the job to stop; none of its callbacks is called any more. Safe to call at any time and repeatedly."""
        self._context._stop.set()
        if self._runner is not None:
            self._runner._forget_callbacks(self)

    def _execute(self) -> Post:
        # Runs on the worker. No reference outlives the call, so the GUI thread releases job and result.
        try:
            return self.id, PostKind.DONE, self._job(self._context)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - passed on to the GUI thread, whatever it is
            return self.id, PostKind.FAILED, error
        except BaseException as error:  # noqa: BLE001 - SystemExit in a job must not end the lane's thread
            return self.id, PostKind.FAILED, RuntimeError(f"The job “{self.title}” ended with {error!r}.")


class _LaneQueue:
    """The waiting tasks of a lane: highest priority first, then oldest first."""

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
        """Return True for a cancelled task that was still waiting; it will not be started any more."""
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
    """Runs jobs on lanes. The program has one, created and used on the GUI thread only."""

    failures = Signal(object)
    """An unhandled exception, to be shown to the user; while unconnected, `sys.excepthook` receives it."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._mailbox = Mailbox()
        self._mailbox.filled.connect(self._drain, Qt.ConnectionType.QueuedConnection)
        self._queues: dict[Lane, _LaneQueue] = {}
        self._workers: dict[Lane, list[_LaneWorker]] = {}
        self._tasks: dict[int, Task] = {}
        self._owned: dict[int, set[int]] = {}
        self._with_progress: set[int] = set()
        self._last_id = 0
        self._closed = False
        self._resume = QTimer(self, interval=0, singleShot=True)
        self._resume.timeout.connect(self._drain)
        self._progress_timer = QTimer(self, interval=PROGRESS_INTERVAL, singleShot=True)
        self._progress_timer.timeout.connect(self._report_progress)
        self._gc_timer = GcTimer(self)
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

        `done(result)`, `failed(exception)` and `progress(payload)` are called on the GUI thread; `done` or `failed` is
        the last call. An exception goes to `failures` if there is no `failed` or it returns False. The task is cancelled
        when `owner` is destroyed. Higher `priority` starts first. After `shutdown` nothing starts: the returned task is
        cancelled.
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
            self._link_owner(owner, task)
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
        """Cancel all tasks and wait at most `timeout` seconds for the threads. Return False if one is still running.

        That is a job that ignores its cancellation; the process should then exit by `os._exit`, since destroying a
        running QThread aborts it.
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
        self._resume.stop()
        self._progress_timer.stop()
        if ended:
            self._workers.clear()
            while self._mailbox.take():
                pass
            self._tasks.clear()
            self._gc_timer.end()
        return ended

    # --- posts, on the GUI thread

    def _drain(self) -> None:
        if self._closed:
            return
        self._resume.start()  # continues even while a callback runs a nested event loop (a dialog)
        deadline = perf_counter() + SLICE
        while (post := self._mailbox.take()) is not None:
            self._deliver(*post)
            del post
            if perf_counter() > deadline:
                return
        self._resume.stop()

    def _deliver(self, task_id: int, kind: PostKind, payload: Any) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            return
        if kind is PostKind.PROGRESS:
            self._with_progress.add(task_id)
            if not self._progress_timer.isActive():
                self._progress_timer.start()
            return
        if kind is PostKind.POST:
            self._call(task, task._progress, payload)
            return
        self._deliver_progress(task)
        self._tasks.pop(task_id, None)
        self._unlink_owner(task)
        if kind is PostKind.DONE:
            self._call(task, task._done, payload)
        elif not task._context.cancelled():
            failed = task._failed
            handled = failed is not None and self._call(task, failed, payload) is not False
            if not handled:
                self._report(payload)
        task._runner = None
        task._job = None
        self._forget_callbacks(task)

    def _report_progress(self) -> None:
        pending, self._with_progress = self._with_progress, set()
        for task_id in pending:
            if (task := self._tasks.get(task_id)) is not None:
                self._deliver_progress(task)

    def _deliver_progress(self, task: Task) -> None:
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
        except Exception as error:  # noqa: BLE001 - shown to the user like an error in a job
            self._report(error)
            return None

    def _report(self, error: Exception) -> None:
        if self.receivers("2failures(PyObject)"):
            self.failures.emit(error)
        else:
            sys.excepthook(type(error), error, error.__traceback__)

    # --- lifetimes

    def _forget_callbacks(self, task: Task) -> None:
        task._done = task._failed = task._progress = task._owner = None
        if task.id in self._tasks and self._queues[task.lane].unstarted(task):
            self._tasks.pop(task.id)
            self._unlink_owner(task)
            task._job = None
        if task.id not in self._tasks:
            task._runner = None

    def _link_owner(self, owner: QObject, task: Task) -> None:
        # one connection for each owner, not for each task
        key: int = Shiboken.getCppPointer(owner)[0]
        if key not in self._owned:
            self._owned[key] = set()
            owner.destroyed.connect(lambda: self._cancel_owned(key))
        self._owned[key].add(task.id)
        task._owner_key = key

    def _unlink_owner(self, task: Task) -> None:
        self._owned.get(task._owner_key, set()).discard(task.id)

    def _cancel_owned(self, key: int) -> None:
        for task_id in self._owned.pop(key, ()):
            if (task := self._tasks.get(task_id)) is not None:
                task.cancel()
