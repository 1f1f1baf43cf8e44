"""What a camera wrote is read, and what is damaged or made up is left out."""

import io

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from apitorch_desktop.vision.exif import camera_facts


def photo(tags=(), exif=(), gps=(), form="JPEG"):
    image, written = Image.new("RGB", (64, 48), "teal"), Image.Exif()
    written.update(tags)
    for number, directory in ((0x8769, exif), (0x8825, gps)):
        if directory:
            written.get_ifd(number).update(directory)
    file = io.BytesIO()
    image.save(file, form, exif=written)
    return file.getvalue()


CAMERA = {0x010F: "Canon", 0x0110: "Canon EOS 5D"}
SHOT = {
    0x9003: "2021:05:03 14:03:07", 0x829A: IFDRational(1, 200), 0x829D: IFDRational(18, 10), 0x8827: 400,
    0x920A: IFDRational(50, 1), 0xA405: 80, 0xA434: "EF50mm f/1.8",
}  # fmt: skip
PLACE = {1: "S", 2: (33.0, 51.0, IFDRational(2496, 100)), 3: "E", 4: (151.0, 12.0, 36.0)}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photo_says_when_with_what_how_and_where_it_was_taken(form):
    facts = camera_facts(photo(CAMERA, SHOT, PLACE, form))
    assert facts.taken.isoformat() == "2021-05-03T14:03:07"
    assert (facts.camera, facts.lens) == ("Canon EOS 5D", "EF50mm f/1.8")
    assert facts.exposure == ("50 mm (as 80)", "f/1.8", "1/200 s", "ISO 400")
    assert facts.place == pytest.approx((-33.8569, 151.21), abs=1e-4)


def test_a_maker_that_the_model_does_not_name_is_put_before_it():
    assert camera_facts(photo({0x010F: "Apple", 0x0110: "iPhone 12"})).camera == "Apple iPhone 12"
    assert camera_facts(photo({0x010F: "NIKON CORPORATION", 0x0110: "NIKON D750"})).camera == "NIKON D750"


def test_what_is_damaged_or_senseless_is_left_out():
    nonsense = {0x9003: "0000:00:00 00:00:00", 0x829A: IFDRational(1, 0), 0x829D: IFDRational(0, 1), 0x8827: 0}
    facts = camera_facts(photo({0x0110: "X\n\x07Y" + "z" * 200}, nonsense, {2: (99.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}))
    assert facts.camera.startswith("X Yzz")
    assert len(facts.camera) == 80
    assert (facts.taken, facts.exposure, facts.place) == (None, (), None)
    for data in (b"", b"no image at all", photo()[:40], photo()):
        assert not camera_facts(data)
    whole = photo(CAMERA, SHOT, PLACE)
    for at in range(20, 400, 7):  # any damaged byte
        camera_facts(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
