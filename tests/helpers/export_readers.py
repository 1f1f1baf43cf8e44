"""What other programs read of an export: a walk as torchvision's, `datasets`, `mlcroissant`."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image


def walked(root: Path) -> list[tuple[str, str]]:
    """As torchvision's ImageFolder reads a tree: the folder's name is the class of every picture under it."""
    found = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
                with Image.open(path) as image:
                    image.load()
                found.append((folder.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return sorted(found)


def _read_by(module: str, program: str, *arguments: object) -> list:
    """What another program's reader says, in a process of its own, offline; skips where it is not installed."""
    environment = os.environ | {
        "HF_HOME": os.environ["APITORCH_DESKTOP_HOME"] + "/hf",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    script = f"import importlib.util, sys\nif importlib.util.find_spec('{module}') is None: sys.exit(77)\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    if done.returncode == 77:
        pytest.skip(f"{module} is not installed")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


_DATASETS = """
import hashlib, json, sys
import datasets
datasets.disable_progress_bars()
found = datasets.load_dataset("imagefolder", data_dir=sys.argv[1], cache_dir=sys.argv[2])
rows = []
for part, rows_of in found.items():
    for row in rows_of.cast_column("image", datasets.Image(decode=True)):
        row["image"].load()
        rows.append([part, row["label"], row["sha256"], row["width"] == row["image"].width])
print(json.dumps(rows))
"""


def read_hugging_face(root: Path, cache: Path) -> list[tuple[str, str, str, bool]]:
    """Part, label, sha256 and whether the width is right, of each image of a folder with `metadata.jsonl`."""
    return _read_by("datasets", _DATASETS, root, cache)


_CROISSANT = """
import json, sys, hashlib, io
import mlcroissant
found = mlcroissant.Dataset(jsonld=sys.argv[1])
assert not found.metadata.issues.errors, found.metadata.issues.report()
rows = []
for row in found.records(record_set="images"):
    row["images/image"].load()
    path = row["images/file_name"].decode()
    split = row.get("images/split", b"").decode()
    rows.append([row["images/label"].decode(), path, split])
print(json.dumps(rows))
"""


def read_croissant(root: Path) -> list[tuple[str, str, str]]:
    """Label, path under `root` and part ("" for none) of each image of a folder with `croissant.json`."""
    return _read_by("mlcroissant", _CROISSANT, root / "croissant.json")
