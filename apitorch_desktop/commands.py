"""What the subcommands import, export and classify do."""

from collections.abc import Sequence
from pathlib import Path


def import_folder(folder: Path, name: str) -> int:
    """`import FOLDER --name NAME`: one label a sub-folder; says what came in and what did not. The exit status."""
    raise NotImplementedError


def export_training_set(training_set: str, folder: Path, form: str = "imagefolder") -> int:
    """`export TRAINING_SET FOLDER [--format …]`; the training set by id or name. The exit status."""
    raise NotImplementedError


def classify_files(images: Sequence[Path], classifier: str, csv: Path | None = None) -> int:
    """`classify IMAGE… --classifier SLUG [--csv FILE]`; folders too. The exit status."""
    raise NotImplementedError
