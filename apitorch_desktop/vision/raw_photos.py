"""Raw photos of cameras by the largest JPEG that the camera embedded; and the tags of TIFF, which most of them are.

The previews in the directories of DNG, CR2, NEF, ARW, PEF, SRW and RW2, and those of CR3 and RAF, are found here. Others,
such as those in a maker's notes (ORF), are LibRaw's to find, where `rawpy` is installed.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from apitorch_desktop.vision.file_kinds import iso_kind
from apitorch_desktop.vision.repair import JPEG_START, jpeg_structure

LEAST_PREVIEW: Final = 512
"""Longer side in pixels below which a preview is a thumbnail, which is never taken for the photo."""

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_MAKE, _STRIPS, _ORIENTATION, _SAMPLES, _STRIP_BYTES, _PLANES, _SUB_IFDS = 271, 273, 274, 277, 279, 284, 330
_TILES, _TILE_BYTES, _FORMAT, _JPEG, _JPEG_BYTES, _EXIF = 324, 325, 339, 513, 514, 34665
_RW2_JPEG, _DNG_VERSION = 0x2E, 50706
"""Tags of TIFF 6.0, DNG 1.7, and Panasonic's JpgFromRaw."""
_MAX_IFDS: Final = 32
_MAX_TAGS: Final = 1000
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES: Final = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Bytes of a value, and its code in `struct`, by type."""
_SENSOR: Final = frozenset({32803, 34892})
"""Photometric interpretations of a sensor's own values: color filter array and linear raw (DNG 1.7)."""
_RAW_PACKING: Final = frozenset({32767, 32769, 32770, 34713, 65000, 65535})
"""Compressions of Sony, Epson, Samsung, Nikon, Kodak and Pentax."""
_OLD_JPEG: Final = 6
"""Compression of a camera's preview, whose sub-images hold the sensor's values."""
_MAGIC: Final = {
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
    b"FUJI": "RAF",
    b"FOVb": "X3F",
    b"\0MRM": "MRW",
}
_MAKES: Final = {
    b"nikon": "NEF", b"sony": "ARW", b"pentax": "PEF", b"ricoh": "PEF", b"samsung": "SRW", b"olympus": "ORF",
    b"om digital": "ORF", b"panasonic": "RW2", b"leica": "RWL", b"hasselblad": "3FR", b"phase one": "IIQ",
    b"epson": "ERF", b"mamiya": "MEF", b"kodak": "DCR", b"canon": "CR2",
}  # fmt: skip


class NoPreview(Exception):  # noqa: N818 - named for the condition
    """A raw photo has no preview that could stand for it; `str()` is the rest of a sentence about "a raw photo"."""


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """Tags of one image of a TIFF: numbers as tuples, text and bytes as bytes; long values are left out."""

    tags: dict[int, tuple[int, ...] | bytes] = field(default_factory=dict)

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(tag, ())
        return values[0] if values else default

    @property
    def compression(self) -> int:
        """Compression of the pixels, 1 for none."""
        return self.number(_COMPRESSION, 1)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as stored."""
        return self.number(_WIDTH), self.number(_HEIGHT)

    @property
    def in_planes(self) -> bool:
        """True if each color is stored apart from the others."""
        return self.number(_PLANES, 1) == 2 and self.number(_SAMPLES, 1) > 1

    @property
    def layout(self) -> tuple[int, int, int]:
        """Bits of a sample, kind of its number (1 unsigned, 2 signed, 3 floating), samples of a pixel."""
        return self.number(_BITS, 1), self.number(_FORMAT, 1), self.number(_SAMPLES, 1)


def tiff_directories(data: bytes) -> list[TiffDirectory]:
    """Return the directories of a TIFF or of a file built like one, those of its sub-images too; empty if damaged."""
    if data[:2] not in (b"II", b"MM") or len(data) < 16:
        return []
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")  # BigTIFF
    waiting = [struct.unpack_from(f"{order}Q", data, 8)[0] if big else struct.unpack_from(f"{order}I", data, 4)[0]]
    seen: set[int] = set()
    found: list[TiffDirectory] = []
    while waiting and len(found) < _MAX_IFDS:
        offset = waiting.pop(0)
        if offset in seen or not 8 <= offset < len(data) - 8:
            continue
        seen.add(offset)
        directory, following = _read_directory(data, order, offset, big=big)
        found.append(directory)
        waiting += [at for at in (*_numbers(directory, _SUB_IFDS), *_numbers(directory, _EXIF), following) if at]
    return found


def _numbers(directory: TiffDirectory, tag: int) -> tuple[int, ...]:
    values = directory.tags.get(tag, ())
    return values[:_MAX_IFDS] if isinstance(values, tuple) else ()


def _read_directory(data: bytes, order: str, offset: int, *, big: bool) -> tuple[TiffDirectory, int]:
    directory = TiffDirectory()
    counter, word, step = ("Q", "Q", 20) if big else ("H", "I", 12)
    room = struct.calcsize(word)
    (count,) = struct.unpack_from(f"{order}{counter}", data, offset)
    start = offset + struct.calcsize(counter)
    end = start + step * count
    for at in range(start, min(end, len(data) - step + 1, start + step * _MAX_TAGS), step):
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", data, at)
        size = _SIZES.get(kind, 0) * number
        place = at + step - room if size <= room else struct.unpack_from(f"{order}{word}", data, at + step - room)[0]
        if tag == _RW2_JPEG:
            directory.tags[_JPEG], directory.tags[_JPEG_BYTES] = (place,), (size,)
        elif 0 < size <= 4096 and place + size <= len(data):
            code = _CODES[kind]
            values = struct.unpack_from(f"{order}{number}{code}", data, place)
            directory.tags[tag] = values[0] if code == "s" else values
    following = struct.unpack_from(f"{order}{word}", data, end)[0] if end + room <= len(data) else 0
    return directory, following


def raw_kind(data: bytes, directories: list[TiffDirectory]) -> str:
    """Return the kind of a raw photo, such as "DNG" or "NEF"; empty for a file that is none."""
    if kind := _MAGIC.get(data[:4], ""):
        return kind
    if data[6:14] == b"HEAPCCDR":
        return "CRW"
    if iso_kind(data) == "CR3":
        return "CR3"
    if not directories:
        return ""
    if data[8:10] == b"CR" and data[:2] == b"II":
        return "CR2"
    if data[8:12] in (b"IIII", b"MMMM"):
        return "IIQ"
    first = directories[0]
    if _DNG_VERSION in first.tags:
        return "DNG"
    cut_off = first.compression == _OLD_JPEG and any(at >= len(data) for at in _numbers(first, _SUB_IFDS))
    if cut_off or any(one.number(_PHOTOMETRIC) in _SENSOR or one.compression in _RAW_PACKING for one in directories):
        make = first.tags.get(_MAKE, b"")
        name = make.lower() if isinstance(make, bytes) else b""
        return next((kind for start, kind in _MAKES.items() if name.startswith(start)), "RAW")
    return ""


def preview(data: bytes, directories: list[TiffDirectory], kind: str) -> tuple[bytes, int]:
    """Return the largest embedded JPEG, and the EXIF orientation that applies to it. Raises NoPreview."""
    from PIL import Image

    own = [(jpeg, _size(jpeg)) for jpeg in _embedded(data, directories)]
    best, size = max(own, key=lambda one: max(one[1]), default=(b"", (0, 0)))
    flip = directories[0].number(_ORIENTATION, 1) if directories else 1
    if max(size) < LEAST_PREVIEW:
        best, flip = _from_libraw(data, kind, size)
    with Image.open(BytesIO(best), formats=("JPEG",)) as image:
        if image.getexif().get(_ORIENTATION, 1) != 1 or (flip >= 5 and image.height > image.width):
            flip = 1  # it says so itself, or lies upright already
    return best, flip


def _embedded(data: bytes, directories: list[TiffDirectory]) -> Iterator[bytes]:
    at: Any
    size: Any
    for one in directories:
        if one.number(_PHOTOMETRIC) in _SENSOR:
            continue  # tiles of sensor values may be JPEGs as well
        places = (_JPEG, _JPEG_BYTES), (_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)
        for start, length in places:
            at, size = _numbers(one, start), _numbers(one, length)
            if len(at) == len(size) == 1 and data[at[0] : at[0] + 3] == JPEG_START:
                yield data[at[0] : at[0] + size[0]]
    if data.startswith(b"FUJI"):
        at, size = struct.unpack_from(">II", data.ljust(92, b"\0"), 84)
        yield data[at : at + size]
    elif (at := data.find(b"PRVW", 0, 2**20)) > 0 and iso_kind(data) == "CR3":  # a box: size of the JPEG after 16 bytes
        size = int.from_bytes(data[at + 16 : at + 20], "big")
        yield data[at + 20 : at + 20 + size]


def _size(jpeg: bytes) -> tuple[int, int]:
    from PIL import Image

    if jpeg_structure(jpeg).unread_kind:  # the sensor's values may be packed as a lossless JPEG
        return 0, 0
    try:
        with Image.open(BytesIO(jpeg), formats=("JPEG",)) as image:
            return image.size
    except Exception:  # noqa: BLE001 - Pillow raises whatever a damaged byte leads to
        return 0, 0


def _from_libraw(data: bytes, kind: str, largest: tuple[int, int]) -> tuple[bytes, int]:
    """Return LibRaw's preview as a JPEG, and the orientation. Raises NoPreview."""
    name = f"({kind}) " if kind != "RAW" else ""
    try:
        import rawpy
    except ImportError:
        raise NoPreview(f"{name}with no preview to be found without the extra “raw”") from None
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            found: Any = raw.extract_thumb()
            flip = {3: 3, 5: 8, 6: 6}.get(raw.sizes.flip, 1)
    except rawpy.LibRawError:
        raise NoPreview(f"{name}without a preview that can be read") from None
    jpeg = bytes(found.data) if found.format == rawpy.ThumbFormat.JPEG else _encoded(found.data)
    size = _size(jpeg)
    largest = size if max(size) > max(largest) else largest
    if max(largest) < LEAST_PREVIEW:
        only = f"but for a thumbnail of {largest[0]} × {largest[1]} pixels" if max(largest) > 1 else "of any size"
        raise NoPreview(f"{name}without a preview {only}")
    return jpeg, flip


def _encoded(pixels: Any) -> bytes:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).convert("RGB").save(stream, "JPEG", quality=95)
    return stream.getvalue()
