"""The user's data on this machine, opened together: connections, keys, offline cache, edits, transfers, review."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.batch.store import BatchStore
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore
from apitorch_desktop.dataset.connections.clients import ClientPool
from apitorch_desktop.dataset.connections.store import Connection, ConnectionStore
from apitorch_desktop.dataset.edits.history import EditHistory
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.review.dismissals import DismissalStore
from apitorch_desktop.dataset.review.reviewer import Reviewer
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.files import private_folder


@dataclass(frozen=True, slots=True)
class AppData:
    """Stores of the user's data, client pool and reviewer; called `stores` in the ui. Call `close` after all jobs ended."""

    connections: ConnectionStore
    keys: ApiKeyStore
    clients: ClientPool
    cache: OfflineCache
    scratch: ScratchUploads
    edits: EditHistory
    transfers: TransferQueue
    reviewer: Reviewer
    batches: BatchStore

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
        self.transfers.close()
        self.edits.close()
        self.scratch.close()
        self.cache.close()
        self.clients.close()


def open_app_data(folder: Path, cache: Path) -> AppData:
    """Open all stores; blocking. Raises OSError where a folder cannot be used."""
    private_folder(folder)
    private_folder(cache)
    connections, keys = ConnectionStore(folder), ApiKeyStore()
    clients = ClientPool(connections, keys)
    edits = EditHistory(folder)
    transfers = TransferQueue(folder / "transfers", lambda connection_id: clients.get(connection_id, attempts=1))
    edits.journal.is_transferring = transfers.is_active
    return AppData(
        connections,
        keys,
        clients,
        OfflineCache(cache),
        ScratchUploads(folder),
        edits,
        transfers,
        Reviewer(cache),
        BatchStore(folder),
    )
