"""The whole way, once: a folder of photos dropped on the real program, an answer, its correction, the right answer."""

import json
import os
import shutil

import pytest
from PySide6.QtCore import QPoint

from apitorch_desktop.ui.classify.feedback import FeedbackDialog
from apitorch_desktop.ui.importer.dialog import ImportDialog
from apitorch_desktop.utils.paths import service_folder
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer

LABELS = ("dress", "pants", "shoes", "t-shirt")
EACH = 14
CORNER = QPoint(1500, 920)
"""Where the other program's window is: the screen is 1600 × 1000, ours 1440 × 900."""


@pytest.fixture
def folder(photos, tmp_path):
    """Some photos of each label, and one file that is no picture."""
    place = tmp_path / "Summer"
    for label in LABELS:
        (place / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
            shutil.copy(photo, place / label)
    (place / "dress" / "not a photo.jpg").write_text("no picture")
    return place


def wrongly_classified(made, photos):
    """A held-out photo that the classifier really has wrong, and its right label."""
    workspace = made.session.workspace
    for label in LABELS:
        for photo in sorted((photos / "test" / label).iterdir()):
            [answer] = workspace.classify(["summer"], path=photo)
            if answer.label != label.replace("-", "_"):
                return photo, label.replace("-", "_")
    pytest.skip("the classifier has every one of the photos right")


def test_from_a_folder_of_photos_to_a_corrected_classification(monkeypatch, folder, photos):
    pids = []

    def steps(made):
        session, frame = made.session, made.central_widget
        program.wait(lambda: session.sets_confirmed, "the embedded service")
        program.wait(lambda: frame.empty.title() == "Drop a folder of photos here", "the empty state")
        import_the_folder(made)
        program.wait(lambda: opened_classifier(made) == "ready", "the classifier of the new training set")
        photo, right = wrongly_classified(made, photos)
        classify_and_correct(made, photo, right)
        pids.append(service_pid(made))

    def import_the_folder(made):
        assert pointer.drag([folder], pointer.center(made.central_widget.pages), CORNER) == "dropped"
        plan = program.wait(lambda: program.dialog(ImportDialog), "the plan")
        program.wait(plan.start.isEnabled, "the look at the photos")
        assert plan.start.text() == f"Import {len(LABELS) * EACH} photos"
        assert "1 cannot be read" in plan.below.text()
        model, total = made.model, len(LABELS) * EACH
        program.press(plan.start)
        program.wait(lambda: model.total == total, "the photos in the grid")
        node = program.wait(
            lambda: next((one for one in made.central_widget.tree.model.top() if one.text == "Summer"), None),
            "the tree",
        )
        program.wait(lambda: node.count == total, "the count in the tree")
        assert {child.text: child.count for child in node.children} == dict.fromkeys(
            ("dress", "pants", "shoes", "t_shirt"), EACH
        )
        first = model.image(0).image_id
        program.wait(lambda: made.photos.loader.pixmap(first) is not None, "the first thumbnail")

    def classify_and_correct(made, photo, right):
        assert pointer.drag([photo], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        card = program.wait(lambda: made.classify_panel.cards.get("summer"), "a card for the answer")
        answer = program.wait(lambda: card.answer, "the answer")
        assert answer.label != right
        before = made.session.open_set.counts[right]
        program.press(card.wrong)
        question = program.wait(lambda: program.dialog(FeedbackDialog), "the feedback dialog")
        program.wait(question.isActiveWindow, "the focus in the feedback dialog")
        pointer.write(right)
        program.wait(lambda: question.chosen() == right, "the label typed")
        pointer.key("Return")
        program.wait(lambda: card.answer is not None and card.answer.label == right, "the second answer, right")
        program.wait(lambda: made.session.open_set.counts[right] == before + 1, "the photo under its label")

    assert program.run(monkeypatch, steps) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def opened_classifier(made):
    open_set = made.session.open_set
    classifier = open_set.classifier_status.classifier if open_set is not None else None
    return classifier.status if classifier is not None else None


def service_pid(made):
    return json.loads((service_folder() / "running.json").read_text())["pid"]
