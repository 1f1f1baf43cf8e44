import itertools
import pickle
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from apitorch_desktop.vision import calibration, linear
from apitorch_desktop.vision.head import (
    NONE_OF_THESE,
    REMEMBERED,
    Head,
    TooFewImages,
    TrainingCancelled,
    confidence_word,
    train,
)
from apitorch_desktop.vision.images import open_upright
from apitorch_desktop.vision.matrix import as_matrix
from tests.helpers.image_samples import photo_like, saved


def answered(head: Head, embeddings) -> np.ndarray:
    return np.array(head.labels)[head.predict(embeddings).argmax(axis=1)]


def clouds(labels: int, each: int, dimensions: int = 40, spread: float = 1.0, seed: int = 0):
    """Embeddings around one random center a label."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (labels, dimensions))
    answers = np.repeat(np.arange(labels), each)
    rows = centres[answers] + random.normal(0, spread, (labels * each, dimensions))
    return rows.astype(np.float32), [f"label_{answer}" for answer in answers]


@pytest.fixture(scope="module")
def clothes(clothing):
    return train(clothing.train.embeddings, list(clothing.train.labels))


def test_at_least_84_percent_of_the_test_photos_are_right(clothing, clothes):
    assert clothes.head.labels == tuple(sorted(set(clothing.train.labels)))
    right = answered(clothes.head, clothing.test.embeddings) == clothing.test.labels
    assert right.mean() >= 0.84


def test_probabilities_are_calibrated_on_photos_not_seen(clothing, clothes):
    probabilities = clothes.head.predict(clothing.test.embeddings)
    answers = np.searchsorted(clothes.head.labels, clothing.test.labels)
    assert calibration.calibration_error(probabilities, answers) < 0.12  # 179 photos: chance alone gives some .06
    assert clothes.metrics.calibration_error < 0.08
    sure = probabilities.max(axis=1) >= 0.9
    right = probabilities.argmax(axis=1) == answers
    assert right[sure].mean() > 0.85 > right[~sure].mean()


@pytest.mark.usefixtures("real_photos")
def test_metrics_say_what_out_of_fold_says(clothing, clothes):
    metrics, predicted = clothes.metrics, clothes.out_of_fold.argmax(axis=1)
    answers = np.searchsorted(clothes.head.labels, clothing.train.labels)
    assert clothes.out_of_fold.shape == (600, 10)
    assert np.allclose(clothes.out_of_fold.sum(axis=1), 1)
    assert metrics.images == 600 and metrics.folds == 5 and metrics.labels == clothes.head.labels
    assert metrics.accuracy == pytest.approx(np.mean(predicted == answers))
    assert metrics.counts == (60,) * 10
    for label, row in enumerate(metrics.confusion):
        assert sum(row) == metrics.counts[label]
        assert row[label] / sum(row) == pytest.approx(metrics.label_accuracy[label])
    assert 0.80 < metrics.accuracy < 0.92


def test_training_is_the_same_again_with_the_same_seed(clothing):
    rows, labels = clothing.train.only("dress", "hat", "pants", each=20)
    first, second, other = (train(rows, labels, seed=seed) for seed in (3, 3, 4))
    assert first.head.to_bytes() == second.head.to_bytes()
    assert np.array_equal(first.out_of_fold, second.out_of_fold)
    assert not np.array_equal(first.out_of_fold, other.out_of_fold)


def test_two_labels_of_two_images_give_sane_answers(clothing):
    right, confidences = [], []
    for pair in itertools.combinations(("dress", "hat", "pants", "shoes"), 2):
        rows, labels = clothing.train.only(*pair, each=2)
        training = train(rows, labels)
        assert training.metrics.images == 4 and training.metrics.folds == 2
        rows, labels = clothing.test.only(*pair, each=10)
        right.append(np.mean(answered(training.head, rows) == labels))
        confidences.append(training.head.predict(rows).max(axis=1).mean())
    assert np.mean(right) > 0.75
    assert 0.5 < np.mean(confidences) < 0.9  # two images a label are no reason to be sure


def test_a_label_with_one_image_takes_part(clothing):
    rows, labels = clothing.train.only("dress", "hat", each=5)
    extra, _ = clothing.train.only("shoes", each=1)
    training = train(np.concatenate([rows, extra]), [*labels, "shoes"])
    assert training.head.labels == ("dress", "hat", "shoes")
    assert answered(training.head, extra) == ["shoes"]
    assert training.metrics.label_accuracy[2] == 0  # nobody had seen a shoe when this one was held out
    assert np.allclose(training.out_of_fold.sum(axis=1), 1)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a", "a"], ["a", "a", "b"], ["a", "b", "c"]])
def test_too_few_images_are_said_to_be_too_few(labels):
    with pytest.raises(TooFewImages):
        train(np.random.default_rng(0).normal(size=(len(labels), 8)), labels)


def test_rows_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="one row"):
        train(np.zeros((3, 8)), ["a", "a", "b", "b"])
    with pytest.raises(ValueError, match="not a number"):
        train(np.full((4, 8), np.nan), ["a", "a", "b", "b"])
    head = train(*clouds(2, 3)).head
    with pytest.raises(ValueError, match="40 numbers"):
        head.predict(np.zeros((1, 8)))


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 7), min_size=2, max_size=6).filter(lambda counts: sum(n >= 2 for n in counts) >= 2),
    kind=st.sampled_from(["clouds", "all the same", "zeroes", "huge", "tiny"]),
    seed=st.integers(0, 1000),
)
def test_any_set_that_can_be_trained_is(counts, kind, seed):
    """Equal images under different labels, dimensions that never change, extreme scales."""
    labels = [f"l{index}" for index, count in enumerate(counts) for _ in range(count)]
    rows = np.random.default_rng(seed).normal(size=(len(labels), 12))
    if kind == "all the same":
        rows[:] = rows[0]
    rows *= {"zeroes": 0.0, "huge": 1e6, "tiny": 1e-6}.get(kind, 1.0)
    training = train(rows, labels, seed=seed)
    for probabilities in (training.out_of_fold, training.head.predict(rows)):
        assert np.isfinite(probabilities).all() and (probabilities >= 0).all()
        assert np.allclose(probabilities.sum(axis=1), 1)
    if kind in ("clouds", "huge", "tiny"):
        assert list(answered(training.head, rows)) == labels


def test_a_correction_sticks_for_its_very_photo(clothing, clothes):
    wrong = np.flatnonzero(answered(clothes.head, clothing.test.embeddings) != clothing.test.labels)[:5]
    rows, labels = clothing.train.only(*clothes.head.labels, each=12)
    assert len(wrong)
    for index in wrong:
        photo, label = clothing.test.embeddings[index], str(clothing.test.labels[index])
        head = train(np.vstack([rows, photo]), [*labels, label]).head
        assert answered(head, photo)[0] == label
        assert head.predict(photo).sum() == pytest.approx(1)


def test_a_correction_that_goes_against_everything_sticks_too(clothing, clothes):
    """A hat, most surely; a person says that it is a skirt."""
    hats = clothing.test.embeddings[clothing.test.labels == "hat"]
    photo = hats[clothes.head.predict(hats)[:, clothes.head.labels.index("hat")].argmax()]
    head = train(np.vstack([clothing.train.embeddings, photo]), [*clothing.train.labels, "skirt"]).head
    assert answered(head, photo)[0] == "skirt"
    assert head.predict(photo).max() >= REMEMBERED - 1e-9
    others = clothing.test.embeddings[~np.all(clothing.test.embeddings == photo, axis=1)]
    assert np.array_equal(head.predict(others), head.smooth(others))


def test_a_correction_sticks_where_the_smooth_part_cannot_follow():
    """Ten dimensions and two dense clouds: no line gives one point in the midst of the others a label of its own."""
    rows, labels = clouds(2, 150, dimensions=10, spread=0.3)
    labels[7] = "label_1"
    head = train(rows, labels).head
    assert head.smooth(rows[7:8]).argmax() == 0
    assert head.predict(rows[7:8])[0, 1] == pytest.approx(REMEMBERED)
    assert list(answered(head, rows)) == labels
    assert len(head.remembered) == 1


def test_the_photo_saved_again_is_remembered_and_another_is_not(clothing, encoder, clothes):
    photo = clothing.train.files[0]
    labels = [
        "hat" if file == photo else label
        for file, label in zip(clothing.train.files, clothing.train.labels, strict=True)
    ]
    head = train(clothing.train.embeddings, labels).head
    image = open_upright(photo.read_bytes())
    again = encoder.encode([open_upright(saved(image, "JPEG", quality=95), encoder.shorter_side)])
    mirrored = encoder.encode([image.transpose(0)])
    assert not np.array_equal(again[0], clothing.train.embeddings[0])
    assert answered(head, clothing.train.embeddings[:1]) == ["hat"]
    assert answered(head, again) == ["hat"]
    assert np.array_equal(head.predict(mirrored), head.smooth(mirrored))


def test_every_training_image_is_answered_with_its_label_even_when_labels_are_noise(clothing):
    rows = clothing.train.embeddings
    labels = list(np.random.default_rng(0).permutation(clothing.train.labels))
    training = train(rows, labels)
    assert list(answered(training.head, rows)) == labels
    assert training.metrics.accuracy < 0.2  # what cannot be learnt is not reported as learnt


def test_out_of_fold_does_not_profit_from_the_same_photo_on_the_other_side():
    rows, _ = clouds(2, 40)
    labels = list(np.random.default_rng(1).choice(["a", "b"], 80))
    twice = train(np.concatenate([rows, rows]), labels * 2)
    assert 0.25 < twice.metrics.accuracy < 0.75
    near = rows + np.random.default_rng(2).normal(0, 1e-3, rows.shape).astype(np.float32)
    grouped = train(np.concatenate([rows, near]), labels * 2, groups=[*range(80)] * 2)
    assert 0.25 < grouped.metrics.accuracy < 0.75
    ungrouped = train(np.concatenate([rows, near]), labels * 2)
    assert ungrouped.metrics.accuracy > 0.8  # so the groups did it


def test_one_image_under_two_labels_has_the_later_one():
    rows, labels = clouds(3, 10)
    photo = rows[:1]
    for later in ("label_1", "label_2"):
        earlier = "label_2" if later == "label_1" else "label_1"
        head = train(np.concatenate([rows[1:], photo, photo]), [*labels[1:], earlier, later]).head
        assert answered(head, photo) == [later]


def test_a_head_comes_back_from_its_bytes(clothing):
    rows, labels = clothing.train.only("dress", "hat", "shoes", each=15)
    head = train(rows, [*labels[:-1], "dress"]).head
    again = Head.from_bytes(head.to_bytes())
    assert again.labels == head.labels and again.dimensions == head.dimensions
    assert np.array_equal(again.predict(clothing.test.embeddings), head.predict(clothing.test.embeddings))
    assert np.array_equal(again.is_none(clothing.test.embeddings), head.is_none(clothing.test.embeddings))
    assert again.to_bytes() == head.to_bytes()


def test_a_head_without_memory_and_labels_of_any_script_come_back():
    rows, labels = clouds(2, 10, spread=0.01)
    names = {"label_0": "höhe_🦓", "label_1": "縞馬"}
    head = train(rows, [names[label] for label in labels]).head
    assert len(head.remembered) == 0
    assert Head.from_bytes(head.to_bytes()).labels == ("höhe_🦓", "縞馬")


def test_bytes_that_are_no_head_are_refused():
    good = train(*clouds(2, 4)).head.to_bytes()
    for data in (
        b"",
        b"hello",
        good[:-5],
        good[: len(good) // 2],
        pickle.dumps({"a": 1}),
        good.replace(b"head 2", b"head 9"),
    ):
        with pytest.raises(ValueError, match="not a classifier"):
            Head.from_bytes(data)


def test_training_can_be_cancelled_between_fits(clothing):
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 4

    with pytest.raises(TrainingCancelled):
        train(clothing.train.embeddings, list(clothing.train.labels), cancelled=cancelled)
    assert len(asked) == 5


def test_large_sets_have_a_preview_first():
    rows, labels = clouds(4, 1300, dimensions=64, spread=2.0)
    test_rows, test_labels = clouds(4, 200, dimensions=64, spread=2.0, seed=5)
    previews = []

    def preview(head: Head) -> None:
        previews.append((head, time.perf_counter()))

    training = train(rows, labels, preview=preview)
    assert len(previews) == 1
    quick = previews[0][0]
    assert list(answered(quick, rows)) == labels and not quick.is_none(rows).any()
    assert (
        np.mean(answered(quick, test_rows) == test_labels)
        > np.mean(answered(training.head, test_rows) == test_labels) - 0.05
    )
    probabilities = quick.predict(test_rows)
    answers = np.searchsorted(quick.labels, test_labels)
    assert calibration.calibration_error(probabilities, answers) < 0.08
    assert training.metrics.images == 5200


def test_small_sets_have_no_preview():
    previews: list[Head] = []
    train(*clouds(2, 10), preview=previews.append)
    assert not previews


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("dimensions", [10, 200])
def test_the_fit_is_the_one_of_scikit_learn(labels, dimensions):
    """In the space the images span or not, folded or not, with two labels or more: the same probabilities."""
    rows, names = clouds(labels, 12, dimensions)
    answers = np.unique(names, return_inverse=True)[1]
    mean, scale = linear._scales(as_matrix(rows))
    standard = ((rows - mean) / scale).astype(float)
    for penalty in (100.0, 10.0):
        ours = linear.fit(rows, answers, labels, np.arange(len(rows)) % 3, lambda: None, penalties=(penalty,))
        strength = (2 if labels == 2 else 1) / penalty  # of two labels scikit-learn fits the difference
        reference = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(standard, answers)
        logits = (rows @ ours.weights.T + ours.bias) / ours.sharpness
        assert np.allclose(calibration.softmax(logits), reference.predict_proba(standard), atol=5e-3)


@pytest.mark.parametrize(
    ("probability", "word"),
    [
        (1.0, "very high"), (0.90, "very high"), (0.8999, "high"), (0.75, "high"), (0.7499, "possible"),
        (0.55, "possible"), (0.5499, "low"), (0.35, "low"), (0.3499, "very low"), (0.0, "very low"), (None, "unknown"),
    ],
)  # fmt: skip
def test_confidence_words(probability, word):
    assert confidence_word(probability) == word


@pytest.fixture(scope="module")
def known_clothes(clothing):
    """A head that knows seven of the ten labels."""
    known = ~np.isin(clothing.train.labels, ["hat", "pants", "shoes"])
    return train(clothing.train.embeddings[known], list(clothing.train.labels[known])).head


def test_few_photos_of_its_own_kind_are_none_of_the_labels(clothing, clothes):
    assert clothes.head.is_none(clothing.test.embeddings).mean() < 0.1  # 4 % of photos like those it learned from


def test_what_was_never_seen_is_none_of_the_labels(clothing, encoder, known_clothes):
    strange = np.isin(clothing.test.labels, ["hat", "pants", "shoes"])
    none = known_clothes.is_none(clothing.test.embeddings)
    assert none[strange].mean() > 0.25 > 0.1 > none[~strange].mean()
    drawn = encoder.encode([photo_like(300, 400, seed) for seed in range(20)])
    assert known_clothes.is_none(drawn).mean() > 0.9


def test_a_photo_that_was_learned_is_never_none_of_the_labels(clothing, encoder):
    rows, labels = clothing.train.embeddings, list(clothing.train.labels)
    strange = encoder.encode([photo_like(300, 400, 3)])
    head = train(np.concatenate([rows[:300], strange]), [*labels[:300], labels[0]]).head
    assert not head.is_none(np.concatenate([rows[:300], strange])).any()
    image = open_upright(clothing.train.files[0].read_bytes())
    again = encoder.encode([open_upright(saved(image, "JPEG", quality=90), encoder.shorter_side)])
    assert not head.is_none(again).any()


def test_none_of_the_images_of_a_large_set_is_none_of_its_labels():
    rows, labels = clouds(3, 900, dimensions=30)
    head = train(rows, labels).head
    assert not head.is_none(rows).any()
    assert head.is_none(rows[:5] * 3 + 20).all()


def test_a_label_of_the_users_own_says_none_of_these():
    rows, labels = clouds(3, 20)
    head = train(rows, [NONE_OF_THESE if label == "label_2" else label for label in labels]).head
    assert list(head.is_none(rows)) == [label == "label_2" for label in labels]


def test_few_images_turn_nothing_away(clothing):
    rows, labels = clothing.train.only("dress", "hat", each=2)
    others, _ = clothing.test.only("dress", "hat", each=8)
    assert train(rows, labels).head.is_none(others).mean() < 0.2


def test_a_head_of_the_first_version_is_read_and_rejects_nothing():
    rows, labels = clouds(2, 6)
    head = train(rows, labels).head
    values = msgspec.msgpack.decode(head.to_bytes())
    first = Head.from_bytes(msgspec.msgpack.encode(["apitorch-desktop head 1", *values[1:7]]))
    assert np.array_equal(first.predict(rows), head.predict(rows))
    assert first.novelty is None and first.same == 0.05 and not first.is_none(rows + 50).any()
