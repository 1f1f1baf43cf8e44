"""Performer: does an edit, or takes it back, whichever its stage says; what was done already is not done again."""

from __future__ import annotations

from contextlib import suppress

from apitorch_desktop.api.errors import BadRequest, Conflict, NotFound
from apitorch_desktop.api.types import FeedbackAnswer, TrainingImage, TrainingSet
from apitorch_desktop.dataset.edits.image_mover import ImageMover
from apitorch_desktop.dataset.edits.image_ops import ImageOperations, name_of
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.label_index import LabelIndex
from apitorch_desktop.dataset.edits.model import (
    LABEL_ACTS,
    Edit,
    EditKind,
    EditOutcome,
    EditRow,
    EditRun,
    EditStage,
    Placement,
    absent,
    image_id,
    set_id,
    set_key,
)
from apitorch_desktop.dataset.edits.reconcile import CheckScope
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace

_QUICKLY_LISTED = 20_000
_STAYS = "The service does not tell which image came of the correction, so nothing was taken out."


class EditExecutor:
    """One run of one edit; its placements are loaded. Raises ApiError and OSError; the journal knows how far it came."""

    def __init__(
        self,
        workspace: Workspace,
        journal: EditJournal,
        trash: TrashStore,
        entry: EditRow,
        run: EditRun,
        *,
        look: CheckScope = CheckScope.NONE,
    ) -> None:
        self._look = look
        self._workspace = workspace
        self._client = workspace.client
        self._journal = journal
        self._entry = entry
        self._facts = entry.facts
        self._trash = trash
        self._run = run
        self._notes: list[str] = []
        self.outcome = EditOutcome(edit_of(entry, journal), journal.training_set_id(entry))

    def run(self) -> EditOutcome:
        """Do it. The outcome's `edit` is as it was before."""
        entry, facts = self._entry, self._facts
        if entry.kind is EditKind.RENAME_TRAINING_SET:
            self._rename_training_set()
        elif entry.kind is EditKind.RENAME_LABEL and self._workspace.has("labels"):
            self._rename_label()
        elif entry.kind in {EditKind.CREATE_TRAINING_SET, EditKind.DELETE_TRAINING_SET} or facts.new_training_set:
            if entry.forward == (entry.kind is EditKind.DELETE_TRAINING_SET):
                self._drop_training_set()
            else:
                self._make_training_set()
        elif entry.kind is EditKind.FEEDBACK and not self.outcome.training_set_id:
            if entry.forward:
                self._send_only()
            else:
                self._notes.append(_STAYS)
        else:
            if entry.forward and not facts.planned:
                self._plan()
            if entry.kind is EditKind.FEEDBACK and not entry.placements:
                self._send_feedback() if entry.forward else self._notes.append(_STAYS)
            self._place()
        entry.note = " ".join(self._notes)
        return self.outcome

    # --- images and labels

    def _plan(self) -> None:
        """Find out which images it is about, and which labels it makes."""
        entry, facts, board = self._entry, self._facts, self._board()
        if entry.kind in LABEL_ACTS:
            counts = board.counts()
            if facts.old not in counts:
                raise NotFound(f"There is no label “{facts.old}” any more.")
            if entry.kind is EditKind.RENAME_LABEL and counts.get(facts.new):
                raise BadRequest(
                    f"There is a label “{facts.new}” already.", advice="Merge the two, or choose another name."
                )
            if not counts[facts.old] and not self._workspace.has("labels"):
                self._plan_empty()
            entry.placements = placements_of(board.under(facts.old).values(), facts.old, facts.new or None)
            facts.labels_dropped = [facts.old]
        targets = {one.target for one in entry.placements if one.target is not None} | set(facts.labels_made)
        facts.labels_made = sorted(targets - set(board.counts())) if targets else []
        if entry.kind is EditKind.CREATE_LABEL and not facts.labels_made:
            raise Conflict(f"There is a label “{facts.new}” already.", advice="Choose another name.")
        facts.planned = True
        self._journal.plan(entry)

    def _plan_empty(self) -> None:
        """A label without images, on a service that knows labels by their images alone."""
        label = self._facts.old
        if self._entry.kind is EditKind.RENAME_LABEL:
            raise BadRequest(
                f"“{label}” has no images, and this service makes a label by its first image.",
                advice="Add images under the new name instead.",
            )
        self._notes.append(f"The service keeps the empty label “{label}”; it is not shown here any more.")

    def _place(self) -> None:
        entry, facts, has_labels = self._entry, self._facts, self._workspace.has("labels")
        come, go = facts.labels_made, facts.labels_dropped
        if not entry.forward:
            come, go = go, come
        if has_labels and (entry.kind is EditKind.CREATE_LABEL or not entry.forward):
            for label in come:
                self._make_label(label)
        hands = self._hands()
        ImageMover(hands, self._run.progress).run(self._look)
        self.outcome.labels_added += come
        for label in go:
            self._drop_label(label, hands.board)
        if not has_labels:
            self._journal.hide_labels(entry, self.outcome.labels_removed, come)
            if entry.kind is EditKind.RENAME_LABEL and go == self.outcome.labels_removed:
                self.outcome.renamed |= dict(zip(go, come, strict=False))
        if hands.missing:
            count = f"{hands.missing} images were" if hands.missing > 1 else "One image was"
            self._notes.append(f"{count} deleted or moved by someone else, and left out.")
            self.outcome.stale = True
        if entry.placements and all(one.gone for one in entry.placements):
            raise NotFound(
                "Someone else deleted or moved these images, so they are left as they are.",
                advice="You see what is there now.",
            )

    def _begin(self) -> None:
        if not self._facts.begun:
            self._facts.begun = True
            self._journal.save(self._entry)

    def _make_label(self, label: str) -> None:
        self._begin()
        with suppress(Conflict):  # there is one already, perhaps of our own making
            self._client.create_label(self.outcome.training_set_id, label)

    def _drop_label(self, label: str, board: LabelIndex) -> None:
        board.forget()
        count = board.counts().get(label)
        if count:
            self._notes.append(f"The label “{label}” stays: it has other images.")
            self.outcome.stale = True
            return
        if count is not None and self._workspace.has("labels"):
            self._begin()
            with suppress(NotFound):
                self._client.delete_label(self.outcome.training_set_id, label)
        self.outcome.labels_removed.append(label)

    def _rename_label(self) -> None:
        entry, facts = self._entry, self._facts
        if facts.sent == entry.forward and not facts.doubt:
            return
        old, new = (facts.old, facts.new) if entry.forward else (facts.new, facts.old)
        labels = self._board().counts() if facts.doubt else {}
        if not (facts.doubt and old not in labels and new in labels):  # else it was done, and the answer not heard
            facts.doubt = True
            self._journal.save(entry)
            try:
                self._client.rename_label(self.outcome.training_set_id, old, new)
            except (BadRequest, NotFound):
                facts.doubt = False
                raise
        facts.doubt, facts.sent = False, entry.forward
        self._journal.save(entry)
        self.outcome.renamed[old] = new

    def _send_only(self) -> None:
        """Send a correction of a classifier that is no training set's: no image here comes of it."""
        if not self._facts.sent:
            self._feedback()
            self._facts.sent, self._facts.doubt = True, False
            self._journal.save(self._entry)

    def _send_feedback(self) -> None:
        """Send a correction, and find out which image came of it, from where."""
        entry, facts, workspace, board = self._entry, self._facts, self._workspace, self._board()
        told = workspace.has("images")
        found, places = "", {}
        if not facts.sent:
            if told:
                places = self._places(board)
            else:
                facts.before = {facts.new: list(board.under(facts.new))}
            answer = self._feedback()
            facts.sent, facts.doubt = True, False
            found = image_id(answer.training_image_id) if isinstance(answer.training_image_id, str) else ""
            self._journal.save(entry)
        board.forget()
        if not told and not found:
            new = set(board.under(facts.new)) - set((facts.before or {}).get(facts.new, ()))
            found = new.pop() if len(new) == 1 else ""
        source = places.get(found)
        if not found or source == facts.new:  # nothing came of it that could be undone
            self.outcome.stale = True
            return
        record = board.under(facts.new).get(found)
        entry.placements = [Placement(0, found, source, facts.new, name_of(record), there=True, record=record)]
        self._journal.plan(entry)
        if source is not None:
            self.outcome.moved[found] = facts.new
        elif record is not None:
            self.outcome.added.append(record)

    def _places(self, board: LabelIndex) -> dict[str, str]:
        """Which image is under which label before a correction moves one; of a large training set as last seen."""
        if sum(board.counts().values()) <= _QUICKLY_LISTED:
            return {found: label for label, images in board.all().items() for found in images}
        known = self._workspace.cached_listing(self.outcome.training_set_id)
        return {image_id(image.image_id): str(image.label) for image in known.images} if known is not None else {}

    def _feedback(self) -> FeedbackAnswer:
        facts = self._facts
        if facts.doubt and self._workspace.has("feedback.read"):
            for answer in self._client.feedback():
                if answer.classification_id == facts.classification:
                    return answer
        facts.doubt = True
        self._journal.save(self._entry)
        return self._client.feedback_classification(facts.classification, facts.label_id)

    # --- training sets

    def _rename_training_set(self) -> None:
        facts = self._facts
        name, text = (facts.new, facts.new_text) if self._entry.forward else (facts.old, facts.old_text)
        self._client.update_training_set(self.outcome.training_set_id, name=name or None, description=text)

    def _make_training_set(self) -> None:
        entry, facts, outcome = self._entry, self._facts, self.outcome
        there = self._client.training_sets()
        name = self._journal.now(entry.place)
        if name not in {set_key(one.id) for one in there}:
            made = self._made(there)
            outcome.replaces = set_id(entry.training_set) if entry.training_set else None
            outcome.training_set_id = made.id
            entry.training_set = set_key(made.id)
            facts.sets_before = None
            self._journal.save(entry, became=[(name, entry.training_set)])
        for label in facts.labels:
            if self._workspace.has("labels"):
                self._make_label(label)
        ImageMover(self._hands(), self._run.progress).run()
        outcome.labels_added += facts.labels
        outcome.stale = False

    def _made(self, there: list[TrainingSet]) -> TrainingSet:
        """A new training set, or the one whose making was not heard of."""
        facts = self._facts
        if facts.sets_before is not None:
            for one in there:
                if one.name == facts.new and set_key(one.id) not in facts.sets_before:
                    return one
        facts.sets_before = [set_key(one.id) for one in there]
        self._journal.save(self._entry)
        return self._client.create_training_set(facts.new, facts.new_text or "")

    def _drop_training_set(self) -> None:
        entry, facts, outcome = self._entry, self._facts, self.outcome
        now = outcome.training_set_id
        found = next((one for one in self._client.training_sets() if set_key(one.id) == set_key(now)), None)
        hands = self._hands()
        if found is not None:
            facts.new, facts.new_text = found.name, found.description
            listing = self._workspace.listing(now)
            facts.labels = list(listing.labels)
            entry.placements = []
            for label in listing.labels:
                images = [image for image in listing.images if image.label == label]
                source, target = (label, None) if entry.forward else (None, label)
                entry.placements += placements_of(images, source, target, len(entry.placements), not entry.forward)
            facts.planned = True
            self._journal.plan(entry)
            self._keep(hands)
            facts.doubt = True
            self._journal.save(entry, entry.placements)
            self._client.delete_training_set(now)
        elif not facts.doubt:
            raise NotFound("This training set is not there any more.")
        hands.taken([one for one in entry.placements if one.there != entry.forward and not one.gone])
        self._journal.save(entry, became=[(set_key(now), absent())])
        self._workspace.cache.forget_training_set(self._workspace.connection.id, now)
        outcome.training_set_removed = True
        outcome.stale = False

    def _keep(self, hands: ImageOperations) -> None:
        placements = self._entry.placements
        for start in range(0, len(placements), 200):
            hands.keep(placements[start : start + 200], safe=True)
            self._run.progress(min(start + 200, len(placements)), len(placements))

    def _board(self) -> LabelIndex:
        return LabelIndex(self._workspace, self.outcome.training_set_id)

    def _hands(self) -> ImageOperations:
        return ImageOperations(
            self._workspace,
            self.outcome.training_set_id,
            self._journal,
            self._trash,
            self._entry,
            self.outcome,
            self._board(),
            self._run.cancelled,
        )


def placements_of(
    images: object, source: str | None, target: str | None, first: int = 0, there: bool = False
) -> list[Placement]:
    """A placement for each record of a listing, all from one label to one label."""
    found: list[TrainingImage] = list(images)  # type: ignore[call-overload]
    return [
        Placement(n, image_id(image.image_id), source, target, name_of(image), there=there, record=image)
        for n, image in enumerate(found, first)
    ]


def edit_of(entry: EditRow, journal: EditJournal) -> Edit:
    """An edit as the window sees it."""
    return Edit(
        entry.id,
        entry.connection,
        journal.training_set_id(entry),
        entry.kind,
        entry.title,
        EditStage(entry.stage),
        entry.note,
        entry.created_at,
    )
