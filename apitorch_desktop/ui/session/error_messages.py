"""Failures in the words of the person: what is wrong and what to do, from whatever exception it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """A failure explained. `topic` is the same for failures of one cause, so that they are said once."""

    text: str
    topic: str
    can_retry: bool = False


def error_message(fault: BaseException, doing: str = "") -> ErrorMessage:
    """What to tell about a failure; `doing` names what was tried ("Moving 3 photos").

    Failures that nobody foresaw are logged with their traceback; the person gets a sentence.
    """
    from apitorch_desktop.api.errors import ApiError, ConnectionFailed, RateLimited, TimedOut, WrongKey
    from apitorch_desktop.utils.errors import UserError

    if isinstance(fault, ApiError):
        text = _joined(str(fault), fault.advice)
        if isinstance(fault, ConnectionFailed):
            return ErrorMessage(text, "connection", can_retry=True)
        topics = {TimedOut: "slow", WrongKey: "key", RateLimited: "rate"}
        topic = next((name for kind, name in topics.items() if isinstance(fault, kind)), text)
        return ErrorMessage(_with(doing, text), topic, fault.can_retry)
    if isinstance(fault, UserError):
        return ErrorMessage(_with(doing, str(fault)), str(fault), fault.can_retry)
    if isinstance(fault, OSError):
        what = f"“{fault.filename}”: " if fault.filename else ""
        text = _with(doing, f"{what}{fault.strerror or fault}.")
        return ErrorMessage(text, text)
    _LOG.error("not foreseen: %s", fault, exc_info=fault)
    text = _with(doing, f"Something went wrong that nobody foresaw ({type(fault).__name__}). Try again.")
    return ErrorMessage(text, text)


def _joined(text: str, advice: str) -> str:
    """A message with what to do about it, where the service did not say the same already."""
    more = [one for one in advice.split(". ") if one.rstrip(".") not in text]
    return f"{text} {'. '.join(more)}".strip()


def _with(doing: str, text: str) -> str:
    return f"{doing}: {text[0].lower() + text[1:] if text[:2].istitle() else text}" if doing else text
