"""Handlers of image files and thumbnails behind signed URLs; a browser that navigates to an image gets a page."""

import re
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.html import image_page
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.http.signed_urls import image_path
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.records import ImageRow

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
_SMALL = 2**18  # bytes; read ahead of the memory budget, by at most 48 threads
_FILE_POLICY = "default-src 'none'; sandbox"


class LinkQuery(Struct):
    """The signature of a link."""

    day: str = ""
    signature: str = ""


class FileRoutes:
    """Handlers of image files."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._signer = dependencies.signer
        self._workers = dependencies.workers

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        tag = "Files"
        return [
            Operation(
                "getImage",
                "GET",
                "/images/{owner}/{filename}",
                "An image file, by the signed URL of a listing; a browser that navigates here gets a page around it.",
                self.image,
                "image/*",
                tag,
                access="link",
                query=LinkQuery,
                errors=(404,),
            ),
            Operation(
                "getThumbnail",
                "GET",
                "/thumbnails/{owner}/{filename}",
                "A small JPEG of an image, by the signed URL of a listing.",
                self.thumbnail,
                "image/jpeg",
                tag,
                access="link",
                query=LinkQuery,
                errors=(404,),
                extension="thumbnails",
                abandonable=True,
            ),
        ]

    async def image(self, request: Request) -> LargeResponse | Response:
        """`GET /images/…`."""
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
            data = read if read is not None else await self._workers.run_images(self._store.read, row.sha256)
            name = f'inline; filename="{row.filename}"'
            media_type = _MEDIA_TYPES.get(row.extension, f"image/x-{row.extension[1:]}")
            return _file(data, media_type, etag, {"content-disposition": name})

        return LargeResponse(row.bytes, load)

    async def thumbnail(self, request: Request) -> Response:
        """`GET /thumbnails/…`."""
        from apitorch_desktop.vision import images

        row, jpeg = await self._workers.run_storage(self._with_thumbnail, *self._opened(request))
        etag = f'"{row.sha256}-{images.THUMBNAIL_SIZE}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": etag, **_CACHING})
        if jpeg is None:
            async with self._workers.reserve_memory(row.bytes):
                data = await self._workers.run_images(self._store.read, row.sha256)
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
        return row, self._store.read(row.sha256) if row.bytes <= _SMALL else None

    def _with_thumbnail(self, owner: int, image_id: str) -> tuple[ImageRow, bytes | None]:
        """Return the image's row, and its thumbnail if it is cached. Raises RecordNotFound."""
        row = self._store.images.get(owner, image_id)
        return row, self._store.thumbnails.get(row.sha256)


def _file(data: bytes, media_type: str, etag: str, more: dict[str, str]) -> Response:
    headers: dict[str, Any] = {"etag": etag, "content-security-policy": _FILE_POLICY, **_CACHING, **more}
    return Response(data, media_type=media_type, headers=headers)
