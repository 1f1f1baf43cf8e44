"""What an edit that is still to be sent will have changed: shown meanwhile."""

from __future__ import annotations

from msgspec.structs import replace

from apitorch_desktop.dataset.edits.executor import edit_of
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import EditKind, EditOutcome, EditRow


def foreseen(entry: EditRow, journal: EditJournal) -> EditOutcome:
    """What an edit that is still to be sent will have changed, as far as it can be told without the service."""
    facts, forward = entry.facts, entry.forward
    outcome = EditOutcome(edit_of(entry, journal), journal.training_set_id(entry))
    for placement in entry.placements:
        if placement.gone:
            continue
        now = journal.now(placement.handle)
        start, end = placement.source, placement.target
        if not forward:
            start, end = end, start
        if start is not None and end is not None:
            outcome.moved[now] = end
        elif end is None:
            outcome.removed.append(now)
        elif placement.record is not None:
            outcome.added.append(replace(placement.record, label=end))
    come, go = facts.labels_made, facts.labels_dropped
    outcome.labels_added, outcome.labels_removed = list(come), list(go)
    if not forward:
        outcome.labels_added, outcome.labels_removed = outcome.labels_removed, outcome.labels_added
    if entry.kind is EditKind.RENAME_LABEL:
        outcome.renamed = {facts.old: facts.new} if forward else {facts.new: facts.old}
        outcome.moved, outcome.labels_added, outcome.labels_removed = {}, [], []
    return outcome
