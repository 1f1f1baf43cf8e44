"""Driver: sees each edit through to one of its two ends, whatever fails, in the order in which they were made."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from threading import Lock, RLock
from typing import TYPE_CHECKING

from apitorch_desktop.api.errors import (
    ApiError,
    ConnectionFailed,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerFault,
    StorageFull,
    TimedOut,
    WrongKey,
)
from apitorch_desktop.dataset.edits.conflicts import note_conflicts
from apitorch_desktop.dataset.edits.executor import Performer, edit_of, placements_of
from apitorch_desktop.dataset.edits.foreseeing import foreseen
from apitorch_desktop.dataset.edits.model import LABEL_ACTS, Act, CannotUndo, Outcome, Stage, Step
from apitorch_desktop.dataset.edits.reconcile import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apitorch_desktop.api.types import Id
    from apitorch_desktop.dataset.edits.dismiss import Dismissing
    from apitorch_desktop.dataset.edits.journal import Journal
    from apitorch_desktop.dataset.edits.model import Entry, Facts, Placement
    from apitorch_desktop.dataset.edits.trash import Trash
    from apitorch_desktop.dataset.workspace.workspace import Workspace

    Progress = Callable[[int, int], None] | None
    Cancel = Callable[[], bool] | None

_UNFINISHED = (Stage.WAITING, Stage.DOING, Stage.UNDOING)
_AWAY = (ConnectionFailed, TimedOut)


class Driver:
    """Thread-safe; one edit of a connection at a time."""

    def __init__(self, journal: Journal, trash: Trash, dismissing: Dismissing) -> None:
        self._journal = journal
        self._trash = trash
        self._dismissing = dismissing
        self._lock = Lock()
        self._turns: defaultdict[str, RLock] = defaultdict(RLock)

    @contextmanager
    def turn(self, connection_id: str) -> Iterator[None]:
        """Wait for the other edits of a connection."""
        with self._lock:
            turn = self._turns[connection_id]
        with turn:
            yield

    def unfinished(self, connection_id: str) -> list[Entry]:
        """Edits that wait for the service or were interrupted, oldest first."""
        return self._journal.entries(connection_id, *_UNFINISHED)

    def last_done(self, connection_id: str) -> Entry | None:
        """What undo would undo."""
        stages = (Stage.DONE, Stage.WAITING, Stage.DOING, Stage.BEGUN)
        for entry in self._journal.entries(connection_id, *stages, limit=1, newest=True):
            return None if entry.facts.sealed else entry
        return None

    def first_undone(self, connection_id: str) -> Entry | None:
        """What redo would do again."""
        for entry in self._journal.entries(connection_id, Stage.UNDONE, limit=1):
            return entry
        return None

    # --- what is asked for

    def do(
        self,
        workspace: Workspace,
        training_set: str,
        act: Act,
        title: str,
        facts: Facts,
        placements: list[Placement],
        progress: Progress,
        cancelled: Cancel,
    ) -> Outcome:
        """A new edit, to its end."""
        connection = workspace.connection.id
        with self.turn(connection):
            finished, behind = self._finish(workspace)
            entry = self._journal.add(connection, training_set, act, title, Stage.WAITING, facts)
            entry.placements = placements
            if placements:
                self._journal.plan(entry)
            if behind:
                outcome = self._wait(workspace, entry)
            else:
                outcome = self._noting(entry, lambda: self._forward(workspace, entry, progress, cancelled))
            outcome.stale |= bool(finished)
            return outcome

    def undo(self, workspace: Workspace, progress: Progress, cancelled: Cancel) -> Outcome:
        """Take the last edit back. Raises CannotUndo."""
        connection = workspace.connection.id
        with self.turn(connection):
            entry = self.last_done(connection)
            if entry is None:
                raise CannotUndo("There is nothing to undo, or what it needs was in the trash when that was emptied.")
            if entry.stage is Stage.BEGUN:
                raise CannotUndo("The import is still under way. Cancel it first, then undo it.")
            self._journal.load(entry)
            if entry.act is Act.DISMISS:
                return self._dismissing.turn(entry, Stage.UNDONE)
            if entry.stage is Stage.WAITING:
                entry.stage = Stage.UNDONE
                self._journal.save(entry)
                return foreseen(entry, self._journal)
            if entry.stage is Stage.DONE:
                self._check_bytes(entry, there=True)
                finished, behind = self._finish(workspace)
                entry.stage = Stage.UNDOING
                self._journal.save(entry)
                if behind:
                    outcome = foreseen(entry, self._journal)
                else:
                    outcome = self._noting(entry, lambda: self._back(workspace, entry, progress, cancelled))
                outcome.stale |= bool(finished)
                return outcome
            entry.stage = Stage.UNDOING
            self._journal.save(entry)
            return self._back(workspace, entry, progress, cancelled)

    def redo(self, workspace: Workspace, progress: Progress, cancelled: Cancel) -> Outcome:
        """Do the first undone edit again. Raises CannotUndo."""
        connection = workspace.connection.id
        with self.turn(connection):
            entry = self.first_undone(connection)
            if entry is None:
                raise CannotUndo("There is nothing to do again.")
            self._journal.load(entry)
            if entry.act is Act.DISMISS:
                return self._dismissing.turn(entry, Stage.DONE)
            self._check_bytes(entry, there=False)
            finished, behind = self._finish(workspace)
            entry.stage = Stage.WAITING
            self._journal.save(entry)
            if behind:
                return foreseen(entry, self._journal)
            try:
                outcome = self._noting(entry, lambda: self._forward(workspace, entry, progress, cancelled, again=True))
            finally:
                if entry.stage is Stage.REFUSED:
                    entry.stage, entry.facts.refused = Stage.UNDONE, ""
                    self._journal.save(entry)
            outcome.stale |= bool(finished)
            return outcome

    def resume(self, workspace: Workspace, progress: Progress, cancelled: Cancel) -> list[Outcome]:
        """Finish what is unfinished, as far as the service lets us."""
        with self.turn(workspace.connection.id):
            return self._finish(workspace, progress, cancelled)[0]

    def empty_trash(self, connection_id: str | None) -> int:
        """Delete what is in the trash for good; bytes freed. Edits that need it can no longer be undone or redone."""
        self._journal.empty_trash(connection_id)
        freed = self._trash.drop(self._trash.all() - self._journal.needed())
        for connection in self._journal.connections() if connection_id is None else [connection_id]:
            with self.turn(connection):
                for entry in self._journal.entries(connection, Stage.DONE):
                    self._journal.load(entry)
                    if not entry.facts.sealed and self._lost(entry, there=True):
                        entry.facts.sealed = True
                        self._journal.save(entry)
                lost = False
                for entry in self._journal.entries(connection, Stage.UNDONE):
                    lost = lost or self._lost(self._journal.load(entry), there=False)
                    if lost:
                        self._journal.drop(entry)
        return freed

    # --- one edit, one way

    def _finish(
        self, workspace: Workspace, progress: Progress = None, cancelled: Cancel = None
    ) -> tuple[list[Outcome], bool]:
        """What came of what was unfinished; and whether something still is."""
        outcomes: list[Outcome] = []
        for entry in self.unfinished(workspace.connection.id):
            self._journal.load(entry)
            forward, gone = entry.forward, {one.n for one in entry.placements if one.gone}
            try:
                if entry.stage is Stage.UNDOING:
                    outcome = self._back(workspace, entry, progress, cancelled, later=True)
                else:
                    outcome = self._forward(workspace, entry, progress, cancelled, later=True)
            except Exception:  # noqa: BLE001 - the edit's note says it; others must not wait for ever
                outcome = Outcome(edit_of(entry, self._journal), self._journal.set_now(entry), stale=True)
                cancelled = None
            outcome.conflicts = note_conflicts(self._journal, entry, forward, gone)
            outcomes.append(outcome)
            if entry.stage in _UNFINISHED:
                return outcomes, True
        return outcomes, False

    def _noting(self, entry: Entry, run: Callable[[], Outcome]) -> Outcome:
        """Run an edit, and keep what is to be decided of its images. Raises what the run raises."""
        forward, gone = entry.forward, {one.n for one in entry.placements if one.gone}
        try:
            outcome = run()
        except NotFound:
            note_conflicts(self._journal, entry, forward, gone)
            raise
        outcome.conflicts = note_conflicts(self._journal, entry, forward, gone)
        return outcome

    def _forward(
        self,
        workspace: Workspace,
        entry: Entry,
        progress: Progress,
        cancelled: Cancel,
        *,
        later: bool = False,
        again: bool = False,
    ) -> Outcome:
        """Do it. Raises what stands in the way, when nothing of it was done or all was taken back."""
        look = Look.NONE
        if entry.stage is Stage.WAITING:
            planned_now = entry.act in LABEL_ACTS and not entry.facts.planned
            look = Look.WHOLE if later else Look.NONE if planned_now else Look.NEAR
        entry.stage = Stage.DOING
        self._journal.save(entry)
        try:
            outcome = Performer(workspace, self._journal, self._trash, entry, progress, cancelled, look=look).run()
        except Exception as fault:
            if _is_passing(fault):
                return self._interrupted(workspace, entry, fault, later or again)
            self._take_back(workspace, entry, fault)
            if not (later or again) and entry.stage is Stage.REFUSED:
                self._journal.drop(entry)
            raise
        return self._ended(entry, Stage.DONE, outcome)

    def _back(
        self, workspace: Workspace, entry: Entry, progress: Progress, cancelled: Cancel, *, later: bool = False
    ) -> Outcome:
        """Take it back. Raises what stands in the way, when it is done still, or again."""
        look = Look.NONE if _touched(entry) else Look.WHOLE if later else Look.NEAR
        try:
            outcome = Performer(workspace, self._journal, self._trash, entry, progress, cancelled, look=look).run()
        except Exception as fault:
            if _is_passing(fault):
                if not isinstance(fault, _AWAY) and not later and not _touched(entry):
                    entry.stage = Stage.DONE
                    self._journal.save(entry)
                    raise
                return self._noted(entry, fault)
            if entry.facts.refused:
                self._give_up(entry, fault)
            else:
                entry.stage = Stage.DOING
                self._journal.save(entry)
                self._again(workspace, entry, Stage.DONE)
            raise
        return self._ended(entry, Stage.REFUSED if entry.facts.refused else Stage.UNDONE, outcome)

    def _interrupted(self, workspace: Workspace, entry: Entry, fault: Exception, kept: bool) -> Outcome:
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

    def _wait(self, workspace: Workspace, entry: Entry) -> Outcome:
        """Keep an edit of which nothing was done until the service is back."""
        entry.stage, facts = Stage.WAITING, entry.facts
        if entry.act in LABEL_ACTS:
            listing = workspace.known_listing(self._journal.set_now(entry))
            images = [image for image in listing.images if image.label == facts.old] if listing is not None else []
            entry.placements = placements_of(images, facts.old, facts.new or None)
            facts.labels_dropped = [facts.old]
        facts.planned = entry.act is Act.IMPORT
        self._journal.plan(entry)
        return foreseen(entry, self._journal)

    def _take_back(self, workspace: Workspace, entry: Entry, fault: Exception) -> None:
        """Undo what was done of an edit that cannot be done."""
        entry.facts.refused = str(fault)
        if not (_touched(entry) or entry.facts.planned):
            self._refuse(entry)
            return
        entry.stage = Stage.UNDOING
        self._journal.save(entry)
        self._again(workspace, entry, Stage.REFUSED)

    def _again(self, workspace: Workspace, entry: Entry, end: Stage) -> None:
        """Run an edit in its new direction after it failed in the other; raises nothing, it goes on later."""
        try:
            outcome = Performer(workspace, self._journal, self._trash, entry).run()
        except Exception as fault:  # noqa: BLE001 - the first failure is the one to be raised
            if not _is_passing(fault):
                self._give_up(entry, fault)
            return
        self._ended(entry, end, outcome)

    def _give_up(self, entry: Entry, fault: Exception) -> None:
        """Neither way is open: say so, and let later edits pass."""
        entry.note = f"This could be neither finished nor taken back: {fault}"
        entry.stage = Stage.REFUSED
        self._close(entry)

    def _refuse(self, entry: Entry) -> None:
        entry.stage, entry.note = Stage.REFUSED, entry.facts.refused
        self._close(entry)

    def _ended(self, entry: Entry, end: Stage, outcome: Outcome) -> Outcome:
        entry.stage = end
        if end is Stage.REFUSED:
            entry.note = entry.facts.refused
        self._close(entry)
        outcome.edit = edit_of(entry, self._journal)
        outcome.training_set_id = outcome.edit.training_set_id
        self._dismissing.follow(entry.connection, outcome.changed)
        return outcome

    def _close(self, entry: Entry) -> None:
        """An edit is at one of its ends: nothing is in doubt, and bytes that nobody needs go."""
        facts = entry.facts
        facts.before, facts.sets_before, facts.doubt, facts.begun = None, None, False, False
        self._journal.save(entry)
        hashes = {placement.sha256 for placement in entry.placements} - {""}
        self._trash.drop(hashes - self._journal.needed(hashes))

    def _noted(self, entry: Entry, fault: Exception) -> Outcome:
        """It stays unfinished; the outcome tells how it will be."""
        entry.note = f"{fault} It is finished as soon as the service is back."
        self._journal.save(entry)
        outcome = foreseen(entry, self._journal)
        outcome.stale = True
        return outcome

    # --- what an edit needs, and what it will come to

    def _lost(self, entry: Entry, *, there: bool) -> bool:
        """Whether bytes are gone that the way back (or forth) needs."""
        for placement in entry.placements:
            start = placement.target if there else placement.source
            needed = placement.there == there and not placement.gone and start is None and not placement.merged
            if needed and not self._trash.has(placement.sha256):
                return True
        return False

    def _check_bytes(self, entry: Entry, *, there: bool) -> None:
        if self._lost(entry, there=there):
            raise CannotUndo(f"“{entry.title}” needs images that are no longer in the trash.")

    def expected(self, connection_id: str, training_set_id: Id) -> list[Outcome]:
        """See `Edits.expected`."""
        entries = [self._journal.load(entry) for entry in self.unfinished(connection_id)]
        outcomes = [foreseen(entry, self._journal) for entry in entries]
        return [one for one in outcomes if str(one.training_set_id) == str(training_set_id)]


def _is_passing(fault: Exception) -> bool:
    """Whether the same call may work later: the edit is kept for then."""
    if isinstance(fault, StorageFull):
        return False
    return isinstance(fault, (ConnectionFailed, TimedOut, RateLimited, ServerFault, WrongKey, NotApiTorch))


def _touched(entry: Entry) -> bool:
    """Whether anything of a run may have reached the service."""
    facts = entry.facts
    if facts.doubt or facts.begun or facts.sets_before is not None or (entry.act is Act.FEEDBACK and facts.sent):
        return True
    return any(one.there == entry.forward or one.step != Step.NONE for one in entry.placements if not one.gone)
