"""Training photos similar to a photo: a ranking of the open training set, a list of all sets, or the nearest few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from apitorch_desktop.api.types import INBOX, Id, SimilarImage, SimilarImages, TrainingImage
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.images.decode import from_thumbnail
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.utils.text import percent

RANKED = 10_000
"""Most photos of a training set that are ranked; the others follow in their usual order."""
LISTED = 100
"""Photos of a list over all training sets."""
NEAREST = 3
"""Nearest photos shown beside an answer."""


@dataclass(frozen=True, slots=True)
class SimilarTo:
    """The photo that others are compared with: a training image, a classification's, bytes, a file, or an address."""

    name: str
    image_id: str = ""
    classification_id: str = ""
    data: bytes | None = None
    path: Path | None = None
    url: str | None = None

    def search(self, workspace: Workspace, set_id: Id | None, limit: int, context: JobContext) -> SimilarImages:
        """Ask the service, for one training set or, with None, for all; blocks. Raises ApiError, OSError."""
        data = self.path.read_bytes() if self.path is not None else self.data
        return workspace.run(
            lambda: workspace.client.similar(
                set_id,
                image_id=self.image_id,
                classification_id=self.classification_id,
                image=data,
                image_url=self.url,
                limit=limit,
                cancelled=context.cancelled,
            )
        )


@dataclass(frozen=True, slots=True)
class NearPhoto:
    """A training photo near to another, with its thumbnail."""

    image: SimilarImage
    thumbnail: QImage

    @property
    def text(self) -> str:
        """Label, likeness and name."""
        name = self.image.image.display_name if isinstance(self.image.image, TrainingImage) else ""
        return f"{self.image.label} · {likeness(self.image.similarity)}\n{name}".rstrip()


def likeness(similarity: float) -> str:
    """Return a similarity, −1…1, in words."""
    return f"{percent(similarity)} alike"


class SimilarPhotos(QObject):
    """Searches for similar photos on the open connection, where that can."""

    ranked = Signal(object, list)
    """`SimilarTo`, and the `SimilarImage`s of the open training set, best first."""
    listed = Signal(object, list)
    """`SimilarTo`, and the `SimilarImage`s of all training sets, best first, with their records."""
    photo_requested = Signal(object, str)
    """A photo to be shown in the grid: ids of its training set and its own."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session

    def reason(self, *, everywhere: bool = False) -> str:
        """Return why nothing can be searched, "" if it can."""
        if self._session.open_set is None and not everywhere:
            return "No training set is open."
        return self._session.unavailable_reason("similar")

    def find(self, photo: SimilarTo, *, everywhere: bool = False) -> None:
        """Search the open training set, or all."""
        session, open_set, workspace = self._session, self._session.open_set, self._session.workspace
        if (reason := self.reason(everywhere=everywhere)) or workspace is None:
            session.show_message(reason, "muted", "similar")
            return
        set_id = None if everywhere or open_set is None else open_set.training_set.id
        limit = LISTED if set_id is None else max(1, min(session.images.total, RANKED))
        session.show_message(f"Looking for photos like “{photo.name}”…", "muted", "similar")

        def done(answer: SimilarImages) -> None:
            session.message_expired.emit("similar")
            if not answer.data:
                session.show_message(
                    "The other photos are not compared yet. Try again in a moment.", "muted", "similar"
                )
            elif set_id is None:
                self.listed.emit(photo, answer.data)
            elif session.open_set is open_set:
                self.ranked.emit(photo, answer.data)

        def failed(error: Exception) -> None:
            session.message_expired.emit("similar")
            session.show_error(error, "Finding similar photos")

        session.run(
            "Finding similar photos",
            lambda context: photo.search(workspace, set_id, limit, context),
            done,
            failed=failed,
        )

    def nearest(
        self, photo: SimilarTo, edge: int, done: Callable[[Sequence[NearPhoto]], object], owner: QObject
    ) -> None:
        """Find the nearest labeled photos of the training set of an image or a classification; nothing where that cannot be.

        Their thumbnails have a shorter side of `edge` pixels.
        """
        workspace = self._session.workspace
        if workspace is None or self._session.unavailable_reason("similar"):
            return

        def job(context: JobContext) -> list[NearPhoto]:
            found: list[NearPhoto] = []
            for one in photo.search(workspace, Id(), 4 * NEAREST, context).data:
                if isinstance(one.image, TrainingImage) and one.label != INBOX and len(found) < NEAREST:
                    data = workspace.thumbnail(one.training_set_id, one.image, cancelled=context.cancelled)
                    found.append(NearPhoto(one, from_thumbnail(data, edge)))
            return found

        self._session.run(
            "Finding the nearest photos", job, done, failed=lambda _error: True, lane=Lane.INTERACTIVE, owner=owner
        )
