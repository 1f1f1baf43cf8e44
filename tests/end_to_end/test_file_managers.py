"""The entries in the menus of file managers: what they start arrives in the window, at first and while it is open."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import app_runner as program
from tests.helpers.import_plan import closed, shown_plan

_LINUX = Path(__file__).parents[2] / "packaging" / "linux"
_NAUTILUS = """
import sys
from pathlib import Path
import gi
gi.require_version("Nautilus", "4.0")
sys.path.insert(0, sys.argv[1])
from apitorch_desktop_actions import ApiTorchDesktopActions

class File:
    def __init__(self, path, kind):
        self.path, self.kind = Path(path), kind
    def get_uri(self):
        return self.path.as_uri()
    def is_directory(self):
        return self.path.is_dir()
    def get_mime_type(self):
        return self.kind

menu = ApiTorchDesktopActions()
assert menu.get_file_items([File("/a.txt", "text/plain"), File("/b.jpg", "image/jpeg")]) == []
items = menu.get_file_items([File(path, "image/jpeg") for path in sys.argv[3:]])
(item,) = [item for item in items if item.props.label == sys.argv[2]]
item.emit("activate")
"""
CLASSIFY, ADD = "Classify with API Torch", "Add to a training set…"


@pytest.fixture
def menus(tmp_path):
    """The folder of a user's data with the entries in it; what they start is this program."""
    command = tmp_path / "apitorch-desktop"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m apitorch_desktop "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path / "share")}
    subprocess.run(["sh", _LINUX / "file_managers.sh", command], env=environment, check=True, stdout=subprocess.DEVNULL)
    return tmp_path / "share"


def entries(file):
    """Name → command line, of the entries in a file of a menu."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes="#")
    parser.optionxform = str
    assert parser.read(file, encoding="utf-8")
    return {part["Name"]: part["Exec"] for part in parser.values() if "Exec" in part}


def choose(menus, file, name, *paths):
    """Start what an entry starts, with these paths selected."""
    command, field = shlex.split(entries(menus / file)[name])[:-1], shlex.split(entries(menus / file)[name])[-1]
    assert field == "%F"
    return start(*command, *paths)


def start(*command):
    started = subprocess.Popen(command, cwd="/")
    program.wait(lambda: started.poll() is not None, "the end of what was started")
    assert started.returncode == 0


def has_nautilus():
    """Return whether the system's Python knows the interface of Nautilus, as on the Debian that the tests are set up for."""
    probe = ["/usr/bin/python3", "-c", "import gi; gi.require_version('Nautilus', '4.0')"]
    return Path(probe[0]).exists() and subprocess.run(probe, stderr=subprocess.DEVNULL).returncode == 0


def test_all_four_offer_both(menus):
    nemo = [entries(menus / "nemo" / "actions" / f"apitorch-desktop-{one}.nemo_action") for one in ("classify", "add")]
    thunar = [entries(menus / "Thunar" / "sendto" / f"apitorch-desktop-{one}.desktop") for one in ("classify", "add")]
    dolphin = entries(menus / "kio" / "servicemenus" / "apitorch-desktop.desktop")
    assert nemo[0] | nemo[1] == thunar[0] | thunar[1] == dolphin
    command = menus.parent / "apitorch-desktop"
    assert dolphin == {CLASSIFY: f"{command} --classify %F", ADD: f"{command} %F"}
    if shutil.which("desktop-file-validate"):  # which knows no menus of Plasma
        files = [*_LINUX.glob("*.desktop"), *(menus / "Thunar" / "sendto").iterdir()]
        done = subprocess.run(["desktop-file-validate", "--no-hints", *files], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")


def test_what_is_chosen_there_arrives_in_the_window(monkeypatch, menus, photos, tmp_path):
    """The first start classifies a folder as soon as it can; later ones hand over to the window."""
    folder = tmp_path / "New ones"
    folder.mkdir()
    names = ["one photo.jpg", "b.jpg", "c.jpg"]
    for name, photo in zip(names, sorted((photos / "test" / "dress").iterdir()), strict=False):
        (folder / name).write_bytes(photo.read_bytes())

    def steps(made):
        table, panel = made.batch_panel, made.classify_panel
        program.wait(lambda: table.isVisible() and table.model.counts[0] == 3, "the table of the first start")
        assert panel.isVisible()

        script = ["/usr/bin/python3", "-c", _NAUTILUS, menus / "nautilus-python" / "extensions"]
        if has_nautilus():
            start(*script, CLASSIFY, folder / names[0])
        else:
            choose(menus, "nemo/actions/apitorch-desktop-classify.nemo_action", CLASSIFY, folder / names[0])
        program.wait(lambda: any(card.answer for card in panel.cards.values()), "an answer about the one photo")
        program.wait(lambda: names[0] in panel.photo.accessibleName(), "the one photo")

        choose(menus, "kio/servicemenus/apitorch-desktop.desktop", CLASSIFY, *(folder / name for name in names[1:]))
        program.wait(lambda: table.isVisible() and table.model.counts[0] == 2, "the table of two photos")

        choose(menus, "Thunar/sendto/apitorch-desktop-add.desktop", ADD, folder)
        plan = shown_plan()
        assert len(plan.plan.items) == 3
        closed(made)

    assert program.run(monkeypatch, steps, "--classify", str(folder)) == 0
