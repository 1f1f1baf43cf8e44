"""Changes of the images of a training set since a revision, from the log that the database's triggers keep."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from apitorch_desktop.service.storage.base import Repository, find_set_id
from apitorch_desktop.service.storage.images import ROWS, image_rows
from apitorch_desktop.service.storage.records import ImageRow, LabelRow
from apitorch_desktop.service.storage.schema import image_changes, images, training_sets
from apitorch_desktop.service.storage.training_sets import listed_labels

MOST = 20_000
"""Most changed images in an answer: above that, a new listing costs as little."""


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


def _parsed(since: str) -> tuple[int, int] | None:
    revision, _, newest = since.partition("-")
    if not (revision.isdecimal() and newest.isdecimal()) or len(since) > 40 or not since.isascii():
        return None
    return int(revision), int(newest)


def _count(connection: Connection, number: int, revision: int, newest: int) -> int:
    came = select(func.count()).where(images.c.training_set_id == number, images.c.seq > newest)
    changed = select(func.count()).where(image_changes.c.training_set_id == number, image_changes.c.revision > revision)
    return int(connection.execute(came).scalar_one()) + int(connection.execute(changed).scalar_one())
