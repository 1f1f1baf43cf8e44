"""Changes of the images of a training set since a revision, from the log that the database's triggers keep."""

from contextlib import suppress
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from apitorch_desktop.service.storage.base import Repository, find_set_id, lock_set
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.images import ROWS, image_rows
from apitorch_desktop.service.storage.records import ImageRow, LabelRow
from apitorch_desktop.service.storage.schema import image_changes, images, training_sets
from apitorch_desktop.service.storage.training_sets import listed_labels
from apitorch_desktop.service.storage.writer import Transaction

MOST = 20_000
"""Most changed images in an answer: above that, a new listing costs as little."""
_TRIMMED = 5_000  # rows removed in one transaction, so that no other change waits long


class SetChanges(NamedTuple):
    """Changes that lead from one revision to `revision`: images that came or changed, and ids of those that are gone.

    `too_old`: that is not known, or too much; the images have to be listed anew.
    """

    revision: str
    labels: list[LabelRow]
    images: list[ImageRow]
    removed: list[str]
    too_old: bool


class ChangeRepository(Repository):
    """Changes of training sets. Thread-safe.

    A revision in text is two numbers, `12-3456`: the training set's, and the row number of its newest image. New images
    are found by the one, moved and removed ones by the other in the log.
    """

    def since(self, owner: int, training_set_id: int | str, since: str | None) -> SetChanges:
        """Return the changes since a revision in text; None for the present revision alone. Raises RecordNotFound."""
        with self._database.reading() as connection:  # one state of all tables
            number = find_set_id(connection, owner, training_set_id)
            revision = connection.execute(
                select(training_sets.c.revision).where(training_sets.c.id == number)
            ).scalar_one()
            newest = connection.execute(
                select(func.max(images.c.seq)).where(images.c.training_set_id == number)
            ).scalar_one()
            present = f"{revision}-{newest or 0}"
            labels = listed_labels(connection, owner, number)
            if since is None:
                return SetChanges(present, labels, [], [], False)
            start = _parsed(since)
            if start is None or start[0] > revision or _count(connection, number, *start) > MOST:
                return SetChanges(present, labels, [], [], True)
            of_set = images.c.training_set_id == number
            logged = (image_changes.c.training_set_id == number) & (image_changes.c.revision > start[0])
            came = image_rows(connection, ROWS.where(of_set, images.c.seq > start[1]).order_by(images.c.seq))
            changed = image_rows(
                connection,
                ROWS.join(image_changes, image_changes.c.image_id == images.c.id)
                .where(logged, of_set, images.c.seq <= start[1])
                .order_by(images.c.seq),
            )
            gone = connection.execute(
                select(image_changes.c.image_id)
                .join(images, images.c.id == image_changes.c.image_id, isouter=True)
                .where(logged, images.c.id.is_(None))
            ).scalars()
            return SetChanges(present, labels, changed + came, list(gone), False)

    def trim(self) -> int:
        """Remove from the log what no answer needs, and return how many rows; to be called once a day.

        The newest `MOST` + 1 of each training set stay: since any revision before them there were too many changes for an
        answer, and so it remains. Raises StorageFault.
        """
        long = select(image_changes.c.training_set_id).group_by(image_changes.c.training_set_id)
        with self._database.querying() as connection:
            numbers = list(connection.execute(long.having(func.count() > MOST + 1)).scalars())
        removed = 0
        for number in numbers:
            with suppress(RecordNotFound):  # deleted meanwhile, and the log with it
                while count := self._writer.run(partial(_trim, number=number), frees_space=True, training_set=number):
                    removed += count
        return removed


def _trim(transaction: Transaction, number: int) -> int:
    lock_set(transaction, number)  # else an image that is logged anew meanwhile would be removed
    log = image_changes.c
    older = select(log.image_id).where(log.training_set_id == number).order_by(log.revision.desc(), log.image_id)
    surplus = older.offset(MOST + 1).limit(_TRIMMED)
    return transaction.execute(delete(image_changes).where(log.image_id.in_(surplus))).rowcount


def _parsed(since: str) -> tuple[int, int] | None:
    revision, _, newest = since.partition("-")
    if not (revision.isdecimal() and newest.isdecimal()) or len(since) > 40 or not since.isascii():
        return None
    return int(revision), int(newest)


def _count(connection: Connection, number: int, revision: int, newest: int) -> int:
    came = select(func.count()).where(images.c.training_set_id == number, images.c.seq > newest)
    changed = select(func.count()).where(image_changes.c.training_set_id == number, image_changes.c.revision > revision)
    return int(connection.execute(came).scalar_one()) + int(connection.execute(changed).scalar_one())
