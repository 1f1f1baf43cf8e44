"""Loader of the full-size view: the current photo, fitted and then in all its pixels, and its neighbors in advance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSize, Signal
from PySide6.QtGui import QImage

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.images import decode
from apitorch_desktop.ui.images.thumbnail_loader import Fetch, explain_failure
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

if TYPE_CHECKING:
    from apitorch_desktop.vision.exif import CameraFacts


class LoadedPhoto:
    """The loaded parts of a photo. `reason`: why it cannot be shown."""

    def __init__(self, image: TrainingImage) -> None:
        self.image = image
        self.data = b""
        self.facts: CameraFacts | None = None
        self.size: tuple[int, int] | None = None
        self.fitted: QImage | None = None
        self.levels: list[QImage] = []
        self.reason = ""
        self.tasks: dict[str, Task] = {}

    def image_for(self, zoom: float) -> QImage | None:
        """Return the smallest loaded image with at least `zoom` pixels for each of the photo's own, else the largest."""
        if self.fitted is None or self.size is None:
            return None
        candidates = sorted([self.fitted, *self.levels], key=lambda image: image.width())
        needed = zoom * self.size[0] - 1
        return next((image for image in candidates if image.width() >= needed), candidates[-1])

    @property
    def complete(self) -> bool:
        """True once all pixels of the photo are loaded."""
        return bool(self.levels) or (self.fitted is not None and self.fitted.width() == (self.size or (0,))[0])


class PhotoLoader(QObject):
    """Loads and keeps the current photo and its neighbors only. Used on the GUI thread."""

    changed = Signal(str)
    """Id of an image of which more was loaded, or which failed."""

    def __init__(self, tasks: TaskRunner, fetch: Fetch, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._fetch = fetch
        self._photos: dict[str, LoadedPhoto] = {}

    def set_source(self, fetch: Fetch) -> None:
        """Switch to another connection and discard everything."""
        self.request([], QSize())
        self._fetch = fetch

    def get(self, image_id: str) -> LoadedPhoto | None:
        """Return the loaded parts of an image."""
        return self._photos.get(image_id)

    def request(self, images: Sequence[TrainingImage], room: QSize) -> None:
        """Load the current photo first, then its neighbors, fitted to `room` (device pixels). Discard all others."""
        ids = [image.image_id for image in images]
        for image_id in [image_id for image_id in self._photos if image_id not in ids]:
            self._drop(self._photos.pop(image_id))
        for place, (image_id, image) in enumerate(zip(ids, images, strict=True)):
            photo = self._photos.setdefault(image_id, LoadedPhoto(image))
            photo.image = image
            if place:
                photo.levels = []  # all pixels of the current photo only
                self._cancel(photo, "levels")
            if photo.fitted is None and not photo.reason and "fitted" not in photo.tasks:
                self._run(photo, "fitted", partial(_fit, self._fetch, image, room), priority=-place)

    def request_full_size(self, image_id: str) -> None:
        """Load all pixels of a photo that is already loaded fitted."""
        photo = self._photos.get(image_id)
        if photo is not None and photo.fitted is not None and not photo.complete and "levels" not in photo.tasks:
            self._run(photo, "levels", partial(_levels, photo.data))

    def retry(self, image_id: str, room: QSize) -> None:
        """Load a photo again that failed."""
        photo = self._photos.get(image_id)
        if photo is not None and photo.reason:
            photo.reason = ""
            self._run(photo, "fitted", partial(_fit, self._fetch, photo.image, room))
            self.changed.emit(image_id)

    def _run(self, photo: LoadedPhoto, part: str, job: Callable[[JobContext], object], priority: float = 0) -> None:
        photo.tasks[part] = self._tasks.run(
            Lane.INTERACTIVE,
            job,
            done=partial(self._loaded, photo, part),
            failed=partial(self._failed, photo, part),
            owner=self,
            title="photo",
            priority=priority,
        )

    def _loaded(self, photo: LoadedPhoto, part: str, result: object) -> None:
        photo.tasks.pop(part, None)
        if isinstance(result, list):
            photo.levels = result
        elif isinstance(result, tuple):
            photo.data, photo.fitted, photo.size, photo.facts = result
        self.changed.emit(photo.image.image_id)

    def _failed(self, photo: LoadedPhoto, part: str, error: Exception) -> bool:
        photo.tasks.pop(part, None)
        reason, _retryable, expected = explain_failure(error)
        if part == "fitted":
            photo.reason = reason
        self.changed.emit(photo.image.image_id)
        return expected

    def _cancel(self, photo: LoadedPhoto, part: str) -> None:
        task = photo.tasks.pop(part, None)
        if task is not None:
            task.cancel()

    def _drop(self, photo: LoadedPhoto) -> None:
        for part in list(photo.tasks):
            self._cancel(photo, part)


def _fit(
    fetch: Fetch, image: TrainingImage, room: QSize, context: JobContext
) -> tuple[bytes, QImage, tuple[int, int], CameraFacts]:
    from apitorch_desktop.vision.exif import camera_facts

    data = fetch(image, context.cancelled)
    context.check()
    fitted, size = decode.fitted(data, max(1, room.width()), max(1, room.height()))
    return data, fitted, size, camera_facts(data)


def _levels(data: bytes, context: JobContext) -> list[QImage]:
    context.check()
    return decode.levels(data)
