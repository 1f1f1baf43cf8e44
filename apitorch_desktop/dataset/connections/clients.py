"""Pool of API clients, one for each connection and time-out."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed, NotFound, WrongKey
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, KeyringProblem, KeyringWait
from apitorch_desktop.dataset.connections.store import ConnectionStore

_EXPLAINED = {KeyringProblem.LOCKED, KeyringProblem.DENIED, KeyringProblem.SLOW}
"""Problems whose sentence already contains the advice."""


class ClientPool:
    """API clients by connection. Thread-safe; blocks while a keyring is asked for a key."""

    def __init__(self, connections: ConnectionStore, keys: ApiKeyStore) -> None:
        self._connections = connections
        self._keys = keys
        self._embedded = ("", "")
        self.on_embedded_wanted: Callable[[], object] = lambda: None
        """Called, on any thread, when a client of the embedded service is requested while that is down."""
        self._lock = Lock()
        self._clients: dict[tuple[str, str, int, float], ApiClient] = {}

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
            url, found = connection.base_url, self._keys.find(connection, wait)
            key = found.key
            if not key:
                message = f"There is no key at hand for “{connection.name}”. {found.message}".strip()
                if found.problem is KeyringProblem.SLOW and wait is None:
                    raise ConnectionFailed(message, advice="")
                raise WrongKey(message, advice="" if found.problem in _EXPLAINED else "Enter it again.")
        with self._lock:
            wanted = (url, key, attempts, silence)
            if wanted not in self._clients:
                self._clients[wanted] = ApiClient(url, key, attempts=attempts, timeout=(5, silence))
            return self._clients[wanted]

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
