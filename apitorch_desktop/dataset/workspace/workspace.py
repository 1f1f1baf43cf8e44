"""Workspace: one connection as the window uses it, whatever its service can do. Every method blocks; call it on a lane."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
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
    TrainingImages,
    TrainingSet,
)
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher
from apitorch_desktop.dataset.workspace.offline_cache import Listing, OfflineCache
from apitorch_desktop.dataset.workspace.scratch import SCRATCH_LABEL, ScratchUploads, is_scratch, without_scratch
from apitorch_desktop.dataset.workspace.whole import whole
from apitorch_desktop.utils.errors import UserError

T = TypeVar("T")

__all__ = ["SCRATCH_LABEL", "ListingProgress", "NeedsScratch", "Workspace", "listing_of"]

_FIRST_PAGE = 500
_PAGE = 5000


class NeedsScratch(UserError):  # noqa: N818 - named for what is needed
    """This service classifies by URL only: ask the person for leave and a training set, then pass it as `scratch`."""

    def __init__(self) -> None:
        super().__init__(
            "This service takes no files, only addresses: choose a training set where a file may lie meanwhile."
        )


@dataclass(frozen=True, slots=True)
class ListingProgress:
    """Progress of a listing: what has come since the last part. `total` images in all, None where it is not known."""

    images: list[TrainingImage]
    total: int | None


class Workspace:
    """A connection that is open. Thread-safe.

    Errors are `api.errors.ApiError`; `offline` tells whether the last call found nobody. `scratch` is the journal of
    local files that are being classified; it may be shared by the workspaces of a process. `hidden_labels`: of a
    training set, labels that a person dropped where the service cannot: left out of listings while they are empty.
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
        self._heard_at = monotonic()
        self._extensions = cache.extensions(connection.id)
        self._addresses = ImageFetcher(self._all_images)

    def set_client(self, client: ApiClient, extensions: frozenset[str] | None = None) -> None:
        """Use another client from now on: the same service at a new address or with a new key; it may have learned."""
        self.client = client
        if extensions is not None:
            self._extensions = extensions

    @property
    def offline(self) -> bool:
        """Whether the last call found nobody at the address."""
        return self._offline

    def seconds_since_answer(self) -> float:
        """Seconds since the service was last heard, whatever it answered."""
        return monotonic() - self._heard_at

    def run(self, call: Callable[[], T]) -> T:
        """Make a call of this connection that is no method here, and note whether the service was there."""
        with self._heard():
            return call()

    def mark_reachable(self) -> None:
        """It was heard by other ways, a transfer's say."""
        self._heard_at = monotonic()

    @property
    def extensions(self) -> frozenset[str]:
        """The service's extensions as last heard; from the cache before `connect`."""
        return self._extensions

    def has(self, extension: str) -> bool:
        """Whether the service lists an extension."""
        return extension in self._extensions

    def connect(self) -> Ping:
        """Ask the service what it can do, and clear away scratch images that a crash left there."""
        with self._heard():
            ping = self.client.ping()
        self._extensions = frozenset(ping.extensions or ())
        self.cache.save_training_sets(self.connection.id, self.cached_training_sets(), self._extensions)
        if self._scratch.left(self.connection.id):
            self.delete_scratch_images()
        return ping

    # --- training sets and listings

    def training_sets(self) -> list[TrainingSet]:
        """The training sets; they are remembered."""
        with self._heard():
            training_sets = self.client.training_sets()
        self.cache.save_training_sets(self.connection.id, training_sets, self._extensions)
        return training_sets

    def cached_training_sets(self) -> list[TrainingSet]:
        """The training sets as last seen: at once, without the network."""
        return self.cache.training_sets(self.connection.id)

    def listing(
        self,
        training_set_id: Id,
        *,
        progress: Callable[[ListingProgress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Listing:
        """All labels and images, in pages where the service has them; remembered. `progress` is called with each part."""
        ours = self.scratch_label(training_set_id)
        with self._heard():
            if self.has("paging"):
                labels = [one for one in self.client.labels(training_set_id) if not is_scratch(one.label, ours)]
                total = sum(label.count for label in labels)
                listing = listing_of(list(self._pages(training_set_id, total, progress, cancelled)), ours)
                _order(listing, [label.label for label in labels])
                listing.label_ids |= {label.label: label.id for label in labels}
            else:
                listing = listing_of([self.client.images(training_set_id, cancelled=cancelled)], ours)
                self._leave_out_hidden(listing, training_set_id)
                if progress is not None:
                    progress(ListingProgress(listing.images, len(listing.images)))
        self.cache.save_listing(self.connection.id, listing)
        self._addresses.note(training_set_id, listing.images)
        return listing

    def _leave_out_hidden(self, listing: Listing, training_set_id: Id) -> None:
        hidden = set() if self.has("labels") else set(self._hidden_labels(training_set_id))
        if hidden:
            hidden -= {str(image.label) for image in listing.images}
            listing.labels = [label for label in listing.labels if label not in hidden]

    def cached_listing(self, training_set_id: Id) -> Listing | None:
        """The listing as last seen: without the network."""
        return self.cache.listing(self.connection.id, training_set_id)

    def remember(self, listing: Listing) -> None:
        """Keep a listing that the window changed after an edit, for the next start."""
        self.cache.save_listing(self.connection.id, listing)

    def _pages(
        self,
        training_set_id: Id,
        total: int,
        progress: Callable[[ListingProgress], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Iterator[TrainingImages]:
        after: str | None = None
        limit = _FIRST_PAGE
        while True:
            page = self.client.image_page(training_set_id, after=after, limit=limit, cancelled=cancelled)
            if progress is not None:
                progress(ListingProgress(listing_of([page], self.scratch_label(training_set_id)).images, total))
            yield page
            if not isinstance(page.next, str) or page.next == after:
                return
            after, limit = page.next, _PAGE

    def _all_images(self, training_set_id: Id) -> list[TrainingImage]:
        return self.listing(training_set_id).images

    # --- pictures

    def cached_thumbnail(self, image_id: str) -> bytes | None:
        """A thumbnail (JPEG) from the cache."""
        return self.cache.thumbnail(self.connection.id, image_id)

    def thumbnail(
        self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None
    ) -> bytes:
        """A thumbnail (JPEG): from the cache, from the service, or made of the image; kept.

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
            return self._download(newest, cancelled), False

        with self._heard():
            data, small = self._addresses.use(training_set_id, image, get)
        if not small:
            from apitorch_desktop.vision import images

            data = images.thumbnail(data)
        self.cache.save_thumbnail(self.connection.id, image.image_id, data)
        return data

    def image(self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None) -> bytes:
        """The bytes of an image. A signed URL that has run out is fetched anew."""
        with self._heard():
            return self._addresses.use(training_set_id, image, lambda newest: self._download(newest, cancelled))

    def _download(self, image: TrainingImage, cancelled: Callable[[], bool] | None) -> bytes:
        name = image.original_filename or image.filename
        return whole(lambda: self.client.download(image.url, cancelled=cancelled), name, image.sha256)

    # --- classification

    def classifiers(self) -> list[Classifier]:
        """The classifiers that may be used, each with its slug."""
        with self._heard():
            found = self.client.classifiers()
        for classifier in found:
            if not isinstance(classifier.slug, str):
                classifier.slug = slugify(classifier.name)
        return found

    def classifier(self, slug: str) -> Classifier:
        """`training`: one classifier with its state and metrics."""
        with self._heard():
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
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Classification]:
        """What 1 to 10 classifiers, by slug, say about a file, bytes or a URL.

        A file goes up with the call where the service has `classify.upload`; else through the label `desktop_scratch`
        of the training set `scratch` (default: the connection's), and is deleted again whatever happens.
        Raises NeedsScratch where no such training set is named.
        """
        with self._heard():
            if image_url is not None:
                return self.client.classify(classifiers, image_url=image_url, cancelled=cancelled)
            if self.has("classify.upload"):
                return self.client.classify(classifiers, path=path, data=data, filename=filename, cancelled=cancelled)
            scratch = scratch if scratch is not None else self.connection.scratch_training_set
            if scratch is None:
                raise NeedsScratch
            if path is not None:
                data, filename = _content(path), path.name
            return self._scratch.classify(
                self.client, self.connection.id, scratch, classifiers, data or b"", filename, cancelled
            )

    def scratch_label(self, training_set_id: Id) -> str:
        """The label that is ours in a training set, for local files that are being classified; "" where there is none."""
        return self._scratch.label(self.connection.id, training_set_id)

    def delete_scratch_images(self) -> int:
        """Delete scratch images that are still there after a failure or a crash; how many are still to be deleted."""
        return self._scratch.clean(self.client, self.connection.id)

    # --- feedback

    def correct(self, classification: Classification, label: str, label_id: Id | None = None) -> FeedbackAnswer:
        """Feedback without an undo; use `edits.Edits.correct` where it should have one.

        `label_id` where it is known; else the classification's own answers are asked for it, and else it is the label.
        """
        answers = [classification, *(classification.alternatives or ())]
        ids = {answer.label: answer.label_id for answer in answers if isinstance(answer.label_id, str)}
        with self._heard():
            return self.client.feedback_classification(
                classification.id, label_id if label_id is not None else ids.get(label, label)
            )

    def send_message(self, text: str) -> FeedbackAnswer:
        """Send a free-form message to who runs the service."""
        with self._heard():
            return self.client.feedback_freeform(text)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Note whether the service was there."""
        try:
            yield
        except (ConnectionFailed, TimedOut):
            self._offline = True
            raise
        except ApiError:
            self._offline, self._heard_at = False, monotonic()
            raise
        self._offline, self._heard_at = False, monotonic()


def listing_of(answers: Sequence[TrainingImages], ours: str = "") -> Listing:
    """One listing of what a service answered, in one piece or in pages; an image that comes twice is there once.

    Without the scratch label, `ours`.
    """
    first = answers[0]
    groups: dict[str, list[TrainingImage]] = {}
    ids: dict[str, str] = {}
    seen: set[str] = set()
    for answer in answers:
        for group in without_scratch(answer, ours).data:
            images = groups.setdefault(group.label, [])
            if isinstance(group.id, str):
                ids[group.label] = group.id
            for image in group.images:
                found = image.image_id
                if found not in seen:
                    seen.add(found)
                    image.label = group.label
                    images.append(image)
    merged = [image for images in groups.values() for image in images]
    return Listing(
        first.training_set_id, first.training_set_slug, list(groups), merged, first.training_set_url, ids, time()
    )


def _order(listing: Listing, labels: list[str]) -> None:
    """Put a listing into the order of its service's labels."""
    labels += [label for label in listing.labels if label not in set(labels)]
    groups: dict[str, list[TrainingImage]] = {label: [] for label in labels}
    for image in listing.images:
        groups[str(image.label)].append(image)
    listing.labels = labels
    listing.images = [image for images in groups.values() for image in images]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadRequest(
            f"“{path.name}” cannot be read: {error.strerror or error}.", advice="Check the file, then retry."
        ) from None
