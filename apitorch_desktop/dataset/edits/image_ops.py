"""Hands: what placing an image takes on any service: keep its bytes, upload it, delete it; each journalled beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from apitorch_desktop.api.errors import NotFound, ServerError
from apitorch_desktop.api.types import Id, ImageAnswer, TrainingImage
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.label_index import LabelIndex
from apitorch_desktop.dataset.edits.model import CopyStep, EditOutcome, EditRow, Placement, absent, image_id, is_absent
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.parallel import run_parallel


@dataclass
class ImageOperations:
    """For one run of one edit. `backwards` turns the direction round that the edit's stage gives, to take back copies.

    `missing` counts images that someone else had deleted or moved; they are left out. Methods raise ApiError, OSError.
    """

    workspace: Workspace
    training_set_id: Id
    journal: EditJournal
    trash: TrashStore
    entry: EditRow
    outcome: EditOutcome
    board: LabelIndex
    cancelled: Callable[[], bool] | None = None
    backwards: bool = False
    missing: int = 0
    tick: Callable[[], None] = lambda: None
    """Called after each call for a single image, from several threads."""
    _owners: dict[str, int] | None = field(default=None, repr=False)

    @property
    def direct(self) -> bool:
        """Whether the service moves and deletes many images in a call."""
        return self.workspace.has("images")

    def way(self, placement: Placement) -> tuple[str | None, str | None]:
        """From which label to which."""
        forward = self.entry.forward != self.backwards
        return (placement.source, placement.target) if forward else (placement.target, placement.source)

    def end(self, placement: Placement) -> str:
        """The label it goes to, where there is one."""
        return str(self.way(placement)[1])

    def now(self, placement: Placement) -> str:
        """The id the image has now, or its name while it is nowhere by itself."""
        return self.journal.now(placement.handle)

    def listed_hash(self, placement: Placement) -> str:
        """The sha256 that is known of an image, or empty."""
        record = placement.record
        listed = record.sha256 if record is not None and isinstance(record.sha256, str) else ""
        return placement.sha256 or listed

    def keep(self, placements: Sequence[Placement], *, safe: bool = False) -> list[Placement]:
        """Make sure that the bytes are on this machine. Answers those whose image is there: go on with these.

        `safe`: from a loss of power too; before an image is deleted that is nowhere else.
        """

        missing: list[Placement] = []
        for placement in placements:
            known = self.listed_hash(placement)
            if known and self.trash.has(known):
                placement.sha256 = known
            else:
                missing.append(placement)
        self._fill_in(missing)

        def one(placement: Placement) -> None:
            record = placement.record
            try:
                if record is None:
                    raise NotFound("It is not listed.")
                data = self.workspace.image(self.training_set_id, record, cancelled=self.cancelled)
            except NotFound:
                placement.gone = True
                return
            placement.sha256 = self.trash.keep(data)
            if isinstance(record.sha256, str) and record.sha256 != placement.sha256:
                raise ServerError("The service sent other bytes than it lists for an image; nothing was deleted.")
            self.tick()

        run_parallel(missing, one, self.cancelled)
        kept = [placement for placement in placements if not placement.gone]
        if safe:
            self.trash.settle({placement.sha256 for placement in kept})
        if len(kept) < len(placements):
            self.missing += len(placements) - len(kept)
            self.journal.save(self.entry, placements)
        return kept

    def note_before(self, placements: Sequence[Placement]) -> None:
        """Write down what is there before the first upload: what an upload finds there is not ours to delete."""
        facts = self.entry.facts
        if facts.before is None or facts.before_forward != self.entry.forward:
            labels = {self.end(placement) for placement in placements}
            facts.before = {label: list(self.board.under(label)) for label in labels}
            facts.before_forward = self.entry.forward
            self.journal.save(self.entry)

    def upload(self, placements: Sequence[Placement]) -> None:
        """Upload what has no copy yet to where it goes. What stays in doubt, the journal says."""
        todo = [placement for placement in placements if placement.step != CopyStep.COPIED]
        for placement in todo:
            placement.step = CopyStep.IN_DOUBT
        self.journal.save(self.entry, todo)
        begun: set[int] = set()

        def one(placement: Placement) -> None:
            data = self.trash.read(placement.sha256)
            begun.add(placement.n)
            answer = self.workspace.client.upload_image(
                self.training_set_id,
                self.end(placement),
                data=data,
                filename=placement.name or "image",
                cancelled=self.cancelled,
            )
            placement.step, placement.copy = CopyStep.COPIED, image_id(answer.id)
            if isinstance(answer.filename, str) and isinstance(answer.url, str):
                self.came(placement, _record_of(answer))
            self.tick()

        try:
            run_parallel(todo, one, self.cancelled)
        finally:
            for placement in todo:
                if placement.n not in begun:
                    placement.step = CopyStep.NONE
            self.journal.save(self.entry, todo)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete images one by one; what is gone already is what was wanted."""

        def one(old: str) -> None:
            with suppress(NotFound):
                self.workspace.client.delete_image(old)
            self.tick()

        run_parallel(list(dict.fromkeys(ids)), one, self.cancelled)

    def came(self, placement: Placement, image: TrainingImage) -> None:
        """Note the service's record of a copy."""
        placement.record = replace(image, label=self.end(placement))

    def is_shared(self, placement: Placement) -> bool:
        """Whether the copy is an image that was there before, or another one's of this edit: the two are one then."""
        if self._owners is None:
            self._owners = {
                self.now(other): other.n
                for other in self.entry.placements
                if other.there == self.entry.forward and not other.merged and not other.gone
            }
        before = self.entry.facts.before or {}
        if placement.copy in before.get(self.end(placement), ()):
            return True
        return self._owners.setdefault(placement.copy, placement.n) != placement.n

    def arrived(self, placement: Placement) -> None:
        """The image is on the other side now."""
        placement.there = self.entry.forward
        placement.step, placement.copy = CopyStep.NONE, ""
        placement.merged, placement.other = False, 0

    def merge(self, placement: Placement, other: str) -> tuple[str, str]:
        """The image and another, by its id, are one now. Answers what it was called, and what it is called now."""
        placement.merged, placement.other = True, self.journal.handle(self.entry, other)
        old = self.now(placement)
        return old, old if is_absent(old) else absent()

    def taken(self, taken: Sequence[Placement], *, there: bool | None = None) -> None:
        """Write down that images are gone from the service, and in the trash. `there`: which side that is."""
        became, trashed = [], []
        for placement in taken:
            old = self.now(placement)
            name = old if is_absent(old) else absent()
            if not placement.merged:
                self.outcome.removed.append(old)
                placement.first = placement.first if is_absent(old) else old
            trashed.append((placement, name, self.trash.size(placement.sha256)))
            became.append((old, name))
            self.arrived(placement)
            placement.there = self.entry.forward if there is None else there
        self.entry.facts.doubt = False
        self.journal.save(self.entry, taken, became=became, trashed=trashed)

    def in_doubt(self, doubt: bool) -> None:
        """Write down that a call is about to change much at once, or that its answer was heard."""
        if self.entry.facts.doubt != doubt:
            self.entry.facts.doubt = doubt
            self.journal.save(self.entry)

    def _fill_in(self, placements: Sequence[Placement]) -> None:
        """Find the records that images have now, where they are not at hand; None for those that are not listed."""
        called = {one.n: self.journal.now(one.other) if one.merged else self.now(one) for one in placements}
        unknown = [one for one in placements if one.record is None or image_id(one.record.image_id) != called[one.n]]
        if unknown:
            self.board.forget()
            found = {name: image for images in self.board.all().values() for name, image in images.items()}
            for placement in unknown:
                placement.record = found.get(called[placement.n])
                placement.name = placement.name or name_of(placement.record)


def name_of(record: TrainingImage | None) -> str:
    """The file name to upload an image under: the one it came with, where it is known."""
    if record is None:
        return ""
    return record.original_filename if isinstance(record.original_filename, str) else record.filename


def _record_of(answer: ImageAnswer) -> TrainingImage:
    return TrainingImage(
        filename=str(answer.filename),
        url=str(answer.url),
        object=answer.object,
        id=answer.id,
        label=answer.label,
        thumbnail_url=answer.thumbnail_url,
        width=answer.width,
        height=answer.height,
        bytes=answer.bytes,
        created_at=answer.created_at,
        sha256=answer.sha256,
        original_filename=answer.original_filename,
    )
