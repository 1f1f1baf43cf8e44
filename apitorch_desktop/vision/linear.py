"""Multinomial logistic regression on embeddings in principal coordinates, cross-validated at a bounded cost.

All folds are fitted at once as one matrix product, in principal coordinates found once, by L-BFGS with a diagonal
preconditioner. Embeddings in a file are gone through in batches, whose losses and gradients are summed up: the same problem
with the same optimum, in the memory of some batches. The L2 penalty is chosen out of fold, and the logits' scale
(1 / temperature) likewise.

Learning curves of labels estimate the gain by more images of one label. The regression is fitted with a quarter and with
half of the label's images beside all images of the others, and judged out of fold on all images. The errors follow a power
law of the number of images (Hestness et al. 2017, “Deep learning scaling is predictable”), which is continued beyond what
is there. Few errors determine its exponent badly, so it is drawn towards that of all labels together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import (
    Floats,
    Ints,
    fit_sharpness,
    fit_sharpness_in_parts,
    mild_targets,
    softmax,
)
from apitorch_desktop.vision.folds import fair_folds, sibling_groups
from apitorch_desktop.vision.matrix import Matrix, as_matrix

Array = NDArray[Any]

PENALTIES: Final = (100.0, 30.0, 10.0, 3.0)
"""Candidates of the L2 penalty, for embeddings scaled to a total variance of _VARIANCE; the strongest first, as each fit
starts where the one before ended."""
_VARIANCE: Final = 1000.0
_FEW: Final = 100
"""Number of images up to which the penalty is not chosen but _FEW_PENALTY: so few do not determine it."""
_FEW_PENALTY: Final = 30.0
_PRIOR: Final = 2.0
"""Nats, over all images, that a penalty ten times or a tenth of _FEW_PENALTY must gain to be chosen."""
_CHOOSE_ON: Final = 1_500
"""Number of images that the penalty is chosen on: with more, a stratified sample."""
_AXES_FROM: Final = 1_500
"""Number of images that the principal axes are computed from."""
_RANK: Final = (512, 1024)
"""Principal coordinates kept: the second, or as many as _WORK allows, but at least the first. This saves time only: on
600 photos 512 cost half a percentage point of accuracy, 256 one, 128 one and a half."""
_WORK: Final = 25_000_000
"""Images × labels × coordinates."""
_MANY: Final = 20_000
"""Images × labels above which the penalty is chosen on _SEARCH_FOLDS folds."""
_SEARCH_FOLDS: Final = 3
_SHARPNESS: Final = (2.0, 0.3)
"""Prior of the sharpness (1 / temperature) and the standard deviation of its logarithm, for the least calibration error on
seven sets: .041 with many images (where perfect calibration would show .040), .080, .058, .047 and .049 with 2, 4, 10 and 20
a label; (2.0, .35) .042, .082, .059, .047 and .050; (2.3, .3) is too sure with two images each of two labels. Heads of the folds
have seen half or four fifths of so few images, and are less certain than the final one should be."""
_ITERATIONS: Final = 40
_SEARCH_ITERATIONS: Final = 15
_UNSEEN: Final = -5.0
"""Logit, relative to the lowest, of a label without images outside the fold."""
_UNIFORM: Final = 0.01
"""Variation of the embeddings' lengths up to which their dimensions are scaled together, see `_scales`."""
_COMMON: Final = 5
"""Number of images that the dimensions' mean variance counts as beside a dimension's own."""


class Coordinates(NamedTuple):
    """Rows in principal coordinates: `rows` (n, r) float32 = (embeddings − `mean`) @ `axes` (d, r), ascending by variance.

    `axes` include the scale.
    """

    rows: Matrix
    mean: Array
    axes: Array


class LinearFit(NamedTuple):
    """logits (n, k) = rows (n, d) · `weights`ᵀ (k, d) + `bias` (k,): scale and sharpness are folded in.

    `out_of_fold` (n, k): calibrated probabilities of each image from the regression of its own fold, and
    `out_of_fold_logits` before the sharpness; meaningful where `fair` (n,): the image's label has others outside the fold.
    """

    weights: Array
    bias: Array
    sharpness: float
    out_of_fold: Matrix
    out_of_fold_logits: Matrix
    fair: NDArray[np.bool_]
    coordinates: Coordinates


def fit(
    rows: NDArray[np.float32] | Matrix,
    answers: Ints,
    labels: int,
    folds: Ints,
    go_on: Callable[[], None],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> LinearFit:
    """Fit (n, d) rows with (n,) answers 0 … labels − 1; `folds` (n,) as from `folds.fair_folds`.

    Labels have the same total weight, however many images they have. `go_on` is called at every step and may raise.
    """
    n = len(rows)
    coordinates = _principal_coordinates(as_matrix(rows), labels, seed, go_on)
    problem = _Problem(coordinates.rows, answers, labels, _class_weights(answers), go_on)
    count = int(folds.max()) + 1
    outside = folds[:, None] != np.arange(count)[None, :]
    known = _known_labels(answers, labels, folds, count)
    fair = known[folds, answers]

    penalty, start = penalties[0] if len(penalties) == 1 else _FEW_PENALTY, None
    if n > _FEW and len(penalties) > 1:
        sample = np.arange(n) if n <= _CHOOSE_ON else stratified_sample(answers, _CHOOSE_ON, seed)
        tried = count if n * labels <= _MANY else min(_SEARCH_FOLDS, count)
        soft = mild_targets(answers[sample], labels, n)
        search = _PenaltySearch(problem.part(sample), folds[sample], outside[sample, :tried], known, soft)
        penalty, start = search.run(penalties, fair[sample] & (folds[sample] < tried), len(sample) / n)
        start = start if tried == count else None
    models = problem.solve(outside, penalty, start, _ITERATIONS)
    logits = coordinates.rows.like(labels, np.float64)
    for part, batch in coordinates.rows.batches(2 * labels):
        logits.put(part, _held_out(batch, models, folds[part], known))
    final = problem.solve(np.ones((n, 1)), penalty, models.mean(axis=0, keepdims=True), _ITERATIONS)[0]

    def sharpness_of(judged: NDArray[np.bool_], prior: tuple[float, float] | None = None) -> float:
        def part_of(part: slice, batch: Array) -> tuple[Array, Array]:
            go_on()
            return batch[judged[part]], mild_targets(answers[part][judged[part]], labels, n)

        return fit_sharpness_in_parts(logits.map(part_of, 4 * labels), prior)

    sharpness = sharpness_of(fair, _SHARPNESS)
    others = [fair & (folds != fold) for fold in range(count)]  # each fold at the sharpness of the others
    own = np.array([sharpness_of(judged) if judged.any() else 1.0 for judged in others])
    out_of_fold = logits.like(labels, np.float64)
    for part, batch in logits.batches(4 * labels):
        out_of_fold.put(part, softmax(batch * own[folds[part], None]))
    weights = (coordinates.axes @ final[:-1].astype(np.float32)).T * np.float32(sharpness)
    bias = final[-1] * sharpness - weights.astype(np.float64) @ coordinates.mean.astype(np.float64)
    return LinearFit(weights, bias, sharpness, out_of_fold, logits, fair, coordinates)


def stratified_sample(answers: Ints, size: int, seed: int) -> Ints:
    """Return ascending indices of about `size` images, labels in proportion but at least two (or all) of each."""
    order = np.random.default_rng(seed).permutation(len(answers))
    counts = np.bincount(answers)
    wanted = np.maximum(np.round(counts * size / len(answers)), 2)
    rank = np.empty(len(answers), int)
    for label in range(len(counts)):
        members = order[answers[order] == label]
        rank[members] = np.arange(len(members))
    return np.flatnonzero(rank < wanted[answers])


class _Problem(NamedTuple):
    """Rows (n, r) with answers (n,) 0 … labels − 1 and base weights (n,)."""

    rows: Matrix
    answers: Ints
    labels: int
    weights: Array
    go_on: Callable[[], None]

    def part(self, index: Ints) -> "_Problem":
        return _Problem(
            Matrix(self.rows.take(index)), self.answers[index], self.labels, self.weights[index], self.go_on
        )

    def solve(self, included: Array, penalty: float, start: Array | None, iterations: int) -> Array:
        """Return (m, r + 1, k): m regressions, each of the images `included` (n, m); the last row is the bias.

        Minimizes Σ weight · cross-entropy + penalty / 2 · |W|² by L-BFGS, in coordinates scaled by half of Böhning's (1992)
        bound of the curvature, so that some fifteen iterations suffice. `start` as returned.
        """
        from scipy.optimize import fmin_l_bfgs_b

        (n, r), k, m = self.rows.shape, self.labels, included.shape[1]
        weights = np.asarray(self.weights.astype(np.float32)[:, None] * included, np.float32)
        share = float(weights.mean())
        energy = np.zeros(r)
        for _, batch in self.rows.batches():
            self.go_on()
            energy += np.einsum("ij,ij->j", batch, batch, dtype=np.float64)
        scale = (1 / np.sqrt(energy * share / 4 + penalty)).astype(np.float32)
        unit = np.float32(1 / np.sqrt(n * share / 4 + 1e-3))
        parts = self.rows.map(
            lambda part, batch: (part, np.concatenate([batch * scale, np.full((len(batch), 1), unit)], axis=1)), m * k
        )
        cost = np.append(penalty * scale.astype(np.float64) ** 2, 0.0)[None, :, None]

        def loss(point: Array) -> tuple[float, Array]:
            model = point.reshape(m, r + 1, k)
            spread = model.astype(np.float32).transpose(1, 0, 2).reshape(r + 1, m * k)
            total, slope = 0.0, np.zeros((r + 1, m * k))
            for part, scaled in parts:
                self.go_on()
                weight, own = weights[part], (np.arange(len(scaled)), slice(None), self.answers[part])
                logits = (scaled @ spread).reshape(len(scaled), m, k)
                logits -= logits.max(axis=2, keepdims=True)
                powers = np.exp(logits)
                sums = powers.sum(axis=2)
                total += float((weight * (np.log(sums) - logits[own])).sum(dtype=np.float64))
                powers *= (weight / sums)[:, :, None]
                powers[own] -= weight
                slope += scaled.T @ powers.reshape(len(scaled), m * k)
            total += 0.5 * float((cost * model * model).sum())
            return total, (slope.reshape(r + 1, m, k).transpose(1, 0, 2) + cost * model).ravel()

        begin = np.zeros((m, r + 1, k))
        if start is not None:
            begin[:, :-1], begin[:, -1] = start[:, :-1] / scale[:, None], start[:, -1] / unit
        found, _, _ = fmin_l_bfgs_b(loss, begin.ravel(), maxiter=iterations, m=8, factr=1e7, pgtol=1e-3 * np.sqrt(n))
        result: Array = found.reshape(m, r + 1, k)
        result[:, :-1] *= scale[:, None]
        result[:, -1] *= unit
        return result


class SubsetFits:
    """Regressions on parts of the same (n, d) rows, judged out of fold on all of them; arguments as those of `fit`."""

    def __init__(
        self,
        rows: NDArray[np.float32],
        answers: Ints,
        labels: int,
        folds: Ints,
        go_on: Callable[[], None],
        seed: int = 0,
    ) -> None:
        coordinates = _principal_coordinates(Matrix(rows), labels, seed, go_on).rows
        self._rows = coordinates.whole()
        self._answers, self._labels, self._folds = answers, labels, folds
        self._problem = _Problem(coordinates, answers, labels, np.ones(len(rows)), go_on)
        self._start: Array | None = None

    def answers(self, kept: NDArray[np.bool_]) -> Ints:
        """Return (n,) answers of regressions fitted on the images `kept` (n,) outside of each image's fold.

        The first call should keep all images: the others start from its regressions.
        """
        count = int(self._folds.max()) + 1
        weights = np.zeros(len(kept))
        weights[kept] = _class_weights(np.unique(self._answers[kept], return_inverse=True)[1])
        outside = (self._folds[:, None] != np.arange(count)[None, :]) * weights[:, None]
        iterations = _ITERATIONS if self._start is None else _SEARCH_ITERATIONS
        models = self._problem.solve(outside, _FEW_PENALTY, self._start, iterations)
        self._start = models if self._start is None else self._start
        known = np.zeros((count, self._labels), bool)
        for fold in range(count):
            known[fold, self._answers[kept & (self._folds != fold)]] = True
        found: Ints = _held_out(self._rows, models, self._folds, known).argmax(axis=1)
        return found


class _PenaltySearch(NamedTuple):
    """Data that the penalty is chosen on: `outside` (n, tried folds), `known` (folds, k), `soft` targets (n, k)."""

    problem: _Problem
    folds: Ints
    outside: Array
    known: Array
    soft: Array

    def run(self, penalties: Sequence[float], judged: Array, share: float) -> tuple[float, Array | None]:
        """Return the penalty of least cross-entropy out of fold on `judged` images, and its regressions.

        Goes through the penalties until the cross-entropy grows. `share`: of all images that are here.
        """
        best, found, kept, start = np.inf, _FEW_PENALTY, None, None
        soft = self.soft[judged]
        for penalty in penalties:
            start = self.problem.solve(self.outside, penalty * share**0.5, start, _SEARCH_ITERATIONS)
            logits = _held_out(self.problem.rows.whole(), start, self.folds, self.known)[judged]
            probabilities = softmax(logits * fit_sharpness(logits, soft))
            loss = float(-np.mean(np.sum(soft * np.log(np.maximum(probabilities, 1e-12)), axis=1)))
            loss += float(np.log10(penalty / _FEW_PENALTY)) ** 2 * _PRIOR / len(self.folds)
            if loss > best + 1e-3:
                break
            if loss < best:
                best, found, kept = loss, penalty, start
        return found, kept


def _principal_coordinates(rows: Matrix, labels: int, seed: int, go_on: Callable[[], None]) -> Coordinates:
    """Principal coordinates of (n, d) rows; the axes from a sample of at most _AXES_FROM."""
    rank = rank_of(len(rows), labels)
    mean, scale = _scales(rows)
    chosen = np.random.default_rng(seed).permutation(len(rows))[:_AXES_FROM]
    sample = rows.take(np.sort(chosen))
    standard = np.asarray((sample - mean) / scale, np.float32)
    standard -= standard.mean(axis=0)
    if len(standard) <= standard.shape[1]:
        lengths, vectors = _largest_eigenvalues(standard @ standard.T, rank)
        axes = standard.T @ (vectors / np.sqrt(lengths)).astype(np.float32)
    else:
        axes = _largest_eigenvalues(standard.T @ standard, rank)[1]
    axes = np.asarray(axes, np.float32) / scale[:, None]
    center = mean @ axes
    found = rows.like(axes.shape[1], np.float32)
    for part, batch in rows.batches():
        go_on()
        found.put(part, batch @ axes - center)  # no copy of the rows
    return Coordinates(found, mean, axes)


def rank_of(images: int, labels: int) -> int:
    """Return the number of principal coordinates that are kept, at most."""
    return int(np.clip(_WORK / (images * labels), *_RANK))


def _scales(rows: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (d,) and scale (d,) for a total variance of _VARIANCE.

    One scale for all dimensions where the embeddings have one length, as their dimensions are then weighted already (the
    built-in encoder's); else one for each dimension, shrunk towards the common one, as few images determine it badly.
    """
    sums, squares, lengths = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), np.empty(len(rows))
    for part, batch in rows.batches():
        sums += batch.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ij,ij->j", batch, batch, dtype=np.float64)
        lengths[part] = np.sqrt(np.einsum("ij,ij->i", batch, batch, dtype=np.float64))
    average = sums / len(rows)
    mean, variance = average.astype(np.float32), np.maximum(squares / len(rows) - average**2, 0).astype(np.float32)
    total = max(float(variance.sum(dtype=np.float64)), 1e-30)
    if lengths.std() <= _UNIFORM * lengths.mean():
        return mean, np.full_like(mean, np.sqrt(total / _VARIANCE))
    shrunk = (len(rows) * variance + _COMMON * variance.mean()) / (len(rows) + _COMMON)
    scale = np.sqrt(np.maximum(shrunk, 1e-30))
    return mean, np.asarray(scale * np.sqrt(float((variance / scale**2).sum()) / _VARIANCE), np.float32)


def _largest_eigenvalues(gram: Array, rank: int) -> tuple[Array, Array]:
    """At most `rank` eigenvalues and vectors of a symmetric matrix, ascending, without those that are nearly 0."""
    from scipy.linalg import eigh

    size = len(gram)
    values, vectors = eigh(gram, subset_by_index=(max(0, size - rank), size - 1), overwrite_a=True, check_finite=False)
    kept = values > max(float(values[-1]), 1e-9) * 1e-5
    kept[-1] |= not kept.any()
    return np.maximum(values[kept], 1e-9), vectors[:, kept]


def _class_weights(answers: Ints) -> Array:
    """(n,) weights with mean 1, inversely proportional to the number of images of the label."""
    weights = 1 / np.bincount(answers)[answers]
    return np.asarray(weights / weights.mean())


def _known_labels(answers: Ints, labels: int, folds: Ints, count: int) -> NDArray[np.bool_]:
    """(folds, k): whether the label has images outside the fold."""
    known = np.zeros((count, labels), bool)
    for fold in range(count):
        known[fold, answers[folds != fold]] = True
    return known


def _held_out(rows: Array, models: Array, folds: Ints, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, k) logits, each image's from the model of its own fold; 0 for folds without a model."""
    logits = np.zeros((len(rows), models.shape[2]))
    for fold, model in enumerate(models):
        held = folds == fold
        found = rows[held].astype(np.float64) @ model[:-1] + model[-1]
        if len(found) and known[fold].any():
            found[:, ~known[fold]] = found[:, known[fold]].min(axis=1, keepdims=True) + _UNSEEN
        logits[held] = found
    return logits


SHARES: Final = (0.25, 0.5)
"""Shares of a label's images that the regression is fitted with, beside all of them."""
_REPEATS: Final = 2
"""Random choices of the images for each share."""
_FOLDS: Final = 4
_FEWEST: Final = 4
"""Images a label needs for a curve of its own."""
_EXPONENT_PRIOR: Final = 10.0
"""Errors that the exponent of all labels counts as beside a label's own."""
_OTHERS_PRIOR: Final = 20.0
"""The same for the change of the others' errors, whose prior is none."""
_STEEPEST: Final = 1.0
"""Largest exponent; measured ones are .1 to .7."""


@dataclass(frozen=True, slots=True)
class LabelEstimate:
    """Estimate for one label with `count` images: `accuracy` now and `accuracy_then`, with more of its images, and the
    `gain` of the accuracy on all images, as shares. `measured`: by a curve of its own, not only that of the other labels.
    """

    label: str
    count: int
    accuracy: float
    accuracy_then: float
    gain: float
    measured: bool


@dataclass(frozen=True, slots=True)
class Estimates:
    """Estimates in the order of the labels, and their basis: the numbers of images and of fits."""

    labels: tuple[LabelEstimate, ...]
    images: int
    fits: int


def forecast(
    embeddings: NDArray[Any],
    labels: Sequence[str],
    counts: Mapping[str, int],
    accuracies: Mapping[str, float],
    more: int,
    *,
    expired: Callable[[], bool] = lambda: False,
    go_on: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Estimates:
    """Estimate the gain by `more` images of each label from (n, d) embeddings and n labels: all images, or a sample.

    `counts` are the numbers of all images by label, `accuracies` those of the classifier, from which the curves are
    continued; labels without one are left out. Near-duplicates are never on both sides of a fold. Once `expired` returns
    True no further curve is measured, the labels with the most errors being first; `go_on` is called between steps and may
    raise.
    """
    from threadpoolctl import threadpool_limits

    rows = np.asarray(embeddings, np.float32)
    names, answers = np.unique(np.asarray(labels, str), return_inverse=True)
    together = sibling_groups(rows, labels, go_on)
    with threadpool_limits(1, "blas"):  # as in head.train
        fits = SubsetFits(rows, answers, len(names), fair_folds(answers, together, _FOLDS, seed), go_on, seed)
        curves = _Curves(fits, answers, len(names), seed)
        curves.measure(expired, go_on)
    result = []
    for at, name in enumerate(names.tolist()):
        if name in accuracies:
            growth = float(np.log((counts[name] + more) / counts[name]))
            error = 1 - accuracies[name]
            then = error * float(np.exp(-curves.exponent(at) * growth))
            share = counts[name] / sum(counts.values())
            gain = (error - then) * share - curves.others_slope(at) * min(growth, -float(np.log(SHARES[0])))
            result.append(LabelEstimate(name, counts[name], 1 - error, 1 - then, gain, at in curves.wrong))
    return Estimates(tuple(result), len(rows), curves.count)


class _Curves:
    """Errors of each label, and of all others, by the share of its images; `wrong[label]` is (own, others) by share."""

    def __init__(self, fits: SubsetFits, answers: Ints, labels: int, seed: int) -> None:
        self._fits = fits
        self._answers = answers
        self._random = np.random.default_rng(seed)
        self._sizes = np.bincount(answers, minlength=labels)
        self._full = fits.answers(np.ones(len(answers), bool)) != answers
        self._shares = np.log(np.array([*SHARES, 1.0]))
        self.wrong: dict[int, tuple[Floats, Floats]] = {}
        self.count = 1

    def measure(self, expired: Callable[[], bool], go_on: Callable[[], None]) -> None:
        errors = np.bincount(self._answers[self._full], minlength=len(self._sizes))
        for label in np.argsort(-errors, kind="stable").tolist():
            if self._sizes[label] < _FEWEST:
                continue
            if expired():
                return
            go_on()
            self.wrong[label] = self._measure(label)

    def _measure(self, label: int) -> tuple[Floats, Floats]:
        own = self._answers == label
        found = np.zeros((2, len(SHARES) + 1))
        for _ in range(_REPEATS):
            order = self._random.permutation(np.flatnonzero(own))
            for at, share in enumerate(SHARES):
                kept = ~own
                kept[order[: max(2, round(share * len(order)))]] = True
                wrong = self._fits.answers(kept) != self._answers
                found[:, at] += wrong[own].sum(), wrong[~own].sum()
                self.count += 1
        found /= _REPEATS
        found[:, -1] = self._full[own].sum(), self._full[~own].sum()
        return found[0], found[1]

    def exponent(self, label: int) -> float:
        """Return the exponent of a label's errors, drawn towards that of all labels."""
        if not self.wrong:
            return 0.0
        total = sum(own for own, _ in self.wrong.values())
        images = sum(int(self._sizes[each]) for each in self.wrong)
        common = self._slope(np.asarray(total), images)
        if label not in self.wrong:
            return common
        own = self.wrong[label][0]
        weight = float(own.mean()) / (float(own.mean()) + _EXPONENT_PRIOR)
        return float(np.clip(weight * self._slope(own, int(self._sizes[label])) + (1 - weight) * common, 0, _STEEPEST))

    def _slope(self, errors: Floats, images: int) -> float:
        slope = -np.polyfit(self._shares, np.log((errors + 0.5) / (images + 1)), 1)[0]
        return float(np.clip(slope, 0, _STEEPEST))

    def others_slope(self, label: int) -> float:
        """Return the growth of the share of all images that are others and answered wrong, per e-fold of the label."""
        if label not in self.wrong:
            return 0.0
        others = self.wrong[label][1]
        weight = float(others.mean()) / (float(others.mean()) + _OTHERS_PRIOR)
        return weight * float(np.polyfit(self._shares, others, 1)[0]) / len(self._answers)
