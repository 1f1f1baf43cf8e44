"""Structure of JPEG, PNG and BMP files: what is wrong with one that Pillow refuses, and its bytes without that.

A file is changed only in memory, and only where all of its pixels, or all but the last few, are there.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

JPEG_START: Final = b"\xff\xd8\xff"
PNG_START: Final = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE: Final = 16 * 2**20
"""Bytes of a PNG's color profile, unpacked; Pillow's own limit is 1 MiB."""

_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Marker of a JPEG: neither a stuffed byte nor a restart within the entropy-coded data (ITU-T T.81, B.1.1)."""
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES: Final = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
"""Start of frame, SOF0 … SOF15 (T.81, table B.1), and that of JPEG-LS (T.87)."""
_LOSSLESS: Final = {0xC3, 0xC7, 0xCB, 0xCF}
_HIERARCHICAL: Final = {0xC5, 0xC6, 0xCD, 0xCE}
_MAX_MARKERS: Final = 10_000
_MAX_GAP: Final = 2**16
"""Bytes between two segments of a header, which would be read one by one."""
_PIECE: Final = 2**20
_MAX_CHUNKS: Final = 100_000
_CR: Final = 0x0D
_LEAST_LINES: Final = 3
"""Line ends in the pixels of a JPEG by which one is known that went through text: by chance one in 16 million."""
_TAILS: Final = range(5)
"""Zero bytes tried in place of the last ones of a JPEG: each byte that is lost takes a few blocks of 8 × 8 pixels along."""
_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf"})
"""Chunks of a PNG that its pixels, colors or orientation depend on."""


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """Scans of the first image of a JPEG, its precision in bits and kind of frame, and whether it has an end.

    `pixels`: where its first scan begins, and where it ends.
    """

    scans: int
    frame: int
    precision: int
    ended: bool
    pixels: tuple[int, int] = (0, 0)

    @property
    def unread_kind(self) -> str:
        """Kind of a JPEG that libjpeg does not decode here, else empty."""
        if self.frame == 0xF7:
            return "a JPEG-LS image"
        if self.frame in _LOSSLESS:
            return "a lossless JPEG"
        if self.frame in _HIERARCHICAL:
            return "a hierarchical JPEG"
        return f"a JPEG of {self.precision} bits a color" if self.precision not in (0, 8) else ""


def jpeg_structure(data: bytes) -> JpegStructure:
    """Walk the markers of a JPEG up to the end of its first image; what follows, such as a film, does not count."""
    scans = frame = precision = start = 0
    position = 2
    for _ in range(_MAX_MARKERS):
        found = _MARKER.search(data, position)
        if found is None or (not scans and found.start() > position + _MAX_GAP):
            return JpegStructure(scans, frame, precision, ended=False, pixels=(start or len(data), len(data)))
        marker, position = found[0][1], found.end()
        if marker == _EOI:
            return JpegStructure(scans, frame, precision, ended=True, pixels=(start or position, position))
        if marker in (_SOI, _TEM):
            continue
        if marker == _SOS:
            scans, start = scans + 1, start or position
        if marker in _FRAMES and not frame:
            frame, precision = marker, data[position + 2] if len(data) > position + 2 else 0
        position += int.from_bytes(data[position : position + 2], "big")
    return JpegStructure(_MAX_MARKERS, frame, precision, ended=True)


def has_line_ends_of_text(data: bytes, structure: JpegStructure) -> bool:
    """Return whether a JPEG went through text that has CR LF for each LF, the pixels too, where it would be one in 256."""
    start, end = structure.pixels
    first = data.find(b"\n", start, end)
    if first < 1 or data[first - 1] != _CR:  # nearly all end here
        return False
    pairs = data.count(b"\r\n", start, end)
    return pairs >= _LEAST_LINES and data.count(b"\n", 0, end) == data.count(b"\r\n", 0, start) + pairs


def ended_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG without an end with one, if at most its last few blocks are missing; else None.

    The whole file is decoded to find out.
    """
    import simplejpeg

    kept = data[:-1] if data.endswith(b"\xff") else data
    for missing in _TAILS:
        ended = kept + bytes(missing) + bytes((0xFF, _EOI))
        try:
            components = simplejpeg.decode_jpeg_header(ended)[2]
            space = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(components, "RGB")
            simplejpeg.decode_jpeg(ended, space, min_width=1, min_height=1)
        except ValueError as error:
            if "extraneous bytes before marker 0xd9" in str(error):  # all is there, and something in place of the end
                return ended
            if "premature" not in str(error):
                return None
        else:
            return ended
    return None


def plain_png(data: bytes) -> bytes:
    """Return a PNG without the chunks that none of its pixels depend on: text, times, sizes, and damaged ancillary ones.

    As in browsers, an ancillary chunk (ISO/IEC 15948, 5.4) whose checksum is wrong, and a profile without end, are
    passed over. A critical one that is damaged stays and is the decoder's to report.
    """
    kept = [data[: len(PNG_START)]]
    position, changed = len(PNG_START), False
    for _ in range(_MAX_CHUNKS):
        header = data[position : position + 8]
        if len(header) < 8:
            break
        length, name = struct.unpack(">I4s", header)
        end = position + 12 + length
        if end > len(data) and name not in _NEEDED and not name[0] & 0x20:
            break
        if _is_needed(name, data, position, length):
            kept.append(data[position:end])
        else:
            changed = True
        position = end
        if name == b"IEND":
            break
    else:
        return data
    return b"".join(kept) if changed else data


def summed_png(data: bytes, most: int) -> bytes | None:
    """Return a PNG whose packed pixels have a wrong checksum with the right one; None if more is wrong, or nothing is.

    As in browsers, the checksum of each chunk (ISO/IEC 15948, 5.3) says enough. `most` are the bytes that it may unpack to.
    """
    places = list(_pixel_chunks(data))
    bodies = [data[start:end] for start, end in places]
    if not places or any(
        zlib.crc32(body, zlib.crc32(b"IDAT")) != int.from_bytes(data[end : end + 4], "big")
        for body, (_, end) in zip(bodies, places, strict=True)
    ):
        return None
    stream = b"".join(bodies)
    unpacker, checksum, waiting = zlib.decompressobj(-zlib.MAX_WBITS), 1, stream[2:]
    try:
        while waiting and most > 0 and not unpacker.eof:
            unpacked = unpacker.decompress(waiting, _PIECE)
            checksum, most, waiting = zlib.adler32(unpacked, checksum), most - len(unpacked), unpacker.unconsumed_tail
    except zlib.error:
        return None
    whole = stream[: len(stream) - len(unpacker.unused_data)] + struct.pack(">I", checksum)
    if not unpacker.eof or stream.startswith(whole):
        return None
    chunk = b"IDAT" + whole
    packed = struct.pack(">I", len(whole)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[: places[0][0] - 8] + packed + data[places[-1][1] + 4 :]


def fitting_bmp(data: bytes) -> bytes:
    """Return a BMP whose palette has more colors than its pixels can name without the rest, as browsers read it."""
    header, bits, colors = (int.from_bytes(data[at : at + size], "little") for at, size in ((14, 4), (28, 2), (46, 4)))
    if header < 40 or bits > 8 or colors <= 1 << bits:
        return data
    return data[:46] + (1 << bits).to_bytes(4, "little") + data[50:]


def _pixel_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the body of each chunk of pixels begins and ends."""
    position = len(PNG_START)
    while len(header := data[position : position + 8]) == 8:
        length, name = struct.unpack(">I4s", header)
        if name == b"IDAT":
            yield position + 8, position + 8 + length
        position += 12 + length


def _is_needed(name: bytes, data: bytes, position: int, length: int) -> bool:
    if not name[0] & 0x20:
        return True
    body = memoryview(data)[position + 8 : position + 8 + length]
    orientation = name in (b"zTXt", b"tEXt") and bytes(body[:21]) == b"Raw profile type exif"
    if name not in _NEEDED and not (orientation and length < 2**18):
        return False
    if name == b"tRNS" and not 0 < length <= 256:
        return False
    if data[position + 8 + length : position + 12 + length] != struct.pack(">I", zlib.crc32(body, zlib.crc32(name))):
        return False
    return name not in (b"iCCP", b"zTXt") or _unpacks(bytes(body))


def _unpacks(body: bytes) -> bool:
    """Return whether an iCCP or zTXt chunk (name, NUL, method, zlib stream) unpacks to a bounded size."""
    packed = body[body.find(b"\0") + 2 :]
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, MAX_PROFILE)
    except zlib.error:
        return False
    return unpacker.eof
