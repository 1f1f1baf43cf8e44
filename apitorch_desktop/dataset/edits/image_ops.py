"""Image operations (download, upload, delete) on any kind of service, each journalled before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec.structs import replace

from apitorch_desktop.api.errors import ApiError, NotFound, ServerError
from apitorch_desktop.api.multipart import SentFile
from apitorch_desktop.api.types import Id, ImageAnswer, TrainingImage
from apitorch_desktop.dataset.edits.journal import EditJournal, EditRow
from apitorch_desktop.dataset.edits.label_index import LabelIndex
from apitorch_desktop.dataset.edits.model import (
    CopyStep,
    EditOutcome,
    Placement,
    image_id,
    is_absent,
    new_absent_name,
    upload_name,
)
from apitorch_desktop.dataset.edits.trash import TrashStore
from apitorch_desktop.dataset.workspace.bundles import fits_upload, takes_uploads
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.parallel import run_parallel

_FEW = 8
"""Images from which on an archive is worth its call."""
_ARCHIVED = 500
_ARCHIVE = 16 * 2**20
"""Most images, and their bytes, in one archive."""
_HEADER = 1024
"""Bytes that an archive has around each image, about."""
CHUNK = 200
"""Images between two writes to the journal, where each image takes a call of its own."""
MANY = 2000
"""The same where a call takes many, and many come in one archive."""
BATCH = 5000
"""Images in one call, where a call takes many."""
ATTEMPTS = 3
"""Tries of a step that changes of others, or a listing that is late, may spoil."""
_UPLOADS = 16
"""Uploads at a time to a service of our own."""
_BUNDLES = 4
"""The same where some are bundles."""


@dataclass
class ImageOperations:
    """Operations of one run of one edit. `backwards` reverses the direction given by its stage, to remove copies.

    `missing` counts images that someone else had deleted or moved; they are left out. `on_call` is called after each
    call for a single image, from several threads. Methods raise ApiError and OSError.
    """

    workspace: Workspace
    training_set_id: Id
    journal: EditJournal
    trash: TrashStore
    row: EditRow
    outcome: EditOutcome
    index: LabelIndex
    cancelled: Callable[[], bool]
    backwards: bool = False
    missing: int = 0
    on_call: Callable[[], None] = lambda: None
    _owners: dict[str, int] | None = field(default=None, repr=False)
    _found_there: set[int] = field(default_factory=set, repr=False)

    @property
    def direct(self) -> bool:
        """True if the service moves and deletes many images in one call."""
        return self.workspace.has("images")

    def ends(self, placement: Placement) -> tuple[str | None, str | None]:
        """Return the labels from which and to which an image goes."""
        forward = self.row.forward != self.backwards
        return (placement.source, placement.target) if forward else (placement.target, placement.source)

    def destination(self, placement: Placement) -> str:
        """Return the label to which an image goes, which is not nowhere."""
        return str(self.ends(placement)[1])

    def current_id(self, placement: Placement) -> str:
        """Return the current id of an image, or its name while it does not exist by itself."""
        return self.journal.resolve(placement.handle)

    @property
    def chunk_size(self) -> int:
        """Images between two writes to the journal."""
        return MANY if self.direct else CHUNK

    def current_ids(self, placements: Sequence[Placement]) -> list[str]:
        """Return the current ids of images, or their names while they do not exist by themselves."""
        return self.journal.resolve_all([placement.handle for placement in placements])

    def ensure_content(self, placements: Sequence[Placement], *, durable: bool = False) -> list[Placement]:
        """Download the content that is not on this machine yet. Returns the placements whose images still exist.

        `durable`: it also survives a loss of power; for images about to be deleted. Where the service packs archives, and
        lists hashes, the images come many in one call.
        """
        unknown: list[Placement] = []
        stored = self.trash.stored({placement.known_hash for placement in placements} - {""})
        for placement in placements:
            if placement.known_hash in stored:
                placement.sha256 = placement.known_hash
            else:
                unknown.append(placement)
        self._refresh_records(unknown)

        def download(placement: Placement) -> None:
            record = placement.record
            try:
                if record is None:
                    raise NotFound("It is not listed.")
                data = self.workspace.image(self.training_set_id, record, cancelled=self.cancelled)
            except NotFound:
                placement.missing = True
                return
            placement.sha256 = self.trash.add(data)
            if isinstance(record.sha256, str) and record.sha256 != placement.sha256:
                raise ServerError("The service sent other bytes than it lists for a photo; nothing was deleted.")
            self.on_call()

        archived: set[int] = set()

        def unpack(batch: list[Placement]) -> None:
            names = {placement.record.filename: placement for placement in batch if placement.record is not None}
            with suppress(NotFound):  # none of them exists any more
                ids = [image_id(placement.record.image_id) for placement in batch if placement.record is not None]
                packed = self.workspace.run(
                    lambda: self.workspace.client.archive(self.training_set_id, ids, cancelled=self.cancelled)
                )
                if self.cancelled():
                    raise Cancelled
                contents = {names[name].known_hash: data for name, data in packed.items() if name in names}
                contents = {known: data for known, data in contents.items() if sha256(data).hexdigest() == known}
                if contents:
                    self.trash.add_many(contents)
                for placement in names.values():
                    if placement.known_hash in contents:
                        placement.sha256 = placement.known_hash
                        archived.add(placement.n)
                        self.on_call()

        run_parallel(self._archives(unknown), unpack, self.cancelled)
        run_parallel([one for one in unknown if one.n not in archived], download, self.cancelled)
        existing = [placement for placement in placements if not placement.missing]
        if durable:
            self.trash.sync({placement.sha256 for placement in existing})
        if len(existing) < len(placements):
            self.missing += len(placements) - len(existing)
            self.journal.save(self.row, placements)
        return existing

    def _archives(self, placements: Sequence[Placement]) -> list[list[Placement]]:
        """Return those that are worth an archive, in batches of a size that is held in memory."""
        batches: list[list[Placement]] = []
        room = 0
        if not self.workspace.has("images.archive") or len(placements) < _FEW:
            return batches
        for placement in placements:
            record = placement.record
            if record is None or not placement.known_hash or not isinstance(record.bytes, int):
                continue
            room -= record.bytes + _HEADER
            if room < 0 or len(batches[-1]) == _ARCHIVED:
                batches.append([])
                room = _ARCHIVE - record.bytes - _HEADER
            batches[-1].append(placement)
        return batches

    def record_ids_before(self, placements: Sequence[Placement]) -> None:
        """Journal the ids under the destinations before the first upload: one found there is not this edit's copy."""
        payload = self.row.payload
        if payload.ids_before is None or payload.ids_before_forward != self.row.forward:
            labels = {self.destination(placement) for placement in placements}
            payload.ids_before = {label: list(self.index.under(label)) for label in labels}
            payload.ids_before_forward = self.row.forward
            self.journal.save(self.row)

    def upload(self, placements: Sequence[Placement]) -> None:
        """Upload images without a copy to their destinations. The journal knows the uploads that stay unconfirmed.

        Where the service takes bundles, one that refuses an image adds the others all the same.
        """
        waiting = [placement for placement in placements if placement.step < CopyStep.COPIED]
        for placement in waiting:
            placement.step = CopyStep.UNCONFIRMED
        self.journal.save(self.row, waiting)
        begun: set[int] = set()

        def upload(bundle: list[Placement]) -> None:
            contents = [self.trash.read(placement.sha256) for placement in bundle]
            begun.update(placement.n for placement in bundle)
            refused: list[ApiError] = []
            for placement, answer in zip(bundle, self._answers(bundle, contents), strict=True):
                if isinstance(answer, ApiError):
                    begun.discard(placement.n)
                    refused.append(answer)
                    continue
                placement.step, placement.copy_id = CopyStep.COPIED, image_id(answer.id)
                if isinstance(answer.filename, str) and isinstance(answer.url, str):
                    self.set_record(placement, _record_of(answer))
                self.on_call()
            if refused:
                raise refused[0]

        try:
            bundles = self._bundles(waiting)
            # our service stores images that arrive together in one transaction, after one sync
            threads = (_BUNDLES if len(bundles) < len(waiting) else _UPLOADS) if self.direct else None
            run_parallel(bundles, upload, self.cancelled, threads)
        finally:
            for placement in waiting:
                if placement.n not in begun:
                    placement.step = CopyStep.NONE
            self.journal.save(self.row, waiting)

    def _bundles(self, placements: Sequence[Placement]) -> list[list[Placement]]:
        """Return images in the lists in which they are uploaded: those that follow each other under a label and are small."""
        if not takes_uploads(self.workspace.extensions):
            return [[placement] for placement in placements]
        bundles: list[list[Placement]] = []
        place: tuple[str, str] | None = None
        sizes: list[int] = []
        for placement in placements:
            size = self.trash.size(placement.sha256)
            own = self.destination(placement), placement.known_split
            if own != place or not fits_upload(sizes, size):
                bundles.append([])
                place, sizes = own, []
            bundles[-1].append(placement)
            sizes.append(size)
        return bundles

    def _answers(self, bundle: Sequence[Placement], contents: Sequence[bytes]) -> Iterator[ImageAnswer | ApiError]:
        """Upload images of one label, and yield the answer to each or, of several in one call, its error."""
        client, label, split = self.workspace.client, self.destination(bundle[0]), bundle[0].known_split
        names = [placement.name or "image" for placement in bundle]
        if len(bundle) > 1:
            with suppress(NotFound):  # where another version of the service answers now
                files = [SentFile(data, name) for data, name in zip(contents, names, strict=True)]
                yield from client.upload_images(
                    self.training_set_id, label, files, split=split, cancelled=self.cancelled
                )
                return
        for data, name in zip(contents, names, strict=True):
            yield client.upload_image(
                self.training_set_id, label, data=data, filename=name, split=split, cancelled=self.cancelled
            )

    def restore(self, placements: Sequence[Placement], former: dict[int, str]) -> list[Placement]:
        """Have the service bring back images that it deleted, by the ids they had (`former`, by `Placement.n`).

        Returns those that came back, without those it no longer has. The journal knows what stays unconfirmed.
        """
        asked = [one for one in placements if one.n in former and one.step in {CopyStep.NONE, CopyStep.RESTORING}]
        if not asked:
            return []
        if self.cancelled():
            raise Cancelled
        for placement in asked:
            placement.step, placement.copy_id = CopyStep.RESTORING, former[placement.n]
        self.journal.save(self.row, asked)
        found: dict[str, TrainingImage] = {}
        with suppress(NotFound):  # ids of another service; or the training set is gone, which the upload reports
            found = self.workspace.client.restore_images(self.training_set_id, [one.copy_id for one in asked])
        elsewhere: dict[str, list[str]] = {}
        for placement in asked:
            image = found.get(placement.copy_id)
            if image is not None and image.label != self.destination(placement):  # its label was renamed since
                elsewhere.setdefault(self.destination(placement), []).append(placement.copy_id)
        for label, ids in elsewhere.items():
            present = [image_id(found[each].image_id) for each in ids]
            moved = self.workspace.client.move_images(self.training_set_id, present, label)
            found.update(zip(ids, moved, strict=True))
        back = []
        for placement in asked:
            image = found.get(placement.copy_id)
            if image is None:
                continue
            if image_id(image.image_id) != placement.copy_id:
                placement.copy_id = image_id(image.image_id)
                self._found_there.add(placement.n)
            self.set_record(placement, image)
            back.append(placement)
        return back

    def delete(self, ids: Sequence[str]) -> None:
        """Delete images one by one; those that no longer exist count as deleted."""

        def delete(old: str) -> None:
            with suppress(NotFound):
                self.workspace.client.delete_image(old)
            self.on_call()

        run_parallel(list(dict.fromkeys(ids)), delete, self.cancelled)

    def set_record(self, placement: Placement, image: TrainingImage) -> None:
        """Set the service's record of a copy."""
        placement.record = replace(image, label=self.destination(placement))

    def is_shared(self, placement: Placement) -> bool:
        """Return whether the copy is an image that existed before, or is another placement's: the two are one then."""
        if placement.step == CopyStep.RESTORING:
            return placement.n in self._found_there
        if self._owners is None:
            here = [
                other
                for other in self.row.placements
                if other.at_target == self.row.forward and not other.merged and not other.missing
            ]
            self._owners = {name: other.n for name, other in zip(self.current_ids(here), here, strict=True)}
        before = self.row.payload.ids_before or {}
        if placement.copy_id in before.get(self.destination(placement), ()):
            return True
        return self._owners.setdefault(placement.copy_id, placement.n) != placement.n

    def mark_arrived(self, placement: Placement) -> None:
        """Mark an image as being on the other side."""
        placement.at_target = self.row.forward
        placement.step, placement.copy_id = CopyStep.NONE, ""
        placement.merged, placement.merged_with = False, 0

    def mark_merged(self, placement: Placement, other: str) -> tuple[str, str]:
        """Mark an image as one with the image of another id. Returns its name before and its name from now on."""
        placement.merged, placement.merged_with = True, self.journal.add_handle(self.row, other)
        old = self.current_id(placement)
        placement.known_id = placement.known_id if is_absent(old) else old
        return old, old if is_absent(old) else new_absent_name()

    def mark_deleted(self, deleted: Sequence[Placement], *, at_target: bool | None = None) -> None:
        """Journal that images are gone from the service and in the trash. `at_target`: the side that this is."""
        renamed, trashed = [], []
        for placement, old in zip(deleted, self.current_ids(deleted), strict=True):
            name = old if is_absent(old) else new_absent_name()
            if not placement.merged:
                self.outcome.removed.append(old)
                placement.known_id = placement.known_id if is_absent(old) else old
            trashed.append((placement, name, self.trash.size(placement.sha256)))
            renamed.append((old, name))
            self.mark_arrived(placement)
            placement.at_target = self.row.forward if at_target is None else at_target
        self.row.payload.unconfirmed = False
        self.journal.save(self.row, deleted, renamed=renamed, trashed=trashed)

    def mark_unconfirmed(self) -> None:
        """Journal that a call is about to change many images at once."""
        if not self.row.payload.unconfirmed:
            self.row.payload.unconfirmed = True
            self.journal.save(self.row)

    def _refresh_records(self, placements: Sequence[Placement]) -> None:
        """Find the current records of images where they are not at hand; None for those that are not listed."""
        handles = {one.n: one.merged_with if one.merged else one.handle for one in placements}
        ids = dict(zip(handles, self.journal.resolve_all(list(handles.values())), strict=True))
        unknown = [
            placement
            for placement in placements
            if placement.record is None or image_id(placement.record.image_id) != ids[placement.n]
        ]
        if unknown:
            self.index.refresh()
            listed = {found: image for images in self.index.all().values() for found, image in images.items()}
            for placement in unknown:
                placement.record = listed.get(ids[placement.n])
                placement.name = placement.name or upload_name(placement.record)


def _record_of(answer: ImageAnswer) -> TrainingImage:
    return TrainingImage(
        filename=str(answer.filename),
        url=str(answer.url),
        object=answer.object,
        id=answer.id,
        label=answer.label,
        thumbnail_url=answer.thumbnail_url,
        width=answer.width,
        height=answer.height,
        bytes=answer.bytes,
        created_at=answer.created_at,
        sha256=answer.sha256,
        original_filename=answer.original_filename,
        split=answer.split,
    )


def chunks(placements: list[Placement], size: int) -> Iterator[list[Placement]]:
    """Yield placements in lists of at most `size`."""
    for start in range(0, len(placements), size):
        yield placements[start : start + size]
