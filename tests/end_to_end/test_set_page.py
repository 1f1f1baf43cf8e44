"""The page about a training set in the real program: opened by its row and by keys, its figures, its actions."""

import pytest
from PySide6.QtWidgets import QLineEdit

from apitorch_desktop.ui.exporter.controller import ONNX, ExportDialog
from apitorch_desktop.ui.set_page.page import forecast_text
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE
from apitorch_desktop.utils.text import size as size_text
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer

LABELS = ("dress", "hat", "pants")
EACH = 6


@pytest.mark.action("set.page", "set.export_classifier", "set.delete")
def test_the_page_of_a_set_shows_what_is_in_it_and_does_what_its_menu_does(monkeypatch, photos, tmp_path, home):
    folder = summer(photos, tmp_path, LABELS, EACH)
    size = sum(path.stat().st_size for path in folder.glob("*/*"))

    def steps(made):
        program.wait(lambda: made.model.total == len(LABELS) * EACH, "the photos")
        program.wait(lambda: learned(made) == len(LABELS) * EACH, "the classifier of all photos")
        page = made.set_page
        press_row(made)
        program.wait(page.isVisible, "the page, by the row of the open set")
        program.wait(lambda: "18 photos under 3 labels" in page.figures.text(), "the figures")
        assert size_text(size) in page.figures.text()
        metrics = made.session.open_set.classifier_status.metrics
        assert [(row.label, row.count, row.accuracy) for row in page.model.rows] == [
            (each.label, each.count, each.accuracy) for each in metrics.labels
        ]
        forecast(made)
        describe(made)
        through_the_keys(made)
        export(made)
        delete(made)

    def learned(made):
        metrics = made.session.open_set.classifier_status.metrics
        return sum(each.count for each in metrics.labels) if metrics else 0

    def forecast(made):
        page = made.set_page
        program.wait(lambda: page.basis.text().startswith("Estimated from "), "what more photos would bring")
        found = made.session.workspace.client.forecast("summer")
        assert found.status == "ready"
        shown = [row.forecast for row in page.model.rows]
        assert [(row.label, row.gain) for row in shown] == [(each.label, each.gain) for each in found.data]
        assert page.advice.text() == forecast_text(found)
        assert not page.table.isColumnHidden(3)

    def press_row(made):
        tree = made.central_widget.tree
        program.press(tree.view.viewport(), tree.view.visualRect(tree.model.index_of(tree.model.top()[0])))

    def described(made):
        [found] = made.session.workspace.client.training_sets()
        return found.description

    def describe(made):
        page = made.set_page
        program.press(page.description)
        pointer.write("What people wear in summer")
        pointer.key("Return")
        program.wait(lambda: described(made) == "What people wear in summer", "the description in the service")
        program.wait(lambda: made.session.training_sets[0].description == "What people wear in summer", "in the window")
        program.press(page.table.viewport(), page.table.visualRect(page._sorted.index(0, 0)))
        pointer.key("ctrl+z")
        program.wait(lambda: described(made) == "", "the description undone")
        program.wait(lambda: page.description.text() == "", "the line empty again")

    def through_the_keys(made):
        page = made.set_page
        pointer.key("ctrl+i")
        program.wait(made.photos.grid.hasFocus, "the photos, by the key")
        pointer.key("ctrl+i")
        program.wait(page.table.hasFocus, "the page, by the key")
        pointer.key("Home", "Down", "Return")
        program.wait(made.photos.grid.isVisible, "the photos of the second label")
        pointer.key("ctrl+i")
        program.wait(page.table.hasFocus, "the page again")
        assert page.table.currentIndex().data(ROW_ROLE).label == "hat"
        pointer.key("Escape")
        program.wait(made.photos.grid.hasFocus, "the photos, by Escape")
        pointer.key("ctrl+i")

    def export(made):
        target = tmp_path / "out"
        program.press(made.set_page.buttons["set.export_classifier"])
        asked = program.wait(lambda: program.dialog(ExportDialog), "the question where to")
        program.wait(asked.isActiveWindow, "the focus in it")
        assert asked.format.currentData() == ONNX
        program.press(asked.folder)
        assert isinstance(asked.focusWidget(), QLineEdit)
        pointer.key("ctrl+a")
        pointer.write(str(target))
        pointer.key("Return")
        program.wait((target / "summer.onnx").exists, "the file")

    def delete(made):
        client = made.session.workspace.client
        made.window.activateWindow()
        program.wait(made.window.isActiveWindow, "the focus in the window")
        program.press(made.set_page.buttons["set.delete"])
        program.wait(lambda: not client.training_sets(), "the set deleted")
        program.wait(lambda: not made.set_page.isVisible(), "the page gone with it")
        pointer.key("ctrl+z")
        program.wait(lambda: [found.name for found in client.training_sets()] == ["Summer"], "the set again")
        program.wait(lambda: made.model.total == len(LABELS) * EACH, "its photos")

    assert program.run(monkeypatch, steps) == 0
