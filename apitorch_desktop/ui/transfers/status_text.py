"""Texts about the state of a transfer, for the status bar and the list of transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from apitorch_desktop.utils.text import duration, size

if TYPE_CHECKING:  # it imports SQLite, 35 ms that the window's content need not wait for
    from apitorch_desktop.dataset.transfers.model import TransferStatus

ENDED = ("done", "failed", "cancelled")
"""Final states."""


@dataclass(frozen=True, slots=True)
class BackgroundStatus:
    """Status of a batch or a watched folder; see `TransferStatus`."""

    kind: Literal["batch", "watch"]
    id: int
    title: str
    state: str
    note: str
    done: int
    failed: int
    total: int = 0
    skipped: int = 0
    bytes_done: int = 0
    rate: float = 0.0
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        """From 0 to 1, without what failed; 0 for a watched folder."""
        return self.done / self.total if self.total else float(self.kind == "batch")


WorkStatus: TypeAlias = "TransferStatus | BackgroundStatus"
"""Status of work in the background, for the list of transfers and the status bar."""
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
            return f"{'All ' if status.total > 1 else ''}{status.total:,} {_DONE[status.kind]}"
        case _:
            return counts_text(status)
