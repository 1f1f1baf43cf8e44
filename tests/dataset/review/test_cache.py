"""The cache of Review: features by slot in a mapped file, what it forgets, and what version 0.1.0 left."""

import sqlite3
from contextlib import closing

import msgspec
import numpy as np
import pytest

from apitorch_desktop.dataset.review import cache as module
from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache

SIDE = 48


def features(*numbers: int) -> dict[str, CachedImage]:
    """Images whose arrays hold a number."""
    return {
        f"key {number}": CachedImage(
            blur=number / 100,
            pattern=np.full((SIDE, SIDE), number, "u1").tobytes(),
            embedding=np.full(6, number, "<f2").tobytes(),
        )
        for number in numbers
    }


def numbers(cache: ReviewCache, keys: list[str], encoder: str = "tiny") -> list[tuple[int, int]]:
    """What the arrays of images hold: of the pattern, of the embedding."""
    seen = cache.seen("here", encoder, keys)
    images = [seen[key] for key in keys]
    patterns, embeddings = cache.patterns(encoder, images), cache.embeddings(encoder, images)
    assert patterns.shape[1:] == (SIDE, SIDE) and embeddings.shape == (len(keys), 6)
    assert all((pattern == pattern[0, 0]).all() for pattern in patterns)
    return [(int(pattern[0, 0]), int(row[0])) for pattern, row in zip(patterns, embeddings, strict=True)]


def test_arrays_are_read_by_slot_in_any_order_by_another_process_and_after_more_came(tmp_path):
    cache, other = ReviewCache(tmp_path), ReviewCache(tmp_path)
    made = features(*range(1, 60))
    cache.remember("here", "tiny", made)
    assert all(one.slot >= 0 and not one.pattern and not one.embedding for one in made.values())
    assert numbers(other, ["key 7", "key 3", "key 59"]) == [(7, 7), (3, 3), (59, 59)]
    cache.remember("here", "tiny", features(*range(60, 120)))
    assert numbers(other, ["key 119", "key 3"]) == [(119, 119), (3, 3)]
    assert other.seen("there", "tiny", ["key 3"]) == other.seen("here", "large", ["key 3"]) == {}
    assert other.seen("here", "tiny", ["key 3"])["key 3"].blur == 0.03


def test_new_features_and_sizes_take_the_place_of_the_old(tmp_path):
    cache = ReviewCache(tmp_path)
    cache.remember("here", "tiny", features(1, 2))
    slots = {key: one.slot for key, one in cache.seen("here", "tiny", ["key 1", "key 2"]).items()}
    changed = features(9)["key 9"]
    cache.remember("here", "tiny", {"key 1": changed})
    known = cache.seen("here", "tiny", ["key 2"])["key 2"]
    known.size = 77
    cache.remember("here", "tiny", {"key 2": known})
    assert numbers(cache, ["key 1", "key 2"]) == [(9, 9), (2, 2)]
    now = cache.seen("here", "tiny", ["key 1", "key 2"])
    assert now["key 2"].size == 77 and {key: one.slot for key, one in now.items()} == slots


def test_an_image_with_another_key_keeps_its_arrays(tmp_path):
    cache = ReviewCache(tmp_path)
    cache.remember("here", "tiny", features(1, 2, 3))
    cache.replace_ids("here", {"key 2": "key 8"})
    assert numbers(cache, ["key 8", "key 3"]) == [(2, 2), (3, 3)]
    assert cache.seen("here", "tiny", ["key 2"]) == {}


@pytest.mark.parametrize("damage", ["cut", "gone", "zeros"])
def test_records_that_are_not_there_are_forgotten_and_made_again(tmp_path, damage):
    cache = ReviewCache(tmp_path)
    cache.remember("here", "tiny", features(*range(1, 11)))
    cache.close()
    (file,) = tmp_path.glob("features-*.bin")
    data = file.read_bytes()
    size = len(data) // 10
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data[: 4 * size] + (bytes(len(data) - 4 * size) if damage == "zeros" else b"cut"))
    cache = ReviewCache(tmp_path)
    left = [] if damage == "gone" else [1, 2, 3, 4]
    assert sorted(cache.seen("here", "tiny", features(*range(1, 11)))) == sorted(features(*left))
    cache.remember("here", "tiny", features(*range(1, 11)))
    assert numbers(cache, ["key 10", "key 1"]) == [(10, 10), (1, 1)]


def test_slots_of_what_was_evicted_are_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)
    cache = ReviewCache(tmp_path)
    cache.remember("here", "tiny", features(*range(1, 21)))
    cache.close()
    monkeypatch.setattr(module, "MAX_IMAGES", 5)
    cache = ReviewCache(tmp_path)
    keys = list(features(*range(1, 21)))
    left = sorted(cache.seen("here", "tiny", keys))
    assert len(left) == 5
    (file,) = tmp_path.glob("features-*.bin")
    size = file.stat().st_size
    cache.remember("here", "tiny", features(*range(31, 41)))
    assert file.stat().st_size == size
    assert numbers(cache, [*left, "key 40"])[-1] == (40, 40)
    assert [f"key {number}" for number, _ in numbers(cache, left)] == left


def test_features_of_version_0_1_0_are_taken_over(tmp_path):
    ReviewCache(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "review.sqlite")) as old, old:
        old.executemany(
            "INSERT INTO seen VALUES ('here', ?, 'tiny', 0, ?)",
            [(key, msgspec.msgpack.encode(one)) for key, one in features(1, 2, 3).items()],
        )
    cache = ReviewCache(tmp_path)
    assert numbers(cache, ["key 3", "key 1"]) == [(3, 3), (1, 1)]
    cache.close()
    with closing(sqlite3.connect(tmp_path / "review.sqlite")) as old:
        assert old.execute("SELECT image FROM seen").fetchall() == [("key 2",)]


def test_where_there_is_no_room_the_arrays_stay_in_memory(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    cache = ReviewCache(tmp_path / "taken")
    made = features(1, 2)
    cache.remember("here", "tiny", made)
    assert cache.embeddings("tiny", list(made.values()))[:, 0].tolist() == [1, 2]
    assert cache.patterns("tiny", list(made.values()))[:, 0, 0].tolist() == [1, 2]
