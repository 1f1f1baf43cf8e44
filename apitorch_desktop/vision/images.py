"""Image files made safe: checks whole files, opens them upright in sRGB, and makes thumbnails."""

from dataclasses import dataclass
from typing import Final

from PIL import Image

MAX_PIXELS: Final = 64_000_000
MAX_BYTES: Final = 32 * 2**20
THUMBNAIL_SIZE: Final = 256


class UnreadableImage(Exception):  # noqa: N818 - named for what the person is told
    """`str()` is one sentence that names the reason; `too_large` when it is the file's bytes (413, else 400)."""

    def __init__(self, sentence: str, *, too_large: bool = False) -> None:
        super().__init__(sentence)
        self.too_large = too_large


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What `verify` saw: pixels as shown (orientation applied), "JPEG", ".jpg", "image/jpeg"."""

    width: int
    height: int
    format: str
    extension: str
    media_type: str


def verify(data: bytes) -> ImageInfo:
    """Decode every frame-0 pixel of `data` and tell what it is. Raises UnreadableImage."""
    raise NotImplementedError


def open_upright(data: bytes, at_least: int | None = None) -> Image.Image:
    """RGB image: orientation applied, colours in sRGB, alpha over white, first frame.

    With `at_least` a JPEG may be decoded at a reduced scale whose shorter side still has that many pixels.
    Raises UnreadableImage.
    """
    raise NotImplementedError


def thumbnail(data: bytes, size: int = THUMBNAIL_SIZE) -> bytes:
    """JPEG bytes, upright, sRGB, no profile: shorter side `size` px, longer at most 3 × that; never enlarged.

    Raises UnreadableImage.
    """
    raise NotImplementedError
