"""The quarantine of files without a row, and the scrub for damaged files."""

import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import update

from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage import sweeper as sweeper_module
from apitorch_desktop.service.storage.errors import RecordNotFound, StorageFault
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, add, add_many, files
from tests.helpers.waiting import until


def set_back(folder: Path, new: int = 25) -> tuple[set[str], Path]:
    """Put back a copy of the database from before the last `new` uploads; the files of all uploads, and the newer database."""
    with Store.open(folder) as store:
        number = store.training_sets.create(ME, "Zebras").id
        add_many(store, number, "a", [f"old {i}".encode() for i in range(10)])
    earlier, later = folder.with_name("earlier.db"), folder.with_name("later.db")
    shutil.copyfile(folder / "store.db", earlier)
    with Store.open(folder) as store:
        add_many(store, number, "a", [f"new {i}".encode() for i in range(new)])
    shutil.copyfile(folder / "store.db", later)
    shutil.copyfile(earlier, folder / "store.db")
    hour_ahead = time.time() + 3600  # as if the copy were an hour old
    for path in (folder / "images").glob("?/*"):
        os.utime(path, (hour_ahead, hour_ahead))
    return files(folder), later


def expire(store: Store, sha256s: set[str], since: str = "2020-01-01T00:00:00.000Z", days: float = 2) -> None:
    """Have the files been in quarantine for long, and stored `days` ago."""
    stored = time.time() - days * 24 * 3600
    for sha256 in sha256s:
        with suppress(FileNotFoundError):
            os.utime(store.folder / "images" / sha256[0] / sha256, (stored, stored))
    table = schema.quarantine
    store._writer.run(
        lambda transaction: transaction.execute(update(table).where(table.c.sha256.in_(sha256s)).values(since=since))
    )


def test_an_older_database_deletes_nothing_and_says_so(tmp_path):
    folder = tmp_path / "data"
    stored, later = set_back(folder)
    assert len(stored) == 35
    for _ in range(2):
        with Store.open(folder) as store:
            assert store.startup_sweep.quarantined == 25
            assert store.sweep().removed == 0
            assert files(folder) == stored
    with Store.open(folder) as store:
        assert store.startup_sweep.new == 0  # told once
    shutil.copyfile(later, folder / "store.db")
    with Store.open(folder) as store:
        row = store.training_sets.all(ME)[0]
        assert sum(row.counts) == 35
        assert all(store.read(image.sha256) for image in store.images.page(ME, row.id).images)
        assert store.sweeper.quarantined() == {}


def test_a_file_of_the_last_day_is_removed_by_no_sweep(tmp_path):
    folder = tmp_path / "data"
    stored, _ = set_back(folder)
    with Store.open(folder) as store:
        expire(store, set(store.sweeper.quarantined()), days=0.9)
        assert store.sweep().removed == 0
        assert files(folder) == stored


def test_files_newer_than_every_row_are_counted(tmp_path):
    set_back(tmp_path / "data")
    with Store.open(tmp_path / "data") as store:
        assert store.startup_sweep.newer == 25


def test_more_files_than_a_crash_leaves_are_newer_though_they_came_at_once(tmp_path):
    with Store.open(tmp_path / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
    shutil.copyfile(tmp_path / "data" / "store.db", tmp_path / "earlier.db")
    with Store.open(tmp_path / "data") as store:
        add_many(store, number, "a", [f"new {i}".encode() for i in range(100)])
    shutil.copyfile(tmp_path / "earlier.db", tmp_path / "data" / "store.db")
    with Store.open(tmp_path / "data") as store:
        assert (store.startup_sweep.left, store.startup_sweep.newer) == (100, 100)


def set_times_of_rows(folder: Path, time: str) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        for table in ("training_sets", "images"):
            database.execute(f"UPDATE {table} SET created_at = ?", (time,))


def test_a_file_of_a_crash_is_not_taken_for_an_older_database(tmp_path):
    with Store.open(tmp_path / "data") as store:
        add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    (tmp_path / "data" / "images" / "a" / ("a" * 64)).write_bytes(b"crash")
    with Store.open(tmp_path / "data") as store:
        assert (store.startup_sweep.new, store.startup_sweep.newer) == (1, 0)


def test_an_upload_whose_row_is_on_its_way_is_not_taken_for_an_older_database(tmp_path):
    folder = tmp_path / "data"
    with Store.open(folder) as store:
        add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    set_times_of_rows(folder, "2020-01-01T00:00:00.000Z")
    with Store.open(folder, scan=False) as store:
        (folder / "images" / "a" / ("a" * 64)).write_bytes(b"upload")
        assert (found := store.sweeper.scan()).new == 1
        assert (found.left, found.newer) == (0, 0)
    with Store.open(folder) as store:  # still without a row, and of before this start
        assert store.sweeper.quarantined().keys() == {"a" * 64}


def test_files_are_removed_after_their_time_and_only_a_share_at_once(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "data"
    stored, _ = set_back(folder)
    monkeypatch.setattr(sweeper_module, "_MIN_REMOVED", 10)
    with Store.open(folder) as store:
        orphans = set(store.sweeper.quarantined())
        expire(store, set(sorted(orphans)[:5]))
        assert store.sweep().removed == 5
        assert files(folder) == stored - set(sorted(orphans)[:5])
        caplog.clear()
        expire(store, orphans)
        assert store.sweep().removed == 10
        assert "20 files without a row are due for removal; 10 are removed today" in caplog.text
        assert store.sweep().removed == 10
        assert len(files(folder)) == 10


def test_a_file_that_got_a_row_meanwhile_is_never_removed(tmp_path):
    folder = tmp_path / "data"
    set_back(folder)
    with Store.open(folder) as store:
        orphans = set(store.sweeper.quarantined())
        number = store.training_sets.all(ME)[0].id
        row = add(store, number, "again", b"new 3")
        assert row.sha256 in orphans
        expire(store, orphans)
        store.sweeper.remove_expired()
        assert store.read(row.sha256) == b"new 3"
        assert row.sha256 not in store.sweeper.quarantined()


def test_a_database_of_the_first_version_gets_its_tables(tmp_path):
    import sqlite3

    folder = tmp_path / "data"
    with Store.open(folder) as store:
        add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    with sqlite3.connect(folder / "store.db") as database:
        later = {"images": ("split",), "versions": ("difference", "waiting", "answers"), "training_sets": ("encoder",)}
        database.execute("DROP INDEX images_with_split")
        for table, columns in later.items():
            for column in columns:
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.executescript("DROP TABLE quarantine; DROP TABLE damaged; PRAGMA user_version = 1")
    database.close()
    with Store.open(folder) as store:
        assert store.sweeper.quarantined() == {}
        assert store.images.page(ME, store.training_sets.all(ME)[0].id).images[0].split == ""
        assert sum(store.training_sets.all(ME)[0].counts) == 1


def test_a_rotten_file_is_found_never_served_and_healed_by_an_upload(tmp_path):
    folder = tmp_path / "data"
    with Store.open(folder) as store:
        number = store.training_sets.create(ME, "Zebras").id
        good, rotten = add(store, number, "a", b"good"), add(store, number, "a", b"rotten")
        (folder / "images" / rotten.sha256[0] / rotten.sha256).write_bytes(b"rOtten")
        stopping = threading.Event()
        thread = threading.Thread(target=store.sweeper.scrub, args=(stopping, 2**30))
        thread.start()
        until(lambda: rotten.sha256 in store._blobs.damaged)
        stopping.set()
        thread.join(60)
        assert store.read(good.sha256) == b"good"
        with pytest.raises(StorageFault, match="damaged"):
            store.read(rotten.sha256)
    with Store.open(folder) as store:
        with pytest.raises(StorageFault, match="damaged"):  # also after a restart
            store.read(rotten.sha256)
        assert add(store, number, "a", b"rotten") == rotten
        assert store.read(rotten.sha256) == b"rotten"
    with Store.open(folder) as store:
        assert store.read(rotten.sha256) == b"rotten"
        (folder / "images" / rotten.sha256[0] / rotten.sha256).write_bytes(b"rOtten")
        store.sweeper.check_file(rotten.sha256)
        with pytest.raises(StorageFault, match="damaged"):
            store.read(rotten.sha256)

        def refuse(_transaction):
            raise RecordNotFound("There is no such training set.")

        with pytest.raises(RecordNotFound):  # the file is replaced all the same
            store._writer.run(refuse, store._blobs.stage(rotten.sha256, b"rotten"))
    with Store.open(folder) as store:
        assert store.read(rotten.sha256) == b"rotten"
