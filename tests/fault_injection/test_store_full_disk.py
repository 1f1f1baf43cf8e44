"""A full disk and a read-only one: a clear sentence, nothing lost, and work goes on as soon as there is room."""

import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import CannotOpen, DiskFull, RecordNotFound, StorageReadOnly
from apitorch_desktop.service.storage.records import EmbeddingRow, ImageRow, NewClassification
from apitorch_desktop.service.storage.store import Store
from tests.helpers.mounts import fill, read_only, tmpfs
from tests.helpers.stores import ME, Facts, add, consistent

BIG = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk") as folder:
        yield folder


def fill_with_images(store: Store, number: int) -> list[ImageRow]:
    rows, chance = [], random.Random(1)
    with pytest.raises(DiskFull, match=r"There is no room left on the disk of “.*”\. Free some, then try again\."):
        while True:
            rows.append(add(store, number, "a", chance.randbytes(BIG)))
    return rows


def test_uploads_to_a_full_disk_are_refused_whole_and_taken_when_there_is_room(disk: Path):
    with Store.open(disk / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        rows = fill_with_images(store, number)
        filling = fill(disk)
        for attempt in range(3):
            with pytest.raises(DiskFull):
                add(store, number, "b", bytes([attempt]) * BIG)
        assert store.images.page(ME, number).images == rows
        assert all(len(store.read(row.sha256)) == BIG for row in rows)
        assert not list((disk / "data" / "images" / "incoming").iterdir())
        consistent(store)
        filling.unlink()
        store.images.delete(ME, rows[0].id)
        row = add(store, number, "b", b"there is room again")
        assert store.read(row.sha256) == b"there is room again"
        consistent(store)
    with Store.open(disk / "data") as store:
        assert store.startup_sweep.missing == ()
        assert [each.id for each in store.images.page(ME, number).images] == [each.id for each in [*rows[1:], row]]


def test_on_a_disk_that_is_full_to_the_last_byte_one_can_still_delete(disk: Path):
    with Store.open(disk / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        rows = [add(store, number, "a", bytes([i]) * BIG) for i in range(10)]
        fill(disk)
        full = 0
        for attempt in range(200):  # SQLite's log may have had a page left
            try:
                store.training_sets.create(ME, f"Set {attempt}", "x" * 9000)
            except DiskFull:
                full += 1
        assert full > 100
        for change in (
            lambda: store.labels.create(ME, number, "b"),
            lambda: store.images.move(ME, rows[0].id, "b"),
            lambda: store.classifications.put(ME, b"x" * BIG, Facts(), [NewClassification("c", "l")]),
            lambda: store.classifications.put_message(ME, "x" * 9000),
            lambda: store.models.put_embeddings("e", [EmbeddingRow(rows[0].sha256, b"v" * 9000, None)]),
        ):
            with pytest.raises(DiskFull):
                change()
        assert store.images.page(ME, number).images == rows
        store.images.delete(ME, rows[0].id)
        store.images.delete_many(ME, number, [row.id for row in rows[1:4]])
        store.labels.delete(ME, number, "a")
        add(store, number, "b", b"y" * BIG)
        consistent(store)


def test_many_at_once_on_a_disk_that_fills_up_are_each_whole_or_absent(disk: Path):
    with Store.open(disk / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        contents = [random.Random(i).randbytes(BIG) for i in range(110)]

        def upload(data: bytes) -> ImageRow | None:
            try:
                return add(store, number, "a", data)
            except DiskFull:
                return None

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(upload, contents))
        kept = {row.id: data for row, data in zip(answers, contents, strict=True) if row is not None}
        assert 20 < len(kept) < 110
        assert {row.id for row in store.images.page(ME, number).images} == set(kept)
        assert all(store.read(store.images.get(ME, each).sha256) == data for each, data in kept.items())
        consistent(store)
    with Store.open(disk / "data") as store:
        assert store.startup_sweep.removed == 0
        assert {row.id for row in store.images.page(ME, number).images} == set(kept)


def test_a_store_on_a_full_disk_opens_by_its_reserve_so_that_one_can_delete(disk: Path):
    with Store.open(disk / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        rows = fill_with_images(store, number)
    filling = fill(disk)
    with Store.open(disk / "data") as store:
        assert store.images.page(ME, number).images == rows
        assert store.images.delete_many(ME, number, [row.id for row in rows[:20]]) == 20
        filling.unlink()
        add(store, number, "a", b"x")
        consistent(store)


def test_a_new_store_where_there_is_no_room_is_refused_in_a_sentence(disk: Path):
    fill(disk)
    with pytest.raises(CannotOpen, match=r"no room left on the disk of “.*data.*”"):
        Store.open(disk / "data")


def test_a_read_only_folder_is_refused_at_the_start(disk: Path):
    with Store.open(disk / "data") as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    read_only(disk, True)
    try:
        for folder in (disk / "data", disk / "new"):
            with pytest.raises(CannotOpen, match=r"“.*” cannot be written to: it is read-only\. Make it writable"):
                Store.open(folder)
    finally:
        read_only(disk, False)
    with Store.open(disk / "data") as store:
        assert store.read(row.sha256) == b"x"


def test_a_folder_that_becomes_read_only_is_told_and_works_again_when_it_is_writable(tmp_path: Path, monkeypatch):
    """By the immutable attribute: a file system with files open for writing cannot be remounted read-only."""
    monkeypatch.setattr(DiskReserve, "is_scarce", lambda _self: True)  # nothing is kept that was deleted

    def immutable(on: bool) -> int:
        folders = [path for path in (tmp_path / "data" / "images").iterdir() if path.is_dir()]
        return subprocess.run(["chattr", "+i" if on else "-i", *folders], capture_output=True).returncode

    with Store.open(tmp_path / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        row = add(store, number, "a", b"x")
        if immutable(True):
            pytest.skip("making a folder immutable needs root and a file system that knows how")
        try:
            with pytest.raises(StorageReadOnly, match=r"it is read-only\. Make it writable, then try again"):
                add(store, number, "a", b"y")
            assert store.images.page(ME, number).images == [row]
            assert store.read(row.sha256) == b"x"
            gone = store.images.delete(
                ME, row.id
            )  # the row goes; the file, which cannot, is in quarantine at the next start
        finally:
            immutable(False)
        add(store, number, "a", b"y")
    with Store.open(tmp_path / "data") as store:
        assert store.startup_sweep.new == 1
        assert set(store.sweeper.quarantined()) == {gone.sha256}
        with pytest.raises(RecordNotFound):
            store.blob(gone.sha256)
        consistent(store)


def test_a_database_that_becomes_read_only_is_told_and_works_again_when_it_is_writable(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id

        def query_only(on: bool) -> None:
            with closing(store._database._writer.raw_connection()) as connection:
                connection.cursor().execute(f"PRAGMA query_only = {'ON' if on else 'OFF'}").close()

        query_only(True)
        for change in (lambda: add(store, number, "a", b"x"), lambda: store.labels.create(ME, number, "a")):
            with pytest.raises(StorageReadOnly, match="read-only"):
                change()
        assert store.labels.all(ME, number) == []
        query_only(False)
        add(store, number, "a", b"x")
        consistent(store)
