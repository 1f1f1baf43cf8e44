"""Error messages for the user, from any exception.

The sentences come with the exceptions: those of failed calls from `api.errors`, with the `advice` of their class
in `api.errors`; others from the places that raise a `UserError`. Written here are only those of an OSError and of an
unexpected exception.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """An error explained to the user. Errors of the same cause have the same `topic`, so that one is shown."""

    text: str
    topic: str
    can_retry: bool = False


def error_message(error: BaseException, title: str = "") -> ErrorMessage:
    """Return the message for an error; `title` names what failed ("Moving 3 photos").

    Unexpected exceptions are logged with their traceback; the user gets a sentence.
    """
    from apitorch_desktop.api.errors import ApiError, ConnectionFailed, RateLimited, TimedOut, WrongKey
    from apitorch_desktop.utils.errors import UserError

    if isinstance(error, ApiError):
        text = _joined(str(error), error.advice)
        if isinstance(error, ConnectionFailed):
            return ErrorMessage(text, "connection", can_retry=True)
        topics = {TimedOut: "slow", WrongKey: "key", RateLimited: "rate"}
        topic = next((name for kind, name in topics.items() if isinstance(error, kind)), text)
        return ErrorMessage(_with(title, text), topic, error.can_retry)
    if isinstance(error, UserError):
        return ErrorMessage(_with(title, str(error)), str(error), error.can_retry)
    if isinstance(error, OSError):
        what = f"“{error.filename}”: " if error.filename else ""
        text = _with(title, f"{what}{error.strerror or error}.")
        return ErrorMessage(text, text)
    _LOG.error("not foreseen: %s", error, exc_info=error)
    text = _with(title, f"Something unexpected went wrong ({type(error).__name__}). Try again.")
    return ErrorMessage(text, text)


def _joined(text: str, advice: str) -> str:
    """Return a message with the advice that it does not contain already."""
    more = [part for part in advice.split(". ") if part.rstrip(".") not in text]
    return f"{text} {'. '.join(more)}".strip()


def _with(title: str, text: str) -> str:
    return f"{title}: {text[0].lower() + text[1:] if text[:2].istitle() else text}" if title else text
