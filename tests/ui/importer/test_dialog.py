import hashlib

import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from apitorch_desktop.api.types import TrainingSet
from apitorch_desktop.dataset.importer.plan import find_similar, scan
from apitorch_desktop.ui.importer.dialog import ImportDialog
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources
from tests.helpers.event_loop import wait_until


@pytest.fixture
def folder(tmp_path):
    for label, colours in {"T-Shirt": ("red", "green"), "hat": ("blue",)}.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for colour in colours:
            Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / label / f"{colour}.png")
    (tmp_path / "photos" / "hat" / "notes.jpg").write_text("no picture")
    return tmp_path / "photos"


@pytest.fixture
def dialog(qtbot, folder):
    theme = Theme(resources())
    theme.apply(QApplication.instance())
    tasks = TaskRunner()
    green = (folder / "T-Shirt" / "green.png").read_bytes()
    there = {hashlib.sha256(green).hexdigest(): {"t_shirt"}}
    dialog = ImportDialog(
        theme, tasks, [TrainingSet(id=7, name="Clothes")], None, suggestion="photos",
        existing_of=lambda set_id: (there, ["t_shirt", "hat"]) if set_id == 7 else ({}, ()),
    )  # fmt: skip
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.scan(lambda context: scan([folder], progress=context.progress, cancelled=context.cancelled))
    wait_until(lambda: dialog.start.isEnabled())
    yield dialog
    assert tasks.shutdown()


def _column(model, column):
    return [model.index(row, column).data() for row in range(model.rowCount())]


def test_says_what_becomes_which_label_and_what_stays_out(dialog):
    assert _column(dialog.labels_model, 0) == ["hat", "t_shirt"]
    assert dialog.start.text() == "Import 3 photos"
    assert "1 cannot be read" in dialog.below.text()
    dialog.photos.view.setCurrentText("Cannot be read")
    assert _column(dialog.photos.filter_model, 0) == ["notes.jpg"]
    assert (
        "notes.jpg" in dialog.photos.filter_model.index(0, 3).data()
        or "image" in dialog.photos.filter_model.index(0, 3).data()
    )


def test_another_training_set_shows_what_is_there_already(dialog, qtbot):
    dialog.target.setCurrentIndex(dialog.target.findData(7))
    wait_until(lambda: dialog.start.text() == "Import 2 photos" and dialog.start.isEnabled())
    assert "1 there already" in dialog.below.text()
    assert not dialog.name.isVisible()
    dialog.target.setCurrentIndex(dialog.target.findData(None))
    assert dialog.start.text() == "Import 3 photos"


def test_labels_and_photos_are_set_right_in_place(dialog, qtbot):
    hats = dialog.labels_model.index(0, 0)
    assert dialog.labels_model.setData(hats, "Caps & Hats")
    assert _column(dialog.labels_model, 0) == ["caps_hats", "t_shirt"]
    assert not dialog.labels_model.setData(dialog.labels_model.index(0, 0), "!!!")
    assert "cannot be a label" in dialog.notes.text()
    dialog.photos.items.selectAll()
    qtbot.mouseClick(dialog.photos.skip, Qt.MouseButton.LeftButton)
    assert not dialog.start.isEnabled()
    assert dialog.start.toolTip() == "There is nothing to send"
    dialog.photos.items.selectAll()
    qtbot.mouseClick(dialog.photos.include, Qt.MouseButton.LeftButton)
    assert dialog.start.isEnabled()


def test_agreeing_hands_over_the_plan_and_the_new_name(dialog, qtbot):
    dialog.name.clear()
    assert dialog.start.toolTip() == "Give the new training set a name"
    qtbot.keyClicks(dialog.name, "Summer")
    with qtbot.waitSignal(dialog.agreed, timeout=60_000) as caught:
        qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    order = caught.args[0]
    assert (order.training_set_id, order.new_name) == (None, "Summer")
    assert sorted(upload.label for upload in order.plan.uploads()) == ["hat", "t_shirt", "t_shirt"]


def test_escape_ends_the_look_and_agrees_to_nothing(dialog, qtbot):
    with qtbot.assertNotEmitted(dialog.agreed), qtbot.waitSignal(dialog.rejected, timeout=60_000):
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)


def test_near_duplicates_are_found_while_the_plan_is_shown(qtbot, tmp_path, theme, tasks):
    folder = tmp_path / "hats"
    folder.mkdir()
    picture = Image.effect_mandelbrot((320, 240), (-2, -1.2, 0.6, 1.2), 60).convert("RGB")
    picture.save(folder / "a.png")
    picture.resize((160, 120)).save(folder / "b.jpg", quality=70)
    dialog = ImportDialog(
        theme, tasks, [], None, suggestion="hats", existing_of=lambda _id: ({}, ()),
        similar=lambda plan, _id, context: find_similar(plan, [], cancelled=context.cancelled),
    )  # fmt: skip
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.scan(lambda context: scan([folder], cancelled=context.cancelled))
    wait_until(lambda: "1 looks like a photo already in the set" in dialog.below.text())
    dialog.photos.view.setCurrentText("Look nearly the same")
    assert _column(dialog.photos.filter_model, 0) == ["b.jpg"]
    assert "“a.png” of this import" in dialog.photos.filter_model.index(0, 3).data()
    assert dialog.start.text() == "Import 2 photos"
    dialog.close()


def test_each_photo_has_a_small_picture_and_names_take_the_width_that_notes_leave(dialog, qtbot):
    model, header = dialog.photos.items_model, dialog.photos.items.header()

    def colors():
        """Color in the middle of each photo's icon, by name; transparent before it is there."""
        found = {}
        for row in range(model.rowCount()):
            image = model.index(row, 0).data(Qt.ItemDataRole.DecorationRole).pixmap(28).toImage()
            found[model.index(row, 0).data()] = image.pixelColor(image.rect().center()).name(QColor.NameFormat.HexArgb)
        return found

    wanted = {"blue.png": "#ff0000ff", "green.png": "#ff008000", "red.png": "#ffff0000", "notes.jpg": "#00000000"}
    wait_until(lambda: colors() == wanted)
    dialog.photos.view.setCurrentText("To be sent")
    assert header.sectionSize(0) > 2 * header.sectionSize(1)
    assert dialog.photos.items.visualRect(dialog.photos.filter_model.index(0, 0)).height() >= 28
