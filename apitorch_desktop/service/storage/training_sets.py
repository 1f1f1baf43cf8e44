"""Repositories of training sets and of their labels."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, func, select, text, update

from apitorch_desktop.api.types import HELD_OUT, INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import (
    NO_SUCH_SET,
    Repository,
    create_label_row,
    delete_images,
    existing_label,
    find_label,
    find_set_id,
    insert,
)
from apitorch_desktop.service.storage.errors import Invalid, RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import LabelRow, TrainingSetRow
from apitorch_desktop.service.storage.schema import images, labels, training_sets
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction

STANDARD_SLUGS = ("safe-for-work", "extract-text", "design-score")
"""Slugs of the standard classifiers: only a training set that collects their feedback has one."""


class TrainingSetRepository(Repository):
    """The training sets of all owners. Thread-safe; a change is durable when its method returns.

    An id may be a number or a numeric string; any other, and one of another owner, raises RecordNotFound.
    """

    def all(self, owner: int) -> list[TrainingSetRow]:
        """Return an owner's training sets, oldest first, with labels and counts."""
        with self._database.querying() as connection:
            return _rows(connection, training_sets.c.owner_id == owner)

    def get(self, owner: int, training_set_id: int | str) -> TrainingSetRow:
        """Return one training set. Raises RecordNotFound."""
        with self._database.querying() as connection:
            return _row(connection, owner, training_set_id)

    def by_slug(self, owner: int, slug: str) -> TrainingSetRow:
        """Return one training set by its slug. Raises RecordNotFound."""
        slug = validation.storable(slug)
        with self._database.querying() as connection:
            rows = _records(_BY_SLUG(connection, owner=owner, slug=slug))
        if not rows:
            raise RecordNotFound(NO_SUCH_SET)
        return rows[0]

    def find(self, training_set_id: int) -> TrainingSetRow | None:
        """Return a training set of any owner, for the trainer; None if it does not exist."""
        with self._database.querying() as connection:
            return next(iter(_rows(connection, training_sets.c.id == training_set_id)), None)

    def all_ids(self) -> list[int]:
        """Return the ids of all training sets of all owners."""
        with self._database.querying() as connection:
            return list(connection.execute(select(training_sets.c.id).order_by(training_sets.c.id)).scalars())

    def create(self, owner: int, name: str, description: str = "") -> TrainingSetRow:
        """Create an empty training set. Names may repeat; the slug then ends in `-2`, `-3`, …

        Raises Invalid for a name that is empty or over 200 characters, or a description over 10,000.
        """
        name, description = validation.name(name), _description(description)

        def run(transaction: Transaction) -> TrainingSetRow:
            slug = validation.slug(name, {*_slugs(transaction.connection, owner), *STANDARD_SLUGS})
            return _make(transaction, owner, name=name, slug=slug, description=description, standard="")

        return self._writer.run(run)

    def standard(self, owner: int, slug: str, name: str) -> TrainingSetRow:
        """Return the training set that collects feedback on a standard classifier; create it if necessary."""
        if slug not in STANDARD_SLUGS:
            raise Invalid(f"“{slug}” is no standard classifier.")
        name = validation.name(name)

        def run(transaction: Transaction) -> TrainingSetRow:
            rows = _rows(
                transaction.connection, (training_sets.c.owner_id == owner) & (training_sets.c.standard == slug)
            )
            if rows:
                return rows[0]
            return _make(transaction, owner, name=name, slug=slug, description="", standard=slug)

        try:
            return self.by_slug(owner, slug)
        except RecordNotFound:
            return self._writer.run(run)

    def update(
        self,
        owner: int,
        training_set_id: int | str,
        *,
        name: str | None = None,
        description: str | None = None,
        encoder: str | None = None,
    ) -> TrainingSetRow:
        """Change the name (and the slug, except a standard classifier's), the description, or the encoder's name.

        Raises RecordNotFound, Invalid.
        """
        new_name = None if name is None else validation.name(name)
        new_description = None if description is None else _description(description)

        def run(transaction: Transaction) -> TrainingSetRow:
            find_set_id(transaction.connection, owner, training_set_id, lock=True)
            row = _row(transaction.connection, owner, training_set_id)
            values: dict[str, object] = {}
            if new_name is not None and new_name != row.name:
                values["name"] = new_name
                if not row.standard:
                    taken = _slugs(transaction.connection, owner) - {row.slug}
                    values["slug"] = validation.slug(new_name, {*taken, *STANDARD_SLUGS})
            if new_description is not None:
                values["description"] = new_description
            if encoder is not None:
                values["encoder"] = validation.storable(encoder)
            if values:
                transaction.execute(update(training_sets).where(training_sets.c.id == row.id).values(**values))
            return _row(transaction.connection, owner, row.id)

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def delete(self, owner: int, training_set_id: int | str) -> TrainingSetRow:
        """Delete a training set with its labels, images and versions; return its row. Raises RecordNotFound."""

        def run(transaction: Transaction) -> TrainingSetRow:
            find_set_id(transaction.connection, owner, training_set_id, lock=True)
            row = _row(transaction.connection, owner, training_set_id)
            delete_images(transaction, images.c.training_set_id == row.id)
            transaction.execute(delete(training_sets).where(training_sets.c.id == row.id))
            transaction.deleted_sets.add(row.id)
            return row

        return self._writer.run(run, frees_space=True, training_set=validation.number(training_set_id))


def _description(value: str) -> str:
    return validation.text(value, validation.LONGEST_DESCRIPTION, "The description")


def _slugs(connection: Connection, owner: int) -> set[str]:
    return set(connection.execute(select(training_sets.c.slug).where(training_sets.c.owner_id == owner)).scalars())


def _make(transaction: Transaction, owner: int, **values: object) -> TrainingSetRow:
    number = insert(
        transaction,
        training_sets,
        {**values, "owner_id": owner, "revision": 0, "created_at": validation.now()},
    )
    return _row(transaction.connection, owner, number)


def _row(connection: Connection, owner: int, training_set_id: int | str) -> TrainingSetRow:
    number = validation.number(training_set_id)
    if number is not None:
        rows = _rows(connection, (training_sets.c.id == number) & (training_sets.c.owner_id == owner))
        if rows:
            return rows[0]
    raise RecordNotFound(NO_SUCH_SET)


def _rows(connection: Connection, condition: ColumnElement[bool]) -> list[TrainingSetRow]:
    return _records(connection.execute(_query(condition)))


_COLUMNS = tuple(name for name in TrainingSetRow.__struct_fields__ if name in training_sets.c)
"""Fields of `TrainingSetRow` that are columns of the table."""


_IS_HELD_OUT = text(f"images.split <> '' AND images.split IN {HELD_OUT!r}")
"""As text, since the database uses the partial index for its own condition alone, not for one with parameters."""


def _query(condition: ColumnElement[bool]) -> Select[Any]:
    """Return a query of training sets with their labels and counts, one row a label."""
    held = select(func.count()).where(images.c.label_seq == labels.c.seq)
    held_out = held.where(_IS_HELD_OUT).scalar_subquery().label("held_out")
    columns = [training_sets.c[name] for name in _COLUMNS]
    label = (labels.c.name.label("label"), held.scalar_subquery().label("count"), labels.c.id.label("label_id"))
    return (
        select(*columns, *label, held_out)
        .join_from(training_sets, labels, labels.c.training_set_id == training_sets.c.id, isouter=True)
        .where(condition)
        .order_by(training_sets.c.id)
    )


def _records(rows: Iterable[Any]) -> list[TrainingSetRow]:
    """Make records of the rows of `_query`, labels by name; the inbox while it has images."""
    found: dict[tuple[Any, ...], list[tuple[str, int, str, int]]] = {}
    for *values, label, count, label_id, held_out in rows:
        held = found.setdefault(tuple(values), [])
        if label is not None and (count or label != INBOX):
            held.append((label, count, label_id, held_out))
    records = []
    for values, held in found.items():
        names, counts, ids, held_out = zip(*sorted(held), strict=True) if held else ((), (), (), ())
        fields = dict(zip(_COLUMNS, values, strict=True))
        records.append(TrainingSetRow(**fields, labels=names, counts=counts, label_ids=ids, held_out=held_out))
    return records


_BY_SLUG = PreparedStatement(
    _query((training_sets.c.owner_id == bindparam("owner")) & (training_sets.c.slug == bindparam("slug")))
)


class LabelRepository(Repository):
    """Labels. Thread-safe; a change is durable when its method returns.

    A label is given in any spelling and stored in snake_case; two spellings of one label are one label. An existing
    label can also be given by its id (`tl_…`).
    """

    def all(self, owner: int, training_set_id: int | str) -> list[LabelRow]:
        """Return the labels with their counts, by name; the inbox while it has images. Raises RecordNotFound."""
        with self._database.querying() as connection:
            rows = listed_labels(connection, owner, validation.number(training_set_id) or 0)
            if not rows:  # no label, or no such training set
                find_set_id(connection, owner, training_set_id)
            return rows

    def get(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Return one label by name or id. Raises RecordNotFound."""
        with self._database.querying() as connection:
            number = find_set_id(connection, owner, training_set_id)
            return _label_rows(connection, number, existing_label(connection, number, label)[0])[0]

    def create(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Create an empty label. Raises RecordNotFound, Invalid, and RecordConflict if it exists."""
        name = validation.label(label)

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            if find_label(transaction.connection, number, name) is not None:
                raise RecordConflict(f"There is a label “{name}” already.")
            return _label_rows(transaction.connection, number, create_label_row(transaction, number, name)[0])[0]

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def rename(self, owner: int, training_set_id: int | str, label: str, new: str, *, merge: bool = False) -> LabelRow:
        """Rename a label. With `merge`, an existing label takes its images, and it is deleted.

        An image under both labels remains once, under the other label. Raises RecordNotFound, Invalid, and
        RecordConflict if the new label exists and `merge` is False.
        """
        name = validation.label(new)

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
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
            return _label_rows(transaction.connection, number, seq)[0]

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def delete(self, owner: int, training_set_id: int | str, label: str) -> LabelRow:
        """Delete a label with its images; return its row. Raises RecordNotFound."""

        def run(transaction: Transaction) -> LabelRow:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            seq = existing_label(transaction.connection, number, label)[0]
            row = _label_rows(transaction.connection, number, seq)[0]
            _drop(transaction, number, seq)
            return row

        return self._writer.run(run, frees_space=True, training_set=validation.number(training_set_id))


def _merge(transaction: Transaction, training_set: int, seq: int, into: int) -> None:
    there = images.alias()
    twice = select(there.c.sha256).where(there.c.label_seq == into)
    delete_images(transaction, (images.c.label_seq == seq) & images.c.sha256.in_(twice))
    transaction.execute(update(images).where(images.c.label_seq == seq).values(label_seq=into))
    _drop(transaction, training_set, seq)


def _drop(transaction: Transaction, training_set: int, seq: int) -> None:
    delete_images(transaction, images.c.label_seq == seq)
    transaction.execute(delete(labels).where(labels.c.seq == seq))
    transaction.changed_sets.add(training_set)


def listed_labels(connection: Connection, owner: int, training_set: int) -> list[LabelRow]:
    """Return the labels with their counts, by name; the inbox while it has images."""
    rows = _label_rows(connection, training_set, owner=owner)
    return sorted((row for row in rows if row.count or row.name != INBOX), key=lambda row: row.name)


def _label_rows(
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
