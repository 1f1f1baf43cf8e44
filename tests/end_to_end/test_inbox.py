"""Photos without a label in the real program: imported with their split, labeled by key and by what the classifier says."""

import shutil
from collections import Counter

import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QGuiApplication

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.ui.exporter.controller import ExportDialog
from apitorch_desktop.ui.labeling.controller import ProposalDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.documented_program import coats, listed, run
from tests.helpers.import_plan import shown_plan
from tests.helpers.widget_driver import choose, press_cell

LABELS = ("dress", "hat")
EACH, WAITING = 6, 3


@pytest.fixture
def folder(photos, tmp_path):
    """A part for training with labels, and one for tests without: photos of hats, smaller than those of the first."""
    place = tmp_path / "Summer"
    for label in LABELS:
        (place / "train" / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
            shutil.copy(photo, place / "train" / label)
    (place / "test").mkdir()
    for number, photo in enumerate(sorted((place / "train" / "hat").iterdir())[:WAITING]):
        image = Image.open(photo)
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(place / "test" / f"{number}.png")
    return place


def there(made):
    """Label → splits of its images, as the service lists them."""
    open_set, client = made.session.open_set, made.session.workspace.client
    found = client.images(open_set.training_set.id).data
    return {label.label: sorted(image.known_split for image in label.images) for label in found if label.images}


TRAINED = {label: ["train"] * EACH for label in LABELS}
BEFORE = {**TRAINED, INBOX: ["test"] * WAITING}


def test_with_the_documented_calls_alone_photos_wait_on_this_machine(monkeypatch, photos, home):
    """Nothing of them is sent before they have a label; Undo takes it back from the service, also after a restart."""
    paths = sorted((photos / "train" / "dress").iterdir())[:7]

    def steps(made, _said):
        listed(made, 6)
        there = service.content(service.number)
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(paths[6]))])
        QGuiApplication.clipboard().setMimeData(mime)
        made.photos.grid.setFocus()
        pointer.key("ctrl+v")
        plan = shown_plan()
        assert plan.head.text().startswith("1 photo without a label yet, ")
        program.press(plan.start)
        program.wait(lambda: made.session.open_set.waiting == 1, "it waits")
        assert made.model.groups[0].label == INBOX
        program.wait(lambda: made.photos.loader.pixmap(made.model.image(0).image_id) is not None, "its thumbnail")
        assert service.content(service.number) == there
        made.window.activateWindow()
        grid = made.photos.grid
        press_cell(grid, made.model.index(0))
        program.wait(lambda: len(made.model.selection) == 1, "it is selected")
        pointer.key("1")
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 3, "it is sent with its label")
        program.wait(lambda: not made.session.open_set.waiting, "nothing waits")

    def next_start(made, _said):
        listed(made, 7)
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 2, "it is taken back")
        program.wait(lambda: made.session.open_set.waiting == 1, "it waits again")

    with coats(monkeypatch, paths) as service:
        run(monkeypatch, steps)
        run(monkeypatch, next_start)


@pytest.mark.action("label.accept_proposals", "photo.unlabel", "edit.undo")
def test_photos_wait_for_a_label_and_get_it_by_key_or_as_the_classifier_proposes(monkeypatch, folder, home):
    def steps(made):
        program.wait(lambda: made.session.sets_confirmed, "the embedded service")
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(folder))])
        QGuiApplication.clipboard().setMimeData(mime)
        pointer.key("ctrl+v")
        plan = shown_plan()
        assert plan.head.text().startswith("12 photos under 2 labels, 3 without a label, ")
        assert "3 photos without a label wait under “No label yet”." in plan.notes.text()
        assert "The photos keep their split: 12 train, 3 test." in plan.notes.text()
        assert plan.labels_model.index(2, 0).data() == "No label yet"
        program.press(plan.start)
        program.wait(lambda: made.model.total == 15 and made.session.open_set.listed, "the photos in the grid")
        program.wait(lambda: there(made) == BEFORE, "the photos in the service")
        assert [group.label for group in made.model.groups] == [INBOX, *LABELS]
        all_rows = [("No label yet", 3, ""), ("dress", 6, "1"), ("hat", 6, "2")]
        program.wait(lambda: rows(made) == all_rows, "the labels in the tree")
        made.photos.grid.setFocus()
        by_key(made)
        by_proposal(made)
        by_split(made)
        exported(made)

    def by_key(made):
        grid = made.photos.grid
        assert grid.inbox_hint.startswith("Press a label’s key")
        press_cell(grid, made.model.index(0))
        program.wait(lambda: len(made.model.selection) == 1, "one of them selected")
        pointer.key("1")
        program.wait(lambda: rows(made)[:2] == [("No label yet", 2, ""), ("dress", 7, "1")], "it moved by key")
        program.wait(lambda: there(made)["dress"] == ["test", *["train"] * EACH], "it moved in the service")
        pointer.key("ctrl+u")
        program.wait(lambda: rows(made)[0] == ("No label yet", 3, ""), "it waits again")
        program.wait(lambda: there(made) == BEFORE, "it waits in the service")

    def by_proposal(made):
        model = made.model
        program.wait(lambda: len(model.proposals()) == WAITING, "what the classifier proposes")
        assert {answer.label for _, answer in model.proposals()} == {"hat"}
        assert all(model.badge(image.image_id).startswith("hat? ") for image, _ in model.proposals())
        pointer.key("ctrl+shift+l")
        asked = program.wait(lambda: dialog(ProposalDialog), "how sure")
        program.wait(asked.isActiveWindow, "the focus in the dialog")
        program.press(asked.threshold)
        pointer.key("ctrl+a")
        pointer.write("1")
        program.wait(lambda: asked.start.text() == "Label 3 photos" and asked.start.isEnabled(), "all are sure enough")
        assert asked.below.text() == "3 hat."
        program.press(asked.start)
        program.wait(lambda: rows(made) == [("dress", 6, "1"), ("hat", 9, "2")], "the labels, and no inbox")
        assert [group.label for group in model.groups] == list(LABELS)
        program.wait(
            lambda: there(made) == {**TRAINED, "hat": [*["test"] * 3, *["train"] * 6]}, "the labels in the service"
        )
        made.window.activateWindow()
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: rows(made)[0] == ("No label yet", 3, ""), "all three wait again")
        program.wait(lambda: there(made) == BEFORE, "they wait in the service")
        slug = made.session.open_set.training_set.slug
        found = program.wait(lambda: made.session.workspace.client.classifier(slug), "the classifier")
        assert found.labels == list(LABELS)

    def by_split(made):
        search = made.central_widget.toolbar.search
        pointer.key("ctrl+f")
        program.wait(search.hasFocus, "the focus in the search")
        pointer.write("split:test")
        program.wait(lambda: made.model.shown == WAITING, "the photos of the split")
        assert {
            image.label for image in made.model.records_of([made.model.image(row).image_id for row in range(3)])
        } == {INBOX}
        assert "split: test" in made.model.index(0).data(3)

    def exported(made):
        """By the split that the photos have: those without a label lie loose in their part."""
        tree = made.central_widget.tree
        press_cell(tree.view, tree.model.index_of(tree.model.top()[0]), button=3)
        choose("Export…")
        asked = program.wait(lambda: dialog(ExportDialog), "the export dialog")
        program.wait(asked.isActiveWindow, "the focus in the dialog")
        assert asked.keep.isChecked()
        program.press(asked.folder)
        pointer.key("ctrl+a")
        pointer.write(str(folder.parent / "out"))
        program.wait(lambda: asked.folder.text() == str(folder.parent / "out"), "the folder")
        program.press(asked.start)
        written = folder.parent / "out" / made.session.open_set.training_set.slug
        program.wait(written.is_dir, "the export")
        found = [str(path.parent.relative_to(written)) for path in written.rglob("*") if path.is_file()]
        assert Counter(found) == {"train/dress": EACH, "train/hat": EACH, "test": WAITING}
        made.window.activateWindow()

    def rows(made):
        (node,) = [row for row in made.central_widget.tree.model.top() if row.training_set is not None]
        return [(child.text, child.count, child.hint) for child in node.children]

    assert program.run(monkeypatch, steps) == 0
