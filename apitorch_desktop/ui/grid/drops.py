"""What a drag or the clipboard holds, as plain Python: shared by grid, tree, classify panel and the empty window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PySide6.QtCore import QMimeData

IDS_TYPE: Final = "application/x-apitorch-training-images"
"""Mime type of training images dragged inside the program: a JSON list of their ids."""


class Picture(NamedTuple):
    """An image that came as bytes, undecoded, with the name its source gives it or ""."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class DroppedContent:
    """What was dropped or pasted. Nothing here has been looked at on disk or fetched.

    `paths`: files and folders; `urls`: http(s) addresses of pictures, never of the page they were on;
    `pictures`: images that came as bytes; `image_ids`: training images of this program (an internal drag).
    """

    paths: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    image_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.urls or self.pictures or self.image_ids)


def accepts(mime: QMimeData) -> bool:
    """Whether `read` may find something: by formats only, so cheap enough for every move of the pointer."""
    raise NotImplementedError


def read(mime: QMimeData) -> DroppedContent:
    """What it holds; empty (falsy) when nothing of use. Also reads the clipboard's, with URLs pasted as text."""
    raise NotImplementedError


def ids_bytes(image_ids: Sequence[str]) -> bytes:
    """The data of an `IDS_TYPE` drag."""
    raise NotImplementedError
