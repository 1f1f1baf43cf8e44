"""Connections whose every wait has an end: a time bound on the whole exchange, and a way to cancel it.

`requests` bounds one `recv`, so a service that drips a byte a minute holds a call for ever, and nothing can end a wait
that has begun. Here each wait on the socket, in either direction, is cut into slices between which `Deadline` is asked.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from http.client import HTTPResponse
from time import monotonic
from typing import Any

from requests.adapters import HTTPAdapter

from apitorch_desktop.api.errors import TimedOut
from apitorch_desktop.utils.errors import Cancelled

_SLICE = 0.1
"""Seconds between two looks at `cancelled`."""
_BUFFER = 128 * 1024
_SLOWEST = 8 * 1024
"""Bytes a second at which a long transfer may go on past the total bound."""


class Deadline:
    """The bounds of the exchange a thread is in. `quiet` and `total` are seconds."""

    def __init__(self) -> None:
        self.start(60, 300, None)

    def start(self, quiet: float, total: float, cancelled: Callable[[], bool] | None) -> None:
        """A new exchange: at most `quiet` between two signs of life, at most `total` in all.

        What moves earns time, a second for 8 KiB: a large image on a slow line gets through, a drip does not.
        """
        self._quiet = quiet
        self._total = total
        self._end = monotonic() + total
        self._moved = 0
        self._cancelled = cancelled

    def bound(self, wait: Callable[[], int], sock: socket.socket) -> int:
        """The bytes that `wait`, one operation on `sock`, has moved. Raises Cancelled or TimedOut."""
        last = self._end + self._moved / _SLOWEST
        end = min(monotonic() + self._quiet, last)
        while True:
            if self._cancelled is not None and self._cancelled():
                raise Cancelled
            left = end - monotonic()
            if left <= 0:
                raise TimedOut(self._late(last))
            sock.settimeout(left if self._cancelled is None else min(left, _SLICE))
            try:
                moved = wait()
            except TimeoutError:
                continue
            self._moved += moved
            return moved

    def _late(self, last: float) -> str:
        if monotonic() >= last:
            return f"The service did not finish within {self._total:.0f} seconds."
        return f"The service was silent for {self._quiet:.0f} seconds."


class DeadlineAdapter(HTTPAdapter):
    """Makes connections that heed a watch; for one thread, as the watch is."""

    def __init__(self, watch: Deadline) -> None:
        self._watch = watch
        self._classes: dict[type, type] = {}
        super().__init__(pool_connections=4, pool_maxsize=2, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool for a request, as `requests` asks for it."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        made = pool.ConnectionCls
        if made not in self._classes.values():
            if made not in self._classes:
                self._classes[made] = _bounded(made, self._watch)
            pool.ConnectionCls = self._classes[made]
        return pool


class _SocketStream(io.RawIOBase):
    """What a socket receives, as a stream."""

    def __init__(self, sock: socket.socket, watch: Deadline) -> None:
        self._sock = sock
        self._keep = sock.makefile("rb", buffering=0)  # holds the descriptor open until the response is done with it
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._watch.bound(lambda: self._sock.recv_into(buffer), self._sock)

    def close(self) -> None:
        if not self.closed:
            self._keep.close()
        super().close()


class _SocketOpener:
    """The one method of a socket that `HTTPResponse` calls."""

    def __init__(self, sock: socket.socket, watch: Deadline) -> None:
        self._sock = sock
        self._watch = watch

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_SocketStream(self._sock, self._watch), _BUFFER)


def _bounded(base: Any, watch: Deadline) -> Any:
    class Response(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(_SocketOpener(sock, watch), *args, **kwargs)  # type: ignore[arg-type]

    class Bounded(base):  # type: ignore[misc]
        response_class = Response

        def send(self, data: Any) -> None:
            if self.sock is None and self.auto_open:
                self.connect()
            if self.sock is None or not isinstance(data, (bytes, bytearray, memoryview)):
                super().send(data)
                return
            left = memoryview(data)
            while left:
                left = left[self._some(left) :]

        def _some(self, data: memoryview) -> int:
            return watch.bound(lambda: int(self.sock.send(data)), self.sock)

    return Bounded
