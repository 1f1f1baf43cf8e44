"""Memory of the process."""

import ctypes
import sys
from functools import cache


@cache
def _trim() -> "ctypes._NamedFuncPointer | None":
    """Return glibc's malloc_trim, None where the C library is another."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def return_free_memory() -> None:
    """Return what was freed to the system, after work that took much for a moment: glibc keeps it, for each thread.

    Takes some milliseconds, in which other threads may wait for memory.
    """
    if (trim := _trim()) is not None:
        trim(0)
