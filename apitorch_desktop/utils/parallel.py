"""Parallel calls on a few threads; the first failure stops the others."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from apitorch_desktop.utils.errors import Cancelled

_NICE = 10
T = TypeVar("T")

_THREADS = 4


def run_parallel(
    items: Sequence[T],
    work: Callable[[T], None],
    cancelled: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> None:
    """Call `work` for each item, and return when all calls have ended. Raises Cancelled and the first exception."""
    stop = Event()

    def call(item: T) -> None:
        if stop.is_set():
            return
        try:
            if cancelled is not None and cancelled():
                raise Cancelled
            work(item)
        except BaseException:
            stop.set()
            raise

    if len(items) == 1:
        call(items[0])
        return
    with ThreadPoolExecutor(min(threads or _THREADS, len(items)) or 1, "parallel") as pool:
        futures = [pool.submit(call, item) for item in items]
    for future in futures:
        future.result()


def lower_priority() -> None:
    """Lower the priority of this thread: on Linux each thread has its own, which threads it starts inherit."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
