import io
import random
import struct
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from apitorch_desktop.vision.images import MAX_BYTES, UnreadableImage, measure, open_upright, shrunk, thumbnail, verify
from tests.helpers import image_samples as odd_files
from tests.helpers.image_samples import corners, photo_like, saved, scene

UPRIGHT = ["r", "g", "b", "w"]


def read(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def refused(data: bytes) -> UnreadableImage:
    """The refusal, the same from all three functions."""
    sentences = set()
    for function in (verify, open_upright, thumbnail):
        with pytest.raises(UnreadableImage) as caught:
            function(data)
        sentences.add(str(caught.value))
    assert len(sentences) == 1, sentences
    sentence = sentences.pop()
    assert sentence[0].isupper() and sentence.endswith(".") and "Error" not in sentence and "<" not in sentence
    return caught.value


GOOD = {
    "JPEG": (lambda: saved(scene(), "JPEG", quality=95), "JPEG", ".jpg", "image/jpeg"),
    "progressive JPEG": (lambda: saved(scene(), "JPEG", quality=95, progressive=True), "JPEG", ".jpg", "image/jpeg"),
    "CMYK JPEG of Adobe's": (lambda: odd_files.cmyk_jpeg(adobe=True), "JPEG", ".jpg", "image/jpeg"),
    "CMYK JPEG of others": (lambda: odd_files.cmyk_jpeg(adobe=False), "JPEG", ".jpg", "image/jpeg"),
    "JPEG with damaged EXIF": (
        lambda: saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\2"),
        "JPEG", ".jpg", "image/jpeg",
    ),
    "MPO": (lambda: odd_files.animated("MPO"), "JPEG", ".jpg", "image/jpeg"),
    "PNG": (lambda: saved(scene()), "PNG", ".png", "image/png"),
    "palette PNG": (lambda: saved(scene().quantize(8)), "PNG", ".png", "image/png"),
    "animated PNG": (lambda: odd_files.animated("PNG"), "PNG", ".png", "image/png"),
    "GIF": (lambda: saved(scene(), "GIF"), "GIF", ".gif", "image/gif"),
    "animated GIF": (lambda: odd_files.animated("GIF"), "GIF", ".gif", "image/gif"),
    "WebP": (lambda: saved(scene(), "WEBP", quality=90), "WebP", ".webp", "image/webp"),
    "animated WebP": (lambda: odd_files.animated("WEBP"), "WebP", ".webp", "image/webp"),
    "BMP": (lambda: saved(scene(), "BMP"), "BMP", ".bmp", "image/bmp"),
    "TIFF": (lambda: saved(scene(), "TIFF"), "TIFF", ".tif", "image/tiff"),
    "deflated TIFF": (lambda: saved(scene(), "TIFF", compression="tiff_adobe_deflate"), "TIFF", ".tif", "image/tiff"),
    "TIFF of many pages": (lambda: odd_files.animated("TIFF"), "TIFF", ".tif", "image/tiff"),
    "CMYK TIFF": (lambda: saved(scene().convert("CMYK"), "TIFF"), "TIFF", ".tif", "image/tiff"),
    "LAB TIFF": (
        lambda: saved(ImageCms.profileToProfile(
            scene(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"), "TIFF"),
        "TIFF", ".tif", "image/tiff",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_told_by_its_contents_and_shown_right(name: str):
    make, kind, extension, media_type = GOOD[name]
    data = make()
    info = verify(data)
    assert (info.width, info.height) == (320, 240)
    assert (info.format, info.extension, info.media_type) == (kind, extension, media_type)
    image = open_upright(data)
    assert image.mode == "RGB" and image.size == (320, 240)
    assert corners(image) == UPRIGHT
    small = read(thumbnail(data, 100))
    assert small.format == "JPEG" and small.mode == "RGB" and small.size == (133, 100)
    assert corners(small) == UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_upright(kind: str, orientation: int):
    data = odd_files.rotated(orientation, kind)
    assert read(data).getexif().get(0x0112) == orientation
    info = verify(data)
    assert (info.width, info.height) == (320, 240)
    for image in (open_upright(data), open_upright(data, at_least=60), read(thumbnail(data, 60))):
        assert image.width > image.height
        assert corners(image) == UPRIGHT
    assert not read(thumbnail(data, 60)).getexif()


def test_16_bit_gray_keeps_its_range():
    image = open_upright(odd_files.grey_16_bit())
    row = np.asarray(image)[10, :, 0].astype(int)
    assert row[0] == 0 and row[-1] == 255 and abs(int(row[128]) - 128) <= 1
    assert np.all(np.diff(row) >= 0)


def test_16_bit_color_keeps_its_color():
    assert open_upright(odd_files.rgb_16_bit()).getpixel((5, 5)) == (200, 100, 50)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 3e7])
def test_floating_point_and_32_bit_gray_is_not_clipped(top: float):
    ramp = np.tile(np.linspace(0, top, 256, dtype=np.float32), (16, 1))
    values = np.asarray(open_upright(saved(Image.fromarray(ramp), "TIFF")))[3, :, 0].astype(int)
    assert values[0] == 0 and values[-1] == 255 and abs(values[128] - 128) <= 1


def test_values_that_are_no_numbers_are_dark_not_fatal():
    ramp = np.full((16, 16), 0.5, np.float32)
    ramp[0] = np.nan
    ramp[1] = np.inf
    assert open_upright(saved(Image.fromarray(ramp), "TIFF")).getpixel((5, 8)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette", "key color"])
def test_what_is_transparent_is_shown_on_white(mode: str):
    image = Image.new("RGBA", (640, 1100), (0, 0, 0, 0))  # black below the transparency, in several bands
    image.paste((90, 90, 90, 255), (0, 0, 320, 1100))
    if mode == "LA":
        data = saved(image.convert("LA"))
    elif mode == "palette":
        data = saved(image, "GIF")
    elif mode == "key color":
        data = saved(image.convert("RGB"), "PNG", transparency=(0, 0, 0))
    else:
        data = saved(image)
    image = open_upright(data)
    assert image.mode == "RGB"
    for y in (5, 600, 1095):
        assert image.getpixel((600, y)) == (255, 255, 255)
        assert image.getpixel((100, y)) == (90, 90, 90)


def test_half_transparent_is_half_white():
    pixel = open_upright(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))).getpixel((3, 3))
    assert all(abs(value - 127) <= 1 for value in pixel)


def test_a_color_profile_is_applied_and_not_kept():
    data = odd_files.with_profile(odd_files.swapped_profile())
    for image in (open_upright(data), open_upright(data, at_least=100), read(thumbnail(data, 100))):
        assert corners(image)[:2] == ["g", "r"]
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("damage", ["empty words", "cut", "zeroes", "endless"])
def test_a_broken_color_profile_is_passed_over(kind: str, damage: str):
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = {
        "empty words": b"this is no profile",
        "cut": whole[: len(whole) // 2],
        "zeroes": whole[:128] + bytes(len(whole) - 128),
        "endless": b"\xff\xff\xff\xff" + whole[4:],
    }[damage]
    data = odd_files.with_profile(profile, kind=kind)
    assert verify(data).width == 320
    assert corners(open_upright(data)) == UPRIGHT


def test_a_profile_for_other_pixels_is_passed_over():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert corners(open_upright(odd_files.with_profile(lab))) == UPRIGHT


def test_gray_jpegs_come_in_color_mode():
    data = saved(scene().convert("L"), "JPEG")
    for image in (open_upright(data), open_upright(data, at_least=50), shrunk(data, 50)):
        assert image.mode == "RGB"
        red, green, blue = image.getpixel((image.width // 4, image.height // 4))
        assert red == green == blue


def test_the_smallest_image_is_one_pixel():
    data = saved(Image.new("RGB", (1, 1), (10, 20, 30)))
    assert (verify(data).width, verify(data).height) == (1, 1)
    assert read(thumbnail(data)).size == (1, 1)
    assert open_upright(data, at_least=256).size == (1, 1)


def test_a_thumbnail_is_never_enlarged_and_at_most_three_times_as_long():
    assert read(thumbnail(saved(scene(120, 90)))).size == (120, 90)
    assert read(thumbnail(saved(scene(2000, 1000)))).size == (512, 256)
    assert read(thumbnail(saved(scene(1000, 2000)))).size == (256, 512)
    assert read(thumbnail(saved(scene(6000, 300)))).size == (768, 38)
    assert read(thumbnail(saved(scene(5000, 1)))).size == (768, 1)


def test_a_reduced_jpeg_keeps_as_many_pixels_as_asked_for():
    data = saved(photo_like(2000, 1500), "JPEG", quality=90)
    for wanted in (100, 256, 700, 1499, 1500, 9000):
        image = open_upright(data, at_least=wanted)
        assert min(image.size) >= min(wanted, 1500)
    assert min(open_upright(data, at_least=256).size) < 600


@pytest.mark.usefixtures("real_photos")
@pytest.mark.parametrize(
    "size", [None, (500, 375), (375, 500), (641, 479), (900, 700), (1027, 771), (1600, 1200), (4000, 3000)]
)
def test_thumbnails_are_as_good_as_from_a_full_decode(photos: Path, size: tuple[int, int] | None):
    for file in sorted((photos / "train").glob("*/*.jpg"))[::60]:
        data = file.read_bytes()
        if size:
            noise = np.random.default_rng(0).normal(0, 3, (size[1], size[0], 1))
            enlarged = np.asarray(open_upright(data).resize(size, Image.Resampling.LANCZOS), float)
            data = saved(Image.fromarray(np.clip(enlarged + noise, 0, 255).astype(np.uint8)), "JPEG", quality=90)
        small = shrunk(data)
        best = open_upright(data).resize(small.size, Image.Resampling.LANCZOS)
        error = float(np.mean((np.asarray(small, float) - np.asarray(best, float)) ** 2))
        assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 45
        if size == (4000, 3000) and file.parent.name > "hat":
            break  # two of twelve megapixels are enough


def test_an_empty_file_is_called_empty():
    assert str(refused(b"")) == "The file is empty."


@pytest.mark.parametrize(
    "text", [b"hello, I am a text", b"\0" * 1000, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]
)
def test_what_is_no_image_is_refused(text: bytes):
    error = refused(text)
    assert not error.too_large


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0 ftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"%PDF-1.7\n", "PDF"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04rest", "archive"),
    ],
)  # fmt: skip
def test_a_known_kind_that_is_not_supported_is_named(start: bytes, kind: str):
    assert kind in str(refused(start + bytes(100)))


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "EPS"])
def test_formats_that_nobody_needs_are_not_decoded(kind: str):
    assert "damaged" not in str(refused(saved(scene(64, 64), kind)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_half_a_file_is_refused(kind: str):
    data = saved(photo_like(400, 300), kind)
    error = refused(data[: len(data) // 2])
    assert "cut off" in str(error) or "damaged" in str(error)


def test_half_a_jpeg_is_called_cut_off():
    for progressive in (False, True):
        data = saved(photo_like(400, 300), "JPEG", progressive=progressive)
        assert "cut off" in str(refused(data[: len(data) // 2]))


def test_a_png_bomb_is_refused_at_once():
    data = odd_files.png_bomb()
    assert len(data) < 1_000_000
    start = time.thread_time()
    error = refused(data)
    assert "65" in str(error)
    assert time.thread_time() - start < 2


def test_65_megapixels_are_the_most():
    """Sensors called 64 megapixels have 9,248 × 6,936 and up to 9,280 × 6,944."""
    rows = b"\0" * (9281 // 8 + 1) * 7004
    for width, height in ((9248, 6936), (9280, 6944), (9280, 7004)):
        assert verify(odd_files.png(width, height, rows[: (width // 8 + 1) * height], depth=1, colour=0)).width == width
    sentence = str(refused(odd_files.png(9281, 7004, rows, depth=1, colour=0)))
    assert "66 megapixels" in sentence and "65 is the most" in sentence


@pytest.mark.parametrize("side", [10_000, 16_000])
def test_sizes_that_pillow_only_warns_of_are_refused_too(side: int):
    """89 to 179 megapixels are a warning to Pillow, more is an error: the same sentence for both."""
    assert f"{side:,} × {side:,}" in str(refused(odd_files.png_bomb(side))) or "megapixels" in str(
        refused(odd_files.png_bomb(side))
    )


@pytest.mark.parametrize("side", [9_000, 13_000])
def test_a_png_is_refused_for_its_size_before_a_pixel_is_decoded(monkeypatch, side: int):
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image))
    assert "megapixels" in str(refused(odd_files.png_bomb(side)))
    assert not decoded


def test_a_png_without_exif_is_measured_without_its_pixels():
    header = odd_files.chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 6, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + odd_files.chunk(b"IDAT", b"no pixels") + odd_files.chunk(b"IEND", b"")
    assert (measure(data).width, measure(data).height) == (60, 40)
    assert "damaged" in str(refused(data))


def test_32_mebibytes_are_the_most():
    data = saved(scene(), "JPEG", quality=95)
    assert verify(data + bytes(MAX_BYTES - len(data))).format == "JPEG"
    error = refused(data + bytes(33 * 2**20 - len(data)))
    assert error.too_large and "33.0 MiB" in str(error) and "32 MiB" in str(error)


def test_a_jpeg_of_endless_scans_is_refused():
    assert verify(odd_files.many_scans(3)).format == "JPEG"
    assert "layers" in str(refused(odd_files.many_scans(5000)))


def test_a_gif_whose_frame_is_larger_than_the_limit_is_refused():
    frame = b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\x02L\x01\0;"
    refused(b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame)


def test_a_png_whose_text_unpacks_without_end_is_read_without_it():
    bomb = odd_files.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(100_000_000), 9))
    data = odd_files.png(8, 8, (b"\0" + bytes(24)) * 8, extra=[bomb])
    tracemalloc.start()
    try:
        assert verify(data).width == 8
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["JPEG", "progressive JPEG", "PNG", "palette PNG", "GIF", "WebP", "BMP", "deflated TIFF", "TIFF"]
)
def test_flipped_bytes_are_shown_or_refused_but_never_anything_else(name: str):
    data = GOOD[name][0]()
    dice = random.Random(name)
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 3, 20))):
            broken[dice.randrange(min(len(broken), dice.choice((64, 10**6))))] = dice.randrange(256)
        for function in (verify, open_upright, thumbnail):
            try:
                function(bytes(broken))
            except UnreadableImage as error:
                assert str(error).endswith(".")


def test_threads_do_not_disturb_each_other():
    files = [odd_files.rotated(orientation) for orientation in range(1, 9)]
    files += [odd_files.with_profile(odd_files.swapped_profile()), odd_files.cmyk_jpeg(adobe=True)]
    alone = [thumbnail(data, 80) for data in files]
    wrong: list[int] = []

    def work(start: int) -> None:
        for step in range(30):
            index = (start + step) % len(files)
            if thumbnail(files[index], 80) != alone[index]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_run_while_an_image_is_decoded():
    data = saved(photo_like(4000, 3000), "JPEG", quality=90)
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(1)
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before, start = len(ticks), time.process_time()
    for _ in range(5):
        thumbnail(data)
        verify(data)
    spent, during = time.process_time() - start, len(ticks) - before
    stop.set()
    thread.join()
    assert during > spent / 0.05  # never locked out for long: some twenty a second of work at the very least


def test_what_is_opened_outlives_the_file():
    image = open_upright(saved(scene()))
    assert image.resize((10, 10)).size == (10, 10)
    assert image.copy().tobytes()
