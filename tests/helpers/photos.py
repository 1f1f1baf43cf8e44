"""Made photos of clothes, for machines where the real ones are not at hand: `python -m tests.helpers.photos FOLDER`.

The same ten labels and numbers as the real ones, drawn as silhouettes with cloth, light, ground, angle and noise that
vary; shirt, longsleeve, outwear and t-shirt differ in sleeves and fronts only, so that a classifier has some of them wrong.
"""

import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

SIZE = (400, 533)
TRAIN = 60
TEST = {"dress": 15, "hat": 12, "longsleeve": 20, "outwear": 20, "pants": 20, "shirt": 20, "shoes": 20, "shorts": 20,
        "skirt": 12, "t-shirt": 20}  # fmt: skip


def make(folder: Path) -> Path:
    """Draw `train/<label>/*.jpg` and `test/<label>/*.jpg` into a folder; the same ones every time."""
    for number, (label, held_out) in enumerate(sorted(TEST.items())):
        for part, count, first in (("train", TRAIN, 0), ("test", held_out, 1000)):
            place = folder / part / label
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                draw = random.Random(f"{number} {first + index}")
                _photo(label, draw).save(place / f"{draw.getrandbits(64):016x}.jpg", quality=draw.randint(80, 92))
    return folder


def _photo(label: str, draw: random.Random) -> Image.Image:
    ground, cloth = _colour(draw, 90, 235), _colour(draw, 10, 240)
    image = _cloth(draw, ground, plain=0.5)
    mask = Image.new("L", SIZE, 0)
    pen = ImageDraw.Draw(mask)
    for outline in _outlines(label, draw):
        points = [(x * SIZE[0] + draw.uniform(-6, 6), y * SIZE[1] + draw.uniform(-6, 6)) for x, y in outline]
        pen.polygon(points, fill=255)
    mask = mask.rotate(draw.gauss(0, 7), resample=Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1.5))
    shadow = Image.new("RGB", SIZE, tuple(channel // 3 for channel in ground))
    image.paste(shadow, (draw.randint(2, 9), draw.randint(2, 9)), mask.filter(ImageFilter.GaussianBlur(7)))
    image.paste(_detail(label, draw, _cloth(draw, cloth, plain=0.6)), (0, 0), mask)
    grain = np.random.default_rng(draw.getrandbits(32)).normal(0, draw.uniform(2, 7), (SIZE[1], SIZE[0], 1))
    image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return ImageEnhance.Brightness(image).enhance(draw.uniform(0.75, 1.2))


def _colour(draw: random.Random, low: int, high: int) -> tuple[int, int, int]:
    return draw.randint(low, high), draw.randint(low, high), draw.randint(low, high)


def _cloth(draw: random.Random, colour: tuple[int, int, int], plain: float) -> Image.Image:
    """A plain, striped or chequered piece of cloth."""
    image = Image.new("RGB", SIZE, colour)
    if draw.random() < plain:
        return image
    pen, other, step = ImageDraw.Draw(image), _colour(draw, 20, 235), draw.randint(14, 44)
    kind = draw.choice(("stripes", "rows", "checks"))
    if kind != "rows":
        for x in range(0, SIZE[0], step):
            pen.rectangle((x, 0, x + step // 3, SIZE[1]), fill=other)
    if kind != "stripes":
        for y in range(0, SIZE[1], step):
            pen.rectangle((0, y, SIZE[0], y + step // 3), fill=other)
    return image


def _outlines(label: str, draw: random.Random) -> list[list[tuple[float, float]]]:
    """Polygons in shares of width and height."""
    top, bottom = draw.uniform(0.10, 0.18), draw.uniform(0.80, 0.92)
    wide = draw.uniform(0.17, 0.23)
    left, right = 0.5 - wide, 0.5 + wide

    def body(low: float, sleeve: float, flare: float = 0.0) -> list[list[tuple[float, float]]]:
        trunk = [(left, top), (right, top), (right + flare, low), (left - flare, low)]
        if not sleeve:
            return [trunk]
        arm = 0.13 + 0.16 * sleeve
        fall = top + 0.12 + 0.48 * sleeve
        sleeves = [
            [
                (left, top),
                (left - arm * 0.6, top + 0.10),
                (left - arm, fall),
                (left - arm + 0.10, fall),
                (left, top + 0.22),
            ],
            [
                (right, top),
                (right + arm * 0.6, top + 0.10),
                (right + arm, fall),
                (right + arm - 0.10, fall),
                (right, top + 0.22),
            ],
        ]
        return [trunk, *sleeves]

    def legs(low: float, apart: float) -> list[list[tuple[float, float]]]:
        waist = top + 0.06
        return [
            [(left, waist), (right, waist), (right + apart, low), (0.5 + 0.04, low), (0.5, waist + 0.2)],
            [(left, waist), (right, waist), (0.5, waist + 0.2), (0.5 - 0.04, low), (left - apart, low)],
        ]

    def shoe(x: float, y: float) -> list[tuple[float, float]]:
        return [
            (x, y),
            (x + 0.10, y - 0.02),
            (x + 0.16, y + 0.12),
            (x + 0.33, y + 0.16),
            (x + 0.33, y + 0.24),
            (x, y + 0.24),
        ]

    return {
        "dress": body(bottom, draw.choice((0.0, 0.0, 0.25)), flare=0.14),
        "hat": [
            [(0.30, 0.56), (0.34, 0.32), (0.44, 0.25), (0.58, 0.25), (0.67, 0.32), (0.70, 0.56)],
            [(0.12, 0.55), (0.88, 0.55), (0.92, 0.64), (0.50, 0.70), (0.08, 0.64)],
        ],
        "longsleeve": body(0.76, 0.95),
        "outwear": body(0.82, 1.0, flare=0.05),
        "pants": legs(bottom + 0.04, 0.03),
        "shirt": body(0.76, draw.choice((0.3, 0.95, 0.95))),
        "shoes": [shoe(0.12, 0.28), shoe(0.48, 0.46)],
        "shorts": legs(0.58, 0.07),
        "skirt": [[(0.36, top + 0.1), (0.64, top + 0.1), (0.80, 0.72), (0.20, 0.72)]],
        "t-shirt": body(0.74, 0.25),
    }[label]


def _detail(label: str, draw: random.Random, cloth: Image.Image) -> Image.Image:
    """What tells a shirt and a jacket: a row of buttons, a zip and pockets."""
    pen = ImageDraw.Draw(cloth)
    middle, dark = SIZE[0] // 2, _colour(draw, 0, 70)
    if label == "shirt":
        pen.line((middle, 0, middle, SIZE[1]), fill=dark, width=3)
        for y in range(90, 400, 38):
            pen.ellipse((middle + 6, y, middle + 16, y + 10), fill=_colour(draw, 200, 255))
        pen.polygon(((middle, 110), (middle - 60, 60), (middle - 30, 130)), fill=dark)
        pen.polygon(((middle, 110), (middle + 60, 60), (middle + 30, 130)), fill=dark)
    elif label == "outwear":
        pen.rectangle((middle - 6, 0, middle + 6, SIZE[1]), fill=dark)
        for x in (middle - 80, middle + 30):
            pen.rectangle((x, 290, x + 50, 350), outline=dark, width=4)
    elif label in ("pants", "shorts"):
        pen.rectangle((0, 95, SIZE[0], 118), fill=dark)
    return cloth


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
