"""Requests for the thumbnails the grid needs: their order and size, and the repaint when they arrive."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QWidget

from apitorch_desktop.ui.grid.layout import GridLayout
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader

_RESIZE_DELAY = 150
"""Milliseconds after the last change of the cell size until thumbnails are requested in the new one."""
_REQUEST_INTERVAL = 25
"""Milliseconds between two requests while scrolling."""


class ThumbnailSurface(Protocol):
    """A view that shows thumbnails of a `GridModel`."""

    images: GridModel

    @property
    def content(self) -> GridLayout: ...

    def top(self) -> int: ...
    def viewport(self) -> QWidget: ...
    def repaint_row(self, row: int) -> None: ...


class ThumbnailRequests(QObject):
    """Requests thumbnails of a surface from the loader."""

    def __init__(self, surface: ThumbnailSurface, loader: ThumbnailLoader) -> None:
        super().__init__(surface.viewport())
        self._surface = surface
        self._loader = loader
        self._edge = 0
        self._last_top = 0
        self._painted: dict[str, int] = {}
        self._request_timer = QTimer(self, interval=_REQUEST_INTERVAL, singleShot=True)
        self._request_timer.timeout.connect(self._request)
        self._resize_timer = QTimer(self, interval=_RESIZE_DELAY, singleShot=True)
        self._resize_timer.timeout.connect(self._resized)
        loader.loaded.connect(self._repaint)
        loader.cleared.connect(self._cleared)

    def look_up(self, image_id: str, row: int) -> tuple[QPixmap | None, str | None]:
        """Return the pixmap of an image painted in a row, or the reason for its failure; both are None while it loads."""
        self._painted[image_id] = row
        pixmap = self._loader.pixmap(image_id)
        return pixmap, self._loader.failure(image_id) if pixmap is None else None

    def laid_out(self) -> None:
        """Handle a new layout, perhaps with another cell size."""
        self._painted.clear()
        edge = self._device_edge()
        if not self._edge:
            self._edge = edge
        elif edge != self._edge:
            self._resize_timer.start()

    def scrolled(self) -> None:
        """Handle a change of the visible rows."""
        if not self._request_timer.isActive():
            self._request_timer.start()

    def _device_edge(self) -> int:
        return round(self._surface.content.cell * self._surface.viewport().devicePixelRatioF())

    def _resized(self) -> None:
        self._edge = self._device_edge()
        self._request()

    def _request(self) -> None:
        """Request the visible page first, then the next page in the direction of scrolling, then the one behind."""
        surface = self._surface
        content, top, height = surface.content, surface.top(), surface.viewport().height()
        page = content.rows_between(top, top + height)
        below = content.rows_between(top + height, top + 2 * height)
        above = content.rows_between(top - height, top)
        forward, self._last_top = top >= self._last_top, top
        following = [*below, *reversed(above)] if forward else [*reversed(above), *below]
        rows = [*page, *(row for row in following if row not in page)]
        self._loader.request([surface.images.image(row) for row in rows], self._edge or self._device_edge())

    def _repaint(self, image_ids: list[str]) -> None:
        for image_id in image_ids:
            row = self._painted.get(image_id)
            if row is not None:
                self._surface.repaint_row(row)

    def _cleared(self) -> None:
        self._surface.viewport().update()
        self.scrolled()
