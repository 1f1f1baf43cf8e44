"""Classifier heads on embeddings: a calibrated linear model, a memory of hard images, and novelty detection."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.vision import linear
from apitorch_desktop.vision.calibration import Floats, Ints, calibration_error, confidence_word, softmax
from apitorch_desktop.vision.folds import SAME, SKETCH, fair_folds, projection
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

    def remembering(self, embeddings: NDArray[Any], labels: Sequence[str]) -> "Head":
        """Return this head with a memory of (n, d) embeddings instead: each is answered by its label.

        The smooth part stays; images of other labels than `labels` of this head take no part.
        """
        index = {label: at for at, label in enumerate(self.labels)}
        known = np.array([label in index for label in labels], bool)
        rows = self._rows(np.asarray(embeddings)[known])
        answers = np.array([index[label] for label in labels if label in index], np.intp)
        hard = np.zeros(len(rows), bool)
        if len(rows) and len(self.remembered):
            hard = self.recall(rows @ projection(self.dimensions), self.smooth(rows)) >= 0
        return _complete(self, rows, answers, hard)

    def recall(self, sketches: NDArray[Any], probabilities: NDArray[np.float64]) -> Ints:
        """Change the probabilities (n, k) of remembered images in place; return (n,) indices into the memory, or −1.

        `sketches` (n, SKETCH) are embeddings · projection(d).
        """
        found = np.full(len(sketches), -1, np.intp)
        lengths = np.einsum("ij,ij->i", self.sketches, self.sketches)
        for start in range(0, len(sketches) if len(lengths) else 0, 1024):
            seen = sketches[start : start + 1024]
            length = np.einsum("ij,ij->i", seen, seen)
            distance = length[:, None] + lengths - 2 * seen @ self.sketches.T
            near = np.flatnonzero(distance.min(axis=1) < self.same**2 * length)
            found[start + near] = distance[near].argmin(axis=1)
        for index in np.flatnonzero(found >= 0):
            row, label = probabilities[index], self.remembered[found[index]]
            if row[label] < REMEMBERED:
                row *= (1 - REMEMBERED) / (1 - row[label])
                row[label] = REMEMBERED
        return found

    def _rows(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.atleast_2d(np.asarray(embeddings, np.float32))
        if rows.shape[1] != self.dimensions:
            raise ValueError(f"This classifier takes embeddings of {self.dimensions} numbers, not {rows.shape[1]}.")
        return rows

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
    """`out_of_fold` (n, k): calibrated probabilities of each training image from heads that had not seen it."""

    head: Head
    metrics: HeadMetrics
    out_of_fold: NDArray[np.float64]


def train(
    embeddings: NDArray[Any],
    labels: Sequence[str],
    *,
    groups: Sequence[int] | Ints | None = None,
    cancelled: Callable[[], bool] | None = None,
    preview: Callable[[Head], None] | None = None,
    seed: int = 0,
) -> TrainingResult:
    """Fit a head on (n, d) embeddings and n labels.

    `groups`: images with the same number stay on one side of every fold; without it, those with the same embedding.
    Where one image is there under several labels, the memory keeps the last. `cancelled` is asked between fits.
    Raises TooFewImages, TrainingCancelled, ValueError (shapes, values that are not finite).
    """
    from threadpoolctl import threadpool_limits

    rows = np.asarray(embeddings, np.float32)
    if rows.ndim != 2 or len(rows) != len(labels) or (groups is not None and len(groups) != len(rows)):
        raise ValueError(f"Embeddings {rows.shape}, {len(labels)} labels: one row of numbers for each label is needed.")
    if not np.isfinite(rows).all():
        raise ValueError("An embedding holds a value that is not a number.")
    found, answers = np.unique(np.asarray(labels, str), return_inverse=True)
    names = [str(name) for name in found]
    if np.sum(np.bincount(answers) >= MIN_IMAGES) < MIN_LABELS:
        raise TooFewImages("Two labels with two images each are needed.")

    def go_on() -> None:
        if cancelled and cancelled():
            raise TrainingCancelled

    numbers: dict[bytes, int] = {}
    same = [numbers.setdefault(identity, len(numbers)) for identity in _identities(rows)]
    together = np.asarray(same if groups is None else groups)
    # One thread: for matrices of this size BLAS threads cost 3 to 15 times what they gain, and serving goes on beside.
    with threadpool_limits(1, "blas"):
        go_on()
        if preview and len(rows) * len(names) > PREVIEW_ABOVE:
            preview(_fit_preview(rows, answers, names, together, seed, go_on))
        folds = fair_folds(answers, together, _FOLDS, seed)
        fitted = linear.fit(rows, answers, len(names), folds, go_on, seed=seed)
        go_on()
        novelty = fit_novelty(rows, answers, folds, fitted, seed)
        head = _complete(_smooth(names, fitted, novelty), rows, answers, fitted.out_of_fold.argmax(axis=1) != answers)
        metrics = _metrics(fitted.out_of_fold, answers, names, int(folds.max()) + 1)
        return TrainingResult(head, metrics, fitted.out_of_fold)


def _fit_preview(
    rows: NDArray[np.float32], answers: Ints, names: list[str], groups: Ints, seed: int, go_on: Callable[[], None]
) -> Head:
    """A head fitted on a sample within a second; it remembers every image that it would answer wrong."""
    sample = linear.stratified_sample(answers, max(PREVIEW_ABOVE, 4 * len(names) ** 2) // len(names), seed)
    some, labels = rows[sample], answers[sample]
    folds = fair_folds(labels, groups[sample], 3, seed)
    fitted = linear.fit(some, labels, len(names), folds, go_on, penalties=(_PREVIEW_PENALTY,), seed=seed)
    novelty = fit_novelty(some, labels, folds, fitted, seed)
    return _complete(_smooth(names, fitted, novelty), rows, answers, np.zeros(len(rows), bool))


def _smooth(names: list[str], fitted: linear.LinearFit, novelty: NoveltyDetector) -> Head:
    return Head(names, fitted.weights, fitted.bias, temperature=1 / fitted.sharpness, novelty=novelty)


def _complete(base: Head, rows: NDArray[np.float32], answers: Ints, hard: NDArray[np.bool_]) -> Head:
    """The smooth part of `base`, which remembers the `hard` images and rejects no image.

    Of one embedding under several labels, the last counts.
    """
    last = {identity: index for index, identity in enumerate(_identities(rows))}
    images = np.fromiter(last.values(), int, len(last))[::-1]  # of two equally near images, the later one is recalled
    logits = np.asarray(rows @ base.weights.T + base.bias, np.float64)
    novelty = base.novelty.accepting(rows, logits) if base.novelty else None
    smooth, sketches = softmax(logits)[images], (rows @ projection(rows.shape[1]))[images]
    head, wanted, kept = Head(base.labels, base.weights, base.bias, same=base.same), answers[images], hard[images]
    for _ in range(2):  # also images that are answered wrong all the same, then those recalled as one of these
        probabilities = smooth.copy()
        head.recall(sketches, probabilities)
        kept |= probabilities.argmax(axis=1) != wanted
        memory = sketches[kept], wanted[kept]
        head = Head(
            base.labels, base.weights, base.bias, *memory,
            same=base.same, temperature=base.temperature, novelty=novelty,
        )  # fmt: skip
    return head


def _identities(rows: NDArray[np.float32]) -> Iterator[bytes]:
    """Digests of the rows, equal for equal rows."""
    return (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)


def _metrics(probabilities: Floats, answers: Ints, names: Sequence[str], folds: int) -> HeadMetrics:
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (answers, predicted), 1)
    counts = confusion.sum(axis=1)
    return HeadMetrics(
        accuracy=float(np.mean(predicted == answers)),
        images=len(answers),
        folds=folds,
        labels=tuple(names),
        counts=tuple(counts.tolist()),
        label_accuracy=tuple((np.diag(confusion) / counts).tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration_error=calibration_error(probabilities, answers),
    )
