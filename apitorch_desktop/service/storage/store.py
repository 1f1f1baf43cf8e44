"""The store of one data folder: a facade over the database, the image files and the caches.

    store.owners            owners and API keys
    store.training_sets     training sets
    store.labels            their labels
    store.images            their images
    store.deleted_images    those that may be restored
    store.changes           what came, changed and went since a revision
    store.models            embeddings and versions of heads
    store.classifications   classifications and feedback
    store.thumbnails        a cache
    store.jobs              with PostgreSQL: what each of the processes that share it works on

All methods block and are thread-safe; a change is durable when its method returns, and every later read sees it. One
thread writes (`writer`): changes that arrive together share one commit. Errors are `errors.StoreError`, results the
types in `records`. The folder contains `store.db`, `images/`, `thumbnails.db`, `reserve`, and `lock`, which the process
that uses the folder holds; with a bucket also `pending/`, images on their way there. With PostgreSQL and a bucket any
number of processes, each with a folder of its own, use the same data; `coordination` says how.
"""

import threading
from collections.abc import Callable, Set
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from msgspec import structs
from sqlalchemy import select

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import NO_SUCH_IMAGE
from apitorch_desktop.service.storage.blobs import Blobs, FolderBlobs, ThumbnailCache
from apitorch_desktop.service.storage.changes import ChangeRepository
from apitorch_desktop.service.storage.classifications import ClassificationRepository
from apitorch_desktop.service.storage.coordination import JobRepository, Listener
from apitorch_desktop.service.storage.database import DATABASE, Database
from apitorch_desktop.service.storage.deleted_images import DeletedImageRepository
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import CannotOpen, InUse, RecordNotFound, StorageFault, to_store_error
from apitorch_desktop.service.storage.images import ImageRepository
from apitorch_desktop.service.storage.model_versions import ModelRepository
from apitorch_desktop.service.storage.owners import OwnerRepository
from apitorch_desktop.service.storage.records import BlobRow, SweepReport
from apitorch_desktop.service.storage.schema import blobs
from apitorch_desktop.service.storage.sweeper import Sweeper
from apitorch_desktop.service.storage.training_sets import LabelRepository, TrainingSetRepository
from apitorch_desktop.service.storage.writer import Writer


class Store:
    """An open data folder; opened by `Store.open`, closed by `close` or as a context manager."""

    def __init__(
        self, folder: Path, database: Database, images: Blobs, reserve: DiskReserve, resources: ExitStack, *, scan: bool
    ) -> None:
        self.folder = folder
        self.secret = database.secret
        """32 random bytes of this data folder, for `Signer`."""
        self._database = database
        self._blobs = images
        self._resources = resources
        self._closing = threading.Lock()
        self.thumbnails = ThumbnailCache(folder / "thumbnails.db")
        resources.callback(self.thumbnails.close)
        images.resume()
        self._writer = Writer(database, images, folder, reserve)
        resources.callback(self._writer.close)
        self.owners = OwnerRepository(database, self._writer)
        self.training_sets = TrainingSetRepository(database, self._writer)
        self.labels = LabelRepository(database, self._writer)
        self.images = ImageRepository(database, self._writer, images)
        self.deleted_images = DeletedImageRepository(database, self._writer, images)
        self.changes = ChangeRepository(database, self._writer)
        self.models = ModelRepository(database, self._writer)
        self.classifications = ClassificationRepository(database, self._writer, images)
        self._writer.on_deleted(self.thumbnails.delete)
        self.sweeper = Sweeper(database, self._writer, images)
        self.jobs = None if database.sqlite else JobRepository(database)
        """None with SQLite, which one process uses."""
        self._listener = None if database.sqlite else Listener(database)
        if self._listener is not None:
            self._listener.subscribe(self._receive)
            self._listener.start()
            resources.callback(self._listener.stop)
        self.startup_sweep = self.sweeper.scan() if scan and images.fast_listing else None
        """The result of the scan at the start, which deletes nothing; None where it is left to the caller."""

    @classmethod
    def open(
        cls, folder: Path, *, database_url: str | None = None, blob_url: str | None = None, scan: bool = True
    ) -> "Store":
        """Open a data folder, created if missing, and clean up after a crash.

        `scan`: compare files with rows, which takes seconds for a million; where listing the files takes too long, it is
        left to the caller.

        `database_url` is an SQLAlchemy URL (`postgresql+psycopg://…`) used instead of the SQLite file in the folder;
        `blob_url` an obstore URL (`s3://bucket/prefix`) used instead of its `images` folder. Raises InUse when another
        process uses the folder, CannotOpen when it is read-only, damaged, or made by a newer version.
        """
        with ExitStack() as resources:
            lock_folder(folder, resources)
            reserve = DiskReserve(folder / "reserve")
            reserve.release_if_full()
            images = open_blobs(folder, blob_url)
            resources.callback(images.close)
            database = Database(folder, database_url)
            resources.callback(database.close)
            _check_database_id(images, database)
            images.shared = not database.sqlite
            store = cls(folder, database, images, reserve, resources, scan=scan)
            store._resources = resources.pop_all()
        return store

    def close(self) -> None:
        """Finish running changes and release the folder; later calls raise Closed. May be called twice."""
        with self._closing:
            self._resources.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, sha256: str, size: int | None = None) -> bytes:
        """Return the bytes of an image, of this `size` where it is known.

        Raises RecordNotFound for an unknown one, DamagedImage for one that is not stored as it came, StorageFault.
        """
        if not validation.is_sha256(sha256):
            raise RecordNotFound(NO_SUCH_IMAGE)
        try:
            return self.sweeper.read(sha256, size)
        except StorageFault:
            self.blob(sha256)  # raises RecordNotFound; checked only now, since nearly every image exists
            raise

    def damaged(self) -> Set[str]:
        """Return the images that are known to be damaged or gone. Raises StorageFault."""
        if self.jobs is None:  # a check beside this process marks them too, of which PostgreSQL notifies
            self.sweeper.load_damaged()
        return self._blobs.damaged

    def blob(self, sha256: str) -> BlobRow:
        """Return size and format of an image. Raises RecordNotFound."""
        if validation.is_sha256(sha256):
            query = select(*(blobs.c[field] for field in BlobRow.__struct_fields__)).where(blobs.c.sha256 == sha256)
            with self._database.querying() as connection:
                row = connection.execute(query).first()
            if row is not None:
                return BlobRow(*row)
        raise RecordNotFound(NO_SUCH_IMAGE)

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Call `listener(training_set_id)` after each commit that changed images or labels of a training set, or
        deleted it.

        It is called on the writing thread and must return at once.
        """
        self._writer.on_change(listener)

    def sweep(self) -> SweepReport:
        """Delete expired classifications and deleted images, files whose time in quarantine is over, and old changes.

        To be called once a day, with PostgreSQL by the process that `leads`. Raises StorageFault.
        """
        self.classifications.delete_expired()
        self.deleted_images.forget()
        self.changes.trim()
        report = structs.replace(self.sweeper.scan(), removed=self.sweeper.remove_expired())
        self.trim_thumbnails()
        return report

    def trim_thumbnails(self) -> None:
        """Delete cached thumbnails of images that are gone. Raises StorageFault."""
        with self._database.querying() as connection:
            self.thumbnails.keep_only(set(connection.execute(select(blobs.c.sha256)).scalars()))

    def leads(self, work: str, seconds: float) -> bool:
        """Return whether this process is to do some work that one does for all; it is, for `seconds`, where none other is.

        Raises StorageUnreachable.
        """
        return self.jobs is None or self.jobs.lease(work, seconds)

    def check_database(self) -> None:
        """Ask the database. Raises StorageUnreachable where it does not answer, Closed."""
        with self._database.querying() as connection:
            connection.execute(select(1))

    @property
    def is_current(self) -> bool:
        """False while notifications of other processes may be missing."""
        return self._listener is None or self._listener.connected.is_set()

    def on_notice(self, listener: Callable[[str, int], None]) -> None:
        """With PostgreSQL, call `listener(kind, number)` for what any process has committed; see `Listener`."""
        if self._listener is not None:
            self._listener.subscribe(listener)

    def _receive(self, kind: str, _number: int) -> None:
        if kind in {"keys", "all"}:
            self.owners.forget_keys()
        if kind == "damaged":
            self.sweeper.load_damaged()


def _check_database_id(images: Blobs, database: Database) -> None:
    """Check that the images belong to the database, as the sweep would otherwise take them all for orphans.

    The images carry the database's id. Raises CannotOpen.
    """
    found = images.database_id()
    if found is None and images.fast_listing and not database.sqlite:
        with database.querying() as connection:
            if connection.execute(select(blobs.c.sha256).limit(1)).first() is not None:
                raise CannotOpen(
                    "The images of this database are in a bucket, or in the data folder of another service. Name the "
                    "bucket: several services share a database only with their images in one."
                )
    if found is None and not next(iter(images.names()), ""):
        images.set_database_id(database.id)
    elif found != database.id:
        raise CannotOpen(
            f"The images in “{images.location}” belong to another database. Put the database back that was used with "
            "them, or move the images away."
        )


def lock_folder(folder: Path, resources: ExitStack) -> None:
    """Create the folder if necessary, and lock it for the lifetime of this process."""
    lock = FileLock(folder / "lock", mode=0o600, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        resources.enter_context(lock.acquire(timeout=0))
    except Timeout as error:
        raise InUse(
            f"Another API Torch service uses the data folder “{folder}”. Stop it first, or choose another folder."
        ) from error
    except FileExistsError as error:
        raise CannotOpen(f"“{folder}” is a file, not a folder. Choose another data folder.") from error
    except OSError as error:
        raise CannotOpen(f"The data folder cannot be used. {to_store_error(error, folder)}") from error


def check_data(folder: Path, database_url: str | None) -> None:
    """Raise CannotOpen where a folder has no data of a service, so that opening it would make some."""
    if database_url is None and not (folder / DATABASE).is_file():
        raise CannotOpen(f"There is no data of a service in “{folder}”. Name its folder with --data.")


def open_blobs(folder: Path, url: str | None = None) -> Blobs:
    """Open the images at an obstore URL (`s3://bucket/prefix`, credentials from the environment), else in
    `folder`/images.

    Raises CannotOpen.
    """
    if url is None:
        images_folder = folder / "images"
        try:
            images_folder.mkdir(exist_ok=True, mode=0o700)
            return FolderBlobs(images_folder)
        except OSError as error:
            raise CannotOpen(str(to_store_error(error, images_folder))) from error
    from apitorch_desktop.service.storage.blob_bucket import open_bucket

    return open_bucket(url, folder / "pending")
