"""Switches connections and shows why one is unavailable."""

from __future__ import annotations

from urllib.parse import urlsplit

from PySide6.QtCore import QObject, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.ui.connections.menu import ConnectionMenu
from apitorch_desktop.ui.connections.offline_banner import OfflineBanner, away_words
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.embedded_service import EmbeddedService
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane


class ConnectionController(QObject):
    """Connects session, embedded service, connection menu and offline banner."""

    embedded_wanted = Signal()
    """A transfer or comparison needs the embedded service, whatever connection is open. Emitted from any thread."""

    def __init__(
        self,
        session: Session,
        edits: EditController,
        embedded: EmbeddedService,
        menu: ConnectionMenu,
        banner: OfflineBanner,
        settings: Settings,
    ) -> None:
        super().__init__(session)
        self._settings = settings
        self._session = session
        self._edits = edits
        self._embedded = embedded
        self._banner = banner
        embedded.changed.connect(self._service_changed)
        self.embedded_wanted.connect(self._start_embedded)
        menu.chosen.connect(self._choose)
        menu.saved.connect(self._switch)
        menu.retry_wanted.connect(self.try_again)
        banner.again_wanted.connect(self.try_again)
        banner.change_wanted.connect(lambda: menu.open_dialog(session.connection))
        edits.waiting_changed.connect(self._show_banner)
        session.connection_changed.connect(self._show_banner)
        session.listing_changed.connect(self._show_banner)
        self._visiting_page = False
        app = QGuiApplication.instance()
        assert isinstance(app, QGuiApplication)  # noqa: S101 - for mypy: there is a window
        app.applicationStateChanged.connect(self._on_application_state)

    def begin(self, stores: AppData) -> None:
        """Open the connection of the last run."""
        if stores.connections.note:
            self._session.show_message(stores.connections.note, "warn", "connections")
        stores.clients.set_embedded(self._embedded.url, self._embedded.key)  # it may be up by now
        stores.clients.on_embedded_wanted = self.embedded_wanted.emit
        self._open(stores, stores.connections.current.id)
        if self._embedded.gave_up:
            self._service_changed()

    @Slot()
    def _start_embedded(self) -> None:
        if not self._embedded.gave_up:
            self._embedded.start()

    def save(self) -> None:
        """Keep what is open for the next start."""
        open_set = self._session.open_set
        if open_set is not None and self._session.connection is not None:
            self._settings.connection = self._session.connection.id
            self._settings.training_set = str(open_set.training_set.id)
            self._settings.save()

    def _open(self, stores: AppData, connection_id: str, set_id: Id | None = None) -> None:
        connection = stores.connections.get(connection_id)
        kept_id = Id(self._settings.training_set) if self._settings.connection == connection_id else None
        if connection.embedded:
            self._embedded.start()
        self._session.use(stores, connection, set_id or kept_id)

    def open_set(self, connection_id: str, set_id: Id) -> None:
        """Switch to another connection, and open one of its training sets."""
        self._switch(connection_id, set_id)

    def _choose(self, connection_id: str) -> None:
        """Switch to a connection; the open one is only retried, if it is unavailable or waits for the keyring."""
        session = self._session
        if session.connection is None or session.connection.id != connection_id:
            self._switch(connection_id)
        elif session.state in (ConnectionState.AWAY, ConnectionState.REFUSED) or session.waits_for_keyring:
            self.try_again()

    def _switch(self, connection_id: str, set_id: Id | None = None) -> None:
        stores = self._session.stores
        if stores is None:
            return
        self.save()
        connections = stores.connections

        def failed(error: Exception) -> None:  # only the next start is affected
            self._session.show_error(error, "Keeping the choice")
            self._open(stores, connection_id, set_id)

        self._session.run(
            "Keeping the choice",
            lambda _context: connections.choose(connection_id),
            lambda _chosen: self._open(stores, connection_id, set_id),
            failed=failed,
            lane=Lane.DISK,
            owner=self,
        )

    def try_again(self) -> None:
        """Try to connect now."""
        connection = self._session.connection
        if connection is not None and connection.embedded and self._embedded.gave_up:
            self._embedded.start()
        else:
            self._session.connect_service()

    def open_new_set_page(self) -> None:
        """Open the service's page for new training sets in the browser, and list the sets again when the user returns."""
        session, page = self._session, self._session.new_set_page()
        if not page:
            return
        self._visiting_page = True
        actions = (("Refresh", session.refresh),)
        if QDesktopServices.openUrl(QUrl(page)):
            text = f"New training sets are made on {urlsplit(page).netloc}. Yours is listed here when you come back."
            session.show_message(text, "muted", "page", actions)
        else:
            text = f"No web browser could be started. Make the training set at {page}, then come back."
            session.show_message(text, "warn", "page", actions)

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        if self._visiting_page and state == Qt.ApplicationState.ApplicationActive:
            self._visiting_page = False
            self._session.refresh_sets()

    def _service_changed(self) -> None:
        embedded, stores = self._embedded, self._session.stores
        if stores is not None:
            stores.clients.set_embedded(embedded.url, embedded.key)
        self._session.service_changed(bool(embedded.url), embedded.state_text)

    def _show_banner(self) -> None:
        """Show the banner while the service is away or refuses the key."""
        session, banner = self._session, self._banner
        connection, open_set = session.connection, session.open_set
        if connection is not None and session.state is ConnectionState.AWAY and session.training_sets:
            seen_at = open_set.seen_at if open_set is not None else 0.0
            name = "The service on this computer" if connection.embedded else connection.name
            banner.show_words(away_words(name, seen_at, self._edits.waiting), session.state_text)
        elif connection is not None and session.state is ConnectionState.REFUSED:
            can_change = not (connection.embedded or connection.from_environment)
            banner.show_words(f"“{connection.name}”: {session.state_text}", "", can_change=can_change)
        else:
            banner.show_words("", "")
