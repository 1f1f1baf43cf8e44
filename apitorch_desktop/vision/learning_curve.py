"""Learning curves of labels: an estimate of the gain by more images of one label, from fits on fewer of them.

For each label the head's regression is fitted with a quarter and with half of its images beside all images of the others,
and judged out of fold on all images. The errors follow a power law of the number of images (Hestness et al. 2017, “Deep
learning scaling is predictable”), which is continued beyond what is there. Few errors determine its exponent badly, so it
is drawn towards that of all labels together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision import linear
from apitorch_desktop.vision.calibration import Floats, Ints
from apitorch_desktop.vision.folds import fair_folds, sibling_groups

SHARES: Final = (0.25, 0.5)
"""Shares of a label's images that the regression is fitted with, beside all of them."""
_REPEATS: Final = 2
"""Random choices of the images for each share."""
_FOLDS: Final = 4
_FEWEST: Final = 4
"""Images a label needs for a curve of its own."""
_PRIOR: Final = 10.0
"""Errors that the exponent of all labels counts as beside a label's own."""
_PRIOR_OTHERS: Final = 20.0
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
        fits = linear.SubsetFits(rows, answers, len(names), fair_folds(answers, together, _FOLDS, seed), go_on, seed)
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

    def __init__(self, fits: linear.SubsetFits, answers: Ints, labels: int, seed: int) -> None:
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
        weight = float(own.mean()) / (float(own.mean()) + _PRIOR)
        return float(np.clip(weight * self._slope(own, int(self._sizes[label])) + (1 - weight) * common, 0, _STEEPEST))

    def _slope(self, errors: Floats, images: int) -> float:
        slope = -np.polyfit(self._shares, np.log((errors + 0.5) / (images + 1)), 1)[0]
        return float(np.clip(slope, 0, _STEEPEST))

    def others_slope(self, label: int) -> float:
        """Return the growth of the share of all images that are others and answered wrong, per e-fold of the label."""
        if label not in self.wrong:
            return 0.0
        others = self.wrong[label][1]
        weight = float(others.mean()) / (float(others.mean()) + _PRIOR_OTHERS)
        return weight * float(np.polyfit(self._shares, others, 1)[0]) / len(self._answers)
