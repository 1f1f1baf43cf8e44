"""Consistency of rows and image files: the quarantine of files without a row, and the scrub for damaged files."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Column, ColumnElement, DateTime, delete, exists, func, select, text, update

from apitorch_desktop.service.storage import damage, schema
from apitorch_desktop.service.storage.blobs import Blobs, in_batches
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import Closed, DamagedImage, StorageFault, StoreError
from apitorch_desktop.service.storage.records import SweepReport
from apitorch_desktop.service.storage.validation import ago, now
from apitorch_desktop.service.storage.writer import Transaction, Writer

QUARANTINE_DAYS = 30
_MIN_REMOVED, _REMOVED_SHARE = 100, 0.01  # files removed in one sweep at most: the larger of the two
_CLOCK_TOLERANCE = 60.0  # seconds that a file may be newer than the newest row, as after a crash
_CRASH = 96  # files that a crash leaves without a row at most: threads that store images at a time
_IN_QUERY = 500
_YOUNG = 24 * 3600.0  # seconds in which no file is removed, whatever the register says
_REMOVAL_LIMIT = 600.0  # seconds after which another may finish a removal; the bucket has a minute to answer it
_SCRUB_RATE = 4 * 2**20  # bytes a second
_SCRUB_TURN = 60.0  # seconds between two questions whether it is this process's turn
_SCRUB_PAUSE = 7 * 24 * 3600.0  # seconds between two passes
_log = logging.getLogger(__name__)


class Sweeper:
    """Compares the stored files with the rows. Thread-safe.

    A file without a row is put in quarantine: it is registered with a date and stays where it is, so that it is found
    when the database it belongs to is put back. It is removed after 30 days, and only a small share of all files in one
    sweep.
    """

    def __init__(self, database: Database, writer: Writer, blobs: Blobs) -> None:
        self._database = database
        self._writer = writer
        self._blobs = blobs
        self._shared = not database.sqlite
        self._opened_at = time.time()
        self.leads: Callable[[], bool] = lambda: True
        """Whether this process is the one that scrubs."""
        self.load_damaged()

    def load_damaged(self) -> None:
        """Read which files are damaged, as far as any process or a check knows. Raises StorageFault."""
        known = self._column(schema.damaged.c.sha256)
        self._blobs.damaged.intersection_update(known)
        self._blobs.damaged.update(known)

    def scan(self) -> SweepReport:
        """Register files without a row, and mark and report missing files; deletes nothing. Raises StorageFault."""
        stored = set(self._blobs.names())
        referenced = self._column(schema.blobs.c.sha256)
        orphans = stored - referenced - self._column(schema.released.c.sha256)  # listed first, read last
        registered = self._column(schema.quarantine.c.sha256)
        new = orphans - registered
        left, newer = self._count_left(new)
        self._update_register(new, registered - orphans)
        absent = {sha256 for sha256 in referenced - stored if not self._blobs.exists(sha256)}
        # asked again, as images come and go meanwhile
        missing = tuple(sorted(absent & self._column(schema.blobs.c.sha256))) if absent else ()
        if missing:
            self._blobs.damaged |= self._writer.run(lambda transaction: damage.mark(transaction.connection, missing))
            _log.error(
                "%d stored images are gone from “%s”: %s …", len(missing), self._blobs.location, ", ".join(missing[:3])
            )
        return SweepReport(0, missing, len(orphans), len(new), left, newer)

    def remove_expired(self) -> int:
        """Remove files that were in quarantine for 30 days, a small share of all at most; return how many.

        One that was stored within the last day stays, as does one whose age cannot be determined. With PostgreSQL they are
        removed a day later, together with those of blobs that lost their last reference a day ago.
        """
        if self._shared:
            self._remove_released()
        oldest = ago(timedelta(days=QUARANTINE_DAYS))
        table = schema.quarantine
        with self._database.querying() as connection:
            query = select(table.c.sha256).where(table.c.since < oldest).order_by(table.c.since)
            expired = list(connection.execute(query).scalars())
            total = connection.execute(select(func.count()).select_from(schema.blobs)).scalar_one()
        limit = max(_MIN_REMOVED, int(total * _REMOVED_SHARE))
        expired = [sha256 for sha256 in expired if self._is_old(sha256)]
        if len(expired) > limit:
            _log.warning(
                "%d files without a row are due for removal; %d are removed today. If they are still wanted, stop the "
                "service and run “apitorch-desktop service adopt”.",
                len(expired),
                limit,
            )
        for batch in in_batches(expired[:limit], _IN_QUERY):
            self._writer.run(_remover(batch), frees_space=True)  # there `released_images` registers them
        return min(len(expired), limit)

    def _remove_released(self) -> None:
        """Remove the bytes of blobs that nothing has referred to for a day.

        The row in `released` is locked while a blob's references are counted, and marked before the bytes go: who stores
        the same image meanwhile either keeps the blob, or learns that the bytes have to be stored again.
        """
        table, blobs = schema.released, schema.blobs
        self.finish_removals()
        before = ago(timedelta(seconds=_YOUNG))
        query = (
            select(table.c.sha256).where(table.c.state == schema.Removal.DUE, table.c.since < before).limit(_IN_QUERY)
        )

        def mark(transaction: Transaction) -> tuple[int, list[str]]:
            due = list(transaction.execute(query.with_for_update(skip_locked=True)).scalars())
            known = set(transaction.execute(select(blobs.c.sha256).where(blobs.c.sha256.in_(due))).scalars())
            gone = transaction.execute(
                delete(blobs)
                .where(blobs.c.sha256.in_(due))
                .where(~exists().where(schema.images.c.sha256 == blobs.c.sha256))
                .where(~exists().where(schema.classifications.c.sha256 == blobs.c.sha256))
                .returning(blobs.c.sha256)
            ).scalars()
            unwanted = set(gone) | (set(due) - known)
            transaction.execute(delete(table).where(table.c.sha256.in_(set(due) - unwanted)))
            begun = update(table).values(state=schema.Removal.UNDER_WAY, since=_moment())
            transaction.execute(begun.where(table.c.sha256.in_(unwanted)))
            return len(due), sorted(unwanted)

        while True:
            count, unwanted = self._writer.run(mark, frees_space=True)
            self._remove_bytes(unwanted)
            if count < _IN_QUERY:
                break
        done = (table.c.state == schema.Removal.DONE) & (table.c.since < before)
        self._writer.run(lambda transaction: transaction.execute(delete(table).where(done)).rowcount)

    def finish_removals(self) -> None:
        """With PostgreSQL, finish removals that were begun minutes ago, as by a process that was killed.

        Until then nobody can store the same image. A later one is left to the process that began it, which would remove
        what was stored again meanwhile; those that are finished here are begun anew, as another may do the same. Raises
        StorageFault.
        """
        table = schema.released
        overdue = (table.c.state == schema.Removal.UNDER_WAY) & (table.c.since < _moment(_REMOVAL_LIMIT))
        claim = update(table).where(overdue).values(since=_moment()).returning(table.c.sha256)
        self._remove_bytes(self._writer.run(lambda transaction: list(transaction.execute(claim).scalars())))

    def _remove_bytes(self, sha256s: list[str]) -> None:
        for batch in in_batches(sha256s, _IN_QUERY):
            self._blobs.remove(batch)
            self._writer.run(partial(_mark_removed, sha256s=batch))

    def _is_old(self, sha256: str) -> bool:
        """Return whether a file was stored over a day ago: a newer one may be an upload whose row is on its way."""
        modified = self._blobs.modified(sha256)
        return 0 < modified < time.time() - _YOUNG

    def quarantined(self) -> dict[str, str]:
        """Return the files in quarantine, with the time they were registered."""
        with self._database.querying() as connection:
            rows = connection.execute(select(schema.quarantine.c.sha256, schema.quarantine.c.since))
            return {row[0]: row[1] for row in rows}

    def scrub(self, stopping: threading.Event, rate: float = _SCRUB_RATE) -> None:
        """Check the hash of every stored file, over and over, at `rate` bytes a second, until `stopping` is set.

        What is known to be damaged comes first, and at full speed, as it may have been put back.
        """
        while not stopping.is_set():
            try:
                self.load_damaged()
                marked = frozenset(self._blobs.damaged)
                order = sorted(self._column(schema.blobs.c.sha256), key=lambda sha256: sha256 not in marked)
                for sha256 in order:
                    while not self.leads():
                        if stopping.wait(_SCRUB_TURN):
                            return
                    size = self.check_file(sha256)
                    if stopping.wait(0 if sha256 in marked else size / rate):
                        return
            except Closed:
                return
            except StorageFault:
                _log.exception("the scrub failed")
            stopping.wait(_SCRUB_PAUSE)

    def check_file(self, sha256: str) -> int:
        """Check the hash of one stored file and register the result; return its size."""
        with suppress(StorageFault):  # damaged, which is registered, or not to be read now
            return len(self.read(sha256, afresh=True))
        return 0

    def read(self, sha256: str, size: int | None = None, *, afresh: bool = False) -> bytes:
        """Return the bytes of an image, and register whether they are what came. Raises DamagedImage, StorageFault."""
        try:
            data = self._blobs.read(sha256, size, afresh=afresh or sha256 in self._blobs.damaged)
        except DamagedImage:
            if sha256 not in self._blobs.damaged:
                self._register_damage(sha256, good=False)
            raise
        if sha256 in self._blobs.damaged:
            self._register_damage(sha256, good=True)
        return data

    def _register_damage(self, sha256: str, *, good: bool) -> None:
        def run(transaction: Transaction) -> bool:
            if not good:
                return bool(damage.mark(transaction.connection, [sha256]))
            transaction.noticed_sets |= damage.clear(transaction.connection, [sha256])
            return False

        marked = not good
        try:
            marked = self._writer.run(run)
        except StoreError as error:  # the next read or scrub tries again after a restart
            _log.warning("the state of the stored image %s could not be noted: %s", sha256, error)
        if marked:
            self._blobs.damaged.add(sha256)
            _log.error(
                "the stored image %s is damaged or gone: it is served to nobody until it is uploaded again", sha256
            )
        else:
            self._blobs.damaged.discard(sha256)

    def _count_left(self, orphans: set[str]) -> tuple[int, int]:
        """Return how many of the files were stored before this process opened the folder, and how many of them are newer
        than the newest row. Later ones are uploads whose rows are on their way.
        """
        if not orphans:
            return 0, 0
        tables = (schema.training_sets, schema.images, schema.classifications, schema.feedback)
        with self._database.querying() as connection:
            times = [connection.execute(select(func.max(table.c.created_at))).scalar() for table in tables]
        stored = [self._blobs.modified(sha256) for sha256 in orphans]
        left = [modified for modified in stored if not self._opened_at < modified <= time.time()]
        newest = max((datetime.fromisoformat(time).timestamp() for time in times if time), default=0.0)
        newer = sum(modified > newest for modified in left)
        if newest and newer <= _CRASH:
            newer = sum(modified > newest + _CLOCK_TOLERANCE for modified in left)
        return len(left), newer

    def _update_register(self, new: set[str], obsolete: set[str]) -> None:
        table = schema.quarantine

        def run(transaction: Transaction) -> None:
            since = now()
            for batch in in_batches(obsolete, _IN_QUERY):
                transaction.execute(delete(table).where(table.c.sha256.in_(batch)))
            for batch in in_batches(new, _IN_QUERY):
                transaction.execute(_QUARANTINE, [{"sha256": sha256, "since": since} for sha256 in batch])

        if new or obsolete:
            self._writer.run(run, frees_space=True)

    def _column(self, column: Column[str]) -> set[str]:
        with self._database.querying() as connection:
            return set(connection.execute(select(column)).scalars())


_QUARANTINE = text("INSERT INTO quarantine (sha256, since) VALUES (:sha256, :since) ON CONFLICT (sha256) DO NOTHING")


def _moment(seconds_ago: float = 0) -> ColumnElement[str]:
    """Return a moment by PostgreSQL's clock, which is one for all processes, as `validation.timestamp` writes it."""
    moment = func.clock_timestamp(type_=DateTime(timezone=True)) - timedelta(seconds=seconds_ago)
    return func.to_char(func.timezone("UTC", moment), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')


def _mark_removed(transaction: Transaction, sha256s: list[str]) -> None:
    table = schema.released
    begun = (table.c.state == schema.Removal.UNDER_WAY) & table.c.sha256.in_(sha256s)
    transaction.execute(update(table).where(begun).values(state=schema.Removal.DONE, since=_moment()))


def _remover(sha256s: list[str]) -> Callable[[Transaction], None]:
    def run(transaction: Transaction) -> None:
        transaction.execute(delete(schema.quarantine).where(schema.quarantine.c.sha256.in_(sha256s)))
        transaction.released_images.update(sha256s)

    return run
