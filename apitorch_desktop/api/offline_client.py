"""Offline client: every call raises ConnectionFailed at once, and nothing is sent."""

from typing import NoReturn

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.transport import Transport


class _OfflineTransport(Transport):
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def without_retries(self) -> Transport:
        return self

    def close(self) -> None:
        pass

    def call(self, *_: object, **__: object) -> NoReturn:
        error = ConnectionFailed("The service is not there yet.", advice="It goes on as soon as it is.")
        error.unsent = True
        raise error

    file = download = call


class OfflineClient(ApiClient):
    """Placeholder for the client of a service that has not answered yet: cached data can be browsed meanwhile."""

    def __init__(self, base_url: str = "") -> None:
        self._transport = _OfflineTransport(base_url)
