"""What an edit is: the records that the journal keeps, the window reads and `placing` works off."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.utils.errors import UserError


class EditKind(StrEnum):
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
    SETTLE = "settle"
    """What was wanted of photos that someone else had deleted or moved meanwhile (`conflicts`)."""
    DISMISS = "dismiss"
    """What Review found is fine: needs no service."""


LABEL_ACTS = frozenset({EditKind.RENAME_LABEL, EditKind.MERGE_LABELS, EditKind.DELETE_LABEL})
"""Acts on all images of a label."""


class EditStage(StrEnum):
    """Where an edit stands."""

    BEGUN = "begun"
    """An import whose transfer is still under way (`imports.Imports`)."""
    WAITING = "waiting"
    """The service is away; it is sent on return (`Edits.resume`)."""
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    REFUSED = "refused"
    """It could not be done; all of it was taken back. `note` says why."""


UNFINISHED = (EditStage.WAITING, EditStage.DOING, EditStage.UNDOING)
"""Stages of edits that wait for the service or were interrupted."""


def _ignore(_done: int, _total: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class EditRun:
    """Callbacks of whoever runs an edit; both are called from several threads.

    `progress(done, total)` counts images. `cancelled()` is polled: once it is true, what was done is taken back and
    Cancelled is raised.
    """

    progress: Callable[[int, int], None] = _ignore
    cancelled: Callable[[], bool] = _never


NO_RUN = EditRun()


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit in the journal. `title` is what a person reads after “Undo”: “move 12 images to dress”.

    `note` is a sentence about what was not as expected (3 images were gone already), or empty. `created_at` is seconds
    since the epoch.
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
    """What an edit, its undo or its redo changed, for who shows the listing. Ids are those of the service now.

    `training_set_id` is the id now; `replaces` the one it had before, where a training set came back.
    `removed`: image ids that are gone. `added`: images that came, with their labels. `moved`: image id → label, the
    image keeps its id. `changed`: old id → new id of an image that stays the same to a person (selection, thumbnail);
    it is also in `added`, the old one in `removed` unless it came back from the trash. `renamed`: label → label.
    `labels_added`, `labels_removed`: names.
    `stale`: list again: the service did more, or other things, than this tells. `dismissed`: what Review found (see
    `dismissals.Dismissal`) → whether a person says that it is fine.
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
    dismissed: dict[tuple[str, str], bool] = field(default_factory=dict)
    conflicts: int = 0
    """Photos that someone else had deleted or moved before it was sent: they are to be decided (`conflicts`)."""


@dataclass(frozen=True, slots=True)
class TrashedImage:
    """An image in the trash. `deleted_at` is seconds since the epoch."""

    id: int
    connection_id: str
    training_set_id: Id
    label: str
    name: str
    sha256: str
    bytes: int
    deleted_at: float


class EditConflict(msgspec.Struct, frozen=True):
    """A photo that someone else had deleted or moved before an edit of it was sent.

    `label` is where it was when the edit was made, `wanted` where it was to be, None for deleted. `record` is the listing's.
    """

    image_id: str
    training_set_id: Id
    name: str
    label: str
    wanted: str | None
    sha256: str = ""
    record: TrainingImage | None = None
    id: int = 0


class CannotUndo(UserError):  # noqa: N818 - named for what the person is told
    """`str()` is a sentence that says why an edit cannot be undone or redone."""


class CopyStep(IntEnum):
    """How far an image is on its way as a copy, on a service that cannot move it."""

    NONE = 0
    IN_DOUBT = 1
    """A copy may be there: the upload's answer was not heard, or not written down."""
    COPIED = 2
    """The copy is there, under `copy`; the old one is still there, too."""


class Placement(msgspec.Struct):
    """One image's part in an edit: from `source` to `target`, None being nowhere. `there`: it is at the target.

    `first` is what the image was called when the edit was planned, or when it was last deleted by it; `handle` finds
    what it is called now. `merged`: where it is now, the label had the same bytes, and the two are one; `other` is the
    handle of that one. `gone`: someone else deleted or moved it; it is left out.
    """

    n: int
    first: str
    source: str | None
    target: str | None
    name: str = ""
    sha256: str = ""
    there: bool = False
    step: int = CopyStep.NONE
    copy: str = ""
    merged: bool = False
    gone: bool = False
    handle: int = 0
    other: int = 0
    record: TrainingImage | None = None


class EditPayload(msgspec.Struct, omit_defaults=True):
    """What else an edit has to know: filled in as far as its act needs it.

    `labels_made`, `labels_dropped`: labels that come and go with the edit. `old`, `new`: a label's, or a training
    set's, name before and after; `old_text`, `new_text` its description. `labels`: of a training set that was deleted.
    `before`: ids per label before the first upload in one direction. `sets_before`: training sets before one was made.
    `classification` and `label_id`: of feedback; `sent`: that it was, or that a label has its new name. `planned`: the
    placements are those of the service, not only of what was last seen. `doubt`: a call's answer was not heard.
    `begun`: a label may have been made or deleted. `sealed`: what its undo needs was in the trash when that was
    emptied. `refused`: why it is being taken back for good. `dismissed`: (placement, finding, the other twin's placement).
    `transfer`: an import's; `labels_before`: what its training set had before it; `mark`: names the lock of who accepts it.
    """

    labels_made: list[str] = []
    labels_dropped: list[str] = []
    old: str = ""
    new: str = ""
    old_text: str | None = None
    new_text: str | None = None
    labels: list[str] = []
    before: dict[str, list[str]] | None = None
    before_forward: bool = True
    sets_before: list[str] | None = None
    classification: str = ""
    label_id: str = ""
    sent: bool = False
    new_training_set: bool = False
    planned: bool = False
    doubt: bool = False
    begun: bool = False
    dismissed: list[tuple[int, str, int]] = []
    transfer: int = 0
    labels_before: list[str] = []
    mark: str = ""
    sealed: bool = False
    refused: str = ""


class EditRow(msgspec.Struct):
    """A row of the journal: an edit as it is kept.

    `training_set` is the key (`set_key`) under which its training set was last seen, empty before it was made; `place`
    is the handle that finds what it is called now.
    """

    id: int
    connection: str
    training_set: str
    place: int
    kind: EditKind
    title: str
    stage: EditStage
    note: str
    created_at: float
    facts: EditPayload
    placements: list[Placement] = []

    @property
    def forward(self) -> bool:
        """Whether it is on its way to done, not back."""
        return self.stage not in {EditStage.UNDOING, EditStage.UNDONE}


def image_id(text: str) -> str:
    """An id in its one spelling, with `ti_`."""
    return text if text.startswith("ti_") else f"ti_{text}"


def absent() -> str:
    """A name for something that is nowhere at the moment, so that nothing else is taken for it."""
    return f"absent:{secrets.token_hex(8)}"


def is_absent(name: str) -> bool:
    """Whether a handle leads to something that is nowhere at the moment."""
    return name.startswith("absent:")


def set_key(training_set_id: Id) -> str:
    """A training set's id as the journal keeps it: its type is kept too."""
    return f"set:{msgspec.json.encode(training_set_id).decode()}"


def set_id(key: str) -> Id:
    """The id behind a key of the journal."""
    found: Any = msgspec.json.decode(key.removeprefix("set:"), type=int | str)
    return found if isinstance(found, int) else str(found)
