"""Files of training images for other programs: made when one is dragged out, swept when they are old."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import time

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.session.session import Session

KEPT = 24 * 3600.0
"""Seconds a file is kept: the other program may read it long after the drop."""


def local_copy(session: Session, folder: Path, image: TrainingImage, cancelled: Callable[[], bool]) -> Path:
    """A file with an image's bytes under the name it came with; blocking. Raises ApiError and OSError."""
    workspace, open_set = session.workspace, session.open_set
    if workspace is None or open_set is None:
        raise RuntimeError("no training set is open")
    data = workspace.image(open_set.training_set.id, image, cancelled=cancelled)
    place = folder / image.image_id
    place.mkdir(parents=True, exist_ok=True)
    name = (image.original_filename or image.filename).replace("/", "_").replace("\\", "_")[-100:]
    path = place / (name if "." in name else image.filename)
    path.write_bytes(data)
    return path


def sweep(folder: Path) -> None:
    """Delete the files that are old; blocking."""
    from shutil import rmtree

    if not folder.is_dir():
        return
    for place in folder.iterdir():
        if place.stat().st_mtime < time() - KEPT:
            rmtree(place, ignore_errors=True)
