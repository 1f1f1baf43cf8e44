"""Store: training sets, images, what was learned and what was answered, durable in one data folder.

    store.owners            owners and API keys                       rows/owners.py
    store.training_sets     training sets                             rows/training_sets.py
    store.labels            their labels                              rows/labels.py
    store.images            their images                              rows/images.py
    store.learning          embeddings and versions of heads          rows/learning.py
    store.classifications   answers that were given, and feedback     rows/classifications.py
    store.thumbnails        a cache                                   thumbnails.py

Everything blocks and is thread-safe; a change is durable when its call returns, and then every later read sees it. One
thread writes (writer.py): calls that come together share one commit. Errors are `faults.StoreError`; records are in
`records.py`. In the folder: `store.db`, `images/`, `thumbnails.db`, `reserve`, and `lock`, which the
one process that has it holds.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from sqlalchemy import select

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import NO_SUCH_IMAGE
from apitorch_desktop.service.storage.blobs import Blobs, FolderBlobs
from apitorch_desktop.service.storage.classifications import ClassificationRepository
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import CannotOpen, InUse, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.images import ImageRepository
from apitorch_desktop.service.storage.labels import LabelRepository
from apitorch_desktop.service.storage.model_versions import ModelRepository
from apitorch_desktop.service.storage.owners import OwnerRepository
from apitorch_desktop.service.storage.records import BlobRow, SweepReport
from apitorch_desktop.service.storage.schema import blobs
from apitorch_desktop.service.storage.thumbnails import ThumbnailCache
from apitorch_desktop.service.storage.training_sets import TrainingSetRepository
from apitorch_desktop.service.storage.trouble import storage_fault
from apitorch_desktop.service.storage.writer import Writer

_log = logging.getLogger(__name__)


class Store:
    """One data folder, open; made by `Store.open`, closed by `close` or as a context manager."""

    def __init__(self, folder: Path, database: Database, stored: Blobs, reserve: DiskReserve, held: ExitStack) -> None:
        self.folder = folder
        self.secret = database.secret
        """32 random bytes of this data folder, for `signing.Signer`."""
        self._database = database
        self._blobs = stored
        self._held = held
        self._closing = threading.Lock()
        self.thumbnails = ThumbnailCache(folder / "thumbnails.db")
        held.callback(self.thumbnails.close)
        self._writer = Writer(database, stored, folder, reserve)
        held.callback(self._writer.close)
        self.owners = OwnerRepository(database, self._writer)
        self.training_sets = TrainingSetRepository(database, self._writer)
        self.labels = LabelRepository(database, self._writer)
        self.images = ImageRepository(database, self._writer, stored)
        self.learning = ModelRepository(database, self._writer)
        self.classifications = ClassificationRepository(database, self._writer, stored)
        self._writer.on_forgotten(self.thumbnails.forget)
        self.at_start = self._sweep_files() if stored.quick_to_list else None
        """What the sweep at the start found; None where that takes too long at a start, and `sweep` is to be called soon."""

    @classmethod
    def open(cls, folder: Path, *, database_url: str | None = None, blob_url: str | None = None) -> "Store":
        """Open a data folder, made when it is not there, and put right what a crash left behind.

        `database_url` is an SQLAlchemy URL (`postgresql+psycopg://…`) in place of the SQLite file in the folder;
        `blob_url` one of obstore's (`s3://bucket/prefix`) in place of its `images` folder. Raises InUse when another
        process has the folder, CannotOpen when it is read-only, damaged, or made by a newer version.
        """
        with ExitStack() as held:
            _lock(folder, held)
            reserve = DiskReserve(folder / "reserve")
            reserve.give_if_full()
            stored = open_blobs(folder, blob_url)
            database = Database(folder, database_url)
            held.callback(database.close)
            _belong_together(stored, database)
            store = cls(folder, database, stored, reserve, held)
            store._held = held.pop_all()
        return store

    def close(self) -> None:
        """Finish what is under way and let the folder go; later calls raise Closed. May be called twice."""
        with self._closing:
            self._held.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, sha256: str) -> bytes:
        """The bytes of an image. Raises NotFound for one that is not kept, StorageFault for one that cannot be read."""
        if not validation.is_sha256(sha256):
            raise RecordNotFound(NO_SUCH_IMAGE)
        try:
            return self._blobs.read(sha256)
        except StorageFault:
            self.blob(sha256)  # or NotFound; asked only now, since nearly every image is there
            raise

    def blob(self, sha256: str) -> BlobRow:
        """Size and kind of an image, whoever refers to it. Raises NotFound."""
        if validation.is_sha256(sha256):
            query = select(*(blobs.c[field] for field in BlobRow.__struct_fields__)).where(blobs.c.sha256 == sha256)
            with self._database.reading() as connection:
                row = connection.execute(query).first()
            if row is not None:
                return BlobRow(*row)
        raise RecordNotFound(NO_SUCH_IMAGE)

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Call `listener(training_set_id)` after each commit that changed images or labels of a training set.

        Also when it was deleted. It is called on the writing thread and must return at once.
        """
        self._writer.on_change(listener)

    def sweep(self) -> SweepReport:
        """Drop answers that are too old, and files nobody refers to; do it once a day. Raises StorageFault."""
        self.classifications.trim()
        found = self._sweep_files()
        self.thumbnails.keep_only(self._known())
        return found

    def _sweep_files(self) -> SweepReport:
        """What looks like an orphan or missing is asked for again: images come and go meanwhile."""
        stored = set(self._blobs.names())
        known = self._known()
        orphans = stored - known
        if orphans:
            _log.info("%d files that no row refers to are removed.", len(orphans))
            self._writer.release(orphans)
        absent = {sha256 for sha256 in known - stored if not self._blobs.has(sha256)}
        missing = tuple(sorted(absent & self._known())) if absent else ()
        if missing:
            _log.error("%d stored images are gone from “%s”: %s …", len(missing), self.folder, ", ".join(missing[:3]))
        return SweepReport(len(orphans), missing)

    def _known(self) -> set[str]:
        with self._database.reading() as connection:
            return set(connection.execute(select(blobs.c.sha256)).scalars())


def _belong_together(stored: Blobs, database: Database) -> None:
    """Hold that the images are those of the database: else the sweep would take them all for orphans.

    The images carry the database's id. Raises CannotOpen.
    """
    found = stored.marker()
    if found is None and not next(iter(stored.names()), ""):
        stored.mark(database.id)
    elif found != database.id:
        raise CannotOpen(
            f"The images in “{stored.place}” belong to another database. Put the database back that was used with "
            "them, or move the images away."
        )


def _lock(folder: Path, held: ExitStack) -> None:
    """Make the folder if need be, and keep other processes out of it for as long as this one lives."""
    lock = FileLock(folder / "lock", mode=0o600, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held.enter_context(lock.acquire(timeout=0))
    except Timeout as error:
        raise InUse(
            f"Another API Torch service uses the data folder “{folder}”. Stop it first, or choose another folder."
        ) from error
    except FileExistsError as error:
        raise CannotOpen(f"“{folder}” is a file, not a folder. Choose another data folder.") from error
    except OSError as error:
        raise CannotOpen(f"The data folder cannot be used. {storage_fault(error, folder)}") from error


def open_blobs(folder: Path, url: str | None = None) -> Blobs:
    """Images at an obstore URL (`s3://bucket/prefix`, credentials from the environment), else in `folder`/images.

    Raises CannotOpen.
    """
    if url is None:
        place = folder / "images"
        try:
            place.mkdir(exist_ok=True)
            return FolderBlobs(place)
        except OSError as error:
            raise CannotOpen(str(storage_fault(error, place))) from error
    from apitorch_desktop.service.storage.blob_bucket import open_bucket

    return open_bucket(url)
