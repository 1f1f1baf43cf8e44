"""The subcommands classify and watch: many images, or those that arrive, with one classifier; answers as lines or a CSV file."""

import csv
import errno
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from time import sleep

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import Classification, Classifier
from apitorch_desktop.cli import output
from apitorch_desktop.cli import patience as waiting
from apitorch_desktop.cli.connect import CommandError, connected, connection_id
from apitorch_desktop.cli.patience import Patience
from apitorch_desktop.dataset.batch.classification import (
    COLUMNS,
    NOT_YET,
    append_rows,
    cells,
    classify,
    open_table,
    record,
)
from apitorch_desktop.dataset.importer.plan import PlanItem, scan
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import ImageFile, Source, place_of
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES
from apitorch_desktop.dataset.watch.engine import FolderWatch
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Answer, WatchTask, lock_task
from apitorch_desktop.dataset.workspace.training import wait_until_trained
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.files import descriptor_of
from apitorch_desktop.utils.text import decoded, duration, lowered, plural, reason, shown

_LEAST = 0.8
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ROOM_PAUSE = 0.5
"""Seconds until a row that the disk has no room for is written again."""


class _TableFull(CommandError):  # noqa: N818 - named for what happened
    """There is no room for another row of the table."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"“{shown(str(path))}” cannot be written: {lowered(reason(error))}. Make room there, then classify again."
        )


def add_classify_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `classify`."""
    parser.add_argument(
        "images",
        nargs="*",
        type=output.word,
        metavar="IMAGE",
        help="a file, a folder or a web address; - for those on standard input, one a line",
    )
    parser.add_argument(
        "-0", dest="null", action="store_true", help="those on standard input, separated by NUL (find -print0)"
    )
    parser.add_argument(
        "--classifier", type=output.word, required=True, metavar="SLUG", help="a training set's slug or a standard one"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", type=output.path, metavar="FILE", help="write the answers to FILE; - for standard output"
    )
    form.add_argument("--json", action="store_true", help="write the answers as JSON, an object a line, as they come")
    waiting.add_argument(parser)
    parser.epilog = output.STATUS
    parser.set_defaults(command=_classify)


def _classify(arguments: Namespace) -> int:
    words = arguments.images
    if not words and not arguments.null:
        raise CommandError("Give an IMAGE, or - or -0 for those on standard input.", 2)
    images = [output.path_or_url(word) for word in words if word != "-"]
    if "-" in words or arguments.null:
        images += output.read_paths(null=arguments.null)
    with connected() as client:
        return classify_files(
            client, images, arguments.classifier, arguments.csv, json=arguments.json, patience=arguments.patience
        )


def classify_files(
    client: ApiClient,
    images: Sequence[str | Path],
    classifier: str,
    table: Path | None = None,
    *,
    json: bool = False,
    patience: float = waiting.DEFAULT,
) -> int:
    """Classify files, folders (as paths) and web addresses (as text); return the exit status.

    The answers go into `table`, with `json` as objects to standard output, else there as sentences.
    """
    classifier = decoded(classifier)
    if str(table) == "-":
        table = Path("/dev/stdout")
    if table is not None and table.suffix.lower() in IMAGE_SUFFIXES and table.is_file():  # --csv *.jpg
        raise CommandError(f"“{shown(str(table))}” is a photo, which the answers would replace: give another FILE.", 2)
    wait_until_ready(client, classifier)
    plan = scan(images)
    items = plan.items
    if not items:
        raise CommandError("There is no photo to classify.")
    line = output.ProgressLine(quiet=table is None and sys.stdout.isatty())
    wait = Patience(patience, line)
    answers = _AnswerWriter(client, classifier, items, wait, line)
    with _rows(table, Patience(patience, line), json=json) as write:
        answers.write_all(write)
    line.clear()
    if answers.ended is not None:
        into, done = "", answers.done
        if table is not None:
            into = f"; the answers are in {shown(str(table))}"
            if descriptor_of(table) is None and table.is_file():
                done = _rows_in(table)  # the last may have been written when the signal came, and not counted
        output.write(f"Stopped: {done:,} of {plural(len(items), 'photo')} were classified{into}.", sys.stderr)
        raise answers.ended
    if wait.over:
        output.write(f"Nothing moved for {duration(patience)}: what is left is not classified.", sys.stderr)
    failed = answers.failed
    report = sys.stderr if json or (table is not None and output.is_standard_output(table)) else sys.stdout
    for note in plan.scan_notes:
        output.write(note, report)
    output.write_list("passed over, no photos", plan.passed_over(), kind="file", stream=report)
    if table is not None:
        count = plural(len(items) - len(failed), "photo")
        output.write(f"{count} classified; the answers are in {shown(str(table))}.", report)
    if not json:  # where each object says it
        output.write_list("not classified", failed, stream=report)
    return 1 if failed or not plan.complete else 0


@dataclass
class _AnswerWriter:
    """Classifies many images, by four calls at a time, and writes the answers in the order of the images."""

    client: ApiClient
    classifier: str
    items: Sequence[PlanItem]
    wait: Patience
    line: output.ProgressLine
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Place and reason."""
    ended: BaseException | None = None
    """What interrupted it after the first answer: those that are written are kept."""
    _stop: Event = field(default_factory=Event)

    def write_all(self, write: Callable[[Source, str, Classification | str], None]) -> None:
        """Classify, and write an answer for each image. Raises what ends it before the first answer."""
        with closing(Archives()) as archives, ThreadPoolExecutor(4, "classify") as pool:
            try:
                answers = pool.map(lambda item: self._answer(item, archives), self.items)
                for item, answer in zip(self.items, answers, strict=True):
                    if isinstance(answer, str):
                        self.failed.append((place_of(item.source), answer))
                    write(item.source, self.classifier, answer)
                    self.done += 1
                    self.line.show(f"{self.done:,} of {len(self.items):,} photos")
            except BaseException as error:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if not self.done or not isinstance(error, (KeyboardInterrupt, ApiError, _TableFull)):
                    raise
                self.ended = error

    def _answer(self, item: PlanItem, archives: Archives) -> Classification | str:
        if self.wait.over:
            return item.problem or NOT_YET
        call = partial(self.client.classify, cancelled=self._stop.is_set)
        answer = item.problem or classify(call, [self.classifier], item.source, archives, self._again)[self.classifier]
        if not isinstance(answer, str):
            self.wait.moved()
        return answer

    def _again(self, error: ApiError, attempt: int) -> bool:
        return not self._stop.is_set() and self.wait.again(error, attempt)


def wait_until_ready(client: ApiClient, slug: str, wait: Callable[[float], object] = sleep) -> None:
    """Wait for a classifier that is still learning. Raises CommandError where none will answer.

    `wait` pauses and returns True to cancel: Cancelled is raised.
    """
    line = output.ProgressLine()
    slugs = [found.slug if isinstance(found.slug, str) else slugify(found.name) for found in client.classifiers()]
    trains = "training" in (client.ping().extensions or [])
    if not trains and slug in slugs:
        return

    def report(state: Classifier | None) -> None:
        if state is not None and state.status == "training" and not isinstance(state.version, int):
            line.show(f"“{slug}” is learning. {state.status_message or ''}")

    state = wait_until_trained(client, slug, report=report, wait=wait) if trains else None
    line.clear()
    if state is None:
        raise CommandError(f"There is no classifier “{slug}”. {output.offer_names(slugs)}")
    if not isinstance(state.version, int) and state.status in ("training", "needs_images", "failed"):
        raise CommandError(f"“{slug}” cannot answer yet. {state.status_message or ''}".strip())


@contextmanager
def _rows(
    path: Path | None, wait: Patience, *, json: bool
) -> Iterator[Callable[[Source, str, Classification | str], None]]:
    """Write answers as lines or objects on standard output, or as rows of a CSV file, for whose disk to have room it waits."""
    if path is None:
        yield _write_object if json else lambda source, _slug, answer: output.write(line_of(place_of(source), answer))
        return

    def write(source: Source, slug: str, answer: Classification | str) -> None:
        while True:
            try:
                append_rows(file, [cells(place_of(source), slug, answer)])
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                full = f"There is no room left for “{shown(str(path))}”: make some."
                if error.errno == errno.EFBIG or not wait.waits(full):  # no waiting helps against a limit
                    raise _TableFull(path, error) from None
                sleep(_ROOM_PAUSE)
            else:
                wait.moved()
                return

    try:
        with open_table(path) as file:
            append_rows(file, [COLUMNS])
            yield write
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _TableFull(path, error) from None
        raise CommandError(f"“{shown(str(path))}” cannot be written: {reason(error)}.") from None


def _rows_in(table: Path) -> int:
    with table.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _write_object(source: Source, slug: str, answer: Classification | str) -> None:
    """Write an answer with the columns of the table; the path of a file is as it was given."""
    place = str(source.path) if isinstance(source, ImageFile) else place_of(source)
    output.write_json(record(cells(place, slug, answer)))


def line_of(place: str, answer: Classification | str) -> str:
    """Return an answer, or the reason why there is none, as one line."""
    if isinstance(answer, str):
        return f"{place}: not classified. {answer}"
    known = [value for value in (answer.confidence, answer.confidence_value) if isinstance(value, str) and value]
    confidence = f" ({', '.join(known)})" if known else ""
    return f"{place}: {answer.label_text}{confidence}"


def add_watch_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `watch`."""
    parser.description = (
        "Classify the photos that are in a folder and those that arrive, each once and as soon as it is complete, until "
        "interrupted. Started again, it goes on; it waits for a folder or a service that is away."
    )
    parser.add_argument(
        "folder", type=output.path, metavar="FOLDER", help="with its sub-folders; hidden files are left alone"
    )
    parser.add_argument(
        "--classifier", type=output.word, required=True, metavar="SLUG", help="a training set's slug or a standard one"
    )
    parser.add_argument(
        "--csv", type=output.path, metavar="FILE", help="add the answers to FILE; - for standard output"
    )
    parser.add_argument(
        "--move-to", type=output.path, metavar="FOLDER",
        help="move photos into a folder a label in FOLDER; a name that is taken gets a number, and links stay",
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
    table = Path("/dev/stdout") if str(arguments.csv) == "-" else arguments.csv and arguments.csv.absolute()
    if arguments.folder.exists() and not arguments.folder.is_dir():
        raise CommandError(f"“{shown(str(arguments.folder))}” is no folder.", 2)
    task = WatchTask(
        connection_id(),
        arguments.folder.resolve(),
        decoded(arguments.classifier),
        table,
        arguments.move_to and arguments.move_to.resolve(),
        arguments.min_confidence,
    )
    stop = Event()
    ends = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as below `nohup`
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda _number, _frame: stop.set()) for number in ends}
    try:
        return watch_folder(task, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_folder(task: WatchTask, stop: Event) -> int:
    """Watch a folder until `stop` is set; return the exit status."""
    folder = paths.private(paths.desktop_folder())
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
