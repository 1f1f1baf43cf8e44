"""A real store with a real trainer over real photos, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from apitorch_desktop.service.classifiers.trainer import Trainer, TrainingState
from apitorch_desktop.service.storage.owners import LOCAL_OWNER
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import images
from apitorch_desktop.vision.encoder import Encoder
from tests.helpers.waiting import PATIENCE, until

OWNER = LOCAL_OWNER


class CountingEncoder:
    """The real encoder, with a count of the images it encoded."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.passes = 0
        self.count = 0
        self.name = encoder.name
        self.dimensions = encoder.dimensions
        self.shorter_side = encoder.shorter_side

    def encode(self, pictures):
        self.passes += 1
        encoded = self._encoder.encode(pictures)
        self.count += len(encoded)
        return encoded


_held: set[int] = set()
"""Ids of the training sets that photos are being added to."""


@contextmanager
def _one_change(set_id: int) -> Iterator[None]:
    """Have a trainer of this process take several changes for one, however long they take: not begin in between."""
    if set_id in _held:
        yield
        return
    _held.add(set_id)
    try:
        yield
    finally:
        _held.remove(set_id)


@contextmanager
def training(store: Store, encoder, *, own=None, delay: float = 0.1, patience: float = 20) -> Iterator[Trainer]:
    """Run a trainer on a store."""
    trainer = Trainer(store, encoder if callable(encoder) else lambda: encoder, own=own, delay=delay, patience=patience)
    store.on_change(lambda set_id: None if set_id in _held else trainer.notify_changed(set_id))
    trainer.start()
    try:
        yield trainer
    finally:
        assert trainer.stop(PATIENCE)


def add(store: Store, set_id: int, label: str, *paths: Path) -> list[str]:
    """Add photos to a label, the last of them as the change that a trainer learns of; return their ids."""
    ids = []
    for path in paths:
        data = path.read_bytes()
        if path is paths[-1]:
            ids.append(store.images.add(OWNER, set_id, label, data, images.verify(data), path.name)[0].id)
        else:
            with _one_change(set_id):
                ids.append(store.images.add(OWNER, set_id, label, data, images.verify(data), path.name)[0].id)
    return ids


def fill(store: Store, set_id: int, photos: Path, labels: list[str], each: int) -> None:
    """Add `each` photos of the training part to every one of `labels`."""
    for label in labels:
        paths = sorted((photos / "train" / label).iterdir())[:each]
        with _one_change(set_id) if label != labels[-1] else nullcontext():
            add(store, set_id, label, *paths)


def state(store: Store, trainer: Trainer, set_id: int) -> TrainingState:
    row = store.training_sets.find(set_id)
    assert row
    return trainer.state(row)


def until_ready(store: Store, trainer: Trainer, set_id: int, seconds: float = 120) -> TrainingState:
    """Wait until the classifier is trained on all images."""

    def ready() -> TrainingState | None:
        now = state(store, trainer, set_id)
        assert now.status != "failed", now.message
        return now if now.status == "ready" else None

    found = until(ready, "the classifier", seconds)
    assert isinstance(found, TrainingState)
    return found
