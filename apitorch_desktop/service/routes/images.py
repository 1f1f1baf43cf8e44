"""Training images: uploaded, listed, moved, deleted."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import UNSET, UnsetType
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import LargeAnswer, Request, SignedUrls
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.errors import StorageFault
from apitorch_desktop.service.storage.records import ImageRow, LabelRow

T = TypeVar("T")

_SET = "/api/training-set/{id}"
_IMAGE = "/api/training-image/{image_id}"
_WIRE_SIZE = 700
"""Bytes of an image in a listing, roughly."""
_ARCHIVE = 64 * 2**20
"""Bytes of an archive at most; it is held in memory."""


class ImageRoutes:
    """Handlers on training images."""

    def __init__(self, context: Dependencies) -> None:
        self._store = context.store
        self._images = context.store.images
        self._pictures = context.pictures
        self._work = context.work

    def operations(self) -> list[Operation]:
        """The rows of the table."""
        tag = "Training images"
        return [
            Operation(
                "uploadImage",
                "POST",
                _SET + "/{label}/image",
                "Add an image to a label, which is made when it is new. The same image again is the same id.",
                self.upload,
                types.ImageAnswer,
                tag,
                body=schemas.UploadFields,
                by_url=schemas.UploadByUrl,
                errors=(404,),
            ),
            Operation(
                "listImages",
                "GET",
                _SET + "/images",
                "All labels and images, or, with parameters, a page of them. The URLs hold for the current UTC day.",
                self.listing,
                types.TrainingImages,
                tag,
                query=schemas.ListQuery,
                errors=(404,),
            ),
            Operation(
                "deleteImage",
                "DELETE",
                _IMAGE,
                "Delete an image.",
                self.delete,
                types.ImageAnswer,
                tag,
                errors=(404, 507),
            ),
            Operation(
                "moveImage",
                "PATCH",
                _IMAGE,
                "Put an image under another label of its training set, made when it is new.",
                self.move,
                types.ImageAnswer,
                tag,
                body=schemas.MoveImage,
                extension="images",
                errors=(404,),
            ),
            Operation(
                "moveImages",
                "POST",
                _SET + "/images/move",
                "Put many images under a label, all or none.",
                self.move_many,
                types.ChangedImages,
                tag,
                body=schemas.MoveImages,
                extension="images",
                errors=(404,),
            ),
            Operation(
                "deleteImages",
                "POST",
                _SET + "/images/delete",
                "Delete many images, all or none.",
                self.delete_many,
                types.ChangedImages,
                tag,
                body=schemas.ImageSelection,
                extension="images",
                errors=(404,),
            ),
            Operation(
                "archiveImages",
                "POST",
                _SET + "/images/archive",
                "The files of many images as one tar, named as in a listing. What is not there any more is left out.",
                self.archive,
                "application/x-tar",
                tag,
                body=schemas.ImageSelection,
                extension="images.archive",
                errors=(404,),
            ),
        ]

    async def upload(self, call: Request) -> types.ImageAnswer:
        """`POST training-set/:id/:label/image`."""
        body: schemas.UploadFields = call.body
        set_id = call.number("id", "training set")
        async with self._pictures.of(call, body.image_url) as picture:
            row, new = await self._work.store(
                self._images.add, call.owner, set_id, call.path["label"], picture.data, picture.info, picture.filename
            )
        message = "Image added to training set." if new else "This label has the image already."
        return _answer(call, row, message)

    async def listing(self, call: Request) -> LargeAnswer:
        """`GET training-set/:id/images`."""
        query: schemas.ListQuery = call.query
        set_id = call.number("id", "training set")
        row = await self._work.store(self._store.training_sets.get, call.owner, set_id)
        paged = not (query.label is UNSET and query.after is UNSET and query.limit is UNSET)

        def load() -> Response:
            page = self._images.page(
                call.owner, set_id, label=_given(query.label), after=_given(query.after), limit=_given(query.limit)
            )
            labels = self._store.labels.all(call.owner, set_id)
            answer = types.TrainingImages(
                training_set_id=row.id,
                training_set_slug=row.slug,
                training_set_url=call.links.training_set(row),
                data=_grouped(page.images, [] if paged else labels, labels, call.owner, call.links),
                next=page.next or UNSET,
            )
            return Response(types.encode(answer), media_type="application/json")

        async def made() -> Response:
            return await self._work.store(load)

        most = sum(row.counts)
        return LargeAnswer(_WIRE_SIZE * (min(most, query.limit) if isinstance(query.limit, int) else most), made)

    async def delete(self, call: Request) -> types.ImageAnswer:
        """`DELETE training-image/:image_id`."""
        row = await self._work.store(self._images.delete, call.owner, call.path["image_id"])
        return types.ImageAnswer(id=row.wire_id, message="Image deleted.", label=row.label)

    async def move(self, call: Request) -> types.ImageAnswer:
        """`PATCH training-image/:image_id`."""
        body: schemas.MoveImage = call.body
        row = await self._work.store(self._images.move, call.owner, call.path["image_id"], body.label)
        return _answer(call, row, f"Image moved to “{row.label}”.")

    async def move_many(self, call: Request) -> types.ChangedImages:
        """`POST training-set/:id/images/move`."""
        body: schemas.MoveImages = call.body
        rows = await self._work.store(
            self._images.move_many, call.owner, call.number("id", "training set"), body.image_ids, body.label
        )
        data = await self._work.store(_wires, rows, call.owner, call.links)
        label = rows[0].label if rows else body.label
        return types.ChangedImages(data=data, message=f"{_count(len(rows))} moved to “{label}”.")

    async def delete_many(self, call: Request) -> types.ChangedImages:
        """`POST training-set/:id/images/delete`."""
        body: schemas.ImageSelection = call.body
        count = await self._work.store(
            self._images.delete_many, call.owner, call.number("id", "training set"), body.image_ids
        )
        return types.ChangedImages(data=[], message=f"{_count(count)} deleted.")

    async def archive(self, call: Request) -> LargeAnswer:
        """`POST training-set/:id/images/archive`."""
        body: schemas.ImageSelection = call.body
        rows = await self._work.store(self._images.some, call.owner, call.number("id", "training set"), body.image_ids)
        size = sum(row.bytes + 2 * tarfile.BLOCKSIZE for row in rows)
        if size > _ARCHIVE and len(rows) > 1:
            raise HttpError(400, f"These are over {_ARCHIVE // 2**20} MiB. Ask for fewer images at once.")

        def load() -> Response:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for row in rows:
                    with suppress(StorageFault):  # whoever asks for it alone is told
                        data = self._store.read(row.sha256)
                        entry = tarfile.TarInfo(row.filename)
                        entry.size = len(data)
                        archive.addfile(entry, io.BytesIO(data))
            return Response(packed.getvalue(), media_type="application/x-tar")

        async def made() -> Response:
            return await self._work.store(load)

        return LargeAnswer(size, made)


def _given(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value


def _count(number: int) -> str:
    return f"{number} image" if number == 1 else f"{number} images"


def _answer(call: Request, row: ImageRow, message: str) -> types.ImageAnswer:
    url, thumbnail_url = call.links.image(call.owner, row)
    return types.ImageAnswer(
        id=row.wire_id,
        message=message,
        label=row.label,
        filename=row.filename,
        url=url,
        thumbnail_url=thumbnail_url,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        created_at=row.created_at,
        sha256=row.sha256,
        original_filename=row.original_filename,
    )


def _wire(row: ImageRow, owner: int, links: SignedUrls) -> types.TrainingImage:
    url, thumbnail_url = links.image(owner, row)
    return types.TrainingImage(
        filename=row.filename,
        url=url,
        object="training_image",
        id=row.wire_id,
        label=row.label,
        thumbnail_url=thumbnail_url,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        created_at=row.created_at,
        sha256=row.sha256,
        original_filename=row.original_filename,
    )


def _wires(rows: Iterable[ImageRow], owner: int, links: SignedUrls) -> list[types.TrainingImage]:
    return [_wire(row, owner, links) for row in rows]


def _grouped(
    rows: Iterable[ImageRow], shown: Sequence[LabelRow], known: Sequence[LabelRow], owner: int, links: SignedUrls
) -> list[types.TrainingLabel]:
    """The images under their labels: those of `shown` even when empty, then others as they come."""
    groups: dict[str, list[types.TrainingImage]] = {label.name: [] for label in shown}
    for row in rows:
        groups.setdefault(row.label, []).append(_wire(row, owner, links))
    facts = {label.name: label for label in known}
    answer = []
    for name, images in groups.items():
        label = facts.get(name)
        answer.append(
            types.TrainingLabel(
                label=name, images=images, id=label.id if label else UNSET, count=label.count if label else UNSET
            )
        )
    return answer
