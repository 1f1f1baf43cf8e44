"""Repository of embeddings by content, and of the versions of each training set's head."""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from sys import intern
from typing import Any

from sqlalchemy import Column, Connection, Select, delete, exists, func, select, text, update

from apitorch_desktop.api.types import HELD_OUT, INBOX
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import IN_QUERY, NO_SUCH_SET, Repository, lock_set, raw
from apitorch_desktop.service.storage.blobs import in_batches
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import EmbeddingRow, ExampleRow, VersionRow
from apitorch_desktop.service.storage.schema import (
    blobs,
    embeddings,
    images,
    jobs,
    labels,
    meta,
    previews,
    training_sets,
    versions,
)
from apitorch_desktop.service.storage.writer import Transaction

KEPT_VERSIONS = 10


class ModelRepository(Repository):
    """Embeddings and versions, for the trainer: training sets by number, of any owner. Thread-safe."""

    def examples(
        self, training_set_id: int, *, inbox: bool = False, held_out: bool = False
    ) -> tuple[int, list[ExampleRow]]:
        """Return the revision, and the images that are learned, in the order of arrival, in one snapshot.

        With `inbox` also those that have no label, with `held_out` also those of the splits validation and test. Raises
        RecordNotFound.
        """
        query = (
            select(images.c.id, labels.c.name, images.c.sha256, images.c.split)
            .join_from(images, labels, labels.c.seq == images.c.label_seq)
            .where(images.c.training_set_id == training_set_id)
            .order_by(images.c.seq)
        )
        if not inbox:
            query = query.where(labels.c.name != INBOX)
        if not held_out:
            query = query.where(*(images.c.split != split for split in HELD_OUT))
        with self._database.reading() as connection:
            revision = _revision(connection, training_set_id)
            rows = raw(connection, query)  # each label as one text, as there may be a million images
            return revision, [ExampleRow(digits, intern(name), sha, intern(split)) for digits, name, sha, split in rows]

    def missing(self, training_set_id: int, encoder: str) -> list[str]:
        """Return the sha256 of a training set's images without an embedding of this encoder, oldest first, each once."""
        embedded = exists().where(embeddings.c.sha256 == images.c.sha256, embeddings.c.encoder == encoder)
        query = (
            select(images.c.sha256)
            .where(images.c.training_set_id == training_set_id, ~embedded)
            .group_by(images.c.sha256)
            .order_by(func.min(images.c.seq))
        )
        with self._database.querying() as connection:
            return list(connection.execute(query).scalars())

    def embeddings(self, encoder: str, sha256s: Iterable[str]) -> dict[str, EmbeddingRow]:
        """Return the stored embeddings by sha256."""
        found: dict[str, EmbeddingRow] = {}
        columns = select(embeddings.c.sha256, embeddings.c.vector, embeddings.c.unsafe)
        with self._database.querying() as connection:
            for batch in in_batches(sha256s, IN_QUERY):
                query = columns.where(embeddings.c.sha256.in_(batch), embeddings.c.encoder == encoder)
                found.update((row[0], EmbeddingRow(*row)) for row in connection.execute(query))
        return found

    def put_embeddings(self, encoder: str, rows: Sequence[EmbeddingRow]) -> None:
        """Store embeddings; an existing one is replaced, one of a deleted image is dropped."""
        by_content = {row.sha256: row for row in sorted(rows, key=lambda row: row.sha256)}

        def run(transaction: Transaction) -> None:
            for batch in in_batches(by_content, IN_QUERY):
                stored = transaction.execute(select(blobs.c.sha256).where(blobs.c.sha256.in_(batch))).scalars()
                existing = [by_content[sha256] for sha256 in sorted(stored)]
                if existing:
                    transaction.execute(
                        _PUT_EMBEDDING,
                        [
                            {"sha256": row.sha256, "encoder": encoder, "vector": row.vector, "unsafe": row.unsafe}
                            for row in existing
                        ],
                    )

        if by_content:
            self._writer.run(run)

    def purge_embeddings(self, built_in: str) -> int:
        """Remove the embeddings that nothing needs, and return how many; `built_in` is the name of the built-in encoder.

        A training set needs those of its images by the encoder chosen for it, and by that of its current and its newest
        version. Those of the built-in encoder are always kept.
        """
        kept = versions.alias()
        newest = select(func.max(kept.c.version)).where(kept.c.training_set_id == training_sets.c.id)
        in_use = select(versions.c.version).where(
            versions.c.training_set_id == training_sets.c.id,
            versions.c.encoder == embeddings.c.encoder,
            (versions.c.version == training_sets.c.current_version)
            | (versions.c.version == newest.correlate(training_sets).scalar_subquery()),
        )
        needed = (
            select(images.c.seq)
            .join_from(images, training_sets, training_sets.c.id == images.c.training_set_id)
            .where(images.c.sha256 == embeddings.c.sha256)
            .where(
                (training_sets.c.encoder == embeddings.c.encoder) | in_use.correlate(training_sets, embeddings).exists()
            )
            .correlate(embeddings)
            .exists()
        )
        query = select(embeddings.c.sha256, embeddings.c.encoder).where(embeddings.c.encoder != built_in, ~needed)
        with self._database.reading() as connection:
            found = [(sha256, encoder) for sha256, encoder in connection.execute(query)]
        for start in range(0, len(found), IN_QUERY):
            self._writer.run(partial(_remove_embeddings, pairs=found[start : start + IN_QUERY]), frees_space=True)
        return len(found)

    def put_version(
        self,
        training_set_id: int,
        *,
        revision: int,
        encoder: str,
        head: bytes,
        metrics: str,
        images: int,
        labels: int,
        answers: bytes | None = None,
        difference: str | None = None,
        waits: bool = False,
        holder: str | None = None,
    ) -> VersionRow:
        """Store a trained head as the next version and make it current, unless it `waits`. Raises RecordNotFound.

        The last ten are kept, and the current one. `answers` are its out-of-fold answers. An older one waits no more.
        `holder`: the process that trained it, which must still hold the job; raises RecordConflict where it does not.
        """

        def run(transaction: Transaction) -> VersionRow:
            _lock(transaction, training_set_id, holder)
            number = _next_version(transaction, training_set_id)
            transaction.execute(
                versions.insert().values(
                    training_set_id=training_set_id,
                    version=number,
                    revision=revision,
                    encoder=encoder,
                    head=head,
                    metrics=metrics,
                    images=images,
                    labels=labels,
                    trained_at=validation.now(),
                    answers=answers,
                    difference=difference,
                )
            )
            _set_waiting(transaction, training_set_id, number if waits else None)
            if not waits:
                _make_current(transaction, training_set_id, number)
            current = select(training_sets.c.current_version).where(training_sets.c.id == training_set_id)
            transaction.execute(
                delete(versions).where(
                    versions.c.training_set_id == training_set_id,
                    versions.c.version <= number - KEPT_VERSIONS,
                    versions.c.version != func.coalesce(current.scalar_subquery(), 0),
                )
            )
            transaction.execute(delete(previews).where(previews.c.training_set_id == training_set_id))
            return _version(transaction.connection, training_set_id, number)[0]

        return self._writer.run(run, training_set=training_set_id)

    def put_preview(
        self, training_set_id: int, *, revision: int, encoder: str, head: bytes, metrics: str, holder: str
    ) -> VersionRow:
        """Store a provisional head under the number of the version to come. Raises RecordNotFound, RecordConflict."""

        def run(transaction: Transaction) -> VersionRow:
            _lock(transaction, training_set_id, holder)
            number, time = _next_version(transaction, training_set_id), validation.now()
            transaction.execute(delete(previews).where(previews.c.training_set_id == training_set_id))
            transaction.execute(
                previews.insert().values(
                    training_set_id=training_set_id,
                    version=number,
                    revision=revision,
                    encoder=encoder,
                    trained_at=time,
                    metrics=metrics,
                    head=head,
                )
            )
            return _preview_row((training_set_id, number, revision, encoder, time, metrics))

        return self._writer.run(run, training_set=training_set_id)

    def preview(self, training_set_id: int) -> tuple[VersionRow, bytes] | None:
        """Return the provisional head of a training set, if there is one."""
        names = ("training_set_id", "version", "revision", "encoder", "trained_at", "metrics", "head")
        query = select(*(previews.c[name] for name in names)).where(previews.c.training_set_id == training_set_id)
        with self._database.querying() as connection:
            row = connection.execute(query).first()
        return None if row is None else (_preview_row(tuple(row[:-1])), bytes(row[-1]))

    def pin_encoder(self, name: str, program: str) -> str:
        """Return the name of the built-in encoder that all processes on a PostgreSQL database train with.

        It is that of the newest version of the program (`program`, as in 1.2.0) that has used the database: processes of
        several would train all sets again, each after the other. A new one schedules all training sets.
        """
        value = f"{program}\n{name}".encode()
        pinned = select(meta.c.value).where(meta.c.name == "encoder")
        with self._database.querying() as connection:
            found = connection.execute(pinned).scalar()
        if found is not None and bytes(found).decode().partition("\n")[2] == name:
            return name

        def run(transaction: Transaction) -> str:
            insert = text("INSERT INTO meta (name, value) VALUES ('encoder', :value) ON CONFLICT (name) DO NOTHING")
            transaction.execute(insert, {"value": value})
            found = bytes(transaction.execute(pinned.with_for_update()).scalar_one()).decode()
            version, _, current = found.partition("\n")
            if current == name or _numbers(version) >= _numbers(program):
                return current
            transaction.execute(update(meta).where(meta.c.name == "encoder").values(value=value))
            sets = transaction.execute(select(training_sets.c.id).order_by(training_sets.c.id)).scalars()
            for number in sets.all():
                transaction.execute(select(func.apitorch_schedule(number)))
            return name

        return self._writer.run(run)

    def versions(self, training_set_id: int) -> list[VersionRow]:
        """Return the stored versions, newest first; empty if there is none or no such set."""
        query = _versions(training_set_id).order_by(versions.c.version.desc())
        with self._database.querying() as connection:
            return [VersionRow(*row) for row in connection.execute(query)]

    def head(self, training_set_id: int, version: int | None = None) -> tuple[VersionRow, bytes]:
        """Return the current version, or the given one, and its head. Raises RecordNotFound."""
        with self._database.querying() as connection:
            return _version(connection, training_set_id, version)

    def answers(self, training_set_id: int, version: int) -> bytes | None:
        """Return the out-of-fold answers of a version; None if there are none."""
        query = select(versions.c.answers).where(
            versions.c.training_set_id == training_set_id, versions.c.version == version
        )
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else bytes(found)

    def replace_head(self, training_set_id: int, version: int, head: bytes, *, holder: str | None = None) -> VersionRow:
        """Replace the head of a stored version by one that remembers more images; `holder` as in `put_version`.

        Raises RecordNotFound, RecordConflict.
        """

        def run(transaction: Transaction) -> VersionRow:
            _lock(transaction, training_set_id, holder)
            row = _version(transaction.connection, training_set_id, version)[0]
            change = update(versions).where(
                versions.c.training_set_id == training_set_id, versions.c.version == version
            )
            transaction.execute(change.values(head=head))
            return row

        return self._writer.run(run, training_set=training_set_id)

    def set_current(self, training_set_id: int, version: int, waiting: int | None = None) -> VersionRow:
        """Make a stored version the current one, and let the version `waiting` wait, by default none.

        Raises RecordNotFound.
        """

        def run(transaction: Transaction) -> VersionRow:
            _lock(transaction, training_set_id)
            _version(transaction.connection, training_set_id, version)
            transaction.execute(delete(previews).where(previews.c.training_set_id == training_set_id))
            if waiting is not None:
                _version(transaction.connection, training_set_id, waiting)
            _make_current(transaction, training_set_id, version)
            _set_waiting(transaction, training_set_id, waiting)
            return _version(transaction.connection, training_set_id, version)[0]

        return self._writer.run(run, training_set=training_set_id)


_PUT_EMBEDDING = text(
    "INSERT INTO embeddings (sha256, encoder, vector, unsafe) VALUES (:sha256, :encoder, :vector, :unsafe) "
    "ON CONFLICT (sha256, encoder) DO UPDATE SET vector = EXCLUDED.vector, unsafe = EXCLUDED.unsafe"
)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))


def _next_version(transaction: Transaction, training_set_id: int) -> int:
    newest = select(func.max(versions.c.version)).where(versions.c.training_set_id == training_set_id)
    return (transaction.execute(newest).scalar() or 0) + 1


def _preview_row(values: tuple[Any, ...]) -> VersionRow:
    set_id, number, revision, encoder, time, metrics = values
    return VersionRow(set_id, number, revision, encoder, time, current=False, images=0, labels=0, metrics=metrics)


def _lock(transaction: Transaction, training_set_id: int, holder: str | None = None) -> None:
    """Keep other processes from changing a training set until the end. Raises RecordNotFound.

    With `holder` also RecordConflict, unless that process holds the job of the training set.
    """
    lock_set(transaction, training_set_id)
    if holder is not None:
        held = select(jobs.c.holder).where(jobs.c.training_set_id == training_set_id)
        if transaction.execute(held.with_for_update()).scalar() != holder:
            raise RecordConflict("Another process has taken over this training.")


def _remove_embeddings(transaction: Transaction, pairs: list[tuple[str, str]]) -> None:
    for encoder in {encoder for _, encoder in pairs}:
        contents = [sha256 for sha256, of in pairs if of == encoder]
        match = embeddings.c.sha256.in_(contents) & (embeddings.c.encoder == encoder)
        transaction.execute(delete(embeddings).where(match))


def _revision(connection: Connection, training_set_id: int) -> int:
    query = select(training_sets.c.revision).where(training_sets.c.id == training_set_id)
    revision = connection.execute(query).scalar()
    if revision is None:
        raise RecordNotFound(NO_SUCH_SET)
    return int(revision)


def _make_current(transaction: Transaction, training_set_id: int, version: int) -> None:
    change = update(training_sets).where(training_sets.c.id == training_set_id)
    transaction.execute(change.values(current_version=version))


def _set_waiting(transaction: Transaction, training_set_id: int, version: int | None) -> None:
    change = update(versions).where(versions.c.training_set_id == training_set_id)
    transaction.execute(change.where(versions.c.waiting == 1).values(waiting=None))
    if version is not None:
        transaction.execute(change.where(versions.c.version == version).values(waiting=1))


def _versions(training_set_id: int, *more: Column[Any]) -> Select[Any]:
    """Return a query of the columns of VersionRow, then `more`."""
    current = (versions.c.version == func.coalesce(training_sets.c.current_version, 0)).label("current")
    waiting = (func.coalesce(versions.c.waiting, 0) == 1).label("waiting")
    computed = {"current": current, "waiting": waiting}
    columns = [computed[name] if name in computed else versions.c[name] for name in VersionRow.__struct_fields__]
    return (
        select(*columns, *more)
        .join_from(versions, training_sets, training_sets.c.id == versions.c.training_set_id)
        .where(versions.c.training_set_id == training_set_id)
    )


def _version(connection: Connection, training_set_id: int, version: int | None) -> tuple[VersionRow, bytes]:
    query = _versions(training_set_id, versions.c.head)
    if version is None:
        query = query.where(versions.c.version == training_sets.c.current_version)
    elif validation.number(version) is None:
        raise RecordNotFound("There is no such version.")
    else:
        query = query.where(versions.c.version == version)
    row = connection.execute(query).first()
    if row is None:
        raise RecordNotFound("There is no such version. The last ten are kept.")
    return VersionRow(*row[:-1]), bytes(row[-1])
