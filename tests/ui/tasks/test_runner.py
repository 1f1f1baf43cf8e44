import gc
import subprocess
import sys
import threading
import weakref

import pytest
from PySide6.QtCore import QEventLoop, QObject, QThread, QTimer
from PySide6.QtWidgets import QWidget

from apitorch_desktop.ui.tasks import runner
from apitorch_desktop.ui.tasks.runner import Lane, TaskRunner
from apitorch_desktop.utils.errors import Cancelled
from tests.helpers.event_loop import turn, wait_until
from tests.helpers.waiting import PATIENCE


def on_gui_thread(qapp):
    return QThread.currentThread() is qapp.thread()


def test_a_result_arrives_on_the_gui_thread(tasks, qapp):
    seen = []
    tasks.run(
        Lane.INTERACTIVE,
        lambda context: (42, on_gui_thread(qapp)),
        done=lambda result: seen.append((*result, on_gui_thread(qapp))),
    )
    wait_until(lambda: seen)
    assert seen == [(42, False, True)]
    assert tasks.active() == []


def test_an_exception_goes_to_failed_and_nowhere_else(tasks):
    failed, shown = [], []
    tasks.failures.connect(shown.append)
    fault = ValueError("no")

    def job(context):
        raise fault

    tasks.run(Lane.BULK, job, failed=failed.append)
    wait_until(lambda: failed)
    assert failed == [fault]
    assert shown == []


@pytest.mark.parametrize("failed", [None, lambda error: False])
def test_an_exception_nobody_handles_goes_to_the_one_place_that_shows_them(tasks, failed):
    shown = []
    tasks.failures.connect(shown.append)
    fault = OSError("full")

    def job(context):
        raise fault

    tasks.run(Lane.DISK, job, failed=failed)
    wait_until(lambda: shown)
    assert shown == [fault]


def test_with_no_such_place_the_exception_hook_gets_it(tasks, monkeypatch):
    hooked = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: hooked.append(value))

    def job(context):
        raise KeyError("x")

    tasks.run(Lane.DISK, job)
    wait_until(lambda: hooked)
    assert isinstance(hooked[0], KeyError)


def test_a_fault_in_a_callback_is_shown_like_one_in_a_job_and_the_rest_goes_on(tasks):
    shown, done = [], []
    tasks.failures.connect(shown.append)
    tasks.run(Lane.DISK, lambda context: 0, done=lambda zero: 1 / zero)
    tasks.run(Lane.DISK, lambda context: 1, done=done.append)
    wait_until(lambda: done)
    assert [type(fault) for fault in shown] == [ZeroDivisionError]


def test_a_job_that_wants_to_end_the_program_ends_only_itself(tasks):
    failed, done = [], []

    def job(context):
        raise SystemExit(3)

    tasks.run(Lane.KEYRING, job, failed=failed.append, title="read the key")
    tasks.run(Lane.KEYRING, lambda context: "still here", done=done.append)
    wait_until(lambda: done)
    assert "read the key" in str(failed[0])


def test_a_cancelled_job_that_waits_is_never_started(tasks):
    started, gate = [], threading.Event()
    tasks.run(Lane.DISK, lambda context: gate.wait(60))
    waiting = tasks.run(Lane.DISK, lambda context: started.append(1), done=started.append)
    waiting.cancel()
    assert not waiting.active
    done = []
    tasks.run(Lane.DISK, lambda context: None, done=lambda _: done.append(1))
    gate.set()
    wait_until(lambda: done)
    assert started == []


def test_a_running_job_hears_that_it_was_cancelled_and_calls_nobody(tasks):
    running, heard, called = threading.Event(), threading.Event(), []

    def job(context):
        running.set()
        try:
            while True:
                context.wait(0.005)
                context.check()
        except Cancelled:
            heard.set()
            raise

    task = tasks.run(Lane.BULK, job, done=called.append, failed=called.append, progress=called.append)
    wait_until(running.is_set)
    task.cancel()
    task.cancel()
    wait_until(heard.is_set)
    wait_until(lambda: not tasks._tasks)
    assert called == []


def test_waiting_wakes_at_once_when_cancelled(tasks):
    running, woken = threading.Event(), []

    def job(context):
        running.set()
        woken.append(context.wait(60))

    task = tasks.run(Lane.BULK, job)
    wait_until(running.is_set)
    task.cancel()
    wait_until(lambda: woken)
    assert woken == [True]


def test_when_the_owner_is_destroyed_its_tasks_are_cancelled(tasks):
    owner, called, gate = QObject(), [], threading.Event()
    first = tasks.run(Lane.DISK, lambda context: gate.wait(60), done=called.append, owner=owner)
    second = tasks.run(Lane.DISK, lambda context: 2, done=called.append, owner=owner)
    others = []
    tasks.run(Lane.DISK, lambda context: 3, done=others.append)
    owner.deleteLater()
    wait_until(lambda: not first.active and not second.active)
    gate.set()
    wait_until(lambda: others)
    assert called == []


def test_owners_that_come_and_go_at_one_address_are_told_apart(tasks):
    called = []
    for _ in range(300):
        owner = QObject()
        tasks.run(Lane.DISK, lambda context: 1, done=called.append, owner=owner)
        owner.deleteLater()
        owner = None
        turn()
    last = QObject()
    tasks.run(Lane.DISK, lambda context: "last", done=called.append, owner=last)
    wait_until(lambda: "last" in called)
    assert len(tasks._owned) <= 2


def test_job_and_result_are_let_go_on_the_gui_thread(tasks, qapp):
    ends = []

    class Held:
        def __del__(self):
            ends.append(on_gui_thread(qapp))

    def start():
        for _ in range(50):
            held = Held()
            tasks.run(Lane.BULK, lambda context, held=held: Held(), done=lambda result: None)

    start()
    wait_until(lambda: len(ends) >= 100)
    assert ends == [True] * 100


def test_what_an_exception_holds_is_let_go_on_the_gui_thread(tasks, qapp):
    ends = []

    class Held:
        def __del__(self):
            ends.append(on_gui_thread(qapp))

    def job(context):
        held = Held()
        raise ValueError(held)

    for _ in range(50):
        tasks.run(Lane.BULK, job, failed=lambda error: None)
    wait_until(lambda: len(ends) >= 50)
    assert ends == [True] * 50


def test_widgets_in_garbage_are_not_destroyed_by_a_worker(tasks, qapp, qtlog):
    """Python's collector would run on the worker, which makes most of the objects, and the process would die."""
    ends = []

    class Lost(QWidget):
        def __init__(self):
            super().__init__()
            self.itself = self
            self.timer = QTimer(self, interval=5)
            self.timer.start()
            self.destroyed.connect(lambda: ends.append(1))

    gc.collect()
    for _ in range(20):
        Lost()
    done = []

    def job(context):
        kept = [[[number]] for number in range(200_000)]  # far beyond every threshold of the collector
        return len(kept)

    tasks.run(Lane.BULK, job, done=done.append)
    wait_until(lambda: done)
    gc.collect()
    wait_until(lambda: len(ends) == 20)
    assert [record.message for record in qtlog.records] == []  # "Timers cannot be stopped from another thread"


def test_garbage_is_collected_though_pythons_own_collector_rests(tasks):
    assert not gc.isenabled()
    gc.freeze()  # what the other tests left

    class Lost:
        pass

    lost = Lost()
    lost.itself = lost
    watch = weakref.ref(lost)
    del lost
    pile = [[number] for number in range(2000)]
    wait_until(lambda: watch() is None)
    del pile


def test_a_heap_too_large_to_look_through_at_once_is_set_aside(tasks):
    before = gc.get_freeze_count()
    pile = [[number] for number in range(runner.MOST)]
    wait_until(lambda: gc.get_freeze_count() >= before + len(pile))
    tasks.shutdown()


def test_one_object_with_very_many_references_is_set_aside_too(tasks):
    wait_until(lambda: not gc.get_count()[0] > runner.MOST)
    before = gc.get_freeze_count()
    long = [str(number) for number in range(runner.MOST_REFERENCES + 1)]
    pile = [[number] for number in range(gc.get_threshold()[0])]
    wait_until(lambda: gc.get_freeze_count() >= before + len(pile))
    assert len(gc.get_objects(generation=0)) < len(long)
    tasks.shutdown()


@pytest.mark.parametrize("was_on", [True, False])
def test_pythons_collector_is_afterwards_as_it_was(qapp, was_on):
    (gc.enable if was_on else gc.disable)()
    try:
        tasks = TaskRunner()
        assert not gc.isenabled()
        tasks.shutdown()
        assert gc.isenabled() is was_on
    finally:
        gc.disable()


def test_progress_is_thinned_out_but_the_last_always_arrives(tasks):
    told, done = [], []

    def job(context):
        for number in range(20_000):
            context.progress(number)

    tasks.run(Lane.BULK, job, progress=told.append, done=lambda _: done.append(list(told)))
    wait_until(lambda: done)
    assert told[-1] == 19_999
    assert done[0][-1] == 19_999, "progress comes before done"
    assert told == sorted(told)
    assert len(told) < 2000


def test_thousands_of_posts_arrive_all_and_in_order_while_the_window_lives(tasks):
    got, beats = [], []
    timer = QTimer(interval=5)
    timer.timeout.connect(lambda: beats.append(len(got)))
    timer.start()
    done = []

    def job(context):
        for number in range(30_000):
            context.post(number)

    tasks.run(Lane.BULK, job, progress=got.append, done=lambda _: done.append(1))
    wait_until(lambda: done)
    timer.stop()
    assert got == list(range(30_000))
    between = [beat for beat in beats if 0 < beat < 30_000]
    assert len(between) >= 1, "the event loop got its turns between the posts"


def test_a_nested_event_loop_in_a_callback_does_not_stop_the_others(tasks):
    order = []

    def ask(_):
        loop = QEventLoop()
        tasks.run(Lane.INTERACTIVE, lambda context: "inner", done=lambda word: (order.append(word), loop.quit()))
        loop.exec()
        order.append("outer")

    tasks.run(Lane.INTERACTIVE, lambda context: None, done=ask)
    wait_until(lambda: "outer" in order)
    assert order == ["inner", "outer"]


def test_lanes_do_not_wait_for_each_other(tasks):
    gate, done = threading.Event(), []
    for _ in range(20):
        tasks.run(Lane.BULK, lambda context: gate.wait(60))
    tasks.run(Lane.INTERACTIVE, lambda context: 1, done=done.append)
    tasks.run(Lane.THUMBNAILS, lambda context: 2, done=done.append)
    wait_until(lambda: len(done) == 2)
    gate.set()


def test_a_higher_priority_starts_first_and_equals_in_order(tasks):
    gate, order = threading.Event(), []
    tasks.run(Lane.DISK, lambda context: gate.wait(60))
    for name, priority in (("a", 0), ("b", 0), ("c", 5), ("d", -1)):
        tasks.run(Lane.DISK, lambda context, name=name: order.append(name), priority=priority)
    gate.set()
    wait_until(lambda: len(order) == 4)
    assert order == ["c", "a", "b", "d"]


def test_shutdown_does_not_wait_for_ever_for_a_job_that_does_not_heed(qapp):
    tasks, gate, called = TaskRunner(), threading.Event(), []
    running = threading.Event()

    def deaf(context):
        running.set()
        gate.wait(60)
        return 1

    task = tasks.run(Lane.BULK, deaf, done=called.append)
    wait_until(running.is_set)
    assert tasks.shutdown(0.1) is False
    assert not task.active
    late = tasks.run(Lane.BULK, lambda context: called.append("late"))
    assert not late.active
    gate.set()
    assert tasks.shutdown(60) is True
    assert called == []


def test_shutdown_ends_a_hundred_waiting_jobs_at_once(qapp):
    tasks, done = TaskRunner(), []
    for _ in range(100):
        tasks.run(Lane.BULK, lambda context: context.wait(60), done=done.append)
    assert tasks.shutdown(60) is True
    assert done == []


_PROGRAM = """
import os, sys, time
from PySide6.QtCore import QCoreApplication, QTimer
from apitorch_desktop.ui.tasks.runner import Lane, TaskRunner
app = QCoreApplication([])
tasks = TaskRunner()
tasks.run(Lane.BULK, lambda context: time.sleep(60) if sys.argv[1] == "deaf" else context.wait(60))
QTimer.singleShot(300, app.quit)
app.exec()
if not tasks.shutdown(0.2):
    print("left", flush=True)
    os._exit(0)
print("ended", flush=True)
"""


@pytest.mark.parametrize(("job", "said"), [("heeds", "ended"), ("deaf", "left")])
def test_the_process_ends_whatever_its_jobs_do(job, said):
    done = subprocess.run([sys.executable, "-c", _PROGRAM, job], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")
