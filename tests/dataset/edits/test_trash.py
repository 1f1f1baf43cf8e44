"""Contents of deleted images on this machine: files for single ones, packs for those that come many in one archive."""

import hashlib
import sys
from pathlib import Path

import pytest

from apitorch_desktop.dataset.edits.trash import TrashStore
from tests.helpers.dataset_home import Home, picture
from tests.helpers.killing import kill_at_work

PROGRAM = """
import sys
from pathlib import Path
from tests.helpers.dataset_home import Home
folder, url, key, number = sys.argv[1:]
home = Home(Path(folder), url, key, int(number))
home.workspace.connect()
home.edits.resume(home.workspace)
while True:
    while home.edits.journal.undoable("c1"):
        home.edits.undo(home.workspace)
    print("again", flush=True)
    home.edits.delete(home.workspace, home.set_id, home.images("l0"))
    some = home.edits.trash("c1")[::3]
    home.edits.restore(home.workspace, some)
"""
MARK = b"packed images 1\n"


def packed(*numbers: int) -> dict[str, bytes]:
    return {hashlib.sha256(picture(number)).hexdigest(): picture(number) for number in numbers}


def packs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pack"))


def add_more(home: Home, label: str, count: int) -> None:
    for number in range(100, 100 + count):
        home.client.upload_image(home.set_id, label, data=picture(number), filename=f"photo {number}.jpg")


def test_a_pack_is_read_by_another_process_and_after_a_restart(tmp_path):
    one, other = TrashStore(tmp_path), TrashStore(tmp_path)
    assert other.stored(packed(1)) == set()
    one.add_many(packed(1, 2, 3))
    single = one.add(picture(4))
    one.sync([*packed(1, 2, 3), single])
    for store in (one, other, TrashStore(tmp_path)):
        assert store.stored([*packed(1, 2, 3, 4, 5)]) == set(packed(1, 2, 3, 4))
        assert {sha256: store.read(sha256) for sha256 in packed(1, 2, 3, 4)} == packed(1, 2, 3, 4)
        assert [store.size(sha256) for sha256 in packed(3, 4)] == [len(picture(3)), len(picture(4))]
        assert store.all() == set(packed(1, 2, 3, 4))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_needed_of_a_pack_outlives_the_rest(tmp_path):
    store, other = TrashStore(tmp_path), TrashStore(tmp_path)
    store.add_many(packed(*range(10)))
    [first] = packs(tmp_path)
    assert other.stored(packed(9)) == set(packed(9))
    assert store.drop(packed(*range(4))) == sum(len(picture(number)) for number in range(4))
    assert packs(tmp_path) == [first]
    assert store.stored(packed(*range(10))) == set(packed(*range(4, 10)))
    store.drop(packed(4, 5))
    [second] = packs(tmp_path)
    assert second != first
    assert second.stat().st_size < sum(len(data) for data in packed(*range(10)).values()) / 1.8
    for each in (store, other, TrashStore(tmp_path)):
        assert {sha256: each.read(sha256) for sha256 in packed(*range(6, 10))} == packed(*range(6, 10))
    other.drop(packed(6, 7))  # which knew the first pack only
    store.add_many(packed(4))
    assert store.read(next(iter(packed(4)))) == picture(4)
    store.drop(store.all())
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"packed images 1\n", b"x" * 100, b"packed images 1\n" + b"\xff" * 50],
    ids=["empty", "cut", "other", "endless"],
)
def test_a_damaged_pack_has_no_contents_and_hides_no_others(damage, tmp_path):
    TrashStore(tmp_path).add_many(packed(1, 2))
    packs(tmp_path)[0].write_bytes(damage)
    store = TrashStore(tmp_path)
    store.add_many(packed(3))
    assert store.all() == set(packed(3))
    assert store.stored(packed(1, 2)) == set()
    with pytest.raises(FileNotFoundError):
        store.read(next(iter(packed(1))))


def test_a_pack_that_a_crash_left_beside_the_one_in_its_place_goes_with_it(tmp_path):
    store = TrashStore(tmp_path)
    store.add_many(packed(*range(4)))
    [first] = packs(tmp_path)
    first.with_stem("f" * 32).write_bytes(first.read_bytes())
    store.drop(packed(0))
    assert len(packs(tmp_path)) == 2  # what is in both may be in use by another process
    assert store.stored(packed(*range(4))) == set(packed(1, 2, 3))
    store.drop(packed(1, 2, 3))
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_half_written_goes_with_its_folder(tmp_path):
    left = tmp_path / "trash" / "packs" / ".1f.pack.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a pack")
    assert TrashStore(tmp_path / "trash").all() == set()
    assert not left.parent.exists()


def test_many_deleted_images_are_one_file_and_come_back_one_by_one_or_all(real: Home):
    add_more(real, "l0", 25)
    before = real.content(empty=True)
    real.edits.delete(real.workspace, real.set_id, real.images("l0"))
    trash = real.edits.trash("c1")
    assert len(trash) == 30
    assert sum(one.bytes for one in trash) == sum(len(real.edits.trashed_bytes(one)) for one in trash)
    assert [path.name for path in (real.folder / "trash").iterdir()] == ["packs"]
    assert len(packs(real.folder / "trash")) == 1
    real.client.forget_deleted_images()  # what comes back is uploaded from the trash
    real.restart()
    real.edits.restore(real.workspace, trash[:20])
    assert len(real.images("l0")) == 20
    assert len(packs(real.folder / "trash")) == 1
    rest = real.edits.trash("c1")
    assert {hashlib.sha256(real.edits.trashed_bytes(one)).hexdigest() for one in rest} <= set(before["l0"])
    real.edits.restore(real.workspace, rest)
    assert real.content(empty=True) == before
    assert list((real.folder / "trash").iterdir()) == []


def test_a_training_set_that_is_restored_takes_all_of_its_trash_along(real: Home):
    add_more(real, "l1", 10)
    real.edits.delete(real.workspace, real.set_id, real.images("l1"))
    real.edits.delete_training_set(real.workspace, real.set_id)
    back = real.edits.undo(real.workspace).training_set_id
    own = [one for one in real.edits.trash("c1") if one.label == "l1"]
    assert {one.training_set_id for one in own} == {back}
    real.edits.restore(real.workspace, own[:5])
    assert {one.training_set_id for one in real.edits.trash("c1")} == {back}
    assert len(real.edits.trash("c1")) == len(own) - 5


def test_a_program_that_is_killed_while_it_deletes_and_restores_loses_no_photo(real: Home):
    add_more(real, "l0", 35)
    before = real.content(empty=True)
    real.close()
    command = [sys.executable, "-c", PROGRAM, str(real.folder), real.url, real.key, str(real.set_id)]
    for round_ in range(15):
        kill_at_work(command, 1 + round_ % 2, 0.02 * round_)
    real.open()
    real.workspace.connect()
    real.edits.resume(real.workspace)
    assert real.edits.unfinished("c1") == []
    for one in real.edits.trash("c1"):
        assert len(real.edits.trashed_bytes(one)) == one.bytes
    real.client.forget_deleted_images()
    while real.edits.journal.undoable("c1"):
        real.edits.undo(real.workspace)
    assert real.content(empty=True) == before
    assert list((real.folder / "trash").iterdir()) == []


def test_a_damaged_content_in_a_pack_stops_the_undo_and_changes_nothing(real: Home):
    add_more(real, "l2", 10)
    real.edits.delete(real.workspace, real.set_id, real.images("l2"))
    real.client.forget_deleted_images()
    after = real.content(empty=True)
    [path] = packs(real.folder / "trash")
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(OSError, match="damaged"):
        real.edits.undo(real.workspace)
    assert real.content(empty=True) == after
