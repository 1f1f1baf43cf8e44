"""Conflicts: photos that someone else deleted or moved before an edit of them was sent; kept until decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from msgspec.structs import replace

from apitorch_desktop.api.errors import ApiError, BadRequest, ConnectionFailed, NotFound, TimedOut
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.edits.image_ops import name_of
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import (
    NO_RUN,
    EditConflict,
    EditKind,
    EditOutcome,
    EditPayload,
    EditRun,
    Placement,
    absent,
    image_id,
    set_key,
)
from apitorch_desktop.dataset.edits.runner import EditRunner
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace

Original = Callable[[str], bytes | None]
"""By an image's id: what it was uploaded from, where that is still on this machine."""

_FETCHED = 100
"""Thumbnails that are fetched at most to find a photo again under another id."""


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A conflict as it is at this moment. `current`: the photo as the service lists it, None where it is nowhere.

    `reason`: why what was wanted cannot be done any more, a sentence; or empty.
    """

    conflict: EditConflict
    current: TrainingImage | None
    reason: str = ""

    @property
    def current_label(self) -> str | None:
        """The label it is under now."""
        return str(self.current.label) if self.current is not None else None


class ConflictResolver:
    """Thread-safe; everything blocks, and all but `all` and `keep_theirs` may ask the service."""

    def __init__(self, journal: EditJournal, trash: TrashStore, driver: EditRunner) -> None:
        self._journal = journal
        self._trash = trash
        self._driver = driver

    def all(self, connection_id: str) -> list[EditConflict]:
        """What is still to be decided, oldest first."""
        return self._journal.conflicts(connection_id)

    def check(self, workspace: Workspace, original: Original) -> list[ConflictView]:
        """What is there now. What came out as wanted after all is decided by that; so is all of a training set that is gone.

        Where the service is away, this is what was last seen. Raises ApiError for anything else.
        """
        found: list[ConflictView] = []
        listings: dict[str, list[TrainingImage] | None] = {}
        settled: list[int] = []
        for conflict in self.all(workspace.connection.id):
            key = str(conflict.training_set_id)
            if key not in listings:
                listings[key] = _images(workspace, conflict.training_set_id)
            images = listings[key]
            now = _find(workspace, conflict, images) if images is not None else None
            standing = ConflictView(conflict, now)
            if images is None or standing.current_label == conflict.wanted:
                settled.append(conflict.id)
            elif now is None and self._bytes(workspace, conflict, original) is None:
                found.append(ConflictView(conflict, now, "It is not on this computer, so it cannot be sent again."))
            else:
                found.append(standing)
        if settled and not workspace.offline:
            self._journal.drop_conflicts(settled)
        return found

    def keep_theirs(self, conflicts: Sequence[EditConflict]) -> None:
        """Leave these as the others made them."""
        self._journal.drop_conflicts([one.id for one in conflicts])

    def do_mine(
        self,
        workspace: Workspace,
        standings: Sequence[ConflictView],
        original: Original,
        run: EditRun = NO_RUN,
    ) -> EditOutcome:
        """Do what was wanted, as one edit, with its undo; all of one training set. Raises ApiError; then they stay."""
        placements: list[Placement] = []
        done: list[int] = []
        sets = {set_key(one.conflict.training_set_id) for one in standings}
        for standing in standings:
            placement = self._placement(workspace, standing, original, len(placements))
            if placement is not None:
                placements.append(placement)
                done.append(standing.conflict.id)
        if len(sets) != 1 or not placements:
            raise BadRequest("None of these can be done any more.", advice="Keep what is there.")
        photos = "1 photo" if len(placements) == 1 else f"{len(placements):,} photos"
        outcome = self._driver.do(
            workspace,
            sets.pop(),
            EditKind.SETTLE,
            f"change {photos} your way",
            EditPayload(),
            placements,
            run,
        )
        self._journal.drop_conflicts(done)
        return outcome

    def _placement(self, workspace: Workspace, standing: ConflictView, original: Original, n: int) -> Placement | None:
        conflict, now = standing.conflict, standing.current
        if now is not None:
            record = replace(now)
            return Placement(n, image_id(now.image_id), str(now.label), conflict.wanted, name_of(record), record=record)
        data = self._bytes(workspace, conflict, original)
        if data is None or conflict.wanted is None:
            return None
        return Placement(
            n, absent(), None, conflict.wanted, conflict.name, self._trash.keep(data), record=conflict.record
        )

    def _bytes(self, workspace: Workspace, conflict: EditConflict, original: Original) -> bytes | None:
        """The photo itself, from the trash or from what it was uploaded from; None where it is not on this machine."""
        known = conflict.sha256
        if known:
            with suppress(OSError):
                return self._trash.read(known)
        data = original(conflict.image_id)
        if data is None:
            return None
        if known:
            import hashlib

            return data if hashlib.sha256(data).hexdigest() == known else None
        return data if _thumbnail_of(data) == workspace.cached_thumbnail(conflict.image_id) else None


def _images(workspace: Workspace, training_set_id: Id) -> list[TrainingImage] | None:
    """What a training set has, or had when it was last seen; None where it is no more."""
    try:
        return workspace.listing(training_set_id).images
    except (ConnectionFailed, TimedOut):
        known = workspace.cached_listing(training_set_id)
        return known.images if known is not None else []
    except NotFound:
        return None


def _find(workspace: Workspace, conflict: EditConflict, images: Sequence[TrainingImage]) -> TrainingImage | None:
    """The photo among those that are there: by its id, by its bytes, or by what it looks like, to the byte."""
    wanted = image_id(conflict.image_id)
    for image in images:
        if image_id(image.image_id) == wanted:
            return image
    others = [image for image in images if image.label != conflict.label]
    if conflict.sha256 and any(isinstance(image.sha256, str) for image in images):
        return next((image for image in others if image.sha256 == conflict.sha256), None)
    looks = workspace.cached_thumbnail(conflict.image_id)
    if looks is None:
        return None
    left = _FETCHED
    for image in others:
        known = workspace.cached_thumbnail(image.image_id)
        if known is None and left and not workspace.offline:
            left -= 1
            known = _fetched(workspace, conflict.training_set_id, image)
        if known == looks:
            return image
    return None


def _fetched(workspace: Workspace, training_set_id: Id, image: TrainingImage) -> bytes | None:
    from apitorch_desktop.vision.images import UnreadableImage

    try:
        return workspace.thumbnail(training_set_id, image)
    except (ApiError, UnreadableImage):
        return None


def _thumbnail_of(data: bytes) -> bytes:
    from apitorch_desktop.vision import images

    try:
        return images.thumbnail(data)
    except images.UnreadableImage:
        return b""
