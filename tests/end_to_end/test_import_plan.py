"""The import plan set right in place by pointer and keys: what the service holds afterwards is what was decided."""

import hashlib
import shutil

import pytest
from PIL import Image
from PySide6.QtCore import QPoint

from apitorch_desktop.dataset.importer.plan import ItemStatus
from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.image_samples import raw_photo, saved, scene
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import pick, press_cell, tick

CORNER = QPoint(1500, 920)
EACH = 3


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def before(photos, tmp_path, home):
    """What “Summer” holds: label → sha256."""
    place = summer(photos, tmp_path, ("dress", "hat"), EACH)
    return {label: sorted(map(sha, (place / label).iterdir())) for label in ("dress", "hat")}


@pytest.fixture
def more(photos, tmp_path):
    """A folder with everything in it that a plan has something to say about."""
    place = tmp_path / "More"
    hats, dresses, pants = (sorted((photos / "train" / label).iterdir()) for label in ("hat", "dress", "pants"))
    for label in ("dress", "hat", "pants"):
        (place / label).mkdir(parents=True)
    (place / "hat" / "broken.jpg").write_text("no picture")
    shutil.copy(hats[0], place / "hat" / "there.jpg")
    for name, photo in (("alike.jpg", hats[1]), ("alike too.jpg", hats[2])):
        with Image.open(photo) as picture:
            picture.convert("RGB").resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(place / "hat" / name)
    shutil.copy(dresses[EACH], place / "dress" / "both.jpg")
    shutil.copy(dresses[EACH], place / "hat" / "both.jpg")
    shutil.copy(hats[EACH], place / "dress" / "a hat.jpg")
    shutil.copy(hats[EACH + 1], place / "pants" / "another hat.jpg")
    (place / "dress" / "shot.NEF").write_bytes(raw_photo())
    (place / "dress" / "shot.jpg").write_bytes(saved(scene(800, 600), "JPEG"))
    for number, photo in enumerate(pants[:2]):
        shutil.copy(photo, place / "pants" / f"pants {number}.jpg")
    return place


def rows(plan):
    model = plan.photos.filter_model
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def cell(plan, name, column=0, label=None):
    model = plan.photos.filter_model
    for row in range(model.rowCount()):
        if model.index(row, 0).data() == name and label in (None, model.index(row, 1).data()):
            return model.index(row, column)
    raise AssertionError(f"{name} is not among {rows(plan)}")


def item(plan, name, label=None):
    return next(one for one in plan.plan.items if one.name == name and label in (None, one.label))


def write_label(plan, label):
    """Into the cell that is being edited."""
    items = plan.photos.items
    program.wait(lambda: items.state() == items.State.EditingState, "the label being edited")
    pointer.key("ctrl+a")
    pointer.write(label)
    pointer.key("Return")


def test_each_is_set_right_in_place_and_sent_as_decided(monkeypatch, before, more):
    after = {}

    def steps(made):
        program.wait(lambda: made.model.total == 2 * EACH and made.session.open_set.listed, "the photos")
        program.wait(made.photos.grid.isVisible, "the grid")
        assert pointer.drag([more], pointer.center(made.photos.grid), CORNER) == "dropped"
        plan = program.wait(lambda: dialog(ImportDialog), "the plan")
        program.wait(
            lambda: "look like photos" in plan.below.text() and not plan._checks.similarity_text, "the whole plan"
        )
        program.wait(plan.isActiveWindow, "the focus in the plan")
        assert plan.target.currentText() == "Summer"
        counts = plan.plan.counts()
        assert counts[ItemStatus.PROBLEM] == counts[ItemStatus.THERE] == 1
        assert counts[ItemStatus.SIMILAR] == counts[ItemStatus.OTHER_LABEL] == 2
        assert plan.start.text() == "Import 9 photos"
        unreadable(plan)
        alike(plan)
        two_labels(plan)
        one_label_by_double_click(plan)
        labels_by_keys(plan)
        a_whole_label(plan)
        there_already(plan)
        a_raw_photo(plan)
        assert plan.start.text() == "Import 9 photos"
        program.press(plan.start)
        program.wait(lambda: made.model.total == 2 * EACH + 9, "what was decided, in the grid")
        groups = made.session.workspace.client.images(made.session.open_set.training_set.id).data
        after.update({group.label: sorted(image.sha256 for image in group.images) for group in groups})

    def unreadable(plan):
        pick(plan.photos.view, "Cannot be read")
        assert rows(plan) == ["broken.jpg"]
        assert cell(plan, "broken.jpg", 3).data()
        tick(plan.photos.items, cell(plan, "broken.jpg"))
        program.press(plan.photos.include)  # no way: it cannot be sent
        assert item(plan, "broken.jpg").standing is ItemStatus.PROBLEM

    def alike(plan):
        """Both left out; one of them taken in again after all."""
        pick(plan.photos.view, "Look nearly the same")
        assert sorted(rows(plan)) == ["alike too.jpg", "alike.jpg"]
        press_cell(plan.photos.items, cell(plan, "alike.jpg"))
        pointer.key("ctrl+a")
        program.press(plan.photos.skip)
        program.wait(lambda: plan.start.text() == "Import 7 photos", "both left out")
        pick(plan.photos.view, "Skipped")
        tick(plan.photos.items, cell(plan, "alike.jpg"))
        program.wait(lambda: sorted(rows(plan)) == ["alike too.jpg", "shot.NEF"], "one taken in again")

    def a_raw_photo(plan):
        """Its shot comes as JPEG; it is taken in beside it."""
        pick(plan.photos.view, "Skipped")
        assert cell(plan, "shot.NEF", 3).data() == "The same shot as “shot.jpg”."
        tick(plan.photos.items, cell(plan, "shot.NEF"))
        program.wait(lambda: item(plan, "shot.NEF").standing is not ItemStatus.LEFT_OUT, "the raw photo taken in")

    def two_labels(plan):
        """The photo is a dress: left out as a hat."""
        pick(plan.photos.view, "Under two labels")
        assert rows(plan) == ["both.jpg", "both.jpg"]
        press_cell(plan.photos.items, cell(plan, "both.jpg", label="hat"))
        pointer.key("space")
        program.wait(lambda: item(plan, "both.jpg", "dress").standing is ItemStatus.NEW, "no doubt about the other")
        assert item(plan, "both.jpg", "hat").standing is ItemStatus.LEFT_OUT

    def one_label_by_double_click(plan):
        pick(plan.photos.view, "All")
        press_cell(plan.photos.items, cell(plan, "a hat.jpg", 1), repeat=2)
        write_label(plan, "Hat")
        program.wait(lambda: item(plan, "a hat.jpg").label == "hat", "the label set right")
        assert plan.isVisible()

    def labels_by_keys(plan):
        """Enter gives the label, and does not import; F2 gives one to a single photo."""
        program.press(plan.photos.search)
        pointer.write("another")
        program.wait(lambda: rows(plan) == ["another hat.jpg"], "the photo found")
        pointer.key("Return")
        program.wait(plan.photos.items.hasFocus, "the focus in the list")
        pointer.key("Tab", "Tab", "Tab")
        program.wait(plan.photos.relabel.hasFocus, "the focus in the line for labels")
        pointer.write("cap")
        pointer.key("Return")
        program.wait(lambda: item(plan, "another hat.jpg").label == "cap", "the label given")
        program.wait(plan.photos.items.hasFocus, "the focus in the list again")
        pointer.key("F2")
        write_label(plan, "hat")
        program.wait(lambda: item(plan, "another hat.jpg").label == "hat", "the label set right")
        assert plan.isVisible()
        program.press(plan.photos.search)
        pointer.key("ctrl+a", "Delete")
        program.wait(lambda: len(rows(plan)) == len(plan.plan.items), "all")

    def a_whole_label(plan):
        """Renamed, it stays chosen; then one of its photos is left out, and taken in again."""
        press_cell(plan.labels, plan.labels_model.index(plan.labels_model.row_of("pants"), 0))
        program.wait(lambda: sorted(rows(plan)) == ["pants 0.jpg", "pants 1.jpg"], "its photos only")
        pointer.key("F2", "ctrl+a")
        pointer.write("Long pants")
        pointer.key("Return")
        program.wait(lambda: item(plan, "pants 0.jpg").label == "long_pants", "the label's other name")
        for there in (False, True):
            tick(plan.photos.items, cell(plan, "pants 0.jpg"))
            program.wait(lambda there=there: item(plan, "pants 0.jpg").included is there, "the tick")
            assert sorted(rows(plan)) == ["pants 0.jpg", "pants 1.jpg"]
        program.press(plan.photos.all_labels)
        program.wait(lambda: len(rows(plan)) == len(plan.plan.items), "all")

    def there_already(plan):
        """Nothing to do under the label where it is; it is wanted under another as well."""
        pick(plan.photos.view, "There already")
        assert rows(plan) == ["there.jpg"]
        press_cell(plan.photos.items, cell(plan, "there.jpg"))
        pointer.key("F2", "ctrl+a")
        pointer.write("dress")
        pointer.key("Return")
        program.wait(lambda: item(plan, "there.jpg").standing is ItemStatus.OTHER_LABEL, "brought in after all")

    assert program.run(monkeypatch, steps) == 0
    wanted = {
        "dress": [
            *before["dress"],
            *(sha(more / one) for one in ("dress/both.jpg", "hat/there.jpg", "dress/shot.NEF", "dress/shot.jpg")),
        ],
        "hat": [
            *before["hat"],
            *(sha(more / one) for one in ("hat/alike.jpg", "dress/a hat.jpg", "pants/another hat.jpg")),
        ],
        "long_pants": [sha(more / "pants" / f"pants {number}.jpg") for number in range(2)],
    }
    assert after == {label: sorted(images) for label, images in wanted.items()}
