"""Uploads and downloads that survive anything: a journal on disk, and the engine that works it off on any threads."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import ImageUrl, SourceMissing, UploadItem, place_of
from apitorch_desktop.dataset.transfers.engine import TransferEngine
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferJournal
from apitorch_desktop.dataset.transfers.model import ENDED, TransferKind, TransferState, TransferStatus
from apitorch_desktop.dataset.transfers.origins import OriginIndex
from apitorch_desktop.dataset.transfers.registry import TransferRegistry
from apitorch_desktop.dataset.transfers.upload import Uploader

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "ENDED",
    "TransferFailure",
    "TransferKind",
    "TransferQueue",
    "TransferState",
    "TransferStatus",
    "TransferredItem",
]

_MOST_BYTES = 256 * 2**20
_IDLE_TIMEOUT = 30.0
"""Seconds to wait at most for what is on its way."""


@dataclass(frozen=True, slots=True)
class TransferFailure:
    """An item that failed: what it is called, its label, why (a sentence), and what to do about it."""

    name: str
    label: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class TransferredItem:
    """An item that is there: for an upload `image_id` is the training image; `created`: it was not there before."""

    image_id: str
    label: str
    name: str
    sha256: str | None
    created: bool


class TransferQueue:
    """The transfers of this machine's person, kept in `folder`. Thread-safe; several processes may share a folder.

    `client_for(connection_id)` is asked again for every call, so that a service that moved is found again; it may raise
    `ApiError`, which counts as a failed call, or LookupError where there is no such connection any more. Give clients
    with `attempts=1` and of their own: the engine itself repeats and paces, and what it waits for others need not.

    Every method but `listen`, and `all` and `status` after the first call, reads or writes the disk: call it on a lane.
    A transfer belongs to the process that began to work on it until that ends; then any other may go on.
    """

    def __init__(self, folder: Path, client_for: "Callable[[str], ApiClient]") -> None:
        self._journal = TransferJournal(folder)
        self._origins = OriginIndex(folder)
        self._registry = TransferRegistry(self._journal)
        self._client_for = client_for
        self._engine = TransferEngine(self._journal, self._registry, client_for)

    def add_upload(
        self,
        connection_id: str,
        training_set_id: Id,
        title: str,
        items: Iterable[UploadItem],
        first: Callable[[int], object] = lambda _transfer_id: None,
    ) -> int:
        """Accept an upload; it is on disk when this returns, pictures from memory included. Answers its id.

        `first` is called with the id before anybody begins to work on it, and before it is sure to be there.
        """
        return self._add(TransferKind.UPLOAD, connection_id, training_set_id, title, None, items, first)

    def add_download(self, connection_id: str, training_set_id: Id, title: str, folder: Path) -> int:
        """Accept a download of a whole training set to `folder/<slug>/<label>/<filename>`. Answers its id."""
        return self._add(TransferKind.DOWNLOAD, connection_id, training_set_id, title, folder.absolute(), ())

    def work(self, cancelled: Callable[[], bool], *, only: int | None = None, until_done: bool = False) -> None:
        """Work off what is there until `cancelled` answers True; any number of threads may be in here at once.

        With `only`, nothing but this transfer. With `until_done`, return when nothing is left that could go on by
        itself; call again after `add_…`, `resume` or `retry_failed`.
        """
        self._engine.work(cancelled, only, until_done)

    def all(self) -> list[TransferStatus]:
        """All transfers that were not forgotten, in the order in which they are worked off."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[int, list[TransferStatus]]:
        """As `all`, with the moment's sequence: a status with a smaller one was taken before, a larger one after."""
        self._registry.load()
        return self._registry.snapshot()

    def status(self, transfer_id: int) -> TransferStatus:
        """One transfer. Raises KeyError."""
        self._registry.load()
        return self._registry.status(transfer_id)

    def retry_now(self, connection_id: str) -> None:
        """The connection's service is there again: what waits for it tries at once."""
        self._registry.load()
        with self._registry.ready:
            waiting = [run for run in self._registry.runs.values() if run.entry.connection == connection_id]
        for run in waiting:
            self._engine.retry_now(run)

    def pause(self, transfer_id: int) -> None:
        """Finish what is on its way, then rest until `resume`."""
        self._set(transfer_id, TransferState.PAUSED)

    def resume(self, transfer_id: int) -> None:
        """Go on with a paused, stopped or cancelled transfer; one that waits for the network tries at once."""
        with self._registry.command(transfer_id) as run:
            if run.state in (TransferState.PAUSED, TransferState.STOPPED, TransferState.CANCELLED):
                self._journal.set_state(transfer_id, TransferState.WAITING)
                with self._registry.ready:
                    run.state, run.note, run.finished_at, run.exhausted = TransferState.WAITING, "", None, False
            self._engine.retry_now(run)

    def cancel(self, transfer_id: int) -> None:
        """Stop for good: what is there stays there (`results`), the rest is not sent."""
        self._set(transfer_id, TransferState.CANCELLED)

    def retry_failed(self, transfer_id: int) -> None:
        """Try the failed items again."""
        with self._registry.command(transfer_id) as run:
            self._engine.flush(run)
            self._journal.wait_again(transfer_id, ItemState.FAILED)
            if run.state is TransferState.FAILED:
                self._journal.set_state(transfer_id, TransferState.WAITING)
            tallies = self._journal.tallies(transfer_id)
            with self._registry.ready:
                if run.state is TransferState.FAILED:
                    run.state, run.note, run.finished_at = TransferState.WAITING, "", None
                run.exhausted = False
                run.tries.clear()
                run.count(tallies)

    def reorder(self, transfer_ids: Sequence[int]) -> None:
        """Work these off in this order, before all others."""
        self._registry.load()
        self._journal.place_first(transfer_ids)
        self._registry.refresh()

    def forget(self, transfer_id: int) -> None:
        """Drop an ended transfer (done, failed or cancelled) from the journal, all but where its images came from.

        Raises ValueError for one that has not ended.
        """
        with self._registry.command(transfer_id) as run:
            if run.state not in ENDED:
                raise ValueError("This transfer has not ended: cancel it first.")
            self._engine.release(run)
            if run.entry.kind == TransferKind.UPLOAD:
                self._origins.keep(run.entry.connection, self._places(transfer_id))
            self._journal.forget(transfer_id)
            with self._registry.ready:
                del self._registry.runs[transfer_id]

    def failures(self, transfer_id: int) -> list[TransferFailure]:
        """The items that failed, in order."""
        self._flushed(transfer_id)
        return [
            TransferFailure(item.name, item.label, item.reason, item.advice)
            for item in self._journal.items(transfer_id, ItemState.FAILED)
        ]

    def results(self, transfer_id: int) -> list[TransferredItem]:
        """The items that are there, in order; what `created` is what an undo has to delete."""
        self._flushed(transfer_id)
        return [
            TransferredItem(item.image_id, item.label, item.name, item.sha256, bool(item.created))
            for item in self._journal.items(transfer_id, ItemState.DONE, ItemState.SKIPPED)
        ]

    def origin(self, connection_id: str, image_id: str, sha256: str = "") -> str:
        """Where an image that was uploaded from here came from: a path, an archive and the name in it, an address; or "".

        `sha256`: of its bytes, where that is known; it finds what came back under another id.
        """
        item = self._journal.item_of(connection_id, image_id, sha256)
        if item is not None:
            return "" if item.kind == "picture" else place_of(self._journal.source(item))
        return self._origins.find(connection_id, image_id, sha256)

    def update_ids(self, connection_id: str, ids: Mapping[str, str]) -> None:
        """A service gave images other ids, old → new: where they came from holds."""
        self._origins.update_ids(connection_id, ids)
        known = {new: self._journal.item_of(connection_id, old) for old, new in ids.items()}
        self._origins.keep(
            connection_id,
            [
                (new, item.sha256 or "", place_of(self._journal.source(item)))
                for new, item in known.items()
                if item is not None and item.kind != "picture"
            ],
        )

    def _places(self, transfer_id: int) -> list[tuple[str, str, str]]:
        """(image id, sha256, place) of what an upload brought in, or found there."""
        return [
            (item.image_id, item.sha256 or "", place_of(self._journal.source(item)))
            for item in self._journal.items(transfer_id, ItemState.DONE, ItemState.SKIPPED)
            if item.image_id and item.kind != "picture"
        ]

    def wait_until_idle(self, transfer_id: int) -> None:
        """Wait until nothing of an ended transfer is under way, and find out what became of uploads without an answer.

        At most half a minute; where the service is away, what nobody has heard of stays unknown.
        """
        self._registry.load()
        run, ready = self._registry.runs[transfer_id], self._registry.ready
        with ready:
            ready.wait_for(lambda: not (run.in_flight or run.busy or run.flushing), _IDLE_TIMEOUT)
            if run.active:
                return
            run.ended += [ItemResult(item.id, ItemState.WAITING) for item in run.queue]
            run.queue.clear()
            run.prepared = run.exhausted = False
        self._engine.flush(run)
        unheard = self._journal.items(transfer_id, ItemState.SENDING)
        if run.entry.kind == TransferKind.UPLOAD and unheard and self._journal.baseline(transfer_id) is not None:
            with suppress(ApiError, LookupError):
                archives = Archives()
                client = self._client_for(run.entry.connection)
                Uploader(self._journal, run.entry, archives).prepare(client, lambda: False)
                archives.close()
            tallies = self._journal.tallies(transfer_id)
            with ready:
                run.count(tallies)

    def read_original(self, connection_id: str, image_id: str) -> bytes | None:
        """What an image was uploaded from, where that is still on this machine and the same. Reads the disk."""
        item = self._journal.item_of(connection_id, image_id)
        if item is None:
            return None
        archives = Archives()
        try:
            source = self._journal.source(item)
            if isinstance(source, ImageUrl):
                return None
            data = read(source, archives, _MOST_BYTES)
        except (SourceMissing, OSError):
            return None
        finally:
            archives.close()
        return data if item.sha256 in (None, hashlib.sha256(data).hexdigest()) else None

    def summary(self, transfer_id: int) -> str:
        """Plain text for the person to keep: what came in, what did not and why."""
        status = self.status(transfer_id)
        came = Counter(result.label for result in self.results(transfer_id) if result.created)
        failures = self.failures(transfer_id)
        began, ended = (_date(moment) for moment in (status.created_at, status.finished_at))
        verb = "uploaded" if status.kind is TransferKind.UPLOAD else "downloaded"
        left = status.total - status.done - status.skipped - status.failed
        lines = [status.title, f"Began {began}" + (f", ended {ended}" if ended else ""), ""]
        if status.note:
            lines += [status.note, ""]
        lines += [f"{_count(status.done)} {verb}"]
        lines += [f"    {label}: {came[label]}" for label in sorted(came)]
        lines += [f"{_count(status.skipped)} there already"] if status.skipped else []
        lines += [f"{_count(left)} not {verb} yet"] if left else []
        lines += [f"{_count(status.failed)} failed"] if failures else []
        lines += [f"    {failure.label}/{failure.name}: {failure.reason} {failure.advice}" for failure in failures]
        return "\n".join(lines) + "\n"

    def add_listener(self, listener: Callable[[TransferStatus], None]) -> Callable[[], None]:
        """Call `listener` with a transfer that changed, at most some 20 times a second each, always with the last.

        On a worker's thread; it must be quick. Answers a function that ends it.
        """
        return self._registry.add_listener(listener)

    def close(self) -> None:
        """Write down what is known and close the journal; the threads in `work` must have been told to stop."""
        self._engine.close()
        self._journal.close()
        self._origins.close()

    def _add(
        self,
        kind: TransferKind,
        connection_id: str,
        training_set_id: Id,
        title: str,
        folder: Path | None,
        items: Iterable[UploadItem],
        first: Callable[[int], object] = lambda _transfer_id: None,
    ) -> int:
        locks: list[BaseFileLock | None] = []

        def own(new: int) -> None:
            first(new)
            locks.append(self._registry.own(new))

        transfer = self._journal.add(
            kind,
            connection_id,
            training_set_id,
            title,
            folder,
            items,
            own,
        )
        self._registry.added(transfer, locks[0])
        return transfer

    def _set(self, transfer_id: int, state: TransferState) -> None:
        with self._registry.command(transfer_id) as run:
            if run.state in ENDED and not (run.state is TransferState.FAILED and state is TransferState.CANCELLED):
                return
            self._engine.flush(run)
            finished_at = self._journal.set_state(transfer_id, state, finished=state in ENDED)
            with self._registry.ready:
                run.state, run.note, run.finished_at = state, "", finished_at

    def _flushed(self, transfer_id: int) -> None:
        self._registry.load()
        self._engine.flush(self._registry.runs[transfer_id])


def _count(pictures: int) -> str:
    return f"{pictures:,} picture{'' if pictures == 1 else 's'}"


def _date(moment: float | None) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "seconds") if moment else ""
