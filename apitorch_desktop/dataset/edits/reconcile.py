"""Doubts: see where an edit's images are by now, and take back the copies that its other direction began."""

from __future__ import annotations

from enum import Enum, auto

from apitorch_desktop.dataset.edits.image_ops import ImageOperations
from apitorch_desktop.dataset.edits.model import CopyStep, Placement

_QUICKLY_LISTED = 5000
"""Images under the labels concerned up to which they are listed before an edit: some 50 ms."""


class CheckScope(Enum):
    """Whether to see, before an edit, what someone else deleted or moved meanwhile: it is left out then."""

    NONE = auto()
    NEAR = auto()
    """Its images were just seen: the labels they are under are listed, where that is quick."""
    WHOLE = auto()
    """It waited: all is listed."""


def look_near(hands: ImageOperations) -> None:
    """Find what someone else moved, where the service would move or delete it all the same. Raises ApiError.

    With the documented calls alone an image that was moved has another id, so that the call for the old one fails.
    """
    if not hands.direct:
        return
    todo = [one for one in hands.entry.placements if one.there != hands.entry.forward and not (one.gone or one.merged)]
    starts = {one.n: start for one in todo if (start := hands.way(one)[0]) is not None}
    counts = hands.board.counts()
    if sum(counts.get(label, 0) for label in set(starts.values())) > _QUICKLY_LISTED:
        return
    elsewhere = [one for one in todo if one.n in starts and hands.now(one) not in hands.board.under(starts[one.n])]
    if elsewhere and not (hands.entry.forward and _ours(hands, elsewhere)):
        look(hands)


def _ours(hands: ImageOperations, elsewhere: list[Placement]) -> bool:
    """Whether it was us: an edit made before the one before it was shown. The images then start from where that left them."""
    entry = hands.entry
    left = hands.journal.left_at(entry, {hands.now(one) for one in elsewhere})
    for placement in elsewhere:
        name = hands.now(placement)
        found = next((label for label in left.get(name, ()) if name in hands.board.under(label)), None)
        if found is None:
            return False
        placement.source = found
    hands.journal.save(entry, elsewhere)
    return True


def look(hands: ImageOperations) -> None:
    """See where the images are, and write it down; after a call that changes many and whose answer was not heard.

    Raises ApiError, NotFound where the training set itself is gone.
    """
    hands.board.forget()
    places = {found: label for label, images in hands.board.all().items() for found in images}
    became, changed, taken = [], [], []
    for placement in hands.entry.placements:
        if placement.gone or placement.merged:
            continue
        found = _note_place(hands, placement, places.get(hands.now(placement)))
        if found is None:
            taken.append(placement)
            continue
        if found:
            became.append(hands.merge(placement, found))
        hands.missing += placement.gone
        changed.append(placement)
    hands.outcome.stale = True
    hands.entry.facts.doubt = False
    hands.journal.save(hands.entry, changed, became=became)
    for there in (True, False):
        hands.taken([one for one in taken if (one.target is None) == there], there=there)


def _note_place(hands: ImageOperations, placement: Placement, label: str | None) -> str | None:
    """Set `there`, or `gone`. Answers the id of the image it has become one with, or empty; None: it is in the trash."""
    ends = (placement.source, placement.target)
    if label is not None:
        placement.there = label == placement.target
        placement.gone = label not in ends
        return ""
    if None in ends:
        if placement.there == (placement.target is None):
            return ""  # it was nowhere before
        placement.gone = not placement.sha256
        return "" if placement.gone else None
    known = hands.listed_hash(placement)
    for end in (placement.target, placement.source):
        twin = hands.board.twin(str(end), known)
        if twin is not None:
            placement.there = end == placement.target
            return twin
    placement.gone = True
    return ""


def _carried(hands: ImageOperations, half: list[Placement]) -> list[Placement]:
    """Images of which only the copy is there: the old one was deleted already, so they are on the other side, as a whole."""
    found = [
        one for one in half if one.step == CopyStep.COPIED and not one.merged and None not in (one.source, one.target)
    ]
    if not found:
        return []
    entry = hands.entry
    hands.board.forget()
    listed = {image for images in hands.board.all().values() for image in images}
    found = [one for one in found if hands.now(one) not in listed]
    before = entry.facts.before if entry.facts.before_forward != entry.forward else None
    taken = {image for images in (before or {}).values() for image in images}
    taken |= {hands.now(one) for one in entry.placements if one.there != entry.forward and not one.merged}
    became = []
    for placement in found:
        old, copy = hands.now(placement), placement.copy
        hands.arrived(placement)
        placement.there = not entry.forward
        became.append(hands.merge(placement, copy) if copy in taken else (old, copy))
        taken.add(copy)
    hands.journal.save(entry, found, became=became)
    return found


def settle(hands: ImageOperations) -> None:
    """Take back copies that a run in the other direction began; where one is in doubt, it is made, and then deleted."""
    entry = hands.entry
    half = [one for one in entry.placements if one.there == entry.forward and one.step and not one.gone]
    if not half:
        return
    hands.outcome.stale = True
    carried = _carried(hands, half)
    half = [one for one in half if one not in carried]
    copied = [one for one in half if one.step == CopyStep.COPIED]
    copied += hands.keep([one for one in half if one.step != CopyStep.COPIED])
    hands.backwards = True
    try:
        hands.upload(copied)
    finally:
        hands.backwards = False
    before = entry.facts.before if entry.facts.before_forward != entry.forward else None
    theirs = {found for ids in (before or {}).values() for found in ids}
    theirs |= {hands.now(one) for one in entry.placements if not one.merged}
    hands.delete([one.copy for one in copied if one.copy not in theirs])
    for placement in half:
        placement.step, placement.copy = CopyStep.NONE, ""
    entry.facts.before = None
    hands.journal.save(entry, half)
