"""Driver: sees each edit through to one of its two ends, whatever fails, in the order in which they were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from apitorch_desktop.dataset.edits.executor import EditExecutor, edit_of, placements_of
from apitorch_desktop.dataset.edits.foreseeing import foreseen
from apitorch_desktop.dataset.edits.journal import EditJournal, note_conflicts
from apitorch_desktop.dataset.edits.model import (
    LABEL_ACTS,
    NO_RUN,
    UNFINISHED,
    CannotUndo,
    CopyStep,
    EditKind,
    EditOutcome,
    EditPayload,
    EditRow,
    EditRun,
    EditStage,
    Placement,
)
from apitorch_desktop.dataset.edits.reconcile import CheckScope
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace

_AWAY = (ConnectionFailed, TimedOut)


class EditRunner:
    """Thread-safe; one edit of a connection at a time."""

    def __init__(self, journal: EditJournal, trash: TrashStore, dismissing: DismissEdits) -> None:
        self._journal = journal
        self._trash = trash
        self._dismissing = dismissing

    # --- what is asked for

    def do(
        self,
        workspace: Workspace,
        training_set: str,
        act: EditKind,
        title: str,
        facts: EditPayload,
        placements: list[Placement],
        run: EditRun,
    ) -> EditOutcome:
        """A new edit, to its end."""
        connection = workspace.connection.id
        with self._journal.connection_scope(connection):
            finished, behind = self._finish(workspace)
            entry = self._journal.add(connection, training_set, act, title, EditStage.WAITING, facts)
            entry.placements = placements
            if placements:
                self._journal.plan(entry)
            if behind:
                outcome = self._wait(workspace, entry)
            else:
                outcome = self._noting(entry, lambda: self._forward(workspace, entry, run))
            outcome.stale |= bool(finished)
            return outcome

    def undo(self, workspace: Workspace, run: EditRun) -> EditOutcome:
        """Take the last edit back. Raises CannotUndo."""
        connection = workspace.connection.id
        with self._journal.connection_scope(connection):
            entry = self._journal.undoable(connection)
            if entry is None:
                raise CannotUndo("There is nothing to undo, or what it needs was in the trash when that was emptied.")
            if entry.stage is EditStage.BEGUN:
                raise CannotUndo("The import is still under way. Cancel it first, then undo it.")
            self._journal.load(entry)
            if entry.kind is EditKind.DISMISS:
                return self._dismissing.turn(entry, EditStage.UNDONE)
            if entry.stage is EditStage.WAITING:
                entry.stage = EditStage.UNDONE
                self._journal.save(entry)
                return foreseen(entry, self._journal)
            if entry.stage is EditStage.DONE:
                self._check_bytes(entry, there=True)
                finished, behind = self._finish(workspace)
                entry.stage = EditStage.UNDOING
                self._journal.save(entry)
                if behind:
                    outcome = foreseen(entry, self._journal)
                else:
                    outcome = self._noting(entry, lambda: self._back(workspace, entry, run))
                outcome.stale |= bool(finished)
                return outcome
            entry.stage = EditStage.UNDOING
            self._journal.save(entry)
            return self._back(workspace, entry, run)

    def redo(self, workspace: Workspace, run: EditRun) -> EditOutcome:
        """Do the first undone edit again. Raises CannotUndo."""
        connection = workspace.connection.id
        with self._journal.connection_scope(connection):
            entry = self._journal.redoable(connection)
            if entry is None:
                raise CannotUndo("There is nothing to do again.")
            self._journal.load(entry)
            if entry.kind is EditKind.DISMISS:
                return self._dismissing.turn(entry, EditStage.DONE)
            self._check_bytes(entry, there=False)
            finished, behind = self._finish(workspace)
            entry.stage = EditStage.WAITING
            self._journal.save(entry)
            if behind:
                return foreseen(entry, self._journal)
            try:
                outcome = self._noting(entry, lambda: self._forward(workspace, entry, run, again=True))
            finally:
                if entry.stage is EditStage.REFUSED:
                    entry.stage, entry.facts.refused = EditStage.UNDONE, ""
                    self._journal.save(entry)
            outcome.stale |= bool(finished)
            return outcome

    def resume(self, workspace: Workspace, run: EditRun) -> list[EditOutcome]:
        """Finish what is unfinished, as far as the service lets us."""
        with self._journal.connection_scope(workspace.connection.id):
            return self._finish(workspace, run)[0]

    def empty_trash(self, connection_id: str | None) -> int:
        """Delete what is in the trash for good; bytes freed. Edits that need it can no longer be undone or redone."""
        self._journal.empty_trash(connection_id)
        freed = self._trash.drop(self._trash.all() - self._journal.needed())
        for connection in self._journal.connections() if connection_id is None else [connection_id]:
            with self._journal.connection_scope(connection):
                for entry in self._journal.rows(connection, EditStage.DONE):
                    self._journal.load(entry)
                    if not entry.facts.sealed and self._lost(entry, there=True):
                        entry.facts.sealed = True
                        self._journal.save(entry)
                lost = False
                for entry in self._journal.rows(connection, EditStage.UNDONE):
                    lost = lost or self._lost(self._journal.load(entry), there=False)
                    if lost:
                        self._journal.drop(entry)
        return freed

    # --- one edit, one way

    def _finish(self, workspace: Workspace, run: EditRun = NO_RUN) -> tuple[list[EditOutcome], bool]:
        """What came of what was unfinished; and whether something still is."""
        outcomes: list[EditOutcome] = []
        for entry in self._journal.unfinished(workspace.connection.id):
            self._journal.load(entry)
            forward, gone = entry.forward, {one.n for one in entry.placements if one.gone}
            try:
                if entry.stage is EditStage.UNDOING:
                    outcome = self._back(workspace, entry, run, later=True)
                else:
                    outcome = self._forward(workspace, entry, run, later=True)
            except Exception:  # noqa: BLE001 - the edit's note says it; others must not wait for ever
                outcome = EditOutcome(edit_of(entry, self._journal), self._journal.training_set_id(entry), stale=True)
                run = replace(run, cancelled=NO_RUN.cancelled)
            outcome.conflicts = note_conflicts(self._journal, entry, forward, gone)
            outcomes.append(outcome)
            if entry.stage in UNFINISHED:
                return outcomes, True
        return outcomes, False

    def _noting(self, entry: EditRow, step: Callable[[], EditOutcome]) -> EditOutcome:
        """Run an edit, and keep what is to be decided of its images. Raises what the run raises."""
        forward, gone = entry.forward, {one.n for one in entry.placements if one.gone}
        try:
            outcome = step()
        except NotFound:
            note_conflicts(self._journal, entry, forward, gone)
            raise
        outcome.conflicts = note_conflicts(self._journal, entry, forward, gone)
        return outcome

    def _forward(
        self,
        workspace: Workspace,
        entry: EditRow,
        run: EditRun,
        *,
        later: bool = False,
        again: bool = False,
    ) -> EditOutcome:
        """Do it. Raises what stands in the way, when nothing of it was done or all was taken back."""
        look = CheckScope.NONE
        if entry.stage is EditStage.WAITING:
            planned_now = entry.kind in LABEL_ACTS and not entry.facts.planned
            look = CheckScope.WHOLE if later else CheckScope.NONE if planned_now else CheckScope.NEAR
        entry.stage = EditStage.DOING
        self._journal.save(entry)
        try:
            outcome = EditExecutor(workspace, self._journal, self._trash, entry, run, look=look).run()
        except Exception as fault:
            if _is_passing(fault):
                return self._interrupted(workspace, entry, fault, later or again)
            self._take_back(workspace, entry, fault)
            if not (later or again) and entry.stage is EditStage.REFUSED:
                self._journal.drop(entry)
            raise
        return self._ended(entry, EditStage.DONE, outcome)

    def _back(self, workspace: Workspace, entry: EditRow, run: EditRun, *, later: bool = False) -> EditOutcome:
        """Take it back. Raises what stands in the way, when it is done still, or again."""
        look = CheckScope.NONE if _touched(entry) else CheckScope.WHOLE if later else CheckScope.NEAR
        try:
            outcome = EditExecutor(workspace, self._journal, self._trash, entry, run, look=look).run()
        except Exception as fault:
            if _is_passing(fault):
                if not isinstance(fault, _AWAY) and not later and not _touched(entry):
                    entry.stage = EditStage.DONE
                    self._journal.save(entry)
                    raise
                return self._noted(entry, fault)
            if entry.facts.refused:
                self._give_up(entry, fault)
            else:
                entry.stage = EditStage.DOING
                self._journal.save(entry)
                self._again(workspace, entry, EditStage.DONE)
            raise
        return self._ended(entry, EditStage.REFUSED if entry.facts.refused else EditStage.UNDONE, outcome)

    def _interrupted(self, workspace: Workspace, entry: EditRow, fault: Exception, kept: bool) -> EditOutcome:
        """The service went away, or lets nobody in at the moment."""
        if isinstance(fault, ApiError) and fault.unsent:
            entry.facts.doubt = False
        if _touched(entry):
            return self._noted(entry, fault)
        if not isinstance(fault, _AWAY) and not kept:
            self._journal.drop(entry)
            raise fault
        entry.note = str(fault)
        return self._wait(workspace, entry)

    def _wait(self, workspace: Workspace, entry: EditRow) -> EditOutcome:
        """Keep an edit of which nothing was done until the service is back."""
        entry.stage, facts = EditStage.WAITING, entry.facts
        if entry.kind in LABEL_ACTS:
            listing = workspace.cached_listing(self._journal.training_set_id(entry))
            images = [image for image in listing.images if image.label == facts.old] if listing is not None else []
            entry.placements = placements_of(images, facts.old, facts.new or None)
            facts.labels_dropped = [facts.old]
        facts.planned = entry.kind is EditKind.IMPORT
        self._journal.plan(entry)
        return foreseen(entry, self._journal)

    def _take_back(self, workspace: Workspace, entry: EditRow, fault: Exception) -> None:
        """Undo what was done of an edit that cannot be done."""
        entry.facts.refused = str(fault)
        if not (_touched(entry) or entry.facts.planned):
            self._refuse(entry)
            return
        entry.stage = EditStage.UNDOING
        self._journal.save(entry)
        self._again(workspace, entry, EditStage.REFUSED)

    def _again(self, workspace: Workspace, entry: EditRow, end: EditStage) -> None:
        """Run an edit in its new direction after it failed in the other; raises nothing, it goes on later."""
        try:
            outcome = EditExecutor(workspace, self._journal, self._trash, entry, NO_RUN).run()
        except Exception as fault:  # noqa: BLE001 - the first failure is the one to be raised
            if not _is_passing(fault):
                self._give_up(entry, fault)
            return
        self._ended(entry, end, outcome)

    def _give_up(self, entry: EditRow, fault: Exception) -> None:
        """Neither way is open: say so, and let later edits pass."""
        entry.note = f"This could be neither finished nor taken back: {fault}"
        entry.stage = EditStage.REFUSED
        self._close(entry)

    def _refuse(self, entry: EditRow) -> None:
        entry.stage, entry.note = EditStage.REFUSED, entry.facts.refused
        self._close(entry)

    def _ended(self, entry: EditRow, end: EditStage, outcome: EditOutcome) -> EditOutcome:
        entry.stage = end
        if end is EditStage.REFUSED:
            entry.note = entry.facts.refused
        self._close(entry)
        outcome.edit = edit_of(entry, self._journal)
        outcome.training_set_id = outcome.edit.training_set_id
        self._dismissing.follow(entry.connection, outcome.changed)
        return outcome

    def _close(self, entry: EditRow) -> None:
        """An edit is at one of its ends: nothing is in doubt, and bytes that nobody needs go."""
        facts = entry.facts
        facts.before, facts.sets_before, facts.doubt, facts.begun = None, None, False, False
        self._journal.save(entry)
        hashes = {placement.sha256 for placement in entry.placements} - {""}
        self._trash.drop(hashes - self._journal.needed(hashes))

    def _noted(self, entry: EditRow, fault: Exception) -> EditOutcome:
        """It stays unfinished; the outcome tells how it will be."""
        entry.note = f"{fault} It is finished as soon as the service is back."
        self._journal.save(entry)
        outcome = foreseen(entry, self._journal)
        outcome.stale = True
        return outcome

    # --- what an edit needs, and what it will come to

    def _lost(self, entry: EditRow, *, there: bool) -> bool:
        """Whether bytes are gone that the way back (or forth) needs."""
        for placement in entry.placements:
            start = placement.target if there else placement.source
            needed = placement.there == there and not placement.gone and start is None and not placement.merged
            if needed and not self._trash.has(placement.sha256):
                return True
        return False

    def _check_bytes(self, entry: EditRow, *, there: bool) -> None:
        if self._lost(entry, there=there):
            raise CannotUndo(f"“{entry.title}” needs images that are no longer in the trash.")

    def expected(self, connection_id: str, training_set_id: Id) -> list[EditOutcome]:
        """See `Edits.expected`."""
        entries = [self._journal.load(entry) for entry in self._journal.unfinished(connection_id)]
        outcomes = [foreseen(entry, self._journal) for entry in entries]
        return [one for one in outcomes if str(one.training_set_id) == str(training_set_id)]


def _is_passing(fault: Exception) -> bool:
    """Whether the same call may work later: the edit is kept for then."""
    if isinstance(fault, StorageFull):
        return False
    return isinstance(fault, (ConnectionFailed, TimedOut, RateLimited, ServerError, WrongKey, NotApiTorch))


def _touched(entry: EditRow) -> bool:
    """Whether anything of a run may have reached the service."""
    facts = entry.facts
    if facts.doubt or facts.begun or facts.sets_before is not None or (entry.kind is EditKind.FEEDBACK and facts.sent):
        return True
    return any(one.there == entry.forward or one.step != CopyStep.NONE for one in entry.placements if not one.gone)
