"""Kinds of files by their first bytes: brands of HEIF and its relatives, and names for what cannot be read."""

import re
from typing import Final

_STARTS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF", "a PDF document"), (b"%!PS", "a PostScript file"), (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"8BPS", "a Photoshop document"), (b"gimp xcf", "a GIMP document"), (b"FWS", "a Flash film"), (b"CWS", "a Flash film"),
    (b"\x00\x00\x01\x00", "an icon file"), (b"icns", "an icon file of macOS"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"), (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"), (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"), (b"II\xbc", "a JPEG XR image"),
    (b"qoif", "a QOI image"), (b"BPG\xfb", "a BPG image"), (b"FLIF", "a FLIF image"), (b"farbfeld", "a farbfeld image"),
    (b"\x8aMNG", "an MNG animation"), (b"\x8bJNG", "a JNG image"), (b"DDS ", "a DDS texture"), (b"\xabKTX", "a KTX texture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"), (b"#?RADIANCE", "a Radiance HDR image"), (b"#?RGBE", "a Radiance HDR image"),
    (b"SIMPLE  =", "a FITS image"), (b"AT&TFORM", "a DjVu document"), (b"\x01\xda", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"), (b"/* XPM", "an XPM image"), (b"BLP", "a BLP texture"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"), (b"ZISRAWFILE", "a CZI image"),
    (b"\x1a\x45\xdf\xa3", "a film"), (b"FLV\x01", "a film"), (b"\x00\x00\x01\xba", "a film"), (b"\x00\x00\x01\xb3", "a film"),
    (b"OggS", "a film or a sound"), (b"ID3", "a sound"), (b"fLaC", "a sound"),
    (b"PK\x03\x04", "an archive"), (b"PK\x05\x06", "an archive"), (b"Rar!", "an archive"), (b"7z\xbc\xaf", "an archive"),
    (b"\x1f\x8b", "an archive"), (b"BZh", "an archive"), (b"\xfd7zXZ", "an archive"), (b"\x28\xb5\x2f\xfd", "an archive"),
    (b"\x93NUMPY", "a NumPy array"), (b"\x89HDF", "an HDF5 file"), (b"SQLite format 3", "a database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"), (b"bplist00", "a property list"),
    (b"\x7fELF", "a program"), (b"MZ", "a program"), (b"\x00\x05\x16\x07", "an AppleDouble file of macOS"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "a shortcut of Windows"), (b"[InternetShortcut]", "a shortcut of Windows"),
    (b"book\0\0\0\0mark\0\0\0\0", "an alias of macOS"),
    (b"HEAPJPGM", "a raw photo"),
)  # fmt: skip
"""First bytes, case as it is, and the kind they stand for; the longer ones before what they begin with."""
_TEXTS: Final = (
    (re.compile(rb"(?:<\?xml[^>]*>|<!--.*?-->|<!doctype svg[^>]*>|\s)*<(?:\w+:)?svg\b", re.DOTALL), "an SVG drawing"),
    (re.compile(rb"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype html|html|head|body)\b", re.DOTALL), "a web page"),
    (re.compile(rb"\s*<\?xml\b"), "an XML file"),
    (re.compile(rb"p[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s|p7\nwidth"), "a PNM image (PBM, PGM, PPM)"),
    (re.compile(rb"pf\s+\d+\s"), "a PFM image"),
    (re.compile(rb"#define \w+_width "), "an XBM image"),
)  # fmt: skip
_IMAGES: Final = re.compile(
    r"an? (?!TGA).*(?: image\b.*| texture)|a (?:Photoshop|GIMP|DjVu) document|a PostScript file"
)
"""Kinds of images; not that of TGA, which is known by bytes that are right by chance in other files."""
_READ: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|IIR[OS]|IIU\0|FUJIFILMCCD|"
    rb"\0\0\0\x0cJXL |.{4}ftyp(?:he[iv][cmsx]|mif[12]|msf1|avi[fs]|crx )",
    re.DOTALL,
)
"""Starts of the formats that are read, raw photos too."""
_POINTERS: Final = {
    b"version https://git-lfs": ("Git LFS", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get"),
}
_THROUGH_TEXT: Final = re.compile(
    rb"(?:\xef\xbf\xbd){3}|\xc3\xbf\xc3\x98\xc3\xbf|(?!\x89PNG\r\n\x1a\n)(?:\xef\xbf\xbd|\xc2\x89|\xe2\x80\xb0|[\x89\t])PNG[\r\n]"
)
"""Starts of JPEG and PNG as UTF-8, letter by letter or with U+FFFD for what is none; and PNG with other line ends."""
_LAYERED_TGA: Final = b"TRUEVISION-XFILE.\0"
_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
"""Brands of HEVC images and sequences (ISO/IEC 23008-12, B.4)."""
_HEIF: Final = _HEIC | {b"mif1", b"mif2", b"msf1", b"jpeg", b"jpgs", b"avci", b"avcs", b"vvic", b"evbi"}
_FILM_BOXES: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def iso_kind(data: bytes) -> str:
    """Return "AVIF", "HEIC" or "HEIF" by the brands of an ISO base media file, "CR3" for Canon's, else empty."""
    if data[4:8] != b"ftyp":
        return ""
    length = min(max(int.from_bytes(data[:4], "big"), 16), 512)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    if brands[0] == b"crx ":
        return "CR3"
    if {b"avif", b"avis"} & set(brands):
        return "AVIF"
    if _HEIC & set(brands):
        return "HEIC"
    return "HEIF" if brands[0] in _HEIF else ""


def kind_of(data: bytes) -> str:
    """Return the kind of a file that cannot be read, with its article, such as "a PDF document"; empty if unknown."""
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if iso_kind(data):
        return ""
    if data[4:8] == b"ftyp" or data[4:8] in _FILM_BOXES:
        return "a film"
    if data[:4] in (b"RIFF", b"FORM"):
        return {b"AVI ": "a film", b"WAVE": "a sound", b"ILBM": "an ILBM image", b"PBM ": "an ILBM image"}.get(
            data[8:12], ""
        )
    if data[128:132] == b"DICM":
        return "a DICOM image"
    if data[:4] == b"\0\0\2\0" and any(data[4:6]):
        return "a cursor file"
    if data[40:44] == b" EMF":
        return "a Windows metafile"
    text = data[:2048].removeprefix(b"\xef\xbb\xbf").lower()
    for pattern, kind in _TEXTS:
        if pattern.match(text):
            return kind
    if data[-18:] == _LAYERED_TGA or _is_tga(data):
        return "a TGA image"
    if data[:1] == b"\n" and data[1:2] in b"\0\2\3\4\5" and data[2:3] == b"\1" and data[3:4] in b"\1\2\4\x08":
        return "a PCX image"
    return ""


def image_kind(head: bytes) -> str:
    """Return the kind of an image that cannot be read by its first 132 bytes, empty for any other file."""
    kind = kind_of(head)
    return kind if _IMAGES.fullmatch(kind) else ""


def pointer_of(data: bytes) -> tuple[str, str] | None:
    """Return the program that has not fetched the file that this one stands for, and the command that does."""
    return next((program for start, program in _POINTERS.items() if data.startswith(start)), None)


def went_through_text(data: bytes) -> bool:
    """Return whether a file, which is none that can be read, begins like a JPEG or PNG that was saved as a text."""
    return _THROUGH_TEXT.match(data) is not None


def begins_as_image(data: bytes) -> bool:
    """Return whether the first 12 bytes of a file are those of an image that can be read."""
    return _READ.match(data) is not None


def is_text(data: bytes) -> bool:
    """Return whether a file begins with nothing but text."""
    start = data[:512]
    return bool(start) and all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)


def _is_tga(data: bytes) -> bool:
    """Return whether the header is one of Truevision's (TGA 2.0): image type, color map and depth that fit together."""
    if len(data) <= 18:
        return False
    mapped, kind, depth, flags = data[1], data[2], data[16], data[17]
    if not any(data[12:14]) or not any(data[14:16]) or flags & 0xC0:
        return False
    if kind in (1, 9):
        return mapped == 1 and depth in (8, 16) and data[7] in (15, 16, 24, 32)
    return mapped == 0 and ((kind in (2, 10) and depth in (15, 16, 24, 32)) or (kind in (3, 11) and depth in (8, 16)))
