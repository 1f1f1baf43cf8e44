"""Payloads: the data that an edit needs beside its placements, one type for each kind of edit.

The journal stores a payload as JSON; the kind beside it, in a column of its own, is the tag that selects the type. The
field names in the JSON are those of version 0.1.0, which used one record for all kinds (`name=` where they differ here).
Fields that have their default are not stored.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from apitorch_desktop.api.types import decode_json
from apitorch_desktop.dataset.edits.model import EditKind


class EditPayload(msgspec.Struct, omit_defaults=True):
    """Progress of an edit of any kind; base of the types for each kind.

    `created_labels`, `dropped_labels`: labels that come and go with the edit. `planned`: its placements come from the
    service, not only from the offline cache. `unconfirmed`: the answer to a call was not received. `label_call_begun`: a
    label may have been created or deleted. `ids_before`: image ids by label before the first upload in the direction
    `ids_before_forward`. `sealed`: content that its undo needs was in the trash when that was emptied. `refused`: why it
    is being rolled back for good.
    """

    kind: ClassVar[EditKind]

    created_labels: list[str] = msgspec.field(default_factory=list, name="labels_made")
    dropped_labels: list[str] = msgspec.field(default_factory=list, name="labels_dropped")
    planned: bool = False
    unconfirmed: bool = msgspec.field(default=False, name="doubt")
    label_call_begun: bool = msgspec.field(default=False, name="begun")
    ids_before: dict[str, list[str]] | None = msgspec.field(default=None, name="before")
    ids_before_forward: bool = msgspec.field(default=True, name="before_forward")
    sealed: bool = False
    refused: str = ""

    @property
    def has_started(self) -> bool:
        """True if the current run may have reached the service, according to the payload."""
        return self.unconfirmed or self.label_call_begun

    def clear_progress(self) -> None:
        """Forget the state of a run that has ended."""
        self.unconfirmed, self.label_call_begun, self.ids_before = False, False, None


class MovePayload(EditPayload):
    """Images under another label."""

    kind = EditKind.MOVE


class DeletePayload(EditPayload):
    """Images into the trash."""

    kind = EditKind.DELETE


class RestorePayload(EditPayload):
    """Images out of the trash."""

    kind = EditKind.RESTORE


class ResolveConflictsPayload(EditPayload):
    """Images that someone else deleted or moved, to where the user wanted them."""

    kind = EditKind.RESOLVE_CONFLICTS


class CreateLabelPayload(EditPayload):
    """A new, empty label."""

    kind = EditKind.CREATE_LABEL

    label: str = msgspec.field(default="", name="new")


class WholeLabelPayload(EditPayload):
    """Base of edits of all images of the label `old`, which go to the label `new`, "" for the trash."""

    old: str = ""
    new: str = ""


class RenameLabelPayload(WholeLabelPayload):
    """A label renamed. `renamed`: the service renamed it, in a single call."""

    kind = EditKind.RENAME_LABEL

    renamed: bool = msgspec.field(default=False, name="sent")


class MergeLabelsPayload(WholeLabelPayload):
    """A label merged into another."""

    kind = EditKind.MERGE_LABELS


class DeleteLabelPayload(WholeLabelPayload):
    """A label deleted with its images."""

    kind = EditKind.DELETE_LABEL


class FeedbackPayload(EditPayload):
    """A correction of the classification `classification_id`. `label_id` is the service's id of `label`."""

    kind = EditKind.FEEDBACK

    label: str = msgspec.field(default="", name="new")
    label_id: str = ""
    classification_id: str = msgspec.field(default="", name="classification")
    sent: bool = False

    @property
    def has_started(self) -> bool:
        """True if the correction may have reached the service, where it cannot be taken back."""
        return self.sent or super().has_started


class TrainingSetPayload(EditPayload):
    """Base of edits that create or delete a training set, with its content.

    `labels`: those of a deleted training set. `sets_before`: keys of the training sets there were before it was created.
    """

    name: str = msgspec.field(default="", name="new")
    description: str | None = msgspec.field(default=None, name="new_text")
    labels: list[str] = []
    sets_before: list[str] | None = None

    @property
    def has_started(self) -> bool:
        """True if the training set may have been created."""
        return self.sets_before is not None or super().has_started

    def clear_progress(self) -> None:
        """Forget the state of a run that has ended."""
        super().clear_progress()
        self.sets_before = None


class CreateTrainingSetPayload(TrainingSetPayload):
    """A new training set."""

    kind = EditKind.CREATE_TRAINING_SET


class DeleteTrainingSetPayload(TrainingSetPayload):
    """A training set deleted with its images."""

    kind = EditKind.DELETE_TRAINING_SET


class ImportPayload(TrainingSetPayload):
    """Images that a transfer uploaded, into a new training set or one that existed.

    `transfer_id`: of the queue. `labels_before`: those of the training set before the import. `lock_name`: names the lock
    held by the process that is accepting the import.
    """

    kind = EditKind.IMPORT

    new_training_set: bool = False
    transfer_id: int = msgspec.field(default=0, name="transfer")
    labels_before: list[str] = []
    lock_name: str = msgspec.field(default="", name="mark")


class RenameTrainingSetPayload(EditPayload):
    """A training set with another name, description or both."""

    kind = EditKind.RENAME_TRAINING_SET

    old: str = ""
    new: str = ""
    old_description: str | None = msgspec.field(default=None, name="old_text")
    new_description: str | None = msgspec.field(default=None, name="new_text")


class ChooseVersionPayload(EditPayload):
    """The version `new` of the classifier used instead of `old`; `waiting` waited for that decision, 0 for none."""

    kind = EditKind.CHOOSE_VERSION

    old: int = 0
    new: int = 0
    waiting: int = 0


class SplitPayload(EditPayload):
    """Images in the split `split`, "" for none. A placement has the split that its image had, and no label."""

    kind = EditKind.SPLIT

    split: str = msgspec.field(default="", name="new")


class DismissPayload(EditPayload):
    """Findings of Review that the user dismissed: (n of the placement, finding, n of the placement of the other duplicate)."""

    kind = EditKind.DISMISS

    dismissed: list[tuple[int, str, int]] = []


_PAYLOAD_TYPES: dict[EditKind, type[EditPayload]] = {
    payload_type.kind: payload_type
    for payload_type in (
        MovePayload,
        DeletePayload,
        RestorePayload,
        ImportPayload,
        FeedbackPayload,
        CreateLabelPayload,
        RenameLabelPayload,
        MergeLabelsPayload,
        DeleteLabelPayload,
        CreateTrainingSetPayload,
        RenameTrainingSetPayload,
        DeleteTrainingSetPayload,
        ResolveConflictsPayload,
        ChooseVersionPayload,
        SplitPayload,
        DismissPayload,
    )
}
"""The type of each kind; without it, the journal could write a payload but not read it."""
if _missing := set(EditKind) - _PAYLOAD_TYPES.keys():
    raise TypeError(f"no payload type is registered for {sorted(_missing)}")


def decode_payload(kind: EditKind, stored: bytes) -> EditPayload:
    """Read the payload of a kind of edit, as this version or 0.1.0 stored it."""
    return decode_json(stored, _PAYLOAD_TYPES[kind])
