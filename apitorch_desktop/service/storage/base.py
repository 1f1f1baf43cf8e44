"""The base class of the repositories and the queries that they share."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, literal, select

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import Invalid, RecordNotFound
from apitorch_desktop.service.storage.schema import deleted_images, images, labels, training_sets
from apitorch_desktop.service.storage.writer import Transaction, Writer

IN_QUERY = 500
"""Values in one statement."""

NO_SUCH_SET = "There is no such training set. It may have been deleted."
NO_SUCH_IMAGE = "There is no such image. It may have been deleted."


class Repository:
    """Base class of the repositories. `database` is for reading on any thread, `writer` for all changes."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer


def find_set_id(connection: Connection, owner: int, training_set_id: int | str, *, lock: bool = False) -> int:
    """Return the number of a training set of this owner. Raises RecordNotFound.

    `lock` keeps all other processes from changing it until the end of the transaction, so that what a change looks up
    first (labels, images, versions) is so until it is made, and rows get their numbers in the order of the commits.
    """
    number = validation.number(training_set_id)
    if number is not None:
        query = select(training_sets.c.id).where(training_sets.c.id == number, training_sets.c.owner_id == owner)
        if lock:
            query = query.with_for_update(key_share=True)  # nothing in SQLite, where one thread writes
        if connection.execute(query).first() is not None:
            return number
    raise RecordNotFound(NO_SUCH_SET)


def lock_set(transaction: Transaction, training_set: int) -> None:
    """Keep other processes from changing a training set of any owner until the end, as `find_set_id` does with `lock`.

    Raises RecordNotFound.
    """
    query = select(training_sets.c.id).where(training_sets.c.id == training_set)
    if transaction.execute(query.with_for_update(key_share=True)).first() is None:
        raise RecordNotFound(NO_SUCH_SET)


def find_label(connection: Connection, training_set: int, label: str) -> tuple[int, str, str] | None:
    """Return row number, id and name of a label given by id or in any spelling; None if it does not exist."""
    if validation.hex_id(label, "tl_") is not None and label.startswith("tl_"):
        match = labels.c.id == label
    else:
        match = labels.c.name == validation.label(label)
    query = select(labels.c.seq, labels.c.id, labels.c.name).where(labels.c.training_set_id == training_set, match)
    row = connection.execute(query).first()
    return None if row is None else (row[0], row[1], row[2])


def existing_label(connection: Connection, training_set: int, label: str) -> tuple[int, str, str]:
    """Return row number, id and name of a label given by id or in any spelling. Raises RecordNotFound, also for an
    invalid label.
    """
    try:
        found = find_label(connection, training_set, label)
    except Invalid:
        found = None
    if found is None:
        raise RecordNotFound(f"There is no label “{label[:80]}” in this training set.")
    return found


def find_or_create_label(transaction: Transaction, training_set: int, label: str) -> tuple[int, str]:
    """Return row number and name of a label given by id or in any spelling; create a new one. Raises Invalid,
    RecordNotFound.
    """
    found = find_label(transaction.connection, training_set, label)
    if found is not None:
        return found[0], found[2]
    if label.startswith("tl_") and validation.hex_id(label, "tl_"):
        raise RecordNotFound("There is no label with this id in this training set. It may have been deleted.")
    return create_label_row(transaction, training_set, validation.label(label))


def create_label_row(transaction: Transaction, training_set: int, name: str) -> tuple[int, str]:
    """Create a label that is known to be new; return row number and name."""
    values = {"id": "tl_" + validation.new_id(), "training_set_id": training_set, "name": name}
    transaction.changed_sets.add(training_set)
    return insert(transaction, labels, values), name


def raw(connection: Connection, query: Select[Any]) -> Iterable[tuple[Any, ...]]:
    """Return the driver's own tuples: making 100,000 records from them takes half the time it takes from SQLAlchemy's
    Row.
    """
    cursor: Any = connection.execute(query).cursor
    return cursor  # type: ignore[no-any-return]


def insert(transaction: Transaction, table: Any, values: dict[str, object]) -> int:
    """Insert one row; return its number."""
    key = transaction.execute(table.insert(), values).inserted_primary_key
    return int(key[0]) if key is not None else 0


_REMEMBERED = ("id", "sha256", "original_filename", "split", "created_at")
"""Columns of an image that it has again when it is restored, with its owner and the name of its label."""


def delete_images(transaction: Transaction, chosen: ColumnElement[bool]) -> None:
    """Delete the images that a condition chooses. They may be restored for a day (`DeletedImageRepository`)."""
    if transaction.keeps_deleted:
        _remember(transaction, chosen)
    gone = transaction.execute(delete(images).where(chosen).returning(images.c.sha256))
    transaction.released_images.update(gone.scalars())


def _remember(transaction: Transaction, chosen: ColumnElement[bool]) -> None:
    now = validation.now()
    known = deleted_images.c
    columns = (*(images.c[name] for name in _REMEMBERED), training_sets.c.owner_id, labels.c.name, literal(now))
    query = (
        select(*columns)
        .join_from(images, labels, labels.c.seq == images.c.label_seq)
        .join(training_sets, training_sets.c.id == images.c.training_set_id)
        .where(chosen)
    )
    names = [*_REMEMBERED, "owner_id", "label", "deleted_at"]
    transaction.execute(delete(deleted_images).where(known.id.in_(select(images.c.id).where(chosen))))
    transaction.execute(deleted_images.insert().from_select(names, query))
