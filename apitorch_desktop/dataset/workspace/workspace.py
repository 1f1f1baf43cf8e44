"""Workspace: one open connection, with fallbacks for what its service lacks. Every method blocks: call it on a lane."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TypeVar

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, BadRequest, ConnectionFailed, TimedOut
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import (
    Classification,
    Classifier,
    FeedbackAnswer,
    Id,
    Ping,
    TrainingImage,
    TrainingSet,
)
from apitorch_desktop.dataset.connections.local_client import LOCAL_URL
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher, download
from apitorch_desktop.dataset.workspace.listing import Listing, iter_answers, list_labels
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.utils.errors import UserError

T = TypeVar("T")

_FIRST_PAGE = 500
_PAGE = 5000
_CACHE_AFTER = 5.0
"""Seconds of a first listing after which its pages are cached."""
_CACHE_PAUSE = 20
"""Seconds until they are cached again, for each second that it took."""


class NeedsScratch(UserError):  # noqa: N818 - named for what is needed
    """The service classifies by URL only: ask the user for permission and a training set, and pass it as `scratch`."""

    def __init__(self) -> None:
        super().__init__(
            "This service takes no files, only addresses: choose a training set where a file may lie meanwhile."
        )


@dataclass(frozen=True, slots=True)
class ListingProgress:
    """Progress of a listing: the images of its newest part, and how many there are in all."""

    images: Sequence[TrainingImage]
    total: int


class Workspace:
    """An open connection. Thread-safe; raises `api.errors.ApiError`.

    `scratch` is the journal of local files that are being classified; the workspaces of a process may share it.
    `hidden_labels` returns the labels of a training set that the user deleted where the service cannot: they are left
    out of listings while they are empty.
    """

    def __init__(
        self,
        connection: Connection,
        client: ApiClient,
        cache: OfflineCache,
        scratch: ScratchUploads,
        hidden_labels: Callable[[Id], Collection[str]] = lambda _training_set_id: (),
    ) -> None:
        self.connection = connection
        self.client = client
        self.cache = cache
        self._scratch = scratch
        self._hidden_labels = hidden_labels
        self._offline = False
        self._answered_at = monotonic()
        self._extensions = cache.extensions(connection.id)
        self._fetcher = ImageFetcher(
            lambda training_set_id: self.listing(training_set_id, anew=True).images, self._renewed
        )

    def set_client(self, client: ApiClient, extensions: frozenset[str] | None = None) -> None:
        """Use another client from now on: the service has a new address, a new key or other extensions."""
        self.client = client
        if extensions is not None:
            self._extensions = extensions

    @property
    def offline(self) -> bool:
        """True if the last call was not answered."""
        return self._offline

    def seconds_since_answer(self) -> float:
        """Return the seconds since the service last answered, with whatever answer."""
        return monotonic() - self._answered_at

    def run(self, call: Callable[[], T]) -> T:
        """Make a call for which there is no method here, and record whether the service answered."""
        with self._recorded():
            return call()

    def mark_reachable(self) -> None:
        """Record that the service answered elsewhere, to a transfer for example."""
        self._answered_at = monotonic()

    @property
    def extensions(self) -> frozenset[str]:
        """Extensions of the service as last seen; before `connect` those of the cache."""
        return self._extensions

    def has(self, extension: str) -> bool:
        """Return whether the service lists an extension."""
        return extension in self._extensions

    @property
    def has_inbox(self) -> bool:
        """True if images may be without a label: on the service, or here where it has the documented calls alone."""
        return not self._extensions or self.has("unlabelled")

    def connect(self) -> Ping:
        """Ask the service for its extensions, and delete scratch images that a crash left there."""
        with self._recorded():
            ping = self.client.ping()
        self._extensions = frozenset(ping.extensions or ())
        self.cache.save_training_sets(self.connection.id, self.cached_training_sets(), self._extensions)
        if self._scratch.left(self.connection.id):
            self.delete_scratch_images()
        return ping

    # --- training sets and listings

    def training_sets(self) -> list[TrainingSet]:
        """Return the training sets; they are cached."""
        with self._recorded():
            training_sets = self.client.training_sets()
        self.cache.save_training_sets(self.connection.id, training_sets, self._extensions)
        return training_sets

    def cached_training_sets(self) -> list[TrainingSet]:
        """Return the training sets as last seen, without the network."""
        return self.cache.training_sets(self.connection.id)

    def listing(
        self,
        training_set_id: Id,
        *,
        progress: Callable[[ListingProgress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        anew: bool = False,
    ) -> Listing:
        """Return all labels and images: the cached ones with what has changed since, where the service says that, else
        all, in pages where it has these; cached. `progress` receives each part; `anew`: all, with fresh URLs.

        Pages of a first listing are cached as they come; one that was broken off goes on after them.
        """
        from apitorch_desktop.dataset.workspace.columnar_listing import updated

        begun = None
        known = None if anew or not self.has("changes") else self.cache.listing(self.connection.id, training_set_id)
        if known is not None and known.revision:
            with self._recorded():
                changes = self.client.image_changes(training_set_id, known.revision, cancelled=cancelled)
            found = None if changes.too_old else updated(known, changes, self.scratch_label(training_set_id))
            if found is not None and not found[0].next:
                present, change = found
                if progress is not None:
                    progress(ListingProgress(present.images, len(present.images)))
                self.cache.save_change(self.connection.id, known.revision, present, change)
                return present
            if found is not None:
                self.cache.save_listing(self.connection.id, found[0])
                begun = self.cache.listing(self.connection.id, training_set_id)
        whole_is_cached = anew or (known is not None and not known.next)
        listing = self._list_all(training_set_id, begun, progress, cancelled, as_it_comes=not whole_is_cached)
        self.cache.save_listing(self.connection.id, listing)
        self._fetcher.update(training_set_id, listing.images)
        return listing

    def _list_all(
        self,
        training_set_id: Id,
        begun: Listing | None,
        progress: Callable[[ListingProgress], None] | None,
        cancelled: Callable[[], bool] | None,
        *,
        as_it_comes: bool,
    ) -> Listing:
        """List all images, in pages where the service has these, after those of `begun`; cache the pages `as_it_comes`."""
        from apitorch_desktop.dataset.workspace.columnar_listing import ListingBuilder

        scratch_label, paged = self.scratch_label(training_set_id), self.has("paging")
        with self._recorded():
            revision = begun.revision if begun is not None else ""
            if not revision and self.has("changes"):
                revision = self.client.image_changes(training_set_id).revision
            labels = list_labels(self.client, training_set_id, scratch_label) if paged else []
            names, ids = [label.label for label in labels], {label.label: label.id for label in labels}
            total = sum(label.count for label in labels) if paged else None
            if begun is not None and progress is not None and total is not None:
                shown = self.cache.listing(self.connection.id, training_set_id)  # columns that belong to the receiver
                progress(ListingProgress(shown.images if shown is not None else [], total))
            builder, cached_at, pause = ListingBuilder(begun), monotonic(), _CACHE_AFTER
            for answer in iter_answers(
                self.client, training_set_id, paged=paged, after=begun.next if begun is not None else None,
                first=_FIRST_PAGE, limit=_PAGE, scratch_label=scratch_label, cancelled=cancelled,
            ):  # fmt: skip
                images = builder.add(answer)
                if progress is not None:
                    progress(ListingProgress(images, len(images) if total is None else total))
                now = monotonic()
                if as_it_comes and revision and isinstance(answer.next, str) and now - cached_at >= pause:
                    part = replace(builder.listing(names), revision=revision, next=answer.next)
                    part.label_ids |= ids
                    self.cache.save_listing(self.connection.id, part)
                    cached_at = monotonic()
                    pause = max(_CACHE_AFTER, _CACHE_PAUSE * (cached_at - now))
            listing = builder.listing(names)
            listing.label_ids |= ids
            if not paged:
                self._leave_out_hidden(listing, training_set_id)
            listing.revision, listing.next = revision, ""
        return listing

    def _renewed(self, training_set_id: Id, image_id: str) -> list[TrainingImage]:
        """Return an image and those after it in its label, with fresh URLs; none where the service lists all images only."""
        if not (self.has("changes") and self.has("paging")):
            return []
        first = self.client.training_image(image_id)
        label = first.label if isinstance(first.label, str) else None
        page = self.client.image_page(training_set_id, label=label, after=image_id, limit=_FIRST_PAGE)
        return [first, *(image for group in page.data for image in group.images)]

    def _leave_out_hidden(self, listing: Listing, training_set_id: Id) -> None:
        hidden = set() if self.has("labels") else set(self._hidden_labels(training_set_id))
        if hidden:
            hidden -= {str(image.label) for image in listing.images}
            listing.labels = [label for label in listing.labels if label not in hidden]

    def cached_listing(self, training_set_id: Id) -> Listing | None:
        """Return the whole listing as last seen, without the network. Its images are columns that belong to the caller."""
        listing = self.cache.listing(self.connection.id, training_set_id)
        return listing if listing is not None and not listing.next else None

    # --- images

    def cached_thumbnail(self, image_id: str) -> bytes | None:
        """Return a thumbnail (JPEG) from the cache."""
        return self.cache.thumbnail(self.connection.id, image_id)

    def thumbnail(
        self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None
    ) -> bytes:
        """Return a thumbnail (JPEG) from the cache, from the service, or made from the image; it is cached.

        Raises ApiError, and `vision.images.UnreadableImage` with the reason why it cannot be shown.
        """
        known = self.cached_thumbnail(image.image_id)
        if known is not None:
            return known

        def get(newest: TrainingImage) -> tuple[bytes, bool]:
            if isinstance(newest.thumbnail_url, str):
                small = self.client.download(newest.thumbnail_url, cancelled=cancelled)
                if small.startswith(b"\xff\xd8"):
                    return small, True
            return download(self.client, newest, cancelled=cancelled), False

        with self._recorded(image.url):
            data, is_thumbnail = self._fetcher.use(self.client, training_set_id, image, get)
        if not is_thumbnail:
            from apitorch_desktop.vision import images

            data = images.thumbnail(data)
        self.cache.save_thumbnail(self.connection.id, image.image_id, data)
        return data

    def image(self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None) -> bytes:
        """Return the verified bytes of an image; a URL that has expired, or is of an earlier address, is renewed."""
        with self._recorded(image.url):
            return self._fetcher.fetch(self.client, training_set_id, image, cancelled=cancelled)

    # --- classification

    def classifiers(self) -> list[Classifier]:
        """Return the classifiers that may be used, each with its slug."""
        with self._recorded():
            found = self.client.classifiers()
        for classifier in found:
            if not isinstance(classifier.slug, str):
                classifier.slug = slugify(classifier.name)
        return found

    def classifier(self, slug: str) -> Classifier:
        """`training`: return one classifier with its state and metrics."""
        with self._recorded():
            return self.client.classifier(slug)

    def classify(
        self,
        classifiers: Sequence[str],
        *,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "image",
        image_url: str | None = None,
        scratch: Id | None = None,
        keep: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Classification]:
        """Classify a file, bytes or a URL with 1 to 10 classifiers, given by slug.

        A file is sent with the call where the service has `classify.upload`; else it is uploaded to the label
        `desktop_scratch` of the training set `scratch` (default: the connection's) and deleted again whatever happens.
        Raises NeedsScratch where there is no such training set. Unless `keep`, a service with `classify.unkept` does not
        record the answer.
        """
        keep = keep or not self.has("classify.unkept")
        with self._recorded():
            if image_url is not None:
                return self.client.classify(classifiers, image_url=image_url, keep=keep, cancelled=cancelled)
            if self.has("classify.upload"):
                return self.client.classify(
                    classifiers, path=path, data=data, filename=filename, keep=keep, cancelled=cancelled
                )
            scratch = scratch if scratch is not None else self.connection.scratch_training_set
            if scratch is None:
                raise NeedsScratch
            if path is not None:
                data, filename = _content(path), path.name
            return self._scratch.classify(
                self.client, self.connection.id, scratch, classifiers, data or b"", filename, cancelled
            )

    def scratch_label(self, training_set_id: Id) -> str:
        """Return the label of local files that are being classified in a training set, "" where there is none."""
        return self._scratch.label(self.connection.id, training_set_id)

    def delete_scratch_images(self) -> int:
        """Delete scratch images that a failure or a crash left; return how many are still to be deleted."""
        return self._scratch.clean(self.client, self.connection.id)

    # --- feedback

    def send_message(self, text: str) -> FeedbackAnswer:
        """Send a free-form message to the operators of the service."""
        with self._recorded():
            return self.client.feedback_freeform(text)

    @contextmanager
    def _recorded(self, url: str = "") -> Iterator[None]:
        """Record whether the service answered; an image at a `url` of this machine says nothing of it."""
        if url.startswith(LOCAL_URL):
            yield
            return
        try:
            yield
        except (ConnectionFailed, TimedOut):
            self._offline = True
            raise
        except ApiError:
            self._offline, self._answered_at = False, monotonic()
            raise
        self._offline, self._answered_at = False, monotonic()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadRequest(
            f"“{path.name}” cannot be read: {error.strerror or error}.", advice="Check the file, then retry."
        ) from None
