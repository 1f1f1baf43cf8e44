"""Repository of the labels of training sets."""

from sqlalchemy import Connection, delete, func, select, update

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import Repository, create_label_row, existing_label, find_label, find_set_id
from apitorch_desktop.service.storage.errors import RecordConflict
from apitorch_desktop.service.storage.records import LabelRow
from apitorch_desktop.service.storage.schema import images, labels, training_sets
from apitorch_desktop.service.storage.writer import Transaction


class LabelRepository(Repository):
    """Labels. Thread-safe; a change is durable when its method returns.

    A label is given in any spelling and stored in snake_case; two spellings of one label are one label. An existing
    label can also be given by its id (`tl_…`).
    """

    def all(self, owner: int, training_set_id: int | str) -> list[LabelRow]:
        """Return the labels with their counts, by name; the inbox while it has images. Raises RecordNotFound."""
        with self._database.querying() as connection:
            rows = _rows(connection, validation.number(training_set_id) or 0, owner=owner)
            if not rows:  # no label, or no such training set
                find_set_id(connection, owner, training_set_id)
            return sorted((row for row in rows if row.count or row.name != INBOX), key=lambda row: row.name)

    def get(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Return one label by name or id. Raises RecordNotFound."""
        with self._database.querying() as connection:
            number = find_set_id(connection, owner, training_set_id)
            return _rows(connection, number, existing_label(connection, number, label)[0])[0]

    def create(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Create an empty label. Raises RecordNotFound, Invalid, and RecordConflict if it exists."""
        name = validation.label(label)

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id)
            if find_label(transaction.connection, number, name) is not None:
                raise RecordConflict(f"There is a label “{name}” already.")
            return _rows(transaction.connection, number, create_label_row(transaction, number, name)[0])[0]

        return self._writer.run(run)

    def rename(self, owner: int, training_set_id: int | str, label: str, new: str, *, merge: bool = False) -> LabelRow:
        """Rename a label. With `merge`, an existing label takes its images, and it is deleted.

        An image under both labels remains once, under the other label. Raises RecordNotFound, Invalid, and
        RecordConflict if the new label exists and `merge` is False.
        """
        name = validation.label(new)

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id)
            seq = existing_label(transaction.connection, number, label)[0]
            other = find_label(transaction.connection, number, name)
            if other is None:
                transaction.execute(update(labels).where(labels.c.seq == seq).values(name=name))
                transaction.changed_sets.add(number)
            elif other[0] != seq:
                if not merge:
                    raise RecordConflict(f"There is a label “{name}” already. Merge the two, or choose another name.")
                _merge(transaction, number, seq, other[0])
                seq = other[0]
            return _rows(transaction.connection, number, seq)[0]

        return self._writer.run(run)

    def delete(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Delete a label with its images; return its row. Raises RecordNotFound."""

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id)
            seq = existing_label(transaction.connection, number, label)[0]
            row = _rows(transaction.connection, number, seq)[0]
            _drop(transaction, number, seq)
            return row

        return self._writer.run(run, frees_space=True)


def _merge(transaction: Transaction, training_set: int, seq: int, into: int) -> None:
    twice = select(images.c.sha256).where(images.c.label_seq == into)
    transaction.execute(delete(images).where(images.c.label_seq == seq, images.c.sha256.in_(twice)))
    transaction.execute(update(images).where(images.c.label_seq == seq).values(label_seq=into))
    _drop(transaction, training_set, seq)


def _drop(transaction: Transaction, training_set: int, seq: int) -> None:
    used = select(images.c.sha256).where(images.c.label_seq == seq)
    transaction.released_images.update(transaction.execute(used).scalars())
    transaction.execute(delete(images).where(images.c.label_seq == seq))
    transaction.execute(delete(labels).where(labels.c.seq == seq))
    transaction.changed_sets.add(training_set)


def _rows(
    connection: Connection, training_set: int, seq: int | None = None, *, owner: int | None = None
) -> list[LabelRow]:
    held = select(func.count()).where(images.c.label_seq == labels.c.seq).scalar_subquery()
    query = select(labels.c.id, labels.c.training_set_id, labels.c.name, held)
    query = query.where(labels.c.training_set_id == training_set)
    if seq is not None:
        query = query.where(labels.c.seq == seq)
    if owner is not None:
        query = query.join(training_sets, training_sets.c.id == labels.c.training_set_id)
        query = query.where(training_sets.c.owner_id == owner)
    return [LabelRow(*row) for row in connection.execute(query)]
