"""Differences of two versions on images made up for it, counted by hand."""

import numpy as np
import pytest

from apitorch_desktop.service.classifiers.training_data import (
    VersionAnswers,
    changed_answers,
    difference,
    is_clearly_worse,
    mcnemar,
    renamed_labels,
    to_ids,
)

LABELS = ("cat", "dog", "owl")


def answers(rows, labels=LABELS):
    """`rows`: image → (given, answered)."""
    out_of_fold = np.full((len(rows), len(labels)), 0.1)
    for at, (_, answered) in enumerate(rows.values()):
        out_of_fold[at, labels.index(answered)] = 0.8
    return VersionAnswers.of_training(labels, to_ids(map(name, rows)), [row[0] for row in rows.values()], out_of_fold)


def name(letter):
    return f"{ord(letter):040x}"


def test_answers_are_stored_and_read_again():
    stored = answers({"a": ("cat", "dog"), "b": ("owl", "owl")})
    read = VersionAnswers.from_bytes(stored.to_bytes())
    assert read.by_image() == {name("a"): ("dog", pytest.approx(0.8)), name("b"): ("owl", pytest.approx(0.8))}
    assert (read.labels, read.given.tolist()) == (LABELS, [0, 2])
    for damaged in (b"", b"\xc1", stored.to_bytes()[:-3], answers({}).to_bytes().replace(b"cat", b"ca\xff")):
        with pytest.raises(ValueError, match="damaged"):
            VersionAnswers.from_bytes(damaged)


def test_what_changed_is_counted_on_photos_that_both_learned_under_one_label():
    before = answers({
        "a": ("cat", "dog"), "b": ("cat", "cat"), "c": ("dog", "cat"), "d": ("dog", "dog"),
        "e": ("owl", "owl"), "f": ("owl", "owl"),
    })  # fmt: skip
    after = answers({
        "a": ("cat", "cat"), "b": ("cat", "owl"), "c": ("dog", "owl"), "d": ("dog", "dog"),
        "e": ("cat", "cat"), "g": ("owl", "cat"), "h": ("owl", "owl"),
    })  # fmt: skip
    found = difference(before, after, 7)
    assert (found.version, found.added, found.removed, found.relabeled, found.images) == (7, 2, 1, 1, 4)
    assert (found.better, found.worse, found.sideways) == (1, 1, 1)
    assert found.p_value == 1


def test_a_renamed_label_changes_no_answer():
    before = answers({"a": ("cat", "cat"), "b": ("dog", "cat"), "c": ("owl", "owl")})
    after = answers({"a": ("cat", "cat"), "b": ("wolf", "cat"), "c": ("owl", "wolf")}, ("cat", "owl", "wolf"))
    found = difference(before, after, 1)
    assert (found.relabeled, found.better, found.worse, found.sideways) == (0, 0, 1, 0)
    given = {name("a"): "cat", name("b"): "cat", name("c"): "owl"}
    assert renamed_labels(before, given) == {}, "merged, not renamed"


def test_mcnemar_is_that_of_the_tables():
    """Exact two-sided: 2 · Σ C(n, i) / 2ⁿ for i up to the smaller."""
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(5, 5) == 1


@pytest.mark.parametrize(
    ("better", "worse", "clearly"), [(0, 5, False), (0, 6, True), (6, 0, False), (2, 9, False), (1, 9, True)]
)
def test_clearly_worse_is_more_than_chance(better, worse, clearly):
    letters = [chr(0x100 + at) for at in range(better + worse)]
    before = answers({each: ("cat", "dog" if at < better else "cat") for at, each in enumerate(letters)})
    after = answers({each: ("cat", "cat" if at < better else "owl") for at, each in enumerate(letters)})
    assert is_clearly_worse(difference(before, after, 1)) is clearly


def test_changed_answers_are_told_with_what_they_are_to_the_label():
    before = {"a": ("dog", 0.6), "b": ("cat", 0.9), "c": ("dog", 0.5), "d": ("cat", 0.7), "e": ("cat", 0.7)}
    after = {"a": ("cat", 0.7), "b": ("dog", 0.8), "c": ("owl", 0.9), "d": ("cat", 0.9)}
    found = changed_answers([(each, "cat") for each in "abcde"], before, after)
    assert [(each.image_id, each.kind, each.from_label, each.to_label, each.to_value) for each in found] == [
        ("ti_c", "sideways", "dog", "owl", "0.9000"),
        ("ti_b", "worse", "cat", "dog", "0.8000"),
        ("ti_a", "better", "dog", "cat", "0.7000"),
    ]
