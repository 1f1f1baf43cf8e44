"""The tree shows every training set as the service has it, whoever changed it, and so do the menus of labels."""

import shutil
import subprocess
import sys

from PySide6.QtCore import QPoint

from apitorch_desktop.ui.importer.dialog import ImportDialog
from apitorch_desktop.ui.sidebar.model import RowType
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.summer_set import summer

CORNER = QPoint(1500, 920)


def in_the_service(made):
    """Training set → label → photos, as the service counts them."""
    client = made.session.workspace.client
    return {
        found.name: {label.label: label.count for label in client.labels(found.id)} for found in client.training_sets()
    }


def in_the_tree(made):
    return {
        row.text: {child.text: child.count for child in row.children if child.row_type is RowType.LABEL}
        for row in made.central_widget.tree.model.top()
        if row.row_type is RowType.TRAINING_SET
    }


def in_the_menus(made):
    """The same, as the menus of *Add to set* are filled with it."""
    return {
        found.name: dict(zip(found.labels, found.counts, strict=True))
        for found in made.session.training_sets
        if isinstance(found.counts, list)
    }


def same_everywhere(made, expected):
    program.wait(lambda: in_the_service(made) == expected, f"{expected} in the service: {in_the_service(made)}")
    program.wait(lambda: in_the_tree(made) == expected, f"{expected} in the tree: {in_the_tree(made)}")
    program.wait(lambda: in_the_menus(made) == expected, f"{expected} in the menus: {in_the_menus(made)}")


def press_set(made, name):
    view, model = made.central_widget.tree.view, made.central_widget.tree.model
    index = model.index_of(next(row for row in model.top() if row.text == name))
    view.scrollTo(index)
    program.press(view.viewport(), view.visualRect(index))
    program.wait(lambda: made.session.open_set.training_set.name == name, f"“{name}” opened")
    program.wait(lambda: made.session.open_set.listed, "its photos")


def test_a_set_just_imported_keeps_its_labels_and_counts_beside_another_one(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)
    folder = tmp_path / "Winter"
    for label, first, last in (("pants", 0, 3), ("shoes", 0, 2)):
        (folder / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[first:last]:
            shutil.copy(photo, folder / label)
    old = {"Summer": {"dress": 2, "hat": 2}}

    def steps(made):
        program.wait(lambda: made.model.total == 4 and made.photos.grid.isVisible(), "the photos")
        tree = made.central_widget.tree.view
        below = tree.viewport().rect()  # not at its lower end: the card below grows when the classifier is ready
        below.setTop(below.height() // 2)
        assert pointer.drag([folder], pointer.center(tree.viewport(), below), CORNER) == "dropped"
        plan = program.wait(lambda: dialog(ImportDialog), "the plan")
        program.wait(plan.start.isEnabled, "the look at the photos")
        program.press(plan.start)
        program.wait(lambda: made.session.open_set.training_set.name == "Winter", "the new set opened")
        program.wait(lambda: made.model.total == 5, "its photos")
        made.window.activateWindow()
        same_everywhere(made, old | {"Winter": {"pants": 3, "shoes": 2}})

        press_set(made, "Summer")
        same_everywhere(made, old | {"Winter": {"pants": 3, "shoes": 2}})

        in_a_terminal(made)
        same_everywhere(made, old | {"Winter": {"pants": 3, "shoes": 2, "coat": 1}})
        press_set(made, "Winter")
        program.wait(lambda: made.model.total == 6, "the photo from the terminal")
        same_everywhere(made, old | {"Winter": {"pants": 3, "shoes": 2, "coat": 1}})

    def in_a_terminal(made):
        (folder / "coat").mkdir()
        shutil.copy(min((photos / "train" / "skirt").iterdir()), folder / "coat")
        words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Winter"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as terminal:
            program.wait(lambda: terminal.poll() is not None, "the end of the command")
            assert terminal.returncode == 0

    assert program.run(monkeypatch, steps) == 0
