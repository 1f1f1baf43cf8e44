"""A trained classifier as a file: checked before it goes out, whatever has become of the photos it learned from."""

import pytest

from apitorch_desktop.service.classifiers.classification import ClassificationService, OnnxExporter
from apitorch_desktop.service.storage.errors import RecordConflict, StorageFault
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import onnx_export
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import Head
from tests.helpers.curating import OWNER, fill, training, until_ready


@pytest.fixture
def learned(tmp_path, photos):
    """A store, an exporter on it, and the id of a training set that has learned dresses and hats."""
    encoder = Encoder()
    with Store.open(tmp_path / "data") as store:
        clothes = store.training_sets.create(OWNER, "Clothes").id
        fill(store, clothes, photos, ["dress", "hat"], 4)
        with training(store, encoder) as trainer:
            until_ready(store, trainer, clothes)
            yield store, OnnxExporter(store, trainer, ClassificationService(store, trainer, lambda: encoder)), clothes


def test_photos_that_are_damaged_or_gone_keep_no_file_back(learned, tmp_path):
    store, exporter, _ = learned
    first, *others = (path for path in (store.folder / "images").glob("?/*") if path.is_file())
    first.write_bytes(b"no longer a photo")
    for other in others:
        other.unlink()
    (tmp_path / "clothes.onnx").write_bytes(exporter.onnx(OWNER, "clothes"))
    assert sorted(onnx_export.labels_of(tmp_path / "clothes.onnx")) == ["dress", "hat"]


def test_a_file_that_answers_otherwise_does_not_go_out_even_where_there_is_no_photo_left(learned, monkeypatch):
    store, exporter, clothes = learned
    for path in (store.folder / "images").glob("?/*"):
        path.unlink()
    write, head = onnx_export.write_onnx, exporter._trainer.current_head(clothes).head
    other = Head(head.labels, head.weights * 0.5, head.bias, novelty=head.novelty)
    monkeypatch.setattr(onnx_export, "write_onnx", lambda path, _, *rest: write(path, other, *rest))
    with pytest.raises(StorageFault, match="differs by"):
        exporter.onnx(OWNER, "clothes")


def test_what_has_learned_nothing_yet_is_told(learned):
    store, exporter, _ = learned
    store.training_sets.create(OWNER, "Empty")
    with pytest.raises(RecordConflict, match="has not been trained yet"):
        exporter.onnx(OWNER, "empty")
