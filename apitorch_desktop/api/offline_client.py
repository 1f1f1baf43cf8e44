"""A client for a service that is not there yet: every call fails at once, and nothing is sent."""

from typing import NoReturn

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.transport import Transport


class _Nowhere(Transport):
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def without_retries(self) -> Transport:
        return self

    def close(self) -> None:
        pass

    def call(self, *_: object, **__: object) -> NoReturn:
        failure = ConnectionFailed("The service is not there yet.", advice="It goes on as soon as it is.")
        failure.unsent = True
        raise failure

    file = download = call


class OfflineClient(ApiClient):
    """In the place of a client until the service is heard, so that what was seen of it can be looked at."""

    def __init__(self, base_url: str = "") -> None:
        self._transport = _Nowhere(base_url)
