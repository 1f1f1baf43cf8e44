"""Signed addresses that run out: an image's newest one, and one new listing for all that have run out at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic
from typing import TypeVar

from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.api.types import Id, TrainingImage

T = TypeVar("T")

_PAUSE = 5.0
"""Seconds in which a training set is not listed again for an image that was not in the last listing either."""
_KEPT = 4
"""Training sets whose addresses are kept."""


class ImageFetcher:
    """The newest records of images. `relist` asks the service for all images of a training set. Thread-safe."""

    def __init__(self, relist: Callable[[Id], Iterable[TrainingImage]]) -> None:
        self._relist = relist
        self._lock = Lock()
        self._turns: defaultdict[str, Lock] = defaultdict(Lock)
        self._images: dict[str, dict[str, TrainingImage]] = {}
        self._listed: dict[str, float] = {}

    def note(self, training_set_id: Id, images: Iterable[TrainingImage]) -> None:
        """These are newer than what was known before."""
        key = str(training_set_id)
        found = {image.image_id: image for image in images}
        with self._lock:
            self._images.pop(key, None)
            while len(self._images) >= _KEPT:
                self._images.pop(next(iter(self._images)))
            self._images[key] = found
            self._listed[key] = monotonic()

    def use(self, training_set_id: Id, image: TrainingImage, get: Callable[[TrainingImage], T]) -> T:
        """`get(image)`, and where that raises NotFound, once more with a fresh address. Raises what `get` raises.

        A record without an address is enough: its id counts.
        """
        begun = monotonic()
        known = self._known(training_set_id).get(image.image_id)
        tried = known if known is not None else image
        try:
            if tried.url:
                return get(tried)
        except NotFound:
            pass
        return get(self._renewed(training_set_id, tried, begun))

    def _known(self, training_set_id: Id) -> dict[str, TrainingImage]:
        with self._lock:
            return self._images.get(str(training_set_id), {})

    def _renewed(self, training_set_id: Id, stale: TrainingImage, begun: float) -> TrainingImage:
        key = str(training_set_id)
        with self._lock:
            turn = self._turns[key]
        with turn:  # of many that ran out, one lists, the rest find what it got
            found = self._known(training_set_id).get(stale.image_id)
            if found is not None and found.url != stale.url:
                return found
            listed = self._listed.get(key, -_PAUSE)
            # Of an image without an address an older listing tells nothing: it may have come since
            told = listed > (begun - _PAUSE if stale.url else begun)
            if not told or found is not None:
                self.note(training_set_id, self._relist(training_set_id))
                found = self._known(training_set_id).get(stale.image_id)
        if found is None:
            raise NotFound(
                "This image is no longer in the training set.", advice="Refresh: someone may have deleted it."
            )
        return found
