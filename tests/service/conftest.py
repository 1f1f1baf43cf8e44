"""The real service on loopback, and images of all kinds."""

import io
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from PIL import Image

from tests.helpers.service_process import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`apitorch-desktop serve`, one for all tests: each works in training sets of its own."""
    with serving(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture
def start(tmp_path):
    """Start services of the test's own: `start(*options, limits=None, **environment)`."""
    with ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda *options, **more: stack.enter_context(serving(tmp_path / f"data{next(numbers)}", *options, **more))


@pytest.fixture(scope="session")
def picture():
    """Image files: `picture(seed=1, size=(32, 24), format="JPEG")`; another seed is another image."""

    def make(seed: int = 0, size: tuple[int, int] = (32, 24), format: str = "JPEG", **more) -> bytes:  # noqa: A002
        image = Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))
        file = io.BytesIO()
        image.save(file, format, **more)
        return file.getvalue()

    return make
