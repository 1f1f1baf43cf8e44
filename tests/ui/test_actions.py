"""Action registry: one action for menu and key, greyed out with a reason, listed on the sheet of keys."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget

from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec, always
from tests.helpers.event_loop import expose, wait_until


@pytest.fixture
def window(qtbot, theme):
    window = QWidget()
    qtbot.addWidget(window)
    window.inner, window.other = QLineEdit(window), QLineEdit(window)
    column = QVBoxLayout(window)
    column.addWidget(window.inner)
    column.addWidget(window.other)
    window.registry = ActionRegistry(window, theme)
    expose(window)
    window.activateWindow()
    wait_until(window.isActiveWindow)
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
        ActionSpec("edit.delete", "Delete", lambda: ran.append(2), "F7", within=(window.inner,), applies=always),
    )
    window.other.setFocus()
    QTest.keyClick(window.other, Qt.Key.Key_F6)
    QTest.keyClick(window.other, Qt.Key.Key_F7)
    assert ran == []
    window.inner.setFocus()
    QTest.keyClick(window.inner, Qt.Key.Key_F6)
    QTest.keyClick(window.inner, Qt.Key.Key_F7)
    assert ran == [1, 2]
    window.registry.extend(window.other, "edit.delete")
    window.other.setFocus()
    QTest.keyClick(window.other, Qt.Key.Key_F7)
    assert ran == [1, 2, 2]


def test_actions_of_a_widget_share_keys_if_one_applies_at_a_time(window):
    ran, row, registry = [], ["set"], window.registry
    registry.add(
        *(
            ActionSpec(
                f"{kind}.rename", "Rename", lambda kind=kind: ran.append(kind), "F2",
                within=(window.inner,), applies=lambda kind=kind: row[0] == kind,
            )
            for kind in ("set", "label")
        ),
        ActionSpec("photo.rename", "Rename", lambda: ran.append("photo"), "F2", within=(window.other,), applies=always),
    )  # fmt: skip
    assert registry.using("F2", besides="set.rename") == []
    window.inner.setFocus()
    for row[0] in ("set", "label", "none"):
        QTest.keyClick(window.inner, Qt.Key.Key_F2)
    assert ran == ["set", "label"]
    registry.set_keys("label.rename", "F3")
    row[0] = "label"
    QTest.keyClick(window.inner, Qt.Key.Key_F2)
    QTest.keyClick(window.inner, Qt.Key.Key_F3)
    assert ran == ["set", "label", "label"]
    window.other.setFocus()
    QTest.keyClick(window.other, Qt.Key.Key_F2)
    assert ran[-1] == "photo"
    registry.add(ActionSpec("photo.open", "Open", lambda: None, "F9", within=(window.other,), applies=always))
    assert registry.using("F9", besides="photo.rename") == ["photo.open"]
    assert registry.using("F9", besides="set.rename") == []


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


def test_keys_are_changed_restored_and_those_in_use_are_named(qtbot, window, theme):
    ran, chosen = [], {"view.zoom": "Ctrl+T"}
    registry = ActionRegistry(window, theme, chosen)
    button = QPushButton(window)
    registry.add(
        ActionSpec("edit.undo", "Undo", lambda: ran.append("undo"), "F6, F7"),
        ActionSpec("view.zoom", "Zoom", lambda: ran.append("zoom"), "F8"),
        ActionSpec("photo.delete", "Delete…", lambda: None, "Delete", within=(window.inner,), applies=always),
    )
    registry.bind_button(button, "edit.undo", "Take it back")
    assert [(one.keys, one.local) for one in registry.entries()] == [
        ("F6, F7", False),
        ("Ctrl+T", False),
        ("Del", True),
    ]
    assert button.toolTip() == "Take it back (F6, F7)"
    registry.set_keys("edit.undo", "F9")
    for key in (Qt.Key.Key_F6, Qt.Key.Key_F9, Qt.Key.Key_F8):
        QTest.keyClick(window.inner, key)
    QTest.keyClick(window.inner, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    assert ran == ["undo", "zoom"]
    assert button.toolTip() == "Take it back (F9)"
    assert registry.using("Ctrl+T") == ["view.zoom"]
    assert registry.using("del, f9", besides="edit.undo") == ["photo.delete"]
    assert registry.key_sections()["Everywhere"] == [("F9", "Undo"), ("Ctrl+T", "Zoom")]
    registry.set_keys("view.zoom", "")
    registry.set_keys("edit.undo", None)
    assert chosen == {"view.zoom": ""}
    QTest.keyClick(window.inner, Qt.Key.Key_F7)
    button.click()
    assert ran == ["undo", "zoom", "undo", "undo"]


def test_a_menu_shows_which_switch_is_on(window):
    on = [True]
    window.registry.add(ActionSpec("view.bar", "Bar", lambda: on.__setitem__(0, not on[0]), checked=lambda: on[0]))
    menu = QMenu(window)
    window.registry.fill(menu, "view.bar")
    for expected in (True, False):
        menu.popup(window.mapToGlobal(window.rect().center()))
        assert menu.actions()[0].isChecked() is expected
        menu.close()
        window.registry.trigger("view.bar")
