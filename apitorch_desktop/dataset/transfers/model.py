"""Transfer state: the public `TransferStatus`, and `TransferRun` and `TransferMethod` of the engine."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, Tally, TransferItem, TransferRow
from apitorch_desktop.dataset.transfers.rate_control import Throughput
from apitorch_desktop.utils.errors import UserError

if TYPE_CHECKING:
    from filelock import BaseFileLock


class TransferKind(StrEnum):
    """Direction of a transfer."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class TransferState(StrEnum):
    """State of a transfer; the values are in the journal."""

    WAITING = "waiting"
    """Waits for its turn or for the network (with a `note`), and continues by itself."""
    RUNNING = "running"
    PAUSED = "paused"
    """By the user."""
    STOPPED = "stopped"
    """By an error that the user has to fix (wrong key, training set deleted, disk full; see `note`), until `resume`."""
    DONE = "done"
    """All items are there."""
    FAILED = "failed"
    """Ended with failed items: see `failures` and `retry_failed`."""
    CANCELLED = "cancelled"


ENDED = frozenset({TransferState.DONE, TransferState.FAILED, TransferState.CANCELLED})
"""States in which a transfer has ended."""


class TransferMissing(UserError):  # noqa: N818 - named for what happened
    """A transfer that is no longer in the journal: another process has ended and forgotten it, or the user."""

    def __init__(self) -> None:
        super().__init__("This transfer is not in the list any more: another window or command has finished it.")


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """Status of a transfer at one moment. `done` counts new items, `skipped` those that existed before.

    Bytes are those of images, without headers; `bytes_total` grows while sizes become known. `rate` is bytes a second
    over the last seconds, 0 while nothing moves. Times are seconds since the epoch.
    """

    id: int
    kind: TransferKind
    connection_id: str
    training_set_id: Id
    title: str
    state: TransferState
    note: str
    total: int
    done: int
    failed: int
    skipped: int
    bytes_total: int
    bytes_done: int
    rate: float
    seconds_left: float | None
    created_at: float
    finished_at: float | None
    folder: Path | None = None
    sequence: int = 0
    """Larger than that of every status taken before: a status that arrives late can be recognized."""

    @property
    def fraction(self) -> float:
        """Progress from 0 to 1: 1 only when every item is there, failed items do not count."""
        if not self.total:
            return 1.0 if self.state is TransferState.DONE else 0.0
        part = (self.done + self.skipped) / self.total
        moved = self.bytes_done / self.bytes_total if self.bytes_total else part
        return part if part == 1 else min(max(part, min(moved, part + 0.05)), 0.999)


Progress = Callable[[TransferItem, int], None]
"""Receives how many bytes of an item have been transferred."""
Outcome = ItemResult | Exception
"""What became of an item: its result, or why it has none."""


class TransferMethod(Protocol):
    """Implementation of one kind of transfer. Its methods may raise ApiError, SourceMissing, NameTaken and OSError."""

    verifies_lost: bool
    """An item whose answer was lost must not be sent again before `prepare` has checked for it."""
    max_parallel: int
    """Calls of `perform` at a time."""

    def prepare(self, client: ApiClient, cancelled: Callable[[], bool]) -> None:
        """Gather what `perform` needs, and find out what became of items whose answer was lost."""
        ...

    def fits_bundle(self, items: Sequence[TransferItem], item: TransferItem) -> bool:
        """Return whether `item` may be transferred in one call with those in `items`."""
        ...

    def perform(
        self, client: ApiClient, items: Sequence[TransferItem], progress: Progress, cancelled: Callable[[], bool]
    ) -> Sequence[Outcome]:
        """Transfer one item, or the items of a bundle; return the outcome of each. An exception is that of all."""
        ...

    def make_durable(self) -> None:
        """Make finished items durable; called before the journal records them as done."""
        ...


class TransferRun:
    """A transfer in the engine's memory, guarded by its `condition`."""

    def __init__(self, entry: TransferRow, tallies: list[Tally]) -> None:
        self.method: TransferMethod | None = None
        self.lock: BaseFileLock | None = None
        self.busy = False
        """A thread locks, prepares or finishes it; others leave it alone."""
        self.prepared = False
        self.all_claimed = False
        self.claimed: deque[TransferItem] = deque()
        self.in_flight: dict[int, int] = {}
        """Bytes of each item in flight that have been transferred."""
        self.calls = 0
        """Calls of the method's `perform` at the moment."""
        self.results: list[ItemResult] = []
        """Results that are not in the journal yet."""
        self.claiming = False
        """A thread claims the next items; others continue with those that are claimed."""
        self.flushing = 0
        self.flushed_at = 0.0
        self.notified_at = 0.0
        self.locked_elsewhere = False
        """Another process holds the lock."""
        self.lock_at = 0.0
        self.attempts: Counter[int] = Counter()
        self.throughput = Throughput()
        self.load(entry, tallies)

    @property
    def id(self) -> int:
        """Id of the transfer."""
        return self.entry.id

    @property
    def active(self) -> bool:
        """True if the transfer continues by itself."""
        return self.state in (TransferState.WAITING, TransferState.RUNNING)

    def load(self, entry: TransferRow, tallies: list[Tally]) -> None:
        """Take over the state in the journal."""
        self.entry = entry
        self.state = TransferState(entry.state)
        self.note = entry.note
        self.finished_at = entry.finished_at
        self.set_counts(tallies)

    def set_counts(self, tallies: list[Tally]) -> None:
        """Take over the counts in the journal."""
        items = {tally.state: tally.items for tally in tallies}
        sizes = {tally.state: tally.bytes for tally in tallies}
        self.total = sum(items.values())
        self.done, self.skipped, self.failed = (
            items.get(state, 0) for state in (ItemState.DONE, ItemState.SKIPPED, ItemState.FAILED)
        )
        self.bytes_total = sum(sizes.values())
        self.bytes_done = sizes.get(ItemState.DONE, 0) + sizes.get(ItemState.SKIPPED, 0)

    def record(self, item: TransferItem, result: ItemResult) -> None:
        """Record the result of an item."""
        partial = self.in_flight.pop(item.id, 0)
        self.results.append(result)
        if result.state is ItemState.FAILED:
            self.failed += 1
            return
        size = result.size if result.size is not None else item.size or 0
        self.bytes_total += size - (item.size or 0)
        self.bytes_done += size
        if result.state is ItemState.DONE:
            self.done += 1
        else:
            self.skipped += 1
        self.throughput.add(max(0, size - partial), 1)

    def set_progress(self, item: TransferItem, sent: int) -> None:
        """Set the bytes of an item transferred so far, headers included; fewer than before where it begins again."""
        before = self.in_flight.get(item.id, 0)
        now = min(sent, item.size) if item.size else sent
        self.in_flight[item.id] = now
        if now > before:
            self.throughput.add(now - before)

    def status(self, sequence: int) -> TransferStatus:
        """Return the status; the engine provides the sequence."""
        rate, items = self.throughput.rates()
        state, note = self.state, self.note
        if self.active:
            state = TransferState.RUNNING if (self.in_flight or self.busy) and not note else TransferState.WAITING
            if self.locked_elsewhere:
                note = "Another window or command works on it."
        moving = sum(self.in_flight.values())
        left = self.total - self.done - self.skipped - self.failed
        return TransferStatus(
            self.id, TransferKind(self.entry.kind), self.entry.connection, self.entry.training_set, self.entry.title, state, note,
            self.total, self.done, self.failed, self.skipped, self.bytes_total,
            min(self.bytes_done + moving, self.bytes_total), rate if self.active else 0.0,
            self._seconds_left(left, moving, rate, items), self.entry.created_at, self.finished_at, self.entry.folder,
            sequence,
        )  # fmt: skip

    def _seconds_left(self, left: int, moving: int, rate: float, items: float) -> float | None:
        if not self.active or not left:
            return None
        bytes_left = self.bytes_total - self.bytes_done - moving
        by_bytes = bytes_left / rate if rate and bytes_left > 0 else 0.0
        by_items = left / items if items else 0.0
        return max(by_bytes, by_items) or None
