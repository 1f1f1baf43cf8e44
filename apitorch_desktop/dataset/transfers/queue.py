"""Queue of uploads and downloads: a journal on disk, and an engine that processes it on any number of threads."""

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
from apitorch_desktop.dataset.transfers.journal import ItemState, TransferJournal
from apitorch_desktop.dataset.transfers.model import (
    ENDED,
    TransferKind,
    TransferMissing,
    TransferState,
    TransferStatus,
)
from apitorch_desktop.dataset.transfers.uploads import MAX_BYTES, Uploader, bare_id
from apitorch_desktop.utils.sqlite import SqliteFile
from apitorch_desktop.utils.text import plural

if TYPE_CHECKING:
    from filelock import BaseFileLock


MAX_ORIGINS = 200_000
"""Number of origins that are kept, some 200 bytes each; the oldest are dropped first."""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS origin (
        n INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, image TEXT, sha256 TEXT, place TEXT,
        UNIQUE (connection, image) ON CONFLICT REPLACE)""",
    "CREATE INDEX IF NOT EXISTS origin_sha256 ON origin (connection, sha256)",
)


class OriginIndex:
    """SQLite file in `folder`, opened at the first call. Thread-safe; a damaged file is replaced."""

    def __init__(self, folder: Path, most: int = MAX_ORIGINS) -> None:
        self._file = SqliteFile(folder / "origins.sqlite", _SCHEMA, cache=True)
        self._most = most

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keep(self, connection: str, found: Iterable[tuple[str, str, str]]) -> None:
        """Record (image id, sha256 or "", place) of images."""
        with self._file.transaction() as rows:
            rows.executemany(
                "INSERT INTO origin (connection, image, sha256, place) VALUES (?, ?, ?, ?)",
                [(connection, bare_id(image), sha256, place) for image, sha256, place in found],
            )
            rows.execute(
                "DELETE FROM origin WHERE n <= (SELECT n FROM origin ORDER BY n DESC LIMIT 1 OFFSET ?)", (self._most,)
            )

    def find(self, connection: str, image: str, sha256: str = "") -> str:
        """Return the place an image came from, by its id, else by its hash; "" where neither is known."""
        sql = "SELECT place FROM origin WHERE connection = ? AND image = ?"
        for (place,) in self._file.read(sql, connection, bare_id(image)):
            return str(place)
        sql = "SELECT place FROM origin WHERE connection = ? AND sha256 = ? ORDER BY n DESC LIMIT 1"
        for (place,) in self._file.read(sql, connection, sha256) if sha256 else ():
            return str(place)
        return ""

    def update_ids(self, connection: str, ids: Mapping[str, str]) -> None:
        """Replace ids that changed at the service: old → new."""
        with self._file.transaction() as rows:
            rows.executemany(
                "UPDATE origin SET image = ? WHERE connection = ? AND image = ?",
                [(bare_id(new), connection, bare_id(old)) for old, new in ids.items()],
            )


__all__ = [
    "ENDED",
    "TransferFailure",
    "TransferKind",
    "TransferMissing",
    "TransferQueue",
    "TransferState",
    "TransferStatus",
    "TransferredItem",
]

_IDLE_TIMEOUT = 30.0
"""Seconds to wait at most for calls in flight."""


@dataclass(frozen=True, slots=True)
class TransferFailure:
    """An item that failed: name, label, reason (a sentence) and advice."""

    name: str
    label: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class TransferredItem:
    """A finished item. `image_id` is the training image of an upload; `created`: it did not exist before."""

    image_id: str
    label: str
    name: str
    sha256: str | None
    created: bool


class TransferQueue:
    """The user's transfers, kept in `folder`. Thread-safe; several processes may share a folder.

    `client_for(connection_id)` is called for every request, so that a service is found at its new address. It may raise
    `ApiError`, which counts as a failed call, or LookupError for an unknown connection. The clients should be
    `ApiClient.without_retries()`: the engine itself repeats calls and controls their rate.

    Methods that take the id of a transfer raise TransferMissing if it is no longer in the journal.

    All methods except `add_listener`, and `all` and `status` after the first call, use the disk: call them on a lane.
    A transfer belongs to the process that began to process it until that ends; then any other may continue.
    """

    def __init__(self, folder: Path, client_for: Callable[[str], ApiClient]) -> None:
        self._journal = TransferJournal(folder)
        self._origins = OriginIndex(folder)
        self._client_for = client_for
        self._engine = TransferEngine(self._journal, client_for)

    def add_upload(
        self,
        connection_id: str,
        training_set_id: Id,
        title: str,
        items: Iterable[UploadItem],
        first: Callable[[int], object] = lambda _transfer_id: None,
    ) -> int:
        """Accept an upload and return its id; it is on disk on return, images from memory included.

        `first` is called with the id before the upload can begin, and before it is certain that it will exist.
        """
        return self._add(TransferKind.UPLOAD, connection_id, training_set_id, title, None, items, first)

    def add_download(self, connection_id: str, training_set_id: Id, title: str, folder: Path) -> int:
        """Accept a download of a training set to `folder/<slug>/<label>/<filename>` and return its id."""
        return self._add(TransferKind.DOWNLOAD, connection_id, training_set_id, title, folder.absolute(), ())

    def work(self, cancelled: Callable[[], bool], *, only: int | None = None, until_done: bool = False) -> None:
        """Process transfers until `cancelled` returns True; any number of threads may call this at once.

        With `only`, process this transfer alone. With `until_done`, return when nothing is left that continues by
        itself; call again after `add_…`, `resume` or `retry_failed`.
        """
        self._engine.work(cancelled, only, until_done)

    def all(self) -> list[TransferStatus]:
        """Return all transfers in the order in which they are processed."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[int, list[TransferStatus]]:
        """Return the sequence of this moment and all transfers: a status with a smaller sequence is older."""
        self._engine.load()
        return self._engine.snapshot()

    def status(self, transfer_id: int) -> TransferStatus:
        """Return one transfer. Raises TransferMissing."""
        return self._engine.status(transfer_id)

    def is_active(self, transfer_id: int) -> bool:
        """Return whether a transfer goes on, or would after a pause; False for one that is not known."""
        try:
            return self.status(transfer_id).state not in ENDED
        except TransferMissing:
            return False

    def retry_now(self, connection_id: str) -> None:
        """Let the transfers of a connection, whose service is there again, try at once."""
        self._engine.load()
        with self._engine.condition:
            waiting = [run for run in self._engine.runs.values() if run.entry.connection == connection_id]
        for run in waiting:
            self._engine.retry_now(run)

    def pause(self, transfer_id: int) -> None:
        """Finish the calls in flight, then pause until `resume`."""
        self._set(transfer_id, TransferState.PAUSED)

    def resume(self, transfer_id: int) -> None:
        """Continue a paused, stopped or cancelled transfer; one that waits for the network tries at once."""
        with self._engine.command(transfer_id) as run:
            if run.state in (TransferState.PAUSED, TransferState.STOPPED, TransferState.CANCELLED):
                self._journal.set_state(transfer_id, TransferState.WAITING)
                with self._engine.condition:
                    run.state, run.note, run.finished_at, run.all_claimed = TransferState.WAITING, "", None, False
            self._engine.retry_now(run)

    def cancel(self, transfer_id: int) -> None:
        """Cancel a transfer: finished items remain (`results`), the others are not sent."""
        self._set(transfer_id, TransferState.CANCELLED)

    def retry_failed(self, transfer_id: int) -> None:
        """Try the failed items again."""
        with self._engine.command(transfer_id) as run:
            self._engine.flush(run)
            self._journal.wait_again(transfer_id, ItemState.FAILED)
            if run.state is TransferState.FAILED:
                self._journal.set_state(transfer_id, TransferState.WAITING)
            tallies = self._journal.tallies(transfer_id)
            with self._engine.condition:
                if run.state is TransferState.FAILED:
                    run.state, run.note, run.finished_at = TransferState.WAITING, "", None
                run.all_claimed = False
                run.attempts.clear()
                run.set_counts(tallies)

    def reorder(self, transfer_ids: Sequence[int]) -> None:
        """Process these transfers first, in this order."""
        self._engine.load()
        self._journal.place_first(transfer_ids)
        self._engine.refresh()

    def forget(self, transfer_id: int) -> None:
        """Delete an ended transfer (done, failed or cancelled) from the journal, except for the origins of its images.

        Raises ValueError for one that has not ended.
        """
        with self._engine.command(transfer_id) as run:
            if run.state not in ENDED:
                raise ValueError("This transfer has not ended: cancel it first.")
            self._engine.release(run)
            if run.entry.kind == TransferKind.UPLOAD:
                self._origins.keep(run.entry.connection, self._places(transfer_id))
            self._journal.forget(transfer_id)
            with self._engine.condition:
                del self._engine.runs[transfer_id]

    def is_set_missing(self, transfer_id: int) -> bool:
        """Return whether the service no longer has the training set; False if the service does not answer."""
        status = self.status(transfer_id)
        try:
            found = self._client_for(status.connection_id).training_sets()
        except (ApiError, LookupError):
            return False
        return status.training_set_id not in {training_set.id for training_set in found}

    def failures(self, transfer_id: int) -> list[TransferFailure]:
        """Return the failed items, in order."""
        self._flushed(transfer_id)
        return [
            TransferFailure(item.name, item.label, item.reason, item.advice)
            for item in self._journal.items(transfer_id, ItemState.FAILED)
        ]

    def results(self, transfer_id: int) -> list[TransferredItem]:
        """Return the finished items, in order; an undo deletes those that were `created`."""
        self._flushed(transfer_id)
        return [
            TransferredItem(item.image_id, item.label, item.name, item.sha256, bool(item.created))
            for item in self._journal.items(transfer_id, ItemState.DONE, ItemState.SKIPPED)
        ]

    def origin(self, connection_id: str, image_id: str, sha256: str = "") -> str:
        """Return the origin of an image uploaded from this machine: a path, archive and name, or URL; else "".

        `sha256` also finds an image that came back under another id.
        """
        item = self._journal.item_of(connection_id, image_id, sha256)
        if item is not None:
            return "" if item.kind == "picture" else place_of(self._journal.source(item))
        return self._origins.find(connection_id, image_id, sha256)

    def update_ids(self, connection_id: str, ids: Mapping[str, str]) -> None:
        """Keep the origins of images whose ids changed at the service, old → new."""
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
        """Return (image id, sha256, place) of the images that an upload added or found."""
        return [
            (item.image_id, item.sha256 or "", place_of(self._journal.source(item)))
            for item in self._journal.items(transfer_id, ItemState.DONE, ItemState.SKIPPED)
            if item.image_id and item.kind != "picture"
        ]

    def wait_until_idle(self, transfer_id: int) -> None:
        """Wait until no call of an ended transfer is in flight, and search for uploads without an answer.

        Takes at most half a minute; while the service is unreachable such uploads stay unknown.
        """
        run, condition = self._engine.run(transfer_id), self._engine.condition
        with condition:
            condition.wait_for(lambda: not (run.in_flight or run.busy or run.flushing), _IDLE_TIMEOUT)
            if run.active:
                return
            self._engine.return_claimed(run)
            run.prepared = False
        self._engine.flush(run)
        unanswered = self._journal.items(transfer_id, ItemState.SENDING)
        if run.entry.kind == TransferKind.UPLOAD and unanswered and self._journal.baseline(transfer_id) is not None:
            with suppress(ApiError, LookupError):
                archives = Archives()
                client = self._client_for(run.entry.connection)
                Uploader(self._journal, run.entry, archives).prepare(client, lambda: False)
                archives.close()
            tallies = self._journal.tallies(transfer_id)
            with condition:
                run.set_counts(tallies)

    def read_original(self, connection_id: str, image_id: str) -> bytes | None:
        """Return the bytes that an image was uploaded from, where they are still on this machine and the same."""
        item = self._journal.item_of(connection_id, image_id)
        if item is None:
            return None
        archives = Archives()
        try:
            source = self._journal.source(item)
            if isinstance(source, ImageUrl):
                return None
            data = read(source, archives, MAX_BYTES)
        except (SourceMissing, OSError):
            return None
        finally:
            archives.close()
        return data if item.sha256 in (None, hashlib.sha256(data).hexdigest()) else None

    def summary(self, transfer_id: int) -> str:
        """Return a report as plain text: what was transferred, what was not and why."""
        status = self.status(transfer_id)
        came = Counter(result.label for result in self.results(transfer_id) if result.created)
        failures = self.failures(transfer_id)
        began, ended = (_date(moment) for moment in (status.created_at, status.finished_at))
        verb = "uploaded" if status.kind is TransferKind.UPLOAD else "downloaded"
        left = status.total - status.done - status.skipped - status.failed
        lines = [status.title, f"Began {began}" + (f", ended {ended}" if ended else ""), ""]
        if status.note:
            lines += [status.note, ""]
        lines += [f"{plural(status.done, 'picture')} {verb}"]
        lines += [f"    {label}: {came[label]}" for label in sorted(came)]
        lines += [f"{plural(status.skipped, 'picture')} there already"] if status.skipped else []
        lines += [f"{plural(left, 'picture')} not {verb} yet"] if left else []
        lines += [f"{plural(status.failed, 'picture')} failed"] if failures else []
        lines += [f"    {failure.label}/{failure.name}: {failure.reason} {failure.advice}" for failure in failures]
        return "\n".join(lines) + "\n"

    def add_listener(
        self, changed: Callable[[TransferStatus], None], removed: Callable[[], object] = lambda: None
    ) -> Callable[[], None]:
        """Call `changed` with the status of each transfer that changes, at most some 20 times a second each.

        The last status of a transfer is always reported. `removed` is called after another process has removed
        transfers: take a `snapshot` then. The calls come on a worker thread and must be quick. Return a function that
        removes the listener.
        """
        return self._engine.add_listener(changed, removed)

    def close(self) -> None:
        """Write all results and close the journal; the threads in `work` must have been cancelled."""
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

        def lock(new: int) -> None:
            first(new)
            locks.append(self._engine.acquire(new))

        transfer = self._journal.add(kind, connection_id, training_set_id, title, folder, items, lock)
        self._engine.add(transfer, locks[0])
        return transfer

    def _set(self, transfer_id: int, state: TransferState) -> None:
        with self._engine.command(transfer_id) as run:
            if run.state in ENDED and not (run.state is TransferState.FAILED and state is TransferState.CANCELLED):
                return
            self._engine.flush(run)
            finished_at = self._journal.set_state(transfer_id, state, finished=state in ENDED)
            with self._engine.condition:
                run.state, run.note, run.finished_at = state, "", finished_at

    def _flushed(self, transfer_id: int) -> None:
        self._engine.flush(self._engine.run(transfer_id))


def _date(moment: float | None) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "seconds") if moment else ""
