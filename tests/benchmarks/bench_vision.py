"""Vision against its peers, A and B in turn: thumbnails against a full decode, encoding against the bare network, training.

    python tests/benchmarks/bench_vision.py [ROUNDS]

Thumbnails: our `shrunk` against Pillow's full decode + Lanczos (time ratio, and the decibels ours has of it) and against Pillow's
own `thumbnail` with a reduced decode. Encoding: pictures in, against onnxruntime on ready pixels. Prints medians.
Photos are those of ../shared/data/clothing, at their size (some 0.2 megapixels), at 500 × 375 and at 12 megapixels.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.images import THUMBNAIL_SIZE, open_upright, shrunk, thumbnail, verify
from apitorch_desktop.vision.issues import quality_flags, review_features
from apitorch_desktop.vision.near_duplicates import find_near_duplicates

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing"


def in_turn(items: Sequence[Any], rounds: int, *functions: Callable[[Any], Any]) -> list[float]:
    """Median milliseconds of each function on an item, the functions taking turns."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function(items[0])
    for _ in range(rounds):
        for item in items:
            for function, seen in zip(functions, times, strict=True):
                start = time.perf_counter()
                function(item)
                seen.append((time.perf_counter() - start) * 1000)
    return [statistics.median(seen) for seen in times]


def full_lanczos(data: bytes) -> Image.Image:
    """What a thumbnail is measured against."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = min(1.0, THUMBNAIL_SIZE / min(image.size))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def pillow_thumbnail(data: bytes) -> Image.Image:
    """Pillow's own, by its defaults."""
    image = Image.open(io.BytesIO(data))
    scale = min(1.0, THUMBNAIL_SIZE / min(image.size))
    image.thumbnail((round(image.width * scale), round(image.height * scale)))
    return image.convert("RGB")


def decibels(first: Image.Image, second: Image.Image) -> float:
    """Peak signal-to-noise ratio; 99 for equal pictures."""
    error = float(np.mean((np.asarray(first, float) - np.asarray(second, float)) ** 2))
    return min(99.0, 10 * float(np.log10(255**2 / max(error, 1e-9))))


def resaved(data: bytes, size: tuple[int, int]) -> bytes:
    """At another size, with a camera's noise: enlarged photos would be too easy."""
    image = open_upright(data).resize(size, Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(0, 4, (size[1], size[0], 1))
    stream = io.BytesIO()
    noisy = np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def thumbnails(files: list[bytes], rounds: int) -> None:
    sets = {
        "as they are": files,
        "500 × 375": [resaved(data, (500, 375)) for data in files],
        "12 megapixels": [resaved(data, (4000, 3000)) for data in files[:4]],
    }
    for name, data in sets.items():
        ours, full, theirs = in_turn(data, rounds, shrunk, full_lanczos, pillow_thumbnail)
        quality = min(decibels(shrunk(one), full_lanczos(one)) for one in data)
        theirs_quality = min(decibels(pillow_thumbnail(one), full_lanczos(one)) for one in data)
        whole, checked = in_turn(data, rounds, thumbnail, verify)
        print(
            f"thumbnail, {name}: {ours:.1f} ms, {full / ours:.2f}× as fast as full + Lanczos at ≥ {quality:.0f} dB; "
            f"{theirs / ours:.2f}× as fast as Pillow's thumbnail, which has {theirs_quality:.0f} dB; "
            f"with encoding {whole:.1f} ms; verify {checked:.1f} ms"
        )


def encoding(files: list[bytes], rounds: int) -> None:
    encoder = Encoder()
    session = onnxruntime.InferenceSession(encoder.path)
    images = [open_upright(data, encoder.shorter_side) for data in files]
    ready = {id(image): encoder.preparation.prepare(image)[None] for image in images}

    def bare(image: Image.Image) -> Any:
        return session.run(None, {encoder.input_name: ready[id(image)]})

    ours, network = in_turn(images, rounds, lambda image: encoder.encode([image]), bare)
    opened = in_turn(files, rounds, lambda data: open_upright(data, encoder.shorter_side))[0]
    print(
        f"encode: {ours:.1f} ms an image, {ours / network:.2f} of the bare network ({network:.1f} ms); open {opened:.1f} ms"
    )


def training() -> None:
    random = np.random.default_rng(0)
    centers = random.normal(0, 0.25, (10, 2888))
    for number in (30, 100, 1000, 8000):  # the first for imports
        answers = random.integers(0, 10, number)
        rows = (centers[answers] + random.normal(0, 1, (number, 2888))).astype(np.float32)
        previews: list[float] = []
        start = time.perf_counter()
        train(
            rows,
            [f"label_{answer}" for answer in answers],
            preview=lambda _, seen=previews: seen.append(time.perf_counter()),
        )
        seconds = time.perf_counter() - start
        preview = f", preview after {previews[0] - start:.1f} s" if previews else ""
        print(f"train: {number:,} images of 10 labels in {seconds:.1f} s{preview}")


def reviewing(files: list[bytes], rounds: int) -> None:
    small = [shrunk(data) for data in files]
    one = in_turn(small, rounds, lambda image: quality_flags(review_features(image, *image.size)))[0]
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (10_000, 6, 6), dtype=np.uint8)
    patterns = [np.asarray(Image.fromarray(part).resize((48, 48), Image.Resampling.BICUBIC)) for part in coarse]
    start = time.perf_counter()
    find_near_duplicates(patterns, random.normal(size=(10_000, 2888)).astype(np.float32))
    print(
        f"review: {one:.1f} ms a thumbnail; near-duplicates among 10,000 images in {time.perf_counter() - start:.1f} s"
    )


def main(rounds: int = 5) -> None:
    files = [file.read_bytes() for file in sorted((PHOTOS / "train").glob("*/*.jpg"))[::30]]
    if not files:
        raise SystemExit(f"the photos are not at {PHOTOS}")
    thumbnails(files, rounds)
    encoding(files, rounds)
    training()
    reviewing(files, rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
