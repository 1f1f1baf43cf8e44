"""Bundles: many images in one call where a service offers it, each handed to whoever asks for that image.

On this machine a call costs more than the small image it brings: in bundles 1,000 take less than half the time
(`tests/benchmarks/bench_transfers.py`).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from threading import Event, Lock
from typing import Final, NamedTuple

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.types import Id
from apitorch_desktop.utils.errors import Cancelled

EXTENSION: Final = "images.archive"
AT_ONCE: Final = 3
"""Images at a time: one thread fetches the next bundle while others write; more only wait for the interpreter."""
_MOST: Final = 64
_BYTES: Final = 2**20
"""Of one bundle, about: on a slow line it still takes but seconds, and can be cancelled."""


class BundleItem(NamedTuple):
    """An image that will be asked for; `size` in bytes."""

    image_id: str
    filename: str
    size: int


class _Bundle(NamedTuple):
    images: list[BundleItem]
    arrived: Event


class BundleFetcher:
    """Hands out each of the images `wanted` once, in about that order. Thread-safe."""

    def __init__(self, training_set: Id, wanted: Sequence[BundleItem]) -> None:
        self._training_set = training_set
        self._wanted = wanted
        self._places = {one.image_id: place for place, one in enumerate(wanted)}
        self._lock = Lock()
        self._coming: dict[str, _Bundle] = {}
        self._there: dict[str, bytes] = {}
        self._asked: set[str] = set()

    def take(self, client: "ApiClient", image_id: str, cancelled: Callable[[], bool]) -> bytes | None:
        """The image's bytes; None for one that has to be fetched alone. Raises ApiError."""
        place = self._places.get(image_id)
        if place is None:
            return None
        data = self._get(client, image_id, place, cancelled)
        if data is not None:
            self._go_ahead(client, place, cancelled)
        return data

    def _get(self, client: "ApiClient", image_id: str, place: int, cancelled: Callable[[], bool]) -> bytes | None:
        while True:
            with self._lock:
                if image_id in self._there:
                    return self._there.pop(image_id)
                if image_id in self._asked:
                    return None
                coming = self._coming.get(image_id)
                mine = self._next(place) if coming is None else None
            if mine is not None:
                self._fetch(client, mine, cancelled)
            while coming is not None and not coming.arrived.wait(0.1):
                if cancelled():
                    raise Cancelled

    def _go_ahead(self, client: "ApiClient", place: int, cancelled: Callable[[], bool]) -> None:
        """Fetch the next bundle before this one is used up, so that the others go on writing meanwhile."""
        with self._lock:
            if self._coming or len(self._there) >= _MOST // 2:
                return
            bundle = self._next(place)
        if bundle.images:
            with suppress(ApiError):  # whoever comes for one of them tries again
                self._fetch(client, bundle, cancelled)

    def _next(self, place: int) -> _Bundle:
        """The next images from a place on that nobody has asked for; now on their way."""
        bundle = _Bundle([], Event())
        size = 0
        for one in islice(self._wanted, place, None):
            if one.image_id in self._asked or one.image_id in self._coming:
                continue
            size += one.size
            if bundle.images and (size > _BYTES or len(bundle.images) == _MOST):
                break
            bundle.images.append(one)
            self._coming[one.image_id] = bundle
        return bundle

    def _fetch(self, client: "ApiClient", bundle: _Bundle, cancelled: Callable[[], bool]) -> None:
        ids = [one.image_id for one in bundle.images]
        found: dict[str, bytes] = {}
        settled = False
        """Whether asking for these again would bring no more: what is missing then has to be fetched alone."""
        try:
            found = client.archive(self._training_set, ids, cancelled=cancelled)
            settled = True
        except ApiError as error:
            settled = not error.can_retry
            if not settled:
                raise
        finally:
            with self._lock:
                for one in bundle.images:
                    del self._coming[one.image_id]
                    if one.filename in found:
                        self._there[one.image_id] = found[one.filename]
                if settled:
                    self._asked.update(ids)
            bundle.arrived.set()
