"""Cross-validation folds that keep nearly identical images together."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import Ints

SAME: Final = 0.1
"""Distance, as a share of the embedding's length, up to which two images are the same one.

Measured on clothing photos with the built-in encoder, median and 99 of 100: saved again at quality 85 to 95 .03, .05; at
three quarters of the size .09, .15; the nearest of different photos .43.
"""
SKETCH: Final = 64
"""Numbers that remain of an embedding in the memory: its random projection, which keeps distances within some 10 %."""
NEAR: Final = 0.1
"""Squared distance of siblings, as a share of the usual one between two images of a label.

Measured on 150 clothing photos with the built-in encoder, median and 99 of 100: saved again at quality 85 .002, .004, at 60
.02, .05; three quarters of the size .01, .03, half of it .05, .11; cropped by 2 % on every side .06, .15, by 5 % .13, .31.
Of 179,700 pairs of different photos none is below .1, two are below .19.
"""
_STRETCH: Final = 1.8
"""Factor allowed for the error of a sketch's squared distance, which is 18 % (√(2 / SKETCH))."""
_BLOCK: Final = 128


def sibling_groups(
    embeddings: NDArray[np.float32], labels: Sequence[str], go_on: Callable[[], None] = lambda: None
) -> NDArray[np.intp]:
    """Return for (n, d) embeddings (n,) group numbers: the index of the group's first image.

    Every image of a group is near its first one, so that groups do not grow along chains of slightly different images.
    Sketches find the candidates; 8,000 images take a fifth of a second. `go_on` is called between blocks and may raise.
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
        near = left[start : start + _BLOCK] @ right[start:].T >= limit * _STRETCH / -2
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
    """Squared distance up to which two images are siblings; at least that of an image and its copy."""
    answers = np.unique(np.asarray(labels, str), return_inverse=True)[1]
    order = np.argsort(answers, kind="stable")
    spread, freedom = 0.0, 0
    for members in np.split(order, np.flatnonzero(np.diff(answers[order])) + 1):
        spread += float(embeddings[members].var(axis=0, dtype=np.float64).sum()) * len(members)
        freedom += len(members) - 1
    usual = 2 * spread / max(freedom, 1)
    length: Any = np.einsum("ij,ij->i", embeddings, embeddings).mean(dtype=np.float64)
    return max(NEAR * usual, SAME**2 * float(length))


def fair_folds(answers: Ints, groups: Sequence[int] | Ints, most: int, seed: int) -> Ints:
    """Return (n,) fold numbers 0…: labels spread evenly, each group in one fold.

    There are two to `most` folds, no more than the label with the most groups has. Random by `seed` alone.
    """
    units = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    order = np.argsort(units, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(units[order])) + 1)
    largest = int(np.bincount([answers[member[0]] for member in members]).max())
    folds = max(2, min(most, largest))
    filled = [[0] * (int(answers.max()) + 1) for _ in range(folds)]
    total = [0] * folds
    result = np.zeros(len(answers), np.intp)
    own = answers.tolist()
    shuffled = np.random.default_rng(seed).permutation(len(members)).tolist()
    for index in sorted(
        shuffled, key=lambda index: -len(members[index])
    ):  # the large first, so that the small even out
        member = members[index].tolist()
        label = own[member[0]]
        fold = min((filled[fold][label], total[fold], fold) for fold in range(folds))[2]
        for image in member:
            result[image] = fold
            filled[fold][own[image]] += 1
        total[fold] += len(member)
    return result


@cache
def projection(dimensions: int) -> NDArray[np.float32]:
    """(d, SKETCH) random signs / √SKETCH, the same on every machine (Achlioptas 2003, database-friendly projections)."""
    bits = np.frombuffer(hashlib.shake_256(b"apitorch-desktop").digest(dimensions * SKETCH // 8), np.uint8)
    signs = np.unpackbits(bits).reshape(dimensions, SKETCH).astype(np.float32) * 2 - 1
    return signs / np.float32(np.sqrt(SKETCH))
