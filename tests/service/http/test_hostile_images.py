"""What people and attackers upload: good images are stored and shown right, bad ones named, and the rest goes on."""

import io
import struct
import zlib

import pytest
import requests
from PIL import Image

NAMES = [
    "with spaces in it.jpg",
    "quotes ' and \" and “these”.jpg",
    "🦓🌈👩‍👩‍👧.jpg",
    "line\nbreak\r\nand more.jpg",
    "x" * 251 + ".jpg",
    "é" * 125 + ".jpg",
    "semi;colon; name=other.jpg",
    "percent%20%2e%2e.jpg",
    "tab\there.jpg",
    "مرحبا.jpg",
    ".jpg",
    "no extension",
]


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(mode="RGB", size=(80, 60)):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (220, 20, 20))
    image.paste((20, 20, 220), (size[0] // 2, 0, *size))
    return image.convert(mode)


def png_of(width, height, raw, depth=8, colour=2):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")


def sixteen_bit():
    row = (
        b"\0"
        + struct.pack(">HHH", 220 << 8, 20 << 8, 20 << 8) * 40
        + struct.pack(">HHH", 20 << 8, 20 << 8, 220 << 8) * 40
    )
    return png_of(80, 60, zlib.compress(row * 60), depth=16)


def animated():
    frames = [halves(), Image.new("RGB", (80, 60), (0, 255, 0))]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)


def turned():
    """Stored on its side: EXIF says how to hold it. Upright it is 80 × 60, red on the left."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(halves().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


GOOD = {
    "CMYK JPEG": lambda: saved(halves("CMYK"), "JPEG", quality=95),
    "16-bit PNG": sixteen_bit,
    "animated GIF": animated,
    "JPEG turned by EXIF": turned,
    "palette PNG": lambda: saved(halves("P"), "PNG"),
    "PNG with alpha": lambda: saved(halves("RGBA"), "PNG"),
    "WebP": lambda: saved(halves(), "WEBP", quality=95),
    "BMP": lambda: saved(halves(), "BMP"),
    "TIFF": lambda: saved(halves(), "TIFF"),
    "JPEG with rubbish behind": lambda: saved(halves(), "JPEG", quality=95) + b"rubbish" * 100,
}


def bomb():
    """A PNG of 40,000 × 40,000 pixels in some kilobytes."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * 5001) for _ in range(400)) + packer.flush()
    return png_of(40_000, 40_000, rows, depth=1, colour=0)


BAD = {
    "empty file": lambda: b"",
    "half a JPEG": lambda: (data := saved(halves(size=(400, 300)), "JPEG"))[: len(data) // 2],
    "PNG bomb": bomb,
    "text named .jpg": lambda: b"this is no image\n" * 20,
    "a PNG without its end": lambda: saved(halves(size=(300, 300)), "PNG")[:-40],
    "only a signature": lambda: b"\x89PNG\r\n\x1a\n",
    "a web page": lambda: b"<!doctype html><html><script>alert(1)</script></html>",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "gzip": lambda: b"\x1f\x8b\x08" + b"\0" * 100,
    "66 megapixels": lambda: saved(Image.new("1", (10_000, 6_600)), "PNG"),
}


def near(pixel, wanted, tolerance=70):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, wanted, strict=True))


@pytest.mark.parametrize("kind", GOOD)
def test_good_images_of_every_kind_are_stored_and_shown_right(service, kind):
    set_id = service.new_set(kind)
    data = GOOD[kind]()
    answer = service.upload(set_id, "good", data)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["width"], body["height"]) == (80, 60)
    assert requests.get(body["url"], timeout=60).content == data
    shown = Image.open(io.BytesIO(requests.get(body["thumbnail_url"], timeout=60).content))
    assert shown.mode == "RGB"
    assert shown.size == (80, 60)
    assert near(shown.getpixel((10, 30)), (220, 20, 20))
    assert near(shown.getpixel((70, 30)), (20, 20, 220))


@pytest.mark.parametrize("kind", BAD)
def test_bad_images_are_named_and_leave_nothing(service, kind):
    set_id = service.new_set(kind)
    answer = service.upload(set_id, "bad", BAD[kind](), "photo.jpg")
    assert answer.status_code == 400, answer.text
    assert len(answer.json()["message"]) > 15
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"] == []
    assert service.upload(set_id, "good", GOOD["BMP"]()).status_code == 200


def test_an_image_of_33_mib_is_413_and_leaves_nothing(service):
    set_id = service.new_set("Large")
    data = saved(Image.new("RGB", (3400, 3400)), "BMP")
    assert 33 * 2**20 < len(data) < 34 * 2**20
    answer = service.upload(set_id, "large", data)
    assert answer.status_code == 413
    assert "32 MiB" in answer.json()["message"]
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"] == []
    just = saved(Image.new("RGB", (3300, 3300)), "BMP")
    assert 31 * 2**20 < len(just) < 32 * 2**20
    assert service.upload(set_id, "large", just).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_may_be_anything(service, picture, name):
    set_id = service.new_set("Names")
    body = service.upload(set_id, "a", picture(), name)
    assert body.status_code == 200, body.text
    assert body.json()["original_filename"] == name
    listed = service.call("GET", f"training-set/{set_id}/images").json()["data"][0]["images"][0]
    assert listed["original_filename"] == name
    assert listed["filename"].isascii()


@pytest.mark.parametrize(
    ("name", "kept"),
    [("../../etc/passwd", "passwd"), ("C:\\photos\\a.jpg", "a.jpg"), ("/", ""), ("a/..", ".."), ("..\\b.png", "b.png")],
)
def test_of_a_path_only_the_name_is_kept(service, picture, name, kept):
    body = service.upload(service.new_set("Paths"), "a", picture(), name).json()
    assert body["original_filename"] == kept
