"""Imports: uploads that can be undone. The journal of edits knows of one before its training set is made or an image sent.

So whatever ends the program in the middle, the next start knows which transfer belongs to which edit, and what the
training set was like before.
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
from apitorch_desktop.dataset.edits.executor import edit_of
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import (
    CannotUndo,
    Edit,
    EditKind,
    EditPayload,
    EditRow,
    EditStage,
    Placement,
    image_id,
    set_key,
)
from apitorch_desktop.dataset.sources.image_source import UploadItem
from apitorch_desktop.dataset.transfers.model import ENDED
from apitorch_desktop.dataset.transfers.queue import TransferQueue, TransferStatus
from apitorch_desktop.dataset.workspace.workspace import Workspace

if TYPE_CHECKING:
    from filelock import BaseFileLock


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What came of an import. `created`: images that were not there before. `edit`: new in the journal, None for nothing."""

    created: int
    edit: Edit | None


@dataclass(frozen=True, slots=True)
class NewImportSet:
    """A training set that was made for an import, which is on the journal already: hand it to `UndoableImports.upload`."""

    training_set: TrainingSet
    entry: EditRow
    lock: BaseFileLock
    """Held while the import is being accepted: nobody takes it for one that was interrupted."""


class UndoableImports:
    """Keeps the journal of edits in step with the transfers. Thread-safe, and several processes may; everything blocks."""

    def __init__(self, journal: EditJournal, transfers: TransferQueue) -> None:
        """`journal`: the one of `EditHistory.journal`."""
        self._journal = journal
        self._transfers = transfers
        self._locks = journal.folder / "imports"

    def create_training_set(self, connection_id: str, client: ApiClient, name: str) -> NewImportSet:
        """`training-sets`: make the training set of an import, journalled beforehand. Raises ApiError."""
        mark = token_hex(8)
        before = [set_key(one.id) for one in client.training_sets()]
        facts = EditPayload(planned=True, new_training_set=True, new=name.strip(), sets_before=before, mark=mark)
        lock = self._own(mark)
        assert lock is not None  # noqa: S101 - for mypy: the mark is new
        entry = self._journal.add(connection_id, "", EditKind.IMPORT, "the import", EditStage.BEGUN, facts)
        try:
            made = client.create_training_set(facts.new)
        except BaseException as fault:
            if isinstance(fault, ApiError) and (fault.unsent or not fault.can_retry):
                self._journal.drop(entry)
            _let_go(lock)  # else it may have been made: `recover` finds out
            raise
        self._is(entry, made.id)
        return NewImportSet(made, entry, lock)

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
        """Accept an upload, journalled. Answers the transfer's id. Its undo is that of `Edits.imported`."""
        entry = new_set.entry if new_set is not None else None
        facts = EditPayload(planned=True, labels_before=sorted(set(labels_before)), mark=token_hex(8))
        lock = new_set.lock if new_set is not None else self._own(facts.mark)

        def link(transfer_id: int) -> None:
            nonlocal entry
            if entry is None:
                facts.transfer = transfer_id
                key = set_key(training_set_id)
                entry = self._journal.add(connection_id, key, EditKind.IMPORT, "the import", EditStage.BEGUN, facts)
            else:
                entry.facts.transfer = transfer_id
                self._journal.save(entry)

        try:
            return self._transfers.add_upload(connection_id, training_set_id, title, items, first=link)
        except BaseException:
            if entry is not None:
                self._write(entry, {})
            raise
        finally:
            _let_go(lock)

    def finish(self, connection_id: str, transfer_id: int, labels_before: Iterable[str] = ()) -> ImportResult:
        """An upload ended: write down what it brought in. `labels_before`: for one that was accepted without a journal.

        After *Retry*, what came in since is an edit of its own.
        """
        try:
            status = self._transfers.status(transfer_id)
        except KeyError:  # another process wrote it down, and forgot it
            return ImportResult(0, None)
        self._transfers.wait_until_idle(transfer_id)
        created = {image_id(one.image_id): one.label for one in self._transfers.results(transfer_id) if one.created}
        with self._journal.connection_scope(connection_id):
            entries = [one for one in self._journal.imports(connection_id) if one.facts.transfer == transfer_id]
            begun = next((one for one in entries if one.stage is EditStage.BEGUN), None)
            known = {one.first for entry in entries for one in self._journal.load(entry).placements}
            new = {image: label for image, label in created.items() if image not in known}
            if begun is None and new:
                facts = (
                    entries[0].facts if entries else EditPayload(planned=True, labels_before=sorted(set(labels_before)))
                )
                made = {label for entry in entries for label in entry.facts.labels_made}
                begun = self._again(status, facts, made)
            edit = self._write(begun, new) if begun is not None else None
        return ImportResult(len(created), edit)

    def _again(self, status: TransferStatus, facts: EditPayload, made: set[str]) -> EditRow:
        """More came of a transfer that was journalled already, or never."""
        key = set_key(status.training_set_id)
        labels = sorted({*facts.labels_before, *made})
        facts = EditPayload(planned=True, labels_before=labels, transfer=status.id)
        return self._journal.add(status.connection_id, key, EditKind.IMPORT, "", EditStage.BEGUN, facts)

    def _write(self, entry: EditRow, new: dict[str, str]) -> Edit | None:
        facts = entry.facts
        if not new and not facts.new_training_set:
            self._journal.drop(entry)
            return None
        entry.placements = [
            Placement(n, image, None, label, there=True) for n, (image, label) in enumerate(new.items())
        ]
        facts.labels_made = sorted(set(new.values()) - set(facts.labels_before))
        entry.stage, facts.sets_before = EditStage.DONE, None
        entry.title = f"import {len(new):,} photo{'' if len(new) == 1 else 's'}"
        if not new:
            entry.title = f"make the training set “{facts.new}”"
        self._journal.forget_undone(entry.connection)
        self._journal.plan(entry)
        self._journal.hide_labels(entry, (), facts.labels_made)
        return edit_of(entry, self._journal)

    def recover(self, workspace: Workspace) -> list[str]:
        """Write down imports that ended while nobody was there to do it: after a start, and whenever in doubt.

        One that was interrupted before its photos were accepted comes to nothing: the training set made for it goes, if
        it is empty. Answers the names of these. Raises ApiError.
        """
        connection_id, lost = workspace.connection.id, []
        for entry in self._journal.imports(connection_id, EditStage.BEGUN):
            status = self._status(entry)
            if status is not None:
                if status.state in ENDED:
                    self.finish(connection_id, status.id)
            elif self._is_interrupted(entry):
                made = self._half_made(workspace, entry)
                if made is not None:
                    workspace.client.delete_training_set(made)
                    workspace.cache.forget_training_set(connection_id, made)
                self._journal.drop(entry)
                lost += [entry.facts.new] if entry.facts.new_training_set else []
        return lost

    def cancel_running(self, workspace: Workspace) -> None:
        """Where an import under way is what `Edits.undo` would undo: cancel it, and write down what came in.

        Raises CannotUndo where nothing of it is there to be undone, and ApiError.
        """
        connection_id = workspace.connection.id
        entry = self._journal.undoable(connection_id)
        if entry is None or entry.stage is not EditStage.BEGUN:
            return
        status = self._status(entry)
        if status is not None:
            self._transfers.cancel(status.id)
            self.finish(connection_id, status.id)
        elif not self._is_interrupted(entry):
            raise CannotUndo("The import is just beginning. Undo it in a moment.")
        elif (made := self._half_made(workspace, entry)) is not None:
            self._is(entry, made)
            self._write(entry, {})
        else:
            self._journal.drop(entry)
        left = self._journal.undoable(connection_id)
        if left is None or left.id != entry.id:  # what was done before the import is not meant
            raise CannotUndo("The import was cancelled before a photo came in, so there is nothing to undo.")

    def _is(self, entry: EditRow, training_set_id: Id) -> None:
        """Note which training set an import made."""
        entry.training_set, entry.facts.sets_before = set_key(training_set_id), None
        self._journal.save(entry, became=[(self._journal.now(entry.place), entry.training_set)])

    def _half_made(self, workspace: Workspace, entry: EditRow) -> Id | None:
        """The training set that an interrupted import made, where it is there, and empty."""
        facts = entry.facts
        if not facts.new_training_set:
            return None
        for one in workspace.client.training_sets():
            key = set_key(one.id)
            new = facts.sets_before is not None and key not in facts.sets_before and one.name == facts.new
            if (key == entry.training_set or new) and not workspace.listing(one.id).images:
                return one.id
        return None

    def _own(self, mark: str) -> BaseFileLock | None:
        """The right to an import that is being accepted; None while a process has it. It ends with that at the latest."""
        from filelock import FileLock, Timeout

        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{mark}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _is_interrupted(self, entry: EditRow) -> bool:
        lock = self._own(entry.facts.mark)
        _let_go(lock)
        return lock is not None

    def _status(self, entry: EditRow) -> TransferStatus | None:
        try:
            return self._transfers.status(entry.facts.transfer)
        except KeyError:
            return None


def _let_go(lock: BaseFileLock | None) -> None:
    if lock is not None:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
