"""The user's data on this machine, opened together: connections, keys, offline cache, edits, transfers, review."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed, NotFound, WrongKey
from apitorch_desktop.dataset.batch.store import BatchStore
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, KeyringProblem, KeyringWait
from apitorch_desktop.dataset.connections.local_client import LocalClient, LocalImages
from apitorch_desktop.dataset.connections.store import Connection, ConnectionStore
from apitorch_desktop.dataset.edits.history import EditHistory
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.review.dismissals import DismissalStore
from apitorch_desktop.dataset.review.reviewer import Reviewer
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.watch.store import WatchStore
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.files import private_folder

_EXPLAINED = {KeyringProblem.LOCKED, KeyringProblem.DENIED, KeyringProblem.SLOW}
"""Problems whose sentence already contains the advice."""


class ClientPool:
    """API clients by connection. Thread-safe; blocks while a keyring is asked for a key."""

    def __init__(self, connections: ConnectionStore, keys: ApiKeyStore, local: LocalImages) -> None:
        self._connections = connections
        self._keys = keys
        self._local = local
        self._embedded = ("", "")
        self.on_embedded_wanted: Callable[[], object] = lambda: None
        """Called, on any thread, when a client of the embedded service is requested while that is down."""
        self._lock = Lock()
        self._clients: dict[tuple[str, str, str, int, float], ApiClient] = {}

    def set_embedded(self, url: str, key: str) -> None:
        """Set the address and key of the embedded service; both empty while it is down."""
        with self._lock:
            self._embedded = (url, key)

    def get(
        self, connection_id: str, *, attempts: int = 4, silence: float = 60, wait: KeyringWait | None = None
    ) -> ApiClient:
        """Return a client that waits up to `silence` seconds for an answer.

        Raises ApiError: the embedded service is down, no key is stored, or the connection was removed. A keyring that
        does not answer can be asked again: ConnectionFailed, but WrongKey if the user stopped `wait`.
        """
        try:
            connection = self._connections.get(connection_id)
        except KeyError:
            raise NotFound(
                "This connection is not there any more.", advice="Add it again, or choose another."
            ) from None
        if connection.embedded:
            with self._lock:
                url, key = self._embedded
            if not url:
                self.on_embedded_wanted()
                raise ConnectionFailed(
                    "The service on this computer is not running.", advice="It is started again by itself."
                )
        else:
            url, found = connection.base_url, self._keys.find(connection, wait)
            key = found.key
            if not key:
                message = f"There is no key for “{connection.name}”. {found.message}".strip()
                if found.problem is KeyringProblem.SLOW and wait is None:
                    raise ConnectionFailed(message, advice="")
                raise WrongKey(message, advice="" if found.problem in _EXPLAINED else "Enter it again.")
        with self._lock:
            wanted = (connection_id, url, key, attempts, silence)
            if wanted not in self._clients:
                self._clients[wanted] = (
                    ApiClient(url, key, attempts=attempts, timeout=(5, silence))
                    if connection.embedded
                    else LocalClient(self._local, connection_id, url, key, attempts=attempts, timeout=(5, silence))
                )
            return self._clients[wanted]

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


@dataclass(frozen=True, slots=True)
class AppData:
    """Stores of the user's data, client pool and reviewer; called `stores` in the ui. Call `close` after all jobs ended."""

    connections: ConnectionStore
    keys: ApiKeyStore
    clients: ClientPool
    local: LocalImages
    cache: OfflineCache
    scratch: ScratchUploads
    edits: EditHistory
    transfers: TransferQueue
    reviewer: Reviewer
    batches: BatchStore
    watches: WatchStore

    def workspace(self, connection: Connection, client: ApiClient) -> Workspace:
        """Return a workspace on a connection."""
        return Workspace(
            connection, client, self.cache, self.scratch, lambda set_id: self.edits.hidden_labels(connection.id, set_id)
        )

    @property
    def imports(self) -> UndoableImports:
        """Uploads that can be undone; the object has no state of its own and is made at every access."""
        return UndoableImports(self.edits.journal, self.transfers)

    @property
    def dismissals(self) -> DismissalStore:
        """Review findings that the user dismissed; `edits` journals them."""
        return self.edits.dismissals

    def close(self) -> None:
        """Flush and close all files."""
        self.reviewer.close()
        self.batches.close()
        self.watches.close()
        self.transfers.close()
        self.edits.close()
        self.scratch.close()
        self.cache.close()
        self.clients.close()
        self.local.close()


def open_app_data(folder: Path, cache: Path) -> AppData:
    """Open all stores; blocking. Raises OSError where a folder cannot be used."""
    private_folder(folder)
    private_folder(cache)
    connections, keys, local = ConnectionStore(folder), ApiKeyStore(), LocalImages(folder)
    clients = ClientPool(connections, keys, local)
    edits = EditHistory(folder)
    transfers = TransferQueue(folder / "transfers", lambda connection_id: clients.get(connection_id, attempts=1))
    edits.journal.is_transferring = transfers.is_active
    return AppData(
        connections,
        keys,
        clients,
        local,
        OfflineCache(cache),
        ScratchUploads(folder),
        edits,
        transfers,
        Reviewer(cache),
        BatchStore(folder),
        WatchStore(folder),
    )
