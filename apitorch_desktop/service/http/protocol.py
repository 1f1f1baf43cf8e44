"""The HTTP protocol below the application: time limits, a limit of connections, and errors in JSON."""

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http.errors import HttpError

HANDSHAKE_TIMEOUT = 5.0
"""Seconds until a connection without a completed TLS handshake is closed."""
_LAST_BYTES = 1.0
"""Seconds that an idle connection has at the end of the service to take what was sent, and to answer the end of TLS."""
_LOG_INTERVAL = 60.0
_KEEP_ALIVE = 30
_OTHER_DESCRIPTORS = 256
_MAX_DESCRIPTORS = 2**16
_log = logging.getLogger(__name__)


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


class RareLog:
    """Logs one message a minute at most, so that a flood of its causes does not become one of lines."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        self._logger = logger
        self._level = level
        self._logged_at = -_LOG_INTERVAL

    def __call__(self, message: str, *values: object) -> None:
        """Log the message, or drop it."""
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            self._logger.log(self._level, message, *values)


class HttpConnection(Protocol):
    """A connection as the limiter knows it."""

    def disconnect(self) -> None:
        """End the connection at once."""


class ConnectionLimiter:
    """Limits the open connections of one server, from their accept; keeps the idle ones in the order they became idle."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._max_connections = max(8, min(limits.connections, _descriptor_limit() - _OTHER_DESCRIPTORS))
        self._idle: dict[HttpConnection, None] = {}
        self._count = 0
        self._log = RareLog(_log, logging.WARNING)

    def add(self) -> None:
        """Register a connection; close the longest-idle one when over the limit."""
        self._count += 1
        if self._count > self._max_connections and self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.disconnect()
            self._log("more than %d connections are open: the longest-idle are closed", self._max_connections)

    def remove(self, connection: HttpConnection) -> None:
        """Unregister a connection."""
        self._count -= 1
        self._idle.pop(connection, None)

    def mark_idle(self, connection: HttpConnection) -> None:
        """Register that the connection waits for a request."""
        self._idle.pop(connection, None)
        self._idle[connection] = None

    def mark_busy(self, connection: HttpConnection) -> None:
        """Register that the connection has a request."""
        self._idle.pop(connection, None)


class TlsGate(asyncio.Protocol):
    """An accepted connection until its TLS handshake is complete; then `factory` makes the protocol that takes over.

    asyncio's own server makes the protocol known only after the handshake, when silent connections may have used up all
    descriptors.
    """

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext, limiter: ConnectionLimiter
    ) -> None:
        self._factory = factory
        self._context = context
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol. Called at the accept."""
        transport.pause_reading()  # the bytes of the handshake are not for this protocol
        self._transport = transport
        self._limiter.mark_idle(self)
        self._limiter.add()
        self._handshake = asyncio.get_running_loop().create_task(self._take_over(transport))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. The first request may arrive together with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._lost = True

    def disconnect(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _take_over(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secure = await loop.start_tls(
                _HandshakeTransport(transport),  # type: ignore[arg-type]
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            )
        except (OSError, ValueError):  # no TLS, too slow, or gone
            return
        finally:
            self._limiter.remove(self)
        if secure is None or self._lost:
            return
        protocol = self._factory()
        secure.set_protocol(protocol)
        protocol.connection_made(secure)
        for data in self._early:
            protocol.data_received(data)


def _error_headers(body: bytes) -> list[tuple[str, str]]:
    return [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("connection", "close"),
    ]


class _HandshakeTransport:
    """A transport that answers a request without TLS, where asyncio would close the connection without a word."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _force_close(self, error: Exception | None) -> None:
        """End the connection, as asyncio asks its own transports to."""
        if getattr(error, "reason", "") != "HTTP_REQUEST":
            self._transport._force_close(error)  # type: ignore[attr-defined]
            return
        body = HttpError(400, "This service is reached by https: begin its address with https://.").body()
        lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in _error_headers(body)), "\r\n"]
        self._transport.write("\r\n".join(lines).encode() + body)
        self._transport.close()


class _JoiningTransport:
    """A transport that sends the head of a response together with what follows it at once: the body of a short one.

    uvicorn writes the two one after another, and each write is a call of the system and a packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send bytes; a head waits until the end of this turn of the event loop."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1."):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close. A second close would cut asyncio's TLS transport off from its connection."""
        self._flush()
        if not self._transport.is_closing():
            self._transport.close()

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return len(self._head) + self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


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
        super().connection_made(_JoiningTransport(transport, self.loop))  # type: ignore[arg-type]
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

    def shutdown(self) -> None:
        """See H11Protocol. The end of a TLS connection would wait 30 s for a client that does not answer it."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(_LAST_BYTES, self._abort_if_sent)

    def _abort_if_sent(self) -> None:
        if not self.transport.get_write_buffer_size():
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """See H11Protocol. Called while the error of h11 is handled, which says what is wrong with the request."""
        error = sys.exception()
        reason = f"{error}".strip(".") if isinstance(error, h11.RemoteProtocolError) else msg.strip(".")
        if getattr(error, "error_status_hint", 400) == 431:
            reason = f"its head is over {self._limits.head // 1024} KiB"
        self._send_error(HttpError(400, f"This is no valid HTTP request ({reason[:200]}). Send HTTP/1.1."))

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
        try:
            head = self.conn.send(h11.Response(status_code=error.status, headers=_error_headers(body)))
            self.transport.write((head or b"") + (self.conn.send(h11.Data(data=body)) or b""))
            self.transport.close()
        except h11.LocalProtocolError:  # a response has started
            self.transport.abort()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
