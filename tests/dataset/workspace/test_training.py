"""Waiting for a version, on states as a service gives them one after the other."""

import pytest
from msgspec import UNSET

from apitorch_desktop.api.types import Classifier
from apitorch_desktop.dataset.workspace.training import newest_version, wait_until_trained
from apitorch_desktop.utils.errors import Cancelled


class States:
    """A source of states; the last one stays."""

    def __init__(self, *states):
        self.left = list(states)

    def classifier(self, slug):
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def state(version=UNSET, status="ready", waiting=UNSET):
    return Classifier(slug="summer", status=status, version=version, waiting_version=waiting)


def test_a_version_that_waits_counts_as_trained():
    assert [newest_version(each) for each in (state(), state(3), state(3, waiting=5))] == [0, 3, 5]
    source = States(state(3, "training"), state(3, "training", waiting=4), state(3, waiting=5))
    found = wait_until_trained(source, "summer", 4, wait=lambda _seconds: False)
    assert (found.version, found.waiting_version) == (3, 5)


def test_the_wait_ends_where_no_training_is_under_way_and_when_it_is_cancelled():
    assert wait_until_trained(States(state(3)), "summer", 3, wait=lambda _seconds: False).version == 3
    with pytest.raises(Cancelled):
        wait_until_trained(States(state(3, "training")), "summer", 3, wait=lambda _seconds: True)
