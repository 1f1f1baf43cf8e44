"""The subcommand watch: photos that arrive in a folder are classified, written into a CSV file, moved by label."""

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.cli import output
from apitorch_desktop.cli.classify import line_of, wait_until_ready
from apitorch_desktop.cli.connect import CommandError, connected, connection_id
from apitorch_desktop.dataset.watch.engine import FolderWatch
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Answer, WatchTask, lock_task
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import decoded, shown

_LEAST = 0.8


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `watch`."""
    parser.description = (
        "Classify the photos that are in a folder and those that arrive, each once and as soon as it is complete, until "
        "interrupted. Started again, it goes on; it waits for a folder or a service that is away."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with its sub-folders; hidden files are left alone")
    parser.add_argument("--classifier", required=True, metavar="SLUG", help="a training set's slug or a standard one")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="add the answers to FILE; - for standard output")
    parser.add_argument(
        "--move-to", type=Path, metavar="FOLDER",
        help="move photos into a folder a label in FOLDER; a name that is taken gets a number",
    )  # fmt: skip
    parser.add_argument(
        "--min-confidence", type=_probability, default=_LEAST, metavar="P",
        help="photos whose answer is less sure (0 to 1), or none of the labels, are not moved (default: %(default)s)",
    )  # fmt: skip
    parser.epilog = "Exit status: 0 when interrupted or terminated, 1 what no waiting helps against, 2 a usage error."
    parser.set_defaults(command=_watch)


def _probability(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    raise ArgumentTypeError(f"“{shown(text)}” is no number from 0 to 1")


def _watch(arguments: Namespace) -> int:
    table = Path("/dev/stdout") if str(arguments.csv) == "-" else arguments.csv
    if arguments.folder.exists() and not arguments.folder.is_dir():
        raise CommandError(f"“{shown(str(arguments.folder))}” is no folder.", 2)
    task = WatchTask(
        connection_id(),
        arguments.folder.resolve(),
        decoded(arguments.classifier),
        table and table.absolute(),
        arguments.move_to and arguments.move_to.resolve(),
        arguments.min_confidence,
    )
    stop = Event()
    before = {
        number: signal.signal(number, lambda _number, _frame: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return watch_folder(task, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_folder(task: WatchTask, stop: Event) -> int:
    """Watch a folder until `stop` is set; return the exit status."""
    folder = paths.desktop_folder()
    lock = lock_task(folder, task)
    if lock is None:
        raise CommandError(f"“{shown(str(task.folder))}” is being watched already.")
    report = sys.stderr if task.table is not None and output.is_standard_output(task.table) else sys.stdout

    def write(sentence: str) -> None:
        output.write(sentence, report)
        report.flush()

    def show(place: str, answer: Answer, moved: Path | None) -> None:
        write(f"{line_of(place, answer)}{'' if moved is None else f' → {shown(str(moved))}'}")

    @contextmanager
    def connect() -> Iterator[ApiClient]:
        with connected() as client, closing(client.without_retries()) as patient:
            wait_until_ready(patient, task.classifier, stop.wait)
            yield patient

    try:
        with closing(WatchJournal(folder, task)) as journal:
            write(f"Watching “{shown(str(task.folder))}”.")
            FolderWatch(task, journal, on_done=show, on_state=write).work(connect, stop)
    finally:
        lock.release()
    return 0
