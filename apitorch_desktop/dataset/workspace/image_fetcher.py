"""Image bytes: signed URLs that expire are renewed by a page, or one listing for all of them, and what arrives is verified."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import monotonic
from typing import TypeVar

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed, NotFound, TimedOut
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.workspace.listing import LazyImages

T = TypeVar("T")

_PAUSE = 5.0
"""Seconds in which a training set is not listed again for an image that was missing in the last listing too."""
_RENEWED = 20_000
"""Renewed records that are kept of a training set; the oldest go first."""
_KEPT = 4
"""Training sets whose records are kept."""


class DamagedDownload(TimedOut):
    """The bytes differ from what the service announced; the next attempt may succeed."""

    advice = "Try again; if it stays so, the service has lost this image."


class ImageMissing(NotFound):
    """The image is no longer in its training set."""

    advice = "Refresh: someone may have deleted it."


class ImageFetcher:
    """Newest records of images. `relist` asks the service for all images of a training set. Thread-safe.

    An image is tried `attempts` times, each with a fresh URL: those of some services differ in every listing.
    """

    def __init__(
        self,
        relist: Callable[[Id], Iterable[TrainingImage]],
        renew: Callable[[Id, str], Sequence[TrainingImage]] = lambda _training_set_id, _image_id: (),
        attempts: int = 2,
    ) -> None:
        """`renew` returns an image and some that follow it, or none where the service lists all only; raises NotFound."""
        self._relist = relist
        self._renew_some = renew
        self._attempts = attempts
        self._lock = Lock()
        self._listing_locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._images: dict[str, LazyImages | dict[str, TrainingImage]] = {}
        self._fresh: dict[str, dict[str, TrainingImage]] = {}
        self._listed_at: dict[str, float] = {}

    def update(self, training_set_id: Id, images: Iterable[TrainingImage]) -> None:
        """Replace the known records of a training set by those of a newer listing."""
        key = training_set_id
        found = images if isinstance(images, LazyImages) else {image.image_id: image for image in images}
        with self._lock:
            self._images.pop(key, None)
            while len(self._images) >= _KEPT:
                oldest = next(iter(self._images))
                self._images.pop(oldest)
                self._fresh.pop(oldest, None)
            self._images[key], self._fresh[key] = found, {}
            self._listed_at[key] = monotonic()

    def known(self, training_set_id: Id, image_id: str) -> TrainingImage | None:
        """Return the newest known record of an image."""
        with self._lock:
            renewed = self._fresh.get(training_set_id, {}).get(image_id)
            return renewed or self._images.get(training_set_id, {}).get(image_id)

    def use(self, client: ApiClient, training_set_id: Id, image: TrainingImage, get: Callable[[TrainingImage], T]) -> T:
        """Return `get(image)`, called again with a fresh URL where it raises NotFound. Raises what `get` raises.

        So it is where nothing answers at a URL that is not the service's own address by now: the embedded service has
        another port at each start. A record without a URL is enough: its id counts. Raises ImageMissing for an image
        that is no longer listed.
        """
        begun, attempts, unchanged, was_missing = monotonic(), 0, False, False
        newest = self.known(training_set_id, image.image_id) or image
        while True:
            if attempts or not newest.url:
                renewed = self._renew(training_set_id, newest, begun)
                newest, unchanged = renewed, renewed.url == newest.url
            begun, attempts = monotonic(), attempts + 1
            try:
                return get(newest)
            except (NotFound, ConnectionFailed) as error:
                missing = isinstance(error, NotFound)
                # a URL that was listed again after a lost connection may expire only now
                final = unchanged and missing == was_missing
                if final or attempts == self._attempts or not (missing or not client.is_own(newest.url)):
                    raise
                was_missing = missing

    def fetch(
        self,
        client: ApiClient,
        training_set_id: Id,
        image: TrainingImage,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> bytes:
        """Return the verified bytes of an image. Raises ApiError."""
        return self.use(client, training_set_id, image, lambda newest: download(client, newest, cancelled=cancelled))

    def _renew(self, training_set_id: Id, stale: TrainingImage, begun: float) -> TrainingImage:
        key = training_set_id
        with self._lock:
            listing_lock = self._listing_locks[key]
        with listing_lock:  # of many threads with expired URLs one lists, and the others use its result
            found = self.known(training_set_id, stale.image_id)
            if found is not None and found.url != stale.url:
                return found
            # For an image without a URL an older listing is no proof: it may have been uploaded since
            recent = self._listed_at.get(key, -_PAUSE) > (begun - _PAUSE if stale.url else begun)
            if (some := self._renewed(training_set_id, stale.image_id)) is not None:
                return some
            if not recent or found is not None:
                self.update(training_set_id, self._relist(training_set_id))
                found = self.known(training_set_id, stale.image_id)
        if found is None:
            raise ImageMissing("This image is no longer in the training set.")
        return found

    def _renewed(self, training_set_id: Id, image_id: str) -> TrainingImage | None:
        """Return an image with a fresh URL, and keep those that follow it: they are likely to be asked for next."""
        try:
            found = {image.image_id: image for image in self._renew_some(training_set_id, image_id)}
        except NotFound:
            raise ImageMissing("This image is no longer in the training set.") from None
        with self._lock:
            fresh = self._fresh.setdefault(training_set_id, {})
            for one in found:
                fresh.pop(one, None)
            fresh.update(found)
            for oldest in list(fresh)[: max(0, len(fresh) - _RENEWED)]:
                del fresh[oldest]
        return found.get(image_id)


def download(client: ApiClient, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None) -> bytes:
    """Return the verified bytes at an image's URL. Raises DamagedDownload, NotFound for an expired URL, and ApiError."""
    return verified(lambda: client.download(image.url, cancelled=cancelled), image.display_name, image.sha256)


def verified(fetch: Callable[[], bytes], name: str, sha256: object = None) -> bytes:
    """Return the bytes of `fetch`, verified by `sha256` where it is known, else by decoding them as an image.

    A connection that breaks off may look like the end of a short image. Bytes that fail the check are therefore fetched
    again; the same bytes twice are what the service has. Raises DamagedDownload, and what `fetch` raises.
    """
    first = fetch()
    if isinstance(sha256, str):
        if hashlib.sha256(first).hexdigest() == sha256:
            return first
        again = fetch()
        if hashlib.sha256(again).hexdigest() == sha256:
            return again
    else:
        if is_complete(first):
            return first
        again = fetch()
        if again == first or is_complete(again):
            return again
    raise DamagedDownload(f"“{name}” arrived damaged.")


def is_complete(data: bytes) -> bool:
    """Return whether bytes are an image that can be decoded to its end."""
    from apitorch_desktop.vision import images

    try:
        images.verify(data)
    except images.UnreadableImage:
        return False
    return True
