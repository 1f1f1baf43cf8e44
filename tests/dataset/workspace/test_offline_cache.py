import dataclasses
import os
import sqlite3
import stat
import threading

import msgspec
import pytest
from msgspec.structs import replace

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.workspace.columnar_listing import ListingChange, apply
from apitorch_desktop.dataset.workspace.image_table import tabulate
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


def change(
    *images: TrainingImage, removed: tuple[int, ...] = (), renamed: dict[str, str] | None = None
) -> ListingChange:
    return ListingChange(renamed or {}, [image(number).image_id for number in removed], [*images])


def after(seen: Listing, *changes: ListingChange, revision: str = "2-0") -> Listing:
    table = tabulate(list(seen.images))
    for one in changes:
        apply(one, table)
    labels = ["l0", "l1", "l2"]
    return dataclasses.replace(seen, images=table.listed(labels), labels=labels, revision=revision, seen_at=5678.5)


def files(catalog: OfflineCache) -> list[str]:
    return sorted(path.name for path in catalog._listings.iterdir())


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


def test_only_what_changed_is_written(tmp_path):
    catalog = OfflineCache(tmp_path)
    seen = dataclasses.replace(listing(3000, 3000), revision="1-0")
    catalog.save_listing("c1", seen)
    before = files(catalog)
    swapped = change(renamed={"l0": "l1", "l1": "l0"})
    moved = change(image(7, "l2"), image(99_999, "l1"), removed=(7, 8, 9))
    catalog.save_change("c1", "1-0", after(seen, swapped, revision="1-5"), swapped)
    latest = after(seen, swapped, moved)
    catalog.save_change("c1", "1-5", latest, moved)
    nothing = change()
    catalog.save_change("c1", "2-0", dataclasses.replace(latest, seen_at=9999.0), nothing)
    assert files(catalog) == before
    assert catalog._seen.read("SELECT COUNT(*) FROM change") == [(2,)]
    found = catalog.listing("c1", Id("42"))
    assert found == dataclasses.replace(latest, seen_at=9999.0)
    assert [one.image_id for one in found.images if one.label == "l2"] == [image(7).image_id]
    assert [one.label for one in found.images[:1]] == ["l0"]
    assert found.images[0].image_id == image(3000).image_id  # the labels changed their names with each other
    assert image(99_999).image_id in [one.image_id for one in found.images if one.label == "l1"]
    catalog.close()


def test_a_listing_is_written_anew_once_much_has_changed_or_others_have_seen_it_since(tmp_path, monkeypatch):
    monkeypatch.setattr("apitorch_desktop.dataset.workspace.offline_cache._CHANGED", 3)
    catalog = OfflineCache(tmp_path)
    seen = dataclasses.replace(listing(20), revision="1-0")
    catalog.save_listing("c1", seen)
    first = files(catalog)
    one = change(image(100, "l0"), image(101, "l1"))
    another = change(image(102, "l1"), image(103, "l1"))
    catalog.save_change("c1", "1-0", after(seen, one), one)
    assert files(catalog) == first
    catalog.save_change("c1", "2-0", after(seen, one, another), another)
    second = files(catalog)
    assert len(second) == 1 and second != first
    assert catalog._seen.read("SELECT COUNT(*) FROM change") == [(0,)]
    catalog.save_change("c1", "1-0", after(seen, another), another)  # of a revision that is not the one here
    assert len(files(catalog)) == 1 and files(catalog) != second
    assert catalog.listing("c1", Id("42")) == after(seen, another)
    catalog.close()


def test_the_images_of_a_listing_belong_to_whoever_asked_for_it(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_listing("c1", listing(50, 50))
    one, other = catalog.listing("c1", Id("42")), catalog.listing("c1", Id("42"))
    table = tabulate(one.images)
    table.remove(table.under("l0"))
    table.append([image(1000, "l1")])
    assert other == listing(50, 50)
    assert catalog.listing("c1", Id("42")) == listing(50, 50)
    catalog.save_listing("c1", listing(3))
    assert other == listing(50, 50)  # its file is gone
    catalog.close()


@pytest.mark.parametrize("harm", ["missing", "short", "header", "other", "empty"])
def test_a_damaged_file_of_a_listing_is_as_good_as_none(harm, tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_listing("c1", listing(500))
    (path,) = catalog._listings.iterdir()
    data = path.read_bytes()
    path.unlink()
    changed = {
        "short": data[:-100], "header": data[:40] + b"\xff" + data[41:], "other": b"images\x001" + data[8:], "empty": b"",
    }  # fmt: skip
    if harm in changed:
        path.write_bytes(changed[harm])
    assert catalog.listing("c1", Id("42")) is None
    catalog.save_listing("c1", listing(2))
    assert catalog.listing("c1", Id("42")) == listing(2)
    assert len(files(catalog)) == 1
    catalog.close()


def test_files_are_private_and_those_that_a_crash_left_go_after_a_day(tmp_path):
    catalog = OfflineCache(tmp_path)
    catalog.save_listing("c1", listing(2))
    assert {stat.S_IMODE(path.stat().st_mode) for path in catalog._listings.iterdir()} == {0o600}
    old, young = catalog._listings / "old.images", catalog._listings / "young.images"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    catalog.save_listing("c1", listing(3))
    assert not old.exists() and young.exists()
    catalog.close()


def test_a_listing_that_version_0_1_0_saw_is_there(tmp_path):
    catalog = OfflineCache(tmp_path)
    seen = listing(3, 0, 2)
    head = {
        "training_set_id": "42", "slug": seen.slug, "url": seen.url, "labels": seen.labels, "label_ids": seen.label_ids,
        "pieces": [b"a", b"b"], "revision": "7-1",
    }  # fmt: skip
    with catalog._seen.transaction() as rows:
        owner = ("c1", Id("42"))
        rows.execute("INSERT INTO listing VALUES (?, ?, ?, 1234.5)", (*owner, msgspec.msgpack.encode(head)))
        for key, some in ((b"b", seen.images[3:]), (b"a", seen.images[:3])):
            rows.execute("INSERT INTO piece VALUES (?, ?, ?, ?)", (*owner, key, msgspec.msgpack.encode(some)))
    for _ in range(2):
        assert catalog.listing("c1", Id("42")) == dataclasses.replace(seen, revision="7-1")
    assert catalog._seen.read("SELECT * FROM piece") == []
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
    catalog.save_listing("c1", listing(2))
    catalog.save_training_sets("c1", [TrainingSet(id=Id("42"), name="x" * 200_000)], ())
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
        rows.execute("UPDATE listed SET head = x'c1'")
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
