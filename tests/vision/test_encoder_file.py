"""Encoders of the user's own: what they may refer to, what describes them, and what a dry run finds."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from apitorch_desktop.vision import encoder_file
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.encoder_file import dry_run, hugging_face, inspect
from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.onnx_export import check_export, write_onnx
from tests.helpers.image_samples import photo_like
from tests.vision.test_encoder import model


def network(path, nodes, outputs=(("out", TensorProto.FLOAT),), initializers=(), kind=TensorProto.FLOAT):
    """A model of one input `x` (n, 3, 16, 16)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info(name, of, None) for name, of in outputs],
        list(initializers),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    onnx.save(made, path)
    return path


def weights(count=32, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 4, 4)).astype(np.float32)


def maps(path, kind=TensorProto.FLOAT):
    """An embedding of maps (n, 32, 4, 4), of patches as a vision transformer makes them."""
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    initializer = onnx.numpy_helper.from_array(weights().astype(dtype), "w")
    convolution = helper.make_node("Conv", ["x", "w"], ["patches"], strides=[4, 4])
    rectified = helper.make_node("Relu", ["patches"], ["out"])
    return network(path, [convolution, rectified], [("out", kind)], [initializer], kind)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_maps_are_averaged_and_exported_with_the_head(tmp_path, kind):
    file = inspect(maps(tmp_path / "maps.onnx", kind))
    encoder = file.load()
    images = [photo_like(60, 40, seed) for seed in range(12)]
    rows = encoder.encode(images)
    assert rows.shape == (12, encoder.dimensions) == (12, 32) and rows.dtype == np.float32
    pixels = np.stack([encoder.preparation.prepare(image) for image in images]).reshape(12, 3, 4, 4, 4, 4)
    patches = np.einsum("ncyixj,dcij->ndyx", pixels, weights())
    assert np.allclose(rows, np.maximum(patches, 0).mean(axis=(2, 3)), atol=1e-2)
    head = train(rows, ["a", "b"] * 6).head
    write_onnx(tmp_path / "whole.onnx", head, encoder)
    assert check_export(tmp_path / "whole.onnx", head, encoder, images) < (1e-4 if kind == TensorProto.FLOAT else 0.02)


def test_a_dry_run_gives_name_size_and_cost(tmp_path):
    file = inspect(maps(tmp_path / "maps.onnx"))
    found = dry_run(file)
    assert (found.problem, found.name, found.dimensions) == ("", file.load().name, 32)
    assert found.milliseconds > 0
    maps(tmp_path / "maps.onnx", TensorProto.FLOAT16)
    with pytest.raises(UnusableEncoder, match="has changed"):
        file.load()


def test_a_dry_run_says_what_is_wrong(tmp_path):
    constant = helper.make_node(
        "Constant", [], ["out"], value=helper.make_tensor("v", TensorProto.FLOAT, [1, 4], [1] * 4)
    )
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0])
    same = [helper.make_node("Mul", ["x", "zero"], ["y"]), helper.make_node("GlobalAveragePool", ["y"], ["out"])]
    problems = {
        "same": dry_run(inspect(network(tmp_path / "same.onnx", same, initializers=[zero]))).problem,
        "rows": dry_run(inspect(network(tmp_path / "rows.onnx", [constant]))).problem,
        "inputs": dry_run(inspect(model(tmp_path / "gray.onnx", shape=("n", 1, 8, 8)))).problem,
        "slow": dry_run(inspect(maps(tmp_path / "slow.onnx")), 0.01).problem,
    }
    assert "same of different pictures" in problems["same"]
    assert "one row of numbers of each" in problems["rows"]
    assert "three channels" in problems["inputs"]
    assert "takes more than" in problems["slow"]
    huge = helper.make_node("Expand", ["x", "shape"], ["out"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [5], [200_000, 1, 3, 16, 16])
    assert dry_run(inspect(network(tmp_path / "huge.onnx", [huge], initializers=[shape]))).problem


def test_external_data_stays_within_the_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    made = onnx.load(maps(inner / "maps.onnx"))
    onnx.save(made, inner / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=16)
    file = inspect(inner / "split.onnx")
    assert [path.name for path in file.files] == ["split.onnx", "weights.bin"]
    images = [photo_like(30, 30, 1)]
    assert np.allclose(file.load().encode(images), inspect(inner / "maps.onnx").load().encode(images))
    secret = tmp_path / "secret.bin"
    secret.write_bytes((inner / "weights.bin").read_bytes())
    (inner / "link.bin").symlink_to(secret)
    for location in ("../secret.bin", str(secret), "link.bin", "missing.bin", ""):
        other = onnx.load(inner / "split.onnx", load_external_data=False)
        for entry in other.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        (inner / "other.onnx").write_bytes(other.SerializeToString())
        with pytest.raises(UnusableEncoder, match=r"outside its folder|not beside it"):
            inspect(inner / "other.onnx")


def test_loops_and_what_is_too_large_or_no_model_are_refused(tmp_path, monkeypatch):
    body = helper.make_graph([], "body", [], [])
    loop = helper.make_node("Loop", ["", ""], ["out"], body=body)
    hidden = helper.make_node("If", ["x"], ["out"], then_branch=helper.make_graph([loop], "t", [], []))
    with pytest.raises(UnusableEncoder, match="loop"):
        inspect(network(tmp_path / "loop.onnx", [hidden]))
    (tmp_path / "text.onnx").write_text("import os")
    with pytest.raises(UnusableEncoder, match="not an ONNX file"):
        inspect(tmp_path / "text.onnx")
    with pytest.raises(UnusableEncoder, match="cannot be read"):
        inspect(tmp_path / "none.onnx")
    maps(tmp_path / "maps.onnx")
    monkeypatch.setattr(encoder_file, "LARGEST", 1000)
    with pytest.raises(UnusableEncoder, match="larger"):
        inspect(tmp_path / "maps.onnx")


MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True,
             "image_mean": MEAN, "image_std": STD, "resample": 3},
            {"size": "224", "resize": "256", "crop": "1", "interpolation": "bicubic"},
        ),
        (
            {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2},
            {"size": "224", "resize": "224", "crop": "0", "std": "0.5,0.5,0.5"},
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, {"size": "224", "resize": "256", "crop": "1"}),
        ({"size": 384, "do_rescale": False, "do_flip_channel_order": True}, {"size": "384", "scale": "1.0", "channels": "BGR"}),
    ],
)  # fmt: skip
def test_hugging_face_preprocessing_is_understood(config, found):
    made = hugging_face(config)
    assert found.items() <= made.items()
    if config.get("image_mean") == MEAN:
        assert [float(part) for part in made["mean"].split(",")] == pytest.approx([255 * mean for mean in MEAN])


def test_a_sidecar_describes_the_preprocessing(tmp_path):
    maps(tmp_path / "maps.onnx")
    config = {"size": {"height": 16, "width": 16}, "image_mean": MEAN, "image_std": STD}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    file = inspect(tmp_path / "maps.onnx")
    its = file.load().preparation
    assert (its.size, its.crop, its.std) == (16, 0, tuple(STD))
    plain = file.load().name
    (tmp_path / "maps.json").write_text(json.dumps({"mean": [1, 2, 3], "scale": 1}))
    own = inspect(tmp_path / "maps.onnx").load()
    assert (own.preparation.mean, own.preparation.scale) == ((1, 2, 3), 1)
    assert own.name != plain, "other preparation makes other embeddings"
    for text in ("{", "[]", '{"size": {"height": 16, "width": 20}, "image_mean": [0]}', "[" * 100_000):
        (tmp_path / "maps.json").write_text(text)
        with pytest.raises(UnusableEncoder, match="cannot be understood"):
            inspect(tmp_path / "maps.onnx")
