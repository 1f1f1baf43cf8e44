"""Conversion of pixel formats and ICC profiles to 8-bit sRGB."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageCms

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
