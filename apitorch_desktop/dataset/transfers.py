"""Uploads and downloads that survive anything: a journal on disk, and the engine that works it off on any threads."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.sources import Upload

if TYPE_CHECKING:
    from apitorch_desktop.api.client import ApiClient


class Kind(StrEnum):
    """Which way a transfer goes."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class State(StrEnum):
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


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """A transfer as it stands. `done` counts items that are there now; `skipped` those that were there before.

    Bytes are of whole images, headers not counted; `bytes_total` grows while sizes become known. `rate` is bytes a
    second over the last seconds, 0 while nothing moves. Times are seconds since the epoch.
    """

    id: int
    kind: Kind
    connection_id: str
    training_set_id: Id
    title: str
    state: State
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

    @property
    def fraction(self) -> float:
        """From 0 to 1; 1 only when everything is there. What failed never counts."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed: what it is called, its label, why (a sentence), and what to do about it."""

    name: str
    label: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Result:
    """An item that is there: for an upload `image_id` is the training image; `created`: it was not there before."""

    image_id: str
    label: str
    name: str
    sha256: str | None
    created: bool


class Transfers:
    """The transfers of this machine's person, kept in `folder`. Thread-safe; several processes may share a folder.

    `client_for(connection_id)` is asked again for every call, so that a service that moved is found again; it may raise
    `ApiError`, which counts as a failed call. Give clients with `attempts=1`: the engine itself repeats and paces.
    """

    def __init__(self, folder: Path, client_for: Callable[[str], "ApiClient"]) -> None:
        raise NotImplementedError

    def add_upload(self, connection_id: str, training_set_id: Id, title: str, items: Iterable[Upload]) -> int:
        """Accept an upload; it is on disk when this returns, pictures from memory included. Answers its id."""
        raise NotImplementedError

    def add_download(self, connection_id: str, training_set_id: Id, title: str, folder: Path) -> int:
        """Accept a download of a whole training set to `folder/<slug>/<label>/<filename>`. Answers its id."""
        raise NotImplementedError

    def work(self, cancelled: Callable[[], bool], *, only: int | None = None, until_done: bool = False) -> None:
        """Work off what is there until `cancelled` answers True; any number of threads may be in here at once.

        With `only`, nothing but this transfer. With `until_done`, return when nothing is left that could go on by
        itself; call again after `add_…`, `resume` or `retry_failed`.
        """
        raise NotImplementedError

    def all(self) -> list[TransferStatus]:
        """All transfers that were not forgotten, in the order in which they are worked off."""
        raise NotImplementedError

    def status(self, transfer_id: int) -> TransferStatus:
        """One transfer. Raises KeyError."""
        raise NotImplementedError

    def pause(self, transfer_id: int) -> None:
        """Finish what is on its way, then rest until `resume`."""
        raise NotImplementedError

    def resume(self, transfer_id: int) -> None:
        """Go on with a paused, stopped or cancelled transfer; one that waits for the network tries at once."""
        raise NotImplementedError

    def cancel(self, transfer_id: int) -> None:
        """Stop for good: what is there stays there (`results`), the rest is not sent."""
        raise NotImplementedError

    def retry_failed(self, transfer_id: int) -> None:
        """Try the failed items again."""
        raise NotImplementedError

    def reorder(self, transfer_ids: Sequence[int]) -> None:
        """Work these off in this order, before all others."""
        raise NotImplementedError

    def forget(self, transfer_id: int) -> None:
        """Drop an ended transfer (done, failed or cancelled) from the journal. Raises ValueError for one that is not."""
        raise NotImplementedError

    def failures(self, transfer_id: int) -> list[Failure]:
        """The items that failed, in order."""
        raise NotImplementedError

    def results(self, transfer_id: int) -> list[Result]:
        """The items that are there, in order; what `created` is what an undo has to delete."""
        raise NotImplementedError

    def summary(self, transfer_id: int) -> str:
        """Plain text for the person to keep: what came in, what did not and why."""
        raise NotImplementedError

    def listen(self, listener: Callable[[TransferStatus], None]) -> Callable[[], None]:
        """Call `listener` with a transfer that changed, at most some 20 times a second each, always with the last.

        On a worker's thread; it must be quick. Answers a function that ends it.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write down what is known and close the journal; the threads in `work` must have been told to stop."""
        raise NotImplementedError
