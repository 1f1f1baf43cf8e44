"""Classifier heads on embeddings: a calibrated linear model, a memory of hard images, and novelty detection.

`train` takes the embeddings as an array, or as a `matrix.FileMatrix`, of which it holds some batches at a time: beside them
it keeps a few numbers an image (a good hundred bytes), the sample that axes and penalty are found on, L-BFGS' twenty copies
of the regressions of all folds, and what the head itself remembers. Both ways are one: an array is one batch.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.vision import linear
from apitorch_desktop.vision.calibration import Floats, Ints, confidence_word, error_of_best, softmax
from apitorch_desktop.vision.folds import SAME, SKETCH, fair_folds, projection
from apitorch_desktop.vision.matrix import Matrix, as_matrix
from apitorch_desktop.vision.novelty import NoveltyDetector, NoveltyFile, fit_novelty

__all__ = ["Head", "HeadMetrics", "TooFewImages", "TrainingCancelled", "TrainingResult", "confidence_word", "train"]

MIN_LABELS: Final = 2
MIN_IMAGES: Final = 2
"""A classifier needs two labels of two images each; further labels may have one."""
NONE_OF_THESE: Final = "none_of_these"
"""Name of an optional label for images that belong to none of the others."""
PREVIEW_ABOVE: Final = 8_000
"""Images × labels above which `train` first passes a head fitted on a sample to `preview`."""
REMEMBERED: Final = 0.95
"""Probability of the label of a remembered image: not 1, as users err too."""

_PREVIEW_PENALTY: Final = 30.0
_FOLDS: Final = 5
_RECALLED: Final = (1024, 4096)
"""Images compared at a time, with how many remembered ones."""
_FIRST_SAME: Final = 0.05
"""SAME of heads of version 0.1.0, for that version's encoder."""


class TooFewImages(ValueError):  # noqa: N818 - named for the condition
    """There are fewer than two labels of two images each."""


class TrainingCancelled(Exception):  # noqa: N818 - not an error
    """`cancelled()` returned True."""


@dataclass(frozen=True, slots=True)
class HeadMetrics:
    """Cross-validated figures, on images the head had not seen; tuples are in the order of `labels`.

    `confusion[i][j]` counts images of label i predicted as label j; `label_accuracy` is the share of a label's images
    that were predicted right; `calibration_error` is the expected calibration error over ten bins. The sharpness of each
    fold is fitted on the other folds, and the memory takes no part.
    """

    accuracy: float
    images: int
    folds: int
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    label_accuracy: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float


class _HeadFile(msgspec.Struct, array_like=True):
    """Content of `Head.to_bytes`, as MessagePack: arrays little-endian, in row order. The defaults are of "head 1"."""

    kind: str
    labels: list[str]
    dimensions: int
    weights: bytes
    bias: bytes
    sketches: bytes
    remembered: bytes
    same: float = _FIRST_SAME
    temperature: float | None = None
    novelty: NoveltyFile | None = None


class Head:
    """A trained classifier; immutable and thread-safe.

    The smooth part is softmax(embedding · weightsᵀ + bias), with scale and temperature folded into `weights` (k, d) and
    `bias` (k,). The memory holds the training images that a head which had not seen them answers wrong, or that the smooth
    part still does, as `sketches` (m, SKETCH) with the index of their label in `remembered` (m,): an embedding within `same`
    of one of them gets that label at REMEMBERED, the other labels share the rest as before. So a correction holds for
    its very image at once, and nothing else changes. `novelty` rejects images that are none of the labels; heads of version
    0.1.0 have none. `labels` are sorted; `temperature` is for information.
    """

    KIND: Final = "apitorch-desktop head 2"
    _READABLE: Final = ("apitorch-desktop head 1", KIND)

    def __init__(
        self,
        labels: Sequence[str],
        weights: Floats,
        bias: Floats,
        sketches: Floats | None = None,
        remembered: Any = (),
        *,
        same: float = SAME,
        temperature: float | None = None,
        novelty: NoveltyDetector | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self.weights = np.ascontiguousarray(weights, "<f4")
        self.bias = np.ascontiguousarray(bias, "<f8")
        self.remembered = np.ascontiguousarray(remembered, "<i4")
        empty = np.empty((0, SKETCH), np.float32)
        self.sketches = np.ascontiguousarray(empty if sketches is None else sketches, "<f4")
        self.same, self.temperature, self.novelty = same, temperature, novelty
        self.dimensions = self.weights.shape[1]

    def predict(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, k) calibrated probabilities of (n, d) or (d,) embeddings, in the order of `labels`."""
        rows = self._rows(embeddings)
        probabilities = self.smooth(rows)
        if len(self.remembered):
            self.recall(rows @ projection(self.dimensions), probabilities)
        return probabilities

    def smooth(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what `predict` does without the memory."""
        return softmax(self._logits(embeddings))

    def is_none(self, embeddings: NDArray[Any]) -> NDArray[np.bool_]:
        """Return (n,): whether each image of (n, d) or (d,) embeddings is none of the labels.

        It is where `novelty` rejects it, unless it is a remembered image, and where its label is NONE_OF_THESE.
        """
        rows = self._rows(embeddings)
        result = np.zeros(len(rows), bool)
        if self.novelty:
            result = self.novelty.rejects(rows, self._logits(rows))
        if result.any() and len(self.remembered):
            result &= self.recall(rows @ projection(self.dimensions), self.smooth(rows)) < 0
        if NONE_OF_THESE in self.labels:
            result |= self.predict(rows).argmax(axis=1) == self.labels.index(NONE_OF_THESE)
        return result

    def remembering(
        self, embeddings: NDArray[Any] | Matrix, labels: Sequence[str], go_on: Callable[[], None] = lambda: None
    ) -> "Head":
        """Return this head with a memory of (n, d) embeddings instead: each is answered by its label.

        The smooth part stays; images of other labels than `labels` of this head take no part. `go_on` is called at every
        step and may raise.
        """
        index = {label: at for at, label in enumerate(self.labels)}
        rows = as_matrix(embeddings)
        self._check(rows.shape[1])
        answers = np.fromiter((index.get(label, -1) for label in labels), np.intp, len(labels))
        return _complete(self, rows, answers, None, go_on)

    def recall(self, sketches: NDArray[Any], probabilities: NDArray[np.float64]) -> Ints:
        """Change the probabilities (n, k) of remembered images in place; return (n,) indices into the memory, or −1.

        `sketches` (n, SKETCH) are embeddings · projection(d).
        """
        found = self.find(sketches)
        for index in np.flatnonzero(found >= 0):
            row, label = probabilities[index], self.remembered[found[index]]
            if row[label] < REMEMBERED:
                row *= (1 - REMEMBERED) / (1 - row[label])
                row[label] = REMEMBERED
        return found

    def find(self, sketches: NDArray[Any]) -> Ints:
        """Return (n,) indices into the memory of the images that are remembered, or −1."""
        found = np.full(len(sketches), -1, np.intp)
        lengths = np.einsum("ij,ij->i", self.sketches, self.sketches)
        rows, columns = _RECALLED
        for start in range(0, len(sketches) if len(lengths) else 0, rows):
            seen = sketches[start : start + rows]
            length = np.einsum("ij,ij->i", seen, seen)
            nearest = self.same**2 * length
            for first in range(0, len(lengths), columns):
                part = slice(first, first + columns)
                distance = length[:, None] + lengths[part] - 2 * seen @ self.sketches[part].T
                least = distance.min(axis=1)
                near = np.flatnonzero(least < nearest)
                found[start + near], nearest[near] = first + distance[near].argmin(axis=1), least[near]
        return found

    def _rows(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.atleast_2d(np.asarray(embeddings, np.float32))
        self._check(rows.shape[1])
        return rows

    def _check(self, dimensions: int) -> None:
        if dimensions != self.dimensions:
            raise ValueError(f"This classifier takes embeddings of {self.dimensions} numbers, not {dimensions}.")

    def _logits(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(rows @ self.weights.T + self.bias, np.float64)

    def to_bytes(self) -> bytes:
        """Serialize to a portable file (no pickle)."""
        arrays = (self.weights, self.bias, self.sketches, self.remembered)
        weights, bias, sketches, remembered = (array.tobytes() for array in arrays)
        novelty = self.novelty.to_file() if self.novelty else None
        labels = list(self.labels)
        return msgspec.msgpack.encode(
            _HeadFile(
                self.KIND,
                labels,
                self.dimensions,
                weights,
                bias,
                sketches,
                remembered,
                self.same,
                self.temperature,
                novelty,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a head of this version or 0.1.0. Raises ValueError."""
        try:
            file = msgspec.msgpack.decode(data, type=prepared(_HeadFile))
            if file.kind not in cls._READABLE:
                raise ValueError(file.kind)
            return cls(
                file.labels,
                np.frombuffer(file.weights, "<f4").reshape(len(file.labels), file.dimensions),
                np.frombuffer(file.bias, "<f8").reshape(len(file.labels)),
                np.frombuffer(file.sketches, "<f4").reshape(-1, SKETCH),
                np.frombuffer(file.remembered, "<i4").reshape(len(file.sketches) // (4 * SKETCH)),
                same=file.same,
                temperature=file.temperature,
                novelty=NoveltyDetector.from_file(file.novelty, file.dimensions) if file.novelty else None,
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError("This is not a classifier of this program, or it is damaged.") from error


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """`probabilities` (n, k): calibrated, of each training image from heads that had not seen it."""

    head: Head
    metrics: HeadMetrics
    probabilities: Matrix

    @property
    def out_of_fold(self) -> NDArray[np.float64]:
        """`probabilities` in memory."""
        return self.probabilities.whole()


def train(
    embeddings: NDArray[Any] | Matrix,
    labels: Sequence[str],
    *,
    groups: Sequence[int] | Ints | None = None,
    cancelled: Callable[[], bool] | None = None,
    preview: Callable[[Head], None] | None = None,
    seed: int = 0,
) -> TrainingResult:
    """Fit a head on (n, d) embeddings and n labels.

    `groups`: images with the same number stay on one side of every fold; without it, those with the same embedding.
    Where one image is there under several labels, the memory keeps the last. `cancelled` is asked at every step.
    Raises TooFewImages, TrainingCancelled, ValueError (shapes, values that are not finite), OSError (of files).
    """
    from threadpoolctl import threadpool_limits

    if not isinstance(embeddings, Matrix) and np.ndim(embeddings) != 2:
        raise ValueError(f"Embeddings {np.shape(embeddings)}: one row of numbers for each label is needed.")
    rows = as_matrix(embeddings)
    if len(rows) != len(labels) or (groups is not None and len(groups) != len(rows)):
        raise ValueError(f"Embeddings {rows.shape}, {len(labels)} labels: one row of numbers for each label is needed.")
    if not all(np.isfinite(block).all() for _, block in rows.blocks()):
        raise ValueError("An embedding holds a value that is not a number.")
    names = sorted({str(label) for label in labels})
    number = {name: at for at, name in enumerate(names)}
    answers = np.fromiter((number[str(label)] for label in labels), np.intp, len(rows))
    if np.sum(np.bincount(answers) >= MIN_IMAGES) < MIN_LABELS:
        raise TooFewImages("Two labels with two images each are needed.")

    def go_on() -> None:
        if cancelled and cancelled():
            raise TrainingCancelled

    together = _first_of_same(rows) if groups is None else np.asarray(groups)
    # One thread: for matrices of this size BLAS threads cost 3 to 15 times what they gain, and serving goes on beside.
    with threadpool_limits(1, "blas"):
        go_on()
        if preview and len(rows) * len(names) > PREVIEW_ABOVE:
            preview(_fit_preview(rows, answers, names, together, seed, go_on))
        folds = fair_folds(answers, together, _FOLDS, seed)
        fitted = linear.fit(rows, answers, len(names), folds, go_on, seed=seed)
        go_on()
        novelty = fit_novelty(rows, answers, folds, fitted, seed)
        metrics, wrong = _metrics(fitted.out_of_fold, answers, names, int(folds.max()) + 1)
        head = _complete(_smooth(names, fitted, novelty), rows, answers, wrong, go_on)
        return TrainingResult(head, metrics, fitted.out_of_fold)


def scratch_bytes(images: int, dimensions: int, labels: int) -> int:
    """Return the bytes that `train` takes on the disk for embeddings in a file (float16), with this one."""
    coordinates = min(dimensions, linear.rank_of(images, labels))
    return images * (2 * dimensions + 4 * coordinates + 2 * 8 * labels + 4 * (SKETCH + 2))


def _fit_preview(
    rows: Matrix, answers: Ints, names: list[str], groups: Ints, seed: int, go_on: Callable[[], None]
) -> Head:
    """A head fitted on a sample within a second; it remembers every image that it would answer wrong."""
    sample = linear.stratified_sample(answers, max(PREVIEW_ABOVE, 4 * len(names) ** 2) // len(names), seed)
    some, labels = Matrix(rows.take(sample)), answers[sample]
    folds = fair_folds(labels, groups[sample], 3, seed)
    fitted = linear.fit(some, labels, len(names), folds, go_on, penalties=(_PREVIEW_PENALTY,), seed=seed)
    novelty = fit_novelty(some, labels, folds, fitted, seed)
    return _complete(_smooth(names, fitted, novelty), rows, answers, np.zeros(len(rows), bool), go_on)


def _smooth(names: list[str], fitted: linear.LinearFit, novelty: NoveltyDetector) -> Head:
    return Head(names, fitted.weights, fitted.bias, temperature=1 / fitted.sharpness, novelty=novelty)


def _complete(
    base: Head,
    rows: Matrix,
    answers: Ints,
    hard: NDArray[np.bool_] | None,
    go_on: Callable[[], None],
) -> Head:
    """The smooth part of `base`, which remembers the `hard` images and rejects no image.

    Without `hard`, those that `base` remembers. Of one embedding under several labels, the last counts. Images with an
    answer below 0 take no part.
    """
    known, count = answers >= 0, len(rows)
    answered, identities = np.empty(count, np.intp), np.empty(count, np.uint64)
    sketches, rejected = rows.like(SKETCH, np.float32), []
    for part, batch in rows.batches(max(SKETCH, 4 * len(base.labels))):
        go_on()
        logits = base._logits(batch)
        answered[part], identities[part] = softmax(logits).argmax(axis=1), _identities(batch)
        sketches.put(part, batch @ projection(rows.shape[1]))
        if base.novelty:
            own = known[part]
            rejected.append(base.novelty.rejected(*((batch, logits) if own.all() else (batch[own], logits[own]))))
    novelty = base.novelty.accepting(rejected) if base.novelty else None
    kept = np.concatenate([base.find(part) >= 0 for _, part in sketches.batches()]) if hard is None else hard.copy()
    first, last = _occurrences(identities, known)
    head = Head(base.labels, base.weights, base.bias, same=base.same)
    for _ in range(2):  # also images that are answered wrong all the same, then those recalled as one of these
        for part, batch in sketches.batches():
            go_on()
            found = head.find(batch)
            recalled = head.remembered[found] if len(head.remembered) else found
            kept[part] |= np.where(found >= 0, recalled, answered[part]) != answers[part]
        memory = last[kept[last]]
        sketched = sketches.take(memory)
        order = np.argsort(-first[kept[last]], kind="stable")  # of two equally near images, the later one is recalled
        head = Head(
            base.labels, base.weights, base.bias, sketched[order], answers[memory][order],
            same=base.same, temperature=base.temperature, novelty=novelty,
        )  # fmt: skip
    return head


def _identities(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """(n,) digests of the rows, equal for equal rows; of a million rows two others are equal once in 40 million times."""
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, "<u8")


def _first_of_same(rows: Matrix) -> Ints:
    """(n,) the index of the first row that is the same."""
    identities = np.concatenate([_identities(block) for _, block in rows.blocks()])
    _, first, inverse = np.unique(identities, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)]


def _occurrences(identities: NDArray[np.uint64], known: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """First and last index of each identity among the `known` ones, ascending by the last."""
    places = np.flatnonzero(known)
    first = np.unique(identities[places], return_index=True)[1]
    last = len(places) - 1 - np.unique(identities[places][::-1], return_index=True)[1]
    order = np.argsort(last)
    return places[first[order]], places[last[order]]


def _metrics(
    probabilities: Matrix, answers: Ints, names: Sequence[str], folds: int
) -> tuple[HeadMetrics, NDArray[np.bool_]]:
    """The figures of out-of-fold probabilities (n, k), and (n,) which images they answer wrong."""
    predicted, best = np.empty(len(answers), np.intp), np.empty(len(answers))
    for part, batch in probabilities.batches():
        predicted[part], best[part] = batch.argmax(axis=1), batch.max(axis=1)
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (answers, predicted), 1)
    counts = confusion.sum(axis=1)
    metrics = HeadMetrics(
        accuracy=float(np.mean(predicted == answers)),
        images=len(answers),
        folds=folds,
        labels=tuple(names),
        counts=tuple(counts.tolist()),
        label_accuracy=tuple((np.diag(confusion) / counts).tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration_error=error_of_best(best, predicted == answers),
    )
    return metrics, predicted != answers
