"""A grid over real photos, on the real screen."""

import pytest

from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.view import GridView
from tests.helpers.event_loop import expose, turn, wait_until


@pytest.fixture
def model(qapp):
    return GridModel()


@pytest.fixture
def grid(qtbot, model, loader, theme, tasks):
    """A grid of 800 × 700 px at (60, 60), with the keyboard focus."""
    view = GridView(model, loader, theme, tasks=tasks)
    qtbot.addWidget(view)
    view.setGeometry(60, 60, 800, 700)
    expose(view)
    view.activateWindow()
    view.setFocus()
    wait_until(lambda: view.hasFocus())
    turn()
    return view
