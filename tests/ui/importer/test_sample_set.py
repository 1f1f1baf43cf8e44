"""The sample training set in the resources: whole, balanced, and worth classifying."""

from collections import Counter

import numpy as np
import pytest

from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.ui.importer.controller import sample_uploads
from apitorch_desktop.vision import images
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.near_duplicates import find_near_duplicates, pattern


@pytest.fixture(scope="module")
def sample():
    """(label, bytes) of every image."""
    archives = Archives()
    found = [(item.label, read(item.source, archives, 2**20)) for item in sample_uploads()]
    archives.close()
    return found


def test_the_set_is_small_balanced_and_every_image_whole(sample):
    counts = Counter(label for label, _ in sample)
    assert 3 <= len(counts) <= 5
    assert set(counts.values()) == {12}
    assert len({item.name for item in sample_uploads()}) == len(sample)
    assert sum(len(data) for _, data in sample) < 2**20
    for _, data in sample:
        info = images.verify(data)
        assert (info.format, max(info.width, info.height)) == ("JPEG", 256)


def test_no_two_images_are_nearly_the_same(sample):
    assert not find_near_duplicates([pattern(images.open_upright(data)) for _, data in sample])


def test_it_is_worth_classifying(sample):
    encoder = Encoder()
    opened = [images.open_upright(data, encoder.shorter_side) for _, data in sample]
    embeddings = np.concatenate([encoder.encode(opened[start : start + 16]) for start in range(0, len(opened), 16)])
    training = train(embeddings, [label for label, _ in sample])
    assert training.metrics.accuracy >= 0.85
