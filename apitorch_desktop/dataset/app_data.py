"""What the window keeps on this machine, opened together on a lane: connections, keys, catalog, edits, transfers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, FoundKey
from apitorch_desktop.dataset.connections.store import Connection, ConnectionStore
from apitorch_desktop.dataset.edits.history import EditHistory
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.review.dismissals import DismissalStore
from apitorch_desktop.dataset.review.reviewer import Reviewer
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.dataset.workspace.workspace import Workspace


class ClientPool:
    """Clients by connection. Thread-safe; blocks while a keyring is asked for a key."""

    def __init__(self, connections: ConnectionStore, keys: ApiKeyStore) -> None:
        self._connections = connections
        self._keys = keys
        self._embedded = ("", "")
        self.on_embedded_wanted: Callable[[], object] = lambda: None
        """Called, on any thread, when the embedded service is asked for and not up."""
        self._lock = Lock()
        self._made: dict[tuple[str, str, int, float], ApiClient] = {}

    def set_embedded(self, url: str, key: str) -> None:
        """Where the embedded service is now; empty while it is away."""
        with self._lock:
            self._embedded = (url, key)

    def get(self, connection_id: str, *, attempts: int = 4, silence: float = 60) -> ApiClient:
        """A client that waits `silence` seconds for an answer.

        Raises ApiError: the embedded service is away, no key is kept, the connection is gone.
        """
        from apitorch_desktop.api.errors import ConnectionFailed, NotFound, WrongKey

        try:
            connection = self._connections.get(connection_id)
        except KeyError:
            raise NotFound("This connection is no more.", advice="Add it again, or choose another.") from None
        if connection.embedded:
            with self._lock:
                url, key = self._embedded
            if not url:
                self.on_embedded_wanted()
                raise ConnectionFailed(
                    "The service on this computer is not up.", advice="It is started again by itself."
                )
        else:
            url, found = connection.base_url, self.key_of(connection)
            key = found.key
            if not key:
                passing = found.trouble in ("locked", "denied", "slow")  # its sentence says what to do
                message = f"There is no key at hand for “{connection.name}”. {found.message}".strip()
                raise WrongKey(message, advice="" if passing else "Enter it again.")
        return self._client(url, key, attempts, silence)

    def key_of(self, connection: Connection) -> FoundKey:
        """The key of a connection that is not the embedded one, and where it is kept."""
        return self._keys.find(connection)

    def _client(self, url: str, key: str, attempts: int, silence: float) -> ApiClient:
        from apitorch_desktop.api.client import ApiClient

        with self._lock:
            made = self._made.get((url, key, attempts, silence))
            if made is None:
                made = ApiClient(url, key, attempts=attempts, timeout=(5, silence))
                self._made[url, key, attempts, silence] = made
            return made

    def close(self) -> None:
        """Close what is kept open."""
        with self._lock:
            for client in self._made.values():
                client.close()
            self._made.clear()


@dataclass(frozen=True, slots=True)
class AppData:
    """Everything on disk. `close` once nothing runs any more."""

    connections: ConnectionStore
    keys: ApiKeyStore
    clients: ClientPool
    catalog: OfflineCache
    scratch: ScratchUploads
    edits: EditHistory
    transfers: TransferQueue
    reviewing: Reviewer

    def workspace(self, connection: Connection, client: ApiClient) -> Workspace:
        """A connection, opened."""
        from apitorch_desktop.dataset.workspace.workspace import Workspace

        return Workspace(
            connection, client, self.catalog, self.scratch, lambda one: self.edits.hidden_labels(connection.id, one)
        )

    @property
    def imports(self) -> UndoableImports:
        """Uploads that can be undone."""
        return UndoableImports.of(self.edits, self.transfers)

    @property
    def dismissals(self) -> DismissalStore:
        """What a person said is fine; `edits` journals it."""
        return self.edits.dismissals

    def close(self) -> None:
        """Write down what is known and close the files."""
        self.reviewing.close()
        self.transfers.close()
        self.edits.close()
        self.scratch.close()
        self.catalog.close()
        self.clients.close()


def open_app_data(folder: Path, cache: Path) -> AppData:
    """Open them; blocking. Raises OSError where the folder cannot be used."""
    from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore
    from apitorch_desktop.dataset.connections.store import ConnectionStore
    from apitorch_desktop.dataset.edits.history import EditHistory
    from apitorch_desktop.dataset.review.reviewer import Reviewer
    from apitorch_desktop.dataset.transfers.queue import TransferQueue
    from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
    from apitorch_desktop.dataset.workspace.scratch import ScratchUploads

    folder.mkdir(parents=True, exist_ok=True)
    connections, keys = ConnectionStore(folder), ApiKeyStore()
    clients = ClientPool(connections, keys)
    return AppData(
        connections,
        keys,
        clients,
        OfflineCache(cache),
        ScratchUploads(folder),
        EditHistory(folder),
        TransferQueue(folder / "transfers", lambda connection_id: clients.get(connection_id, attempts=1)),
        Reviewer(cache),
    )
