"""HTTP connections of one thread. `requests` decides on proxies and certificates, `urllib3` sends and receives.

The decision is made once for each origin: a call then costs half of what it costs through `requests.Session.request`.

`requests` limits the duration of one `recv` only, so a service that sends a byte a minute would hold a call forever,
and nothing can end a wait that has begun. Here each wait on the socket, in either direction, is cut into slices, and
`Deadline` is checked between two of them.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from http.client import HTTPResponse
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from apitorch_desktop import __version__
from apitorch_desktop.api.errors import CERTIFICATE_VARIABLES, ConnectionFailed, TimedOut
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.text import reason, shown

_SLICE = 0.1
"""Seconds between two checks of `cancelled`."""
_BUFFER = 128 * 1024
_SLOWEST = 8 * 1024
"""Bytes a second at which a long transfer may go on past the total limit."""


class Deadline:
    """Time limits of the exchange that a thread is in; see `start`."""

    def __init__(self) -> None:
        self.start(60, 300, None)

    def start(self, quiet: float, total: float, cancelled: Callable[[], bool] | None) -> None:
        """Begin an exchange of at most `quiet` seconds without a byte and `total` seconds in all.

        Every 8 KiB that move extend the total by a second: a large image on a slow line gets through, a drip does not.
        """
        self._quiet = quiet
        self._total = total
        self._end = monotonic() + total
        self._moved = 0
        self._cancelled = cancelled

    def bound(self, operation: Callable[[], int], sock: socket.socket) -> int:
        """Run one operation on `sock` and return the bytes that it moved. Raises Cancelled or TimedOut."""
        last = self._end + self._moved / _SLOWEST
        end = min(monotonic() + self._quiet, last)
        while True:
            if self._cancelled is not None and self._cancelled():
                raise Cancelled
            left = end - monotonic()
            if left <= 0:
                raise TimedOut(
                    f"The service did not finish within {self._total:.0f} seconds."
                    if monotonic() >= last
                    else f"The service was silent for {self._quiet:.0f} seconds."
                )
            sock.settimeout(left if self._cancelled is None else min(left, _SLICE))
            try:
                moved = operation()
            except TimeoutError:
                continue
            self._moved += moved
            return moved


class HttpPool:
    """Sends requests as they are: no redirects, cookies or .netrc. For one thread, except for `close`.

    `timeout` is (connect, silence) in seconds. Raises the exceptions of requests, urllib3 and the system.
    """

    def __init__(self, timeout: tuple[float, float]) -> None:
        self.deadline = Deadline()
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _DeadlineAdapter(self.deadline))
        self._pools: dict[str, tuple[Any, dict[str, str], bool]] = {}

    def close(self) -> None:
        """Close the idle connections; the next call opens new ones."""
        self._session.close()
        self._pools = {}

    def send(
        self, method: str, origin: str, url: str, headers: Mapping[str, str], body: Any, *, direct: bool
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the response as soon as its headers are there. `direct` bypasses any proxy."""
        pool, proxy_headers, absolute = self._pools.get(origin) or self._connect(origin, url, direct)
        parts = urlsplit(url)
        target = parts.path or "/"
        if parts.query:
            target += f"?{parts.query}"
        if absolute:
            target = f"{parts.scheme}://{parts.netloc}{target}"
        response: urllib3.BaseHTTPResponse = pool.urlopen(
            method,
            target,
            body=body,
            headers={"User-Agent": f"apitorch-desktop/{__version__}", **proxy_headers, **headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
        )
        return response

    def _connect(self, origin: str, url: str, direct: bool) -> tuple[Any, dict[str, str], bool]:
        """Return the connection pool of an origin, headers for a proxy, and whether it needs the absolute URL."""
        exceptions = {"no_proxy": urlsplit(url).hostname or ""} if direct else {}
        settings: Any = self._session.merge_environment_settings(url, exceptions, True, None, None)
        proxies = settings["proxies"]
        proxy = select_proxy(url, proxies)
        encrypted = url.startswith("https:") or (proxy or "").startswith("https:")
        verify = _authorities(settings["verify"]) if encrypted else True
        prepared = requests.Request("GET", url).prepare()
        adapter: Any = self._session.get_adapter(url)
        try:
            pool = adapter.get_connection_with_tls_context(prepared, verify, proxies=proxies)
        except (TypeError, ValueError) as error:  # TypeError: of a proxy's address with a name and no host
            if proxy is None or isinstance(error, requests.RequestException):
                raise
            raise requests.exceptions.InvalidProxyURL("the address of the proxy is none") from None
        adapter.cert_verify(pool, url, verify, None)
        absolute = proxy is not None and url.startswith("http:") and not proxy.startswith("socks")
        self._pools[origin] = found = (pool, adapter.proxy_headers(proxy) if absolute else {}, absolute)
        return found


def _authorities(found: str | bool | None) -> str | bool:
    """Return the file or folder of certificate authorities that the environment names; True for the usual ones.

    `requests` knows the first two variables; OpenSSL, and with it curl and Python, the others. Raises ConnectionFailed.
    """
    name = next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), "")
    place = found if isinstance(found, str) else os.environ.get(name, "")
    if not place:
        return True
    try:
        if os.path.isdir(place):  # noqa: PTH112 - the value is a string to requests too
            return place
        _load_certificates(place)
    except OSError as error:
        why = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else reason(error)
        failed = ConnectionFailed(
            f"The certificates in “{shown(place)}” cannot be used: {why}.",
            advice=f"The variable {name} names that file: correct or unset it.",
        )
        failed.can_retry = False
        raise failed from None
    return place


@cache
def _load_certificates(file: str) -> None:
    """Load a file of certificates once, some 50 ms. Raises OSError and ssl.SSLError."""
    ssl.create_default_context(cafile=file)


class _DeadlineAdapter(HTTPAdapter):
    """Adapter whose connections observe a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._classes: dict[type, type] = {}
        super().__init__(pool_connections=4, pool_maxsize=2, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        base = pool.ConnectionCls
        if base not in self._classes.values():
            if base not in self._classes:
                self._classes[base] = _bounded(base, self._deadline)
            pool.ConnectionCls = self._classes[base]
        return pool


class _SocketStream(io.RawIOBase):
    """Stream of the bytes that a socket receives."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._keep = sock.makefile("rb", buffering=0)  # holds the descriptor open until the response is done with it
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._deadline.bound(lambda: self._sock.recv_into(buffer), self._sock)

    def close(self) -> None:
        if not self.closed:
            self._keep.close()
        super().close()


class _SocketOpener:
    """Stand-in for a socket with the one method that `HTTPResponse` calls."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_SocketStream(self._sock, self._deadline), _BUFFER)


def _bounded(base: Any, deadline: Deadline) -> Any:
    """Derive a connection class that observes a deadline."""

    class BoundedResponse(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(_SocketOpener(sock, deadline), *args, **kwargs)  # type: ignore[arg-type]

    class BoundedConnection(base):  # type: ignore[misc]
        response_class = BoundedResponse

        def send(self, data: Any) -> None:
            if self.sock is None and self.auto_open:
                self.connect()
            if self.sock is None or not isinstance(data, (bytes, bytearray, memoryview)):
                super().send(data)
                return
            left = memoryview(data)
            while left:
                left = left[self._send_some(left) :]

        def _send_some(self, data: memoryview) -> int:
            return deadline.bound(lambda: int(self.sock.send(data)), self.sock)

    return BoundedConnection
