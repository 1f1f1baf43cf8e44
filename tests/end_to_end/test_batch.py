"""A folder dropped on the classify panel: the table fills, sorts by disagreement, is saved, and photos go to a label."""

import csv

import pytest
from PySide6.QtCore import QPoint, Qt

from tests.end_to_end import pointer, program

LABELS = ("dress", "shoes")
EACH = 6
CORNER = QPoint(1500, 920)


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


def test_a_folder_of_photos_becomes_a_table(monkeypatch, photos, folder, tmp_path):
    def steps(made):
        session, table = made.session, made.batch_panel
        program.wait(lambda: session.heard, "the embedded service")
        client = session.workspace.client
        for name, swapped in (("Right", False), ("Upside down", True)):
            made_set = client.create_training_set(name)
            for label in LABELS:
                told = LABELS[1 - LABELS.index(label)] if swapped else label
                for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
                    client.upload_image(made_set.id, told, path=photo)
        program.wait(lambda: client.classifier("right").status == "ready", "the first classifier", 60)
        program.wait(lambda: client.classifier("upside-down").status == "ready", "the second classifier", 60)
        session.refresh()
        session.refresh_classifiers()
        program.wait(lambda: len(session.classifiers) >= 5, "the classifiers")
        made.panel.set_classifiers(session.classifiers, ["right", "upside-down"])

        assert pointer.drag([folder], pointer.centre(made.panel.photo), CORNER) == "dropped"
        program.wait(lambda: table.isVisible() and table.model.counts[0] == 9, "the table")
        program.wait(lambda: not table.stop.isVisible(), "the end of the batch")
        assert table.model.counts == (9, 1, 9)
        assert "1 could not be classified" in table.words.text()
        assert table.meter.value < 1

        shown = table.table.model()
        apart = len(table.model.slugs) + 1
        assert not table.table.isColumnHidden(apart)
        table.table.sortByColumn(apart, Qt.SortOrder.DescendingOrder)
        figures = [float(shown.index(row, apart).data() or -1) for row in range(shown.rowCount())]
        assert figures == sorted(figures, reverse=True)
        assert figures[0] > 0.5

        made.batching.save(tmp_path / "answers.csv")
        program.wait((tmp_path / "answers.csv").exists, "the saved table")
        rows = list(csv.DictReader((tmp_path / "answers.csv").read_text("utf-8").splitlines()))
        right = [one for one in rows if one["classifier"] == "right" and one["label"]]
        assert len(right) == 8
        assert sum(one["image"].rpartition("/")[2].startswith(one["label"]) for one in right) >= 7

        target = session.find_set(next(one.id for one in session.training_sets if one.name == "Right"))
        table.table.selectAll()
        chosen = [one for one in table.selected() if not one.problem]
        made.importing.add([(one.source, one.name) for one in chosen], str(target.id), "dress")
        program.wait(lambda: sum(one.count for one in client.labels(target.id)) == 2 * EACH + 8, "the photos there")

    assert program.run(monkeypatch, steps) == 0
