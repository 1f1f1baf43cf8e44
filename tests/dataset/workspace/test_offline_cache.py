import sqlite3
import threading

from msgspec.structs import replace

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache


def image(number: int, label: str = "dress", day: int = 1) -> TrainingImage:
    return TrainingImage(
        filename=f"{number:040x}.jpg",
        url=f"http://host/{number}?day={day}",
        label=label,
        id=f"ti_{number:040x}",
        width=640,
        height=480,
    )


def listing(*counts: int, day: int = 1) -> Listing:
    labels = [f"l{place}" for place in range(len(counts))]
    images, number = [], 0
    for label, count in zip(labels, counts, strict=True):
        for _ in range(count):
            images.append(image(number, label, day))
            number += 1
    return Listing(Id("42"), "clothes", labels, images, "http://host/set", {"l0": "tl_1"}, seen_at=1234.5)


def pieces(catalog: OfflineCache) -> set[bytes]:
    return {key for (key,) in catalog._seen.read("SELECT hash FROM piece")}


def test_what_was_seen_is_there_after_a_restart(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_training_sets(
        "c1", [TrainingSet(id=Id("42"), name="Clothes"), TrainingSet(id=Id("x"), name="Y")], {"paging"}
    )
    catalog.save_listing("c1", listing(3, 0, 5000))
    catalog.close()
    again = OfflineCache(tmp_path)
    assert [one.id for one in again.training_sets("c1")] == [Id("42"), "x"]
    assert again.extensions("c1") == {"paging"}
    assert again.listing("c1", Id("42")) == listing(3, 0, 5000)
    assert again.listing("c1", Id(42)) == listing(3, 0, 5000)
    assert again.listing("c2", Id("42")) is None
    assert again.training_sets("c2") == []
    assert again.extensions("c2") == frozenset()
    again.close()


def test_only_what_changed_is_written_again(tmp_path):
    catalog = OfflineCache(tmp_path)
    seen = listing(5000, 5000, 5000)
    catalog.save_listing("c1", seen)
    before = pieces(catalog)
    seen.images.insert(7000, image(99_999, "l1"))
    catalog.save_listing("c1", seen)
    after = pieces(catalog)
    assert len(before) == len(after) == 9
    assert len(after - before) == 2  # those of l1 from there on
    assert catalog.listing("c1", Id("42")) == seen
    catalog.save_listing("c1", listing(2))
    assert len(pieces(catalog)) == 1
    catalog.close()


def test_a_listing_is_forgotten_with_its_training_set_or_its_connection(tmp_path):
    catalog = OfflineCache(tmp_path)
    for connection in ("c1", "c2"):
        catalog.save_listing(connection, listing(2))
        catalog.save_listing(connection, replace_id(listing(1), 43))
        catalog.save_thumbnail(connection, "ti_1", b"jpeg")
    catalog.forget_training_set("c1", Id("42"))
    assert catalog.listing("c1", Id("42")) is None
    assert catalog.listing("c1", 43) is not None
    catalog.forget_connection("c1")
    assert catalog.listing("c1", 43) is None
    assert catalog.thumbnail("c1", "ti_1") is None
    assert catalog.listing("c2", Id("42")) == listing(2)
    assert catalog.thumbnail("c2", "ti_1") == b"jpeg"
    catalog.close()


def replace_id(seen: Listing, number: int) -> Listing:
    seen.training_set_id = number
    return seen


def test_two_pieces_that_are_the_same_are_both_there(tmp_path):
    catalog = OfflineCache(tmp_path)
    twice = Listing(Id("42"), "clothes", ["a", "b"], [image(1, "a"), image(2, "b"), image(1, "a")])
    catalog.save_listing("c1", twice)
    assert catalog.listing("c1", Id("42")).images == twice.images
    catalog.close()


def test_thumbnails_stay_within_their_bytes_and_the_longest_unused_go_first(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("apitorch_desktop.dataset.workspace.offline_cache.time", lambda: clock[0])
    catalog = OfflineCache(tmp_path, thumbnail_bytes=10_000)
    for number in range(10):
        clock[0] += 10
        catalog.save_thumbnail("c1", f"ti_{number}", bytes([number]) * 1000)
    clock[0] += 10
    assert catalog.thumbnail("c1", "ti_0") == bytes(1000)  # used again: not the oldest any more
    catalog.save_thumbnail("c1", "ti_new", b"n" * 1000)
    held = {number for number in range(10) if catalog.thumbnail("c1", f"ti_{number}")}
    assert held == {0, 3, 4, 5, 6, 7, 8, 9}
    assert catalog.thumbnail("c1", "ti_new")
    catalog.save_thumbnail("c1", "ti_huge", b"h" * 20_000)
    assert catalog.thumbnail("c1", "ti_huge") is None
    catalog.close()
    assert OfflineCache(tmp_path, thumbnail_bytes=10_000)._bytes == 9000


def test_a_thumbnail_is_replaced_and_follows_an_id_that_changed(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_thumbnail("c1", "ti_old", b"first")
    catalog.save_thumbnail("c1", "ti_old", b"second")
    catalog.copy_thumbnails("c1", {"ti_old": "ti_new", "ti_none": "ti_other"})
    assert catalog.thumbnail("c1", "ti_new") == b"second"
    assert catalog.thumbnail("c1", "ti_other") is None
    assert catalog._bytes == 12
    catalog.close()


def test_a_damaged_file_is_begun_anew(tmp_path):
    for name in ("catalog.sqlite", "thumbnails.sqlite"):
        (tmp_path / name).write_bytes(b"this is no database " * 1000)
    catalog = OfflineCache(tmp_path)
    assert catalog.listing("c1", Id("42")) is None
    assert catalog.thumbnail("c1", "ti_1") is None
    catalog.save_listing("c1", listing(2))
    catalog.save_thumbnail("c1", "ti_1", b"jpeg")
    assert catalog.listing("c1", Id("42")) == listing(2)
    assert catalog.thumbnail("c1", "ti_1") == b"jpeg"
    catalog.close()


def test_damage_in_the_middle_of_a_run_costs_the_cache_only(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_listing("c1", listing(50_000))
    catalog._seen.read("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "catalog.sqlite"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    for _ in range(3):
        catalog.listing("c1", Id("42"))
        catalog.save_listing("c1", listing(2))
    assert catalog.listing("c1", Id("42")) == listing(2)
    catalog.close()


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    catalog = OfflineCache(tmp_path / "file" / "cache")
    catalog.save_listing("c1", listing(2))
    catalog.save_thumbnail("c1", "ti_1", b"jpeg")
    assert catalog.listing("c1", Id("42")) is None
    assert catalog.thumbnail("c1", "ti_1") is None
    catalog.close()


def test_a_listing_of_another_version_is_as_good_as_none(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_listing("c1", listing(2))
    with catalog._seen.transaction() as rows:
        rows.execute("UPDATE listing SET head = x'c1'")
    assert catalog.listing("c1", Id("42")) is None
    catalog.save_training_sets("c1", [], ())
    with catalog._seen.transaction() as rows:
        rows.execute("UPDATE connection SET training_sets = x'00', extensions = x'00'")
    assert catalog.training_sets("c1") == []
    assert catalog.extensions("c1") == frozenset()
    catalog.close()


def test_many_threads_and_a_second_program_share_it(tmp_path):
    first, second = OfflineCache(tmp_path), OfflineCache(tmp_path)
    faults: list[Exception] = []

    def work(catalog: OfflineCache, start: int) -> None:
        try:
            for number in range(start, start + 50):
                catalog.save_thumbnail("c1", f"ti_{number}", b"x" * 100)
                catalog.save_listing("c1", replace_id(listing(3), number))
                assert catalog.thumbnail("c1", f"ti_{number}") == b"x" * 100
        except (AssertionError, sqlite3.Error, OSError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=((first, second)[one % 2], one * 50)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(1 for number in range(200) if second.listing("c1", number)) == 200
    first.close()
    second.close()


def test_a_record_that_is_changed_in_the_window_does_not_change_the_catalog(tmp_path):
    catalog = OfflineCache(tmp_path)
    seen = listing(2)
    catalog.save_listing("c1", seen)
    seen.images[0] = replace(seen.images[0], label="other")
    assert catalog.listing("c1", Id("42")) == listing(2)
    catalog.close()
