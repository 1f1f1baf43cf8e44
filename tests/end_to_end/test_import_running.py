"""An import under way: seen from a window beside the terminal it runs in, and left alone by Undo."""

import os
import subprocess
import sys

import pytest

from tests.helpers import app_runner as program
from tests.helpers.documented_program import coats, listed, run

MORE = 16


@pytest.fixture
def more(photos):
    """Photos that are in no training set yet."""
    return sorted((photos / "train" / "hat").iterdir())[:MORE]


@pytest.fixture
def service(monkeypatch, photos, home):
    with coats(monkeypatch, sorted((photos / "train" / "dress").iterdir())) as made:
        yield made


def slow_down(service):
    service.wrong("late", times=10 * MORE, method="POST", path="/image$", seconds=0.4)


def test_an_import_in_a_terminal_is_shown_while_it_runs_and_no_longer(monkeypatch, service, more, tmp_path):
    folder = tmp_path / "plains"
    folder.mkdir()
    for photo in more:
        (folder / photo.name).write_bytes(photo.read_bytes())
    slow_down(service)

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
            program.wait(lambda: terminal.poll() is not None, "the end of the command")
            assert terminal.returncode == 0
        program.wait(lambda: not made.transfers.statuses, "the list without it")
        program.wait(lambda: not made.central_widget.status.transfer.isVisible(), "the bottom without it")
        listed(made, 6 + MORE)
        assert sum(len(images) for images in service.content(service.number).values()) == 6 + MORE

    run(monkeypatch, steps)
