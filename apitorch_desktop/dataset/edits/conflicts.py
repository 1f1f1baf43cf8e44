"""Conflicts: photos that someone else deleted or moved before an edit of them was sent, until the user decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from apitorch_desktop.api.errors import ApiError, BadRequest, ConnectionFailed, NotFound, TimedOut
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.edits.journal import EditJournal
from apitorch_desktop.dataset.edits.model import (
    NO_RUN,
    EditConflict,
    EditOutcome,
    EditRun,
    Placement,
    image_id,
    new_absent_name,
    to_set_key,
    upload_name,
)
from apitorch_desktop.dataset.edits.payloads import ResolveConflictsPayload
from apitorch_desktop.dataset.edits.runner import EditRunner
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.text import plural

Original = Callable[[str], bytes | None]
"""Returns, for the id of an image, the file it was uploaded from, if that is still on this machine."""

_MAX_FETCHED = 100
"""Thumbnails fetched at most to find a photo again under another id."""
_UNKNOWN = "The service cannot be reached, so it is not known where the photo is now."


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A conflict as it is at this moment. `current`: the photo as the service lists it, None if it no longer exists.

    `reason`: why the user's change is not possible, a sentence; or empty. `unknown`: the service is unreachable and the
    training set was never listed, so that nothing is known of the photo; `current` is None.
    """

    conflict: EditConflict
    current: TrainingImage | None
    reason: str = ""
    unknown: bool = False

    @property
    def current_label(self) -> str | None:
        """Its current label."""
        return str(self.current.label) if self.current is not None else None


class ConflictResolver:
    """Undecided conflicts: lists them, compares them with the service, and carries out the user's decisions.

    Thread-safe and blocking; all methods but `all` and `keep_theirs` may call the service.
    """

    def __init__(self, journal: EditJournal, trash: TrashStore, runner: EditRunner) -> None:
        self._journal = journal
        self._trash = trash
        self._runner = runner

    def all(self, connection_id: str) -> list[EditConflict]:
        """Return the undecided conflicts, oldest first."""
        return self._journal.conflicts(connection_id)

    def check(self, workspace: Workspace, original: Original) -> list[ConflictView]:
        """Return the undecided conflicts with the current state of their photos.

        Conflicts are dropped when the photo is as wanted after all, or its training set was deleted. If the service is
        unreachable, the state is the one last seen (`unknown` if there is none), and none is dropped. Raises ApiError for
        anything else.
        """
        found: list[ConflictView] = []
        listings: dict[str, _Images] = {}
        decided: list[int] = []
        for conflict in self.all(workspace.connection.id):
            key = conflict.training_set_id
            if key not in listings:
                listings[key] = _images(workspace, conflict.training_set_id)
            images, seen, up_to_date = listings[key]
            if not seen:
                found.append(ConflictView(conflict, None, _UNKNOWN, unknown=True))
                continue
            current = _find(workspace, conflict, images) if images is not None else None
            view = ConflictView(conflict, current)
            if images is None or view.current_label == conflict.wanted:
                decided += [conflict.id] if up_to_date else []
            elif current is None and self._content(workspace, conflict, original) is None:
                found.append(ConflictView(conflict, current, "It is not on this computer, so it cannot be sent again."))
            else:
                found.append(view)
        if decided:
            self._journal.drop_conflicts(decided)
        return found

    def keep_theirs(self, conflicts: Sequence[EditConflict]) -> None:
        """Leave the photos as the others changed them."""
        self._journal.drop_conflicts([conflict.id for conflict in conflicts])

    def do_mine(
        self, workspace: Workspace, views: Sequence[ConflictView], original: Original, run: EditRun = NO_RUN
    ) -> EditOutcome:
        """Apply the user's changes, all to the same training set, as one edit that can be undone.

        Raises ApiError, and the conflicts remain.
        """
        placements: list[Placement] = []
        decided: list[int] = []
        sets = {to_set_key(view.conflict.training_set_id) for view in views}
        for view in views:
            placement = self._placement(workspace, view, original, len(placements))
            if placement is not None:
                placements.append(placement)
                decided.append(view.conflict.id)
        if len(sets) > 1:
            raise ValueError("conflicts of several training sets")
        if not placements:
            raise BadRequest("None of these can be done any more.", advice="Keep what is there.")
        title = f"change {plural(len(placements), 'photo')} your way"
        outcome = self._runner.do(workspace, sets.pop(), ResolveConflictsPayload(), title, placements, run)
        self._journal.drop_conflicts(decided)
        return outcome

    def _placement(self, workspace: Workspace, view: ConflictView, original: Original, n: int) -> Placement | None:
        conflict, current = view.conflict, view.current
        if current is not None:
            record = replace(current)
            source = str(current.label)
            return Placement(n, image_id(current.image_id), source, conflict.wanted, upload_name(record), record=record)
        data = self._content(workspace, conflict, original)
        if data is None or conflict.wanted is None:
            return None
        sha256 = self._trash.add(data)
        return Placement(n, new_absent_name(), None, conflict.wanted, conflict.name, sha256, record=conflict.record)

    def _content(self, workspace: Workspace, conflict: EditConflict, original: Original) -> bytes | None:
        """Return the photo's content from the trash or its original file; None if neither is on this machine."""
        known = conflict.sha256
        if known:
            with suppress(OSError):
                return self._trash.read(known)
        data = original(conflict.image_id)
        if data is None:
            return None
        if known:
            return data if hashlib.sha256(data).hexdigest() == known else None
        return data if _thumbnail_of(data) == workspace.cached_thumbnail(conflict.image_id) else None


class _Images(NamedTuple):
    """Images of a training set, None if it was deleted. `seen`: listed now or before; `up_to_date`: listed now."""

    images: Sequence[TrainingImage] | None
    seen: bool = True
    up_to_date: bool = True


def _images(workspace: Workspace, training_set_id: Id) -> _Images:
    """Return the images of a training set, as last seen if the service is unreachable."""
    try:
        return _Images(workspace.listing(training_set_id).images)
    except (ConnectionFailed, TimedOut):
        known = workspace.cached_listing(training_set_id)
        return _Images(known.images if known is not None else [], seen=known is not None, up_to_date=False)
    except NotFound:
        return _Images(None)


def _find(workspace: Workspace, conflict: EditConflict, images: Sequence[TrainingImage]) -> TrainingImage | None:
    """Find the photo among the existing ones: by its id, its hash, or an identical thumbnail."""
    wanted = image_id(conflict.image_id)
    for image in images:
        if image_id(image.image_id) == wanted:
            return image
    others = [image for image in images if image.label != conflict.label]
    if conflict.sha256 and any(isinstance(image.sha256, str) for image in images):
        return next((image for image in others if image.sha256 == conflict.sha256), None)
    thumbnail = workspace.cached_thumbnail(conflict.image_id)
    if thumbnail is None:
        return None
    left = _MAX_FETCHED
    for image in others:
        known = workspace.cached_thumbnail(image.image_id)
        if known is None and left and not workspace.offline:
            left -= 1
            known = _fetch_thumbnail(workspace, conflict.training_set_id, image)
        if known == thumbnail:
            return image
    return None


def _fetch_thumbnail(workspace: Workspace, training_set_id: Id, image: TrainingImage) -> bytes | None:
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
