"""Repository of training images."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.exc import NoResultFound

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import (
    IN_QUERY,
    NO_SUCH_IMAGE,
    NO_SUCH_SET,
    Repository,
    create_label_row,
    delete_images,
    existing_label,
    find_or_create_label,
    find_set_id,
    raw,
)
from apitorch_desktop.service.storage.blobs import Blobs, Staged
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import BeingRemoved, Invalid, RecordNotFound
from apitorch_desktop.service.storage.records import ImageFacts, ImagePage, ImageRow, ImageTuple
from apitorch_desktop.service.storage.schema import (
    Removal,
    blobs,
    images,
    labels,
    released,
    training_sets,
)
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction, Writer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_REMOVAL_PATIENCE = 10.0  # seconds


class ImageLocation(NamedTuple):
    """The columns of an image that a change needs."""

    seq: int
    id: str
    training_set_id: int
    label_seq: int
    sha256: str


class ImageRepository(Repository):
    """Training images. Thread-safe; a change is durable when its method returns.

    An image id is accepted with and without `ti_`; an invalid id and one of another owner raise RecordNotFound.
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
        split: str = "",
    ) -> tuple[ImageRow, bool]:
        """Store an image under a label, which is created when new; return its row and whether the label gained it.

        The same bytes under the same label are one image, which takes `split` if it has none: its row is returned, and
        False; where they are not stored as they came, they are now. `data` must have been verified. Raises RecordNotFound,
        Invalid, DiskFull, StorageFault, and then stores nothing.
        """
        name, number = validation.label(label), validation.number(training_set_id)
        sha256 = hashlib.sha256(data).hexdigest()
        values = blob_values(sha256, data, facts)
        original_filename = validation.filename(original_filename)

        def run(transaction: Transaction, restaged: bool) -> tuple[ImageRow, bool]:
            if transaction.shared:
                given = {**values, "split": split, "restaged": restaged}
                return _add_in_one_statement(transaction, owner, number, name, given, original_filename)
            label_seq, blob, image = _lookup(transaction.connection, owner, number, name, sha256)
            if image is not None:
                return _with_split(transaction, number or 0, image, split), False
            if label_seq is None:
                label_seq = create_label_row(transaction, number or 0, name)[0]
            if blob is None:
                ENSURE_BLOB(transaction.connection, **values)
            return insert_image(transaction, number or 0, label_seq, name, values, original_filename, split), True

        with self._database.querying() as connection:
            image = _lookup(connection, owner, number, name, sha256)[2]
        whole = image is not None and sha256 not in self._blobs.damaged and self._blobs.has(sha256, data)
        if image is not None and whole:
            with suppress(NoResultFound), self._database.querying() as connection:  # it may be deleted by now
                row = _row(connection, image)
                if row.split or not split:
                    return row, False
        staged = self._blobs.stage(sha256, data)
        if image is not None and not whole:
            staged.repairs = True
            _log.warning("the stored image %s was damaged or gone, and is replaced by an upload", sha256)
        return run_staged(self._database, self._writer, self._blobs, staged, run, number)

    def get(self, owner: int, image_id: str) -> ImageRow:
        """Return one image. Raises RecordNotFound."""
        with self._database.querying() as connection:
            row = _SELECT_OWNED(connection, id=validation.hex_id(image_id, "ti_") or "", owner=owner).first()
        if row is None:
            raise RecordNotFound(NO_SUCH_IMAGE)
        return ImageRow(*row)

    def move(self, owner: int, image_id: str, label: str) -> ImageRow:
        """Move an image to another label of its training set, created when new.

        Where that label has the same bytes already, the two become one: the older row is returned. Raises
        RecordNotFound, Invalid.
        """

        def run(transaction: Transaction) -> ImageRow:
            location = _lock_image(transaction, owner, image_id)
            return _move(transaction, location.training_set_id, [location], label)[0]

        return self._writer.run(run)

    def move_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str], label: str) -> list[ImageRow]:
        """Move many images, all or none; return a row for each id in the order given."""

        def run(transaction: Transaction) -> list[ImageRow]:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            locations = _find(transaction.connection, owner, image_ids, number)
            return _move(transaction, number, locations, label)

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def set_split(self, owner: int, training_set_id: int | str, image_ids: Sequence[str], split: str) -> list[ImageRow]:
        """Set the split of many images, "" for none, all or none; return a row for each id in the order given.

        Raises RecordNotFound.
        """

        def run(transaction: Transaction) -> list[ImageRow]:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            seqs = [row.seq for row in _find(transaction.connection, owner, image_ids, number)]
            for start in range(0, len(seqs), IN_QUERY):
                batch = images.c.seq.in_(seqs[start : start + IN_QUERY]) & (images.c.split != split)
                if transaction.execute(update(images).where(batch).values(split=split)).rowcount:
                    transaction.changed_sets.add(number)
            rows = {row.seq: row for row in rows_by_seq(transaction.connection, list(set(seqs)))}
            return [rows[seq] for seq in seqs]

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def delete(self, owner: int, image_id: str) -> ImageRow:
        """Delete an image; return its row. Raises RecordNotFound."""

        def run(transaction: Transaction) -> ImageRow:
            location = _lock_image(transaction, owner, image_id)
            row = _row(transaction.connection, location.seq)
            delete_rows(transaction, location.training_set_id, [location])
            return row

        return self._writer.run(run, frees_space=True)

    def delete_many(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> int:
        """Delete many images of one training set, all or none; return how many. Raises RecordNotFound."""

        def run(transaction: Transaction) -> int:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            locations = {row.seq: row for row in _find(transaction.connection, owner, image_ids, number)}
            delete_rows(transaction, number, list(locations.values()))
            return len(locations)

        return self._writer.run(run, frees_space=True, training_set=validation.number(training_set_id))

    def some(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> list[ImageRow]:
        """Return those of the images that are in the training set, in any order.

        Raises RecordNotFound for the training set, for an invalid id, and where none of the images exists.
        """
        digits = list({validation.hex_id(each, "ti_") or "" for each in image_ids})
        rows: list[ImageRow] = []
        with self._database.querying() as connection:
            number = find_set_id(connection, owner, training_set_id)
            for start in range(0, len(digits), IN_QUERY):
                query = ROWS.where(
                    images.c.id.in_(digits[start : start + IN_QUERY]), images.c.training_set_id == number
                )
                rows += image_rows(connection, query)
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
        """Return images in the order of arrival, of one label (name or id) or of all; without `limit`, all of them.

        `after` is the `next` of a page, or an image id. New images are at the end; deleted and moved ones shift nothing.
        Raises RecordNotFound (also for the label), Invalid for an invalid `after`.
        """
        if limit is not None and limit < 1:
            raise Invalid("The limit must be at least 1.")
        with self._database.querying() as connection:
            query = _LISTED.order_by(images.c.seq)
            if label is None:
                number = validation.number(training_set_id)
                owned = select(training_sets.c.id).where(
                    training_sets.c.id == number, training_sets.c.owner_id == owner
                )
                query = query.where(images.c.training_set_id == owned.scalar_subquery())
            else:
                number = find_set_id(connection, owner, training_set_id)
                query = query.where(images.c.label_seq == existing_label(connection, number, label)[0])
            if after is not None:
                query = query.where(images.c.seq > _position(connection, owner, after))
            if limit is not None:
                query = query.limit(min(limit, 2**31) + 1)
            rows: list[ImageTuple] = list(raw(connection, query))
            if not rows or number is None:  # no image, or no such training set
                number = find_set_id(connection, owner, training_set_id)
        if limit is None or len(rows) <= limit:
            return ImagePage(number, rows, None)
        return ImagePage(number, rows[:limit], str(rows[limit - 1][0]))


def blob_values(sha256: str, data: bytes, facts: ImageFacts) -> dict[str, Any]:
    """Return the column values of a blob."""
    return {
        "sha256": sha256,
        "bytes": len(data),
        "width": facts.width,
        "height": facts.height,
        "extension": facts.extension,
    }


def run_staged(
    database: Database,
    writer: Writer,
    stored: Blobs,
    staged: Staged,
    run: Callable[[Transaction, bool], _T],
    training_set: int | None = None,
) -> _T:
    """Run an operation that refers to staged bytes; its second argument is whether they were staged again.

    That is so after it raised BeingRemoved, and the removal of the same image has ended. Raises StoreError.
    """
    sha256, data = staged.sha256, staged.data
    try:
        return writer.run(lambda transaction: run(transaction, False), staged, training_set=training_set)
    except BeingRemoved:
        end = time.monotonic() + _REMOVAL_PATIENCE
        query = select(released.c.sha256).where(released.c.sha256 == sha256, released.c.state == Removal.UNDER_WAY)
        while True:
            with database.querying() as connection:
                if connection.execute(query).first() is None:
                    break
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    staged = stored.stage(sha256, data)
    return writer.run(lambda transaction: run(transaction, True), staged, training_set=training_set)


def check_not_removed(transaction: Transaction, sha256: str, *, restaged: bool) -> None:
    """In PostgreSQL, keep the sweep from removing a blob until the end of the transaction. Raises BeingRemoved."""
    if transaction.shared:
        query = select(released.c.state).where(released.c.sha256 == sha256).with_for_update(read=True)
        _check_state(transaction, sha256, transaction.execute(query).scalar(), restaged=restaged)


def _check_state(transaction: Transaction, sha256: str, state: int | None, *, restaged: bool) -> None:
    if state == Removal.UNDER_WAY or (state == Removal.DONE and not restaged):
        raise BeingRemoved("The same image is being removed. Try again in a moment.")
    if state == Removal.DONE:
        transaction.execute(delete(released).where(released.c.sha256 == sha256))


def _lock_image(transaction: Transaction, owner: int, image_id: str) -> ImageLocation:
    """Return an image whose training set no other process changes until the end. Raises RecordNotFound."""
    location = _find(transaction.connection, owner, [image_id])[0]
    if transaction.shared:
        find_set_id(transaction.connection, owner, location.training_set_id, lock=True)
        location = _find(transaction.connection, owner, [image_id])[0]
    return location


def insert_image(
    transaction: Transaction,
    training_set: int,
    label_seq: int,
    label: str,
    blob: dict[str, Any],
    original_filename: str,
    split: str = "",
) -> ImageRow:
    """Insert an image of an existing blob under a label that does not have it.

    In the inbox it changes nothing that is learned: it is to be encoded, but no revision to be trained.
    """
    values = {
        **blob,
        "id": validation.new_id(),
        "training_set_id": training_set,
        "original_filename": original_filename,
        "created_at": validation.now(),
        "split": split,
    }
    seq = _INSERT_IMAGE(transaction.connection, **values, label_seq=label_seq).scalar_one()
    (transaction.noticed_sets if label == INBOX else transaction.changed_sets).add(training_set)
    return ImageRow(seq=seq, label=label, **values)


def assign_label(
    transaction: Transaction, training_set: int, label_seq: int, sha256: str
) -> tuple[ImageRow | None, bool]:
    """Keep the set's images with this content under one label only; return the image, and whether the label gained it.

    The image is None if the set has none with this content.
    """
    query = select(*_LOCATION_COLUMNS).where(images.c.sha256 == sha256, images.c.training_set_id == training_set)
    locations = [ImageLocation(*row) for row in transaction.execute(query)]
    locations.sort(key=lambda row: (row.label_seq != label_seq, row.seq))
    if not locations:
        return None, True
    gained = locations[0].label_seq != label_seq
    if gained:
        transaction.execute(update(images).where(images.c.seq == locations[0].seq).values(label_seq=label_seq))
        transaction.changed_sets.add(training_set)
    delete_rows(transaction, training_set, locations[1:])
    return _row(transaction.connection, locations[0].seq), gained


def delete_rows(transaction: Transaction, training_set: int, locations: Sequence[ImageLocation]) -> None:
    """Delete images of a training set."""
    for start in range(0, len(locations), IN_QUERY):
        batch = locations[start : start + IN_QUERY]
        delete_images(transaction, images.c.seq.in_([row.seq for row in batch]))
    if locations:
        transaction.changed_sets.add(training_set)


def _with_split(transaction: Transaction, training_set: int, image: int, split: str) -> ImageRow:
    """Return an image, which takes `split` if it has none."""
    if split:
        unsplit = (images.c.seq == image) & (images.c.split == "")
        if transaction.execute(update(images).where(unsplit).values(split=split)).rowcount:
            transaction.changed_sets.add(training_set)
    return _row(transaction.connection, image)


def _add_in_one_statement(
    transaction: Transaction,
    owner: int,
    number: int | None,
    label: str,
    facts: dict[str, Any],
    original_filename: str,
) -> tuple[ImageRow, bool]:
    """Do in PostgreSQL what `add` does, also increment the revision, in one round trip to the server.

    `facts` are the values of the blob, the split, and whether it was staged again.

    Raises RecordNotFound for the training set, BeingRemoved for the blob.
    """
    values = {
        **facts,
        "id": validation.new_id(),
        "original_filename": original_filename,
        "created_at": validation.now(),
    }
    given = {"number": number, "owner": owner, "label": label, "label_id": "tl_" + validation.new_id(), "inbox": INBOX}
    found = None
    if number is not None:
        found = transaction.execute(_ADD_IMAGE, {**values, **given}).one()
    if number is None or found is None or found.training_set is None:
        raise RecordNotFound(NO_SUCH_SET)
    _check_state(transaction, values["sha256"], found.removed, restaged=values["restaged"])
    del values["restaged"]
    if found.existing is not None:
        return _with_split(transaction, number, found.existing, values["split"]), False
    if label == INBOX:
        transaction.noticed_sets.add(number)
    else:
        transaction.changed_sets.add(number)
        transaction.revised_sets.add(number)
    return ImageRow(seq=found.added, label=label, training_set_id=number, **values), True


_ADD_IMAGE = text(
    """
    WITH target AS (
        SELECT training_sets.id, labels.seq AS label_seq FROM training_sets
        LEFT JOIN labels ON labels.training_set_id = training_sets.id AND labels.name = :label
        WHERE training_sets.id = :number AND training_sets.owner_id = :owner
        FOR NO KEY UPDATE OF training_sets
    ), removed AS (
        SELECT released.state FROM released WHERE released.sha256 = :sha256 FOR SHARE
    ), new_label AS (
        INSERT INTO labels (id, training_set_id, name)
        SELECT :label_id, target.id, :label FROM target WHERE target.label_seq IS NULL
        RETURNING seq
    ), label AS (
        SELECT label_seq AS seq FROM target WHERE label_seq IS NOT NULL UNION ALL SELECT seq FROM new_label
    ), new_blob AS (
        INSERT INTO blobs (sha256, bytes, width, height, extension)
        SELECT :sha256, :bytes, :width, :height, :extension FROM target
        ON CONFLICT (sha256) DO NOTHING
    ), existing AS (
        SELECT images.seq FROM images JOIN label ON images.label_seq = label.seq WHERE images.sha256 = :sha256
    ), added AS (
        INSERT INTO images (
            id, training_set_id, label_seq, sha256, extension, width, height, bytes, original_filename, created_at, split
        )
        SELECT :id, target.id, label.seq, :sha256, :extension, :width, :height, :bytes, :original_filename, :created_at,
            :split
        FROM target CROSS JOIN label WHERE NOT EXISTS (SELECT FROM existing)
            AND NOT EXISTS (SELECT FROM removed WHERE state = 1 OR (state = 2 AND NOT :restaged))
        RETURNING seq
    ), revised AS (
        UPDATE training_sets SET revision = revision + 1
        WHERE id IN (SELECT id FROM target) AND EXISTS (SELECT FROM added) AND :label <> :inbox
    )
    SELECT (SELECT id FROM target) AS training_set, (SELECT seq FROM existing) AS existing, (SELECT seq FROM added) AS added,
        (SELECT state FROM removed) AS removed
    """
).bindparams(
    *(bindparam(name, type_=Text()) for name in ("label", "label_id", "inbox", "sha256", "extension", "id")),
    *(bindparam(name, type_=Text()) for name in ("original_filename", "created_at", "split")),
    *(bindparam(name, type_=BigInteger()) for name in ("number", "owner", "bytes")),
    *(bindparam(name, type_=Integer()) for name in ("width", "height")),
    bindparam("restaged", type_=Boolean()),
)
"""All of an upload. Its parts see the tables as they were before, so only `RETURNING` passes on what is new.

The row of the training set is locked before the image gets its number. A label or an image that another process made
while this one waited for the lock is a conflict, which the writer resolves by repeating it.
"""


def _lookup(
    connection: Connection, owner: int, number: int | None, label: str, sha256: str
) -> tuple[int | None, str | None, int | None]:
    """Return the row number of a label, the blob, and the row number of the image, each None if it does not exist.

    Raises RecordNotFound for the training set. One query, since every upload runs it.
    """
    if number is not None:
        row = _LOOKUP(connection, number=number, owner=owner, label=label, sha256=sha256).first()
        if row is not None:
            return row[0], row[1], row[2]
    raise RecordNotFound(NO_SUCH_SET)


def _find(
    connection: Connection, owner: int, image_ids: Sequence[str], training_set: int | None = None
) -> list[ImageLocation]:
    """Return the images in the order of the ids. Raises RecordNotFound if any does not exist."""
    digits = [validation.hex_id(each, "ti_") or "" for each in image_ids]
    locations: dict[str, ImageLocation] = {}
    for start in range(0, len(digits), IN_QUERY):
        query = (
            select(*_LOCATION_COLUMNS)
            .join(training_sets, training_sets.c.id == images.c.training_set_id)
            .where(images.c.id.in_(digits[start : start + IN_QUERY]), training_sets.c.owner_id == owner)
        )
        if training_set is not None:
            query = query.where(images.c.training_set_id == training_set)
        locations.update((row[1], ImageLocation(*row)) for row in connection.execute(query))
    absent = sum(each not in locations for each in digits)
    if absent and len(digits) == 1:
        raise RecordNotFound(NO_SUCH_IMAGE)
    if absent:
        raise RecordNotFound(
            f"{absent:,} of the {len(digits):,} images are not in this training set, so nothing was changed. "
            "They may have been deleted."
        )
    return [locations[each] for each in digits]


def _move(
    transaction: Transaction, training_set: int, locations: Sequence[ImageLocation], label: str
) -> list[ImageRow]:
    label_seq, _ = find_or_create_label(transaction, training_set, label)
    existing = with_content(transaction.connection, label_seq, {row.sha256 for row in locations})
    moved: list[int] = []
    duplicates: dict[int, ImageLocation] = {}
    result: list[int] = []
    for row in locations:
        seq = existing.setdefault(row.sha256, row.seq)
        if seq != row.seq:
            duplicates[row.seq] = row
        elif row.label_seq != label_seq:
            moved.append(seq)
        result.append(seq)
    for start in range(0, len(moved), IN_QUERY):
        batch = images.c.seq.in_(moved[start : start + IN_QUERY])
        transaction.execute(update(images).where(batch).values(label_seq=label_seq))
    delete_rows(transaction, training_set, list(duplicates.values()))
    if moved:
        transaction.changed_sets.add(training_set)
    rows = {row.seq: row for row in rows_by_seq(transaction.connection, list(set(result)))}
    return [rows[seq] for seq in result]


def with_content(connection: Connection, label_seq: int, sha256s: set[str]) -> dict[str, int]:
    """Return the images of a label with one of these contents: row number by sha256."""
    locations: dict[str, int] = {}
    wanted = list(sha256s)
    for start in range(0, len(wanted), IN_QUERY):
        query = select(images.c.sha256, images.c.seq).where(
            images.c.label_seq == label_seq, images.c.sha256.in_(wanted[start : start + IN_QUERY])
        )
        locations.update((row[0], row[1]) for row in connection.execute(query))
    return locations


def _position(connection: Connection, owner: int, after: str) -> int:
    number = validation.number(after)
    if number is not None:
        return number
    if validation.hex_id(after, "ti_") is None:
        raise Invalid("“after” is neither the “next” of a page nor the id of an image.")
    return int(_find(connection, owner, [after])[0].seq)


ENSURE_BLOB = PreparedStatement(
    text(  # SQLite and PostgreSQL share this clause; SQLAlchemy has one of its own for each
        "INSERT INTO blobs (sha256, bytes, width, height, extension) "
        "VALUES (:sha256, :bytes, :width, :height, :extension) ON CONFLICT (sha256) DO NOTHING"
    )
)
_INSERT_IMAGE = PreparedStatement(
    images.insert().returning(images.c.seq), [column.name for column in images.columns if column.name != "seq"]
)
_LOOKUP = PreparedStatement(
    select(labels.c.seq, blobs.c.sha256, images.c.seq)
    .select_from(training_sets)
    .outerjoin(labels, (labels.c.training_set_id == training_sets.c.id) & (labels.c.name == bindparam("label")))
    .outerjoin(blobs, blobs.c.sha256 == bindparam("sha256"))
    .outerjoin(images, (images.c.sha256 == blobs.c.sha256) & (images.c.label_seq == labels.c.seq))
    .where(training_sets.c.id == bindparam("number"), training_sets.c.owner_id == bindparam("owner"))
)
_LOCATION_COLUMNS = tuple(images.c[name] for name in ImageLocation._fields)
ROWS = select(*(labels.c.name if name == "label" else images.c[name] for name in ImageRow.__struct_fields__)).join_from(
    images, labels, labels.c.seq == images.c.label_seq
)
_LISTED = ROWS.with_only_columns(*(each for each in ROWS.selected_columns if each.name != "training_set_id"))


def image_rows(connection: Connection, query: Select[Any]) -> list[ImageRow]:
    """Return the images of a query that begins with `ROWS`."""
    return [ImageRow(*row) for row in raw(connection, query)]


def rows_by_seq(connection: Connection, seqs: list[int]) -> list[ImageRow]:
    """Return images by their row numbers, in any order."""
    rows: list[ImageRow] = []
    for start in range(0, len(seqs), IN_QUERY):
        rows += image_rows(connection, ROWS.where(images.c.seq.in_(seqs[start : start + IN_QUERY])))
    return rows


_SELECT_ONE = PreparedStatement(ROWS.where(images.c.seq == bindparam("seq")))


_SELECT_OWNED = PreparedStatement(
    ROWS.join(training_sets, training_sets.c.id == images.c.training_set_id).where(
        images.c.id == bindparam("id"), training_sets.c.owner_id == bindparam("owner")
    )
)


def _row(connection: Connection, seq: int) -> ImageRow:
    return ImageRow(*_SELECT_ONE(connection, seq=seq).one())
