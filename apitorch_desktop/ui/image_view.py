"""One photo, full size: fit and 1:1, zoom and pan, the next with the arrow keys, its details; loaded by jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from apitorch_desktop.api.types import TrainingImage
    from apitorch_desktop.ui.grid.loader import Fetch, ThumbnailLoader
    from apitorch_desktop.ui.tasks import Tasks
    from apitorch_desktop.ui.theme import Theme

    Neighbour = Callable[[str, int], TrainingImage | None]
    """`GridModel.neighbour`: the image so many places on or back."""


class ImageView(QWidget):
    """Put it in a stack beside the grid, `show_image`, and give it the focus."""

    closed = Signal()  # Escape: back to the grid
    imageChanged = Signal(object)  # TrainingImage now shown
    labelKey = Signal(str)  # a digit or letter typed
    deleteRequested = Signal(list)  # [id]
    contextMenuRequested = Signal(object)  # QPoint on the screen

    def __init__(
        self,
        tasks: Tasks,
        fetch: Fetch,
        neighbour: Neighbour,
        theme: Theme,
        *,
        loader: ThumbnailLoader | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """`fetch` gives an image's bytes; `loader` its thumbnail until then."""
        super().__init__(parent)

    def image(self) -> TrainingImage | None:
        """What is shown."""
        raise NotImplementedError

    def show_image(self, image: TrainingImage | None) -> None:
        """Show an image, fitted to the window. None lets go of all pixels."""
        raise NotImplementedError

    def set_source(self, fetch: Fetch) -> None:
        """Another connection."""
        raise NotImplementedError
