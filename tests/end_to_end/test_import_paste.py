"""Pasting: a photo gets its label by a few letters, and every kind of address is opened or refused in one sentence."""

import os
import shutil
import socket
from urllib.parse import quote

from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog, QLineEdit

from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.import_plan import closed, shown_plan
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose


def counts(made, name):
    client = made.session.workspace.client
    found = next(training_set for training_set in client.training_sets() if training_set.name == name)
    return {label.label: label.count for label in client.labels(found.id)}


def said(made):
    message = made.central_widget.status.message.current()
    return message.text if message is not None else ""


def test_a_pasted_photo_gets_a_label_by_its_first_letters(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)

    def steps(made):
        program.wait(lambda: made.model.total == 4 and made.photos.grid.isVisible(), "the photos")
        QGuiApplication.clipboard().setImage(QImage(str(min((photos / "test" / "hat").iterdir()))))
        made.photos.grid.setFocus()
        pointer.key("ctrl+v")
        plan = shown_plan()
        assert plan.head.text().startswith("1 photo without a label yet, ")
        program.wait(plan.photos.relabel.hasFocus, "the focus in the line for the label")
        pointer.write("ha")
        program.wait(lambda: plan.photos.relabel.text() == "hat", "the label completed")
        pointer.key("Return")
        program.wait(lambda: plan.start.text() == "Import 1 photo" and plan.start.isEnabled(), "the label given")
        program.press(plan.start)
        program.wait(lambda: made.model.total == 5, "the photo in the grid")
        program.wait(lambda: counts(made, "Summer") == {"dress": 2, "hat": 3}, "the photo in the service")

        a_new_label(made)
        addresses(made)

    def a_new_label(made):
        """The completed part is taken away again; a spelling that is changed is shown before."""
        made.window.activateWindow()
        QGuiApplication.clipboard().setText("https://example.invalid/a.jpg")
        made.photos.grid.setFocus()
        pointer.key("ctrl+v")
        plan = shown_plan()
        program.wait(plan.photos.relabel.hasFocus, "the focus in the line for the label")
        pointer.write("Sun Ha")
        program.wait(lambda: plan.photos.spelling.text() == "Stored as “sun_ha”.", "how it is stored")
        pointer.key("ctrl+a")
        pointer.write("ha")
        pointer.key("Delete", "Return")
        program.wait(lambda: [item.label for item in plan.plan.items] == ["ha"], "the label as typed")
        closed(made)

    def addresses(made):
        """Those of this machine are opened, whatever they are called; any other is refused in a sentence."""
        source = min((photos / "test" / "dress").iterdir())
        plain, odd = tmp_path / "a b.jpg", tmp_path / os.fsdecode(b"caf\xe9.jpg")
        for place in (plain, odd):
            shutil.copy(source, place)
        for host, place in (("localhost", plain), (socket.gethostname(), plain), ("", odd)):
            plan = pasted(made, f"file://{host}{quote(os.fsencode(place))}")
            assert [item.source.path for item in plan.plan.items] == [place]
            assert not plan.plan.items[0].problem
            closed(made)
        for address in ("file://elsewhere/a.jpg", "sftp://host/a.jpg", "mtp://phone/DCIM/a.jpg"):
            QGuiApplication.clipboard().clear()
            mime = QMimeData()
            mime.setUrls([QUrl(address)])
            QGuiApplication.clipboard().setMimeData(mime)
            made.photos.grid.setFocus()
            pointer.key("ctrl+v")
            program.wait(lambda address=address: f"“{address}” cannot be opened" in said(made), f"why not {address}")
            assert dialog(ImportDialog) is None

    def pasted(made, address):
        mime = QMimeData()
        mime.setData("text/uri-list", f"{address}\r\n".encode())
        QGuiApplication.clipboard().setMimeData(mime)
        made.photos.grid.setFocus()
        pointer.key("ctrl+v")
        return shown_plan()

    assert program.run(monkeypatch, steps) == 0


def test_the_empty_window_takes_what_is_pasted_and_import_offers_a_folder(monkeypatch, photos, tmp_path, home):
    folder = tmp_path / "Hats"
    folder.mkdir()
    for photo in sorted((photos / "test" / "hat").iterdir())[:2]:
        shutil.copy(photo, folder / photo.name)

    def steps(made):
        program.wait(lambda: made.session.sets_confirmed, "the embedded service")
        program.wait(made.central_widget.empty.isVisible, "the empty page")
        QGuiApplication.clipboard().setImage(QImage(str(min(folder.iterdir()))))
        pointer.key("ctrl+v")
        plan = shown_plan()
        assert len(plan.plan.items) == 1
        closed(made)

        program.press(made.central_widget.toolbar.import_button)
        choose("Import a folder…")
        asked = program.wait(lambda: dialog(QFileDialog), "which folder")
        line = asked.findChild(QLineEdit, "fileNameEdit")
        program.wait(lambda: line.hasFocus(), "the focus in the name")
        pointer.key("ctrl+a")
        pointer.write(str(folder))
        pointer.key("Return")
        plan = shown_plan()
        assert plan.name.text() == "Hats", (plan.plan.items, plan.target.currentText(), plan.plan.notes)
        program.press(plan.start)
        program.wait(lambda: made.model.total == 2, "the photos in the grid")
        program.wait(lambda: counts(made, "Hats") == {"hats": 2}, "the photos in the service")

    assert program.run(monkeypatch, steps) == 0
