"""Training of a set with more images than are held in memory: the same versions, by the trainer and by a worker's task."""

import errno
import os
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from apitorch_desktop.service.classifiers import tasks, training_data
from apitorch_desktop.service.classifiers.head_cache import decode_metrics
from apitorch_desktop.service.classifiers.training import train_and_store
from apitorch_desktop.service.storage.errors import DiskFull
from apitorch_desktop.service.storage.records import EmbeddingRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import linear, matrix
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import Head, TrainingCancelled
from tests.helpers.curating import OWNER, state, training, until_ready
from tests.helpers.made_embeddings import made_set
from tests.helpers.stores import add_many, postgres
from tests.helpers.waiting import until

IMAGES, LABELS, DIMENSIONS, HELD_OUT = 900, 4, 96, 100


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(training_data, "WHOLE", 300)
    monkeypatch.setattr(matrix, "BATCH_NUMBERS", 10_000)
    monkeypatch.setattr(training_data, "_BATCH", 128)


@pytest.fixture
def made(tmp_path):
    number = made_set(tmp_path / "data", "made", IMAGES, LABELS, DIMENSIONS, HELD_OUT)
    with Store.open(tmp_path / "data") as store:
        yield store, number


def load(store, number, **options):
    return training_data.load(store, number, "made", lambda _sha256: False, **options)


def learn(store, data, cancelled=lambda _previewed: False):
    train_and_store(store, data, holder=None, cancelled=cancelled, use=lambda _head: None)


def test_a_set_above_the_limit_is_learned_in_batches_as_one_below_it_is_whole(made, monkeypatch):
    store, number = made
    in_file = load(store, number)
    monkeypatch.setattr(training_data, "WHOLE", IMAGES)
    whole = load(store, number)
    assert isinstance(in_file.embeddings, matrix.FileMatrix) and not isinstance(whole.embeddings, matrix.FileMatrix)
    assert in_file.ids.tolist() == whole.ids.tolist()
    assert (in_file.labels, in_file.complete) == (whole.labels, True)
    assert len(whole.labels) == IMAGES - HELD_OUT and len(whole.held_out) == HELD_OUT
    before = {path.name for path in store.folder.iterdir()}
    for data in (whole, in_file):
        learn(store, data)
    assert {path.name for path in store.folder.iterdir()} == before

    one, other = (decode_metrics(store.models.head(number, version)[0]) for version in (1, 2))
    assert 0.6 < one.accuracy < 1 and one.images == other.images == IMAGES - HELD_OUT
    assert other.accuracy == pytest.approx(one.accuracy, abs=2 / IMAGES)
    assert other.calibration_error == pytest.approx(one.calibration_error, abs=1e-3)
    assert [(found.split, found.images) for found in other.held_out] == [("test", HELD_OUT)]
    assert other.held_out[0].accuracy == pytest.approx(one.held_out[0].accuracy, abs=1 / HELD_OUT)
    difference = training_data.wire_version(store.models.versions(number)[0], None).difference
    assert (difference.images, difference.added, difference.relabeled) == (IMAGES - HELD_OUT, 0, 0)
    assert difference.better + difference.worse + difference.sideways <= 1
    answers = [training_data.load_answers(store, number, version) for version in (1, 2)]
    assert training_data.to_ids(answers[0].images()).tolist() == answers[1].ids.tolist() == whole.ids.tolist()
    assert np.abs(answers[0].values - answers[1].values).max() < 1e-3
    heads = [Head.from_bytes(store.models.head(number, version)[1]) for version in (1, 2)]
    asked = whole.embeddings.whole() + np.float32(0.002)
    assert np.abs(heads[0].smooth(asked) - heads[1].smooth(asked)).max() < 1e-3
    quick = [training_data.quick_head(store, data).head for data in (whole, in_file)]
    assert np.array_equal(quick[0].remembered, quick[1].remembered)


def test_it_ends_between_batches_and_begins_anew(made):
    store, number = made
    asked: list[bool] = []
    with pytest.raises(TrainingCancelled):
        load(store, number, go_on=training_data.raise_once(lambda: bool(asked.append(True)) or len(asked) == 3))
    data = load(store, number)
    asked.clear()
    with pytest.raises(TrainingCancelled):
        learn(store, data, lambda _previewed: bool(asked.append(True)) or len(asked) == 200)
    assert not store.models.versions(number)
    learn(store, data)
    assert [row.images for row in store.models.versions(number)] == [IMAGES - HELD_OUT]


def test_a_disk_without_room_is_a_sentence(made, monkeypatch):
    store, number = made
    usage = shutil.disk_usage(store.folder)
    with (
        monkeypatch.context() as patch,
        pytest.raises(DiskFull, match=r"Learning from 800 photos takes .*B on the disk of"),
    ):
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**30))
        load(store, number)

    def full(*_given, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    data = load(store, number)
    with monkeypatch.context() as patch, pytest.raises(DiskFull, match="no room left"):
        patch.setattr(matrix.FileMatrix, "put", full)
        learn(store, data)
    assert not store.models.versions(number)


def test_the_trainer_learns_in_batches_says_so_and_is_stopped_in_the_middle(tmp_path, monkeypatch):
    encoder = Encoder()
    number = made_set(tmp_path / "data", encoder.name, 400, 2, encoder.dimensions)
    begun, go_on, fit = threading.Event(), threading.Event(), linear.fit

    def held_fit(*given, **options):
        begun.set()
        assert go_on.wait(60)
        return fit(*given, **options)

    monkeypatch.setattr(linear, "fit", held_fit)
    with Store.open(tmp_path / "data") as store:
        with training(store, encoder) as trainer:
            assert begun.wait(60)
            found = state(store, trainer, number)
            assert (found.status, found.message) == ("training", "Learning from 400 photos.")
            with trainer._wake:
                trainer._stopping = True
            go_on.set()
        assert not store.models.versions(number)
        with training(store, encoder) as trainer:
            ready = until_ready(store, trainer, number)
            assert (ready.version, ready.metrics.images) == (1, 400)
            assert trainer.current_head(number).head.dimensions == encoder.dimensions


def test_a_task_of_a_worker_learns_in_batches(tmp_path, monkeypatch):
    (tmp_path / "bucket").mkdir()
    random = np.random.default_rng(0)
    with (
        postgres() as url,
        Store.open(tmp_path / "data", database_url=url, blob_url=(tmp_path / "bucket").as_uri()) as store,
    ):
        number = store.training_sets.create(OWNER, "Made").id
        for label in range(2):
            for image in add_many(store, number, f"label_{label}", [random.bytes(20) for _ in range(160)]):
                vector = (random.normal(label, 1, 64)).astype("<f4").tobytes()
                store.models.put_embeddings("made", [EmbeddingRow(image.sha256, vector, None)])
        monkeypatch.setattr(tasks, "_resources", lambda: SimpleNamespace(store=store))
        monkeypatch.setattr(tasks, "_LEASE_CHECK", 3600)  # nobody renews the claim here
        until(lambda: number in {job.training_set_id for job in store.jobs.claim(10)})
        assert tasks.train(number, "made", [], store.jobs.holder)
        assert tasks.train(number, "made", [], store.jobs.holder), "again: nothing is done"
        assert [row.images for row in store.models.versions(number)] == [320]
