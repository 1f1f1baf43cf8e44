"""A second start of the real program, while a window of the same data folder is there."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from apitorch_desktop.ui.app import SingleInstance
from apitorch_desktop.utils.paths import desktop_folder
from tests.helpers.event_loop import wait_until

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
    wait_until(lambda: second.poll() is not None)
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


def test_the_socket_of_a_window_is_never_in_a_shared_folder(qapp, tmp_path, monkeypatch, short_folder):
    deep = tmp_path / ("d" * 100)
    own, shared = short_folder / "own", short_folder / "shared"
    own.mkdir(mode=0o700)
    shared.mkdir(mode=0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", None)
    window = SingleInstance(deep)
    assert window.claim()
    window.listen()
    (folder,) = own.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == 1
    window.close()
    (shared / f"apitorch-desktop-{os.getuid()}").mkdir(mode=0o777)  # made by somebody who guessed its name
    (shared / f"apitorch-desktop-{os.getuid()}").chmod(0o777)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    window = SingleInstance(deep)
    assert window.claim()
    window.listen()
    assert list((shared / f"apitorch-desktop-{os.getuid()}").iterdir()) == []
    assert not SingleInstance(deep).hand_over([])
    window.close()


@pytest.fixture
def short_folder():
    """A folder whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="w") as folder:
        yield Path(folder)
