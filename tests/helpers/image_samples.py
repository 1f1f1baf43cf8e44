"""Odd image files, made here: each function answers bytes."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """A picture in which every corner has a colour of its own: red, green / blue, white; smooth, with a fine grid."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top = x < width // 2, y < height // 2
    pixels[left & top] = (220, 30, 30)
    pixels[~left & top] = (30, 200, 40)
    pixels[left & ~top] = (30, 40, 220)
    pixels[~left & ~top] = (240, 240, 240)
    return Image.fromarray(pixels)


def corners(image: Image.Image) -> list[str]:
    """The names of an upright scene's corner colours, read row by row: r g b w when it is right."""
    names = {"r": (220, 30, 30), "g": (30, 200, 40), "b": (30, 40, 220), "w": (240, 240, 240)}
    width, height = image.size
    seen = []
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            pixel = np.array(image.getpixel((x, y)), float)
            seen.append(min(names, key=lambda name: float(np.abs(pixel - names[name]).sum())))
    return seen


def photo_like(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with noise, as a camera gives."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = random.integers(-8, 9, (height, width, 1), dtype=np.int16)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, extra: Sequence[bytes] = ()) -> bytes:
    """A PNG of raw filtered rows; `colour` 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_bomb(side: int = 50_000) -> bytes:
    """A few hundred kB that say they are `side` × `side` pixels and have the rows for it, black."""
    squeeze = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 1)
    rows = b"".join(squeeze.compress(row * 100) for _ in range(side // 100)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def grey_16_bit() -> bytes:
    """A ramp from black to white with 16 bits a pixel."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    return saved(Image.fromarray(np.tile(ramp, (64, 1))))


def rgb_16_bit() -> bytes:
    """One colour, (200, 100, 50) of 255, with 16 bits a channel."""
    row = b"\0" + struct.pack(">3H", 200 * 257, 100 * 257, 50 * 257) * 32
    return png(32, 32, row * 32, depth=16)


def cmyk_jpeg(adobe: bool) -> bytes:
    """The scene in CMYK, as Adobe writes it (marked and inverted), or as everyone else does."""
    picture = scene().convert("CMYK")
    if adobe:
        return saved(picture, "JPEG", quality=95)
    inverted = Image.frombytes("CMYK", picture.size, bytes(255 - value for value in picture.tobytes()))
    written = saved(inverted, "JPEG", quality=95)
    mark = written.index(b"\xff\xee")
    length = struct.unpack(">H", written[mark + 2 : mark + 4])[0]
    return written[:mark] + written[mark + 2 + length :]


def rotated(orientation: int, kind: str = "JPEG") -> bytes:
    """The scene, stored so that only `orientation` shows it upright."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    picture = scene()
    if orientation in undo:
        picture = picture.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, kind, exif=exif.tobytes(), **({"quality": 95} if kind == "JPEG" else {}))


def animated(kind: str = "GIF") -> bytes:
    """Three frames; the first is the scene."""
    frames = [Image.new("RGB", (320, 240), colour) for colour in ("black", "yellow")]
    return saved(scene(), kind, save_all=True, append_images=frames, duration=100)


def with_profile(profile: bytes, image: Image.Image | None = None, kind: str = "JPEG") -> bytes:
    return saved(image or scene(), kind, icc_profile=profile)


def swapped_profile() -> bytes:
    """A working RGB profile in which red and green have changed places: who uses it shows the scene's top row swapped.

    (The tags' names in the profile's table of contents are exchanged.)
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "ABCD".encode("utf-16-be")).replace(b"sRGB", b"ABCD")


def many_scans(scans: int) -> bytes:
    """A JPEG whose last scan is there `scans` times."""
    data = saved(scene(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def motion_photo() -> bytes:
    """The scene as a phone keeps it: a film of 2 MB behind the JPEG's end, with bytes that look like scans in it."""
    film = struct.pack(">I4s4s", 24, b"ftyp", b"isom") + bytes(12) + b"\xff\xda\x00\x08" * 500_000
    return saved(scene(), "JPEG", quality=95) + film


def tiff(
    directories: Sequence[dict[int, int | tuple[int, ...] | bytes]], *, start: bytes = b"II*\0", blobs: bytes = b""
) -> bytes:
    """A TIFF of several directories: the first at the front, the others as its sub-images (330); `blobs` lie at 8.

    Numbers are LONG, bytes are ASCII.
    """
    body = bytearray(start + bytes(4) + blobs)

    def add(tags: dict[int, int | tuple[int, ...] | bytes]) -> int:
        entries = []
        for tag, value in sorted(tags.items()):
            values = (value,) if isinstance(value, int) else value
            data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}I", *values)
            kind = 2 if isinstance(values, bytes) else 4
            if len(data) > 4:
                place = len(body)
                body.extend(data)
                data = struct.pack("<I", place)
            entries.append(struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0"))
        place = len(body)
        body.extend(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
        return place

    below = tuple(add(tags) for tags in directories[1:])
    first = add(dict(directories[0]) | ({330: below} if below else {}))
    body[4:8] = struct.pack("<I", first)
    return bytes(body)


def raw_photo(make: bytes = b"NIKON", preview: tuple[int, int] | None = (640, 480), *, dng: bool = False) -> bytes:
    """A raw photo: thumbnail of 96 × 72 as the first image, the sensor's values, and a JPEG of the scene as a preview."""
    small = scene(96, 72).tobytes()
    sensor = bytes(2 * 320 * 240)
    jpeg = saved(scene(*preview), "JPEG", quality=90) if preview else b""
    at = 8 + len(small), 8 + len(small) + len(sensor)
    thumb: dict[int, Any] = {
        254: 1, 256: 96, 257: 72, 258: (8, 8, 8), 259: 1, 262: 2, 271: make + b"\0", 273: 8, 277: 3, 278: 72, 279: len(small),
    }  # fmt: skip
    raw: dict[int, Any] = {
        254: 0, 256: 320, 257: 240, 258: 16, 259: 1, 262: 32803, 273: at[0], 277: 1, 278: 240, 279: len(sensor),
        33421: (2, 2),
    }  # fmt: skip
    shown: dict[int, Any] = {254: 1, 259: 6, 262: 6, 513: at[1], 514: len(jpeg)}
    if dng:
        thumb[50706] = b"\1\4\0\0"
    return tiff([thumb, raw, *([shown] if preview else [])], blobs=small + sensor + jpeg)


def planar_tiff(planes: np.ndarray) -> bytes:
    """A TIFF of three color planes, one after the other."""
    count, height, width = planes.shape
    data, size = planes.tobytes(), planes[0].nbytes
    form = {"u": 1, "f": 3}[planes.dtype.kind]
    tags: dict[int, Any] = {
        256: width, 257: height, 258: (8 * planes.dtype.itemsize,) * count, 259: 1, 262: 2, 277: count, 278: height, 284: 2,
        273: tuple(8 + size * plane for plane in range(count)), 279: (size,) * count, 339: (form,) * count,
    }  # fmt: skip
    return tiff([tags], blobs=data)


def deep_tiff(values: np.ndarray, *, white_is_zero: bool = False, nodata: bytes = b"") -> bytes:
    """A TIFF of numbers of any kind, uncompressed; gray or RGB. `nodata` is GDAL's text of the number for none."""
    samples = values.shape[2] if values.ndim == 3 else 1
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    height, width = values.shape[:2]
    data = values.tobytes()
    tags: dict[int, Any] = {
        256: width, 257: height, 258: (8 * values.dtype.itemsize,) * samples, 259: 1,
        262: 2 if samples == 3 else int(not white_is_zero), 273: 8,
        277: samples, 278: height, 279: len(data), 339: (form,) * samples,
    }  # fmt: skip
    return tiff([tags | ({42113: nodata} if nodata else {})], blobs=data)
