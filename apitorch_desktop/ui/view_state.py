"""Scroll position, focus and filter of each training set, kept across restarts."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Place, Settings


class ViewState(QObject):
    """Keeps the place in each training set while it is open, and restores it when the set is opened again."""

    def __init__(
        self, session: Session, photos: PhotosController, settings: Settings, show_filter: Callable[[], object]
    ) -> None:
        super().__init__(photos)
        self._session = session
        self._photos = photos
        self._settings = settings
        self._show_filter = show_filter
        self._restored = False
        """True once the place was restored: changes from then on are the user's."""
        self._first = True
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._restore)
        session.open_set_changed.connect(self._on_open_set_changed)
        session.listing_changed.connect(self._timer.start)  # runs after the slots that show the listing
        photos.grid.verticalScrollBar().valueChanged.connect(self._note)

    def save(self) -> None:
        """Keep the state for the next start."""
        self._note()
        key = self._session.open_set_key()
        self._settings.filters = {key: self._photos.filter} if key else {}
        self._settings.save()

    def _on_open_set_changed(self) -> None:
        self._restored = False
        key = self._session.open_set_key()
        if not key:
            return
        if self._first:  # the filter of the last run; another training set begins unfiltered
            self._first = False
            kept = self._settings.filters.get(key)
            if kept is not None:
                self._photos.filter.take(kept)
                self._show_filter()
        self._timer.start()

    def _note(self, _value: int = 0) -> None:
        key, photos = self._session.open_set_key(), self._photos
        if not key or not self._restored or not photos.model.shown:
            return
        grid = photos.grid
        content, top = grid.content, grid.top()
        rows = content.rows_between(top, top + grid.viewport().height())
        if not rows:
            return
        current = grid.currentIndex()
        place = Place(
            image=photos.model.image(rows.start).image_id,
            y=content.box(rows.start).y - top,
            focus=photos.model.image(current.row()).image_id if current.isValid() else "",
        )
        self._settings.keep_newest(self._settings.places, key, place)

    def _restore(self) -> None:
        """Scroll to the place as soon as its photo is listed; give up once all are, or once the user has scrolled."""
        open_set, photos = self._session.open_set, self._photos
        if open_set is None or self._restored:
            return
        place = self._settings.places.get(self._session.open_set_key())
        grid = photos.grid
        if place is None or grid.top():
            self._restored = bool(photos.model.total)
            return
        row = photos.model.row_of(place.image)
        if row is not None and grid.isVisible():
            focus = photos.model.row_of(place.focus)
            if focus is not None:
                grid.set_current(focus)
                grid.set_pivot(focus)
            grid.verticalScrollBar().setValue(grid.content.box(row).y - place.y)
            self._restored = True
        elif not open_set.loading and photos.model.total:
            self._restored = True
