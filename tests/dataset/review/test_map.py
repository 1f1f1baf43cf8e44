"""The map: layouts that keep what is alike together, new images among those that are there, and the process that does it."""

import numpy as np
import pytest

from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache
from apitorch_desktop.dataset.review.map import MapFailed, complete, lay_out, make_map, principal_coordinates
from apitorch_desktop.dataset.review.messages import MapRequest
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.vision.encoder import Encoder

KINDS, EACH = 4, 30


def clusters(each=EACH, width=64, seed=0):
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 1, (KINDS, width))
    kinds = np.repeat(np.arange(KINDS), each)
    return (centers[kinds] + random.normal(0, 0.3, (len(kinds), width))).astype(np.float16), kinds


def purity(positions, kinds):
    """Share of images whose nearest neighbor is of their kind."""
    apart = ((positions[:, None] - positions[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.mean(kinds[apart.argmin(axis=1)] == kinds)


def test_what_is_alike_lies_together():
    rows, kinds = clusters()
    shares = []
    positions = lay_out(rows, lambda share, part: shares.append((share, part is not None)))
    assert positions.shape == (KINDS * EACH, 2) and positions.dtype == np.float32
    assert purity(positions, kinds) > 0.95
    assert [share for share, _ in shares] == sorted(share for share, _ in shares) and shares[-1][0] == pytest.approx(1)
    assert not shares[0][1] and shares[-2][1], "positions come before the end"
    assert np.array_equal(positions, lay_out(rows))
    for few in range(7):
        found = lay_out(rows[::17][:few])
        assert found.shape == (few, 2) and np.isfinite(found).all()
        assert few < 4 or found.std() > 0.1, "they do not collapse"


def test_new_images_find_their_place_and_the_others_stay():
    rows, kinds = clusters()
    positions = lay_out(rows)
    places = {str(index): tuple(positions[index].tolist()) for index in range(len(rows)) if index % 3}
    found = complete(rows, [str(index) for index in range(len(rows))], places)
    kept = [index for index in range(len(rows)) if index % 3]
    assert np.array_equal(found[kept], positions[kept])
    assert purity(found, kinds) > 0.95


def test_principal_coordinates_are_those_of_a_full_decomposition():
    rows, _ = clusters()
    found = principal_coordinates(rows)
    apart = rows.astype(float) - rows.astype(float).mean(axis=0)
    lengths = np.linalg.svd(apart, compute_uv=False)
    assert np.allclose(np.linalg.norm(found, axis=0)[:4], lengths[:4], rtol=0.01)


@pytest.fixture
def seen(tmp_path):
    """A request for a map of images that Review has looked at, but for the last two."""
    rows, _ = clusters(5)
    keys = [f"key {index}" for index in range(len(rows))]
    memory = ReviewCache(tmp_path)
    features = {key: CachedImage(embedding=row.tobytes()) for key, row in zip(keys[:-2], rows, strict=False)}
    memory.remember("embedded", Encoder().name, features)
    memory.close()
    return MapRequest(str(tmp_path), "embedded", "7", keys)


def test_a_process_makes_the_map_and_keeps_it(seen, tmp_path):
    before = []
    first = make_map(seen, before.append)
    assert (first.final, first.missing, first.keys) == (True, 2, seen.keys[:-2])
    assert len(first.positions) == 8 * len(first.keys) and before
    again = make_map(MapRequest(seen.cache, "embedded", "7", seen.keys[3:]), before.append)
    positions = np.frombuffer(first.positions, "<f4").reshape(-1, 2)
    assert np.array_equal(np.frombuffer(again.positions, "<f4").reshape(-1, 2), positions[3:])
    for file in (tmp_path / "maps").iterdir():
        file.write_bytes(b"damaged")
    assert make_map(seen, before.append).keys == first.keys
    with pytest.raises(Cancelled):
        make_map(MapRequest(seen.cache, "embedded", "7", seen.keys, True), before.append, lambda: True)


def test_a_set_lies_by_its_own_encoder_once_review_has_got_its_embeddings(seen, tmp_path):
    keys = seen.keys[:3]  # too few for a layout, which takes its time
    own = MapRequest(seen.cache, seen.connection, "7", keys, encoder="own")
    memory = ReviewCache(tmp_path)
    for some, encoder in ((keys[:2], ""), (keys[2:], "own")):
        memory.remember("embedded", "own", {key: CachedImage(embedding=bytes(64)) for key in some})
        found = make_map(own, lambda _update: None)
        assert (found.encoder, found.keys, found.missing) == (encoder, keys, 0)
    memory.close()


def test_a_process_that_fails_says_so(seen):
    unusable = MapRequest("no\0folder", "embedded", "7", seen.keys)
    with pytest.raises(MapFailed, match="could not be made: ValueError"):
        make_map(unusable, lambda _update: None)
