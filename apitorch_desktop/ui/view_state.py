"""Where the person was, for the next start: the photo at the top of the grid, the focus, and what is filtered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QSettings, QTimer

from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.photos.filters import of_record
from apitorch_desktop.ui.session.session import Session

_PLACES, _FILTER = "open/places", "open/filter"
_MOST = 50
"""Training sets whose place is kept."""


class ViewState(QObject):
    """Notes the place in each training set while it is open, and goes back to it when it is opened again."""

    def __init__(
        self, session: Session, photos: PhotosController, settings: QSettings, show_filter: Callable[[], object]
    ) -> None:
        super().__init__(photos)
        self._session = session
        self._photos = photos
        self._settings = settings
        self._show_filter = show_filter
        self._places = self._read(_PLACES)
        self._there = False
        """Whether the person is where they were, so that the place is theirs from now on."""
        self._first = True
        self._go = QTimer(self, interval=0, singleShot=True)
        self._go.timeout.connect(self._go_there)
        session.open_set_changed.connect(self._opened)
        session.listing_changed.connect(self._go.start)  # behind those who show the listing
        photos.grid.verticalScrollBar().valueChanged.connect(self._note)

    def save(self) -> None:
        """Keep it for the next start."""
        self._note()
        key = self._key()
        words = self._photos.filter.to_record()
        self._settings.setValue(_FILTER, json.dumps({key: words} if key else {}))
        self._settings.setValue(_PLACES, json.dumps(dict(list(self._places.items())[-_MOST:])))

    def _opened(self) -> None:
        self._there = False
        key = self._key()
        if not key:
            return
        if self._first:  # what was filtered in the last run; another training set begins with all of it
            self._first = False
            kept = self._read(_FILTER).get(key)
            if kept is not None:
                self._photos.filter.take(of_record(kept))
                self._show_filter()
        self._go.start()

    def _note(self, _value: int = 0) -> None:
        key, photos = self._key(), self._photos
        if not key or not self._there or not photos.model.shown:
            return
        grid = photos.grid
        content, top = grid.content, grid.top()
        rows = content.rows_between(top, top + grid.viewport().height())
        if not rows:
            return
        current = grid.currentIndex()
        self._places.pop(key, None)
        self._places[key] = {
            "image": photos.model.image(rows.start).image_id,
            "y": content.box(rows.start).y - top,
            "focus": photos.model.image(current.row()).image_id if current.isValid() else "",
        }

    def _go_there(self) -> None:
        """As soon as the photo is listed; in vain once all are, or once the person has gone elsewhere."""
        open_set, photos = self._session.open_set, self._photos
        if open_set is None or self._there:
            return
        place = self._places.get(self._key())
        grid = photos.grid
        if not isinstance(place, dict) or grid.top():
            self._there = bool(photos.model.total)
            return
        row = photos.model.row_of(str(place.get("image")))
        if row is not None and grid.isVisible():
            focus = photos.model.row_of(str(place.get("focus")))
            if focus is not None:
                grid.set_current(focus)
                grid.set_pivot(focus)
            y = place.get("y")
            grid.verticalScrollBar().setValue(grid.content.box(row).y - (y if isinstance(y, int) else 0))
            self._there = True
        elif not open_set.loading and photos.model.total:
            self._there = True

    def _key(self) -> str:
        connection, open_set = self._session.connection, self._session.open_set
        return f"{connection.id} {open_set.training_set.id}" if connection is not None and open_set is not None else ""

    def _read(self, name: str) -> dict[str, Any]:
        try:
            kept = json.loads(str(self._settings.value(name, "{}")))
        except ValueError:
            return {}
        return kept if isinstance(kept, dict) else {}
