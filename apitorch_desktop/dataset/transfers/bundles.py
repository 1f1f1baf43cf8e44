"""Bundles: many small images fetched in one call, where a service offers that.

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
MAX_PARALLEL_BUNDLED: Final = 3
"""Parallel images: one thread fetches the next bundle while others write; more only wait for the interpreter."""
_MAX_IMAGES: Final = 64
_MAX_BYTES: Final = 2**20
"""Approximate size of a bundle: it takes seconds on a slow line too, and can be cancelled."""


class BundleItem(NamedTuple):
    """An image that will be requested; `size` in bytes."""

    image_id: str
    filename: str
    size: int


class _Bundle(NamedTuple):
    images: list[BundleItem]
    arrived: Event


class BundleFetcher:
    """Returns each of the images `items` once, in about that order. Thread-safe."""

    def __init__(self, training_set: Id, items: Sequence[BundleItem]) -> None:
        self._training_set = training_set
        self._items = items
        self._indexes = {item.image_id: index for index, item in enumerate(items)}
        self._lock = Lock()
        self._requested: dict[str, _Bundle] = {}
        self._arrived: dict[str, bytes] = {}
        self._finished: set[str] = set()

    def take(self, client: ApiClient, image_id: str, cancelled: Callable[[], bool]) -> bytes | None:
        """Return an image's bytes, or None for one that has to be fetched alone. Raises ApiError."""
        index = self._indexes.get(image_id)
        if index is None:
            return None
        data = self._get(client, image_id, index, cancelled)
        if data is not None:
            self._fetch_ahead(client, index, cancelled)
        return data

    def _get(self, client: ApiClient, image_id: str, index: int, cancelled: Callable[[], bool]) -> bytes | None:
        while True:
            with self._lock:
                if image_id in self._arrived:
                    return self._arrived.pop(image_id)
                if image_id in self._finished:
                    return None
                bundle = self._requested.get(image_id)
                own = self._next(index) if bundle is None else None
            if own is not None:
                self._fetch(client, own, cancelled)
            while bundle is not None and not bundle.arrived.wait(0.1):
                if cancelled():
                    raise Cancelled

    def _fetch_ahead(self, client: ApiClient, index: int, cancelled: Callable[[], bool]) -> None:
        """Fetch the next bundle before this one is used up, while other threads write."""
        with self._lock:
            if self._requested or len(self._arrived) >= _MAX_IMAGES // 2:
                return
            bundle = self._next(index)
        if bundle.images:
            with suppress(ApiError):  # the next `take` of one of them tries again
                self._fetch(client, bundle, cancelled)

    def _next(self, index: int) -> _Bundle:
        """Return the next bundle of images, from an index on, that have not been requested; they now are."""
        bundle = _Bundle([], Event())
        size = 0
        for item in islice(self._items, index, None):
            if item.image_id in self._finished or item.image_id in self._requested:
                continue
            size += item.size
            if bundle.images and (size > _MAX_BYTES or len(bundle.images) == _MAX_IMAGES):
                break
            bundle.images.append(item)
            self._requested[item.image_id] = bundle
        return bundle

    def _fetch(self, client: ApiClient, bundle: _Bundle, cancelled: Callable[[], bool]) -> None:
        ids = [item.image_id for item in bundle.images]
        found: dict[str, bytes] = {}
        final = False
        """Another request would bring no more: what is missing has to be fetched alone."""
        try:
            found = client.archive(self._training_set, ids, cancelled=cancelled)
            final = True
        except ApiError as error:
            final = not error.can_retry
            if not final:
                raise
        finally:
            with self._lock:
                for item in bundle.images:
                    del self._requested[item.image_id]
                    if item.filename in found:
                        self._arrived[item.image_id] = found[item.filename]
                if final:
                    self._finished.update(ids)
            bundle.arrived.set()
