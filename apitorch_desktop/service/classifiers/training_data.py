"""Training data of a training set, the heads trained on it, and the differences between two heads."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.head_cache import CurrentHead, to_current_head
from apitorch_desktop.service.classifiers.version_answers import (
    Answer,
    VersionAnswers,
    changed_answers,
    difference,
    is_clearly_worse,
    renamed_labels,
)
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.records import ExampleRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.linear import stratified_sample

_BATCH = 4096
_log = logging.getLogger(__name__)


class TooFewReadable(Exception):  # noqa: N818 - named for what happened
    """There are enough photos, but too few of them can be read."""


@dataclass(frozen=True)
class TrainingData:
    """Embeddings (n, d), the label and the image id of each, in the order of arrival, as of `revision`.

    `complete`: no readable image is missing. `enough`: a head can be trained.
    """

    set_id: int
    revision: int
    encoder: str
    embeddings: NDArray[np.float32]
    labels: list[str]
    ids: list[str]
    complete: bool
    enough: bool

    @property
    def large(self) -> bool:
        """True if training takes so long that a provisional head answers meanwhile."""
        return len(self.labels) * len(set(self.labels)) > heads.PREVIEW_ABOVE


def load(store: "Store", set_id: int, encoder: str, unreadable: Callable[[str], bool]) -> TrainingData:
    """Load the training data of a training set. Raises RecordNotFound."""
    revision, examples = store.models.examples(set_id)
    embedded, embeddings = _load_embeddings(store, encoder, examples)
    available = {example.sha256 for example in embedded}
    counts = Counter(example.label for example in embedded)
    return TrainingData(
        set_id,
        revision,
        encoder,
        embeddings,
        [example.label for example in embedded],
        [example.image_id for example in embedded],
        all(example.sha256 in available or unreadable(example.sha256) for example in examples),
        sum(count >= heads.MIN_IMAGES for count in counts.values()) >= heads.MIN_LABELS,
    )


def sample(store: "Store", set_id: int, encoder: str, size: int) -> tuple[NDArray[np.float32], list[str], Counter[str]]:
    """Return embeddings (n, d) and labels of about `size` images, the labels in proportion, and the count of each label.

    Raises RecordNotFound.
    """
    examples = store.models.examples(set_id)[1]
    if len(examples) > size:
        answers = np.unique([example.label for example in examples], return_inverse=True)[1]
        chosen = [examples[at] for at in stratified_sample(answers, size, 0)]
    else:
        chosen = examples
    embedded, embeddings = _load_embeddings(store, encoder, chosen)
    return embeddings, [example.label for example in embedded], Counter(example.label for example in examples)


def fit(
    data: TrainingData, cancelled: Callable[[], bool], preview: Callable[[heads.Head], None] | None = None
) -> heads.TrainingResult:
    """Train a head; near-duplicates are never in both training and test folds. Raises TrainingCancelled."""

    def check_cancelled() -> None:
        if cancelled():
            raise heads.TrainingCancelled

    groups = sibling_groups(data.embeddings, data.labels, check_cancelled)
    return heads.train(data.embeddings, data.labels, groups=groups, cancelled=cancelled, preview=preview)


@dataclass(frozen=True)
class Judgement:
    """Out-of-fold answers of a training, and how they differ from those of the version in use, None if it has none.

    `waits`: it is clearly worse, so that it does not replace the version in use by itself.
    """

    answers: VersionAnswers
    difference: types.VersionDifference | None = None
    waits: bool = False


def judge(store: "Store", data: TrainingData, training: heads.TrainingResult) -> Judgement:
    """Compare a training with the version in use. With other labels or another encoder it never waits."""
    answers = VersionAnswers.of_training(training.head.labels, data.ids, data.labels, training.out_of_fold)
    current = next((row for row in store.models.versions(data.set_id) if row.current), None)
    before = load_answers(store, data.set_id, current.version) if current else None
    if current is None or before is None:
        return Judgement(answers)
    found = difference(before, answers, current.version)
    comparable = set(before.labels) == set(answers.labels) and current.encoder == data.encoder
    return Judgement(answers, found, comparable and is_clearly_worse(found))


def load_answers(store: "Store", set_id: int, version: int) -> VersionAnswers | None:
    """Return the out-of-fold answers of a version; None if there are none, as in older data, or they are damaged."""
    stored = store.models.answers(set_id, version)
    try:
        return VersionAnswers.from_bytes(stored) if stored else None
    except ValueError:
        _log.warning("the answers of version %d of training set %d are damaged", version, set_id)
        return None


def store_version(
    store: "Store", data: TrainingData, training: heads.TrainingResult, judgement: Judgement
) -> CurrentHead:
    """Store a trained head as the next version. Raises RecordNotFound, DiskFull."""
    row = store.models.put_version(
        data.set_id,
        revision=data.revision,
        encoder=data.encoder,
        head=training.head.to_bytes(),
        metrics=msgspec.json.encode(wire_metrics(training.metrics)).decode(),
        images=len(data.labels),
        labels=len(training.head.labels),
        answers=judgement.answers.to_bytes(),
        difference=msgspec.json.encode(judgement.difference).decode() if judgement.difference else None,
        waits=judgement.waits,
    )
    return to_current_head(row, training.head)


def quick_head(store: "Store", data: TrainingData) -> CurrentHead | None:
    """Return the version in use with the memory of all images; None if it has other labels or another encoder."""
    try:
        row, stored = store.models.head(data.set_id)
        head = heads.Head.from_bytes(stored)
    except (RecordNotFound, ValueError):
        return None
    if row.encoder != data.encoder or set(head.labels) != set(data.labels):
        return None
    return to_current_head(row, head.remembering(data.embeddings, data.labels))


def provisional_head(
    store: "Store", data: TrainingData, head: heads.Head, metrics: types.Metrics | None
) -> CurrentHead:
    """Return a head for use until all images are embedded, with the number of the next version."""
    versions = store.models.versions(data.set_id)
    number = versions[0].version + 1 if versions else 1
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return CurrentHead(number, now, -1, data.encoder, head, metrics, provisional=True)


def compare_heads(
    store: "Store", set_id: int, before: CurrentHead, after: CurrentHead
) -> list[types.ClassificationChange]:
    """Return the images that two versions classify differently, highest new confidence first.

    An image that a version was trained on has its out-of-fold answer; any other that of the head, to which it is new.
    """
    examples = store.models.examples(set_id)[1]
    old, new = (_answers(store, set_id, version, examples) for version in (before, after))
    return changed_answers([(example.image_id, example.label) for example in examples], old, new)


def _answers(store: "Store", set_id: int, version: CurrentHead, examples: "list[ExampleRow]") -> dict[str, Answer]:
    """Return a version's answers by image id, under the names that the labels have now."""
    stored, names = load_answers(store, set_id, version.version), {}
    found: dict[str, Answer] = {}
    if stored:
        names = renamed_labels(stored, {example.image_id: example.label for example in examples})
        found = stored.renamed(names).by_image()
    rest = [example for example in examples if example.image_id not in found]
    embedded, embeddings = _load_embeddings(store, version.encoder, rest)
    if embedded:
        labels, values = version.head.labels, version.head.smooth(embeddings)  # not from memory: they are new to it
        for example, best, value in zip(embedded, values.argmax(axis=1), values.max(axis=1), strict=True):
            found[example.image_id] = names.get(labels[best], labels[best]), float(value)
    return found


def wire_metrics(metrics: heads.HeadMetrics) -> types.Metrics:
    """Return the cross-validated metrics as they are stored and sent."""
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


def wire_version(row: "VersionRow", metrics: types.Metrics | None) -> types.ClassifierVersion:
    """Return a stored version as it is sent."""
    return types.ClassifierVersion(
        version=row.version,
        trained_at=row.trained_at,
        current=row.current,
        images=row.images,
        labels=[label.label for label in metrics.labels] if metrics else [],
        metrics=metrics or msgspec.UNSET,
        waiting=row.waiting or msgspec.UNSET,
        difference=_difference(row),
    )


def _difference(row: "VersionRow") -> types.VersionDifference | msgspec.UnsetType:
    try:
        return msgspec.json.decode(row.difference, type=types.VersionDifference) if row.difference else msgspec.UNSET
    except msgspec.DecodeError:
        return msgspec.UNSET


def decimal(value: float) -> str:
    """Return a probability as a decimal number in a string, as it is sent."""
    return f"{value:.4f}"


def _load_embeddings(
    store: "Store", encoder: str, examples: "list[ExampleRow]"
) -> "tuple[list[ExampleRow], NDArray[np.float32]]":
    """Return the examples with an embedding, and the embeddings (n, d); (0, 0) for none.

    In batches, so that 100,000 embeddings (600 MB) are held once and not twice.
    """
    embedded: list[ExampleRow] = []
    matrix = np.empty((0, 0), np.float32)
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        rows = store.models.embeddings(encoder, {example.sha256 for example in batch})
        for example in batch:
            if row := rows.get(example.sha256):
                if not embedded:
                    matrix = np.empty((len(examples), len(row.vector) // 4), np.float32)
                matrix[len(embedded)] = np.frombuffer(row.vector, "<f4")
                embedded.append(example)
    return embedded, matrix[: len(embedded)]
