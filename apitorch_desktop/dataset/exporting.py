"""A training set as files for other programs: folder tree, zip, CSV, JSONL, Create ML, Croissant; with a split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apitorch_desktop.api.types import TrainingImage, TrainingImages


class Format(StrEnum):
    """What an export writes; images always lie in `<slug>/[<part>/]<label>/<filename>`."""

    IMAGEFOLDER = "imagefolder"
    ZIP = "zip"
    CSV = "csv"
    JSONL = "jsonl"
    CREATEML = "createml"
    CROISSANT = "croissant"


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of train, validation and test (they are scaled to sum to 1), and the seed that makes it repeatable."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to. `path` is what was written; `failed` holds (what, why) for images that are missing."""

    path: Path
    written: int
    skipped: int
    failed: list[tuple[str, str]]


class ExportRefused(Exception):  # noqa: N818 - named for what happened
    """Nothing was written: `str()` is a sentence that says why and what to do."""


def export(
    listing: TrainingImages,
    fetch: Callable[[TrainingImage], bytes],
    folder: Path,
    form: Format = Format.IMAGEFOLDER,
    *,
    split: Split | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Exported:
    """Write a training set into `folder`; `fetch` answers an image's bytes and may raise ApiError.

    `groups` are image ids that a split keeps together (near-duplicates); None finds them in the pictures. Never
    overwrites: `ExportRefused` where something else is there already. `progress(done, total)`.
    """
    raise NotImplementedError
