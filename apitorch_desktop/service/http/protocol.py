"""The HTTP protocol below the application: time limits, a limit of connections, and errors in JSON."""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http.errors import HttpError

_KEEP_ALIVE = 30
_OTHER_DESCRIPTORS = 256
_MAX_DESCRIPTORS = 2**16


def server_config(
    app: ASGIApp,
    limits: Limits,
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> uvicorn.Config:
    """Return the uvicorn configuration for `uvicorn.Server(server_config(app, limits)).run(sockets=[…])`. Sets up no
    logging.
    """
    for name in ("uvicorn.error", "python_multipart"):  # errors of clients do not belong in the log
        logging.getLogger(name).setLevel(logging.ERROR)
    limiter = ConnectionLimiter(limits)
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, limiter=limiter),  # type: ignore[arg-type]  # called like the class
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=limits.head,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )


def _descriptor_limit() -> int:
    """Raise the limit of open files and connections of this process as far as allowed, and return it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MAX_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MAX_DESCRIPTORS
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if wanted > soft:
        with suppress(OSError, ValueError):  # a system may allow less than it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


class ConnectionLimiter:
    """Limits the open connections of one server; keeps the idle ones in the order in which they became idle."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._max_connections = max(8, min(limits.connections, _descriptor_limit() - _OTHER_DESCRIPTORS))
        self._idle: dict[BoundedProtocol, None] = {}
        self._count = 0

    def add(self) -> None:
        """Register a connection; close the longest-idle one when over the limit."""
        self._count += 1
        if self._count > self._max_connections and self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.disconnect()

    def remove(self, connection: "BoundedProtocol") -> None:
        """Unregister a connection."""
        self._count -= 1
        self._idle.pop(connection, None)

    def mark_idle(self, connection: "BoundedProtocol") -> None:
        """Register that the connection waits for a request."""
        self._idle.pop(connection, None)
        self._idle[connection] = None

    def mark_busy(self, connection: "BoundedProtocol") -> None:
        """Register that the connection has a request."""
        self._idle.pop(connection, None)


class BoundedProtocol(H11Protocol):
    """One connection, with time limits for the request head and for a client that does not read its response."""

    def __init__(self, *args: Any, limiter: ConnectionLimiter, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limiter = limiter
        self._limits = limiter.limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._start_head_timer()
        self._limiter.add()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._cancel_timers()
        self._unset_keepalive_if_required()
        self._limiter.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. The first bytes of another request start the time limit of its head."""
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_head_timer()
        super().data_received(data)

    def handle_events(self) -> None:
        """See H11Protocol. A complete head is detected here."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            self._limiter.mark_busy(self)

    def on_response_complete(self) -> None:
        """See H11Protocol. The rest of a body is still read, for a limited time, so that the client gets to read the
        response.
        """
        self._limiter.mark_idle(self)
        if self.conn.their_state is not h11.DONE and self.conn.their_state is not h11.IDLE:
            self._start_head_timer()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See asyncio.Protocol. The client does not read its response."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.silence, self.disconnect)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """See H11Protocol. Disconnects at once, since a close would wait for a client that does not read."""
        self.disconnect()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the message of `HttpError` states what to do
        """See H11Protocol."""
        max_kib = self._limits.head // 1024
        self._send_error(HttpError(400, f"This is no HTTP request, or its head is over {max_kib} KiB. Send HTTP/1.1."))

    def disconnect(self) -> None:
        """End the connection at once."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _start_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self._limits.head_time, self._head_timed_out)
        self._limiter.mark_idle(self)

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._send_error(HttpError(408, "The head of the request came too slowly. Send it again."))
        else:
            self.disconnect()

    def _send_error(self, error: HttpError) -> None:
        body = error.body()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        try:
            head = self.conn.send(h11.Response(status_code=error.status, headers=headers))
            self.transport.write((head or b"") + (self.conn.send(h11.Data(data=body)) or b""))
            self.transport.close()
        except h11.LocalProtocolError:  # a response has started
            self.transport.abort()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
