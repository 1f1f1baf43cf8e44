"""The thumbnail cache: quick, bounded by what is stored, and nothing is lost with it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apitorch_desktop.service.storage.blobs import ThumbnailCache
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, add


def test_what_is_put_is_there_also_after_a_restart(tmp_path: Path):
    with Store.open(tmp_path) as store:
        assert store.thumbnails.get("a" * 64) is None
        store.thumbnails.put("a" * 64, b"jpeg")
        store.thumbnails.put("a" * 64, b"newer")
        assert store.thumbnails.get("a" * 64) == b"newer"
    with Store.open(tmp_path) as store:
        assert store.thumbnails.get("a" * 64) == b"newer"


def test_it_goes_with_the_last_image_of_its_content(tmp_path: Path):
    with Store.open(tmp_path) as store:
        number = store.training_sets.create(ME, "Zebras").id
        one, two = add(store, number, "a", b"x"), add(store, number, "b", b"x")
        store.thumbnails.put(one.sha256, b"jpeg")
        store.images.delete(ME, one.id)
        assert store.thumbnails.get(one.sha256) == b"jpeg"
        store.images.delete(ME, two.id)
        assert store.thumbnails.get(one.sha256) == b"jpeg", "for its return"
        store.deleted_images.forget(ME)
        assert store.thumbnails.get(one.sha256) is None


def test_a_sweep_drops_those_of_images_that_are_gone(tmp_path: Path):
    with Store.open(tmp_path) as store:
        row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
        store.thumbnails.put(row.sha256, b"kept")
        store.thumbnails.put("f" * 64, b"stray")
        store.sweep()
        assert store.thumbnails.get(row.sha256) == b"kept"
        assert store.thumbnails.get("f" * 64) is None


def test_a_damaged_file_is_made_anew(tmp_path: Path, caplog):
    with Store.open(tmp_path) as store:
        store.thumbnails.put("a" * 64, b"x" * 100_000)
    (tmp_path / "thumbnails.db").write_bytes(b"no database at all" * 1000)
    with Store.open(tmp_path) as store:
        assert store.thumbnails.get("a" * 64) is None
        store.thumbnails.put("b" * 64, b"jpeg")
        assert store.thumbnails.get("b" * 64) == b"jpeg"
    assert "thumbnail cache" in caplog.text


def test_where_it_cannot_be_kept_there_is_none_and_no_error(tmp_path: Path, caplog):
    (tmp_path / "thumbnails.db").mkdir()
    thumbnails = ThumbnailCache(tmp_path / "thumbnails.db")
    thumbnails.put("a" * 64, b"jpeg")
    assert thumbnails.get("a" * 64) is None
    thumbnails.delete(["a" * 64])
    thumbnails.close()
    assert thumbnails.get("a" * 64) is None


def test_many_threads_may_use_it(tmp_path: Path):
    thumbnails = ThumbnailCache(tmp_path / "thumbnails.db")

    def work(number: int) -> None:
        name = f"{number % 50:064d}"
        thumbnails.put(name, name.encode())
        assert thumbnails.get(name) == name.encode()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(500)))
    thumbnails.close()


def test_writing_does_not_wait_for_the_disk(tmp_path: Path):
    thumbnails = ThumbnailCache(tmp_path / "thumbnails.db")
    assert thumbnails._run(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (0,)
    thumbnails.close()
    with sqlite3.connect(tmp_path / "thumbnails.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
