"""Transfers of the window: run on the bulk lane, watched and controlled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.queue import TransferFailure, TransferMissing, TransferQueue, TransferStatus
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, TaskRunner
from apitorch_desktop.ui.transfers.status_text import ENDED

WORKERS = 4
"""Threads that run transfers: all of the bulk lane."""
FOREVER = 1e6
"""Seconds; a wait that only a cancellation ends."""


class TransferController(QObject):
    """Keeps the statuses of all transfers and runs commands on them."""

    listed = Signal(list)
    """All statuses, after a transfer was added or removed."""
    changed = Signal(object)
    """The new `TransferStatus` of one transfer."""
    progressed = Signal(object)
    """The `TransferStatus` of an upload that has added images since the last signal."""
    ended = Signal(object)
    """The `TransferStatus` of a transfer that has just ended."""
    failed = Signal(object, str)
    """(exception, title of what failed)"""

    def __init__(self, tasks: TaskRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._transfers: TransferQueue | None = None
        self._statuses: dict[int, TransferStatus] = {}
        self._dismissed: set[int] = set()
        self._listed_at = 0
        """Sequence number of the newest list."""

    @property
    def statuses(self) -> list[TransferStatus]:
        """All transfers, in the order in which they run."""
        return list(self._statuses.values())

    def current(self) -> TransferStatus | None:
        """Return the transfer for the status bar: a running one, else a waiting or paused, else a failed, not dismissed one."""
        shown = [status for status in self._statuses.values() if status.id not in self._dismissed]
        for states in (("running",), ("stopped",), ("paused", "waiting"), ("failed",)):
            for status in shown:
                if status.state in states:
                    return status
        return None

    @property
    def transfers(self) -> TransferQueue | None:
        """The queue, once it is open."""
        return self._transfers

    def start(self, transfers: TransferQueue) -> None:
        """Run transfers, unfinished ones of earlier runs included."""
        self._transfers = transfers

        def watch(context: JobContext) -> None:
            end = transfers.add_listener(context.post, lambda: context.post(None))
            while not context.wait(FOREVER):
                pass
            end()

        self._tasks.run(Lane.WATCH, watch, progress=self._receive, title="Watch the transfers")
        self.reload()
        for _ in range(WORKERS):
            self._work(transfers)

    def _work(self, transfers: TransferQueue) -> None:
        def retry(error: Exception) -> None:
            self.failed.emit(error, "Working on the transfers")
            QTimer.singleShot(3000, self, lambda: self._work(transfers))

        self._tasks.run(
            Lane.BULK, lambda context: transfers.work(context.cancelled), failed=retry, owner=self, title="Transfers"
        )

    def reload(self) -> None:
        """Read the list of transfers."""
        self._run(lambda transfers: transfers.snapshot(), self._show_all, "Listing the transfers")

    def retry_now(self, connection_id: str) -> None:
        """Let transfers that wait for a service retry at once."""
        self._run(
            lambda transfers: transfers.retry_now(connection_id), lambda _none: None, "Going on with the transfers"
        )

    def download(self, connection_id: str, set_id: Id, title: str, folder: Path) -> None:
        """Add a download of a whole training set into a folder."""
        self._run(
            lambda transfers: transfers.add_download(connection_id, set_id, title, folder),
            lambda _id: self.reload(),
            "Accepting the download",
        )

    def command(self, verb: str, transfer_id: int) -> None:
        """Run `pause`, `resume`, `cancel`, `retry_failed`, `forget`, or `first` (before all others)."""

        def act(transfers: TransferQueue) -> None:
            if verb == "first":
                transfers.reorder([transfer_id])
            else:
                getattr(transfers, verb)(transfer_id)

        def failed(error: Exception) -> None:
            self.failed.emit(error, "" if isinstance(error, TransferMissing) else "Changing the transfer")
            self.reload()

        self._dismissed.discard(transfer_id)
        self._run(act, lambda _none: self.reload(), "Changing the transfer", failed)

    def dismiss(self, transfer_id: int) -> None:
        """Remove an ended transfer from the status bar; it stays in the list."""
        self._dismissed.add(transfer_id)
        if (status := self._statuses.get(transfer_id)) is not None:
            self.changed.emit(status)

    def failures(self, transfer_id: int, done: Callable[[Sequence[TransferFailure]], object]) -> None:
        """Read the failed files."""
        self._run(lambda transfers: transfers.failures(transfer_id), done, "Looking up the failures")

    def save_summary(self, transfer_id: int, path: Path, done: Callable[[Path], object]) -> None:
        """Write a summary of what was transferred, and what was not, to a text file."""

        def act(transfers: TransferQueue) -> Path:
            path.write_text(transfers.summary(transfer_id), encoding="utf-8")
            return path

        self._run(act, done, "Saving the summary")

    def _run(
        self,
        act: Callable[[TransferQueue], object],
        done: Callable[..., object],
        doing: str,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        transfers = self._transfers
        if transfers is None:
            return
        self._tasks.run(
            Lane.DISK,
            lambda _context: act(transfers),
            done=done,
            failed=failed or (lambda error: self.failed.emit(error, doing)),
            owner=self,
            title=doing,
        )

    # Lists and single statuses come from several threads, in any order: the newer one has the higher sequence number.

    def _show_all(self, snapshot: tuple[int, list[TransferStatus]]) -> None:
        sequence, listed = snapshot
        if sequence < self._listed_at:
            return
        before, first = self._statuses, not self._listed_at
        newest = {
            status.id: known if (known := before.get(status.id)) and known.sequence > sequence else status
            for status in listed
        }
        newest |= {status.id: status for status in before.values() if status.sequence > sequence}  # added since
        self._statuses, self._listed_at = newest, sequence
        self.listed.emit(self.statuses)
        if first:  # what ended in an earlier run of the program is not reported
            return
        for status in self.statuses:  # a short transfer may have ended before its first status came
            self._notify(before.get(status.id), status)
        for status in before.values():  # another process has ended and removed it: its last images are there now
            if status.id not in newest and status.kind == "upload" and status.state not in ENDED:
                self.progressed.emit(status)

    def _receive(self, status: TransferStatus | None) -> None:
        """Take in a new status; None after another process has removed transfers."""
        if status is None:
            self.reload()
            return
        before = self._statuses.get(status.id)
        if status.sequence < (before.sequence if before is not None else self._listed_at):
            return  # a newer status is known, or the transfer was removed
        self._statuses[status.id] = status
        if before is None:
            self.listed.emit(self.statuses)
        self.changed.emit(status)
        if before is not None or self._listed_at:  # else it may have ended in an earlier run, as in the first list
            self._notify(before, status)

    def _notify(self, before: TransferStatus | None, status: TransferStatus) -> None:
        if status.kind == "upload" and status.done > (before.done if before else 0):
            self.progressed.emit(status)
        if status.state in ENDED and (before is None or before.state not in ENDED):
            self.ended.emit(status)
