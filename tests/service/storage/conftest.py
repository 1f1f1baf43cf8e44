"""Either database for the tests of the storage."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import consistent, empty, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server of the tests' own."""
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on either database."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("server")
        empty(url)
    with Store.open(tmp_path / "data", database_url=url) as opened:
        yield opened
        consistent(opened)
