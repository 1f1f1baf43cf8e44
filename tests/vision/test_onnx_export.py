import json

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.folds import projection
from apitorch_desktop.vision.head import REMEMBERED, Head, train
from apitorch_desktop.vision.images import open_upright
from apitorch_desktop.vision.onnx_export import ExportFailed, check_export, labels_of, write_onnx
from tests.helpers.image_samples import photo_like
from tests.vision.test_encoder import model


@pytest.fixture(scope="module")
def corrected(clothing):
    """A head that remembers: three labels, one photo of them corrected against the rest."""
    rows, labels = clothing.train.only("dress", "hat", "shoes", each=20)
    labels[3] = "hat"
    head = train(rows, labels).head
    assert len(head.remembered)
    return head


@pytest.fixture(scope="module")
def exported(corrected, encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "clothes.onnx"
    write_onnx(path, corrected, encoder, "clothes")
    return path


def test_the_file_answers_as_the_service_does(exported, corrected, encoder, clothing):
    files = [*clothing.test.files[::20], *clothing.train.files[:4]]
    images = [open_upright(file.read_bytes(), encoder.shorter_side) for file in files]
    assert check_export(exported, corrected, encoder, images) < 1e-4
    assert check_export(exported, corrected, encoder, []) == 0


def test_the_check_finds_a_file_that_answers_otherwise(exported, corrected, encoder, clothing, tmp_path):
    rows, labels = clothing.train.only("dress", "hat", "shoes", each=20)
    images = [photo_like(300, 300, seed) for seed in range(3)]
    assert check_export(exported, train(rows[:-9], labels[:-9]).head, encoder, images) > 1e-4
    spoilt = onnx.load(exported)
    for entry in spoilt.metadata_props:
        if entry.key == "channels":
            entry.value = "RGB"
    onnx.save(spoilt, tmp_path / "spoilt.onnx")
    assert check_export(tmp_path / "spoilt.onnx", corrected, encoder, images) > 1e-4


def test_someone_with_nothing_but_the_file_can_run_it(exported, corrected, encoder, clothing):
    """As a notebook would: numpy, Pillow, onnxruntime and what stands in the metadata."""
    session = onnxruntime.InferenceSession(exported)
    about = session.get_modelmeta().custom_metadata_map
    labels = json.loads(about["labels"])
    assert about["classifier"] == "clothes" and about["encoder"] == encoder.name
    assert about["layout"] == "NHWC" and about["channels"] == "BGR"
    for index in (3, 25, 45):
        file = [*clothing.train.files[:20], *clothing.train.files[60:80]][index % 40]
        image = Image.open(file).convert("RGB")
        resize, size = int(about["resize"]), int(about["size"])
        scale = resize / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)[:, :, ::-1]
        mean = np.array([float(part) for part in about["mean"].split(",")])
        pixels = ((pixels - mean) * float(about["scale"]) / float(about["std"])).astype(np.float32)[None]
        (probabilities,) = session.run([about["output"]], {about["input"]: pixels})
        service = corrected.predict(encoder.encode([open_upright(file.read_bytes())]).embeddings)
        assert labels[int(probabilities.argmax())] == corrected.labels[int(service.argmax())]
        assert np.abs(probabilities - service).max() < 0.1


def test_the_memory_is_exported_too(exported, corrected, encoder, clothing):
    image = open_upright(clothing.train.files[3].read_bytes(), encoder.shorter_side)
    answer = Encoder(exported).encode([image]).embeddings[0]
    assert answer[corrected.labels.index("hat")] == pytest.approx(REMEMBERED, abs=1e-4)
    assert answer.sum() == pytest.approx(1, abs=1e-4)
    assert corrected.smooth(clothing.train.embeddings[3:4])[0, corrected.labels.index("hat")] < REMEMBERED - 0.01


def test_a_batch_is_answered_as_its_images_are(exported):
    exported_classifier = Encoder(exported)
    images = [photo_like(240, 300, seed) for seed in range(5)]
    together = exported_classifier.encode(images).embeddings
    alone = np.concatenate([exported_classifier.encode([image]).embeddings for image in images])
    assert together.shape == (5, 3)
    assert np.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("remember", [0, 3])
@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("shape", [("n", 3, 8, 8), (1, 8, 8, 3)])
@pytest.mark.parametrize("opset", [9, 13, 18, 21])
def test_encoders_of_ones_own_are_exported_too(tmp_path, shape, labels, remember, opset):
    path = model(tmp_path / "own.onnx", shape=shape, metadata={"scale": "1", "mean": "100"}, opset=opset)
    own = Encoder(path)
    random = np.random.default_rng(labels)
    rows = own.encode([photo_like(40, 40, seed) for seed in range(remember)]).embeddings
    names = [f"größe_{index}" for index in range(labels)]
    head = Head(
        names,
        random.normal(0, 0.02, (labels, 6)),
        random.normal(size=labels),
        rows @ projection(6),
        np.arange(remember) % labels,
    )
    write_onnx(tmp_path / "out.onnx", head, own)
    images = [photo_like(40, 40, seed) for seed in range(6)]
    assert labels_of(tmp_path / "out.onnx") == tuple(names)
    assert check_export(tmp_path / "out.onnx", head, own, images) < 1e-4
    if remember:
        assert head.predict(rows).max() == pytest.approx(REMEMBERED, abs=0.05)


def test_a_head_of_another_encoder_is_refused(corrected, tmp_path):
    with pytest.raises(ExportFailed, match="another encoder"):
        write_onnx(tmp_path / "out.onnx", corrected, Encoder(model(tmp_path / "own.onnx")))
    assert not (tmp_path / "out.onnx").exists()


def test_what_is_no_exported_classifier_is_refused(corrected, encoder, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ExportFailed, match="cannot be run"):
        check_export(tmp_path / "text.onnx", corrected, encoder, [])
    with pytest.raises(ExportFailed, match="not a classifier"):
        labels_of(encoder.path)
    with pytest.raises(ExportFailed, match="not an ONNX file"):
        labels_of(tmp_path / "text.onnx")


def test_labels_that_do_not_match_are_found(exported, encoder, clothing):
    rows, labels = clothing.train.only("dress", "hat", "skirt", each=3)
    with pytest.raises(ExportFailed, match="other labels"):
        check_export(exported, train(rows, labels).head, encoder, [photo_like(30, 30)])


def test_a_failed_write_leaves_nothing_behind(corrected, encoder, tmp_path):
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(OSError):
        write_onnx(tmp_path / "taken.onnx", corrected, encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.onnx"]
