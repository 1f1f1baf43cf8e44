"""HTTP before the application: uvicorn's protocol with time limits, a cap on connections, and errors in JSON."""

import asyncio
import logging
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
_OTHER_FILES = 256


def server_config(
    app: ASGIApp,
    limits: Limits,
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> uvicorn.Config:
    """What to run uvicorn with: `uvicorn.Server(server_config(app, limits)).run(sockets=[…])`; no logging set up."""
    for name in (
        "uvicorn.error",
        "python_multipart",
    ):  # what clients send wrong they are told; no log is filled with it
        logging.getLogger(name).setLevel(logging.ERROR)
    crowd = ConnectionLimiter(limits)
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, crowd=crowd),  # type: ignore[arg-type]  # called like the class
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


def _descriptors() -> int:
    """How many files and connections this process may have open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 2**16
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**16 if soft == resource.RLIM_INFINITY else soft


class ConnectionLimiter:
    """The open connections of one server; knows which of them wait for a request, longest first."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._most = max(8, min(limits.connections, _descriptors() - _OTHER_FILES))
        self._idle: dict[BoundedProtocol, None] = {}
        self._count = 0

    def enter(self) -> None:
        """Count a new connection in; where there are too many, the one that has been idle longest goes."""
        self._count += 1
        if self._count > self._most and self._idle:
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.drop()

    def leave(self, connection: "BoundedProtocol") -> None:
        """Count a connection out."""
        self._count -= 1
        self._idle.pop(connection, None)

    def rests(self, connection: "BoundedProtocol") -> None:
        """It waits for a request from now on."""
        self._idle.pop(connection, None)
        self._idle[connection] = None

    def works(self, connection: "BoundedProtocol") -> None:
        """It has a request."""
        self._idle.pop(connection, None)


class BoundedProtocol(H11Protocol):
    """One connection. A head has to be whole within `limits.head_time`; a client that takes nothing in is let go."""

    def __init__(self, *args: Any, crowd: ConnectionLimiter, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crowd = crowd
        self._limits = crowd.limits
        self._head: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._await_head()
        self._crowd.enter()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._cancel()
        self._unset_keepalive_if_required()
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. The first bytes of a next head start its time limit."""
        if self._head is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        super().data_received(data)

    def handle_events(self) -> None:
        """See H11Protocol: this is where a head turns out to be whole."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            if self._head is not None:
                self._head.cancel()
                self._head = None
            self._crowd.works(self)

    def on_response_complete(self) -> None:
        """See H11Protocol. What is left of a body is still read, for a while, so that the client gets to the answer."""
        self._crowd.rests(self)
        if self.conn.their_state is not h11.DONE and self.conn.their_state is not h11.IDLE:
            self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client does not take in what it asked for."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self._limits.silence, self.drop)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """See H11Protocol: a close would wait for a client that takes nothing in."""
        self.drop()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says what to do
        """See H11Protocol."""
        most = self._limits.head // 1024
        self._refuse(HttpError(400, f"This is no HTTP request, or its head is over {most} KiB. Send HTTP/1.1."))

    def drop(self) -> None:
        """End the connection at once."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _await_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
        self._head = self.loop.call_later(self._limits.head_time, self._too_slow)
        self._crowd.rests(self)

    def _too_slow(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(HttpError(408, "The head of the request came too slowly. Send it again."))
        else:
            self.drop()

    def _refuse(self, refusal: HttpError) -> None:
        body = refusal.body()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        try:
            head = self.conn.send(h11.Response(status_code=refusal.status, headers=headers))
            self.transport.write((head or b"") + (self.conn.send(h11.Data(data=body)) or b""))
            self.transport.close()
        except h11.LocalProtocolError:  # an answer is already under way
            self.transport.abort()

    def _cancel(self) -> None:
        for timer in (self._head, self._stuck):
            if timer is not None:
                timer.cancel()
        self._head = self._stuck = None
