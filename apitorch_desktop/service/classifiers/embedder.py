"""Makes the missing embeddings of a training set in small batches, and stores them."""

import logging
import time
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
    """Turns stored images into stored embeddings. Thread-safe; an image that two threads embed is embedded twice."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._unreadable: dict[str, float] = {}  # sha256 to the time of the last attempt

    def unreadable(self, sha256: str) -> bool:
        """Return whether an image with this content could not be read; it is tried again after a minute."""
        return sha256 in self._unreadable

    def missing(self, set_id: int, encoder: "Encoder") -> list[str]:
        """Return the images of a training set that have no embedding of an encoder, oldest first."""
        candidates = self._store.models.missing(set_id, encoder.name)
        retry_before = time.monotonic() - _RETRY_AFTER
        return [sha256 for sha256 in candidates if self._unreadable.get(sha256, retry_before) <= retry_before]

    def embed(self, sha256s: list[str], encoder: "Encoder") -> None:
        """Make and store the embeddings of a batch, except of deleted and unreadable images.

        Raises DiskFull, UnusableEncoder.
        """
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
