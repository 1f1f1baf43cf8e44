"""The map in the real program: made beside the window, the lasso selects in the grid, keys label as there."""

import os

import pytest
from PySide6.QtCore import QPoint

from apitorch_desktop.service.classifiers.encoders import FOLDER
from apitorch_desktop.utils import paths
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer
from tests.vision.test_encoder_file import maps

LABELS = ("dress", "hat", "shoes")
EACH = 6


def drag(view, places):
    """Move the pointer along places in a widget with the left button pressed."""
    for number, place in enumerate(places):
        point = view.mapToGlobal(QPoint(*place))
        pointer.xdotool("mousemove", point.x(), point.y(), *(("mousedown", 1) if not number else ()))
        program.wait(lambda number=number: len(view._lasso) > number, "a corner of the lasso")
    pointer.xdotool("mouseup", 1)


@pytest.mark.action("set.map")
def test_the_map_selects_and_labels(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, LABELS, EACH)
    encoders = paths.service_folder() / FOLDER
    encoders.mkdir(parents=True, exist_ok=True)
    maps(encoders / "maps.onnx")

    def steps(made):
        program.wait(lambda: made.model.total == len(LABELS) * EACH, "the photos")
        program.wait(lambda: len(made.model.answers) == len(LABELS) * EACH, "Review")
        own = [each.name for each in made.session.workspace.client.encoders() if each.file == "maps.onnx"]
        page, view = made.map, made.map.view
        pointer.key("ctrl+shift+m")
        program.wait(page.isVisible, "the map")
        program.wait(lambda: len(view.ids) == len(LABELS) * EACH, "all photos on the map")
        program.wait(lambda: page.note.text() == "18 photos", "the finished map")
        width, height = view.width(), view.height()
        drag(view, [(3, 3), (width - 4, 3), (width - 4, height - 4), (3, height - 4), (3, 40)])
        program.wait(lambda: len(made.model.selected_ids()) == len(LABELS) * EACH, "everything in the lasso")
        program.wait(lambda: made.photos.loader.pixmap(view.ids[0]) is not None, "the thumbnails")
        if folder := os.environ.get("SHOTS"):
            made.window.grab().save(f"{folder}/map.png")

        chosen = next(image_id for image_id in view.ids if made.model.label_of(image_id) == "dress")
        place = view.place_of(chosen)
        assert view.nearest(place.toPointF()) is not None
        chosen = view.nearest(place.toPointF())
        program.press(view, view.rect().__class__(place, place))
        program.wait(lambda: made.model.selected_ids() == [chosen], "one photo by a click")
        target = next(label for label in LABELS if label != made.model.label_of(chosen))
        key = made.labeling.keys.key(target)
        pointer.key(key)
        client = made.session.workspace.client
        program.wait(lambda: made.model.label_of(chosen) == target, "the photo under the other label")
        set_id = made.session.open_set.training_set.id
        program.wait(
            lambda: sorted(row.count for row in client.labels(set_id)) == [EACH - 1, EACH, EACH + 1], "in the service"
        )
        colors = view._colors.tolist()
        page.coloring.setCurrentIndex(2)
        assert view._colors.tolist() != colors and view.legend[0][0] == "right"
        scale = view._scale
        pointer.key("plus")
        program.wait(lambda: view._scale > scale, "a nearer view")
        pointer.key("Home")
        program.wait(lambda: view._scale == pytest.approx(scale, rel=0.01), "all again")
        pointer.xdotool("mousemove", *view.mapToGlobal(place).toTuple(), "click", "--repeat", 2, "--delay", 40, 1)
        program.wait(made.photos.big.isVisible, "the photo full size")
        pointer.key("Escape")
        program.wait(page.isVisible, "the map again")

        client.update_training_set(set_id, encoder=own[0])
        made.session.refresh()
        program.wait(lambda: made.review.review.found.encoder == own[0], "a review by the own encoder")
        program.wait(lambda: page._update.final and page._update.encoder == own[0], "the map by it")
        pointer.key("Escape")
        program.wait(made.photos.grid.isVisible, "the photos")

    assert program.run(monkeypatch, steps) == 0
