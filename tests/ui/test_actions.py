"""Action registry: one action for menu and key, greyed out with a reason, listed on the sheet of keys."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QMenu, QVBoxLayout, QWidget

from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec


@pytest.fixture
def window(qtbot, theme):
    window = QWidget()
    qtbot.addWidget(window)
    window.inner, window.other = QLineEdit(window), QLineEdit(window)
    column = QVBoxLayout(window)
    column.addWidget(window.inner)
    column.addWidget(window.other)
    window.registry = ActionRegistry(window, theme)
    with qtbot.waitExposed(window):
        window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    return window


def test_keys_run_an_action_or_report_why_it_is_unavailable(window):
    ran, reasons, why = [], [], [""]
    window.registry.unavailable.connect(reasons.append)
    window.registry.add(ActionSpec("edit.copy", "Copy", lambda: ran.append(1), "F6, F7", reason=lambda: why[0]))
    QTest.keyClick(window.inner, Qt.Key.Key_F6)
    QTest.keyClick(window.inner, Qt.Key.Key_F7)
    assert (ran, reasons) == ([1, 1], [])
    why[0] = "Select photos first."
    QTest.keyClick(window.inner, Qt.Key.Key_F6)
    window.registry.trigger("edit.copy")
    assert (ran, reasons) == ([1, 1], ["Select photos first."] * 2)


def test_keys_of_a_widget_work_only_there(window):
    ran = []
    window.registry.add(
        ActionSpec("edit.paste", "Paste", lambda: ran.append(1), "F6", within=(window.inner,)),
        ActionSpec("edit.delete", "Delete", lambda: ran.append(2), "F7", binds_keys=False),
    )
    window.other.setFocus()
    QTest.keyClick(window.other, Qt.Key.Key_F6)
    QTest.keyClick(window.other, Qt.Key.Key_F7)
    assert ran == []
    window.inner.setFocus()
    QTest.keyClick(window.inner, Qt.Key.Key_F6)
    assert ran == [1]


def test_a_menu_shows_text_keys_and_reason_while_it_is_open(window):
    count, why = [1], ["There are no photos."]
    window.registry.add(
        ActionSpec("photo.delete", lambda: f"Delete {count[0]}", lambda: None, "Ctrl+D", reason=lambda: why[0])
    )
    menu = QMenu(window)
    window.registry.fill(menu, "photo.delete", "")
    count[0] = 3
    menu.popup(window.mapToGlobal(window.rect().center()))
    [action, separator] = menu.actions()
    assert separator.isSeparator()
    assert (action.text(), action.isEnabled(), action.toolTip()) == ("Delete 3", False, "There are no photos.")
    assert action.shortcut().toString() == "Ctrl+D"
    menu.close()
    assert action.isEnabled()


def test_the_sheet_of_keys_lists_actions_with_a_text_for_it(window):
    window.registry.add(
        ActionSpec("edit.undo", "Undo", lambda: None, "Ctrl+Z", "Undo"),
        ActionSpec("photo.copy", "Copy", lambda: None, "Ctrl+C", "Copy the photos", "Photos"),
        ActionSpec("photo.show", "Show", lambda: None),
    )
    assert window.registry.key_sections() == {
        "Everywhere": [("Ctrl+Z", "Undo")], "Photos": [("Ctrl+C", "Copy the photos")],
    }  # fmt: skip
