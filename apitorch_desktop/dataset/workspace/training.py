"""Waiting for a classifier that is being trained."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Protocol

from apitorch_desktop.api.errors import ApiError, NotFound
from apitorch_desktop.api.types import Classifier
from apitorch_desktop.utils.errors import Cancelled

POLL = 0.5
"""Seconds between two requests."""
TRAINING_DELAY = 5.0
"""Seconds after a change within which training begins (the service waits up to 2)."""


class ClassifierSource(Protocol):
    """Source of a classifier's state: an `ApiClient` or a `Workspace`."""

    def classifier(self, slug: str) -> Classifier:
        """Return a classifier's state. Raises ApiError."""
        ...


def newest_version(state: Classifier) -> int:
    """Return the number of the newest version of a classifier, in use or waiting for the user's decision; 0 for none."""
    return max(0, *(number for number in (state.version, state.waiting_version) if isinstance(number, int)), 0)


def wait_until_trained(
    source: ClassifierSource,
    slug: str,
    newer_than: int = 0,
    *,
    patience: float = 0.0,
    report: Callable[[Classifier | None], object] = lambda _state: None,
    wait: Callable[[float], object] = sleep,
) -> Classifier | None:
    """Poll a classifier until it has a version above `newer_than`; return its last state, None if it has none.

    Needs the extension `training`. The wait also ends if no training is under way after `patience` seconds: it has failed
    or has not begun. `report` receives every state. `wait` pauses and returns True to cancel. Raises ApiError if it is
    permanent (`can_retry` is false) or lasts beyond `patience`, and Cancelled.
    """
    end = monotonic() + patience
    while True:
        state, training = None, False
        try:
            state = source.classifier(slug)
        except NotFound:  # with fewer than two labels there is none
            report(None)
        except ApiError as error:
            if not error.can_retry or monotonic() >= end:
                raise
        else:
            report(state)
            training = state.status == "training"
            if newest_version(state) > newer_than:
                return state
        if not training and monotonic() >= end:
            return state
        if wait(POLL):
            raise Cancelled
