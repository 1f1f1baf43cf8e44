"""Decoding of image bytes to QImages on workers: thumbnails by Qt, whole images by `vision.images`; upright and in sRGB.

PySide holds the interpreter's lock while Qt decodes, scales or converts an image; Pillow releases it. Qt is therefore
used for thumbnails only (1 ms), and larger images are copied in bands, so that the window does not freeze.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_EDGE: Final = 256
"""Pixels of the shorter side of a thumbnail, in the services and the cache."""
_BAND: Final = 1 << 18
"""Pixels copied at a time."""
_SMALLEST_LEVEL: Final = 1 << 20
"""Pixels below which an image needs no smaller copies."""


def from_thumbnail(data: bytes, edge: int) -> QImage:
    """Decode a thumbnail with a shorter side of `edge` pixels, never enlarged. Raises UnreadableImage.

    Thumbnails are already upright and in sRGB. Data that Qt cannot read is passed to `from_image`, which gives a reason.
    """
    image = QImage.fromData(data) if len(data) < 1 << 18 else QImage()
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
    """Decode an image file with a shorter side of `edge` pixels, the longer at most 3 times that. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    return converted(images.shrunk(data, edge))


def fitted(data: bytes, width: int, height: int) -> tuple[QImage, tuple[int, int]]:
    """Decode an image file fitted to a size, never enlarged; return its own size too. Raises UnreadableImage."""
    from PIL import Image

    from apitorch_desktop.vision import images

    info = images.measure(data)
    scale = min(1.0, width / info.width, height / info.height)
    goal = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    image = images.open_upright(data, min(goal) if scale < 1 else None)
    own = (info.width, info.height)
    if scale < 1 and image.size != goal:
        image = image.resize(goal, Image.Resampling.LANCZOS, reducing_gap=2)
    return converted(image), own


def levels(data: bytes) -> list[QImage]:
    """Decode an image file in all its pixels, and repeatedly halved for smaller zooms. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    image = images.open_upright(data)
    result = [converted(image)]
    while image.width * image.height > _SMALLEST_LEVEL:
        image = image.reduce(2)
        result.append(converted(image))
    return result


def converted(image: Image.Image) -> QImage:
    """Convert an RGB image to a QImage."""
    width, height = image.size
    result = QImage(width, height, QImage.Format.Format_RGB32)
    pixels, line = memoryview(result.bits()), width * 4
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        band = image.crop((0, top, width, bottom)).convert("RGBA")
        pixels[top * line : bottom * line] = band.tobytes("raw", "BGRA")
    return result
