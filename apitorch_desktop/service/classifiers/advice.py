"""Forecasts of what more photos of each label would bring, made in the background, and the trial of encoders on a sample."""

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Final

import numpy as np

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.embeddings import BATCH, Embedder
from apitorch_desktop.service.classifiers.head_cache import decode_metrics
from apitorch_desktop.service.storage.errors import Closed, RecordConflict, StoreError
from apitorch_desktop.service.storage.records import ExampleRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.head import TrainingCancelled
from apitorch_desktop.vision.linear import Estimates, forecast

MORE: Final = 50
"""Photos more that a forecast is for."""
_BUDGET: Final = (15.0, 60.0)
"""Seconds, of the processor and of the clock, after which no further label gets a curve of its own."""
_IMAGES: Final = 1_500
"""Most photos that curves are measured on."""
_KEPT: Final = 64
_log = logging.getLogger(__name__)
_Key = tuple[int, int]
"""(training set, version)"""


class Advisor:
    """Makes forecasts on a thread of its own, one after the other, and keeps the last ones. Thread-safe.

    `prepare` runs on the thread when it starts.
    """

    def __init__(self, store: Store, prepare: Callable[[], None]) -> None:
        self._store = store
        self._prepare = prepare
        self._wake = threading.Condition()
        self._wanted: list[_Key] = []
        self._made: OrderedDict[_Key, types.Forecast] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def forecast(self, set_id: int) -> types.Forecast:
        """Return the forecast for the version in use, or its state: "estimating", or "needs_images" without a version."""
        current = self._current(set_id)
        if current is None:
            return types.Forecast(status="needs_images")
        key = (set_id, current.version)
        with self._wake:
            if found := self._made.get(key):
                if found.status == "failed":
                    del self._made[key]  # tried again when asked once more
                return found
            self._wanted = [each for each in self._wanted if each[0] != set_id]
            self._wanted.append(key)
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="advisor", daemon=True)
                self._thread.start()
            self._wake.notify_all()
        return types.Forecast(status="estimating", version=current.version)

    def stop(self, timeout: float = 10) -> bool:
        """End the thread within a fit, and return whether it ended."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _current(self, set_id: int) -> VersionRow | None:
        return next((row for row in self._store.models.versions(set_id) if row.current), None)

    def _run(self) -> None:
        self._prepare()
        while (key := self._next()) is not None:
            try:
                found = self._make(key)
            except (TrainingCancelled, Closed):
                return
            except StoreError as error:
                found = types.Forecast(status="failed", message=str(error))
            except Exception:  # noqa: BLE001 - reported as the forecast's state
                _log.exception("no forecast for training set %d", key[0])
                found = types.Forecast(status="failed", message="What more photos would bring cannot be estimated.")
            with self._wake:
                self._wanted = [each for each in self._wanted if each != key]
                self._made[key] = found
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)

    def _next(self) -> _Key | None:
        with self._wake:
            while not self._stopping and not self._wanted:
                self._wake.wait()
            return None if self._stopping else self._wanted[0]

    def _make(self, key: _Key) -> types.Forecast:
        set_id, version = key
        current = self._current(set_id)
        metrics = decode_metrics(current) if current is not None and current.version == version else None
        if current is None or metrics is None:
            return types.Forecast(status="needs_images")
        embeddings, labels, counts = training_data.sample(self._store, set_id, current.encoder, _IMAGES)
        accuracies = {label.label: label.accuracy for label in metrics.labels}
        processor, clock = time.thread_time() + _BUDGET[0], time.monotonic() + _BUDGET[1]

        def go_on() -> None:
            if self._stopping:
                raise TrainingCancelled

        found = forecast(
            embeddings,
            labels,
            counts,
            accuracies,
            MORE,
            expired=lambda: time.thread_time() > processor or time.monotonic() > clock,
            go_on=go_on,
        )
        return types.Forecast(
            status="ready",
            version=version,
            more=MORE,
            accuracy=metrics.accuracy,
            message=_basis(found, counts.total()),
            data=[
                types.LabelForecast(
                    label=each.label,
                    count=each.count,
                    accuracy=each.accuracy,
                    accuracy_then=each.accuracy_then,
                    gain=each.gain,
                    measured=each.measured,
                )
                for each in found.labels
            ],
        )


def _basis(found: Estimates, photos: int) -> str:
    """Return what a forecast rests on, in a sentence or three."""
    sample = (
        f"{found.images:,} photos" if found.images == photos else f"a sample of {found.images:,} of {photos:,} photos"
    )
    measured = sum(each.measured for each in found.labels)
    rest = (
        f" {measured:,} of {len(found.labels):,} labels were measured themselves, the others are estimated from these."
        if measured < len(found.labels)
        else ""
    )
    return (
        f"Estimated from {found.fits:,} fits on {sample}, each with a quarter or half of a label’s photos, judged on photos "
        f"not seen.{rest} It holds for photos of the same kind as those that are there."
    )


_TRIAL_IMAGES = 400
_TRIAL_SECONDS = 20.0  # of encoding by one encoder, at most: clients wait for a minute


def compare(store: Store, embedder: Embedder, set_id: int, encoders: "Sequence[Encoder]") -> list[types.EncoderTrial]:
    """Encode a sample by each encoder as far as time allows, and return the figures on the images that all encoded.

    The embeddings are stored. Raises RecordNotFound, RecordConflict where too few images are there.
    """
    sample = _sample(store.models.examples(set_id)[1])
    contents = list(dict.fromkeys(example.sha256 for example in sample))
    milliseconds = []
    for encoder in encoders:
        milliseconds.append(_cost(encoder))
        known = store.models.embeddings(encoder.name, contents)
        missing = [sha256 for sha256 in contents if sha256 not in known]
        end = time.monotonic() + _TRIAL_SECONDS
        for start in range(0, len(missing), BATCH):
            if time.monotonic() > end:
                break
            embedder.embed(missing[start : start + BATCH], encoder)
    found = [store.models.embeddings(encoder.name, contents) for encoder in encoders]
    used = [example for example in sample if all(example.sha256 in rows for rows in found)]
    labels = [example.label for example in used]
    trials = []
    for encoder, rows, cost in zip(encoders, found, milliseconds, strict=True):
        vectors = np.array([np.frombuffer(rows[example.sha256].vector, "<f4") for example in used], np.float32)
        vectors = vectors.reshape(len(used), encoder.dimensions)  # of none as well
        try:
            metrics = heads.train(vectors, labels, groups=sibling_groups(vectors, labels)).metrics
        except (heads.TooFewImages, ValueError):
            raise RecordConflict("Encoders are compared on two labels with two photos each at least.") from None
        trials.append(
            types.EncoderTrial(
                name=encoder.name,
                images=metrics.images,
                accuracy=metrics.accuracy,
                calibration_error=metrics.calibration_error,
                milliseconds=cost,
            )
        )
    return trials


def _sample(examples: list[ExampleRow]) -> list[ExampleRow]:
    """Return at most _TRIAL_IMAGES examples, one of each label in turn, so that any beginning of them is balanced."""
    by_label: dict[str, list[ExampleRow]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    order = np.random.default_rng(0)
    mixed = [[images[index] for index in order.permutation(len(images))] for images in by_label.values()]
    turns = chain.from_iterable(zip_longest(*mixed))
    return [example for example in turns if example is not None][:_TRIAL_IMAGES]


def _cost(encoder: "Encoder") -> float:
    """Return the milliseconds that one image takes, the median of three."""
    from PIL import Image

    image = Image.linear_gradient("L").convert("RGB").resize((320, 240))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        encoder.encode([image])
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
