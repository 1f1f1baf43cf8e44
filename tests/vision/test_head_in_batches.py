"""Learning from a file of embeddings is learning from the array, in the memory of some batches."""

import gc
import tracemalloc

import numpy as np
import pytest

from apitorch_desktop.vision import folds, novelty
from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.head import TrainingCancelled, train
from apitorch_desktop.vision.matrix import FileMatrix

NUMBERS = 20_000
"""Numbers of a batch, so that a few thousand images are many batches."""
TOLERANCE = {np.float32: 2e-5, np.float16: 1e-3}
"""Largest difference of a probability: by the order of sums, and by embeddings of eleven binary digits."""


def made(images: int, dimensions: int, labels: int, copies: int = 0):
    """Embeddings around a center a label, some of them copies, nearly or exactly; and labels."""
    random = np.random.default_rng(images)
    spectrum = 1 / np.sqrt(1 + np.arange(dimensions))
    answers = random.permutation(np.arange(images) % labels)
    rows = (random.normal(0, 1, (labels, dimensions)) * spectrum)[answers]
    rows += random.normal(0, 1.6, (images, dimensions)) * spectrum
    source, target = random.permutation(images)[:copies], random.permutation(images)[:copies]
    rows[target] = rows[source] + random.normal(0, 0.003, (copies, dimensions))
    rows[target[: copies // 3]] = rows[source[: copies // 3]]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [f"label_{answer:02}" for answer in answers]


def in_file(folder, rows, dtype=np.float16) -> FileMatrix:
    matrix = FileMatrix(folder, *rows.shape, dtype, NUMBERS)
    matrix.put(slice(0, len(rows)), rows)
    return matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("images", "dimensions", "labels"), [(90, 200, 3), (1_600, 300, 6)])
def test_batches_learn_what_the_whole_does(tmp_path, dtype, images, dimensions, labels):
    rows, names = made(images, dimensions, labels, images // 10)
    matrix, near = in_file(tmp_path, rows, dtype), TOLERANCE[dtype]
    groups = sibling_groups(rows, names)
    assert np.array_equal(sibling_groups(matrix, names), groups) and len(set(groups)) < images
    previews: list[heads.Head] = []
    whole = train(rows, names, groups=groups, preview=previews.append)
    parts = train(matrix, names, groups=groups, preview=previews.append)
    assert parts.metrics.folds == whole.metrics.folds and parts.metrics.counts == whole.metrics.counts
    assert parts.metrics.accuracy == pytest.approx(whole.metrics.accuracy, abs=2 / images)
    assert parts.metrics.calibration_error == pytest.approx(whole.metrics.calibration_error, abs=near)
    assert parts.out_of_fold.shape == whole.out_of_fold.shape
    assert np.abs(parts.out_of_fold - whole.out_of_fold).max() < near
    assert parts.head.temperature == pytest.approx(whole.head.temperature, rel=near)
    assert parts.head.novelty.threshold == pytest.approx(whole.head.novelty.threshold, abs=10 * near)

    asked = rows + np.random.default_rng(1).normal(0, 0.5 / dimensions, rows.shape).astype(np.float32)
    pairs = [
        (whole.head, parts.head),
        (whole.head.remembering(rows, names[::-1]), whole.head.remembering(matrix, names[::-1])),
    ]
    assert len(previews) == (2 if images * labels > heads.PREVIEW_ABOVE else 0)
    for one, other in [*pairs, tuple(previews)] if previews else pairs:
        assert np.array_equal(one.remembered, other.remembered)
        assert np.allclose(one.sketches, other.sketches, atol=1e-3)
        apart = np.abs(one.predict(asked) - other.predict(asked)).max(axis=1)
        assert np.mean(apart > near) < 0.002, "but for an image between two remembered ones"
        assert np.mean(one.is_none(asked) != other.is_none(asked)) < 0.002


def test_the_memory_of_batches_is_a_few_numbers_an_image(tmp_path, monkeypatch):
    """In a file it does not grow by the embeddings, coordinates, sketches or probabilities of the images."""
    for module, name, value in (
        (novelty, "_KNOWN", 200), (novelty, "_BLOCK", 64), (folds, "_ROWS", 64), (folds, "_COLUMNS", 256),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)

    def peak(images: int, *, whole: bool) -> int:
        rows, names = made(images, 256, 6)
        matrix = rows if whole else in_file(tmp_path, rows)
        del rows
        gc.collect()
        tracemalloc.start()
        try:
            training = train(matrix, names, groups=sibling_groups(matrix, names))
            training.head.remembering(matrix, names)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200, whole=False)  # what is made once
    few, many = 1_600, 3_600  # the penalty is chosen on 1,500 in any case
    grown = {whole: (peak(many, whole=whole) - peak(few, whole=whole)) / (many - few) for whole in (False, True)}
    assert grown[False] < 200, "bytes an image"
    assert grown[True] > 2_000


def test_training_in_batches_can_be_cancelled_at_every_batch(tmp_path):
    rows, names = made(1_000, 64, 3)
    matrix, asked = in_file(tmp_path, rows), []
    train(matrix, names, cancelled=lambda: bool(asked.append(1)))
    assert len(asked) > 1_000 * 64 / NUMBERS * 20
    for last in (0, 1, len(asked) // 2, len(asked) - 1):
        left = iter(range(last))
        with pytest.raises(TrainingCancelled):
            train(matrix, names, cancelled=lambda left=left: next(left, None) is None)
    assert not list(tmp_path.iterdir())


def test_a_file_with_a_value_that_is_not_a_number_is_refused(tmp_path):
    rows, names = made(1_000, 64, 3)
    rows[900, 5] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        train(in_file(tmp_path, rows), names)
    with pytest.raises(ValueError, match="one row"):
        train(in_file(tmp_path, rows), names[1:])
