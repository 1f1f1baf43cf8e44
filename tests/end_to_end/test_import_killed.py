"""The program killed in the middle of an import: Undo, after the next start, takes away what came in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end import pointer, program
from tests.end_to_end.documented_program import listed, run, use
from tests.misbehaving import Misbehaving

_DYING = Path(__file__).with_name("dying_import.py")
MORE = 12


@pytest.fixture
def service(monkeypatch, photos, home):
    paths = sorted((photos / "train" / "dress").iterdir())[: 6 + MORE]
    with Misbehaving() as made:
        made.number = made.add_set("Coats", {"plains": [path.read_bytes() for path in paths[:6]]})
        made.more = paths[6:]
        use(monkeypatch, made)
        yield made


def killed_in_the_middle(service, label):
    """Photos under their way to a label; the program is killed after the third."""
    service.wrong("late", times=MORE, method="POST", path="/image$", seconds=0.3)
    command = [sys.executable, str(_DYING), str(service.number), label, *map(str, service.more)]
    dying = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."})
    try:
        program.wait(lambda: len(there(service).get(label, ())) >= 3, "the first photos")
    finally:
        dying.kill()
        dying.wait()
    service.right()
    assert len(there(service)[label]) < MORE, "the kill came too late to show anything"


def there(service):
    return {label: images for label, images in service.content(service.number).items() if images}


def labels(made):
    return dict(made.session.opened.counts)


@pytest.mark.parametrize("when", ["at once", "when it has ended"])
def test_undo_takes_away_an_import_in_whose_middle_the_program_was_killed(monkeypatch, service, when):
    before = there(service)
    killed_in_the_middle(service, "quite_new")

    def steps(made, said):
        if when == "at once":  # while it goes on again, and each photo takes its time
            service.wrong("late", times=100, method="POST", path="/image$", seconds=0.3)
        program.wait(lambda: made.session.opened is not None and made.session.opened.listed, "the listing")
        program.wait(lambda: made.desk.statuses, "the transfer")
        if when == "at once":
            assert made.desk.statuses[0].state in ("running", "waiting")
        else:
            program.wait(lambda: made.desk.statuses[0].state == "done", "the end")
            assert len(there(service)["quite_new"]) == MORE
        made.photos.grid.setFocus()
        pointer.key("ctrl+z")
        program.wait(lambda: any(one.startswith("Undone: import") for one in said), f"the undo: {said}")
        service.right()
        assert there(service) == before
        listed(made, 6)
        program.wait(lambda: labels(made) == {"plains": 6}, f"its label to go too: {labels(made)}")
        made.session.refresh()
        program.wait(lambda: not made.session.opened._task, "the listing")
        assert labels(made) == {"plains": 6}
        assert made.desk.statuses[0].state == ("cancelled" if when == "at once" else "done")
        assert said[-1].startswith("Undone: import")

    run(monkeypatch, steps)
    assert there(service) == before
