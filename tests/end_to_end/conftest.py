"""A misbehaving service for the window's tests; and tests that name actions of the window have to drive them."""

import pytest

from tests.helpers import app_runner
from tests.helpers.documented_program import coats
from tests.helpers.fake_api import FakeApi


@pytest.fixture
def jpegs(photos):
    """Eight photos, of which `service` has the first six."""
    return sorted((photos / "train" / "dress").iterdir())[:8]


@pytest.fixture
def service(monkeypatch, jpegs):
    """A service with the documented calls alone, which the program finds in its environment."""
    with coats(monkeypatch, jpegs) as made:
        yield made


@pytest.fixture
def elsewhere(jpegs):
    """Another one, with three photos, which the program does not know."""
    with FakeApi() as made:
        made.number = made.add_set("Coats", {"plains": [path.read_bytes() for path in jpegs[:3]]})
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Fail a test that has passed without driving, by pointer or key, each action it names: `mark.action("set.rename")`."""
    app_runner.driven.clear()
    result = yield
    named = {action_id for mark in pyfuncitem.iter_markers("action") for action_id in mark.args}
    assert named <= app_runner.driven, f"not driven by pointer or key: {sorted(named - app_runner.driven)}"
    return result
