"""Repository of classifications and feedback."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import Repository, find_or_create_label, find_set_id, insert
from apitorch_desktop.service.storage.blobs import Blobs, Staged
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import Invalid, RecordNotFound
from apitorch_desktop.service.storage.images import (
    ENSURE_BLOB,
    assign_label,
    blob_values,
    check_not_removed,
    insert_image,
    run_staged,
)
from apitorch_desktop.service.storage.records import (
    ClassificationRow,
    FeedbackRow,
    ImageFacts,
    ImageRow,
    NewClassification,
)
from apitorch_desktop.service.storage.schema import blobs, classifications, feedback
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction, Writer

KEPT_CLASSIFICATIONS = 10_000
KEPT_DAYS = 30
_CLEANUP_INTERVAL = 200


class ClassificationRepository(Repository):
    """Stored classifications and feedback. Thread-safe; a change is durable when its method returns.

    The newest 10,000 classifications of the last 30 days are stored with their images, for feedback. Ids are accepted
    with and without `cls_`.
    """

    def __init__(self, database: Database, writer: Writer, stored: Blobs, capacity: int = KEPT_CLASSIFICATIONS) -> None:
        super().__init__(database, writer)
        self._blobs = stored
        self._capacity = capacity
        self._since_cleanup = 0

    def stage(self, data: bytes) -> Staged:
        """Write the bytes of an image for `put` or `discard`. Raises DiskFull, StorageFault.

        This is the slowest part of `put`; it may run while the image is classified.
        """
        return self._blobs.stage_soon(hashlib.sha256(data).hexdigest(), data)

    def discard(self, staged: Staged) -> None:
        """Drop what was staged and will not be `put`."""
        self._blobs.discard(staged)

    def put(
        self,
        owner: int,
        image: bytes | Staged,
        facts: ImageFacts,
        answers: Sequence[NewClassification],
        original_filename: str = "",
    ) -> list[ClassificationRow]:
        """Store the results of one request about one image, with the image. Raises DiskFull, StorageFault."""
        if not answers:
            return []
        staged = self.stage(image) if isinstance(image, bytes) else image
        sha256 = staged.sha256
        values = blob_values(sha256, staged.data, facts)
        call_id, time, name = validation.new_id(), validation.now(), validation.filename(original_filename)
        rows = [
            ClassificationRow(
                id=validation.new_id(),
                owner_id=owner,
                call_id=call_id,
                classifier=answer.classifier,
                label=answer.label,
                confidence=answer.confidence,
                training_set_id=answer.training_set_id,
                version=answer.version,
                sha256=sha256,
                original_filename=name,
                created_at=time,
            )
            for answer in answers
        ]

        def run(transaction: Transaction, restaged: bool) -> None:
            check_not_removed(transaction, sha256, restaged=restaged)
            ENSURE_BLOB(transaction.connection, **values)
            for row in rows:
                _INSERT(transaction.connection, **{field: getattr(row, field) for field in _FIELDS})
            self._since_cleanup += len(rows)
            if self._since_cleanup >= _CLEANUP_INTERVAL and not transaction.shared:  # there the sweep does it
                self._since_cleanup = 0
                _delete_expired(transaction, self._capacity)

        run_staged(self._database, self._writer, self._blobs, staged, run)
        return rows

    def get(self, owner: int, classification_id: str) -> ClassificationRow:
        """Return one classification. Raises RecordNotFound."""
        with self._database.querying() as connection:
            return _get(connection, owner, classification_id)

    def correct(
        self, owner: int, classification_id: str, training_set_id: int | str, label: str
    ) -> tuple[FeedbackRow, ImageRow, bool]:
        """Assign the classified image to a label (name or id) of a training set, and store the feedback, in one
        transaction.

        An image under another label of that set moves. A new label is created. The third result is whether the label
        gained the image. Raises RecordNotFound, Invalid, DiskFull, StorageFault.
        """

        def run(transaction: Transaction) -> tuple[FeedbackRow, ImageRow, bool]:
            answer = _get(transaction.connection, owner, classification_id)
            number = find_set_id(transaction.connection, owner, training_set_id, lock=True)
            label_seq, name = find_or_create_label(transaction, number, label)
            if name == INBOX:
                raise Invalid(f"“{INBOX}” stands for no label: name the label that the image should have had.")
            image, gained = assign_label(transaction, number, label_seq, answer.sha256)
            if image is None:
                stored = transaction.execute(select(blobs).where(blobs.c.sha256 == answer.sha256)).mappings().one()
                image = insert_image(transaction, number, label_seq, name, dict(stored), answer.original_filename)
            row = _feedback(
                owner,
                "classification",
                classification_id=answer.id,
                classifier=answer.classifier,
                predicted=answer.label,
                confidence=answer.confidence,
                version=answer.version,
                training_set_id=number,
                label=name,
                image_id=image.id,
            )
            _insert(transaction, row)
            return row, image, gained

        return self._writer.run(run, training_set=validation.number(training_set_id))

    def put_message(self, owner: int, message: str) -> FeedbackRow:
        """Store a free-form message. Raises Invalid over 100,000 characters."""
        row = _feedback(owner, "freeform", message=validation.text(message, validation.LONGEST_MESSAGE, "The message"))
        self._writer.run(lambda transaction: _insert(transaction, row))
        return row

    def feedback(self, owner: int, *, limit: int | None = None) -> list[FeedbackRow]:
        """Return the feedback, newest first."""
        columns = [feedback.c[field] for field in FeedbackRow.__struct_fields__]
        query = select(*columns).where(feedback.c.owner_id == owner).order_by(feedback.c.seq.desc())
        if limit is not None:
            query = query.limit(max(0, min(limit, 2**31)))
        with self._database.querying() as connection:
            return [FeedbackRow(*row) for row in connection.execute(query)]

    def delete_expired(self) -> None:
        """Delete classifications that are too old or too many, and release their images."""
        self._writer.run(lambda transaction: _delete_expired(transaction, self._capacity), frees_space=True)


_FIELDS = ClassificationRow.__struct_fields__
_INSERT = PreparedStatement(classifications.insert(), list(_FIELDS))


def _get(connection: Connection, owner: int, classification_id: str) -> ClassificationRow:
    digits = validation.hex_id(classification_id, "cls_")
    if digits is not None:
        query = select(*(classifications.c[field] for field in _FIELDS))
        match = and_(classifications.c.id == digits, classifications.c.owner_id == owner)
        row = connection.execute(query.where(match)).first()
        if row is not None:
            return ClassificationRow(*row)
    raise RecordNotFound(
        f"There is no such classification. The newest {KEPT_CLASSIFICATIONS:,} of {KEPT_DAYS} days are kept: "
        "classify the image again."
    )


def _feedback(owner: int, kind: str, **values: Any) -> FeedbackRow:
    return FeedbackRow(id=validation.new_id(), owner_id=owner, kind=kind, created_at=validation.now(), **values)


def _insert(transaction: Transaction, row: FeedbackRow) -> None:
    insert(transaction, feedback, {field: getattr(row, field) for field in FeedbackRow.__struct_fields__})


def _delete_expired(transaction: Transaction, capacity: int) -> None:
    first_kept = (
        select(classifications.c.seq)
        .order_by(classifications.c.seq.desc())
        .offset(capacity - 1)
        .limit(1)
        .scalar_subquery()
    )
    oldest = validation.timestamp(datetime.now(UTC) - timedelta(days=KEPT_DAYS))
    old = or_(classifications.c.seq < first_kept, classifications.c.created_at < oldest)
    transaction.released_images.update(
        transaction.execute(select(classifications.c.sha256).where(old).distinct()).scalars()
    )
    transaction.execute(delete(classifications).where(old))
