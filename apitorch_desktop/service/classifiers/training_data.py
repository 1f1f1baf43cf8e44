"""Training data of a training set, the heads trained on it, and the differences between two heads, with their test.

Up to WHOLE images the embeddings of a training are held in memory. Those of more are copied into a scratch file of the
data folder, as float16, and learned in batches: the training then takes the memory of some ten batches of
`vision.matrix.BATCH_NUMBERS` numbers (200 MB), and some 400 bytes an image, however many there are. The file has no
name: the system removes it when the training ends, and also when the process does.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.head_cache import CurrentHead, to_current_head
from apitorch_desktop.service.storage.errors import DiskFull, RecordNotFound, to_store_error
from apitorch_desktop.service.storage.records import ExampleRow, VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.text import size
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.linear import stratified_sample
from apitorch_desktop.vision.matrix import FileMatrix, Matrix

WHOLE = 100_000
"""Images up to which the embeddings of a training are held in memory."""
_BATCH = 1024
_SPARE = 2**30  # bytes that scratch files leave free on the disk
_log = logging.getLogger(__name__)


QUICK_ABOVE = 2_000
"""Images × labels from which the version in use remembers new and corrected images until the next one is trained."""
WORSE = 0.05
"""Probability, of the exact two-sided McNemar test, below which a version is clearly worse than another."""
_ID_BYTES = 20
_ID = f"S{_ID_BYTES}"
Kind = Literal["better", "worse", "sideways"]
Answer = tuple[str, float]
"""(label, probability)"""


class _AnswersFile(msgspec.Struct, array_like=True):
    """Content of `VersionAnswers.to_bytes`, as MessagePack; arrays are little-endian, `ids` without their hex."""

    labels: list[str]
    ids: bytes
    given: bytes
    answered: bytes
    values: bytes


@dataclass(frozen=True)
class VersionAnswers:
    """For n training images of a version, in the order of `ids` (n,), 20 bytes each: the indices in `labels` of the label that
    was `given` and of the one that was `answered` out of fold, (n,), and the probability of the latter, `values` (n,).
    """

    labels: tuple[str, ...]
    ids: NDArray[np.bytes_]
    given: NDArray[Any]
    answered: NDArray[Any]
    values: NDArray[Any]

    @classmethod
    def of_training(
        cls,
        labels: Sequence[str],
        ids: NDArray[np.bytes_],
        given: Sequence[str],
        out_of_fold: NDArray[np.float64] | Matrix,
    ) -> Self:
        """Return the answers of a training: `out_of_fold` (n, k) are probabilities in the order of `labels`."""
        index = {label: at for at, label in enumerate(labels)}
        matrix = out_of_fold if isinstance(out_of_fold, Matrix) else Matrix(out_of_fold)
        answered, values = np.empty(len(matrix), "<u4"), np.empty(len(matrix), "<f4")
        for part, batch in matrix.batches():
            answered[part], values[part] = batch.argmax(axis=1), batch.max(axis=1)
        numbers = np.fromiter((index[label] for label in given), "<u4", len(matrix))
        return cls(tuple(labels), ids, numbers, answered, values)

    def to_bytes(self) -> bytes:
        """Serialize: 32 bytes an image."""
        arrays = (self.ids, self.given, self.answered, self.values)
        return msgspec.msgpack.encode(_AnswersFile(list(self.labels), *(array.tobytes() for array in arrays)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError."""
        try:
            file = msgspec.msgpack.decode(data, type=prepared(_AnswersFile))
            given, answered = np.frombuffer(file.given, "<u4"), np.frombuffer(file.answered, "<u4")
            ids = np.frombuffer(file.ids, _ID)
            values = np.frombuffer(file.values, "<f4")
            if not len(ids) == len(given) == len(answered) == len(values):
                raise ValueError("lengths")
            if len(ids) and max(given.max(), answered.max()) >= len(file.labels):
                raise ValueError("labels")
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError("The stored answers of a version are damaged.") from error
        return cls(tuple(file.labels), ids, given, answered, values)

    def by_image(self) -> dict[str, Answer]:
        """Return the answers by image id."""
        return {
            image: (self.labels[answered], value)
            for image, answered, value in zip(self.images(), self.answered.tolist(), self.values.tolist(), strict=True)
        }

    def images(self) -> list[str]:
        """Return the ids as 40 hex digits."""
        digits = self.ids.tobytes().hex()
        return [digits[at : at + 2 * _ID_BYTES] for at in range(0, len(digits), 2 * _ID_BYTES)]

    def renamed(self, names: dict[str, str]) -> "VersionAnswers":
        """Return the same answers under other names of the labels."""
        labels = tuple(names.get(label, label) for label in self.labels)
        return VersionAnswers(labels, self.ids, self.given, self.answered, self.values)


def kind_of(label: str, before: str, after: str) -> Kind:
    """Return what a changed answer is to an image's label."""
    if after == label:
        return "better"
    return "worse" if before == label else "sideways"


def renamed_labels(before: VersionAnswers, given: dict[str, str]) -> dict[str, str]:
    """Return which labels of a version are called otherwise now: all its images of them have one new label now.

    `given`: image id → label now.
    """
    pairs = zip(before.images(), before.given.tolist(), strict=True)
    return _renamed(
        before.labels,
        {(before.labels[label], given[image]) for image, label in pairs if image in given},
        given.values(),
    )


def _renamed(labels: Sequence[str], pairs: Iterable[tuple[str, str]], present: Iterable[str]) -> dict[str, str]:
    """The same by the pairs of labels that images had and have, and the labels that are `present` now."""
    now: dict[str, set[str]] = {}
    for old, new in pairs:
        now.setdefault(old, set()).add(new)
    here = set(present)
    found = {
        old: next(iter(new)) for old, new in now.items() if len(new) == 1 and old not in here and not new & set(labels)
    }
    return found if len(set(found.values())) == len(found) else {}


def difference(before: VersionAnswers, after: VersionAnswers, version: int) -> types.VersionDifference:
    """Return what changed since `before`, the answers of `version`, in the images and in the out-of-fold answers."""
    _, old, new = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    kinds = len(after.labels)
    pairs = [
        divmod(pair, kinds) for pair in np.unique(before.given[old].astype(int) * kinds + after.given[new]).tolist()
    ]
    present = [after.labels[label] for label in np.unique(after.given)]
    names = _renamed(before.labels, [(before.labels[one], after.labels[other]) for one, other in pairs], present)
    before = before.renamed(names)
    numbers = {label: at for at, label in enumerate(dict.fromkeys((*before.labels, *after.labels)))}
    earlier, later = (np.array([numbers[label] for label in each.labels], int) for each in (before, after))
    given, answered = later[after.given[new]], later[after.answered[new]]
    disputed = earlier[before.given[old]] != given  # so that neither version is right or wrong about it
    changed = ~disputed & (earlier[before.answered[old]] != answered)
    better = int(np.sum(changed & (answered == given)))
    worse = int(np.sum(changed & (earlier[before.answered[old]] == given)))
    relabeled = int(disputed.sum())
    return types.VersionDifference(
        version=version,
        added=len(after.ids) - len(new),
        removed=len(before.ids) - len(old),
        relabeled=relabeled,
        images=len(old) - relabeled,
        better=better,
        worse=worse,
        sideways=int(changed.sum()) - better - worse,
        p_value=mcnemar(better, worse),
    )


def to_ids(digits: Iterable[str]) -> NDArray[np.bytes_]:
    """Return image ids of 40 hex digits as (n,) 20 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(digits)), _ID)


def mcnemar(better: int, worse: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947): that both kinds of changed answers are equally likely."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(better, worse), better + worse, 0.5)))


def is_clearly_worse(found: types.VersionDifference) -> bool:
    """Return whether a version is worse than the one it was compared with by more than chance."""
    return found.worse > found.better and found.p_value < WORSE


def changed_answers(
    examples: Sequence[tuple[str, str]],
    before: Mapping[str, Answer],
    after: Mapping[str, Answer],
) -> list[types.ClassificationChange]:
    """Return the images that two versions answer differently, highest new confidence first.

    `examples`: (image id, label) of each; `before` and `after`: the answers by image id.
    """
    found: list[tuple[float, types.ClassificationChange]] = []
    for image, label in examples:
        old, new = before.get(image), after.get(image)
        if old is None or new is None or old[0] == new[0]:
            continue
        change = types.ClassificationChange(
            image_id=f"ti_{image}",
            label=label,
            from_label=old[0],
            to_label=new[0],
            from_value=f"{old[1]:.4f}",
            to_value=f"{new[1]:.4f}",
            kind=kind_of(label, old[0], new[0]),
        )
        found.append((new[1], change))
    return [change for _, change in sorted(found, key=lambda pair: -pair[0])]


class TooFewReadable(Exception):  # noqa: N818 - named for what happened
    """There are enough photos, but too few of them can be read."""


@dataclass(frozen=True)
class TrainingData:
    """Embeddings (n, d), the label and the image id (20 bytes) of each, in the order of arrival, as of `revision`.

    `complete`: no readable image is missing. `enough`: a head can be trained. `held_out` are the images that are not
    learned, but measured.
    """

    set_id: int
    revision: int
    encoder: str
    embeddings: Matrix
    labels: list[str]
    ids: NDArray[np.bytes_]
    complete: bool
    enough: bool
    held_out: "list[ExampleRow]"

    @property
    def large(self) -> bool:
        """True if training takes so long, from some .2 s on, that the version in use answers corrections meanwhile."""
        return len(self.labels) * len(set(self.labels)) > QUICK_ABOVE


def load(
    store: "Store",
    set_id: int,
    encoder: str,
    unreadable: Callable[[str], bool],
    *,
    vectors: bool = True,
    go_on: Callable[[], None] = lambda: None,
) -> TrainingData:
    """Load the training data of a training set; without `vectors`, embeddings (0, 0).

    `go_on` is called between batches and may raise. Raises RecordNotFound, DiskFull.
    """
    revision, rows = store.models.examples(set_id, held_out=True)
    examples = [example for example in rows if example.split not in types.HELD_OUT]
    held_out = [example for example in rows if example.split in types.HELD_OUT]
    missing = set(store.models.missing(set_id, encoder)) if held_out or not vectors else set()
    if vectors:
        with scratch_errors(store):
            embedded, embeddings = _load_embeddings(store, encoder, examples, go_on)
    else:
        embedded = [example for example in examples if example.sha256 not in missing]
        embeddings = Matrix(np.empty((0, 0), np.float32))
    absent = [example.sha256 for example in held_out if example.sha256 in missing]
    if len(embedded) < len(examples):
        available = {example.sha256 for example in embedded}
        absent += [example.sha256 for example in examples if example.sha256 not in available]
    counts = Counter(example.label for example in embedded)
    return TrainingData(
        set_id,
        revision,
        encoder,
        embeddings,
        [example.label for example in embedded],
        to_ids(example.image_id for example in embedded),
        all(unreadable(sha256) for sha256 in absent),
        sum(count >= heads.MIN_IMAGES for count in counts.values()) >= heads.MIN_LABELS,
        held_out,
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
    labels = [example.label for example in embedded]
    return embeddings.whole(), labels, Counter(example.label for example in examples)


@contextmanager
def scratch_errors(store: "Store") -> Iterator[None]:
    """Raise what a scratch file does (OSError) as the StoreError it is, such as DiskFull."""
    try:
        yield
    except OSError as error:
        raise to_store_error(error, store.folder) from error


def fit(
    data: TrainingData, cancelled: Callable[[], bool], preview: Callable[[heads.Head], None] | None = None
) -> heads.TrainingResult:
    """Train a head; near-duplicates are never in both training and test folds. Raises TrainingCancelled."""

    groups = sibling_groups(data.embeddings, data.labels, raise_once(cancelled))
    return heads.train(data.embeddings, data.labels, groups=groups, cancelled=cancelled, preview=preview)


def raise_once(cancelled: Callable[[], bool]) -> Callable[[], None]:
    """Return a function that raises TrainingCancelled once `cancelled` returns True."""

    def go_on() -> None:
        if cancelled():
            raise heads.TrainingCancelled

    return go_on


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
    answers = VersionAnswers.of_training(training.head.labels, data.ids, data.labels, training.probabilities)
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
    store: "Store",
    data: TrainingData,
    training: heads.TrainingResult,
    judgement: Judgement,
    holder: str | None = None,
) -> CurrentHead:
    """Store a trained head as the next version.

    Raises RecordNotFound, DiskFull, and RecordConflict where another process has taken over the training.
    """
    metrics = wire_metrics(training.metrics)
    metrics.held_out = measure_held_out(store, data, training.head) or msgspec.UNSET
    row = store.models.put_version(
        data.set_id,
        revision=data.revision,
        encoder=data.encoder,
        head=training.head.to_bytes(),
        metrics=msgspec.json.encode(metrics).decode(),
        images=len(data.labels),
        labels=len(training.head.labels),
        answers=judgement.answers.to_bytes(),
        difference=msgspec.json.encode(judgement.difference).decode() if judgement.difference else None,
        waits=judgement.waits,
        holder=holder,
    )
    return to_current_head(row, training.head)


def measure_held_out(store: "Store", data: TrainingData, head: heads.Head) -> list[types.SplitMetrics]:
    """Return the accuracy of a head on each split that it has not learned; a label that it does not know is wrong."""
    count: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for tested, embeddings in _embedded(store, data.encoder, data.held_out):
        best = head.smooth(embeddings).argmax(axis=1)
        count.update(example.split for example in tested)
        right.update(
            example.split for example, at in zip(tested, best, strict=True) if head.labels[at] == example.label
        )
    return [
        types.SplitMetrics(split=split, images=count[split], accuracy=right[split] / count[split])
        for split in types.HELD_OUT
        if count[split]
    ]


def quick_head(store: "Store", data: TrainingData, go_on: Callable[[], None] = lambda: None) -> CurrentHead | None:
    """Return the version in use with the memory of all images; None if it has other labels or another encoder.

    `go_on` is called at every step and may raise.
    """
    try:
        row, stored = store.models.head(data.set_id)
        head = heads.Head.from_bytes(stored)
    except (RecordNotFound, ValueError):
        return None
    if row.encoder != data.encoder or set(head.labels) != set(data.labels):
        return None
    return to_current_head(row, head.remembering(data.embeddings, data.labels, go_on))


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
    for embedded, embeddings in _embedded(store, version.encoder, rest):
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
        return (
            msgspec.json.decode(row.difference, type=prepared(types.VersionDifference))
            if row.difference
            else msgspec.UNSET
        )
    except msgspec.DecodeError:
        return msgspec.UNSET


def decimal(value: float) -> str:
    """Return a probability as a decimal number in a string, as it is sent."""
    return f"{value:.4f}"


def _load_embeddings(
    store: "Store", encoder: str, examples: "list[ExampleRow]", go_on: Callable[[], None] = lambda: None
) -> "tuple[list[ExampleRow], Matrix]":
    """Return the examples with an embedding, and the embeddings (n, d); (0, 0) for none. Raises DiskFull, OSError."""
    embedded: list[ExampleRow] = []
    matrix = Matrix(np.empty((0, 0), np.float32))
    for found, rows in _embedded(store, encoder, examples):
        go_on()
        if not embedded:
            matrix = _new_matrix(store, examples, rows.shape[1])
        matrix.put(slice(len(embedded), len(embedded) + len(found)), rows)
        embedded += found
    matrix.cut(len(embedded))
    return embedded, matrix


def _new_matrix(store: "Store", examples: "list[ExampleRow]", dimensions: int) -> Matrix:
    """A matrix of as many rows, in memory or in the data folder. Raises DiskFull where training would fill the disk."""
    count = len(examples)
    if count <= WHOLE:
        return Matrix(np.empty((count, dimensions), np.float32))
    wanted = heads.scratch_bytes(count, dimensions, len({example.label for example in examples}))
    if shutil.disk_usage(store.folder).free < wanted + _SPARE:
        raise DiskFull(
            f"Learning from {count:,} photos takes {size(wanted)} on the disk of “{store.folder}” for a while, and "
            "less is free there. Free some, then try again."
        )
    return FileMatrix(store.folder, count, dimensions, np.float16)


def _embedded(
    store: "Store", encoder: str, examples: "list[ExampleRow]"
) -> "Iterator[tuple[list[ExampleRow], NDArray[np.float32]]]":
    """In batches, the examples with an embedding (never none), and the embeddings (n, d)."""
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        rows = store.models.embeddings(encoder, {example.sha256 for example in batch})
        if found := [example for example in batch if example.sha256 in rows]:
            yield (
                found,
                np.frombuffer(b"".join(rows[example.sha256].vector for example in found), "<f4").reshape(
                    len(found), -1
                ),
            )
