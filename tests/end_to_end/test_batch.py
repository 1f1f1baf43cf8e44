"""A folder dropped on the classify panel: the table fills, sorts by disagreement, is saved, and photos go to a label."""

import csv
import json
from collections import Counter

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QDesktopServices, QGuiApplication

from apitorch_desktop.ui.batch.panel import AddEachDialog
from apitorch_desktop.ui.widgets.table_model import ROW_ROLE as ROW
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.widget_driver import (
    OpenedFolders,
    chip,
    choose,
    choose_from_button,
    pick,
    press_cell,
    press_header,
    save_table,
)

LABELS = ("dress", "shoes")
EACH = 6
CORNER = QPoint(1500, 920)


def counts(client, target):
    return {one.label: one.count for one in client.labels(target)}


def press_cell_with_ctrl(table, index):
    at = pointer.center(table.viewport(), table.visualRect(index))
    pointer.xdotool("mousemove", at.x(), at.y(), "keydown", "ctrl", "click", 1, "keyup", "ctrl")


@pytest.fixture
def folder(photos, tmp_path):
    """Eight held-out photos and a file that is none."""
    place = tmp_path / "New ones"
    place.mkdir()
    for label in LABELS:
        for photo in sorted((photos / "test" / label).iterdir())[:4]:
            (place / f"{label} {photo.name}").write_bytes(photo.read_bytes())
    (place / "notes.jpg").write_text("no picture")
    return place


@pytest.mark.action("batch.add_each", "batch.open", "batch.copy", "batch.copy_paths", "batch.show_in_file_manager")
def test_a_folder_of_photos_becomes_a_table(monkeypatch, photos, folder, tmp_path):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)

    def steps(made):
        session, table = made.session, made.batch_panel
        program.wait(lambda: session.sets_confirmed, "the embedded service")
        client = session.workspace.client
        for name, swapped in (("Right", False), ("Upside down", True)):
            made_set = client.create_training_set(name)
            for label in LABELS:
                told = LABELS[1 - LABELS.index(label)] if swapped else label
                for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
                    client.upload_image(made_set.id, told, path=photo)
        program.wait(lambda: client.classifier("right").status == "ready", "the first classifier")
        program.wait(lambda: client.classifier("upside-down").status == "ready", "the second classifier")
        session.refresh()
        session.refresh_classifiers()
        program.wait(lambda: len(session.classifiers) >= 5, "the classifiers")
        choose_classifiers(made)

        assert pointer.drag([folder], pointer.center(made.classify_panel.photo), CORNER) == "dropped"
        program.wait(lambda: table.isVisible() and table.model.counts[0] == 9, "the table")
        program.wait(lambda: not table.stop.isVisible(), "the end of the batch")
        assert table.model.counts == (9, 1, 9)
        assert "1 could not be classified" in table.words.full_text()
        assert table.meter.value() < table.meter.maximum()

        sorted_by_a_click(table)
        for form in ("csv", "jsonl"):
            save_table(made, f"As {'CSV' if form == 'csv' else 'JSON lines'}…", tmp_path / f"answers.{form}")
        rows = list(csv.DictReader((tmp_path / "answers.csv").read_text("utf-8").splitlines()))
        right = [one for one in rows if one["classifier"] == "right" and one["label"]]
        assert len(right) == 8
        assert sum(one["image"].rpartition("/")[2].startswith(one["label"]) for one in right) >= 7
        lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text("utf-8").splitlines()]
        assert [(one["image"], one["classifier"], one["label"]) for one in lines if one["label"]] == [
            (one["image"], one["classifier"], one["label"]) for one in rows if one["label"]
        ]
        send(made, table, client)

    def choose_classifiers(made):
        """That of the open training set, and another's; what was chosen stays when they are listed anew."""
        panel, tree = made.classify_panel, made.central_widget.tree
        node = program.wait(lambda: next((one for one in tree.model.top() if one.text == "Right"), None), "the tree")
        press_cell(tree.view, tree.model.index_of(node))
        program.wait(lambda: panel.chosen[:1] == ["right"], "the open training set's classifier")
        for slug in panel.chosen[1:]:
            program.press(lambda slug=slug: chip(panel, slug))
            program.wait(lambda slug=slug: slug not in panel.chosen, f"{slug} left out")
        choose_from_button(made, panel.plus, "Upside down  (upside-down)")
        listed = []
        made.session.classifiers_changed.connect(lambda: listed.append(1))
        made.session.refresh_classifiers()
        program.wait(lambda: listed, "the classifiers listed anew")
        assert panel.chosen == ["right", "upside-down"]

    def sorted_by_a_click(table):
        """By disagreement the greatest first, by confidence the least sure first; another click turns it round."""
        shown = table.table.model()
        apart = table.model.disagreement_column
        assert not table.table.isColumnHidden(apart)

        def figures(figure):
            return [figure(shown.index(row, 0).data(ROW)) for row in range(shown.rowCount())]

        for column, figure, falling in (
            (apart, lambda row: row.disagreement, True),
            (table.model.answer_column("right") + 1, lambda row: row.confidence("right"), False),
        ):
            for down, part in ((falling, 0.4), (not falling, 0.6)):
                press_header(table.table, column, part)
                order = Qt.SortOrder.DescendingOrder if down else Qt.SortOrder.AscendingOrder
                wanted = (column, order)  # at first it is sorted by another column
                program.wait(lambda wanted=wanted: sorting(table.table.header()) == wanted, "the order")
                known = [one for one in figures(figure) if one is not None]
                assert len(set(known)) > 2
                assert known == sorted(known, reverse=down)
        assert figures(lambda row: row.problem)[0], "what has no answer is the most doubtful"

    def sorting(header):
        return header.sortIndicatorSection(), header.sortIndicatorOrder()

    def send(made, table, client):
        """Two photos and what is none, by the menu; nothing but the photos goes."""
        target = next(one.id for one in made.session.training_sets if one.name == "Right")
        shown = table.table.model()
        press_header(table.table, 0)
        names = {shown.index(row, 0).data(): row for row in range(shown.rowCount())}
        dresses = sorted(name for name in names if name.startswith("dress"))[:2]
        press_cell(table.table, shown.index(names[dresses[0]], 0))
        pointer.key("shift+Down")
        press_cell_with_ctrl(table.table, shown.index(names["notes.jpg"], 0))
        program.wait(lambda: table.send.text() == "Add 2 to set", "how many")
        program.press(table.send)
        choose("Right", "shoes")
        program.wait(lambda: counts(client, target) == {"dress": EACH, "shoes": EACH + 2}, "the photos there")
        assert table.isVisible()
        groups = {group.label: group.images for group in client.images(target).data}
        names = {image.original_filename for image in groups["shoes"]}
        assert set(dresses) <= names
        marked_and_added_by_key(made, table, client, target, dresses)
        shared(made, table)
        each_under_its_answer(made, table, client, target)
        pointer.key("Escape")
        program.wait(lambda: not table.isVisible(), "the table left")

    def row_of(table, name):
        shown = table.table.model()
        return next(index for row in range(shown.rowCount()) if (index := shown.index(row, 0)).data() == name)

    def in_set(table, name):
        return row_of(table, name).siblingAtColumn(table.model.in_set_column).data()

    def marked_and_added_by_key(made, table, client, target, dresses):
        program.wait(lambda: [in_set(table, name) for name in dresses] == ["shoes"] * 2, "the marks of what is there")
        assert not table.table.isColumnHidden(table.model.in_set_column)
        other = next(row.name for row in table.model.rows if row.name.startswith("dress") and row.name not in dresses)
        press_cell(table.table, row_of(table, other))
        pointer.key("1")
        program.wait(lambda: in_set(table, other) == "dress", "the photo under the label of the key")
        pointer.write("sho")
        program.wait(made.labeling.picker.isVisible, "the picker")
        pointer.key("Escape")
        program.wait(table.table.hasFocus, "the focus in the table")
        assert counts(client, target) == {"dress": EACH + 1, "shoes": EACH + 2}

    def shared(made, table):
        first, clipboard = table.model.rows[0], QGuiApplication.clipboard()
        press_cell(table.table, row_of(table, first.name))
        pointer.key("ctrl+c")
        program.wait(lambda: clipboard.mimeData().hasImage(), "the picture on the clipboard")
        press_cell(table.table, row_of(table, first.name), button=3)
        choose("Copy path")
        program.wait(lambda: clipboard.text() == str(first.source.path), "its path")
        opened = OpenedFolders()
        QDesktopServices.setUrlHandler("file", opened, "open_url")
        try:
            press_cell(table.table, row_of(table, first.name), button=3)
            choose("Show in file manager")
            program.wait(lambda: opened.paths == [str(folder)], "its folder")
        finally:
            QDesktopServices.unsetUrlHandler("file")
        press_cell(table.table, row_of(table, first.name), button=3)
        choose("Open in the classify panel")
        program.wait(lambda: made.classify_panel.name.full_text() == first.name, "the photo in the panel")

    def each_under_its_answer(made, table, client, target):
        """None of those that are there, none that is less sure than asked; one undo takes them all back."""
        before = counts(client, target)
        made.window.activateWindow()
        table.table.clearSelection()
        program.press(table.each)
        dialog = program.wait(lambda: program.dialog(AddEachDialog), "the dialog")
        program.wait(dialog.isActiveWindow, "its focus")
        pick(dialog.classifier, "right")
        program.press(dialog.least)
        pointer.key("ctrl+a")
        pointer.write("30")
        program.wait(lambda: dialog.least.value() == 30, "the threshold")
        assert "3 in the set already" in dialog.left_out.text()
        assert "1 without an answer" in dialog.left_out.text()
        uploads = dialog.found().uploads
        assert uploads
        program.press(dialog.start)
        after = Counter(before) + Counter(upload.label for upload in uploads)
        program.wait(lambda: counts(client, target) == after, "each under its answer")
        program.wait(lambda: all(in_set(table, upload.name) == upload.label for upload in uploads), "their marks")
        journal = made.session.stores.edits.journal
        title = f"import {len(uploads)} photo{'s' * (len(uploads) != 1)}"
        connection = made.session.connection.id
        program.wait(lambda: journal.undoable(connection).title == title, "the import in the journal")
        made.window.activateWindow()  # no window manager does that here when a dialog closes
        table.table.setFocus()
        program.wait(table.table.hasFocus, "the focus in the table")
        pointer.key("ctrl+z")
        program.wait(lambda: counts(client, target) == before, "all of them taken back")

    assert program.run(monkeypatch, steps) == 0
