"""Dismissal of Review findings as edits, which are undone and redone like the others, but without the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.model import EditOutcome, EditStage, Placement
from apitorch_desktop.dataset.edits.payloads import DismissPayload
from apitorch_desktop.dataset.review.dismissals import Dismissal, DismissalStore

_DUPLICATE = "twin:"
"""Prefix of a dismissed near-duplicate (`Dismissal`); stored in journals and in `dismissals`."""


class DismissEdits:
    """Writes dismissals and their edits. The images are placements of the edit, so that
    the journal keeps their current ids.
    """

    def __init__(self, journal: EditJournal, dismissals: DismissalStore) -> None:
        self._journal = journal
        self._dismissals = dismissals

    def dismiss(self, connection_id: str, set_key: str, findings: Sequence[Dismissal], title: str) -> EditRow:
        """Dismiss findings, as a new edit."""
        images = dict.fromkeys(image for finding in findings for image in _images(finding))
        numbers = {image: n for n, image in enumerate(images)}
        payload = DismissPayload(planned=True, dismissed=[_pack(finding, numbers) for finding in findings])
        row = self._journal.add(connection_id, set_key, payload, title, EditStage.DONE)
        row.placements = [Placement(n, image, "", "", at_target=True) for image, n in numbers.items()]
        self._journal.replace_placements(row)
        self._dismissals.add(connection_id, findings)
        return row

    def change_stage(self, row: EditRow, payload: DismissPayload, stage: EditStage) -> EditOutcome:
        """Undo a dismissal (`stage` UNDONE) or redo it (DONE)."""
        findings = self._findings(row, payload)
        if stage is EditStage.UNDONE:
            self._dismissals.remove(row.connection_id, findings)
        else:
            self._dismissals.add(row.connection_id, findings)
        row.stage = stage
        self._journal.save(row)
        dismissed = dict.fromkeys(findings, stage is EditStage.DONE)
        return EditOutcome(self._journal.edit(row), self._journal.training_set_id(row), dismissed=dismissed)

    def replace_ids(self, connection_id: str, ids: Mapping[str, str]) -> None:
        """Replace the ids of images (old → new): their findings remain dismissed."""
        if ids:
            self._dismissals.replace_ids(connection_id, ids)

    def _findings(self, row: EditRow, payload: DismissPayload) -> list[Dismissal]:
        """Return the dismissed findings with the current ids of their images."""
        ids = {placement.n: self._journal.resolve(placement.handle) for placement in row.placements}
        found: list[Dismissal] = []
        for n, finding, other in payload.dismissed:
            if finding == _DUPLICATE:
                first, second = sorted((ids[n], ids[other]))
                found.append((first, _DUPLICATE + second))
            else:
                found.append((ids[n], finding))
        return found


def _images(dismissal: Dismissal) -> tuple[str, ...]:
    image, finding = dismissal
    return (image, finding.removeprefix(_DUPLICATE)) if finding.startswith(_DUPLICATE) else (image,)


def _pack(dismissal: Dismissal, numbers: dict[str, int]) -> tuple[int, str, int]:
    images = _images(dismissal)
    if len(images) > 1:
        return numbers[images[0]], _DUPLICATE, numbers[images[1]]
    return numbers[images[0]], dismissal[1], 0
