"""Near-duplicate detection: images equal but for size, compression, brightness or a narrow crop.

Candidates are nearest neighbors by coarse brightness pattern or by embedding. Each pair is registered by scale and shift
(Lucas and Kanade 1981; inverse compositional after Baker and Matthews 2004, gain and offset removed), and counts when
the registered images correlate. Work grows with n² only in blocked matrix products; memory grows with n.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

VERSION: Final = 1
"""Version of the method. Increase it with every change of a threshold, pattern or registration: results that were cached
under another version are computed anew."""
SIDE: Final = 48
"""Side of a pattern in pixels, whatever the image's shape."""
ALIKE: Final = 0.98
"""Correlation from which two images are near-duplicates. Measured on the clothing photos: resized or saved again .999,
cropped by 5 % on every side .98 and more (59 of 60), brightened by 30 % .98 (59 of 60), different photos up to .981."""
_DOUBT: Final = 0.005
"""Added to ALIKE where embeddings are given and are not close."""
_COARSE: Final = 16
_PATTERN, _EMBEDDING = 0.15, 0.12
"""Distances (1 − correlation, 1 − cosine) below which a pair is a candidate."""
_NEIGHBORS: Final = 8
"""Candidates per image: the nearest."""
_BLOCK: Final = 512
_BATCH: Final = 128
_STEPS: Final = ((5, 6), (1, 5))
"""(smoothing, iterations), from coarse to fine."""


class DuplicatePair(NamedTuple):
    """Indices of two images and their correlation, ALIKE … 1."""

    first: int
    second: int
    likeness: float


def pattern(image: Image.Image) -> NDArray[np.uint8]:
    """Return the (SIDE, SIDE) brightness pattern of an image or its thumbnail."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def find_near_duplicates(
    patterns: Sequence[NDArray[np.uint8]],
    embeddings: NDArray[Any] | None = None,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> list[DuplicatePair]:
    """Return the pairs (first < second) among n images; `embeddings` (n, d) help with cropped images.

    Returns the pairs found so far when `cancelled()`.
    """
    return _pairs(_ImageList.of(patterns, embeddings), None, cancelled)


def find_matches(
    new: Sequence[NDArray[np.uint8]],
    existing: Sequence[NDArray[np.uint8]],
    new_embeddings: NDArray[Any] | None = None,
    embeddings: NDArray[Any] | None = None,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> list[DuplicatePair]:
    """Return the pairs (index in `new`, index in `existing`)."""
    return _pairs(_ImageList.of(new, new_embeddings), _ImageList.of(existing, embeddings), cancelled)


def group_pairs(pairs: Iterable[DuplicatePair]) -> list[list[int]]:
    """Return the connected groups of images, each ascending, ordered by their first image."""
    parent: dict[int, int] = {}

    def root(image: int) -> int:
        while (upper := parent.setdefault(image, image)) != image:
            parent[image] = image = parent[upper]
        return image

    for pair in pairs:
        low, high = sorted((root(pair.first), root(pair.second)))
        parent[high] = low
    found: dict[int, list[int]] = {}
    for image in sorted(parent):
        found.setdefault(root(image), []).append(image)
    return [found[first] for first in sorted(found)]


@dataclass(frozen=True, slots=True)
class _ImageList:
    """Patterns (n, SIDE, SIDE), their coarse unit vectors, and unit embeddings or None."""

    patterns: NDArray[np.uint8]
    coarse: Array
    embeddings: Array | None

    @classmethod
    def of(cls, patterns: Sequence[NDArray[np.uint8]], embeddings: NDArray[Any] | None) -> "_ImageList":
        stack = np.stack(patterns) if len(patterns) else np.zeros((0, SIDE, SIDE), np.uint8)
        cell = SIDE // _COARSE
        small = stack.reshape(-1, _COARSE, cell, _COARSE, cell).mean(axis=(2, 4), dtype=np.float32)
        flat = small.reshape(len(stack), _COARSE * _COARSE)
        units = None if embeddings is None else _unit(np.asarray(embeddings, np.float32))
        return cls(stack, _unit(flat - flat.mean(axis=1, keepdims=True)), units)


def _unit(rows: Array) -> Array:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.float32(1e-6)), np.float32)


def _pairs(first: _ImageList, second: _ImageList | None, cancelled: Callable[[], bool] | None) -> list[DuplicatePair]:
    found: list[DuplicatePair] = []
    other = second or first
    for left, right in _candidates(first, second):
        for start in range(0, len(left), _BATCH):
            if cancelled and cancelled():
                return found
            a, b = left[start : start + _BATCH], right[start : start + _BATCH]
            alike = likeness(first.patterns[a], other.patterns[b])
            enough = ALIKE + _DOUBT * (_apart(first, other, a, b) > _EMBEDDING * 2 / 3)
            found += [DuplicatePair(int(a[i]), int(b[i]), float(alike[i])) for i in np.flatnonzero(alike >= enough)]
    return sorted(found)


def _candidates(first: _ImageList, second: _ImageList | None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices of candidate pairs, a block of rows at a time."""
    other = second or first
    for start in range(0, len(first.patterns), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance = (1 - first.coarse[rows] @ other.coarse.T) / _PATTERN
        if first.embeddings is not None and other.embeddings is not None:
            np.minimum(distance, (1 - first.embeddings[rows] @ other.embeddings.T) / _EMBEDDING, out=distance)
        if second is None:  # each pair once, no image with itself
            distance[np.tril_indices(len(distance), start, distance.shape[1])] = np.inf
        if distance.shape[1] > _NEIGHBORS:
            far = np.argpartition(distance, _NEIGHBORS - 1, axis=1)[:, _NEIGHBORS:]
            np.put_along_axis(distance, far, np.inf, axis=1)
        left, right = np.nonzero(distance < 1)
        yield left + start, right


def _apart(first: _ImageList, other: _ImageList, a: NDArray[np.intp], b: NDArray[np.intp]) -> Array:
    """Cosine distances of pairs; 0 without embeddings."""
    if first.embeddings is None or other.embeddings is None:
        return np.zeros(len(a), np.float32)
    return np.asarray(1 - np.einsum("md,md->m", first.embeddings[a], other.embeddings[b]), np.float32)


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Array:
    """Return the (m,) correlations −1 … 1 of m registered pairs of patterns (m, SIDE, SIDE).

    Pixels that are clipped in either image are ignored where enough others remain.
    """
    fixed, moving = first.astype(np.float32), second.astype(np.float32)
    placement = np.zeros((len(fixed), 4), np.float32)
    for smoothing, iterations in _STEPS:
        _register(_smooth(fixed, smoothing), _smooth(moving, smoothing), placement, iterations)
    warped, inside = _warp(_smooth(moving, 1), placement)
    fixed = _smooth(fixed, 1)
    weights = _weights(fixed, warped, inside)
    a, b = _normalised(fixed, weights), _normalised(warped, weights)
    agreement = np.einsum("mij,mij->m", a, b)
    return np.where(inside.mean(axis=(1, 2)) > 0.75, agreement, -1).astype(np.float32)


def _register(fixed: Array, moving: Array, placement: Array, iterations: int) -> None:
    """Refine `placement` (m, 4), scale − 1 and shift in pixels of x and y, that maps `moving` onto `fixed`; in place."""
    grid = np.linspace(-1, 1, SIDE, dtype=np.float32)
    down, across = np.gradient(fixed, axis=(1, 2))
    half = np.float32((SIDE - 1) / 2)
    jacobian = np.stack([across * grid * half, down * grid[:, None] * half, across, down], axis=1).reshape(
        len(fixed), 4, -1
    )
    unit = np.array([half, half, 1, 1], np.float32)  # all four in pixels, so that one damping suits them
    jacobian /= unit[None, :, None]
    hessian = jacobian @ jacobian.transpose(0, 2, 1)
    hessian += np.eye(4, dtype=np.float32) * (1e-3 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] + 1e-3)
    solve = np.linalg.inv(hessian)
    for _ in range(iterations):
        warped, inside = _warp(moving, placement)
        weights = _weights(fixed, warped, inside)
        spread = np.sqrt(_moments(fixed, weights)[1])[:, None, None]
        error = (_normalised(warped, weights) - _normalised(fixed, weights)) * spread
        error *= np.sqrt(weights.sum(axis=(1, 2)))[:, None, None]
        step = (solve @ (jacobian @ error.reshape(len(fixed), -1, 1)))[..., 0]
        placement -= np.clip(step, -3, 3) / unit
        np.clip(placement, [-0.2, -0.2, -8, -8], [0.2, 0.2, 8, 8], out=placement)


def _warp(images: Array, placement: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Sample bilinearly; the axes scale separately, so rows and columns are sampled one after the other."""
    half = np.float32((SIDE - 1) / 2)
    grid = np.arange(SIDE, dtype=np.float32) - half
    x = (1 + placement[:, :1]) * grid + placement[:, 2:3] + half
    y = (1 + placement[:, 1:2]) * grid + placement[:, 3:] + half
    inside = ((y >= 0) & (y <= SIDE - 1))[:, :, None] & ((x >= 0) & (x <= SIDE - 1))[:, None, :]
    return np.asarray(_hat(y) @ images @ _hat(x).transpose(0, 2, 1), np.float32), inside


def _hat(positions: Array) -> Array:
    """Bilinear weights (m, SIDE, SIDE) for positions (m, SIDE) on an axis."""
    clipped = np.clip(positions, 0, SIDE - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(clipped[:, :, None] - np.arange(SIDE))), np.float32)


def _weights(fixed: Array, warped: Array, inside: NDArray[np.bool_]) -> Array:
    clear = inside & (fixed > 5) & (fixed < 245) & (warped > 5) & (warped < 245)
    enough = clear.mean(axis=(1, 2)) > 0.25
    return np.where(enough[:, None, None], clear, inside).astype(np.float32)


def _moments(images: Array, weights: Array) -> tuple[Array, Array]:
    total = np.maximum(weights.sum(axis=(1, 2)), 1)
    mean = np.einsum("mij,mij->m", images, weights) / total
    centered = images - mean[:, None, None]
    return mean, np.einsum("mij,mij,mij->m", centered, centered, weights) / total


def _normalised(images: Array, weights: Array) -> Array:
    """Scale to mean 0 and length 1 where the weights are 1; images without contrast become 0."""
    mean, variance = _moments(images, weights)
    total = np.maximum(weights.sum(axis=(1, 2)), 1)
    length = np.where(variance > 4, np.sqrt(variance * total), np.inf)
    return np.asarray((images - mean[:, None, None]) * weights / length[:, None, None], np.float32)


def _smooth(images: Array, times: int) -> Array:
    """Apply a binomial blur with replicated edges."""
    for _ in range(times):
        for axis in (1, 2):
            padded = np.pad(images, [(0, 0), *[(1, 1) if a == axis else (0, 0) for a in (1, 2)]], mode="edge")
            low, high = np.delete(padded, [-1, -2], axis), np.delete(padded, [0, 1], axis)
            images = np.asarray((low + 2 * images + high) / 4, np.float32)
    return images
