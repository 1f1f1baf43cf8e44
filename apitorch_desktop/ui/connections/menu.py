"""Connection menu of the toolbar: state of the connection, the other connections, color scheme."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QWidget

from apitorch_desktop.dataset.connections.api_keys import FoundKey
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.ui.session.keyring_wait import keyring_wait
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.icons import dot
from apitorch_desktop.ui.theme.theme import Scheme, Theme

_DOTS = {
    ConnectionState.STARTING: "warn",
    ConnectionState.READY: "good",
    ConnectionState.AWAY: "bad",
    ConnectionState.REFUSED: "bad",
}
SCHEMES: tuple[tuple[Scheme, str], ...] = (("system", "Like the system"), ("light", "Light"), ("dark", "Dark"))
HERE = "On this computer"
FROM_ENVIRONMENT_WITH_KEY = "APITORCH_BASE_URL and APITORCH_API_KEY set this connection and override the settings here."
FROM_ENVIRONMENT = "APITORCH_BASE_URL sets this connection and overrides the settings here."


class ConnectionMenu(QObject):
    """Fills the menu when it opens, and updates its button."""

    chosen = Signal(str)
    """The id of the connection to open."""
    saved = Signal(str)
    """The id of a connection that was added or changed, to be opened with its new address and key."""
    display_changed = Signal(str, str, str, str, str)
    """The button's name, dot, tool tip, color of the connection, and icon of something unusual."""
    message_wanted = Signal()
    retry_wanted = Signal()

    def __init__(self, session: Session, menu: QMenu, theme: Theme, settings: Settings, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._menu = menu
        self._theme = theme
        self._settings = settings
        self._window = window
        menu.aboutToShow.connect(self._fill)
        session.connection_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Emit the current state for the button."""
        session = self._session
        connection = session.connection
        name = _name(connection) if connection is not None else HERE
        words = f"{name}: {session.state_text}" if session.state_text else f"{name}: connected."
        mark, more = self._unusual()
        color = connection.color if connection is not None else ""
        self.display_changed.emit(name, _DOTS[session.state], f"{words} {more}".strip(), color, mark)

    def _unusual(self) -> tuple[str, str]:
        """Return the icon and the text of something unusual about address or key; ("", "") for nothing."""
        connection, key = self._session.connection, self._session.key
        kept = key.location if key is not None else ""
        if connection is not None and connection.from_environment:
            return "terminal", FROM_ENVIRONMENT_WITH_KEY if kept == "environment" else FROM_ENVIRONMENT
        if key is not None and kept == "this run":
            return "key", f"{key.message} Then it has to be entered again."
        return "", ""

    def _fill(self) -> None:
        menu = self._menu
        menu.clear()
        menu.setToolTipsVisible(True)
        stores = self._session.stores
        if stores is not None:
            self._add_connections(menu, stores.connections.all())
            menu.addSeparator()
            current = self._session.connection
            mark, more = self._unusual()
            if mark == "terminal":
                self._add(menu, "Set by environment variables", lambda: None, more)
            elif mark == "key":
                self._add(menu, "Keep the key in the keyring", self._keep_key)
                menu.actions()[-1].setToolTip(more)
            if mark:
                menu.actions()[-1].setIcon(self._theme.icon(mark, "warn"))
            if current is not None and not current.embedded:
                reason = more if current.from_environment else ""
                self._add(menu, f"Change “{current.name}”…", lambda: self.open_dialog(current), reason)
            self._add(menu, "Add a connection…", lambda: self.open_dialog(None))
        if self._session.state in (ConnectionState.AWAY, ConnectionState.REFUSED):
            self._add(menu, "Try again now", self.retry_wanted.emit)
        connection = self._session.connection
        if connection is not None and not connection.embedded:  # nobody would read one on this computer
            reason = self._session.unavailable_reason("")
            self._add(menu, "Send a message to the service…", self.message_wanted.emit, reason)
        menu.addSeparator()
        look = menu.addMenu("Appearance")
        group = QActionGroup(look)
        for scheme, words in SCHEMES:
            action = QAction(words, group, checkable=True, checked=scheme == self._settings.scheme)
            action.triggered.connect(lambda _checked=False, scheme=scheme: self._choose_scheme(scheme))
            look.addAction(action)

    def _keep_key(self) -> None:
        """Store the key in the keyring again, which may be unlocked by now."""
        session = self._session
        stores, connection, key = session.stores, session.connection, session.key
        if stores is None or connection is None or key is None:
            return
        keys = stores.keys

        def kept(found: FoundKey) -> None:
            session.message_expired.emit("keyring wait")
            session.set_api_key(found)
            text = found.message or "The key is in the keyring now."
            session.show_message(text, "warn" if found.message else "muted", "keyring")

        session.run(
            "Keeping the key",
            lambda context: keys.store(connection, key.key, keyring_wait(context)),
            kept,
            failed=session.show_error,
            progress=session.show_keyring_wait,
            lane=Lane.KEYRING,
        )

    def _add_connections(self, menu: QMenu, connections: list[Connection]) -> None:
        group = QActionGroup(menu)
        current = self._session.connection
        for connection in connections:
            here = current is not None and connection.id == current.id
            action = QAction(_name(connection), group, checkable=True, checked=here)
            action.setIcon(dot(self._theme.px(12), connection.color))
            action.setIconVisibleInMenu(True)
            if here:  # the dot takes the place of the check mark
                bold = action.font()
                bold.setBold(True)
                action.setFont(bold)
            action.setToolTip(connection.base_url)
            action.triggered.connect(lambda _checked=False, one=connection.id: self.chosen.emit(one))
            menu.addAction(action)

    def _add(self, menu: QMenu, text: str, act: Callable[[], object], reason: str = "") -> None:
        action = QAction(text, menu)
        action.setEnabled(not reason)
        action.setToolTip(reason)
        action.triggered.connect(lambda _checked=False: act())
        menu.addAction(action)

    def _choose_scheme(self, scheme: Scheme) -> None:
        self._settings.scheme = scheme
        self._settings.save()
        self._theme.set_scheme(scheme)

    def open_dialog(self, connection: Connection | None) -> None:
        """Open the dialog for a new connection, or for a change of one."""
        from apitorch_desktop.ui.connections.dialog import ConnectionDialog

        session = self._session
        stores = session.stores
        if stores is None:
            return
        dialog = ConnectionDialog(
            self._theme,
            session.tasks,
            stores.connections,
            stores.keys,
            connection,
            parent=self._window,
            waiting=stores.local.count,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.saved.connect(lambda connection: self.saved.emit(connection.id))
        dialog.removed.connect(self._removed)
        dialog.open()

    def _removed(self, connection: Connection) -> None:
        """Remove the cached data of a removed connection too, and open another."""
        session = self._session
        stores = session.stores
        if stores is None:
            return
        session.run(
            "Removing cached data",
            lambda _context: stores.cache.forget_connection(connection.id),
            failed=session.show_error,
            lane=Lane.DISK,
            owner=self,
        )
        self.chosen.emit(stores.connections.current.id)


def _name(connection: Connection) -> str:
    return HERE if connection.embedded else connection.name
