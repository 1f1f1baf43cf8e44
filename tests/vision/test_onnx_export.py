import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.folds import projection
from apitorch_desktop.vision.head import REMEMBERED, Head, train
from apitorch_desktop.vision.images import open_upright
from apitorch_desktop.vision.novelty import NoveltyDetector
from apitorch_desktop.vision.onnx_export import ExportFailed, check_export, labels_of, metadata_of, write_onnx
from tests.helpers.image_samples import photo_like
from tests.vision.test_encoder import model


@pytest.fixture(scope="module")
def corrected(clothing):
    """A head that remembers: three labels, one photo of them corrected against the rest; its linear part is unsure."""
    rows, labels = clothing.train.only("dress", "hat", "shoes", each=20)
    labels[3] = "hat"
    head = train(rows, labels).head
    assert len(head.remembered)
    return Head(head.labels, head.weights / 2, head.bias / 2, head.sketches, head.remembered, novelty=head.novelty)


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
            entry.value = "BGR"
    onnx.save(spoilt, tmp_path / "spoilt.onnx")
    assert check_export(tmp_path / "spoilt.onnx", corrected, encoder, images) > 1e-4


def test_someone_with_nothing_but_the_file_can_run_it(exported, corrected, encoder, clothing):
    """As a notebook would: numpy, Pillow, onnxruntime and what stands in the metadata."""
    session = onnxruntime.InferenceSession(exported)
    about = session.get_modelmeta().custom_metadata_map
    labels = json.loads(about["labels"])
    assert about["classifier"] == "clothes" and about["encoder"] == encoder.name
    assert about["layout"] == "NCHW" and about["channels"] == "RGB" and about["size"] == about["resize"]
    for index in (3, 25, 45):
        file = [*clothing.train.files[:20], *clothing.train.files[60:80]][index % 40]
        image = Image.open(file).convert("RGB")
        size, shorter = int(about["size"]), min(image.size)
        width, height = (shorter * (side / shorter) ** (1 - float(about["crop"])) for side in image.size)
        left, top = (image.width - width) / 2, (image.height - height) / 2
        view = (left, top, left + width, top + height)
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, view), np.float32)
        mean = np.array([float(part) for part in about["mean"].split(",")])
        pixels = ((pixels - mean) * float(about["scale"]) / float(about["std"])).astype(np.float32)
        pixels = pixels.transpose(2, 0, 1)[None]
        (probabilities,) = session.run([about["output"]], {about["input"]: pixels})
        service = corrected.predict(encoder.encode([open_upright(file.read_bytes())]))
        assert labels[int(probabilities.argmax())] == corrected.labels[int(service.argmax())]
        assert np.abs(probabilities - service).max() < 0.1


def test_the_lines_in_the_file_classify_a_photo(exported, corrected, encoder, clothing, tmp_path, monkeypatch):
    """In a program with nothing of this one: the photo lies on its side, and says so."""
    about = metadata_of(exported)
    lines = about["usage"].splitlines()
    assert len(lines) == 4 and lines[0].startswith("import ")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clothes.onnx").write_bytes(exported.read_bytes())
    for file in (clothing.train.files[25], clothing.test.files[60]):
        turned = Image.open(file).transpose(Image.Transpose.ROTATE_90)
        exif = turned.getexif()
        exif[0x112] = 6
        turned.save("photo.jpg", quality=98, exif=exif)
        run = "import json; print(json.dumps([probabilities.tolist(), familiarity.tolist()]))"
        done = subprocess.run(
            [sys.executable, "-I", "-c", f"{about['usage']}\n{run}"], capture_output=True, text=True, check=True
        )
        probabilities, familiarity = (np.array(part) for part in json.loads(done.stdout))
        row = encoder.encode([open_upright((tmp_path / "photo.jpg").read_bytes(), encoder.shorter_side)])
        assert np.abs(probabilities - corrected.predict(row)).max() < 0.1  # the whole photo is decoded there
        assert (familiarity < float(about["unknown_threshold"])) == corrected.is_none(row)


def test_the_memory_is_exported_too(exported, corrected, encoder, clothing):
    image = open_upright(clothing.train.files[3].read_bytes(), encoder.shorter_side)
    answer = Encoder(exported).encode([image])[0]
    assert answer[corrected.labels.index("hat")] == pytest.approx(REMEMBERED, abs=1e-4)
    assert answer.sum() == pytest.approx(1, abs=1e-4)
    assert corrected.smooth(clothing.train.embeddings[3:4])[0, corrected.labels.index("hat")] < REMEMBERED - 0.01


def test_the_file_knows_what_is_none_of_the_labels(exported, corrected, encoder, clothing):
    files = [*clothing.test.files[::9], *clothing.train.files[:4]]
    images = [open_upright(file.read_bytes(), encoder.shorter_side) for file in files]
    images += [photo_like(300, 400, seed) for seed in range(4)]
    session = onnxruntime.InferenceSession(exported)
    about = session.get_modelmeta().custom_metadata_map
    pixels = np.stack([encoder.preparation.prepare(image) for image in images])
    (familiarity,) = session.run([about["unknown_output"]], {about["input"]: pixels})
    embeddings = encoder.encode(images)
    assert np.array_equal(familiarity < float(about["unknown_threshold"]), corrected.is_none(embeddings))
    logits = embeddings @ corrected.weights.T + corrected.bias
    scores = corrected.novelty.scores(embeddings, logits)
    usual = np.isfinite(scores) & (familiarity < 1e30)
    assert 4 <= (~usual).sum() < 12 and np.allclose(familiarity[usual], scores[usual], atol=1e-2)


def test_a_batch_is_answered_as_its_images_are(exported):
    exported_classifier = Encoder(exported)
    images = [photo_like(240, 300, seed) for seed in range(5)]
    together = exported_classifier.encode(images)
    alone = np.concatenate([exported_classifier.encode([image]) for image in images])
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
    rows = own.encode([photo_like(40, 40, seed) for seed in range(remember)])
    names = [f"größe_{index}" for index in range(labels)]
    novelty = NoveltyDetector(
        random.normal(size=6),
        np.eye(6)[:, :4],
        2.0,
        random.normal(size=(5, 4)),
        np.ones(5),
        (-1.0, 2.0),
        (0.5, 1.5),
        -3.0,
    )
    head = Head(
        names,
        random.normal(0, 0.02, (labels, 6)),
        random.normal(size=labels),
        rows @ projection(6),
        np.arange(remember) % labels,
        novelty=novelty,
    )
    write_onnx(tmp_path / "out.onnx", head, own)
    images = [photo_like(40, 40, seed) for seed in range(6)]
    assert labels_of(tmp_path / "out.onnx") == tuple(names)
    assert check_export(tmp_path / "out.onnx", head, own, images) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    for image in images:
        (score,) = session.run(["familiarity"], {"x": own.preparation.prepare(image)[None]})[0]
        row = own.encode([image])
        wanted = novelty.scores(row, row @ head.weights.T + head.bias)
        assert score > 1e29 or score == pytest.approx(float(wanted[0]), rel=1e-3, abs=1e-3)
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
