"""Labelling in the real program, by keyboard and mouse: keys, letters, going on, suspects, drags, undo over a restart."""

import pytest
from PySide6.QtCore import QPoint

from apitorch_desktop.ui.labeling.key_strip import KeyChip
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer as summer_set
from tests.helpers.widget_driver import choose, press_cell, to_grid

LABELS = ("dress", "hat", "pants")
EACH = 4


@pytest.fixture
def summer(photos, tmp_path, home):
    return summer_set(photos, tmp_path, LABELS, EACH)


TOTAL = len(LABELS) * EACH


def ready(made, total=TOTAL):
    program.wait(lambda: made.model.total == total and made.session.open_set.listed, "the photos")
    program.wait(made.photos.grid.isVisible, "the grid")
    made.photos.grid.setFocus()
    program.wait(made.photos.grid.hasFocus, "the focus in the grid")


def press_photo(made, row, **how):
    press_cell(made.photos.grid, made.photos.grid.images.index(row), **how)


def counts(made):
    return dict(made.session.open_set.counts)


def settled(made, count):
    """The journal knows so many edits since the set was imported."""
    stores, connection = made.session.stores, made.session.connection
    program.wait(
        lambda: [one.stage for one in stores.edits.journal.rows(connection.id)].count("done") == count + 1,
        f"{count} edits in the journal",
    )


@pytest.mark.action("edit.undo", "edit.redo")
def test_by_key_by_letters_and_back_again(monkeypatch, summer):
    def steps(made):
        ready(made)
        grid, strip, model = made.photos.grid, made.labeling.strip, made.model
        assert [(chip.key, chip.name) for chip in strip.chips] == [("1", "dress"), ("2", "hat"), ("3", "pants")]
        press_photo(made, 1)
        moved = model.selected_ids()
        pointer.key("3")
        program.wait(lambda: counts(made) == {"dress": 3, "hat": 4, "pants": 5}, "the photo moved by key")
        assert model.selected_ids() == moved  # the selection stays
        assert grid.currentIndex().row() == 1  # and so does the focus: at its place, for the next one
        assert grid.hasFocus()

        pointer.write("ha")  # letters pick
        program.wait(made.labeling.picker.isVisible, "the picker")
        program.wait(lambda: made.labeling.picker.line.text() == "ha", "the letters")
        pointer.key("Return")
        program.wait(lambda: counts(made) == {"dress": 3, "hat": 5, "pants": 4}, "the photo moved by letters")
        assert grid.hasFocus()

        pointer.write("scarf")  # or make
        program.wait(lambda: made.labeling.picker.line.text() == "scarf", "the letters")
        pointer.key("Return")
        program.wait(lambda: counts(made).get("scarf") == 1, "a new label")
        program.wait(lambda: made.labeling.keys.key("scarf") == "4", "its key")
        assert made.labeling.keys.key("pants") == "3"  # keys that were used stay
        settled(made, 3)
        pointer.write("zz")
        program.wait(made.labeling.picker.isVisible, "the picker")
        pointer.key("Escape")
        program.wait(grid.hasFocus, "the focus back in the grid")

        for _ in range(3):
            pointer.key("ctrl+z")
        program.wait(lambda: counts(made) == dict.fromkeys(LABELS, 4), "all undone")
        pointer.key("ctrl+shift+z")
        program.wait(lambda: counts(made) == {"dress": 3, "hat": 4, "pants": 5}, "one done again")

    def next_start(made):
        ready(made)
        pointer.key("ctrl+y")
        program.wait(lambda: counts(made) == {"dress": 3, "hat": 5, "pants": 4}, "the journal has survived")
        pointer.key("ctrl+z", "ctrl+z")
        program.wait(lambda: counts(made) == dict.fromkeys(LABELS, 4), "all undone")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0


def test_a_key_is_given_to_another_label_and_that_is_remembered(monkeypatch, summer):
    def steps(made):
        ready(made)
        strip = made.labeling.strip
        program.press(lambda: next(one for one in strip.findChildren(KeyChip) if one.name == "dress"), button=3)
        choose("pants")
        program.wait(lambda: made.labeling.keys.shown() == {"1": "pants", "2": "hat", "3": "dress"}, "the keys")
        hints = {node.text: node.hint for node in made.central_widget.tree.model.top()[0].children}
        assert hints == {"dress": "3", "hat": "2", "pants": "1"}

    def next_start(made):
        ready(made)
        program.wait(lambda: made.labeling.keys.label("1") == "pants", "the keys as they were chosen")
        press_photo(made, 0)
        chip = next(one for one in made.labeling.strip.findChildren(KeyChip) if one.name == "pants")
        program.press(chip)
        program.wait(lambda: counts(made)["pants"] == 5, "the photo moved by its button")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0


def test_going_on_labels_one_photo_after_the_other(monkeypatch, summer):
    def steps(made):
        ready(made)
        grid, model = made.photos.grid, made.model
        second, third = model.image(1).image_id, model.image(2).image_id
        press_photo(made, 0)
        program.press(made.labeling.strip.advance)
        pointer.key("2")
        program.wait(lambda: counts(made)["hat"] == 5, "the first")
        program.wait(lambda: model.selected_ids() == [second], "the next one selected")
        pointer.key("1")  # right already: on to the next
        program.wait(lambda: model.selected_ids() == [third], "the one after that")
        assert counts(made)["dress"] == 3
        pointer.key("Return")
        program.wait(made.photos.big.isVisible, "full size")
        pointer.key("2")
        program.wait(lambda: counts(made)["hat"] == 6, "labelled at full size")
        assert made.photos.big.image().image_id != third
        pointer.key("Escape")
        program.wait(grid.hasFocus, "the grid")

    assert program.run(monkeypatch, steps) == 0


def test_labels_sorted_by_count_stay_where_they_are_until_sorted_again(monkeypatch, summer):
    def order(made):
        return [(group.label, len(group.images)) for group in made.model.groups]

    def sort(made, words):
        program.press(made.central_widget.toolbar.sort)
        choose(words)

    def steps(made):
        ready(made)
        grid = made.photos.grid
        grid.set_cell_size(280)  # so that there is something to scroll
        press_photo(made, 0)
        pointer.key("2")
        program.wait(lambda: counts(made) == {"dress": 3, "hat": 5, "pants": 4}, "three counts")
        sort(made, "Smallest label first")
        program.wait(lambda: order(made) == [("dress", 3), ("pants", 4), ("hat", 5)], "the order of the counts")
        to_grid(made)

        press_photo(made, 4)  # a pair of pants, to the dresses
        image, place = made.model.image(4).image_id, grid.top()
        assert place > 0
        pointer.key("1")
        program.wait(lambda: dict(order(made)) == {"dress": 4, "pants": 3, "hat": 5}, "labelled")
        assert [label for label, _ in order(made)] == ["dress", "pants", "hat"], "no label has changed its place"
        assert (made.model.selected_ids(), grid.currentIndex().row(), grid.top()) == ([image], 5, place)
        assert grid.hasFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: order(made) == [("dress", 3), ("pants", 4), ("hat", 5)], "undone, in the same places")
        pointer.key("ctrl+shift+z")
        program.wait(lambda: order(made) == [("dress", 4), ("pants", 3), ("hat", 5)], "done again")

        sort(made, "Smallest label first")
        program.wait(lambda: order(made) == [("pants", 3), ("dress", 4), ("hat", 5)], "sorted again")

        bar = grid.verticalScrollBar()
        bar.setValue(bar.maximum())
        to_grid(made)
        pointer.key("ctrl+z")  # the pair of pants goes back to the top, which is out of sight
        program.wait(lambda: dict(order(made)) == {"pants": 4, "dress": 3, "hat": 5}, "undone once more")
        back = made.model.index(made.model.row_of(image))
        program.wait(lambda: grid.viewport().rect().contains(grid.visualRect(back).center()), "the photo in sight")

    assert program.run(monkeypatch, steps) == 0


def drag_inside(start, target):
    steps = ["mousemove", start.x(), start.y(), "mousedown", 1, "sleep", 0.1]
    for part in (0.2, 0.5, 0.8, 1.0):
        at = start + QPoint(round((target.x() - start.x()) * part), round((target.y() - start.y()) * part))
        steps += ["mousemove", at.x(), at.y(), "sleep", 0.08]
    pointer.xdotool(*steps, "sleep", 0.1, "mouseup", 1)


def test_a_selection_is_dragged_to_the_tree_and_to_a_header(monkeypatch, summer):
    def steps(made):
        ready(made)
        grid, tree = made.photos.grid, made.central_widget.tree
        press_photo(made, 0)
        pointer.key("shift+Right")
        program.wait(lambda: len(made.model.selection) == 2, "two selected")
        node = next(child for child in tree.model.top()[0].children if child.text == "pants")
        target = pointer.center(tree.view.viewport(), tree.view.visualRect(tree.model.index_of(node)))
        drag_inside(pointer.center(grid.viewport(), grid.visualRect(grid.images.index(1))), target)
        program.wait(lambda: counts(made) == {"dress": 2, "hat": 4, "pants": 6}, "two in the tree's label")
        program.wait(lambda: node.count == 6, "the tree's count")

        header = grid.rect_of(grid.content.header(1))
        drag_inside(
            pointer.center(grid.viewport(), grid.visualRect(grid.images.index(0))),
            pointer.center(grid.viewport(), header),
        )
        program.wait(lambda: counts(made) == {"dress": 1, "hat": 5, "pants": 6}, "one on the header's label")

    assert program.run(monkeypatch, steps) == 0
