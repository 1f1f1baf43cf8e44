"""Drags between the grid and other programs, and inside it, on a real X server."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QTimer

from apitorch_desktop.ui.grid.view import GridView
from tests.helpers.event_loop import expose, turn, wait_until
from tests.helpers.grid_driver import cell_center, groups
from tests.helpers.waiting import PATIENCE
from tests.helpers.x11_pointer import drag, xdotool

_TARGET = Path(__file__).parents[2] / "helpers" / "drop_target.py"
CORNER = QPoint(1100, 100)


@pytest.fixture
def filled(grid, model):
    """Lines of five: boots 8, hat 30."""
    model.set_groups(groups(8, 30))
    turn()
    return grid


def run(*words):
    """Run xdotool on a thread of `beside`."""
    subprocess.run(["xdotool", *map(str, words)], check=True, timeout=PATIENCE)


def beside(act):
    """Run `act` on a thread beside the event loop, in which a drag has one of its own."""
    acting = threading.Thread(target=act)
    acting.start()
    wait_until(lambda: not acting.is_alive())


def carry(start, *stops):
    """Press, move in steps, release."""
    steps = ["mousemove", start.x(), start.y(), "mousedown", 1, "sleep", 0.05]
    before = start
    for stop in stops:
        for part in (0.25, 0.5, 0.75, 1):
            point = before + (stop - before) * part
            steps += ["mousemove", point.x(), point.y(), "sleep", 0.04]
        before = stop
    xdotool(*steps, "sleep", 0.1, "mouseup", 1)


def test_a_file_dropped_on_a_label_is_for_that_label_which_is_named_meanwhile(filled, tmp_path):
    file = tmp_path / "a photo.jpg"
    file.write_bytes(b"x")
    dropped, said = [], []
    filled.content_dropped.connect(lambda content, label: dropped.append((content, label)))
    filled.drag_over.connect(said.append)
    assert drag([file, "https://a.example/b.png"], cell_center(filled, 14), CORNER) == "dropped"
    wait_until(lambda: dropped)
    content, label = dropped[0]
    assert (content.paths, content.urls, label) == ((file,), ("https://a.example/b.png",), "hat")
    assert "Add to “hat”" in said
    assert said[-1] == ""


def test_a_file_dropped_below_the_last_label_is_for_the_set(filled, model, tmp_path):
    model.set_groups(groups(3))
    turn()
    dropped = []
    filled.content_dropped.connect(lambda content, label: dropped.append((content.paths, label)))
    drag([tmp_path], filled.viewport().mapToGlobal(QPoint(300, 600)), CORNER)
    wait_until(lambda: dropped)
    assert dropped == [((tmp_path,), None)]


def test_what_holds_no_picture_is_refused_with_a_reason(filled):
    dropped, refused = [], []
    filled.content_dropped.connect(lambda *what: dropped.append(what))
    filled.drop_refused.connect(refused.append)
    drag(["javascript://photo.jpg"], cell_center(filled, 2), CORNER, accepted=False)
    wait_until(lambda: refused)
    assert dropped == []
    assert "no photo" in refused[0]


def test_an_address_that_cannot_be_opened_is_passed_on_for_its_reason(filled):
    dropped = []
    filled.content_dropped.connect(lambda content, label: dropped.append((content.unusable, label)))
    drag(["ftp://a.example/photo.jpg"], cell_center(filled, 2), CORNER)
    wait_until(lambda: dropped)
    assert dropped == [(("ftp://a.example/photo.jpg",), "boots")]


def test_a_selection_dragged_to_another_label_asks_for_a_move(filled):
    moved, said = [], []
    filled.images_dropped.connect(lambda ids, label: moved.append((ids, label)))
    filled.drag_over.connect(said.append)
    filled.images.selection.set(range(3))
    carry(cell_center(filled, 1), cell_center(filled, 14))
    wait_until(lambda: moved)
    assert moved == [([filled.images.image(row).image_id for row in range(3)], "hat")]
    assert "Move 3 photos to “hat”" in said
    assert list(filled.images.selection) == [0, 1, 2], "what is selected stays selected"


def test_a_drag_to_its_own_label_does_nothing(filled):
    moved = []
    filled.images_dropped.connect(lambda *what: moved.append(what))
    carry(cell_center(filled, 1), cell_center(filled, 4))
    turn()
    assert moved == []
    assert list(filled.images.selection) == [1]


def test_a_drag_of_what_is_not_selected_takes_it_along_alone(filled):
    moved = []
    filled.images_dropped.connect(lambda ids, label: moved.append((ids, label)))
    filled.images.selection.set(range(3))
    carry(cell_center(filled, 6), cell_center(filled, 14))
    wait_until(lambda: moved)
    assert moved == [([filled.images.image(6).image_id], "hat")]


def test_a_drag_at_the_edge_scrolls(filled, model):
    model.set_groups(groups(8, 200, 30))
    turn()
    scrolled = threading.Event()
    timer = QTimer(interval=5)  # of the drag's own event loop
    timer.timeout.connect(lambda: scrolled.set() if filled.top() > 60 else None)
    timer.start()

    def act():
        start, bottom = (
            cell_center(filled, 1),
            filled.viewport().mapToGlobal(QPoint(300, filled.viewport().height() - 6)),
        )
        places = [(300, 400), (bottom.x(), bottom.y() - 5), (bottom.x(), bottom.y())]
        steps = [word for x, y in places for word in ("mousemove", x, y, "sleep", 0.05)]
        run("mousemove", start.x(), start.y(), "mousedown", 1, *steps)
        scrolled.wait(60)
        run("mouseup", 1)

    beside(act)
    timer.stop()
    assert scrolled.is_set()


# --- out


@pytest.fixture
def target():
    """Another program's window at `CORNER`, and what it prints."""
    command = [sys.executable, str(_TARGET), str(CORNER.x()), str(CORNER.y())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        lines = []

        def read():
            lines.extend(process.stdout)

        reader = threading.Thread(target=read)
        reader.start()
        yield lines
        process.terminate()
        reader.join()


def carry_out(start, lines):
    """Drag to the other program's window, and release once that has seen it, however slow the machine is."""

    def act():
        end = CORNER + QPoint(100, 100)
        run("mousemove", start.x(), start.y(), "mousedown", 1, "sleep", 0.05)
        for part in (0.1, 0.4, 0.7, 1):
            point = start + (end - start) * part
            run("mousemove", point.x(), point.y(), "sleep", 0.05)
        patience = time.monotonic() + PATIENCE
        while not lines and time.monotonic() < patience:
            time.sleep(0.01)
        run("sleep", 0.5, "mousemove", end.x() + 2, end.y(), "sleep", 0.5, "mouseup", 1)

    beside(act)


def dropped(lines):
    return [json.loads(line.removeprefix("dropped ")) for line in lines if line.startswith("dropped ")]


@pytest.fixture
def generous(qtbot, model, loader, theme, tasks, tmp_path):
    """A grid that gives files to other programs, each of which takes a moment to make."""
    made = []

    def copy(image, cancelled):
        time.sleep(0.02)
        path = tmp_path / f"kopie é {image.original_filename}"
        path.write_bytes(b"x" * int(image.bytes))
        made.append(path.name)
        return path

    view = GridView(model, loader, theme, tasks=tasks, local_copy=copy)
    qtbot.addWidget(view)
    view.setGeometry(60, 60, 800, 700)
    expose(view)
    model.set_groups(groups(8, 30))
    turn()
    view.made = made
    return view


def test_photos_dragged_to_another_program_arrive_there_as_files(generous, target):
    generous.images.selection.set(range(5))
    assert generous.made == []
    carry_out(cell_center(generous, 2), target)
    wait_until(lambda: dropped(target))
    assert dropped(target) == [{f"kopie é IMG_{number}.jpg": 1000 for number in range(1, 6)}]
    assert "text/uri-list" in target[0]


def test_a_drag_inside_makes_no_files(generous):
    moved = []
    generous.images_dropped.connect(lambda *what: moved.append(what))
    carry(cell_center(generous, 2), cell_center(generous, 14))
    wait_until(lambda: moved)
    assert generous.made == []


def test_files_that_are_not_ready_in_time_are_left_out_and_told_of(generous, target, monkeypatch):
    from apitorch_desktop.ui.widgets import drag_drop

    monkeypatch.setattr(drag_drop, "PATIENCE", 1000)
    short, late = [], threading.Event()
    generous.drag_incomplete.connect(lambda ready, wanted: short.append((ready, wanted)))
    generous.images.selection.all()
    original = generous._local_copy
    generous._local_copy = lambda image, cancelled: (
        image.original_filename > "IMG_2" and late.wait(PATIENCE),
        original(image, cancelled),
    )[1]
    carry_out(cell_center(generous, 2), target)
    wait_until(lambda: short)
    late.set()
    ready, wanted = short[0]
    assert wanted == 38
    assert ready < 38
    wait_until(lambda: dropped(target))
    assert len(dropped(target)[0]) == ready
