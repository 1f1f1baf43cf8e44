"""The search for similar images against a plain comparison of all embeddings."""

import numpy as np
import pytest

from apitorch_desktop.service.classifiers import embeddings
from apitorch_desktop.service.classifiers.embeddings import SimilarityIndex
from apitorch_desktop.service.storage.records import EmbeddingRow
from apitorch_desktop.service.storage.store import Store
from tests.helpers.curating import OWNER
from tests.helpers.stores import add_many
from tests.helpers.waiting import until

ENCODER, DIMENSIONS, KINDS = "made", 96, 12


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "data") as opened:
        yield opened


def fill(store, name, count, seed):
    """A training set of embeddings in clusters, of several lengths; its id, and the embeddings by image id."""
    random = np.random.default_rng(seed)
    set_id = store.training_sets.create(OWNER, name).id
    rows = add_many(store, set_id, "dress", [f"{name} {number}".encode() for number in range(count)])
    kinds = np.random.default_rng(0).standard_normal((KINDS, DIMENSIONS)) + 1
    vectors = kinds[random.integers(KINDS, size=count)] + random.standard_normal((count, DIMENSIONS)) / 2
    vectors = (vectors * random.uniform(0.5, 2, count)[:, None]).astype(np.float32)
    put(store, rows, vectors)
    return set_id, dict(zip([row.wire_id for row in rows], vectors, strict=True))


def put(store, rows, vectors):
    store.models.put_embeddings(
        ENCODER, [EmbeddingRow(row.sha256, vector.tobytes(), None) for row, vector in zip(rows, vectors, strict=True)]
    )


def plainly(embeddings, query):
    """Ids by their cosine with the query, best first, and the cosines."""
    ids, vectors = list(embeddings), np.stack(list(embeddings.values()))
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines)
    return [ids[at] for at in order], cosines[order]


def test_the_nearest_are_those_of_a_plain_comparison_in_one_set_and_in_several(store, monkeypatch):
    monkeypatch.setattr(embeddings, "EXACT", 150)
    monkeypatch.setattr(embeddings, "_SKETCH", 24)
    first, ours = fill(store, "first", 600, 1)
    second, theirs = fill(store, "second", 300, 2)
    index = SimilarityIndex(store)
    for query in list(ours.values())[:5]:
        for sets, known in (([first], ours), ([first, second], ours | theirs)):
            ids, cosines = plainly(known, query)
            found, compared = index.search(sets, ENCODER, query, 10)
            assert compared == len(known)
            assert [row.image_id for row in found] == ids[:10]
            np.testing.assert_allclose([row.similarity for row in found], cosines[:10], atol=1e-4)
            everything, _ = index.search(sets, ENCODER, query, 10_000)
            assert sorted(row.image_id for row in everything) == sorted(ids)
            values = np.array([row.similarity for row in everything])
            assert (np.diff(values) <= 0).all()
            assert np.abs(values - cosines).mean() < 0.1  # after the first ones by sketches


def test_it_follows_new_moved_and_deleted_images_and_late_embeddings(store, monkeypatch):
    monkeypatch.setattr(embeddings, "_RETRY_AFTER", 0)
    set_id, known = fill(store, "clothes", 20, 1)
    index = SimilarityIndex(store)
    query, mine = next(iter(known.values())), next(iter(known))
    assert len(index.search([set_id], ENCODER, query, 100, without=mine)[0]) == 19
    late = add_many(store, set_id, "hat", [b"late"])
    assert len(index.search([set_id], ENCODER, query, 100)[0]) == 20, "it has no embedding yet"
    put(store, late, [query * 2])
    found, compared = index.search([set_id], ENCODER, query, 2)
    assert compared == 21
    assert {(row.image_id, row.label) for row in found} == {(mine, "dress"), (late[0].wire_id, "hat")}
    assert found[0].similarity == pytest.approx(1)
    store.images.move(OWNER, late[0].id, "shoe")
    store.images.delete(OWNER, mine)
    found, compared = index.search([set_id], ENCODER, query, 1)
    assert (compared, found[0].label) == (20, "shoe")
    assert index.search([set_id], "another", query, 5) == ([], 0)
    store.training_sets.delete(OWNER, set_id)
    assert index.search([set_id], ENCODER, query, 5) == ([], 0)


@pytest.fixture
def reads(store, monkeypatch):
    """How many embeddings were read, in one number."""
    count, read = [0], store.models.embeddings

    def counted(encoder, sha256s):
        wanted = list(sha256s)
        count[0] += len(wanted)
        return read(encoder, wanted)

    monkeypatch.setattr(store.models, "embeddings", counted)
    return count


def images_of(found):
    return [(row.image_id, row.label) for row in found[0]]


def test_a_large_set_is_searched_after_a_start_without_reading_its_embeddings(store, reads, monkeypatch):
    monkeypatch.setattr(embeddings, "EXACT", 40)
    monkeypatch.setattr(embeddings, "_STORED_FROM", 300)
    set_id, known = fill(store, "many", 400, 3)
    small, _ = fill(store, "few", 20, 4)
    query, mine = next(iter(known.values())), next(iter(known))
    index = SimilarityIndex(store)
    right = images_of(index.search([set_id], ENCODER, query, 30))
    index.search([small], ENCODER, query, 30)
    for each in (set_id, small):
        index.store_index(each)
    index.close()
    (file,) = (store.folder / "similar").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    index, reads[0] = SimilarityIndex(store), 0
    assert images_of(index.search([set_id], ENCODER, query, 30)) == right
    assert reads[0] == 40
    assert len(index.search([set_id], ENCODER, query, 1000, without=mine)[0]) == 399

    late = add_many(store, set_id, "hat", [b"late"])
    put(store, late, [query * 2])
    store.images.delete(OWNER, mine)
    index, reads[0] = SimilarityIndex(store), 0
    found, compared = index.search([set_id], ENCODER, query, 1)
    assert (compared, found[0].image_id, found[0].label) == (400, late[0].wire_id, "hat")
    assert reads[0] == 41, "the new one, and those compared exactly"
    index.store_index(set_id)
    index.close()
    assert images_of(SimilarityIndex(store).search([set_id], ENCODER, query, 1)) == [(late[0].wire_id, "hat")]

    data = file.read_bytes()
    changed = bytearray(data)
    changed[len(data) // 2] ^= 255
    for damaged in (b"", data[:3], data[: len(data) // 2], bytes(changed), b"no index" * 100):
        file.write_bytes(damaged)
        again = SimilarityIndex(store)
        assert images_of(again.search([set_id], ENCODER, query, 1)) == [(late[0].wire_id, "hat")]
        assert again.search([set_id], "another", query, 1) == ([], 0)
        again.close()
    store.training_sets.delete(OWNER, set_id)
    index.store_index(set_id)
    assert not list(file.parent.iterdir())


def test_a_set_at_rest_is_kept_in_a_file_in_the_background(store, monkeypatch):
    monkeypatch.setattr(embeddings, "_STORED_FROM", 30)
    monkeypatch.setattr(embeddings, "_REST", 0)
    index = SimilarityIndex(store)
    set_id, known = fill(store, "many", 40, 3)
    query, folder = next(iter(known.values())), store.folder / "similar"
    index.search([set_id], ENCODER, query, 5)
    until(lambda: folder.is_dir() and any(file.suffix == ".index" for file in folder.iterdir()))
    store.on_change(index.notify_changed)
    store.training_sets.delete(OWNER, set_id)
    until(lambda: not any(folder.iterdir()))
    index.close()
