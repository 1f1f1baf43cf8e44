"""Draws the sample set's images: coats of different zebras, from the recipe in resources/sample."""

from collections.abc import Iterator
from dataclasses import dataclass

NAME = "Zebra coats"
"""What the sample training set is called."""


@dataclass(frozen=True, slots=True)
class SampleImage:
    """A drawn picture: its label, a file name, and JPEG bytes."""

    label: str
    filename: str
    data: bytes


def training_images() -> Iterator[SampleImage]:
    """The images of the sample training set; the same every time."""
    raise NotImplementedError


def held_out_images() -> Iterator[SampleImage]:
    """A few more that are not in the training set, to drop on the classify panel."""
    raise NotImplementedError
