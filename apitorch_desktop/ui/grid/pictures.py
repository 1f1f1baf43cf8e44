"""From bytes to QImages, on a worker: thumbnails by Qt's fast decoder, whole images by ours, upright and in sRGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_EDGE: Final = 256
"""Pixels of a thumbnail's shorter side, as the services and the cache keep them."""


def from_thumbnail(data: bytes, edge: int) -> QImage:
    """A thumbnail with a shorter side of `edge` pixels, never enlarged. Raises UnreadableImage.

    Thumbnails are upright and in sRGB already. What Qt can't read is tried by our own decoder, which says why it can't.
    """
    image = QImage.fromData(data)
    if image.isNull():
        return from_image(data, edge)
    shorter = min(image.width(), image.height())
    if shorter > edge:
        width, height = (max(1, round(side * edge / shorter)) for side in (image.width(), image.height()))
        image = image.scaled(
            width, height, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
    return image.convertToFormat(QImage.Format.Format_RGB32)


def from_image(data: bytes, edge: int) -> QImage:
    """Any image file with a shorter side of `edge` pixels, the longer at most 3 times that. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    return _converted(images.shrunk(data, edge))


def whole(data: bytes) -> QImage:
    """Any image file in all its pixels. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    return _converted(images.open_upright(data))


def _converted(image: Image.Image) -> QImage:
    pixels = image.convert("RGB").tobytes()
    wrapped = QImage(pixels, image.width, image.height, image.width * 3, QImage.Format.Format_RGB888)
    return wrapped.convertToFormat(QImage.Format.Format_RGB32)  # a copy: `pixels` goes
