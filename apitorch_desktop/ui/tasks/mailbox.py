"""What workers leave for the GUI thread: (task id, kind, payload), and one signal that says there is something."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from threading import Lock
from typing import Any

from PySide6.QtCore import QObject, Signal


class PostKind(IntEnum):
    """What is left."""

    PROGRESS = 0
    POST = 1
    DONE = 2
    FAILED = 3


class _Wakeup(QObject):
    rang = Signal()


class Mailbox:
    """What workers leave for the GUI thread. Rings when something comes into the empty box, not at every post."""

    def __init__(self) -> None:
        self.bell = _Wakeup()
        self._lock = Lock()
        self._posts: deque[tuple[int, PostKind, Any]] = deque()
        self._rung = False

    def put(self, post: tuple[int, PostKind, Any]) -> None:
        """Leave something; from any thread."""
        with self._lock:
            self._posts.append(post)
            del post  # else the worker might be the last to let go of what is in it
            if self._rung:
                return
            self._rung = True
        self.bell.rang.emit()

    def take(self) -> tuple[int, PostKind, Any] | None:
        """The oldest thing left, None when the box is empty."""
        with self._lock:
            if self._posts:
                return self._posts.popleft()
            self._rung = False
            return None
