"""What came, changed and went since a revision, on either database."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from apitorch_desktop.service.storage import changes as changes_module
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.schema import image_changes
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, Facts, add, add_many


class Seen:
    """A client: what it last saw of a training set, brought up to date by changes alone."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number = store, number
        self.images: dict[str, tuple[str, str]] = {}
        self.revision = store.changes.since(ME, number, None).revision
        self.images = self.listed()

    def listed(self) -> dict[str, tuple[str, str]]:
        return {row.id: (row.label, row.split) for row in self.store.images.page(ME, self.number).images}

    def follow(self) -> tuple[int, int]:
        """Return how many images came or changed, and how many went."""
        found = self.store.changes.since(ME, self.number, self.revision)
        assert not found.too_old
        self.images = {key: value for key, value in self.images.items() if key not in found.removed}
        self.images |= {row.id: (row.label, row.split) for row in found.images}
        self.revision = found.revision
        assert self.images == self.listed()
        assert {row.name: row.count for row in found.labels} == {
            row.name: row.count for row in self.store.labels.all(ME, self.number)
        }
        return len(found.images), len(found.removed)


def test_every_kind_of_change_is_followed(store: Store):
    number = store.training_sets.create(ME, "Clothes").id
    rows = add_many(store, number, "hat", [bytes([one]) * 50 for one in range(20)])
    seen = Seen(store, number)
    assert seen.follow() == (0, 0)
    add_many(store, number, "shirt", [bytes([one]) * 60 for one in range(5)])
    add(store, number, "unlabelled", b"waiting")
    assert seen.follow() == (6, 0)
    store.images.move_many(ME, number, [row.id for row in rows[:3]], "shirt")
    store.images.move(ME, rows[0].id, "unlabelled")
    store.images.delete(ME, rows[4].id)
    store.images.delete_many(ME, number, [row.id for row in rows[5:7]])
    assert seen.follow() == (3, 3)
    store.images.add(ME, number, "hat", bytes([9]) * 50, Facts(), "", "test")  # the same image, with a split
    assert seen.follow() == (1, 0)
    store.labels.rename(ME, number, "shirt", "top")
    found = store.changes.since(ME, number, seen.revision)
    assert {row.name for row in found.labels} >= {"top", "hat"}
    assert not found.removed
    seen.images, seen.revision = seen.listed(), found.revision
    store.labels.rename(ME, number, "top", "hat", merge=True)
    assert seen.follow()[0] == 7
    store.labels.delete(ME, number, "hat")
    assert seen.follow()[1] == 21
    assert len(seen.images) == 2


def test_other_sets_are_left_out_and_go_with_their_log(store: Store):
    mine, other = (store.training_sets.create(ME, name).id for name in ("Mine", "Other"))
    seen = Seen(store, mine)
    rows = add_many(store, other, "hat", [bytes([one]) * 50 for one in range(5)])
    store.images.delete(ME, rows[0].id)
    assert seen.follow() == (0, 0)
    store.training_sets.delete(ME, other)
    assert seen.follow() == (0, 0)
    with pytest.raises(RecordNotFound):
        store.changes.since(ME, other, "0-0")
    with pytest.raises(RecordNotFound):
        store.changes.since(ME + 1, mine, None)


def test_what_is_not_known_or_too_much_is_too_old(store: Store, monkeypatch: pytest.MonkeyPatch):
    number = store.training_sets.create(ME, "Clothes").id
    start = store.changes.since(ME, number, None).revision
    rows = add_many(store, number, "hat", [bytes([one]) * 50 for one in range(6)])
    revision = store.changes.since(ME, number, None).revision
    for since in ("", "x", "1", "-", "99999-1", "1-" + "9" * 60, "²-1"):
        found = store.changes.since(ME, number, since)
        assert (found.too_old, found.revision, found.images) == (True, revision, [])
    monkeypatch.setattr(changes_module, "MOST", 5)
    assert store.changes.since(ME, number, start).too_old
    store.images.delete_many(ME, number, [row.id for row in rows[:5]])
    assert not store.changes.since(ME, number, revision).too_old


def test_a_trimmed_log_answers_as_before_and_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch):
    number, other = (store.training_sets.create(ME, name).id for name in ("Clothes", "Other"))
    rows = add_many(store, number, "hat", [bytes([one]) * 50 for one in range(30)])
    add(store, other, "hat", b"other")
    store.images.move(ME, store.images.page(ME, other).images[0].id, "shirt")
    monkeypatch.setattr(changes_module, "MOST", 5)
    monkeypatch.setattr(changes_module, "_TRIMMED", 4)
    revisions = [store.changes.since(ME, number, None).revision]
    store.images.delete_many(ME, number, [row.id for row in rows[:12]])  # more than stay, in one revision
    for row in (*rows[12:20], rows[13]):
        revisions.append(store.changes.since(ME, number, None).revision)
        store.images.move(ME, row.id, "shirt" if row is not rows[13] or len(revisions) < 9 else "hat")
    before = [store.changes.since(ME, number, revision) for revision in revisions]
    assert [found.too_old for found in before] == [True] * 5 + [False] * 5
    assert store.changes.trim() == 20 - 6
    store.sweep()
    assert store.changes.trim() == 0
    assert [store.changes.since(ME, number, revision) for revision in revisions] == before
    assert logged(store) == {number: 6, other: 1}


def logged(store: Store) -> dict[int, int]:
    """Return how many rows the log has of each training set."""
    query = select(image_changes.c.training_set_id, func.count()).group_by(image_changes.c.training_set_id)
    with store._database.querying() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def test_an_image_changes_the_revision_where_something_else_is_learned_than_before(store: Store):
    number = store.training_sets.create(ME, "Clothes").id

    def gained(label: str, split: str = "") -> int:
        before = store.training_sets.get(ME, number).revision
        store.images.add(ME, number, label, b"one", Facts(), "", split)
        return store.training_sets.get(ME, number).revision - before

    assert gained("hat") == 1
    assert gained("hat") == 0
    assert gained("hat", "test") == 1
    assert gained("hat", "test") == gained("hat", "train") == 0
    gained("unlabelled")  # makes the label
    store.images.delete(ME, store.images.page(ME, number, label="unlabelled").images[0].id)
    assert gained("unlabelled") == 0


def test_a_database_of_before_the_log_gets_it(tmp_path: Path):
    import sqlite3

    with Store.open(tmp_path) as store:
        number = store.training_sets.create(ME, "Clothes").id
        row = add(store, number, "hat", b"one")
    file = sqlite3.connect(tmp_path / "store.db")
    for name in ("image_changed", "image_deleted"):
        file.execute(f"DROP TRIGGER {name}")
    file.execute("DROP TABLE image_changes")
    file.execute("PRAGMA user_version = 7")
    file.close()
    with Store.open(tmp_path) as store:
        seen = Seen(store, number)
        store.images.move(ME, row.id, "shirt")
        assert seen.follow() == (1, 0)
