"""The single writer: operations that arrive together share a transaction, a sync of their images, and a commit."""

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from sqlalchemy import Connection, bindparam, delete, exists, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from apitorch_desktop.service.storage import damage, schema, validation
from apitorch_desktop.service.storage.blobs import Blobs, Staged, in_batches
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import (
    Closed,
    DiskFull,
    StorageFault,
    StorageUnreachable,
    StoreError,
    is_conflict,
    is_unreachable,
    to_store_error,
)
from apitorch_desktop.service.storage.statements import PreparedStatement

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_GROUP_SIZE = 256  # operations in a transaction
_IN_QUERY = 500  # values in one statement
_DELETE_BATCH = 2000  # files deleted between two groups
_MAX_CONFLICTS = 8  # attempts at an operation that other processes are in the way of


class Transaction:
    """The transaction of one operation, with the training sets it changed and deleted and the images it released.

    The writer increments the revision of each changed set, once a commit, unless it is in `revised_sets`. Listeners
    are notified of `noticed_sets` too, whose revision stays. `keeps_deleted`: what is deleted is kept for a while.
    """

    def __init__(self, connection: Connection, *, keeps_deleted: bool = True) -> None:
        self.connection = connection
        self.keeps_deleted = keeps_deleted
        self.execute = connection.execute
        self.changed_sets: set[int] = set()
        self.revised_sets: set[int] = set()
        self.noticed_sets: set[int] = set()
        self.deleted_sets: set[int] = set()
        self.released_images: set[str] = set()

    @property
    def shared(self) -> bool:
        """True in PostgreSQL, where other processes write too."""
        return self.connection.dialect.name == "postgresql"


class _QueuedOperation(Generic[_T]):
    def __init__(
        self, run: Callable[[Transaction], _T], staged: Staged | None, frees_space: bool, training_set: int | None
    ) -> None:
        self.run = run
        self.staged = staged
        self.frees_space = frees_space
        self.training_set = training_set
        self.future: Future[_T] = Future()
        self.result: _T
        self.error: BaseException | None = None


class _OperationFailed(Exception):  # noqa: N818 - named for what happened
    """An operation of a group failed: the group is rolled back and run again with a savepoint around each."""


_INCREMENT_REVISION = PreparedStatement(
    update(schema.training_sets)
    .where(schema.training_sets.c.id == bindparam("training_set"))
    .values(revision=schema.training_sets.c.revision + 1)
)


class Writer:
    """A thread that runs operations in order of arrival. `run` may be called from any other thread.

    An operation runs under a savepoint: when it raises, the others of its group are kept. In PostgreSQL, where other
    processes write too, one that conflicts with theirs is repeated, and blobs that lost a reference are only registered
    (`schema.released`): another process may be storing the same image.
    """

    def __init__(self, database: Database, blobs: Blobs, folder: Path, reserve: DiskReserve) -> None:
        self._database = database
        self._blobs = blobs
        self._folder = folder
        self._reserve = reserve
        self._listeners: list[Callable[[int], None]] = []
        self._delete_listeners: list[Callable[[Sequence[str]], None]] = []
        self._queue: SimpleQueue[_QueuedOperation[object] | None] = SimpleQueue()
        self._to_delete: dict[str, None] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run_loop, name="store-writer", daemon=True)
        self._thread.start()

    def run(
        self,
        operation: Callable[[Transaction], _T],
        staged: Staged | None = None,
        *,
        frees_space: bool = False,
        training_set: int | None = None,
    ) -> _T:
        """Return the result of `operation` once it is durable, or raise its StoreError, or that of the storage.

        `staged` is an image the operation's rows refer to; `frees_space` allows it to use the reserve of a full disk.
        `training_set` is the one that it locks, so that the locks of a group are taken in one order by all processes.
        An operation may run more than once, after the transaction it was in failed.
        """
        entry = _QueuedOperation(operation, staged, frees_space, training_set)
        with self._closing:
            if self._closed:
                if staged is not None:
                    self._blobs.discard(staged)
                raise Closed("The service is ending.")
            self._queue.put(entry)  # type: ignore[arg-type]
        return entry.future.result()

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the id of each training set that was changed or deleted, after the commit and before
        `run` returns.
        """
        self._listeners.append(listener)

    def on_deleted(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Call `listener` with the sha256 of deleted images, and of those whose file is replaced."""
        self._delete_listeners.append(listener)

    def close(self) -> None:
        """Finish the queued operations, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run_loop(self) -> None:
        running = True
        while running:
            group, running = self._next_group()
            if group:
                try:
                    self._commit(group)
                except BaseException as error:  # noqa: BLE001 - the callers get it, and the thread must go on
                    _log.exception("the store's writer failed")
                    for entry in group:
                        if not entry.future.done():
                            entry.future.set_exception(error)
            self._delete_files()
            self._reserve.acquire()
        while self._to_delete:
            self._delete_files()

    def _next_group(self) -> tuple[list[_QueuedOperation[object]], bool]:
        group: list[_QueuedOperation[object]] = []
        while len(group) < _GROUP_SIZE:
            try:
                entry = self._queue.get(block=not group and not self._to_delete)
            except Empty:
                break
            if entry is None:
                return group, False
            group.append(entry)
        return group, True

    def _commit(self, group: list[_QueuedOperation[object]]) -> None:
        self._commit_blobs(group)
        to_delete: set[str] = set()
        changed: set[int] = set()
        try:
            self._transaction(group, to_delete, changed)
        except (DBAPIError, StoreError) as error:
            self._retry(group, error, to_delete, changed)
        for sha256 in to_delete:
            self._to_delete[sha256] = None
        self._delete_files()  # before `run` returns, so that a file that is not kept is gone by then
        for training_set in changed:
            self._notify(training_set)
        for entry in group:
            if entry.error is not None:
                entry.future.set_exception(entry.error)
            else:
                entry.future.set_result(entry.result)

    def _commit_blobs(self, group: list[_QueuedOperation[object]]) -> None:
        staged = [entry.staged for entry in group if entry.staged is not None]
        if not staged:
            return
        for item in staged:
            self._to_delete.pop(item.sha256, None)
        self._blobs.commit(staged)
        for entry in group:
            if entry.staged is not None and entry.staged.error is not None:
                entry.error = entry.staged.error
                self._blobs.discard(entry.staged)

    def _transaction(
        self,
        group: list[_QueuedOperation[object]],
        to_delete: set[str],
        changed: set[int],
        *,
        full: bool = False,
    ) -> None:
        """Run the operations that have no error yet, and commit. Raises DBAPIError when the whole transaction fails.

        On a disk that is `full` or scarce nothing is kept that was deleted.
        """
        keeps_deleted = not self._database.sqlite or not (full or self._reserve.is_scarce())
        try:
            with self._database.writing() as connection:
                transaction = self._run_all(group, connection, savepoints=False, keeps_deleted=keeps_deleted)
                unreferenced = _finish(transaction)
        except _OperationFailed:
            with self._database.writing() as connection:
                transaction = self._run_all(group, connection, savepoints=True, keeps_deleted=keeps_deleted)
                unreferenced = _finish(transaction)
        to_delete.difference_update(
            entry.staged.sha256 for entry in group if entry.staged is not None and entry.error is None
        )
        to_delete.update(unreferenced)
        repaired = [
            each.staged.sha256 for each in group if each.staged and each.staged.repairs and not each.staged.error
        ]
        if repaired:
            self._blobs.damaged.difference_update(repaired)
            for listener in self._delete_listeners:
                listener(repaired)
        changed.update(transaction.changed_sets | transaction.noticed_sets | transaction.deleted_sets)

    def _run_all(
        self, group: list[_QueuedOperation[object]], connection: Connection, *, savepoints: bool, keeps_deleted: bool
    ) -> Transaction:
        """Run the operations that have no error yet; return what they changed.

        Without savepoints, which cost two statements each, the first failure raises _OperationFailed.
        """
        group_transaction = Transaction(connection, keeps_deleted=keeps_deleted)
        if not self._database.sqlite and len(group) > 1:
            _lock_sets(connection, {entry.training_set for entry in group if entry.training_set is not None})
        for entry in group:
            if entry.error is None:
                self._run(entry, connection, group_transaction, savepoint=savepoints)
            staged = entry.staged
            if staged is not None and entry.error is not None:
                group_transaction.released_images.add(staged.sha256)
            if staged is not None and staged.repairs and staged.error is None:  # whatever became of the operation
                group_transaction.noticed_sets |= damage.clear(connection, [staged.sha256])
        return group_transaction

    def _run(
        self,
        entry: _QueuedOperation[object],
        connection: Connection,
        group_transaction: Transaction,
        *,
        savepoint: bool,
    ) -> None:
        transaction = Transaction(connection, keeps_deleted=group_transaction.keeps_deleted)
        if savepoint:
            connection.exec_driver_sql("SAVEPOINT operation")
        try:
            entry.result = entry.run(transaction)
        except IntegrityError as error:
            if is_conflict(error):
                raise  # each operation is then repeated by itself
            entry.error = StorageFault(f"The database refused the change ({error.orig}).")
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets it
            entry.error = error
        if entry.error is not None:
            if not savepoint:
                entry.error = None
                raise _OperationFailed
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
            return
        if savepoint:
            connection.exec_driver_sql("RELEASE SAVEPOINT operation")
        group_transaction.changed_sets |= transaction.changed_sets
        group_transaction.revised_sets |= transaction.revised_sets
        group_transaction.noticed_sets |= transaction.noticed_sets
        group_transaction.deleted_sets |= transaction.deleted_sets
        group_transaction.released_images |= transaction.released_images

    def _retry(
        self,
        group: list[_QueuedOperation[object]],
        error: DBAPIError | StoreError,
        to_delete: set[str],
        changed: set[int],
    ) -> None:
        """Run each operation on its own, after the shared transaction failed: a full disk may still have room for some."""
        self._checkpoint()
        for entry in group:
            entry.error = entry.staged.error if entry.staged is not None else None
            try:
                if isinstance(error, StoreError) or is_unreachable(error):
                    raise error
                self._repeat(entry, to_delete, changed)
            except (DBAPIError, StoreError) as again:
                error = again
                self._fail(entry, again, to_delete, changed)

    def _repeat(self, entry: _QueuedOperation[object], to_delete: set[str], changed: set[int]) -> None:
        """Run one operation, again where other processes are in its way. Raises DBAPIError, StoreError."""
        for attempt in range(_MAX_CONFLICTS):
            try:
                self._transaction([entry], to_delete, changed)
            except DBAPIError as error:
                if not is_conflict(error) or attempt == _MAX_CONFLICTS - 1:
                    raise
                entry.error = None
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - no secret
            else:
                return

    def _fail(
        self,
        entry: _QueuedOperation[object],
        error: DBAPIError | StoreError,
        to_delete: set[str],
        changed: set[int],
    ) -> None:
        """Set the operation's error, unless it frees space and succeeds with the reserve."""
        entry.error = to_store_error(error, self._folder)
        if entry.frees_space and isinstance(entry.error, DiskFull) and self._reserve.release():
            _log.warning("%s The reserve is used to delete.", entry.error)
            self._checkpoint()
            entry.error = None
            try:
                self._transaction([entry], to_delete, changed, full=True)
            except DBAPIError as again:
                entry.error = to_store_error(again, self._folder)
        if entry.error is not None and entry.staged is not None:
            self._blobs.discard(entry.staged)
            if self._database.sqlite and not isinstance(entry.error, StorageUnreachable):  # else the sweep finds it
                to_delete |= self._if_unreferenced(entry.staged.sha256)

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint()
        except (DBAPIError, sqlite3.Error) as error:
            _log.warning("SQLite's log could not be moved into the database: %s", to_store_error(error, self._folder))

    def _if_unreferenced(self, sha256: str) -> set[str]:
        """Return the image if no row refers to it, as far as the database can still be read."""
        try:
            with self._database.querying() as connection:
                known = connection.execute(select(schema.blobs.c.sha256).where(schema.blobs.c.sha256 == sha256)).first()
        except StoreError:
            return set()
        return set() if known else {sha256}

    def _delete_files(self) -> None:
        if not self._to_delete:
            return
        now = list(self._to_delete)[:_DELETE_BATCH]
        for sha256 in now:
            del self._to_delete[sha256]
        try:
            self._blobs.delete(now)
        except StoreError as error:
            _log.warning("%d images could not be deleted now: %s", len(now), error)
        for listener in self._delete_listeners:
            listener(now)

    def _notify(self, training_set: int) -> None:
        for listener in self._listeners:
            try:
                listener(training_set)
            except Exception:  # noqa: BLE001 - the commit is done
                _log.exception("a listener for changes failed")


def _finish(transaction: Transaction) -> set[str]:
    """Increment the revisions of the changed sets, delete unreferenced blobs, and return the latter.

    In PostgreSQL blobs are only registered, and sets without a new revision scheduled to be embedded.
    """
    for training_set in sorted(transaction.changed_sets - transaction.revised_sets - transaction.deleted_sets):
        _INCREMENT_REVISION(transaction.connection, training_set=training_set)
    if transaction.shared:
        for training_set in sorted(transaction.noticed_sets - transaction.changed_sets - transaction.deleted_sets):
            transaction.execute(select(func.apitorch_schedule(training_set)))
        _register_released(transaction)
        return set()
    if not transaction.keeps_deleted:
        forgotten = delete(schema.deleted_images).returning(schema.deleted_images.c.sha256)
        transaction.released_images.update(transaction.execute(forgotten).scalars())
    return _delete_unreferenced(transaction.connection, transaction.released_images)


_REGISTER = text(
    "INSERT INTO released (sha256, since, state) VALUES (:sha256, :since, 0) "
    "ON CONFLICT (sha256) DO UPDATE SET since = EXCLUDED.since WHERE released.state = 0"
)


def _register_released(transaction: Transaction) -> None:
    """Register blobs that may have lost their last reference, in one order, so that processes do not block each other."""
    if transaction.released_images:
        since = validation.now()
        rows = [{"sha256": sha256, "since": since} for sha256 in sorted(transaction.released_images)]
        transaction.execute(_REGISTER, rows)


def _lock_sets(connection: Connection, numbers: set[int]) -> None:
    sets = schema.training_sets.c
    query = select(sets.id).where(sets.id.in_(numbers)).order_by(sets.id).with_for_update(key_share=True)
    connection.execute(query).all()


def _delete_unreferenced(connection: Connection, released: set[str]) -> set[str]:
    """Delete the rows of blobs that nothing refers to any more; return the blobs that then have no row."""
    referenced: set[str] = set()
    blobs, images, classifications = schema.blobs.c, schema.images.c, schema.classifications.c
    deleted = schema.deleted_images.c
    for batch in in_batches(released, _IN_QUERY):
        connection.execute(
            delete(schema.blobs).where(
                blobs.sha256.in_(batch),
                ~exists().where(images.sha256 == blobs.sha256),
                ~exists().where(classifications.sha256 == blobs.sha256),
                ~exists().where(deleted.sha256 == blobs.sha256),
            )
        )
        referenced.update(connection.execute(select(blobs.sha256).where(blobs.sha256.in_(batch))).scalars())
    return released - referenced
