"""What the person does to a training set: shown at once where that can be foreseen, done on a lane, with the offer of *Undo*."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.edits.history import EditHistory, EditOutcome, EditRun
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.utils.text import plural

Act = Callable[[EditHistory, Workspace, EditRun], EditOutcome]
"""An edit: does it, on a lane, and answers what changed."""

_UNFINISHED = ("waiting", "doing", "undoing")


class EditProgress:
    """An edit under way: how far it is, and whether the person wants it taken back; from any thread."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._stop = Event()
        self.run = EditRun(self.progress, self.cancelled)
        """The same for `EditHistory`."""

    def progress(self, done: int, total: int) -> None:
        """So many images of all are through."""
        self._context.progress((done, total))

    def cancel(self) -> None:
        """Have it taken back."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Whether the person wants it taken back. Not when the window closes: then it is finished at the next start."""
        return self._stop.is_set()


class EditController(QObject):
    """Edits of the session's connection, their undo and their redo."""

    edited = Signal(object)
    """The `EditOutcome` of an edit, once it is shown."""
    refused = Signal()
    """An edit could not be done."""
    waiting_changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.waiting = 0
        """Edits of this connection that are kept until the service is back."""
        session.service_connected.connect(self._finish)
        session.connection_changed.connect(self._count_waiting)

    # --- photos

    def move(self, images: Sequence[TrainingImage], label: str) -> None:
        """Put photos of the open training set under a label."""
        open_set = self._session.open_set
        moving = [image for image in images if image.label != label]
        if open_set is None or not moving:
            return
        before = [(image.image_id, str(image.label)) for image in moving]
        records = [_copy(image) for image in moving]  # the grid's own are told their new label at once
        ids = [image_id for image_id, _ in before]
        open_set.move_images(ids, label)

        def back(_fault: Exception) -> None:
            by_label: dict[str, list[str]] = {}
            for image_id, old in before:
                if not open_set.local_changes.holds(image_id):
                    by_label.setdefault(old, []).append(image_id)
            for old, its in by_label.items():
                open_set.move_images(its, old)

        photos = plural(len(moving), "photo")
        set_id = open_set.training_set.id
        self.do(
            f"Moving {photos}",
            lambda edits, workspace, run: edits.move(workspace, set_id, records, label, run),
            done=f"Moved {photos} to “{label}”",
            failed=back,
            holds=ids,
        )

    def delete(self, images: Sequence[TrainingImage]) -> None:
        """Delete photos of the open training set; they go to the trash."""
        open_set = self._session.open_set
        if open_set is None or not images:
            return
        records = [_copy(image) for image in images]
        ids = [image.image_id for image in images]
        open_set.remove_images(ids)
        photos = plural(len(images), "photo")
        set_id = open_set.training_set.id
        self.do(
            f"Deleting {photos}",
            lambda edits, workspace, run: edits.delete(workspace, set_id, records, run),
            done=f"Deleted {photos}",
            failed=lambda _fault: open_set.add_images(records),
            holds=ids,
        )

    # --- labels

    def create_label(self, set_id: Id, label: str) -> None:
        """Make a new, empty label."""
        self.do(
            "Making the label",
            lambda edits, workspace, _run: edits.create_label(workspace, set_id, label),
            done=f"Made the label “{label}”",
        )

    def rename_label(self, set_id: Id, label: str, new: str) -> None:
        """Give a label another name; into one that exists is a merge."""
        from apitorch_desktop.api.slugs import snake_case

        open_set = self._session.open_set
        name = snake_case(new)
        if (
            open_set is not None
            and str(open_set.training_set.id) == str(set_id)
            and name in open_set.counts
            and name != label
        ):
            self.merge_labels(set_id, label, name)
            return
        self.do(
            "Renaming the label",
            lambda edits, workspace, run: edits.rename_label(workspace, set_id, label, new, run),
            done=f"Renamed “{label}” to “{name}”",
        )

    def merge_labels(self, set_id: Id, label: str, into: str) -> None:
        """Put all photos of a label under another, and drop it."""
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
            done=f"Deleted the label “{label}”",
        )

    # --- training sets

    def create_training_set(self, name: str, then: Callable[[Id], object] | None = None) -> None:
        """Make a new training set; `then` is called with its id."""
        self.do(
            "Making the training set",
            lambda edits, workspace, _run: edits.create_training_set(workspace, name),
            done=f"Made “{name}”",
            then=lambda outcome: then(outcome.training_set_id) if then is not None else None,
        )

    def rename_training_set(self, set_id: Id, name: str) -> None:
        """Give a training set another name."""
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

    # --- the way of all edits

    def undo(self) -> None:
        """Undo the last edit of this connection."""
        stores = self._session.stores

        def act(edits: EditHistory, workspace: Workspace, run: EditRun) -> EditOutcome:
            if stores is not None:
                stores.imports.cancel_running(workspace)
            return edits.undo(workspace, run)

        self.do("Undo", act, done="Undone")

    def redo(self) -> None:
        """Do again what was undone last."""
        self.do(
            "Redo",
            lambda edits, workspace, run: edits.redo(workspace, run),
            done="Done again",
        )

    def do(
        self,
        doing: str,
        act: Act,
        *,
        done: str = "",
        then: Callable[[EditOutcome], object] | None = None,
        failed: Callable[[Exception], object] | None = None,
        holds: Sequence[str] = (),
    ) -> Task | None:
        """Do an edit, show what changed, say `done`; `doing` names it while it lasts and where it fails.

        `holds`: images of the open training set in which the edit is shown already.
        """
        session = self._session
        stores, workspace = session.stores, session.workspace
        if stores is None or workspace is None:
            sentence = session.unavailable_reason("")
            session.show_message(sentence, "warn", "connection")
            if failed is not None:
                failed(RuntimeError(sentence))
            return None
        edits, open_set = stores.edits, session.open_set
        if open_set is not None:
            open_set.local_changes.hold(holds)
        watches: list[EditProgress] = []

        def job(context: JobContext) -> EditOutcome:
            watches.append(EditProgress(context))
            return act(edits, workspace, watches[0].run)

        def release() -> None:
            if open_set is not None:
                open_set.local_changes.release(holds)

        def shown(outcome: EditOutcome) -> None:
            release()
            self._show(outcome, done)
            if then is not None:
                then(outcome)

        def refused(fault: Exception) -> None:
            release()
            if failed is not None:
                failed(fault)
            session.message_expired.emit("edit")
            if watches and watches[0].cancelled() and _is_cancelled(fault):
                session.show_message(f"{doing} was cancelled: all is as it was before.", "", "edit")
            else:
                session.show_error(fault, doing)
            if session.open_set is not None and session.open_set.listed:
                session.open_set.refresh()  # what was taken back may have come back under other ids
            self.refused.emit()

        def progress(at: tuple[int, int]) -> None:
            self._say_progress(doing, at, watches[0])

        return session.tasks.run(
            Lane.INTERACTIVE,
            job,
            done=shown,
            failed=refused,
            progress=progress,
            owner=session.connection_scope,
            title=doing,
        )

    def _say_progress(self, doing: str, at: tuple[int, int], watch: EditProgress) -> None:
        done, total = at
        if total <= 1:
            return
        if watch.cancelled():
            self._session.show_message(f"{doing} is cancelled: what was done of it is taken back…", "muted", "edit")
        else:
            text = f"{doing}: {done:,} of {total:,}"
            self._session.show_message(text, "muted", "edit", (("Cancel", watch.cancel),))

    def _show(self, outcome: EditOutcome, said: str) -> None:
        session, edit = self._session, outcome.edit
        open_set = session.open_set
        if open_set is not None and str(outcome.training_set_id) == str(open_set.training_set.id):
            open_set.apply(outcome)
        session.message_expired.emit("edit")
        if edit.stage in _UNFINISHED:
            session.set_away(edit.note)
            self._count_waiting()
        if said:
            undone = edit.stage == "undone"
            again = ("Redo", self.redo) if undone else ("Undo", self.undo)
            text = f"{said}: {edit.title}" if said in ("Undone", "Done again") else said
            if edit.stage in _UNFINISHED:
                text = f"{text}: it is kept here, and sent when the service is back"
                note = ""  # what keeps it is said with the connection
            else:
                note = edit.note
            text = f"{text}. {note}".strip()
            session.show_message(text, "", "edit", (again,))
        self.edited.emit(outcome)
        unknown = session.find_set(outcome.training_set_id) is None
        if unknown or outcome.training_set_removed or outcome.replaces is not None or "training set" in edit.kind:
            session.refresh()

    def _finish(self, back: bool = False) -> None:
        """Send what waited for the service, then show what is there: others may have worked on it meanwhile."""
        session = self._session
        stores, workspace = session.stores, session.workspace
        if stores is None or workspace is None:
            return
        edits = stores.edits

        def done(outcomes: list[EditOutcome]) -> None:
            for outcome in outcomes:
                self._show(outcome, "")
            self._count_waiting()
            sentence = told(outcomes)
            if sentence:
                session.show_message(sentence, "warn", "resumed")
            show()

        def show() -> None:
            if session.open_set is not None and back:
                session.open_set.refresh()

        def failed(fault: Exception) -> None:
            session.show_error(fault, "Sending what waited")
            show()

        watches: list[EditProgress] = []

        def job(context: JobContext) -> list[EditOutcome]:
            watches.append(EditProgress(context))
            if not edits.unfinished(workspace.connection.id):
                return []
            return edits.resume(workspace, watches[0].run)

        session.tasks.run(
            Lane.INTERACTIVE,
            job,
            done=done,
            failed=failed,
            progress=lambda at: self._say_progress("Finishing what was begun", at, watches[0]),
            owner=session.connection_scope,
            title="Finish what was interrupted",
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

        session.tasks.run(
            Lane.DISK,
            lambda _context: len(edits.unfinished(connection.id)),
            done=counted,
            failed=session.show_error,
            owner=session.connection_scope,
            title="Count what waits",
        )


def told(outcomes: Sequence[EditOutcome]) -> str:
    """What of the edits that waited did not come out as meant, and what to do; "" where all did."""
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


def _is_cancelled(fault: Exception) -> bool:
    from apitorch_desktop.utils.errors import Cancelled

    return isinstance(fault, Cancelled)


def _copy(image: TrainingImage) -> TrainingImage:
    from msgspec.structs import replace

    return replace(image)
