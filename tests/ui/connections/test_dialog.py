"""The connection dialog against real services: nothing is kept before it was tried, and what is kept is said."""

import threading

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QLineEdit

from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, KeyLocation
from apitorch_desktop.dataset.connections.store import ConnectionStore
from apitorch_desktop.ui.connections.menu import ConnectionDialog
from tests.helpers.event_loop import wait_until
from tests.helpers.fake_api import FakeApi
from tests.helpers.service_process import serving


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service") / "data") as service:
        yield service


@pytest.fixture
def connections(tmp_path):
    return ConnectionStore(tmp_path / "settings", {})


@pytest.fixture
def keys():
    return ApiKeyStore({})


@pytest.fixture
def opened(qtbot, theme, tasks, connections, keys):
    """Opens dialogs; `outcomes` of the last: what was saved, what was removed."""
    shown = []

    def open_(connection=None):
        dialog = ConnectionDialog(theme, tasks, connections, keys, connection)
        dialog.outcomes = []
        dialog.saved.connect(dialog.outcomes.append)
        dialog.removed.connect(lambda one: dialog.outcomes.append(("removed", one)))
        qtbot.addWidget(dialog)
        dialog.show()
        shown.append(dialog)
        return dialog

    yield open_
    for dialog in shown:
        dialog.close()


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def said(dialog, words):
    wait_until(lambda: words in dialog.answer.text(), f"not “{words}” but “{dialog.answer.text()}”")


def test_a_connection_is_tried_then_kept_and_a_missing_keyring_is_said(qtbot, opened, connections, keys, real):
    dialog = opened()
    assert not dialog.save.isEnabled()
    assert dialog.save.toolTip() == "Enter the address and the key first"
    dialog.address.setText(real.origin)
    dialog.key.setText(f'  "{real.key}:" \n')
    press(qtbot, dialog.test)
    said(dialog, "The service answers and accepts the key.")
    assert connections.all()[1:] == []  # a test keeps nothing
    dialog.name.setText("Workshop")
    press(qtbot, dialog.save)
    said(dialog, "This machine has no keyring. The key is kept until the program ends.")
    assert dialog.isVisible()
    assert dialog.save.isHidden()
    [connection] = dialog.outcomes
    assert connection == connections.all()[1]
    assert (connection.name, connection.base_url) == ("Workshop", real.url)
    assert connection.color.startswith("#") and connection.color != connections.get("embedded").color
    assert keys.find(connection).key == real.key
    assert keys.find(connection).location is KeyLocation.THIS_RUN
    assert dialog.cancel.text() == "Close"


def test_a_wrong_key_is_said_and_not_kept(qtbot, opened, connections, real):
    dialog = opened()
    dialog.address.setText(real.url)
    dialog.key.setText("w" * 42)
    press(qtbot, dialog.save)
    said(dialog, "key")
    assert dialog.answer.property("tone") == "bad"
    assert connections.all()[1:] == []
    assert dialog.save.text() == "Save"
    dialog.key.setText("short")
    press(qtbot, dialog.save)
    said(dialog, "An API Torch key has 42 characters; this one has 5.")
    assert connections.all()[1:] == []


def test_a_service_out_of_reach_can_be_kept_all_the_same(qtbot, opened, connections, keys):
    dialog = opened()
    dialog.address.setText("http://127.0.0.1:9")
    dialog.key.setText("k" * 42)
    press(qtbot, dialog.save)
    said(dialog, "Nothing answers at 127.0.0.1:9")
    assert dialog.save.text() == "Save anyway"
    dialog.address.setText("http://127.0.0.1:9/")  # something else is to be tried again first
    assert dialog.save.text() == "Save"
    press(qtbot, dialog.save)
    said(dialog, "Nothing answers")
    press(qtbot, dialog.save)
    wait_until(lambda: dialog.outcomes)
    assert connections.all()[1] == dialog.outcomes[0]
    assert keys.find(dialog.outcomes[0]).key == "k" * 42


@pytest.mark.parametrize(
    ("fault", "keeps"), [(500, True), (502, True), (403, False), ("portal", False), ("json", False)]
)
def test_a_service_that_fails_can_be_kept_and_what_is_no_api_torch_cannot(qtbot, opened, connections, fault, keeps):
    with FakeApi() as service:
        service.wrong(fault, times=100)
        dialog = opened()
        dialog.address.setText(service.url)
        dialog.key.setText(service.key)
        press(qtbot, dialog.save)
        wait_until(lambda: dialog.answer.property("tone") == "bad")
        assert (dialog.save.text() == "Save anyway") is keeps
        assert connections.all()[1:] == []


def test_an_address_that_is_none_is_said(qtbot, opened, connections):
    dialog = opened()
    dialog.key.setText("k" * 42)
    for address, words in (("ftp://host", "is no web address"), ("https://me:pw@host", "user name or a password")):
        dialog.address.setText(address)
        press(qtbot, dialog.save)
        said(dialog, words)
    assert connections.all()[1:] == []


def test_name_and_colour_are_changed_with_the_key_as_it_is_and_another_key_is_tried(
    qtbot, opened, connections, keys, real
):
    kept = connections.add("Old", real.url, "#1971c2")
    keys.store(kept, real.key)
    dialog = opened(kept)
    assert dialog.address.text() == real.url
    assert dialog.key.echoMode() == QLineEdit.EchoMode.Password
    dialog.name.setText("New")
    next(one for one in dialog.color._group.buttons() if one.toolTip() == "Purple").click()
    press(qtbot, dialog.save)
    wait_until(lambda: dialog.outcomes)
    assert (connections.get(kept.id).name, connections.get(kept.id).color) == ("New", "#9c36b5")
    assert keys.find(connections.get(kept.id)).key == real.key
    wait_until(lambda: not dialog.isVisible())
    again = opened(connections.get(kept.id))
    again.key.setText("x" * 42)
    press(qtbot, again.save)
    wait_until(lambda: again.answer.property("tone") == "bad")
    assert keys.find(connections.get(kept.id)).key == real.key


def test_a_key_does_not_follow_to_another_address(qtbot, opened, connections, keys, real):
    kept = connections.add("Here", real.url)
    keys.store(kept, real.key)
    with FakeApi() as other:
        dialog = opened(kept)
        dialog.address.setText(other.url)
        press(qtbot, dialog.save)
        said(dialog, "There is no API key.")
        assert [one for one in other.seen if one.authorization] == []
        dialog.key.setText(other.key)
        press(qtbot, dialog.save)
        wait_until(lambda: dialog.outcomes)
        assert keys.find(kept).key == ""
        assert keys.find(connections.get(kept.id)).key == other.key


def test_a_connection_is_removed_with_its_key(qtbot, opened, connections, keys, real):
    kept = connections.add("Here", real.url)
    keys.store(kept, real.key)
    dialog = opened(kept)
    dialog._waiting = lambda connection_id: 2 if connection_id == kept.id else 0
    press(qtbot, dialog.remove)
    said(dialog, "2 photos without a label wait on this computer only: label or delete them first.")
    assert connections.get(kept.id) == kept
    dialog._waiting = lambda _connection_id: 0
    press(qtbot, dialog.remove)
    wait_until(lambda: dialog.outcomes)
    assert dialog.outcomes == [("removed", kept)]
    assert connections.all()[1:] == []
    assert keys.find(kept).key == ""


def test_escape_keeps_nothing_while_the_service_is_asked(qtbot, opened, connections):
    with FakeApi() as service:
        service.wrong("held", times=5)
        dialog = opened()
        dialog.address.setText(service.url)
        dialog.key.setText(service.key)
        press(qtbot, dialog.save)
        said(dialog, "Asking the service")
        assert not dialog.save.isEnabled()
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)
        wait_until(lambda: not dialog.isVisible())
        service.right()
        wait_until(lambda: not dialog._tasks.active())
        assert connections.all()[1:] == []
        assert dialog.outcomes == []


def test_the_keyring_is_waited_for_and_the_wait_can_be_stopped(qtbot, opened, connections, keys, real, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr("apitorch_desktop.dataset.connections.api_keys.NOTICE", 0.2)
    monkeypatch.setattr("keyring.set_password", lambda *_: gate.wait(60))
    dialog = opened()
    dialog.address.setText(real.origin)
    dialog.key.setText(real.key)
    press(qtbot, dialog.save)
    said(dialog, "Waiting for the keyring. If a window of the system asks for its password, enter it there.")
    assert dialog.cancel.text() == "Stop waiting"
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    said(dialog, "The key is kept until the program ends.")
    assert (dialog.isVisible(), dialog.cancel.text()) == (True, "Close")
    assert keys.find(dialog.outcomes[0]).key == real.key
    press(qtbot, dialog.cancel)
    assert not dialog.isVisible()
    gate.set()
    known = opened(connections.all()[1])  # its key is asked for again
    keys.remove(connections.all()[1])
    gate.clear()
    monkeypatch.setattr("keyring.get_password", lambda *_: real.key if gate.wait(60) else None)
    press(qtbot, known.test)
    said(known, "Waiting for the keyring.")
    gate.set()
    said(known, "The service answers and accepts the key.")
    assert known.cancel.text() == "Cancel"


def test_the_chosen_colour_is_marked_and_none_is_red_of_itself(opened, connections):
    kept = [connections.add(f"No. {number}", f"https://host{number}.example") for number in range(6)]
    assert not {"#d9480f", "#e8590c", "#a61e4d"} & {one.color for one in connections.all()}
    old = connections.add("Old", "https://old.example", "#e8590c")  # taken by itself until 0.1.0
    for connection in (*kept, old):
        swatch = opened(connection).color._group.checkedButton()
        assert swatch.property("color") == connection.color
        marks = [
            swatch.icon().pixmap(16, QIcon.Mode.Normal, state).toImage() for state in (QIcon.State.Off, QIcon.State.On)
        ]
        assert marks[0] != marks[1]
