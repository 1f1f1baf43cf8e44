"""Runs each edit of a connection to one of its final stages, whatever fails, in the order in which they were made.

The package's docstring has the diagram of the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from apitorch_desktop.api.errors import (
    ApiError,
    ConnectionFailed,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerError,
    StorageFull,
    TimedOut,
    WrongKey,
)
from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.edits.dismiss import DismissEdits
from apitorch_desktop.dataset.edits.executor import EditExecutor
from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.model import (
    NO_RUN,
    UNFINISHED,
    CannotUndo,
    CopyStep,
    EditConflict,
    EditOutcome,
    EditRun,
    EditStage,
    Placement,
    is_absent,
    placements_of,
)
from apitorch_desktop.dataset.edits.payloads import (
    CreateTrainingSetPayload,
    DismissPayload,
    EditPayload,
    ImportPayload,
    RenameLabelPayload,
    SplitPayload,
    WholeLabelPayload,
)
from apitorch_desktop.dataset.edits.reconcile import CheckScope
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace

_KEPT = (ConnectionFailed, TimedOut, RateLimited)
"""Failures after which an edit of which nothing was done waits too: it goes on by itself. Others refuse it."""


class EditRunner:
    """State machine of edits. Thread-safe; runs one edit of a connection at a time."""

    def __init__(self, journal: EditJournal, trash: TrashStore, dismissing: DismissEdits) -> None:
        self._journal = journal
        self._trash = trash
        self._dismissing = dismissing

    # --- requests

    def do(
        self,
        workspace: Workspace,
        set_key: str,
        payload: EditPayload,
        title: str,
        placements: list[Placement],
        run: EditRun,
    ) -> EditOutcome:
        """Do a new edit, after the unfinished ones of its connection."""
        connection_id = workspace.connection.id
        with self._journal.connection_scope(connection_id):
            finished, is_blocked = self._finish_pending(workspace)
            row = self._journal.add(connection_id, set_key, payload, title, EditStage.WAITING)
            row.placements = placements
            if placements:
                self._journal.replace_placements(row)
            outcome = self._park(workspace, row) if is_blocked else self._send(workspace, row, run)
            outcome.stale |= bool(finished)
            return outcome

    def undo(self, workspace: Workspace, run: EditRun, edit_id: int | None = None) -> EditOutcome:
        """Undo the last edit, or the given one, the last of its training set. Raises CannotUndo."""
        connection_id = workspace.connection.id
        with self._journal.connection_scope(connection_id):
            row = self._undoable(connection_id, edit_id)
            if isinstance(row.payload, DismissPayload):
                return self._dismissing.change_stage(row, row.payload, EditStage.UNDONE)
            if row.stage is EditStage.WAITING:
                self._set_stage(row, EditStage.UNDONE)
                return self._predict(row)
            if row.stage is EditStage.DOING:
                self._set_stage(row, EditStage.UNDOING)
                return self._revert(workspace, row, run)
            finished, is_blocked = self._finish_pending(workspace)
            if finished:
                row = self._undoable(connection_id, edit_id)  # another one, where an earlier undo failed
            self._check_no_import(row)
            self._check_content(row, at_target=True)
            self._set_stage(row, EditStage.UNDOING)
            outcome = self._predict(row) if is_blocked else self._send(workspace, row, run)
            outcome.stale |= bool(finished)
            return outcome

    def redo(self, workspace: Workspace, run: EditRun, edit_id: int | None = None) -> EditOutcome:
        """Redo the edit that was undone last, or the given one, the next of its training set. Raises CannotUndo."""
        connection_id = workspace.connection.id
        with self._journal.connection_scope(connection_id):
            row = self._redoable(connection_id, edit_id)
            if isinstance(row.payload, DismissPayload):
                return self._dismissing.change_stage(row, row.payload, EditStage.DONE)
            finished, is_blocked = self._finish_pending(workspace)
            if finished:
                row = self._redoable(connection_id, edit_id)  # another one, where its undo was finished just now
                if isinstance(row.payload, DismissPayload):
                    return self._dismissing.change_stage(row, row.payload, EditStage.DONE)
            self._check_content(row, at_target=False)
            self._set_stage(row, EditStage.WAITING)
            if is_blocked:
                return self._predict(row)
            try:
                outcome = self._send(workspace, row, run, is_redo=True)
            finally:
                if row.stage is EditStage.REFUSED:  # it stays redoable
                    row.payload.refused = ""
                    self._set_stage(row, EditStage.UNDONE)
            outcome.stale |= bool(finished)
            return outcome

    def _undoable(self, connection_id: str, edit_id: int | None) -> EditRow:
        """Return the edit that undo takes back, with its placements. Raises CannotUndo."""
        if edit_id is not None:
            return self._chosen(connection_id, edit_id, self._journal.undoable)
        row = self._journal.undoable(connection_id)
        if row is None and self._journal.running_imports(connection_id):
            raise CannotUndo("There is nothing to undo but the import under way. Cancel it first, then undo it.")
        if row is None:
            raise CannotUndo("There is nothing to undo, or what it needs was in the trash when that was emptied.")
        return self._journal.load(row)

    def _redoable(self, connection_id: str, edit_id: int | None) -> EditRow:
        """Return the edit that redo does again, with its placements. Raises CannotUndo."""
        if edit_id is not None:
            return self._chosen(connection_id, edit_id, self._journal.redoable)
        row = self._journal.redoable(connection_id)
        if row is None:
            raise CannotUndo("There is nothing to redo.")
        return self._journal.load(row)

    def _chosen(self, connection_id: str, edit_id: int, find: Callable[[str, str], EditRow | None]) -> EditRow:
        """Return an edit with its placements, if it is the one that `find` comes to in its training set."""
        row = self._journal.row(connection_id, edit_id)
        found = find(connection_id, self._journal.resolve(row.set_handle)) if row is not None else None
        if found is None or found.id != edit_id:
            raise CannotUndo("This change is not the last one of its training set any more.")
        return self._journal.load(found)

    def resume(self, workspace: Workspace, run: EditRun) -> list[EditOutcome]:
        """Finish the unfinished edits, as far as the service allows."""
        with self._journal.connection_scope(workspace.connection.id):
            return self._finish_pending(workspace, run)[0]

    def expected(self, connection_id: str, training_set_id: Id) -> list[EditOutcome]:
        """Return the predicted outcomes of the unfinished edits of a training set, in order."""
        outcomes = [self._predict(self._journal.load(row)) for row in self._journal.unfinished(connection_id)]
        return [outcome for outcome in outcomes if outcome.training_set_id == training_set_id]

    def empty_trash(self, connection_id: str | None) -> int:
        """Delete the content of the trash for good; edits that need it lose their undo or redo. Returns bytes freed."""
        self._journal.empty_trash(connection_id)
        freed = self._trash.drop(self._trash.all() - self._journal.needed_content())
        for connection in self._journal.connections() if connection_id is None else [connection_id]:
            with self._journal.connection_scope(connection):
                for row in self._journal.rows(connection, EditStage.DONE):
                    self._journal.load(row)
                    if not row.payload.sealed and self._lacks_content(row, at_target=True):
                        row.payload.sealed = True
                        self._journal.save(row)
                is_lost = False
                for row in self._journal.rows(connection, EditStage.UNDONE):
                    is_lost = is_lost or self._lacks_content(self._journal.load(row), at_target=False)
                    if is_lost:
                        self._journal.drop(row)
        return freed

    # --- runs of one edit

    def _finish_pending(self, workspace: Workspace, run: EditRun = NO_RUN) -> tuple[list[EditOutcome], bool]:
        """Finish the unfinished edits. Returns their outcomes, and whether one of them is still unfinished."""
        outcomes: list[EditOutcome] = []
        for row in self._journal.unfinished(workspace.connection.id):
            self._journal.load(row)
            forward, missing = row.forward, _missing(row)
            try:
                if row.stage is EditStage.UNDOING:
                    outcome = self._revert(workspace, row, run, is_late=True)
                else:
                    outcome = self._apply(workspace, row, run, is_late=True)
            except Exception:  # noqa: BLE001 - the edit's note has it; it must not block the others for ever
                outcome = EditOutcome(self._journal.edit(row), self._journal.training_set_id(row), stale=True)
                run = EditRun(run.progress)
            outcome.conflicts = self._record_conflicts(row, forward, missing)
            outcomes.append(outcome)
            if row.stage in UNFINISHED:
                return outcomes, True
        return outcomes, False

    def _send(self, workspace: Workspace, row: EditRow, run: EditRun, *, is_redo: bool = False) -> EditOutcome:
        """Apply or revert an edit, depending on its stage, and record conflicts. Raises what these raise."""
        forward, missing = row.forward, _missing(row)
        try:
            if row.stage is EditStage.UNDOING:
                outcome = self._revert(workspace, row, run)
            else:
                outcome = self._apply(workspace, row, run, is_redo=is_redo)
        except NotFound:
            self._record_conflicts(row, forward, missing)
            raise
        outcome.conflicts = self._record_conflicts(row, forward, missing)
        return outcome

    def _apply(
        self, workspace: Workspace, row: EditRow, run: EditRun, *, is_late: bool = False, is_redo: bool = False
    ) -> EditOutcome:
        """Do an edit. Raises the error if nothing of it was done, or all of it was rolled back."""
        scope = CheckScope.NONE
        if row.stage is EditStage.WAITING:
            is_planned_now = isinstance(row.payload, WholeLabelPayload) and not row.payload.planned
            scope = CheckScope.WHOLE if is_late else CheckScope.NONE if is_planned_now else CheckScope.NEAR
        self._set_stage(row, EditStage.DOING)
        try:
            outcome = self._execute(workspace, row, run, scope)
        except Exception as error:
            if _is_temporary(error):
                return self._suspend(workspace, row, error, is_kept=is_late or is_redo)
            self._roll_back(workspace, row, error)
            if not (is_late or is_redo) and row.stage is EditStage.REFUSED:
                self._journal.drop(row)
            raise
        return self._complete(row, EditStage.DONE, outcome)

    def _revert(self, workspace: Workspace, row: EditRow, run: EditRun, *, is_late: bool = False) -> EditOutcome:
        """Undo an edit. Raises the error if the edit is still done, or done again."""
        scope = CheckScope.NONE if _has_started(row) else CheckScope.WHOLE if is_late else CheckScope.NEAR
        try:
            outcome = self._execute(workspace, row, run, scope)
        except Exception as error:
            if _is_temporary(error):
                if not isinstance(error, _KEPT) and not is_late and not _has_started(row):
                    self._set_stage(row, EditStage.DONE)
                    raise
                return self._keep_unfinished(row, error)
            if row.payload.refused:
                self._abandon(row, error)
            else:
                self._set_stage(row, EditStage.DOING)
                self._retry_reversed(workspace, row, EditStage.DONE)
            raise
        return self._complete(row, EditStage.REFUSED if row.payload.refused else EditStage.UNDONE, outcome)

    def _execute(
        self, workspace: Workspace, row: EditRow, run: EditRun = NO_RUN, scope: CheckScope = CheckScope.NONE
    ) -> EditOutcome:
        return EditExecutor(workspace, self._journal, self._trash, row, run, scope).execute()

    # --- after a failure

    def _suspend(self, workspace: Workspace, row: EditRow, error: Exception, *, is_kept: bool) -> EditOutcome:
        """Handle a temporary failure: keep the edit for later, or drop it if nothing of it was done."""
        if isinstance(error, ApiError) and error.unsent:
            row.payload.unconfirmed = False
        if _has_started(row):
            return self._keep_unfinished(row, error)
        if not isinstance(error, _KEPT) and not is_kept:
            self._journal.drop(row)
            raise error
        row.note = str(error)
        return self._park(workspace, row)

    def _park(self, workspace: Workspace, row: EditRow) -> EditOutcome:
        """Keep an edit of which nothing was done until the service is reachable; plan it from the offline cache."""
        payload = row.payload
        row.stage = EditStage.WAITING
        if isinstance(payload, WholeLabelPayload):
            listing = workspace.cached_listing(self._journal.training_set_id(row))
            images = [image for image in listing.images if image.label == payload.old] if listing is not None else []
            row.placements = placements_of(images, payload.old, payload.new or None)
            payload.dropped_labels = [payload.old]
        payload.planned = isinstance(payload, ImportPayload)
        self._journal.replace_placements(row)
        return self._predict(row)

    def _keep_unfinished(self, row: EditRow, error: Exception) -> EditOutcome:
        """Keep an edit of which a part was done until the service is reachable."""
        row.note = f"{error} It is finished as soon as the service is back."
        self._journal.save(row)
        outcome = self._predict(row)
        outcome.stale = True
        return outcome

    def _roll_back(self, workspace: Workspace, row: EditRow, error: Exception) -> None:
        """Undo the part that was done of an edit that cannot be done."""
        row.payload.refused = str(error)
        if not (_has_started(row) or row.payload.planned):
            row.note = row.payload.refused
            self._close(row, EditStage.REFUSED)
            return
        self._set_stage(row, EditStage.UNDOING)
        self._retry_reversed(workspace, row, EditStage.REFUSED)

    def _retry_reversed(self, workspace: Workspace, row: EditRow, final: EditStage) -> None:
        """Run an edit in its new direction after it failed in the other. Raises nothing: it may continue later."""
        try:
            outcome = self._execute(workspace, row)
        except Exception as error:  # noqa: BLE001 - the first failure is the one to be raised
            if not _is_temporary(error):
                self._abandon(row, error)
            return
        self._complete(row, final, outcome)

    def _abandon(self, row: EditRow, error: Exception) -> None:
        """Refuse an edit that failed in both directions, so that later edits are not blocked."""
        row.note = f"This could be neither finished nor taken back: {error}"
        self._close(row, EditStage.REFUSED)

    # --- final stages

    def _set_stage(self, row: EditRow, stage: EditStage) -> None:
        row.stage = stage
        self._journal.save(row)

    def _complete(self, row: EditRow, final: EditStage, outcome: EditOutcome) -> EditOutcome:
        if final is EditStage.REFUSED:
            row.note = row.payload.refused
        self._close(row, final)
        outcome.edit = self._journal.edit(row)
        outcome.training_set_id = outcome.edit.training_set_id
        self._dismissing.replace_ids(row.connection_id, outcome.changed)
        return outcome

    def _close(self, row: EditRow, final: EditStage) -> None:
        """Set a final stage, and delete content that is no longer needed."""
        row.payload.clear_progress()
        self._set_stage(row, final)
        hashes = {placement.sha256 for placement in row.placements} - {""}
        self._trash.drop(hashes - self._journal.needed_content(hashes))

    def _record_conflicts(self, row: EditRow, forward: bool, missing: set[int]) -> int:
        """Store the conflicts that a run found, and return their number.

        `forward`: the direction of the run; `missing`: the placements that were left out before it.
        """
        left_out = [placement for placement in row.placements if placement.missing and placement.n not in missing]
        payload = row.payload
        if isinstance(payload, SplitPayload):  # nothing is lost with them that could be decided about
            return 0
        if row.stage is EditStage.REFUSED and isinstance(payload, WholeLabelPayload) and not payload.planned:
            left_out = row.placements  # the label itself was deleted; its images are looked for when decided
        training_set_id, found = self._journal.training_set_id(row), []
        for placement in left_out:
            seen, wanted = (placement.source, placement.target) if forward else (placement.target, placement.source)
            if seen is not None:
                name = self._journal.resolve(placement.handle)
                name = placement.known_id if is_absent(name) else name
                found.append(
                    EditConflict(
                        name, training_set_id, placement.name, seen, wanted, placement.known_hash, placement.record
                    )
                )
        if found:
            self._journal.add_conflicts(row.connection_id, found)
        return len(found)

    # --- what an edit needs, and what it will change

    def _deleted_by_pending(self, connection_id: str) -> set[str]:
        """Return what unfinished edits will bring to the trash: names and hashes of images."""
        found: set[str] = set()
        for row in self._journal.unfinished(connection_id):
            for placement in self._journal.load(row).placements:
                end = placement.target if row.forward else placement.source
                if end is None and placement.is_pending(row.forward):
                    found |= {self._journal.resolve(placement.handle), placement.known_hash}
        return found - {""}

    def _lacks_content(self, row: EditRow, *, at_target: bool, pending: Collection[str] = ()) -> bool:
        """Return whether content is lost that undo needs (`at_target`), or redo.

        `pending`: names and hashes of images that are still to come to the trash.
        """
        for placement in row.placements:
            start = placement.target if at_target else placement.source
            is_needed = start is None and placement.is_pending(not at_target) and not placement.merged
            if is_needed and not self._trash.has(placement.sha256):
                names = {placement.known_hash, self._journal.resolve(placement.handle)} if pending else set()
                if names.isdisjoint(pending):
                    return True
        return False

    def _check_no_import(self, row: EditRow) -> None:
        """Raise CannotUndo if undo would delete a training set into which photos are being imported."""
        payload = row.payload
        if isinstance(payload, CreateTrainingSetPayload) or (
            isinstance(payload, ImportPayload) and payload.new_training_set
        ):
            set_id = str(self._journal.training_set_id(row))
            imports = self._journal.running_imports(row.connection_id)
            if any(str(self._journal.training_set_id(running)) == set_id for running in imports):
                raise CannotUndo(f"Photos are being imported into “{payload.name}”. Cancel that first, then undo.")

    def _check_content(self, row: EditRow, *, at_target: bool) -> None:
        """Raise CannotUndo if content is lost that the edit needs; a pending edit may still bring it to the trash."""
        if self._lacks_content(row, at_target=at_target, pending=self._deleted_by_pending(row.connection_id)):
            raise CannotUndo(f"“{row.title}” needs photos that are no longer in the trash.")

    def _predict(self, row: EditRow) -> EditOutcome:
        """Return what an unfinished edit will have changed, as far as it is known without the service."""
        payload, forward = row.payload, row.forward
        outcome = EditOutcome(self._journal.edit(row), self._journal.training_set_id(row))
        for placement in row.placements:
            if placement.missing:
                continue
            current_id = self._journal.resolve(placement.handle)
            if isinstance(payload, SplitPayload):
                outcome.splits[current_id] = payload.split if forward else placement.split
                continue
            start, end = placement.source, placement.target
            if not forward:
                start, end = end, start
            if start is not None and end is not None:
                outcome.moved[current_id] = end
            elif end is None:
                outcome.removed.append(current_id)
            elif placement.record is not None:
                outcome.added.append(replace(placement.record, label=end))
        created, dropped = payload.created_labels, payload.dropped_labels
        if not forward:
            created, dropped = dropped, created
        outcome.labels_added, outcome.labels_removed = list(created), list(dropped)
        if isinstance(payload, RenameLabelPayload):
            outcome.renamed = {payload.old: payload.new} if forward else {payload.new: payload.old}
            outcome.moved, outcome.labels_added, outcome.labels_removed = {}, [], []
        return outcome


def _missing(row: EditRow) -> set[int]:
    return {placement.n for placement in row.placements if placement.missing}


def _is_temporary(error: Exception) -> bool:
    """Return whether the same call may succeed later: the edit is kept for then."""
    if isinstance(error, StorageFull):
        return False
    return isinstance(error, (ConnectionFailed, TimedOut, RateLimited, ServerError, WrongKey, NotApiTorch))


def _has_started(row: EditRow) -> bool:
    """Return whether anything of the current run may have reached the service."""
    return row.payload.has_started or any(
        placement.at_target == row.forward or placement.step != CopyStep.NONE
        for placement in row.placements
        if not placement.missing
    )
