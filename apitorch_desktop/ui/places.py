"""Places kept across restarts: scroll position and filter of each training set; sets and folders of *Open Recent*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import Id
from apitorch_desktop.ui.connections.controller import ConnectionController
from apitorch_desktop.ui.importer.controller import ImportController
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Place, Settings
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent

MOST = 10
"""Training sets, and folders, that are listed."""
_SET, _PATH = "set:", "path:"


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
            image=photos.model.id_at(rows.start),
            y=content.box(rows.start).y - top,
            focus=photos.model.id_at(current.row()) if current.isValid() else "",
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


class RecentItems(QObject):
    """Notes what is opened and imported, and lists it in a menu, the newest first.

    The keys in `Settings.recent` are `set:<connection>/<training set>` and `path:<path>`.
    """

    def __init__(
        self, session: Session, connections: ConnectionController, imports: ImportController, settings: Settings
    ) -> None:
        super().__init__(session)
        self._session = session
        self._connections = connections
        self._imports = imports
        self._settings = settings
        session.open_set_changed.connect(self._note_set)
        session.sets_changed.connect(self._note_set)
        imports.import_agreed.connect(self._note_path)

    def reason(self) -> str:
        """Return why the menu is unavailable, "" if it is not."""
        return "" if self._settings.recent else "Nothing was opened yet."

    def fill(self, menu: QMenu) -> None:
        """Fill the menu."""
        newest = list(reversed(self._settings.recent.items()))
        for kind in (_SET, _PATH):
            for key, name in [pair for pair in newest if pair[0].startswith(kind)]:
                action = menu.addAction(self._text(key, name).replace("&", "&&"))
                action.triggered.connect(lambda _checked=False, key=key, name=name: self._open(key, name))
            if menu.actions() and not menu.actions()[-1].isSeparator():
                menu.addSeparator()
        menu.addAction("Clear the list").triggered.connect(lambda _checked=False: self._clear())

    def _text(self, key: str, name: str) -> str:
        if key.startswith(_PATH):
            return name
        connection_id = key.removeprefix(_SET).rpartition("/")[0]
        connection, stores = self._session.connection, self._session.stores
        if stores is None or (connection is not None and connection.id == connection_id):
            return name
        found = next((one for one in stores.connections.all() if one.id == connection_id), None)
        return f"{name} (on this computer)" if found is None or found.embedded else f"{name} ({found.name})"

    # --- noting

    def _note_set(self) -> None:
        open_set, connection = self._session.open_set, self._session.connection
        if open_set is not None and connection is not None:
            self._note(f"{_SET}{connection.id}/{open_set.training_set.id}", open_set.training_set.name)

    def _note_path(self, path: Path) -> None:
        self._note(f"{_PATH}{path}", str(path))

    def _note(self, key: str, name: str) -> None:
        recent = self._settings.recent
        if list(recent.items())[-1:] == [(key, name)]:
            return
        recent.pop(key, None)
        recent[key] = name
        kind = _SET if key.startswith(_SET) else _PATH
        for oldest in [one for one in recent if one.startswith(kind)][:-MOST]:
            del recent[oldest]
        self._settings.save()

    def _forget(self, key: str) -> None:
        if self._settings.recent.pop(key, None) is not None:
            self._settings.save()

    def _clear(self) -> None:
        self._settings.recent.clear()
        self._settings.save()

    # --- opening

    def _open(self, key: str, name: str) -> None:
        if key.startswith(_PATH):
            self._open_path(key, Path(key.removeprefix(_PATH)))
            return
        connection_id, _, set_key = key.removeprefix(_SET).rpartition("/")
        set_id = Id(set_key)
        session = self._session
        if session.connection is not None and session.connection.id == connection_id:
            if session.find_set(set_id) is None and session.sets_confirmed:
                self._missing(key, f"The training set “{name}”")
            else:
                session.open(set_id)
        elif session.stores is not None and connection_id in {one.id for one in session.stores.connections.all()}:
            self._connections.open_set(connection_id, set_id)
        else:
            self._missing(key, f"The connection of “{name}”")

    def _open_path(self, key: str, path: Path) -> None:
        def found(exists: bool) -> None:
            if exists:
                self._imports.begin(DroppedContent(paths=(path,)))
            else:
                self._missing(key, f"“{path.name}”")

        self._session.run(
            "Looking for what was imported", lambda _context: path.exists(), found, lane=Lane.DISK, owner=self
        )

    def _missing(self, key: str, what: str) -> None:
        self._forget(key)
        self._session.show_message(f"{what} is not there any more.", "warn", "recent")
