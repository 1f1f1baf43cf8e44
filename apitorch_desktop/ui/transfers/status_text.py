"""Texts about the state of a transfer, for the status bar and the list of transfers."""

from __future__ import annotations

from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.utils.text import duration, size

ENDED = ("done", "failed", "cancelled")
"""Final states."""


def counts_text(status: TransferStatus) -> str:
    """Return count, rate and time left: `412 of 600 · 38 a second · 5 s left`."""
    parts = [f"{status.done + status.skipped:,} of {status.total:,}"]
    if status.state == "running" and status.rate > 0 and status.done and status.bytes_done:
        rate = status.rate * status.done / status.bytes_done
        parts.append(f"{rate:.0f} a second" if rate >= 2 else f"{size(status.rate)} a second")
        if status.seconds_left is not None:
            parts.append(f"{duration(status.seconds_left)} left")
    return " · ".join(parts)


def failed_text(status: TransferStatus) -> str:
    """Return how many files failed, "" for none."""
    if not status.failed:
        return ""
    verb = "sent" if status.kind == "upload" else "downloaded"
    return f"{status.failed:,} could not be {verb}"


def state_text(status: TransferStatus) -> str:
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
        case "done":
            return f"All {status.total:,} {'added' if status.kind == 'upload' else 'downloaded'}"
        case _:
            return counts_text(status)
