"""The clothing photos, encoded once for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.images import open_upright


@dataclass(frozen=True)
class Part:
    """One part of the photos: files, their labels (n,) and embeddings (n, d)."""

    files: list[Path]
    labels: NDArray[np.str_]
    embeddings: NDArray[np.float32]

    def only(self, *labels: str, each: int) -> tuple[NDArray[np.float32], list[str]]:
        """The first `each` embeddings of some labels."""
        index = np.concatenate([np.flatnonzero(self.labels == label)[:each] for label in labels])
        return self.embeddings[index], [str(label) for label in self.labels[index]]


@dataclass(frozen=True)
class Clothing:
    train: Part
    test: Part


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="session")
def clothing(photos: Path, encoder: Encoder) -> Clothing:
    def part(name: str) -> Part:
        files = sorted((photos / name).glob("*/*.jpg"))
        images = (open_upright(file.read_bytes(), encoder.shorter_side) for file in files)
        encoded = [encoder.encode([image]) for image in images]
        labels = np.array([file.parent.name for file in files])
        return Part(files, labels, np.concatenate(encoded))

    return Clothing(part("train"), part("test"))
