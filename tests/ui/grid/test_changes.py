"""What stays where it is while photos come, go and move, and what is painted."""

import time
from itertools import islice, pairwise

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QColor

from apitorch_desktop.ui.grid.model import LabelGroup
from tests.helpers.event_loop import turn, wait_until
from tests.helpers.grid_driver import groups, image


@pytest.fixture
def filled(grid, model):
    """Lines of five: boots 8, hat 30, shirt 200."""
    model.set_groups(groups(8, 30, 200))
    turn()
    return grid


def place(view, row):
    return view.visualRect(view.images.index(row)).topLeft()


def scroll_to(view, value):
    view.verticalScrollBar().setValue(value)
    turn()


def test_photos_that_come_in_above_do_not_move_what_is_seen(filled, model):
    scroll_to(filled, 2000)
    seen = filled.row_under(filled.viewport().rect().center())
    watched = model.image(seen)
    before = place(filled, seen)
    filled.choose(seen)
    for number in range(1000, 1040):
        model.add([image(number, "boots"), image(number + 100, "hat")])
        if number % 7 == 0:
            turn()
    turn()
    after = model.row_of(watched.image_id)
    assert after == seen + 80
    assert place(filled, after).y() == before.y()
    assert model.selected_ids() == [watched.image_id]
    assert filled.currentIndex().row() == after


def test_at_the_very_top_it_stays_the_top(filled, model):
    model.set_sort(lambda table: table.order, reverse=True)
    turn()
    model.add([image(number, "boots") for number in range(5000, 5003)])
    turn()
    assert filled.top() == 0


def test_a_move_leaves_scroll_and_focus_in_place_and_the_photos_selected(filled, model):
    scroll_to(filled, 2000)
    row = filled.row_under(filled.viewport().rect().center())
    going, following = model.image(row), model.image(row + 1)
    before = place(filled, row)
    top = filled.top()
    filled.choose(row)
    model.move([going.image_id], "boots")
    turn()
    assert model.selected_ids() == [going.image_id]
    assert filled.focused_image() is following
    assert abs(place(filled, filled.currentIndex().row()).y() - before.y()) <= filled.content.pitch
    assert abs(filled.top() - top) <= filled.content.pitch
    filled.advance()
    assert model.selected_ids() == [following.image_id]


def test_the_focus_goes_back_when_the_last_of_a_label_is_taken(filled, model):
    filled.choose(37)
    model.remove([model.image(37).image_id])
    assert filled.currentIndex().row() == 36
    model.remove([model.image(row).image_id for row in range(8, 37)])
    assert filled.currentIndex().isValid()
    model.remove([model.image(row).image_id for row in range(model.shown)])
    assert not filled.currentIndex().isValid()


def test_deleting_what_is_seen_keeps_the_rest_in_place(filled, model):
    scroll_to(filled, 1500)
    rows = filled.content.rows_between(1500, 2200)
    kept = rows.start + 9
    keeper = model.image(kept)
    model.remove([model.image(row).image_id for row in rows if row != kept])
    turn()
    assert filled.visualRect(filled.images.index(model.row_of(keeper.image_id))).intersects(filled.viewport().rect())


def test_a_filter_keeps_the_focused_photo_in_the_window(filled, model):
    scroll_to(filled, 2000)
    row = filled.row_under(filled.viewport().rect().center())
    row += row % 2
    watched = model.image(row)
    filled.choose(row)
    model.set_filter(lambda table: table.order % 2 == table.order[table.find(watched.image_id)] % 2)
    turn()
    assert filled.focused_image() is watched
    assert model.selected_ids() == [watched.image_id]
    model.set_filter(None)
    turn()
    assert filled.focused_image() is watched


def test_another_listing_starts_at_the_top_with_nothing_selected(filled, model):
    scroll_to(filled, 2000)
    filled.selectAll()
    model.set_groups(groups(50))
    turn()
    assert filled.top() == 0
    assert filled.summary().images == 0
    assert filled.verticalScrollBar().maximum() == filled.content.height - filled.viewport().height()


def test_a_resize_keeps_the_top_photo_near_the_top(filled):
    scroll_to(filled, 3000)
    rows = filled.content.rows_between(filled.top() + filled.content.spacing.header, filled.top() + 400)
    watched = rows.start
    filled.resize(560, 700)
    turn()
    assert 0 <= place(filled, watched).y() < 2 * filled.content.pitch


def test_the_slider_keeps_the_middle(filled):
    scroll_to(filled, 3000)
    row = filled.row_under(filled.viewport().rect().center()) or 0
    filled.set_cell_size(220)
    turn()
    assert filled.visualRect(filled.images.index(row)).intersects(filled.viewport().rect())
    filled.set_cell_size(10_000)
    assert filled.cell_size() == 384


def test_labels_without_photos_are_shown_as_places_to_drop_on(grid, model):
    model.set_groups([LabelGroup("boots"), LabelGroup("hat"), LabelGroup("shirt", [image(1)])])
    turn()
    assert grid.content.groups == 3
    assert grid.group_under(grid.rect_of(grid.content.group(1)).center()) == 1
    assert grid.images.label_at(0) == "shirt"


def test_reveal_and_select_by_id_and_label(filled, model):
    far = model.image(200)
    assert filled.reveal(far.image_id)
    assert filled.viewport().rect().contains(filled.visualRect(filled.images.index(200)))
    assert not filled.reveal("ti_unknown")
    filled.select([far.image_id, model.image(3).image_id, "ti_unknown"])
    assert list(model.selection) == [3, 200]
    filled.select_label("hat")
    assert list(model.selection) == list(range(8, 38))
    assert filled.reveal_label("hat")
    assert filled.top() == filled.content.header(1).y
    assert not filled.reveal_label("none")


def test_a_thousand_photos_come_in_without_a_stall(filled, model, loader):
    """A generous bound on what the thread itself computes between two beats; the benchmark prints the real worst."""
    beats = []
    timer = QTimer(interval=10, timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: beats.append(time.thread_time()))
    coming = iter(range(10_000, 11_000))
    feed = QTimer(interval=1)

    def give():
        batch = [image(number, ("boots", "hat", "shirt", "shoes")[number % 4]) for number in islice(coming, 5)]
        if batch:
            model.add(batch)
        else:
            feed.stop()

    feed.timeout.connect(give)
    scroll_to(filled, 1000)
    timer.start()
    feed.start()
    wait_until(lambda: not feed.isActive())
    timer.stop()
    assert model.total == 1238
    worst = max(later - sooner for sooner, later in pairwise(beats))
    assert worst < 0.5


# --- what is painted


def picture(view):
    wait_until(lambda: view.loader.idle)
    for _ in range(3):
        turn()
    return view.grab().toImage()


def test_photos_are_painted_square_and_a_broken_one_says_why(filled, loader, source, theme):
    from apitorch_desktop.vision.images import UnreadableImage

    bar, canvas = theme.color("bar").rgb(), theme.color("canvas").rgb()
    wait_until(lambda: all(loader.pixmap(filled.images.image(row).image_id) for row in range(8)))
    shot = picture(filled)
    cell = filled.visualRect(filled.images.index(0))
    assert shot.pixel(cell.center()) not in (bar, canvas)
    assert shot.pixel(cell.left() - 5, cell.center().y()) == canvas
    assert shot.pixel(cell.topLeft()) == canvas, "its corners are round"
    broken = filled.images.image(2).image_id
    source.errors[broken] = UnreadableImage("The JPEG is cut off.")
    loader.clear()
    wait_until(lambda: loader.failure(broken))
    shot = picture(filled)
    cell = filled.visualRect(filled.images.index(2))
    assert shot.pixel(cell.left() + 3, cell.center().y()) == bar
    inside = {
        shot.pixel(x, y)
        for x in range(cell.left() + 10, cell.right() - 10)
        for y in range(cell.top() + 10, cell.bottom() - 10)
    }
    assert len(inside) > 5, "there are words on it"


def test_a_photo_that_is_still_loading_is_a_plain_square(grid, model, source, theme):
    source.gate.clear()
    model.set_groups(groups(3))
    turn()
    shot = grid.grab().toImage()
    cell = grid.visualRect(grid.images.index(1))
    bar = theme.color("bar").rgb()
    assert {shot.pixel(cell.center().x() + away, cell.center().y()) for away in range(-40, 40)} == {bar}
    source.gate.set()
    wait_until(lambda: grid.grab().toImage().pixel(cell.center()) != bar)


def test_selection_is_a_ring_and_a_tick_and_focus_a_thin_line(filled, theme):
    accent, text = theme.color("accent").rgb(), theme.color("text").rgb()

    def around(row):
        cell = filled.visualRect(filled.images.index(row))
        shot = picture(filled)
        return {shot.pixel(cell.left() - away, cell.center().y()) for away in range(1, 9)}, shot.pixel(
            cell.right() - 14, cell.top() + 8
        )

    filled.setFocus()
    filled.choose(1)
    filled.set_current(3)
    ring, tick = around(1)
    assert accent in ring
    assert tick == accent
    line, _ = around(3)
    assert text in {QColor(pixel).rgb() for pixel in line} or any(QColor(pixel).lightness() < 90 for pixel in line)
    assert accent not in line
    plain, _ = around(6)
    assert plain == {theme.color("canvas").rgb()}


def test_the_header_sticks_with_its_figures(filled, model, theme):
    model.set_accuracies({"hat": 0.62})
    scroll_to(filled, filled.content.header(1).y + 300)
    shot = picture(filled)
    colors = {shot.pixel(x, y) for x in range(10, 400) for y in range(2, 40)}
    assert theme.color("good").rgb() in colors, "the bar of accuracy"
    assert theme.color("text").rgb() in colors
    assert shot.pixel(400, 41) == theme.color("line").rgb()


def test_a_change_of_theme_is_followed(filled, theme):
    from apitorch_desktop.ui.theme.tokens import DARK

    theme.tokens = DARK
    theme.changed.emit()
    turn()
    shot = picture(filled)
    cell = filled.visualRect(filled.images.index(0))
    assert shot.pixel(cell.left() - 5, cell.center().y()) == QColor(DARK.canvas).rgb()
