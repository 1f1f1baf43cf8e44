"""Starts the processes of Review, which compute beside the window."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

THREADS = max(1, (os.cpu_count() or 2) // 2)
"""Threads that multiply matrices in one of the processes."""
_lock = threading.Lock()


def pipe() -> tuple[Connection, Connection]:
    """Return the ends of a pipe: for receiving, and for sending."""
    return get_context("spawn").Pipe(duplex=False)


def start(name: str, target: Callable[..., None], *arguments: object) -> SpawnProcess:
    """Start a process that calls `target`, with few threads for what multiplies matrices; it ends with this one."""
    process = get_context("spawn").Process(target=target, args=arguments, name=name, daemon=True)
    environment = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    environment["PYTHONSAFEPATH"] = "1"  # modules in the current folder must not be imported
    with _lock:
        before = {key: os.environ.get(key) for key in environment}
        os.environ.update(environment)  # read when the process starts, and when it imports numpy
        try:
            process.start()
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
    return process
