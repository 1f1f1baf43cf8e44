"""The subcommand export, with one line of progress, a summary and an exit status."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryFile

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import TrainingImage, TrainingSet
from apitorch_desktop.cli import output
from apitorch_desktop.cli import patience as waiting
from apitorch_desktop.cli.connect import CommandError, connected, connection_id, find_training_set
from apitorch_desktop.cli.patience import Patience
from apitorch_desktop.cli.transfers import failures_of, open_transfers, run_transfer
from apitorch_desktop.dataset.exporter.exporter import ExportFormat, ExportRefused, client_source, export
from apitorch_desktop.dataset.transfers.model import TransferState
from apitorch_desktop.dataset.workspace.scratch import scratch_label
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.files import shortened_names
from apitorch_desktop.utils.text import decoded, plural, reason, shown


def add_export_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `export`."""
    export_formats = [export_format.value for export_format in ExportFormat]
    parser.add_argument("training_set", type=output.word, metavar="TRAINING_SET", help="its id or its name")
    parser.add_argument("folder", type=output.path, metavar="FOLDER", help="where to write")
    parser.add_argument("--format", choices=export_formats, default=export_formats[0], help="(default: %(default)s)")
    parser.add_argument(
        "--jpeg", action="store_true", help="photos that few programs read (HEIC, AVIF, JPEG XL, raw) as JPEG"
    )
    parser.add_argument(
        "--splits", action="store_true", help="folders train, validation and test, as the photos have their split"
    )
    waiting.add_argument(parser)
    parser.set_defaults(command=_export)


def _export(arguments: Namespace) -> int:
    if str(arguments.folder) == "-":
        raise CommandError("An export is a folder and goes to no standard output: give the name of a FOLDER.", 2)
    with connected() as client:
        return export_training_set(
            client,
            arguments.training_set,
            arguments.folder,
            arguments.format,
            jpeg=arguments.jpeg,
            splits=arguments.splits,
            patience=arguments.patience,
        )


def export_training_set(
    client: ApiClient,
    training_set: str,
    folder: Path,
    export_format: str = ExportFormat.IMAGEFOLDER,
    *,
    jpeg: bool = False,
    splits: bool = False,
    patience: float = waiting.DEFAULT,
) -> int:
    """Export a training set, given by its id or name, into a folder; return the exit status.

    With `jpeg`, photos of formats that few programs read become JPEGs; with `splits`, they are in the folder of their split.
    """
    training_set = decoded(training_set)
    if os.path.lexists(folder) and not folder.is_dir():
        raise CommandError(f"“{shown(str(folder))}” is no folder: give the name of one.", 2)
    sets = client.training_sets()
    found = next((one for one in sets if one.id == training_set), None) or find_training_set(sets, training_set)
    if found is None:
        raise CommandError(
            f"There is no training set “{training_set}”. {output.offer_names([one.name for one in sets])}"
        )
    if note := shortened_names(found.labels if isinstance(found.labels, list) else []):
        output.write(note)
    line = output.ProgressLine()
    if export_format == ExportFormat.IMAGEFOLDER and not jpeg and not splits:
        return _download(client, found, folder, line, patience)
    scratch = scratch_label(paths.desktop_folder(), connection_id(), found.id)
    listing, fetch = client_source(client, found.id, scratch_label=scratch)
    wait = Patience(patience, line)

    def patient(image: TrainingImage) -> bytes:
        data = fetch(image)
        wait.moved()
        return data

    try:
        done = export(
            listing,
            patient,
            folder,
            ExportFormat(export_format),
            jpeg=jpeg,
            keep_splits=splits,
            progress=lambda number, total: line.show(f"{number:,} of {total:,} photos"),
            again=wait.again,
        )
    except ExportRefused as error:
        raise CommandError(str(error)) from None
    finally:
        line.clear()
    output.write(f"{plural(done.written, 'photo')} of “{found.name}” exported to “{shown(str(done.path))}”.")
    if done.left_out:
        output.write(f"{plural(done.left_out, 'photo')} without a label left out: this format describes labels.")
    if done.assigned:
        output.write(f"{plural(done.assigned, 'photo')} without a split put into the part for training.")
    output.write_list("not exported", done.failed)
    return 1 if done.failed else 0


def _download(client: ApiClient, found: TrainingSet, folder: Path, line: output.ProgressLine, patience: float) -> int:
    """Download a folder tree by a transfer of its own, which continues where an earlier one was interrupted."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"“{shown(str(folder))}” cannot be written: {reason(error)}.") from None
    with open_transfers(client) as transfers:
        for old in transfers.all():  # its files are there; a new listing shows what is missing
            if (
                old.folder == folder.absolute()
                and old.training_set_id == found.id
                and old.state is TransferState.WAITING
            ):
                transfers.cancel(old.id)
                transfers.forget(old.id)
        transfer = transfers.add_download(connection_id(), found.id, found.name, folder)
        status = run_transfer(transfers, transfer, line, patience)
        failures = failures_of(transfers, transfer)
        if status.finished_at is not None or status.state is TransferState.STOPPED:
            transfers.cancel(transfer)
            transfers.forget(transfer)
    there = f", {plural(status.skipped, 'photo')} were there already" if status.skipped else ""
    output.write(f"{plural(status.done, 'photo')} of “{found.name}” exported to “{shown(str(folder))}”{there}.")
    left = status.total - status.done - status.skipped - status.failed
    if left and status.state is TransferState.STOPPED:
        output.write(f"{plural(left, 'photo')} not exported yet: {status.note} Run the same command to go on.")
    elif status.note:
        output.write(status.note)
    output.write_list("not exported", failures)
    return 0 if status.state is TransferState.DONE else 1
