"""The map of a label's evidence adds up to the logit, and lies where the label's thing is."""

import numpy as np
import pytest
from PIL import Image

from apitorch_desktop.vision import head as heads
from apitorch_desktop.vision.encoder import CELLS, Encoder, EvidenceMapper, NoEvidence
from apitorch_desktop.vision.images import open_upright

LABELS = ("hat", "shoes")
EACH = 8


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


@pytest.fixture(scope="module")
def pictures(photos):
    return {
        label: [open_upright(path.read_bytes()) for path in sorted((photos / "train" / label).iterdir())[: 2 * EACH]]
        for label in LABELS
    }


@pytest.fixture(scope="module")
def head(encoder, pictures):
    images = [image for label in LABELS for image in pictures[label][:EACH]]
    labels = [label for label in LABELS for _ in range(EACH)]
    return heads.train(encoder.encode(images), labels).head


def test_the_cells_add_up_to_what_the_last_stage_says(encoder, head, pictures):
    mapper = EvidenceMapper(encoder)
    image = pictures["hat"][0]
    found = mapper.map(image, head, "hat")
    embedding = encoder.encode([image])[0].astype(np.float64)
    weights = head.weights[0] - head.weights[1]
    last = [*range(1280), *range(len(embedding) - 1280, len(embedding))]  # at full and at half size
    assert found.values.sum() == pytest.approx(float(weights[last] @ embedding[last]), rel=1e-3, abs=1e-4)
    assert found.values.shape == (CELLS, CELLS)
    assert 0.3 < found.share <= 1
    assert mapper.map(image, head).label == "hat"  # the answer
    other = mapper.map(image, head, "shoes")
    np.testing.assert_allclose(other.values, -found.values, rtol=1e-3, atol=1e-6)


def test_the_box_is_the_part_of_the_photo_that_the_encoder_sees(encoder, head, pictures):
    mapper = EvidenceMapper(encoder)
    wide = mapper.map(pictures["hat"][0].resize((800, 200)), head, "hat")
    assert wide.box == pytest.approx((0.25, 0, 0.75, 1))
    assert mapper.map(pictures["hat"][0].resize((300, 300)), head, "hat").box == (0, 0, 1, 1)


def test_each_label_lies_on_its_own_half_of_two_photos_side_by_side(encoder, head, pictures):
    mapper = EvidenceMapper(encoder)
    right = 0
    for hat, shoes in zip(pictures["hat"][EACH:], pictures["shoes"][EACH:], strict=True):
        both = Image.new("RGB", (400, 400))
        both.paste(hat.resize((200, 400)), (0, 0))
        both.paste(shoes.resize((200, 400)), (200, 0))
        values = mapper.map(both, head, "hat").values
        right += values[:, : CELLS // 2].sum() > values[:, CELLS // 2 :].sum()
    assert right >= EACH - 1


def test_what_cannot_be_mapped_is_a_sentence(encoder, head, pictures, tmp_path):
    with pytest.raises(NoEvidence, match="not learned"):
        EvidenceMapper(encoder).map(pictures["hat"][0], head, "glove")
    other = heads.Head(LABELS, np.zeros((2, 8)), np.zeros(2))
    with pytest.raises(NoEvidence, match="another encoder"):
        EvidenceMapper(encoder).map(pictures["hat"][0], other, "hat")
