"""Calibration of probabilities: temperature, expected calibration error, confidence words."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]

_BANDS: Final = ((0.90, "very high"), (0.75, "high"), (0.55, "possible"), (0.35, "low"))
"""Accuracy in the bands on seven real sets: .96–.99, .71–.85, .49–.67, .41–.51, below .43."""
_SHARPNESS: Final = (0.05, 20.0)
"""Limits of the sharpness."""


def confidence_word(probability: float | None) -> str:
    """Return the word for a calibrated probability; None is "unknown"."""
    if probability is None:
        return "unknown"
    return next((word for floor, word in _BANDS if probability >= floor), "very low")


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return (n, k) probabilities of (n, k) logits."""
    powers = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def mild_targets(answers: Ints, labels: int, images: int | None = None) -> NDArray[np.float64]:
    """Return (n, k) target probabilities: all but 1 / (n + 2) for the right label, the rest for all labels alike.

    `images`: the n of the formula, where these are a part of them.

    So few images never give certainty. Softening by the m images of each label, (m + 1) / (m + 2), makes many labels of few
    images far too uncertain (calibration error .11 in place of .03 on 43 labels of 9).
    """
    spread = 1 / ((len(answers) if images is None else images) + 2)
    return np.asarray(np.eye(labels)[answers] * (1 - spread) + spread / labels)


def fit_sharpness(logits: Floats, targets: Floats, prior: tuple[float, float] | None = None) -> float:
    """Return the factor of (n, k) logits, 1 / temperature (Guo et al. 2017), of least cross-entropy with the targets.

    `prior`: the usual sharpness and the standard deviation of its logarithm, which matter where images are few. The
    cross-entropy is convex in the factor: its derivative is bisected. Returns 1.0 without images and prior.
    """
    if not len(logits) and prior is None:
        return 1.0
    return fit_sharpness_in_parts([(logits, targets)], prior)


def fit_sharpness_in_parts(parts: Iterable[tuple[Floats, Floats]], prior: tuple[float, float] | None = None) -> float:
    """Return what `fit_sharpness` does for all parts together, each logits and targets; gone through 24 times."""
    low, high = (float(np.log(bound)) for bound in _SHARPNESS)
    for _ in range(24):
        middle = (low + high) / 2
        sharpness = np.exp(middle)
        slope = sharpness * sum(
            float(np.sum((softmax(logits * sharpness) - targets) * logits)) for logits, targets in parts if len(logits)
        )
        if prior is not None:
            slope += (middle - np.log(prior[0])) / prior[1] ** 2
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def calibration_error(probabilities: Floats, answers: Ints, bins: int = 10) -> float:
    """Return the expected calibration error of the best label over bins of equal width (Naeini et al. 2015)."""
    if not len(answers):
        return 0.0
    return error_of_best(probabilities.max(axis=1), probabilities.argmax(axis=1) == answers, bins)


def error_of_best(best: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Return the calibration error of (n,) probabilities of the best label, by whether it is `right`."""
    place = np.minimum((best * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - best, minlength=bins)
    return float(np.abs(gaps).sum() / len(best))
