"""A watched folder: photos that arrive in it are classified once, and their answers written into a table or acted on.

A journal holds each photo's answer and what was done about it, so that a watch goes on where it was ended, in whatever way.
"""

from __future__ import annotations

import errno
import filecmp
import io
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, Conflict, ConnectionFailed, NotFound
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Classification, decode_json, encode_json
from apitorch_desktop.dataset.batch.classification import (
    COLUMNS,
    Answers,
    cells,
    classify_arguments,
    fetch_answers,
    is_none_of_these,
    probability,
    write_rows,
)
from apitorch_desktop.dataset.importer.scanner import SUFFIXES, is_hidden
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import ImageFile, SourceMissing, place_of
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import atomic_write, fsync_folder, safe_filename
from apitorch_desktop.utils.sqlite import FileError, SqliteFile
from apitorch_desktop.utils.text import reason, shown

REST: Final = 2.0
"""Seconds for which a file's size and time of change stay the same before it is taken for complete."""
_TICK = 1.0
"""Seconds between two looks at what is not at rest yet."""
_SCAN_PAUSE = 30.0
"""Seconds between two scans: shared folders of other machines report no changes. At least 20 times as long as a scan takes."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
"""Seconds of waiting for a service that is away, doubled from the first to the longest."""
_RETRY_PAUSE = 30.0
"""Seconds until a photo that could not be moved or written down is tried again."""
_THREADS = 4
_AT_ONCE = 4 * _THREADS
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS watches (
    id INTEGER PRIMARY KEY, connection TEXT NOT NULL, classifier TEXT NOT NULL, folder BLOB NOT NULL,
    UNIQUE (connection, classifier, folder))""",
    """CREATE TABLE IF NOT EXISTS watched_photos (
    watch INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL, answer BLOB NOT NULL,
    target BLOB, PRIMARY KEY (watch, path)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS watched_rows (
    watch INTEGER NOT NULL, path BLOB NOT NULL, file BLOB NOT NULL, start INTEGER NOT NULL, written INTEGER NOT NULL,
    PRIMARY KEY (watch, path, file)) WITHOUT ROWID""",
)
Answer = Classification | str
"""An answer, or a sentence with the reason why there is none."""
_State = tuple[int, int]
"""Size of a file in bytes and time of its last change in ns."""


class UnfitTable(UserError):  # noqa: N818 - named for what it is
    """No row can be added to the file: it cannot be written, or is no table of answers."""


@dataclass(frozen=True, slots=True)
class WatchTask:
    """A folder, its classifier, and what is done about the answers. All paths are absolute, those of folders without links.

    `table`: CSV file that gets a row for each photo. `destination`: folder into whose folders by label photos move if the
    answer is at least so sure as `least` (0 to 1) and not none of the labels.
    """

    connection_id: str
    folder: Path
    classifier: str
    table: Path | None = None
    destination: Path | None = None
    least: float = 0.8

    def place_for(self, answer: Answer) -> Path | None:
        """Return the folder that a photo belongs in by its answer, None for one that stays."""
        if self.destination is None or isinstance(answer, str) or is_none_of_these(answer):
            return None
        label = snake_case(answer.label)
        if not label or (probability(answer.confidence_value) or 0) < self.least:
            return None
        return self.destination / safe_filename(label)

    def contains(self, path: Path) -> bool:
        """Return True for a path whose photo is to be classified: not one that was moved to a destination in the folder."""
        if not path.is_relative_to(self.folder):
            return False
        inner = self.destination
        inside = inner is not None and inner != self.folder and inner.is_relative_to(self.folder)
        return not (inside and inner is not None and path.is_relative_to(inner))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A photo at rest."""

    path: Path
    state: _State


class WatchJournal:
    """Answers about the photos of watched folders, and what was done about them. Raises FileError."""

    def __init__(self, folder: Path, task: WatchTask) -> None:
        self._file = SqliteFile(folder / "watched.db", _SCHEMA)
        self._classifier = task.classifier
        key = (task.connection_id, task.classifier, os.fsencode(task.folder))
        with self._file.transaction() as write:
            write.execute("INSERT OR IGNORE INTO watches (connection, classifier, folder) VALUES (?, ?, ?)", key)
        where = "connection = ? AND classifier = ? AND folder = ?"
        self._watch = int(self._file.read(f"SELECT id FROM watches WHERE {where}", *key)[0][0])  # noqa: S608 - a constant

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def photos(self) -> list[tuple[Arrival, Path | None]]:
        """Return the photos that have an answer, each with the path of a move under way."""
        return [
            (Arrival(Path(os.fsdecode(path)), (size, changed)), Path(os.fsdecode(target)) if target else None)
            for path, size, changed, target in self._file.read(
                "SELECT path, size, changed, target FROM watched_photos WHERE watch = ?", self._watch
            )
        ]

    def answer(self, arrival: Arrival) -> Answer | None:
        """Return the answer about a photo, None if there is none or the file has changed since."""
        found = self._file.read(
            "SELECT answer FROM watched_photos WHERE watch = ? AND path = ? AND size = ? AND changed = ?",
            self._watch, os.fsencode(arrival.path), *arrival.state,
        )  # fmt: skip
        return next(iter(decode_json(found[0][0], Answers).values())) if found else None

    def save(self, arrival: Arrival, answer: Answer) -> None:
        """Save the answer about a photo, which has nothing done about it yet."""
        path = os.fsencode(arrival.path)
        with self._file.transaction() as write:
            write.execute("DELETE FROM watched_rows WHERE watch = ? AND path = ?", (self._watch, path))
            write.execute(
                "INSERT OR REPLACE INTO watched_photos VALUES (?, ?, ?, ?, ?, NULL)",
                (self._watch, path, *arrival.state, encode_json({self._classifier: answer})),
            )

    def begin_move(self, path: Path, target: Path | None) -> None:
        """Save where a photo is about to move, None if it does not."""
        with self._file.transaction() as write:
            write.execute(
                "UPDATE watched_photos SET target = ? WHERE watch = ? AND path = ?",
                (os.fsencode(target) if target else None, self._watch, os.fsencode(path)),
            )

    def finish_move(self, path: Path, moved: Arrival) -> None:
        """Save that a photo has moved."""
        names = (os.fsencode(moved.path), self._watch, os.fsencode(path))
        with self._file.transaction() as write:
            for table in ("watched_photos", "watched_rows"):
                write.execute(f"DELETE FROM {table} WHERE path = ? AND watch = ?", names[:2])  # noqa: S608 - a constant
                write.execute(f"UPDATE {table} SET path = ? WHERE watch = ? AND path = ?", names)  # noqa: S608
            write.execute(
                "UPDATE watched_photos SET target = NULL, size = ?, changed = ? WHERE path = ? AND watch = ?",
                (*moved.state, *names[:2]),
            )

    def row(self, path: Path, file: Path) -> tuple[int, bool] | None:
        """Return where a photo's row of a table begins, in bytes, and whether it is known to be written; None if not begun."""
        found = self._file.read(
            "SELECT start, written FROM watched_rows WHERE watch = ? AND path = ? AND file = ?",
            self._watch, os.fsencode(path), os.fsencode(file),
        )  # fmt: skip
        return (found[0][0], bool(found[0][1])) if found else None

    def save_row(self, path: Path, file: Path, start: int, *, written: bool) -> None:
        """Save that a photo's row of a table is about to be written, or is."""
        with self._file.transaction() as write:
            write.execute(
                "INSERT OR REPLACE INTO watched_rows VALUES (?, ?, ?, ?, ?)",
                (self._watch, os.fsencode(path), os.fsencode(file), start, written),
            )

    def forget(self, path: Path) -> None:
        """Remove a photo that is done with and has left the folder."""
        with self._file.transaction() as write:
            for table in ("watched_photos", "watched_rows"):
                write.execute(
                    f"DELETE FROM {table} WHERE watch = ? AND path = ?",  # noqa: S608 - a constant
                    (self._watch, os.fsencode(path)),
                )


class _Arrivals:
    """Files that were found, until they are at rest and done with."""

    def __init__(self, task: WatchTask) -> None:
        self._task = task
        self._waiting: dict[Path, tuple[_State, float]] = {}
        """Path → state at the last look, and from when on the file is ready if that stays so."""
        self._done: dict[Path, _State] = {}

    def scan(self, place: Path) -> None:
        """Note the photos in a folder, or the one that a path leads to."""
        if place != self._task.folder and not self._is_wanted(place):
            return
        if not place.is_dir() or place.is_symlink():
            self._note(place)
            return
        for above, folders, names in os.walk(place):
            parent = Path(above)
            folders[:] = [name for name in folders if not is_hidden(name) and self._task.contains(parent / name)]
            for name in names:
                if not is_hidden(name):
                    self._note(parent / name)

    def ready(self) -> list[Arrival]:
        """Return photos that have been at rest for long enough, at most a few at once; they count as done."""
        found: list[Arrival] = []
        now = monotonic()
        for path, (state, due) in list(self._waiting.items()):
            if len(found) == _AT_ONCE:
                break
            if now < due:
                continue
            current = state_of(path)
            if current is None or current == self._done.get(path):
                del self._waiting[path]
            elif current != state:
                self._waiting[path] = (current, now + REST)
            elif not current[0] or _is_being_written(path):
                self._waiting[path] = (current, now + _TICK)
            else:
                del self._waiting[path]
                self._done[path] = current
                found.append(Arrival(path, current))
        return found

    def again(self, arrival: Arrival, pause: float) -> None:
        """Have a photo again, after some seconds."""
        self._done.pop(arrival.path, None)
        self._waiting[arrival.path] = (arrival.state, monotonic() + pause)

    def done(self, arrival: Arrival) -> None:
        """Count a photo as done."""
        self._done[arrival.path] = arrival.state

    def forget(self, path: Path) -> None:
        """Forget a photo that has moved: another of the name may come."""
        self._done.pop(path, None)

    def _is_wanted(self, path: Path) -> bool:
        return self._task.contains(path) and not any(map(is_hidden, path.relative_to(self._task.folder).parts))

    def _note(self, path: Path) -> None:
        if path.suffix.lower() in SUFFIXES and path not in self._waiting:
            state = state_of(path)
            if state is not None and state != self._done.get(path):
                self._waiting[path] = (state, monotonic() + REST)


class FolderWatch:
    """Works on the photos of a watched folder, until it is stopped. One at a time may work on a task.

    `on_done` receives each photo's place, its answer and where it was moved; `on_state` a sentence when the folder or the
    service is away or back, or a photo cannot be moved or written down.
    """

    def __init__(
        self,
        task: WatchTask,
        journal: WatchJournal,
        *,
        on_done: Callable[[str, Answer, Path | None], object],
        on_state: Callable[[str], object],
    ) -> None:
        self._task = task
        self._journal = journal
        self._arrivals = _Arrivals(task)
        self._on_done = on_done
        self._on_state = on_state
        self._problem = ""
        self._header_written = False
        self._away, self._pause = False, _FIRST_PAUSE

    def work(self, connect: Callable[[], AbstractContextManager[ApiClient]], stop: Event) -> None:
        """Classify what is in the folder and what arrives, until `stop` is set.

        `connect` opens a client; it is called again after the service was away. Raises ApiError for what no waiting helps
        against, such as a wrong key, UnfitTable, FileError, and what `connect` raises.
        """
        if self._task.table is not None and not _is_stream(self._task.table):
            try:
                _open_table(self._task.table).close()
            except OSError as error:
                place = shown(str(self._task.table))
                raise UnfitTable(f"“{place}” cannot be written: {reason(error)}.") from None
        self._resume()
        changes = self._changes(stop)
        with closing(changes), ThreadPoolExecutor(_THREADS, "classify") as pool:
            while not stop.is_set():
                try:
                    with connect() as client:
                        self._work_with(client, pool, changes, stop)
                except Cancelled:
                    return
                except ApiError as error:
                    self._wait(error, stop)

    def _work_with(self, client: ApiClient, pool: ThreadPoolExecutor, changes: Iterator[None], stop: Event) -> None:
        """Work until stopped. Raises ConnectionFailed if the service is away."""
        for _ in changes:
            try:
                while (ready := self._arrivals.ready()) and not stop.is_set():
                    self._handle(client, pool, ready, stop)
            except ConnectionFailed:
                raise
            except ApiError as error:
                self._wait(error, stop)
            else:
                if self._away:
                    self._on_state("The service is back.")
                self._away, self._pause = False, _FIRST_PAUSE

    def _wait(self, error: ApiError, stop: Event) -> None:
        """Wait for a service that is away or refuses for now, longer each time; raise an error that this does not remove."""
        if not (error.can_retry or isinstance(error, Conflict)):
            raise error
        if not self._away:
            self._on_state(f"{error} Waiting for the service.")
        self._away = True
        stop.wait(max(self._pause, error.retry_after or 0))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    # --- what arrives

    def _changes(self, stop: Event) -> Generator[None, None, None]:
        """Note what arrives, and yield at least every second."""
        import watchfiles  # 30 ms that other commands need not wait for

        folder, away = self._task.folder, False
        while not stop.is_set():
            identity = _identity(folder)
            if identity is None:
                if not away:
                    self._on_state(f"“{shown(str(folder))}” is not there. Waiting for it.")
                away = True
                stop.wait(_TICK)
                continue
            if away:
                self._on_state(f"“{shown(str(folder))}” is back.")
            away = False
            try:
                found = watchfiles.watch(
                    folder, stop_event=stop, rust_timeout=int(_TICK * 1000), yield_on_timeout=True, watch_filter=None,
                    raise_interrupt=False, ignore_permission_denied=True,
                )  # fmt: skip
                self._arrivals.scan(folder)
                next_scan = 0.0  # again once changes are reported, for what came in between
                with closing(found):
                    for changed in found:
                        if monotonic() >= next_scan:
                            begun = monotonic()
                            self._arrivals.scan(folder)
                            next_scan = monotonic() + max(_SCAN_PAUSE, 20 * (monotonic() - begun))
                        for change, path in changed:
                            if change is not watchfiles.Change.deleted:
                                self._arrivals.scan(Path(path))
                        yield
                        if _identity(folder) != identity:
                            break
            except (OSError, RuntimeError):  # the folder went away, or the system watches no more: scanned instead
                self._arrivals.scan(folder)
                yield
                stop.wait(_TICK)

    # --- what is done about it

    def _handle(self, client: ApiClient, pool: ThreadPoolExecutor, ready: list[Arrival], stop: Event) -> None:
        """Classify photos and do what is wanted. Raises ApiError if the service answers nothing; they are ready again."""
        with closing(Archives()) as archives:
            answers = list(pool.map(lambda arrival: self._ask(client, arrival, archives, stop), ready))
        failure: ApiError | None = None
        for arrival, answer in zip(ready, answers, strict=True):
            if isinstance(answer, ApiError):
                failure = answer
                self._arrivals.again(arrival, 0)
            elif state_of(arrival.path) != arrival.state:  # written or taken away meanwhile
                self._arrivals.again(arrival, REST)
            elif answer is not None and not stop.is_set():
                self._settle(arrival, answer)
        if failure is not None:
            raise failure

    def _ask(self, client: ApiClient, arrival: Arrival, archives: Archives, stop: Event) -> Answer | ApiError | None:
        """Return the answer about a photo, an error that waiting or the user can remove, or None once stopped."""
        if (known := self._journal.answer(arrival)) is not None:
            return known
        slug = self._task.classifier
        answer: Answer | ApiError
        try:
            given = classify_arguments(ImageFile(arrival.path), archives)
            answer = fetch_answers(lambda slugs: client.classify(slugs, cancelled=stop.is_set, **given), [slug])[slug]
        except Cancelled:
            return None
        except SourceMissing as error:
            answer = str(error)
        except ApiError as error:  # a wrong key
            return error
        if isinstance(answer, ApiError):
            if answer.can_retry or isinstance(answer, (Conflict, NotFound)):
                return answer
            answer = f"{answer} {answer.advice}".strip()
        if state_of(arrival.path) == arrival.state:
            self._journal.save(arrival, answer)
        return answer

    def _settle(self, arrival: Arrival, answer: Answer) -> None:
        """Move a photo and write its row, each if wanted and not done yet."""
        done, moved = arrival, None
        try:
            place = self._task.place_for(answer)
            if place is not None and arrival.path.parent != place:
                done = self._move(arrival, place)
                moved = done.path
                self._arrivals.forget(arrival.path)
                self._arrivals.done(done)
            written = self._write_row(done.path, answer)
        except (FileError, BrokenPipeError):
            raise
        except OSError as error:
            named = shown(str(error.filename2 or error.filename or done.path))
            self._complain(f"“{named}” cannot be written: {reason(error)}. Trying again.")
            self._arrivals.again(done, _RETRY_PAUSE)
            return
        self._problem = ""
        if not self._task.contains(done.path):
            self._journal.forget(done.path)
            self._arrivals.forget(done.path)
        if moved is not None or written:
            self._on_done(place_of(ImageFile(arrival.path)), answer, moved)

    def _complain(self, sentence: str) -> None:
        if sentence != self._problem:
            self._on_state(sentence)
        self._problem = sentence

    def _move(self, arrival: Arrival, place: Path) -> Arrival:
        """Move a photo into a folder, under a name that is free there; return it as it is then. Raises OSError."""
        place.mkdir(parents=True, exist_ok=True)
        for name in _names(arrival.path.name):
            target = place / name
            if os.path.lexists(target):
                continue
            self._journal.begin_move(arrival.path, target)
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
                    self._journal.begin_move(arrival.path, None)
                    raise
            moved = Arrival(target, state_of(target) or arrival.state)
            self._journal.finish_move(arrival.path, moved)
            return moved
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))

    def _write_row(self, path: Path, answer: Answer) -> bool:
        """Write a photo's row of the table, unless it is there; return False if it was. Raises OSError."""
        table = self._task.table
        if table is None:
            if self._journal.row(path, Path()) is not None:
                return False
            self._journal.save_row(path, Path(), 0, written=True)  # so that the answer is reported once
            return True
        begun = self._journal.row(path, table)
        if begun is not None and begun[1]:
            return False
        text = io.StringIO(newline="")
        write_rows(text, [cells(place_of(ImageFile(path)), self._task.classifier, answer)])
        row = text.getvalue().encode("utf-8", "replace")
        if _is_stream(table):
            with table.open("wb") as stream:
                stream.write(row if self._header_written else _header() + row)
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

    def _resume(self) -> None:
        """Finish moves that an earlier run left half done, and rows of photos that have left the folder."""
        for arrival, target in self._journal.photos():
            here = arrival if target is None else self._resumed(arrival, target)
            if not self._task.contains(here.path) and (answer := self._journal.answer(here)) is not None:
                self._settle(here, answer)

    def _resumed(self, arrival: Arrival, target: Path) -> Arrival:
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
            self._journal.begin_move(arrival.path, None)
            return arrival
        moved = Arrival(target, there)
        self._journal.finish_move(arrival.path, moved)
        return moved


def state_of(path: Path) -> _State | None:
    """Return size and time of change of a file; None for none, a link or what is no ordinary file."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _is_being_written(path: Path) -> bool:
    """Return True while a program has a file open for writing, as far as the system tells: Linux does, of one's own files.

    A read lease (fcntl(2), F_SETLEASE) is refused then; it is given back at once.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(
            handle, fcntl.F_SETSIG, signal.SIGURG
        )  # to a process that does not care, should a writer come just now
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(handle)
    return False


def _names(name: str) -> Iterable[str]:
    """Yield a name, then the name with a number: `a.jpg`, `a (2).jpg`."""
    yield name
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    for number in range(2, sys.maxsize):
        yield safe_filename(f"{stem} ({number}){suffix}")


def _replace(arrival: Arrival, target: Path) -> None:
    """Move a photo onto its reserved place; to another file system by a copy, verified before the photo is removed."""
    try:
        arrival.path.replace(target)
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


def _is_stream(path: Path) -> bool:
    """Return True for a pipe or a device, which is written to and never read."""
    return path.exists() and not path.is_file()


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
