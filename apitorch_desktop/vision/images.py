"""Safe decoding of image files: verification, upright sRGB images and thumbnails.

Only the formats in `_TRIED` are tried, which excludes decoders that run other programs (EPS); a damaged file is never
decoded in part. Pillow's own limit on pixels stays in force above the one here. All functions are
thread-safe, and decoding, scaling and encoding release the GIL. Decoding 64 megapixels takes up to 0.6 GB, a WebP 1 GB.
"""

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile, UnidentifiedImageError

from apitorch_desktop.utils.errors import UserError

_BAND = 512
"""Rows converted at a time, so that a whole image is not held twice."""


def opaque(image: Image.Image) -> Image.Image:
    """Convert a loaded image to 8-bit L, RGB or CMYK in its own color space; alpha over white."""
    if image.mode == "CMYK":
        return _plain_cmyk(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        return _from_deep(image)
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB")  # P, YCbCr, LAB, HSV, RGBX


def to_srgb(pixels: Image.Image, profile: Any) -> Image.Image:
    """Convert L, RGB or CMYK pixels with the ICC profile of their file (or None) to RGB in sRGB.

    As in browsers, a broken profile or one for another color space is ignored.
    """
    if isinstance(profile, bytes) and profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            space = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
            if space == "RGB" and "sRGB" in (source.profile.profile_description or ""):
                return pixels.convert("RGB")
            if space == "RGB" or space == pixels.mode:
                matching = pixels if pixels.mode == space else pixels.convert(space)
                converted = ImageCms.profileToProfile(
                    matching, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, KeyError, OSError, ValueError, TypeError):
            pass
    return pixels if pixels.mode == "RGB" else pixels.convert("RGB")


def _plain_cmyk(image: Image.Image) -> Image.Image:
    """Undo Pillow's inversion of CMYK JPEGs without Adobe's marker: only Adobe's are stored inverted."""
    if image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return ImageChops.invert(image)
    return image


def _from_deep(image: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit and floating-point gray to L; without a known range the values are stretched to 0…255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and (known := [top for top in _tops(image.mode) if high <= top]):
        low, high = 0.0, known[0]
    gray = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(gray), 0, 255).astype(np.uint8))


def _tops(mode: str) -> tuple[float, ...]:
    return (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)


def _over_white(image: Image.Image) -> Image.Image:
    """Composite over white in bands of rows, so that the image is not in memory three times."""
    canvas = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND):
        box = (0, top, image.width, min(top + _BAND, image.height))
        band = image.crop(box)
        if band.mode == "La":
            band = band.convert("LA")
        if band.mode != "RGBA":
            band = band.convert("RGBA")
        canvas.paste(band.convert("RGB"), box, band.getchannel("A"))
    return canvas


MAX_PIXELS: Final = 64_000_000
MAX_BYTES: Final = 32 * 2**20
THUMBNAIL_SIZE: Final = 256

_TRIED: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_FORMATS: Final = {
    "JPEG": ("JPEG", ".jpg", "image/jpeg"),
    "MPO": (
        "JPEG",
        ".jpg",
        "image/jpeg",
    ),  # Pillow's name for a JPEG followed by others: the first is the image
    "PNG": ("PNG", ".png", "image/png"),
    "GIF": ("GIF", ".gif", "image/gif"),
    "WEBP": ("WebP", ".webp", "image/webp"),
    "BMP": ("BMP", ".bmp", "image/bmp"),
    "TIFF": ("TIFF", ".tif", "image/tiff"),
}
_OTHERS: Final = {
    b"ftypheic": "a HEIC photo", b"ftypheix": "a HEIC photo", b"ftypmif1": "a HEIC photo", b"ftypmsf1": "a HEIC photo",
    b"ftypavif": "an AVIF image", b"ftypavis": "an AVIF image", b"ftypqt": "a film", b"ftypisom": "a film",
    b"ftypmp4": "a film", b"%PDF": "a PDF document", b"%!PS": "a PostScript file", b"8BPS": "a Photoshop document",
    b"<svg": "an SVG drawing", b"PK\x03\x04": "an archive", b"<!doctype html": "a web page", b"<html": "a web page",
    b"\x00\x00\x01\x00": "an icon file", b"\x00\x00\x00\x0cjP": "a JPEG 2000 image", b"\xff\x0a": "a JPEG XL image",
}  # fmt: skip
"""First bytes of unsupported formats, to name them in the error."""
_MAX_SCANS: Final = 100
"""Scans of a JPEG. Each is a pass over all pixels: thousands of them in a small file would keep a core for hours."""
_OVERSAMPLING: Final = 1.5
"""A thumbnail's JPEG is decoded at this many times the pixels wanted: ≥ 45 dB against a full decode (tests/benchmarks)."""
_LONGEST: Final = 3
_QUALITY: Final = 88
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation → the transposition that undoes it (Exif 2.32, tag 0x0112)."""

# Not needed: images above our limit are refused below, and damaged metadata is ignored.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class UnreadableImage(UserError):  # noqa: N818 - named for the condition
    """`str()` is one sentence that names the reason; `too_large` when it is the file's bytes (413, else 400)."""

    def __init__(self, sentence: str, *, too_large: bool = False) -> None:
        super().__init__(sentence)
        self.too_large = too_large


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Size in pixels with orientation applied, and format such as "JPEG", ".jpg", "image/jpeg"."""

    width: int
    height: int
    format: str
    extension: str
    media_type: str


def verify(data: bytes) -> ImageInfo:
    """Decode all of `data` (the first frame of an animation or document) and return its size and format.

    Raises UnreadableImage.
    """
    with _opened(data) as image:
        info = _info(image)
        if info.format == "JPEG":
            image.draft(None, (1, 1))  # every bit is still read, but an eighth of the pixels is made: 5× faster
        image.load()
        return info


def measure(data: bytes) -> ImageInfo:
    """Return size and format from the header alone, which does not detect damaged pixels. Raises UnreadableImage."""
    with _opened(data) as image:
        return _info(image)


def open_upright(data: bytes, at_least: int | None = None) -> Image.Image:
    """Open the first frame as an RGB image: orientation applied, colors in sRGB, alpha over white.

    With `at_least` a JPEG may be decoded at a reduced scale whose shorter side still has that many pixels.
    Raises UnreadableImage.
    """
    with _opened(data) as image:
        smallest = None
        if at_least is not None:
            scale = at_least / min(image.size)
            smallest = (round(image.width * scale), round(image.height * scale))
        return _finish(image, _pixels(data, image, smallest))


def thumbnail(data: bytes, size: int = THUMBNAIL_SIZE) -> bytes:
    """Return an upright sRGB JPEG without a profile: shorter side `size` px, longer at most 3 × that; never enlarged.

    Raises UnreadableImage.
    """
    stream = BytesIO()
    shrunk(data, size).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def shrunk(data: bytes, size: int = THUMBNAIL_SIZE) -> Image.Image:
    """Return the RGB image that `thumbnail` encodes. Raises UnreadableImage."""
    with _opened(data) as image:
        scale = min(1.0, size / min(image.size), _LONGEST * size / max(image.size))
        wanted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        full = image.size
        pixels = _pixels(data, image, (round(wanted[0] * _OVERSAMPLING), round(wanted[1] * _OVERSAMPLING)))
        if pixels.size != wanted:
            pixels = pixels.resize(wanted, Image.Resampling.LANCZOS, box=(0, 0, *_extent(full, pixels.size)))
        return _finish(image, pixels)


@contextmanager
def _opened(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open the header and check it against the limits; whatever Pillow raises becomes UnreadableImage."""
    if not data:
        raise UnreadableImage("The file is empty.")
    if len(data) > MAX_BYTES:
        size, most = len(data) / 2**20, MAX_BYTES // 2**20
        raise UnreadableImage(
            f"The file has {size:,.1f} MiB, and {most} MiB is the most: make it smaller.", too_large=True
        )
    name = "image"
    try:
        with Image.open(BytesIO(data), formats=_TRIED) as image:
            name = _FORMATS[image.format or ""][0]
            _check_size(*image.size)
            if name == "JPEG" and data.count(b"\xff\xda") > _MAX_SCANS:
                raise UnreadableImage("The JPEG is made of far too many layers to be a photo: save it anew.")
            yield image
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(_not_an_image(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(f"The image has more than {MAX_PIXELS // 10**6} megapixels: make it smaller.") from error
    except Exception as error:
        # Pillow's decoders raise whatever a damaged byte leads to: OSError, SyntaxError, struct.error, KeyError …
        if any(word in str(error).lower() for word in ("truncated", "not enough", "unexpected end", "too early")):
            raise UnreadableImage(
                f"The {name} is cut off, only a part of it is there: copy or download it again."
            ) from error
        raise UnreadableImage(f"The {name} is damaged and cannot be decoded: copy or download it again.") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"The image has {width:,} × {height:,} pixels, {width * height / 1e6:,.0f} megapixels, "
            f"and {MAX_PIXELS // 10**6} is the most: make it smaller."
        )


def _not_an_image(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    kind = next(
        (kind for magic, kind in _OTHERS.items() if magic.lower() in (start[: len(magic)], start[4:][: len(magic)])), ""
    )
    if kind:
        return f"It is {kind}, which cannot be read here: save it as a JPEG or PNG."
    return "It is not an image: JPEG, PNG, GIF, WebP, BMP and TIFF can be read."


def _pixels(data: bytes, image: ImageFile.ImageFile, smallest: tuple[int, int] | None) -> Image.Image:
    """Pixels in the file's own color space, as L, RGB or CMYK, alpha over white, orientation not applied.

    A JPEG is reduced by 1/8 … 8/8 as long as it keeps `smallest` (width, height).
    """
    if smallest and image.format in ("JPEG", "MPO"):
        if image.mode in ("RGB", "L") and (fast := _reduced_jpeg(data, image, smallest)):
            return fast
        image.draft(None, smallest)
    image.load()
    return opaque(image)


def _reduced_jpeg(data: bytes, image: ImageFile.ImageFile, smallest: tuple[int, int]) -> Image.Image | None:
    """Decode by simplejpeg, which scales by eighths where Pillow halves; None where it fails, so that Pillow reports why."""
    import simplejpeg

    width, height = (min(side, full) for side, full in zip(smallest, image.size, strict=True))
    try:
        if image.mode == "L":
            return Image.fromarray(simplejpeg.decode_jpeg(data, "GRAY", min_width=width, min_height=height)[:, :, 0])
        return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height))
    except ValueError:
        return None


def _extent(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[float, float]:
    """Part of a reduced JPEG's pixels that the image covers: 500 · 6/8 = 375, but 375 · 6/8 = 281.25 of 282."""
    for eighths in range(1, 8):
        exact = (full[0] * eighths / 8, full[1] * eighths / 8)
        if (math.ceil(exact[0]), math.ceil(exact[1])) == reduced:
            return exact
    return reduced


def _finish(image: ImageFile.ImageFile, pixels: Image.Image) -> Image.Image:
    """Convert the `pixels` of `image` to sRGB and apply its orientation."""
    result = to_srgb(pixels, image.info.get("icc_profile"))
    if (transpose := _UPRIGHT.get(_orientation(image))) is not None:
        result = result.transpose(transpose)
    if result is image:  # its file is closed on return
        result = result.copy()
    result.info.clear()  # its profile and orientation no longer hold
    return result


def _info(image: ImageFile.ImageFile) -> ImageInfo:
    name, extension, media_type = _FORMATS[image.format or ""]
    width, height = image.size
    if name != "TIFF" and _orientation(image) >= 5:  # Pillow rotates a TIFF itself, its size too
        width, height = height, width
    return ImageInfo(width, height, name, extension, media_type)


def _orientation(image: ImageFile.ImageFile) -> int:
    """Return 1…8; 1 when damaged. A loaded TIFF has none, as Pillow has applied it."""
    try:
        value = image.getexif().get(0x0112, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, EOFError, struct.error, UserWarning):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
