"""Executes an edit on the service, or its undo, depending on its stage; what was done already is not repeated."""

from __future__ import annotations

from contextlib import suppress

from apitorch_desktop.api.errors import BadRequest, Conflict, NotFound, ServerError
from apitorch_desktop.api.types import FeedbackAnswer, Id, TrainingSet
from apitorch_desktop.dataset.edits.image_mover import ImageMover
from apitorch_desktop.dataset.edits.image_ops import ATTEMPTS, BATCH, ImageOperations, chunks
from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.label_index import LabelIndex
from apitorch_desktop.dataset.edits.model import (
    EditOutcome,
    EditRun,
    Placement,
    from_set_key,
    image_id,
    new_absent_name,
    placements_of,
    to_set_key,
    upload_name,
)
from apitorch_desktop.dataset.edits.payloads import (
    ChooseVersionPayload,
    CreateLabelPayload,
    CreateTrainingSetPayload,
    DeleteTrainingSetPayload,
    FeedbackPayload,
    ImportPayload,
    RenameLabelPayload,
    RenameTrainingSetPayload,
    SplitPayload,
    TrainingSetPayload,
    WholeLabelPayload,
)
from apitorch_desktop.dataset.edits.reconcile import CheckScope
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.text import plural

_QUICKLY_LISTED = 20_000
_UNDO_IMPOSSIBLE = "The service does not tell which photo came of the correction, so nothing was taken out."


class EditExecutor:
    """One run of one edit, whose placements are loaded. Raises ApiError and OSError; the journal keeps its progress."""

    def __init__(
        self,
        workspace: Workspace,
        journal: EditJournal,
        trash: TrashStore,
        row: EditRow,
        run: EditRun,
        scope: CheckScope = CheckScope.NONE,
    ) -> None:
        self._workspace = workspace
        self._client = workspace.client
        self._journal = journal
        self._trash = trash
        self._row = row
        self._payload = row.payload
        self._run = run
        self._scope = scope
        self._notes: list[str] = []
        self.outcome = EditOutcome(journal.edit(row), journal.training_set_id(row))

    def execute(self) -> EditOutcome:
        """Run the edit. The outcome's `edit` is the one before the run."""
        row = self._row
        match self._payload:
            case RenameTrainingSetPayload() as payload:
                self._rename_training_set(payload)
            case ChooseVersionPayload() as payload:
                self._choose_version(payload)
            case SplitPayload() as payload:
                self._set_splits(payload)
            case RenameLabelPayload() as payload if self._workspace.has("labels"):
                self._rename_label(payload)
            case (
                CreateTrainingSetPayload() | DeleteTrainingSetPayload() | ImportPayload(new_training_set=True)
            ) as payload:
                if row.forward == isinstance(payload, DeleteTrainingSetPayload):
                    self._delete_training_set(payload)
                else:
                    self._create_training_set(payload)
            case FeedbackPayload() as payload if not self.outcome.training_set_id:
                if row.forward:
                    self._send_feedback_only(payload)
                else:
                    self._notes.append(_UNDO_IMPOSSIBLE)
            case payload:
                if row.forward and not payload.planned:
                    self._plan()
                if isinstance(payload, FeedbackPayload) and not row.placements:
                    self._send_feedback(payload) if row.forward else self._notes.append(_UNDO_IMPOSSIBLE)
                self._move_images()
        row.note = " ".join(self._notes)
        return self.outcome

    # --- images and labels

    def _plan(self) -> None:
        """Find the images of the edit, and the labels that it creates and drops."""
        row, payload, index = self._row, self._payload, self._index()
        if isinstance(payload, WholeLabelPayload):
            counts = index.counts()
            if payload.old not in counts:
                raise NotFound(f"There is no label “{payload.old}” any more.")
            is_rename = isinstance(payload, RenameLabelPayload)
            if is_rename and counts.get(payload.new):
                raise BadRequest(
                    f"There is a label “{payload.new}” already.", advice="Merge the two, or choose another name."
                )
            if not counts[payload.old] and not self._workspace.has("labels"):
                if is_rename:
                    raise BadRequest(
                        f"“{payload.old}” has no photos, and this service makes a label by its first photo.",
                        advice="Add photos under the new name instead.",
                    )
                self._notes.append(f"The service keeps the empty label “{payload.old}”; it is not shown here any more.")
            row.placements = placements_of(index.under(payload.old).values(), payload.old, payload.new or None)
            payload.dropped_labels = [payload.old]
        targets = {placement.target for placement in row.placements if placement.target is not None}
        targets |= set(payload.created_labels)
        payload.created_labels = sorted(targets - set(index.counts())) if targets else []
        if isinstance(payload, CreateLabelPayload) and not payload.created_labels:
            raise Conflict(f"There is a label “{payload.label}” already.", advice="Choose another name.")
        payload.planned = True
        self._journal.replace_placements(row)

    def _move_images(self) -> None:
        row, payload, has_labels = self._row, self._payload, self._workspace.has("labels")
        created, dropped = payload.created_labels, payload.dropped_labels
        if not row.forward:
            created, dropped = dropped, created
        if has_labels and (isinstance(payload, CreateLabelPayload) or not row.forward):
            for label in created:
                self._create_label(label)
        ops = self._operations()
        ImageMover(ops, self._run.progress).run(self._scope)
        self.outcome.labels_added += created
        for label in dropped:
            self._drop_label(label, ops.index)
        if not has_labels:
            self._journal.hide_labels(row, self.outcome.labels_removed, created)
            if isinstance(payload, RenameLabelPayload) and dropped == self.outcome.labels_removed:
                self.outcome.renamed |= dict(zip(dropped, created, strict=False))
        if ops.missing:
            count = f"{ops.missing} photos were" if ops.missing > 1 else "One photo was"
            self._notes.append(f"{count} deleted or moved by someone else, and left out.")
            self.outcome.stale = True
        if row.placements and all(placement.missing for placement in row.placements):
            raise NotFound(
                "Someone else deleted or moved these photos, so they are left as they are.",
                advice="You see what is there now.",
            )

    def _set_splits(self, payload: SplitPayload) -> None:
        """Put the images into the split, or each into the one that it had; a repeated call changes nothing."""
        row, done = self._row, 0
        pending = [placement for placement in row.placements if placement.is_pending(row.forward)]
        by_split: dict[str, list[Placement]] = {}
        for placement in pending:
            by_split.setdefault(payload.split if row.forward else placement.split, []).append(placement)
        for split, placements in by_split.items():
            for batch in chunks(placements, BATCH):
                if self._run.cancelled():
                    raise Cancelled
                self._set_split(batch, split)
                done += len(batch)
                self._run.progress(done, len(pending))
        missing = sum(placement.missing for placement in pending)
        if missing:
            self._notes.append(f"{plural(missing, 'photo is', 'photos are')} not there any more, and left out.")
            self.outcome.stale = True
        if pending and missing == len(pending):
            raise NotFound("These photos are not there any more.", advice="You see what is there now.")

    def _set_split(self, batch: list[Placement], split: str) -> None:
        for _ in range(ATTEMPTS):
            batch = [placement for placement in batch if not placement.missing]
            ids = [self._journal.resolve(placement.handle) for placement in batch]
            if not ids:
                return
            try:
                self._client.set_split(self.outcome.training_set_id, ids, split)
            except NotFound:
                listed = self._index().labels_by_id()
                for placement, known in zip(batch, ids, strict=True):
                    placement.missing = known not in listed
                self._journal.save(self._row, batch)
            else:
                for placement in batch:
                    placement.at_target = self._row.forward
                self._journal.save(self._row, batch)
                self.outcome.splits |= dict.fromkeys(ids, split)
                return
        raise ServerError("Other programs keep changing these photos. Try again.")

    def _mark_label_call(self) -> None:
        if not self._payload.label_call_begun:
            self._payload.label_call_begun = True
            self._journal.save(self._row)

    def _create_label(self, label: str) -> None:
        self._mark_label_call()
        with suppress(Conflict):  # it exists, perhaps from an earlier run
            self._client.create_label(self.outcome.training_set_id, label)

    def _drop_label(self, label: str, index: LabelIndex) -> None:
        index.refresh()
        count = index.counts().get(label)
        if count:
            self._notes.append(f"The label “{label}” stays: it has other photos.")
            self.outcome.stale = True
            return
        if count is not None and self._workspace.has("labels"):
            self._mark_label_call()
            with suppress(NotFound):
                self._client.delete_label(self.outcome.training_set_id, label)
        self.outcome.labels_removed.append(label)

    def _rename_label(self, payload: RenameLabelPayload) -> None:
        row = self._row
        if payload.renamed == row.forward and not payload.unconfirmed:
            return
        old, new = (payload.old, payload.new) if row.forward else (payload.new, payload.old)
        labels = self._index().counts() if payload.unconfirmed else {}
        is_done = payload.unconfirmed and old not in labels and new in labels
        if not is_done:
            payload.unconfirmed = True
            self._journal.save(row)
            try:
                self._client.rename_label(self.outcome.training_set_id, old, new)
            except (BadRequest, NotFound):
                payload.unconfirmed = False
                raise
        payload.unconfirmed, payload.renamed = False, row.forward
        self._journal.save(row)
        self.outcome.renamed[old] = new

    # --- feedback

    def _send_feedback_only(self, payload: FeedbackPayload) -> None:
        """Send a correction of a classifier that belongs to no training set here: no image comes of it."""
        if not payload.sent:
            self._call_feedback(payload)
            payload.sent, payload.unconfirmed = True, False
            self._journal.save(self._row)

    def _send_feedback(self, payload: FeedbackPayload) -> None:
        """Send a correction, and find the image that came of it and its former label."""
        row, index = self._row, self._index()
        has_images = self._workspace.has("images")
        found = ""
        labels_before: dict[str, str] = {}
        if not payload.sent:
            if has_images:
                labels_before = self._current_labels(index)
            else:
                payload.ids_before = {payload.label: list(index.under(payload.label))}
            answer = self._call_feedback(payload)
            payload.sent, payload.unconfirmed = True, False
            found = image_id(answer.training_image_id) if isinstance(answer.training_image_id, str) else ""
            self._journal.save(row)
        index.refresh()
        if not has_images and not found:
            new = set(index.under(payload.label)) - set((payload.ids_before or {}).get(payload.label, ()))
            found = new.pop() if len(new) == 1 else ""
        source = labels_before.get(found)
        if not found or source == payload.label:  # nothing came of it that could be undone
            self.outcome.stale = True
            return
        record = index.under(payload.label).get(found)
        row.placements = [
            Placement(0, found, source, payload.label, upload_name(record), at_target=True, record=record)
        ]
        self._journal.replace_placements(row)
        if source is not None:
            self.outcome.moved[found] = payload.label
        elif record is not None:
            self.outcome.added.append(record)

    def _current_labels(self, index: LabelIndex) -> dict[str, str]:
        """Return the label of each image before a correction moves one; of a large training set as last seen."""
        if sum(index.counts().values()) <= _QUICKLY_LISTED:
            return index.labels_by_id()
        known = self._workspace.cached_listing(self.outcome.training_set_id)
        return {image_id(image.image_id): str(image.label) for image in known.images} if known is not None else {}

    def _call_feedback(self, payload: FeedbackPayload) -> FeedbackAnswer:
        if payload.unconfirmed and self._workspace.has("feedback.read"):
            for answer in self._client.feedback():
                if answer.classification_id == payload.classification_id:
                    return answer
        payload.unconfirmed = True
        self._journal.save(self._row)
        return self._client.feedback_classification(payload.classification_id, payload.label_id)

    # --- training sets

    def _rename_training_set(self, payload: RenameTrainingSetPayload) -> None:
        name, description = payload.old, payload.old_description
        if self._row.forward:
            name, description = payload.new, payload.new_description
        self._client.update_training_set(self.outcome.training_set_id, name=name or None, description=description)

    def _choose_version(self, payload: ChooseVersionPayload) -> None:
        """Use a version, or the one before, unless another one answers by now: that has learned from what changed since."""
        key = to_set_key(self.outcome.training_set_id)
        sets = {to_set_key(training_set.id): training_set for training_set in self._client.training_sets()}
        if key not in sets:
            raise NotFound("This training set is not there any more.")
        slug, forward = str(sets[key].slug), self._row.forward
        version, waiting = (payload.new, None) if forward else (payload.old, payload.waiting or None)
        present = self._client.classifier(slug).version
        if present not in (payload.old, payload.new):
            self._notes.append(f"Version {present} answers by now, so nothing was changed.")
        else:
            self._client.make_current(slug, version, waiting)

    def _create_training_set(self, payload: TrainingSetPayload) -> None:
        row, outcome = self._row, self.outcome
        existing = self._client.training_sets()
        key = self._journal.resolve(row.set_handle)
        if key not in {to_set_key(training_set.id) for training_set in existing}:
            created_id = self._find_or_create(payload, existing)
            outcome.replaces = from_set_key(row.set_key) if row.set_key else None
            outcome.training_set_id = created_id
            row.set_key = to_set_key(created_id)
            payload.sets_before = None
            self._journal.save(row, renamed=[(key, row.set_key)])
        for label in payload.labels:
            if self._workspace.has("labels"):
                self._create_label(label)
        ImageMover(self._operations(), self._run.progress).run()
        outcome.labels_added += payload.labels
        outcome.stale = False

    def _find_or_create(self, payload: TrainingSetPayload, existing: list[TrainingSet]) -> Id:
        """Return the id of a new training set, or of the one created by a call whose answer was not received."""
        if payload.sets_before is not None:
            for training_set in existing:
                if training_set.name == payload.name and to_set_key(training_set.id) not in payload.sets_before:
                    return training_set.id
        payload.sets_before = [to_set_key(training_set.id) for training_set in existing]
        self._journal.save(self._row)
        return self._client.create_training_set(payload.name, payload.description or "").id

    def _delete_training_set(self, payload: TrainingSetPayload) -> None:
        row, outcome = self._row, self.outcome
        set_id = outcome.training_set_id
        key = to_set_key(set_id)
        found = {to_set_key(existing.id): existing for existing in self._client.training_sets()}.get(key)
        ops = self._operations()
        if found is not None:
            payload.name, payload.description = found.name, found.description
            listing = self._workspace.listing(set_id)
            payload.labels = list(listing.labels)
            row.placements = []
            for label in listing.labels:
                images = [image for image in listing.images if image.label == label]
                source, target = (label, None) if row.forward else (None, label)
                row.placements += placements_of(images, source, target, len(row.placements), not row.forward)
            payload.planned = True
            self._journal.replace_placements(row)
            self._save_content(ops)
            payload.unconfirmed = True
            self._journal.save(row, row.placements)
            self._client.delete_training_set(set_id)
        elif not payload.unconfirmed:
            raise NotFound("This training set is not there any more.")
        ops.mark_deleted([placement for placement in row.placements if placement.is_pending(row.forward)])
        self._journal.save(row, renamed=[(key, new_absent_name())])
        self._workspace.cache.forget_training_set(self._workspace.connection.id, set_id)
        outcome.training_set_removed = True
        outcome.stale = False

    def _save_content(self, ops: ImageOperations) -> None:
        placements = self._row.placements
        done = 0
        for chunk in chunks(placements, ops.chunk_size):
            ops.ensure_content(chunk, durable=True)
            done += len(chunk)
            self._run.progress(done, len(placements))

    def _index(self) -> LabelIndex:
        return LabelIndex(self._workspace, self.outcome.training_set_id)

    def _operations(self) -> ImageOperations:
        return ImageOperations(
            self._workspace,
            self.outcome.training_set_id,
            self._journal,
            self._trash,
            self._row,
            self.outcome,
            self._index(),
            self._run.cancelled,
        )
