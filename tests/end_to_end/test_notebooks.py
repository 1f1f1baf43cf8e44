"""The notebooks of `resources/examples`: their cells run in order on a real service, by Python alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.service_process import serving

_EXAMPLES = Path(__file__).parents[2] / "resources" / "examples"
_ALONE = 'import sys\nassert not [name for name in sys.modules if name.startswith("apitorch_desktop")]\n'
"""The lines that hold that a notebook works without this program."""


def test_the_notebooks_train_evaluate_and_use_the_exported_file(tmp_path):
    names = [path.stem for path in sorted(_EXAMPLES.glob("*.ipynb"))]
    assert names == ["1-train", "2-evaluate", "3-onnx"]
    with serving(tmp_path / "data") as service:
        environment = os.environ | {"APITORCH_BASE_URL": service.url, "APITORCH_API_KEY": service.key}
        printed = {name: run(name, environment, tmp_path) for name in names}
        sets = {one["name"]: one["labels"] for one in service.call("GET", "training-sets").json()["data"]}
    labels = ["grevys_zebra", "mountain_zebra", "plains_zebra", "quagga"]
    assert sets == dict.fromkeys(("Notebook zebras", "Notebook zebras held out"), labels)
    assert "48 photos" in printed["1-train"]
    assert "Notebook zebras is ready in version" in printed["1-train"]
    by_service, by_file = (re.search(r"(\d+) of 12 photos right", printed[name]) for name in ("2-evaluate", "3-onnx"))
    assert int(by_service[1]) >= 10
    assert int(by_file[1]) >= 10
    assert "InferenceSession" in printed["3-onnx"]  # the lines that the file itself carries


def run(name, environment, folder):
    """Run the code cells of a notebook; return what they print."""
    notebook = json.loads((_EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    script = folder / f"{name}.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in cells) + f"\n{_ALONE}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        cwd=_EXAMPLES,
        env=environment | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
