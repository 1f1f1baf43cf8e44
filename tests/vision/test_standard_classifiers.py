import io
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from apitorch_desktop.vision import image_quality
from apitorch_desktop.vision.images import open_upright
from apitorch_desktop.vision.standard_classifiers import (
    ReaderUnavailable,
    SafetyScorer,
    TextReader,
    _pieces,
    design_score,
    safe_for_work,
)
from tests.helpers.image_samples import photo_like, saved


def sign(*lines: str, size: int = 48, width: int = 900, height: int = 500) -> Image.Image:
    """Lettering on something like a photo."""
    image = photo_like(width, height)
    draw = ImageDraw.Draw(image)
    draw.rectangle((30, 30, width - 30, height - 30), fill=(245, 245, 235))
    for index, line in enumerate(lines):
        draw.text((70, 60 + index * 2 * size), line, fill=(20, 20, 60), font=ImageFont.load_default(size))
    return image


@pytest.fixture(scope="module")
def read() -> TextReader:
    return TextReader()


@pytest.fixture(scope="module")
def some_photos(photos) -> list[Image.Image]:
    return [open_upright(file.read_bytes()) for file in sorted((photos / "train").glob("*/*.jpg"))[::60]]


def test_safe_and_unsafe_scores_are_put_in_words():
    safe, unsafe = safe_for_work(0.03), safe_for_work(0.9)
    assert (safe.label, safe.sentence, safe.value) == ("safe for work", "Image is safe for work.", True)
    assert (unsafe.label, unsafe.sentence, unsafe.value) == ("not safe for work", "Image is not safe for work.", False)
    assert safe.confidence_value == pytest.approx(0.97) and unsafe.confidence_value == pytest.approx(0.9)


def test_clothes_are_safe_for_work(clothing):
    score = SafetyScorer()
    images = (open_upright(file.read_bytes(), 448) for file in clothing.test.files)
    assert np.mean([score(image).value for image in images]) > 0.98


def test_lettering_is_read_line_by_line(read):
    answer = read(sign("Fresh bread", "Open at 7 o'clock"))
    assert answer.label == "contains text" and answer.value is True
    assert answer.sentence == "Image contains text."
    first, second = answer.text.lower().split("\n")
    assert "fresh" in first and "bread" in first
    assert "open" in second
    assert 0.8 < answer.confidence_value <= 1


def test_an_image_without_lettering_contains_none(read):
    for image in (photo_like(640, 480), Image.new("RGB", (300, 300), "white"), Image.new("RGB", (1, 1))):
        answer = read(image)
        assert answer.label == "does not contain text" and answer.value is False
        assert answer.sentence == "Image does not contain text."
        assert answer.text == "" and answer.confidence_value is None


def test_one_or_two_letters_are_no_text(read):
    assert read(sign("H2", size=80)).value is False
    assert read(sign("OK!?", size=80)).value is False
    assert read(sign("YES", size=80)).value is True


def test_most_photos_of_clothes_contain_no_text(read, some_photos):
    answers = [read(image) for image in some_photos]
    assert sum(answer.value for answer in answers) <= 3


def test_small_lettering_in_a_large_photo_is_read(read):
    image = Image.new("RGB", (3000, 2000), "white")
    ImageDraw.Draw(image).text((900, 900), "Wash at 30 degrees", fill="black", font=ImageFont.load_default(70))
    assert "Wash" in read(image).text


@pytest.mark.parametrize("lying", [True, False], ids=["lying", "standing"])
def test_a_long_strip_is_read_from_end_to_end(read, lying: bool):
    strip = Image.new("RGB", (6000, 100) if lying else (300, 6000), "white")
    places = range(60, 5800, 530)
    draw = ImageDraw.Draw(strip)
    for number, at in enumerate(places):
        draw.text((at, 20) if lying else (40, at), f"Word{number:02d}", "black", ImageFont.load_default(44))
    assert (read(strip).text or "").split("\n") == [f"Word{number:02d}" for number in range(len(places))]


@pytest.mark.parametrize(
    "size", [(60_000, 1000), (1000, 60_000), (20_000, 1000), (7000, 7000), (28_000, 7000), (12_000, 100)]
)
@pytest.mark.parametrize("noisy", [False, True], ids=["blank", "noisy"])
def test_the_work_for_a_few_bytes_of_large_area_is_bounded(size: tuple[int, int], noisy: bool):
    image = Image.new("RGB", size, "white")
    if noisy:
        image.paste(photo_like(1000, 100).resize((size[0], size[1])))
    pieces = _pieces(image)
    assert max(max(piece.size) for piece in pieces) <= 2000
    detected = [piece.width * piece.height * min(1, 1280 / max(piece.size)) ** 2 for piece in pieces]
    assert sum(detected) < 5.5e6  # four photos of 1280 × 960
    assert len(pieces) <= 16


def test_what_is_blank_is_not_searched():
    reader = TextReader()
    assert reader(Image.new("RGB", (7000, 7000), "white")).value is False
    assert reader(Image.new("RGB", (60_000, 1000), (250, 251, 252))).value is False
    assert reader._engine is None


def test_a_strip_of_large_area_is_read(read):
    strip = Image.new("RGB", (20_000, 1000), "white")
    places = range(200, 19_000, 1900)
    for number, at in enumerate(places):
        ImageDraw.Draw(strip).text((at, 300 + 40 * number), f"Word{number:02d}", "black", ImageFont.load_default(90))
    assert read(strip).text.split("\n") == [f"Word{number:02d}" for number in range(len(places))]


@pytest.mark.parametrize(
    "size", [(5000, 3), (65500, 1), (1, 65500), (65500, 7), (9000, 20), (7, 9000), (1, 1), (6, 2000)]
)
def test_a_strip_without_room_for_letters_has_none(read, size: tuple[int, int]):
    assert read(Image.new("RGB", size, "gray")).value is False


def test_the_models_are_never_fetched(monkeypatch):
    def no_network(*args: object) -> None:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert TextReader(threads=1)(sign("Offline")).text == "Offline"


def test_a_missing_model_is_said_to_be_missing(monkeypatch, tmp_path):
    import rapidocr

    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ReaderUnavailable, match="Install it again"):
        TextReader()(sign("Hello"))


def test_heavy_libraries_wait_until_they_are_asked_for():
    code = (
        "import sys, apitorch_desktop.vision.standard_classifiers, apitorch_desktop.vision.head, apitorch_desktop.vision.encoder,"
        "apitorch_desktop.vision.issues, apitorch_desktop.vision.onnx_export;"
        "print(sorted({'rapidocr', 'cv2', 'onnxruntime', 'sklearn', 'scipy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.2)


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 25, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image, float) + noise, 0, 255).astype(np.uint8))


FAULTS = {
    "sharpness": (lambda image: image.filter(ImageFilter.GaussianBlur(5)), "not sharp"),
    "exposure": (darker, "too dark"),
    "contrast": (lambda image: ImageEnhance.Contrast(image).enhance(0.15), "low in contrast"),
    "noise": (noisy, "grainy"),
    "blockiness": (lambda image: open_upright(saved(image, "JPEG", quality=3)), "compression"),
    "resolution": (lambda image: image.resize((90, 120), Image.Resampling.LANCZOS), "small"),
}


@pytest.mark.usefixtures("real_photos")
def test_ordinary_photos_score_well(some_photos):
    scores = [design_score(image) for image in some_photos]
    assert np.median([answer.value for answer in scores]) >= 70
    for answer in scores:
        assert 0 <= answer.value <= 100 and answer.label in ("excellent", "good", "fair", "poor")
        assert set(answer.measures) == set(FAULTS)
        assert all(0 <= value <= 1 for value in answer.measures.values())
        assert answer.sentence.startswith("Image has a") and str(answer.value) in answer.sentence
        assert answer.confidence_value is None


@pytest.mark.usefixtures("real_photos")
@pytest.mark.parametrize("measure", FAULTS)
def test_a_planted_fault_is_found_named_and_costs_points(some_photos, measure):
    spoil, word = FAULTS[measure]
    before = [design_score(image) for image in some_photos]
    after = [design_score(spoil(image)) for image in some_photos]
    named = [word in answer.sentence for answer in after]
    assert np.mean(named) >= 0.8
    assert np.mean([answer.measures[measure] for answer in after]) < 0.4
    assert np.median([answer.value for answer in before]) - np.median([answer.value for answer in after]) >= 15


def test_too_bright_is_told_from_too_dark(some_photos):
    assert "too bright" in design_score(Image.new("RGB", (600, 600), (252, 252, 252))).sentence
    assert "too dark" in design_score(Image.new("RGB", (600, 600), (3, 3, 3))).sentence


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (17, 17), (2500, 2100)])
def test_any_size_has_a_score(size):
    answer = design_score(photo_like(*size))
    assert 0 <= answer.value <= 100


def test_the_noise_estimate_is_near_what_was_added():
    flat = np.full((300, 300), 120.0)
    for sigma in (2, 5, 12):
        image = (flat + np.random.default_rng(1).normal(0, sigma, flat.shape)).astype(np.float32)
        assert image_quality.noise(image) == pytest.approx(sigma, rel=0.3)
    assert image_quality.noise(flat.astype(np.float32)) == 0


def test_blur_rises_with_every_radius(some_photos):
    for image in some_photos:
        blurs = [
            image_quality.blur(image_quality.luma(image.filter(ImageFilter.GaussianBlur(radius))))
            for radius in (0, 1, 2, 4)
        ]
        assert blurs == sorted(blurs)


@pytest.mark.usefixtures("real_photos")
def test_blocks_are_found_wherever_the_grid_lies(some_photos):
    for image in some_photos:
        harsh = open_upright(saved(image, "JPEG", quality=4))
        cropped = harsh.crop((3, 5, harsh.width, harsh.height))
        soft = image_quality.blockiness(image_quality.luma(open_upright(saved(image, "PNG")).resize(image.size)))
        assert image_quality.blockiness(image_quality.luma(cropped)) > 1.5 * soft


def test_images_come_from_any_source(read):
    stream = io.BytesIO()
    sign("From a PNG").save(stream, "PNG")
    assert "PNG" in read(open_upright(stream.getvalue(), read.shorter_side)).text
