"""No-reference image quality measures: sharpness, noise, blockiness, exposure and contrast."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Luma = NDArray[np.float32]
"""Brightness (h, w), 0…255."""


def luma(image: Image.Image) -> Luma:
    """Return the ITU-R 601 brightness of an RGB image."""
    return np.asarray(image.convert("L"), np.float32)


def blur(image: Luma, window: int = 11) -> float:
    """Return the blur, 0 (crisp) … 1: how little the image changes when blurred again (Crété-Roffet et al. 2007).

    The larger of both directions; 0 for a constant image.
    """
    return max(_blur_along(image, window), _blur_along(image.T, window))


def _blur_along(image: Luma, window: int) -> float:
    if image.shape[0] <= window:
        return 0.0
    middle = window // 2
    steps = np.abs(np.diff(image, axis=0))[middle : middle + image.shape[0] - window]
    smooth = np.abs(image[window:] - image[:-window]) / np.float32(window)  # steps of the running mean
    kept = np.minimum(steps, smooth).sum(dtype=np.float64)
    total = float(steps.sum(dtype=np.float64))
    return float(kept / total) if total > 1e-3 * steps.size else 0.0


def noise(image: Luma) -> float:
    """Return the standard deviation of the noise in levels (Immerkær 1996), over the tenth of blocks with least texture."""
    block = 8
    if min(image.shape) < 2 * block + 2:
        return 0.0
    p = image
    edges = (
        p[:-2, :-2]
        + p[:-2, 2:]
        + p[2:, :-2]
        + p[2:, 2:]
        - 2 * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
    )
    responses = np.abs(edges + 4 * p[1:-1, 1:-1])
    clipped = (p[1:-1, 1:-1] < 4) | (p[1:-1, 1:-1] > 251)  # clipped pixels have no noise left
    rows, columns = (side // block * block for side in responses.shape)
    shape = (rows // block, block, columns // block, block)
    blocks = responses[:rows, :columns].reshape(shape).mean(axis=(1, 3)).ravel()
    usable = blocks[clipped[:rows, :columns].reshape(shape).mean(axis=(1, 3)).ravel() < 0.1]
    if not len(usable):
        return 0.0
    return float(np.sqrt(np.pi / 2) / 6 * np.sort(usable)[: max(1, len(usable) // 10)].mean())


def blockiness(image: Luma) -> float:
    """Return how much larger steps are on an 8 × 8 grid than off it, from 0 (after Wang, Sheikh and Bovik 2002).

    Meaningful at native size only. The grid may start anywhere, as it does in a rotated or cropped JPEG.
    """
    return max(_grid(np.abs(np.diff(image, axis=1))), _grid(np.abs(np.diff(image, axis=0)).T))


def _grid(steps: NDArray[Any]) -> float:
    """Ratio of the largest to the median mean step among the eight column phases, less 1."""
    columns = steps.mean(axis=0, dtype=np.float64)
    usable = len(columns) // 8 * 8
    if usable < 32:
        return 0.0
    phases = np.median(columns[:usable].reshape(-1, 8), axis=0)
    return max(0.0, float(phases.max() / max(float(np.median(phases)), 0.25)) - 1)


def exposure(image: Luma) -> tuple[float, float, float]:
    """Return the mean brightness 0…1, the share of nearly black pixels and the share of nearly white ones."""
    return float(image.mean()) / 255, float((image < 6).mean()), float((image > 249).mean())


def levels(image: Luma, *shares: float) -> list[float]:
    """Return the brightness quantiles (0…1) at `shares`, in any order."""
    counts = np.bincount(image.astype(np.uint8).ravel(), minlength=256).cumsum()
    return [float(np.searchsorted(counts, share * counts[-1])) / 255 for share in shares]


def contrast(image: Luma) -> float:
    """Return the distance between the 5th and 95th percentile of brightness, 0…1."""
    low, high = levels(image, 0.05, 0.95)
    return high - low
