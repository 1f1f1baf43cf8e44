"""The one writer: operations that come together share a transaction, a sync of the images they bring, and a commit."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from sqlalchemy import Connection, bindparam, delete, exists, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.blobs import Blobs, Staged, in_batches
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import Closed, DiskFull, StorageFault, StoreError
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.trouble import out_of_reach, storage_fault

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_GROUP = 256  # operations in a transaction
_IN_QUERY = 500  # values in one statement
_AT_A_TIME = 2000  # files deleted between two groups


class Transaction:
    """What an operation writes through, and what it tells of: sets it changed, images it let go of."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.changed: set[int] = set()
        self.gone: set[int] = set()
        self.released: set[str] = set()


class _Operation(Generic[_T]):
    def __init__(self, run: Callable[[Transaction], _T], staged: Staged | None, frees: bool) -> None:
        self.run = run
        self.staged = staged
        self.frees = frees
        self.future: Future[_T] = Future()
        self.result: _T
        self.error: BaseException | None = None


_BUMP = PreparedStatement(
    update(schema.training_sets)
    .where(schema.training_sets.c.id == bindparam("training_set"))
    .values(revision=schema.training_sets.c.revision + 1)
)


class Writer:
    """A thread that runs operations in the order they come. `run` may be called from any other thread.

    An operation runs under a savepoint: when it raises, the others of its group stand.
    """

    def __init__(self, database: Database, blobs: Blobs, folder: Path, reserve: DiskReserve) -> None:
        self._database = database
        self._blobs = blobs
        self._folder = folder
        self._reserve = reserve
        self._listeners: list[Callable[[int], None]] = []
        self._forgotten: list[Callable[[Sequence[str]], None]] = []
        self._queue: SimpleQueue[_Operation[object] | None] = SimpleQueue()
        self._doomed: dict[str, None] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def run(self, operation: Callable[[Transaction], _T], staged: Staged | None = None, *, frees: bool = False) -> _T:
        """What `operation` answers, once it is durable; its StoreError, or a fault of the storage, when it is not.

        `staged` is an image the operation's rows refer to; `frees` says that the operation makes room, and so may use
        the reserve of a full disk. An operation may run twice: when the transaction it was in failed.
        """
        work = _Operation(operation, staged, frees)
        with self._closing:
            if self._closed:
                if staged is not None:
                    self._blobs.discard(staged)
                raise Closed("The service is ending.")
            self._queue.put(work)  # type: ignore[arg-type]
        return work.future.result()

    def release(self, sha256s: Iterable[str]) -> None:
        """Delete those of the images that nothing refers to; returns when it is done."""
        for batch in in_batches(sha256s, _AT_A_TIME):
            self.run(partial(_let_go, batch), frees=True)

    def on_change(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the id of each training set that was changed or deleted.

        After the commit and before the callers go on.
        """
        self._listeners.append(listener)

    def on_forgotten(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Call `listener` with the sha256 of images that were deleted."""
        self._forgotten.append(listener)

    def close(self) -> None:
        """Finish what was handed in, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            if group:
                try:
                    self._commit(group)
                except BaseException as error:  # noqa: BLE001 - the callers must hear of it, and the thread must live
                    _log.exception("the store's writer failed")
                    for work in group:
                        if not work.future.done():
                            work.future.set_exception(error)
            self._delete_files()
            self._reserve.keep()
        while self._doomed:
            self._delete_files()

    def _next_group(self) -> tuple[list[_Operation[object]], bool]:
        group: list[_Operation[object]] = []
        while len(group) < _GROUP:
            try:
                work = self._queue.get(block=not group and not self._doomed)
            except Empty:
                break
            if work is None:
                return group, False
            group.append(work)
        return group, True

    def _commit(self, group: list[_Operation[object]]) -> None:
        self._settle(group)
        doomed: set[str] = set()
        changed: set[int] = set()
        try:
            self._transaction(group, doomed, changed)
        except DBAPIError as error:
            self._retry(group, error, doomed, changed)
        for sha256 in doomed:
            self._doomed[sha256] = None
        self._delete_files()  # before the answers: whoever has deleted an image finds its file gone
        for training_set in changed:
            self._tell(training_set)
        for work in group:
            if work.error is not None:
                work.future.set_exception(work.error)
            else:
                work.future.set_result(work.result)

    def _settle(self, group: list[_Operation[object]]) -> None:
        staged = [work.staged for work in group if work.staged is not None]
        if not staged:
            return
        for one in staged:
            self._doomed.pop(one.sha256, None)
        self._blobs.settle(staged)
        for work in group:
            if work.staged is not None and work.staged.error is not None:
                work.error = work.staged.error
                self._blobs.discard(work.staged)

    def _transaction(self, group: list[_Operation[object]], doomed: set[str], changed: set[int]) -> None:
        """Run the operations that have no error yet, and commit. Raises DBAPIError when none of it holds."""
        with self._database.writing() as connection:
            whole = Transaction(connection)
            for work in group:
                if work.error is None:
                    self._run(work, connection, whole)
                if work.error is not None and work.staged is not None:
                    whole.released.add(work.staged.sha256)
            alive = whole.changed - whole.gone
            for training_set in alive:
                _BUMP(connection, training_set=training_set)
            unreferred = _drop_unreferred(connection, whole.released)
        doomed.difference_update(work.staged.sha256 for work in group if work.staged is not None and work.error is None)
        doomed.update(unreferred)
        changed.update(whole.changed | whole.gone)

    def _run(self, work: _Operation[object], connection: Connection, whole: Transaction) -> None:
        transaction = Transaction(connection)
        connection.exec_driver_sql("SAVEPOINT operation")
        try:
            work.result = work.run(transaction)
        except IntegrityError as error:
            work.error = StorageFault(f"The database refused the change ({error.orig}).")
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            work.error = error
        if work.error is not None:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
            return
        connection.exec_driver_sql("RELEASE SAVEPOINT operation")
        whole.changed |= transaction.changed
        whole.gone |= transaction.gone
        whole.released |= transaction.released

    def _retry(self, group: list[_Operation[object]], error: DBAPIError, doomed: set[str], changed: set[int]) -> None:
        """Each on its own, after the transaction of all of them failed: a full disk may still have room for some."""
        self._checkpoint()
        for work in group:
            work.error = work.staged.error if work.staged is not None else None
            try:
                if out_of_reach(error):
                    raise error
                self._transaction([work], doomed, changed)
            except DBAPIError as again:
                error = again
                self._fail(work, again, doomed, changed)

    def _fail(self, work: _Operation[object], error: DBAPIError, doomed: set[str], changed: set[int]) -> None:
        """Tell the caller, unless the operation makes room and can be done with the reserve."""
        work.error = storage_fault(error, self._folder)
        if work.frees and isinstance(work.error, DiskFull) and self._reserve.give():
            _log.warning("%s The reserve is used to delete.", work.error)
            self._checkpoint()
            work.error = None
            try:
                self._transaction([work], doomed, changed)
            except DBAPIError as again:
                work.error = storage_fault(again, self._folder)
        if work.error is not None and work.staged is not None:
            doomed |= self._unreferred(work.staged.sha256)

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint()
        except (DBAPIError, sqlite3.Error) as error:
            _log.warning("SQLite's log could not be moved into the database: %s", storage_fault(error, self._folder))

    def _unreferred(self, sha256: str) -> set[str]:
        """The image, if no row has it, as far as the database can still say."""
        try:
            with self._database.reading() as connection:
                known = connection.execute(select(schema.blobs.c.sha256).where(schema.blobs.c.sha256 == sha256)).first()
        except StoreError:
            return set()
        return set() if known else {sha256}

    def _delete_files(self) -> None:
        if not self._doomed:
            return
        now = list(self._doomed)[:_AT_A_TIME]
        for sha256 in now:
            del self._doomed[sha256]
        try:
            self._blobs.delete(now)
        except StoreError as error:
            _log.warning("%d images could not be deleted now: %s", len(now), error)
        for listener in self._forgotten:
            listener(now)

    def _tell(self, training_set: int) -> None:
        for listener in self._listeners:
            try:
                listener(training_set)
            except Exception:  # noqa: BLE001 - what is committed stands
                _log.exception("a listener for changes failed")


def _let_go(sha256s: list[str], transaction: Transaction) -> None:
    transaction.released.update(sha256s)


def _drop_unreferred(connection: Connection, released: set[str]) -> set[str]:
    """Delete the rows of those blobs that nothing refers to any more; the blobs that then have no row."""
    kept: set[str] = set()
    blobs, images, classifications = schema.blobs.c, schema.images.c, schema.classifications.c
    for batch in in_batches(released, _IN_QUERY):
        connection.execute(
            delete(schema.blobs).where(
                blobs.sha256.in_(batch),
                ~exists().where(images.sha256 == blobs.sha256),
                ~exists().where(classifications.sha256 == blobs.sha256),
            )
        )
        kept.update(connection.execute(select(blobs.sha256).where(blobs.sha256.in_(batch))).scalars())
    return released - kept
