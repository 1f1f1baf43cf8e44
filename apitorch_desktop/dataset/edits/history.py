"""Edits: every act that changes a training set, journalled, with its undo and redo, on any kind of service.

A service with the extensions `images` and `labels` does most of it in a call. On one with the documented calls alone,
an image changes its label by download, upload, confirmation, and only then deletion of the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from apitorch_desktop.api.errors import BadRequest
from apitorch_desktop.api.extensions import label_of
from apitorch_desktop.api.types import Classification, Id, TrainingImage
from apitorch_desktop.dataset.edits.conflicts import ConflictResolver
from apitorch_desktop.dataset.edits.dismiss import DismissEdits
from apitorch_desktop.dataset.edits.executor import edit_of, placements_of
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import (
    NO_RUN,
    CannotUndo,
    Edit,
    EditKind,
    EditOutcome,
    EditPayload,
    EditRun,
    EditStage,
    Placement,
    TrashedImage,
    set_key,
)
from apitorch_desktop.dataset.edits.runner import EditRunner
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.review.dismissals import Dismissal, DismissalStore
from apitorch_desktop.dataset.workspace.workspace import Workspace

__all__ = ["CannotUndo", "Edit", "EditHistory", "EditKind", "EditOutcome", "EditRun", "EditStage", "TrashedImage"]


class EditHistory:
    """The edits of this person, in `folder`: a journal that survives anything, and the trash. Thread-safe.

    Edits of one connection run one after the other. Each method that changes something returns when it is done, with
    what changed; it raises ApiError when nothing of it was done, or all of it was taken back. Where the service goes
    away, the edit is finished later (`resume`): the outcome's `edit.stage` is then WAITING, DOING or UNDOING, and the
    outcome tells what will be. `progress(done, total)` counts images. `cancelled`: take back what was done, and raise
    Cancelled. FileFailed and other OSErrors: this machine's disk.
    """

    def __init__(self, folder: Path, *, sweep_trash: bool = True) -> None:
        """Open the journal. `sweep_trash`: delete unneeded content; not in a second process, whose window may be editing."""
        self.journal = EditJournal(folder)
        self._trash = TrashStore(folder / "trash")
        self.dismissals = DismissalStore(folder)
        self._dismissing = DismissEdits(self.journal, self.dismissals)
        self._runner = EditRunner(self.journal, self._trash, self._dismissing)
        self.conflicts = ConflictResolver(self.journal, self._trash, self._runner)
        self.note = self.journal.note
        """A sentence about a journal that was damaged and begun anew, or empty."""
        if self.note:
            aside = self._trash.put_aside()
            self.note += f" What was in the trash is in {aside}." if aside else ""
        if sweep_trash:
            self._trash.drop(self._trash.all() - self.journal.needed())

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()
        self.dismissals.close()

    # --- acts; `images` are records of the listing, with their labels

    def move(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        label: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Put images under a label, made when it is new."""
        label = label_of(label)
        placements: list[Placement] = []
        for image in images:
            if image.label != label:
                placements += placements_of([replace(image)], str(image.label), label, len(placements))
        title = f"move {_images(len(placements))} to “{label}”"
        return self._do(workspace, training_set_id, EditKind.MOVE, title, EditPayload(), placements, run)

    def delete(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Delete images; their bytes go to the trash first."""
        placements: list[Placement] = []
        for image in images:
            placements += placements_of([replace(image)], str(image.label), None, len(placements))
        title = f"delete {_images(len(placements))}"
        return self._do(workspace, training_set_id, EditKind.DELETE, title, EditPayload(), placements, run)

    def restore(
        self,
        workspace: Workspace,
        trashed: Sequence[TrashedImage],
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Bring images back from the trash, to the labels they had; all of one training set."""
        sets = {set_key(one.training_set_id) for one in trashed}
        if len(sets) != 1:
            raise BadRequest("Choose images of one training set.", advice="")
        ids = self.journal.trashed_names(workspace.connection.id, {one.id for one in trashed})
        placements = [
            Placement(n, ids[one.id], None, one.label, one.name, one.sha256)
            for n, one in enumerate(trashed)
            if one.id in ids
        ]
        title = f"bring back {_images(len(placements))}"
        set_id = trashed[0].training_set_id
        return self._do(workspace, set_id, EditKind.RESTORE, title, EditPayload(), placements, run)

    def create_label(self, workspace: Workspace, training_set_id: Id, label: str) -> EditOutcome:
        """`labels`: a new, empty label."""
        label = label_of(label)
        facts = EditPayload(new=label, labels_made=[label])
        return self._do(workspace, training_set_id, EditKind.CREATE_LABEL, f"make the label “{label}”", facts)

    def rename_label(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        new: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Rename a label. Raises BadRequest where the new name is taken: `merge_labels` then."""
        new = label_of(new)
        if new == label:
            raise BadRequest(f"The label is called “{new}” already.", advice="")
        title = f"rename “{label}” to “{new}”"
        facts = EditPayload(old=label, new=new)
        return self._do(workspace, training_set_id, EditKind.RENAME_LABEL, title, facts, (), run)

    def merge_labels(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        into: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Move all images of a label to another, and drop it."""
        into = label_of(into)
        if into == label:
            raise BadRequest(f"“{into}” cannot be merged into itself.", advice="")
        title = f"merge “{label}” into “{into}”"
        facts = EditPayload(old=label, new=into)
        return self._do(workspace, training_set_id, EditKind.MERGE_LABELS, title, facts, (), run)

    def delete_label(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Delete a label with its images; their bytes go to the trash first."""
        title = f"delete the label “{label}”"
        facts = EditPayload(old=label)
        return self._do(workspace, training_set_id, EditKind.DELETE_LABEL, title, facts, (), run)

    def create_training_set(self, workspace: Workspace, name: str, description: str = "") -> EditOutcome:
        """`training-sets`: a new training set; `EditOutcome.training_set_id` is its id."""
        facts = EditPayload(new=name.strip(), new_text=description)
        return self._do(workspace, None, EditKind.CREATE_TRAINING_SET, f"make the training set “{facts.new}”", facts)

    def rename_training_set(
        self, workspace: Workspace, training_set_id: Id, name: str | None = None, description: str | None = None
    ) -> EditOutcome:
        """`training-sets`: change name, description or both."""
        known = {set_key(one.id): one for one in workspace.training_sets()}
        before = known.get(set_key(training_set_id))
        if before is None:
            raise BadRequest("This training set is not there any more.", advice="Refresh to see what is there.")
        facts = EditPayload(
            old=before.name,
            new=before.name if name is None else name.strip(),
            old_text=before.description or "",
            new_text=before.description or "" if description is None else description,
        )
        what = f"rename “{facts.old}” to “{facts.new}”" if facts.old != facts.new else f"describe “{facts.old}”"
        return self._do(workspace, training_set_id, EditKind.RENAME_TRAINING_SET, what, facts)

    def delete_training_set(self, workspace: Workspace, training_set_id: Id, run: EditRun = NO_RUN) -> EditOutcome:
        """`training-sets`: delete a training set; the bytes of its images go to the trash first."""
        names = {set_key(one.id): one.name for one in workspace.cached_training_sets()}
        name = names.get(set_key(training_set_id), "")
        title = f"delete the training set “{name}”" if name else "delete a training set"
        act = EditKind.DELETE_TRAINING_SET
        return self._do(workspace, training_set_id, act, title, EditPayload(), (), run)

    def correct(
        self,
        workspace: Workspace,
        classification: Classification,
        label: str,
        *,
        training_set_id: Id,
        label_id: Id | None = None,
    ) -> EditOutcome:
        """Feedback: the classified image joins the label; its undo takes it out again, or back to where it was."""
        answers = [classification, *(classification.alternatives or ())]
        ids = {answer.label: answer.label_id for answer in answers if isinstance(answer.label_id, str)}
        named = label_id if label_id is not None else ids.get(label, label)
        label = label_of(label)
        facts = EditPayload(new=label, labels_made=[label], classification=classification.id, label_id=str(named))
        title = f"correct to “{label}”"
        return self._do(workspace, training_set_id, EditKind.FEEDBACK, title, facts)

    def dismiss(self, connection_id: str, training_set_id: Id, found: Sequence[Dismissal], title: str) -> EditOutcome:
        """What Review found is fine; needs no service."""
        with self.journal.connection_scope(connection_id):
            entry = self._dismissing.do(connection_id, set_key(training_set_id), found, title)
        return EditOutcome(edit_of(entry, self.journal), training_set_id, dismissed=dict.fromkeys(found, True))

    # --- the journal

    def undo(self, workspace: Workspace, run: EditRun = NO_RUN) -> EditOutcome:
        """Undo the last edit of this connection. Raises CannotUndo."""
        return self._runner.undo(workspace, run)

    def redo(self, workspace: Workspace, run: EditRun = NO_RUN) -> EditOutcome:
        """Do the last undone edit again. Raises CannotUndo."""
        return self._runner.redo(workspace, run)

    def unfinished(self, connection_id: str) -> list[Edit]:
        """Edits that wait for the service, or were interrupted."""
        return [edit_of(entry, self.journal) for entry in self.journal.unfinished(connection_id)]

    def expected(self, connection_id: str, training_set_id: Id) -> list[EditOutcome]:
        """What the unfinished edits of a training set will have changed, oldest first: for who shows what was last seen."""
        return self._runner.expected(connection_id, training_set_id)

    def resume(self, workspace: Workspace, run: EditRun = NO_RUN) -> list[EditOutcome]:
        """Finish what is unfinished, in order; call it whenever a connection is opened or comes back.

        What can no longer be done (someone else deleted or moved the image) is left out, and the edit's `note` says so.
        Where the service is away again, or does not let us (wrong key), the last outcome is of the edit that still waits.
        `cancelled`: take back the edit that is being finished, and go on with the next.
        """
        return self._runner.resume(workspace, run)

    def hidden_labels(self, connection_id: str, training_set_id: Id) -> set[str]:
        """Labels that were dropped on a service that cannot delete them: not to be shown while they are empty."""
        return self.journal.hidden_labels(connection_id, training_set_id)

    # --- the trash

    def trash(self, connection_id: str) -> list[TrashedImage]:
        """What is in the trash, newest first."""
        return self.journal.trash(connection_id)

    def trashed_bytes(self, trashed: TrashedImage) -> bytes:
        """The image itself. Raises FileNotFoundError."""
        return self._trash.read(trashed.sha256)

    def empty_trash(self, connection_id: str | None = None) -> int:
        """Delete for good what is in the trash, of one connection or all; bytes freed. Edits that need it lose their undo."""
        return self._runner.empty_trash(connection_id)

    def _do(
        self,
        workspace: Workspace,
        training_set_id: Id | None,
        act: EditKind,
        title: str,
        facts: EditPayload,
        placements: Sequence[Placement] = (),
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        key = set_key(training_set_id) if training_set_id is not None else ""
        if act in {EditKind.MOVE, EditKind.DELETE, EditKind.RESTORE} and not placements:
            raise BadRequest("There is nothing to do: no image is chosen, or all are there already.", advice="")
        return self._runner.do(workspace, key, act, title, facts, list(placements), run)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
