"""Siblings: images so near to each other by embedding alone that a fair test keeps them on one side."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.head import SAME, projection

NEAR: Final = 0.1
"""Squared distance of siblings, as a share of what is usual between two images of a label.

Measured on 600 clothing photos with the built-in encoder, median and 99 of 100: saved again at quality 85 .001, .003, at 60
.01, .04; three quarters of the size .006, .02, half of it .05, .14; cropped by 2 % on every side .04, .11, by 5 % .09, .28.
Different photos: 2 of 179,700 pairs are below .1, 8 below .19.
"""
_DOUBT: Final = 1.8
"""What a sketch may stretch a squared distance by: its error is 18 % (√(2 / SKETCH))."""
_BLOCK: Final = 128


def siblings(
    embeddings: NDArray[np.float32], labels: Sequence[str], go_on: Callable[[], None] = lambda: None
) -> NDArray[np.intp]:
    """(n, d) embeddings → (n,) numbers, the same for siblings: the index of the first of them.

    Each is near the first, so that a chain of ever so slightly different images does not become one group. Sketches find
    the candidates; 8,000 images take a fifth of a second. `go_on` is asked between blocks, and may raise.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # as in head.train
        return _groups(embeddings, labels, go_on)


def _groups(embeddings: NDArray[np.float32], labels: Sequence[str], go_on: Callable[[], None]) -> NDArray[np.intp]:
    result = np.full(len(embeddings), -1, np.intp)
    if not len(embeddings):
        return result
    limit = _limit(embeddings, labels)
    sketches = (embeddings - embeddings.mean(axis=0)) @ projection(embeddings.shape[1])
    half = np.einsum("ij,ij->i", sketches, sketches)[:, None] / -2
    ones = np.ones_like(half)
    left, right = np.hstack([sketches, half, ones]), np.hstack([sketches, ones, half])  # product: distance² / −2
    for start in range(0, len(embeddings), _BLOCK):
        go_on()
        near = left[start : start + _BLOCK] @ right[start:].T >= limit * _DOUBT / -2
        for index, candidates in enumerate(near, start):
            if result[index] >= 0:
                continue
            others = np.flatnonzero(candidates) + start
            others = others[(others > index) & (result[others] < 0)]
            apart = embeddings[others] - embeddings[index]
            result[index] = index
            result[others[np.einsum("ij,ij->i", apart, apart) <= limit]] = index
    return result


def _limit(embeddings: NDArray[np.float32], labels: Sequence[str]) -> float:
    """Squared distance up to which two images are siblings; at the least that of an image and its copy."""
    answers = np.unique(np.asarray(labels, str), return_inverse=True)[1]
    order = np.argsort(answers, kind="stable")
    spread, freedom = 0.0, 0
    for members in np.split(order, np.flatnonzero(np.diff(answers[order])) + 1):
        spread += float(embeddings[members].var(axis=0, dtype=np.float64).sum()) * len(members)
        freedom += len(members) - 1
    usual = 2 * spread / max(freedom, 1)
    length: Any = np.einsum("ij,ij->i", embeddings, embeddings).mean(dtype=np.float64)
    return max(NEAR * usual, SAME**2 * float(length))
