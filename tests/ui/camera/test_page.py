"""Keys of the camera's page: held, repeated by the system, and pressed one after the other."""

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication

from apitorch_desktop.ui.camera.page import CameraPage
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources
from tests.helpers.event_loop import wait_until


@pytest.fixture
def page(qapp, qtbot):
    page = CameraPage(Theme(resources()))
    qtbot.addWidget(page)
    page.heard = []
    page.pressed.connect(page.heard.append)
    page.released.connect(lambda: page.heard.append("up"))
    return page


def send(page, key, *, down, repeated=False):
    kind = QEvent.Type.KeyPress if down else QEvent.Type.KeyRelease
    modifiers = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(page, QKeyEvent(kind, ord(key), modifiers, key, repeated))


def test_a_held_key_is_one_press_however_the_system_repeats_it(page):
    send(page, "1", down=True)
    for repeated in (True, False, True):  # X lets a key come up to repeat it, which Qt does not always see
        send(page, "1", down=False, repeated=repeated)
        send(page, "1", down=True, repeated=repeated)
    assert page.heard == ["1"]
    send(page, "1", down=False)
    wait_until(lambda: page.heard == ["1", "up"])


def test_another_key_ends_the_one_before_at_once(page):
    send(page, "1", down=True)
    send(page, "1", down=False)
    send(page, "2", down=True)
    assert page.heard == ["1", "up", "2"]
    send(page, "3", down=True)
    assert page.heard == ["1", "up", "2"], "one at a time"
    page.clearFocus()
    send(page, "2", down=False)
    wait_until(lambda: page.heard == ["1", "up", "2", "up"])
