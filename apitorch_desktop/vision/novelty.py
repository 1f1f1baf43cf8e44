"""Novelty detection: images that are none of a classifier's labels."""

from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import Ints
from apitorch_desktop.vision.folds import SAME
from apitorch_desktop.vision.linear import LinearFit, stratified_sample

Array = NDArray[Any]

NEIGHBOR: Final = 3
"""The neighbor whose distance counts. Of images of a label left out the first finds .48, the third .47, the tenth .39."""
AXES: Final = 64
"""Principal coordinates kept of an image; its distance from their subspace is kept as one number."""
DISTANCE_WEIGHT: Final = 1.5
"""Weight of the distance beside the logit; between 1 and 2 only images of another kind are affected."""
LOUDEST: Final = 0.7
"""Limit of the standardized logit: a high one does not excuse the distance."""
_KNOWN: Final = 2_000
"""Training images kept, at most: a stratified sample, and those that would be rejected without themselves."""
_LEAST: Final = 4
"""Images with out-of-fold results below which nothing is rejected."""
_REJECTED: Final = 0.04
"""Share of the training images that are rejected out of fold. Clothing without three of its labels (ten splits): .042 of the
others' photos and .350 of theirs; at .03 .034 and .339."""
_BLOCK: Final = 1024


class NoveltyFile(msgspec.Struct, array_like=True):
    """Serialized detector: arrays little-endian, in row order."""

    mean: bytes
    axes: bytes
    unit: float
    known: bytes
    rests: bytes
    nearness: tuple[float, float]
    logit: tuple[float, float]
    threshold: float


class NoveltyDetector:
    """Rejects images too far from the training images, or with too small a largest logit, or both together.

    The score is the sum of the largest logit and DISTANCE_WEIGHT times the negated squared distance to the NEIGHBOR-th nearest
    training image, each standardized by median and quartiles (`logit`, `nearness`) of the training images out of fold; an
    image is rejected below `threshold`. Distances are in `axes` (d, AXES) around `mean`, in multiples of `unit`, the training
    images' root mean square distance from it; the part outside the axes counts as orthogonal to any other image's. `known`
    (m, AXES) and `rests` (m,) are training images' coordinates and squared lengths outside the axes.
    """

    def __init__(
        self,
        mean: Array,
        axes: Array,
        unit: float,
        known: Array,
        rests: Array,
        nearness: tuple[float, float],
        logit: tuple[float, float],
        threshold: float,
    ) -> None:
        # Half precision, as in the file: a detector is the same when it is read again
        self.mean = np.ascontiguousarray(mean, "<f4")
        self._axes = np.ascontiguousarray(axes, "<f2")
        self.unit = unit
        self._known = np.ascontiguousarray(known, "<f2")
        self.rests = np.ascontiguousarray(rests, "<f4")
        self.nearness, self.logit, self.threshold = nearness, logit, threshold

    @property
    def axes(self) -> NDArray[np.float32]:
        """(d, AXES)."""
        return self._axes.astype(np.float32)

    @property
    def known(self) -> NDArray[np.float32]:
        """(m, AXES)."""
        return self._known.astype(np.float32)

    def scores(self, embeddings: Array, logits: Array) -> NDArray[np.float64]:
        """Return (n,) scores, low for novel images, of (n, d) embeddings with (n, k) logits; infinite for training images."""
        axes, known, outside = self.axes, self.known, np.sqrt(self.rests)
        scores = np.empty(len(embeddings))
        for start in range(0, len(embeddings), _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = embeddings[part]
            coordinates, rests = _project(rows, self.mean, axes, self.unit)
            within = _distances(coordinates, np.zeros(1), known, np.zeros(1))
            near = -_nth(within + rests[:, None] + self.rests, NEIGHBOR)
            score = self._score(near, logits[part].max(axis=1))
            # A training image, by a lower bound of the distance
            bound = (within + (np.sqrt(rests)[:, None] - outside) ** 2).min(axis=1)
            limit = SAME**2 * np.einsum("ij,ij->i", rows, rows) / self.unit**2
            scores[part] = np.where(bound <= np.maximum(limit, 1e-4), np.inf, score)
        return scores

    def rejects(self, embeddings: Array, logits: Array) -> NDArray[np.bool_]:
        """Return (n,): whether an image is none of the labels."""
        return np.asarray(self.scores(embeddings, logits) < self.threshold)

    def accepting(self, embeddings: Array, logits: Array) -> "NoveltyDetector":
        """Return a detector that also knows those of the images that this one rejects."""
        rejected = self.rejects(embeddings, logits)
        if not rejected.any():
            return self
        known, rests = _project(embeddings[rejected], self.mean, self.axes, self.unit)
        known, rests = np.concatenate([self.known, known]), np.concatenate([self.rests, rests])
        return NoveltyDetector(self.mean, self.axes, self.unit, known, rests, self.nearness, self.logit, self.threshold)

    def _score(self, nearness: Array, logit: Array) -> NDArray[np.float64]:
        standardized = (nearness - self.nearness[0]) / self.nearness[1]
        return np.asarray(
            np.minimum((logit - self.logit[0]) / self.logit[1], LOUDEST) + DISTANCE_WEIGHT * standardized, np.float64
        )

    def to_file(self) -> NoveltyFile:
        """Serialize."""
        mean, axes, known, rests = (array.tobytes() for array in (self.mean, self._axes, self._known, self.rests))
        return NoveltyFile(mean, axes, self.unit, known, rests, self.nearness, self.logit, self.threshold)

    @classmethod
    def from_file(cls, file: NoveltyFile, dimensions: int) -> Self:
        """Raises ValueError for arrays of other sizes."""
        axes = np.frombuffer(file.axes, "<f2").reshape(dimensions, -1)
        rests = np.frombuffer(file.rests, "<f4")
        known = np.frombuffer(file.known, "<f2").reshape(len(rests), axes.shape[1])
        mean = np.frombuffer(file.mean, "<f4").reshape(dimensions)
        return cls(mean, axes, file.unit, known, rests, file.nearness, file.logit, file.threshold)


def fit_novelty(
    rows: NDArray[np.float32], answers: Ints, folds: Ints, fit: LinearFit, seed: int = 0
) -> NoveltyDetector:
    """Fit on training images (n, d), comparing each with those of other folds."""
    sample = np.arange(len(rows)) if len(rows) <= _KNOWN else stratified_sample(answers, _KNOWN, seed)
    mean = fit.coordinates.mean
    axes = fit.coordinates.axes[:, -AXES:]
    axes = (axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-30)).astype("<f2").astype(np.float32)
    apart = rows[sample] - mean
    unit = max(float(np.sqrt(np.einsum("ij,ij->", apart, apart, dtype=np.float64) / len(sample))), 1e-15)
    known, rests = _project(rows[sample], mean, axes, unit)

    def detector(nearness: tuple[float, float], logit: tuple[float, float], threshold: float) -> NoveltyDetector:
        return NoveltyDetector(mean, axes, unit, known, rests, nearness, logit, threshold)

    near = np.empty(len(sample))
    rounded = known.astype("<f2").astype(np.float32)
    for start in range(0, len(sample), _BLOCK):
        part = slice(start, start + _BLOCK)
        distances = _distances(known[part], rests[part], rounded, rests)
        distances[folds[sample[part], None] == folds[sample]] = np.inf
        others = int(np.isfinite(distances).sum(axis=1).min())
        near[part] = -_nth(distances, min(NEIGHBOR, max(others, 1)))
    largest = fit.out_of_fold_logits[sample].max(axis=1)
    fair = fit.fair[sample] & np.isfinite(near)
    if fair.sum() < _LEAST:
        return detector((0.0, 1.0), (0.0, 1.0), -np.inf)
    near, largest = near[fair], largest[fair]
    centers = _median_and_spread(near), _median_and_spread(largest)
    threshold = _quantile(detector(*centers, 0.0)._score(near, largest), _REJECTED)
    return detector(*centers, threshold)


def _median_and_spread(values: Array) -> tuple[float, float]:
    low, median, high = np.percentile(values, [25, 50, 75])
    return float(median), max(float(high - low) / 1.35, 1e-6 + 1e-3 * abs(float(median)))


def _quantile(values: Array, share: float) -> float:
    """The `share` quantile; of few values, partly that of a t distribution with their mean and standard deviation."""
    from scipy.special import stdtrit

    n = len(values)
    bell = float(values.mean() + stdtrit(n - 1, share) * values.std(ddof=1) * np.sqrt(1 + 1 / n))
    trust = n / (n + 1 / share)
    return trust * float(np.quantile(values, share)) + (1 - trust) * bell


def _project(rows: Array, mean: Array, axes: Array, unit: float) -> tuple[Array, Array]:
    """Coordinates (n, AXES) and squared lengths outside the axes (n,)."""
    apart = np.asarray((rows - mean) / np.float32(unit), np.float32)
    coordinates = apart @ axes
    rests = np.einsum("ij,ij->i", apart, apart) - np.einsum("ij,ij->i", coordinates, coordinates)
    return coordinates, np.maximum(rests, 0)


def _distances(coordinates: Array, rests: Array, known: Array, known_rests: Array) -> Array:
    """(n, m) squared distances."""
    lengths = np.einsum("ij,ij->i", known, known) + known_rests
    own = np.einsum("ij,ij->i", coordinates, coordinates) + rests
    return np.asarray(np.maximum(own[:, None] + lengths - 2 * coordinates @ known.T, 0))


def _nth(distances: Array, number: int) -> Array:
    """(n,) the `number`-th smallest of each row."""
    place = min(number, distances.shape[1]) - 1
    return np.asarray(np.partition(distances, place, axis=1)[:, place])
