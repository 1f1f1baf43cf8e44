"""Conversion of pixel formats and ICC profiles to 8-bit sRGB."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageChops, ImageCms, TiffImagePlugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAND = 512
"""Rows converted at a time, so that a whole image is not held twice."""
_TOPS_16: Final = (255.0, 1023.0, 4095.0, 16383.0, 32767.0, 65535.0)
"""White of 8, 10, 12, 14, 15 (with a sign) and 16 bits, which cameras, scanners and microscopes all keep in 16."""
_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
"""Tags of TIFF 6.0: BitsPerSample; PhotometricInterpretation, 0 where white is 0; SampleFormat, 1 for no sign."""
_TOPS_FLOAT: Final = (1.0, 255.0, 65535.0)


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


def is_darker(image: Image.Image, limit: int) -> bool:
    """Return whether no value of an RGB image reaches `limit`."""
    return not np.array(image.histogram()).reshape(-1, 256)[:, limit:].any()


def brightened(data: bytes) -> Image.Image | None:
    """Return a 16-bit PNG or TIFF whose values use 10, 12 or 14 bits in their own range, in RGB; None for others."""
    values = _decoded(data)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        return None
    values = values[:, :, :3]
    return _scaled(values, 0.0, _top(float(values.max(initial=0)), _TOPS_16))


def deep(data: bytes) -> Image.Image | None:
    """Return a TIFF of a kind that Pillow does not open (floating point, 32 or 64 bits) as L or RGB; None if it cannot be."""
    values = _decoded(data)
    if values is None:
        return None
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] < 3 else values[:, :, :3]
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    return _stretched(values.astype(np.float32), _TOPS_FLOAT if values.dtype.kind == "f" else _TOPS_16)


def _decoded(data: bytes) -> "NDArray[Any] | None":
    """Return the values of a PNG or TIFF in their own depth, by OpenCV, as gray or RGB; None if it cannot read them."""
    import cv2

    cv2.utils.logging.setLogLevel(0)  # it would write to standard error
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is not None and values.ndim == 3 and values.shape[2] >= 3:
        values = values[:, :, [2, 1, 0, *range(3, values.shape[2])]]
    return values


def _from_deep(image: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit and floating-point gray to L; without a known range the values are stretched to 0…255."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode == "I" and tags.get(_BITS, (0,))[0] == 32 and tags.get(_FORMAT, (1,))[0] == 1:
        values = values.view(np.uint32)  # Pillow takes the upper half for negative numbers
    gray = _stretched(values.astype(np.float32), _TOPS_FLOAT if image.mode == "F" else _TOPS_16)
    return ImageChops.invert(gray) if tags.get(_PHOTOMETRIC) == 0 else gray


def _stretched(values: "NDArray[np.float32]", tops: Sequence[float]) -> Image.Image:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    return _scaled(values, *((low, high) if low < 0 else (0.0, _top(high, tops))))


def _top(high: float, tops: Sequence[float]) -> float:
    """Return the white that values up to `high` are meant for: the least of `tops` that holds them."""
    return next((top for top in tops if high <= top), high)


def _scaled(values: "NDArray[Any]", low: float, high: float) -> Image.Image:
    result = np.empty(values.shape, np.uint8)
    factor = 255 / max(high - low, 1e-12)
    for top in range(0, len(values), _BAND):
        scaled = (values[top : top + _BAND].astype(np.float32) - low) * factor
        result[top : top + _BAND] = np.clip(np.rint(scaled), 0, 255)
    return Image.fromarray(result)


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
