"""Transfers in the window: the desk that runs them, the bottom line, and the list of all of them, connected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog

from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.ui.main_window.page_switcher import PageSwitcher
from apitorch_desktop.ui.session.messages import Message

if TYPE_CHECKING:
    from apitorch_desktop.ui.bootstrap import Bootstrap


def wire_transfers(made: Bootstrap, middle: PageSwitcher) -> None:
    """Have line and list show what the desk tells, and the desk do what they ask for."""
    desk, panel, part = made.desk, made.transfers, made.frame.status.transfer
    desk.listed.connect(panel.show_statuses)
    desk.listed.connect(lambda _all: part.show_transfer(desk.current()))
    desk.changed.connect(lambda _one: part.show_transfer(desk.current()))
    desk.changed.connect(panel.show_status)
    desk.failed.connect(made.session.failed)
    desk.changed.connect(lambda one: _note_heard(made, one))
    made.session.connected.connect(lambda _back: _hurry(made))
    panel.wanted.connect(desk.command)
    panel.failures_wanted.connect(lambda one: desk.failures(one, lambda failures: panel.show_failures(one, failures)))
    panel.summary_wanted.connect(lambda one: _save_summary(made, one))
    panel.closed.connect(lambda: middle.leave(panel))
    part.pause_wanted.connect(lambda one: desk.command("pause", one))
    part.resume_wanted.connect(lambda one: desk.command("resume", one))
    part.cancel_wanted.connect(lambda one: desk.command("cancel", one))
    part.retry_wanted.connect(lambda one: desk.command("retry_failed", one))
    part.dismissed.connect(desk.dismiss)
    part.list_wanted.connect(lambda: middle.switch(panel))


def _note_heard(made: Bootstrap, status: TransferStatus) -> None:
    """What moves bytes is there: no need to ask."""
    workspace = made.session.workspace
    moves = bool(status.rate) and not status.note
    if moves and workspace is not None and status.connection_id == workspace.connection.id:
        workspace.note_heard()


def _hurry(made: Bootstrap) -> None:
    if made.session.connection is not None:
        made.desk.hurry(made.session.connection.id)


def _save_summary(made: Bootstrap, transfer_id: int) -> None:
    name, _ = QFileDialog.getSaveFileName(
        made.window, "Save the summary", str(Path.home() / "import summary.txt"), "Text (*.txt)"
    )
    if name:
        said = made.session.said
        made.desk.save_summary(
            transfer_id, Path(name), lambda path: said.emit(Message(f"Saved “{path.name}”.", "muted"))
        )
