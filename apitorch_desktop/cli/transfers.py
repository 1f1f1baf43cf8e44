"""Runs a transfer of import or export to its end, with progress, on the queue that the window has, too."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.cli import output
from apitorch_desktop.cli.patience import Patience
from apitorch_desktop.dataset.transfers.model import TransferState, TransferStatus
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import duration

_THREADS = 8


@contextmanager
def open_transfers(client: ApiClient) -> Iterator[TransferQueue]:
    """Open the transfers of the window, as calls to `client`."""
    patient = client.without_retries()  # the engine itself repeats and paces
    transfers = TransferQueue(paths.desktop_folder() / "transfers", lambda _connection: patient)
    try:
        yield transfers
    finally:
        transfers.close()
        patient.close()


def run_transfer(transfers: TransferQueue, transfer: int, line: output.ProgressLine, patience: float) -> TransferStatus:
    """Run a transfer to its end, with progress; Ctrl-C, and no progress for `patience` seconds, leave it in the journal."""
    stop = Event()
    wait = Patience(patience, line)
    moved, status = (0, 0), transfers.status(transfer)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            transfers.work(stop.is_set, only=transfer, until_done=True)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)
            stop.set()

    threads = [Thread(target=work, name=f"transfer-{number}") for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1 / _THREADS)
            status = transfers.status(transfer)
            line.show(_progress(status))
            if (now := _moved(status)) > moved:
                moved = now
                wait.moved()
            elif not stop.is_set() and not wait.waits(status.note):
                stop.set()
    except KeyboardInterrupt:
        line.clear()
        output.write("Stopping: what is not done goes on when the same command is given again.", sys.stderr)
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        line.clear()
    if errors:
        raise errors[0]
    ended = transfers.status(transfer)
    if wait.over and ended.finished_at is None:
        output.write(f"Nothing moved for {duration(patience)}. The same command goes on where it was.", sys.stderr)
        return replace(ended, state=TransferState.STOPPED, note=status.note)  # this run; the journal lets it go on
    return ended


def _moved(status: TransferStatus) -> tuple[int, int]:
    """Return a value that grows with each photo, and with its bytes unless a call has failed: a service may refuse them."""
    photos = status.done + status.skipped + status.failed
    return photos, 0 if status.note else status.bytes_done


def failures_of(transfers: TransferQueue, transfer: int) -> list[tuple[str, str]]:
    """Return place and reason, with advice, of each photo of a transfer that failed."""
    return [
        (f"{failed.label}/{failed.name}", f"{failed.reason} {failed.advice}") for failed in transfers.failures(transfer)
    ]


def _progress(status: TransferStatus) -> str:
    words = [f"{status.done + status.skipped:,} of {status.total:,}"]
    if status.failed:
        words.append(f"{status.failed:,} failed")
    if status.note:
        words.append(status.note)
    elif status.rate:
        words.append(f"{status.rate / 1e6:.1f} MB/s")
        if status.seconds_left is not None:
            words.append(f"{duration(status.seconds_left)} left")
    return " · ".join(words)
