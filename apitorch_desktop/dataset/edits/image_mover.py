"""Brings the images of an edit to the side that its stage names: moves, moves by copy, restores, deletes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from time import sleep

from msgspec.structs import replace

from apitorch_desktop.api.errors import BadRequest, NotFound, ServerError
from apitorch_desktop.dataset.edits.image_ops import ATTEMPTS, BATCH, CHUNK, MANY, ImageOperations, chunks
from apitorch_desktop.dataset.edits.model import (
    CopyStep,
    Placement,
    image_id,
    is_absent,
)
from apitorch_desktop.dataset.edits.reconcile import CheckScope, check_near, locate_images, remove_copies


class ImageMover:
    """One run of one edit, in the direction of its stage. Raises ApiError and OSError."""

    def __init__(self, ops: ImageOperations, progress: Callable[[int, int], None]) -> None:
        self._ops = ops
        self._row = ops.row
        self._outcome = ops.outcome
        self._progress = progress
        self._done = self._total = 0
        self._lock = Lock()
        self._calls, self._calls_per_image = 0, 1

    def run(self, scope: CheckScope = CheckScope.NONE) -> None:
        """Bring all placements to the side that the edit's stage names, after a check of the given scope."""
        if self._row.payload.unconfirmed or scope is CheckScope.WHOLE:
            locate_images(self._ops)
        elif scope is CheckScope.NEAR:
            check_near(self._ops)
        remove_copies(self._ops)
        moving, restoring, deleting = [], [], []
        for placement in self._pending(self._row.placements):
            start, end = self._ops.ends(placement)
            if end is None:
                deleting.append(placement)
            elif start is None or placement.merged:
                restoring.append(placement)
            else:
                moving.append(placement)
        self._total = len(moving) + len(restoring) + len(deleting)
        self._ops.on_call = self._count_call
        self._count_images(0)
        if self._ops.direct:
            self._move_direct(moving)
        else:
            self._move_by_copy(moving)
        self._restore(restoring)
        self._delete(deleting)

    def _pending(self, placements: Iterable[Placement]) -> list[Placement]:
        return [placement for placement in placements if placement.is_pending(self._row.forward)]

    # --- moving, where the service can

    def _move_direct(self, moving: list[Placement]) -> None:
        for label in dict.fromkeys(self._ops.destination(placement) for placement in moving):
            group = [placement for placement in moving if self._ops.destination(placement) == label]
            for batch in chunks(group, BATCH):
                self._move_batch(batch, label)
                self._count_images(len(batch))

    def _move_batch(self, batch: list[Placement], label: str) -> None:
        ops = self._ops
        for _ in range(ATTEMPTS):
            # some may have been located at the label meanwhile
            batch = [placement for placement in self._pending(batch) if not placement.merged]
            if not batch:
                return
            ids = ops.current_ids(batch)
            ops.mark_unconfirmed()
            try:
                moved = ops.workspace.client.move_images(ops.training_set_id, ids, label)
            except NotFound:
                moved = []
            if len(moved) == len(ids):
                self._record_moves(batch, ids, [image_id(image.image_id) for image in moved])
                return
            locate_images(ops)
        raise ServerError("Other programs keep changing these photos. Try again.")

    def _record_moves(self, batch: list[Placement], olds: list[str], news: list[str]) -> None:
        renamed = []
        for placement, old, new in zip(batch, olds, news, strict=True):
            self._ops.mark_arrived(placement)
            if new == old:
                self._outcome.moved[old] = self._ops.destination(placement)
            else:
                self._outcome.removed.append(old)
                renamed.append(self._ops.mark_merged(placement, new))
        self._row.payload.unconfirmed = False
        self._ops.journal.save(self._row, batch, renamed=renamed)

    # --- moving by copy: download, upload, confirm, delete

    def _move_by_copy(self, moving: list[Placement]) -> None:
        ops = self._ops
        if moving:
            ops.record_ids_before(moving)
        self._calls_per_image = 3  # download, upload, deletion of the original
        for chunk in chunks(moving, CHUNK):
            copied = ops.ensure_content(chunk)
            ops.upload(copied)
            self._confirm_copies(copied)
            olds = ops.current_ids(copied)
            originals = [old for old, placement in zip(olds, copied, strict=True) if old != placement.copy_id]
            ops.delete(originals)
            self._outcome.removed += originals
            self._outcome.changed |= self._record_copies(copied, olds)
            self._count_images(len(chunk))

    def _confirm_copies(self, copied: list[Placement]) -> None:
        """Raise unless the service lists the copies at their destinations; set its records of them."""
        index = self._ops.index
        for attempt in range(ATTEMPTS):
            sleep(0.3 * attempt)
            index.refresh()
            unlisted = 0
            for placement in copied:
                start, end = self._ops.ends(placement)
                is_original = placement.copy_id == self._ops.current_id(placement)
                if is_original and placement.copy_id in index.under(str(start)):
                    raise BadRequest(
                        "This service takes a photo under two labels for one, so it cannot be moved.",
                        advice="Delete it, and add it again under the other label.",
                    )
                image = index.under(str(end)).get(placement.copy_id)
                if image is None:
                    unlisted += 1
                else:
                    self._ops.set_record(placement, image)
            if not unlisted:
                return
        raise ServerError("The service does not list photos that it accepted; nothing was deleted.")

    def _record_copies(self, copied: list[Placement], olds: list[str]) -> dict[str, str]:
        """Journal that copies are the images from now on. Returns old → new of those that are not shared."""
        renamed, own = [], {}
        for placement, old in zip(copied, olds, strict=True):
            copy_id, shared = placement.copy_id, placement.copy_id != old and self._ops.is_shared(placement)
            self._ops.mark_arrived(placement)
            if shared:
                renamed.append(self._ops.mark_merged(placement, copy_id))
                continue
            renamed.append((old, copy_id))
            own[old] = copy_id
            if placement.record is not None:
                self._outcome.added.append(replace(placement.record))
        workspace = self._ops.workspace
        workspace.cache.copy_thumbnails(workspace.connection.id, own)
        restored = [old for old in olds if is_absent(old)]
        self._ops.journal.save(self._row, copied, renamed=renamed, untrashed=restored)
        return own

    # --- restoring: by the service, from the trash, or apart from the image with which it was merged

    def _restore(self, restoring: list[Placement]) -> None:
        ops = self._ops
        for chunk in chunks(restoring, MANY) if ops.workspace.has("images.restore") else ():
            olds = ops.current_ids(chunk)
            before = self._ids_before_deletion(chunk, olds)
            former = {one.n: before[old] for one, old in zip(chunk, olds, strict=True) if old in before}
            back = ops.restore(chunk, former)
            self._record_restored(back)
            self._count_images(len(back))
        self._upload(self._pending(restoring))

    def _upload(self, restoring: list[Placement]) -> None:
        """Restore what the service does not have any more, or never could."""
        ops = self._ops
        for placement in restoring:
            if placement.step == CopyStep.RESTORING:
                placement.step, placement.copy_id = CopyStep.NONE, ""
        if restoring:
            ops.record_ids_before(restoring)
        lost = [placement for placement in restoring if not placement.merged and not ops.trash.has(placement.sha256)]
        if lost:
            raise BadRequest(f"{len(lost)} of the photos are no longer in the trash.", advice="")
        self._calls_per_image = 2
        for chunk in chunks(restoring, ops.chunk_size):
            copied = ops.ensure_content(chunk)
            ops.upload(copied)
            self._fetch_records(copied)
            self._record_restored(copied)
            self._count_images(len(chunk))

    def _record_restored(self, restored: list[Placement]) -> None:
        if restored:
            olds = self._ops.current_ids(restored)
            before = self._ids_before_deletion(restored, olds)
            own = self._record_copies(restored, olds)
            self._outcome.changed |= {before[old]: new for old, new in own.items() if before.get(old, new) != new}

    def _ids_before_deletion(self, restoring: list[Placement], names: list[str]) -> dict[str, str]:
        """Return names of absent images → the ids they had, by which views still know them."""
        found = {name: placement.known_id for placement, name in zip(restoring, names, strict=True)}
        unknown = {name for name, known_id in found.items() if is_absent(known_id)}
        found |= self._ops.journal.ids_before_deletion(self._row.connection_id, unknown)
        return {name: known_id for name, known_id in found.items() if not is_absent(known_id)}

    def _fetch_records(self, copied: list[Placement]) -> None:
        """Set the service's records of new images where the answers to the uploads did not contain them."""
        unknown = [
            placement
            for placement in copied
            if placement.record is None or image_id(placement.record.image_id) != placement.copy_id
        ]
        if unknown:
            self._ops.index.refresh()
        for placement in unknown:
            image = self._ops.index.under(self._ops.destination(placement)).get(placement.copy_id)
            placement.record = None
            self._outcome.stale |= image is None
            if image is not None:
                self._ops.set_record(placement, image)

    # --- deleting: content into the trash, then the image

    def _delete(self, deleting: list[Placement]) -> None:
        ops = self._ops
        self._calls_per_image = 1 if ops.direct else 2
        for chunk in chunks(deleting, ops.chunk_size):
            ops.ensure_content(chunk, durable=True)
            ops.journal.save(self._row, chunk)
        existing = self._pending(deleting)
        own = [placement for placement in existing if not placement.merged]
        for chunk in chunks(own, BATCH if ops.direct else CHUNK):
            ops.mark_unconfirmed()
            if ops.direct:
                self._delete_batch(chunk)
            else:
                ops.delete(ops.current_ids(chunk))
            ops.mark_deleted(chunk)
        ops.mark_deleted([placement for placement in existing if placement.merged])
        self._count_images(len(deleting))

    def _delete_batch(self, batch: list[Placement]) -> None:
        ops = self._ops
        for _ in range(ATTEMPTS):
            try:
                ops.workspace.client.delete_images(ops.training_set_id, ops.current_ids(batch))
            except NotFound:  # someone else deleted some first; their content is in the trash all the same
                ops.index.refresh()
                listed = ops.index.labels_by_id()
                batch = [placement for placement in batch if ops.current_id(placement) in listed]
                if not batch:
                    return
            else:
                return
        raise ServerError("Other programs keep changing these photos. Try again.")

    # --- progress

    def _count_images(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._calls = 0
            self._progress(self._done, self._total)

    def _count_call(self) -> None:
        """Count one of the calls that an image takes; from several threads."""
        with self._lock:
            self._calls += 1
            self._progress(min(self._total, self._done + self._calls // self._calls_per_image), self._total)
