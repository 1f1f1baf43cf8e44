"""What the subcommands import and export do: with one line of progress, a summary, and an exit status."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import TrainingSet
from apitorch_desktop.cli import output
from apitorch_desktop.cli.main import URL_VARIABLE, CommandError
from apitorch_desktop.dataset.importer.plan import Plan
from apitorch_desktop.dataset.importer.undoable_import import NewImportSet, UndoableImports
from apitorch_desktop.dataset.transfers.model import TransferStatus
from apitorch_desktop.dataset.transfers.queue import TransferQueue

_THREADS = 8


def import_folder(client: "ApiClient", folder: Path, name: str) -> int:
    """`import FOLDER --name NAME`: one label a sub-folder; says what came in and what did not. The exit status.

    Also takes what else can be imported: an archive, a list, one file. What is interrupted goes on when the same
    command is given again.
    """
    from apitorch_desktop.dataset.importer.plan import ScanProgress, existing_of, scan
    from apitorch_desktop.dataset.transfers.upload import listed

    if not os.path.lexists(folder):
        raise CommandError(f"There is no “{output.shown(folder)}”.", 2)
    if not name.strip():
        raise CommandError("The name of a training set cannot be empty.", 2)
    line = output.ProgressLine()
    with _transfers(client) as transfers, _imports(transfers) as imports:
        found = _training_set(client, name)
        before = _go_on(transfers, imports, found, line) if found is not None else {}
        labels = found.labels if found is not None and isinstance(found.labels, list) else []
        there = listed(client, found.id, None, paged=False) if found is not None else []

        def tell(state: ScanProgress) -> None:
            line.show(
                f"Looking at {state.read:,} of {state.found:,} pictures" if state.total else "Looking for pictures"
            )

        existing = existing_of(there)
        for digest, under in before.items():
            existing.setdefault(digest, set()).update(under)
        plan = scan([folder], existing=existing, labels_there=labels, progress=tell)
        line.clear()
        if not plan.items:
            raise CommandError(f"There is no picture in “{output.shown(folder)}”.")
        failures: list[tuple[str, str]] = []
        came = Counter[str]()
        status = None
        if plan.sending():
            begun: NewImportSet | None = None
            training_set = found or (begun := _create(imports, client, name)).training_set
            before_it = {*labels, *(str(one.label) for one in there)}
            transfer = imports.upload(
                _connection(), training_set.id, name, plan.uploads(), labels_before=before_it, begun=begun
            )
            status = _run(transfers, transfer, line)
            came.update(result.label for result in transfers.results(transfer) if result.created)
            failures = [
                (f"{one.label}/{one.name}", f"{one.reason} {one.advice}") for one in transfers.failures(transfer)
            ]
            if status.finished_at is not None:
                imports.ended(_connection(), transfer)
                transfers.forget(transfer)
    return _report_import(plan, name, came, status, failures)


def export_training_set(client: "ApiClient", training_set: str, folder: Path, form: str = "imagefolder") -> int:
    """`export TRAINING_SET FOLDER [--format …]`; the training set by id or name. The exit status."""
    from apitorch_desktop.dataset.exporter.exporter import (
        ExportFormat,
        ExportRefused,
        ExportResult,
        ExportSource,
        export,
    )
    from apitorch_desktop.dataset.workspace.scratch import scratch_label
    from apitorch_desktop.utils import paths

    sets = client.training_sets()
    found = next((one for one in sets if str(one.id) == training_set), None) or _named(sets, training_set)
    if found is None:
        raise CommandError(f"There is no training set “{training_set}”. {output.there_are([one.name for one in sets])}")
    line = output.ProgressLine()
    if form == ExportFormat.IMAGEFOLDER:
        return _download(client, found, folder, line)
    ours = scratch_label(paths.desktop_folder(), _connection(), found.id)
    fetch = ExportSource(client, found.id, scratch_label=ours)
    try:
        done: ExportResult = export(
            fetch.listing,
            fetch,
            folder,
            ExportFormat(form),
            progress=lambda number, total: line.show(f"{number:,} of {total:,} pictures"),
        )
    except ExportRefused as refusal:
        raise CommandError(str(refusal)) from None
    finally:
        line.clear()
    output.say(f"{output.pictures(done.written)} of “{found.name}” exported to {output.shown(done.path)}.")
    output.listed("not exported", done.failed)
    return 1 if done.failed else 0


# --- import and export


@contextmanager
def _transfers(client: "ApiClient") -> "Iterator[TransferQueue]":
    from apitorch_desktop.dataset.transfers.queue import TransferQueue
    from apitorch_desktop.utils import paths

    patient = client.without_retries()  # the engine itself repeats and paces
    transfers = TransferQueue(paths.desktop_folder() / "transfers", lambda _connection: patient)
    try:
        yield transfers
    finally:
        transfers.close()
        patient.close()


@contextmanager
def _imports(transfers: "TransferQueue") -> "Iterator[UndoableImports]":
    """The window's journal of edits: its Undo takes away what comes in here."""
    from apitorch_desktop.dataset.edits.history import EditHistory
    from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
    from apitorch_desktop.utils import paths

    edits = EditHistory(paths.desktop_folder(), beside=True)
    if edits.note:
        output.say(edits.note, sys.stderr)
    try:
        yield UndoableImports.of(edits, transfers)
    finally:
        edits.close()


def _connection() -> str:
    from apitorch_desktop.api.transport import normalize_url
    from apitorch_desktop.dataset.connections.store import EMBEDDED, environment_id

    url = os.environ.get(URL_VARIABLE)
    return environment_id(normalize_url(url)) if url else EMBEDDED


def _named(sets: "Sequence[TrainingSet]", name: str) -> "TrainingSet | None":
    from apitorch_desktop.api.slugs import slugify

    same = [one for one in sets if one.name == name.strip()]
    alike = [one for one in sets if slugify(one.name) == slugify(name) != ""]
    return next(iter(same or alike), None)


def _training_set(client: "ApiClient", name: str) -> "TrainingSet | None":
    return _named(client.training_sets(), name)


def _create(imports: "UndoableImports", client: "ApiClient", name: str) -> "NewImportSet":
    if "training-sets" not in (client.ping().extensions or []):
        raise CommandError(
            f"This service cannot make training sets by itself: make “{name}” on its own page, then run this again."
        )
    return imports.make_set(_connection(), client, name)


def _go_on(
    transfers: "TransferQueue", imports: "UndoableImports", training_set: "TrainingSet", line: output.ProgressLine
) -> dict[str, set[str]]:
    """Finish what an earlier run, or the window, left unfinished for this training set.

    Answers sha256 → labels of what these brought in: a service with the documented calls only does not tell.
    """
    from apitorch_desktop.dataset.transfers.model import TransferKind, TransferState

    there: dict[str, set[str]] = {}
    for status in transfers.all():
        ours = status.connection_id == _connection() and status.training_set_id == training_set.id
        if (
            not ours
            or status.kind is not TransferKind.UPLOAD
            or status.state not in (TransferState.WAITING, TransferState.STOPPED)
        ):
            continue
        if status.state is TransferState.STOPPED:
            transfers.resume(status.id)
        left = status.total - status.done - status.skipped - status.failed
        output.say(f"Going on with {output.pictures(left)} that an earlier import left.")
        ended = _run(transfers, status.id, line)
        for result in transfers.results(status.id):
            if result.sha256:
                there.setdefault(result.sha256, set()).add(result.label)
        if ended.state is TransferState.DONE:
            imports.ended(_connection(), status.id)
            transfers.forget(status.id)
        elif ended.note:
            output.say(ended.note)
    return there


def _run(transfers: "TransferQueue", transfer: int, line: output.ProgressLine) -> "TransferStatus":
    """Work a transfer off, with progress; Ctrl-C leaves it in the journal."""
    stop = Event()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            transfers.work(stop.is_set, only=transfer, until_done=True)
        except BaseException as fault:  # noqa: BLE001 - handed to the main thread
            faults.append(fault)
            stop.set()

    threads = [Thread(target=work, name=f"transfer-{number}") for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1 / _THREADS)
            line.show(_progress(transfers.status(transfer)))
    except KeyboardInterrupt:
        line.clear()
        output.say("Stopping: what is not done goes on when the same command is given again.", sys.stderr)
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        line.clear()
    if faults:
        raise faults[0]
    return transfers.status(transfer)


def _progress(status: "TransferStatus") -> str:
    words = [f"{status.done + status.skipped:,} of {status.total:,}"]
    if status.failed:
        words.append(f"{status.failed:,} failed")
    if status.note:
        words.append(status.note)
    elif status.rate:
        words.append(f"{status.rate / 1e6:.1f} MB/s")
        if status.seconds_left is not None:
            words.append(f"{output.time(status.seconds_left)} left")
    return " · ".join(words)


def _download(client: "ApiClient", found: "TrainingSet", folder: Path, line: output.ProgressLine) -> int:
    """The folder tree: a transfer of its own, which goes on where an earlier one was interrupted."""
    from apitorch_desktop.dataset.transfers.model import TransferState

    with _transfers(client) as transfers:
        for old in transfers.all():  # its files are there; a new listing tells what is missing
            if (
                old.folder == folder.absolute()
                and old.training_set_id == found.id
                and old.state is TransferState.WAITING
            ):
                transfers.cancel(old.id)
                transfers.forget(old.id)
        transfer = transfers.add_download(_connection(), found.id, found.name, folder)
        status = _run(transfers, transfer, line)
        failures = [(f"{one.label}/{one.name}", f"{one.reason} {one.advice}") for one in transfers.failures(transfer)]
        if status.finished_at is not None or status.state is TransferState.STOPPED:
            transfers.cancel(transfer)
            transfers.forget(transfer)
    there = f", {output.pictures(status.skipped)} were there already" if status.skipped else ""
    output.say(f"{output.pictures(status.done)} of “{found.name}” exported to {output.shown(folder)}{there}.")
    if status.note:
        output.say(status.note)
    output.listed("not exported", failures)
    return 0 if status.state is TransferState.DONE else 1


def _report_import(
    plan: "Plan", name: str, came: Counter[str], status: "TransferStatus | None", failures: list[tuple[str, str]]
) -> int:
    from apitorch_desktop.dataset.importer.plan import ItemStatus

    counts = plan.counts()
    if came:
        labels = f"{len(came):,} label{'' if len(came) == 1 else 's'}"
        output.say(f"{output.pictures(came.total())} came into “{name}”, under {labels}.")
    else:
        output.say(f"Nothing new came into “{name}”.")
    width = max(map(len, came), default=0)
    for label, count in sorted(came.items()):
        output.say(f"    {label:{width}}  {count:,}")
    there = counts[ItemStatus.THERE] + (status.skipped if status else 0)
    if there:
        output.say(f"{output.pictures(there)} {'was' if there == 1 else 'were'} there already.")
    if counts[ItemStatus.TWICE]:
        output.say(
            f"{output.pictures(counts[ItemStatus.TWICE])} came twice in this folder, and once into the training set."
        )
    for note in plan.notes:
        output.say(note)
    if plan.ignored:
        output.listed("passed over, no pictures", [(file, "") for file in plan.ignored], sort="file")
    unsent = (ItemStatus.PROBLEM, ItemStatus.NO_LABEL)
    out = [(output.place(item.source), item.note) for item in plan.items if item.standing in unsent] + failures
    left = status.total - status.done - status.skipped - status.failed if status else 0
    if left:
        output.say(
            f"{output.pictures(left)} did not come in yet: {status.note if status else ''} Run the same command to go on."
        )
    output.listed("did not come in", out)
    return 1 if out or left or not plan.complete else 0
