"""What was seen of each connection, kept for when it is away: training sets, listings, and a cache of thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet

THUMBNAIL_BYTES = 512 * 2**20
"""Bytes of thumbnails that are kept; the longest unused go first."""


@dataclass(slots=True)
class Listing:
    """A training set's labels in the service's order, empty ones included, and its images in the order of the labels.

    `images` are the wire's records with `label` filled in. `label_ids` maps a label to its id where the service gives
    one. `seen_at` is seconds since the epoch.
    """

    training_set_id: Id
    slug: str
    labels: list[str]
    images: list[TrainingImage]
    url: str = ""
    label_ids: dict[str, str] = field(default_factory=dict)
    seen_at: float = 0.0


class Catalog:
    """Kept in `folder`, which is made. Thread-safe. A damaged file is begun anew; a full disk loses nothing but the cache."""

    def __init__(self, folder: Path, thumbnail_bytes: int = THUMBNAIL_BYTES) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close the files."""
        raise NotImplementedError

    def save_training_sets(
        self, connection_id: str, training_sets: list[TrainingSet], extensions: Iterable[str]
    ) -> None:
        """Remember the training sets in place of those known, with the service's extensions."""
        raise NotImplementedError

    def training_sets(self, connection_id: str) -> list[TrainingSet]:
        """The training sets as they were last seen."""
        raise NotImplementedError

    def extensions(self, connection_id: str) -> frozenset[str]:
        """The extensions as they were last seen."""
        raise NotImplementedError

    def save_listing(self, connection_id: str, listing: Listing) -> None:
        """Remember a listing in place of the one known, in one transaction; what is the same is not written again."""
        raise NotImplementedError

    def listing(self, connection_id: str, training_set_id: Id) -> Listing | None:
        """A listing as it was last seen."""
        raise NotImplementedError

    def forget_training_set(self, connection_id: str, training_set_id: Id) -> None:
        """Forget a listing that is no more."""
        raise NotImplementedError

    def forget_connection(self, connection_id: str) -> None:
        """Forget all of a connection, thumbnails included."""
        raise NotImplementedError

    def thumbnail(self, connection_id: str, image_id: str) -> bytes | None:
        """A thumbnail (JPEG) from the cache."""
        raise NotImplementedError

    def save_thumbnail(self, connection_id: str, image_id: str, jpeg: bytes) -> None:
        """Keep a thumbnail; the longest unused make room."""
        raise NotImplementedError

    def copy_thumbnails(self, connection_id: str, ids: dict[str, str]) -> None:
        """Give images whose id changed (old → new) the thumbnails they had."""
        raise NotImplementedError
