"""Texts about the state of a transfer, for the status bar and the list of transfers."""

from __future__ import annotations

from typing import Protocol

from apitorch_desktop.utils.text import duration, size

ENDED = ("done", "failed", "cancelled")
"""Final states."""


class WorkStatus(Protocol):
    """State of work in the background: a `TransferStatus`, or the status of a batch (kind "batch")."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def total(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def bytes_done(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def seconds_left(self) -> float | None: ...
    @property
    def fraction(self) -> float: ...


_DONE = {"upload": "added", "download": "downloaded", "batch": "classified", "watch": "classified"}
_FAILED = {"upload": "sent", "download": "downloaded", "batch": "classified", "watch": "handled"}


def counts_text(status: WorkStatus) -> str:
    """Return count, rate and time left: `412 of 600 · 38 a second · 5 s left`."""
    if status.kind == "watch":
        return f"{status.done:,} classified"
    parts = [f"{status.done + status.skipped:,} of {status.total:,}"]
    if status.state == "running" and status.rate > 0 and status.done and status.bytes_done:
        rate = status.rate * status.done / status.bytes_done
        parts.append(f"{rate:.0f} a second" if rate >= 2 else f"{size(status.rate)} a second")
        if status.seconds_left is not None:
            parts.append(f"{duration(status.seconds_left)} left")
    return " · ".join(parts)


def failed_text(status: WorkStatus) -> str:
    """Return how many files failed, "" for none."""
    if not status.failed:
        return ""
    return f"{status.failed:,} could not be {_FAILED[status.kind]}"


def state_text(status: WorkStatus) -> str:
    """Return the state in a line, with the reason if it does not advance."""
    if status.note and status.state not in ENDED:
        return status.note
    match status.state:
        case "waiting":
            return "Waits for its turn"
        case "paused":
            return f"Paused · {counts_text(status)}"
        case "cancelled":
            return f"Cancelled · {counts_text(status)}"
        case "done" if status.skipped:
            return f"{status.done:,} added · {status.skipped:,} were there already"
        case "done" | "failed" if status.kind == "batch":
            return f"{status.done:,} classified"
        case "done":
            return f"All {status.total:,} {_DONE[status.kind]}"
        case _:
            return counts_text(status)
