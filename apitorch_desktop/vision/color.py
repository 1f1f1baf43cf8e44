"""From the pixel formats and colour profiles that files carry to 8-bit sRGB."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageCms

_BAND = 512
"""Rows turned at a time where a whole picture would be held twice."""


def opaque(image: Image.Image) -> Image.Image:
    """`image`, loaded, as L, RGB or CMYK of 8 bits in its own colour space; alpha over white."""
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
    """L, RGB or CMYK pixels with the ICC profile of their file (or None) → RGB in sRGB.

    A profile that is broken, or made for other pixels, is not used, as in browsers.
    """
    if isinstance(profile, bytes) and profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            space = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
            if space == "RGB" and "sRGB" in (source.profile.profile_description or ""):
                return pixels.convert("RGB")
            if space == "RGB" or space == pixels.mode:
                matching = pixels if pixels.mode == space else pixels.convert(space)
                turned = ImageCms.profileToProfile(matching, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if turned is not None:
                    return turned
        except (ImageCms.PyCMSError, KeyError, OSError, ValueError, TypeError):
            pass
    return pixels if pixels.mode == "RGB" else pixels.convert("RGB")


def _plain_cmyk(image: Image.Image) -> Image.Image:
    """Pillow takes every CMYK JPEG for one of Adobe's, which are inverted; those without Adobe's mark are not."""
    if image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return ImageChops.invert(image)
    return image


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey as L. Without a known range the values seen are spread over 0…255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and (known := [top for top in _tops(image.mode) if high <= top]):
        low, high = 0.0, known[0]
    grey = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def _tops(mode: str) -> tuple[float, ...]:
    return (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)


def _over_white(image: Image.Image) -> Image.Image:
    """By bands: the picture with and without alpha would else be in memory three times."""
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
