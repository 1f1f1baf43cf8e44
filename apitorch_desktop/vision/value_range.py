"""Range of numbers to be shown from black to white: that of an image where they fit one, else that of the numbers.

Rasters of the earth, of microscopes and of computations hold metres, degrees or counts, without a word of their range.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TOPS_16: Final = (255.0, 1023.0, 4095.0, 16383.0, 32767.0, 65535.0)
"""White of 8, 10, 12, 14, 15 (with a sign) and 16 bits, which cameras, scanners and microscopes all keep in 16."""
TOPS_FLOAT: Final = (1.0, 255.0)
_DARK: Final = 1 / 4
"""Part of a white that the largest number exceeds, if the white is the one that is meant: it has two bits fewer else."""
_CERTAIN: Final = 255.0
"""White up to which a photo has it for certain: those between it and the last one are guessed from the largest number."""
_FEW_TONES, _FEW_HIGH_TONES = 1 / 4, 1 / 2
"""Part of a larger white that the numbers of a photo span at least; and those of one that has nothing darker than `_DARK`.

Temperatures and heights span less, and say nothing about a white. The last white is that of the file, which a bright photo
may well be near to.
"""
_MOST_FILLS: Final = 2
_LEAST_LEVELS: Final = 32
"""Different numbers of an image that is no drawing of a few tones, the farthest of which may be far from the others."""
_SAMPLE: Final = 2**20
_PERCENTILES: Final = (0.5, 99.5)
_MARGIN: Final = 0.5
"""Part of the distance of the percentiles that a number may lie beyond them, before it counts as an outlier."""


def value_range(values: "NDArray[Any]", tops: Sequence[float]) -> tuple[float, float]:
    """Return the numbers for black and white; `values` are finite, and `tops` the whites that images have.

    A number farther from all others than those are from each other is a fill for pixels without one (-9999, 1e20).
    """
    if not values.size:
        return 0.0, 1.0
    known = _known(values, tops)
    if known and known[1] <= _CERTAIN:
        return known
    step = max(1, values.size // _SAMPLE)
    seen = values.reshape(-1)[:: step + (step % 3 == 0)]  # no multiple of 3, which would take one color alone
    if known:
        rest = _without_fill(seen)
        if rest.max() < seen.max() or _known(rest, tops):  # the lowest is a fill only if a few high tones are left
            return known
        seen = rest
    for _ in range(_MOST_FILLS):
        rest = _without_fill(seen)
        if rest.size == seen.size:
            break
        seen = rest
        if known := _known(seen, tops):
            return known
    low, high = float(seen.min()), float(seen.max())
    if low == high:
        return min(low, 0.0), max(high, 0.0)
    first, last = map(float, np.percentile(seen, _PERCENTILES))
    margin = (last - first) * _MARGIN
    return (max(low, first - margin), min(high, last + margin)) if margin else (low, high)


def _known(values: "NDArray[Any]", tops: Sequence[float]) -> tuple[float, float] | None:
    low, high = float(values.min()), float(values.max())
    top = next((top for top in tops if high <= top), None)
    if top is None or low < 0:
        return None
    if low == high:
        return 0.0, top
    least = _FEW_HIGH_TONES if low > top * _DARK and top != tops[-1] else _FEW_TONES
    has_tones = top <= _CERTAIN or high - low >= top * least
    return (0.0, top) if top * _DARK < high and has_tones else None


def _without_fill(values: "NDArray[Any]") -> "NDArray[Any]":
    low, high = float(values.min()), float(values.max())
    above = values[values > low]
    if above.size and high - (least := float(above.min())) < least - low and _has_tones(above):
        return above
    below = values[values < high]
    if below.size and (most := float(below.max())) - low < high - most and _has_tones(below):
        return below
    return values


def _has_tones(values: "NDArray[Any]") -> bool:
    return np.unique(values).size >= _LEAST_LEVELS
