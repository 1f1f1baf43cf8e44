"""Adds what a watch has classified to a training set, as imports that can be undone."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.importer.undoable_import import ImportResult, UndoableImports
from apitorch_desktop.dataset.sources.image_source import UploadItem
from apitorch_desktop.dataset.transfers.queue import ENDED, TransferMissing, TransferQueue
from apitorch_desktop.dataset.watch.task import WatchTask
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.text import plural

_POLL = 0.1
"""Seconds between two looks at a transfer."""


class TargetMissing(UserError):  # noqa: N818 - named for what it is
    """The training set of a watch was deleted."""


class SetAdder:
    """Adds photos by a transfer, which other threads of the program run, and waits for it."""

    def __init__(
        self,
        task: WatchTask,
        imports: UndoableImports,
        transfers: TransferQueue,
        client: Callable[[], ApiClient],
        on_added: Callable[[ImportResult], object],
    ) -> None:
        """`on_added` receives what the journal of edits got."""
        self._task = task
        self._imports = imports
        self._transfers = transfers
        self._client = client
        self._on_added = on_added

    def add(self, items: list[UploadItem], stop: Event) -> dict[tuple[str, str], str]:
        """Add photos; return the reasons of those that could not be: (name, label) → sentence.

        The transfer is taken off the list once it has ended. Raises ApiError, TargetMissing and Cancelled.
        """
        connection_id, set_id = self._task.connection_id, self._task.training_set_id
        found = next((one for one in self._client().training_sets() if one.id == set_id), None)
        if found is None or set_id is None:
            raise TargetMissing("The training set is not there any more: remove this watch, and watch anew.")
        title = f"Adding {plural(len(items), 'photo')} of “{self._task.folder.name}” to “{found.name}”"
        transfer = self._imports.upload(connection_id, set_id, title, items, labels_before=found.classes)
        try:
            while self._transfers.status(transfer).state not in ENDED:
                if stop.wait(_POLL):
                    raise Cancelled
            failures = self._transfers.failures(transfer)
            result = self._imports.finish(connection_id, transfer, found.classes)
            self._transfers.forget(transfer)
        except TransferMissing:  # the user took it off the list
            return {}
        self._on_added(result)
        return {(one.name, one.label): f"{one.reason} {one.advice}".strip() for one in failures}
