"""Thumbnail loader: fetches and decodes on worker threads in the requested order, with a cache bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPixmap

from apitorch_desktop.api.errors import ApiError, NotFound
from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.images.decode import THUMBNAIL_EDGE, from_image, from_thumbnail
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.utils.errors import Cancelled

Fetch = Callable[[TrainingImage, Callable[[], bool]], bytes]
"""Returns the bytes of an image. Blocks, runs on a worker; the second argument returns True once cancelled."""

BUDGET = 256 * 2**20
"""Most bytes of decoded pixels in the cache."""
_MOST_JOBS = 4
"""Jobs queued on the lane at a time: enough to keep its threads busy, few enough for new requests to start soon."""
_FRAME = 16
"""Milliseconds over which changes are collected."""
_DELAYS = (2.0, 8.0, 30.0, 120.0)
"""Seconds until the first, second and further retries of a failure."""


class _CachedPixmap(NamedTuple):
    pixmap: QPixmap
    edge: int
    bytes: int


class _LoadFailure(NamedTuple):
    reason: str
    tries: int
    next_try: float
    """Time of the next attempt on the monotonic clock; infinite if it cannot help."""


class ThumbnailLoader(QObject):
    """Provides pixmaps by image id. Used on the GUI thread."""

    loaded = Signal(list)
    """Ids whose pixmap or failure has changed, collected over a frame."""
    cleared = Signal()
    """All pixmaps were discarded: views request theirs again."""

    def __init__(
        self,
        tasks: TaskRunner,
        fetch: Fetch,
        *,
        large: Fetch | None = None,
        budget: int = BUDGET,
        parent: QObject | None = None,
    ) -> None:
        """`fetch` returns thumbnail bytes (upright sRGB), `large` the image itself, for cells larger than a thumbnail."""
        super().__init__(parent)
        self._tasks = tasks
        self._fetch = fetch
        self._large = large
        self._budget = budget
        self._cache: OrderedDict[str, _CachedPixmap] = OrderedDict()
        self._bytes = 0
        self._failures: dict[str, _LoadFailure] = {}
        self._requested: dict[str, TrainingImage] = {}
        self._edge = THUMBNAIL_EDGE
        self._jobs: dict[str, Task] = {}
        self._changed: list[str] = []
        self._reported_error = False
        self._frame_timer = QTimer(self, interval=_FRAME, singleShot=True)
        self._frame_timer.timeout.connect(self._report)
        self._retry_timer = QTimer(self, singleShot=True)
        self._retry_timer.timeout.connect(self._start_jobs)

    def set_source(self, fetch: Fetch, large: Fetch | None = None) -> None:
        """Switch to another connection and discard all pixmaps."""
        self.clear()
        self._fetch, self._large = fetch, large

    def set_budget(self, budget: int) -> None:
        """Change the most bytes of pixels in the cache."""
        self._budget = budget
        self._evict()

    def request(self, images: Sequence[TrainingImage], edge: int) -> None:
        """Load the images on the screen and near it, in this order; `edge` is the shorter side in device pixels.

        Replaces the former request: images that are not requested any more are not fetched, or their jobs cancelled.
        """
        self._requested = {image.image_id: image for image in images}
        self._edge = edge
        for image_id in [image_id for image_id in self._jobs if image_id not in self._requested]:
            self._jobs.pop(image_id).cancel()
        self._start_jobs()

    def pixmap(self, image_id: str) -> QPixmap | None:
        """Return the uncropped pixmap in the best size loaded, None if there is none."""
        entry = self._cache.get(image_id)
        if entry is None:
            return None
        self._cache.move_to_end(image_id)
        return entry.pixmap

    def failure(self, image_id: str) -> str | None:
        """Return the reason why an image cannot be shown, in a sentence, None if it did not fail."""
        failure = self._failures.get(image_id)
        return failure.reason if failure is not None else None

    @property
    def bytes(self) -> int:
        """Bytes of pixels in the cache."""
        return self._bytes

    @property
    def idle(self) -> bool:
        """True while no job is running."""
        return not self._jobs

    def forget(self, image_ids: Collection[str]) -> None:
        """Discard pixmaps and failures of images that have changed or were deleted."""
        for image_id in image_ids:
            if (task := self._jobs.pop(image_id, None)) is not None:
                task.cancel()
            if (entry := self._cache.pop(image_id, None)) is not None:
                self._bytes -= entry.bytes
            self._failures.pop(image_id, None)

    def rename_ids(self, new_ids: Mapping[str, str]) -> None:
        """Keep pixmaps under ids that a service changed: old → new."""
        for old, new in new_ids.items():
            if (entry := self._cache.pop(old, None)) is not None:
                self._cache[new] = entry
            self.forget([old])

    def retry(self) -> None:
        """Retry all failures now."""
        failed = list(self._failures)
        self._failures.clear()
        self._note(failed)
        self._start_jobs()

    def clear(self) -> None:
        """Discard everything and cancel the jobs."""
        for task in self._jobs.values():
            task.cancel()
        self._jobs.clear()
        self._cache.clear()
        self._failures.clear()
        self._requested.clear()
        self._bytes = 0
        self._changed.clear()
        self._reported_error = False
        self._retry_timer.stop()
        self._frame_timer.stop()
        self.cleared.emit()

    # --- jobs

    def _start_jobs(self) -> None:
        """Start jobs in the requested order, up to `_MOST_JOBS` at a time."""
        if len(self._jobs) >= _MOST_JOBS:
            return
        now, soonest = monotonic(), float("inf")
        for missing in (True, False):  # first images without any pixmap, then those with one in another size
            for image_id, image in self._requested.items():
                if (image_id in self._cache) is missing or image_id in self._jobs:
                    continue
                failure = self._failures.get(image_id)
                if failure is not None and failure.next_try > now:
                    soonest = min(soonest, failure.next_try)
                    continue
                edge = self._next_edge(image_id, image)
                if edge is None:
                    continue
                self._start(image, image_id, edge)
                if len(self._jobs) >= _MOST_JOBS:
                    return
        if soonest < float("inf"):
            self._retry_timer.start(max(1, round((soonest - now) * 1000)))

    def _next_edge(self, image_id: str, image: TrainingImage) -> int | None:
        """Return the size to load next: first that of a thumbnail, then the requested one; None if it is loaded."""
        entry = self._cache.get(image_id)
        if self._large is None or not _larger(image):
            edge = min(self._edge, THUMBNAIL_EDGE)
        else:
            edge = self._edge if entry is not None else min(self._edge, THUMBNAIL_EDGE)
        return None if entry is not None and entry.edge == edge else edge

    def _start(self, image: TrainingImage, image_id: str, edge: int) -> None:
        if edge > THUMBNAIL_EDGE and self._large is not None:
            job = partial(_load, self._large, from_image, image, edge)
        else:
            job = partial(_load, self._fetch, from_thumbnail, image, edge)
        self._jobs[image_id] = self._tasks.run(
            Lane.THUMBNAILS,
            job,
            done=partial(self._add, image_id, edge),
            failed=partial(self._failed, image_id),
            owner=self,
            title="thumbnail",
        )

    # --- results

    def _add(self, image_id: str, edge: int, image: QImage) -> None:
        self._jobs.pop(image_id, None)
        self._failures.pop(image_id, None)
        pixmap = QPixmap.fromImage(image, Qt.ImageConversionFlag.NoFormatConversion)
        if (old := self._cache.pop(image_id, None)) is not None:
            self._bytes -= old.bytes
        self._cache[image_id] = _CachedPixmap(pixmap, edge, image.sizeInBytes())
        self._bytes += image.sizeInBytes()
        self._evict()
        self._note([image_id])
        self._start_jobs()

    def _evict(self) -> None:
        if self._bytes <= self._budget:
            return
        for image_id in list(self._cache):
            if image_id not in self._requested:  # visible ones stay, or they would be fetched again and again
                self._bytes -= self._cache.pop(image_id).bytes
                if self._bytes <= self._budget:
                    return

    def _failed(self, image_id: str, error: Exception) -> bool:
        self._jobs.pop(image_id, None)
        reason, retryable, expected = explain_failure(error)
        tries = self._failures[image_id].tries if image_id in self._failures else 0
        delay = _DELAYS[min(tries, len(_DELAYS) - 1)] if retryable else float("inf")
        self._failures[image_id] = _LoadFailure(reason, tries + 1, monotonic() + delay)
        self._note([image_id])
        self._start_jobs()
        if expected or self._reported_error:
            return True
        self._reported_error = True  # an unexpected error is reported once, not for each image
        return False

    def _note(self, image_ids: list[str]) -> None:
        self._changed += image_ids
        if not self._frame_timer.isActive():
            self._frame_timer.start()

    def _report(self) -> None:
        changed, self._changed = self._changed, []
        if changed:
            self.loaded.emit(changed)


def _load(
    fetch: Fetch, decode: Callable[[bytes, int], QImage], image: TrainingImage, edge: int, context: JobContext
) -> QImage:
    data = fetch(image, context.cancelled)
    context.check()
    return decode(data, edge)


def _larger(image: TrainingImage) -> bool:
    """Return True if an image has more pixels than its thumbnail, or if its size is not known."""
    if not isinstance(image.width, int) or not isinstance(image.height, int):
        return True
    return min(image.width, image.height) > THUMBNAIL_EDGE


def explain_failure(error: Exception) -> tuple[str, bool, bool]:
    """Return the reason in a sentence, whether a retry can help, and whether it is an expected kind of failure."""
    from apitorch_desktop.vision.images import UnreadableImage

    if isinstance(error, Cancelled):
        return "Loading was stopped.", True, True
    if isinstance(error, NotFound):
        return "The service does not have this photo any more.", False, True
    if isinstance(error, ApiError):
        return str(error), error.can_retry, True
    if isinstance(error, UnreadableImage):
        return str(error), False, True
    if isinstance(error, OSError):
        return f"It cannot be read: {error.strerror or error}.", True, True
    return "Something went wrong with this photo.", True, False
