"""The same call for many things on a few threads; the first failure stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from apitorch_desktop.utils.errors import Cancelled

T = TypeVar("T")

_THREADS = 4


def run_parallel(things: Sequence[T], work: Callable[[T], None], cancelled: Callable[[], bool] | None = None) -> None:
    """Call `work` for each; returns when all calls have ended. Raises what the first failed one raised, and Cancelled."""
    stop = Event()

    def one(thing: T) -> None:
        if stop.is_set():
            return
        try:
            if cancelled is not None and cancelled():
                raise Cancelled
            work(thing)
        except BaseException:
            stop.set()
            raise

    if len(things) == 1:
        one(things[0])
        return
    with ThreadPoolExecutor(min(_THREADS, len(things)) or 1, "edit") as pool:
        waiting = [pool.submit(one, thing) for thing in things]
    faults = [future.exception() for future in waiting]
    for fault in faults:
        if fault is not None:
            raise fault
