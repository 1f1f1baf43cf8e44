"""Watched folders of the window: photos that arrive are added, written down and moved, once, also after a restart."""

import csv
import os
import shutil

import pytest
from PySide6.QtWidgets import QTreeView

from apitorch_desktop.dataset.watch.task import WatchTask, lock_task
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.watch.controller import WatchDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.app_runner import dialog
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose_in_menu_bar, pick, write_into


def enter(line, path):
    write_into(line, str(path))
    program.wait(lambda: line.text() == str(path), "the path")


def ask(made):
    choose_in_menu_bar(made, "&Classifier", "Watch a folder…")
    return program.wait(lambda: dialog(WatchDialog), "the dialog")


def counts(made):
    """Photos of the open training set by label, as the service has them."""
    (found,) = made.session.workspace.client.training_sets()
    return {label: count for label, count in zip(found.labels, found.counts, strict=True) if count}


@pytest.mark.action("classifier.watch", "edit.undo")
def test_photos_that_arrive_are_added_written_down_and_moved_once(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 6)
    folder, out, table = tmp_path / "camera", tmp_path / "sorted", tmp_path / "answers.csv"
    folder.mkdir()
    arriving = [sorted((photos / "test" / label).iterdir())[at] for label in ("dress", "hat") for at in range(2)]

    def rows():
        return list(csv.DictReader(table.read_text("utf-8").splitlines())) if table.exists() else []

    def first(made):
        page = made.watch_panel
        program.wait(lambda: made.model.total == 12, "the photos")
        client = made.session.workspace.client
        program.wait(lambda: client.classifier("summer").status == "ready", "the classifier")
        made.session.refresh_classifiers()
        program.wait(lambda: any(one.slug == "summer" for one in made.session.classifiers), "the classifier listed")

        asked = ask(made)
        assert not asked.start.isEnabled()
        enter(asked.folder.line, folder)
        pick(asked.classifier, "summer")
        program.press(asked.adds)
        program.wait(asked.how.isEnabled, "the choice of how")
        pick(asked.how, "Without a label")
        program.press(asked.writes)
        program.wait(asked.table.isEnabled, "the line of the table")
        enter(asked.table.line, table)
        program.press(asked.start)
        program.wait(page.isVisible, "the page")
        assert page.empty.isVisible()
        for photo in arriving[:2]:
            shutil.copy(photo, folder / photo.name)
        (folder / "letter.jpg").write_text("Dear zebra,")
        program.wait(lambda: made.watches.statuses[0].done == 2 and made.watches.statuses[0].failed == 1, "the answers")
        assert len(rows()) == 3 and counts(made) == {"dress": 6, "hat": 6, "unlabelled": 2}
        assert len(page.model.rows) == 3

        made.window.activateWindow()
        program.wait(made.window.isActiveWindow, "the window in front")
        while left := counts(made).get("unlabelled", 0):  # they may have come in two groups
            program.wait(lambda: not made.session.tasks.active(Lane.INTERACTIVE), "what is under way")
            pointer.key("ctrl+z")
            program.wait(lambda: counts(made).get("unlabelled", 0) < left, "a group taken back")
        assert counts(made) == {"dress": 6, "hat": 6}

        made.window.activateWindow()
        pointer.key("ctrl+j")
        (card,) = [card for card in made.transfers_panel._cards.values() if card.status.kind == "watch"]
        program.press(card.failed)
        table_view = card.failures.findChild(QTreeView)
        program.wait(lambda: table_view.model().rowCount() == 1, "the failure named")
        assert table_view.model().index(0, 0).data() == "letter.jpg"
        (folder / "letter.jpg").write_bytes(arriving[2].read_bytes())
        program.wait(lambda: made.watches.statuses[0].done == 3, "the photo that took the name")
        program.press(card.pause)
        program.wait(lambda: made.watches.statuses[0].state == "paused", "a pause")
        program.wait(lambda: next(iter(made.watches._runs.values())).stop is None, "the end of the job")

        again = ask(made)  # a second one: another classifier, moved by label
        enter(again.folder.line, folder)
        pick(again.classifier, "summer")
        program.wait(lambda: "already" in again.note.text(), "that it is watched")
        assert not again.start.isEnabled()
        pick(again.classifier, "safe-for-work")
        program.press(again.moves)
        program.wait(again.destination.isEnabled, "the line of the folder")
        enter(again.destination.line, out)
        write_into(again.least, "0")
        program.wait(lambda: again.least.value() == 0, "every answer to count")
        program.press(again.start)
        program.wait(lambda: not list(folder.iterdir()), "all photos moved")
        assert len([path for path in out.rglob("*") if path.is_file()]) == 3
        folder.rename(tmp_path / "away")
        program.wait(lambda: "is not there" in page.words.full_text(), "the absence named")

    def second(made):
        program.wait(lambda: [one.state for one in made.watches.statuses] == ["paused", "running"], "both watches")
        assert made.watches.statuses[0].done == 3
        program.wait(lambda: "is not there" in made.watches.statuses[1].note, "that it waits")
        (tmp_path / "away").rename(folder)
        lock = lock_task(
            home / "desktop" if (home / "desktop").exists() else home, WatchTask("embedded", folder, "summer")
        )
        assert lock is not None
        made.window.activateWindow()
        pointer.key("ctrl+j")
        cards = {card.status.state: card for card in made.transfers_panel._cards.values()}
        program.press(cards["paused"].resume)
        program.wait(lambda: "Another window or command" in made.watches.statuses[0].note, "that it is taken")
        lock.release()
        program.wait(lambda: not made.watches.statuses[0].note, "that it goes on")
        program.press(cards["running"].cancel)
        program.wait(lambda: len(made.watches.statuses) == 1, "one watch")
        shutil.copy(arriving[3], folder / arriving[3].name)
        program.wait(lambda: made.watches.statuses[0].done == 4, "one more, and none twice")
        assert len(rows()) == 5

    assert program.run(monkeypatch, first) == 0
    assert program.run(monkeypatch, second) == 0


def test_a_watch_is_changed_and_what_failed_is_tried_again(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 6)
    folder = tmp_path / "camera"
    folder.mkdir()
    arriving = sorted((photos / "test" / "dress").iterdir())[:3]

    def steps(made):
        page = made.watch_panel
        program.wait(lambda: made.model.total == 12, "the photos")
        client = made.session.workspace.client
        program.wait(lambda: client.classifier("summer").status == "ready", "the classifier")
        bin_id = client.create_training_set("Arrivals").id
        made.session.refresh()
        made.session.refresh_classifiers()
        program.wait(lambda: any(one.slug == "summer" for one in made.session.classifiers), "the classifier listed")
        program.wait(lambda: made.session.find_set(bin_id), "the second training set")

        def in_set(name):
            found = next((one for one in client.training_sets() if one.name == name), None)
            return sum(found.counts) if found is not None else None

        def status():
            return made.watches.statuses[0]

        asked = ask(made)
        enter(asked.folder.line, folder)
        pick(asked.classifier, "summer")
        program.press(asked.adds)
        program.wait(asked.target.isEnabled, "the choice of the training set")
        pick(asked.target, "Arrivals")
        pick(asked.how, "Without a label")
        program.press(asked.start)
        program.wait(page.isVisible, "the page")

        # the file is damaged, and mended so that size and time stay: only a retry looks at it again
        whole = arriving[0].read_bytes()
        (folder / "a.jpg").write_bytes(bytes(len(whole)))
        program.wait(lambda: status().failed == 1, "the failure")
        before = (folder / "a.jpg").stat()
        (tmp_path / "mended.jpg").write_bytes(whole)
        os.utime(tmp_path / "mended.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "mended.jpg").replace(folder / "a.jpg")
        program.press(page.retry)
        program.wait(lambda: status().done == 1 and not status().failed, "the photo, once tried again")
        program.wait(lambda: in_set("Arrivals") == 1, "it added")

        client.delete_training_set(bin_id)
        shutil.copy(arriving[1], folder / "b.jpg")
        program.wait(lambda: status().state == "stopped", "that it cannot go on")
        assert "The training set is not there any more" in page.words.full_text()
        made.session.refresh()
        program.wait(lambda: made.session.find_set(bin_id) is None, "the training set gone")

        program.press(page.change)
        changed = program.wait(lambda: dialog(WatchDialog), "the dialog")
        assert changed.folder.line.text() == str(folder) and not changed.folder.isEnabled()
        assert changed.adds.isChecked() and changed.how.currentText() == "Without a label"
        assert changed.target.currentText() == "Summer"
        pick(changed.how, "Under their answer, the less sure without a label")
        program.wait(changed.least.isEnabled, "the confidence")
        write_into(changed.least, "100")
        program.wait(lambda: changed.least.value() == 100, "what was typed")
        program.press(changed.start)
        program.wait(
            lambda: in_set("Summer") == 14, "the photo that waited, and the one that the lost training set had"
        )
        program.wait(lambda: status().state == "running" and status().done == 2, "that it goes on")

        made.window.activateWindow()
        client.delete_training_set(made.session.open_set.training_set.id)
        shutil.copy(arriving[2], folder / "c.jpg")
        program.wait(lambda: status().state == "stopped", "that the classifier is missing")
        assert "classifier" in page.words.full_text()

    assert program.run(monkeypatch, steps) == 0
