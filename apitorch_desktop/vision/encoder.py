"""Image → embedding: the built-in network, or an ONNX file of the person's own, run by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class UnusableEncoder(Exception):  # noqa: N818 - named for what the person is told
    """The model file cannot be used as an encoder; `str()` is one sentence that says why."""


class Encoded(NamedTuple):
    """`embeddings` float32 (n, d); `unsafe` float32 (n,) in 0…1, None where the model has no such output."""

    embeddings: NDArray[np.float32]
    unsafe: NDArray[np.float32] | None


class Encoder:
    """A loaded model; thread-safe.

    `name` identifies what it computes (cache embeddings under it), `dimensions` is d, `shorter_side` what
    `images.open_upright(data, at_least=…)` should be asked for.
    """

    name: str
    dimensions: int
    shorter_side: int

    def __init__(self, path: Path | None = None, threads: int = 0) -> None:
        """Load `path`, or the built-in model; `threads` 0 = one a core. Raises UnusableEncoder."""
        raise NotImplementedError

    def encode(self, images: Sequence[Image.Image]) -> Encoded:
        """Embed upright RGB images (any size; none is fine)."""
        raise NotImplementedError
