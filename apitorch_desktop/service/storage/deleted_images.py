"""Repository of deleted images, which their owner may restore for a day."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, Select, delete, select

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import (
    IN_QUERY,
    NO_SUCH_IMAGE,
    Repository,
    find_or_create_label,
    find_set_id,
)
from apitorch_desktop.service.storage.blobs import Blobs
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.images import rows_by_seq, with_content
from apitorch_desktop.service.storage.records import ImageRow
from apitorch_desktop.service.storage.schema import Removal, blobs, deleted_images, images, released
from apitorch_desktop.service.storage.writer import Transaction, Writer

RESTORABLE = timedelta(days=1)
"""How long a deleted image may be restored: as long as its bytes are kept in PostgreSQL at least."""


class DeletedImageRepository(Repository):
    """Images that were deleted within a day; `base.delete_images` notes them. Thread-safe."""

    def __init__(self, database: Database, writer: Writer, stored: Blobs) -> None:
        super().__init__(database, writer)
        self._blobs = stored

    def restore(self, owner: int, training_set_id: int | str, image_ids: Sequence[str]) -> list[ImageRow | None]:
        """Bring back deleted images of this owner, with their ids, under the labels they had; return a row for each id in
        the order given.

        None for one that is not known any more, or whose bytes are gone. An image that is in the training set (again)
        stays as it is; where its label has the same bytes already, that image is returned. Raises RecordNotFound for the
        training set and for an invalid id, DiskFull.
        """
        digits = [validation.hex_id(each, "ti_") or "" for each in image_ids]
        if "" in digits:
            raise RecordNotFound(NO_SUCH_IMAGE)

        def run(transaction: Transaction) -> list[ImageRow | None]:
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            found = self._restore(transaction, owner, number, list(dict.fromkeys(digits)))
            rows = {row.seq: row for row in rows_by_seq(transaction.connection, list(set(found.values())))}
            return [rows[found[each]] if each in found else None for each in digits]

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def _restore(self, transaction: Transaction, owner: int, number: int, wanted: list[str]) -> dict[str, int]:
        """Return the row numbers of images by id, of those that are there and of those that are restored."""
        found: dict[str, int] = {}
        elsewhere: set[str] = set()
        for row in _batched(
            transaction, select(images.c.id, images.c.seq, images.c.training_set_id), images.c.id, wanted
        ):
            if row.training_set_id == number:
                found[row.id] = row.seq
            else:
                elsewhere.add(row.id)
        absent = [each for each in wanted if each not in found and each not in elsewhere]
        query = select(deleted_images).where(deleted_images.c.owner_id == owner)
        gone = {row.id: row for row in _batched(transaction, query, deleted_images.c.id, absent)}
        stored = self._stored(transaction, {row.sha256 for row in gone.values()})
        by_label: dict[str, list[Any]] = {}
        for each in absent:
            if each in gone and gone[each].sha256 in stored:
                by_label.setdefault(gone[each].label, []).append(gone[each])
        for label, rows in by_label.items():
            found |= _restore_under(transaction, number, label, rows, stored)
        return found

    def _stored(self, transaction: Transaction, sha256s: set[str]) -> dict[str, dict[str, Any]]:
        """Return the blobs that are kept at least until the end of the transaction, by their hash."""
        wanted = sorted(sha256s)  # in one order, so that processes do not block each other
        if transaction.shared:
            query = select(released).order_by(released.c.sha256).with_for_update(read=True)
            states = {row.sha256: row.state for row in _batched(transaction, query, released.c.sha256, wanted)}
            wanted = [each for each in wanted if states.get(each, Removal.DUE) == Removal.DUE]
        kept = _batched(transaction, select(blobs), blobs.c.sha256, wanted)
        return {row.sha256: dict(row._mapping) for row in kept if self._blobs.seems_whole(row.sha256)}

    def forget(self, owner: int | None = None) -> int:
        """Forget deleted images, so that they cannot be restored: all of one owner, or of all those of over a day ago.

        Returns how many. In SQLite their bytes are deleted; in PostgreSQL the sweep does that a day after the deletion.
        """
        oldest = validation.ago(RESTORABLE)
        chosen = deleted_images.c.deleted_at < oldest if owner is None else deleted_images.c.owner_id == owner

        def run(transaction: Transaction) -> int:
            forgotten = delete(deleted_images).where(chosen).returning(deleted_images.c.sha256)
            sha256s = transaction.execute(forgotten).scalars().all()
            if not transaction.shared:  # there they are registered since they were deleted
                transaction.released_images.update(sha256s)
            return len(sha256s)

        return self._writer.run(run, frees_space=True)


def _restore_under(
    transaction: Transaction, training_set: int, label: str, deleted: Sequence[Any], stored: dict[str, dict[str, Any]]
) -> dict[str, int]:
    """Insert deleted images, rows of `deleted_images`, under a label; return their row numbers by id.

    For one whose bytes the label has, that of the image that has them.
    """
    label_seq, _ = find_or_create_label(transaction, training_set, label)
    existing = with_content(transaction.connection, label_seq, {row.sha256 for row in deleted})
    new: dict[str, str] = {}
    rows = []
    for row in deleted:
        if row.sha256 not in existing and new.setdefault(row.sha256, row.id) == row.id:
            values = {name: getattr(row, name) for name in ("id", "original_filename", "split", "created_at")}
            rows.append({**stored[row.sha256], **values, "training_set_id": training_set, "label_seq": label_seq})
    if rows:
        transaction.execute(images.insert(), rows)
        (transaction.noticed_sets if label == INBOX else transaction.changed_sets).add(training_set)
        existing |= with_content(transaction.connection, label_seq, set(new))
    return {row.id: existing[row.sha256] for row in deleted}


def _batched(transaction: Transaction, query: Select[Any], column: Column[Any], values: Sequence[str]) -> Iterable[Any]:
    """Yield the rows of a query where a column has one of many values, batch by batch."""
    for start in range(0, len(values), IN_QUERY):
        yield from transaction.execute(query.where(column.in_(values[start : start + IN_QUERY]))).all()
