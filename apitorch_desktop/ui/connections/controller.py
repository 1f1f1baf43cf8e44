"""Turning to a connection: the one of the last run at first, another by choice; and telling what is the matter with it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.ui.connections.menu import ConnectionMenu
from apitorch_desktop.ui.connections.offline_banner import OfflineBanner, away_words
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.embedded_service import EmbeddedService
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane


class ConnectionController(QObject):
    """Keeps session, embedded service and the connection's menu and band together."""

    embedded_wanted = Signal()
    """Something needs the embedded service, whatever connection is shown: a transfer, a comparison. From any thread."""

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
        menu.chosen.connect(self._choose_connection)
        menu.retry_wanted.connect(self.try_again)
        banner.again_wanted.connect(self.try_again)
        banner.change_wanted.connect(lambda: menu.open_dialog(session.connection))
        edits.waiting_changed.connect(self._show_away)
        session.connection_changed.connect(self._show_away)
        session.listing_changed.connect(self._show_away)

    def begin(self, stores: AppData) -> None:
        """Everything on disk is open: turn to the connection of the last run."""
        if stores.connections.note:
            self._session.show_message(stores.connections.note, "warn", "connections")
        stores.clients.set_embedded(self._embedded.url, self._embedded.key)  # it may be up by now
        stores.clients.on_embedded_wanted = self.embedded_wanted.emit
        self._turn_to(stores, stores.connections.current.id)
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

    def _turn_to(self, stores: AppData, connection_id: str) -> None:
        connection = stores.connections.get(connection_id)
        preferred_id = self._settings.training_set if self._settings.connection == connection_id else None
        if connection.embedded:
            self._embedded.start()
        self._session.use(stores, connection, preferred_id)

    def _choose_connection(self, connection_id: str) -> None:
        stores = self._session.stores
        if stores is None:
            return
        self.save()
        connections = stores.connections

        def not_kept(fault: Exception) -> None:  # for the next start; that is said, and not in the way
            self._session.show_error(fault, "Keeping the choice")
            self._turn_to(stores, connection_id)

        self._session.tasks.run(
            Lane.DISK,
            lambda _context: connections.choose(connection_id),
            done=lambda _chosen: self._turn_to(stores, connection_id),
            failed=not_kept,
            owner=self,
            title="Turn to another connection",
        )

    def try_again(self) -> None:
        """Look for the service now."""
        connection = self._session.connection
        if connection is not None and connection.embedded and self._embedded.gave_up:
            self._embedded.start()
        else:
            self._session.connect_service()

    def _service_changed(self) -> None:
        embedded, stores = self._embedded, self._session.stores
        if stores is not None:
            stores.clients.set_embedded(embedded.url, embedded.key)
        self._session.service_changed(bool(embedded.url), embedded.state_text)

    def _show_away(self) -> None:
        """Mark what is seen as what was last seen, while the service is away."""
        session, band = self._session, self._banner
        connection, open_set = session.connection, session.open_set
        if connection is not None and session.state is ConnectionState.AWAY and session.training_sets:
            seen_at = open_set.seen_at if open_set is not None else 0.0
            name = "The service on this computer" if connection.embedded else connection.name
            band.show_words(away_words(name, seen_at, self._edits.waiting), session.state_text)
        elif connection is not None and session.state is ConnectionState.REFUSED:
            can_change = not (connection.embedded or connection.from_environment)
            band.show_words(f"“{connection.name}”: {session.state_text}", "", can_change=can_change)
        else:
            band.show_words("", "")
