import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apitorch_desktop.vision.calibration import calibration_error, fit_sharpness, mild_targets, softmax
from apitorch_desktop.vision.folds import fair_folds


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=2, max_size=80),
    st.integers(2, 6),
    st.integers(0, 99),
)
def test_folds_keep_groups_together_and_are_never_empty(items, most, seed):
    answers = np.unique([label for label, _ in items], return_inverse=True)[1]
    groups = [group for _, group in items]
    folds = fair_folds(answers, groups, most, seed)
    assert len(folds) == len(items) and folds.max() < most
    for group in set(groups):
        assert len({fold for fold, other in zip(folds, groups, strict=True) if other == group}) == 1
    assert np.array_equal(folds, fair_folds(answers, groups, most, seed))
    if len(set(groups)) > 1:
        assert set(folds) >= {0, 1} or len(set(groups)) < 2


@pytest.mark.parametrize(("counts", "folds"), [((60, 60), 5), ((2, 2), 2), ((3, 2), 3), ((100, 7, 4), 5)])
def test_folds_spread_every_label_evenly(counts, folds):
    answers = np.repeat(np.arange(len(counts)), counts)
    found = fair_folds(answers, np.arange(len(answers)), 5, 0)
    assert found.max() + 1 == folds
    for label, count in enumerate(counts):
        sizes = np.bincount(found[answers == label], minlength=folds)
        assert sizes.max() - sizes.min() <= 1 and sizes.sum() == count


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_overconfidence(heat):
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 5))
    chances = softmax(logits)
    answers = (chances.cumsum(axis=1) > random.random((len(logits), 1))).argmax(axis=1)
    found = 1 / fit_sharpness(logits * heat, np.eye(5)[answers])
    assert found == pytest.approx(heat, rel=0.05)
    assert calibration_error(softmax(logits * heat / found), answers) < 0.015
    assert heat == 1.0 or calibration_error(softmax(logits * heat), answers) > 0.05


def test_few_images_make_no_certainty():
    answers = np.array([0, 0, 1, 1])
    logits = np.where(np.eye(2)[answers] == 1, 5.0, -5.0)
    probabilities = softmax(logits * fit_sharpness(logits, mild_targets(answers, 2)))
    assert probabilities.max() == pytest.approx(11 / 12, abs=0.01)  # 1 − 1 / (4 + 2) and half of what is spread
    usual = softmax(logits * fit_sharpness(logits, mild_targets(answers, 2), (0.1, 0.1)))
    assert 0.7 < usual.max() < 0.8  # four images hardly speak against a strong prior


def test_targets_are_distributions():
    targets = mild_targets(np.array([0, 0, 0, 1, 2]), 3)
    assert np.allclose(targets.sum(axis=1), 1)
    assert targets[0, 0] == targets[3, 1] == pytest.approx(1 - 2 / 21)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    sure = np.tile([0.95, 0.05], (100, 1))
    answers = np.r_[np.zeros(60, int), np.ones(40, int)]
    assert calibration_error(sure, answers) == pytest.approx(0.35)
    assert calibration_error(np.empty((0, 2)), np.empty(0, int)) == 0


def test_no_images_leave_the_temperature_alone():
    assert fit_sharpness(np.empty((0, 3)), np.empty((0, 3))) == 1.0
    assert fit_sharpness(np.empty((0, 3)), np.empty((0, 3)), (2.0, 0.3)) == pytest.approx(2.0, rel=1e-3)
