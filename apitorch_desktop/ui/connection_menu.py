"""The connection at the start of the toolbar: its state as a dot and a sentence, the others to turn to, how it looks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup

from apitorch_desktop.ui.icons import dot
from apitorch_desktop.ui.session import State
from apitorch_desktop.ui.tasks import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtCore import QSettings
    from PySide6.QtWidgets import QMenu, QWidget

    from apitorch_desktop.dataset.connections import Connection
    from apitorch_desktop.ui.session import Session
    from apitorch_desktop.ui.theme import Scheme, Theme
    from apitorch_desktop.ui.toolbar import Toolbar

_DOTS = {State.STARTING: "warn", State.READY: "good", State.AWAY: "bad", State.REFUSED: "bad"}
_SCHEMES: tuple[tuple[Scheme, str], ...] = (("system", "Like the system"), ("light", "Light"), ("dark", "Dark"))
HERE = "On this computer"
FROM_ENVIRONMENT = "APITORCH_BASE_URL names it, and wins over the settings here; change it where that is set."


class ConnectionMenu(QObject):
    """Fills the toolbar's menu when it opens, and keeps its button true."""

    chosen = Signal(str)
    """The id of the connection to turn to."""
    message_wanted = Signal()
    retry_wanted = Signal()

    def __init__(self, session: Session, toolbar: Toolbar, theme: Theme, settings: QSettings, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._toolbar = toolbar
        self._theme = theme
        self._settings = settings
        self._window = window
        toolbar.connection_menu_wanted.connect(self._fill)
        session.connection_changed.connect(self._show)
        self._show()

    def use_scheme(self) -> None:
        """Apply the light or dark that the person chose over the system's."""
        wanted = str(self._settings.value("look/scheme", "system"))
        for scheme, _ in _SCHEMES:
            if scheme == wanted != "system":
                self._theme.use(scheme)

    def _show(self) -> None:
        session = self._session
        connection = session.connection
        name = _name(connection) if connection is not None else HERE
        words = f"{name}: {session.sentence}" if session.sentence else f"{name}: connected."
        if connection is not None and connection.from_environment:
            words = f"{words} {FROM_ENVIRONMENT}"
        colour = connection.colour if connection is not None else ""
        self._toolbar.set_connection(name, _DOTS[session.state], words, colour)

    def _fill(self) -> None:
        menu = self._toolbar.connection_menu
        menu.clear()
        menu.setToolTipsVisible(True)
        stores = self._session.stores
        if stores is not None:
            self._add_connections(menu, stores.connections.all())
            menu.addSeparator()
            current = self._session.connection
            if current is not None and not current.embedded:
                reason = FROM_ENVIRONMENT if current.from_environment else ""
                self._add(menu, f"Change “{current.name}”…", lambda: self.open_dialog(current), reason)
            self._add(menu, "Add a connection…", lambda: self.open_dialog(None))
        if self._session.state in (State.AWAY, State.REFUSED):
            self._add(menu, "Try again now", self.retry_wanted.emit)
        self._add(menu, "Send a message to the service…", self.message_wanted.emit, self._session.why_not(""))
        menu.addSeparator()
        look = menu.addMenu("Colours")
        group = QActionGroup(look)
        wanted = str(self._settings.value("look/scheme", "system"))
        for scheme, words in _SCHEMES:
            action = QAction(words, group, checkable=True, checked=scheme == wanted)
            action.triggered.connect(partial(self._choose_scheme, scheme))
            look.addAction(action)

    def _add_connections(self, menu: QMenu, connections: list[Connection]) -> None:
        group = QActionGroup(menu)
        current = self._session.connection
        for connection in connections:
            here = current is not None and connection.id == current.id
            action = QAction(_name(connection), group, checkable=True, checked=here)
            action.setIcon(dot(self._theme.px(12), connection.colour))
            action.setIconVisibleInMenu(True)
            action.setToolTip(connection.base_url)
            action.triggered.connect(lambda _checked=False, one=connection.id: self.chosen.emit(one))
            menu.addAction(action)

    def _add(self, menu: QMenu, text: str, act: Callable[[], object], reason: str = "") -> None:
        action = QAction(text, menu)
        action.setEnabled(not reason)
        action.setToolTip(reason)
        action.triggered.connect(lambda _checked=False: act())
        menu.addAction(action)

    def _choose_scheme(self, scheme: Scheme, _checked: bool) -> None:
        self._settings.setValue("look/scheme", scheme)
        self._theme.use(scheme)

    def open_dialog(self, connection: Connection | None) -> None:
        """Add a connection, or change one."""
        from apitorch_desktop.ui.connection_dialog import ConnectionDialog

        session = self._session
        stores = session.stores
        if stores is None:
            return
        dialog = ConnectionDialog(
            self._theme, session.tasks, stores.connections, stores.keys, connection, parent=self._window
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.saved.connect(lambda saved: self.chosen.emit(saved.id))
        dialog.removed.connect(self._removed)
        dialog.open()

    def _removed(self, connection: Connection) -> None:
        """What was seen of it goes too; nobody should find it here later."""
        session = self._session
        stores = session.stores
        if stores is None:
            return
        session.tasks.run(
            Lane.DISK,
            lambda _context: stores.catalog.forget_connection(connection.id),
            failed=session.failed,
            title="Forget what was seen",
        )
        self.chosen.emit(stores.connections.current.id)


def _name(connection: Connection) -> str:
    return HERE if connection.embedded else connection.name
