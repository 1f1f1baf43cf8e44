"""Tests of what still holds of findings after changes."""

import random

import pytest

from apitorch_desktop.api.types import INBOX, TrainingImage
from apitorch_desktop.dataset.review.findings import (
    Duplicate,
    DuplicateGroup,
    Findings,
    FlaggedImage,
    LabelIssue,
    current,
)
from apitorch_desktop.dataset.workspace.image_table import ImageTable


def images(count):
    return [
        TrainingImage(filename=f"{number:040x}.jpg", url="", id=f"ti_{number:040x}", label=f"label_{number % 4}")
        for number in range(count)
    ]


def found_in(records):
    ids = [one.image_id for one in records]
    return Findings(
        groups=[
            DuplicateGroup(
                [Duplicate(one.image_id, one.label, 1, 1, 1, "", 0.5) for one in pair], {"largest": pair[0].image_id}
            )
            for pair in zip(records[::2], records[1::2], strict=True)
        ],
        flagged=[FlaggedImage(one, ["blurry", "dark"]) for one in ids[::3]],
        label_issues=[LabelIssue(one.image_id, one.label, "other", 0.1, 0.9) for one in records[::2]],
        unsure=ids[::5],
    )


@pytest.mark.parametrize("turn", range(5))
def test_asking_for_what_changed_finds_the_same_as_asking_for_all(turn):
    chance, records = random.Random(turn), images(200)
    table = ImageTable()
    table.append(records)
    found, before = found_in(records), table.snapshot()
    chosen = chance.sample(records, 30)
    table.set_label(table.find_all([one.image_id for one in chosen[:10]]), chance.choice(("label_1", INBOX)))
    table.remove(table.find_all([one.image_id for one in chosen[10:20]]))
    table.append(chosen[15:20])  # are restored
    dismissed = frozenset(
        [(one.image_id, f"label:{one.label}") for one in chosen[20:]]
        + [(one.image_id, "flag:dark") for one in chance.sample(records, 30)]
        + [(pair.images[0], f"twin:{pair.images[1]}") for pair in chance.sample(found.groups, 20)]
    )

    def label_of(image_id):
        slot = table.find(image_id)
        return table.labels[int(table.label[slot])] if slot >= 0 else None

    everything = current(found, label_of, dismissed)
    assert current(found, label_of, dismissed, before.changed()) == everything
    assert everything != found


def test_what_did_not_change_is_not_asked_for():
    records = images(200)
    found = found_in(records)
    asked = []

    def label_of(image_id):
        asked.append(image_id)
        return "label_0"

    left = current(found, label_of, frozenset(), {records[3].image_id: None})
    assert len(left.flagged) == len(found.flagged) - 1
    assert set(asked) - set(found.unsure) == {records[2].image_id}  # which is of its group
