"""Actions on the photos of a watched folder by their answers: moved by label, written into a table, added to a training set.

Each is journalled before it begins, so that no end of the program loses or repeats one.
"""

from __future__ import annotations

import errno
import filecmp
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.batch.classification import COLUMNS, cells, write_rows
from apitorch_desktop.dataset.importer.undoable_import import ImportResult, UndoableImports
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem, place_of
from apitorch_desktop.dataset.transfers.queue import ENDED, TransferMissing, TransferQueue
from apitorch_desktop.dataset.watch.arrivals import Arrival, state_of
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Answer, WatchTask
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import atomic_write, descriptor_of, fsync_folder, move_into_place, safe_filename
from apitorch_desktop.utils.text import plural, reason, shown

_POLL = 0.1
"""Seconds between two looks at a transfer."""


def move(arrival: Arrival, place: Path, journal: WatchJournal) -> Arrival:
    """Move a photo into a folder, under a name that is free there; return it as it is then. Raises OSError."""
    place.mkdir(parents=True, exist_ok=True)
    for name in _names(arrival.path.name):
        target = place / name
        if os.path.lexists(target):
            continue
        journal.begin_move(arrival.path, target)
        try:
            target.touch(exist_ok=False)  # the name is taken from here on
        except FileExistsError:
            continue
        try:
            _replace(arrival, target)
        except OSError:
            there = state_of(target)
            if there is None or not there[0] or state_of(arrival.path) is not None:  # else it has moved
                target.unlink(missing_ok=True)
                journal.begin_move(arrival.path, None)
                raise
        moved = Arrival(target, state_of(target) or arrival.state)
        journal.finish_move(arrival.path, moved)
        return moved
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))


def finish_move(arrival: Arrival, target: Path, journal: WatchJournal) -> Arrival:
    """Finish or take back a move that was interrupted; return the photo as it is then."""
    there, still = state_of(target), state_of(arrival.path)
    if there is not None and still is not None:
        if not there[0]:
            target.unlink()  # only its name was taken
            there = None
        elif still == arrival.state and filecmp.cmp(arrival.path, target, shallow=False):
            arrival.path.unlink()  # copied to another file system, and not removed yet
            still = None
    if there is None or still is not None:
        journal.begin_move(arrival.path, None)
        return arrival
    moved = Arrival(target, there)
    journal.finish_move(arrival.path, moved)
    return moved


def _names(name: str) -> Iterable[str]:
    """Yield a name, then the name with a number: `a.jpg`, `a (2).jpg`."""
    yield name
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    for number in range(2, sys.maxsize):
        yield safe_filename(f"{stem} ({number}){suffix}")


def _replace(arrival: Arrival, target: Path) -> None:
    """Move a photo onto its reserved place; to another file system by a copy, verified before the photo is removed."""
    try:
        move_into_place(arrival.path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_write(target) as part:
            shutil.copy2(arrival.path, part)
            if not filecmp.cmp(arrival.path, part, shallow=False) or state_of(arrival.path) != arrival.state:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(arrival.path)) from None
        arrival.path.unlink()
    fsync_folder(target.parent)
    fsync_folder(arrival.path.parent)


class UnfitTable(UserError):  # noqa: N818 - named for what it is
    """No row can be added to the file: it cannot be written, or is no table of answers."""


class UnfitDestination(UserError):  # noqa: N818 - named for what it is
    """No photo can be moved to where a watch is to move them."""


def check_destination(task: WatchTask) -> None:
    """Raise UnfitDestination if photos are to be moved into what is no folder, against which no waiting helps."""
    place = task.destination
    while place is not None and not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if place is not None and place.exists() and not place.is_dir():
        raise UnfitDestination(f"“{shown(str(place))}” is no folder: no photo can be moved into it.")


class AnswerRows:
    """The rows that a watch adds to its table; without a table, the journal's note of what was reported."""

    def __init__(self, task: WatchTask, journal: WatchJournal) -> None:
        self._path = task.table
        self._classifier = task.classifier
        self._journal = journal
        self._header_written = False

    def check(self) -> None:
        """Begin the table if it is new. Raises UnfitTable if no row can be added."""
        if self._path is None or _is_stream(self._path):
            return
        try:
            _open_table(self._path).close()
        except OSError as error:
            raise UnfitTable(f"“{shown(str(self._path))}” cannot be written: {reason(error)}.") from None

    def write(self, path: Path, answer: Answer) -> bool:
        """Write a photo's row of the table, unless it is there; return False if it was. Raises OSError."""
        table = self._path
        if table is None:
            if self._journal.row(path, Path()) is not None:
                return False
            self._journal.save_row(path, Path(), 0, written=True)  # so that the answer is reported once
            return True
        begun = self._journal.row(path, table)
        if begun is not None and begun[1]:
            return False
        text = io.StringIO(newline="")
        write_rows(text, [cells(place_of(ImageFile(path)), self._classifier, answer)])
        row = text.getvalue().encode("utf-8", "replace")
        if _is_stream(table):
            try:
                number = descriptor_of(table)
                with open(table if number is None else os.dup(number), "wb") as stream:  # noqa: PTH123 - may have no path
                    stream.write(row if self._header_written else _header() + row)
            except OSError as error:  # named for the table, not for the photo
                raise OSError(error.errno, error.strerror, str(table)) from None
            self._header_written = True
            self._journal.save_row(path, table, 0, written=True)
            return True
        with _open_table(table) as file:
            end = file.seek(0, os.SEEK_END)
            if begun is not None and begun[0] < end:  # an earlier run ended while it wrote
                file.seek(begun[0])
                tail = file.read()
                if tail.lstrip().startswith(row):
                    self._journal.save_row(path, table, begun[0], written=True)
                    return True
                if row.startswith(tail.lstrip()):
                    end = file.truncate(begun[0])
            file.seek(end - 1)
            if file.read(1) != b"\n":  # as some editors leave it
                row = b"\r\n" + row
            self._journal.save_row(path, table, end, written=False)
            file.seek(end)
            file.write(row)
            file.flush()
            os.fsync(file.fileno())
            self._journal.save_row(path, table, end, written=True)
        return True


def _is_stream(path: Path) -> bool:
    """Return True for what is written to and never read: a pipe, a device, or what is open already (/dev/stdout)."""
    return descriptor_of(path) is not None or (path.exists() and not path.is_file())


def _header() -> bytes:
    text = io.StringIO(newline="")
    write_rows(text, [COLUMNS])
    return text.getvalue().encode()


def _open_table(path: Path) -> io.BufferedRandom:
    """Open a table of answers for more rows, with its header if it is new. Raises UnfitTable and OSError."""
    if not path.exists():
        path.touch()
    file = path.open("r+b")
    header = _header()
    start = file.read(len(header))
    if not start:
        file.write(header)
        file.flush()
    elif start != header:
        file.close()
        raise UnfitTable(f"“{shown(str(path))}” is another file than a table of answers: choose another name.")
    return file


class TargetMissing(UserError):  # noqa: N818 - named for what it is
    """The training set of a watch was deleted."""


class SetAdder:
    """Adds photos by a transfer, which other threads of the program run, and waits for it."""

    def __init__(
        self,
        task: WatchTask,
        imports: UndoableImports,
        transfers: TransferQueue,
        client: Callable[[], ApiClient],
        on_added: Callable[[ImportResult], object],
    ) -> None:
        """`on_added` receives what the journal of edits got."""
        self._task = task
        self._imports = imports
        self._transfers = transfers
        self._client = client
        self._on_added = on_added

    def add(self, items: list[UploadItem], stop: Event) -> dict[tuple[str, str], str]:
        """Add photos; return the reasons of those that could not be: (name, label) → sentence.

        The transfer is taken off the list once it has ended. Raises ApiError, TargetMissing and Cancelled.
        """
        connection_id, set_id = self._task.connection_id, self._task.training_set_id
        found = next((one for one in self._client().training_sets() if one.id == set_id), None)
        if found is None or set_id is None:
            raise TargetMissing("The training set is not there any more: change this watch, and choose another.")
        title = f"Adding {plural(len(items), 'photo')} of “{self._task.folder.name}” to “{found.name}”"
        transfer = self._imports.upload(connection_id, set_id, title, items, labels_before=found.classes)
        try:
            while self._transfers.status(transfer).state not in ENDED:
                if stop.wait(_POLL):
                    raise Cancelled
            failures = self._transfers.failures(transfer)
            result = self._imports.finish(connection_id, transfer, found.classes)
            self._transfers.forget(transfer)
        except TransferMissing:  # the user took it off the list
            return {}
        self._on_added(result)
        return {(one.name, one.label): f"{one.reason} {one.advice}".strip() for one in failures}
