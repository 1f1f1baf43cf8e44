"""Homes on both kinds of service, the same for all tests of what a person does to a training set."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.dataset_home import Home, picture
from tests.helpers.fake_api import KEY, FakeApi
from tests.helpers.service_process import Service, serving


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of small durable writes need not wear out a disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def real_service(fast_folder: Path) -> Iterator[Service]:
    """`apitorch-desktop serve`; each test has training sets of its own."""
    with serving(fast_folder / "service") as running:
        yield running


@pytest.fixture
def documented() -> Iterator[FakeApi]:
    """A service with the documented calls alone, that misbehaves on request."""
    with FakeApi() as service:
        yield service


@pytest.fixture
def open_home(fast_folder: Path):
    """`open_home(url, key, set_id, **options)`: a connection with its journals, closed with the test."""
    with ExitStack() as stack:

        def make(url: str, key: str, set_id: int | str, **options) -> Home:
            folder = Path(tempfile.mkdtemp(dir=fast_folder))
            home = Home(folder, url, key, set_id, **options)
            stack.callback(home.close)
            return home

        yield make


@pytest.fixture
def real(real_service: Service, open_home) -> Home:
    """Four labels with five images each on the real service."""
    home = open_home(real_service.url, real_service.key, real_service.new_set("Clothes"))
    home.workspace.connect()
    for number in range(20):
        home.client.upload_image(home.set_id, f"l{number % 4}", data=picture(number), filename=f"photo {number}.jpg")
    return home


@pytest.fixture
def plain(documented: FakeApi, open_home) -> Home:
    """The same on a service with the documented calls alone; calls are not repeated."""
    labels = {f"l{one}": [picture(number) for number in range(20) if number % 4 == one] for one in range(4)}
    home = open_home(documented.url, KEY, documented.add_set("Clothes", labels), attempts=1, timeout=(20, 20))
    home.workspace.connect()
    return home


@pytest.fixture(params=["real", "plain"])
def either(request: pytest.FixtureRequest) -> Home:
    """One after the other."""
    found: Home = request.getfixturevalue(request.param)
    return found
