"""Every way in through the window of the real program: archive, list, pasted picture, pasted addresses; undone and done again."""

import csv
import zipfile
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint
from PySide6.QtGui import QGuiApplication, QImage

from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.image_samples import motion_photo, raw_photo, saved, scene
from tests.helpers.widget_driver import to_grid

CORNER = QPoint(1500, 920)
PHONE = {
    "IMG_1.HEIC": (Path(__file__).parents[1] / "data" / "heif" / "turned.heic").read_bytes(),
    "IMG_2.avif": saved(scene(), "AVIF"),
    "IMG_3.MP.jpg": motion_photo(),
    "DSC_4.NEF": raw_photo(),
}


def plan(made):
    shown = program.wait(lambda: dialog(ImportDialog), "the plan")
    program.wait(lambda: shown._plan is not None, "the look at what came")
    return shown


def drop(made, path):
    """Drop a file or folder on the middle of the window."""
    assert pointer.drag([path], pointer.center(made.central_widget.pages), CORNER) == "dropped"


def accept(made, total, what):
    shown = plan(made)
    program.wait(shown.start.isEnabled, f"{what}: something to send")
    program.press(shown.start)
    program.wait(lambda: made.model.total == total, f"{what} in the grid")
    program.wait(lambda: dialog(ImportDialog) is None, "the plan closed")


def looked_at(shown):
    """What a plan lists; it is closed."""
    program.wait(lambda: shown._plan is not None, "the list of what came")
    items = list(shown._plan.items)
    program.wait(shown.isActiveWindow, "the focus in the plan")
    pointer.key("Escape")
    program.wait(lambda: dialog(ImportDialog) is None, "the plan closed")
    return items


def settled(made, count):
    stores, connection = made.session.stores, made.session.connection
    program.wait(
        lambda: [one.stage for one in stores.edits.journal.rows(connection.id)].count("done") == count,
        f"{count} edits in the journal",
    )


@pytest.mark.action("edit.paste")
def test_archives_lists_pictures_and_addresses_come_in_through_the_plan(monkeypatch, photos, tmp_path):
    hats, dresses = (sorted((photos / "train" / label).iterdir()) for label in ("hat", "dress"))
    archive = tmp_path / "Summer.zip"
    with zipfile.ZipFile(archive, "w") as made_zip:
        for label, some in (("hat", hats[:3]), ("dress", dresses[:3])):
            for one in some:
                made_zip.write(one, f"{label}/{one.name}")
    table = tmp_path / "more.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "label"), (hats[3], "hat"), (dresses[3], "dress"), (hats[0], "hat")])

    phone = tmp_path / "cap"
    phone.mkdir()
    for name, data in PHONE.items():
        (phone / name).write_bytes(data)

    def steps(made):
        program.wait(lambda: made.session.sets_confirmed, "the embedded service")
        drop(made, archive)
        accept(made, 6, "the archive")
        settled(made, 1)
        assert dict(made.session.open_set.counts) == {"dress": 3, "hat": 3}
        assert made.session.open_set.training_set.name == "Summer"  # not Summer.zip
        drop(made, table)
        shown = plan(made)
        program.wait(lambda: "already" in shown.below.text(), "what is there already")
        accept(made, 8, "the list")
        settled(made, 2)

        clipboard = QGuiApplication.clipboard()
        picture = QMimeData()
        picture.setImageData(QImage(str(min((photos / "test" / "hat").iterdir()))))
        clipboard.setMimeData(picture)
        to_grid(made)
        pointer.key("ctrl+v")
        assert len(looked_at(plan(made))) == 1

        clipboard.setText("https://example.invalid/a.jpg\nhttps://example.invalid/b.jpg\n")
        to_grid(made)
        pointer.key("ctrl+v")
        assert len(looked_at(plan(made))) == 2

        to_grid(made)
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == 6, "the list undone")
        pointer.key("ctrl+z")
        program.wait(lambda: not made.session.training_sets, "the archive undone, the training set with it")
        pointer.key("ctrl+shift+z")
        program.wait(lambda: made.model.total == 6, "the archive in again")

        drop(made, phone)
        accept(made, 10, "photos of a phone and a camera")
        to_grid(made)
        pointer.key("End")
        images = [made.model.image(row) for row in range(made.model.shown)]
        new = [image for image in images if image.original_filename in PHONE]
        assert {image.filename.rpartition(".")[2] for image in new} == {"heic", "avif", "jpg", "nef"}
        program.wait(lambda: all(made.photos.loader.pixmap(one.image_id) for one in new), "their thumbnails")

    assert program.run(monkeypatch, steps) == 0
