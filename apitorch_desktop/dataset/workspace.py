"""Workspace: one connection as the window uses it, whatever its service can do. Every method blocks; call it on a lane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from apitorch_desktop.api.client import ApiClient
    from apitorch_desktop.api.types import (
        Classification,
        Classifier,
        FeedbackAnswer,
        Id,
        Ping,
        TrainingImage,
        TrainingSet,
    )
    from apitorch_desktop.dataset.catalog import Catalog, Listing
    from apitorch_desktop.dataset.connections import Connection

SCRATCH_LABEL = "desktop_scratch"
"""The label under which a local file lies for a moment while it is classified by its URL."""


class NeedsScratch(Exception):  # noqa: N818 - named for what is needed
    """This service classifies by URL only: ask the person for leave and a training set, then pass it as `scratch`."""


@dataclass(frozen=True, slots=True)
class Part:
    """Progress of a listing: what has come since the last part. `total` images in all, None where it is not known."""

    images: list[TrainingImage]
    total: int | None


class Workspace:
    """A connection that is open. Thread-safe. `client` may be replaced when the service moved (`moved`).

    Errors are `api.errors.ApiError`; `offline` tells whether the last call found nobody.
    """

    def __init__(self, connection: Connection, client: ApiClient, catalog: Catalog, folder: Path) -> None:
        """`folder` holds the journal of scratch images."""
        raise NotImplementedError

    connection: Connection
    client: ApiClient
    catalog: Catalog

    def moved(self, client: ApiClient) -> None:
        """Use another client from now on: the same service at a new address or with a new key."""
        raise NotImplementedError

    @property
    def offline(self) -> bool:
        """Whether the last call found nobody at the address."""
        raise NotImplementedError

    @property
    def extensions(self) -> frozenset[str]:
        """The service's extensions as last heard; from the catalog before `connect`."""
        raise NotImplementedError

    def has(self, extension: str) -> bool:
        """Whether the service lists an extension."""
        raise NotImplementedError

    def connect(self) -> Ping:
        """Ask the service what it can do, and clear away scratch images that a crash left there."""
        raise NotImplementedError

    # --- training sets and listings

    def training_sets(self) -> list[TrainingSet]:
        """The training sets; they are remembered."""
        raise NotImplementedError

    def known_training_sets(self) -> list[TrainingSet]:
        """The training sets as last seen: at once, without the network."""
        raise NotImplementedError

    def listing(
        self,
        training_set_id: Id,
        *,
        progress: Callable[[Part], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Listing:
        """All labels and images, in pages where the service has them; remembered. `progress` is called with each part."""
        raise NotImplementedError

    def known_listing(self, training_set_id: Id) -> Listing | None:
        """The listing as last seen: without the network."""
        raise NotImplementedError

    def remember(self, listing: Listing) -> None:
        """Keep a listing that the window changed after an edit, for the next start."""
        raise NotImplementedError

    # --- pictures

    def known_thumbnail(self, image_id: str) -> bytes | None:
        """A thumbnail (JPEG) from the cache."""
        raise NotImplementedError

    def thumbnail(
        self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None
    ) -> bytes:
        """A thumbnail (JPEG): from the cache, from the service, or made of the image; kept.

        Raises ApiError, and `vision.images.UnreadableImage` with the reason why it cannot be shown.
        """
        raise NotImplementedError

    def image(self, training_set_id: Id, image: TrainingImage, *, cancelled: Callable[[], bool] | None = None) -> bytes:
        """The bytes of an image. A signed URL that has run out is fetched anew."""
        raise NotImplementedError

    # --- classification

    def classifiers(self) -> list[Classifier]:
        """The classifiers that may be used, each with its slug."""
        raise NotImplementedError

    def classifier(self, slug: str) -> Classifier:
        """`training`: one classifier with its state and metrics."""
        raise NotImplementedError

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
        raise NotImplementedError

    def clean_scratch(self) -> int:
        """Delete scratch images that are still there after a failure or a crash; how many are still to be deleted."""
        raise NotImplementedError

    def correct(self, classification: Classification, label: str, label_id: Id | None = None) -> FeedbackAnswer:
        """Feedback without an undo; use `edits.Edits.correct` where it should have one."""
        raise NotImplementedError

    def message(self, text: str) -> FeedbackAnswer:
        """Send a free-form message to who runs the service."""
        raise NotImplementedError
