"""Dismissing: puts what a person said is fine on the journal of edits, so that it is undone and done again like the rest.

It needs no service: it is done, taken back and done again at once, whether that is there or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import EditKind, EditOutcome, EditPayload, EditRow, EditStage, Placement
from apitorch_desktop.dataset.review.dismissals import Dismissal, DismissalStore

_TWIN = "twin:"


class DismissEdits:
    """Writes dismissals and their journal. An edit's images are its placements, so that their ids are followed."""

    def __init__(self, journal: EditJournal, dismissals: DismissalStore) -> None:
        self._journal = journal
        self._dismissals = dismissals

    def do(self, connection: str, training_set: str, found: Sequence[Dismissal], title: str) -> EditRow:
        """A new edit, done: these are fine."""
        images = dict.fromkeys(image for one in found for image in _images(one))
        places = {image: n for n, image in enumerate(images)}
        facts = EditPayload(planned=True, dismissed=[_packed(one, places) for one in found])
        entry = self._journal.add(connection, training_set, EditKind.DISMISS, title, EditStage.DONE, facts)
        entry.placements = [Placement(n, image, "", "", there=True) for image, n in places.items()]
        self._journal.plan(entry)
        self._dismissals.add(connection, found)
        return entry

    def turn(self, entry: EditRow, stage: EditStage) -> EditOutcome:
        """Take a dismissal back (UNDONE), or do it again (DONE)."""
        from apitorch_desktop.dataset.edits.executor import edit_of

        found = self.found(entry)
        if stage is EditStage.UNDONE:
            self._dismissals.remove(entry.connection, found)
        else:
            self._dismissals.add(entry.connection, found)
        entry.stage = stage
        self._journal.save(entry)
        outcome = EditOutcome(edit_of(entry, self._journal), self._journal.training_set_id(entry))
        outcome.dismissed = dict.fromkeys(found, stage is EditStage.DONE)
        return outcome

    def follow(self, connection: str, ids: Mapping[str, str]) -> None:
        """A service gave images other ids, old → new: what is dismissed of them stays dismissed."""
        if ids:
            self._dismissals.replace_ids(connection, ids)

    def found(self, entry: EditRow) -> list[Dismissal]:
        """What was dismissed, under the ids that the images have now."""
        now = {one.n: self._journal.now(one.handle) for one in entry.placements}
        found: list[Dismissal] = []
        for n, finding, other in entry.facts.dismissed:
            if finding == _TWIN:
                first, second = sorted((now[n], now[other]))
                found.append((first, _TWIN + second))
            else:
                found.append((now[n], finding))
        return found


def _images(dismissal: Dismissal) -> tuple[str, ...]:
    image, finding = dismissal
    return (image, finding.removeprefix(_TWIN)) if finding.startswith(_TWIN) else (image,)


def _packed(dismissal: Dismissal, places: dict[str, int]) -> tuple[int, str, int]:
    images = _images(dismissal)
    if len(images) > 1:
        return places[images[0]], _TWIN, places[images[1]]
    return places[images[0]], dismissal[1], 0
