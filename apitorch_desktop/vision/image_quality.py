"""How good a picture is, by measures with a source: sharpness, exposure, contrast, noise, blockiness, resolution."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Luma = NDArray[np.float32]
"""Brightness (h, w), 0…255."""


def luma(image: Image.Image) -> Luma:
    """ITU-R 601 brightness of an RGB image."""
    return np.asarray(image.convert("L"), np.float32)


def blur(picture: Luma, window: int = 11) -> float:
    """0 crisp … 1 smooth: how little a picture loses by being blurred once more (Crété-Roffet et al. 2007).

    The worse of both directions. 0 where nothing changes at all: a black picture is not blurred.
    """
    return max(_blur_along(picture, window), _blur_along(picture.T, window))


def _blur_along(picture: Luma, window: int) -> float:
    if picture.shape[0] <= window:
        return 0.0
    middle = window // 2
    steps = np.abs(np.diff(picture, axis=0))[middle : middle + picture.shape[0] - window]
    smooth = np.abs(picture[window:] - picture[:-window]) / np.float32(window)  # the step of a running mean
    kept = np.minimum(steps, smooth).sum(dtype=np.float64)
    total = float(steps.sum(dtype=np.float64))
    return float(kept / total) if total > 1e-3 * steps.size else 0.0


def noise(picture: Luma) -> float:
    """Standard deviation of the noise, in levels (Immerkær 1996), over the calmest tenth of blocks, where no texture is."""
    block = 8
    if min(picture.shape) < 2 * block + 2:
        return 0.0
    p = picture
    edges = (
        p[:-2, :-2]
        + p[:-2, 2:]
        + p[2:, :-2]
        + p[2:, 2:]
        - 2 * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
    )
    responses = np.abs(edges + 4 * p[1:-1, 1:-1])
    clipped = (p[1:-1, 1:-1] < 4) | (p[1:-1, 1:-1] > 251)  # no noise is left where the camera has cut it off
    rows, columns = (side // block * block for side in responses.shape)
    shape = (rows // block, block, columns // block, block)
    blocks = responses[:rows, :columns].reshape(shape).mean(axis=(1, 3)).ravel()
    usable = blocks[clipped[:rows, :columns].reshape(shape).mean(axis=(1, 3)).ravel() < 0.1]
    if not len(usable):
        return 0.0
    return float(np.sqrt(np.pi / 2) / 6 * np.sort(usable)[: max(1, len(usable) // 10)].mean())


def blockiness(picture: Luma) -> float:
    """How much larger steps are on an 8 × 8 grid than off it, 0 = not (after Wang, Sheikh and Bovik 2002).

    At native size only. The grid may lie anywhere: a turned or cropped JPEG keeps its blocks.
    """
    return max(_grid(np.abs(np.diff(picture, axis=1))), _grid(np.abs(np.diff(picture, axis=0)).T))


def _grid(steps: NDArray[Any]) -> float:
    """The steps of columns, folded by eight: the largest against the middle."""
    columns = steps.mean(axis=0, dtype=np.float64)
    usable = len(columns) // 8 * 8
    if usable < 32:
        return 0.0
    phases = np.median(columns[:usable].reshape(-1, 8), axis=0)
    return max(0.0, float(phases.max() / max(float(np.median(phases)), 0.25)) - 1)


def exposure(picture: Luma) -> tuple[float, float, float]:
    """Mean brightness 0…1, share of (almost) black pixels, share of (almost) white ones."""
    return float(picture.mean()) / 255, float((picture < 6).mean()), float((picture > 249).mean())


def levels(picture: Luma, *shares: float) -> list[float]:
    """Brightness 0…1 below which these shares of the pixels lie, ascending or not."""
    counts = np.bincount(picture.astype(np.uint8).ravel(), minlength=256).cumsum()
    return [float(np.searchsorted(counts, share * counts[-1])) / 255 for share in shares]


def contrast(picture: Luma) -> float:
    """Distance of the 5th and the 95th percentile of brightness, 0…1."""
    low, high = levels(picture, 0.05, 0.95)
    return high - low
