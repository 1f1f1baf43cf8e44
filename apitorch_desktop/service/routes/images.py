"""Handlers of training images: upload, list, move, delete, archive; and of their files and thumbnails behind signed URLs.

A browser that navigates to an image gets a page.
"""

import asyncio
import io
import re
import tarfile
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.api.packed_listing import PackedListing
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import TYPES, HttpError
from apitorch_desktop.service.http.html import image_page
from apitorch_desktop.service.http.image_input import ImageInput
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.http.signed_urls import image_path
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.listing import WIRE_SIZE, json_groups, packed_listing, wire_image
from apitorch_desktop.service.storage.errors import StorageFault
from apitorch_desktop.service.storage.records import ImageRow

_SET = "/api/training-set/{id}"
_IMAGE = "/api/training-image/{image_id}"
_MSGPACK = "application/msgpack"
_ARCHIVE = 64 * 2**20
"""The maximal size of an archive in bytes; it is held in memory."""
_FILENAME = re.compile(r"([0-9a-f]{40})(\.[a-z0-9]{1,10})")
_OWNER = re.compile(r"[1-9][0-9]{0,17}")
_MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
    ".jxl": "image/jxl",
}
"""By extension; a raw photo has that of its camera's maker: `image/x-nef`."""
_CACHING = {
    "cache-control": "private, max-age=86400, immutable",
    "vary": "Accept",
    "cross-origin-resource-policy": "cross-origin",  # holders of the link may embed it
}
_AT_ONCE = 8
"""Images of one call that are stored at a time: they share a commit, and leave threads to others."""
_SMALL = 2**18  # bytes; read ahead of the memory budget, by at most 48 threads
_FILE_POLICY = "default-src 'none'; sandbox"


class ImageRoutes(OperationGroup):
    """Handlers of training images."""

    tag = "Training images"

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._images = dependencies.store.images
        self._image_inputs = dependencies.image_inputs
        self._workers = dependencies.workers

    @Operation(
        "POST",
        _SET + "/{label}/image",
        types.ImageAnswer,
        body=schemas.UploadFields,
        by_url=schemas.UploadByUrl,
        errors=(404,),
        abandonable=True,
    )
    async def upload_image(self, request: Request) -> types.ImageAnswer:
        """Add an image to a label, which is made when it is new. The same image again is the same id."""
        body: schemas.UploadFields = request.body
        set_id = request.id_parameter("id", "training set")
        async with self._image_inputs.read(request, body.image_url) as image:
            return await self._add(request, set_id, image, body.split)

    @Operation(
        "POST",
        _SET + "/{label}/images",
        types.UploadedImages,
        body=schemas.SeveralUploads,
        several=True,
        extension="images.upload",
        errors=(404,),
        abandonable=True,
    )
    async def upload_images(self, request: Request) -> types.UploadedImages:
        """Add several images to a label; what is no image is in `errors`, and the others are added all the same."""
        body: schemas.SeveralUploads = request.body
        set_id = request.id_parameter("id", "training set")
        if len(request.files) > types.MAX_UPLOADS:
            raise HttpError(400, f"These are more than {types.MAX_UPLOADS} images. Send fewer in a call.")
        added: list[types.ImageAnswer | BaseException] = []
        async with self._image_inputs.read_several(request) as images:
            valid = [image for image in images if isinstance(image, ImageInput)]
            for start in range(0, len(valid), _AT_ONCE):
                adding = (self._add(request, set_id, image, body.split) for image in valid[start : start + _AT_ONCE])
                added += await asyncio.gather(*adding, return_exceptions=True)
        errors = [
            types.UploadError(index=index, status=image.status, message=image.message, type=TYPES[image.status])
            for index, image in enumerate(images)
            if isinstance(image, HttpError)
        ]
        return types.UploadedImages(data=[_raised(each) for each in added], errors=errors)

    async def _add(self, request: Request, set_id: int, image: ImageInput, split: str | UnsetType) -> types.ImageAnswer:
        row, new = await self._workers.run_images(
            self._images.add,
            request.owner,
            set_id,
            request.path["label"],
            image.data,
            image.info,
            image.filename,
            split or "",
        )
        return _answer(request, row, "Image added to training set." if new else "This label has the image already.")

    @Operation(
        "GET",
        _SET + "/images",
        types.TrainingImages,
        packed=PackedListing,
        query=schemas.ListQuery,
        errors=(404,),
    )
    async def list_images(self, request: Request) -> LargeResponse:
        """List all labels and images, or, with parameters, a page of them. The URLs hold for the current UTC day."""
        query: schemas.ListQuery = request.query
        set_id = request.id_parameter("id", "training set")
        row = await self._workers.run_storage(self._store.training_sets.get, request.owner, set_id)
        paged = not (query.label is UNSET and query.after is UNSET and query.limit is UNSET)

        def load() -> Response:
            page = self._images.page(
                request.owner,
                set_id,
                label=schemas.or_none(query.label),
                after=schemas.or_none(query.after),
                limit=schemas.or_none(query.limit),
            )
            labels = row.label_rows()
            if not {image[2] for image in page.rows} <= set(row.labels):  # one was made meanwhile
                labels = self._store.labels.all(request.owner, set_id)
            shown = [] if paged else labels
            damaged = self._store.damaged()
            if request.prefers(_MSGPACK, "application/json"):
                packed = packed_listing(row, page, shown, labels, request.links, damaged)
                return request.large_response(packed, _MSGPACK)
            answer = types.TrainingImages(
                training_set_id=types.Id(row.id),
                training_set_slug=row.slug,
                training_set_url=request.links.training_set(row),
                data=json_groups(page, shown, labels, request.owner, request.links, damaged),
                next=page.next or UNSET,
            )
            return request.large_response(types.encode(answer))

        count = sum(row.counts)
        if isinstance(query.limit, int):
            count = min(count, query.limit)
        return LargeResponse(WIRE_SIZE * count, lambda: self._workers.run_storage(load))

    @Operation("DELETE", _IMAGE, types.ImageAnswer, errors=(404, 507))
    async def delete_image(self, request: Request) -> types.ImageAnswer:
        """Delete an image."""
        row = await self._workers.run_storage(self._images.delete, request.owner, request.path["image_id"])
        return types.ImageAnswer(id=row.wire_id, message="Image deleted.", label=row.label)

    @Operation("PATCH", _IMAGE, types.ImageAnswer, body=schemas.MoveImage, extension="images", errors=(404,))
    async def move_image(self, request: Request) -> types.ImageAnswer:
        """Put an image under another label of its training set, made when it is new."""
        body: schemas.MoveImage = request.body
        row = await self._workers.run_storage(self._images.move, request.owner, request.path["image_id"], body.label)
        damaged = await self._workers.run_storage(self._store.damaged)
        return _answer(request, row, f"Image moved to “{row.label}”.", damaged)

    @Operation(
        "POST", _SET + "/images/move", types.ChangedImages, body=schemas.MoveImages, extension="images", errors=(404,)
    )
    async def move_images(self, request: Request) -> types.ChangedImages:
        """Put many images under a label, all or none."""
        body: schemas.MoveImages = request.body
        rows = await self._workers.run_storage(
            self._images.move_many,
            request.owner,
            request.id_parameter("id", "training set"),
            body.image_ids,
            body.label,
        )
        return await self._changed(request, rows, f"moved to “{rows[0].label if rows else body.label}”")

    @Operation(
        "POST", _SET + "/images/split", types.ChangedImages, body=schemas.SplitImages, extension="splits", errors=(404,)
    )
    async def set_split(self, request: Request) -> types.ChangedImages:
        """Put many images into the split for training, validation or test, or into none; all or none of them."""
        body: schemas.SplitImages = request.body
        rows = await self._workers.run_storage(
            self._images.set_split,
            request.owner,
            request.id_parameter("id", "training set"),
            body.image_ids,
            body.split or "",
        )
        place = f"in the split “{body.split}”" if body.split else "in no split"
        return await self._changed(request, rows, f"{place} now")

    @Operation(
        "POST",
        _SET + "/images/delete",
        types.ChangedImages,
        body=schemas.ImageSelection,
        extension="images",
        errors=(404,),
    )
    async def delete_images(self, request: Request) -> types.ChangedImages:
        """Delete many images, all or none."""
        body: schemas.ImageSelection = request.body
        count = await self._workers.run_storage(
            self._images.delete_many, request.owner, request.id_parameter("id", "training set"), body.image_ids
        )
        return types.ChangedImages(data=[], message=f"{_count(count)} deleted.")

    @Operation(
        "POST",
        _SET + "/images/restore",
        types.RestoredImages,
        body=schemas.ImageSelection,
        extension="images.restore",
        errors=(404,),
    )
    async def restore_images(self, request: Request) -> types.RestoredImages:
        """Bring back images that were deleted within a day, with their ids. Those that are gone for good are `missing`."""
        body: schemas.ImageSelection = request.body
        rows = await self._workers.run_storage(
            self._store.deleted_images.restore,
            request.owner,
            request.id_parameter("id", "training set"),
            body.image_ids,
        )
        changed = await self._changed(request, [row for row in rows if row is not None], "restored")
        missing = [each for each, row in zip(body.image_ids, rows, strict=True) if row is None]
        return types.RestoredImages(data=changed.data, missing=missing, message=changed.message)

    @Operation("DELETE", "/api/deleted-images", types.ChangedImages, extension="images.restore", errors=(507,))
    async def forget_deleted_images(self, request: Request) -> types.ChangedImages:
        """Forget all images that were deleted, so that they cannot be restored."""
        count = await self._workers.run_storage(self._store.deleted_images.forget, request.owner)
        return types.ChangedImages(data=[], message=f"{_count(count)} forgotten.")

    @Operation(
        "POST",
        _SET + "/images/archive",
        "application/x-tar",
        body=schemas.ImageSelection,
        extension="images.archive",
        errors=(404,),
    )
    async def archive_images(self, request: Request) -> LargeResponse:
        """Return the files of many images as one tar, named as in a listing. What is not there any more is left out."""
        body: schemas.ImageSelection = request.body
        rows = await self._workers.run_storage(
            self._images.some, request.owner, request.id_parameter("id", "training set"), body.image_ids
        )
        size = sum(row.bytes + 2 * tarfile.BLOCKSIZE for row in rows)
        if size > _ARCHIVE and len(rows) > 1:
            raise HttpError(400, f"These are over {_ARCHIVE // 2**20} MiB. Ask for fewer images at once.")

        def load() -> Response:
            packed = io.BytesIO()  # `TarFile.addfile` copies each entry, which takes longer than all else
            for row in rows:
                with suppress(StorageFault):  # a request for this image alone reports the error
                    data = self._store.read(row.sha256, row.bytes)
                    entry = tarfile.TarInfo(row.filename)
                    entry.size = len(data)
                    packed.write(entry.tobuf(tarfile.USTAR_FORMAT))
                    packed.write(data)
                    packed.write(bytes(-len(data) % tarfile.BLOCKSIZE))
            packed.write(bytes(2 * tarfile.BLOCKSIZE))
            return Response(packed.getvalue(), media_type="application/x-tar")

        return LargeResponse(size, lambda: self._workers.run_images(load))

    async def _changed(self, request: Request, rows: Sequence[ImageRow], done: str) -> types.ChangedImages:
        """Return changed images as they are now, and what was done with them."""

        def load() -> list[types.TrainingImage]:
            damaged = self._store.damaged()
            return [wire_image(row, request.owner, request.links, damaged) for row in rows]

        data = await self._workers.run_storage(load)
        return types.ChangedImages(data=data, message=f"{_count(len(rows))} {done}.")


def _count(number: int) -> str:
    return f"{number} image" if number == 1 else f"{number} images"


def _raised(answer: types.ImageAnswer | BaseException) -> types.ImageAnswer:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _answer(request: Request, row: ImageRow, message: str, damaged: Set[str] = frozenset()) -> types.ImageAnswer:
    image = msgspec.structs.asdict(wire_image(row, request.owner, request.links, damaged))
    return types.ImageAnswer(**image, message=message)


class LinkQuery(Struct):
    """The signature of a link."""

    day: str = ""
    signature: str = ""


class FileRoutes(OperationGroup):
    """Handlers of image files."""

    tag = "Files"

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._signer = dependencies.signer
        self._workers = dependencies.workers

    @Operation("GET", "/images/{owner}/{filename}", "image/*", access="link", query=LinkQuery, errors=(404,))
    async def get_image(self, request: Request) -> LargeResponse | Response:
        """Return an image file, by the signed URL of a listing; a browser that navigates here gets a page around it."""
        owner, image_id = self._opened(request)
        if "text/html" in request.headers.get("accept", ""):
            return image_page(
                request.links, owner, await self._workers.run_storage(self._store.images.get, owner, image_id)
            )
        row, read = await self._workers.run_images(self._with_bytes, owner, image_id)
        etag = f'"{row.sha256}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": etag, **_CACHING})

        async def load() -> Response:
            data = read if read is not None else await self._workers.run_images(self._store.read, row.sha256, row.bytes)
            name = f'inline; filename="{row.filename}"'
            media_type = _MEDIA_TYPES.get(row.extension, f"image/x-{row.extension[1:]}")
            return _file(data, media_type, etag, {"content-disposition": name})

        return LargeResponse(row.bytes, load)

    @Operation(
        "GET",
        "/thumbnails/{owner}/{filename}",
        "image/jpeg",
        access="link",
        query=LinkQuery,
        errors=(404,),
        extension="thumbnails",
        abandonable=True,
    )
    async def get_thumbnail(self, request: Request) -> Response:
        """Return a small JPEG of an image, by the signed URL of a listing."""
        from apitorch_desktop.vision import images

        row, jpeg = await self._workers.run_storage(self._with_thumbnail, *self._opened(request))
        etag = f'"{row.sha256}-{images.THUMBNAIL_SIZE}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": etag, **_CACHING})
        if jpeg is None:
            async with self._workers.reserve_memory(row.bytes):
                data = await self._workers.run_images(self._store.read, row.sha256, row.bytes)
                jpeg = await self._workers.run_decoding(images.thumbnail, data)
            self._store.thumbnails.put(row.sha256, jpeg)
        return _file(jpeg, "image/jpeg", etag, {})

    def _opened(self, request: Request) -> tuple[int, str]:
        """Return owner and id of the image that a signed link gives access to. Raises HttpError 403 and 404."""
        query: LinkQuery = request.query
        owner, filename = request.path["owner"], request.path["filename"]
        found = _FILENAME.fullmatch(filename)
        if not self._signer.verify(image_path(owner, filename), query.day, query.signature):
            raise HttpError(
                403, "This link does not hold, or no longer: links last for a day (UTC). List the images again."
            )
        if found is None or not _OWNER.fullmatch(owner):
            raise HttpError(404, f"There is no image “{filename[:80]}”.")
        return int(owner), found[1]

    # Row and bytes in one job: switching threads costs more than reading them.

    def _with_bytes(self, owner: int, image_id: str) -> tuple[ImageRow, bytes | None]:
        """Return the image's row, and its bytes if they are small. Raises RecordNotFound."""
        row = self._store.images.get(owner, image_id)
        return row, self._store.read(row.sha256, row.bytes) if row.bytes <= _SMALL else None

    def _with_thumbnail(self, owner: int, image_id: str) -> tuple[ImageRow, bytes | None]:
        """Return the image's row, and its thumbnail if it is cached. Raises RecordNotFound."""
        row = self._store.images.get(owner, image_id)
        return row, self._store.thumbnails.get(row.sha256)


def _file(data: bytes, media_type: str, etag: str, more: dict[str, str]) -> Response:
    headers: dict[str, Any] = {"etag": etag, "content-security-policy": _FILE_POLICY, **_CACHING, **more}
    return Response(data, media_type=media_type, headers=headers)
