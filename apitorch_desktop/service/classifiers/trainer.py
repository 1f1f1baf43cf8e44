"""Trainer: what to embed and retrain, when, and the versions that come of it; threads beside serving."""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.embedder import BATCH, Embedder
from apitorch_desktop.service.classifiers.head_cache import CurrentHead, HeadCache, metrics_of
from apitorch_desktop.service.classifiers.training_data import TooFewReadable
from apitorch_desktop.service.storage.errors import Closed, RecordConflict, RecordNotFound, StoreError
from apitorch_desktop.service.storage.records import TrainingSetRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.head import TrainingCancelled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.head import Head

_NICE = 10
_THREADS = 2  # heads trained at the same time, so that a small training set does not wait for a large one
_LOOK = 1.0  # seconds between two looks at what is to embed, while there is enough to do
_RETRY = 30.0  # seconds after a failure that a change of the images does not mend, such as a full disk
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """Where a training set's classifier stands; the fields are those of `types.Classifier`."""

    status: str
    message: str
    version: int | None = None
    trained_at: str | None = None
    metrics: types.Metrics | None = None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prediction:
    """Calibrated probabilities of one image, best label first, and the version of the head they come from."""

    version: int
    labels: list[str]
    values: list[float]


@dataclass
class _TrainingJob:
    """What is to be done for one training set. Times are `time.monotonic()`."""

    set_id: int
    changes: int = 0
    changed_at: float = 0.0
    waiting_since: float = 0.0  # the oldest change that no head knows of
    look: bool = False  # ask the store what is to embed
    looked_at: float = 0.0
    lacking: deque[str] = field(default_factory=deque)
    embedding: bool = False  # a batch is under way
    pending: bool = False  # to be trained
    running: bool = False
    seen: int = 0  # `changes` when the training under way began
    failure: str = ""
    retry_at: float | None = None

    @property
    def embedded(self) -> bool:
        return not self.look and not self.lacking and not self.embedding


class Trainer:
    """Embeds new images and keeps every training set's classifier up to date, in threads of low priority.

    `encoder_factory` makes the encoder used here; classification has one of its own, so that it never waits. Training
    starts `delay` seconds after the last change, and after `patience` seconds of steady change with what is embedded
    by then. All methods are thread-safe and quick, but `changes`, which runs two heads over the whole set.
    """

    def __init__(
        self,
        store: "Store",
        encoder_factory: "Callable[[], Encoder]",
        *,
        delay: float = 0.5,
        patience: float = 20,
    ) -> None:
        self._store = store
        self._embedder = Embedder(store, encoder_factory)
        self._heads = HeadCache(store)
        self._delay = delay
        self._patience = patience
        self._works: dict[int, _TrainingJob] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; they first go on with whatever was unfinished when the service last ended."""
        self._threads = [threading.Thread(target=self._embed_all, name="embedder", daemon=True)]
        self._threads += [
            threading.Thread(target=self._train_all, name=f"trainer-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 10) -> bool:
        """End the threads within a batch or a fit; unfinished work is done at the next start. Whether they have ended."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def changed(self, set_id: int) -> None:
        """Images or labels of a training set changed, or it was deleted; for the store's `on_change`."""
        now = time.monotonic()
        with self._wake:
            work = self._works.setdefault(set_id, _TrainingJob(set_id))
            work.changes += 1
            work.changed_at = now
            work.look = True
            work.failure, work.retry_at = "", None
            if not work.pending:
                work.pending, work.waiting_since = True, now
            self._wake.notify_all()

    def state(self, training_set: "TrainingSetRow") -> TrainingState:
        """Status, sentence, version, metrics and labels."""
        if needs := training_data.needs(training_set):
            return TrainingState("needs_images", needs, labels=list(training_set.labels))
        rows = self._store.learning.versions(training_set.id)
        state = TrainingState("ready", "", labels=list(training_set.labels))
        current = next((row for row in rows if row.current), None)
        metrics = metrics_of(current) if current else None
        held = self._heads.held(training_set.id)
        if held and held.provisional:
            state = TrainingState("ready", "", held.version, held.trained_at, held.metrics, list(held.head.labels))
        elif current:
            labels = [label.label for label in metrics.labels] if metrics else state.labels
            state = TrainingState("ready", "", current.version, current.trained_at, metrics, labels)
        with self._wake:
            work = self._works.get(training_set.id)
            failure, lacking = (work.failure, len(work.lacking)) if work else ("", 0)
        if failure:
            return replace(state, status="failed", message=failure)
        swapping = held is not None and (current is None or held.version != current.version or held.provisional)
        if swapping or current is None or rows[0].revision != training_set.revision:
            return replace(state, status="training", message=training_data.progress(training_set, lacking))
        chosen = current.version if current.version != rows[0].version else None
        return replace(state, message=training_data.summary(metrics, chosen))

    def predict(self, training_set: "TrainingSetRow", embedding: "npt.NDArray[np.float32]") -> Prediction | None:
        """What the current head says about an embedding (d,), or None where there is no head yet."""
        current = self._heads.current(training_set.id)
        if current is None or training_data.needs(training_set) or current.head.dimensions != embedding.shape[-1]:
            return None
        values = current.head.predict(embedding)[0].tolist()
        best = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        return Prediction(current.version, [current.head.labels[at] for at in best], [values[at] for at in best])

    def versions(self, set_id: int) -> list[types.ClassifierVersion]:
        """The versions that are kept, newest first."""
        return [training_data.version_of(row, metrics_of(row)) for row in self._store.learning.versions(set_id)]

    def make_current(self, set_id: int, version: int) -> None:
        """Let a kept version answer until the next retraining. Raises NotFound."""
        self._store.learning.set_current(set_id, version)
        self._heads.drop(set_id)

    def changes(self, set_id: int, from_version: int, to_version: int) -> list[types.ClassificationChange]:
        """The set's images that the two versions answer differently, surest first. Raises NotFound, Conflict."""
        before, after = self._version(set_id, from_version), self._version(set_id, to_version)
        if before.encoder != after.encoder:
            raise RecordConflict(
                f"Versions {from_version} and {to_version} see images through different encoders: "
                "compare versions made with the same one."
            )
        return training_data.differences(self._store, set_id, before, after)

    def head(self, set_id: int) -> "tuple[int, Head] | None":
        """The current version and its head, for export; None where there is none yet."""
        current = self._heads.current(set_id)
        return (current.version, current.head) if current else None

    def _version(self, set_id: int, version: int) -> CurrentHead:
        current = self._heads.load(set_id, version)
        if current is None:
            raise RecordNotFound(f"Version {version} is not kept: the last ten are.")
        return current

    def _newest(self, set_id: int) -> "VersionRow | None":
        versions = self._store.learning.versions(set_id)
        return versions[0] if versions else None

    # the embedding thread

    def _embed_all(self) -> None:
        _lower_priority()
        try:
            self._go_on()
        except StoreError:
            _log.exception("training cannot look at what is unfinished")
        while (work := self._next_to_embed()) is not None:
            try:
                self._embed_some(work)
            except Closed:
                return
            except RecordNotFound:
                self._forget(work)
            except Exception as error:  # noqa: BLE001 - told to the person as the classifier's state
                self._fail(work, error)

    def _go_on(self) -> None:
        """Take up the training sets whose newest version has not learned from what is there."""
        for set_id in self._store.training_sets.all_ids():
            row = self._store.training_sets.find(set_id)
            if row is not None and not training_data.needs(row) and not self._learned(set_id, row.revision):
                self.changed(set_id)

    def _next_to_embed(self) -> _TrainingJob | None:
        """The training set whose turn it is (each has a batch in turn), after waiting for one; None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                for work in self._works.values():
                    if work.retry_at is not None and now >= work.retry_at:
                        work.failure, work.retry_at, work.look, work.pending = "", None, True, True
                due = [work for work in self._works.values() if not work.embedded and not work.failure]
                if due:
                    work = due[0]
                    self._works[work.set_id] = self._works.pop(work.set_id)  # to the end of the line
                    return work
                retries = [work.retry_at for work in self._works.values() if work.retry_at is not None]
                self._wake.wait(max(0.05, min(retries) - now) if retries else None)
        return None

    def _embed_some(self, work: _TrainingJob) -> None:
        with self._wake:
            now = time.monotonic()
            look = work.look and (not work.lacking or now > work.looked_at + _LOOK)
            if look:
                work.look, work.looked_at = False, now
            work.embedding = True
        try:
            if look:
                lacking = self._embedder.missing(work.set_id)
                with self._wake:
                    work.lacking = deque(lacking)
            with self._wake:
                batch = [work.lacking.popleft() for _ in range(min(BATCH, len(work.lacking)))]
            if batch:
                self._embedder.embed(batch)
        finally:
            with self._wake:
                work.embedding = False
                if work.embedded:
                    self._wake.notify_all()

    # the training threads

    def _train_all(self) -> None:
        _lower_priority()
        while (work := self._next_to_train()) is not None:
            error: Exception | None = None
            complete = True
            try:
                complete = self._train(work)
            except TrainingCancelled:
                complete = False
            except RecordNotFound:
                self._forget(work)
            except Closed:
                return
            except Exception as failure:  # noqa: BLE001 - told to the person as the classifier's state
                error = failure
            with self._wake:
                work.running = False
                if work.changes == work.seen and complete:
                    work.pending = False
                self._wake.notify_all()
            if error:
                self._fail(work, error)

    def _next_to_train(self) -> _TrainingJob | None:
        """A training set that is due, after waiting for one; None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                waiting = [work for work in self._works.values() if work.pending and not work.running]
                times = [(self._due(work), work) for work in waiting if not work.failure]
                ready = [(due, work) for due, work in times if due <= now]
                if ready:
                    work = min(ready, key=lambda pair: pair[0])[1]
                    work.running, work.seen = True, work.changes
                    return work
                self._wake.wait(min(due for due, _ in times) - now if times else None)
        return None

    def _due(self, work: _TrainingJob) -> float:
        at_last = work.waiting_since + self._patience
        return min(work.changed_at + self._delay, at_last) if work.embedded else at_last

    def _train(self, work: _TrainingJob) -> bool:
        """Train one head and let it answer; answers whether it has learned from all there is."""
        started = time.monotonic()
        urgent = started >= work.waiting_since + self._patience
        encoder = self._embedder.encoder().name
        lesson = training_data.lesson(self._store, work.set_id, encoder, self._embedder.unreadable)
        if lesson.complete and self._learned(work.set_id, lesson.revision):
            return True
        if not lesson.enough:
            row = self._store.training_sets.find(work.set_id)
            if lesson.complete and row and not training_data.needs(row):
                raise TooFewReadable("Too few of the photos can be read to learn from them.")
            self._served(work, started, lesson.complete)
            return lesson.complete

        def cancelled() -> bool:
            return self._stopping or (work.changes != work.seen and not urgent)

        def offer(head: "Head", metrics: types.Metrics | None = None) -> None:
            self._heads.put(work.set_id, training_data.provisional(self._store, lesson, head, metrics))

        training = training_data.fit(lesson, cancelled, offer)
        if lesson.complete:
            self._heads.put(work.set_id, training_data.keep(self._store, lesson, training))
        else:
            offer(training.head, training_data.wire_metrics(training.metrics))
        self._served(work, started, lesson.complete)
        return lesson.complete

    def _served(self, work: _TrainingJob, started: float, complete: bool) -> None:
        """What changed before `started` is learned; the rest waits from then on, or from now."""
        with self._wake:
            work.waiting_since = started if complete else time.monotonic()
            if not complete and work.embedded and work.changes == work.seen:  # what it lacked was not asked for
                work.look, work.changed_at = True, time.monotonic()

    def _learned(self, set_id: int, revision: int) -> bool:
        newest = self._newest(set_id)
        if newest is None or newest.revision != revision:
            return False
        try:
            return newest.encoder == self._embedder.encoder().name
        except UnusableEncoder:
            return False  # training then says what is wrong with it

    def _forget(self, work: _TrainingJob) -> None:
        """The training set was deleted."""
        with self._wake:
            self._works.pop(work.set_id, None)
        self._heads.drop(work.set_id)

    def _fail(self, work: _TrainingJob, error: Exception) -> None:
        foreseen = isinstance(error, StoreError | UnusableEncoder | TooFewReadable)
        if not foreseen:
            _log.error("training of set %d failed", work.set_id, exc_info=error)
        reason = str(error) if foreseen else f"Training failed ({type(error).__name__}: {str(error)[:200]})."
        with self._wake:
            work.failure = f"{reason} It is tried again with the next change."
            work.retry_at = time.monotonic() + _RETRY if isinstance(error, StoreError) else None
            work.lacking.clear()
            self._wake.notify_all()


def _lower_priority() -> None:
    """Serving comes first: on Linux a thread has a priority of its own, and threads it makes inherit it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
