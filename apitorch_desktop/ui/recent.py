"""Open Recent: training sets that were opened, and folders, archives and lists that were imported."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import Id
from apitorch_desktop.ui.connections.controller import ConnectionController
from apitorch_desktop.ui.importer.controller import ImportController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent

MOST = 10
"""Training sets, and folders, that are listed."""
_SET, _PATH = "set:", "path:"


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
