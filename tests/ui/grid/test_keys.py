"""The grid by a real keyboard."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible

from apitorch_desktop.ui.grid.view import DEFAULT, LARGEST, SMALLEST
from tests.helpers.event_loop import turn, wait_until
from tests.helpers.grid_driver import groups
from tests.helpers.x11_pointer import key, write


@pytest.fixture
def filled(grid, model):
    """Lines of five: boots 8, hat 30, shirt 200."""
    model.set_groups(groups(8, 30, 200))
    turn()
    return grid


def chosen(view):
    return list(view.images.selection)


def focus(view):
    return view.currentIndex().row()


def test_arrows_select_and_keep_the_column_across_labels(filled):
    key("Home")
    assert chosen(filled) == [0]
    key("Right", "Right")
    assert chosen(filled) == [2]
    key("Down", "Down")
    assert chosen(filled) == [10], "boots has a line of five and one of three: column two goes on in hat"
    key("Up")
    assert chosen(filled) == [7]
    key("Left")
    assert chosen(filled) == [6]


def test_shift_extends_from_where_it_began_and_back(filled):
    key("Home", "Right")
    key("shift+Right", "shift+Right", "shift+Down")
    assert chosen(filled) == [1, 2, 3, 4, 5, 6, 7]
    key("shift+Up", "shift+Left", "shift+Left", "shift+Left")
    assert chosen(filled) == [0, 1]


def test_ctrl_moves_only_the_focus_and_space_toggles_it(filled):
    key("Home", "ctrl+Right", "ctrl+Right")
    assert chosen(filled) == [0]
    assert focus(filled) == 2
    key("space")
    assert chosen(filled) == [0, 2]
    key("space")
    assert chosen(filled) == [0]
    key("ctrl+Down", "ctrl+shift+Right")
    assert 0 in chosen(filled)


def test_home_end_and_pages_scroll_along(filled):
    key("End")
    assert chosen(filled) == [237]
    assert filled.top() == filled.verticalScrollBar().maximum()
    key("Home")
    assert filled.top() == 0
    key("Next")
    page = focus(filled)
    assert page > 10
    assert filled.visualRect(filled.currentIndex()).bottom() < filled.viewport().height()
    key("Next", "Prior")
    assert focus(filled) == page
    key("shift+End")
    assert chosen(filled) == list(range(page, 238))
    key("Home", "shift+Next")
    assert chosen(filled) == list(range(page + 1))


def test_the_focus_is_never_hidden_under_the_sticky_header(filled):
    key("End")
    for _ in range(45):
        key("Up")
    rect = filled.visualRect(filled.currentIndex())
    assert rect.top() >= filled.content.spacing.header - 1
    assert rect.bottom() < filled.viewport().height()


def test_everything_the_others_and_nothing(filled):
    told = []
    filled.summary_changed.connect(told.append)
    filled.selectAll()  # its keys are an action's
    assert len(chosen(filled)) == 238
    wait_until(lambda: told)
    assert told[-1] == (238, 238_000, 238, 238)
    key("Home")
    filled.invert_selection()
    assert chosen(filled) == list(range(1, 238))
    key("Escape")
    wait_until(lambda: told[-1].images == 0)
    assert chosen(filled) == []


def test_escape_without_a_selection_is_left_to_others(filled, qtbot):
    from PySide6.QtWidgets import QWidget

    keys = []

    class Around(QWidget):
        def keyPressEvent(self, event):  # noqa: N802 - Qt's name
            keys.append(event.key())

    around = Around()
    qtbot.addWidget(around)
    filled.setParent(around)
    around.show()
    filled.show()
    filled.setFocus()
    qtbot.keyClick(filled, Qt.Key.Key_Escape)
    qtbot.keyClick(filled, Qt.Key.Key_F5)
    assert keys == [Qt.Key.Key_Escape, Qt.Key.Key_F5]
    filled.setParent(None)


def test_digits_and_letters_are_passed_on(filled, qtbot):
    typed = []
    filled.label_key.connect(typed.append)
    key("Home")
    write("1t0S")
    qtbot.keyClicks(filled, "ß")
    key("KP_5")
    wait_until(lambda: len(typed) == 6, what=f"{typed}")
    assert typed == ["1", "t", "0", "S", "ß", "5"]
    key("ctrl+e", "alt+x", "question")
    assert len(typed) == 6
    assert chosen(filled) == [0]


def test_zoom_by_steps_within_its_limits(filled):
    told = []
    filled.zoom_changed.connect(told.append)
    columns = filled.content.columns
    filled.zoom_steps(1)
    assert filled.content.columns == columns - 1
    filled.zoom_steps(-1)
    filled.zoom_steps(-1)
    assert filled.content.columns >= columns + 1
    filled.set_cell_size(DEFAULT)
    assert filled.cell_size() == DEFAULT
    assert told[-1] == DEFAULT
    filled.zoom_steps(20)
    assert filled.cell_size() == LARGEST
    filled.zoom_steps(-40)
    assert filled.cell_size() == SMALLEST


def test_arrows_follow_the_direction_of_reading(filled):
    filled.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    turn()
    key("Home", "Left", "Left")
    assert chosen(filled) == [2]
    first, third = (filled.visualRect(filled.images.index(row)) for row in (0, 2))
    assert third.x() < first.x()
    assert filled.row_under(first.center()) == 0
    key("Right")
    assert chosen(filled) == [1]


def test_the_menu_key_asks_at_the_focus(filled):
    asked = []
    filled.context_menu_requested.connect(lambda place, label: asked.append((place, label)))
    key("Home", "Right")
    key("Menu")
    wait_until(lambda: asked)
    cell = filled.visualRect(filled.images.index(1))
    assert asked == [(filled.viewport().mapToGlobal(cell.center()), None)]


def test_a_screen_reader_finds_the_photos_and_which_is_focused(filled):
    key("Home", "Right")
    seen = QAccessible.queryAccessibleInterface(filled)
    assert seen.role() == QAccessible.Role.List
    assert seen.childCount() == 238
    child = seen.child(1)
    assert child.text(QAccessible.Text.Name) == "boots, IMG_2.jpg, selected"
    assert child.state().focused
    assert child.rect().center() == filled.viewport().mapToGlobal(filled.visualRect(filled.images.index(1)).center())
    assert seen.text(QAccessible.Text.Name) == "Photos by label"
    key("space")
    assert child.text(QAccessible.Text.Name) == "boots, IMG_2.jpg"


def test_an_empty_grid_minds_no_key(grid):
    key("Home", "End", "Down", "Next", "space", "Return", "Delete", "Escape")
    assert chosen(grid) == []
    assert grid.row_under(QPoint(30, 80)) is None
