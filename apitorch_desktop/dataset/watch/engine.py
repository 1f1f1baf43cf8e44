"""Work on a watched folder: photos at rest are classified, moved and written down, each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from threading import Event

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, Conflict, ConnectionFailed, NotFound
from apitorch_desktop.dataset.batch.classification import classify_arguments, fetch_answers
from apitorch_desktop.dataset.sources.archives import Archives
from apitorch_desktop.dataset.sources.image_source import ImageFile, SourceMissing, UploadItem, place_of
from apitorch_desktop.dataset.watch import arrivals
from apitorch_desktop.dataset.watch.actions import AnswerRows, check_destination, finish_move, move
from apitorch_desktop.dataset.watch.arrivals import Arrival, Arrivals, State, state_of
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import Answer, WatchTask
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.sqlite import FileError
from apitorch_desktop.utils.text import reason, shown

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
"""Seconds of waiting for a service that is away, doubled from the first to the longest."""
_RETRY_PAUSE, _LONGEST_RETRY_PAUSE = 30.0, 1800.0
"""Seconds until a photo that could not be moved or written down is tried again, doubled from the first to the longest."""
_GROWTH = 10.0
"""Seconds without a change until a photo that is refused is so for good: one may arrive in parts, with pauses."""
_THREADS = 4


Add = Callable[[list[UploadItem], Event], dict[tuple[str, str], str]]
"""Adds photos, until stopped (Cancelled); returns why some could not be: (name, label) → sentence."""


class FolderWatch:
    """Works on the photos of a watched folder, until it is stopped. One at a time may work on a task.

    `on_done` receives each photo's place, its answer and where it was moved; `on_state` a sentence when the folder or the
    service is away or back, or a photo cannot be moved or written down. `add` adds photos to the task's training set.
    """

    def __init__(
        self,
        task: WatchTask,
        journal: WatchJournal,
        *,
        on_done: Callable[[str, Answer, Path | None], object],
        on_state: Callable[[str], object],
        add: Add | None = None,
    ) -> None:
        self._task = task
        self._add = add
        self._journal = journal
        self._arrivals = Arrivals(task)
        self._on_done = on_done
        self._on_state = on_state
        self._problem: tuple[Path | None, int | None] | None = None
        self._pauses: dict[Path, float] = {}
        """Photo that could not be moved or written down → seconds until it is tried again after the next failure."""
        self._refused: dict[Path, State] = {}
        self._rows = AnswerRows(task, journal)
        self._away, self._pause = False, _FIRST_PAUSE

    def work(self, connect: Callable[[], AbstractContextManager[ApiClient]], stop: Event) -> None:
        """Classify what is in the folder and what arrives, until `stop` is set.

        `connect` opens a client; it is called again after the service was away. Raises ApiError for what no waiting helps
        against, such as a wrong key, UnfitTable, UnfitDestination, FileError, and what `connect` raises.
        """
        self._rows.check()
        check_destination(self._task)
        self._resume()
        changes = self._arrivals.changes(stop, self._on_state)
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

    # --- what is done about it

    def _handle(self, client: ApiClient, pool: ThreadPoolExecutor, ready: list[Arrival], stop: Event) -> None:
        """Classify photos and do what is wanted. Raises ApiError if the service answers nothing; they are ready again."""
        with closing(Archives()) as archives:
            answers = list(pool.map(lambda arrival: self._ask(client, arrival, archives, stop), ready))
        failure: ApiError | None = None
        settled: list[tuple[Arrival, Answer]] = []
        for arrival, answer in zip(ready, answers, strict=True):
            if isinstance(answer, ApiError):
                failure = answer
                self._arrivals.again(arrival, 0)
            elif state_of(arrival.path) != arrival.state:  # written or taken away meanwhile
                self._arrivals.again(arrival, arrivals.REST)
            elif answer is not None and not stop.is_set():
                settled.append((arrival, answer))
        for arrival, answer in self._added(settled, stop):
            self._settle(arrival, answer)
        if failure is not None:
            raise failure

    def _added(self, found: list[tuple[Arrival, Answer]], stop: Event) -> list[tuple[Arrival, Answer]]:
        """Add photos to the training set, each once; return those to go on with, without the ones that failed.

        Should the program end before it is noted, they are sent again: the service has each photo once all the same.
        """
        if self._add is None or self._task.training_set_id is None:
            return found
        key = Path(f"training set {self._task.training_set_id}")  # no table: those have absolute paths
        items = {
            arrival.path: UploadItem(label, ImageFile(arrival.path), arrival.path.name)
            for arrival, answer in found
            if (label := self._task.label_for(answer)) is not None and self._journal.row(arrival.path, key) is None
        }
        if not items:
            return found
        try:
            failures = self._add(list(items.values()), stop)
        except ApiError:
            for arrival, _ in found:
                self._arrivals.again(arrival, 0)
            raise
        going_on = []
        for arrival, answer in found:
            item = items.get(arrival.path)
            problem = failures.get((item.name, item.label)) if item is not None else None
            if problem is not None:
                self._on_done(place_of(ImageFile(arrival.path)), problem, None)
                continue
            if item is not None:
                self._journal.save_row(arrival.path, key, 0, written=True)
            going_on.append((arrival, answer))
        return going_on

    def _ask(self, client: ApiClient, arrival: Arrival, archives: Archives, stop: Event) -> Answer | ApiError | None:
        """Return the answer about a photo, an error that waiting or the user can remove, or None once stopped, or if it is
        refused and may still grow.
        """
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
            if self._may_grow(arrival):
                self._arrivals.again(arrival, _GROWTH)
                return None
            answer = f"{answer} {answer.advice}".strip()
        if state_of(arrival.path) == arrival.state:
            self._journal.save(arrival, answer)
        return answer

    def _may_grow(self, arrival: Arrival) -> bool:
        """Return whether a photo that is refused has just changed, once for each change."""
        if self._refused.pop(arrival.path, None) == arrival.state or time.time() - arrival.state[1] / 1e9 > _GROWTH:
            return False
        self._refused[arrival.path] = arrival.state
        return True

    def _settle(self, arrival: Arrival, answer: Answer) -> None:
        """Move a photo and write its row, each if wanted and not done yet. Links, and what they lead to, stay in place."""
        done, moved = arrival, None
        place = self._task.place_for(answer)
        moves = place is not None and arrival.path.parent != place and arrival.path.resolve() == arrival.path
        try:
            if place is not None and moves:
                done = move(arrival, place, self._journal)
                moved = done.path
                self._arrivals.forget(arrival.path)
                self._arrivals.done(done)
            written = self._rows.write(done.path, answer)
        except (FileError, BrokenPipeError):
            raise
        except OSError as error:
            named = place if moves and moved is None else self._task.table or done.path
            where = self._task.destination if moves and moved is None else named
            self._complain(
                f"“{shown(str(named))}” cannot be written: {reason(error)}. Trying again.", (where, error.errno)
            )
            pause = self._pauses.get(done.path, _RETRY_PAUSE)
            self._pauses[done.path] = min(pause * 2, _LONGEST_RETRY_PAUSE)
            self._arrivals.again(done, pause)
            return
        self._problem = None
        for path in (arrival.path, done.path):
            self._pauses.pop(path, None)
        if not self._task.contains(done.path):
            self._journal.forget(done.path)
            self._arrivals.forget(done.path)
        if moved is not None or written:
            self._on_done(place_of(ImageFile(arrival.path)), answer, moved)

    def _complain(self, sentence: str, problem: tuple[Path | None, int | None]) -> None:
        """Report a problem, once until a photo is settled: it is the same for folders of other labels."""
        if problem != self._problem:
            self._on_state(sentence)
        self._problem = problem

    def _resume(self) -> None:
        """Finish moves that an earlier run left half done, and rows of photos that have left the folder."""
        for arrival, target in self._journal.photos():
            here = arrival if target is None else finish_move(arrival, target, self._journal)
            if not self._task.contains(here.path) and (answer := self._journal.answer(here)) is not None:
                self._settle(here, answer)
