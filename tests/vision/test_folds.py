import io

import numpy as np
import pytest
from PIL import Image

from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.head import TrainingCancelled
from apitorch_desktop.vision.images import open_upright


def again(path, encoder, quality: int, scale: float = 1.0):
    """The embedding of a photo that was opened and saved again."""
    file = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").resize((round(image.width * scale), round(image.height * scale))).save(
            file, "JPEG", quality=quality
        )
    return encoder.encode([open_upright(file.getvalue(), encoder.shorter_side)])[0]


@pytest.mark.usefixtures("real_photos")
def test_photos_saved_again_are_siblings_and_different_photos_are_not(clothing, encoder):
    part = clothing.train
    chosen = np.arange(0, len(part.files), max(1, len(part.files) // 60))[:60]
    copies = [again(part.files[at], encoder, 85, 0.75) for at in chosen] + [
        again(part.files[at], encoder, 60) for at in chosen
    ]
    rows = np.concatenate([part.embeddings, np.stack(copies)])
    found = sibling_groups(rows, [*part.labels, *part.labels[chosen], *part.labels[chosen]])
    assert (found[len(part.files) :] == np.tile(found[chosen], 2)).mean() > 0.95
    assert len(set(found)) > 0.95 * len(part.files)


def test_labels_do_not_part_sibling_groups(clothing):
    rows = np.concatenate([clothing.train.embeddings[:20]] * 2)
    found = sibling_groups(rows, ["a", "b"] * 10 + ["b", "a"] * 10)
    assert found.tolist() == [*range(20), *range(20)]


def test_a_chain_of_small_steps_is_not_one_group():
    steps = np.linspace(0, 100, 400, dtype=np.float32)
    rows = np.stack([np.cos(steps / 64), np.sin(steps / 64), *np.zeros((62, 400), np.float32)], axis=1)
    found = sibling_groups(rows, ["a", "b"] * 200)
    assert 3 < len(set(found)) < 100
    assert all(np.sum((rows[at] - rows[first]) ** 2) < 0.3 for at, first in enumerate(found))


def test_embeddings_that_are_all_alike_tell_by_what_is_usual_among_them():
    rows = np.float32(1) + np.random.default_rng(0).normal(0, 0.1, (50, 64)).astype(np.float32)
    twice = np.concatenate([rows, rows + np.float32(0.005)])
    assert sibling_groups(twice, ["a", "b"] * 50).tolist() == [*range(50), *range(50)]


def test_none_one_and_copies_only():
    assert sibling_groups(np.empty((0, 64), np.float32), []).tolist() == []
    assert sibling_groups(np.ones((1, 64), np.float32), ["a"]).tolist() == [0]
    assert sibling_groups(np.ones((300, 64), np.float32), ["a", "b"] * 150).tolist() == [0] * 300


def test_it_can_be_stopped_between_blocks():
    asked = []

    def go_on():
        asked.append(1)
        if len(asked) > 2:
            raise TrainingCancelled

    with pytest.raises(TrainingCancelled):
        sibling_groups(np.random.default_rng(0).normal(0, 1, (1000, 64)).astype(np.float32), ["a", "b"] * 500, go_on)
