"""Training images: added, moved, deleted, listed."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, select, update

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import (
    IN_QUERY,
    NO_SUCH_IMAGE,
    NO_SUCH_SET,
    Repository,
    existing_label,
    label_for,
    make_label,
    raw,
    set_number,
)
from apitorch_desktop.service.storage.blobs import Blobs
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import Invalid, RecordNotFound
from apitorch_desktop.service.storage.records import ImageFacts, ImagePage, ImageRow
from apitorch_desktop.service.storage.schema import blobs, images, labels, training_sets
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction, Writer


class ImageLocation(NamedTuple):
    """What a change needs to know of an image."""

    seq: int
    id: str
    training_set_id: int
    label_seq: int
    sha256: str


class ImageRepository(Repository):
    """Training images. Thread-safe; what changes something returns when it is durable.

    An image id is accepted with and without `ti_`; one that is no id at all, or another owner's, is NotFound.
    """

    def __init__(self, database: Database, writer: Writer, stored: Blobs) -> None:
        super().__init__(database, writer)
        self._blobs = stored

    def add(
        self,
        owner: int,
        training_set_id: int | str,
        label: str,
        data: bytes,
        facts: ImageFacts,
        original_filename: str = "",
    ) -> tuple[ImageRow, bool]:
        """Store an image under a label, which is made when it is new; and whether the image was new to it.

        The same bytes under the same label are one image: the first row comes back, and False. `data` must have been
        verified. Raises NotFound, Invalid, StorageFull, StorageFault; then nothing of it is kept.
        """
        name, number = validation.label(label), validation.number(training_set_id)
        sha256 = hashlib.sha256(data).hexdigest()
        values = blob_values(sha256, data, facts)
        original_filename = validation.filename(original_filename)

        def run(transaction: Transaction) -> tuple[ImageRow, bool]:
            label_seq, blob, image = _look(transaction.connection, owner, number, name, sha256)
            if image is not None:
                return _row(transaction.connection, image), False
            if label_seq is None:
                label_seq = make_label(transaction, number or 0, name)[0]
            if blob is None:
                INSERT_BLOB(transaction.connection, **values)
            return add_row(transaction, number or 0, label_seq, name, values, original_filename), True

        with self._database.reading() as connection:
            image = _look(connection, owner, number, name, sha256)[2]
            if image is not None and self._blobs.has(sha256):  # else the file is put back
                return _row(connection, image), False
        return self._writer.run(run, self._blobs.stage(sha256, data))

    def get(self, owner: int, image_id: str) -> ImageRow:
        """One image. Raises NotFound."""
        with self._database.reading() as connection:
            row = _OWNED(connection, id=validation.hex_id(image_id, "ti_") or "", owner=owner).first()
        if row is None:
            raise RecordNotFound(NO_SUCH_IMAGE)
        return ImageRow(*row)

    def move(self, owner: int, image_id: str, label: str) -> ImageRow:
        """Put an image under another label of its training set, made when it is new.

        Where that label has the same bytes already, the two become one: the row that was there first comes back.
        Raises NotFound, Invalid.
        """

        def run(transaction: Transaction) -> ImageRow:
            found = _find(transaction.connection, owner, [image_id])
            return _move(transaction, found[0].training_set_id, found, label)[0]

        return self._writer.run(run)

    def move_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str], label: str) -> list[ImageRow]:
        """The same for many, all or none; answers a row for each id in the order given."""

        def run(transaction: Transaction) -> list[ImageRow]:
            number = set_number(transaction.connection, owner, training_set_id)
            found = _find(transaction.connection, owner, image_ids, number)
            return _move(transaction, number, found, label)

        return self._writer.run(run)

    def delete(self, owner: int, image_id: str) -> ImageRow:
        """Delete an image; answers what was deleted. Raises NotFound."""

        def run(transaction: Transaction) -> ImageRow:
            found = _find(transaction.connection, owner, [image_id])
            row = _row(transaction.connection, found[0].seq)
            drop(transaction, found[0].training_set_id, found)
            return row

        return self._writer.run(run, frees=True)

    def delete_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> int:
        """Delete many images of one training set, all or none; answers how many. Raises NotFound."""

        def run(transaction: Transaction) -> int:
            number = set_number(transaction.connection, owner, training_set_id)
            found = {row.seq: row for row in _find(transaction.connection, owner, image_ids, number)}
            drop(transaction, number, list(found.values()))
            return len(found)

        return self._writer.run(run, frees=True)

    def some(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> list[ImageRow]:
        """Those of the images that are in the training set, in any order.

        Raises NotFound for the training set, for what cannot be an image's id, and where none is there.
        """
        digits = list({validation.hex_id(each, "ti_") or "" for each in image_ids})
        rows: list[ImageRow] = []
        with self._database.reading() as connection:
            number = set_number(connection, owner, training_set_id)
            for start in range(0, len(digits), IN_QUERY):
                query = _ROWS.where(
                    images.c.id.in_(digits[start : start + IN_QUERY]), images.c.training_set_id == number
                )
                rows += _image_rows(connection, query)
        if not rows or "" in digits:
            raise RecordNotFound(NO_SUCH_IMAGE)
        return rows

    def page(
        self,
        owner: int,
        training_set_id: int | str,
        *,
        label: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> ImagePage:
        """Images in the order of arrival, of one label (name or id) or of all; without `limit`, in full.

        `after` is a page's `next`, or an image id. What comes in meanwhile is at the end; what is deleted or moved
        shifts nothing. Raises NotFound (also for the label), Invalid for an `after` that never was one.
        """
        if limit is not None and limit < 1:
            raise Invalid("The limit must be at least 1.")
        with self._database.reading() as connection:
            number = set_number(connection, owner, training_set_id)
            query = _ROWS.order_by(images.c.seq)
            if label is None:
                query = query.where(images.c.training_set_id == number)
            else:
                query = query.where(images.c.label_seq == existing_label(connection, number, label)[0])
            if after is not None:
                query = query.where(images.c.seq > _position(connection, owner, after))
            if limit is not None:
                query = query.limit(min(limit, 2**31) + 1)
            rows = _image_rows(connection, query)
        if limit is None or len(rows) <= limit:
            return ImagePage(rows, None)
        return ImagePage(rows[:limit], str(rows[limit - 1].seq))


def blob_values(sha256: str, data: bytes, facts: ImageFacts) -> dict[str, Any]:
    """The columns of a blob."""
    return {
        "sha256": sha256,
        "bytes": len(data),
        "width": facts.width,
        "height": facts.height,
        "extension": facts.extension,
    }


def add_row(
    transaction: Transaction,
    training_set: int,
    label_seq: int,
    label: str,
    blob: dict[str, Any],
    original_filename: str,
) -> ImageRow:
    """A new image of a blob that is there, under a label that has it not."""
    values = {
        **blob,
        "id": validation.new_id(),
        "training_set_id": training_set,
        "original_filename": original_filename,
        "created_at": validation.now(),
    }
    seq = _INSERT(transaction.connection, **values, label_seq=label_seq).scalar_one()
    transaction.changed.add(training_set)
    return ImageRow(seq=seq, label=label, **values)


def put_under(transaction: Transaction, training_set: int, label_seq: int, sha256: str) -> tuple[ImageRow | None, bool]:
    """Have the set's images with this content under one label only; that image, and whether the label has gained it.

    None when the set has no such image at all.
    """
    query = select(*_FOUND).where(images.c.sha256 == sha256, images.c.training_set_id == training_set)
    found = [ImageLocation(*row) for row in transaction.execute(query)]
    found.sort(key=lambda row: (row.label_seq != label_seq, row.seq))
    if not found:
        return None, True
    gained = found[0].label_seq != label_seq
    if gained:
        transaction.execute(update(images).where(images.c.seq == found[0].seq).values(label_seq=label_seq))
        transaction.changed.add(training_set)
    drop(transaction, training_set, found[1:])
    return _row(transaction.connection, found[0].seq), gained


def drop(transaction: Transaction, training_set: int, found: Sequence[ImageLocation]) -> None:
    """Delete images of a training set."""
    for start in range(0, len(found), IN_QUERY):
        batch = found[start : start + IN_QUERY]
        transaction.execute(delete(images).where(images.c.seq.in_([row.seq for row in batch])))
    transaction.released.update(row.sha256 for row in found)
    if found:
        transaction.changed.add(training_set)


def _look(
    connection: Connection, owner: int, number: int | None, label: str, sha256: str
) -> tuple[int | None, str | None, int | None]:
    """Row number of a label by its name, the blob, and the row number of the image, each None when it is not there.

    Raises NotFound for the training set. One query, since every upload asks it.
    """
    if number is not None:
        row = _LOOK(connection, number=number, owner=owner, label=label, sha256=sha256).first()
        if row is not None:
            return row[0], row[1], row[2]
    raise RecordNotFound(NO_SUCH_SET)


def _find(
    connection: Connection, owner: int, image_ids: Sequence[str], training_set: int | None = None
) -> list[ImageLocation]:
    """In the order of the ids. Raises NotFound for any that is not there."""
    digits = [validation.hex_id(each, "ti_") or "" for each in image_ids]
    found: dict[str, ImageLocation] = {}
    for start in range(0, len(digits), IN_QUERY):
        query = (
            select(*_FOUND)
            .join(training_sets, training_sets.c.id == images.c.training_set_id)
            .where(images.c.id.in_(digits[start : start + IN_QUERY]), training_sets.c.owner_id == owner)
        )
        if training_set is not None:
            query = query.where(images.c.training_set_id == training_set)
        found.update((row[1], ImageLocation(*row)) for row in connection.execute(query))
    absent = sum(each not in found for each in digits)
    if absent and len(digits) == 1:
        raise RecordNotFound(NO_SUCH_IMAGE)
    if absent:
        raise RecordNotFound(
            f"{absent:,} of the {len(digits):,} images are not in this training set, so nothing was changed. "
            "They may have been deleted."
        )
    return [found[each] for each in digits]


def _move(transaction: Transaction, training_set: int, found: Sequence[ImageLocation], label: str) -> list[ImageRow]:
    label_seq, _ = label_for(transaction, training_set, label)
    there = _with_content(transaction.connection, label_seq, {row.sha256 for row in found})
    moved: list[int] = []
    doubled: dict[int, ImageLocation] = {}
    final: list[int] = []
    for row in found:
        seq = there.setdefault(row.sha256, row.seq)
        if seq != row.seq:
            doubled[row.seq] = row
        elif row.label_seq != label_seq:
            moved.append(seq)
        final.append(seq)
    for start in range(0, len(moved), IN_QUERY):
        batch = images.c.seq.in_(moved[start : start + IN_QUERY])
        transaction.execute(update(images).where(batch).values(label_seq=label_seq))
    drop(transaction, training_set, list(doubled.values()))
    if moved:
        transaction.changed.add(training_set)
    rows = {row.seq: row for row in _by_seq(transaction.connection, list(set(final)))}
    return [rows[seq] for seq in final]


def _with_content(connection: Connection, label_seq: int, sha256s: set[str]) -> dict[str, int]:
    """The images of a label that have one of these contents: row number by sha256."""
    found: dict[str, int] = {}
    wanted = list(sha256s)
    for start in range(0, len(wanted), IN_QUERY):
        query = select(images.c.sha256, images.c.seq).where(
            images.c.label_seq == label_seq, images.c.sha256.in_(wanted[start : start + IN_QUERY])
        )
        found.update((row[0], row[1]) for row in connection.execute(query))
    return found


def _position(connection: Connection, owner: int, after: str) -> int:
    number = validation.number(after)
    if number is not None:
        return number
    if validation.hex_id(after, "ti_") is None:
        raise Invalid("“after” is neither the “next” of a page nor the id of an image.")
    return int(_find(connection, owner, [after])[0].seq)


INSERT_BLOB = PreparedStatement(blobs.insert(), [column.name for column in blobs.columns])
_INSERT = PreparedStatement(
    images.insert().returning(images.c.seq), [column.name for column in images.columns if column.name != "seq"]
)
_LOOK = PreparedStatement(
    select(labels.c.seq, blobs.c.sha256, images.c.seq)
    .select_from(training_sets)
    .outerjoin(labels, (labels.c.training_set_id == training_sets.c.id) & (labels.c.name == bindparam("label")))
    .outerjoin(blobs, blobs.c.sha256 == bindparam("sha256"))
    .outerjoin(images, (images.c.sha256 == blobs.c.sha256) & (images.c.label_seq == labels.c.seq))
    .where(training_sets.c.id == bindparam("number"), training_sets.c.owner_id == bindparam("owner"))
)
_FOUND = tuple(images.c[name] for name in ImageLocation._fields)
_ROWS = select(
    *(labels.c.name if name == "label" else images.c[name] for name in ImageRow.__struct_fields__)
).join_from(images, labels, labels.c.seq == images.c.label_seq)


def _image_rows(connection: Connection, query: Select[Any]) -> list[ImageRow]:
    return [ImageRow(*row) for row in raw(connection, query)]


def _by_seq(connection: Connection, seqs: list[int]) -> list[ImageRow]:
    rows: list[ImageRow] = []
    for start in range(0, len(seqs), IN_QUERY):
        rows += _image_rows(connection, _ROWS.where(images.c.seq.in_(seqs[start : start + IN_QUERY])))
    return rows


_ROW = PreparedStatement(_ROWS.where(images.c.seq == bindparam("seq")))


_OWNED = PreparedStatement(
    _ROWS.join(training_sets, training_sets.c.id == images.c.training_set_id).where(
        images.c.id == bindparam("id"), training_sets.c.owner_id == bindparam("owner")
    )
)


def _row(connection: Connection, seq: int) -> ImageRow:
    return ImageRow(*_ROW(connection, seq=seq).one())
