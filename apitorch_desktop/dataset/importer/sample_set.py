"""Draws the sample set's images: coats of different zebras, from the recipe in resources/sample."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from apitorch_desktop.utils import paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Field = NDArray[np.float32]
    """(height, width), or (3, height, width) where it is colours, 0…255."""
    Draw = np.random.Generator

NAME = "Zebra coats"
"""What the sample training set is called."""


@dataclass(frozen=True, slots=True)
class SampleImage:
    """A drawn picture: its label, a file name, and JPEG bytes."""

    label: str
    filename: str
    data: bytes


def training_images() -> Iterator[SampleImage]:
    """The images of the sample training set, label by label; the same every time."""
    recipe = _recipe()
    yield from _images(recipe, 0, recipe["images"])


def held_out_images() -> Iterator[SampleImage]:
    """A few more that are not in the training set, to drop on the classify panel."""
    recipe = _recipe()
    yield from _images(recipe, recipe["images"], recipe["held_out"])


def _recipe() -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((paths.resources() / "sample" / "zebras.json").read_text("utf-8"))
    return recipe


def _images(recipe: dict[str, Any], first: int, count: int) -> Iterator[SampleImage]:
    def one(wanted: tuple[int, str, int]) -> SampleImage:
        place, label, number = wanted
        data = _photo(recipe, recipe["coats"][label], [recipe["seed"], place, number])
        return SampleImage(label, f"{label}_{number + 1:02}.jpg", data)

    wanted = [
        (place, label, number) for place, label in enumerate(recipe["coats"]) for number in range(first, first + count)
    ]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "sample") as pool:  # numpy leaves the GIL alone
        yield from pool.map(one, wanted)


def _photo(recipe: dict[str, Any], coat: dict[str, Any], seed: list[int]) -> bytes:
    """One picture as JPEG: a flank, sometimes with its back against the landscape, in some light."""
    import numpy as np
    from PIL import Image, ImageFilter

    draw = np.random.default_rng(seed)
    width, height = (int(draw.integers(*recipe["size"])) for _ in range(2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / min(width, height)
    body, depth = _body(draw, x, y)
    pixels = _fur(draw, coat, x, depth, _phase(draw, coat, x, y))
    light = recipe["lights"][draw.choice(list(recipe["lights"]))]
    pixels *= _shading(draw, light, depth)
    pixels *= _colour(light["tint"])
    behind = _landscape(draw, recipe["places"], x, y)
    behind += (pixels - behind) * body
    image = _developed(draw, behind, x, y)
    if draw.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(float(draw.uniform(0.4, 1.2))))
    if draw.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    stream = BytesIO()
    image.save(stream, "JPEG", quality=int(draw.integers(78, 93)))
    return stream.getvalue()


def _body(draw: "Draw", x: "Field", y: "Field") -> tuple["Field", "Field"]:
    """How much of each pixel is animal (0…1), and how far down its flank it lies (0 at the back, 1 at the belly)."""
    import numpy as np

    wide = float(x.max())
    back = float(draw.uniform(-0.35, 0.28))
    belly = back + float(draw.uniform(1.0, 1.45))
    sway = float(draw.uniform(-0.10, 0.10))
    line = (
        back
        + sway * np.cos(np.pi * (x / wide + float(draw.uniform(-0.4, 0.4))))
        + 0.004 * _cut(draw, _noise(), x.shape)
    )
    low = belly - 0.5 * sway * np.cos(np.pi * x / wide)
    depth = (y - line) / (low - line)
    inside = np.clip((y - line) / 0.006, 0, 1) * np.clip((low - y) / 0.014, 0, 1)
    return inside.astype(np.float32), np.clip(depth, 0, 1).astype(np.float32)


def _fur(draw: "Draw", coat: dict[str, Any], x: "Field", depth: "Field", phase: "Field") -> "Field":
    """The coat's colours: stripes, shadow stripes between them, a pale belly, brown where the stripes fade."""
    import numpy as np

    shape = x.shape
    wave, across = np.cos(phase), x / float(x.max())
    # cos is above cos(π·b) for a share b of its period; that share varies over the flank, and shrinks to the belly
    pale = np.clip((depth - (1 - _between(draw, coat["belly"]))) / 0.18, 0, 1)
    share = _between(draw, coat["black"]) + 0.07 * _cloud(draw, shape, 4) - 0.75 * pale
    level = np.cos(np.pi * np.clip(share, 0, 1)) + 8 * np.clip(-share, 0, 1)  # above 1 nothing is left of a stripe
    soft = 0.10 + 5.6 * _between(draw, (0.9, 1.4)) * coat["stripes"][0] / min(shape)
    stripe = _step((wave - level) / soft - 0.35)
    light, dark = (_mixed(draw, coat[name]) for name in ("light", "dark"))
    brown = _colour(coat["brown"])
    pixels = np.broadcast_to(light, (3, *shape)).copy()
    if fade := _between(draw, coat["fade"]):
        left = np.clip((1.15 - across - 0.9 * fade + 0.25 * _cloud(draw, shape, 3)) / 0.5, 0, 1)
        _blend(pixels, brown, (1 - left) * 0.85 * np.clip(1.2 - depth, 0, 1))
        stripe *= left
    if shadow := _between(draw, coat["shadow"]):
        between = _step((-wave - 0.72) / 0.35)
        _blend(pixels, brown, between * shadow * np.clip(0.35 + 0.8 * across, 0, 1) * (1 - pale))
    _blend(pixels, brown, 0.10 * float(draw.random()) * np.clip(_cloud(draw, shape, 5), 0, 1))
    _blend(pixels, dark, stripe)
    hair = _cut(draw, _strands(), shape)
    pixels *= 1 + 0.085 * hair
    pixels += 7 * hair
    return pixels


def _phase(draw: "Draw", coat: dict[str, Any], x: "Field", y: "Field") -> "Field":
    """The phase of the stripes. Forks are its dislocations: a full turn around a point ends one stripe there."""
    import numpy as np

    count = _between(draw, coat["stripes"])
    angle = np.radians(_between(draw, coat["angle"]))
    turn = _between(draw, coat["turn"]) * float(draw.choice((-1, 1)))
    u = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    v = (y - 0.5) * np.cos(angle) - (x - 0.5) * np.sin(angle)
    bent = u + 0.12 * turn * v * v + 0.10 * turn * u * v
    phase = 2 * np.pi * count * bent + float(draw.uniform(0, 2 * np.pi))
    phase = phase + 2.6 * _between(draw, coat["wave"]) * _cloud(draw, x.shape, 3)
    phase = phase + 0.9 * _cloud(draw, x.shape, 7)
    plane = (x + 1j * y).astype(np.complex64)
    turns = np.ones_like(plane)
    for _ in range(int(draw.integers(coat["forks"][0], coat["forks"][1] + 1))):
        place = complex(float(draw.uniform(0.05, 1.0)), float(draw.uniform(0.05, 1.0)))
        turns *= (plane - place) if draw.random() < 0.5 else np.conj(plane - place)
    return np.asarray(phase + np.angle(turns), np.float32)


def _shading(draw: "Draw", light: dict[str, Any], depth: "Field") -> "Field":
    """How bright a round flank is from its back to its belly, with soft folds."""
    import numpy as np

    shade = _between(draw, light["shade"])
    top = float(draw.uniform(0.12, 0.4))
    round_ = np.clip(1 - ((depth - top) / (1.05 - top * 0.4)) ** 2, 0, 1)
    return np.asarray((1 - shade) + shade * np.sqrt(round_) + 0.05 * _cloud(draw, depth.shape, 4), np.float32) * 1.03


def _landscape(draw: "Draw", places: dict[str, Any], x: "Field", y: "Field") -> "Field":
    """What lies behind, out of focus."""
    import numpy as np
    from PIL import Image, ImageFilter

    place = places[draw.choice(list(places))]
    sky, ground = _mixed(draw, place["sky"]), _mixed(draw, place["ground"])
    rough = y[::4, ::4]  # it is blurred anyway
    level = _step((rough - float(draw.uniform(0.0, 0.5)) + 0.05 * _cloud(draw, rough.shape, 6)) / 0.12)
    tufts = _step(3 * _cloud(draw, rough.shape, 9) - 1) * level
    pixels = (sky + (ground - sky) * level) * (1 - 0.22 * tufts + 0.08 * _cloud(draw, rough.shape, 14))
    image = _image(pixels).filter(ImageFilter.GaussianBlur(2.5))
    wide = image.resize((x.shape[1], x.shape[0]), Image.Resampling.BICUBIC)
    return np.stack([np.asarray(band, np.float32) for band in wide.split()])


def _developed(draw: "Draw", pixels: "Field", x: "Field", y: "Field") -> "Image":
    """What a camera adds: exposure, vignette, noise."""
    exposure = float(draw.uniform(0.82, 1.12))
    off = (x - float(x.max()) / 2) ** 2 + (y - float(y.max()) / 2) ** 2
    pixels *= exposure * (1 - 0.35 * off)
    pixels += float(draw.uniform(1.0, 5.0)) * _cut(draw, _noise(), x.shape)
    return _image(pixels)


# --- fields


@cache
def _noise() -> "Field":
    """Noise of mean 0 and deviation 1, large enough to cut any picture's from it."""
    import numpy as np

    return np.random.default_rng(7).standard_normal((700, 700), np.float32)


@cache
def _strands() -> "Field":
    """Noise drawn out along slanting lines: the lie of hair."""
    import numpy as np
    from PIL import Image

    noise = _noise()
    drawn = noise.copy()
    for step in range(1, 7):
        drawn += (1 - step / 7) * np.roll(noise, (step, step // 3), (0, 1))
    image = Image.fromarray(drawn)
    drawn = drawn - np.asarray(
        image.resize((100, 100), Image.Resampling.BOX).resize((700, 700), Image.Resampling.BICUBIC)
    )
    return np.asarray(drawn / drawn.std(), np.float32)


def _cut(draw: "Draw", field: "Field", shape: tuple[int, ...]) -> "Field":
    top, left = (int(draw.integers(0, side - want)) for side, want in zip(field.shape, shape, strict=True))
    return field[top : top + shape[0], left : left + shape[1]]


def _cloud(draw: "Draw", shape: tuple[int, ...], cells: int) -> "Field":
    """Smooth noise, mostly within -1…1, with about so many hills and valleys a side."""
    import numpy as np
    from PIL import Image

    small = draw.standard_normal((cells, cells), np.float32) * 0.6
    return np.asarray(Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _step(value: "NDArray[np.floating[Any]]") -> "Field":
    """0 below -½, 1 above ½, smooth between."""
    import numpy as np

    t = np.clip(value + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _blend(pixels: "Field", colour: "Field", amount: "Field") -> None:
    """Lay a colour over pixels, as much of it at each as `amount` says (0…1)."""
    difference = colour - pixels
    difference *= amount
    pixels += difference


def _image(pixels: "Field") -> "Image":
    import numpy as np
    from PIL import Image

    return Image.merge("RGB", [Image.fromarray(band) for band in np.clip(pixels, 0, 255).astype(np.uint8)])


def _colour(values: list[float]) -> "Field":
    """Three numbers, shaped to go with (3, height, width)."""
    import numpy as np

    return np.array(values, np.float32).reshape(3, 1, 1)


def _mixed(draw: "Draw", colours: list[list[float]]) -> "Field":
    first, second = (_colour(colour) for colour in colours)
    return first + (second - first) * float(draw.random())


def _between(draw: "Draw", span: "tuple[float, float] | list[float]") -> float:
    return float(draw.uniform(span[0], span[1]))
