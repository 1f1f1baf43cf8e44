"""A real store with a real trainer over real photos, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apitorch_desktop.service.classifiers.trainer import Trainer, TrainingState
from apitorch_desktop.service.storage.owners import LOCAL_OWNER
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import images
from apitorch_desktop.vision.encoder import Encoder
from tests.helpers.waiting import until

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
        self.count += len(pictures)
        return self._encoder.encode(pictures)


@contextmanager
def training(store: Store, encoder, *, own=None, delay: float = 0.1, patience: float = 20) -> Iterator[Trainer]:
    """Run a trainer on a store."""
    trainer = Trainer(store, encoder if callable(encoder) else lambda: encoder, own=own, delay=delay, patience=patience)
    store.on_change(trainer.notify_changed)
    trainer.start()
    try:
        yield trainer
    finally:
        assert trainer.stop()


def add(store: Store, set_id: int, label: str, *paths: Path) -> list[str]:
    """Add photos to a label; return their ids."""
    ids = []
    for path in paths:
        data = path.read_bytes()
        ids.append(store.images.add(OWNER, set_id, label, data, images.verify(data), path.name)[0].id)
    return ids


def fill(store: Store, set_id: int, photos: Path, labels: list[str], each: int) -> None:
    """Add `each` photos of the training part to every one of `labels`."""
    for label in labels:
        add(store, set_id, label, *sorted((photos / "train" / label).iterdir())[:each])


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
