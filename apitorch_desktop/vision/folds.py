"""Cross-validation folds that keep nearly identical images together."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.vision.calibration import Ints
from apitorch_desktop.vision.matrix import Matrix, as_matrix

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
_ROWS: Final = 512
_COLUMNS: Final = 8192
"""Images compared at a time, with how many others."""
_GROUPS: Final = 4096


def sibling_groups(
    embeddings: NDArray[np.float32] | Matrix, labels: Sequence[str], go_on: Callable[[], None] = lambda: None
) -> NDArray[np.intp]:
    """Return for (n, d) embeddings (n,) group numbers: the index of the group's first image.

    Every image of a group is near its first one, so that groups do not grow along chains of slightly different images.
    Sketches find the candidates; 8,000 images take a fifth of a second, and the time grows with their square. `go_on` is
    called between blocks and may raise.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # as in head.train
        return _groups(as_matrix(embeddings), labels, go_on)


def _groups(rows: Matrix, labels: Sequence[str], go_on: Callable[[], None]) -> NDArray[np.intp]:
    count = len(rows)
    result = np.full(count, -1, np.intp)
    if not count:
        return result
    limit, mean = _limit(rows, labels, go_on)
    sketches = rows.like(SKETCH + 2, np.float32)
    for part, block in rows.blocks():
        go_on()
        sketch = (block - mean) @ projection(rows.shape[1])
        half = np.einsum("ij,ij->i", sketch, sketch)[:, None] / -2
        sketches.put(part, np.hstack([sketch, half, np.ones_like(half)]))
    beside = [*range(SKETCH), SKETCH + 1, SKETCH]  # product with these columns: distance² / −2
    for start in range(0, count, _ROWS):
        own = sketches.read(slice(start, min(start + _ROWS, count)))
        for first in range(start, count, _COLUMNS):
            go_on()
            others = sketches.read(slice(first, min(first + _COLUMNS, count)))[:, beside]
            near = own @ others.T >= limit * _STRETCH / -2
            for at in range(len(own)) if first == start else np.flatnonzero(near.any(axis=1)).tolist():
                index = start + at
                if result[index] < 0:
                    result[index] = index
                if result[index] == index:
                    candidates = np.flatnonzero(near[at]) + first
                    candidates = candidates[(candidates > index) & (result[candidates] < 0)]
                    result[_within(rows, index, candidates, limit)] = index
    return result


def _within(rows: Matrix, index: int, candidates: Ints, limit: float) -> Ints:
    """Those of the candidates that are within the squared distance `limit` of an image."""
    if not len(candidates):
        return candidates
    image, near = rows.take(np.array([index])), np.zeros(len(candidates), bool)
    for start in range(0, len(candidates), _ROWS):
        apart = rows.take(candidates[start : start + _ROWS]) - image
        near[start : start + _ROWS] = np.einsum("ij,ij->i", apart, apart) <= limit
    return candidates[near]


def _limit(rows: Matrix, labels: Sequence[str], go_on: Callable[[], None]) -> tuple[float, NDArray[np.float32]]:
    """Squared distance up to which two images are siblings, at least that of an image and its copy; and the mean (d,)."""
    names = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    answers = np.fromiter((names[label] for label in labels), np.intp, len(rows))
    sums, energy = np.zeros((len(names), rows.shape[1])), 0.0
    for part, block in rows.blocks():
        go_on()
        order = np.argsort(answers[part], kind="stable")
        found, starts = np.unique(answers[part][order], return_index=True)
        sums[found] += np.add.reduceat(block[order], starts, axis=0, dtype=np.float64)
        energy += float(np.einsum("ij,ij->", block, block, dtype=np.float64))
    counts = np.bincount(answers)
    within = energy - float((np.einsum("ij,ij->i", sums, sums) / counts).sum())
    usual = 2 * max(within, 0.0) / max(len(rows) - len(names), 1)
    return max(NEAR * usual, SAME**2 * energy / len(rows)), (sums.sum(axis=0) / len(rows)).astype(np.float32)


def fair_folds(answers: Ints, groups: Sequence[int] | Ints, most: int, seed: int) -> Ints:
    """Return (n,) fold numbers 0…: labels spread evenly, each group in one fold.

    There are two to `most` folds, no more than the label with the most groups has. Random by `seed` alone.
    """
    units = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    order = np.argsort(units, kind="stable")
    sizes = np.bincount(units)
    ends = np.cumsum(sizes)
    largest = int(np.bincount(answers[order[ends - sizes]]).max())
    folds = max(2, min(most, largest))
    filled = [[0] * (int(answers.max()) + 1) for _ in range(folds)]
    total = [0] * folds
    result = np.zeros(len(answers), np.intp)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    shuffled = shuffled[np.argsort(-sizes[shuffled], kind="stable")]  # the large first, so that the small even out
    for start in range(0, len(shuffled), _GROUPS):  # not all at once, as Python's numbers are large
        part = shuffled[start : start + _GROUPS]
        for size, end in zip(sizes[part].tolist(), ends[part].tolist(), strict=True):
            members = order[end - size : end]
            own = answers[members].tolist()
            fold = min((filled[fold][own[0]], total[fold], fold) for fold in range(folds))[2]
            result[members] = fold
            for label in own:
                filled[fold][label] += 1
            total[fold] += size
    return result


@cache
def projection(dimensions: int) -> NDArray[np.float32]:
    """(d, SKETCH) random signs / √SKETCH, the same on every machine (Achlioptas 2003, database-friendly projections)."""
    bits = np.frombuffer(hashlib.shake_256(b"apitorch-desktop").digest(dimensions * SKETCH // 8), np.uint8)
    signs = np.unpackbits(bits).reshape(dimensions, SKETCH).astype(np.float32) * 2 - 1
    return signs / np.float32(np.sqrt(SKETCH))
