"""Which pictures the grid sends for, in which order and size, and what is painted anew when they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QPixmap

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader

if TYPE_CHECKING:
    from apitorch_desktop.ui.grid.surface import GridSurface

_SETTLED = 150
"""Milliseconds after the last change of size until pictures are sent for in the new one."""
_GATHER = 25
"""Milliseconds between two lists of wanted pictures while scrolling."""


class ThumbnailRequests(QObject):
    """Between the surface and the loader."""

    def __init__(self, surface: GridSurface, loader: ThumbnailLoader) -> None:
        super().__init__(surface)
        self._surface = surface
        self._loader = loader
        self._edge = 0
        self._last_top = 0
        self._painted: dict[str, int] = {}
        self._wish = QTimer(self, interval=_GATHER, singleShot=True)
        self._wish.timeout.connect(self._send)
        self._settle = QTimer(self, interval=_SETTLED, singleShot=True)
        self._settle.timeout.connect(self._settled)
        loader.loaded.connect(self._came)
        loader.cleared.connect(self._cleared)

    def look(self, image_id: str, row: int) -> tuple[QPixmap | None, str | None]:
        """What there is to paint for a row: a picture, or why there is none, or neither yet."""
        self._painted[image_id] = row
        pixmap = self._loader.pixmap(image_id)
        return pixmap, self._loader.failure(image_id) if pixmap is None else None

    def laid_out(self) -> None:
        """Rows and cells are elsewhere, perhaps in another size."""
        self._painted.clear()
        edge = self._device_edge()
        if not self._edge:
            self._edge = edge
        elif edge != self._edge:
            self._settle.start()

    def scrolled(self) -> None:
        """Other rows may be in the window."""
        if not self._wish.isActive():
            self._wish.start()

    def _device_edge(self) -> int:
        return round(self._surface.content.cell * self._surface.devicePixelRatioF())

    def _settled(self) -> None:
        self._edge = self._device_edge()
        self._send()

    def _send(self) -> None:
        """What is in the window first, then a page on in the way the person goes, then a page back."""
        surface = self._surface
        content, top, height = surface.content, surface.top(), surface.viewport().height()
        page = content.rows_between(top, top + height)
        below = content.rows_between(top + height, top + 2 * height)
        above = content.rows_between(top - height, top)
        onwards, self._last_top = top >= self._last_top, top
        following = [*below, *reversed(above)] if onwards else [*reversed(above), *below]
        rows = [*page, *(row for row in following if row not in page)]
        self._loader.want([surface.images.image(row) for row in rows], self._edge or self._device_edge())

    def _came(self, image_ids: list[str]) -> None:
        for image_id in image_ids:
            row = self._painted.get(image_id)
            if row is not None:
                self._surface.repaint_row(row)

    def _cleared(self) -> None:
        self._surface.viewport().update()
        self.scrolled()
