"""A batch goes on in the background: a click in the tree, ✕, pause and a restart lose nothing; a partial table says so."""

import csv
import shutil
import threading

import pytest
from PySide6.QtCore import QPoint

from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.tasks.runner import TaskRunner
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import chip, press_cell, save_table

COUNT = 14
CORNER = QPoint(1500, 920)


@pytest.fixture
def folder(photos, tmp_path):
    place = tmp_path / "New ones"
    place.mkdir()
    for label in ("dress", "hat"):
        for photo in sorted((photos / "test" / label).iterdir())[: COUNT // 2]:
            shutil.copy(photo, place / f"{label} {photo.name}")
    return place


class Gate:
    """Holds answers back: so many as it lets through come, and all of them once it is open."""

    def __init__(self):
        self.waiting, self.open = 0, False
        self._through, self._lock = threading.Semaphore(0), threading.Lock()

    def let(self, answers):
        self._through.release(answers)

    def pass_through(self):
        with self._lock:
            self.waiting += 1
        while not self.open and not self._through.acquire(timeout=0.02):
            pass
        with self._lock:
            self.waiting -= 1


@pytest.fixture
def gate(monkeypatch):
    """A gate before every answer of the service; it opens when the program ends."""
    made, ask, shutdown = Gate(), Workspace.classify, TaskRunner.shutdown

    def classify(self, *arguments, **named):
        made.pass_through()
        return ask(self, *arguments, **named)

    def end(self, *arguments):
        made.open = True
        return shutdown(self, *arguments)

    monkeypatch.setattr(Workspace, "classify", classify)
    monkeypatch.setattr(TaskRunner, "shutdown", end)
    return made


def save(made, path):
    save_table(made, "As CSV…", path)
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def from_the_list(made):
    """Open the table from the list of work."""
    made.window.activateWindow()
    pointer.key("ctrl+j")
    (card,) = [card for card in made.transfers_panel._cards.values() if card.status.kind == "batch"]
    program.press(card.open)
    program.wait(made.batch_panel.isVisible, "the table again")


def test_a_batch_survives_a_click_a_close_a_pause_and_a_restart(monkeypatch, photos, folder, gate, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 6)

    def first(made):
        session, table = made.session, made.batch_panel
        program.wait(lambda: made.model.total == 12 and made.photos.grid.isVisible(), "the photos")
        client = session.workspace.client
        client.create_training_set("Other")
        program.wait(lambda: client.classifier("summer").status == "ready", "the classifier")
        session.refresh()
        session.refresh_classifiers()
        program.wait(lambda: "summer" in made.classify_panel.chosen, "the classifier chosen")
        for slug in [slug for slug in made.classify_panel.chosen if slug != "summer"]:
            program.press(lambda slug=slug: chip(made.classify_panel, slug))
            program.wait(lambda slug=slug: slug not in made.classify_panel.chosen, f"{slug} left out")
        program.wait(lambda: len(session.training_sets) == 2, "both sets")

        assert pointer.drag([folder], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        gate.let(3)
        program.wait(lambda: table.isVisible() and table.model.counts[0] == 3, "the first answers")
        tree = made.central_widget.tree
        node = next(node for node in tree.model.top() if node.text == "Other")
        press_cell(tree.view, tree.model.index_of(node))
        program.wait(lambda: not table.isVisible(), "the other set instead of the table")
        shown = program.wait(lambda: made.central_widget.status.transfer.status, "the batch in the status bar")
        assert shown.state == "running" and shown.title == f"Classifying {COUNT} photos"

        from_the_list(made)
        program.press(table.close_button)
        program.wait(lambda: not table.isVisible(), "the table closed")
        assert made.batch.statuses[0].state == "running"
        from_the_list(made)

        program.press(table.stop)
        program.wait(lambda: "Partial" in table.words.full_text(), "a partial table")
        gate.let(gate.waiting)
        program.wait(lambda: not gate.waiting, "the answers under way")
        rows = save(made, tmp_path / "partial.csv")
        done = table.model.counts[0]
        assert 0 < done < COUNT
        assert len(rows) == COUNT
        assert sum(row["error"] == "Not classified yet." for row in rows) == COUNT - done
        program.press(table.resume)
        gate.let(2)
        program.wait(lambda: table.model.counts[0] > done, "more answers")
        assert table.model.counts[0] < COUNT

    def second(made):
        table = made.batch_panel
        program.wait(lambda: made.batch.statuses and made.session.sets_confirmed, "the batch of the last run")
        program.wait(lambda: made.batch.statuses[0].state == "done", "the rest of it")
        from_the_list(made)
        assert table.model.counts == (COUNT, 0, COUNT)
        rows = save(made, tmp_path / "whole.csv")
        assert not any(row["error"] for row in rows)
        client = made.session.workspace.client
        for row in rows:
            (answer,) = client.classify(["summer"], path=folder / row["image"].rpartition("/")[2])
            assert answer.label == row["label"]

    assert program.run(monkeypatch, first) == 0
    assert program.run(monkeypatch, second) == 0
