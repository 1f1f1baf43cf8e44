"""The background trainer: schedules embedding and training, and manages the trained versions."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from apitorch_desktop import __version__
from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.advice import Advisor, compare
from apitorch_desktop.service.classifiers.cluster import Cluster, ClusterAway
from apitorch_desktop.service.classifiers.embeddings import BATCH, Embedder
from apitorch_desktop.service.classifiers.encoders import EncoderPool, OwnEncoders
from apitorch_desktop.service.classifiers.head_cache import CurrentHead, HeadCache, decode_metrics
from apitorch_desktop.service.classifiers.team import JobKeeper, JobProgress
from apitorch_desktop.service.classifiers.training import train_and_store
from apitorch_desktop.service.classifiers.training_data import TooFewReadable, TrainingData
from apitorch_desktop.service.storage.base import NO_SUCH_SET
from apitorch_desktop.service.storage.coordination import JobRepository
from apitorch_desktop.service.storage.errors import (
    Closed,
    RecordConflict,
    RecordNotFound,
    StorageUnreachable,
    StoreError,
)
from apitorch_desktop.service.storage.records import TrainingSetRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils.parallel import lower_priority
from apitorch_desktop.utils.text import percent, plural
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.head import MIN_IMAGES, MIN_LABELS, TrainingCancelled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from apitorch_desktop.vision.encoder import Encoder

_THREADS = 2  # heads trained at the same time, so that a small training set does not wait for a large one
_CLUSTER_THREADS = 8  # heads trained at the same time by the workers of a cluster for this process
_SCAN_INTERVAL = 1.0  # seconds between two scans for missing embeddings while a batch is available
_RETRY_AFTER = 30.0  # seconds after a failure of the store, such as a full disk
_RETRY_UNREACHABLE = 2.0  # seconds after the database or the bucket was out of reach
_LEAST_EARLIER = 0.9  # of the images of a version that its encoder's embeddings must still be there of
_MOST_EARLIER = 32  # new images encoded by an earlier encoder too, before a training
_MAX_NAMED = 3  # labels named in a sentence
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """The state of a training set's classifier; the fields are those of `types.Classifier`."""

    status: str
    message: str
    version: int | None = None
    trained_at: str | None = None
    metrics: types.Metrics | None = None
    labels: list[str] = field(default_factory=list)
    waiting: int | None = None


@dataclass(frozen=True)
class Prediction:
    """Calibrated probabilities of one image, best label first, and the version of the head they come from.

    `none_of_these`: the image is probably none of the labels.
    """

    version: int
    labels: list[str]
    values: list[float]
    none_of_these: bool = False


@dataclass
class _TrainingJob:
    """Pending work for one training set. Times are `time.monotonic()`."""

    set_id: int
    changes: int = 0
    changed_at: float = 0.0
    outdated_since: float = 0.0  # the oldest change that is not trained
    scan: bool = False  # query the store for missing embeddings
    scanned_at: float = 0.0
    missing: deque[str] = field(default_factory=deque)
    embedding: bool = False  # a batch is running
    pending: bool = False  # training is due
    running: bool = False
    trained_changes: int = 0  # `changes` at the start of the running training
    encoded_anew: bool = False  # the newest version is of another encoder, whose embeddings are there
    earlier_changes: int = 0  # `changes` that were trained with that one's embeddings
    fits: int = 0
    failure: str = ""
    retry_at: float | None = None

    @property
    def embedded(self) -> bool:
        return not self.scan and not self.missing and not self.embedding

    @property
    def trainable(self) -> bool:
        """True if the changes can be trained at once."""
        return self.embedded or (self.encoded_anew and self.changes != self.earlier_changes)


class Trainer:
    """Embeds new images and keeps the classifiers of all training sets up to date, in low-priority threads.

    `encoder_factory` makes the built-in encoder used here; classification has one of its own, so that it never waits. A
    training set is learned with the encoder chosen for it, one of the users' `own` or the built-in one. Training starts
    `delay` seconds after the last change, and during steady change after `patience` seconds with what is embedded by then.
    While the images of a set are encoded anew, changes are trained with the embeddings of the version in use. With a
    PostgreSQL database, which other processes share, it works on the sets that it holds a lease of (`team`); `cluster` has
    the workers that do it. All methods
    are thread-safe and quick, except those that run heads or encoders over many images: `compare_versions`, `proposals`,
    `try_encoder`, `list_encoders` and `check_encoder`.
    """

    def __init__(
        self,
        store: "Store",
        encoder_factory: "Callable[[], Encoder]",
        *,
        own: OwnEncoders | None = None,
        delay: float = 0.2,
        patience: float = 20,
        cluster: Cluster | None = None,
    ) -> None:
        self._store = store
        self._encoders = EncoderPool(encoder_factory, own)
        self._embedder = Embedder(store)
        self._heads = HeadCache(store)
        self._advisor = Advisor(store, lower_priority)
        self.cluster = cluster
        self._keeper = self._make_keeper(store.jobs) if store.jobs else None
        store.on_notice(self._receive)
        self._delay = delay
        self._patience = patience
        self._jobs: dict[int, _TrainingJob] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; they first resume what was unfinished when the service last ended."""
        self._threads = [threading.Thread(target=self._run_embedder, name="embedder", daemon=True)]
        self._threads += [
            threading.Thread(target=self._run_trainer, name=f"trainer-{number}", daemon=True)
            for number in range(_THREADS if self.cluster is None else _CLUSTER_THREADS)
        ]
        for thread in self._threads:
            thread.start()
        if self._keeper is not None:
            self._keeper.start()

    def stop(self, timeout: float = 10) -> bool:
        """End the threads within a batch or a fit, and return whether they ended; unfinished work is resumed at the
        next start.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        deadline = time.monotonic() + timeout
        if self._keeper is not None:
            self._keeper.stop(timeout)
        if self.cluster is not None:
            self.cluster.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        ended = self._advisor.stop(max(0.0, deadline - time.monotonic()))
        return ended and not any(thread.is_alive() for thread in self._threads)

    def notify_changed(self, set_id: int) -> None:
        """Register a change of a training set's images or labels, or its deletion; for the store's `on_change`."""
        if self._keeper is not None:
            self._keeper.wake()
        else:
            self._begin(set_id)

    def _begin(self, set_id: int) -> None:
        now = time.monotonic()
        with self._wake:
            job = self._jobs.setdefault(set_id, _TrainingJob(set_id))
            job.changes += 1
            job.changed_at = now
            job.scan = True
            job.failure, job.retry_at = "", None
            if not job.pending:
                job.pending, job.outdated_since = True, now
            self._wake.notify_all()

    def state(self, training_set: "TrainingSetRow") -> TrainingState:
        """Return status, sentence, version, metrics and labels."""
        if unmet := unmet_requirements(training_set):
            return TrainingState("needs_images", unmet, labels=list(training_set.classes))
        rows = self._store.models.versions(training_set.id)
        state = TrainingState("ready", "", labels=list(training_set.classes))
        current = next((row for row in rows if row.current), None)
        metrics = decode_metrics(current) if current else None
        cached = self._heads.current(training_set.id) if self._keeper else self._heads.cached(training_set.id)
        if cached and cached.provisional:
            state = TrainingState(
                "ready", "", cached.version, cached.trained_at, cached.metrics, list(cached.head.labels)
            )
        elif current:
            labels = [label.label for label in metrics.labels] if metrics else state.labels
            state = TrainingState("ready", "", current.version, current.trained_at, metrics, labels)
        failure, missing = self._failure_and_missing(training_set.id)
        if failure:
            return replace(state, status="failed", message=failure)
        swapping = cached is not None and (current is None or cached.version != current.version or cached.provisional)
        if swapping or current is None or rows[0].revision != training_set.revision:
            return replace(state, status="training", message=_progress_message(training_set, missing))
        if waiting := next((row for row in rows if row.waiting), None):
            return replace(state, message=_waiting_message(waiting, current.version), waiting=waiting.version)
        chosen = current.version if current.version != rows[0].version else None
        return replace(state, message=_ready_message(metrics, chosen))

    def _failure_and_missing(self, set_id: int) -> tuple[str, int]:
        if self._store.jobs is not None:
            return self._store.jobs.state(set_id)
        with self._wake:
            job = self._jobs.get(set_id)
            return (job.failure, len(job.missing)) if job else ("", 0)

    def predict(
        self, training_set: "TrainingSetRow", embed: "Callable[[str], npt.NDArray[np.float32] | None]"
    ) -> Prediction | None:
        """Return the current head's prediction for an image, or None if there is no head yet.

        `embed` returns the image's embedding (d,) by an encoder's name, or None without that encoder.
        """
        current = self._heads.current(training_set.id)
        if current is None or unmet_requirements(training_set):
            return None
        embedding = embed(current.encoder)
        if embedding is None or current.head.dimensions != embedding.shape[-1]:
            return None
        values = current.head.predict(embedding)[0].tolist()
        best = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        labels, none = [current.head.labels[at] for at in best], bool(current.head.is_none(embedding)[0])
        return Prediction(current.version, labels, [values[at] for at in best], none)

    def versions(self, set_id: int) -> list[types.ClassifierVersion]:
        """Return the stored versions, newest first."""
        return [training_data.wire_version(row, decode_metrics(row)) for row in self._store.models.versions(set_id)]

    def set_current(self, set_id: int, version: int, waiting: int | None = None) -> None:
        """Use a stored version until the next training; `waiting` waits for a decision again. Raises RecordNotFound."""
        self._store.models.set_current(set_id, version, waiting)
        self._heads.discard(set_id)

    def count_waiting(self) -> int:
        """Return the number of training sets that wait to be embedded or trained, in all processes. Raises StoreError."""
        if self._store.jobs is not None:
            return self._store.jobs.waiting()
        with self._wake:
            return sum(job.pending or not job.embedded for job in self._jobs.values())

    def list_encoders(self) -> list[types.ListedEncoder]:
        """Return the built-in encoder and the users' own files, also those that cannot be used. Blocks for dry runs."""
        return self._encoders.list()

    def check_encoder(self, name: str) -> None:
        """Raise RecordNotFound where no usable encoder has this name. Blocks for dry runs."""
        self._encoders.check(name)

    def try_encoder(self, set_id: int, name: str) -> list[types.EncoderTrial]:
        """Return cost and accuracy on a sample of a training set of the built-in encoder, then of the one of this name.

        Blocks for most of a minute. Raises UnusableEncoder, RecordNotFound, RecordConflict where too few images are there.
        """
        encoders = [self._encoders.built_in(), self._encoders.wanted(name)]
        return compare(self._store, self._embedder, set_id, encoders)

    def purge_embeddings(self) -> int:
        """Remove the embeddings that no training set needs any more, and return how many. Raises UnusableEncoder."""
        return self._store.models.purge_embeddings(self._encoders.built_in().name)

    def forecast(self, set_id: int) -> types.Forecast:
        """Return what more images of each label would bring, once that is estimated."""
        return self._advisor.forecast(set_id)

    def compare_versions(self, set_id: int, from_version: int, to_version: int) -> list[types.ClassificationChange]:
        """Return the set's images that two versions classify differently, most confident first. Raises RecordNotFound,
        RecordConflict.
        """
        before, after = self._version(set_id, from_version), self._version(set_id, to_version)
        stored = all(
            training_data.load_answers(self._store, set_id, head.version) is not None for head in (before, after)
        )
        if before.encoder != after.encoder and not stored:
            raise RecordConflict(
                f"Versions {from_version} and {to_version} see images through different encoders: "
                "compare versions made with the same one."
            )
        return training_data.compare_heads(self._store, set_id, before, after)

    def current_head(self, set_id: int) -> CurrentHead | None:
        """Return the head in use, for export; None if there is none yet."""
        return self._heads.current(set_id)

    def _version(self, set_id: int, version: int) -> CurrentHead:
        current = self._heads.load(set_id, version)
        if current is None:
            raise RecordNotFound(f"Version {version} is not kept: the last ten are.")
        return current

    def _encoder(self, set_id: int) -> "Encoder":
        """Return the encoder that a training set is to be learned with. Raises UnusableEncoder, RecordNotFound."""
        row = self._store.training_sets.find(set_id)
        if row is None:
            raise RecordNotFound(NO_SUCH_SET)
        return self._encoders.wanted(row.encoder)

    def _newest(self, set_id: int) -> "VersionRow | None":
        versions = self._store.models.versions(set_id)
        return versions[0] if versions else None

    # Several processes on one database

    def _make_keeper(self, jobs: JobRepository) -> JobKeeper:
        return JobKeeper(
            jobs, begin=self._begin, drop=self._drop, progress=self._progress, may_train=self._has_pinned_encoder
        )

    def _receive(self, kind: str, set_id: int) -> None:
        self._heads.receive(kind, set_id)
        if self._keeper is not None:
            self._keeper.wake()

    def _drop(self, set_id: int) -> None:
        """End the work on a training set that another process holds, or that is done."""
        with self._wake:
            self._jobs.pop(set_id, None)
            self._wake.notify_all()

    def _progress(self, set_id: int) -> JobProgress:
        with self._wake:
            job = self._jobs.get(set_id)
            if job is None:
                return JobProgress(done=True)
            if job.failure:
                retry = None if job.retry_at is None else max(0.0, job.retry_at - time.monotonic())
                return JobProgress(failure=job.failure, retry_after=retry)
            done = job.embedded and not job.pending and not job.running
            return JobProgress(missing=len(job.missing), done=done, trained=job.fits > 0 and not job.running)

    def _has_pinned_encoder(self) -> bool:
        try:
            own = self._encoders.built_in().name
        except UnusableEncoder as error:
            _log.error("this process trains nothing: %s", error)
            return False
        pinned = self._store.models.pin_encoder(own, __version__)
        if pinned != own:
            _log.warning(
                "this process trains nothing: the classifiers of this database are trained with the encoder %s of a newer "
                "version of the program, and it has %s",
                pinned,
                own,
            )
        return pinned == own

    # Embedding thread

    def _run_embedder(self) -> None:
        lower_priority()
        try:
            if self._keeper is None:  # else the database knows
                self._resume()
        except StoreError:
            _log.exception("training cannot look at what is unfinished")
        while (job := self._next_to_embed()) is not None:
            try:
                self._embed_batch(job)
            except Closed:
                return
            except TrainingCancelled:  # the cluster was left at the end
                continue
            except RecordNotFound:
                self._remove_job(job)
            except Exception as error:  # noqa: BLE001 - reported as the classifier's state
                self._fail(job, error)

    def _resume(self) -> None:
        """Schedule the training sets whose newest version is out of date."""
        for set_id in self._store.training_sets.all_ids():
            row = self._store.training_sets.find(set_id)
            if row is not None and not unmet_requirements(row) and not self._is_up_to_date(set_id, row.revision):
                self.notify_changed(set_id)

    def _next_to_embed(self) -> _TrainingJob | None:
        """Wait for the next training set to embed, one batch of each in turn; return None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                for job in self._jobs.values():
                    if job.retry_at is not None and now >= job.retry_at:
                        job.failure, job.retry_at, job.scan, job.pending = "", None, True, True
                due = [job for job in self._jobs.values() if not job.embedded and not job.failure]
                if due:
                    job = due[0]
                    self._jobs[job.set_id] = self._jobs.pop(job.set_id)  # to the end of the queue
                    return job
                retries = [job.retry_at for job in self._jobs.values() if job.retry_at is not None]
                self._wake.wait(max(0.05, min(retries) - now) if retries else None)
        return None

    def _embed_batch(self, job: _TrainingJob) -> None:
        with self._wake:
            now = time.monotonic()
            scan = job.scan and (not job.missing or now > job.scanned_at + _SCAN_INTERVAL)
            if scan:
                job.scan, job.scanned_at = False, now
            job.embedding = True
        try:
            if scan:
                encoder, newest = self._encoder(job.set_id), self._newest(job.set_id)
                missing = self._embedder.missing(job.set_id, encoder)
                anew = bool(missing) and newest is not None and newest.encoder != encoder.name
                with self._wake:
                    job.missing = deque(missing)
                    job.encoded_anew = anew
                    self._wake.notify_all()
            with self._wake:
                size = self.cluster.batch if self.cluster else BATCH
                batch = [job.missing.popleft() for _ in range(min(size, len(job.missing)))]
            if batch:
                self._embed(batch, self._encoder(job.set_id))
        finally:
            with self._wake:
                job.embedding = False
                if job.embedded:
                    self._wake.notify_all()

    # Training threads

    def _run_trainer(self) -> None:
        lower_priority()
        while (job := self._next_to_train()) is not None:
            error: Exception | None = None
            complete = True
            try:
                complete = self._train(job)
            except (TrainingCancelled, RecordConflict):  # the latter: another process has taken over
                complete = False
            except RecordNotFound:
                self._remove_job(job)
            except Closed:
                return
            except Exception as failure:  # noqa: BLE001 - reported as the classifier's state
                error = failure
            with self._wake:
                job.running = False
                if job.changes == job.trained_changes and complete:
                    job.pending = False
                self._wake.notify_all()
            if error:
                self._fail(job, error)

    def _next_to_train(self) -> _TrainingJob | None:
        """Wait for the next training set to train; return None to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                waiting = [job for job in self._jobs.values() if job.pending and not job.running]
                times = [(self._due_time(job), job) for job in waiting if not job.failure]
                ready = [(due, job) for due, job in times if due <= now]
                if ready:
                    job = min(ready, key=lambda pair: pair[0])[1]
                    job.running, job.trained_changes = True, job.changes
                    return job
                self._wake.wait(min(due for due, _ in times) - now if times else None)
        return None

    def _due_time(self, job: _TrainingJob) -> float:
        at_last = job.outdated_since + self._patience
        return min(job.changed_at + self._delay, at_last) if job.trainable else at_last

    def _train(self, job: _TrainingJob) -> bool:
        """Train one head and put it to use; return whether it was trained on all images."""
        started = time.monotonic()
        urgent = started >= job.outdated_since + self._patience
        encoder = self._encoder(job.set_id).name
        if not job.embedded and self._train_with_earlier(job, encoder, urgent=urgent):
            self._mark_trained(job, started, complete=False)
            return False
        data = self._load(job, encoder)
        if data.complete and self._is_up_to_date(job.set_id, data.revision):
            return True
        if not data.enough:
            row = self._store.training_sets.find(job.set_id)
            if data.complete and row and not unmet_requirements(row):
                raise TooFewReadable("Too few of the photos can be read to learn from them.")
            self._mark_trained(job, started, data.complete)
            return data.complete

        newest = self._newest(job.set_id)
        if not data.complete and newest and newest.encoder != encoder and len(data.labels) < newest.images:
            self._mark_trained(job, started, complete=False)  # the old encoder's head answers until all are encoded
            return False
        self._fit(job, data, urgent=urgent)
        self._mark_trained(job, started, data.complete)
        if data.complete and newest and newest.encoder != encoder:
            self.purge_embeddings()
        return data.complete

    def _train_with_earlier(self, job: _TrainingJob, encoder: str, *, urgent: bool) -> bool:
        """Train the changes with the embeddings of the version in use while images are encoded anew by `encoder`.

        Return False where that is not possible.
        """
        newest, row = self._newest(job.set_id), self._store.training_sets.find(job.set_id)
        if newest is None or row is None or newest.encoder == encoder:
            return False
        earlier = self._encoders.named(newest.encoder)
        if earlier is None:
            return False
        if newest.revision != row.revision:
            missing = self._embedder.missing(job.set_id, earlier)[-_MOST_EARLIER:]
            for start in range(0, len(missing), BATCH):
                self._embedder.embed(missing[start : start + BATCH], earlier)
            data = self._load(job, earlier.name)
            if data.enough and len(data.labels) >= _LEAST_EARLIER * newest.images:
                self._fit(job, data, urgent=urgent)
        job.earlier_changes = job.trained_changes
        return True

    def _fit(self, job: _TrainingJob, data: TrainingData, *, urgent: bool) -> None:
        """Fit a head and put it to use. Raises TrainingCancelled, RecordConflict."""

        given_up = partial(self._is_given_up, job)

        def cancelled(previewed: bool) -> bool:
            return given_up() or (job.changes != job.trained_changes and not urgent and not previewed)

        holder = self._store.jobs.holder if self._store.jobs else None
        if self.cluster is not None and holder is not None:
            missing = self._store.models.missing(data.set_id, data.encoder)
            try:
                self.cluster.train(
                    data.set_id,
                    data.revision,
                    data.encoder,
                    filter(self._embedder.unreadable, missing),
                    holder=holder,
                    cancelled=given_up,  # a task takes the images as they are when it begins: changes are trained after it
                )
            except ClusterAway:
                data = self._load(job, data.encoder, vectors=True)
            else:
                return
        use = partial(self._heads.put, data.set_id)
        train_and_store(self._store, data, holder=holder, cancelled=cancelled, use=use)

    def _embed(self, sha256s: list[str], encoder: "Encoder") -> None:
        if self.cluster is not None:
            try:
                self._embedder.mark(self.cluster.embed(sha256s, encoder.name))
            except ClusterAway:
                _log.debug("%d images are embedded here", len(sha256s))
            else:
                return
        for start in range(0, len(sha256s), BATCH):
            if not self._stopping:
                self._embedder.embed(sha256s[start : start + BATCH], encoder)

    def _load(self, job: _TrainingJob, encoder: str, *, vectors: bool = False) -> TrainingData:
        """Load the data of a training, without embeddings where the cluster trains. Raises TrainingCancelled."""
        go_on = training_data.raise_once(partial(self._is_given_up, job))
        vectors = vectors or self.cluster is None
        return training_data.load(
            self._store, job.set_id, encoder, self._embedder.unreadable, vectors=vectors, go_on=go_on
        )

    def _is_given_up(self, job: _TrainingJob) -> bool:
        return self._stopping or self._jobs.get(job.set_id) is not job

    def _mark_trained(self, job: _TrainingJob, started: float, complete: bool) -> None:
        """Register that changes before `started` are trained; later ones wait from then on, or from now."""
        with self._wake:
            job.fits += 1
            job.outdated_since = started if complete else time.monotonic()
            if (
                not complete and job.embedded and job.changes == job.trained_changes
            ):  # its missing embeddings were not queried
                job.scan, job.changed_at = True, time.monotonic()

    def _is_up_to_date(self, set_id: int, revision: int) -> bool:
        newest = self._newest(set_id)
        if newest is None or newest.revision != revision:
            return False
        try:
            return newest.encoder == self._encoder(set_id).name
        except UnusableEncoder:
            return False  # training then reports it

    def _remove_job(self, job: _TrainingJob) -> None:
        """Remove the job of a deleted training set."""
        with self._wake:
            self._jobs.pop(job.set_id, None)
        self._heads.discard(job.set_id)

    def _fail(self, job: _TrainingJob, error: Exception) -> None:
        expected = isinstance(error, StoreError | UnusableEncoder | TooFewReadable)
        if not expected:
            _log.error("training of set %d failed", job.set_id, exc_info=error)
        reason = str(error) if expected else f"Training failed ({type(error).__name__}: {str(error)[:200]})."
        with self._wake:
            job.failure = f"{reason} It is tried again with the next change."
            pause = _RETRY_UNREACHABLE if isinstance(error, StorageUnreachable) else _RETRY_AFTER
            job.retry_at = time.monotonic() + pause if isinstance(error, StoreError) else None
            job.missing.clear()
            self._wake.notify_all()


def unmet_requirements(training_set: TrainingSetRow) -> str:
    """Return what a training set lacks to become a classifier, as a sentence; empty when it has enough."""
    counts = training_set.classes.items()
    enough = [label for label, count in counts if count >= MIN_IMAGES]
    if len(enough) >= MIN_LABELS:
        return ""
    rule = f"Needs {MIN_LABELS} labels with {MIN_IMAGES} photos each"
    few = [f"“{label}” has {count or 'none'}" for label, count in counts if count < MIN_IMAGES]
    held_out = " Those in the splits validation and test are not learned." if any(training_set.held_out) else ""
    if few:
        more = f" and {len(few) - _MAX_NAMED} more labels have too few" if len(few) > _MAX_NAMED else ""
        return f"{rule}: {', '.join(few[:_MAX_NAMED])}{more}.{held_out}"
    return f"{rule}: only “{enough[0]}” is there." if enough else f"{rule}: there are none yet."


def _progress_message(training_set: TrainingSetRow, missing: int) -> str:
    """Return the progress of training as a sentence."""
    if missing:
        total = sum(training_set.counts)
        return f"Looking at the photos: {max(0, total - missing):,} of {total:,}."
    return f"Learning from {sum(training_set.classes.values()):,} photos."


def _ready_message(metrics: types.Metrics | None, chosen: int | None) -> str:
    """Return what a ready classifier was trained on, in a sentence or two; `chosen`: an older version in use."""
    sentence = "Ready."
    if metrics:
        right = f"{percent(metrics.accuracy)} right on photos it had not seen"
        for found in metrics.held_out or ():
            right += f", {percent(found.accuracy)} on {plural(found.images, f'{found.split} photo')}"
        sentence = f"Learned from {metrics.images:,} photos: {right}."
    if chosen is None:
        return sentence
    return f"{sentence} Version {chosen} answers until the next change, as chosen."


def _waiting_message(waiting: VersionRow, current: int) -> str:
    """Return why a version waits, with the figures of the comparison."""
    figures = ""
    found = training_data.wire_version(waiting, None).difference
    if found:
        figures = (
            f" Of {found.images:,} photos that both learned, {found.worse:,} got worse and {found.better:,} better."
        )
    return (
        f"Version {waiting.version} is clearly worse than version {current}, which answers until you choose.{figures}"
    )
