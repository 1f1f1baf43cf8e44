"""Embeddings + labels → classifier: logistic regression, temperature, and a memory of images it would get wrong."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision import calibration, linear
from apitorch_desktop.vision.calibration import Floats, Ints, confidence_word, softmax
from apitorch_desktop.vision.folds import SAME, SKETCH, fair_folds, projection

__all__ = ["Head", "HeadMetrics", "TooFewImages", "TrainingCancelled", "TrainingResult", "confidence_word", "train"]

MIN_LABELS: Final = 2
MIN_IMAGES: Final = 2
"""A classifier needs two labels of two images each; further labels may have one."""
PREVIEW_ABOVE: Final = 5_000
"""Images above which `train` first hands a quick ridge head to `preview`."""
REMEMBERED: Final = 0.95
"""Probability of the label of a remembered image: a person said so, and persons err too."""

_STRENGTHS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 30.0)
"""Candidates for C, the inverse of the L2 penalty on standardised embeddings."""
_FOLDS: Final = 5
_CHOOSE_ON: Final = 2_000
"""Images that C is chosen on; with more a stratified sample of this size stands for all."""
_UNSEEN: Final = -5.0
"""Logit, below the lowest, of a label that a fold's training part had no image of."""


class TooFewImages(ValueError):  # noqa: N818 - named for the condition
    """Fewer than two labels of two images each."""


class TrainingCancelled(Exception):  # noqa: N818 - not an error
    """`cancelled()` answered True."""


@dataclass(frozen=True, slots=True)
class HeadMetrics:
    """Cross-validated figures, on images the head had not seen; tuples are in the order of `labels`.

    `confusion[i][j]` counts images of label i predicted as label j; `label_accuracy` is the share of a label's images
    that were predicted right; `calibration_error` is the expected calibration error over ten bins. C and temperature of
    each fold were chosen on the other folds, and the memory takes no part.
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
    """What `Head.to_bytes` writes, as MessagePack: arrays little-endian, in row order."""

    kind: str
    labels: list[str]
    dimensions: int
    weights: bytes
    bias: bytes
    sketches: bytes
    remembered: bytes


class Head:
    """A trained classifier; immutable and thread-safe.

    The smooth part is softmax(embedding · weightsᵀ + bias), with standardisation and temperature folded into `weights`
    (k, d) and `bias` (k,). The memory holds the training images that a head which had not seen them answers wrong, or
    that the smooth part still does, as `sketches` (m, SKETCH) with the index of their label in `remembered` (m,): an
    embedding within SAME of one of them gets that label at REMEMBERED, the other labels share the rest as before. So a
    correction holds for its very image at once, and nothing else changes. `labels` are sorted.
    """

    KIND: Final = "apitorch-desktop head 1"

    def __init__(
        self, labels: Sequence[str], weights: Floats, bias: Floats, sketches: Floats | None = None, remembered: Any = ()
    ) -> None:
        self.labels = tuple(labels)
        self.weights = np.ascontiguousarray(weights, "<f4")
        self.bias = np.ascontiguousarray(bias, "<f8")
        self.remembered = np.ascontiguousarray(remembered, "<i4")
        empty = np.empty((0, SKETCH), np.float32)
        self.sketches = np.ascontiguousarray(empty if sketches is None else sketches, "<f4")
        self.dimensions = self.weights.shape[1]

    def predict(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """(n, d) or (d,) embeddings → (n, k) calibrated probabilities in the order of `labels`; rows sum to 1."""
        rows = np.atleast_2d(np.asarray(embeddings, np.float32))
        if rows.shape[1] != self.dimensions:
            raise ValueError(f"This classifier takes embeddings of {self.dimensions} numbers, not {rows.shape[1]}.")
        probabilities = self.smooth(rows)
        for start in range(0, len(rows) if len(self.remembered) else 0, 1024):
            part = slice(start, start + 1024)
            self._recall(rows[part], probabilities[part])
        return probabilities

    def smooth(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """What `predict` answers without the memory."""
        return softmax(embeddings @ self.weights.T + self.bias)

    def _recall(self, rows: NDArray[np.float32], probabilities: NDArray[np.float64]) -> None:
        """Change the probabilities of remembered images in place."""
        seen = rows @ projection(self.dimensions)
        length = np.einsum("ij,ij->i", seen, seen)
        distance = length[:, None] + np.einsum("ij,ij->i", self.sketches, self.sketches) - 2 * seen @ self.sketches.T
        nearest = distance.argmin(axis=1)
        for index in np.flatnonzero(distance.min(axis=1) < SAME**2 * length):
            row, label = probabilities[index], self.remembered[nearest[index]]
            if row[label] < REMEMBERED:
                row *= (1 - REMEMBERED) / (1 - row[label])
                row[label] = REMEMBERED

    def to_bytes(self) -> bytes:
        """A portable file, no pickle."""
        arrays = (self.weights, self.bias, self.sketches, self.remembered)
        return msgspec.msgpack.encode(
            _HeadFile(self.KIND, list(self.labels), self.dimensions, *(array.tobytes() for array in arrays))
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError when `data` is not a head's."""
        try:
            file = msgspec.msgpack.decode(data, type=_HeadFile)
            if file.kind != cls.KIND:
                raise ValueError(file.kind)
            return cls(
                file.labels,
                np.frombuffer(file.weights, "<f4").reshape(len(file.labels), file.dimensions),
                np.frombuffer(file.bias, "<f8").reshape(len(file.labels)),
                np.frombuffer(file.sketches, "<f4").reshape(-1, SKETCH),
                np.frombuffer(file.remembered, "<i4").reshape(len(file.sketches) // (4 * SKETCH)),
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
        if preview and len(rows) > PREVIEW_ABOVE:
            preview(_ridge(rows, answers, names, seed))
        return _fit_all(rows, answers, names, together, seed, go_on)


def _fit_all(
    rows: NDArray[np.float32], answers: Ints, names: list[str], groups: Ints, seed: int, go_on: Callable[[], None]
) -> TrainingResult:
    """Cross-validate, choose C and temperature, fit on everything."""
    strengths: Sequence[float] = _STRENGTHS
    if len(rows) > _CHOOSE_ON:
        sample = _sample(answers, _CHOOSE_ON, seed)
        trial = _Validation(rows[sample], answers[sample], groups[sample], len(names), strengths, seed, go_on)
        strengths = (strengths[trial.choose(np.ones(len(sample), bool))[0]],)
    validation = _Validation(rows, answers, groups, len(names), strengths, seed, go_on)
    chosen, temperature = validation.choose(np.ones(len(rows), bool))
    fitted = next(linear.logistic(rows, answers, strengths[chosen : chosen + 1], go_on))
    head = Head(names, fitted.weights / temperature, fitted.bias / temperature)
    out_of_fold = validation.probabilities()
    head = _with_memory(head, rows, answers, hard=out_of_fold.argmax(axis=1) != answers)
    return TrainingResult(head, _metrics(out_of_fold, answers, names, validation.count), out_of_fold)


class _Validation:
    """Logits (s, n, k) for every candidate of C, each image's from a fit without its fold."""

    def __init__(
        self,
        rows: NDArray[np.float32],
        answers: Ints,
        groups: Ints,
        labels: int,
        strengths: Sequence[float],
        seed: int,
        go_on: Callable[[], None],
    ) -> None:
        self.folds = fair_folds(answers, groups, _FOLDS, seed)
        self.count = int(self.folds.max()) + 1
        self.targets = calibration.soft_targets(answers, labels)
        self.logits = np.zeros((len(strengths), len(rows), labels))
        self.fair = np.ones(len(rows), bool)
        """Images whose label was there in the other folds: only they tell how good a fit is."""
        for fold in range(self.count):
            held = self.folds == fold
            if held.all():  # every image is the same one: nothing can be learnt, every label is as likely
                self.fair[:] = False
                continue
            present, compact = np.unique(answers[~held], return_inverse=True)
            self.fair &= ~held | np.isin(answers, present)
            for index, fitted in enumerate(linear.logistic(rows[~held], compact, strengths, go_on)):
                known = fitted.logits(rows[held])
                spread = np.repeat(known.min(axis=1, keepdims=True) + _UNSEEN, labels, axis=1)
                spread[:, present] = known
                self.logits[index, held] = spread

    def choose(self, allowed: NDArray[np.bool_]) -> tuple[int, float]:
        """Index of the best C and its temperature, judged on `allowed` images."""
        images = self.fair & allowed
        targets = self.targets[images]
        temperatures = [calibration.fit_temperature(logits[images], targets) for logits in self.logits]
        losses = [
            calibration.cross_entropy(softmax(logits[images] / temperature), targets)
            for logits, temperature in zip(self.logits, temperatures, strict=True)
        ]
        best = int(np.argmin(losses))
        return best, temperatures[best]

    def probabilities(self) -> NDArray[np.float64]:
        """(n, k) out of fold; C and temperature of a fold are chosen without its images."""
        result = np.empty(self.logits.shape[1:])
        for fold in range(self.count):
            held = self.folds == fold
            best, temperature = self.choose(~held)
            result[held] = softmax(self.logits[best, held] / temperature)
        return result


def _with_memory(head: Head, rows: NDArray[np.float32], answers: Ints, hard: NDArray[np.bool_]) -> Head:
    """`head` that remembers the `hard` images; of the same embedding under several labels, the last."""
    last = {identity: index for index, identity in enumerate(_identities(rows))}
    images = np.fromiter(last.values(), int, len(last))[::-1]  # the latest first: of two that match as well it is taken
    kept = hard[images]
    for _ in range(
        2
    ):  # also what is wrong all the same, and then what is so near to one of these as to be taken for it
        kept |= head.predict(rows[images]).argmax(axis=1) != answers[images]
        remembered = images[kept]
        sketches = rows[remembered] @ projection(head.dimensions)
        head = Head(head.labels, head.weights, head.bias, sketches, answers[remembered])
    return head


def _identities(rows: NDArray[np.float32]) -> Iterator[bytes]:
    """Equal for equal rows; digests, as the rows themselves would be in memory twice."""
    return (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)


def _ridge(rows: NDArray[np.float32], answers: Ints, names: Sequence[str], seed: int) -> Head:
    """A head in a second: penalty and temperature from one held-out fifth."""
    held = fair_folds(answers, np.arange(len(answers)), 5, seed) == 0
    held &= np.bincount(answers[~held], minlength=len(names))[answers] > 0  # a label's only image must stay in
    targets = calibration.soft_targets(answers, len(names))[held]
    trials = []
    for penalty in (0.03, 0.3, 3.0):
        logits = linear.ridge(rows[~held], answers[~held], penalty).logits(rows[held])
        temperature = calibration.fit_temperature(logits, targets)
        trials.append((calibration.cross_entropy(softmax(logits / temperature), targets), penalty, temperature))
    _, penalty, temperature = min(trials)
    fitted = linear.ridge(rows, answers, penalty)
    return Head(names, fitted.weights / temperature, fitted.bias / temperature)


def _sample(answers: Ints, size: int, seed: int) -> Ints:
    """Indices of about `size` images, labels in proportion but at least two (or all) of each; ascending."""
    order = np.random.default_rng(seed).permutation(len(answers))
    counts = np.bincount(answers)
    wanted = np.maximum(np.round(counts * size / len(answers)), 2)
    place = np.empty(len(answers), int)
    for label in range(len(counts)):
        mine = order[answers[order] == label]
        place[mine] = np.arange(len(mine))
    return np.flatnonzero(place < wanted[answers])


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
        calibration_error=calibration.calibration_error(probabilities, answers),
    )
