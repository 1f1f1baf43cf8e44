"""Bundles: many images in one call where a service offers it, each handed to whoever asks for that image.

On a fast line a call costs more than the image it brings: a bundle of small ones takes a third of the time.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from apitorch_desktop.api.errors import ApiError, Cancelled
from apitorch_desktop.api.types import Id

if TYPE_CHECKING:
    from apitorch_desktop.api.client import ApiClient

EXTENSION: Final = "images.archive"
_MOST: Final = 64
_BYTES: Final = 2**20
"""Of one bundle, about: on a slow line it still takes but seconds, and can be cancelled."""


class Wanted(NamedTuple):
    """An image that will be asked for; `size` in bytes."""

    image_id: str
    filename: str
    size: int


class Bundles:
    """Hands out each of the images `wanted` once, in about that order. Thread-safe."""

    def __init__(self, training_set: Id, wanted: Sequence[Wanted]) -> None:
        self._training_set = training_set
        self._wanted = wanted
        self._places = {one.image_id: place for place, one in enumerate(wanted)}
        self._lock = Lock()
        self._coming: dict[str, Event] = {}
        self._there: dict[str, bytes] = {}
        self._asked: set[str] = set()

    def take(self, client: "ApiClient", image_id: str, cancelled: Callable[[], bool]) -> bytes | None:
        """The image's bytes; None for one that has to be fetched alone. Raises ApiError."""
        while True:
            ahead: list[Wanted] = []
            with self._lock:
                data = self._there.pop(image_id, None)
                coming = self._coming.get(image_id)
                if data is not None and not self._coming and len(self._there) < _MOST // 2:
                    ahead, done = self._next(self._places[image_id])
                elif data is None and coming is None:
                    if image_id in self._asked or image_id not in self._places:
                        return None
                    ahead, done = self._next(self._places[image_id])
            if ahead and data is not None:
                with suppress(ApiError):  # whoever comes for one of them tries again
                    self._fetch(client, ahead, done, cancelled)
            if data is not None:
                return data
            if ahead:
                self._fetch(client, ahead, done, cancelled)
                continue
            while coming is not None and not coming.wait(0.1):
                if cancelled():
                    raise Cancelled("Cancelled.")

    def _next(self, start: int) -> tuple[list[Wanted], Event]:
        """The next bundle, of images from a place on that nobody has asked for; now on its way."""
        bundle: list[Wanted] = []
        size = 0
        for one in islice(self._wanted, start, None):
            if one.image_id in self._asked or one.image_id in self._coming:
                continue
            size += one.size
            if bundle and (size > _BYTES or len(bundle) == _MOST):
                break
            bundle.append(one)
        done = Event()
        self._coming.update((one.image_id, done) for one in bundle)
        return bundle, done

    def _fetch(self, client: "ApiClient", bundle: list[Wanted], done: Event, cancelled: Callable[[], bool]) -> None:
        found: dict[str, bytes] = {}
        refused = False
        try:
            found = client.archive(self._training_set, [one.image_id for one in bundle], cancelled=cancelled)
            refused = True  # what is missing in the answer has to be fetched alone
        except ApiError as error:
            refused = not (error.can_retry or isinstance(error, Cancelled))
            if not refused:
                raise
        finally:
            with self._lock:
                for one in bundle:
                    del self._coming[one.image_id]
                    if one.filename in found:
                        self._there[one.image_id] = found[one.filename]
                    if refused:
                        self._asked.add(one.image_id)
            done.set()
