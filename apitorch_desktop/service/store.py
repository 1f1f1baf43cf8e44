"""Store: training sets, images, what was learned and what was answered, durable in one data folder.

    store.owners            owners and API keys                       rows/owners.py
    store.training_sets     training sets                             rows/training_sets.py
    store.labels            their labels                              rows/labels.py
    store.images            their images                              rows/images.py
    store.learning          embeddings and versions of heads          rows/learning.py
    store.classifications   answers that were given, and feedback     rows/classifications.py
    store.thumbnails        a cache                                   thumbnails.py

Everything blocks and is thread-safe; a change is durable when its call returns, and then every later read sees it. One
thread writes: calls that come together share one commit. Errors are `faults.StoreError`; records are in `records.py`.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from apitorch_desktop.service.records import BlobRow, Sweep
from apitorch_desktop.service.rows.classifications import Classifications
from apitorch_desktop.service.rows.images import Images
from apitorch_desktop.service.rows.labels import Labels
from apitorch_desktop.service.rows.learning import Learning
from apitorch_desktop.service.rows.owners import Owners
from apitorch_desktop.service.rows.training_sets import TrainingSets
from apitorch_desktop.service.thumbnails import Thumbnails


class Store:
    """One data folder, open; made by `Store.open`, closed by `close` or as a context manager."""

    owners: Owners
    training_sets: TrainingSets
    labels: Labels
    images: Images
    learning: Learning
    classifications: Classifications
    thumbnails: Thumbnails

    folder: Path
    secret: bytes
    """32 random bytes of this data folder, for `signing.Signer`."""

    at_start: Sweep
    """What the sweep at the start found."""

    @classmethod
    def open(cls, folder: Path, *, database_url: str | None = None, blob_url: str | None = None) -> "Store":
        """Open a data folder, made when it is not there, and put right what a crash left behind.

        `database_url` is an SQLAlchemy URL (`postgresql+psycopg://…`) in place of the SQLite file in the folder;
        `blob_url` one of obstore's (`s3://bucket/prefix`) in place of its `images` folder. Raises InUse when another
        process has the folder, CannotOpen when it is read-only, damaged, or made by a newer version.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Finish what is under way and let the folder go; later calls raise Closed. May be called twice."""
        raise NotImplementedError

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, sha256: str) -> bytes:
        """The bytes of an image. Raises NotFound for one that is not kept, StorageFault for one that cannot be read."""
        raise NotImplementedError

    def blob(self, sha256: str) -> BlobRow:
        """Size and kind of an image, whoever refers to it. Raises NotFound."""
        raise NotImplementedError

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Call `listener(training_set_id)` after each commit that changed images or labels of a training set.

        Also when it was deleted. It is called on the writing thread and must return at once.
        """
        raise NotImplementedError

    def sweep(self) -> Sweep:
        """Drop answers that are too old, and files nobody refers to. The start does it; do it once a day."""
        raise NotImplementedError
