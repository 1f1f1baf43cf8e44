"""Where a drop goes: into the training set that was just made, through a plan for a folder, as the hint says."""

import shutil

import pytest
from PySide6.QtCore import QPoint, QRect

from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.import_plan import closed, shown_plan
from tests.helpers.summer_set import summer

CORNER = QPoint(1500, 920)


@pytest.fixture
def flat(photos, tmp_path):
    """A folder of photos without sub-folders."""
    place = tmp_path / "Holidays"
    place.mkdir()
    for photo in sorted((photos / "test" / "hat").iterdir())[:3]:
        shutil.copy(photo, place / photo.name)
    return place


def counts(made, name):
    client = made.session.workspace.client
    found = next(training_set for training_set in client.training_sets() if training_set.name == name)
    return {label.label: label.count for label in client.labels(found.id)}


def test_a_folder_goes_through_a_plan_into_the_set_that_was_just_made(monkeypatch, photos, flat, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)

    def steps(made):
        program.wait(lambda: made.model.total == 4 and made.photos.grid.isVisible(), "the photos")
        frame, hints = made.central_widget, []
        aim = frame.drop_overlay.aim
        monkeypatch.setattr(
            frame.drop_overlay, "aim", lambda part, text, **how: (text and hints.append(text), aim(part, text, **how))
        )

        program.press(frame.tree.add)
        pointer.write("Autumn")
        pointer.key("Return")
        program.wait(lambda: made.session.open_set.training_set.name == "Autumn", "the new set opened")
        program.wait(frame.empty.isVisible, "the page of an empty set")

        assert pointer.drag([flat], pointer.center(frame.pages), CORNER) == "dropped"
        plan = shown_plan()
        assert hints[-1] == "Drop to add to “Autumn”"
        assert plan.target.currentText() == "Autumn"
        program.press(plan.start)
        program.wait(lambda: made.model.total == 3, "the photos in the new set")
        program.wait(lambda: counts(made, "Autumn") == {"holidays": 3}, "the photos in the service")
        made.window.activateWindow()

        onto_a_label(made, hints)
        beside_the_sets(made, hints)
        assert counts(made, "Summer") == {"dress": 2, "hat": 2}

    def onto_a_label(made, hints):
        """A folder on a label: a plan as well, with its photos under that label; nothing is sent before."""
        grid = made.photos.grid
        program.wait(lambda: grid.isVisible() and dialog(ImportDialog) is None, "the grid")
        assert pointer.drag([flat], pointer.center(grid.viewport(), QRect(60, 60, 4, 4)), CORNER) == "dropped"
        plan = shown_plan()
        assert hints[-1] == "Import the folder into this set: a plan comes first"
        assert plan.target.currentText() == "Autumn"
        closed(made)
        assert counts(made, "Autumn") == {"holidays": 3}

    def beside_the_sets(made, hints):
        """A photo below all rows of the tree makes a new set, as the hint says."""
        view = made.central_widget.tree.view
        below = view.viewport().rect()  # not at its lower end: the card below grows when the classifier is ready
        below.setTop(below.height() // 2)
        photo = min(flat.iterdir())
        assert pointer.drag([photo], pointer.center(view.viewport(), below), CORNER) == "dropped"
        plan = shown_plan()
        assert hints[-1] == "Make a new training set of it"
        assert plan.target.currentData() is None
        closed(made)

    assert program.run(monkeypatch, steps) == 0
