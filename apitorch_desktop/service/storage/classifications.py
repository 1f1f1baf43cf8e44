"""Classifications that were given, and the feedback on them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import Repository, insert, label_for, set_number
from apitorch_desktop.service.storage.blobs import Blobs, Staged
from apitorch_desktop.service.storage.database import Database
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.images import add_row, blob_values, put_under
from apitorch_desktop.service.storage.records import (
    ClassificationRow,
    FeedbackRow,
    ImageFacts,
    ImageRow,
    NewClassification,
)
from apitorch_desktop.service.storage.schema import blobs, classifications, feedback
from apitorch_desktop.service.storage.writer import Transaction, Writer

KEPT_CLASSIFICATIONS = 10_000
KEPT_DAYS = 30
_BETWEEN_TRIMS = 200


class ClassificationRepository(Repository):
    """Remembered answers and feedback. Thread-safe; what changes something returns when it is durable.

    The newest 10,000 answers of the last 30 days are kept with their images, so that feedback can use them. Ids are
    accepted with and without `cls_`.
    """

    def __init__(self, database: Database, writer: Writer, stored: Blobs, kept: int = KEPT_CLASSIFICATIONS) -> None:
        super().__init__(database, writer)
        self._blobs = stored
        self._kept = kept
        self._since_trim = 0

    def stage(self, data: bytes) -> Staged:
        """Get the bytes of an image that is being classified to the disk, for `put` or `drop`. Raises StorageFull, StorageFault.

        The longest of what `put` waits for; it may be done while the answer is made.
        """
        staged = self._blobs.stage(hashlib.sha256(data).hexdigest(), data)
        self._blobs.sync(staged)
        return staged

    def drop(self, staged: Staged) -> None:
        """Let go of what will not be `put`."""
        self._blobs.discard(staged)

    def put(
        self,
        owner: int,
        image: bytes | Staged,
        facts: ImageFacts,
        answers: Sequence[NewClassification],
        original_filename: str = "",
    ) -> list[ClassificationRow]:
        """Remember what one call answered about one image, with the image. Raises StorageFull, StorageFault."""
        if not answers:
            return []
        staged = self.stage(image) if isinstance(image, bytes) else image
        sha256 = staged.sha256
        values = blob_values(sha256, staged.data, facts)
        call, time, name = validation.new_id(), validation.now(), validation.filename(original_filename)
        rows = [
            ClassificationRow(
                id=validation.new_id(),
                owner_id=owner,
                call_id=call,
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

        def run(transaction: Transaction) -> None:
            if transaction.execute(select(blobs.c.sha256).where(blobs.c.sha256 == sha256)).first() is None:
                transaction.execute(blobs.insert(), values)
            transaction.execute(
                classifications.insert(), [{field: getattr(row, field) for field in _FIELDS} for row in rows]
            )
            self._since_trim += len(rows)
            if self._since_trim >= _BETWEEN_TRIMS:
                self._since_trim = 0
                _trim(transaction, self._kept)

        self._writer.run(run, staged)
        return rows

    def get(self, owner: int, classification_id: str) -> ClassificationRow:
        """One answer. Raises NotFound."""
        with self._database.reading() as connection:
            return _get(connection, owner, classification_id)

    def correct(
        self, owner: int, classification_id: str, training_set_id: int | str, label: str
    ) -> tuple[FeedbackRow, ImageRow, bool]:
        """Put the classified image under a label (name or id) of a training set, and keep the feedback, in one.

        An image that is under another label of that set already moves. A new label is made. The third answer is
        whether the label has gained the image. Raises NotFound, Invalid, StorageFull, StorageFault.
        """

        def run(transaction: Transaction) -> tuple[FeedbackRow, ImageRow, bool]:
            answer = _get(transaction.connection, owner, classification_id)
            number = set_number(transaction.connection, owner, training_set_id)
            label_seq, name = label_for(transaction, number, label)
            image, gained = put_under(transaction, number, label_seq, answer.sha256)
            if image is None:
                stored = transaction.execute(select(blobs).where(blobs.c.sha256 == answer.sha256)).mappings().one()
                image = add_row(transaction, number, label_seq, name, dict(stored), answer.original_filename)
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

        return self._writer.run(run)

    def put_message(self, owner: int, message: str) -> FeedbackRow:
        """Keep a free-form message. Raises Invalid over 100,000 characters."""
        row = _feedback(owner, "freeform", message=validation.text(message, validation.LONGEST_MESSAGE, "The message"))
        self._writer.run(lambda transaction: _insert(transaction, row))
        return row

    def feedback(self, owner: int, *, limit: int | None = None) -> list[FeedbackRow]:
        """What was sent, newest first."""
        columns = [feedback.c[field] for field in FeedbackRow.__struct_fields__]
        query = select(*columns).where(feedback.c.owner_id == owner).order_by(feedback.c.seq.desc())
        if limit is not None:
            query = query.limit(max(0, min(limit, 2**31)))
        with self._database.reading() as connection:
            return [FeedbackRow(*row) for row in connection.execute(query)]

    def trim(self) -> None:
        """Forget the answers that are too old or too many, and let their images go."""
        self._writer.run(lambda transaction: _trim(transaction, self._kept), frees=True)


_FIELDS = ClassificationRow.__struct_fields__


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


def _trim(transaction: Transaction, kept: int) -> None:
    first_kept = (
        select(classifications.c.seq).order_by(classifications.c.seq.desc()).offset(kept - 1).limit(1).scalar_subquery()
    )
    oldest = validation.timestamp(datetime.now(UTC) - timedelta(days=KEPT_DAYS))
    old = or_(classifications.c.seq < first_kept, classifications.c.created_at < oldest)
    transaction.released.update(transaction.execute(select(classifications.c.sha256).where(old).distinct()).scalars())
    transaction.execute(delete(classifications).where(old))
