"""The edit history: every change of training sets, with its undo and redo, on any kind of service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from apitorch_desktop.api.errors import BadRequest
from apitorch_desktop.api.extensions import label_of
from apitorch_desktop.api.types import Classification, Id, TrainingImage, label_name
from apitorch_desktop.dataset.edits.conflicts import ConflictResolver
from apitorch_desktop.dataset.edits.dismiss import DismissEdits
from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.model import (
    NO_RUN,
    CannotUndo,
    Edit,
    EditKind,
    EditOutcome,
    EditRun,
    EditStage,
    NextEdit,
    Placement,
    TrashedImage,
    from_set_key,
    image_id,
    placements_of,
    to_set_key,
    upload_name,
)
from apitorch_desktop.dataset.edits.payloads import (
    ChooseVersionPayload,
    CreateLabelPayload,
    CreateTrainingSetPayload,
    DeleteLabelPayload,
    DeletePayload,
    DeleteTrainingSetPayload,
    EditPayload,
    FeedbackPayload,
    MergeLabelsPayload,
    MovePayload,
    RenameLabelPayload,
    RenameTrainingSetPayload,
    RestorePayload,
    SplitPayload,
)
from apitorch_desktop.dataset.edits.runner import EditRunner
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.review.dismissals import Dismissal, DismissalStore
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.text import plural

__all__ = ["CannotUndo", "Edit", "EditHistory", "EditKind", "EditOutcome", "EditRun", "EditStage", "TrashedImage"]


class EditHistory:
    """The user's edits, kept in `folder`: the journal, which survives any interruption, and the trash. Thread-safe.

    Edits of one connection run one after the other. Each method that changes something returns when that is done, with
    what changed; it raises ApiError if nothing was done, or all of it was rolled back. If the service becomes
    unreachable, the edit is finished later (`resume`): the outcome's `edit.stage` is then WAITING, DOING or UNDOING, and
    the outcome predicts the changes. Also raises Cancelled, and FileError and other OSErrors of this machine's disk.

    `journal` is shared with `UndoableImports`, which writes imports into it; `conflicts` resolves conflicts;
    `dismissals` are the dismissed findings of Review. `note` is a sentence about a damaged journal that was started
    anew, or empty.
    """

    def __init__(self, folder: Path, *, sweep_trash: bool = True) -> None:
        """Open the journal. `sweep_trash`: delete unneeded content; not in a second process, whose window may be editing."""
        self.journal = EditJournal(folder)
        self.dismissals = DismissalStore(folder)
        self._trash = TrashStore(folder / "trash")
        self._dismissing = DismissEdits(self.journal, self.dismissals)
        self._runner = EditRunner(self.journal, self._trash, self._dismissing)
        self.conflicts = ConflictResolver(self.journal, self._trash, self._runner)
        self.note = self.journal.note
        if self.note:
            aside = self._trash.move_aside()
            self.note += f" What was in the trash is in {aside}." if aside else ""
        if sweep_trash:
            self._trash.drop(self._trash.all() - self.journal.needed_content())

    def close(self) -> None:
        """Close the files."""
        self.journal.close()
        self.dismissals.close()

    # --- images: records of the listing, with their labels

    def move(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        label: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Move images to a label, which is created if it is new."""
        label = label_of(label)
        placements = _placements((image for image in images if image.label != label), label)
        title = f"move {plural(len(placements), 'photo')} to “{label_name(label)}”"
        return self._do(workspace, training_set_id, MovePayload(), title, run, placements)

    def move_each(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[tuple[TrainingImage, str]],
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Move images, each to a label of its own, in one edit: what the classifier proposes is accepted."""
        placements: list[Placement] = []
        for image, label in images:
            placements += placements_of([replace(image)], str(image.label), label_of(label), len(placements))
        title = f"label {plural(len(placements), 'photo')} as proposed"
        return self._do(workspace, training_set_id, MovePayload(), title, run, placements)

    def delete(
        self, workspace: Workspace, training_set_id: Id, images: Sequence[TrainingImage], run: EditRun = NO_RUN
    ) -> EditOutcome:
        """Delete images; their content goes to the trash first."""
        placements = _placements(images, None)
        title = f"delete {plural(len(placements), 'photo')}"
        return self._do(workspace, training_set_id, DeletePayload(), title, run, placements)

    def set_split(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        split: str,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Put images into a split, one of `api.types.SPLITS`, or with "" into none."""
        placements = [
            Placement(n, image_id(image.image_id), "", "", upload_name(image), split=image.known_split)
            for n, image in enumerate(image for image in images if image.known_split != split)
        ]
        photos = plural(len(placements), "photo")
        title = f"put {photos} into the split “{split}”" if split else f"take {photos} out of their split"
        return self._do(workspace, training_set_id, SplitPayload(split=split), title, run, placements)

    def restore(self, workspace: Workspace, trashed: Sequence[TrashedImage], run: EditRun = NO_RUN) -> EditOutcome:
        """Bring images back from the trash to their labels; all of one training set. Raises BadRequest."""
        if len({to_set_key(image.training_set_id) for image in trashed}) != 1:
            raise BadRequest("Choose photos of one training set.", advice="")
        ids = self.journal.trashed_names(workspace.connection.id, {image.id for image in trashed})
        splits = self.journal.trashed_splits(workspace.connection.id)
        placements = [
            Placement(
                n, ids[image.id], None, image.label, image.name, image.sha256, split=splits.get(ids[image.id], "")
            )
            for n, image in enumerate(trashed)
            if image.id in ids
        ]
        title = f"bring back {plural(len(placements), 'photo')}"
        return self._do(workspace, trashed[0].training_set_id, RestorePayload(), title, run, placements)

    def correct(
        self,
        workspace: Workspace,
        classification: Classification,
        label: str,
        *,
        training_set_id: Id,
        label_id: Id | None = None,
    ) -> EditOutcome:
        """Send feedback: the classified image joins the label. Its undo removes it again, or moves it back."""
        answers = [classification, *(classification.alternatives or ())]
        ids = {answer.label: answer.label_id for answer in answers if isinstance(answer.label_id, str)}
        sent_id = str(label_id if label_id is not None else ids.get(label, label))
        label = label_of(label)
        payload = FeedbackPayload(
            label=label, created_labels=[label], classification_id=classification.id, label_id=sent_id
        )
        return self._do(workspace, training_set_id, payload, f"correct to “{label}”")

    def dismiss(
        self, connection_id: str, training_set_id: Id, findings: Sequence[Dismissal], title: str
    ) -> EditOutcome:
        """Dismiss findings of Review; needs no service."""
        with self.journal.connection_scope(connection_id):
            row = self._dismissing.dismiss(connection_id, to_set_key(training_set_id), findings, title)
        return EditOutcome(self.journal.edit(row), training_set_id, dismissed=dict.fromkeys(findings, True))

    # --- labels

    def create_label(self, workspace: Workspace, training_set_id: Id, label: str) -> EditOutcome:
        """Create an empty label; needs the extension `labels`."""
        label = label_of(label)
        payload = CreateLabelPayload(label=label, created_labels=[label])
        return self._do(workspace, training_set_id, payload, f"make the label “{label}”")

    def rename_label(
        self, workspace: Workspace, training_set_id: Id, label: str, new: str, run: EditRun = NO_RUN
    ) -> EditOutcome:
        """Rename a label. Raises BadRequest if the new name is taken: use `merge_labels` then."""
        new = label_of(new)
        if new == label:
            raise BadRequest(f"The label is called “{new}” already.", advice="")
        payload = RenameLabelPayload(old=label, new=new)
        return self._do(workspace, training_set_id, payload, f"rename “{label}” to “{new}”", run)

    def merge_labels(
        self, workspace: Workspace, training_set_id: Id, label: str, into: str, run: EditRun = NO_RUN
    ) -> EditOutcome:
        """Move all images of a label to another, and delete the label."""
        into = label_of(into)
        if into == label:
            raise BadRequest(f"“{into}” cannot be merged into itself.", advice="")
        payload = MergeLabelsPayload(old=label, new=into)
        return self._do(workspace, training_set_id, payload, f"merge “{label}” into “{into}”", run)

    def delete_label(self, workspace: Workspace, training_set_id: Id, label: str, run: EditRun = NO_RUN) -> EditOutcome:
        """Delete a label with its images; their content goes to the trash first."""
        payload = DeleteLabelPayload(old=label)
        return self._do(workspace, training_set_id, payload, f"delete the label “{label}”", run)

    # --- training sets; need the extension `training-sets`

    def create_training_set(self, workspace: Workspace, name: str, description: str = "") -> EditOutcome:
        """Create a training set; `EditOutcome.training_set_id` is its id."""
        payload = CreateTrainingSetPayload(name=name.strip(), description=description)
        return self._do(workspace, None, payload, f"make the training set “{payload.name}”")

    def rename_training_set(
        self, workspace: Workspace, training_set_id: Id, name: str | None = None, description: str | None = None
    ) -> EditOutcome:
        """Change the name, the description or both."""
        known = {to_set_key(training_set.id): training_set for training_set in workspace.training_sets()}
        before = known.get(to_set_key(training_set_id))
        if before is None:
            raise BadRequest("This training set is not there any more.", advice="Refresh to see what is there.")
        old, old_description = before.name, before.description or ""
        new = old if name is None else name.strip()
        payload = RenameTrainingSetPayload(
            old=old,
            new=new,
            old_description=old_description,
            new_description=old_description if description is None else description,
        )
        title = f"rename “{old}” to “{new}”" if old != new else f"describe “{old}”"
        return self._do(workspace, training_set_id, payload, title)

    def delete_training_set(self, workspace: Workspace, training_set_id: Id, run: EditRun = NO_RUN) -> EditOutcome:
        """Delete a training set; the content of its images goes to the trash first."""
        names = {to_set_key(training_set.id): training_set.name for training_set in workspace.cached_training_sets()}
        name = names.get(to_set_key(training_set_id), "")
        title = f"delete the training set “{name}”" if name else "delete a training set"
        return self._do(workspace, training_set_id, DeleteTrainingSetPayload(), title, run)

    # --- versions of the classifier; need the extension `versions`

    def choose_version(
        self, workspace: Workspace, training_set_id: Id, version: int, instead_of: int, waiting: int = 0
    ) -> EditOutcome:
        """Use a kept version instead of another; `waiting` is the one that waited for this decision, 0 for none."""
        payload = ChooseVersionPayload(old=instead_of, new=version, waiting=waiting)
        title = f"keep version {version}" if version == instead_of else f"use version {version}"
        return self._do(workspace, training_set_id, payload, title)

    # --- undo, redo and unfinished edits

    def undo(self, workspace: Workspace, run: EditRun = NO_RUN, edit_id: int | None = None) -> EditOutcome:
        """Undo the last edit of a connection, or the given one, which has to be the last of its training set.

        Raises CannotUndo.
        """
        return self._runner.undo(workspace, run, edit_id)

    def redo(self, workspace: Workspace, run: EditRun = NO_RUN, edit_id: int | None = None) -> EditOutcome:
        """Redo the edit of a connection that was undone last, or the given one, which has to be the next of its training
        set. Raises CannotUndo.
        """
        return self._runner.redo(workspace, run, edit_id)

    def next_undo(self, connection_id: str, set_id: Id | None) -> NextEdit:
        """Return what undo would take back with this training set open, None for none."""
        journal = self.journal
        return self._next(set_id, lambda *name: journal.undoable(connection_id, *name))

    def next_redo(self, connection_id: str, set_id: Id | None) -> NextEdit:
        """Return what redo would do again with this training set open, None for none."""
        journal = self.journal
        return self._next(set_id, lambda *name: journal.redoable(connection_id, *name))

    def _next(self, set_id: Id | None, find: Callable[..., EditRow | None]) -> NextEdit:
        key = "" if set_id is None else to_set_key(set_id)
        here, last = find(key) if key else None, find()
        if key and last is not None and last.set_key and from_set_key(last.set_key) == set_id:
            here = last  # also an edit that has removed the training set
        elsewhere = None if last is None or (here is not None and here.id == last.id) else self.journal.edit(last)
        return NextEdit(self.journal.edit(here) if here is not None else None, elsewhere)

    def unfinished(self, connection_id: str) -> list[Edit]:
        """Return the edits that wait for the service, or were interrupted."""
        return [self.journal.edit(row) for row in self.journal.unfinished(connection_id)]

    def expected(self, connection_id: str, training_set_id: Id) -> list[EditOutcome]:
        """Return what the unfinished edits of a training set will have changed, in order; for cached listings."""
        return self._runner.expected(connection_id, training_set_id)

    def resume(self, workspace: Workspace, run: EditRun = NO_RUN) -> list[EditOutcome]:
        """Finish the unfinished edits, in order; call it whenever a connection is opened or becomes reachable.

        What can no longer be done (someone else deleted or moved the image) is left out and reported in the edit's `note`.
        If the service fails again, or rejects the key, the last outcome is that of the edit that still waits. When
        cancelled, the edit that is being finished is rolled back, and the next one is run.
        """
        return self._runner.resume(workspace, run)

    def hidden_labels(self, connection_id: str, training_set_id: Id) -> set[str]:
        """Return labels that were deleted on a service that cannot delete them: not shown while they are empty."""
        return self.journal.hidden_labels(connection_id, training_set_id)

    # --- the trash

    def trash(self, connection_id: str) -> list[TrashedImage]:
        """Return the images in the trash, newest first."""
        return self.journal.trash(connection_id)

    def trashed_bytes(self, trashed: TrashedImage) -> bytes:
        """Return the content of an image. Raises FileNotFoundError."""
        return self._trash.read(trashed.sha256)

    def empty_trash(self, connection_id: str | None = None) -> int:
        """Delete the trash of one connection or of all; edits that need it lose their undo. Returns bytes freed."""
        return self._runner.empty_trash(connection_id)

    def _do(
        self,
        workspace: Workspace,
        training_set_id: Id | None,
        payload: EditPayload,
        title: str,
        run: EditRun = NO_RUN,
        placements: list[Placement] | None = None,
    ) -> EditOutcome:
        """Do an edit; `placements` are those of the chosen images, None if the edit finds its images itself."""
        if placements is not None and not placements:
            raise BadRequest("There is nothing to do: no photo is chosen, or all are there already.", advice="")
        set_key = to_set_key(training_set_id) if training_set_id is not None else ""
        return self._runner.do(workspace, set_key, payload, title, placements or [], run)


def _placements(images: Iterable[TrainingImage], target: str | None) -> list[Placement]:
    placements: list[Placement] = []
    for image in images:
        placements += placements_of([replace(image)], str(image.label), target, len(placements))
    return placements
