"""Sends calls: each thread has its connections, every wait is bounded, retries are safe, the key is kept out of sight.

The key goes to the base URL's own origin only, whatever a redirect, a signed URL or a .netrc says. No exception
that leaves this module refers to one that holds it.
"""

from __future__ import annotations

import base64
import ipaddress
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, local
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit, urlunsplit
from weakref import WeakSet

from apitorch_desktop.api.answers import decode, redirected, refusal
from apitorch_desktop.api.errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerError,
    StorageFull,
    TimedOut,
)
from apitorch_desktop.api.multipart import Multipart
from apitorch_desktop.utils.errors import Cancelled

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from apitorch_desktop.api.http_pool import HttpPool

T = TypeVar("T")

LONGEST_WAIT = 30.0
"""Seconds a call waits for `Retry-After` by itself; a service that asks for more is the caller's to wait for."""
LONGEST_ANSWER = 512 * 2**20
"""Bytes of an answer after it is unpacked; a listing of a million images has some 400 MB."""
_LONGEST_REFUSAL = 64 * 1024
_MOST_REDIRECTS = 5
_LONGEST_BACKOFF = 8.0
_PIECE = 128 * 1024


def normalize_url(base_url: str) -> str:
    """A base URL as calls are added to it: with scheme, ending in `api/`. Takes a host, a URL, `api/` or not.

    Without a scheme it is https, or http for this machine and private addresses. Raises BadRequest, with what is wrong.
    """
    text = "".join(base_url.split()).strip("\"'“”‘’<>")
    if not text:
        raise BadRequest("The address is empty.", advice="Enter the address of the service.")
    if "://" not in text:
        text = f"{'http' if _is_near(text) else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except (ValueError, UnicodeError):
        host, port, parts = None, None, SplitResult("", "", "", "", "")
    if parts.scheme.lower() not in {"http", "https"} or not host or host.startswith(".") or port == 0:
        raise BadRequest(f"“{base_url[:100]}” is no web address.", advice="Enter it as https://host/api/.")
    if "@" in parts.netloc:
        raise BadRequest(
            "The address holds a user name or a password.", advice="Leave them out; the key has a field of its own."
        )
    path = parts.path.rstrip("/").removesuffix("/ping")
    if not path.endswith("/api"):
        path += "/api"
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path + "/", "", ""))


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: no proxy may stand between."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Transport:
    """Calls to one base URL with one key. Thread-safe; `repr` shows the URL only.

    `timeout` is (connect, silence) in seconds, `total` bounds one attempt as a whole and the time in which a new one
    may begin, `attempts` counts the first, `backoff` is the first pause between two, in seconds;
    `longest` bounds an answer, in bytes.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout: tuple[float, float],
        total: float,
        attempts: int,
        backoff: float = 0.3,
        longest: int = LONGEST_ANSWER,
    ) -> None:
        self.base_url = normalize_url(base_url)
        self._origin = _origin(self.base_url)
        self._key = key
        coded = base64.b64encode(key.encode("utf-8", "replace") + b":").decode("ascii")
        self._authorization = f"Basic {coded}"  # a blank password
        self._timeout = timeout
        self._total = total
        self._attempts = max(1, attempts)
        self._backoff = backoff
        self._longest = longest
        self._mine = local()
        self._lock = Lock()
        self._senders: WeakSet[HttpPool] = WeakSet()
        self._not_before: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r})"

    def without_retries(self) -> Transport:
        """One to the same place that makes every call once, with connections of its own."""
        return Transport(self.base_url, self._key, timeout=self._timeout, total=self._total, attempts=1)

    def close(self) -> None:
        """Close the connections that are kept alive. Calls can still be made: they open new ones."""
        with self._lock:
            senders = list(self._senders)
        for sender in senders:
            sender.close()

    def call(
        self,
        method: str,
        route: str,
        kind: type[T],
        *,
        json: object = None,
        form: dict[str, str] | None = None,
        multipart: Multipart | None = None,
        repeatable: bool = False,
        gone: T | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        """The answer to a call, as the wire type `kind`. `route` is added to the base URL.

        GET and DELETE, and what is `repeatable`, are tried again after a failure that may pass; anything else only
        where the service cannot have seen it or refused to look (429). `gone` is the answer where a repeated DELETE
        finds nothing. Raises ApiError.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        body: Any = None
        if multipart is not None:
            body = multipart
            headers |= {"Content-Type": multipart.content_type, "Content-Length": str(len(multipart))}
        elif json is not None:
            import msgspec

            body = msgspec.json.encode(json)
            headers["Content-Type"] = "application/json"
        elif form is not None:
            body = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"

        def once(attempt: int) -> T:
            try:
                content = self._fetch(method, self.base_url + route, headers, body, self._longest, cancelled)
            except NotFound:
                if attempt and gone is not None:
                    return gone
                raise
            return decode(content, kind, self.base_url)

        return self._repeat(once, self._origin, repeatable or method in {"GET", "DELETE"}, cancelled)

    def file(
        self, route: str, *, limit: int, json: object = None, cancelled: Callable[[], bool] | None = None
    ) -> bytes:
        """The bytes that a call answers with: a GET, or with `json` a POST that changes nothing. Raises ApiError."""
        headers = {"Accept": "application/octet-stream, */*;q=0.5", "Accept-Encoding": "identity"}
        body: bytes | None = None
        if json is not None:
            import msgspec

            body = msgspec.json.encode(json)
            headers["Content-Type"] = "application/json"

        def once(_attempt: int) -> bytes:
            method = "GET" if body is None else "POST"
            return self._fetch(method, self.base_url + route, headers, body, limit, cancelled)

        return self._repeat(once, self._origin, True, cancelled)

    def download(
        self, url: str, chunks: list[bytes], *, limit: int, cancelled: Callable[[], bool] | None = None
    ) -> None:
        """The bytes at a URL, appended to `chunks`. A URL that has run out (401, 403, 404, 410) is a NotFound."""
        try:
            parts = urlsplit(urljoin(self.base_url, url))
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise NotFound("The service gave an address that leads nowhere.")
        target = urlunsplit(parts)

        def once(_attempt: int) -> bytes:
            headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
            return self._fetch("GET", target, headers, None, limit, cancelled, download=True)

        chunks.append(self._repeat(once, _origin(target), True, cancelled))

    # --- attempts

    def _repeat(
        self, once: Callable[[int], T], origin: str, repeatable: bool, cancelled: Callable[[], bool] | None
    ) -> T:
        begun = monotonic()
        attempt = 0
        while True:
            _wait(self._not_before.get(origin, 0) - monotonic(), cancelled)
            try:
                return once(attempt)
            except ApiError as error:
                failure = error
            attempt += 1
            pause = self._pause(failure, attempt, repeatable)
            if isinstance(failure, RateLimited):
                self._not_before[origin] = monotonic() + min(pause or self._backoff, LONGEST_WAIT)
            if pause is None or attempt >= self._attempts or monotonic() + pause - begun > self._total:
                raise failure
            _wait(pause, cancelled)

    def _pause(self, failure: ApiError, attempt: int, repeatable: bool) -> float | None:
        """Seconds until the next attempt, None where there should be none."""
        may_pass = isinstance(failure, (ConnectionFailed, TimedOut, ServerError)) and failure.can_retry
        may_pass = may_pass or (isinstance(failure, NotApiTorch) and failure.truncated)
        if isinstance(failure, StorageFull):
            return None
        if not (
            isinstance(failure, RateLimited) or (failure.unsent and failure.can_retry) or (repeatable and may_pass)
        ):
            return None
        if failure.retry_after is not None:
            return failure.retry_after + random.uniform(0, 0.1) if failure.retry_after <= LONGEST_WAIT else None  # noqa: S311
        return min(self._backoff * 2.0 ** (attempt - 1), _LONGEST_BACKOFF) * random.uniform(0.5, 1.0)  # noqa: S311

    # --- one attempt

    def _fetch(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Any,
        limit: int,
        cancelled: Callable[[], bool] | None,
        *,
        download: bool = False,
    ) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            with self._exchange(method, url, headers, body, cancelled) as response:
                status = response.status
                if status in {301, 302, 303, 307, 308}:
                    target = urljoin(url, response.headers.get("Location", ""))
                elif 200 <= status < 300:
                    return _read(response, limit, "image" if download else "answer")
                else:
                    content = _read(response, _LONGEST_REFUSAL, "", cut=True)
                    if download and status in {401, 403, 404, 410}:
                        raise NotFound("This address has run out, or its image is gone.", status=status)
                    raise refusal(status, response.headers, content, url if download else self.base_url, self._key)
            repeats = method == "GET" or status in {307, 308}
            if urlsplit(target).scheme not in {"http", "https"} or not (
                download or (repeats and _origin(target) == self._origin)
            ):
                raise redirected(url, target)
            url = target
        raise NotApiTorch(f"{urlsplit(url).hostname} redirects without end.")

    @contextmanager
    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: Any, cancelled: Callable[[], bool] | None
    ) -> Iterator[BaseHTTPResponse]:
        import requests
        import urllib3

        from apitorch_desktop.api.error_mapping import explain

        sender = self._sender()
        sender.watch.start(self._timeout[1], self._total, cancelled)
        origin = _origin(url)
        if origin == self._origin:
            headers = {**headers, "Authorization": self._authorization}
        response = None
        failure: ApiError | None = None
        try:
            response = sender.send(method, origin, url, headers, body, direct=is_loopback(url))
            yield response
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
            failure = explain(fault, url)
        finally:
            if response is not None:
                response.close()
        if failure is not None:  # out here it has no `__context__`: that could hold the headers with the key
            raise failure

    def _sender(self) -> HttpPool:
        found: HttpPool | None = getattr(self._mine, "sender", None)
        if found is None:
            from apitorch_desktop.api.http_pool import HttpPool

            self._mine.sender = found = HttpPool(self._timeout)
            with self._lock:
                self._senders.add(found)
        return found


def _read(response: BaseHTTPResponse, limit: int, what: str, *, cut: bool = False) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in response.stream(_PIECE, decode_content=True):
        size += len(piece)
        pieces.append(piece)
        if size > limit:
            if cut:
                break
            raise BadRequest(
                f"The {what} is larger than {limit // 2**20 or 1} MiB, more than is taken from a service.",
                advice="Tell who runs the service.",
            )
    return b"".join(pieces)


def _wait(seconds: float, cancelled: Callable[[], bool] | None) -> None:
    end = monotonic() + seconds
    pause = Event()
    while True:
        if cancelled is not None and cancelled():
            raise Cancelled
        left = end - monotonic()
        if left <= 0:
            return
        pause.wait(left if cancelled is None else min(left, 0.05))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _is_near(address: str) -> bool:
    """Whether an address without a scheme is on this machine or in a private network."""
    host = urlsplit(f"//{address}").hostname or ""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local"))
    return ip.is_loopback or ip.is_private
