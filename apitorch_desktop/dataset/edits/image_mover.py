"""Placer: brings each image of an edit to the other side, on any kind of service, so that it can stop at any moment.

Before anything that cannot be taken back, the journal says what is about to happen; what an interruption leaves in
doubt is settled by looking, or by doing it once more: uploads of the same bytes to a label give the same image, and
what is gone already counts as deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from time import sleep

from msgspec.structs import replace

from apitorch_desktop.api.errors import BadRequest, NotFound, ServerError
from apitorch_desktop.dataset.edits.image_ops import ImageOperations
from apitorch_desktop.dataset.edits.model import Placement, image_id, is_absent
from apitorch_desktop.dataset.edits.reconcile import CheckScope, look, look_near, settle

_CHUNK = 200
"""Images between two entries in the journal, where each takes a call of its own."""
_MOST = 5000
"""Images in one call, where a call takes many."""
_LOOKS = 3


class ImageMover:
    """For one run of one edit, in the direction of its stage. Raises ApiError and OSError."""

    def __init__(self, hands: ImageOperations, progress: Callable[[int, int], None] | None = None) -> None:
        self._hands = hands
        self._entry = hands.entry
        self._outcome = hands.outcome
        self._progress = progress
        self._done = self._total = 0
        self._lock = Lock()
        self._ticks, self._ticks_each = 0, 1

    def run(self, first: CheckScope = CheckScope.NONE) -> None:
        """Bring all placements to the side that the edit's stage names. `first`: what to see before."""
        if self._entry.facts.doubt or first is CheckScope.WHOLE:
            look(self._hands)
        elif first is CheckScope.NEAR:
            look_near(self._hands)
        settle(self._hands)
        moving, coming, leaving = [], [], []
        for placement in self._left(self._entry.placements):
            start, end = self._hands.way(placement)
            if end is None:
                leaving.append(placement)
            elif start is None or placement.merged:
                coming.append(placement)
            else:
                moving.append(placement)
        self._total = len(moving) + len(coming) + len(leaving)
        self._hands.tick = self._tick
        self._tell(0)
        if self._hands.direct:
            self._shift(moving)
        else:
            self._carry(moving)
        self._bring(coming)
        self._take(leaving)

    def _left(self, placements: Iterable[Placement]) -> list[Placement]:
        return [one for one in placements if one.there != self._entry.forward and not one.gone]

    # --- moving, where the service can

    def _shift(self, moving: list[Placement]) -> None:
        ends = dict.fromkeys(self._hands.end(placement) for placement in moving)
        for label in ends:
            for chunk in _chunks([one for one in moving if self._hands.end(one) == label], _MOST):
                self._shift_some(chunk, label)
                self._tell(len(chunk))

    def _shift_some(self, group: list[Placement], label: str) -> None:
        hands = self._hands
        for _ in range(_LOOKS):
            group = [one for one in self._left(group) if not one.merged]  # looking may have found them at their place
            if not group:
                return
            ids = [hands.now(placement) for placement in group]
            hands.in_doubt(True)
            try:
                found = hands.workspace.client.move_images(hands.training_set_id, ids, label)
            except NotFound:
                found = []
            if len(found) == len(ids):
                self._note_shifted(group, ids, [image_id(image.image_id) for image in found])
                return
            look(hands)
        raise ServerError("Other programs keep changing these images. Try again.")

    def _note_shifted(self, group: list[Placement], olds: list[str], news: list[str]) -> None:
        became = []
        for placement, old, new in zip(group, olds, news, strict=True):
            self._hands.arrived(placement)
            if new == old:
                self._outcome.moved[old] = self._hands.end(placement)
            else:
                self._outcome.removed.append(old)
                became.append(self._hands.merge(placement, new))
        self._entry.facts.doubt = False
        self._hands.journal.save(self._entry, group, became=became)

    # --- moving by copy: download, upload, confirm, delete

    def _carry(self, moving: list[Placement]) -> None:
        hands = self._hands
        if moving:
            hands.note_before(moving)
        self._ticks_each = 3  # downloaded, uploaded, the old one deleted
        for chunk in _chunks(moving, _CHUNK):
            kept = hands.keep(chunk)
            hands.upload(kept)
            self._confirm(kept)
            olds = [hands.now(placement) for placement in kept]
            hands.delete([old for old, one in zip(olds, kept, strict=True) if old != one.copy])
            self._outcome.removed += [old for old, one in zip(olds, kept, strict=True) if old != one.copy]
            self._outcome.changed |= self._note_copied(kept, olds)
            self._tell(len(chunk))

    def _confirm(self, copied: list[Placement]) -> None:
        """Raise unless the service lists the copies where they belong; and note its records of them."""
        board = self._hands.board
        for attempt in range(_LOOKS):
            sleep(0.3 * attempt)
            board.forget()
            missing = 0
            for placement in copied:
                start, end = self._hands.way(placement)
                if placement.copy == self._hands.now(placement) and placement.copy in board.under(str(start)):
                    raise BadRequest(
                        "This service takes an image under two labels for one, so it cannot be moved.",
                        advice="Delete it, and add it again under the other label.",
                    )
                image = board.under(str(end)).get(placement.copy)
                if image is None:
                    missing += 1
                    continue
                self._hands.came(placement, image)
            if not missing:
                return
        raise ServerError("The service does not list images that it accepted; nothing was deleted.")

    def _note_copied(self, copied: list[Placement], olds: list[str]) -> dict[str, str]:
        """Write down that copies are what the images are now. Answers old → new of those that are one of their own."""
        became, own = [], {}
        for placement, old in zip(copied, olds, strict=True):
            copy, shared = placement.copy, placement.copy != old and self._hands.is_shared(placement)
            self._hands.arrived(placement)
            if shared:
                became.append(self._hands.merge(placement, copy))
                continue
            became.append((old, copy))
            own[old] = copy
            if placement.record is not None:
                self._outcome.added.append(replace(placement.record))
        workspace = self._hands.workspace
        workspace.cache.copy_thumbnails(workspace.connection.id, own)
        back = [old for old in olds if is_absent(old)]
        self._hands.journal.save(self._entry, copied, became=became, untrashed=back)
        return own

    # --- coming: from the trash, or apart from the image it was merged with

    def _bring(self, coming: list[Placement]) -> None:
        hands = self._hands
        if coming:
            hands.note_before(coming)
        lost = [one for one in coming if not one.merged and not hands.trash.has(one.sha256)]
        if lost:
            raise BadRequest(f"{len(lost)} of the images are no longer in the trash.", advice="")
        self._ticks_each = 2
        for chunk in _chunks(coming, _CHUNK):
            kept = hands.keep(chunk)
            hands.upload(kept)
            self._look_up(kept)
            olds = [hands.now(one) for one in kept]
            before = self._called_before(kept, olds)
            own = self._note_copied(kept, olds)
            self._outcome.changed |= {before[old]: new for old, new in own.items() if before.get(old, new) != new}
            self._tell(len(chunk))

    def _called_before(self, coming: list[Placement], names: list[str]) -> dict[str, str]:
        """What is nowhere → the id it had when it was deleted: what a person knows of the image holds when it is back."""
        found = {name: one.first for one, name in zip(coming, names, strict=True)}
        unknown = {name for name, first in found.items() if is_absent(first)}
        found |= self._hands.journal.called_before(self._entry.connection, unknown)
        return {name: first for name, first in found.items() if not is_absent(first)}

    def _look_up(self, copied: list[Placement]) -> None:
        """Note the service's records of new images, where its answers did not give them."""
        unknown = [one for one in copied if one.record is None or image_id(one.record.image_id) != one.copy]
        if unknown:
            self._hands.board.forget()
        for placement in unknown:
            image = self._hands.board.under(self._hands.end(placement)).get(placement.copy)
            placement.record = None
            self._outcome.stale |= image is None
            if image is not None:
                self._hands.came(placement, image)

    # --- leaving: into the trash, then deleted

    def _take(self, leaving: list[Placement]) -> None:
        hands = self._hands
        self._ticks_each = 1 if hands.direct else 2
        for chunk in _chunks(leaving, _CHUNK):
            hands.keep(chunk, safe=True)
            hands.journal.save(self._entry, chunk)
        kept = self._left(leaving)
        own = [placement for placement in kept if not placement.merged]
        for chunk in _chunks(own, _MOST if hands.direct else _CHUNK):
            hands.in_doubt(True)
            if hands.direct:
                self._take_some(chunk)
            else:
                hands.delete([hands.now(placement) for placement in chunk])
            hands.taken(chunk)
        hands.taken([placement for placement in kept if placement.merged])
        self._tell(len(leaving))

    def _take_some(self, group: list[Placement]) -> None:
        hands = self._hands
        for _ in range(_LOOKS):
            try:
                hands.workspace.client.delete_images(hands.training_set_id, [hands.now(one) for one in group])
            except NotFound:  # someone else was quicker; what is gone is gone, and we have the bytes
                hands.board.forget()
                listed = {found for images in hands.board.all().values() for found in images}
                group = [placement for placement in group if hands.now(placement) in listed]
                if not group:
                    return
            else:
                return
        raise ServerError("Other programs keep changing these images. Try again.")

    def _tell(self, count: int) -> None:
        """So many images are through."""
        with self._lock:
            self._done += count
            self._ticks = 0
            if self._progress is not None:
                self._progress(self._done, self._total)

    def _tick(self) -> None:
        """One of an image's calls is through; from several threads."""
        with self._lock:
            self._ticks += 1
            if self._progress is not None:
                self._progress(min(self._total, self._done + self._ticks // self._ticks_each), self._total)


def _chunks(placements: list[Placement], size: int) -> Iterator[list[Placement]]:
    for start in range(0, len(placements), size):
        yield placements[start : start + size]
