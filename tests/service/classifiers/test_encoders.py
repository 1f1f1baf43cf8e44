"""Encoders of the user's own in the service: offered, tried, chosen for a training set, and taken away again."""

import shutil

import numpy as np
import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.service.classifiers.classification import ClassificationService, OnnxExporter
from apitorch_desktop.service.classifiers.encoders import FOLDER, OwnEncoders
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.schema import embeddings
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import images
from apitorch_desktop.vision.encoder import Encoder
from tests.helpers.curating import OWNER, add, fill, state, training, until_ready
from tests.helpers.service_process import serving
from tests.helpers.waiting import until
from tests.vision.test_encoder_file import maps


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


def stored(store):
    """Names of the encoders that there are embeddings of."""
    with store.models._database.reading() as connection:
        return {row[0] for row in connection.execute(embeddings.select().with_only_columns(embeddings.c.encoder))}


def test_a_set_is_learned_with_the_encoder_chosen_for_it(tmp_path, photos, encoder):
    with Store.open(tmp_path / "data") as store:
        own = OwnEncoders(store.folder / FOLDER)
        clothes, others = (store.training_sets.create(OWNER, name).id for name in ("Clothes", "Others"))
        for number in (clothes, others):
            fill(store, number, photos, ["dress", "hat"], 6)
        with training(store, encoder, own=own) as trainer:
            until_ready(store, trainer, clothes)
            (store.folder / FOLDER / "mine").mkdir(parents=True)
            maps(store.folder / FOLDER / "mine" / "maps.onnx")
            (store.folder / FOLDER / "broken.onnx").write_bytes(b"no model")
            listed = {one.file: one for one in trainer.list_encoders()}
            assert listed[""].dimensions == encoder.dimensions and listed[""].milliseconds > 0
            assert "not an ONNX file" in listed["broken.onnx"].problem
            mine = listed["maps.onnx"]
            assert (mine.problem, mine.dimensions) == ("", 32)
            with pytest.raises(RecordNotFound):
                trainer.check_encoder("another")

            trials = trainer.try_encoder(clothes, mine.name)
            assert [trial.name for trial in trials] == [encoder.name, mine.name]
            assert {trial.images for trial in trials} == {12} and trials[0].accuracy >= trials[1].accuracy
            assert store.models.versions(clothes)[0].encoder == encoder.name

            store.training_sets.update(OWNER, clothes, encoder=mine.name)
            trainer.notify_changed(clothes)
            until(lambda: store.models.versions(clothes)[0].encoder == mine.name)
            until_ready(store, trainer, clothes)
            hat = sorted((photos / "train" / "hat").iterdir())[8]
            answers = ClassificationService(store, trainer, lambda: encoder, own)
            data = hat.read_bytes()
            answers.classify(OWNER, ["clothes", "others"], data)
            (tmp_path / "clothes.onnx").write_bytes(OnnxExporter(store, trainer, answers).onnx(OWNER, "clothes"))
            assert Encoder(tmp_path / "clothes.onnx").dimensions == 2
            add(store, clothes, "dress", hat)
            until(lambda: store.models.versions(clothes)[0].images == 13)
            until(lambda: answers.classify(OWNER, ["clothes"], data).result().data[0].label == "dress")
            answers.close()

            assert trainer.purge_embeddings() == 0
            assert stored(store) == {encoder.name, mine.name}
            store.training_sets.update(OWNER, clothes, encoder="")
            trainer.notify_changed(clothes)
            until(lambda: store.models.versions(clothes)[0].encoder == encoder.name)
            until_ready(store, trainer, clothes)
            until(lambda: stored(store) == {encoder.name})
            assert trainer.purge_embeddings() == 0
            assert {row.encoder for row in store.models.versions(others)} == {encoder.name}

        store.training_sets.update(OWNER, clothes, encoder=mine.name)
        shutil.rmtree(store.folder / FOLDER)
        with training(store, encoder, own=OwnEncoders(store.folder / FOLDER)) as trainer:
            until(lambda: state(store, trainer, clothes).status == "failed")
            assert "is not there" in state(store, trainer, clothes).message
            assert state(store, trainer, others).status == "ready"


def test_an_encoder_given_at_the_start_is_offered_over_http(tmp_path, photos):
    maps(tmp_path / "maps.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    options = [f"--encoder={tmp_path / name}" for name in ("maps.onnx", "broken.onnx")]
    with serving(tmp_path, *options) as served:
        client = ApiClient(served.url, served.key)
        assert "encoders" in client.ping().extensions
        made = client.create_training_set("Clothes")
        sent = {}
        for label in ("dress", "hat"):
            for path in sorted((photos / "train" / label).iterdir())[:4]:
                sent[client.upload_image(made.id, label, path=path).id] = path
        built_in, mine, broken = client.encoders()
        assert (built_in.name, mine.dimensions, broken.name) == ("", 32, "")
        assert "not an ONNX file" in broken.problem
        assert [trial.images for trial in client.try_encoder(made.id, mine.name)] == [8, 8]
        empty = client.create_training_set("Empty")
        with pytest.raises(ApiError, match="two labels with two photos"):
            client.try_encoder(empty.id, mine.name)
        client.delete_training_set(empty.id)
        assert client.update_training_set(made.id, encoder=mine.name).encoder == mine.name
        until(lambda: client.classifier("clothes").status == "ready")
        assert [one.encoder for one in client.training_sets()] == [mine.name]
        until(lambda: len(client.embeddings(made.id, list(sent)).data) == len(sent))
        found = client.embeddings(made.id, [*sent, "ti_" + "0" * 40])
        assert found.encoder == mine.name
        own = Encoder(tmp_path / "maps.onnx")
        for one in found.data:
            image = images.open_upright(sent[one.image_id].read_bytes(), own.shorter_side)
            assert np.allclose(np.frombuffer(one.vector, "<f2"), own.encode([image])[0], atol=0.02)
        with pytest.raises(ApiError, match="at most 500"):
            client.embeddings(made.id, list(sent) * 100)
        for act in (
            lambda: client.update_training_set(made.id, encoder="none"),
            lambda: client.try_encoder(made.id, "none"),
        ):
            with pytest.raises(ApiError, match="There is no encoder"):
                act()
        client.close()
