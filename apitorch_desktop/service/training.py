"""Trainer: what to embed and retrain, when, and the versions that come of it; a thread beside serving."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apitorch_desktop.api import types

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from apitorch_desktop.service.store import Store
    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.head import Head

ENOUGH_LABELS = 2
ENOUGH_IMAGES = 2
"""A training set becomes a classifier with this many labels of this many images each."""


@dataclass(frozen=True)
class State:
    """Where a training set's classifier stands; the fields are those of `types.Classifier`."""

    status: str
    message: str
    version: int | None = None
    trained_at: str | None = None
    metrics: types.Metrics | None = None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prediction:
    """Calibrated probabilities of one image, best label first, and the version of the head they come from."""

    version: int
    labels: list[str]
    values: list[float]


class Trainer:
    """Embeds new images and keeps every training set's classifier up to date, in a thread of low priority.

    `encoder_factory` makes the encoder used here; classification has one of its own, so that it never waits. All
    methods are thread-safe and quick, but `changes`, which runs the heads over the whole set.
    """

    def __init__(
        self,
        store: "Store",
        encoder_factory: "Callable[[], Encoder]",
        *,
        delay: float = 0.5,
        patience: float = 20,
    ) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start the thread; it first goes on with whatever was unfinished when the service last ended."""
        raise NotImplementedError

    def stop(self, timeout: float = 5) -> None:
        """End the thread within a batch or a fold; unfinished work is done at the next start."""
        raise NotImplementedError

    def changed(self, set_id: int) -> None:
        """Images or labels of a training set changed, or it was deleted; for the store's `on_change`."""
        raise NotImplementedError

    def state(self, set_id: int) -> State:
        """Status, sentence, version, metrics and labels. Raises NotFound."""
        raise NotImplementedError

    def predict(self, set_id: int, embedding: "npt.NDArray[np.float32]") -> Prediction | None:
        """What the current head says about an embedding (d,), or None where there is no head yet."""
        raise NotImplementedError

    def versions(self, set_id: int) -> list[types.ClassifierVersion]:
        """The versions that are kept, newest first."""
        raise NotImplementedError

    def make_current(self, set_id: int, version: int) -> None:
        """Let a kept version answer until the next retraining. Raises NotFound."""
        raise NotImplementedError

    def changes(self, set_id: int, from_version: int, to_version: int) -> list[types.ClassificationChange]:
        """The set's images that the two versions answer differently, surest first. Raises NotFound."""
        raise NotImplementedError

    def head(self, set_id: int) -> "tuple[int, Head] | None":
        """The current version and its head, for export; None where there is none yet."""
        raise NotImplementedError

    def figures(self) -> dict[str, Any]:
        """For logs and tests: images still to embed, sets still to train."""
        raise NotImplementedError
