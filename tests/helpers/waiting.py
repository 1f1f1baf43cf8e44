"""Waiting for a condition, without an event loop of Qt: see `event_loop.wait_until` for one with it."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120
"""Seconds for one step, on a machine that has other things to do as well; a test as a whole has 300."""

Found = TypeVar("Found")


def until(holds: Callable[[], Found], what: str = "it did not come about", seconds: float = PATIENCE) -> Found:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return found
