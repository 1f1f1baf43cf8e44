"""Thumbnails for the grid: fetched and decoded on worker threads, nearest first, kept in a cache bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPixmap

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.images import decode as pictures
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

Fetch = Callable[[TrainingImage, Callable[[], bool]], bytes]
"""Bytes of an image; blocks, called on a worker; the second argument says whether nobody waits any more."""

BUDGET = 256 * 2**20
"""Bytes of decoded pixels kept."""
_FLYING = 4
"""Jobs handed to the lane at a time: its threads never idle, and what the person scrolls to waits behind no more."""
_FRAME = 16
"""Milliseconds over which news is gathered."""
_PAUSES = (2.0, 8.0, 30.0, 120.0)
"""Seconds until a failure is tried again, the first time, the second …"""


class _CachedPixmap(NamedTuple):
    pixmap: QPixmap
    edge: int
    bytes: int


class _LoadFailure(NamedTuple):
    reason: str
    tries: int
    again: float
    """When to try again, on the monotonic clock; infinite where that cannot help."""


class ThumbnailLoader(QObject):
    """Hands out pixmaps by image id; made and called on the GUI thread."""

    loaded = Signal(list)
    """Ids whose picture or reason has changed, gathered over a frame."""
    cleared = Signal()
    """All pictures are gone: who shows some asks again."""

    def __init__(
        self,
        tasks: TaskRunner,
        fetch: Fetch,
        *,
        large: Fetch | None = None,
        budget: int = BUDGET,
        parent: QObject | None = None,
    ) -> None:
        """`fetch` gives thumbnail bytes (upright sRGB); `large` the image itself, for cells bigger than a thumbnail."""
        super().__init__(parent)
        self._tasks = tasks
        self._fetch = fetch
        self._large = large
        self._budget = budget
        self._cache: OrderedDict[str, _CachedPixmap] = OrderedDict()
        self._bytes = 0
        self._failures: dict[str, _LoadFailure] = {}
        self._asked: dict[str, TrainingImage] = {}
        self._edge = pictures.THUMBNAIL_EDGE
        self._flying: dict[str, Task] = {}
        self._news: list[str] = []
        self._told_a_fault = False
        self._frame = QTimer(self, interval=_FRAME, singleShot=True)
        self._frame.timeout.connect(self._tell)
        self._again = QTimer(self, singleShot=True)
        self._again.timeout.connect(self._pump)

    def set_source(self, fetch: Fetch, large: Fetch | None = None) -> None:
        """Another connection: forgets all pictures."""
        self.clear()
        self._fetch, self._large = fetch, large

    def request(self, images: Sequence[TrainingImage], edge: int) -> None:
        """What is on the screen or near it, most wanted first; `edge` = device pixels of the shorter side.

        Replaces what was wanted before: what is not wanted any more is not fetched, or its fetch is cancelled.
        """
        self._asked = {image.image_id: image for image in images}
        self._edge = edge
        for image_id in [image_id for image_id in self._flying if image_id not in self._asked]:
            self._flying.pop(image_id).cancel()
        self._pump()

    def pixmap(self, image_id: str) -> QPixmap | None:
        """The whole picture, in the best size at hand."""
        entry = self._cache.get(image_id)
        if entry is None:
            return None
        self._cache.move_to_end(image_id)
        return entry.pixmap

    def failure(self, image_id: str) -> str | None:
        """Why it can't be shown, in a sentence."""
        failure = self._failures.get(image_id)
        return failure.reason if failure is not None else None

    @property
    def bytes(self) -> int:
        """Pixels kept, in bytes."""
        return self._bytes

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._flying

    def forget(self, image_ids: Collection[str]) -> None:
        """Let go of pictures and reasons of these (the image has changed or gone)."""
        for image_id in image_ids:
            if (task := self._flying.pop(image_id, None)) is not None:
                task.cancel()
            if (entry := self._cache.pop(image_id, None)) is not None:
                self._bytes -= entry.bytes
            self._failures.pop(image_id, None)

    def rename_ids(self, new_ids: Mapping[str, str]) -> None:
        """Keep pictures under ids that a service changed: old → new."""
        for old, new in new_ids.items():
            if (entry := self._cache.pop(old, None)) is not None:
                self._cache[new] = entry
            self.forget([old])

    def retry(self) -> None:
        """Try again now what failed."""
        gone = list(self._failures)
        self._failures.clear()
        self._note(gone)
        self._pump()

    def clear(self) -> None:
        """Let go of everything, cancel what is on its way."""
        for task in self._flying.values():
            task.cancel()
        self._flying.clear()
        self._cache.clear()
        self._failures.clear()
        self._asked.clear()
        self._bytes = 0
        self._news.clear()
        self._told_a_fault = False
        self._again.stop()
        self._frame.stop()
        self.cleared.emit()

    # --- sending for pictures

    def _pump(self) -> None:
        """Start jobs for the most wanted, up to `_FLYING`."""
        if len(self._flying) >= _FLYING:
            return
        now, soonest = monotonic(), float("inf")
        for missing in (True, False):  # first what has no picture at all, then what has it in another size
            for image_id, image in self._asked.items():
                if (image_id in self._cache) is missing or image_id in self._flying:
                    continue
                failure = self._failures.get(image_id)
                if failure is not None and failure.again > now:
                    soonest = min(soonest, failure.again)
                    continue
                edge = self._next_edge(image_id, image)
                if edge is None:
                    continue
                self._send(image, image_id, edge)
                if len(self._flying) >= _FLYING:
                    return
        if soonest < float("inf"):
            self._again.start(max(1, round((soonest - now) * 1000)))

    def _next_edge(self, image_id: str, image: TrainingImage) -> int | None:
        """The size to fetch next: a thumbnail's first, then what is wanted; None where it is at hand."""
        entry = self._cache.get(image_id)
        if self._large is None or not _larger(image):
            edge = min(self._edge, pictures.THUMBNAIL_EDGE)
        else:
            edge = self._edge if entry is not None else min(self._edge, pictures.THUMBNAIL_EDGE)
        return None if entry is not None and entry.edge == edge else edge

    def _send(self, image: TrainingImage, image_id: str, edge: int) -> None:
        if edge > pictures.THUMBNAIL_EDGE and self._large is not None:
            job = partial(_load, self._large, pictures.from_image, image, edge)
        else:
            job = partial(_load, self._fetch, pictures.from_thumbnail, image, edge)
        self._flying[image_id] = self._tasks.run(
            Lane.THUMBNAILS,
            job,
            done=partial(self._came, image_id, edge),
            failed=partial(self._failed, image_id),
            owner=self,
            title="thumbnail",
        )

    # --- what comes of it

    def _came(self, image_id: str, edge: int, image: QImage) -> None:
        self._flying.pop(image_id, None)
        self._failures.pop(image_id, None)
        pixmap = QPixmap.fromImage(image, Qt.ImageConversionFlag.NoFormatConversion)
        if (old := self._cache.pop(image_id, None)) is not None:
            self._bytes -= old.bytes
        self._cache[image_id] = _CachedPixmap(pixmap, edge, image.sizeInBytes())
        self._bytes += image.sizeInBytes()
        self._evict()
        self._note([image_id])
        self._pump()

    def _evict(self) -> None:
        if self._bytes <= self._budget:
            return
        for image_id in list(self._cache):
            if image_id not in self._asked:  # what is on the screen stays, or it would be fetched for ever
                self._bytes -= self._cache.pop(image_id).bytes
                if self._bytes <= self._budget:
                    return

    def _failed(self, image_id: str, error: Exception) -> bool:
        self._flying.pop(image_id, None)
        reason, can_help, foreseen = explain_failure(error)
        tries = self._failures[image_id].tries if image_id in self._failures else 0
        pause = _PAUSES[min(tries, len(_PAUSES) - 1)] if can_help else float("inf")
        self._failures[image_id] = _LoadFailure(reason, tries + 1, monotonic() + pause)
        self._note([image_id])
        self._pump()
        if foreseen or self._told_a_fault:
            return True
        self._told_a_fault = True  # a fault of ours is told once, not a thousand times
        return False

    def _note(self, image_ids: list[str]) -> None:
        self._news += image_ids
        if not self._frame.isActive():
            self._frame.start()

    def _tell(self) -> None:
        news, self._news = self._news, []
        if news:
            self.loaded.emit(news)


def _load(
    fetch: Fetch, decode: Callable[[bytes, int], QImage], image: TrainingImage, edge: int, context: JobContext
) -> QImage:
    data = fetch(image, context.cancelled)
    context.check()
    return decode(data, edge)


def _larger(image: TrainingImage) -> bool:
    """Whether an image has more pixels than its thumbnail; yes where its size is not known."""
    if not isinstance(image.width, int) or not isinstance(image.height, int):
        return True
    return min(image.width, image.height) > pictures.THUMBNAIL_EDGE


def explain_failure(error: Exception) -> tuple[str, bool, bool]:
    """The reason in a sentence; whether to try again can help; whether it is a failure that may happen."""
    from apitorch_desktop.api.errors import ApiError, NotFound
    from apitorch_desktop.utils.errors import Cancelled
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
