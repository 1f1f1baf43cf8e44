"""A misbehaving service, and a client for it that does not wait long."""

from collections.abc import Iterator

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.transport import Transport
from tests.helpers.fake_api import KEY, FakeApi


@pytest.fixture
def service() -> Iterator[FakeApi]:
    """A service with the documented calls alone."""
    with FakeApi() as running:
        yield running


@pytest.fixture
def client(service: FakeApi) -> Iterator[ApiClient]:
    """A client with its defaults."""
    made = ApiClient(service.url, KEY)
    yield made
    made.close()


@pytest.fixture
def transport(service: FakeApi):
    """`transport(**options)`: one that repeats quickly."""
    made: list[Transport] = []

    def make(url: str = service.url, key: str = KEY, **options) -> Transport:
        chosen = {"timeout": (20, 20), "total": 60, "attempts": 4, "backoff": 0.01, **options}
        made.append(Transport(url, key, **chosen))
        return made[-1]

    yield make
    for one in made:
        one.close()
