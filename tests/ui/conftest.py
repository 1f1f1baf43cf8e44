"""Fixtures of the window's tests; every test here fails if it leaves a lane's thread, a window or a running timer behind."""

import gc
import sys
import threading
import time
import traceback

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtWidgets import QApplication
from shiboken6 import Shiboken

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.tasks import runner
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources
from tests.helpers.app_runner import plain_look
from tests.helpers.grid_driver import Source


def _lane_threads():
    """Identifiers of the threads that run a lane's jobs, by what Python runs on them.

    By name there would be others too: the threads that a library (OpenBLAS) begins in a lane, and keeps.
    """
    main = threading.main_thread().ident
    return {
        thread
        for thread, frame in sys._current_frames().items()
        if thread != main and any(one.f_code.co_filename == runner.__file__ for one, _ in traceback.walk_stack(frame))
    }


def _timers():
    return {
        id(made): repr(made.parent())
        for made in Shiboken.getAllValidWrappers()
        if isinstance(made, QTimer) and made.isActive() and made.thread().isCurrentThread()
    }


@pytest.fixture(autouse=True)
def nothing_left_alive(qapp, qtlog):
    """What a test starts, it ends, and Qt has nothing to say about it."""
    timers, threads = _timers(), _lane_threads()
    yield
    said = [f"{record.type_name}: {record.message}" for record in qtlog.records if not record.ignored]
    assert not said, said
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    windows = [repr(widget) for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    assert not windows, f"left open: {windows}"
    end = time.monotonic() + 20  # a thread that has ended is still seen for a moment
    while not _lane_threads() <= threads and time.monotonic() < end:
        time.sleep(0.001)
    left_running = _lane_threads() - threads
    assert not left_running, f"{len(left_running)} threads of lanes are left running: call TaskRunner.shutdown"
    if not _timers().keys() <= timers.keys():
        gc.collect()  # it takes its time, so only where it may matter
    left = {key: parent for key, parent in _timers().items() if key not in timers}
    assert not left, f"timers left running, by parent: {list(left.values())}"


@pytest.fixture
def tasks(qapp):
    tasks = TaskRunner()
    yield tasks
    assert tasks.shutdown(60)
    tasks.deleteLater()


@pytest.fixture
def theme(qapp):
    theme = Theme(resources())
    theme.apply(qapp)
    yield theme
    theme.deleteLater()
    plain_look(qapp)


@pytest.fixture
def source(photos):
    source = Source(photos)
    yield source
    source.gate.set()


@pytest.fixture
def loader(tasks, source):
    loader = ThumbnailLoader(tasks, source, large=source.large)
    yield loader
    loader.clear()
