"""Formats and faults of images as phones, cameras, scanners and image generators make them."""

import io
import random
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apitorch_desktop.vision import images, raw_photos, repair
from apitorch_desktop.vision.images import UnreadableImage, as_jpeg, measure, open_upright, shrunk, thumbnail, verify
from tests.helpers import image_samples as samples
from tests.helpers.image_samples import chunk, corners, photo_like, png, raw_photo, saved, scene

UPRIGHT = ["r", "g", "b", "w"]
HEIF = Path(__file__).parents[1] / "data" / "heif"


def shown(data: bytes) -> list[str]:
    """The corners of the scene, seen by every function."""
    assert verify(data) == measure(data)
    assert corners(shrunk(data, 60)) == corners(open_upright(data)) == corners(Image.open(io.BytesIO(thumbnail(data))))
    return corners(open_upright(data))


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        verify(data)
    return str(caught.value)


# --- HEIC, AVIF, JPEG XL


@pytest.mark.parametrize("name", ["scene", "turned", "10-bit"])
def test_a_heic_photo_is_read_upright(name: str):
    data = (HEIF / f"{name}.heic").read_bytes()
    assert shown(data) == UPRIGHT
    info = verify(data)
    assert (info.width, info.height, info.extension, info.media_type) == (320, 240, ".heic", "image/heic")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_avif_photo_is_read_upright(orientation: int):
    data = samples.rotated(orientation, "AVIF")
    assert shown(data) == UPRIGHT
    assert (verify(data).width, verify(data).extension) == (320, ".avif")


def test_the_brand_behind_a_general_one_decides():
    """Many writers put `mif1` first and the codec among the compatible brands."""
    avif = bytearray(saved(scene(), "AVIF"))
    avif[8:12] = b"mif1"
    assert verify(bytes(avif)).format == "AVIF"
    heic = bytearray((HEIF / "scene.heic").read_bytes())
    heic[8:12] = b"mif1"
    assert verify(bytes(heic)).format == "HEIC"


@pytest.mark.parametrize("lossless", [False, True])
def test_a_jpeg_xl_is_read(lossless: bool):
    pytest.importorskip("pillow_jxl")
    data = saved(scene(), "JXL", lossless=lossless)
    assert shown(data) == UPRIGHT
    boxed = (
        struct.pack(">I4s", 12, b"JXL ") + b"\r\n\x87\n" + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jxl ", 0, b"jxl ")
    )
    boxed += struct.pack(">I4s", 8 + len(data), b"jxlc") + data
    assert shown(boxed) == UPRIGHT


def test_a_jpeg_packed_as_jpeg_xl_is_read():
    pytest.importorskip("pillow_jxl")
    stream = io.BytesIO()
    source = Image.open(io.BytesIO(saved(scene(), "JPEG", quality=95)))
    source.save(stream, "JXL", lossless_jpeg=True)
    assert shown(stream.getvalue()) == UPRIGHT


@pytest.mark.parametrize(("width", "height"), [(320, 240), (8, 8), (256, 256), (4000, 3000), (333, 17), (1920, 1080)])
def test_the_size_of_a_jpeg_xl_is_read_before_its_pixels(width: int, height: int):
    pytest.importorskip("pillow_jxl")
    data = saved(Image.new("L", (width, height)), "JXL", effort=1)
    assert images.jxl_size(data) == (width, height)


def test_a_jpeg_xl_of_too_many_pixels_is_refused_by_its_header():
    bits = 0 | (3 << 1) | (49_999 << 3) | (1 << 33)  # not small; 30 bits of height; as wide as high
    assert "50,000" in refusal(b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(100))


def test_without_its_decoder_a_jpeg_xl_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    assert "JPEG XL image, which needs the extra “jxl”" in refusal(b"\xff\x0a\x7f\x00" + bytes(50))


@pytest.mark.parametrize("cut", [200, 500, 900])
def test_a_part_of_a_heic_photo_is_refused_by_its_name(cut: int):
    assert refusal((HEIF / "scene.heic").read_bytes()[:cut]).startswith("The HEIC is ")


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
@pytest.mark.parametrize("side", [9000, 30_000, 2**31 - 1])
def test_a_size_that_only_the_container_claims_is_refused_before_decoding(kind: str, side: int):
    data = bytearray((HEIF / "scene.heic").read_bytes() if kind == "HEIC" else saved(scene(), "AVIF"))
    at = data.index(b"ispe") + 8  # version and flags, then width and height (ISO/IEC 23008-12, 6.5.3)
    data[at : at + 8] = struct.pack(">II", side, side)
    tracemalloc.start()
    try:
        refusal(bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["scene.heic", "AVIF", "JXL", "raw", "deep"])
def test_flipped_bytes_are_shown_or_refused_but_never_anything_else(name: str):
    data = {
        "scene.heic": (HEIF / "scene.heic").read_bytes,
        "AVIF": lambda: saved(scene(), "AVIF"),
        "JXL": lambda: saved(scene(), "JXL") if "pillow_jxl" in sys.modules else saved(scene()),
        "raw": raw_photo,
        "deep": lambda: samples.deep_tiff(np.asarray(scene(80, 60)).astype(np.float32) / 255),
    }[name]()
    dice = random.Random(name)
    for _ in range(40):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 3, 20))):
            broken[dice.randrange(min(len(broken), dice.choice((64, 600, 10**6))))] = dice.randrange(256)
        for function in (verify, open_upright, thumbnail):
            try:
                function(bytes(broken))
            except UnreadableImage as error:
                assert str(error).endswith(".")


def test_a_heic_photo_as_a_jpeg_is_upright_and_universal():
    converted = as_jpeg((HEIF / "turned.heic").read_bytes())
    assert verify(converted).format in images.UNIVERSAL
    assert shown(converted) == UPRIGHT


# --- raw photos


@pytest.mark.parametrize(
    ("make", "kind"), [(b"NIKON CORPORATION", "NEF"), (b"SONY", "ARW"), (b"SAMSUNG", "SRW"), (b"ACME", "RAW")]
)
def test_a_raw_photo_is_shown_by_its_preview_and_not_by_its_thumbnail(make: bytes, kind: str):
    data = raw_photo(make)
    info = verify(data)
    assert (info.width, info.height, info.format, info.extension) == (640, 480, kind, f".{kind.lower()}")
    assert shown(data) == UPRIGHT


def test_a_dng_is_shown_by_its_preview():
    assert (verify(raw_photo(dng=True)).format, verify(raw_photo(dng=True)).width) == ("DNG", 640)


@pytest.mark.parametrize("preview", [None, (160, 120)])
@pytest.mark.parametrize("installed", [True, False])
def test_a_raw_photo_with_nothing_but_a_thumbnail_is_refused(
    preview: tuple[int, int] | None, installed: bool, monkeypatch: pytest.MonkeyPatch
):
    if not installed:
        monkeypatch.setitem(sys.modules, "rawpy", None)
    for dng in (False, True):
        sentence = refusal(raw_photo(preview=preview, dng=dng))
        assert "raw photo" in sentence and ("preview" in sentence) and ("extra “raw”" in sentence) != installed


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_of_a_raw_photo_is_turned_as_the_photo_is(orientation: int):
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    upright = scene(640, 800 if orientation >= 5 else 480)
    jpeg = saved(upright.transpose(undo[orientation]) if orientation in undo else upright, "JPEG", quality=90)
    tags = {254: 1, 256: 96, 257: 72, 262: 6, 259: 6, 274: orientation, 50706: b"\1\4\0\0", 513: 8, 514: len(jpeg)}
    assert shown(samples.tiff([tags], blobs=jpeg)) == UPRIGHT


def test_other_raw_photos_are_read_by_their_own_places():
    jpeg = saved(scene(640, 480), "JPEG", quality=90)
    panasonic = samples.tiff([{0x2E: jpeg, 271: b"Panasonic\0"}], start=b"IIU\0")
    fuji = b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">II", 92, len(jpeg)) + jpeg
    canon = struct.pack(">I4s4sI", 16, b"ftyp", b"crx ", 1)
    canon += struct.pack(">I4sIHHHHI", 24 + len(jpeg), b"PRVW", 0, 1, 640, 480, 1, len(jpeg)) + jpeg
    for data, kind in ((panasonic, "RW2"), (fuji, "RAF"), (canon, "CR3")):
        assert (verify(data).format, verify(data).width) == (kind, 640)
        assert shown(data) == UPRIGHT


def test_a_raw_photo_that_is_cut_off_and_the_dot_of_a_phase_one_are_no_plain_tiffs():
    """As the first 50 kB of a Sony have no directory of the sensor, and the first image of an IIQ is one pixel."""
    head = {254: 1, 259: 6, 271: b"SONY\0", 330: 132_000, 513: 135_000, 514: 840_000}
    assert "raw photo (ARW)" in refusal(samples.tiff([head]))
    dot = {254: 0, 256: 1, 257: 1, 258: 8, 259: 1, 262: 2, 277: 3, 273: 8, 279: 3}
    assert "raw photo (IIQ)" in refusal(samples.tiff([dot], blobs=b"IIIICwaR"))


def test_a_plain_tiff_of_several_pages_is_no_raw_photo():
    data = samples.animated("TIFF")
    assert raw_photos.raw_kind(data, raw_photos.tiff_directories(data)) == ""


def test_directories_that_lead_in_circles_end():
    data = bytearray(samples.tiff([{256: 1, 330: (8, 8)}]))
    start = struct.unpack_from("<I", data, 4)[0]
    data[start + 2 + 24 : start + 2 + 28] = struct.pack("<I", start)
    assert len(raw_photos.tiff_directories(bytes(data))) <= 32


# --- JPEG


def test_a_film_behind_a_jpeg_does_not_count():
    assert shown(samples.motion_photo()) == UPRIGHT


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_last_bytes_is_read(cut: int, progressive: bool, mode: str):
    whole = saved(scene().convert(mode), "JPEG", quality=90, progressive=progressive)
    assert open_upright(whole[:-cut]).tobytes() == open_upright(whole).tobytes()
    assert verify(whole[:-cut]) == verify(whole)


@pytest.mark.parametrize("end", [bytes(2), b"\xff\0", bytes(500), b"garbage"])
def test_a_jpeg_with_something_else_in_place_of_its_end_is_read(end: bytes):
    whole = saved(scene(), "JPEG", quality=90)
    assert open_upright(whole[:-2] + end).tobytes() == open_upright(whole).tobytes()


@pytest.mark.parametrize("cut", [3, 4, 5])
def test_a_jpeg_that_lost_its_last_blocks_is_read(cut: int):
    whole = saved(photo_like(400, 300), "JPEG", quality=90)
    lost = np.asarray(open_upright(whole), int) - np.asarray(open_upright(whole[:-cut]), int)
    assert not lost[:-16].any()


def test_a_jpeg_without_an_end_and_without_its_lower_half_is_cut_off():
    whole = saved(photo_like(400, 300), "JPEG", quality=90)
    for kept in (len(whole) // 2, len(whole) - 200):
        assert "cut off" in refusal(whole[:kept])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_a_jpeg_whose_line_ends_were_changed_is_refused(options: dict[str, bool]):
    data = saved(photo_like(320, 240), "JPEG", **options)
    whole = data[:2] + b"\xff\xfe\0\x12" + b"a text\r\n" * 2 + data[2:]
    assert verify(whole).format == "JPEG"
    sentence = refusal(whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert "damaged" in sentence and "text" in sentence
    with pytest.raises(UnreadableImage):
        measure(data.replace(b"\n", b"\r\n"))


def test_a_thumbnail_inside_a_jpeg_neither_ends_nor_counts():
    inner = saved(scene(60, 40), "JPEG")
    whole = saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0" + inner)
    assert repair.jpeg_structure(whole).scans == 1
    assert shown(whole) == UPRIGHT


@pytest.mark.parametrize(
    ("frame", "precision", "name"),
    [
        (0xC1, 12, "12 bits"),
        (0xC3, 8, "lossless JPEG"),
        (0xC3, 16, "lossless JPEG"),
        (0xC5, 8, "hierarchical"),
        (0xF7, 8, "JPEG-LS"),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(frame: int, precision: int, name: str):
    data = bytearray(saved(scene(64, 64), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = frame, precision
    assert name in refusal(bytes(data))


def test_markers_without_end_are_refused_soon():
    refusal(b"\xff\xd8\xff" + b"\xff\x01" * 5_000_000)
    refusal(b"\xff\xd8" + b"\xff" * 10_000_000 + b"\0")


# --- PNG


def scene_png(*extra: bytes, damaged: bytes = b"") -> bytes:
    """The scene with more chunks before its pixels; the checksum of the chunk `damaged` is wrong."""
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(scene()))
    data = bytearray(png(320, 240, rows, extra=extra))
    if damaged:
        at = data.index(damaged)
        end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
        data[end] ^= 0xFF
    return bytes(data)


LARGE = b"workflow " * 300_000
PROFILE = b"name\0\0" + zlib.compress(bytes(1_500_000))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(LARGE)),
        chunk(b"tEXt", b"prompt\0" + LARGE),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LARGE)),
        chunk(b"iCCP", PROFILE),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(20_000_000), 1)),
        chunk(b"caBX", LARGE),
        chunk(b"tRNS", b""),
        b"".join(chunk(b"tEXt", b"a\0b") for _ in range(5000)),
    ],
    ids=["zTXt", "tEXt", "iTXt", "profile", "endless profile", "credentials", "no transparency", "many"],
)
def test_a_png_with_much_beside_its_pixels_is_read(extra: bytes):
    assert shown(scene_png(extra)) == UPRIGHT


@pytest.mark.parametrize(
    "name", [b"pHYs", b"tEXt", b"gAMA", b"iCCP", b"tIME", b"sRGB", b"cHRM", b"sBIT", b"bKGD", b"eXIf", b"hIST"]
)
def test_a_bad_checksum_of_what_does_not_matter_is_passed_over(name: bytes):
    body = {b"iCCP": PROFILE, b"gAMA": bytes(4), b"sRGB": b"\0", b"cHRM": bytes(32)}.get(name, bytes(9))
    assert shown(scene_png(chunk(name, body), damaged=name)) == UPRIGHT


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_bad_checksum_of_what_matters_is_refused(name: bytes):
    assert refusal(scene_png(chunk(b"PLTE", bytes(9)), damaged=name)).startswith("The PNG is ")


@pytest.mark.parametrize("exif", [b"", chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")])
@pytest.mark.parametrize("colored", [False, True])
def test_a_png_whose_stream_has_a_wrong_checksum_is_read_whole(exif: bytes, colored: bool):
    image = scene() if colored else scene().convert("L")
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(image))
    stream = bytearray(zlib.compress(rows))
    stream[-1] ^= 1
    head = png(320, 240, b"", colour=2 if colored else 0)[:33]
    parts = [chunk(b"IDAT", bytes(stream[at : at + 400])) for at in range(0, len(stream), 400)]
    seen = open_upright(head + exif + b"".join(parts) + chunk(b"IEND", b""))
    assert np.array_equal(np.asarray(seen), np.asarray(image.convert("RGB")))
    verify(head + exif + b"".join(parts) + chunk(b"IEND", b""))
    damaged = head + exif + b"".join(parts).replace(parts[1], parts[1][:20] + b"\0\0\0" + parts[1][23:])
    assert "damaged" in refusal(damaged + chunk(b"IEND", b""))


def test_a_png_packed_for_ios_is_named():
    data = scene_png()
    assert "iOS" in refusal(data[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + data[8:])


def test_a_damaged_png_with_exif_behind_its_pixels_is_refused():
    data = samples.rotated(6, "PNG")
    at = data.index(b"IDAT") + 60
    damaged = data[:at] + bytes(40) + data[at + 40 :]
    exif = data.index(b"eXIf") - 4
    assert "damaged" in refusal(damaged)
    assert "damaged" in refusal(damaged[:exif] + scene_png()[33:-12] + damaged[exif:])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "packed TIFF", "GIF", "BMP"])
def test_what_is_cut_off_is_refused_when_it_is_measured(kind: str):
    options = {"compression": "tiff_lzw"} if kind == "packed TIFF" else {}
    data = saved(photo_like(320, 240), kind.split()[-1], **options)
    assert measure(data) == verify(data)
    for cut in (data[: len(data) * 2 // 5], data[: len(data) - 2900]):
        with pytest.raises(UnreadableImage, match=r"cut off|damaged"):
            measure(cut)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_an_image_without_the_mark_of_its_end_is_read(kind: str):
    data = saved(scene(), kind)
    assert shown(data[: -12 if kind == "PNG" else -1]) == UPRIGHT


def test_orientation_and_profile_of_a_png_stay_beside_what_is_dropped():
    turned = samples.rotated(6, "PNG")
    at = turned.index(b"IDAT") - 4
    assert shown(turned[:at] + chunk(b"tEXt", b"prompt\0" + LARGE) + turned[at:]) == UPRIGHT
    swapped = samples.with_profile(samples.swapped_profile(), kind="PNG")
    at = swapped.index(b"IDAT") - 4
    assert shown(swapped[:at] + chunk(b"zTXt", b"a\0\0" + zlib.compress(LARGE)) + swapped[at:])[:2] == ["g", "r"]


# --- depth


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["gray PNG", "gray TIFF", "RGB PNG", "RGB TIFF"])
def test_fewer_bits_in_16_are_seen_in_their_range(bits: int, kind: str):
    ramp = np.tile(np.linspace(0, 2**bits - 1, 256).astype(np.uint16), (16, 1))
    color = np.dstack([ramp, ramp[:, ::-1], ramp])
    data = {
        "gray PNG": lambda: saved(Image.fromarray(ramp)),
        "gray TIFF": lambda: samples.deep_tiff(ramp),
        "RGB PNG": lambda: png(256, 16, b"".join(b"\0" + row.astype(">u2").tobytes() for row in color), depth=16),
        "RGB TIFF": lambda: samples.deep_tiff(color),
    }[kind]()
    row = np.asarray(open_upright(data))[8].astype(int)
    assert row[0, 0] == 0 and row[-1, 0] == 255 and abs(row[128, 0] - 128) <= 1
    assert row[0, 1] == (255 if kind.startswith("RGB") else 0)


def test_12_bits_of_color_with_an_opaque_alpha_are_seen_in_their_range():
    values = np.dstack([np.asarray(scene()).astype(np.uint16) * 16, np.full((240, 320), 65535, np.uint16)])
    data = png(320, 240, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values), depth=16, colour=6)
    assert corners(open_upright(data)) == UPRIGHT


@pytest.mark.parametrize("number", ["f4", "f8", "u4", "i4", "i2"])
@pytest.mark.parametrize("colored", [False, True])
def test_a_tiff_of_other_numbers_is_read(number: str, colored: bool):
    top = 1.0 if number[0] == "f" else 65535 if number != "i2" else 255
    values = (np.asarray(scene(), np.float64) / 255 * top).astype(number)
    data = samples.deep_tiff(values if colored else values[:, :, 0])
    image = open_upright(data)
    assert corners(image) == UPRIGHT if colored else image.getpixel((5, 5))[0] in range(218, 223)
    assert (verify(data).width, verify(data).height) == (320, 240)


def test_unsigned_numbers_of_32_bits_and_white_of_0_are_not_turned_around():
    gray = np.asarray(scene().convert("L"))
    whole = samples.deep_tiff((gray.astype(np.float64) / 255 * (2**32 - 1)).astype(np.uint32))
    ours = np.asarray(open_upright(whole).convert("L"), int)
    assert np.corrcoef(ours.ravel(), gray.ravel())[0, 1] > 0.99
    inverted = samples.deep_tiff(65535 - gray.astype(np.uint16) * 257, white_is_zero=True)
    assert abs(np.asarray(open_upright(inverted).convert("L"), int) - gray).max() <= 1


METERS = np.asarray(photo_like(320, 240).convert("L"), np.float32)


@pytest.mark.parametrize(
    "values",
    [
        METERS * 4,
        400 + METERS * 10,
        METERS * 40,
        METERS * 250 - 9000,
        METERS / 255 * 0.2,
        METERS.astype(np.uint32) * 2**20,
    ],
    ids=["0 to 1000", "meters", "16 bits", "below 0", "a fifth", "32 bits"],
)
@pytest.mark.parametrize("outlier", [False, True])
def test_numbers_of_no_known_range_are_seen_in_theirs(values: np.ndarray, outlier: bool):
    values = values.copy()
    if outlier:
        values[5, 5:9] = values.max() + np.array([1, 3, 5, 6]) * (values.max() - values.min())
    seen = np.asarray(open_upright(samples.deep_tiff(values)).convert("L"), int)
    assert seen.min() <= 2 and seen.max() >= 250 and seen.std() > METERS.std() / 2
    assert np.corrcoef(seen[10:].ravel(), METERS[10:].ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("low", "top"), [(0, 1), (0, 255), (-1, 1), (-20, 60)])
def test_numbers_of_a_known_range_are_seen_in_it(low: int, top: int):
    tones = (METERS - METERS.min()) / (METERS.max() - METERS.min())
    seen = open_upright(samples.deep_tiff((low + tones * (top - low)).astype(np.float32))).convert("L")
    assert abs(np.asarray(seen, int) - tones * 255).max() <= 1


@pytest.mark.parametrize("number", ["f4", "f8", "i2", "i4"])
@pytest.mark.parametrize("fill", [-9999, -32768, np.nan, np.inf, -3.4e38, 1e20])
@pytest.mark.parametrize("tagged", [False, True])
def test_pixels_without_a_number_are_left_out_of_the_range(number: str, fill: float, tagged: bool):
    if number[0] == "i" and not abs(fill) < 2**15 + 1:
        return
    values = (400 + METERS * 8).astype(number)
    plain = np.asarray(open_upright(samples.deep_tiff(values)).convert("L"), int)
    values[:60] = fill
    data = samples.deep_tiff(values, nodata=f"{fill}\0".encode() if tagged else b"")
    seen = np.asarray(open_upright(data).convert("L"), int)
    assert abs(seen - plain)[60:].max() <= 8
    assert not seen[:60].any() or fill == 1e20


@pytest.mark.parametrize(
    "span", [(21500, 24300), (28900, 30700), (7301, 8206), (1200, 2900), (300, 1200), (40000, 44000)]
)
@pytest.mark.parametrize("fill", [None, 0])
@pytest.mark.parametrize("kind", ["uint16 PNG", "uint16 TIFF", "int32 TIFF"])
def test_whole_numbers_that_fill_a_small_part_of_a_white_are_seen_in_their_range(
    span: tuple, fill: int | None, kind: str
):
    tones = (METERS - METERS.min()) / (METERS.max() - METERS.min())
    values = np.rint(span[0] + tones * (span[1] - span[0])).astype(kind.split()[0])
    if fill is not None and span[0] > span[1] / 2:  # farther from all others than those are from each other
        values[:9, :9] = fill
    data = saved(Image.fromarray(values)) if "PNG" in kind else samples.deep_tiff(values)
    seen = np.asarray(open_upright(data).convert("L"), int)
    assert abs(seen - tones * 255)[9:].max() <= 2


@pytest.mark.parametrize("span", [(0, 255), (20, 235), (150, 245), (0, 70), (110, 180)])
def test_photos_in_16_bits_keep_their_tones(span: tuple):
    tones = (METERS - METERS.min()) / (METERS.max() - METERS.min())
    values = np.rint((span[0] + tones * (span[1] - span[0])) * 257).astype(np.uint16)
    seen = np.asarray(open_upright(saved(Image.fromarray(values))).convert("L"), int)
    white = 255 if span[1] > 127 else 32767 / 257
    assert abs(seen - np.rint(values / 257 / white * 255)).max() <= 1


def test_a_drawing_of_few_tones_and_an_image_of_one_keep_the_farthest():
    tones = np.repeat(np.float32([0, 300, 400, 9000]), 400).reshape(40, 40)
    assert [open_upright(samples.deep_tiff(tones)).getpixel((0, y))[0] for y in (0, 39)] == [0, 255]
    for value in (0.0, 0.5, 7.0, 9000.0, np.nan):
        assert len(open_upright(samples.deep_tiff(np.full((40, 40), value, np.float32))).getcolors() or ()) == 1


def test_a_tiff_of_numbers_that_unpack_without_end_is_refused_by_its_header():
    tags = {256: 7000, 257: 7000, 258: (64,) * 3, 259: 8, 262: 2, 273: 8, 277: 3, 278: 7000, 279: 100, 339: (3,) * 3}
    assert "MiB of numbers" in refusal(samples.tiff([tags], blobs=bytes(100)))


def test_separate_planes_of_16_bits_are_named_and_of_8_read():
    planes = np.ascontiguousarray(np.asarray(scene()).transpose(2, 0, 1))
    assert corners(open_upright(samples.planar_tiff(planes))) == UPRIGHT
    assert "separate color planes of 16 bits" in refusal(samples.planar_tiff(planes.astype(np.uint16) * 257))
    assert "separate color planes of 32 bits" in refusal(samples.planar_tiff(planes.astype(np.float32)))


@pytest.mark.parametrize("packing", [22610, 34933, 60000, 34712, 34887, 50001, 50002])
def test_a_packing_that_is_not_read_is_named(packing: int, capfd: pytest.CaptureFixture[str]):
    data = samples.tiff(
        [{256: 8, 257: 8, 258: (8, 8, 8), 259: packing, 262: 2, 273: 8, 277: 3, 278: 8, 279: 64}], blobs=bytes(64)
    )
    assert "TIFF packed with" in refusal(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damaged", [slice(4000, 4400), slice(-60, None)])
def test_a_damaged_tiff_is_an_error_and_no_line_on_standard_error(damaged: slice, capfd: pytest.CaptureFixture[str]):
    data = bytearray(saved(Image.effect_noise((90, 90), 60), "TIFF", compression="tiff_lzw"))
    data[damaged] = b"\xff" * len(data[damaged])
    assert refusal(bytes(data))
    assert capfd.readouterr() == ("", "")


# --- names


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"<?xml version='1.0'?>\n<!-- by hand -->\n<!DOCTYPE svg PUBLIC '-'>\n<svg width='1'>", "SVG"),
        (b"\xef\xbb\xbf<svg:svg xmlns:svg='x'>", "SVG"),
        (b"<!-- saved -->\n<html>", "web page"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"II\xbc\x01", "JPEG XR"),
        (b"qoif\0\0\0\x08", "QOI"),
        (b"P6\n# made\n8 8\n255\n", "PNM"),
        (b"P5 8 8 255 ", "PNM"),
        (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x08\0\x08\0\x18\x20" + bytes(99), "TGA"),
        (b"\n\5\1\x08\0\0\0\0\x07\0\x07\0", "PCX"),
        (b"8BPS\0\2", "Photoshop"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "film"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "film"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "film"),
        (b"RIFF\x10\0\0\0AVI LIST", "film"),
        (b"\x1a\x45\xdf\xa3\x01", "film"),
        (b"Rar!\x1a\7\0", "archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"/annex/objects/SHA256E-s20--0.jpg\n", "git annex get"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (b"L\0\0\0\1\x14\2\0\0\0", "shortcut"),
        (b"hello, I am a text\n", "a text"),
        (bytes(5000), "nothing but zeros"),
        (b"\xff" * 5000, "nothing but FF bytes"),
        (b"FOVb\0\0\2\0", "raw photo (X3F)"),
        (b"II\x1a\0\0\0HEAPCCDR", "raw photo (CRW)"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(start: bytes, kind: str):
    assert kind in refusal(start)


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_a_file_of_which_only_the_start_is_right_is_called_damaged(start: bytes):
    name = images._name_by_start(start)
    assert refusal(start + b"\x80\x90" * 200).startswith(f"The {name} is ")


@pytest.mark.parametrize("before", [b"\n", b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_behind_something_else_is_named(before: bytes, kind: str):
    assert f"a {kind} with {len(before)} byte" in refusal(before + saved(scene(), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("replaced", [True, False])
def test_an_image_that_was_saved_as_a_text_is_named(kind: str, replaced: bool):
    data = saved(scene(), kind)
    text = data.decode("utf-8", "replace") if replaced else data.decode("latin-1")
    assert "as a text" in refusal(text.encode())


@pytest.mark.parametrize(
    "start",
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x10JF", b"GIF89a", b"II*\0\x08\0", b"\0\0\0\x18ftypheic"],
)
def test_a_file_that_ends_within_its_first_bytes_is_called_cut_off(start: bytes):
    assert "cut off" in refusal(start)


def test_kinds_that_are_not_decoded_are_named_and_not_called_damaged():
    bitfields = bytearray(saved(scene(), "BMP"))
    struct.pack_into("<H", bitfields, 28, 7)  # bits of a pixel
    assert "a BMP of an uncommon kind" in refusal(bytes(bitfields))
    huge = bytearray(saved(scene(), "AVIF"))
    struct.pack_into(">II", huge, huge.index(b"ispe") + 8, 17_000, 17_000)
    assert "289 megapixels" in refusal(bytes(huge))
    assert "damaged" in refusal(b"GIF89a" + bytes(20))


def test_a_png_of_palette_kind_without_a_palette_is_refused_by_its_header():
    data = png(8, 8, bytes(9 * 8), colour=3)
    for function in (verify, measure, open_upright, thumbnail):
        with pytest.raises(UnreadableImage, match="damaged"):
            function(data)
    assert verify(png(8, 8, bytes(9 * 8), colour=3, extra=[chunk(b"PLTE", bytes(range(6)))])).width == 8


def test_a_bmp_with_more_colors_than_its_pixels_name_is_read():
    plain = saved(scene().quantize(256), "BMP")
    size, offset = (int.from_bytes(plain[at : at + 4], "little") for at in (2, 10))
    longer = bytearray(plain[:offset] + bytes(4 * 44) + plain[offset:])
    struct.pack_into("<I4xI", longer, 2, size + 4 * 44, offset + 4 * 44)
    struct.pack_into("<I", longer, 46, 300)
    assert shown(bytes(longer)) == UPRIGHT


@pytest.mark.parametrize("ends", [(b"\r\n", b"\n"), (b"\n", b"\r\n")])
def test_a_png_whose_line_ends_were_changed_is_named(ends: tuple[bytes, bytes]):
    assert "as a text" in refusal(saved(scene()).replace(*ends))
