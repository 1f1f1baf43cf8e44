"""Makes the missing embeddings of a training set in small batches, and stores them."""

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
_RETRY_AFTER = 60.0  # seconds
_log = logging.getLogger(__name__)


class Embedder:
    """Turns stored images into stored embeddings. Only one thread may call `embed`; other methods are thread-safe."""

    def __init__(self, store: "Store", encoder_factory: "Callable[[], Encoder]") -> None:
        self._store = store
        self._encoder_factory = encoder_factory
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()
        self._unreadable: dict[str, float] = {}  # sha256 to the time of the last attempt

    def encoder(self) -> "Encoder":
        """Return the encoder, loaded at the first call. Raises UnusableEncoder."""
        with self._loading:
            if self._encoder is None:
                self._encoder = self._encoder_factory()
            return self._encoder

    def unreadable(self, sha256: str) -> bool:
        """Return whether an image with this content could not be read; it is tried again after a minute."""
        return sha256 in self._unreadable

    def missing(self, set_id: int) -> list[str]:
        """Return the images of a training set that have no embedding, oldest first."""
        candidates = self._store.models.missing(set_id, self.encoder().name)
        retry_before = time.monotonic() - _RETRY_AFTER
        return [sha256 for sha256 in candidates if self._unreadable.get(sha256, retry_before) <= retry_before]

    def embed(self, sha256s: list[str]) -> None:
        """Make and store the embeddings of a batch, except of deleted and unreadable images.

        Raises DiskFull, UnusableEncoder.
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
        rows = [
            EmbeddingRow(sha256, embedding.astype("<f4", copy=False).tobytes(), None)
            for sha256, embedding in zip(names, encoder.encode(images), strict=True)
        ]
        self._store.models.put_embeddings(encoder.name, rows)
