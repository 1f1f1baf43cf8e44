"""Safe decoding of image files: verification, upright sRGB images and thumbnails.

Only the formats named here are tried, which excludes decoders that run other programs (EPS); a damaged file is never
decoded in part. Pillow's own limit on pixels stays in force above the one here. All functions are
thread-safe, and decoding, scaling and encoding release the GIL. Decoding 65 megapixels takes up to 0.6 GB, a WebP 1 GB.
"""

import ctypes
import logging
import math
import operator
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageChops,
    ImageCms,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    _imaging,
)

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import plural
from apitorch_desktop.vision.file_kinds import is_text, iso_kind, kind_of, pointer_of, went_through_text
from apitorch_desktop.vision.raw_photos import NoPreview, TiffDirectory, preview, raw_kind, tiff_directories
from apitorch_desktop.vision.repair import (
    JPEG_START,
    MAX_PROFILE,
    PNG_START,
    ended_jpeg,
    fitting_bmp,
    has_line_ends_of_text,
    jpeg_structure,
    plain_png,
    summed_png,
)
from apitorch_desktop.vision.value_range import TOPS_16, TOPS_FLOAT, value_range

MAX_PIXELS: Final = 65_000_000
"""Those of phones called 64 megapixels have up to 64.5 million."""
MAX_BYTES: Final = 32 * 2**20
MAX_RAW_BYTES: Final = 128 * 2**20
"""Bytes of a raw photo, of which only the preview is decoded; a service takes no more than `MAX_BYTES`."""
THUMBNAIL_SIZE: Final = 256

_TRIED: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
_READ: Final = "JPEG, PNG, HEIC, AVIF, GIF, WebP, BMP, TIFF and raw photos"
_FORMATS: Final = {
    "JPEG": ("JPEG", ".jpg", "image/jpeg"),
    "MPO": ("JPEG", ".jpg", "image/jpeg"),  # Pillow's name for a JPEG followed by others: the first is the image
    "PNG": ("PNG", ".png", "image/png"),
    "GIF": ("GIF", ".gif", "image/gif"),
    "WEBP": ("WebP", ".webp", "image/webp"),
    "BMP": ("BMP", ".bmp", "image/bmp"),
    "DIB": ("BMP", ".bmp", "image/bmp"),
    "TIFF": ("TIFF", ".tif", "image/tiff"),
    "AVIF": ("AVIF", ".avif", "image/avif"),
    "HEIC": ("HEIC", ".heic", "image/heic"),
    "HEIF": ("HEIF", ".heif", "image/heif"),
    "JPEG XL": ("JPEG XL", ".jxl", "image/jxl"),
}
"""Name, ending and media type by Pillow's name or ours; those of raw photos are made of their kind."""
UNIVERSAL: Final = frozenset({"JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF"})
"""Formats that every service takes; of others it gets a JPEG, unless it lists the extension `formats`."""
UNIVERSAL_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
"""First bytes of all of these but TIFF, which raw photos begin with too."""
_TIFF_PACKINGS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000})
"""Compressions of a TIFF that libtiff is built with: of others it makes nothing, and some it names on standard error."""
_TIFF_PACKING_NAMES: Final = {
    22610: "JPEG XR", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC",
    34892: "lossy JPEG", 34933: "PNG", 34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_TIFF_PLACES: Final = ((273, 279), (324, 325))
"""Tags of a TIFF: where its strips and tiles begin, and how many bytes they have."""
_MAX_PIXEL: Final = 8
"""Bytes of a pixel of a PNG: four colors of 16 bits."""
_MAX_DEEP_BYTES: Final = 2**28
_AVIF_SIZE: Final = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
"""Width and height of an image or a part of one (ISO/IEC 23008-12, 6.5.3)."""
_JXL_STARTS: Final = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
_DARK: Final = 64
"""Values of 255 below which a 16-bit image may be one of 10, 12 or 14 bits."""
_MAX_SCANS: Final = 100
"""Scans of a JPEG. Each is a pass over all pixels: thousands of them in a small file would keep a core for hours."""
_OVERSAMPLING: Final = 1.45
"""A thumbnail's JPEG is decoded at this many times the pixels wanted: ≥ 45 dB against a full decode (tests/benchmarks)."""
_FASTEST_EIGHTHS: Final = (1, 2, 4)
"""Scales at which libjpeg-turbo decodes by vector instructions; at 5, 6 and 7 eighths it takes longer than for all pixels."""
_SHARPENING: Final = {1: 1 / 24, 2: 1 / 24, 4: 1 / 40}
"""Share of each neighbor that is taken from a pixel, to undo the blur of a reduced decode, by eighths. At an eighth a pixel
is the mean of 8 × 8, whose response sinc(f) ≈ 1 - (πf)²/6 asks for 1/24; the others are measured."""
_FILTERED: Final = (1.3, 3.2)
"""Reductions by which `_resampled` has ≥ 45 dB, and above which Pillow is the faster one."""
_LOBES: Final = 3
_LONGEST: Final = 3
_QUALITY: Final = 88
_CONVERTED_QUALITY: Final = 95
_AS_TEXT: Final = "was damaged by being copied or saved as a text: copy or download it again as it is."
_LONGEST_TEXT: Final = 4096
"""Bytes in which an image is looked for behind a text: a header of HTTP, a warning of a program."""
_SHORTEST: Final = 64
"""Bytes below which a file that begins like an image is none."""
_GIF_HEADER: Final = 13
_MAX_BOXES: Final = 64
_DAMAGED_EXIF: Final = (SyntaxError, ValueError, KeyError, TypeError, OSError, EOFError, struct.error, UserWarning)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation → the transposition that undoes it (Exif 2.32, tag 0x0112)."""

# Not needed: images above our limit are refused below, and damaged metadata is ignored.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a file is an error as well
with suppress(OSError, AttributeError):  # where libtiff is no library of its own, its messages stay
    for _handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        _set_handler = getattr(ctypes.CDLL(_imaging.__file__), _handler)
        _set_handler.argtypes, _set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        _set_handler(None)  # libtiff writes to standard error by itself
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE  # the profile's limit as well; text does not reach Pillow


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


@dataclass(slots=True)
class _Opened:
    """An image whose header was read, and `data`, the bytes it is decoded from. `orientation`: what its file says."""

    image: Image.Image
    data: bytes
    format: tuple[str, str, str]
    orientation: int


def verify(data: bytes) -> ImageInfo:
    """Decode all of `data` (the first frame of an animation or document) and return its size and format.

    Raises UnreadableImage.
    """
    with _opened(data) as opened:
        info = _info(opened)
        if opened.image.format in ("JPEG", "MPO"):
            opened.image.draft(None, (1, 1))  # every bit is still read, but an eighth of the pixels is made: 5× faster
        _load(opened)
        return info


def measure(data: bytes) -> ImageInfo:
    """Return size and format from the header alone, which does not detect damaged pixels. Raises UnreadableImage."""
    with _opened(data) as opened:
        return _info(opened)


def exif_tags(data: bytes) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the EXIF tags of an image file, those of its first and its Exif directory, and those about the place.

    Empty where there are none, or where they are damaged. Raises UnreadableImage.
    """
    with _opened(data) as opened:
        try:
            exif = opened.image.getexif()
            return {**exif, **exif.get_ifd(0x8769)}, dict(exif.get_ifd(0x8825))
        except _DAMAGED_EXIF:
            return {}, {}


def open_upright(data: bytes, at_least: int | None = None) -> Image.Image:
    """Open the first frame as an RGB image: orientation applied, colors in sRGB, alpha over white.

    With `at_least` a JPEG may be decoded at a reduced scale whose shorter side still has that many pixels.
    Raises UnreadableImage.
    """
    return open_verified(data, at_least)[0]


def open_verified(data: bytes, at_least: int | None = None) -> tuple[Image.Image, ImageInfo]:
    """Do `open_upright` and `verify` by decoding once: every bit is read for the image, too. Raises UnreadableImage."""
    with _opened(data) as opened:
        info = _info(opened)
        smallest = None
        if at_least is not None:
            scale = at_least / min(opened.image.size)
            smallest = (round(opened.image.width * scale), round(opened.image.height * scale))
        return _finish(opened, _pixels(opened, smallest)), info


def thumbnail(data: bytes, size: int = THUMBNAIL_SIZE) -> bytes:
    """Return an upright sRGB JPEG without a profile: shorter side `size` px, longer at most 3 × that; never enlarged.

    Raises UnreadableImage.
    """
    stream = BytesIO()
    shrunk(data, size).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def as_jpeg(data: bytes) -> bytes:
    """Return the image as an upright sRGB JPEG in full size, for programs that do not read its format.

    Raises UnreadableImage.
    """
    stream = BytesIO()
    open_upright(data).save(stream, "JPEG", quality=_CONVERTED_QUALITY, subsampling="4:4:4")
    return stream.getvalue()


def universal(data: bytes) -> bytes:
    """Return a file of a format that every program reads as it is, of another as a JPEG; one that is no image as it is."""
    try:
        return data if measure(data).format in UNIVERSAL else as_jpeg(data)
    except UnreadableImage:
        return data


def large_raw_as_jpeg(path: Path) -> bytes | None:
    """Return a raw photo on disk that has more bytes than a service takes as a JPEG, None for any other file."""
    try:
        if not MAX_BYTES < path.stat().st_size <= MAX_RAW_BYTES:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):  # who sends it gives the reason
        return None
    sent = universal(data)
    return None if sent is data else sent


def shrunk(data: bytes, size: int = THUMBNAIL_SIZE) -> Image.Image:
    """Return the RGB image that `thumbnail` encodes. Raises UnreadableImage."""
    with _opened(data) as opened:
        image = opened.image
        scale = min(1.0, size / min(image.size), _LONGEST * size / max(image.size))
        wanted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        full = image.size
        pixels = _pixels(opened, (round(wanted[0] * _OVERSAMPLING), round(wanted[1] * _OVERSAMPLING)))
        if pixels.size != wanted:
            pixels = _resampled(pixels, wanted, full)
        return _finish(opened, pixels)


@contextmanager
def _opened(data: bytes) -> Iterator[_Opened]:
    """Open the header and check it against the limits; whatever the decoders raise becomes UnreadableImage."""
    if not data:
        raise UnreadableImage("The file is empty.")
    if len(data) > MAX_BYTES and not (len(data) <= MAX_RAW_BYTES and raw_kind(data, tiff_directories(data))):
        size, most = len(data) / 2**20, MAX_BYTES // 2**20
        raise UnreadableImage(
            f"The file has {size:,.1f} MiB, and {most} MiB is the most: make it smaller.", too_large=True
        )
    name = _name_by_start(data)
    try:
        opened = _open(data)
        with opened.image:
            name = opened.format[0]
            _check_size(*opened.image.size)
            yield opened
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        if name == "AVIF" and (sizes := [struct.unpack(">II", size) for size in _AVIF_SIZE.findall(data)]):
            _check_size(*max(sizes))  # its decoder refuses those that are far too large by itself
        raise UnreadableImage(_not_an_image(data, name)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(f"The image has more than {MAX_PIXELS // 10**6} megapixels: make it smaller.") from error
    except Exception as error:
        # Decoders raise whatever a damaged byte leads to: OSError, SyntaxError, struct.error, KeyError …
        if any(word in str(error).lower() for word in ("truncated", "not enough", "unexpected end", "too early")):
            raise _cut_off(name) from error
        if "unsupported bmp" in str(error).lower():
            raise UnreadableImage(_unread("a BMP of an uncommon kind")) from error
        raise _damaged(name) from error


def _open(data: bytes) -> _Opened:
    """Open a file by its first bytes."""
    if data.startswith(JPEG_START):
        return _open_jpeg(data)
    if data.startswith(PNG_START):
        return _open_png(plain_png(data))
    if data.startswith(b"BM"):
        return _open_by_pillow(fitting_bmp(data))
    kind = iso_kind(data)
    if kind in ("HEIC", "HEIF"):
        return _open_heif(data, kind)
    if data.startswith(_JXL_STARTS):
        return _open_jxl(data)
    directories = tiff_directories(data)
    if kind := raw_kind(data, directories):
        return _open_raw(data, directories, kind)
    if directories:
        return _open_tiff(data, directories[0])
    return _open_by_pillow(data)


def _open_by_pillow(data: bytes) -> _Opened:
    image = Image.open(BytesIO(data), formats=_TRIED)
    _check_size(*image.size)  # before anything that may decode it
    if _ends_early(image, data):
        Image.open(BytesIO(data), formats=_TRIED).load()
    return _Opened(image, data, _FORMATS[image.format or ""], _orientation(image))


def _ends_early(image: Image.Image, data: bytes) -> bool:
    """Return whether a file lacks what its format ends with; its pixels may be there nevertheless."""
    if image.format == "GIF":
        return not data.endswith(b";")
    if image.format == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    for places, sizes in _TIFF_PLACES:
        at, size = image.tag_v2.get(places), image.tag_v2.get(sizes)
        if (
            isinstance(at, tuple)
            and isinstance(size, tuple)
            and any(map(len(data).__lt__, map(operator.add, at, size)))
        ):
            return True
    return False


def _open_png(data: bytes) -> _Opened:
    """Open a PNG; its EXIF may stand behind the pixels, and Pillow decodes them to look for it, whatever is wrong."""
    if data[12:16] == b"CgBI":
        raise UnreadableImage(
            "It is a PNG packed for iOS (CgBI), which cannot be read here: save it anew on a Mac, or take what it was made of."
        )
    opened = _Opened(Image.open(BytesIO(data), formats=("PNG",)), data, _FORMATS["PNG"], 1)
    if opened.image.mode == "P" and opened.image.palette is None:
        raise _damaged("PNG")
    has_exif = b"eXIf" in data or b"Raw profile type exif" in data
    if has_exif or b"IEND" not in data:
        _check_size(*opened.image.size)
        _load(opened)
    if has_exif:
        opened.orientation = _orientation(opened.image)
    return opened


def _load(opened: _Opened) -> None:
    """Decode the pixels, those of a PNG also where only the checksum of their stream is wrong."""
    try:
        opened.image.load()
    except OSError:
        width, height = opened.image.size
        if opened.image.format != "PNG" or (data := summed_png(opened.data, (width + 1) * height * _MAX_PIXEL)) is None:
            raise
        opened.data, opened.image = data, Image.open(BytesIO(data), formats=("PNG",))
        opened.image.load()


def _open_jpeg(data: bytes) -> _Opened:
    structure = jpeg_structure(data)
    if structure.scans > _MAX_SCANS:
        raise UnreadableImage("The JPEG is made of far too many layers to be a photo: save it anew.")
    if structure.unread_kind:
        raise UnreadableImage(_unread(structure.unread_kind))
    if not structure.frame:
        raise UnidentifiedImageError
    if has_line_ends_of_text(data, structure):
        raise UnreadableImage(f"The JPEG {_AS_TEXT}")
    if not structure.ended:
        _open_by_pillow(data)
        if (data := ended_jpeg(data) or b"") == b"":
            raise _cut_off("JPEG")
    return _open_by_pillow(data)


def _open_heif(data: bytes, kind: str) -> _Opened:
    from pi_heif import HeifImageFile, options

    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    try:
        image = HeifImageFile(BytesIO(data))
    except SyntaxError as error:
        raise UnidentifiedImageError from error
    return _Opened(
        image, data, _FORMATS[kind], 1
    )  # libheif applies the rotation of the container, the only one that counts


def _open_jxl(data: bytes) -> _Opened:
    """Open a JPEG XL by the extra `jxl`, whose decoder makes all pixels at once: its size is read beforehand."""
    size = jxl_size(data)
    if size is None:
        raise _damaged("JPEG XL")
    _check_size(*size)
    try:
        from pillow_jxl import Decoder
    except ImportError:
        raise UnreadableImage("It is a JPEG XL image, which needs the extra “jxl”: save it as a JPEG or PNG.") from None
    is_jpeg, info, pixels, profile, _boxes = Decoder(num_threads=0)(data)
    if is_jpeg:
        opened = _open_jpeg(pixels)
        return _Opened(opened.image, opened.data, _FORMATS["JPEG XL"], opened.orientation)
    image = Image.frombytes(info.mode, (info.width, info.height), pixels)
    image.info["icc_profile"] = profile
    return _Opened(image, data, _FORMATS["JPEG XL"], 1)  # libjxl applies the orientation


def _open_raw(data: bytes, directories: list[TiffDirectory], kind: str) -> _Opened:
    try:
        jpeg, orientation = preview(data, directories, kind)
    except NoPreview as error:
        raise UnreadableImage(f"It is a raw photo {error}: save it as a JPEG.") from error
    opened = _open_jpeg(jpeg)
    if orientation != 1:
        opened.orientation = orientation
    extension = f".{kind.lower()}"
    return _Opened(opened.image, opened.data, (kind, extension, f"image/x-{kind.lower()}"), opened.orientation)


def _open_tiff(data: bytes, directory: TiffDirectory) -> _Opened:
    if directory.compression not in _TIFF_PACKINGS:
        packing = _TIFF_PACKING_NAMES.get(directory.compression, "an uncommon method")
        raise UnreadableImage(_unread(f"a TIFF packed with {packing}"))
    bits, number, samples = directory.layout
    if directory.in_planes and bits != 8:  # Pillow and OpenCV make something else of it
        raise UnreadableImage(_unread(f"a TIFF of separate color planes of {bits} bits"))
    try:
        return _open_by_pillow(data)
    except UnidentifiedImageError:
        _check_size(*directory.size)
        if (size := math.prod(directory.size) * bits * samples // 8) > _MAX_DEEP_BYTES:
            most = _MAX_DEEP_BYTES // 2**20
            raise UnreadableImage(
                f"The TIFF holds {size / 2**20:,.0f} MiB of numbers, and {most} is the most: make it smaller."
            ) from None
        image = deep(data, directory.tags.get(_NODATA))
        if image is None:
            if number == 1 and bits in (1, 8, 16) and samples <= 4:
                raise
            form = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}.get(number, "unsigned")
            kind = f"a TIFF of {plural(samples, f'{form} number')} of {bits} bits a pixel"
            raise UnreadableImage(_unread(kind)) from None
        return _Opened(image, data, _FORMATS["TIFF"], directory.number(0x0112, 1))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"The image has {width:,} × {height:,} pixels, {math.ceil(width * height / 1e6):,} megapixels, "
            f"and {MAX_PIXELS // 10**6} is the most: make it smaller."
        )


def _name_by_start(data: bytes) -> str:
    """Return the name of the format that a file begins like, for sentences about a damaged one; else empty."""
    starts = {JPEG_START: "JPEG", PNG_START: "PNG", b"GIF8": "GIF", b"BM": "BMP"}
    starts |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")
    found = next((name for start, name in starts.items() if data.startswith(start)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return found or ("JPEG XL" if data.startswith(_JXL_STARTS) else iso_kind(data))


def _unread(kind: str) -> str:
    if kind == "an archive":
        return "It is an archive, which cannot be read here: unpack it."
    if kind in ("a shortcut of Windows", "an alias of macOS"):
        return f"It is {kind}: the photo is elsewhere, so import that."
    return f"It is {kind}, which cannot be read here: save it as a JPEG or PNG."


def _cut_off(name: str) -> UnreadableImage:
    return UnreadableImage(f"The {name or 'image'} is cut off, only a part of it is there: copy or download it again.")


def _damaged(name: str) -> UnreadableImage:
    return UnreadableImage(f"The {name or 'image'} is damaged and cannot be decoded: copy or download it again.")


def _not_an_image(data: bytes, name: str) -> str:
    if kind := kind_of(data):
        return _unread(kind)
    if name and len(data) > _SHORTEST:
        return str(_damaged(name))
    if name == "GIF" and len(data) >= _GIF_HEADER:
        return str(_damaged(name))
    if name not in ("", "BMP", "JPEG XL"):  # of those, so few bytes say too little
        return str(_cut_off(name))
    if pointer := pointer_of(data):
        return f"It is a pointer of {pointer[0]} in place of the image: run “{pointer[1]}” first."
    if went_through_text(data):
        return f"It is an image that {_AS_TEXT}"
    for start, kind in ((JPEG_START, "JPEG"), (PNG_START, "PNG")):
        at = data.find(start, 0, _LONGEST_TEXT)
        if at > 0 and is_text(data[:at]) and (kind == "PNG" or jpeg_structure(data[at:]).frame):
            return f"It is a {kind} with {plural(at, 'byte')} of something else before it: copy or download it again."
    if not data.strip(data[:1]) and data[0] in (0x00, 0xFF):
        filled = "zeros" if data[0] == 0 else "FF bytes, as of an empty memory card"
        return f"It is nothing but {filled}: its content was lost, so copy it again from where it came from."
    if is_text(data):
        return f"It is a text and not an image: {_READ} can be read."
    return f"It is not an image: {_READ} can be read."


def _pixels(opened: _Opened, smallest: tuple[int, int] | None) -> Image.Image:
    """Pixels in the file's own color space, as L, RGB or CMYK, alpha over white, orientation not applied.

    A JPEG is reduced by 1/8 … 8/8 as long as it keeps `smallest` (width, height).
    """
    image = opened.image
    if smallest and image.format in ("JPEG", "MPO"):
        if image.mode in ("RGB", "L") and (fast := _reduced_jpeg(opened.data, image, smallest)):
            return fast
        image.draft(None, smallest)
    _load(opened)
    image = opened.image
    pixels = opaque(image)
    if image.format in ("PNG", "TIFF") and pixels.mode == "RGB" and is_darker(pixels, _DARK):
        return brightened(opened.data) or pixels
    return pixels


def _reduced_jpeg(data: bytes, image: Image.Image, smallest: tuple[int, int]) -> Image.Image | None:
    """Decode by simplejpeg, which is faster than Pillow; None where it fails, so that Pillow reports why."""
    import simplejpeg

    width, height = image.size
    for eighths in _FASTEST_EIGHTHS:
        reduced = math.ceil(width * eighths / 8), math.ceil(height * eighths / 8)
        if reduced[0] >= smallest[0] and reduced[1] >= smallest[1]:
            width, height = reduced
            break
    try:
        if image.mode == "L":
            return Image.fromarray(simplejpeg.decode_jpeg(data, "GRAY", min_width=width, min_height=height)[:, :, 0])
        return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height))
    except ValueError:
        return None


def _extent(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[int, tuple[float, float]]:
    """Return in how many eighths a JPEG was decoded, and the part of its pixels that is covered.

    500 · 6/8 = 375, but 375 · 6/8 = 281.25 of 282.
    """
    for eighths in range(1, 8):
        exact = (full[0] * eighths / 8, full[1] * eighths / 8)
        if (math.ceil(exact[0]), math.ceil(exact[1])) == reduced:
            return eighths, exact
    return 8, reduced


def _resampled(pixels: Image.Image, size: tuple[int, int], full: tuple[int, int]) -> Image.Image:
    """Reduce the decoded pixels of an image of `full` pixels to `size` by Lanczos' filter.

    Pillow has one that filters where it samples. Here OpenCV filters at the scale of the pixels, which leaves so little
    between them that four of them (a cubic) give a sample: in a quarter of the time.
    """
    eighths, extent = _extent(full, pixels.size)
    scales = [whole / part for whole, part in zip(extent, size, strict=True)]
    if pixels.mode not in ("L", "RGB") or not all(_FILTERED[0] <= scale <= _FILTERED[1] for scale in scales):
        return pixels.resize(size, Image.Resampling.LANCZOS, box=(0, 0, *extent))
    cv2 = _opencv()
    across, down = (_lanczos(scale, _SHARPENING.get(eighths, 0)) for scale in scales)
    filtered = cv2.sepFilter2D(np.asarray(pixels), -1, across, down, borderType=cv2.BORDER_REPLICATE)
    result = cv2.resize(filtered, None, fx=1 / scales[0], fy=1 / scales[1], interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(np.ascontiguousarray(result[: size[1], : size[0]]))


def _lanczos(scale: float, sharpening: float) -> "NDArray[np.float32]":
    """Return the weights of Lanczos' filter (Duchon, 1979) at whole pixels, widened by `scale` and sharpened, their sum 1."""
    reach = math.ceil(_LOBES * scale)
    at = np.arange(-reach, reach + 1) / scale
    weights = np.where(np.abs(at) < _LOBES, np.sinc(at) * np.sinc(at / _LOBES), 0.0)
    return np.convolve(weights / weights.sum(), (-sharpening, 1 + 2 * sharpening, -sharpening)).astype(np.float32)


def _finish(opened: _Opened, pixels: Image.Image) -> Image.Image:
    """Convert the pixels of an image to sRGB and apply its orientation."""
    result = to_srgb(pixels, opened.image.info.get("icc_profile"))
    if (transpose := _UPRIGHT.get(_turned_left(opened))) is not None:
        result = result.transpose(transpose)
    if result is opened.image:  # its file is closed on return
        result = result.copy()
    result.info.clear()  # its profile and orientation no longer hold
    return result


def _info(opened: _Opened) -> ImageInfo:
    width, height = opened.image.size
    if opened.image.format != "TIFF" and opened.orientation >= 5:  # Pillow rotates a TIFF itself, its size too
        width, height = height, width
    return ImageInfo(width, height, *opened.format)


def _turned_left(opened: _Opened) -> int:
    """Return the orientation that is still to be applied: Pillow has done it for a TIFF once that is loaded."""
    return 1 if opened.image.format == "TIFF" else opened.orientation


def _orientation(image: Image.Image) -> int:
    """Return 1…8; 1 when damaged."""
    try:
        value = image.getexif().get(0x0112, 1)
    except _DAMAGED_EXIF:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height, unrotated, from the header of a JPEG XL codestream (ISO/IEC 18181-1, D.2)."""
    start = data.find(b"\xff\x0a") if data.startswith(b"\xff\x0a") else _codestream(data)
    if start is None:
        return None
    bits = int.from_bytes(data[start + 2 : start + 18].ljust(16, b"\0"), "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def length(small: int) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = length(small)
    ratio = take(3)
    if ratio:
        across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height * across // down, height
    return length(small), height


def _codestream(data: bytes) -> int | None:
    """Return where the codestream begins in a JPEG XL container (ISO/IEC 18181-2), None where it cannot be found."""
    position = 0
    for _ in range(_MAX_BOXES):
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        header = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if name in (b"jxlc", b"jxlp"):
            start = position + header + (4 if name == b"jxlp" else 0)
            return start if data[start : start + 2] == b"\xff\x0a" else None
        if length < header:
            return None
        position += length
    return None


_BAND = 512
"""Rows converted at a time, so that a whole image is not held twice."""
_BITS, _PHOTOMETRIC, _FORMAT, _NODATA = 258, 262, 339, 42113
"""Tags of TIFF 6.0: BitsPerSample; PhotometricInterpretation, 0 where white is 0; SampleFormat, 1 for no sign; and GDAL's
text of the number that stands for none."""


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
    high = float(values.max(initial=0))
    return _scaled(values, 0.0, next(top for top in TOPS_16 if high <= top))


def deep(data: bytes, nodata: Any = None) -> Image.Image | None:
    """Return a TIFF of a kind that Pillow does not open (floating point, 32 or 64 bits) as L or RGB; None if it cannot be."""
    values = _decoded(data)
    if values is None:
        return None
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] < 3 else values[:, :, :3]
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    return _stretched(values, nodata)


def _decoded(data: bytes) -> "NDArray[Any] | None":
    """Return the values of a PNG or TIFF in their own depth, by OpenCV, as gray or RGB; None if it cannot read them."""
    cv2 = _opencv()
    values: NDArray[Any] | None
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is not None and values.ndim == 3 and values.shape[2] >= 3:
        values = values[:, :, [2, 1, 0, *range(3, values.shape[2])]]
    return values


def _opencv() -> Any:
    """Return OpenCV, which is loaded by the first image that needs it."""
    import cv2

    cv2.utils.logging.setLogLevel(0)  # it would write to standard error
    cv2.setNumThreads(1)  # who calls has a thread a core
    return cv2


def _from_deep(image: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit and floating-point gray to L, by the range of the values."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode == "I" and tags.get(_BITS, (0,))[0] == 32 and tags.get(_FORMAT, (1,))[0] == 1:
        values = values.view(np.uint32)  # Pillow takes the upper half for negative numbers
    gray = _stretched(values, tags.get(_NODATA))
    return ImageChops.invert(gray) if tags.get(_PHOTOMETRIC) == 0 else gray


def _stretched(values: "NDArray[Any]", nodata: Any) -> Image.Image:
    """Convert numbers of any kind to 8 bits; those that are none, by the tag `nodata` too, to black."""
    tops = TOPS_FLOAT if values.dtype.kind == "f" else TOPS_16
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
        missing = ~np.isfinite(numbers)
        if (none := _number(nodata)) is not None:
            missing |= numbers == np.float32(none)
        low, high = value_range(numbers[~missing] if missing.any() else numbers, tops)
        numbers[missing] = low
        return _scaled(numbers, low, high)


def _number(text: Any) -> float | None:
    """Return the number of a tag, which is text or bytes; None where it is none."""
    try:
        return float((text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)).strip("\0 "))
    except ValueError:
        return None


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
