"""Edits of a training set: shown at once where the outcome is known, run on a lane, reported with *Undo*."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event
from time import time

import msgspec
from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, Id, TrainingImage, label_name
from apitorch_desktop.dataset.edits.history import Edit, EditHistory, EditKind, EditOutcome, EditRun
from apitorch_desktop.dataset.edits.model import TRAINING_SET_KINDS, NextEdit
from apitorch_desktop.dataset.workspace.listing import Images, LazyImages, ids_by_label, without_label, without_records
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.session.messages import MessageAction
from apitorch_desktop.ui.session.open_training_set import OutcomeColumns
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.text import plural

Act = Callable[[EditHistory, Workspace, EditRun], EditOutcome]
"""Runs an edit on a lane and returns its outcome."""
Targets = Sequence[tuple[TrainingImage, str]]
"""Photos, each with the label that it gets."""
MoveAct = Callable[[EditHistory, Workspace, Id, EditRun], EditOutcome]

_UNFINISHED = ("waiting", "doing", "undoing")
_LONGEST = 60
"""Characters of a menu's text."""
_SLICE = 0.05
"""Seconds between two checks whether the edit before was cancelled."""
_IN_THE_TREE = TRAINING_SET_KINDS | {EditKind.IMPORT}
"""Kinds that show in the tree, where no training set is open."""


class _Elsewhere(Exception):  # noqa: N818 - named for what happened
    """Nothing was undone or redone, since what would be is out of sight: it is offered."""

    def __init__(self, found: NextEdit) -> None:
        super().__init__()
        self.found = found


class EditProgress:
    """Progress of a running edit, and its cancellation by the user. Thread-safe."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._stop = Event()
        self.run = EditRun(self.progress, self.cancelled)
        """The same for `EditHistory`."""

    def progress(self, done: int, total: int) -> None:
        """Report that `done` of `total` images are done."""
        self._context.progress((done, total))

    def cancel(self) -> None:
        """Ask for the edit to be reverted."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Return True if the user cancelled the edit; False when the window closes, since the next start finishes it."""
        return self._stop.is_set()


class _Turn:
    """Place of an edit among those of the window, which run in the order in which they were asked for.

    The journal lets in whoever comes first: an *Undo* right after an edit could be there before it.
    """

    def __init__(self) -> None:
        self._ended = Event()
        self.task: Task | None = None

    def end(self) -> None:
        """Let the next edit run; thread-safe."""
        self._ended.set()

    def wait(self) -> None:
        """Wait until the edit has ended, or was cancelled with its connection; thread-safe."""
        while (task := self.task) is not None and task.active and not self._ended.wait(_SLICE):
            pass


class EditController(QObject):
    """Runs the edits of the open connection, their undo and their redo."""

    edited = Signal(object)
    """An `EditOutcome`, once the outcome is shown."""
    taken_back = Signal(object)
    """The `EditOutcome` of an undo or a redo, after `edited`."""
    refused = Signal()
    """An edit failed."""
    waiting_changed = Signal()
    history_changed = Signal()
    """`next_undo` or `next_redo` changed."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.waiting = 0
        """Number of edits of this connection that wait for the service."""
        self.next_undo = self.next_redo = NextEdit()
        """As menus show it: *Undo* itself looks again, since it may come before the answer."""
        self._looking_up: Task | None = None
        self.background: set[int] = set()
        """Ids of edits that were not the user's own acts: what watched folders have added."""
        self._opened_at = time()
        self._undone: int | None = None
        """Id of the edit that was undone last, which redo does again wherever it was."""
        self._last_turn = _Turn()
        session.service_connected.connect(self._finish)
        session.connection_changed.connect(self._count_waiting)
        session.connection_changed.connect(self.look_up_history)
        session.open_set_changed.connect(self._on_open_set_changed)
        session.sets_changed.connect(self.look_up_history)

    # --- photos

    def move(self, images: Sequence[TrainingImage], label: str) -> None:
        """Move photos of the open training set to a label."""
        if not images:
            return
        moving = without_label(images, label)
        self._move(
            moving,
            {label: moving},
            f"Moved {plural(len(moving), 'photo')} to “{label_name(label)}”",
            lambda edits, workspace, set_id, run: edits.move(workspace, set_id, moving, label, run),
        )

    def move_each(self, images: Targets) -> None:
        """Move photos of the open training set, each to a label of its own, in one edit."""
        moving = [(msgspec.structs.replace(image), label) for image, label in images]
        by_label: dict[str, list[TrainingImage]] = {}
        for image, label in moving:
            by_label.setdefault(label, []).append(image)
        self._move(
            [image for image, _ in moving],
            by_label,
            f"Labeled {plural(len(images), 'photo')} as proposed",
            lambda edits, workspace, set_id, run: edits.move_each(workspace, set_id, moving, run),
        )

    def _move(
        self, moving: Sequence[TrainingImage], by_label: Mapping[str, Sequence[TrainingImage]], done: str, act: MoveAct
    ) -> None:
        """Show photos under their new labels at once, and run the edit."""
        open_set = self._session.open_set
        if open_set is None or not moving:
            return
        set_id = open_set.training_set.id
        open_set.move_each({label: without_records(some) for label, some in by_label.items()})

        def back(_error: Exception) -> None:
            held = open_set.local_changes.held()
            open_set.move_each(
                {label: [one for one in ids if one not in held] for label, ids in ids_by_label(moving).items()}
            )

        self.do(
            f"Moving {plural(len(moving), 'photo')}",
            lambda edits, workspace, run: act(edits, workspace, set_id, run),
            done=done,
            failed=back,
            holds=without_records(moving),
        )

    def set_split(self, images: Sequence[TrainingImage], split: str) -> None:
        """Put photos of the open training set into a split, "" for none."""
        open_set = self._session.open_set
        if open_set is None or not images:
            return
        changing = images if isinstance(images, LazyImages) else [msgspec.structs.replace(one) for one in images]
        set_id, photos = open_set.training_set.id, plural(len(images), "photo")
        self.do(
            f"Changing the split of {photos}",
            lambda edits, workspace, run: edits.set_split(workspace, set_id, changing, split, run),
            done=f"Put {photos} into the split “{split}”" if split else f"Took {photos} out of their split",
        )

    def delete(self, images: Sequence[TrainingImage]) -> None:
        """Delete photos of the open training set; they go to the trash."""
        open_set = self._session.open_set
        if open_set is None or not images:
            return
        records = images if isinstance(images, LazyImages) else [msgspec.structs.replace(one) for one in images]
        removed = without_records(images)
        open_set.remove_images(removed)
        photos = plural(len(images), "photo")
        set_id = open_set.training_set.id
        self.do(
            f"Deleting {photos}",
            lambda edits, workspace, run: edits.delete(workspace, set_id, records, run),
            done=f"Deleted {photos}",
            failed=lambda _error: open_set.add_images(list(records)),
            holds=removed,
        )

    # --- labels

    def create_label(self, set_id: Id, label: str) -> None:
        """Create an empty label."""
        if snake_case(label) == INBOX:
            self._session.show_message(f"“{INBOX}” stands for no label: choose another name.", "warn", "labels")
            return
        self.do(
            "Making the label",
            lambda edits, workspace, _run: edits.create_label(workspace, set_id, label),
            done=f"Made the label “{snake_case(label) or label}”",
        )

    def rename_label(self, set_id: Id, label: str, new: str) -> None:
        """Rename a label; the name of an existing label merges the two."""
        open_set = self._session.open_set
        name = snake_case(new)
        if name == INBOX:
            self._session.show_message(f"“{INBOX}” stands for no label: choose another name.", "warn", "labels")
            return
        if open_set is not None and open_set.training_set.id == set_id and name in open_set.counts and name != label:
            self.merge_labels(set_id, label, name)
            return
        self.do(
            "Renaming the label",
            lambda edits, workspace, run: edits.rename_label(workspace, set_id, label, new, run),
            done=f"Renamed “{label}” to “{name}”",
        )

    def merge_labels(self, set_id: Id, label: str, into: str) -> None:
        """Move all photos of a label to another, and delete it."""
        self.do(
            "Merging the labels",
            lambda edits, workspace, run: edits.merge_labels(workspace, set_id, label, into, run),
            done=f"Merged “{label}” into “{into}”",
        )

    def delete_label(self, set_id: Id, label: str) -> None:
        """Delete a label; its photos go to the trash."""
        self.do(
            "Deleting the label",
            lambda edits, workspace, run: edits.delete_label(workspace, set_id, label, run),
            done="Deleted the photos without a label" if label == INBOX else f"Deleted the label “{label}”",
        )

    # --- training sets

    def create_training_set(self, name: str, then: Callable[[Id], object] | None = None) -> None:
        """Create a training set; `then` is called with its id."""
        self.do(
            "Making the training set",
            lambda edits, workspace, _run: edits.create_training_set(workspace, name),
            done=f"Made “{name}”",
            then=lambda outcome: then(outcome.training_set_id) if then is not None else None,
        )

    def rename_training_set(self, set_id: Id, name: str) -> None:
        """Rename a training set."""
        self.do(
            "Renaming the training set",
            lambda edits, workspace, _run: edits.rename_training_set(workspace, set_id, name),
            done=f"Renamed to “{name}”",
        )

    def delete_training_set(self, set_id: Id, name: str) -> None:
        """Delete a training set; its photos go to the trash."""
        self.do(
            f"Deleting “{name}”",
            lambda edits, workspace, run: edits.delete_training_set(workspace, set_id, run),
            done=f"Deleted “{name}”",
        )

    # --- any edit

    def undo(self) -> None:
        """Undo the last finished edit of the open training set; a running import has a *Cancel* of its own.

        If the last one of the connection was elsewhere, that one is offered too; and nothing is undone before the user
        has chosen, if it was made in the tree or since the training set was opened, as a copy from it to another is.
        """
        open_id, found, opened_at = self._open_id(), NextEdit(), self._opened_at

        def in_sight(found: NextEdit, last: Edit) -> bool:
            """Return whether what is undone was done in what the user looks at, and nothing elsewhere since."""
            if open_id is None:
                return last.kind in _IN_THE_TREE
            since = last.created_at > opened_at and last.id not in self.background
            return found.here is not None and not since and last.kind not in TRAINING_SET_KINDS

        def act(edits: EditHistory, workspace: Workspace, run: EditRun) -> EditOutcome:
            nonlocal found
            connection_id = workspace.connection.id
            with edits.journal.connection_scope(connection_id):
                found = edits.next_undo(connection_id, open_id)
                chosen, last = found.here or found.elsewhere, found.elsewhere
                if last is not None and not in_sight(found, last):
                    raise _Elsewhere(found)
                return edits.undo(workspace, run, chosen.id if chosen is not None else None)

        def then(outcome: EditOutcome) -> None:
            self._on_undone(outcome)
            if found.elsewhere is not None and found.elsewhere.id != outcome.edit.id:
                actions = (("Redo", partial(self.redo_edit, outcome.edit.id)), self._undo_action(found.elsewhere))
                text = f"Undone: {outcome.edit.title}. {self._sentence(found.elsewhere)}"
                self._session.show_message(text, "", "edit", actions)

        self.do("Undo", act, done="Undone", then=then, failed=partial(self._offer, redo=False))

    def redo(self) -> None:
        """Redo the edit of the open training set that was undone last; one of elsewhere is offered, unless the user has
        just undone it.
        """
        open_id, undone = self._open_id(), self._undone

        def act(edits: EditHistory, workspace: Workspace, run: EditRun) -> EditOutcome:
            connection_id = workspace.connection.id
            with edits.journal.connection_scope(connection_id):
                found = edits.next_redo(connection_id, open_id)
                chosen = found.here or found.elsewhere
                direct = open_id is None and chosen is not None and chosen.kind in _IN_THE_TREE
                if found.here is None and chosen is not None and chosen.id != undone and not direct:
                    raise _Elsewhere(found)
                return edits.redo(workspace, run, chosen.id if chosen is not None else None)

        self.do("Redo", act, done="Redone", then=self.taken_back.emit, failed=partial(self._offer, redo=True))

    def undo_edit(self, edit_id: int) -> None:
        """Undo this edit, the last one of its training set."""
        self.do(
            "Undo",
            lambda edits, workspace, run: edits.undo(workspace, run, edit_id),
            done="Undone",
            then=self._on_undone,
        )

    def redo_edit(self, edit_id: int) -> None:
        """Redo this edit, the next one of its training set."""
        self.do(
            "Redo",
            lambda edits, workspace, run: edits.redo(workspace, run, edit_id),
            done="Redone",
            then=self.taken_back.emit,
        )

    def undo_text(self) -> str:
        """Return the text of *Undo* with what it undoes: “Undo moving 3 photos to “dress””."""
        return _menu_text("Undo", self.next_undo.here)

    def redo_text(self) -> str:
        """Return the text of *Redo* with what it does again."""
        return _menu_text("Redo", self.next_redo.here)

    def no_undo(self) -> str:
        """Return why there is nothing to undo, as far as that is known."""
        return "" if self.next_undo != NextEdit() else "There is nothing to undo."

    def no_redo(self) -> str:
        """Return why there is nothing to redo, as far as that is known."""
        return "" if self.next_redo != NextEdit() else "There is nothing to redo."

    def look_up_history(self) -> None:
        """Read what undo and redo come to next; for others that have written to the journal."""
        session = self._session
        if (stores := session.stores) is None or session.connection is None:
            return
        edits, connection_id, open_id = stores.edits, session.connection.id, self._open_id()

        def found(answer: tuple[NextEdit, NextEdit]) -> None:
            if open_id == self._open_id() and answer != (self.next_undo, self.next_redo):
                self.next_undo, self.next_redo = answer
                self.history_changed.emit()

        if self._looking_up is not None:
            self._looking_up.cancel()
        self._looking_up = session.run(
            "Looking up what can be undone",
            lambda _context: (edits.next_undo(connection_id, open_id), edits.next_redo(connection_id, open_id)),
            found,
            lane=Lane.DISK,
        )

    def _on_open_set_changed(self) -> None:
        self._opened_at = time()
        self.look_up_history()

    def _open_id(self) -> Id | None:
        open_set = self._session.open_set
        return open_set.training_set.id if open_set is not None else None

    def _on_undone(self, outcome: EditOutcome) -> None:
        self._undone = outcome.edit.id
        self.taken_back.emit(outcome)

    def _offer(self, error: Exception, *, redo: bool) -> None:
        """Offer what would have been undone or redone out of sight, and for an undo what is in sight."""
        if not isinstance(error, _Elsewhere) or (last := error.found.elsewhere) is None:
            return
        if redo:
            actions: list[MessageAction] = [("Redo it", partial(self.redo_edit, last.id))]
            text = self._sentence(last).replace("The last change", "The last change that was undone", 1)
        else:
            actions, text = [self._undo_action(last)], self._sentence(last)
            if (here := error.found.here) is not None:
                actions.append((_menu_text("Undo", here), partial(self.undo_edit, here.id)))
        self._session.show_message(text, "", "edit", tuple(actions))

    def _undo_action(self, edit: Edit) -> MessageAction:
        found = self._session.find_set(edit.training_set_id)
        verb = f"Undo in “{found.name}”" if found is not None and edit.kind not in TRAINING_SET_KINDS else "Undo it"
        return verb, partial(self.undo_edit, edit.id)

    def _sentence(self, edit: Edit) -> str:
        found = self._session.find_set(edit.training_set_id)
        place = f" in “{found.name}”" if found is not None and edit.kind not in TRAINING_SET_KINDS else ""
        return f"The last change was{place}: {edit.title}."

    def do(
        self,
        title: str,
        act: Act,
        *,
        done: str = "",
        then: Callable[[EditOutcome], object] | None = None,
        failed: Callable[[Exception], object] | None = None,
        holds: Images = (),
    ) -> Task | None:
        """Run an edit, show its outcome and the message `done`; `title` names it in its progress and its failure.

        `holds`: images of the open training set in which the edit is shown already, an object of its own.
        """
        session = self._session
        if (connected := session.connected) is None:
            sentence = session.unavailable_reason("")
            session.show_message(sentence, "warn", "connection")
            if failed is not None:
                failed(RuntimeError(sentence))
            return None
        open_set = session.open_set
        if open_set is not None:
            open_set.local_changes.hold(holds)
        watches: list[EditProgress] = []
        before, turn = self._last_turn, _Turn()

        def job(context: JobContext) -> tuple[EditOutcome, OutcomeColumns]:
            watches.append(EditProgress(context))
            before.wait()
            try:
                outcome = act(connected.stores.edits, connected.workspace, watches[0].run)
                return outcome, OutcomeColumns.of(outcome)
            finally:
                turn.end()

        def release() -> None:
            if open_set is not None:
                open_set.local_changes.release(holds)

        def shown(answer: tuple[EditOutcome, OutcomeColumns]) -> None:
            outcome, columns = answer
            release()
            self._show(outcome, done, columns)
            if then is not None:
                then(outcome)

        def refused(error: Exception) -> None:
            release()
            if failed is not None:
                failed(error)
            if isinstance(error, _Elsewhere):
                return
            session.message_expired.emit("edit")
            if watches and watches[0].cancelled() and isinstance(error, Cancelled):
                session.show_message(f"{title} was cancelled: all is as it was before.", "", "edit")
            else:
                session.show_error(error, title)
            if session.open_set is not None and session.open_set.listed:
                session.open_set.refresh()  # what was taken back may have come back under other ids
            self.look_up_history()
            self.refused.emit()

        def progress(at: tuple[int, int]) -> None:
            self._show_progress(title, at, watches[0])

        self._last_turn, turn.task = turn, session.run(title, job, shown, failed=refused, progress=progress)
        return turn.task

    def _show_progress(self, title: str, at: tuple[int, int], watch: EditProgress) -> None:
        done, total = at
        if total <= 1:
            return
        if watch.cancelled():
            self._session.show_message(f"{title} is cancelled: what was done of it is taken back…", "muted", "edit")
        else:
            text = f"{title}: {done:,} of {total:,}"
            self._session.show_message(text, "muted", "edit", (("Cancel", watch.cancel),))

    def _show(self, outcome: EditOutcome, text: str, columns: OutcomeColumns | None = None) -> None:
        session, edit = self._session, outcome.edit
        open_set = session.open_set
        is_open = open_set is not None and outcome.training_set_id == open_set.training_set.id
        if open_set is not None and is_open:
            open_set.apply(outcome, columns)
        session.message_expired.emit("edit")
        if edit.stage in _UNFINISHED:
            session.set_away(edit.note)
            self._count_waiting()
        if text:
            undone = edit.stage == "undone"
            action = (
                ("Redo", partial(self.redo_edit, edit.id)) if undone else ("Undo", partial(self.undo_edit, edit.id))
            )
            text = f"{text}: {edit.title}" if text in ("Undone", "Redone") else text
            if edit.stage in _UNFINISHED:  # the reason is shown with the connection
                text, note = f"{text}: it is kept here, and sent when the service is back", ""
            else:
                note = edit.note
            session.show_message(f"{text}. {note}".strip(), "", "edit", (action,))
        self.look_up_history()
        self.edited.emit(outcome)
        unknown = session.find_set(outcome.training_set_id) is None
        if outcome.training_set_removed:
            session.refresh_sets()  # not the photos: those of the removed set cannot be listed any more
        elif unknown or outcome.replaces is not None or edit.kind in TRAINING_SET_KINDS:
            session.refresh()
        elif not is_open and edit.stage not in _UNFINISHED:
            session.refresh_sets()

    def _finish(self, back: bool = False) -> None:
        """Send the edits that waited for the service, then list again: others may have changed the set meanwhile."""
        session = self._session
        if (connected := session.connected) is None:
            return
        edits, workspace = connected.stores.edits, connected.workspace

        def done(outcomes: list[EditOutcome]) -> None:
            for outcome in outcomes:
                self._show(outcome, "")
            self._count_waiting()
            sentence = summary(outcomes)
            if sentence:
                session.show_message(sentence, "warn", "resumed")
            show()

        def show() -> None:
            if session.open_set is not None and back:
                session.open_set.refresh()

        def failed(error: Exception) -> None:
            session.show_error(error, "Sending what waited")
            show()

        watches: list[EditProgress] = []

        def job(context: JobContext) -> list[EditOutcome]:
            watches.append(EditProgress(context))
            if not edits.unfinished(workspace.connection.id):
                return []
            return edits.resume(workspace, watches[0].run)

        session.run(
            "Sending what waited",
            job,
            done,
            failed=failed,
            progress=lambda at: self._show_progress("Finishing what was begun", at, watches[0]),
        )

    def _count_waiting(self) -> None:
        session = self._session
        stores, connection = session.stores, session.connection
        if stores is None or connection is None:
            return
        edits = stores.edits

        def counted(count: int) -> None:
            if count != self.waiting:
                self.waiting = count
                self.waiting_changed.emit()

        session.run(
            "Counting the edits that wait",
            lambda _context: len(edits.unfinished(connection.id)),
            counted,
            failed=session.show_error,
            lane=Lane.DISK,
        )


def summary(outcomes: Sequence[EditOutcome]) -> str:
    """Return which of the edits that waited were refused or changed, with advice; "" if none was."""
    parts = []
    for edit in (outcome.edit for outcome in outcomes if not outcome.conflicts):  # those are shown photo by photo
        if edit.stage == "refused":
            parts.append(f"Not done: {edit.title}. {edit.note}")
        elif edit.note and edit.stage not in _UNFINISHED:
            parts.append(f"{edit.title[:1].upper()}{edit.title[1:]}: {edit.note[:1].lower()}{edit.note[1:]}")
    if not parts:
        return ""
    more = f" And {len(parts) - 2:,} more." if len(parts) > 2 else ""
    return f"While it was away: {' '.join(parts[:2])}{more} You see what is there now; do again what you still want."


def doing(title: str) -> str:
    """Return an edit's title as after “Undo”: “move 3 photos” as “moving 3 photos”."""
    verb, space, rest = title.partition(" ")
    return f"{'putt' if verb == 'put' else verb.removesuffix('e')}ing{space}{rest}"


def _menu_text(verb: str, edit: Edit | None) -> str:
    if edit is None:
        return verb
    text = f"{verb} {doing(edit.title)}"
    return (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…").replace("&", "&&")
