"""Transfers on the window's lanes: worked off by the bulk lane, watched, commanded; tells what came in where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.queue import TransferFailure, TransferQueue, TransferStatus
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, TaskRunner
from apitorch_desktop.ui.transfers.status_text import ENDED

WORKERS = 4
"""Threads that work transfers off: as many as the bulk lane has."""
FOREVER = 1e6
"""Seconds; a job that waits this long waits for its cancellation."""


class TransferController(QObject):
    """The transfers as the window sees them."""

    listed = Signal(list)
    """All of them, after something was added or forgotten."""
    changed = Signal(object)
    """One `TransferStatus`."""
    progressed = Signal(object)
    """The `TransferStatus` of an upload that brought something in since the last time."""
    ended = Signal(object)
    """The `TransferStatus` of a transfer that ended while the window was open."""
    failed = Signal(object, str)
    """(exception, what was tried)"""

    def __init__(self, tasks: TaskRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._transfers: TransferQueue | None = None
        self._statuses: dict[int, TransferStatus] = {}
        self._dismissed: set[int] = set()
        self._listed_at = 0
        """Sequence of the newest list."""

    @property
    def statuses(self) -> list[TransferStatus]:
        """All transfers, in the order in which they are worked off."""
        return list(self._statuses.values())

    def current(self) -> TransferStatus | None:
        """The one to show in a line: what runs, else what waits or rests, else what failed and was not dismissed."""
        shown = [one for one in self._statuses.values() if one.id not in self._dismissed]
        for states in (("running",), ("stopped",), ("paused", "waiting"), ("failed",)):
            for one in shown:
                if one.state in states:
                    return one
        return None

    @property
    def transfers(self) -> TransferQueue | None:
        """The journal, once it is open."""
        return self._transfers

    def start(self, transfers: TransferQueue) -> None:
        """Begin to work: also on what was left unfinished."""
        self._transfers = transfers

        def watch(context: JobContext) -> None:
            end = transfers.add_listener(context.post)
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
        """Read the list retry."""
        self._run(lambda transfers: transfers.snapshot(), self._show_all, "Listing the transfers")

    def retry_now(self, connection_id: str) -> None:
        """A service is there retry: what waits for it need not wait longer."""
        self._run(
            lambda transfers: transfers.retry_now(connection_id), lambda _none: None, "Going on with the transfers"
        )

    def download(self, connection_id: str, set_id: Id, title: str, folder: Path) -> None:
        """Accept a download of a whole training set into a folder."""
        self._run(
            lambda transfers: transfers.add_download(connection_id, set_id, title, folder),
            lambda _id: self.reload(),
            "Accepting the download",
        )

    def command(self, verb: str, transfer_id: int) -> None:
        """`pause`, `resume`, `cancel`, `retry_failed`, `forget`, or `first`: worked off before all others."""

        def act(transfers: TransferQueue) -> None:
            if verb == "first":
                transfers.reorder([transfer_id])
            else:
                getattr(transfers, verb)(transfer_id)

        self._dismissed.discard(transfer_id)
        self._run(act, lambda _none: self.reload(), "Changing the transfer")

    def dismiss(self, transfer_id: int) -> None:
        """Show an ended transfer in the line no more; it stays in the list."""
        self._dismissed.add(transfer_id)
        self.changed.emit(self._statuses[transfer_id])

    def failures(self, transfer_id: int, done: Callable[[Sequence[TransferFailure]], object]) -> None:
        """Look up which files failed."""
        self._run(lambda transfers: transfers.failures(transfer_id), done, "Looking up the failures")

    def save_summary(self, transfer_id: int, path: Path, done: Callable[[Path], object]) -> None:
        """Write what came in and what did not to a text file."""

        def act(transfers: TransferQueue) -> Path:
            path.write_text(transfers.summary(transfer_id), encoding="utf-8")
            return path

        self._run(act, done, "Saving the summary")

    def created(self, transfer_id: int, done: Callable[[list[tuple[str, str]]], object]) -> None:
        """Look up (image id, label) of what an upload brought in that was not there."""
        self._run(
            lambda transfers: [(one.image_id, one.label) for one in transfers.results(transfer_id) if one.created],
            done,
            "Looking up what came in",
        )

    def _run(self, act: Callable[[TransferQueue], object], done: Callable[..., object], doing: str) -> None:
        transfers = self._transfers
        if transfers is None:
            return
        self._tasks.run(
            Lane.DISK,
            lambda _context: act(transfers),
            done=done,
            failed=lambda error: self.failed.emit(error, doing),
            owner=self,
            title=doing,
        )

    # Lists and single news come from several threads, in any order: the sequence tells which is newer.

    def _show_all(self, snapshot: tuple[int, list[TransferStatus]]) -> None:
        sequence, listed = snapshot
        if sequence < self._listed_at:
            return
        before, first = self._statuses, not self._listed_at
        newest = {
            one.id: known if (known := before.get(one.id)) and known.sequence > sequence else one for one in listed
        }
        newest |= {one.id: one for one in before.values() if one.sequence > sequence}  # added since
        self._statuses, self._listed_at = newest, sequence
        self.listed.emit(self.statuses)
        if first:  # what ended in an earlier run of the program is in the list, and no news
            return
        for status in self.statuses:  # a short transfer may have ended before its first news came
            self._notify(before.get(status.id), status)

    def _receive(self, status: TransferStatus) -> None:
        before = self._statuses.get(status.id)
        if status.sequence < (before.sequence if before is not None else self._listed_at):
            return  # newer is known; or it was forgotten meanwhile
        self._statuses[status.id] = status
        if before is None:
            self.listed.emit(self.statuses)
        self.changed.emit(status)
        self._notify(before, status)

    def _notify(self, before: TransferStatus | None, status: TransferStatus) -> None:
        if status.kind == "upload" and status.done > (before.done if before else 0):
            self.progressed.emit(status)
        if status.state in ENDED and (before is None or before.state not in ENDED):
            self.ended.emit(status)
