"""Linear classifiers fitted on embeddings: logistic regression along a path of penalties, and ridge for a quick start."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import Ints

_COMMON = 5


class LinearModel(NamedTuple):
    """logits (n, k) = rows (n, d) · `weights`ᵀ (k, d) + `bias` (k,): standardisation is folded in."""

    weights: NDArray[Any]
    bias: NDArray[Any]

    def logits(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n, d) → (n, k)."""
        return np.asarray(rows @ self.weights.T + self.bias, np.float64)


def logistic(
    rows: NDArray[np.float32], answers: Ints, strengths: Sequence[float], go_on: Callable[[], None]
) -> Iterator[LinearModel]:
    """A multinomial logistic regression for each C of `strengths`, ascending, each begun where the last one ended.

    `answers` are 0 … k-1, each there at least once. With fewer images than dimensions the fit is made in the space the images
    span, which gives the same solution (the penalty does not change by turning) in less time. `go_on` may raise.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Within float32's precision of the best a line search may give up: what it has is as good.
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    mean, scale, standard = _standardised(rows)
    turned, back = _turned(standard) if len(rows) < rows.shape[1] else (standard, None)
    labels = int(answers.max()) + 1
    model = LogisticRegression(warm_start=True, max_iter=1000)
    for strength in strengths:
        go_on()
        if labels == 1:
            yield LinearModel(np.zeros((1, rows.shape[1])), np.zeros(1))
            continue
        model.set_params(C=strength).fit(turned, answers)
        weights, bias = model.coef_, model.intercept_
        if labels == 2:  # scikit-learn fits one row for two labels
            weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        yield _folded(weights if back is None else weights @ back, bias, mean, scale)


def ridge(rows: NDArray[np.float32], answers: Ints, penalty: float) -> LinearModel:
    """Least squares on one column a label; `penalty` is a share of the number of images. Logits are uncalibrated."""
    mean, scale, standard = _standardised(rows)
    share = np.bincount(answers) / len(answers)
    targets = (np.eye(len(share), dtype=np.float32)[answers] - share).astype(np.float32)
    gram = standard.T @ standard
    gram[np.diag_indices_from(gram)] += np.float32(penalty * len(rows))
    weights = np.linalg.solve(gram.astype(np.float64), (standard.T @ targets).astype(np.float64)).T
    return _folded(weights * 10, share * 10, mean, scale)


def _standardised(rows: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """Mean, scale, and rows in that scale. The spread of two or three images says little: the dimensions' common one
    counts as _COMMON images more (measured on 2 × 2 clothing photos: .87 right in place of .82; no change from 3 × 3 on)."""
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    shrunk = (len(rows) * variance + _COMMON * variance.mean()) / (len(rows) + _COMMON)
    scale = np.sqrt(shrunk) if shrunk.max() > 1e-12 else np.ones_like(variance)
    return mean, scale, (rows - mean) / scale


def _turned(standard: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, d) → coordinates (n, r) in the span of the rows, and the way back (r, d)."""
    wide = standard.astype(np.float64)
    lengths, vectors = np.linalg.eigh(wide @ wide.T)
    kept = lengths > max(float(lengths[-1]), 1e-12) * 1e-9
    if not kept.any():
        return np.zeros((len(standard), 1)), np.zeros((1, standard.shape[1]))
    roots = np.sqrt(lengths[kept])
    return vectors[:, kept] * roots, (vectors[:, kept] / roots).T @ wide


def _folded(weights: NDArray[Any], bias: NDArray[Any], mean: NDArray[Any], scale: NDArray[Any]) -> LinearModel:
    plain = weights / scale
    return LinearModel(plain, bias - plain @ mean)
