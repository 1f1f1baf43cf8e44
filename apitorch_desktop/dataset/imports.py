"""Imports: uploads that can be undone. The journal of edits knows of one before its first image is sent.

So whatever ends the program in the middle, the next start knows which transfer belongs to which edit, and what the
training set was like before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apitorch_desktop.dataset.edit_records import Act, Edit, Facts, Placement, Stage, image_id, set_key
from apitorch_desktop.dataset.performing import edit_of
from apitorch_desktop.dataset.running import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apitorch_desktop.api.types import Id
    from apitorch_desktop.dataset.driving import Driver
    from apitorch_desktop.dataset.edit_journal import Journal
    from apitorch_desktop.dataset.edit_records import Entry
    from apitorch_desktop.dataset.sources import Upload
    from apitorch_desktop.dataset.transfers import Transfers, TransferStatus


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of an import. `created`: images that were not there before. `edit`: new in the journal, None for nothing."""

    created: int
    edit: Edit | None


class Imports:
    """Keeps the journal of edits in step with the transfers. Thread-safe; everything blocks."""

    def __init__(self, journal: Journal, driver: Driver, transfers: Transfers, opened_at: float) -> None:
        self._journal = journal
        self._driver = driver
        self._transfers = transfers
        self._opened_at = opened_at

    def upload(
        self,
        connection_id: str,
        training_set_id: Id,
        title: str,
        items: Iterable[Upload],
        *,
        labels_before: Iterable[str] = (),
        new_training_set: bool = False,
    ) -> int:
        """Accept an upload, journalled. Answers the transfer's id. Its undo is that of `Edits.imported`."""
        facts = Facts(
            planned=True, labels_before=sorted(set(labels_before)), new_training_set=new_training_set, transfer=0
        )
        key = set_key(training_set_id)
        entry = self._journal.add(connection_id, key, Act.IMPORT, "the import", Stage.BEGUN, facts)

        def link(transfer_id: int) -> None:
            facts.transfer = transfer_id
            self._journal.save(entry)

        try:
            return self._transfers.add_upload(connection_id, training_set_id, title, items, first=link)
        except BaseException:
            self._journal.drop(entry)
            raise

    def ended(self, connection_id: str, transfer_id: int, labels_before: Iterable[str] = ()) -> Ended:
        """An upload ended: write down what it brought in. `labels_before`: for one that was accepted without a journal.

        After *Retry*, what came in since is an edit of its own.
        """
        status = self._transfers.status(transfer_id)
        self._transfers.calm(transfer_id)
        created = {image_id(one.image_id): one.label for one in self._transfers.results(transfer_id) if one.created}
        with self._driver.turn(connection_id):
            entries = [one for one in self._journal.imports(connection_id) if one.facts.transfer == transfer_id]
            begun = next((one for one in entries if one.stage is Stage.BEGUN), None)
            known = {one.first for entry in entries for one in self._journal.load(entry).placements}
            new = {image: label for image, label in created.items() if image not in known}
            if begun is None and new:
                facts = entries[0].facts if entries else Facts(planned=True, labels_before=sorted(set(labels_before)))
                made = {label for entry in entries for label in entry.facts.labels_made}
                begun = self._again(status, facts, made)
            edit = self._write(begun, new) if begun is not None else None
        return Ended(len(created), edit)

    def _again(self, status: TransferStatus, facts: Facts, made: set[str]) -> Entry:
        """More came of a transfer that was journalled already, or never."""
        key = set_key(status.training_set_id)
        labels = sorted({*facts.labels_before, *made})
        facts = Facts(planned=True, labels_before=labels, transfer=status.id)
        return self._journal.add(status.connection_id, key, Act.IMPORT, "", Stage.BEGUN, facts)

    def _write(self, entry: Entry, new: dict[str, str]) -> Edit | None:
        facts = entry.facts
        if not new and not facts.new_training_set:
            self._journal.drop(entry)
            return None
        entry.placements = [
            Placement(n, image, None, label, there=True) for n, (image, label) in enumerate(new.items())
        ]
        facts.labels_made = sorted(set(new.values()) - set(facts.labels_before))
        entry.stage = Stage.DONE
        entry.title = f"import {len(new):,} photo{'' if len(new) == 1 else 's'}"
        self._journal.forget_undone(entry.connection)
        self._journal.plan(entry)
        self._journal.hide_labels(entry, (), facts.labels_made)
        return edit_of(entry, self._journal)

    def settle(self, connection_id: str) -> None:
        """Write down imports that ended while nobody was there to do it: after a start, and whenever in doubt."""
        for entry in self._journal.imports(connection_id, Stage.BEGUN):
            status = self._status(entry)
            if status is None:
                if entry.facts.transfer or entry.created_at < self._opened_at:  # else it is just being accepted
                    self._journal.drop(entry)
            elif status.state in ENDED:
                self.ended(connection_id, status.id)

    def stop(self, connection_id: str) -> None:
        """Where an import under way is what `Edits.undo` would undo: cancel it, and write down what came in."""
        entry = self._driver.last_done(connection_id)
        if entry is None or entry.stage is not Stage.BEGUN:
            return
        status = self._status(entry)
        if status is None:
            self._journal.drop(entry)
            return
        self._transfers.cancel(status.id)
        self.ended(connection_id, status.id)

    def _status(self, entry: Entry) -> TransferStatus | None:
        try:
            return self._transfers.status(entry.facts.transfer)
        except KeyError:
            return None
