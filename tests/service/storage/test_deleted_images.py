"""Deleted images come back as they were, to their owner alone, as long as their bytes are kept; on either database."""

import pytest
from sqlalchemy import update

from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.records import EmbeddingRow
from apitorch_desktop.service.storage.schema import Removal, deleted_images, released
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, Facts, add, add_many, consistent, files, sweep_released
from tests.service.storage.test_changes import Seen


@pytest.fixture(autouse=True)
def ample_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough free space for what is deleted to be kept."""
    monkeypatch.setattr(DiskReserve, "is_scarce", lambda _self: False)


@pytest.fixture
def number(store: Store) -> int:
    return store.training_sets.create(ME, "Clothes").id


def listed(store: Store, number: int) -> dict[str, object]:
    return {row.id: row for row in store.images.page(ME, number).images}


def same(row: object, other: object) -> bool:
    """Whether two rows are the same image but for its place in the order of arrival."""
    return {**vars_of(row), "seq": 0} == {**vars_of(other), "seq": 0}


def vars_of(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__struct_fields__}  # type: ignore[attr-defined]


def test_what_was_deleted_in_any_way_comes_back_as_it_was(store: Store, number: int):
    add_many(store, number, "hat", [bytes([at]) * 50 for at in range(6)])
    store.images.add(ME, number, "shirt", b"shirt", Facts(), "DSC 1.jpg", "test")
    add(store, number, "unlabelled", b"waiting")
    twin = add(store, number, "shirt", bytes([5]) * 50)  # as under the other label
    before = listed(store, number)
    sha256s = {row.sha256 for row in before.values()}
    store.models.put_embeddings("e", [EmbeddingRow(each, b"v" * 8, None) for each in sha256s])
    seen = Seen(store, number)
    hats = [row.id for row in before.values() if row.label == "hat" and row.sha256 != twin.sha256]
    store.images.delete(ME, hats[0])
    store.images.delete_many(ME, number, hats[1:3])
    store.labels.rename(ME, number, "hat", "shirt", merge=True)  # two become one
    store.labels.delete(ME, number, "shirt")
    assert len(listed(store, number)) == 1
    revision = store.training_sets.get(ME, number).revision
    gone = Seen(store, number)
    for _ in range(2):  # an answer may be lost
        rows = store.deleted_images.restore(ME, number, ["ti_" + each for each in before])
        assert [row.id for row in rows] == list(before)
        moved = set(hats[3:5])  # under the other label by then
        assert all(same(row, before[row.id]) for row in rows if row.id not in moved)
        assert {row.label for row in rows if row.id in moved} == {"shirt"}
    assert store.training_sets.get(ME, number).revision == revision + 1
    assert set(store.models.embeddings("e", sha256s)) == sha256s
    assert {store.read(row.sha256) for row in rows} >= {b"shirt", b"waiting"}
    assert gone.follow() == (len(before) - 1, 0)
    seen.follow()
    sweep_released(store)
    assert listed(store, number).keys() == before.keys()
    consistent(store)


def test_a_deleted_training_set_comes_back_in_another(store: Store, number: int):
    rows = add_many(store, number, "hat", [bytes([at]) * 50 for at in range(3)])
    store.training_sets.delete(ME, number)
    again = store.training_sets.create(ME, "Clothes").id
    ids = [row.id for row in rows]
    assert [row.id for row in store.deleted_images.restore(ME, again, ids)] == ids
    other = store.training_sets.create(ME, "Another").id
    assert store.deleted_images.restore(ME, other, ids) == [None] * 3  # they are there, and stay
    assert set(listed(store, again)) == set(ids)
    with pytest.raises(RecordNotFound):
        store.deleted_images.restore(ME, number, ids)


def test_nobody_restores_what_is_anothers(store: Store, number: int):
    ann = store.owners.create("Ann").id
    theirs = store.training_sets.create(ann, "Hers").id
    mine = add(store, number, "hat", b"mine")
    hers = add(store, theirs, "hat", b"hers", ann)
    store.images.delete(ME, mine.id)
    store.images.delete(ann, hers.id)
    assert store.deleted_images.restore(ann, theirs, [mine.id]) == [None]
    with pytest.raises(RecordNotFound):
        store.deleted_images.restore(ann, number, [mine.id])
    assert store.deleted_images.forget(ann) == 1
    assert store.deleted_images.restore(ann, theirs, [hers.id]) == [None]
    assert store.deleted_images.restore(ME, number, [mine.id])[0].id == mine.id


def test_where_the_label_has_the_same_bytes_by_now_that_image_stays_the_one(store: Store, number: int):
    old = add(store, number, "hat", b"x")
    store.images.delete(ME, old.id)
    new = add(store, number, "hat", b"x")
    for _ in range(2):
        assert store.deleted_images.restore(ME, number, [old.id, new.id, old.id]) == [new] * 3
    store.images.delete(ME, new.id)
    first, second = store.deleted_images.restore(ME, number, [old.id, new.id])
    assert first == second
    assert first.id == old.id
    assert list(listed(store, number)) == [old.id]


def test_what_is_not_known_any_more_is_none(store: Store, number: int):
    rows = add_many(store, number, "hat", [bytes([at]) * 50 for at in range(4)])
    store.images.delete_many(ME, number, [row.id for row in rows])
    path = store.folder / "images" / rows[0].sha256[0] / rows[0].sha256
    path.unlink()
    store._blobs.damaged.add(rows[1].sha256)
    aged = update(deleted_images).where(deleted_images.c.id == rows[2].id).values(deleted_at="2026-01-01T00:00:00.000Z")
    store._writer.run(lambda transaction: transaction.execute(aged).rowcount)
    assert store.deleted_images.forget() == 1
    asked = [*(row.id for row in rows), "f" * 40]
    for wrong in ("nothing", "", "F" * 40):
        with pytest.raises(RecordNotFound):
            store.deleted_images.restore(ME, number, [*asked, wrong])
    found = store.deleted_images.restore(ME, number, asked)
    assert [row and row.id for row in found] == [None, None, None, rows[3].id, None]
    assert [row.name for row in store.labels.all(ME, number)] == ["hat"]
    if store.jobs is None:
        assert rows[2].sha256 not in files(store.folder)
    store._blobs.damaged.clear()


@pytest.mark.parametrize("state", [Removal.UNDER_WAY, Removal.DONE])
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_what_the_sweep_is_removing_is_gone_and_what_was_restored_is_not_removed(store: Store, number: int, state: int):
    kept, going = add_many(store, number, "hat", [b"kept", b"going"])
    store.images.delete_many(ME, number, [kept.id, going.id])
    marked = update(released).where(released.c.sha256 == going.sha256).values(state=state)
    store._writer.run(lambda transaction: transaction.execute(marked).rowcount)
    assert store.deleted_images.restore(ME, number, [going.id, kept.id])[0] is None
    released_again = update(released).where(released.c.sha256 == going.sha256).values(state=Removal.DUE)
    store._writer.run(lambda transaction: transaction.execute(released_again).rowcount)
    sweep_released(store)
    assert store.read(kept.sha256) == b"kept"
    assert files(store.folder) == {kept.sha256}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_on_a_scarce_disk_nothing_is_kept(store: Store, number: int, monkeypatch: pytest.MonkeyPatch):
    rows = add_many(store, number, "hat", [b"early", b"late", b"stays"])
    store.images.delete(ME, rows[0].id)
    assert len(files(store.folder)) == 3
    monkeypatch.setattr(DiskReserve, "is_scarce", lambda _self: True)
    store.images.delete(ME, rows[1].id)
    assert files(store.folder) == {rows[2].sha256}
    assert store.deleted_images.restore(ME, number, [row.id for row in rows[:2]]) == [None, None]
