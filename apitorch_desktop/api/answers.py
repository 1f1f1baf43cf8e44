"""From a service's answer to a wire type, or to the error a person reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from apitorch_desktop.api.errors import (
    ApiError,
    BadRequest,
    Conflict,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerError,
    StorageFull,
    TimedOut,
    TooLarge,
    WrongKey,
)

T = TypeVar("T")

_LONGEST_MESSAGE = 300


def decode(content: bytes, kind: type[T], base_url: str) -> T:
    """The answer as the wire type `kind`. Raises NotApiTorch where it is none, and ServerError where it is an error."""
    failure: ApiError
    try:
        answer = msgspec.json.decode(content, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        failure = _no_answer(content, base_url)
    else:
        found = answer.get("object") if isinstance(answer, dict) else getattr(answer, "object", None)
        if found != "error":
            return answer
        failure = ServerError(_quoted(_message(content), "") or "The service answered with an error.")
    raise failure


def refusal(status: int, headers: Mapping[str, str], content: bytes, base_url: str, key: str) -> ApiError:
    """The error for an answer that is no success; the service's own message is quoted, never the key."""
    host = urlsplit(base_url).hostname
    message = _quoted(_message(content), key)
    if status == 429:
        said = message or f"{host} asks to slow down: too many calls."
        return RateLimited(said, retry_after=retry_after(headers.get("Retry-After", "")))
    if status == 511 or (not message and status < 500 and status not in {401, 408, 413}):
        return NotApiTorch(f"{host} answers, but not as API Torch does (status {status}).", status=status)
    if status == 507:
        return StorageFull(message or f"{host} has no room left for images.", status=status)
    if status >= 500:
        fault = ServerError(message or f"{host} failed (status {status}).", status=status)
        fault.retry_after = retry_after(headers.get("Retry-After", ""))
        return fault
    if status == 401:
        return WrongKey(message or f"{host} does not know this API key.", status=status)
    if status == 404:
        return NotFound(message, status=status)
    if status == 408:
        return TimedOut(message or f"{host} waited too long for the whole request.", status=status)
    if status == 409:
        return Conflict(message, status=status)
    if status == 413:
        return TooLarge(message or f"{host} does not take that many bytes.", status=status)
    advice = "The key may not do this; check the API key of this connection." if status == 403 else None
    return BadRequest(message, status=status, advice=advice)


def retry_after(value: str) -> float | None:
    """Seconds to wait: `Retry-After` gives them, or an HTTP date (RFC 9110, 10.2.3). None for anything else."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def redirected(base_url: str, target: str) -> NotApiTorch:
    """A call was answered with a redirect that is not followed."""
    host = urlsplit(base_url).hostname
    goal = urlsplit(target)
    if not goal.hostname:
        return NotApiTorch(f"{host} answers with a redirect, as API Torch does not.")
    return NotApiTorch(
        f"{host} sends every call on to {goal.scheme}://{goal.netloc.rpartition('@')[2]}.",
        advice="If that is the right place, change the address of the connection; a network’s log-in page also does this.",
    )


def _no_answer(content: bytes, base_url: str) -> NotApiTorch:
    host = urlsplit(base_url).hostname
    start = content[:200].lstrip().lower()
    if not start:
        return _truncated(f"{host} sent an empty answer.")
    if start.startswith(b"<"):
        return NotApiTorch(f"{host} answers with a web page, not as API Torch does.")
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _truncated(f"{host} sent an answer that breaks off or is damaged.")
    return NotApiTorch(f"{host} answers, but not as API Torch does.")


def _truncated(message: str) -> NotApiTorch:
    failure = NotApiTorch(message, advice="The network or the service is unreliable. Try again.")
    failure.truncated = True
    return failure


def _message(content: bytes) -> str:
    try:
        body: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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


def _quoted(message: str, key: str) -> str:
    """One line, not too long, without the key."""
    line = " ".join("".join(char if char.isprintable() else " " for char in message).split())
    if key:
        line = line.replace(key, "…")
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + "…"
