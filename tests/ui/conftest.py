"""Fixtures of the window's tests; every test here fails if it leaves a lane's thread, a window or a running timer behind."""

import gc
import time
from pathlib import Path

import numpy  # noqa: F401 - loaded first in a lane, its own threads would bear the lane's name
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtWidgets import QApplication
from shiboken6 import Shiboken
from threadpoolctl import ThreadpoolController

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import Lane, TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources
from tests.helpers.app_runner import plain_look
from tests.helpers.grid_driver import Source

_LANES = tuple(f"{lane.value}-" for lane in Lane)
_BLAS = ThreadpoolController().select(user_api="blas")


def _lane_threads():
    """Threads that bear a lane's name, by their id: also what a library (OpenBLAS) keeps that was loaded in a lane."""
    names = {}
    for thread in Path("/proc/self/task").iterdir():
        try:
            name = (thread / "comm").read_text().strip()
        except OSError:
            continue
        if name.startswith(_LANES):
            names[thread.name] = name
    return names


def _timers():
    return {
        id(made): repr(made.parent())
        for made in Shiboken.getAllValidWrappers()
        if isinstance(made, QTimer) and made.isActive() and made.thread().isCurrentThread()
    }


@pytest.fixture(autouse=True)
def nothing_left_alive(qapp, qtlog):
    """What a test starts, it ends, and Qt has nothing to say about it."""
    with _BLAS.limit(limits=1):
        pass  # a fork ended its threads: they begin anew here, not in a lane, whose name they would bear
    timers, threads = _timers(), _lane_threads()
    yield
    said = [f"{record.type_name}: {record.message}" for record in qtlog.records if not record.ignored]
    assert not said, said
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    windows = [repr(widget) for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    assert not windows, f"left open: {windows}"
    end = time.monotonic() + 20  # a thread that has ended is still seen for a moment
    while not _lane_threads().keys() <= threads.keys() and time.monotonic() < end:
        time.sleep(0.001)
    left_running = [name for thread, name in _lane_threads().items() if thread not in threads]
    assert not left_running, f"a lane's thread is left running: call Tasks.shutdown ({left_running})"
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
