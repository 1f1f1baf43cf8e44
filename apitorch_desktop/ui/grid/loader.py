"""Thumbnails for the grid: fetched and decoded on worker threads, nearest first, kept in a cache bounded by bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from PySide6.QtGui import QPixmap

    from apitorch_desktop.api.types import TrainingImage
    from apitorch_desktop.ui.tasks import Tasks

    Fetch = Callable[[TrainingImage, Callable[[], bool]], bytes]
    """Bytes of an image; blocks, called on a worker; the second argument says whether nobody waits any more."""

BUDGET = 256 * 2**20
"""Bytes of decoded pixels kept."""


class ThumbnailLoader(QObject):
    """Hands out pixmaps by image id; made and called on the GUI thread."""

    loaded = Signal(list)
    """Ids whose picture or reason has changed, gathered over a turn of the event loop."""

    def __init__(
        self,
        tasks: Tasks,
        fetch: Fetch,
        *,
        large: Fetch | None = None,
        budget: int = BUDGET,
        parent: QObject | None = None,
    ) -> None:
        """`fetch` gives thumbnail bytes (upright sRGB); `large` the image itself, for cells bigger than a thumbnail."""
        super().__init__(parent)

    def set_source(self, fetch: Fetch, large: Fetch | None = None) -> None:
        """Another connection: forgets all pictures."""
        raise NotImplementedError

    def want(self, images: Sequence[TrainingImage], edge: int) -> None:
        """What is on the screen or near it, most wanted first; `edge` = device pixels of the shorter side.

        Replaces what was wanted before: what is not wanted any more is not fetched, or its fetch is cancelled.
        """
        raise NotImplementedError

    def pixmap(self, image_id: str) -> QPixmap | None:
        """The whole picture, in the best size at hand."""
        raise NotImplementedError

    def failure(self, image_id: str) -> str | None:
        """Why it can't be shown, in a sentence."""
        raise NotImplementedError

    def forget(self, image_ids: Collection[str]) -> None:
        """Let go of pictures and reasons of these (the image has changed or gone)."""
        raise NotImplementedError

    def retry(self) -> None:
        """Try again now what failed."""
        raise NotImplementedError

    def clear(self) -> None:
        """Let go of everything, cancel what is on its way."""
        raise NotImplementedError
