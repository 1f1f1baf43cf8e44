"""Near-duplicate detection: images equal but for size, compression, brightness or a narrow crop.

Candidates are nearest neighbors by coarse brightness pattern or by embedding, found in a `NearDuplicateIndex` that grows as
images come. Each pair is registered by scale and shift (Lucas and Kanade 1981; inverse compositional after Baker and Matthews
2004, gain and offset removed), first at half resolution, and counts when the registered images correlate. Work grows with n²
only in blocked matrix products of a few dozen columns; an image takes 1.5 kB of memory.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Ints = NDArray[np.intp]
RowReader = Callable[[Ints], NDArray[Any]]
"""Returns some rows of an array that need not be in memory, by their numbers."""

VERSION: Final = 2
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
_PATTERN, _EMBEDDING = 0.15, 0.06
"""Distances by sketch (1 − correlation, 1 − cosine) below which a pair is a candidate. The latter are some half of the whole."""
_PATTERN_APART, _EMBEDDING_APART = 0.9, 0.24
"""Distances from which a pair is none, although it is close by the other one: copies that are cropped by 5 % or brightened by
30 % have cosines of .89 and more."""
_UNLIKE: Final = 0.08
"""Distance (1 − cosine) by whole embeddings from which a copy has to be more alike."""
_PROMISING: Final = 0.93
"""Correlation at half resolution from which a pair is registered at the full one, also where there is none to be found. All of
171 copies pass, and a fourth of all candidates."""
_NEIGHBORS: Final = 8
"""Candidates per image: the nearest."""
_SHORTLIST: Final = 24
"""Neighbors by sketch, of each kind, among which the candidates are."""
_PATTERN_AXES: Final = 48
"""Low frequencies of the coarse pattern in a sketch, of 255."""
_EMBEDDING_AXES: Final = (64, 256)
"""Principal coordinates of the embedding in a sketch, and those that the short list is ordered by."""
_FITTED, _GROWTH = 2_000, 4
"""Images that the principal axes are computed from, at least; of fewer, they are computed anew once there are four times as
many."""
_BLOCK, _COLUMNS = 256, 4_096
"""Rows and columns of a block of sketches that are compared."""
_BATCH: Final = 128
_STEPS: Final = ((5, 6), (1, 5))
"""(smoothing, iterations), from coarse to fine."""
_HALF_STEPS: Final = ((1, 5),)


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
    index = _index_of(patterns, embeddings)
    return index.compare(0, len(index), cancelled=cancelled)


def find_matches(
    new: Sequence[NDArray[np.uint8]],
    existing: Sequence[NDArray[np.uint8]],
    *,
    cancelled: Callable[[], bool] | None = None,
) -> list[DuplicatePair]:
    """Return the pairs (index in `new`, index in `existing`)."""
    index = _index_of([*existing, *new], None)
    pairs = index.compare(len(existing), len(index), most=len(existing), cancelled=cancelled)
    return sorted(DuplicatePair(pair.second - len(existing), pair.first, pair.likeness) for pair in pairs)


def _index_of(patterns: Sequence[NDArray[np.uint8]], embeddings: NDArray[Any] | None) -> "NearDuplicateIndex":
    stack = np.stack(patterns) if len(patterns) else np.zeros((0, SIDE, SIDE), np.uint8)
    index = NearDuplicateIndex(stack.__getitem__, None if embeddings is None else embeddings.__getitem__)
    index.extend(len(stack))
    return index


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


class _Sketches:
    """Vectors of length 1 in a few coordinates, so that distances are never larger than they are.

    `near` (n, r + 3) are coordinates around a center, the length of the rest and two terms such that the product with that of
    another vector, its last two exchanged, is their cosine − 1, or more; `coordinates` (n, s) are more of them, in half
    precision, with `rests` (n,).
    """

    def __init__(self) -> None:
        self._count = 0
        self._near: Array = np.empty((0, 0), np.float32)
        self._coordinates: NDArray[np.float16] = np.empty((0, 0), np.float16)
        self._rests: Array = np.empty(0, np.float32)

    @property
    def near(self) -> Array:
        """(n, r + 3)."""
        return self._near[: self._count]

    def append(self, coordinates: Array, squares: Array, first: int) -> None:
        """Add coordinates (m, s), of which the `first` count most, and the squared lengths around the center (m,)."""
        leading = coordinates[:, :first]
        rest = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", leading, leading), 0))
        half = -squares[:, None] / 2
        near = np.hstack([leading, rest[:, None], half, np.ones_like(half)])
        left = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", coordinates, coordinates), 0))
        end = self._count + len(coordinates)
        if end > len(self._rests):
            self._near, self._coordinates, self._rests = (
                _enlarged(old, new, self._count, max(end, 3 * self._count // 2))
                for old, new in ((self._near, near), (self._coordinates, coordinates), (self._rests, left))
            )
        part = slice(self._count, end)
        self._near[part], self._coordinates[part], self._rests[part] = near, coordinates, left
        self._count = end

    def scan(self, rows: slice, most: int, limit: float) -> list[Ints]:
        """Return for each row the rows before it, and before `most`, that may be nearer than `limit`: at most _SHORTLIST."""
        near = self.near
        block = near[rows]
        far = np.hstack([block[:, :-2], block[:, -1:], block[:, -2:-1]])
        found: list[list[tuple[Ints, Array]]] = [[] for _ in block]
        end = min(rows.stop - 1, most)
        for start in range(0, end, _COLUMNS):
            product = far @ near[start : min(start + _COLUMNS, end)].T
            at, column = np.nonzero(product >= -limit)
            if len(at):
                values, bounds = product[at, column], np.searchsorted(at, np.arange(len(block) + 1))
                column += start
                for row in np.flatnonzero(np.diff(bounds)).tolist():
                    part = slice(bounds[row], bounds[row + 1])
                    found[row].append((column[part], values[part]))
        return [_best(parts, row) for row, parts in enumerate(found, rows.start)]

    def distances(self, first: Ints, second: Ints) -> Array:
        """Return lower bounds (m,) of 1 − cosine of m pairs."""
        apart = self._coordinates[first].astype(np.float32) - self._coordinates[second].astype(np.float32)
        return np.asarray(
            (np.einsum("ij,ij->i", apart, apart) + (self._rests[first] - self._rests[second]) ** 2) / 2, np.float32
        )


def _enlarged(old: NDArray[Any], new: NDArray[Any], count: int, size: int) -> NDArray[Any]:
    """Return a larger array with the first `count` rows of an old one, for rows like the new ones."""
    dtype = old.dtype if old.ndim == new.ndim else new.dtype
    larger = np.empty((size, *new.shape[1:]), dtype)
    if count:
        larger[:count] = old[:count]
    return larger


def _best(parts: list[tuple[Ints, Array]], row: int) -> Ints:
    """Return the columns of the largest values, of those before `row`."""
    if not parts:
        return np.empty(0, np.intp)
    columns = np.concatenate([column for column, _ in parts])
    earlier = columns < row
    columns, values = columns[earlier], np.concatenate([value for _, value in parts])[earlier]
    if len(columns) > _SHORTLIST:
        columns = columns[np.argpartition(-values, _SHORTLIST - 1)[:_SHORTLIST]]
    return columns


class NearDuplicateIndex:
    """Images that new ones are compared with, numbered in the order in which they were added.

    `patterns` and `embeddings` read (m, SIDE, SIDE) and (m, d) by number; of each image only sketches are held.
    """

    def __init__(self, patterns: RowReader, embeddings: RowReader | None = None) -> None:
        self._read_patterns = patterns
        self._read_embeddings = embeddings
        self._patterns = _Sketches()
        self._embeddings = _Sketches()
        self._axes: tuple[Array, Array] = np.empty(0, np.float32), np.empty((0, 0), np.float32)
        self._fitted = 0
        self._count = 0
        self._removed = np.zeros(0, bool)

    def __len__(self) -> int:
        return self._count

    def extend(self, count: int) -> None:
        """Add the next `count` images without a comparison."""
        if not count:
            return
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # as in head.train
            self._extend(count)

    def _extend(self, count: int) -> None:
        first, self._count = self._count, self._count + count
        self._removed = np.concatenate([self._removed, np.zeros(count, bool)])
        for start in range(first, self._count, _COLUMNS):
            rows = np.arange(start, min(start + _COLUMNS, self._count))
            unit = _frequencies(self._read_patterns(rows))
            self._patterns.append(unit, np.einsum("ij,ij->i", unit, unit), _PATTERN_AXES)
        if self._read_embeddings is None:
            return
        if self._fitted < _FITTED and self._count >= _GROWTH * self._fitted:
            self._fit(self._read_embeddings)
            first, self._embeddings = 0, _Sketches()
        center, axes = self._axes
        for start in range(first, self._count, _COLUMNS):
            rows = np.arange(start, min(start + _COLUMNS, self._count))
            apart: Array = _unit(np.asarray(self._read_embeddings(rows), np.float32)) - center
            self._embeddings.append(apart @ axes, np.einsum("ij,ij->i", apart, apart), _EMBEDDING_AXES[0])

    def remove(self, images: Iterable[int]) -> None:
        """Leave images out of later comparisons."""
        self._removed[list(images)] = True

    def compare(
        self, start: int, stop: int, *, most: int | None = None, cancelled: Callable[[], bool] | None = None
    ) -> list[DuplicatePair]:
        """Return the pairs of the images start … stop − 1 with those before them, and before `most`.

        Returns the pairs found so far when `cancelled()`.
        """
        from threadpoolctl import threadpool_limits

        found: list[DuplicatePair] = []
        with threadpool_limits(1, "blas"):  # as in head.train
            for first in range(start, stop, _BLOCK):
                rows = slice(first, min(first + _BLOCK, stop))
                left, right = self._candidates(rows, stop if most is None else most)
                for at in range(0, len(left), _BATCH):
                    if cancelled and cancelled():
                        return sorted(found)
                    found += self._matches(left[at : at + _BATCH], right[at : at + _BATCH])
                if cancelled and cancelled():
                    break
        return sorted(found)

    def _candidates(self, rows: slice, most: int) -> tuple[Ints, Ints]:
        """Return the pairs to register: numbers of the earlier and of the later image."""
        shortlists = [self._patterns.scan(rows, most, _PATTERN)]
        if self._read_embeddings is not None:
            shortlists.append(self._embeddings.scan(rows, most, _EMBEDDING))
        earlier, later = [], []
        for row, parts in enumerate(zip(*shortlists, strict=True), rows.start):
            columns = np.unique(np.concatenate(parts))
            columns = columns[~self._removed[columns]]
            if not len(columns) or self._removed[row]:
                continue
            distance = self._distance(np.full(len(columns), row), columns)
            if len(columns) > _NEIGHBORS:
                nearest = np.argpartition(distance, _NEIGHBORS - 1)[:_NEIGHBORS]
                columns, distance = columns[nearest], distance[nearest]
            columns = columns[distance < 1]
            earlier.append(columns)
            later.append(np.full(len(columns), row))
        nothing = [np.empty(0, np.intp)]
        return np.concatenate(earlier or nothing), np.concatenate(later or nothing)

    def _distance(self, first: Ints, second: Ints) -> Array:
        """Return (m,) distances as shares of the limit, whichever is smaller; infinite for those far apart by either."""
        by_pattern = self._patterns.distances(first, second)
        distance = by_pattern / np.float32(_PATTERN)
        if self._read_embeddings is not None:
            by_embedding = self._embeddings.distances(first, second)
            np.minimum(distance, by_embedding / np.float32(_EMBEDDING), out=distance)
            distance[(by_pattern > _PATTERN_APART) | (by_embedding > _EMBEDDING_APART)] = np.inf
        return distance

    def _matches(self, first: Ints, second: Ints) -> list[DuplicatePair]:
        """Return the near-duplicates among pairs."""
        one, other = self._read_patterns(first), self._read_patterns(second)
        rough = _agreement(_halved(one), _halved(other), _HALF_STEPS)
        promising = (rough >= _PROMISING) | (rough <= 0)
        if not promising.any():
            return []
        first, second = first[promising], second[promising]
        alike = likeness(one[promising], other[promising])
        kept = np.flatnonzero(alike >= ALIKE)
        enough = np.full(len(kept), ALIKE, np.float32)
        if self._read_embeddings is not None and len(kept):
            a, b = (_unit(np.asarray(self._read_embeddings(each[kept]), np.float32)) for each in (first, second))
            enough += np.where(1 - np.einsum("md,md->m", a, b) > _UNLIKE, _DOUBT, 0)
        return [
            DuplicatePair(int(first[at]), int(second[at]), float(alike[at]))
            for at, least in zip(kept.tolist(), enough.tolist(), strict=True)
            if alike[at] >= least
        ]

    def _fit(self, read: RowReader) -> None:
        """Compute the principal axes from images spread over all."""
        rows = _unit(np.asarray(read(np.arange(0, self._count, max(1, self._count // _FITTED))), np.float32))
        center = rows.mean(axis=0)
        apart = rows - center
        start = np.random.default_rng(0).standard_normal((len(apart), min(_EMBEDDING_AXES[1], *apart.shape)))
        axes = np.linalg.qr(apart.T @ start.astype(np.float32))[0]
        for _ in range(2):  # Halko, Martinsson, Tropp 2011, algorithm 4.4
            axes = np.linalg.qr(apart.T @ (apart @ axes))[0]
        variance = np.square(apart @ axes).sum(axis=0)
        self._axes = center, np.ascontiguousarray(axes[:, np.argsort(-variance)])
        self._fitted = self._count


def _frequencies(patterns: NDArray[np.uint8]) -> Array:
    """Return the DCT-II (n, 255) of coarse patterns without the constant, at length 1, the lowest first."""
    cell, cells = SIDE // _COARSE, np.arange(_COARSE)
    small = patterns.reshape(-1, _COARSE, cell, _COARSE, cell).mean(axis=(2, 4), dtype=np.float32)
    cosines = (
        np.cos(np.pi / _COARSE * np.outer(cells, cells + 0.5)) * np.sqrt(np.where(cells == 0, 1, 2) / _COARSE)[:, None]
    )
    basis = np.einsum("ik,jl->klij", cosines, cosines).reshape(_COARSE**2, -1)
    order = np.argsort(np.add.outer(cells**2, cells**2).ravel(), kind="stable")[1:]
    return _unit(small.reshape(len(small), -1) @ basis[:, order].astype(np.float32))


def _unit(rows: Array) -> Array:
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.asarray(rows / np.maximum(length, np.float32(1e-6)), np.float32)


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Array:
    """Return the (m,) correlations −1 … 1 of m registered pairs of patterns (m, SIDE, SIDE).

    Pixels that are clipped in either image are ignored where enough others remain.
    """
    return _agreement(first.astype(np.float32), second.astype(np.float32), _STEPS)


def _halved(patterns: NDArray[np.uint8]) -> Array:
    half = SIDE // 2
    return np.asarray(patterns.reshape(-1, half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32), np.float32)


def _agreement(fixed: Array, moving: Array, steps: Sequence[tuple[int, int]]) -> Array:
    """Return the correlations (m,) of registered images (m, side, side)."""
    placement = np.zeros((len(fixed), 4), np.float32)
    for smoothing, iterations in steps:
        _register(_smooth(fixed, smoothing), _smooth(moving, smoothing), placement, iterations)
    warped, inside = _warp(_smooth(moving, 1), placement)
    fixed = _smooth(fixed, 1)
    weights = _weights(fixed, warped, inside)
    a, b = _normalised(fixed, weights), _normalised(warped, weights)
    agreement = np.einsum("mij,mij->m", a, b)
    return np.where(inside.mean(axis=(1, 2)) > 0.75, agreement, -1).astype(np.float32)


def _register(fixed: Array, moving: Array, placement: Array, iterations: int) -> None:
    """Refine `placement` (m, 4), scale − 1 and shift in pixels of x and y, that maps `moving` onto `fixed`; in place."""
    side = fixed.shape[1]
    grid = np.linspace(-1, 1, side, dtype=np.float32)
    down, across = np.gradient(fixed, axis=(1, 2))
    half = np.float32((side - 1) / 2)
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
        placement -= np.clip(step, -side / 16, side / 16) / unit
        np.clip(placement, [-0.2, -0.2, -side / 6, -side / 6], [0.2, 0.2, side / 6, side / 6], out=placement)


def _warp(images: Array, placement: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Sample bilinearly; the axes scale separately, so rows and columns are sampled one after the other."""
    side = images.shape[1]
    half = np.float32((side - 1) / 2)
    grid = np.arange(side, dtype=np.float32) - half
    x = (1 + placement[:, :1]) * grid + placement[:, 2:3] + half
    y = (1 + placement[:, 1:2]) * grid + placement[:, 3:] + half
    inside = ((y >= 0) & (y <= side - 1))[:, :, None] & ((x >= 0) & (x <= side - 1))[:, None, :]
    return np.asarray(_hat(y) @ images @ _hat(x).transpose(0, 2, 1), np.float32), inside


def _hat(positions: Array) -> Array:
    """Bilinear weights (m, side, side) for positions (m, side) on an axis."""
    side = positions.shape[1]
    clipped = np.clip(positions, 0, side - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(clipped[:, :, None] - np.arange(side))), np.float32)


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
