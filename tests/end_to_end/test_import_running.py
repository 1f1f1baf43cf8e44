"""An import under way: seen from a window beside the terminal it runs in, and left alone by Undo."""

import os
import subprocess
import sys

import pytest
from PySide6.QtCore import QRect

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.edits.model import to_set_key
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.documented_program import CORNER, listed, run

MORE = 16


@pytest.fixture
def more(photos):
    """Photos that are in no training set yet."""
    return sorted((photos / "train" / "hat").iterdir())[:MORE]


@pytest.fixture
def folder(tmp_path, more):
    """What a terminal imports: the photos in a folder of their own."""
    folder = tmp_path / "plains"
    folder.mkdir()
    for photo in more:
        (folder / photo.name).write_bytes(photo.read_bytes())
    return folder


def hold_back(service, label):
    """No upload to a label is answered from now on, until all is well again."""
    service.wrong("held", times=10 * MORE, method="POST", path=f"/{label}/image$")


def test_an_import_in_a_terminal_is_shown_while_it_runs_and_no_longer(monkeypatch, service, folder):
    hold_back(service, "plains")

    def steps(made, said):
        listed(made, 6)
        words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Coats"]
        with subprocess.Popen(words, env=dict(os.environ), stdout=subprocess.PIPE) as terminal:
            program.wait(
                lambda: any(
                    "Another window or command works on it" in status.note for status in made.transfers.statuses
                ),
                "the terminal's import in the window",
            )
            program.wait(made.central_widget.status.transfer.isVisible, "the import at the bottom of the window")
            service.right()
            program.wait(lambda: terminal.poll() is not None, "the end of the command")
            assert terminal.returncode == 0
        program.wait(lambda: not made.transfers.statuses, "the list without it")
        program.wait(lambda: not made.central_widget.status.transfer.isVisible(), "the bottom without it")
        listed(made, 6 + MORE)
        assert sum(len(images) for images in service.content(service.number).values()) == 6 + MORE

    run(monkeypatch, steps)


def test_an_import_left_by_a_killed_command_is_cancelled_in_the_window(monkeypatch, service, folder):
    hold_back(service, "plains")

    def steps(made, said):
        listed(made, 6)
        bar = made.central_widget.status.transfer
        words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Coats"]
        with subprocess.Popen(words, env=dict(os.environ), stdout=subprocess.PIPE) as terminal:
            program.wait(lambda: made.transfers.statuses, "the terminal's import in the window")
            terminal.kill()
        program.wait(lambda: not another(made), "that nobody works on it any more")
        program.press(bar._cancel)
        program.wait(lambda: [one.state for one in made.transfers.statuses] == ["cancelled"], f"its end: {said}")
        service.right()
        program.wait(lambda: same(made), "what the service has, in the window")
        assert not [one for one in said if "went wrong" in one], said

    def same(made):
        """Uploads of the killed command may still end in the service."""
        if made.model.total == sum(map(len, service.content(service.number).values())):
            return True
        if not made.session.open_set.loading:
            made.session.refresh()
        return False

    def another(made):
        return any("Another window or command" in status.note for status in made.transfers.statuses)

    run(monkeypatch, steps)


def test_undo_during_an_import_is_of_the_label_before_it_and_cancel_counts_what_the_service_has(
    monkeypatch, service, more
):
    def content():
        return {label: sorted(images) for label, images in service.content(service.number).items() if images}

    before = content()

    def steps(made, said):
        bar = made.central_widget.status.transfer
        listed(made, 6)
        made.window.activateWindow()
        made.photos.grid.setFocus()
        program.wait(made.photos.grid.hasFocus, "the focus in the grid")
        made.photos.grid.choose(made.model.shown - 1)
        label = made.model.label_at(made.model.shown - 1)
        other = next(found for found in before if found != label)
        pointer.key(str(made.session.open_set.labels.index(other) + 1))
        program.wait(lambda: any(text.startswith("Moved 1 photo") for text in said), f"the label: {said}")
        program.wait(lambda: len(content()[other]) == len(before[other]) + 1, "the label in the service")

        hold_back(service, other)
        target = pointer.center(made.photos.grid.viewport(), QRect(60, 60, 4, 4))
        assert pointer.drag(more, target, CORNER) == "dropped"
        program.wait(lambda: sum(map(len, content().values())) > 6, "the first photos of the import")
        made.window.activateWindow()
        made.photos.grid.setFocus()
        program.wait(made.photos.grid.hasFocus, "the focus in the grid again")
        pointer.key("ctrl+z")
        program.wait(lambda: any(text.startswith("Undone: move 1 photo") for text in said), f"the undo: {said}")
        pointer.key("ctrl+z")
        program.wait(lambda: any("nothing to undo but the import under way" in text for text in said), f"{said}")
        assert running(made) is not None, "the import goes on"

        program.press(bar._cancel)
        program.wait(lambda: running(made) is None, "its end")
        service.right()
        added = program.wait(lambda: next((text for text in said if text.startswith("Added")), ""), f"{said}")
        there = sum(map(len, content().values())) - 6
        assert added.startswith(f"Added {there} photo")
        assert 0 < there < MORE
        listed(made, 6 + there)
        service.right()
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: content() == before, f"what came in taken away: {said}")
        one_id_in_the_journal(made)

    def running(made):
        return next((one for one in made.transfers.statuses if one.state in ("running", "waiting")), None)

    def one_id_in_the_journal(made):
        """The journal keeps the training set's id as the service gives it, a number, also of an import from a menu."""
        made.imports.add([UploadItem("plains", ImageFile(more[0]), more[0].name)], Id(service.number))
        program.wait(lambda: sum(map(len, content().values())) == 7, "one photo from a menu")
        rows = made.session.stores.edits.journal.rows(made.session.connection.id)
        assert {row.set_key for row in rows} == {to_set_key(made.session.open_set.training_set.id)}

    run(monkeypatch, steps)
