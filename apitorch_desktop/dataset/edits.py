"""Edits: every act that changes a training set, journalled, with its undo and redo, on any kind of service.

A service with the extensions `images` and `labels` does most of it in a call. On one with the documented calls alone,
an image changes its label by download, upload, confirmation, and only then deletion of the old one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from apitorch_desktop.api.types import Classification, Id, TrainingImage
    from apitorch_desktop.dataset.workspace import Workspace


class Act(StrEnum):
    """What an edit does."""

    MOVE = "move"
    DELETE = "delete"
    RESTORE = "restore"
    IMPORT = "import"
    FEEDBACK = "feedback"
    CREATE_LABEL = "create label"
    RENAME_LABEL = "rename label"
    MERGE_LABELS = "merge labels"
    DELETE_LABEL = "delete label"
    CREATE_TRAINING_SET = "create training set"
    RENAME_TRAINING_SET = "rename training set"
    DELETE_TRAINING_SET = "delete training set"


class Stage(StrEnum):
    """Where an edit stands."""

    WAITING = "waiting"
    """The service is away; it is sent on return (`Edits.resume`)."""
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    REFUSED = "refused"
    """It could not be done; all of it was taken back. `note` says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit in the journal. `title` is what a person reads after “Undo”: “move 12 images to dress”.

    `note` is a sentence about what was not as expected (3 images were gone already), or empty. `created_at` is seconds
    since the epoch.
    """

    id: int
    connection_id: str
    training_set_id: Id
    act: Act
    title: str
    stage: Stage
    note: str
    created_at: float


@dataclass(slots=True)
class Outcome:
    """What an edit, its undo or its redo changed, for who shows the listing. Ids are those of the service now.

    `training_set_id` is the id now; `replaces` the one it had before, where a training set came back.
    `removed`: image ids that are gone. `added`: images that came, with their labels. `moved`: image id → label, the
    image keeps its id. `changed`: old id → new id of an image that stays the same to a person (selection, thumbnail);
    it is also in `added`, the old one in `removed`. `renamed`: label → label. `labels_added`, `labels_removed`: names.
    `stale`: list again: the service did more, or other things, than this tells.
    """

    edit: Edit
    training_set_id: Id
    replaces: Id | None = None
    removed: list[str] = field(default_factory=list)
    added: list[TrainingImage] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    labels_added: list[str] = field(default_factory=list)
    labels_removed: list[str] = field(default_factory=list)
    training_set_removed: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Trashed:
    """An image in the trash. `deleted_at` is seconds since the epoch."""

    id: int
    connection_id: str
    training_set_id: Id
    label: str
    name: str
    sha256: str
    bytes: int
    deleted_at: float


class CannotUndo(Exception):  # noqa: N818 - named for what the person is told
    """`str()` is a sentence that says why an edit cannot be undone or redone."""


class Edits:
    """The edits of this person, in `folder`: a journal that survives anything, and the trash. Thread-safe.

    Edits of one connection run one after the other. Each method that changes something returns when it is done, with
    what changed; it raises ApiError when nothing of it was done, or all of it was taken back. Where the service goes
    away in the middle, the edit is finished later (`resume`): the outcome's `edit.stage` is then WAITING or DOING.
    `progress(done, total)` counts images.
    """

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close the journal."""
        raise NotImplementedError

    # --- acts; `images` are records of the listing, with their labels

    def move(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        label: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Put images under a label, made when it is new."""
        raise NotImplementedError

    def delete(
        self,
        workspace: Workspace,
        training_set_id: Id,
        images: Sequence[TrainingImage],
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Delete images; their bytes go to the trash first."""
        raise NotImplementedError

    def restore(
        self, workspace: Workspace, trashed: Sequence[Trashed], progress: Callable[[int, int], None] | None = None
    ) -> Outcome:
        """Bring images back from the trash, to the labels they had; all of one training set."""
        raise NotImplementedError

    def create_label(self, workspace: Workspace, training_set_id: Id, label: str) -> Outcome:
        """`labels`: a new, empty label."""
        raise NotImplementedError

    def rename_label(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        new: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Rename a label. Raises BadRequest where the new name is taken: `merge_labels` then."""
        raise NotImplementedError

    def merge_labels(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        into: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Move all images of a label to another, and drop it."""
        raise NotImplementedError

    def delete_label(
        self,
        workspace: Workspace,
        training_set_id: Id,
        label: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Delete a label with its images; their bytes go to the trash first."""
        raise NotImplementedError

    def create_training_set(self, workspace: Workspace, name: str, description: str = "") -> Outcome:
        """`training-sets`: a new training set; `Outcome.training_set_id` is its id."""
        raise NotImplementedError

    def rename_training_set(
        self, workspace: Workspace, training_set_id: Id, name: str | None = None, description: str | None = None
    ) -> Outcome:
        """`training-sets`: change name, description or both."""
        raise NotImplementedError

    def delete_training_set(
        self, workspace: Workspace, training_set_id: Id, progress: Callable[[int, int], None] | None = None
    ) -> Outcome:
        """`training-sets`: delete a training set; the bytes of its images go to the trash first."""
        raise NotImplementedError

    def imported(
        self,
        workspace: Workspace,
        training_set_id: Id,
        created: Iterable[tuple[str, str]],
        *,
        title: str = "",
        labels_before: Iterable[str] = (),
        new_training_set: bool = False,
    ) -> Edit:
        """Journal an import that was done: `created` are (image id, label) of what was not there before.

        Its undo deletes these, the labels that are not in `labels_before`, and the training set where it is new.
        """
        raise NotImplementedError

    def correct(
        self,
        workspace: Workspace,
        classification: Classification,
        label: str,
        *,
        training_set_id: Id,
        label_id: Id | None = None,
    ) -> Outcome:
        """Feedback: the classified image joins the label; its undo takes it out again, or back to where it was."""
        raise NotImplementedError

    # --- the journal

    def undoable(self, connection_id: str) -> Edit | None:
        """What `undo` would undo."""
        raise NotImplementedError

    def redoable(self, connection_id: str) -> Edit | None:
        """What `redo` would do again."""
        raise NotImplementedError

    def undo(self, workspace: Workspace, progress: Callable[[int, int], None] | None = None) -> Outcome:
        """Undo the last edit of this connection. Raises CannotUndo."""
        raise NotImplementedError

    def redo(self, workspace: Workspace, progress: Callable[[int, int], None] | None = None) -> Outcome:
        """Do the last undone edit again. Raises CannotUndo."""
        raise NotImplementedError

    def unfinished(self, connection_id: str) -> list[Edit]:
        """Edits that wait for the service, or were interrupted."""
        raise NotImplementedError

    def resume(self, workspace: Workspace, progress: Callable[[int, int], None] | None = None) -> list[Outcome]:
        """Finish what is unfinished, in order; call it whenever a connection is opened or comes back.

        What can no longer be done (someone else deleted or moved the image) is left out, and the edit's `note` says so.
        """
        raise NotImplementedError

    def history(self, connection_id: str, limit: int = 200) -> list[Edit]:
        """The edits, newest first."""
        raise NotImplementedError

    def current_id(self, connection_id: str, image_id: str) -> str:
        """The id an image has now, after whatever changed it."""
        raise NotImplementedError

    # --- the trash

    def trash(self, connection_id: str) -> list[Trashed]:
        """What is in the trash, newest first."""
        raise NotImplementedError

    def trashed_bytes(self, trashed: Trashed) -> bytes:
        """The image itself. Raises FileNotFoundError."""
        raise NotImplementedError

    def empty_trash(self, connection_id: str | None = None) -> int:
        """Delete for good what is in the trash, of one connection or all; bytes freed. Edits that need it lose their undo."""
        raise NotImplementedError
