"""A transfer as it stands: what the window is told of it, and what the engine knows of one it works on."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, Tally, TransferItem, TransferRow
from apitorch_desktop.dataset.transfers.rate_control import Throughput

if TYPE_CHECKING:
    from filelock import BaseFileLock


class TransferKind(StrEnum):
    """Which way a transfer goes."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class TransferState(StrEnum):
    """Where a transfer stands."""

    WAITING = "waiting"
    """Its turn will come, or it waits for the network (`note` says so); goes on by itself."""
    RUNNING = "running"
    PAUSED = "paused"
    """By the person."""
    STOPPED = "stopped"
    """By something only the person can put right (wrong key, training set gone, disk full): `note`, then `resume`."""
    DONE = "done"
    """All of it."""
    FAILED = "failed"
    """Ended, but some items failed: `failures`, `retry_failed`."""
    CANCELLED = "cancelled"


ENDED = frozenset({TransferState.DONE, TransferState.FAILED, TransferState.CANCELLED})
"""The states in which nothing more happens by itself."""


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """A transfer as it stands. `done` counts items that are there now; `skipped` those that were there before.

    Bytes are of whole images, headers not counted; `bytes_total` grows while sizes become known. `rate` is bytes a
    second over the last seconds, 0 while nothing moves. Times are seconds since the epoch.
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
    """Larger than that of every status taken before it: what comes late is told from what is new."""

    @property
    def fraction(self) -> float:
        """From 0 to 1; 1 only when everything is there. What failed never counts."""
        if not self.total:
            return 1.0 if self.state is TransferState.DONE else 0.0
        part = (self.done + self.skipped) / self.total
        moved = self.bytes_done / self.bytes_total if self.bytes_total else part
        return part if part == 1 else min(max(part, min(moved, part + 0.05)), 0.999)


class TransferMethod(Protocol):
    """How the items of one kind of transfer are done. Its calls may raise ApiError, SourceGone and OSError."""

    careful: bool
    """An item whose answer was lost must not be sent again before `prepare` has looked."""
    at_once: int
    """Items at a time, at most."""

    def prepare(self, client: "ApiClient", cancelled: Callable[[], bool]) -> None:
        """Find out what has to be known before items can be done; and what became of those whose answer was lost."""
        ...

    def perform(
        self, client: "ApiClient", item: TransferItem, moved: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        """Do one item; `moved` is told how many of its bytes are through."""
        ...

    def make_durable(self) -> None:
        """Called before items are written down as done: make sure that they are."""
        ...


class TransferRun:
    """A transfer in memory. Guarded by the engine's lock, but for `moved`."""

    def __init__(self, entry: TransferRow, tallies: list[Tally]) -> None:
        self.method: TransferMethod | None = None
        self.lock: BaseFileLock | None = None
        self.busy = False
        """Somebody prepares or finishes it; others leave it alone."""
        self.prepared = False
        self.exhausted = False
        self.queue: deque[TransferItem] = deque()
        self.in_flight: dict[int, int] = {}
        self.ended: list[ItemResult] = []
        """What is not yet in the journal."""
        self.filling = False
        """Somebody claims the next items; others go on with those there are."""
        self.flushing = 0
        self.flushed_at = 0.0
        self.told_at = 0.0
        self.elsewhere = False
        """Another process works on it."""
        self.own_at = 0.0
        self.tries: Counter[int] = Counter()
        self.meter = Throughput()
        self.take(entry, tallies)

    @property
    def id(self) -> int:
        """The transfer's id."""
        return self.entry.id

    @property
    def active(self) -> bool:
        """Whether it would go on by itself."""
        return self.state in (TransferState.WAITING, TransferState.RUNNING)

    def take(self, entry: TransferRow, tallies: list[Tally]) -> None:
        """Take all from the journal."""
        self.entry = entry
        self.state = TransferState(entry.state)
        self.note = entry.note
        self.finished_at = entry.finished_at
        self.count(tallies)

    def count(self, tallies: list[Tally]) -> None:
        """Take the counts from the journal."""
        items = {tally.state: tally.items for tally in tallies}
        sizes = {tally.state: tally.bytes for tally in tallies}
        self.total = sum(items.values())
        self.done, self.skipped, self.failed = (
            items.get(state, 0) for state in (ItemState.DONE, ItemState.SKIPPED, ItemState.FAILED)
        )
        self.bytes_total = sum(sizes.values())
        self.bytes_done = sizes.get(ItemState.DONE, 0) + sizes.get(ItemState.SKIPPED, 0)

    def end(self, item: TransferItem, ended: ItemResult) -> None:
        """An item came to its end."""
        partial = self.in_flight.pop(item.id, 0)
        self.ended.append(ended)
        if ended.state is ItemState.FAILED:
            self.failed += 1
            return
        size = ended.size if ended.size is not None else item.size or 0
        self.bytes_total += size - (item.size or 0)
        self.bytes_done += size
        if ended.state is ItemState.DONE:
            self.done += 1
        else:
            self.skipped += 1
        self.meter.add(max(0, size - partial), 1)

    def moved(self, item: TransferItem, sent: int) -> None:
        """So many bytes of an item are through, headers included; fewer than before when it begins again."""
        before = self.in_flight.get(item.id, 0)
        now = min(sent, item.size) if item.size else sent
        self.in_flight[item.id] = now
        if now > before:
            self.meter.add(now - before)

    def status(self, sequence: int) -> TransferStatus:
        """What the window is told; by way of the registry, which knows the sequence."""
        rate, items = self.meter.rates()
        state, note = self.state, self.note
        if self.active:
            state = TransferState.RUNNING if (self.in_flight or self.busy) and not note else TransferState.WAITING
            if self.elsewhere:
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
