"""Reconciles an interrupted edit with the service: locates its images and removes leftover copies."""

from __future__ import annotations

from enum import Enum, auto

from apitorch_desktop.dataset.edits.image_ops import ImageOperations
from apitorch_desktop.dataset.edits.model import CopyStep, Placement

_QUICKLY_LISTED = 5000
"""Images under the labels concerned up to which they are listed before an edit: some 50 ms."""


class CheckScope(Enum):
    """Extent of the check, before an edit, for images that someone else deleted or moved: they are left out."""

    NONE = auto()
    NEAR = auto()
    """The images were just seen: their labels are listed, where that is quick."""
    WHOLE = auto()
    """The edit waited: everything is listed."""


def check_near(ops: ImageOperations) -> None:
    """Find images that someone else moved and that the service would move or delete all the same. Raises ApiError.

    With the documented calls alone, an image that was moved has another id, so that a call for the old one fails.
    """
    if not ops.direct:
        return
    pending = [
        placement for placement in ops.row.placements if placement.is_pending(ops.row.forward) and not placement.merged
    ]
    starts = {placement.n: start for placement in pending if (start := ops.ends(placement)[0]) is not None}
    counts = ops.index.counts()
    if sum(counts.get(label, 0) for label in set(starts.values())) > _QUICKLY_LISTED:
        return
    elsewhere = [
        placement
        for placement, name in zip(pending, ops.current_ids(pending), strict=True)
        if placement.n in starts and name not in ops.index.under(starts[placement.n])
    ]
    if elsewhere and not (ops.row.forward and _follow_own_edits(ops, elsewhere)):
        locate_images(ops)


def _follow_own_edits(ops: ImageOperations, elsewhere: list[Placement]) -> bool:
    """Return whether edits of this user moved all these images, of which the listing did not know yet.

    Their placements then start from where those edits left them.
    """
    left_under = ops.journal.labels_by_other_edits(ops.row, {ops.current_id(placement) for placement in elsewhere})
    for placement in elsewhere:
        name = ops.current_id(placement)
        found = next((label for label in left_under.get(name, ()) if name in ops.index.under(label)), None)
        if found is None:
            return False
        placement.source = found
    ops.journal.save(ops.row, elsewhere)
    return True


def locate_images(ops: ImageOperations) -> None:
    """Find all images of an edit in the listing and journal where they are; after an unconfirmed call.

    Raises ApiError, NotFound where the training set itself is gone.
    """
    ops.index.refresh()
    labels = ops.index.labels_by_id()
    renamed, changed, trashed = [], [], []
    for placement in ops.row.placements:
        if placement.missing or placement.merged:
            continue
        twin = _locate(ops, placement, labels.get(ops.current_id(placement)))
        if twin is None:
            trashed.append(placement)
            continue
        if twin:
            renamed.append(ops.mark_merged(placement, twin))
        ops.missing += placement.missing
        changed.append(placement)
    ops.outcome.stale = True
    ops.row.payload.unconfirmed = False
    ops.journal.save(ops.row, changed, renamed=renamed)
    for at_target in (True, False):
        ops.mark_deleted(
            [placement for placement in trashed if (placement.target is None) == at_target], at_target=at_target
        )


def _locate(ops: ImageOperations, placement: Placement, label: str | None) -> str | None:
    """Set `at_target` or `missing`, by the label that lists the image.

    Returns the id of the image with which it was merged, or empty; None if it is in the trash.
    """
    if label is not None:
        placement.at_target = label == placement.target
        placement.missing = label not in (placement.source, placement.target)
        return ""
    if None in (placement.source, placement.target):
        if placement.at_target == (placement.target is None):
            return ""  # it was nowhere before
        placement.missing = not placement.sha256
        return "" if placement.missing else None
    for end in (placement.target, placement.source):
        twin = ops.index.find_twin(str(end), placement.known_hash)
        if twin is not None:
            placement.at_target = end == placement.target
            return twin
    placement.missing = True
    return ""


def remove_copies(ops: ImageOperations) -> None:
    """Remove copies made by a run in the other direction; an unconfirmed copy is uploaded again, then deleted."""
    row = ops.row
    begun = [
        placement
        for placement in row.placements
        if placement.at_target == row.forward and placement.step and not placement.missing
    ]
    if not begun:
        return
    ops.outcome.stale = True
    finished = _finish_copies(ops, begun)
    begun = [placement for placement in begun if placement not in finished]
    copied = [placement for placement in begun if placement.step >= CopyStep.COPIED]
    copied += ops.ensure_content([placement for placement in begun if placement.step < CopyStep.COPIED])
    ops.backwards = True
    try:
        ops.upload(copied)
    finally:
        ops.backwards = False
    kept = _ids_before(ops) | {ops.current_id(placement) for placement in row.placements if not placement.merged}
    ops.delete([placement.copy_id for placement in copied if placement.copy_id not in kept])
    for placement in begun:
        placement.step, placement.copy_id = CopyStep.NONE, ""
    row.payload.ids_before = None
    ops.journal.save(row, begun)


def _finish_copies(ops: ImageOperations, begun: list[Placement]) -> list[Placement]:
    """Mark images as moved whose original was already deleted, so that only the copy exists. Returns these."""
    found = [
        placement
        for placement in begun
        if placement.step == CopyStep.COPIED
        and not placement.merged
        and None not in (placement.source, placement.target)
    ]
    if not found:
        return []
    row = ops.row
    ops.index.refresh()
    listed = ops.index.labels_by_id()
    found = [placement for placement in found if ops.current_id(placement) not in listed]
    taken = _ids_before(ops)
    taken |= {
        ops.current_id(placement)
        for placement in row.placements
        if placement.at_target != row.forward and not placement.merged
    }
    renamed = []
    for placement in found:
        old, copy_id = ops.current_id(placement), placement.copy_id
        ops.mark_arrived(placement)
        placement.at_target = not row.forward
        renamed.append(ops.mark_merged(placement, copy_id) if copy_id in taken else (old, copy_id))
        taken.add(copy_id)
    ops.journal.save(row, found, renamed=renamed)
    return found


def _ids_before(ops: ImageOperations) -> set[str]:
    """Return the ids there were before the uploads of the other direction, which are not this edit's copies."""
    payload = ops.row.payload
    before = payload.ids_before if payload.ids_before_forward != ops.row.forward else None
    return {found for ids in (before or {}).values() for found in ids}
