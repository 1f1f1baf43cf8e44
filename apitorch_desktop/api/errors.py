"""Errors of a call, with texts for the user, and the mapping of exceptions, statuses and unreadable answers to them.

ApiError                    message, advice, can_retry
├── ConnectionFailed        nobody answers at this address
├── TimedOut                no answer within the time limit
├── NotApiTorch             an answer, but not of an API Torch service (a captive portal, truncated JSON)
├── WrongKey                401
├── NotFound                404
├── BadRequest              400 and other refusals of the request
│   ├── Conflict            409: conflicts with something that exists, or not ready yet
│   └── TooLarge            413
├── RateLimited             429; `retry_after` in seconds
└── ServerError             500 and up
    └── StorageFull         507
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.hosts import is_this_machine, split_url


class ApiError(UserError):
    """A failed call. `str()` is a sentence for the user that states the cause; `advice` suggests what to do.

    `can_retry`: the same call may succeed later without a change. Neither text ever contains a key.
    """

    advice = "Try again later."
    can_retry = False
    unsent = False
    """The service cannot have seen the call: it may be sent again, also one that changes something."""
    retry_after: float | None = None
    """Seconds to wait before the next attempt, where the service sent them."""

    def __init__(self, message: str, *, status: int | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        if advice is not None:
            self.advice = advice


class ConnectionFailed(ApiError):  # noqa: N818 - named for what happened
    """Nobody answers at this address."""

    advice = "Check the network and the address of the connection."
    can_retry = True


class TimedOut(ApiError):  # noqa: N818
    """No answer within the time limit."""

    advice = "The service or the network is slow. Try again."
    can_retry = True


class NotApiTorch(ApiError):  # noqa: N818
    """The answer is not that of an API Torch service."""

    advice = "Check the address; a network that asks for a log-in page answers like this too."
    can_retry = True
    truncated = False
    """The answer is incomplete; another attempt may bring all of it."""


class WrongKey(ApiError):  # noqa: N818
    """401: the service does not know this key."""

    advice = "Check the API key of this connection."


class NotFound(ApiError):  # noqa: N818
    """404: the object that the call names does not exist."""

    advice = "It may have been deleted. Refresh, and try again."


class BadRequest(ApiError):  # noqa: N818
    """400 and others: the service refused the request and states the reason."""

    advice = "Replace the file, or change what was entered: the same again will be refused."


class Conflict(BadRequest):
    """409: conflicts with something that exists, or is not ready yet; the message states which."""

    advice = ""


class TooLarge(BadRequest):
    """413: more bytes than the service accepts."""

    advice = "Make the image smaller and send it again."


class RateLimited(ApiError):  # noqa: N818
    """429: too many calls. `retry_after` is seconds to wait, where the service sent them."""

    advice = "Wait a little; it goes on by itself."
    can_retry = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, status=429)
        self.retry_after = retry_after


class ServerError(ApiError):
    """500 and up: the service failed."""

    advice = "The service failed. Try again; if it stays so, tell who runs it."
    can_retry = True


class StorageFull(ServerError):  # noqa: N818
    """507: the service has no room left."""

    advice = "Free some disk space where the service keeps its images, then retry."


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding a body that is not the expected JSON."""

CERTIFICATE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name the certificate authorities; the first one that is set counts."""
_PASSED_ON: Final = frozenset({400, 401, 403, 408, 409, 413, 429})
"""Statuses below 500 that proxies on the way answer too, with a message worth quoting; others mean the address."""
_LONGEST_MESSAGE = 300
_SAYS_WHAT_TO_DO: Final = re.compile(r"[.!?] +\S|: (?:copy|make|save|unpack) ")
"""Message of several sentences, or with advice about an image, as services of this program have them: advice to any cause
would contradict theirs."""
_CLOCK_CODES: Final = frozenset({9, 10})
_NAME_CODES: Final = frozenset({62, 64})
_AUTHORITY_CODES: Final = frozenset({18, 19, 20, 21})
"""X509_V_ERR_… of OpenSSL: not yet valid, expired · another host name or address · no known authority."""
_WITHOUT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
"""Reasons of OpenSSL where the other side sends something else than TLS."""
_WANTS_TLS: Final = re.compile(rb"http request\b.{0,40}\bhttps\b|plain http to an ssl", re.IGNORECASE)
"""Answers of nginx, Apache and Go to a call without TLS."""
_WITH_TLS: Final = "Where the service has a certificate, its address begins with https://."
_ALERT: Final = "\x15\x03"
"""First bytes of an alert of TLS, with which others answer to a call without it."""
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3}[ \w]{,40})")


def status_error(status: int, headers: Mapping[str, str], content: bytes, base_url: str, key: str) -> ApiError:
    """Return the error for an answer without success. It quotes the service's own message, never the key."""
    host = urlsplit(base_url).hostname
    message = service_message(content, key)
    wait = parse_retry_after(headers.get("Retry-After", ""))
    if status == 429:
        return RateLimited(message or f"{host} asks to slow down: too many calls.", retry_after=wait)
    if status == 407:
        return _proxy_error(host, f"{status}")
    if status == 400 and base_url.startswith("http:") and _WANTS_TLS.search(content[:4096]):
        return NotApiTorch(f"{host} asks for a secure connection.", advice=_WITH_TLS, status=status)
    foreign = status < 500 and status not in _PASSED_ON and not _is_documented(content)
    if status == 511 or foreign or (not message and status < 500 and status not in {401, 408, 413}):
        return NotApiTorch(f"{host} answers, but not as API Torch does (status {status}).", status=status)
    own = "" if _SAYS_WHAT_TO_DO.search(message) else None
    if status == 507:
        return StorageFull(message or f"{host} has no room left for images.", status=status, advice=own)
    if status >= 500:
        error = ServerError(message or f"{host} failed (status {status}).", status=status, advice=own)
        error.retry_after = wait
        return error
    if status == 401:
        return WrongKey(message or f"{host} does not know this API key.", status=status)
    if status == 404:
        return NotFound(message, status=status, advice=own)
    if status == 408:
        return TimedOut(message or f"{host} waited too long for the whole request.", status=status)
    if status == 409:
        return Conflict(message, status=status)
    if status == 413:
        return TooLarge(message or f"{host} does not take that many bytes.", status=status, advice=own)
    if own is None and status == 403:
        own = "The key may not do this; check the API key of this connection."
    return BadRequest(message, status=status, advice=own)


def redirect_error(base_url: str, target: str) -> NotApiTorch:
    """Return the error for a redirect that is not followed."""
    host = urlsplit(base_url).hostname
    goal = split_url(target)
    if not goal.hostname:
        return NotApiTorch(f"{host} answers with a redirect, as API Torch does not.")
    return NotApiTorch(
        f"{host} sends every call on to {goal.scheme}://{goal.netloc.rpartition('@')[2]}.",
        advice="If that is the right place, change the address of the connection; a network’s log-in page also does this.",
    )


def unreadable_answer(content: bytes, base_url: str) -> NotApiTorch:
    """Return the error for a successful answer whose body is not the expected JSON."""
    host = urlsplit(base_url).hostname
    start = content[:200].lstrip().lower()
    if not start:
        return _truncated(f"{host} sent an empty answer.")
    if start.startswith(b"<"):
        return NotApiTorch(f"{host} answers with a web page, not as API Torch does.")
    try:
        msgspec.json.decode(content)
    except NOT_JSON:
        return _truncated(f"{host} sent an answer that breaks off or is damaged.")
    return NotApiTorch(f"{host} answers, but not as API Torch does.")


def exception_error(exception: Exception, url: str) -> ApiError:
    """Return the error for an exception of requests, urllib3 or the system, of which only its reason is kept."""
    from http.client import BadStatusLine, RemoteDisconnected

    import requests
    import urllib3

    host = urlsplit(url).hostname
    chain = _chain(exception)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    error: ApiError
    if has(
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidProxyURL,
        urllib3.exceptions.ProxySchemeUnknown,
    ):
        error = ConnectionFailed(
            f"The proxy on the way to {host} is of a kind that cannot be used.",
            advice="The variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY take addresses that begin with http:// or https://.",
        )
        error.can_retry = False
        return error
    if has(requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError, UnicodeError):
        return BadRequest(f"“{url[:100]}” is no web address.", advice="Check the address of the connection.")
    if has(requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        why, advice = _tls_reason(chain)
        error = ConnectionFailed(f"The connection to {host} cannot be made secure: {why}.", advice=advice)
        error.can_retry = False
        return error
    if has(requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        refusal = next((found for link in chain if (found := _TUNNEL.search(str(link)))), None)
        error = _proxy_error(host, refusal[1] if refusal else "", _reason(chain))
    elif has(urllib3.exceptions.NameResolutionError):
        error = ConnectionFailed(f"There is no “{host}”, or no network to ask for it.")
    elif has(urllib3.exceptions.NewConnectionError, ConnectionRefusedError):  # before its base, ConnectTimeoutError
        error = ConnectionFailed(f"Nothing answers at {urlsplit(url).netloc}{_reason(chain)}.")
    elif has(urllib3.exceptions.ConnectTimeoutError, requests.exceptions.ConnectTimeout):
        error = TimedOut(f"{host} does not answer.", advice="Check the network and the address of the connection.")
    elif has(TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout):
        return TimedOut(f"{host} took too long.")
    elif has(BadStatusLine) and not has(RemoteDisconnected):
        error = ConnectionFailed(f"What answers at {urlsplit(url).netloc} does not speak HTTP.")
        if any(isinstance(link, BadStatusLine) and str(link).startswith(_ALERT) for link in chain):
            error.advice = _WITH_TLS
        return error
    else:
        error = ConnectionFailed(f"The connection to {host} broke off{_reason(chain)}.")
        if url.startswith("http:") and has(RemoteDisconnected) and not is_this_machine(host or ""):
            error.advice += f" {_WITH_TLS}"
        return error
    error.unsent = True
    return error


def _proxy_error(host: str | None, refusal: str, why: str = "") -> ConnectionFailed:
    """Return the error for a proxy that answered with a status, `refusal`, or not at all."""
    if refusal.startswith("407"):
        error = ConnectionFailed(
            f"The proxy on the way to {host} asks for a name and a password.",
            advice="Write them into this machine’s proxy settings, such as HTTPS_PROXY=http://name:password@proxy:8080.",
        )
        error.can_retry = False
        return error
    does = f"does not let the call through ({refusal.strip()})" if refusal else f"does not answer{why}"
    return ConnectionFailed(f"The proxy on the way to {host} {does}.", advice="Check this machine’s proxy settings.")


def service_message(content: bytes, key: str = "") -> str:
    """Return the message of an error body as one line of limited length, without the key; "" where it has none."""
    line = " ".join("".join(char if char.isprintable() else " " for char in _message(content)).split())
    if key:
        line = line.replace(key, "…")
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + "…"


def parse_retry_after(value: str) -> float | None:
    """Return the seconds that `Retry-After` asks for, from a number or an HTTP date (RFC 9110, 10.2.3), or None."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    from datetime import UTC, datetime  # with `email` and `ssl` 8 ms of the program's start
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _is_documented(content: bytes) -> bool:
    """Return whether the body of an error may be one of API Torch's, and not that of another service with JSON.

    The documentation shows none: besides ours, any with a message is taken for one, but for Spring's, which have a time.
    """
    with suppress(*NOT_JSON):
        body: Any = msgspec.json.decode(content)
        return isinstance(body, dict) and isinstance(body.get("message"), str) and "timestamp" not in body
    return False


def _message(content: bytes) -> str:
    try:
        body: Any = msgspec.json.decode(content)
    except NOT_JSON:
        return ""
    if not isinstance(body, dict):
        return ""
    for name in ("message", "error", "detail"):
        value = body.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return value
    return f"The service refused this ({body['type']})." if isinstance(body.get("type"), str) else ""


def _truncated(message: str) -> NotApiTorch:
    error = NotApiTorch(message, advice="The network or the service is unreliable. Try again.")
    error.truncated = True
    return error


def _chain(exception: BaseException) -> list[BaseException]:
    """Return the exception with its causes, contexts, `reason`s and wrapped arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [exception]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found


def _reason(chain: list[BaseException]) -> str:
    for link in chain:
        if isinstance(link, OSError) and link.strerror and isinstance(link.errno, int):
            return f" ({link.strerror[0].lower()}{link.strerror[1:]})"
    return ""


def _tls_reason(chain: list[BaseException]) -> tuple[str, str]:
    """Return why no secure connection was made, and what to do."""
    import ssl

    general = "Check the address and this machine’s clock; the network may be interfering."
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            why = f"its certificate is not valid ({link.verify_message.rstrip('.')})"
            if link.verify_code in _CLOCK_CODES:
                return why, "The service needs another certificate, or the clock of this machine is wrong."
            if link.verify_code in _NAME_CODES:
                return why, "Call the service by a name that its certificate is made for."
            return why, _authority_advice() if link.verify_code in _AUTHORITY_CODES else general
        if isinstance(link, ssl.SSLError) and link.reason in _WITHOUT_TLS:
            return "it answers without TLS", "Where the service has no certificate, its address begins with http://."
        if isinstance(link, ssl.SSLError) and link.reason:
            return link.reason.replace("_", " ").lower(), general
    return "its certificate is not valid", general


def _authority_advice() -> str:
    chain = "The service has to send the certificates in between too."
    if name := next((name for name in CERTIFICATE_VARIABLES if os.environ.get(name)), ""):
        if not name.endswith("DIR") and os.path.isdir(os.environ[name]):  # noqa: PTH112 - a string to requests too
            return f"The variable {name} names a folder: let it name the file with the certificate of its authority. {chain}"
        where = "the folder" if name.endswith("DIR") else "the file"
        return f"It is accepted once {where} that the variable {name} names holds the certificate of its authority. {chain}"
    return f"A certificate of your own authority is accepted once the variable SSL_CERT_FILE names the authority’s file. {chain}"
