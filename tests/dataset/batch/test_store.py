"""Batches are read back from disk as they were saved."""

from pathlib import Path

import pytest

from apitorch_desktop.api.types import Alternative, Classification
from apitorch_desktop.dataset.batch import store as batch_store
from apitorch_desktop.dataset.batch.classification import BatchRow
from apitorch_desktop.dataset.batch.store import LOST, BatchState, BatchStore
from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageBytes, ImageFile, ImageUrl

ANSWER = Classification(
    id="cls_1", classifier="clothes", label="hat", sentence="Hat.", confidence_value="0.81",
    alternatives=[Alternative(label="cap", confidence_value="0.12")],
)  # fmt: skip
SOURCES = [
    ImageFile(Path("/photos/caf\udce9.jpg")),
    ArchiveMember(Path("/photos/a.zip"), "hat/a.jpg"),
    ImageUrl("https://example.com/a.jpg?w=1"),
    ImageBytes(b"\xff\xd8\0data", "pasted.jpg"),
]


@pytest.fixture
def store(tmp_path):
    store = BatchStore(tmp_path)
    yield store
    store.close()


def rows():
    return [BatchRow(source, f"{number}.jpg", f"place {number}") for number, source in enumerate(SOURCES)]


def reopened(store, tmp_path):
    store.close()
    again = BatchStore(tmp_path)
    try:
        return again.all()
    finally:
        again.close()


def test_rows_answers_and_state_are_there_again(store, tmp_path):
    batch = store.add("embedded", ["clothes", "work-safe"], rows())
    store.save_answers(batch.id, 1, {"clothes": ANSWER, "work-safe": "It cannot be read."}, "ab" * 32)
    store.set_state(batch.id, BatchState.PAUSED)
    (read,) = reopened(store, tmp_path)
    assert (read.connection_id, read.slugs, read.state) == ("embedded", ["clothes", "work-safe"], BatchState.PAUSED)
    assert [row.source for row in read.rows] == SOURCES
    assert read.rows[1].answers == {"clothes": ANSWER, "work-safe": "It cannot be read."}
    assert (read.answered, read.failed) == (1, 1)
    assert [row.sha256 for row in read.rows] == ["", "ab" * 32, "", ""]


def test_a_batch_that_is_removed_leaves_nothing(store, tmp_path):
    kept, removed = (store.add("embedded", ["clothes"], rows()) for _ in range(2))
    store.remove(removed.id)
    assert [batch.id for batch in reopened(store, tmp_path)] == [kept.id]


def test_images_in_memory_are_kept_up_to_a_limit(store, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_store, "KEPT_BYTES", 10)
    store.add("embedded", ["clothes"], rows())
    (read,) = reopened(store, tmp_path)
    assert [row.problem for row in read.rows] == ["", "", "", LOST]
