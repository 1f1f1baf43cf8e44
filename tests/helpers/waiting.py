"""Waiting for a condition, by itself; `event_loop.wait_until` runs the event loop of Qt meanwhile."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120
"""Seconds for one step, on a machine that has other things to do as well; a test as a whole has 300."""

Found = TypeVar("Found")


def until(
    holds: Callable[[], Found],
    what: str = "it did not come about",
    seconds: float = PATIENCE,
    between: Callable[[], object] = lambda: time.sleep(0.01),
    progress: Callable[[], object] = lambda: None,
) -> Found:
    """Wait until a condition holds, and return its value; `between` is called between two looks.

    The `seconds` begin anew whenever `progress` returns another value.
    """
    state, deadline = None, time.monotonic() + seconds
    while not (found := holds()):
        if (now := progress()) != state:
            state, deadline = now, time.monotonic() + seconds
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        between()
    return found
