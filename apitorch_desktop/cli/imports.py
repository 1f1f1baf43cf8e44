"""The subcommand import, with one line of progress, a summary and an exit status."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import INBOX, LONGEST_LABEL, SPLITS, TrainingSet, label_name
from apitorch_desktop.cli import output
from apitorch_desktop.cli import patience as waiting
from apitorch_desktop.cli.connect import CommandError, connected, connection_id, find_training_set
from apitorch_desktop.cli.transfers import failures_of, open_transfers, run_transfer
from apitorch_desktop.dataset.connections.store import URL_VARIABLE
from apitorch_desktop.dataset.edits.history import EditHistory
from apitorch_desktop.dataset.importer.plan import ItemStatus, Plan, ScanProgress, existing_of, scan, suggested_name
from apitorch_desktop.dataset.importer.scanner import Dropped, FileSelection
from apitorch_desktop.dataset.importer.undoable_import import NewImportSet, UndoableImports
from apitorch_desktop.dataset.sources.image_source import place_of
from apitorch_desktop.dataset.transfers.model import TransferKind, TransferState, TransferStatus
from apitorch_desktop.dataset.transfers.queue import TransferQueue, TransferredItem
from apitorch_desktop.dataset.transfers.uploads import bare_id
from apitorch_desktop.dataset.workspace.listing import iter_images
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import decoded, plural, shown


def add_import_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `import`."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=output.word,
        metavar="FOLDER",
        help="one label a sub-folder; - for the paths on standard input, one a line",
    )
    parser.add_argument(
        "-0", dest="null", action="store_true", help="the paths on standard input, separated by NUL (find -print0)"
    )
    parser.add_argument("--name", metavar="NAME", help="the training set; made where it is new")
    parser.add_argument("--dry-run", action="store_true", help="write what would come in, and send nothing")
    parser.add_argument("--json", action="store_true", help="write the summary as one JSON object")
    waiting.add_argument(parser)
    parser.epilog = (
        "Files on standard input are labeled by the folders they lie in. --dry-run compares with the training set that --name "
        f"gives, and without --name it needs no service. {output.STATUS}"
    )
    parser.set_defaults(command=_import)


def _import(arguments: Namespace) -> int:
    name = arguments.name if arguments.name is None else decoded(arguments.name)
    folder = "-" if arguments.folder is None and arguments.null else arguments.folder
    if folder is None or (arguments.null and folder != "-"):
        raise CommandError("Give either a FOLDER, or - or -0 for the paths on standard input.", 2)
    if name is None and not arguments.dry_run:
        raise CommandError("Give the NAME of the training set after --name.", 2)
    if name is not None and not name.strip():
        raise CommandError("The name of a training set cannot be empty.", 2)
    if name is not None and len(name) > LONGEST_LABEL:
        raise CommandError(f"The name has {len(name):,} characters: a training set has {LONGEST_LABEL} at most.", 2)
    if folder == "-":
        words = output.read_paths(null=arguments.null)
        sources: list[Dropped] = [word for word in words if isinstance(word, str)]
        sources.append(FileSelection(tuple(word for word in words if isinstance(word, Path))))
    else:
        path = output.path_or_url(folder)
        if isinstance(path, str):
            raise CommandError(
                f"“{shown(folder)}” is a web address: download it, and give the folder or file. Addresses of photos are read "
                "from standard input (-).",
                2,
            )
        if not os.path.lexists(path):
            raise CommandError(f"There is no “{shown(str(path))}”.", 2)
        sources = [path]
    if arguments.dry_run:
        return show_plan(sources, name, json=arguments.json)
    with connected() as client:
        return import_photos(client, sources, name or "", json=arguments.json, patience=arguments.patience)


def import_photos(
    client: ApiClient,
    sources: Sequence[Dropped],
    name: str,
    *,
    json: bool = False,
    patience: float = waiting.DEFAULT,
) -> int:
    """Import folders, archives, lists and files into a training set, report what came in, and return the exit status.

    An import that was interrupted, or made no progress for `patience` seconds, continues when the same command is given
    again. With `json`, the report is one object.
    """
    notes: list[str] = []
    note = notes.append if json else output.write
    line = output.ProgressLine()
    status = None
    failures: list[tuple[str, str]] = []
    with open_transfers(client) as transfers, _imports(transfers) as imports:
        found = find_training_set(client.training_sets(), name)
        earlier = _continue_uploads(client, transfers, imports, found, line, note, patience) if found else _Continued()
        came = earlier.came
        if earlier.unfinished is not None:
            plan, status = Plan([]), earlier.unfinished
        else:
            target = _target(client, found, earlier.uploaded)
            plan = _scan(sources, target, line)
            for sentence in plan.notes:
                note(sentence)
            if not plan.items:
                if json:
                    output.write_json(_ImportReport(plan, name, came, None, ()).record(notes))
                else:
                    output.write_list("passed over, no photos", plan.passed_over(), kind="file")
                raise _no_photo(sources)
        if plan.sending():
            begun: NewImportSet | None = None
            training_set = found or (begun := _create(imports, client, name)).training_set
            transfer = imports.upload(
                connection_id(), training_set.id, name, plan.uploads(), labels_before=target.labels, new_set=begun
            )
            status = run_transfer(transfers, transfer, line, patience)
            came = came + Counter(result.label for result in transfers.results(transfer) if result.created)
            failures = failures_of(transfers, transfer)
            if status.finished_at is not None:
                imports.finish(connection_id(), transfer)
                transfers.forget(transfer)
    report = _ImportReport(plan, name, came, status, failures, earlier.digests)
    if json:
        output.write_json(report.record(notes))
    else:
        report.write()
    return report.exit_status


def show_plan(sources: Sequence[Dropped], name: str | None, *, json: bool = False) -> int:
    """Write what `import_photos` would do, by default with a new training set, and send nothing; return the exit status."""
    notes: list[str] = []
    target = _ImportTarget()
    new: bool | None = True
    refusal = ""
    url = os.environ.get(URL_VARIABLE, "").strip()
    if name is not None and (url or paths.service_folder().exists()):  # else the embedded service has nothing yet
        try:
            with connected() as client:
                found = find_training_set(client.training_sets(), name)
                target, new = _target(client, found), found is None
                refusal = "" if found is not None else _refusal_of_new_set(client, name)
        except UserError as error:
            new = None
            notes.append(f"It is not known what is there already: {error} {error.advice}".rstrip())
    line = output.ProgressLine()
    plan = _scan(sources, target, line)
    notes += plan.notes
    if name is None:
        path = Path(os.path.normpath(sources[0].absolute())) if isinstance(sources[0], Path) else Path()
        name = decoded(suggested_name(path))
    came = Counter(item.label or INBOX for item in plan.sending())
    report = _PlanReport(plan, name, came, None, (), new=new)
    if json:
        output.write_json(report.record(notes))
    else:
        for sentence in notes:
            output.write(sentence)
    if not plan.items:
        if not json:
            output.write_list("passed over, no photos", plan.passed_over(), kind="file")
        raise _no_photo(sources)
    if not json:
        report.write()
    if report.came and refusal:
        raise CommandError(refusal)
    return report.exit_status


@dataclass(frozen=True, slots=True)
class _ImportTarget:
    """Training set of an import as its plan needs it; `existing`, `inbox` and `as_jpeg` as for `scan`."""

    labels: Collection[str] = ()
    existing: dict[str, set[str]] = field(default_factory=dict)
    inbox: bool = True
    as_jpeg: bool = False


def _target(client: ApiClient, found: TrainingSet | None, uploaded: Iterable[TransferredItem] = ()) -> _ImportTarget:
    """Return what there is in a training set, None for one that is new.

    `uploaded` are images that came in earlier: a service with the documented calls only does not report their hashes.
    """
    there = list(iter_images(client, found.id, paged=False)) if found is not None else []
    existing = existing_of(there)
    label_of = {bare_id(image.image_id): image.label for image in there}
    for item in uploaded:
        label = label_of.get(bare_id(item.image_id))
        if item.sha256 and isinstance(label, str):
            existing.setdefault(item.sha256, set()).add(label)
    labels = {image.label for image in there if isinstance(image.label, str)}
    if found is not None and isinstance(found.labels, list):
        labels.update(found.labels)
    extensions = client.ping().extensions or []
    return _ImportTarget(labels, existing, not extensions or "unlabelled" in extensions, "formats" not in extensions)


def _scan(sources: Sequence[Dropped], target: _ImportTarget, line: output.ProgressLine) -> Plan:
    def show(state: ScanProgress) -> None:
        line.show(f"Looking at {state.read:,} of {state.found:,} photos" if state.total else "Looking for photos")

    plan = scan(
        sources,
        existing=target.existing,
        labels_there=target.labels,
        inbox=target.inbox,
        as_jpeg=target.as_jpeg,
        progress=show,
    )
    line.clear()
    return plan


def _no_photo(sources: Sequence[Dropped]) -> CommandError:
    where = f"“{shown(str(sources[0]))}”" if isinstance(sources[0], Path) else "what was given"
    return CommandError(f"There is no photo in {where}.")


@contextmanager
def _imports(transfers: TransferQueue) -> Iterator[UndoableImports]:
    """Open the window's journal of edits, so that its Undo takes away what comes in here."""
    edits = EditHistory(paths.desktop_folder(), sweep_trash=False)
    if edits.note:
        output.write(edits.note, sys.stderr)
    try:
        yield UndoableImports(edits.journal, transfers)
    finally:
        edits.close()


def _refusal_of_new_set(client: ApiClient, name: str) -> str:
    """Return why a service makes no training sets; "" where it does."""
    if "training-sets" in (client.ping().extensions or []):
        return ""
    return f"This service cannot make training sets by itself: make “{name}” on its own page, then run this again."


def _create(imports: UndoableImports, client: ApiClient, name: str) -> NewImportSet:
    if refusal := _refusal_of_new_set(client, name):
        raise CommandError(refusal)
    return imports.create_training_set(connection_id(), client, name)


@dataclass(frozen=True, slots=True)
class _Continued:
    """Uploads of earlier runs that this one went on with; `came`: label → number of photos that came in now."""

    came: Counter[str] = field(default_factory=Counter)
    digests: set[str] = field(default_factory=set)
    """Hashes of the photos that came in now."""
    uploaded: list[TransferredItem] = field(default_factory=list)
    """What these uploads brought in, now or earlier; it may have been deleted meanwhile."""
    unfinished: TransferStatus | None = None
    """The one that stopped again."""


def _continue_uploads(
    client: ApiClient,
    transfers: TransferQueue,
    imports: UndoableImports,
    training_set: TrainingSet,
    line: output.ProgressLine,
    note: Callable[[str], object],
    patience: float,
) -> _Continued:
    """Finish what an earlier run, or the window, left unfinished for this training set."""
    came, digests, uploaded = Counter[str](), set[str](), list[TransferredItem]()
    left_over = [
        status
        for status in transfers.all()
        if (status.connection_id, status.training_set_id) == (connection_id(), training_set.id)
        and status.kind is TransferKind.UPLOAD
        and status.state in (TransferState.WAITING, TransferState.STOPPED)
    ]
    if not left_over:
        return _Continued()
    before = {bare_id(image.image_id) for image in iter_images(client, training_set.id, paged=False)}
    for status in left_over:
        if status.state is TransferState.STOPPED:
            transfers.resume(status.id)
        before.update(bare_id(result.image_id) for result in transfers.results(status.id))  # deleted meanwhile, or not
        left = status.total - status.done - status.skipped - status.failed
        note(f"Going on with {plural(left, 'photo')} that an earlier import left.")
        ended = run_transfer(transfers, status.id, line, patience)
        results = transfers.results(status.id)
        new = [result for result in results if result.created and bare_id(result.image_id) not in before]
        before.update(bare_id(result.image_id) for result in new)
        came.update(result.label for result in new)
        digests.update(result.sha256 for result in new if result.sha256)
        uploaded += results
        if ended.state is TransferState.DONE:
            imports.finish(connection_id(), status.id)
            transfers.forget(status.id)
        elif ended.state is TransferState.STOPPED:
            return _Continued(came, digests, uploaded, ended)
        elif ended.note:
            note(ended.note)
    return _Continued(came, digests, uploaded)


@dataclass(frozen=True)
class _ImportReport:
    """Result of an import; `came`: label → number of photos that came in."""

    plan: Plan
    name: str
    came: Counter[str]
    status: TransferStatus | None
    failures: Sequence[tuple[str, str]]
    digests: Collection[str] = ()
    """Hashes of photos that came in before they were compared with what is there."""

    @property
    def there(self) -> int:
        there = [item.sha256 for item in self.plan.items if item.standing is ItemStatus.THERE]
        return len(there) - len(set(self.digests).intersection(there)) + (self.status.skipped if self.status else 0)

    @property
    def left(self) -> int:
        """Number of photos that the same command would go on with."""
        status = self.status
        return status.total - status.done - status.skipped - status.failed if status else 0

    @property
    def out(self) -> list[tuple[str, str]]:
        """Photos that did not come in, each with the reason."""
        unsent = (ItemStatus.PROBLEM, ItemStatus.NO_LABEL)
        items = [(place_of(item.source), item.note) for item in self.plan.items if item.standing in unsent]
        return [*items, *self.failures]

    @property
    def exit_status(self) -> int:
        return 1 if self.out or self.left or not self.plan.complete else 0

    def record(self, notes: Sequence[str]) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "training_set": self.name,
            "imported": self.came.total(),
            "labels": dict(sorted(self.came.items())),
            "there_already": self.there,
            "twice": self.plan.counts()[ItemStatus.TWICE],
            "left": self.left,
            "not_imported": [{"image": place, "error": why} for place, why in self.out],
            "passed_over": self.plan.ignored,
            "notes": [*notes, *filter(None, [self.status.note if self.status and self.left else ""])],
        }

    def write(self) -> None:
        """Write it for people."""
        came, name = self.came, self.name
        if came:
            output.write(f"{plural(came.total(), 'photo')} came into “{name}”, {self._under}.")
        else:
            output.write(f"Nothing new came into “{name}”.")
        self._write_labels()
        if there := self.there:
            output.write(f"{plural(there, 'photo')} {'was' if there == 1 else 'were'} there already.")
        if twice := self.plan.counts()[ItemStatus.TWICE]:
            output.write(f"{plural(twice, 'photo')} came twice in this folder, and once into the training set.")
        output.write_list("passed over, no photos", self.plan.passed_over(), kind="file")
        if left := self.left:
            note = self.status.note if self.status else ""
            output.write(f"{plural(left, 'photo')} did not come in yet: {note} Run the same command to go on.")
        output.write_list("did not come in", self.out)

    @property
    def _under(self) -> str:
        labels = self.came.keys() - {INBOX}
        return f"under {plural(len(labels), 'label')}" if labels else "without a label"

    def _write_labels(self, splits: Mapping[str, Counter[str]] | None = None) -> None:
        shown_counts = sorted((label_name(label), label, count) for label, count in self.came.items())
        width = max((len(name) for name, _, _ in shown_counts), default=0)
        for name, label, count in shown_counts:
            of_label = (splits or {}).get(label, Counter())
            parts = ", ".join(f"{of_label[split]:,} {split}" for split in SPLITS if of_label[split])
            output.write(f"    {name:{width}}  {count:,}{f' ({parts})' if parts else ''}")


@dataclass(frozen=True)
class _PlanReport(_ImportReport):
    """Result that an import would have; `came`: label → number of photos that would come in.

    `new`: so is the training set; None where that is not known.
    """

    new: bool | None = True

    @property
    def exit_status(self) -> int:
        return 0 if self.came else super().exit_status

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Photos that stay out though they could come in, each with the reason."""
        items = [item for item in self.plan.items if item.standing is ItemStatus.LEFT_OUT]
        return [(place_of(item.source), item.note) for item in items]

    def splits(self) -> dict[str, Counter[str]]:
        """Return label → split → number of photos that would come in; those of no split are not counted."""
        splits: dict[str, Counter[str]] = {}
        for item in self.plan.sending():
            if item.split in SPLITS:
                splits.setdefault(item.label or INBOX, Counter())[item.split] += 1
        return splits

    def record(self, notes: Sequence[str]) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "training_set": self.name,
            "new": self.new,
            "to_import": self.came.total(),
            "labels": dict(sorted(self.came.items())),
            "splits": dict(sorted(self.splits().items())),
            "there_already": self.there,
            "twice": self.plan.counts()[ItemStatus.TWICE],
            "left_out": [{"image": place, "reason": why} for place, why in self.left_out],
            "not_imported": [{"image": place, "error": why} for place, why in self.out],
            "passed_over": self.plan.ignored,
            "notes": [*notes],
        }

    def write(self) -> None:
        """Write it for people."""
        came = self.came
        target = " ".join(
            filter(None, ["a new training set" if self.new else "", f"“{self.name}”" if self.name else ""])
        )
        if came:
            output.write(f"{plural(came.total(), 'photo')} would come into {target}, {self._under}.")
        else:
            output.write(f"Nothing new would come into {target}.")
        self._write_labels(self.splits())
        if there := self.there:
            output.write(f"{plural(there, 'photo')} {'is' if there == 1 else 'are'} there already.")
        if twice := self.plan.counts()[ItemStatus.TWICE]:
            output.write(f"{plural(twice, 'photo')} would come twice, and {'comes' if twice == 1 else 'come'} once.")
        output.write_list("passed over, no photos", self.plan.passed_over(), kind="file")
        output.write_list("left out", self.left_out)
        output.write_list("would not come in", self.out)
        output.write("Nothing was sent.")
