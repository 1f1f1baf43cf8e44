"""Tests that name actions of the window have to drive them."""

import pytest

from tests.helpers import app_runner


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Fail a test that has passed without driving, by pointer or key, each action it names: `mark.action("set.rename")`."""
    app_runner.driven.clear()
    result = yield
    named = {action_id for mark in pyfuncitem.iter_markers("action") for action_id in mark.args}
    assert named <= app_runner.driven, f"not driven by pointer or key: {sorted(named - app_runner.driven)}"
    return result
