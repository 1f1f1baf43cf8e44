import hashlib
from collections import Counter
from time import process_time

import numpy as np
import pytest

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.dataset.importer import sample_set
from apitorch_desktop.vision import images
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.near_duplicates import near_duplicates, pattern


@pytest.fixture(scope="module")
def drawn():
    return list(sample_set.training_images())


@pytest.fixture(scope="module")
def held_out():
    return list(sample_set.held_out_images())


def test_the_set_is_small_balanced_and_every_picture_whole(drawn):
    counts = Counter(image.label for image in drawn)
    assert 3 <= len(counts) <= 5
    assert set(counts.values()) == {24}
    assert all(snake_case(label) == label for label in counts)
    assert len({image.filename for image in drawn}) == len(drawn)
    for image in drawn:
        info = images.verify(image.data)
        assert info.format == "JPEG"
        assert 300 <= min(info.width, info.height) <= max(info.width, info.height) <= 420


def test_it_is_the_same_every_time(drawn):
    again = [hashlib.sha256(image.data).hexdigest() for image in sample_set.training_images()]
    assert again == [hashlib.sha256(image.data).hexdigest() for image in drawn]


def test_it_is_drawn_in_a_moment():
    began = process_time()
    list(sample_set.training_images())
    assert process_time() - began < 6  # of processor time, on all cores; a second by the clock of an idle machine


def test_no_two_pictures_are_nearly_the_same(drawn, held_out):
    assert not near_duplicates([pattern(images.open_upright(image.data)) for image in [*drawn, *held_out]])


def test_it_is_worth_classifying(drawn, held_out):
    encoder = Encoder()

    def embed(pictures):
        opened = [images.open_upright(image.data, encoder.shorter_side) for image in pictures]
        return np.concatenate(
            [encoder.encode(opened[start : start + 16]).embeddings for start in range(0, len(opened), 16)]
        )

    training = train(embed(drawn), [image.label for image in drawn])
    assert training.metrics.accuracy >= 0.85
    answers = training.head.predict(embed(held_out)).argmax(axis=1)
    right = [training.head.labels[answer] == image.label for answer, image in zip(answers, held_out, strict=True)]
    assert sum(right) >= len(right) - 1
