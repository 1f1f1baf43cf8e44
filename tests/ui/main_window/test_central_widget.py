"""The frame: what folds when, what the bottom line says, what the empty middle offers, where a drop goes."""

from dataclasses import replace

import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QSettings, Qt
from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QLabel, QLineEdit, QPushButton, QWidget

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.queue import TransferKind, TransferState, TransferStatus
from apitorch_desktop.ui.main_window import status_bar
from apitorch_desktop.ui.main_window.central_widget import CentralWidget, EmptyPage
from apitorch_desktop.ui.main_window.status_bar import StatusBar
from apitorch_desktop.ui.main_window.toolbar import SearchField
from apitorch_desktop.ui.session.messages import Message, selection_text
from apitorch_desktop.ui.settings import Settings
from tests.helpers import x11_pointer as pointer
from tests.helpers.event_loop import expose, turn, wait_until

RUNNING = TransferStatus(
    id=1, kind=TransferKind.UPLOAD, connection_id="embedded", training_set_id=Id(1), title="Importing “Summer”",
    state=TransferState.RUNNING, note="", total=600, done=412, failed=3, skipped=0, bytes_total=60_000_000,
    bytes_done=41_200_000, rate=3_800_000, seconds_left=5.2, created_at=0, finished_at=None,
)  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return Settings(store=QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))


@pytest.fixture
def frame(theme, settings, qtbot):
    frame = CentralWidget(theme, settings, lambda _extension: "")
    frame.add_panel(QLabel("panel"))
    qtbot.addWidget(frame)
    frame.resize(1440, 900)
    expose(frame)
    return frame


def sides(frame, width):
    frame.resize(width, 640)
    wait_until(lambda: frame.width() == width)
    return [side for side in ("left", "right") if frame.side_shown(side)]


def test_narrow_windows_fold_the_right_side_then_the_left(frame):
    assert sides(frame, 1440) == ["left", "right"]
    assert sides(frame, 1024) == ["left", "right"]
    assert sides(frame, 900) == ["left"]
    assert sides(frame, 600) == []
    assert sides(frame, 1440) == ["left", "right"]


def test_a_side_that_folded_opens_when_it_is_asked_for(frame):
    sides(frame, 800)
    frame.switch_side("right")  # the action of the toolbar's button
    assert frame.side_shown("right")
    assert not frame.side_shown("left")
    assert frame.toolbar.classify.isChecked()
    frame.switch_side("left")
    assert frame.side_shown("left")
    assert not frame.side_shown("right")


def test_everything_fits_at_the_smallest_size_that_has_to_hold(frame):
    frame.resize(1024, 640)
    wait_until(lambda: frame.width() == 1024)
    for part in (frame.toolbar, *frame.toolbar.findChildren(QPushButton)):
        if part.isVisible():
            right = part.mapTo(frame, part.rect().bottomRight())
            assert frame.rect().contains(right), part.text() if isinstance(part, QPushButton) else part
            if isinstance(part, QPushButton) and part.text().strip() == "Import…":
                assert part.width() >= part.sizeHint().width()


def test_sides_come_back_as_they_were_left(frame, settings, theme, qtbot):
    frame.show_side("right", False)
    frame.splitter.setSizes([300, 1140, 0])
    frame.save()
    settings.store.sync()
    settings = Settings(store=QSettings(settings.store.fileName(), settings.store.format()))
    again = CentralWidget(theme, settings, lambda _extension: "")
    again.add_panel(QLabel("panel"))
    qtbot.addWidget(again)
    again.resize(1440, 900)
    again.show()
    assert again.side_shown("left")
    assert not again.side_shown("right")
    assert abs(again.splitter.sizes()[0] - 300) < 20


def test_from_right_to_left_the_tree_is_at_the_right(frame):
    frame.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    wait_until(lambda: frame.tree.mapTo(frame, QPoint(0, 0)).x() > frame.width() / 2)


def test_a_drag_over_the_middle_says_what_a_drop_would_do_and_a_drop_arrives(frame, tmp_path):
    dropped, words = [], []
    frame.content_dropped.connect(dropped.append)
    frame.drop_text = "Drop to make a training set of it"
    frame.content_dropped.connect(lambda _content: words.append(frame.drop_overlay.text()))
    (tmp_path / "photos").mkdir()
    frame.move(0, 0)
    seen = []
    frame.drop_overlay.installEventFilter(watch := Watch(lambda: seen.append(frame.drop_overlay.text())))
    target = pointer.center(frame.pages)
    assert pointer.drag([tmp_path / "photos"], target, QPoint(1500, 920)) == "dropped"
    assert dropped[0].paths == (tmp_path / "photos",)
    assert "Drop to make a training set of it" in seen
    wait_until(lambda: frame.drop_overlay.text() == "")
    frame.drop_overlay.removeEventFilter(watch)


class Watch(QObject):
    """Acts whenever what it watches is painted."""

    def __init__(self, act):
        super().__init__()
        self._act = act

    def eventFilter(self, watched, event):  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Paint:
            self._act()
        return False


# --- the bottom line


@pytest.fixture
def line(theme, qtbot):
    line = StatusBar(theme)
    qtbot.addWidget(line)
    line.resize(1200, 45)
    expose(line)
    yield line
    line.message._timer.stop()


def buttons(part):
    return [one.text() for one in part.findChildren(QPushButton) if one.isVisible()]


def test_a_running_transfer_can_be_paused_cancelled_and_looked_into(line):
    wanted = []
    line.transfer.pause_wanted.connect(lambda one: wanted.append(("pause", one)))
    line.transfer.list_wanted.connect(lambda: wanted.append("list"))
    line.transfer.show_transfer(RUNNING)
    assert buttons(line.transfer) == ["Pause", "Cancel", "3 could not be sent"]
    press(line.transfer, "Pause")
    press(line.transfer, "3 could not be sent")
    assert wanted == [("pause", 1), "list"]
    line.transfer.show_transfer(replace(RUNNING, state=TransferState.FAILED, done=597))
    assert buttons(line.transfer) == ["3 could not be sent", "Retry"]
    line.transfer.show_transfer(None)
    assert not line.transfer.isVisible()


def press(part, text):
    turn()
    pointer.click(pointer.center(next(one for one in part.findChildren(QPushButton) if one.text() == text)))


def test_undo_is_offered_where_something_was_done(line):
    undone = []
    line.message.show_message(Message("Moved 3 photos to “shirt”.", "", "edit", (("Undo", lambda: undone.append(1)),)))
    press(line.message, "Undo")
    assert undone == [1]
    assert not line.message.isVisible()


def test_a_failure_is_said_once_and_comes_back_behind_a_note(line):
    failure = Message("The disk is full.", "bad", "full")
    line.message.show_message(Message("Exported 3 photos.", "", "export"))
    for _ in range(3):
        line.message.show_message(failure)
    assert line.message.current() == failure  # at once: it answers what was just asked for
    line.message.show_message(Message("Moved 3 photos.", "", "edit"))
    assert line.message.current().text == "Moved 3 photos."
    line.message.expire("edit")
    assert line.message.current() == failure
    line.message.expire("full")
    assert line.message.current() is None


def test_an_old_failure_does_not_come_back_but_what_lasts_does(line, monkeypatch, qtbot):
    monkeypatch.setattr(status_bar, "FRESH", 0.0)
    line.message.show_message(Message("Waiting for the keyring.", "warn", "wait", lasting=True))
    line.message.show_message(Message("The disk is full.", "bad", "full"))
    line.message.show_message(Message("Moved 3 photos.", "", "edit"))
    line.message.expire("nothing")
    assert line.message.current().text == "Moved 3 photos."
    line.message.expire("edit")
    assert line.message.current().text == "Waiting for the keyring."
    line.message.show_message(Message("The disk is full.", "bad", "full"))
    assert line.message.current().text == "The disk is full."  # it happened again
    line.message.expire("wait")
    assert line.message.current().text == "The disk is full."  # it stays where nothing replaces it
    line.message.show_message(Message("The name is taken.", "bad"))
    wait_until(lambda: line.message._text.text() == "The name is taken." and not line.message._text.toolTip())
    qtbot.mouseClick(line.message._close, Qt.MouseButton.LeftButton)
    assert not line.message.isVisible()


def test_the_selection_is_always_told(line):
    assert selection_text(3, "112 kB", 3781, 3781) == "3 of 3,781 selected · 112 kB"
    assert selection_text(3, "112 kB", 27, 3781) == "3 of 3,781 selected · 112 kB · 27 shown"
    assert selection_text(0, "", 27, 3781) == "27 of 3,781 photos shown"
    assert selection_text(0, "", 1, 1) == "1 photo"
    assert selection_text(0, "", 0, 0) == ""


def test_long_sentences_are_cut_and_told_whole_in_a_tip(line):
    text = "Something went wrong, and this sentence explains it at a length that no window has room for. " * 4
    line.message.show_message(Message(text, "bad"))
    wait_until(lambda: line.message._text.toolTip() == text.strip() or line.message._text.toolTip() == text)
    assert line.message._text.width() < line.width()


# --- the empty middle and the search


def test_the_empty_middle_offers_three_ways_to_begin(theme, qtbot):
    empty = EmptyPage(theme)
    qtbot.addWidget(empty)
    empty.resize(900, 600)
    empty.show()
    empty.show_welcome()
    assert buttons(empty) == ["Import a folder…", "New training set…", "Open the sample"]
    empty.show_welcome(can_create="This service makes training sets on its own page.")
    sample = next(one for one in empty.findChildren(QPushButton) if one.text() == "Open the sample")
    assert not sample.isEnabled()
    assert sample.toolTip() == "This service makes training sets on its own page."
    empty.show_busy("Listing…")
    assert buttons(empty) == []
    empty.hide()


def test_the_search_waits_for_the_typing_to_rest_and_escape_empties_it(theme, qtbot):
    search = SearchField(theme)
    qtbot.addWidget(search)
    asked = []
    search.searched.connect(asked.append)
    expose(search)
    search.activateWindow()
    search.setFocus()
    pointer.write("shirt")
    wait_until(lambda: asked == ["shirt"])
    pointer.key("Escape")
    wait_until(lambda: asked == ["shirt", ""])


def test_whatever_takes_the_focus_has_a_name_for_a_screen_reader(frame):
    frame.resize(800, 640)
    nameless = []
    for part in frame.findChildren(QWidget):
        hidden = not part.isVisibleTo(frame)
        if part.focusPolicy() == Qt.FocusPolicy.NoFocus or part.parent() is frame.splitter or hidden:
            continue
        named = part.accessibleName() or (part.text() if isinstance(part, QAbstractButton) else "")
        if not named and not isinstance(part.parent(), (QLineEdit, QAbstractItemView)):
            nameless.append(f"{type(part).__name__} in {type(part.parent()).__name__}")
    assert not nameless
