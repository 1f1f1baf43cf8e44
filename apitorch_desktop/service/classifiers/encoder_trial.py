"""Trial of encoders on a sample of a training set: cost and cross-validated accuracy of each, on the same images."""

import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.embedder import BATCH, Embedder
from apitorch_desktop.service.storage.errors import RecordConflict
from apitorch_desktop.service.storage.records import ExampleRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.folds import sibling_groups

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder import Encoder

_IMAGES = 400
_SECONDS = 20.0  # of encoding by one encoder, at most: clients wait for a minute


def compare(store: Store, embedder: Embedder, set_id: int, encoders: "Sequence[Encoder]") -> list[types.EncoderTrial]:
    """Encode a sample by each encoder as far as time allows, and return the figures on the images that all encoded.

    The embeddings are stored. Raises RecordNotFound, RecordConflict where too few images are there.
    """
    sample = _sample(store.models.examples(set_id)[1])
    contents = list(dict.fromkeys(example.sha256 for example in sample))
    milliseconds = []
    for encoder in encoders:
        milliseconds.append(_cost(encoder))
        known = store.models.embeddings(encoder.name, contents)
        missing = [sha256 for sha256 in contents if sha256 not in known]
        end = time.monotonic() + _SECONDS
        for start in range(0, len(missing), BATCH):
            if time.monotonic() > end:
                break
            embedder.embed(missing[start : start + BATCH], encoder)
    found = [store.models.embeddings(encoder.name, contents) for encoder in encoders]
    used = [example for example in sample if all(example.sha256 in rows for rows in found)]
    labels = [example.label for example in used]
    trials = []
    for encoder, rows, cost in zip(encoders, found, milliseconds, strict=True):
        vectors = np.array([np.frombuffer(rows[example.sha256].vector, "<f4") for example in used])
        try:
            metrics = heads.train(vectors, labels, groups=sibling_groups(vectors, labels)).metrics
        except (heads.TooFewImages, ValueError):
            raise RecordConflict("Encoders are compared on two labels with two photos each at least.") from None
        trials.append(
            types.EncoderTrial(
                name=encoder.name,
                images=metrics.images,
                accuracy=metrics.accuracy,
                calibration_error=metrics.calibration_error,
                milliseconds=cost,
            )
        )
    return trials


def _sample(examples: list[ExampleRow]) -> list[ExampleRow]:
    """Return at most _IMAGES examples, one of each label in turn, so that any beginning of them is balanced."""
    by_label: dict[str, list[ExampleRow]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    order = np.random.default_rng(0)
    mixed = [[images[index] for index in order.permutation(len(images))] for images in by_label.values()]
    turns = chain.from_iterable(zip_longest(*mixed))
    return [example for example in turns if example is not None][:_IMAGES]


def _cost(encoder: "Encoder") -> float:
    """Return the milliseconds that one image takes, the median of three."""
    from PIL import Image

    image = Image.linear_gradient("L").convert("RGB").resize((320, 240))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        encoder.encode([image])
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
