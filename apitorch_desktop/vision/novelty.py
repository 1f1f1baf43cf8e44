"""Novelty detection: images that are none of a classifier's labels."""

from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import Ints
from apitorch_desktop.vision.folds import SAME
from apitorch_desktop.vision.linear import LinearFit, stratified_sample
from apitorch_desktop.vision.matrix import Matrix

Array = NDArray[Any]

NEIGHBOR: Final = 3
"""The neighbor whose distance counts. Of images of a label left out the first finds .48, the third .47, the tenth .39."""
AXES: Final = 64
"""Principal coordinates kept of an image; its distance from their subspace is kept as one number."""
DISTANCE_WEIGHT: Final = 1.25
"""Weight of the distance beside the logit; between 1 and 2 only images of another kind are affected."""
CROWDING_WEIGHT: Final = 0.25
"""Weight of the distance as a multiple of that of the nearest images from theirs (local outlier factor, Breunig et al. 2000).
With 3 % of the own photos rejected out of fold, mean of six sets with a third of the labels left out: .472 of theirs are rejected
and .032 of the others', without it .460 and .034; on clothing .29 and .027 for .25 and .025. Twice the weight costs more."""
LOUDEST: Final = 0.7
"""Limit of the standardized logit: a high one does not excuse the distance."""
_KNOWN: Final = 2_000
"""Training images kept, at most: a stratified sample, and those that would be rejected without themselves."""
_EARLIER_WEIGHT: Final = 1.5
"""DISTANCE_WEIGHT of heads without spacings."""
_LEAST: Final = 4
"""Images with out-of-fold results below which nothing is rejected."""
_REJECTED: Final = 0.03
"""Share of the training images that are rejected out of fold."""
_BLOCK: Final = 1024
_BLOCK_DISTANCES: Final = 2**22
"""Distances computed at a time, at most."""


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
    spacings: bytes = b""
    crowding: tuple[float, float] = (0.0, 1.0)


class NoveltyDetector:
    """Rejects images too far from the training images, or with too small a largest logit, or both together.

    The score is the sum of the largest logit, DISTANCE_WEIGHT times the negated squared distance to the NEIGHBOR-th nearest
    training image, and CROWDING_WEIGHT times that distance as a negated multiple of the mean of the nearest images' own
    `spacings` (m,), each standardized by median and quartiles (`logit`, `nearness`, `crowding`) of the training images out of
    fold; an image is rejected below `threshold`. Without spacings, as in older heads, the score has the first two parts,
    weighted as they were then. Distances are in `axes` (d, AXES) around `mean`, in multiples of `unit`, the training
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
        spacings: Array | None = None,
        crowding: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        # Half precision, as in the file: a detector is the same when it is read again
        self.mean = np.ascontiguousarray(mean, "<f4")
        self._axes = np.ascontiguousarray(axes, "<f2")
        self.unit = unit
        self._known = np.ascontiguousarray(known, "<f2")
        self.rests = np.ascontiguousarray(rests, "<f4")
        self.nearness, self.logit, self.threshold = nearness, logit, threshold
        self.spacings = None if spacings is None else np.ascontiguousarray(spacings, "<f4")
        self.crowding = crowding

    @property
    def distance_weight(self) -> float:
        """Weight of the standardized distance."""
        return DISTANCE_WEIGHT if self.spacings is not None else _EARLIER_WEIGHT

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
        step = min(_BLOCK, max(1, _BLOCK_DISTANCES // max(1, len(known))))
        for start in range(0, len(embeddings), step):
            part = slice(start, start + step)
            rows = embeddings[part]
            coordinates, rests = _project(rows, self.mean, axes, self.unit)
            within = _distances(coordinates, np.zeros(1), known, np.zeros(1))
            near, around = _nearest(within + rests[:, None] + self.rests, NEIGHBOR)
            score = self._score(near, logits[part].max(axis=1), around)
            # A training image, by a lower bound of the distance
            bound = (within + (np.sqrt(rests)[:, None] - outside) ** 2).min(axis=1)
            limit = SAME**2 * np.einsum("ij,ij->i", rows, rows) / self.unit**2
            scores[part] = np.where(bound <= np.maximum(limit, 1e-4), np.inf, score)
        return scores

    def rejects(self, embeddings: Array, logits: Array) -> NDArray[np.bool_]:
        """Return (n,): whether an image is none of the labels."""
        return np.asarray(self.scores(embeddings, logits) < self.threshold)

    def rejected(self, embeddings: Array, logits: Array) -> tuple[Array, Array]:
        """Return coordinates (m, AXES) and rests (m,) of those of the images that it rejects, for `accepting`."""
        return _project(embeddings[self.rejects(embeddings, logits)], self.mean, self.axes, self.unit)

    def accepting(self, parts: Sequence[tuple[Array, Array]]) -> "NoveltyDetector":
        """Return a detector that also knows the images that this one `rejected`."""
        if not any(len(rests) for _, rests in parts):
            return self
        known, rests = (np.concatenate(column) for column in zip(*parts, strict=True))
        spacings = self.spacings
        if spacings is not None:
            own, step = self.known, min(_BLOCK, max(1, _BLOCK_DISTANCES // len(self.rests)))
            near = [
                _nearest(
                    _distances(known[start : start + step], rests[start : start + step], own, self.rests), NEIGHBOR
                )[0]
                for start in range(0, len(known), step)
            ]
            spacings = np.concatenate([spacings, -np.concatenate(near)])
        known, rests = np.concatenate([self.known, known]), np.concatenate([self.rests, rests])
        return NoveltyDetector(
            self.mean, self.axes, self.unit, known, rests, self.nearness, self.logit, self.threshold, spacings,
            self.crowding,
        )  # fmt: skip

    def _score(self, nearness: Array, logit: Array, around: Ints) -> NDArray[np.float64]:
        """Return (n,) scores; `around` (n, NEIGHBOR) are the indices of the nearest training images."""
        score = np.minimum((logit - self.logit[0]) / self.logit[1], LOUDEST)
        score = score + self.distance_weight * (nearness - self.nearness[0]) / self.nearness[1]
        if self.spacings is not None:
            crowding = crowding_of(nearness, self.spacings, around)
            score = score + CROWDING_WEIGHT * (crowding - self.crowding[0]) / self.crowding[1]
        return np.asarray(score, np.float64)

    def to_file(self) -> NoveltyFile:
        """Serialize."""
        mean, axes, known, rests = (array.tobytes() for array in (self.mean, self._axes, self._known, self.rests))
        spacings = b"" if self.spacings is None else self.spacings.tobytes()
        return NoveltyFile(
            mean, axes, self.unit, known, rests, self.nearness, self.logit, self.threshold, spacings, self.crowding
        )

    @classmethod
    def from_file(cls, file: NoveltyFile, dimensions: int) -> Self:
        """Raises ValueError for arrays of other sizes."""
        axes = np.frombuffer(file.axes, "<f2").reshape(dimensions, -1)
        rests = np.frombuffer(file.rests, "<f4")
        known = np.frombuffer(file.known, "<f2").reshape(len(rests), axes.shape[1])
        mean = np.frombuffer(file.mean, "<f4").reshape(dimensions)
        spacings = np.frombuffer(file.spacings, "<f4").reshape(len(rests)) if file.spacings else None
        return cls(
            mean, axes, file.unit, known, rests, file.nearness, file.logit, file.threshold, spacings, file.crowding
        )


def fit_novelty(rows: Matrix, answers: Ints, folds: Ints, fit: LinearFit, seed: int = 0) -> NoveltyDetector:
    """Fit on training images (n, d), comparing each with those of other folds."""
    sample = np.arange(len(rows)) if len(rows) <= _KNOWN else stratified_sample(answers, _KNOWN, seed)
    mean = fit.coordinates.mean
    axes = fit.coordinates.axes[:, -AXES:]
    axes = (axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-30)).astype("<f2").astype(np.float32)
    learned = rows.take(sample)
    apart = learned - mean
    unit = max(float(np.sqrt(np.einsum("ij,ij->", apart, apart, dtype=np.float64) / len(sample))), 1e-15)
    known, rests = _project(learned, mean, axes, unit)

    near, around = np.empty(len(sample)), np.empty((len(sample), min(NEIGHBOR, len(sample))), np.intp)
    rounded = known.astype("<f2").astype(np.float32)
    for start in range(0, len(sample), _BLOCK):
        part = slice(start, start + _BLOCK)
        distances = _distances(known[part], rests[part], rounded, rests)
        distances[folds[sample[part], None] == folds[sample]] = np.inf
        others = int(np.isfinite(distances).sum(axis=1).min())
        near[part] = _nearest(distances, min(NEIGHBOR, max(others, 1)))[0]
        around[part] = _nearest(distances, NEIGHBOR)[1]
    largest = (fit.out_of_fold_logits.take(sample) * fit.sharpness).max(axis=1)
    finite = np.isfinite(near)
    fair = fit.fair[sample] & finite
    if fair.sum() < _LEAST:
        return NoveltyDetector(mean, axes, unit, known, rests, (0.0, 1.0), (0.0, 1.0), -np.inf)
    spacings = np.where(finite, -near, -np.median(near[fair]))
    crowding = crowding_of(near, spacings, around)[fair]
    near, largest, around = near[fair], largest[fair], around[fair]
    centers = _median_and_spread(near), _median_and_spread(largest)
    found = NoveltyDetector(mean, axes, unit, known, rests, *centers, 0.0, spacings, _median_and_spread(crowding))
    found.threshold = _quantile(found._score(near, largest, around), _REJECTED)
    return found


def crowding_of(nearness: Array, spacings: Array, around: Ints) -> Array:
    """Return (n,) negated distances as multiples of the mean spacing of the images `around` (n, NEIGHBOR)."""
    return np.asarray(nearness / np.maximum(spacings[around].mean(axis=1), 1e-6))


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


def _nearest(distances: Array, number: int) -> tuple[Array, Ints]:
    """(n,) the negated `number`-th smallest of each row, and (n, number) the indices of those up to it."""
    place = min(number, distances.shape[1]) - 1
    around = np.argpartition(distances, place, axis=1)[:, : place + 1]
    return -np.take_along_axis(distances, around[:, -1:], axis=1)[:, 0], around
