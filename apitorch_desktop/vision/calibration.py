"""Calibration of probabilities: temperature, expected calibration error, confidence words."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]

_BANDS: Final = ((0.90, "very high"), (0.75, "high"), (0.55, "possible"), (0.35, "low"))
"""Accuracy seen in the bands on seven real sets: .96–.99, .71–.85, .49–.67, .41–.51, below .43."""
_COLDEST, _HOTTEST = 0.05, 20.0


def confidence_word(probability: float | None) -> str:
    """Word for a calibrated probability; None is "unknown"."""
    if probability is None:
        return "unknown"
    return next((word for floor, word in _BANDS if probability >= floor), "very low")


def softmax(logits: Floats) -> NDArray[np.float64]:
    """(n, k) → (n, k), rows sum to 1."""
    powers = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def soft_targets(answers: Ints, labels: int) -> NDArray[np.float64]:
    """(n, k): (m + 1) / (m + 2) for the right label of m images, the rest shared out.

    So few images never make certainty (Platt 1999, "Probabilistic outputs for support vector machines", for two labels).
    """
    counts = np.bincount(answers, minlength=labels)[answers]
    right = (counts + 1) / (counts + 2)
    targets = np.repeat(((1 - right) / max(labels - 1, 1))[:, None], labels, axis=1)
    targets[np.arange(len(answers)), answers] = right
    return targets


def fit_temperature(logits: Floats, targets: Floats) -> float:
    """What (n, k) logits are to be divided by for the least cross-entropy with (n, k) targets (Guo et al. 2017).

    The cross-entropy is convex in 1 / temperature: its slope is bisected. 1.0 without images.
    """
    if not len(logits):
        return 1.0
    low, high = np.log(1 / _HOTTEST), np.log(1 / _COLDEST)
    for _ in range(30):
        middle = (low + high) / 2
        slope = np.sum((softmax(logits * np.exp(middle)) - targets) * logits)
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def cross_entropy(probabilities: Floats, targets: Floats) -> float:
    """Mean over the images, in nats."""
    return float(-np.sum(targets * np.log(np.maximum(probabilities, 1e-12))) / max(len(targets), 1))


def calibration_error(probabilities: Floats, answers: Ints, bins: int = 10) -> float:
    """Expected calibration error of the best label's probability, over bins of equal width (Naeini et al. 2015)."""
    if not len(answers):
        return 0.0
    best = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == answers
    place = np.minimum((best * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - best, minlength=bins)
    return float(np.abs(gaps).sum() / len(answers))
