"""Embedder: makes the embeddings that a training set lacks, a small batch at a time, and keeps them."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from apitorch_desktop.service.storage.errors import RecordNotFound, StorageFault
from apitorch_desktop.service.storage.records import EmbeddingRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.images import UnreadableImage, open_upright

if TYPE_CHECKING:
    from PIL import Image

    from apitorch_desktop.vision.encoder import Encoder

BATCH = 8
_AGAIN = 60.0  # seconds
_log = logging.getLogger(__name__)


class Embedder:
    """The trainer's way from stored images to stored embeddings. One thread calls `embed`; the rest is thread-safe."""

    def __init__(self, store: "Store", encoder_factory: "Callable[[], Encoder]") -> None:
        self._store = store
        self._factory = encoder_factory
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()
        self._unreadable: dict[str, float] = {}  # when it was tried

    def encoder(self) -> "Encoder":
        """The encoder, loaded at the first call. Raises UnusableEncoder."""
        with self._loading:
            if self._encoder is None:
                self._encoder = self._factory()
            return self._encoder

    def unreadable(self, sha256: str) -> bool:
        """Whether an image of this content could not be read; it is tried again after a minute."""
        return sha256 in self._unreadable

    def missing(self, set_id: int) -> list[str]:
        """What a training set still lacks, oldest first."""
        lacking = self._store.learning.missing(set_id, self.encoder().name)
        earlier = time.monotonic() - _AGAIN
        return [sha256 for sha256 in lacking if self._unreadable.get(sha256, earlier) <= earlier]

    def embed(self, sha256s: list[str]) -> None:
        """Make and keep the embeddings of a batch. What was deleted meanwhile, or cannot be read, is left out.

        Raises StorageFull, UnusableEncoder.
        """
        encoder = self.encoder()
        names: list[str] = []
        images: list[Image.Image] = []
        for sha256 in sha256s:
            try:
                images.append(open_upright(self._store.read(sha256), encoder.shorter_side))
                names.append(sha256)
                self._unreadable.pop(sha256, None)
            except (RecordNotFound, StorageFault, UnreadableImage) as error:
                self._unreadable[sha256] = time.monotonic()
                _log.warning("image %s is left out of training: %s", sha256, error)
        if not names:
            return
        encoded = encoder.encode(images)
        unsafe = [None] * len(names) if encoded.unsafe is None else encoded.unsafe.tolist()
        rows = [
            EmbeddingRow(sha256, embedding.astype("<f4", copy=False).tobytes(), score)
            for sha256, embedding, score in zip(names, encoded.embeddings, unsafe, strict=True)
        ]
        self._store.learning.put_embeddings(encoder.name, rows)
