"""Learning curves on made-up embeddings, whose separation is known."""

import numpy as np
import pytest

from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.linear import forecast


def made(counts, spread=2.2, seed=0):
    """Gaussian clouds around one corner each: label → number of images."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(len(counts), 48))
    rows = [
        center + spread * random.normal(size=(count, 48))
        for center, count in zip(centers, counts.values(), strict=True)
    ]
    labels = [label for label, count in counts.items() for _ in range(count)]
    return np.concatenate(rows).astype(np.float32), labels


def accuracies(rows, labels):
    metrics = train(rows, labels).metrics
    return dict(zip(metrics.labels, metrics.label_accuracy, strict=True))


def test_a_label_of_few_images_gains_and_the_estimate_comes_near_what_more_images_bring():
    few = {"cat": 40, "dog": 40, "fox": 6}
    rows, labels = made(few)
    now = accuracies(rows, labels)
    found = forecast(rows, labels, few, now, 50)
    assert [(each.label, each.count, each.accuracy) for each in found.labels] == [
        (label, few[label], pytest.approx(now[label])) for label in sorted(few)
    ]
    assert (found.images, found.fits) == (86, 1 + 3 * 2 * 2)
    gains = {each.label: each.accuracy_then - each.accuracy for each in found.labels}
    assert max(gains, key=gains.get) == "fox"
    assert all(now[each.label] <= each.accuracy_then <= 1 for each in found.labels)

    more = {**few, "fox": 56}
    then = accuracies(*made(more))["fox"]
    estimate = next(each.accuracy_then for each in found.labels if each.label == "fox")
    assert abs(estimate - then) < abs(now["fox"] - then), "nearer than no estimate"


def test_what_is_all_right_gains_nothing():
    counts = {"cat": 20, "dog": 20}
    rows, labels = made(counts, spread=0.05)
    found = forecast(rows, labels, counts, {"cat": 1.0, "dog": 1.0}, 50)
    assert [(each.accuracy_then, each.gain) for each in found.labels] == [(1.0, pytest.approx(0, abs=0.002))] * 2


def test_time_is_bounded_and_the_work_can_be_stopped():
    counts = {"cat": 20, "dog": 20, "fox": 3}
    rows, labels = made(counts)
    asked = []
    found = forecast(
        rows, labels, counts, dict.fromkeys(counts, 0.5), 50, expired=lambda: bool(asked) or asked.append(1)
    )
    assert sum(each.measured for each in found.labels) == 1, "one curve, then time was up"
    assert found.fits == 5
    assert all(each.accuracy_then > 0.5 for each in found.labels), "the others from that one"

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        forecast(rows, labels, counts, dict.fromkeys(counts, 0.5), 50, go_on=stop)
