"""From bytes to QImages, on a worker: thumbnails by Qt's decoder, whole images by ours, upright and in sRGB.

PySide keeps the interpreter's lock while Qt decodes, scales or converts an image, Pillow lets it go: so Qt is used on
thumbnails only (1 ms), and what is larger is copied over band by band. Else the window would stand still meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_EDGE: Final = 256
"""Pixels of a thumbnail's shorter side, as the services and the cache keep them."""
_BAND: Final = 1 << 18
"""Pixels copied at a time."""
_SMALLEST_LEVEL: Final = 1 << 20
"""Pixels below which a picture needs no halved copies."""


def from_thumbnail(data: bytes, edge: int) -> QImage:
    """A thumbnail with a shorter side of `edge` pixels, never enlarged. Raises UnreadableImage.

    Thumbnails are upright and in sRGB already. What Qt can't read is tried by our own decoder, which says why it can't.
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
    """Any image file with a shorter side of `edge` pixels, the longer at most 3 times that. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    return converted(images.shrunk(data, edge))


def fitted(data: bytes, width: int, height: int) -> tuple[QImage, tuple[int, int]]:
    """Any image file made to fit a room, never enlarged, and its own size. Raises UnreadableImage."""
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
    """Any image file in all its pixels, then halved again and again, for every zoom. Raises UnreadableImage."""
    from apitorch_desktop.vision import images

    image = images.open_upright(data)
    made = [converted(image)]
    while image.width * image.height > _SMALLEST_LEVEL:
        image = image.reduce(2)
        made.append(converted(image))
    return made


def converted(image: Image.Image) -> QImage:
    """An RGB image as Qt has them."""
    width, height = image.size
    made = QImage(width, height, QImage.Format.Format_RGB32)
    pixels, line = memoryview(made.bits()), width * 4
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        band = image.crop((0, top, width, bottom)).convert("RGBA")
        pixels[top * line : bottom * line] = band.tobytes("raw", "BGRA")
    return made
