"""Imports: uploads that can be undone. An import is in the journal of edits before anything of it is sent.

Thus, however the program ends, the next start knows which transfer belongs to which edit, and what the training set
contained before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.model import Edit, EditStage, Placement, image_id, to_set_key
from apitorch_desktop.dataset.edits.payloads import ImportPayload
from apitorch_desktop.dataset.sources.image_source import UploadItem
from apitorch_desktop.dataset.transfers.model import ENDED
from apitorch_desktop.dataset.transfers.queue import TransferMissing, TransferQueue, TransferState, TransferStatus
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.files import try_lock
from apitorch_desktop.utils.text import plural

if TYPE_CHECKING:
    from filelock import BaseFileLock


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of an import. `created`: number of new images in `edit`, the journalled edit, None if there is none.

    `known`: number of new images that were journalled before. `forgotten`: somebody else journalled all of it.
    """

    created: int
    edit: Edit | None
    known: int = 0
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class RecoveredImports:
    """Findings of `recover`: `lost` are the names of training sets whose import was cut off before its photos were read,
    `ended` the imports that it journalled.
    """

    lost: list[str]
    ended: list[tuple[TransferStatus, ImportResult]]


@dataclass(frozen=True, slots=True)
class NewImportSet:
    """A training set that was created for an import, and journalled: pass it to `UndoableImports.upload`.

    `lock` is held while the import is being accepted, so that nobody takes it for an interrupted one.
    """

    training_set: TrainingSet
    row: EditRow
    payload: ImportPayload
    lock: BaseFileLock


class UndoableImports:
    """Keeps the journal of edits in step with the transfers. Thread-safe, also across processes; blocking."""

    def __init__(self, journal: EditJournal, transfers: TransferQueue) -> None:
        """`journal` is `EditHistory.journal`."""
        self._journal = journal
        self._transfers = transfers
        self._locks = journal.folder / "imports"

    def create_training_set(self, connection_id: str, client: ApiClient, name: str) -> NewImportSet:
        """Create the training set of an import, journalled beforehand. Raises ApiError."""
        before = [to_set_key(training_set.id) for training_set in client.training_sets()]
        payload = ImportPayload(
            planned=True, new_training_set=True, name=name.strip(), sets_before=before, lock_name=token_hex(8)
        )
        lock = self._lock(payload)
        assert lock is not None  # noqa: S101 - for mypy: the name is new
        row = self._journal.add(connection_id, "", payload, "the import", EditStage.BEGUN)
        try:
            created = client.create_training_set(payload.name)
        except BaseException as error:
            if isinstance(error, ApiError) and (error.unsent or not error.can_retry):
                self._journal.drop(row)
            _release(lock)  # otherwise it may have been created: `recover` finds out
            raise
        self._set_training_set(row, payload, created.id)
        return NewImportSet(created, row, payload, lock)

    def upload(
        self,
        connection_id: str,
        training_set_id: Id,
        title: str,
        items: Iterable[UploadItem],
        *,
        labels_before: Iterable[str] = (),
        new_set: NewImportSet | None = None,
    ) -> int:
        """Accept an upload, journalled, and return the id of the transfer.

        Its undo deletes the images that it created, the labels not in `labels_before`, and the training set `new_set`.
        """
        if new_set is not None:
            row: EditRow | None = new_set.row
            payload, lock = new_set.payload, new_set.lock
        else:
            row = None
            payload = ImportPayload(planned=True, labels_before=sorted(set(labels_before)), lock_name=token_hex(8))
            found = self._lock(payload)
            assert found is not None  # noqa: S101 - for mypy: the name is new
            lock = found

        def link(transfer_id: int) -> None:
            nonlocal row
            payload.transfer_id = transfer_id
            if row is None:
                set_key = to_set_key(training_set_id)
                row = self._journal.add(connection_id, set_key, payload, "the import", EditStage.BEGUN)
            else:
                self._journal.save(row)

        try:
            return self._transfers.add_upload(connection_id, training_set_id, title, items, first=link)
        except BaseException:
            if row is not None:
                self._record(row, payload, {})
            raise
        finally:
            _release(lock)

    def finish(self, connection_id: str, transfer_id: int, labels_before: Iterable[str] = ()) -> ImportResult:
        """Journal the images of an upload that has ended. `labels_before`: for one that was accepted without a journal.

        After *Retry* and *Resume*, the images created since then make an edit of their own. Nothing is journalled of an
        import whose training set was deleted meanwhile, with its images.
        """
        try:
            status = self._transfers.status(transfer_id)
            self._transfers.wait_until_idle(transfer_id)
            results = self._transfers.results(transfer_id)
            is_set_missing = status.state is not TransferState.DONE and self._transfers.is_set_missing(transfer_id)
        except TransferMissing:  # another process journalled and forgot it
            return ImportResult(0, None, forgotten=True)
        created = {image_id(item.image_id): item.label for item in results if item.created}
        with self._journal.connection_scope(connection_id):
            imports = [
                (row, payload) for row, payload in self._imports(connection_id) if payload.transfer_id == transfer_id
            ]
            begun = next((found for found in imports if found[0].stage is EditStage.BEGUN), None)
            known = {placement.known_id for row, _ in imports for placement in self._journal.load(row).placements}
            new = {image: label for image, label in created.items() if image not in known and not is_set_missing}
            if begun is not None and is_set_missing:
                self._journal.drop(begun[0])
                begun = None
            if begun is None and new:
                labels = imports[0][1].labels_before if imports else labels_before
                made = {label for _, payload in imports for label in payload.created_labels}
                begun = self._add_later(status, {*labels, *made})
            edit = self._record(*begun, new) if begun is not None else None
        return ImportResult(len(new), edit, len(created.keys() & known))

    def _add_later(self, status: TransferStatus, labels_before: set[str]) -> tuple[EditRow, ImportPayload]:
        """Add an edit for images of a transfer that was journalled already, or never."""
        payload = ImportPayload(planned=True, labels_before=sorted(labels_before), transfer_id=status.id)
        set_key = to_set_key(status.training_set_id)
        return self._journal.add(status.connection_id, set_key, payload, "", EditStage.BEGUN), payload

    def _record(self, row: EditRow, payload: ImportPayload, new: dict[str, str]) -> Edit | None:
        """Journal an import as done, with its new images (id → label); drop it if it changed nothing."""
        if not new and not payload.new_training_set:
            self._journal.drop(row)
            return None
        row.placements = [
            Placement(n, image, None, label, at_target=True) for n, (image, label) in enumerate(new.items())
        ]
        payload.created_labels = sorted(set(new.values()) - set(payload.labels_before))
        row.stage, payload.sets_before = EditStage.DONE, None
        row.title = f"import {plural(len(new), 'photo')}" if new else f"make the training set “{payload.name}”"
        self._journal.drop_undone(row)
        self._journal.replace_placements(row)
        self._journal.hide_labels(row, (), payload.created_labels)
        return self._journal.edit(row)

    def recover(self, workspace: Workspace) -> RecoveredImports:
        """Journal imports that have ended unnoticed; call it after a start, and whenever in doubt.

        An import that was interrupted before its photos were accepted is dropped, with the training set created for it
        if that is empty. Raises ApiError.
        """
        connection_id, found = workspace.connection.id, RecoveredImports([], [])
        for row, payload in self._imports(connection_id, EditStage.BEGUN):
            status = self._status(payload)
            if status is not None and status.connection_id == connection_id:  # else its id was given again
                if status.state in ENDED:
                    found.ended.append((status, self.finish(connection_id, status.id)))
            elif self._is_interrupted(payload):
                created = self._find_created(workspace, row, payload)
                if created is not None:
                    workspace.client.delete_training_set(created)
                    workspace.cache.forget_training_set(connection_id, created)
                self._journal.drop(row)
                if payload.new_training_set:
                    found.lost.append(payload.name)
        return found

    def _imports(self, connection_id: str, *stages: EditStage) -> list[tuple[EditRow, ImportPayload]]:
        rows = self._journal.imports(connection_id, *stages)
        return [(row, row.payload) for row in rows if isinstance(row.payload, ImportPayload)]

    def _set_training_set(self, row: EditRow, payload: ImportPayload, training_set_id: Id) -> None:
        """Journal the training set that an import created."""
        row.set_key, payload.sets_before = to_set_key(training_set_id), None
        self._journal.save(row, renamed=[(self._journal.resolve(row.set_handle), row.set_key)])

    def _find_created(self, workspace: Workspace, row: EditRow, payload: ImportPayload) -> Id | None:
        """Return the training set that an interrupted import created, if it exists and is empty."""
        if not payload.new_training_set:
            return None
        for training_set in workspace.client.training_sets():
            key = to_set_key(training_set.id)
            is_new = (
                payload.sets_before is not None and key not in payload.sets_before and training_set.name == payload.name
            )
            if (key == row.set_key or is_new) and not workspace.listing(training_set.id).images:
                return training_set.id
        return None

    def _lock(self, payload: ImportPayload) -> BaseFileLock | None:
        """Lock an import that is being accepted; None while another process has the lock."""
        return try_lock(self._locks / f"{payload.lock_name}.lock")

    def _is_interrupted(self, payload: ImportPayload) -> bool:
        lock = self._lock(payload)
        _release(lock)
        return lock is not None

    def _status(self, payload: ImportPayload) -> TransferStatus | None:
        try:
            return self._transfers.status(payload.transfer_id)
        except TransferMissing:
            return None


def _release(lock: BaseFileLock | None) -> None:
    if lock is not None:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
