"""Task of a watch: a folder with its classifier and what is done about the answers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, Classification, Id
from apitorch_desktop.dataset.batch.classification import is_none_of_these, probability
from apitorch_desktop.utils.files import safe_filename, try_lock
from apitorch_desktop.utils.text import encoded

if TYPE_CHECKING:
    from filelock import BaseFileLock

Answer = Classification | str
"""An answer, or a sentence with the reason why there is none."""


@dataclass(frozen=True, slots=True)
class WatchTask:
    """A folder, its classifier, and what is done about the answers. All paths are absolute, those of folders without links.

    `table`: CSV file that gets a row for each photo. `destination`: folder into whose folders by label photos move if the
    answer is at least so sure as `least` (0 to 1) and not none of the labels. `training_set_id`: training set that photos
    are added to, under their answer where `adds_labels`, and without a label where `adds_unlabelled`; both: those that are
    less sure without one.
    """

    connection_id: str
    folder: Path
    classifier: str
    table: Path | None = None
    destination: Path | None = None
    least: float = 0.8
    training_set_id: Id | None = None
    adds_labels: bool = False
    adds_unlabelled: bool = False

    def place_for(self, answer: Answer) -> Path | None:
        """Return the folder that a photo belongs in by its answer, None for one that stays."""
        label = self._sure_label(answer)
        return self.destination / encoded(safe_filename(label)) if self.destination is not None and label else None

    def label_for(self, answer: Answer) -> str | None:
        """Return the label of the training set that a photo is added to, None for one that is not added."""
        if self.training_set_id is None or isinstance(answer, str):
            return None
        label = self._sure_label(answer) if self.adds_labels else ""
        return label or (INBOX if self.adds_unlabelled else None)

    def _sure_label(self, answer: Answer) -> str:
        """Return the label of an answer that is sure enough, else ""."""
        if isinstance(answer, str) or is_none_of_these(answer):
            return ""
        return snake_case(answer.label) if (probability(answer.confidence_value) or 0) >= self.least else ""

    def contains(self, path: Path) -> bool:
        """Return True for a path whose photo is to be classified: not one that was moved to a destination in the folder."""
        if not path.is_relative_to(self.folder):
            return False
        inner = self.destination
        inside = inner is not None and inner != self.folder and inner.is_relative_to(self.folder)
        return not (inside and inner is not None and path.is_relative_to(inner))


def lock_task(folder: Path, task: WatchTask) -> BaseFileLock | None:
    """Lock a task in the folder of its journal, so that one at a time works on it; None while another has the lock."""
    key = os.fsencode(f"{task.connection_id}\0{task.classifier}\0{task.folder}")
    return try_lock(folder / f"watch-{hashlib.sha256(key).hexdigest()[:16]}.lock")
