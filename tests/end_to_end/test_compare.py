"""A training set compared with one on another service, and both brought together: pushed, pulled, relabelled."""

import os

import pytest
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore
from apitorch_desktop.dataset.connections.store import ConnectionStore
from apitorch_desktop.dataset.edits.model import EditStage
from apitorch_desktop.utils.paths import desktop_folder
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.service_process import KEY, serving
from tests.helpers.widget_driver import close_dialog, compare_with, pick, to_grid


def picture(folder, number):
    path = folder / f"{number}.png"
    Image.new("RGB", (48, 36), (number * 37 % 256, number * 91 % 256, 120)).save(path)
    return path


def contents(client, set_id):
    return sorted((image.sha256, group.label) for group in client.images(set_id).data for image in group.images)


@pytest.fixture
def elsewhere(tmp_path, home, monkeypatch):
    """A second service, known to the window as a connection with its key."""
    with serving(tmp_path / "elsewhere", key=KEY) as served:
        connection = ConnectionStore(desktop_folder()).add("Elsewhere", served.url)
        monkeypatch.setattr(ApiKeyStore, "find", _finding(ApiKeyStore.find, connection.id))
        yield connection, ApiClient(served.url, KEY)


def _finding(find, connection_id):
    """This run's keys, as if the person had typed it: there is no keyring in the tests."""

    def found(keys, connection, wait=None):
        if connection.id == connection_id:
            keys.store(connection, KEY)
        return find(keys, connection, wait)

    return found


def test_two_homes_are_compared_pushed_and_pulled(monkeypatch, elsewhere, tmp_path):
    connection, far = elsewhere
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    theirs = far.create_training_set("Coats")
    for number in range(2, 6):  # 2 and 3 are on both sides, 3 under another label; 4 and 5 only there
        far.upload_image(theirs.id, "plains", path=picture(pictures, number))

    def steps(made):
        session = made.session
        program.wait(lambda: session.sets_confirmed, "the embedded service")
        client = session.workspace.client
        mine = client.create_training_set("Coats")
        for number, label in enumerate(("plains", "plains", "plains", "mountain")):
            client.upload_image(mine.id, label, path=picture(pictures, number))
        session.refresh()
        program.wait(lambda: session.find_set(mine.id), "the training set")

        def compared(wanted):
            dialog = compare_with(made, "Elsewhere")
            assert dialog.connection.currentData() == connection.id
            program.wait(lambda: dialog.target.findText("Coats") >= 0 and dialog.compare.isEnabled(), "the other sets")
            assert dialog.target.currentText() == "Coats"
            program.press(dialog.compare)
            program.wait(lambda: wanted in dialog.text.text(), wanted)
            return dialog

        dialog = compared("2 only here · 2 only there · 1 under another label · 1 the same.")
        pick(dialog.labels, dialog.labels.itemText(1))
        assert dialog.push.text() == "Send 3 there"
        program.press(dialog.push)
        program.wait(lambda: len(contents(far, theirs.id)) == 6, "what was pushed")
        dialog = compared("2 only there")
        assert dialog.pull.text() == "Fetch 2 from there"
        program.press(dialog.pull)
        program.wait(lambda: len(contents(client, mine.id)) == 6, "what was pulled")
        close_dialog(compared("Both are the same"))
        assert contents(client, mine.id) == contents(far, theirs.id)
        journal = session.stores.edits.journal
        program.wait(lambda: journal.undoable(session.connection.id), "the import in the journal")
        assert journal.undoable(session.connection.id).title == "import 2 photos"
        pushed = journal.imports(connection.id, EditStage.BEGUN)  # finished when that connection is open
        assert [row.title for row in pushed] == ["the import"]
        to_grid(made)
        pointer.key("ctrl+z")
        program.wait(lambda: len(contents(client, mine.id)) == 4, "the undo of what was pulled")

    assert program.run(monkeypatch, steps) == 0
    assert KEY not in (desktop_folder() / "connections.json").read_text()
    assert not [
        found for found in desktop_folder().rglob("*") if found.is_file() and KEY.encode() in found.read_bytes()
    ]
    assert os.environ.get("APITORCH_API_KEY") is None
