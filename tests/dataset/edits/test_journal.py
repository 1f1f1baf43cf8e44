"""The journal reads edits of version 0.1.0, which had one record for all kinds, and writes what 0.1.0 could read."""

import json
import sqlite3
from contextlib import closing

import msgspec
import pytest

from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import CopyStep, EditKind, EditStage

PROGRESS = {
    "labels_made": ["x"],
    "labels_dropped": ["y"],
    "before": {"x": ["ti_1"]},
    "before_forward": False,
    "planned": True,
    "doubt": True,
    "begun": True,
    "sealed": True,
    "refused": "The disk is full.",
}
READ_PROGRESS = {
    "created_labels": ["x"],
    "dropped_labels": ["y"],
    "ids_before": {"x": ["ti_1"]},
    "ids_before_forward": False,
    "planned": True,
    "unconfirmed": True,
    "label_call_begun": True,
    "sealed": True,
    "refused": "The disk is full.",
}
OLD = {
    "move": ({}, {}),
    "delete": ({}, {}),
    "restore": ({}, {}),
    "settle": ({}, {}),
    "import": (
        {
            "new": "Summer",
            "new_text": "hot",
            "labels": ["a"],
            "sets_before": ["set:1"],
            "new_training_set": True,
            "transfer": 7,
            "labels_before": ["b"],
            "mark": "abc",
        },
        {
            "name": "Summer",
            "description": "hot",
            "labels": ["a"],
            "sets_before": ["set:1"],
            "new_training_set": True,
            "transfer_id": 7,
            "labels_before": ["b"],
            "lock_name": "abc",
        },
    ),
    "feedback": (
        {"new": "x", "classification": "c1", "label_id": "l1", "sent": True},
        {"label": "x", "classification_id": "c1", "label_id": "l1", "sent": True},
    ),
    "create label": ({"new": "x"}, {"label": "x"}),
    "rename label": ({"old": "y", "new": "x", "sent": True}, {"old": "y", "new": "x", "renamed": True}),
    "merge labels": ({"old": "y", "new": "x"}, {"old": "y", "new": "x"}),
    "delete label": ({"old": "y"}, {"old": "y"}),
    "create training set": (
        {"new": "Summer", "new_text": "", "labels": ["a"], "sets_before": []},
        {"name": "Summer", "description": "", "labels": ["a"], "sets_before": []},
    ),
    "rename training set": (
        {"old": "Summer", "new": "Winter", "old_text": "hot", "new_text": "cold"},
        {"old": "Summer", "new": "Winter", "old_description": "hot", "new_description": "cold"},
    ),
    "delete training set": (
        {"new": "Summer", "new_text": "hot", "labels": ["a"], "sets_before": ["set:1"]},
        {"name": "Summer", "description": "hot", "labels": ["a"], "sets_before": ["set:1"]},
    ),
    "dismiss": (
        {"dismissed": [[0, "flag:dark", 0], [0, "twin:", 1]]},
        {"dismissed": [(0, "flag:dark", 0), (0, "twin:", 1)]},
    ),
}
"""Kind → the fields that 0.1.0 filled in beside those of the progress, and how they are read."""
PLACEMENT = {
    "n": 0,
    "first": "ti_1",
    "source": "y",
    "target": None,
    "name": "a.jpg",
    "sha256": "00",
    "there": True,
    "step": 2,
    "copy": "ti_2",
    "merged": True,
    "gone": True,
    "handle": 5,
    "other": 6,
    "record": None,
}


def rows(folder, sql="SELECT act, facts FROM edit"):
    with closing(sqlite3.connect(folder / "edits.sqlite")) as file:
        return file.execute(sql).fetchall()


def write_old(folder, kind, facts):
    """Write an edit with one image the way 0.1.0 did."""
    EditJournal(folder).close()  # the schema is that of 0.1.0
    with closing(sqlite3.connect(folder / "edits.sqlite")) as file, file:
        file.execute(
            "INSERT INTO edit VALUES (3, 'c1', 'set:4', 5, ?, 'a title', 'undoing', 'a note', 1.5, ?)",
            (kind, json.dumps(facts).encode()),
        )
        file.execute("INSERT INTO placement VALUES (3, 0, ?)", (msgspec.msgpack.encode(PLACEMENT),))


def test_there_is_an_old_record_for_every_kind():
    since = {EditKind.CHOOSE_VERSION, EditKind.SPLIT}
    assert set(OLD) == {str(kind) for kind in set(EditKind) - since}


@pytest.mark.parametrize("kind", OLD)
def test_an_edit_that_an_older_version_wrote_is_read_and_written_again(kind, tmp_path):
    facts, read = OLD[kind]
    facts = facts | PROGRESS
    write_old(tmp_path, kind, facts)
    journal = EditJournal(tmp_path)
    [row] = journal.rows("c1")
    assert (row.kind, row.stage, row.title, row.note) == (kind, EditStage.UNDOING, "a title", "a note")
    assert row.set_key == "set:4"
    assert {name: getattr(row.payload, name) for name in row.payload.__struct_fields__} == read | READ_PROGRESS | (
        {"new": ""} if kind == "delete label" else {}
    )
    [placement] = journal.load(row).placements
    assert (placement.known_id, placement.at_target, placement.step, placement.copy_id) == (
        "ti_1",
        True,
        CopyStep.COPIED,
        "ti_2",
    )
    assert (placement.missing, placement.handle, placement.merged_with) == (True, 5, 6)
    journal.save(row, row.placements)
    journal.close()
    [(act, again)] = rows(tmp_path)
    assert (act, json.loads(again)) == (kind, facts)
    [(body,)] = rows(tmp_path, "SELECT body FROM placement")
    assert msgspec.msgpack.decode(body) == PLACEMENT | {"split": ""}


@pytest.mark.parametrize("kind", OLD)
def test_a_record_of_nothing_but_defaults_is_read(kind, tmp_path):
    write_old(tmp_path, kind, {})
    journal = EditJournal(tmp_path)
    [row] = journal.rows("c1")
    assert row.payload == type(row.payload)()
    assert not row.payload.has_started
    journal.save(row)
    journal.close()
    assert rows(tmp_path) == [(kind, b"{}")]
