"""Transport of API calls: connections per thread, limits on every wait, safe retries.

The key goes to the base URL's own origin only, whatever a redirect, a signed URL or a .netrc contains. No exception
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

import msgspec

from apitorch_desktop.api.errors import (
    NOT_JSON,
    ApiError,
    BadRequest,
    ConnectionFailed,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerError,
    StorageFull,
    TimedOut,
    exception_error,
    redirect_error,
    service_message,
    status_error,
    unreadable_answer,
)
from apitorch_desktop.api.multipart import Multipart
from apitorch_desktop.api.types import decode_json
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.hosts import is_this_machine, split_url

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from apitorch_desktop.api.http_pool import HttpPool

T = TypeVar("T")

LONGEST_WAIT = 30.0
"""Longest `Retry-After`, in seconds, that a call waits for by itself; a longer one is left to the caller."""
MAX_ANSWER_SIZE = 512 * 2**20
"""Largest answer in bytes, after decompression; a listing of a million images has some 400 MB."""
_MAX_ERROR_SIZE = 64 * 1024
_MOST_REDIRECTS = 5
_LONGEST_BACKOFF = 8.0
_PIECE = 128 * 1024


def normalize_url(base_url: str) -> str:
    """Return a base URL with scheme, ending in `api/`, from a host or a URL with or without `api/`.

    Without a scheme it is https, or http for this machine and private addresses. Raises BadRequest with the reason.
    """
    text = "".join(base_url.split()).strip("\"'“”‘’<>")
    if not text:
        raise BadRequest("The address is empty.", advice="Enter the address of the service.")
    if "://" not in text:
        text = f"{'http' if _is_private(text) else 'https'}://{text}"
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
    """Return whether a URL leads to this machine, which no proxy may stand in front of."""
    return is_this_machine(split_url(url).hostname or "")


class Transport:
    """Calls to one base URL with one key. Thread-safe; `repr` shows the URL only.

    `timeout` is (seconds to connect, seconds without data), `total` bounds one attempt as a whole and the time in which a
    new one may begin, `attempts` counts the first, `backoff` is the first pause between two, in seconds;
    `max_answer_size` bounds an answer, in bytes.
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
        max_answer_size: int = MAX_ANSWER_SIZE,
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
        self._max_answer_size = max_answer_size
        self._local = local()
        self._lock = Lock()
        self._pools: WeakSet[HttpPool] = WeakSet()
        self._not_before: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r})"

    def without_retries(self) -> Transport:
        """Return a transport to the same service that makes every call once, with connections of its own."""
        return Transport(
            self.base_url,
            self._key,
            timeout=self._timeout,
            total=self._total,
            attempts=1,
            backoff=self._backoff,
            max_answer_size=self._max_answer_size,
        )

    def close(self) -> None:
        """Close the idle connections; the next call opens new ones."""
        with self._lock:
            pools = list(self._pools)
        for pool in pools:
            pool.close()

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
        missing: T | None = None,
        unpack: Callable[[bytes], T] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        """Make a call and return its answer as the wire type `kind`. `route` is added to the base URL.

        GET, DELETE and `repeatable` calls are repeated after a temporary error; others only where the service cannot
        have seen the call or refused to process it (429). `missing` is the answer where a repeated DELETE finds nothing.
        `unpack` decodes an answer in MessagePack, which is then asked for; one in JSON is taken all the same. Raises ApiError.
        """
        accept = "application/json" if unpack is None else "application/msgpack, application/json;q=0.5"
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        body: Any = None
        if multipart is not None:
            body = multipart
            headers |= {"Content-Type": multipart.content_type, "Content-Length": str(len(multipart))}
        elif json is not None:
            body = msgspec.json.encode(json)
            headers["Content-Type"] = "application/json"
        elif form is not None:
            body = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"

        def once(attempt: int) -> T:
            try:
                content = self._fetch(method, self.base_url + route, headers, body, self._max_answer_size, cancelled)
            except NotFound:
                if attempt and missing is not None:
                    return missing
                raise
            if unpack is not None and content[:1] != b"{":
                return _unpack(content, unpack, self.base_url)
            return _decode(content, kind, self.base_url)

        return self._repeat(once, self._origin, repeatable or method in {"GET", "DELETE"}, cancelled)

    def error(self, status: int, message: str) -> ApiError:
        """Return the error that a call raises whose answer has this status and message."""
        return status_error(status, {}, msgspec.json.encode({"message": message}), self.base_url, self._key)

    def file(
        self, route: str, *, limit: int, json: object = None, cancelled: Callable[[], bool] | None = None
    ) -> bytes:
        """Return the bytes of an answer: of a GET, or with `json` of a POST that changes nothing. Raises ApiError."""
        headers = {"Accept": "application/octet-stream, */*;q=0.5", "Accept-Encoding": "identity"}
        body: bytes | None = None
        if json is not None:
            body = msgspec.json.encode(json)
            headers["Content-Type"] = "application/json"

        def once(_attempt: int) -> bytes:
            method = "GET" if body is None else "POST"
            return self._fetch(method, self.base_url + route, headers, body, limit, cancelled)

        return self._repeat(once, self._origin, True, cancelled)

    def download(self, url: str, *, limit: int, cancelled: Callable[[], bool] | None = None) -> bytes:
        """Return the bytes at a URL. Raises NotFound for one that has expired (401, 403, 404, 410)."""
        try:
            parts = urlsplit(urljoin(self.base_url, url))
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise NotFound("The service gave an address that leads nowhere.")
        target = urlunsplit(parts)

        def once(_attempt: int) -> bytes:
            headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
            return self._fetch("GET", target, headers, None, limit, cancelled, download=True)

        return self._repeat(once, _origin(target), True, cancelled)

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
            except ApiError as caught:
                error = caught
            attempt += 1
            pause = self._pause(error, attempt, repeatable)
            if isinstance(error, RateLimited):
                self._not_before[origin] = monotonic() + min(pause or self._backoff, LONGEST_WAIT)
            if pause is None or attempt >= self._attempts or monotonic() + pause - begun > self._total:
                raise error
            _wait(pause, cancelled)

    def _pause(self, error: ApiError, attempt: int, repeatable: bool) -> float | None:
        """Return the seconds until the next attempt, None for no further attempt."""
        may_pass = isinstance(error, (ConnectionFailed, TimedOut, ServerError)) and error.can_retry
        may_pass = may_pass or (isinstance(error, NotApiTorch) and error.truncated)
        if isinstance(error, StorageFull):
            return None
        if not (isinstance(error, RateLimited) or (error.unsent and error.can_retry) or (repeatable and may_pass)):
            return None
        if error.retry_after is not None:
            return error.retry_after + random.uniform(0, 0.1) if error.retry_after <= LONGEST_WAIT else None  # noqa: S311
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
                    target = _join(url, response.headers.get("Location", ""))
                elif 200 <= status < 300:
                    return _read(response, limit, "image" if download else "answer")
                else:
                    content = _read(response, _MAX_ERROR_SIZE, "", cut=True)
                    if download and status in {401, 403, 404, 410}:
                        raise NotFound("This address has run out, or its image is gone.", status=status)
                    base_url = url if download else self.base_url
                    raise status_error(status, response.headers, content, base_url, self._key)
            repeats = method == "GET" or status in {307, 308}
            if split_url(target).scheme not in {"http", "https"} or not (
                download or (repeats and _origin(target) == self._origin)
            ):
                raise redirect_error(url, target)
            url = target
        raise NotApiTorch(f"{urlsplit(url).hostname} redirects without end.")

    def is_own(self, url: str) -> bool:
        """Return whether a URL is at the base URL's own origin."""
        return _origin(url) == _origin(self.base_url)

    @contextmanager
    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: Any, cancelled: Callable[[], bool] | None
    ) -> Iterator[BaseHTTPResponse]:
        import requests
        import urllib3

        pool = self._pool()
        pool.deadline.start(self._timeout[1], self._total, cancelled)
        origin = _origin(url)
        if origin == self._origin:
            headers = {**headers, "Authorization": self._authorization}
        response = None
        error: ApiError | None = None
        try:
            response = pool.send(method, origin, url, headers, body, direct=is_loopback(url))
            yield response
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exception:
            error = exception_error(exception, url)
        finally:
            if response is not None:
                response.close()
        if error is not None:  # outside the handler it has no `__context__`, which could hold the headers with the key
            raise error

    def _pool(self) -> HttpPool:
        found: HttpPool | None = getattr(self._local, "pool", None)
        if found is None:
            from apitorch_desktop.api.http_pool import HttpPool

            self._local.pool = found = HttpPool(self._timeout)
            with self._lock:
                self._pools.add(found)
        return found


def _decode(content: bytes, kind: type[T], base_url: str) -> T:
    """Decode an answer as the wire type `kind`. Raises NotApiTorch, and ServerError for an error body."""
    error: ApiError
    try:
        answer = decode_json(content, kind, strict=False)
    except NOT_JSON:
        error = unreadable_answer(content, base_url)
    else:
        name = answer.get("object") if isinstance(answer, dict) else getattr(answer, "object", None)
        if name != "error":
            return answer
        error = ServerError(service_message(content) or "The service answered with an error.")
    raise error  # out here it has no `__context__` with the whole answer


def _unpack(content: bytes, unpack: Callable[[bytes], T], base_url: str) -> T:
    """Decode an answer in MessagePack. Raises NotApiTorch."""
    try:
        return unpack(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = unreadable_answer(content, base_url)
    raise error


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


def _join(url: str, location: str) -> str:
    """Return where a redirect leads; an address that is none leads nowhere."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _is_private(address: str) -> bool:
    """Return whether an address without a scheme is on this machine or in a private network."""
    host = split_url(f"//{address}").hostname or ""
    if is_this_machine(host):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host.endswith(".local")
