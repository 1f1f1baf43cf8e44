"""The grid of training images: sticky label headers, thumbnails, selection as in a file manager, zoom, drags in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QListView, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apitorch_desktop.api.types import TrainingImage
    from apitorch_desktop.ui.grid.loader import ThumbnailLoader
    from apitorch_desktop.ui.grid.model import GridModel
    from apitorch_desktop.ui.tasks import Tasks
    from apitorch_desktop.ui.theme import Theme

    LocalCopy = Callable[[TrainingImage, Callable[[], bool]], Path]
    """Makes a file of an image for other programs; blocks, called on a worker, told whether it is still wanted."""

SMALLEST, LARGEST, DEFAULT = 64, 384, 128
"""Cell sizes in pixels."""


class Summary(NamedTuple):
    """What is selected: images and their bytes (of those whose size is known), and how many are shown and there."""

    count: int
    bytes: int
    shown: int
    total: int


class GridView(QListView):
    """Shows a GridModel. A QListView by name only, so that screen readers find its items: geometry, painting and input are its own."""

    imageActivated = Signal(object)  # TrainingImage: Enter or double-click
    summaryChanged = Signal(object)  # Summary
    deleteRequested = Signal(list)  # ids
    zoomChanged = Signal(int)  # cell size
    imageHovered = Signal(object)  # TrainingImage | None
    contentDropped = Signal(object, object)  # DroppedContent, label | None
    imagesDropped = Signal(list, str)  # ids, label: an internal drag
    contextMenuRequested = Signal(object, object)  # QPoint on the screen, label | None (on a header)
    labelKey = Signal(str)  # a digit or letter typed
    dragFellShort = Signal(int, int)  # files that were ready, files that were dragged out

    def __init__(
        self,
        model: GridModel,
        loader: ThumbnailLoader,
        theme: Theme,
        *,
        tasks: Tasks | None = None,
        local_copy: LocalCopy | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """Drags to other programs work where `tasks` and `local_copy` are given."""
        super().__init__(parent)

    def cellSize(self) -> int:
        """The chosen size of a cell in pixels; cells are a little larger so that rows fill the width."""
        raise NotImplementedError

    def setCellSize(self, size: int) -> None:
        """64…384; keeps the middle of what is shown in place."""
        raise NotImplementedError

    def summary(self) -> Summary:
        """What is selected now."""
        raise NotImplementedError

    def selected_ids(self) -> list[str]:
        """Ids of what is selected, in the order shown."""
        raise NotImplementedError

    def select(self, image_ids: list[str]) -> None:
        """Select these and nothing else."""
        raise NotImplementedError

    def selectAll(self) -> None:
        """Ctrl+A."""
        raise NotImplementedError

    def invertSelection(self) -> None:
        """Ctrl+I."""
        raise NotImplementedError

    def clearSelection(self) -> None:
        """Escape."""
        raise NotImplementedError

    def select_label(self, label: str) -> None:
        """Select a whole group and nothing else."""
        raise NotImplementedError

    def reveal(self, image_id: str) -> bool:
        """Focus an image and scroll to it; False where it is not shown."""
        raise NotImplementedError

    def reveal_label(self, label: str) -> bool:
        """Scroll a group's header to the top; False where it is not shown."""
        raise NotImplementedError

    def focused_image(self) -> TrainingImage | None:
        """The image with the keyboard focus."""
        raise NotImplementedError

    def advance(self) -> None:
        """Select only the focused image: after a move that is the one that came up in the moved one's place."""
        raise NotImplementedError
