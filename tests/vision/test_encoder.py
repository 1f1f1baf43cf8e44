import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder
from apitorch_desktop.vision.images import open_upright
from tests.helpers.image_samples import photo_like, saved


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


def test_the_built_in_model_gives_embeddings_and_unsafe_scores(clothing, encoder):
    part = clothing.train
    assert part.embeddings.shape == (600, encoder.dimensions) == (600, 1536)
    assert part.embeddings.dtype == np.float32 and np.isfinite(part.embeddings).all()
    assert np.all((part.unsafe >= 0) & (part.unsafe <= 1))
    assert np.mean(part.unsafe < 0.5) > 0.98  # clothes


def test_the_answer_does_not_depend_on_the_company(encoder):
    pictures = [photo_like(300, 400, seed) for seed in range(10)]
    together = encoder.encode(pictures)
    for index, picture in enumerate(pictures):
        alone = encoder.encode([picture])
        assert np.allclose(alone.embeddings[0], together.embeddings[index], atol=1e-4)
        assert np.allclose(alone.unsafe[0], together.unsafe[index], atol=1e-5)


def test_no_images_give_no_embeddings(encoder):
    nothing = encoder.encode([])
    assert nothing.embeddings.shape == (0, 1536) and nothing.unsafe.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (3000, 5), (5, 3000), (224, 224), (256, 256), (4000, 3000)])
def test_any_shape_of_picture_can_be_encoded(encoder, size):
    assert np.isfinite(encoder.encode([Image.new("RGB", size, (120, 40, 200))]).embeddings).all()


def test_a_reduced_decode_is_close_to_the_whole(photos, encoder):
    for file in sorted((photos / "train").glob("*/*.jpg"))[::100]:
        data = saved(open_upright(file.read_bytes()).resize((1200, 1600)), "JPEG", quality=92)
        whole = encoder.encode([open_upright(data)]).embeddings[0]
        reduced = encoder.encode([open_upright(data, encoder.shorter_side)]).embeddings[0]
        assert np.linalg.norm(whole - reduced) < 0.05 * np.linalg.norm(whole)


def test_threads_share_an_encoder(encoder):
    pictures = [photo_like(260, 260, seed) for seed in range(4)]
    alone = [encoder.encode([picture]).embeddings[0] for picture in pictures]
    wrong = []

    def work(index: int) -> None:
        again = [encoder.encode([pictures[index]]).embeddings[0] for _ in range(5)]
        wrong.extend(index for one in again if not np.allclose(one, alone[index], atol=1e-4))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", [("n", 3, 8, 8), (1, 3, 8, 8), ("n", 8, 8, 3), (1, 8, 8, 3)])
def test_a_model_of_ones_own_says_itself_how_it_wants_its_pictures(tmp_path, shape):
    metadata = {"channels": "BGR", "mean": "10,20,30", "std": "2", "scale": "1", "resize": "8", "name": "mine"}
    own = Encoder(model(tmp_path / "own.onnx", shape=shape, metadata=metadata))
    assert own.dimensions == 6 and own.shorter_side == 14 and own.name.startswith("mine-")
    encoded = own.encode([Image.new("RGB", (30, 20), (200, 100, 50))] * 3)
    assert encoded.unsafe is None
    assert np.allclose(encoded.embeddings, [[20, 40, 85] * 2] * 3, atol=1e-3)


def test_a_model_without_metadata_gets_rgb_from_0_to_1(tmp_path):
    own = Encoder(model(tmp_path / "own.onnx"))
    assert np.allclose(own.encode([Image.new("RGB", (9, 9), (255, 0, 51))]).embeddings[0, :3], [1, 0, 0.2], atol=1e-3)


def test_only_the_centre_is_seen(tmp_path):
    own = Encoder(model(tmp_path / "own.onnx", metadata={"resize": "16", "scale": "1"}))
    picture = Image.new("RGB", (32, 32), "black")
    picture.paste("white", (8, 8, 24, 24))
    assert own.encode([picture]).embeddings[0, 0] > 230
    own = Encoder(model(tmp_path / "all.onnx", metadata={"resize": "8", "scale": "1"}))
    assert own.encode([picture]).embeddings[0, 0] < 100


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
        ({"unsafe_output": "gone"}, "gone"),
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
