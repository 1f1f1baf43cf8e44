import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from apitorch_desktop.ui.classify.feedback import FeedbackDialog, MessageDialog
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources


@pytest.fixture
def theme(qapp):
    theme = Theme(resources())
    theme.apply(QApplication.instance())
    return theme


@pytest.fixture
def dialog(qtbot, theme):
    dialog = FeedbackDialog(theme, "shirt", ["longsleeve", "outwear", "shirt", "t_shirt"])
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def test_the_wrong_answer_is_not_offered_again(dialog):
    model = dialog.list.model()
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["longsleeve", "outwear", "t_shirt"]
    assert not dialog.send.isEnabled()


def test_rows_are_as_high_as_everywhere(dialog, theme):
    index = dialog.list.model().index(0, 0)
    assert dialog.list.visualRect(index).height() == theme.px(28)


def test_typing_finds_a_label_and_enter_sends_it(dialog, qtbot):
    qtbot.keyClicks(dialog.line, "out")
    assert dialog.send.text() == "Correct to “outwear”"
    with qtbot.waitSignal(dialog.corrected, timeout=60_000) as caught:
        qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    assert caught.args == ["outwear"]


def test_arrows_choose_while_the_line_keeps_the_focus(dialog, qtbot):
    qtbot.keyClick(dialog.line, Qt.Key.Key_Down)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Down)
    assert dialog.chosen() == "outwear"


def test_a_label_typed_in_another_spelling_is_the_known_one(dialog, qtbot):
    qtbot.keyClicks(dialog.line, "T-Shirt")
    assert dialog.chosen() == "t_shirt"


def test_a_new_label_is_made_and_said_so(dialog, qtbot):
    qtbot.keyClicks(dialog.line, "Rain Coat")
    assert dialog.chosen() == "rain_coat"
    assert "Makes the new label “rain_coat”" in dialog.note.text()


def test_part_of_a_label_can_be_a_new_label(dialog, qtbot):
    qtbot.keyClicks(dialog.line, "sleeve")
    assert dialog.chosen() == "sleeve"


def test_where_no_new_label_can_be_made_the_reason_is_given(qtbot, theme):
    dialog = FeedbackDialog(theme, "safe", ["safe", "not_safe"], no_new_label="This classifier’s labels are fixed.")
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.keyClicks(dialog.line, "maybe")
    assert not dialog.send.isEnabled()
    assert dialog.note.text() == "This classifier’s labels are fixed."


def test_a_message_is_sent_by_keyboard_and_never_empty(qtbot, theme):
    dialog = MessageDialog(theme, "this computer’s service")
    qtbot.addWidget(dialog)
    dialog.show()
    assert not dialog.send.isEnabled()
    qtbot.keyClicks(dialog.text, "Thank you")
    with qtbot.waitSignal(dialog.sent, timeout=60_000) as caught:
        qtbot.keyClick(dialog, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert caught.args == ["Thank you"]
