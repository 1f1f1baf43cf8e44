"""Images by content: whole, durable before they are named, the same layout in a folder and in a bucket."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from apitorch_desktop.service.storage.blob_bucket import BucketBlobs
from apitorch_desktop.service.storage.blobs import Blobs, FolderBlobs, read_file
from apitorch_desktop.service.storage.errors import CannotOpen, DamagedImage, DiskFull, StorageFault, StorageReadOnly
from apitorch_desktop.service.storage.store import Store, open_blobs
from tests.helpers.stores import ME, add, add_many, replace_by, sweep_released


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(blobs: Blobs, *contents: bytes) -> None:
    staged = [blobs.stage(sha(data), data) for data in contents]
    blobs.commit(staged)
    assert [one.error for one in staged] == [None] * len(staged)


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return open_blobs(tmp_path)
    from obstore.store import MemoryStore

    return BucketBlobs(MemoryStore(), "memory")


def test_what_is_settled_can_be_read_listed_and_deleted(blobs: Blobs):
    contents = [bytes([i]) * (i * 1000) for i in range(100)]
    put(blobs, *contents)
    assert set(blobs.names()) == {sha(data) for data in contents}
    assert all(blobs.read(sha(data)) == data for data in contents)
    put(blobs, contents[0])
    blobs.delete([sha(contents[0]), sha(contents[1]), sha(b"never there")])
    assert set(blobs.names()) == {sha(data) for data in contents[2:]}
    assert not blobs.exists(sha(contents[0]))
    assert blobs.exists(sha(contents[2]))
    with pytest.raises(StorageFault, match="Upload it again"):
        blobs.read(sha(contents[0]))


def test_what_is_deleted_while_a_bucket_is_listed_is_not_among_the_names():
    from obstore.store import MemoryStore

    class Bucket(MemoryStore):
        listed = threading.Event()

        def delete(self, paths):
            self.listed.wait()
            super().delete(paths)

        def list(self):
            found = list(super().list())
            self.listed.set()
            blobs.settle()
            return found

    blobs = BucketBlobs(Bucket(), "memory")
    contents = [b"one", b"two"]
    put(blobs, *contents)
    blobs.delete([sha(b"one")])
    assert list(blobs.names()) == [sha(b"two")]


def test_the_marker_stays_and_is_no_image(blobs: Blobs):
    assert blobs.database_id() is None
    blobs.set_database_id("some database")
    assert blobs.database_id() == "some database"
    assert list(blobs.names()) == []


def test_a_file_is_synced_before_it_is_named_and_its_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs = open_blobs(tmp_path)
    happened: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        happened.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().parent.name)
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            happened[-1] = "sync folder"
        fsync(descriptor)

    def traced_replace(self: Path, target: Path) -> Path:
        happened.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    put(blobs, b"1", b"2", b"3")
    folders = len({sha(data)[0] for data in (b"1", b"2", b"3")})
    assert happened == ["sync incoming"] * 3 + ["name"] * 3 + ["sync folder"] * folders


@pytest.mark.parametrize("fails", [False, True])
def test_many_files_are_synced_together_before_they_are_named_and_after(tmp_path: Path, monkeypatch, fails: bool):
    blobs = open_blobs(tmp_path)
    happened: list[str] = []
    replace = Path.replace
    data = [str(number).encode() for number in range(20)]
    incoming = tmp_path / "images" / "incoming"

    def traced_sync(folder: Path) -> bool:
        happened.append("sync")
        assert len(list(incoming.iterdir())) == (0 if "name" in happened else len(data))
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return True

    monkeypatch.setattr("apitorch_desktop.service.storage.blobs.sync_all", traced_sync)
    monkeypatch.setattr(Path, "replace", lambda *paths: (happened.append("name"), replace(*paths))[1])
    monkeypatch.setattr(os, "fsync", lambda _descriptor: happened.append("one"))
    put(blobs, *data)
    folders = len({sha(one)[0] for one in data})
    one_by_one = [len(data) * fails, folders * fails]
    assert happened == ["sync"] + ["one"] * one_by_one[0] + ["name"] * len(data) + ["sync"] + ["one"] * one_by_one[1]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, StorageReadOnly),
        (errno.EIO, StorageFault),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "fsync folder", "replace", "write"])
def test_a_failing_disk_is_told_and_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fault: type[Exception], step: str
):
    with Store.open(tmp_path / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        kept = add(store, number, "a", b"before")
        fsync = os.fsync

        def fail(*args: object, **more: object) -> None:
            raise OSError(code, os.strerror(code))

        def fail_for_folders(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
                fail()
            fsync(descriptor)

        with monkeypatch.context() as patch:
            if step == "replace":
                patch.setattr(Path, "replace", fail)
            elif step == "write":
                patch.setattr("apitorch_desktop.service.storage.blobs.tempfile.mkstemp", fail)
            else:
                patch.setattr(os, "fsync", fail if step == "fsync" else fail_for_folders)
            with pytest.raises(fault) as caught:
                add(store, number, "a", b"new")
            assert type(caught.value) is fault
            assert store.read(kept.sha256) == b"before"
        assert store.images.page(ME, number).images == [kept]
        assert {path.name for path in (tmp_path / "data" / "images").rglob("*") if path.is_file()} == {
            "database",
            kept.sha256,
        }
        assert store.read(add(store, number, "a", b"new").sha256) == b"new"


def test_obstore_reads_what_the_folder_holds(tmp_path: Path):
    from obstore.store import LocalStore

    put(open_blobs(tmp_path), b"1", b"2")
    bucket = BucketBlobs(LocalStore(tmp_path / "images"), "file")
    assert set(bucket.names()) == {sha(b"1"), sha(b"2")}
    assert bucket.read(sha(b"1")) == b"1"


def test_a_store_whose_images_are_in_a_bucket_keeps_none_in_its_folder(tmp_path: Path):
    (tmp_path / "bucket").mkdir()
    url = (tmp_path / "bucket").as_uri()
    with Store.open(tmp_path / "data", blob_url=url) as store:
        number = store.training_sets.create(ME, "Zebras").id
        rows = add_many(store, number, "a", [bytes([i]) for i in range(50)])
        assert all(store.read(row.sha256) == bytes([i]) for i, row in enumerate(rows))
        store.images.delete_many(ME, number, [row.id for row in rows[:10]])
        sweep_released(store)
        stray = tmp_path / "bucket" / "f" / ("f" * 64)
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"stray")
        assert store.sweep().new == 1
        assert set(store.sweeper.quarantined()) == {stray.name}
    assert not (tmp_path / "data" / "images").exists()
    held = {path.name for path in (tmp_path / "bucket").rglob("*") if path.is_file()}
    assert held == {"database", stray.name, *(row.sha256 for row in rows[10:])}
    with Store.open(tmp_path / "data", blob_url=url) as store:
        assert len(store.images.page(ME, number).images) == 40


def test_images_of_another_database_are_left_alone(tmp_path: Path):
    """Else a lost or mistaken database would have every image swept as an orphan."""
    with Store.open(tmp_path / "data") as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    for end in ("", "-wal", "-shm"):
        (tmp_path / "data" / f"store.db{end}").unlink(missing_ok=True)
    with pytest.raises(CannotOpen, match="belong to another database"):
        Store.open(tmp_path / "data")
    (tmp_path / "data" / "images" / "database").unlink()
    with pytest.raises(CannotOpen, match="belong to another database"):
        Store.open(tmp_path / "data")
    assert (tmp_path / "data" / "images" / row.sha256[0] / row.sha256).read_bytes() == b"x"


@pytest.mark.parametrize("url", ["", "nonsense", "gopher://x", "s3://"])
def test_an_address_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, url: str):
    with pytest.raises(CannotOpen, match="address of the image storage"):
        open_blobs(tmp_path, url)


def test_what_is_staged_and_not_settled_is_no_image(tmp_path: Path):
    blobs = open_blobs(tmp_path)
    kept, dropped = blobs.stage(sha(b"1"), b"1"), blobs.stage(sha(b"2"), b"2")
    blobs.discard(dropped)
    assert list(blobs.names()) == []
    assert len(list((tmp_path / "images" / "incoming").iterdir())) == 1
    assert isinstance(open_blobs(tmp_path), FolderBlobs)  # the next start clears away what was left
    assert not list((tmp_path / "images" / "incoming").iterdir())
    blobs.commit([kept])
    assert isinstance(kept.error, StorageFault)


BAD = ["a flipped byte", "an empty file", "a longer file", "a link", "a pipe", "a socket", "nothing"]


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    ("what", "place"),
    [*((what, "folder") for what in BAD), *((what, "bucket") for what in BAD[:3]), ("nothing", "bucket")],
)
def test_what_is_not_stored_as_it_came_is_not_served_and_mended_by_an_upload(
    tmp_path: Path, what: str, place: str, large: bool
):
    (tmp_path / "bucket").mkdir()
    url = (tmp_path / "bucket").as_uri() if place == "bucket" else None
    data = b"a photo" * (100_000 if large else 1000)
    path = (tmp_path / "bucket" if url else tmp_path / "data" / "images") / sha(data)[0] / sha(data)
    with Store.open(tmp_path / "data", blob_url=url) as store:
        number = store.training_sets.create(ME, "Zebras").id
        row = add(store, number, "a", data)
        assert store.read(row.sha256) == data
        store.thumbnails.put(row.sha256, b"of what was there")
        assert store.damaged() == set()
        replace_by(what, path)
        revision = store.changes.since(ME, number, None).revision
        for size in (row.bytes, None):
            with pytest.raises(DamagedImage, match="gone" if what == "nothing" else "damaged"):
                store.read(row.sha256, size)
        assert store.damaged() == {row.sha256}
        assert [each.id for each in store.changes.since(ME, number, revision).images] == [row.id]
    with Store.open(tmp_path / "data", blob_url=url) as store:
        assert store.damaged() == {row.sha256}
        assert add(store, number, "a", data) == row
        assert store.damaged() == set()
        assert store.thumbnails.get(row.sha256) is None
        assert store.read(row.sha256, row.bytes) == data
        assert path.is_file()
        assert not path.is_symlink()
        replace_by(what, path)  # nobody has noticed it yet
        assert add(store, number, "a", data) == row
        assert path.read_bytes() == data


def test_what_is_put_back_is_served_again(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"a photo")
        path = tmp_path / "data" / "images" / row.sha256[0] / row.sha256
        path.rename(tmp_path / "aside")
        with pytest.raises(DamagedImage):
            store.read(row.sha256)
        (tmp_path / "aside").rename(path)
        assert store.read(row.sha256) == b"a photo"
        assert store.damaged() == set()


def test_a_scan_marks_what_is_gone(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"a photo")
        replace_by("a link", tmp_path / "data" / "images" / row.sha256[0] / row.sha256)
        assert store.sweeper.scan().missing == (row.sha256,)
        assert store.damaged() == {row.sha256}


def test_a_scrub_finds_rot_that_changes_no_date(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"a photo" * 100_000)
        path = tmp_path / "data" / "images" / row.sha256[0] / row.sha256
        assert store.read(row.sha256)
        version = store._blobs._checked[row.sha256]
        replace_by("a flipped byte", path)
        store._blobs._checked[row.sha256] = read_file(path)[1]
        assert version != read_file(path)[1]
        store.sweeper.check_file(row.sha256)
        assert store.damaged() == {row.sha256}
        with pytest.raises(DamagedImage):
            store.read(row.sha256)
