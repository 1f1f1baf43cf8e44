"""Preferences by pointer and keys: each is applied at once, and there at the next start."""

import base64
import json
import urllib.error
import urllib.request

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.ui.encoders import EncodersPage
from apitorch_desktop.ui.preferences import (
    AppearancePage,
    DataPage,
    KeysPage,
    LabelingPage,
    PreferencesDialog,
    ServicePage,
)
from apitorch_desktop.ui.session.session import ConnectionState
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.service_process import free_port
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import pick, press_cell
from tests.vision.test_encoder_file import maps


def opened(made):
    """The preferences, opened by their keys."""
    made.window.activateWindow()
    program.wait(made.window.isActiveWindow, "the focus in the window")
    pointer.key("ctrl+comma")
    return program.wait(lambda: program.dialog(PreferencesDialog), "the preferences")


def page(dialog, kind, name):
    """A page of the dialog, chosen in the list."""
    item = dialog.names.findItems(name, Qt.MatchFlag.MatchExactly)[0]
    program.press(dialog.names.viewport(), dialog.names.visualItemRect(item))
    shown = dialog.findChild(kind)
    program.wait(shown.isVisible, f"the page {name}")
    return shown


def close(dialog):
    program.press(dialog.close_button)
    program.wait(lambda: program.dialog(PreferencesDialog) is None, "the preferences closed")


def ping(url, key):
    """The status of a ping as another program sends it."""
    authorization = base64.b64encode(f"{key}:".encode()).decode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}ping", headers={"Authorization": f"Basic {authorization}"}),
            timeout=program.PATIENCE,
        ) as answer:
            return answer.status if json.loads(answer.read())["object"] else 0
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.action("edit.preferences", "view.transfers")
def test_preferences_are_applied_at_once_and_kept(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)
    kept, port = {}, free_port()

    def steps(made):
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        dialog = opened(made)
        appearance(made, dialog)
        labeling(made, dialog)
        data(made, dialog)
        keys(made, dialog)
        encoders(made, dialog)
        service(made, dialog)
        close(dialog)
        made.window.activateWindow()
        program.wait(made.window.isActiveWindow, "the focus in the window")
        pointer.key("ctrl+shift+t")
        program.wait(made.transfers_panel.isVisible, "the transfers by their new keys")

    def appearance(made, dialog):
        shown = dialog.findChild(AppearancePage)
        pick(shown.scheme, "Dark")
        program.wait(lambda: made.theme.tokens.dark, "the dark colors")
        before = made.theme.px(100)
        pick(shown.type_size, "130 %")
        program.wait(lambda: made.theme.px(100) == round(before * 1.3), "larger type")
        pick(shown.type_size, "115 %")
        program.press(shown.menu_bar)
        program.wait(lambda: not made.window.menuBar().isVisible(), "no menu bar")

    def labeling(made, dialog):
        shown = page(dialog, LabelingPage, "Labeling")
        pick(shown.choices["7"], "hat")
        program.wait(lambda: made.labeling.keys.label("7") == "hat", "the key of the label")
        program.press(shown.advance)
        program.wait(made.labeling.strip.advance.isChecked, "auto-advance")

    def data(made, dialog):
        shown = page(dialog, DataPage, "Data and speed")
        program.wait(lambda: shown.bytes.text()[0].isdigit(), "the size of the data folder")
        pick(shown.memory, "128 MB")
        assert made.photos.loader._budget == 128 * 2**20

    def keys(made, dialog):
        shown = page(dialog, KeysPage, "Keys")

        def choose(words):
            program.press(shown.search)
            pointer.key("ctrl+a")
            pointer.write(words)
            program.wait(lambda: shown.search.text() == words, "the words")
            texts = [shown.table.item(at, 0).text().lower() for at in range(shown.table.rowCount())]
            row = next(at for at, text in enumerate(texts) if text.startswith(words))
            assert not shown.table.isRowHidden(row)
            press_cell(shown.table, shown.table.model().index(row, 0))
            program.press(shown.edit)
            return row

        row = choose("delete photos")
        pointer.key("Insert")  # plain, since it works among the photos alone
        program.wait(lambda: shown.table.item(row, 1).text() == "Ins", "another key for Delete")
        row = choose("review: keep this one")
        pointer.key("x")  # a letter, since none begins a label there
        program.wait(lambda: shown.table.item(row, 1).text() == "X", "another key on the pages of Review")
        pointer.key("a")
        program.wait(lambda: shown.note.text().startswith("A belongs to “Review: take the likelier"), "whose key A is")
        row = choose("transf")
        for sequence, words in (
            ("ctrl+z", "Ctrl+Z belongs to “Undo"),
            ("k", "K alone is for photos and labels: add Ctrl or Alt."),
        ):
            pointer.key(sequence)
            program.wait(lambda words=words: shown.note.text().startswith(words), words)
        assert made.actions.keys("view.transfers") == "Ctrl+J"
        pointer.key("ctrl+shift+t")
        program.wait(lambda: shown.table.item(row, 1).text() == "Ctrl+Shift+T", "the keys in the table")

    def encoders(made, dialog):
        shown = page(dialog, EncodersPage, "Encoders")
        program.wait(lambda: shown.list.count() == 1, "the built-in encoder")
        assert not shown.use.isEnabled() and not shown.trial.isEnabled()
        (tmp_path / "broken.onnx").write_bytes(b"no model")
        shown.add_file(tmp_path / "broken.onnx")
        program.wait(lambda: "not an ONNX file" in shown.note.text(), "what is wrong with a file")
        shown.add_file(maps(tmp_path / "maps.onnx"))
        program.wait(lambda: shown.list.count() == 2, "the encoder that was added")
        program.press(shown.list.viewport(), shown.list.visualItemRect(shown.list.item(1)))
        program.wait(lambda: shown.about.text().startswith("32 numbers"), "its cost")
        program.press(shown.trial)
        program.wait(lambda: "maps.onnx: " in shown.note.text() and "Built-in: " in shown.note.text(), "the trial")
        program.press(program.wait(lambda: shown.use.isEnabled() and shown.use, "the choice"))
        client = made.session.workspace.client
        program.wait(lambda: str(client.training_sets()[0].encoder).startswith("maps-"), "the choice in the service")
        program.wait(lambda: "in use" in shown.list.item(1).text(), "the choice in the list")

    def service(made, dialog):
        shown = page(dialog, ServicePage, "Service")
        assert not shown.copy_key.isEnabled()
        program.press(shown.shared)
        program.wait(lambda: made.embedded.url and shown.copy_key.isEnabled(), "the service started again")
        shown.port.selectAll()
        program.press(shown.port)
        pointer.key("ctrl+a")
        pointer.write(str(port))
        pointer.key("Tab")
        url = f"http://127.0.0.1:{port}/api/"
        program.wait(lambda: made.embedded.url == url and shown.copy_key.isEnabled(), "the service at its port")
        program.press(shown.copy_address)
        assert QGuiApplication.clipboard().text() == url
        program.press(shown.copy_key)
        kept["key"] = key = QGuiApplication.clipboard().text()
        assert ping(url, key) == 200
        program.press(shown.new_key)
        program.wait(lambda: made.embedded.key not in ("", key) and shown.copy_key.isEnabled(), "another key")
        assert (ping(url, key), ping(url, made.embedded.key)) == (401, 200)
        kept["key"] = made.embedded.key
        program.wait(lambda: made.session.state is ConnectionState.READY, "the window connected again")
        assert {found.name for found in made.session.workspace.client.training_sets()} == {"Summer"}

    def next_start(made):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the service")
        program.wait(lambda: made.session.open_set and made.session.open_set.listed, "the training set")
        assert made.theme.tokens.dark
        assert made.labeling.keys.label("7") == "hat" and made.labeling.advance
        assert made.actions.keys("view.transfers") == "Ctrl+Shift+T"
        assert made.actions.keys("review.keep") == "X"
        assert made.photos.big.fit.toolTip() == "The whole photo (Ctrl+0)"
        assert made.labeling.strip.advance.toolTip() == "Select the next photo after each label (F4)"
        assert (made.embedded.url, made.embedded.key) == (f"http://127.0.0.1:{port}/api/", kept["key"])
        made.window.activateWindow()
        made.photos.grid.setFocus()
        program.wait(made.photos.grid.hasFocus, "the focus in the grid")
        made.photos.grid.choose(0)
        client = made.session.workspace.client
        pointer.key("Delete", "Insert")  # the first is nothing's key any more
        program.wait(lambda: sum(client.training_sets()[0].counts) == 3, "one photo deleted, by its new key")
        assert made.model.total == 3
        dialog = opened(made)
        shown = page(dialog, KeysPage, "Keys")
        program.press(shown.reset_all)
        assert made.actions.keys("photo.delete") == "Delete"
        assert made.actions.keys("review.keep") == "K"
        assert made.actions.keys("view.transfers") == "Ctrl+J"
        sharing = page(dialog, ServicePage, "Service")
        program.press(sharing.shared)
        program.wait(
            lambda: made.embedded.url and made.embedded.key != kept["key"], "the service of this program alone"
        )
        assert ping(made.embedded.url, kept["key"]) == 401
        pointer.key("Escape")
        program.wait(lambda: program.dialog(PreferencesDialog) is None, "the preferences closed")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0
