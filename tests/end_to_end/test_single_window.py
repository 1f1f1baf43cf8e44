"""A second start of the real program, while a window of the same data folder is there."""

import os
import signal
import subprocess
import sys

import pytest

from apitorch_desktop.ui.app import SingleInstance
from apitorch_desktop.utils.paths import desktop_folder

_SECOND = [sys.executable, "-m", "apitorch_desktop"]
_CLAIM = """
import sys, time
from pathlib import Path
from apitorch_desktop.ui.app import SingleInstance
window = SingleInstance(Path(sys.argv[1]))
print(window.claim(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def first(qapp, home):
    window = SingleInstance(desktop_folder())
    assert window.claim()
    window.listen()
    yield window
    window.close()


def test_a_second_start_hands_its_files_to_the_first_and_ends(first, qtbot, tmp_path):
    (tmp_path / "a photo.jpg").touch()
    asked = []
    first.second_start.connect(asked.append)
    second = subprocess.Popen([*_SECOND, "a photo.jpg", "https://example.org/b.jpg"], cwd=tmp_path)
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=20_000)
    assert second.returncode == 0
    assert asked == [[str(tmp_path / "a photo.jpg"), "https://example.org/b.jpg"]]


def test_a_first_window_that_does_not_answer_is_told_of(qapp, home, monkeypatch):
    window = SingleInstance(desktop_folder())
    assert window.claim()
    monkeypatch.setattr("apitorch_desktop.ui.app.PATIENCE", 0.3)
    assert not SingleInstance(desktop_folder()).claim()
    assert not SingleInstance(desktop_folder()).hand_over([])
    window.close()


def test_a_window_that_was_killed_leaves_no_claim(qapp, home):
    folder = desktop_folder()
    killed = subprocess.Popen([sys.executable, "-c", _CLAIM, str(folder)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "True\n"
    assert not SingleInstance(folder).claim()
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    again = SingleInstance(folder)
    assert again.claim()
    again.close()


def test_other_data_folders_have_windows_of_their_own(first, tmp_path):
    other = SingleInstance(tmp_path / "other")
    assert other.claim()
    other.close()
