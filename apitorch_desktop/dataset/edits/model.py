"""Records of the edits package: edits, their stages and images, outcomes, trash and conflicts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import msgspec

from apitorch_desktop.api.types import Id, TrainingImage, decode_json, encode_json
from apitorch_desktop.utils.errors import UserError


class EditKind(StrEnum):
    """Kind of an edit; the values are stored in the journal."""

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
    RESOLVE_CONFLICTS = "settle"
    """Changes photos as the user wanted that someone else had deleted or moved meanwhile (`conflicts`); value of 0.1.0."""
    CHOOSE_VERSION = "choose version"
    """Makes a kept version of the classifier the one in use."""
    SPLIT = "split"
    """Puts images into another split."""
    DISMISS = "dismiss"
    """Dismisses findings of Review; needs no service."""


TRAINING_SET_KINDS = frozenset(
    {EditKind.CREATE_TRAINING_SET, EditKind.RENAME_TRAINING_SET, EditKind.DELETE_TRAINING_SET}
)
"""Kinds that change the list of training sets, which has to be listed again."""


class EditStage(StrEnum):
    """Stage of an edit: see the diagram in the package's docstring. The values are stored in the journal."""

    BEGUN = "begun"
    """An import whose transfer is still running (`UndoableImports`)."""
    WAITING = "waiting"
    """Nothing of it was sent yet: the service is unreachable."""
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    REFUSED = "refused"
    """It could not be done, and was rolled back. `note` has the reason."""


UNFINISHED = (EditStage.WAITING, EditStage.DOING, EditStage.UNDOING)
"""Stages of edits that wait for the service or were interrupted."""


def _ignore_progress(_done: int, _total: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class EditRun:
    """Callbacks of the caller that runs an edit; both are called from several threads.

    `progress(done, total)` counts images. `cancelled()` is polled: once it returns true, what was done is rolled back
    and Cancelled is raised.
    """

    progress: Callable[[int, int], None] = _ignore_progress
    cancelled: Callable[[], bool] = _never


NO_RUN = EditRun()


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit as callers see it. `title` is shown after “Undo”: “move 12 images to dress”.

    `note` is a sentence about anything unexpected (3 images were deleted by someone else), or empty. `created_at` is in
    seconds since the epoch.
    """

    id: int
    connection_id: str
    training_set_id: Id
    kind: EditKind
    title: str
    stage: EditStage
    note: str
    created_at: float


@dataclass(slots=True)
class EditOutcome:
    """Changes made by an edit, its undo or its redo, for views of the listing. Ids are the current ones of the service.

    `training_set_id` is the current id; `replaces` the previous one of a training set that was recreated.
    `removed`: ids of images that are gone. `added`: new images, with their labels. `moved`: image id → label, for
    images that keep their id. `changed`: old id → new id of an image that stays the same to the user (selection,
    thumbnail); it is also in `added`, and its old id in `removed` unless it came back from the trash. `renamed`: label
    → label. `labels_added`, `labels_removed`: names. `stale`: list again, since the service changed more than is listed here.
    `splits`: image id → its split now, "" for none. `dismissed`: finding of Review (`dismissals.Dismissal`) → whether
    it is dismissed now. `conflicts`: number of photos that someone else had deleted or moved before the edit was sent;
    the user has to decide about them (`conflicts`).
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
    splits: dict[str, str] = field(default_factory=dict)
    dismissed: dict[tuple[str, str], bool] = field(default_factory=dict)
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class TrashedImage:
    """An image in the trash. `deleted_at` is in seconds since the epoch."""

    id: int
    connection_id: str
    training_set_id: Id
    label: str
    name: str
    sha256: str
    bytes: int
    deleted_at: float


@dataclass(frozen=True, slots=True)
class NextEdit:
    """Edit that undo or redo comes to next: `here`, in the training set that is open, and `elsewhere`, the one of the
    whole connection if that is another; each None if there is none.
    """

    here: Edit | None = None
    elsewhere: Edit | None = None


class EditConflict(msgspec.Struct, frozen=True):
    """A photo that someone else had deleted or moved before an edit of it was sent.

    `label` is where it was when the edit was made, `wanted` where it was to be, None for deleted. `record` is the one
    of the listing.
    """

    image_id: str
    training_set_id: Id
    name: str
    label: str
    wanted: str | None
    sha256: str = ""
    record: TrainingImage | None = None
    id: int = 0


class CannotUndo(UserError):  # noqa: N818 - named for what the user reads
    """An edit cannot be undone or redone; the text is a sentence with the reason."""


class CopyStep(IntEnum):
    """Progress of an image that is moved by copying it, on a service that cannot move images."""

    NONE = 0
    UNCONFIRMED = 1
    """A copy may exist: the answer to the upload was not received, or not written down."""
    COPIED = 2
    """The copy exists, under `copy_id`, beside the original."""
    RESTORING = 3
    """The service may have restored the image, under the id `copy_id` that it had."""


class Placement(msgspec.Struct):
    """One image's part in an edit: from label `source` to label `target`, None meaning nowhere.

    `at_target`: it is at the target. `known_id` is its id when the edit was planned, or last deleted or merged it;
    `handle` leads to its current id. `merged`: its label held the same bytes, and the two are one image now, to which
    the handle `merged_with` leads. `missing`: someone else deleted or moved it; it is left out.
    """

    n: int
    known_id: str = msgspec.field(name="first")
    source: str | None
    target: str | None
    name: str = ""
    sha256: str = ""
    at_target: bool = msgspec.field(default=False, name="there")
    step: int = CopyStep.NONE
    copy_id: str = msgspec.field(default="", name="copy")
    merged: bool = False
    missing: bool = msgspec.field(default=False, name="gone")
    handle: int = 0
    merged_with: int = msgspec.field(default=0, name="other")
    record: TrainingImage | None = None
    split: str = ""

    def is_pending(self, forward: bool) -> bool:
        """Return whether the edit still has to bring it to the target (`forward`) or back."""
        return self.at_target != forward and not self.missing

    @property
    def known_split(self) -> str:
        """Its split, "" for none."""
        return self.split or (self.record.known_split if self.record is not None else "")

    @property
    def known_hash(self) -> str:
        """Its sha256 (hex) if known, else empty."""
        listed = self.record.sha256 if self.record is not None else None
        return self.sha256 or (listed if isinstance(listed, str) else "")


def image_id(text: str) -> str:
    """Return an image's id in its canonical spelling, with the prefix `ti_`."""
    return text if text.startswith("ti_") else f"ti_{text}"


def new_absent_name() -> str:
    """Return a unique name for something that does not exist at the moment."""
    return f"absent:{secrets.token_hex(8)}"


def is_absent(name: str) -> bool:
    """Return whether a name is that of something that does not exist at the moment."""
    return name.startswith("absent:")


def to_set_key(training_set_id: Id) -> str:
    """Return the journal's key of a training set: the id as on the wire, also where it has become plain text on its way."""
    return f"set:{encode_json(Id(training_set_id)).decode()}"


def from_set_key(key: str) -> Id:
    """Return the id in a key of the journal."""
    return decode_json(key.removeprefix("set:"), Id)


def upload_name(record: TrainingImage | None) -> str:
    """Return the file name to upload an image under: its original one where that is known."""
    if record is None:
        return ""
    return record.original_filename if isinstance(record.original_filename, str) else record.filename


def placements_of(
    images: Iterable[TrainingImage], source: str | None, target: str | None, first_n: int = 0, at_target: bool = False
) -> list[Placement]:
    """Return placements for records of a listing, all from one label to one label, numbered from `first_n`."""
    return [
        Placement(n, image_id(image.image_id), source, target, upload_name(image), at_target=at_target, record=image)
        for n, image in enumerate(images, first_n)
    ]
