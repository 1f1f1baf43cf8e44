"""Embeddings + labels → classifier: logistic regression, temperature, memory of exact images; confidence words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

MIN_LABELS: Final = 2
MIN_IMAGES: Final = 2
"""Images a label needs to take part in training."""
PREVIEW_ABOVE: Final = 5_000
"""Images above which `train` first hands a quick ridge head to `preview`."""


class TooFewImages(ValueError):  # noqa: N818 - named for what the person is told
    """Fewer than two labels of two images each."""


class TrainingCancelled(Exception):  # noqa: N818 - not an error
    """`cancelled()` answered True."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Cross-validated figures, on images the head had not seen; lists are in the order of `labels`.

    `confusion[i][j]` counts images of label i predicted as label j; `calibration_error` is the expected calibration
    error over ten bins, of probabilities whose temperature was fitted on other folds.
    """

    accuracy: float
    images: int
    folds: int
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    label_accuracy: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float


class Head:
    """A trained classifier. `labels` sorted; `dimensions` of the embeddings it takes. Immutable, thread-safe."""

    labels: tuple[str, ...]
    dimensions: int

    def predict(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """(n, d) or (d,) embeddings → (n, k) calibrated probabilities in the order of `labels`; rows sum to 1."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """A portable file, no pickle."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError when `data` is not a head's."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Training:
    """`out_of_fold` (n, k): calibrated probabilities of each training image from heads that had not seen it."""

    head: Head
    metrics: Metrics
    out_of_fold: NDArray[np.float64]


def train(
    embeddings: NDArray[Any],
    labels: Sequence[str],
    *,
    groups: Sequence[int] | None = None,
    cancelled: Callable[[], bool] | None = None,
    preview: Callable[[Head], None] | None = None,
    seed: int = 0,
) -> Training:
    """Fit a head on (n, d) embeddings and n labels.

    `groups`: images with the same number stay on one side of every fold (near-duplicates). Every label needs
    MIN_IMAGES. Raises TooFewImages, TrainingCancelled, ValueError (shapes, values that are not finite).
    """
    raise NotImplementedError


def confidence_word(probability: float | None) -> str:
    """Word for a calibrated probability; None is "unknown"."""
    if probability is None:
        return "unknown"
    bands = ((0.90, "very high"), (0.75, "high"), (0.55, "possible"), (0.35, "low"))
    return next((word for floor, word in bands if probability >= floor), "very low")
