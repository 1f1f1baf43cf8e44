"""Lessons: what a training set has to teach, the head that comes of it, and the sentences that say how it stands."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.head_cache import CurrentHead, current_of
from apitorch_desktop.service.storage.records import ExampleRow, TrainingSetRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.folds import sibling_groups

_NAMED = 3  # labels named in a sentence
_BATCH = 4096


class TooFewReadable(Exception):  # noqa: N818 - named for what the person is told
    """There are enough photos, but too few of them can be read."""


@dataclass(frozen=True)
class TrainingData:
    """Embeddings (n, d) and the label of each, in the order of arrival, as of `revision`.

    `complete`: nothing that can be read is left out. `enough`: a head can be trained on it.
    """

    set_id: int
    revision: int
    encoder: str
    embeddings: NDArray[np.float32]
    labels: list[str]
    complete: bool
    enough: bool


def lesson(store: "Store", set_id: int, encoder: str, unreadable: Callable[[str], bool]) -> TrainingData:
    """What a training set teaches at this moment. Raises NotFound."""
    revision, examples = store.learning.examples(set_id)
    seen, embeddings = _seen(store, encoder, examples)
    there = {example.sha256 for example in seen}
    counts = Counter(example.label for example in seen)
    return TrainingData(
        set_id,
        revision,
        encoder,
        embeddings,
        [example.label for example in seen],
        all(example.sha256 in there or unreadable(example.sha256) for example in examples),
        sum(count >= heads.MIN_IMAGES for count in counts.values()) >= heads.MIN_LABELS,
    )


def fit(
    taught: TrainingData, cancelled: Callable[[], bool], preview: Callable[[heads.Head], None] | None = None
) -> heads.TrainingResult:
    """Train a head; what is nearly the same image is never learned from and tested on. Raises TrainingCancelled."""

    def go_on() -> None:
        if cancelled():
            raise heads.TrainingCancelled

    groups = sibling_groups(taught.embeddings, taught.labels, go_on)
    return heads.train(taught.embeddings, taught.labels, groups=groups, cancelled=cancelled, preview=preview)


def keep(store: "Store", taught: TrainingData, training: heads.TrainingResult) -> CurrentHead:
    """Store a trained head as the next version. Raises NotFound, StorageFull."""
    row = store.learning.put_version(
        taught.set_id,
        revision=taught.revision,
        encoder=taught.encoder,
        head=training.head.to_bytes(),
        metrics=msgspec.json.encode(wire_metrics(training.metrics)).decode(),
        images=len(taught.labels),
        labels=len(training.head.labels),
    )
    return current_of(row, training.head)


def provisional(store: "Store", taught: TrainingData, head: heads.Head, metrics: types.Metrics | None) -> CurrentHead:
    """A head that answers until the whole lesson is learned, under the number of the version to come."""
    versions = store.learning.versions(taught.set_id)
    number = versions[0].version + 1 if versions else 1
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return CurrentHead(number, now, -1, taught.encoder, head, metrics, provisional=True)


def differences(
    store: "Store", set_id: int, before: CurrentHead, after: CurrentHead
) -> list[types.ClassificationChange]:
    """The images that two heads of one encoder answer differently, the surest of the new answers first."""
    seen, embeddings = _seen(store, after.encoder, store.learning.examples(set_id)[1])
    if not seen:
        return []
    old, new = before.head.predict(embeddings), after.head.predict(embeddings)
    found: list[tuple[float, types.ClassificationChange]] = []
    for at, example in enumerate(seen):
        was, now = int(old[at].argmax()), int(new[at].argmax())
        if before.head.labels[was] != after.head.labels[now]:
            change = types.ClassificationChange(
                image_id=f"ti_{example.image_id}",
                label=example.label,
                from_label=before.head.labels[was],
                to_label=after.head.labels[now],
                from_value=decimal(float(old[at, was])),
                to_value=decimal(float(new[at, now])),
            )
            found.append((float(new[at, now]), change))
    return [change for _, change in sorted(found, key=lambda pair: -pair[0])]


def wire_metrics(metrics: heads.HeadMetrics) -> types.Metrics:
    """Cross-validated figures as they are stored and sent."""
    return types.Metrics(
        accuracy=metrics.accuracy,
        images=metrics.images,
        folds=metrics.folds,
        labels=[
            types.LabelMetrics(label=label, count=count, accuracy=accuracy)
            for label, count, accuracy in zip(metrics.labels, metrics.counts, metrics.label_accuracy, strict=True)
        ],
        confusion=[list(row) for row in metrics.confusion],
        calibration_error=metrics.calibration_error,
    )


def version_of(row: "VersionRow", metrics: types.Metrics | None) -> types.ClassifierVersion:
    """A kept version as it is sent."""
    return types.ClassifierVersion(
        version=row.version,
        trained_at=row.trained_at,
        current=row.current,
        images=row.images,
        labels=[label.label for label in metrics.labels] if metrics else [],
        metrics=metrics or msgspec.UNSET,
    )


def decimal(value: float) -> str:
    """A probability as the wire has it: a decimal number in a string."""
    return f"{value:.4f}"


def needs(training_set: "TrainingSetRow") -> str:
    """What a training set lacks to become a classifier, as a sentence; empty when it has enough."""
    counts = list(zip(training_set.labels, training_set.counts, strict=True))
    enough = [label for label, count in counts if count >= heads.MIN_IMAGES]
    if len(enough) >= heads.MIN_LABELS:
        return ""
    rule = f"Needs {heads.MIN_LABELS} labels with {heads.MIN_IMAGES} photos each"
    few = [f"“{label}” has {count or 'none'}" for label, count in counts if count < heads.MIN_IMAGES]
    if few:
        more = f" and {len(few) - _NAMED} more labels have too few" if len(few) > _NAMED else ""
        return f"{rule}: {', '.join(few[:_NAMED])}{more}."
    return f"{rule}: only “{enough[0]}” is there." if enough else f"{rule}: there are none yet."


def progress(training_set: "TrainingSetRow", lacking: int) -> str:
    """What training is at, as a sentence."""
    total = sum(training_set.counts)
    if lacking:
        return f"Looking at the photos: {max(0, total - lacking):,} of {total:,}."
    return f"Learning from {total:,} photos."


def summary(metrics: types.Metrics | None, chosen: int | None) -> str:
    """What a classifier that is ready has learned, in a sentence or two; `chosen`: an older version that answers."""
    sentence = "Ready."
    if metrics:
        right = f"{metrics.accuracy:.0%} right on photos it had not seen"
        sentence = f"Learned from {metrics.images:,} photos: {right}."
    if chosen is None:
        return sentence
    return f"{sentence} Version {chosen} answers until the next change, as chosen."


def _seen(store: "Store", encoder: str, examples: "list[ExampleRow]") -> "tuple[list[ExampleRow], NDArray[np.float32]]":
    """The examples whose embedding is there, and the embeddings (n, d); (0, 0) for none.

    In batches, so that 100,000 embeddings (600 MB) are held once and not twice.
    """
    seen: list[ExampleRow] = []
    matrix = np.empty((0, 0), np.float32)
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        rows = store.learning.embeddings(encoder, {example.sha256 for example in batch})
        for example in batch:
            if row := rows.get(example.sha256):
                if not seen:
                    matrix = np.empty((len(examples), len(row.vector) // 4), np.float32)
                matrix[len(seen)] = np.frombuffer(row.vector, "<f4")
                seen.append(example)
    return seen, matrix[: len(seen)]
