import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder, earlier_encoder, model_file
from apitorch_desktop.vision.images import open_upright
from tests.helpers.image_samples import photo_like, saved

DATA = Path(__file__).parents[1] / "data"


def model(
    path: Path,
    *,
    shape: tuple[object, ...] = ("n", 3, 8, 8),
    metadata: dict[str, str] | None = None,
    opset: int = 13,
) -> Path:
    """A network whose embedding is the mean of each channel, twice (n, 6): its answers can be worked out by hand."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    if opset < 18:
        means = helper.make_node("ReduceMean", ["x"], ["means"], axes=axes, keepdims=0)
    else:
        means = helper.make_node("ReduceMean", ["x", "axes"], ["means"], keepdims=0)
    made = helper.make_graph(
        [means, helper.make_node("Concat", ["means", "means"], ["out"], axis=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [shape[0], 6])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], axes)] if opset >= 18 else [],
    )
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])
    whole.ir_version = 8
    helper.set_model_props(whole, metadata or {})
    onnx.save(whole, path)
    return path


BLOCKS = {"head": (1280, 1.0), "stage 5": (120, 0.35), "stage 6": (208, 0.35), "head at half size": (1280, 0.5)}
"""Widths and lengths of the parts of a built-in embedding."""


def test_the_built_in_model_gives_embeddings_of_one_length(clothing, encoder):
    part = clothing.train
    assert part.embeddings.shape == (600, encoder.dimensions) == (600, sum(width for width, _ in BLOCKS.values()))
    assert part.embeddings.dtype == np.float32 and np.isfinite(part.embeddings).all()
    length = np.sqrt(sum(length**2 for _, length in BLOCKS.values()))
    assert np.allclose(np.linalg.norm(part.embeddings, axis=1), length, atol=1e-3)


def test_the_built_in_model_computes_what_torch_does(encoder):
    """Against the activations of a plain torch forward pass in float64; how they were made is in CONTRIBUTING."""
    reference = np.load(DATA / "efficientnet_lite2_activations.npz")["embedding"].astype(float)
    pixels = (reference_images().astype(np.float32) - 127) / 128
    session = onnxruntime.InferenceSession(encoder.path)
    found = session.run(["embedding"], {"image": pixels})[0].astype(float)
    for part in np.split(np.arange(encoder.dimensions), np.cumsum([width for width, _ in BLOCKS.values()])[:-1]):
        a, b = found[:, part], reference[:, part]
        assert (np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.9999


def reference_images():
    """(4, 3, 260, 260) uint8, the same everywhere: gratings of seeded angle and color, blocks, noise."""
    y, x = np.mgrid[:260, :260].astype(np.float64)
    images = []
    for number in range(4):
        draw = np.random.Generator(np.random.PCG64(number))
        u = draw.random(64)
        planes = []
        for channel in range(3):
            a, f, p = u[channel * 3 : channel * 3 + 3]
            wave = 128 + 90 * np.sin((x * np.cos(6.28 * a) + y * np.sin(6.28 * a)) * (0.02 + 0.3 * f) + 6.28 * p)
            left, top, side = (int(200 * v) for v in u[20 + channel * 3 : 23 + channel * 3])
            wave[top : top + side, left : left + side] += 80 * (u[40 + channel] - 0.5) * 2
            planes.append(wave + 40 * (draw.random((260, 260)) - 0.5))
        images.append(np.clip(np.rint(planes), 0, 255).astype(np.uint8))
    return np.stack(images)


def test_the_model_of_the_first_version_is_found_by_its_name():
    first = earlier_encoder("opennsfw-resnet50-thin-b2ac2c1f3e0c-1")
    assert first is None  # another file
    name = Encoder(model_file("safe_for_work.onnx")).name
    again = earlier_encoder(name)
    assert again is not None and again.name == name and again.dimensions == 1536
    assert earlier_encoder("mine-0123456789ab-1") is None


def test_the_answer_does_not_depend_on_the_company(encoder):
    images = [photo_like(300, 400, seed) for seed in range(10)]
    together = encoder.encode(images)
    for index, image in enumerate(images):
        alone = encoder.encode([image])
        assert np.allclose(alone[0], together[index], atol=1e-4)


def test_no_images_give_no_embeddings(encoder):
    assert encoder.encode([]).shape == (0, encoder.dimensions)


@pytest.mark.parametrize("size", [(1, 1), (3000, 5), (5, 3000), (224, 224), (256, 256), (4000, 3000)])
def test_any_shape_of_image_can_be_encoded(encoder, size):
    assert np.isfinite(encoder.encode([Image.new("RGB", size, (120, 40, 200))])).all()


def test_a_reduced_decode_is_close_to_the_whole(photos, encoder):
    for file in sorted((photos / "train").glob("*/*.jpg"))[::100]:
        data = saved(open_upright(file.read_bytes()).resize((1200, 1600)), "JPEG", quality=92)
        whole = encoder.encode([open_upright(data)])[0]
        reduced = encoder.encode([open_upright(data, encoder.shorter_side)])[0]
        assert np.linalg.norm(whole - reduced) < 0.05 * np.linalg.norm(whole)


def test_threads_share_an_encoder(encoder):
    images = [photo_like(260, 260, seed) for seed in range(4)]
    alone = [encoder.encode([image])[0] for image in images]
    wrong = []

    def work(index: int) -> None:
        again = [encoder.encode([images[index]])[0] for _ in range(5)]
        wrong.extend(index for one in again if not np.allclose(one, alone[index], atol=1e-4))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("threads", "at_once", "share"), [(2, 2, 1), (8, 4, 2), (1, 2, 1)])
def test_a_run_beside_another_has_its_share_of_the_threads_and_the_same_answer(threads, at_once, share):
    shared, image = Encoder(threads=threads, at_once=at_once), photo_like(260, 260, 1)
    alone = shared.encode([image])
    assert shared._shared_session is None
    with shared._counted():  # as a run on another thread does
        beside = shared.encode([image])
    assert np.allclose(beside, alone, atol=1e-5)
    assert shared._shared_session.get_session_options().intra_op_num_threads == share
    assert shared._session.get_session_options().intra_op_num_threads == threads


def test_an_encoder_for_one_run_at_a_time_loads_its_model_once(encoder):
    with encoder._counted():
        encoder.encode([photo_like(260, 260, 1)])
    assert encoder._shared_session is None


def test_runs_at_a_time_go_on_where_the_model_was_replaced(tmp_path, monkeypatch):
    copy = tmp_path / "encoder.onnx"
    copy.write_bytes(model_file("encoder.onnx").read_bytes())
    monkeypatch.setattr("apitorch_desktop.vision.encoder.model_file", lambda _name: copy)
    shared = Encoder(threads=2, at_once=2)
    for content in (model(tmp_path / "other.onnx").read_bytes(), b"none"):
        copy.write_bytes(content)
        shared._shared_session = None
        assert shared._session_beside_others() is shared._session


@pytest.mark.parametrize("shape", [("n", 3, 8, 8), (1, 3, 8, 8), ("n", 8, 8, 3), (1, 8, 8, 3)])
def test_a_model_of_ones_own_says_itself_how_it_wants_its_images(tmp_path, shape):
    metadata = {"channels": "BGR", "mean": "10,20,30", "std": "2", "scale": "1", "resize": "8", "name": "mine"}
    own = Encoder(model(tmp_path / "own.onnx", shape=shape, metadata=metadata))
    assert own.dimensions == 6 and own.shorter_side == 14 and own.name.startswith("mine-")
    encoded = own.encode([Image.new("RGB", (30, 20), (200, 100, 50))] * 3)
    assert np.allclose(encoded, [[20, 40, 85] * 2] * 3, atol=1e-3)


def test_a_model_without_metadata_gets_rgb_from_0_to_1(tmp_path):
    own = Encoder(model(tmp_path / "own.onnx"))
    assert np.allclose(own.encode([Image.new("RGB", (9, 9), (255, 0, 51))])[0, :3], [1, 0, 0.2], atol=1e-3)


def test_only_the_center_is_seen(tmp_path):
    own = Encoder(model(tmp_path / "own.onnx", metadata={"resize": "16", "scale": "1"}))
    image = Image.new("RGB", (32, 32), "black")
    image.paste("white", (8, 8, 24, 24))
    assert own.encode([image])[0, 0] > 230
    own = Encoder(model(tmp_path / "all.onnx", metadata={"resize": "8", "scale": "1"}))
    assert own.encode([image])[0, 0] < 100


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("crop", "kept"), [("0", 400), ("0.5", 200), ("1", 100)])
def test_the_view_is_cropped_as_far_as_the_model_wants(tmp_path, crop, kept, turned):
    """Of 400 × 100 pixels the middle 200 are kept half way between the square and the whole."""
    own = Encoder(model(tmp_path / "own.onnx", metadata={"resize": "8", "scale": "1", "crop": crop}))
    image = Image.new("RGB", (400, 100), "black")
    image.paste("white", (200, 0, 400, 100))
    image.paste("red", (200 - kept // 2, 0, 200, 100))
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
    red, green, _ = own.encode([image])[0, :3]
    assert red == pytest.approx(255, abs=8) and green == pytest.approx(127, abs=8)


def test_the_name_changes_with_the_file(tmp_path):
    first = Encoder(model(tmp_path / "a.onnx", metadata={"name": "mine"})).name
    second = Encoder(model(tmp_path / "b.onnx", metadata={"name": "mine", "mean": "1"})).name
    assert first != second
    assert Encoder(model(tmp_path / "c.onnx", metadata={"name": "mine"})).name == first


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"mean": "a,b,c"}, "metadata"),
        ({"mean": "1,2"}, "metadata"),
        ({"size": "-4"}, "metadata"),
        ({"channels": "HSV"}, "metadata"),
        ({"std": "0"}, "metadata"),
        ({"resize": "2"}, "metadata"),
        ({"embedding_output": "gone"}, "gone"),
        ({"crop": "1.5"}, "crop"),
        ({"size": "9"}, "plain picture"),
        ({"scale": "nan"}, "numbers"),
    ],
)
def test_metadata_that_cannot_be_is_refused_with_a_reason(tmp_path, metadata, word):
    with pytest.raises(UnusableEncoder, match=word):
        Encoder(model(tmp_path / "own.onnx", metadata=metadata))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UnusableEncoder, match="not an ONNX file"):
        Encoder(tmp_path / "text.onnx")
    with pytest.raises(UnusableEncoder, match="cannot be read"):
        Encoder(tmp_path / "absent.onnx")
    with pytest.raises(UnusableEncoder, match="three channels"):
        Encoder(model(tmp_path / "deep.onnx", shape=("n", 5, 8, 8)))


def test_onnxruntime_keeps_nothing_for_its_maker_on_this_machine(tmp_path):
    kept = tmp_path / "home"
    code = "from apitorch_desktop.vision.encoder import Encoder; from pathlib import Path; import sys; Encoder(Path(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(kept), "XDG_CACHE_HOME": str(kept)}
    command = [sys.executable, "-c", code, str(model(tmp_path / "small.onnx"))]
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert not list(kept.rglob("*onnxruntime*"))
