from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.transfers.queue import TransferFailure, TransferKind, TransferState, TransferStatus
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.panel import TransfersPanel
from apitorch_desktop.ui.transfers.status_text import counts_text, state_text
from apitorch_desktop.utils.paths import resources
from apitorch_desktop.utils.text import duration, size
from tests.helpers.event_loop import wait_until

RUNNING = TransferStatus(
    id=1, kind=TransferKind.UPLOAD, connection_id="embedded", training_set_id=Id(1), title="Importing “Summer”",
    state=TransferState.RUNNING, note="", total=600, done=412, failed=3, skipped=0, bytes_total=60_000_000,
    bytes_done=41_200_000, rate=3_800_000, seconds_left=5.2, created_at=0, finished_at=None,
)  # fmt: skip


@pytest.fixture
def panel(qtbot):
    theme = Theme(resources())
    theme.apply(QApplication.instance())
    panel = TransfersPanel(theme)
    qtbot.addWidget(panel)
    panel.resize(900, 500)
    panel.show()
    return panel


def test_says_how_far_how_fast_and_how_long():
    assert counts_text(RUNNING) == "412 of 600 · 38 a second · 5 s left"
    assert size(999) == "999 bytes"
    assert size(112_000) == "112 kB"
    assert size(2_500_000_000) == "2.5 GB"
    assert duration(600) == "10 min"
    assert duration(4800) == "1 h 20 min"


def test_a_note_stands_in_place_of_figures_that_do_not_move():
    waiting = replace(RUNNING, state=TransferState.WAITING, note="No connection: goes on by itself when it is back.")
    assert state_text(waiting) == waiting.note


def test_controls_go_with_the_state(panel, qtbot):
    panel.show_statuses([RUNNING])
    card = panel.card(1)
    wait_until(card.pause.isVisible)  # a layout shows what it takes in a turn later
    assert not card.retry.isVisible()
    with qtbot.waitSignal(panel.command_requested, timeout=60_000) as caught:
        qtbot.mouseClick(card.pause, Qt.MouseButton.LeftButton)
    assert caught.args == ["pause", 1]
    panel.show_status(replace(RUNNING, state=TransferState.PAUSED))
    assert card.resume.isVisible()
    assert not card.pause.isVisible()
    panel.show_status(replace(RUNNING, state=TransferState.FAILED, done=597))
    assert card.retry.isVisible()
    assert card.save.isVisible()
    assert not card.cancel.isVisible()


def test_failed_files_are_listed_with_their_reason_and_can_be_filtered(panel, qtbot):
    panel.show_statuses([replace(RUNNING, state=TransferState.FAILED, done=597)])
    card = panel.card(1)
    with qtbot.waitSignal(panel.failures_requested, timeout=60_000):
        qtbot.mouseClick(card.failed, Qt.MouseButton.LeftButton)
    panel.show_failures(1, [
        TransferFailure("half.jpg", "shirt", "“half.jpg” is cut off.", "Copy it again."),
        TransferFailure("notes.jpg", "hat", "“notes.jpg” is no image.", "Leave it out."),
    ])  # fmt: skip
    rows = card.failures.table.model()
    assert rows.rowCount() == 2
    card.failures.filter.setText("cut off")
    assert [rows.index(0, column).data() for column in range(2)] == ["half.jpg", "shirt"]
    assert rows.rowCount() == 1


def test_what_is_forgotten_leaves_the_list(panel):
    panel.show_statuses([RUNNING, replace(RUNNING, id=2)])
    panel.show_statuses([replace(RUNNING, id=2)])
    with pytest.raises(KeyError):
        panel.card(1)
