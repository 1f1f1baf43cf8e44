"""The grid by a real mouse on a real screen."""

import pytest
from PySide6.QtCore import QPoint

from tests.helpers.event_loop import turn, wait_until
from tests.helpers.grid_driver import cell_center, groups, image
from tests.helpers.x11_pointer import click, xdotool


@pytest.fixture
def filled(grid, model):
    """Lines of five: boots 8, hat 30, shirt 200."""
    model.set_groups(groups(8, 30, 200))
    turn()
    return grid


def chosen(view):
    return list(view.images.selection)


def at(view, row):
    point = cell_center(view, row)
    return point.x(), point.y()


def modified(key, *steps):
    xdotool("keydown", key, *steps, "keyup", key)


def header(view, label):
    position = [group.label for group in view.images.groups].index(label)
    return view.viewport().mapToGlobal(view.rect_of(view.content.header(position)).center())


def test_a_click_selects_one_and_nothing_opens(filled):
    opened = []
    filled.image_activated.connect(opened.append)
    click(cell_center(filled, 3))
    assert chosen(filled) == [3]
    click(cell_center(filled, 10))
    assert chosen(filled) == [10]
    assert filled.currentIndex().row() == 10
    assert opened == []


def test_it_acts_when_the_button_goes_down(filled):
    xdotool("mousemove", *at(filled, 2), "mousedown", 1)
    assert chosen(filled) == [2]
    xdotool("mouseup", 1)
    assert chosen(filled) == [2]


def test_ctrl_adds_and_takes_away(filled):
    click(cell_center(filled, 1))
    modified("ctrl", "mousemove", *at(filled, 3), "click", 1, "mousemove", *at(filled, 9), "click", 1)
    assert chosen(filled) == [1, 3, 9]
    modified("ctrl", "mousemove", *at(filled, 3), "click", 1)
    assert chosen(filled) == [1, 9]


def test_shift_selects_a_run_across_labels_and_ctrl_shift_adds_one(filled):
    click(cell_center(filled, 6))
    modified("shift", "mousemove", *at(filled, 9), "click", 1)
    assert chosen(filled) == [6, 7, 8, 9]
    modified("shift", "mousemove", *at(filled, 4), "click", 1)
    assert chosen(filled) == [4, 5, 6], "the run starts where the first click was"
    modified("ctrl", "mousemove", *at(filled, 14), "click", 1)
    xdotool(
        "keydown",
        "ctrl",
        "keydown",
        "shift",
        "mousemove",
        *at(filled, 16),
        "click",
        1,
        "keyup",
        "shift",
        "keyup",
        "ctrl",
    )
    assert chosen(filled) == [4, 5, 6, 14, 15, 16]


def test_a_click_on_what_is_selected_selects_only_it_on_release(filled):
    filled.images.selection.set(range(6))
    xdotool("mousemove", *at(filled, 2), "mousedown", 1)
    assert chosen(filled) == [0, 1, 2, 3, 4, 5], "a drag of all of them may follow"
    xdotool("mouseup", 1)
    assert chosen(filled) == [2]


def test_a_rubber_band_selects_what_it_touches_and_escape_lets_go(filled):
    first, last = cell_center(filled, 0), cell_center(filled, 11)
    start = first - QPoint(filled.content.cell // 2 + 8, 0)
    xdotool("mousemove", start.x(), start.y(), "mousedown", 1, "mousemove", last.x() - 40, last.y() - 200)
    xdotool("mousemove", last.x(), last.y())
    assert filled._mouse.band() is not None
    touched = chosen(filled)
    xdotool("mouseup", 1)
    columns = filled.content.columns
    assert 0 in touched
    assert 11 in touched
    assert columns - 1 not in touched, "the last column was not touched"
    assert chosen(filled) == touched
    assert filled._mouse.band() is None
    xdotool("key", "Escape")
    assert chosen(filled) == []


def test_a_rubber_band_with_ctrl_turns_round_what_it_touches(filled):
    filled.images.selection.set(range(2))
    first, third = cell_center(filled, 0), cell_center(filled, 2)
    start = first - QPoint(filled.content.cell // 2 + 8, 0)
    modified("ctrl", "mousemove", start.x(), start.y(), "mousedown", 1, "mousemove", third.x(), third.y(), "mouseup", 1)
    assert chosen(filled) == [2]


def test_a_rubber_band_at_the_edge_scrolls_and_selects_on(filled):
    start = cell_center(filled, 0) - QPoint(filled.content.cell // 2 + 8, 20)
    below = filled.viewport().mapToGlobal(QPoint(filled.viewport().width() - 30, filled.viewport().height() + 60))
    xdotool("mousemove", start.x(), start.y(), "mousedown", 1, "mousemove", below.x(), below.y() - 200)
    xdotool("mousemove", below.x(), below.y())
    wait_until(lambda: filled.top() > 400)
    xdotool("mouseup", 1)
    seen = len(chosen(filled))
    assert seen > 25, "more than a window full"
    assert chosen(filled) == list(range(seen))


def test_photos_that_come_in_during_a_band_do_not_end_it(filled, model):
    first, third = cell_center(filled, 0), cell_center(filled, 2)
    start = first - QPoint(filled.content.cell // 2 + 8, 0)
    xdotool("mousemove", start.x(), start.y(), "mousedown", 1, "mousemove", third.x(), third.y())
    for number in range(500, 520):
        model.add([image(number, "shoes"), image(number + 100, "boots")])
        turn()
    xdotool("mousemove", third.x() + 3, third.y() + 1, "mouseup", 1)
    assert chosen(filled) == [0, 1, 2]


def test_a_click_between_photos_selects_nothing(filled):
    click(cell_center(filled, 3))
    click(cell_center(filled, 3) + QPoint(filled.content.cell // 2 + 4, 0))
    assert chosen(filled) == []


def test_a_click_on_a_header_selects_its_label(filled):
    click(header(filled, "hat"))
    assert chosen(filled) == list(range(8, 38))
    modified("ctrl", "mousemove", header(filled, "boots").x(), header(filled, "boots").y(), "click", 1)
    assert chosen(filled) == list(range(38))
    modified("ctrl", "mousemove", header(filled, "hat").x(), header(filled, "hat").y(), "click", 1)
    assert chosen(filled) == list(range(8))


def test_the_header_that_sticks_can_be_clicked_and_covers_the_photos_under_it(filled):
    filled.verticalScrollBar().setValue(filled.content.header(2).y + 300)
    turn()
    click(filled.viewport().mapToGlobal(QPoint(200, 10)))
    assert chosen(filled) == list(range(38, 238))


def test_a_double_click_opens(filled):
    opened = []
    filled.image_activated.connect(opened.append)
    click(cell_center(filled, 5), repeat=2)
    wait_until(lambda: opened)
    assert opened == [filled.images.image(5)]
    assert chosen(filled) == [5]


def test_the_right_button_selects_what_it_is_on_and_keeps_a_selection_it_is_in(filled):
    asked = []
    filled.context_menu_requested.connect(lambda place, label: asked.append((place, label)))
    filled.images.selection.set(range(3))
    click(cell_center(filled, 1), button=3)
    wait_until(lambda: len(asked) == 1)
    assert chosen(filled) == [0, 1, 2]
    click(cell_center(filled, 4), button=3)
    assert chosen(filled) == [4]
    click(header(filled, "hat"), button=3)
    wait_until(lambda: len(asked) == 3)
    assert [label for _, label in asked] == [None, None, "hat"]
    assert asked[1][0] == cell_center(filled, 4)


def test_ctrl_wheel_zooms_at_the_pointer(filled, model):
    filled.verticalScrollBar().setValue(filled.content.header(2).y + 200)
    turn()
    row = filled.row_under(QPoint(300, 400))
    before, size = cell_center(filled, row).y(), filled.cell_size()
    point = cell_center(filled, row)
    told = []
    filled.zoom_changed.connect(told.append)
    modified("ctrl", "mousemove", point.x(), point.y(), "click", 4)
    wait_until(lambda: told)
    turn()
    assert filled.cell_size() > size
    assert abs(cell_center(filled, row).y() - before) <= 3
    modified("ctrl", "mousemove", point.x(), point.y(), "click", 5, "click", 5)
    wait_until(lambda: len(told) == 3)
    assert filled.cell_size() < size


def test_the_wheel_scrolls_by_pixels(filled):
    point = cell_center(filled, 10)
    xdotool("mousemove", point.x(), point.y(), "click", 5)
    wait_until(lambda: filled.top() > 0)
    assert filled.top() < 300


def test_a_photo_is_shown_whole_when_the_pointer_rests_on_it(filled, loader):
    wait_until(lambda: loader.pixmap(filled.images.image(2).image_id))
    point = cell_center(filled, 2)
    xdotool("mousemove", point.x() + 1, point.y())
    xdotool("mousemove", point.x(), point.y())
    wait_until(lambda: filled._uncropped.isValid() and filled._uncropped.row() == 2)
    cell = filled.visualRect(filled.images.index(2))
    bar = filled.theme.color("bar").rgb()
    wait_until(lambda: filled.grab().toImage().pixel(cell.left() + 3, cell.center().y()) == bar)
    xdotool("mousemove", 10, 10)
    wait_until(lambda: not filled._uncropped.isValid())


def test_the_tip_of_a_photo_that_cannot_be_shown_says_why(filled, source, loader):
    from PySide6.QtWidgets import QToolTip

    from apitorch_desktop.vision.images import UnreadableImage

    broken = filled.images.image(4).image_id
    source.errors[broken] = UnreadableImage("The JPEG is cut off.")
    loader.clear()
    wait_until(lambda: loader.failure(broken))
    point = cell_center(filled, 4)
    xdotool("mousemove", point.x() + 2, point.y(), "mousemove", point.x(), point.y())  # a key would end the tip
    wait_until(lambda: QToolTip.text() == "The JPEG is cut off.")
    QToolTip.hideText()
    wait_until(lambda: not QToolTip.isVisible())
