"""The program killed in the middle of an import: Undo, after the next start, takes away what came in."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.documented_program import listed, run, use
from tests.helpers.fake_api import FakeApi
from tests.helpers.killed_new_set import PHOTOS
from tests.helpers.service_process import serving
from tests.helpers.waiting import PATIENCE, until

_DYING = Path(__file__).parents[1] / "helpers" / "killed_import.py"
MORE = 12


@pytest.fixture
def service(monkeypatch, photos, home):
    paths = sorted((photos / "train" / "dress").iterdir())[: 6 + MORE]
    with FakeApi() as made:
        made.number = made.add_set("Coats", {"plains": [path.read_bytes() for path in paths[:6]]})
        made.more = paths[6:]
        use(monkeypatch, made)
        yield made


def killed_in_the_middle(service, label):
    """Photos under their way to a label; the program is killed after the first ones, whose answers never come."""
    service.wrong("held", times=MORE, method="POST", path="/image$")
    command = [sys.executable, str(_DYING), str(service.number), label, *map(str, service.more)]
    dying = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."})
    try:
        program.wait(lambda: there(service).get(label), "the first photos")
    finally:
        dying.kill()
        dying.wait()
    service.right()
    assert len(there(service)[label]) < MORE, "the kill came too late to show anything"


def there(service):
    return {label: images for label, images in service.content(service.number).items() if images}


def labels(made):
    return dict(made.session.open_set.counts)


@pytest.mark.parametrize("when", ["at once", "when it has ended"])
def test_undo_takes_away_an_import_in_whose_middle_the_program_was_killed(monkeypatch, service, when):
    before = there(service)
    killed_in_the_middle(service, "quite_new")
    if when == "at once":  # while it goes on again, and cannot end before it is cancelled
        service.wrong("held", times=100, method="POST", path="/image$")

    def steps(made, said):
        program.wait(lambda: made.session.open_set is not None and made.session.open_set.listed, "the listing")
        program.wait(lambda: made.transfers.statuses, "the transfer")
        if when == "at once":
            assert made.transfers.statuses[0].state in ("running", "waiting")
        else:
            program.wait(lambda: made.transfers.statuses[0].state == "done", "the end")
            assert len(there(service)["quite_new"]) == MORE
        if when == "at once":
            program.press(made.central_widget.status.transfer._cancel)
            program.wait(lambda: made.transfers.statuses[0].state == "cancelled", "the cancellation")
            service.right()
            journal, connection = made.session.stores.edits.journal, made.session.connection.id
            program.wait(lambda: journal.undoable(connection) is not None, "what came in to be journalled")
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: any(one.startswith("Undone: import") for one in said), f"the undo: {said}")
        service.right()
        assert there(service) == before
        listed(made, 6)
        program.wait(lambda: labels(made) == {"plains": 6}, f"its label to go too: {labels(made)}")
        made.session.refresh()
        program.wait(lambda: not made.session.open_set._task, "the listing")
        assert labels(made) == {"plains": 6}
        assert made.transfers.statuses[0].state == ("cancelled" if when == "at once" else "done")
        assert said[-1].startswith("Undone: import")

    run(monkeypatch, steps)
    assert there(service) == before


@pytest.fixture
def ours(monkeypatch, tmp_path, home):
    """A service of our own, without a training set."""
    with serving(tmp_path / "service") as made:
        use(monkeypatch, made)
        client = ApiClient(made.url, made.key)
        yield client
        client.close()


@pytest.fixture
def folder(photos, tmp_path):
    place = tmp_path / "Summer"
    for label in ("dress", "hat"):
        (place / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[:6]:
            shutil.copy(photo, place / label)
    return place


def sets(client):
    """Name → photos."""
    found = {}
    for one in client.training_sets():
        with suppress(NotFound):  # it is just going
            found[one.name] = sum(len(group.images) for group in client.images(one.id).data)
    return found


def killed_with_a_new_set(client, folder, when):
    command = [sys.executable, "-m", "tests.helpers.killed_new_set", str(folder), when]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as dying:
        try:
            assert dying.stdout.readline() == "started\n"
            wanted = PHOTOS if when == "middle" else 0
            program.wait(lambda: sets(client) == {"Summer": wanted}, f"the set with {wanted} photos")
        finally:
            dying.kill()


@pytest.mark.parametrize("when", ["unheard", "unread"])
def test_a_training_set_made_just_before_the_program_was_killed_does_not_stay(monkeypatch, ours, folder, when):
    killed_with_a_new_set(ours, folder, when)

    def steps(made, said):
        program.wait(lambda: any("“Summer” was cut off" in one for one in said), f"what is said: {said}")
        assert sets(ours) == {}
        program.wait(
            lambda: made.central_widget.empty.isVisible() and not made.session.training_sets, "the empty window"
        )
        assert made.session.stores.edits.journal.rows(made.session.connection.id) == []

    run(monkeypatch, steps)


def test_undo_of_a_killed_import_takes_its_new_training_set_away_once_it_is_whole(monkeypatch, ours, folder):
    killed_with_a_new_set(ours, folder, "middle")

    def steps(made, said):
        program.wait(lambda: any(one.startswith("Added 12 photos") for one in said), f"the rest: {said}")
        assert sets(ours) == {"Summer": 12}
        listed(made, 12)
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: sets(ours) == {}, f"the undo: {said}")
        program.wait(lambda: any(one.startswith("Undone") for one in said), f"the undo to be said: {said}")
        program.wait(lambda: not made.session.training_sets, "the window without it")
        pointer.key("ctrl+shift+z")
        program.wait(lambda: sets(ours) == {"Summer": 12}, f"all of it again: {said}")

    run(monkeypatch, steps)


def test_an_import_that_ends_before_the_window_is_ready_is_said_all_the_same(monkeypatch, ours, folder):
    """The look at what earlier runs left finds it ended, before the window hears that it has."""
    killed_with_a_new_set(ours, folder, "middle")
    recover, finish = UndoableImports.recover, UndoableImports.finish
    looking, looked = threading.local(), threading.Event()

    def late_look(imports, workspace):
        until(lambda: imports._transfers.all()[0].state == "done", "the import to end")
        looking.now = True
        found = recover(imports, workspace)
        looked.set()
        return found

    def after_it(imports, *given):
        if not hasattr(looking, "now"):
            assert looked.wait(PATIENCE)
        return finish(imports, *given)

    monkeypatch.setattr(UndoableImports, "recover", late_look)
    monkeypatch.setattr(UndoableImports, "finish", after_it)

    def steps(made, said):
        program.wait(lambda: [one for one in said if one.startswith("Added 12 photos")], f"the rest: {said}")
        listed(made, 12)
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: sets(ours) == {}, f"the undo: {said}")
        assert len([one for one in said if one.startswith("Added")]) == 1

    run(monkeypatch, steps)


def test_the_window_undoes_what_the_command_line_brought_in(monkeypatch, ours, folder):
    words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Summer"]
    assert subprocess.run(words, timeout=program.PATIENCE).returncode == 0
    shutil.copy(min((folder / "hat").iterdir()), folder / "dress" / "one more.jpg")
    assert subprocess.run(words, timeout=program.PATIENCE).returncode == 0
    assert sets(ours) == {"Summer": 13}

    def steps(made, said):
        listed(made, 13)
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: sets(ours) == {"Summer": 12}, f"the second import undone: {said}")
        program.wait(lambda: made.model.total == 12, "the grid")
        pointer.key("ctrl+z")
        program.wait(lambda: sets(ours) == {}, f"the first import undone: {said}")
        program.wait(lambda: said[-1].startswith("Undone: import 12 photos"), f"that it is said: {said}")

    run(monkeypatch, steps)
