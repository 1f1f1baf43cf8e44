"""The image of a request: an uploaded file, a URL, or a URL of this service."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.access import is_known_host
from apitorch_desktop.service.http.errors import HttpError, unreadable_error
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.resources import WorkerPools
from apitorch_desktop.service.http.signed_urls import Signer, image_path
from apitorch_desktop.service.http.url_fetcher import UrlFetcher
from apitorch_desktop.service.storage.store import Store

if TYPE_CHECKING:
    from apitorch_desktop.vision.images import ImageInfo

_GROUP = 4
"""Images that are verified in one job."""
_PORTS = {"http": 80, "https": 443}
_IMAGE = re.compile(r"/(images|thumbnails)/(?P<owner>[0-9]{1,18})/(?P<filename>(?P<id>[0-9a-f]{40})\.[a-z0-9]+)")


@dataclass(frozen=True)
class ReceivedFile:
    """The bytes of a file that may be no image, and the name it was sent under."""

    data: bytes
    filename: str


@dataclass(frozen=True)
class ImageInput(ReceivedFile):
    """A valid image and its properties."""

    info: "ImageInfo"


def _verify_each(group: Sequence[bytes]) -> "list[ImageInfo | HttpError]":
    from apitorch_desktop.vision import images

    def verify(data: bytes) -> "ImageInfo | HttpError":
        try:
            return images.verify(data)
        except images.UnreadableImage as error:
            return unreadable_error(error)

    return [verify(data) for data in group]


class ImageInputReader:
    """Reads and verifies the image of a request."""

    def __init__(
        self, store: "Store", signer: Signer, workers: WorkerPools, fetcher: UrlFetcher, config: Config
    ) -> None:
        self._store = store
        self._signer = signer
        self._workers = workers
        self._fetcher = fetcher
        self._config = config

    @asynccontextmanager
    async def read(self, request: Request, image_url: str | msgspec.UnsetType | None) -> AsyncIterator[ImageInput]:
        """Yield the image of a request as `receive` does, verified. Raises UnreadableImage as well."""
        from apitorch_desktop.vision import images

        async with self.receive(request, image_url) as file:
            info = await self._workers.run_decoding(images.verify, file.data)
            yield ImageInput(file.data, file.filename, info)

    @asynccontextmanager
    async def receive(self, request: Request, image_url: str | msgspec.UnsetType | None) -> AsyncIterator[ReceivedFile]:
        """Yield the file of a request for what decodes it anyway; its memory is accounted for within the context.

        Raises HttpError, DiskFull.
        """
        url = None if isinstance(image_url, msgspec.UnsetType) else image_url
        if request.image is not None and url is not None:
            raise HttpError(400, "Send one of image and image_url, not both.")
        if request.image is not None:
            async with self._workers.load_spool(request.image) as data:
                yield ReceivedFile(data, request.filename)
            return
        if url is None:
            raise HttpError(400, "Send one of image (a file, in a multipart body) and image_url.")
        own = self._own(url, request)
        if own is not None:
            row = await self._workers.run_storage(self._store.images.get, *own)
            async with self._workers.reserve_memory(row.bytes):
                data = await self._workers.run_images(self._store.read, row.sha256, row.bytes)
                yield ReceivedFile(data, row.original_filename)
            return
        spool = self._workers.spool()
        try:
            filename = await self._fetcher.fetch(url, spool)
            async with self._workers.load_spool(spool) as data:
                yield ReceivedFile(data, filename)
        finally:
            spool.close()

    @asynccontextmanager
    async def read_several(self, request: Request) -> AsyncIterator[list[ImageInput | HttpError]]:
        """Yield the verified images of a request in the order sent, the error in place of one that is none.

        Their memory is accounted for within the context. Raises HttpError where there is no file, DiskFull.
        """
        if request.image is None:
            raise HttpError(400, "Send the images as files “images[]” in a multipart body.")
        names, sizes = zip(*request.files, strict=True)
        async with self._workers.load_pieces(request.image, sizes) as pieces:
            groups = [pieces[start : start + _GROUP] for start in range(0, len(pieces), _GROUP)]
            verified = await asyncio.gather(*(self._workers.run_decoding(_verify_each, group) for group in groups))
            yield [
                info if isinstance(info, HttpError) else ImageInput(data, name, info)
                for data, info, name in zip(pieces, chain.from_iterable(verified), names, strict=True)
            ]

    def _own(self, url: str, request: Request) -> tuple[int, str] | None:
        """Return owner and image id of a signed URL of this service; None for any other URL.

        Raises HttpError 400 for an invalid signature.
        """
        try:
            parts = urlsplit(url.strip())
            found = _IMAGE.fullmatch(parts.path)
            if found is None or not self._is_here(parts, request):
                return None
        except ValueError:
            return None
        query = parse_qs(parts.query)
        day, signature = (query.get(name, [""])[-1] for name in ("day", "signature"))
        if not self._signer.verify(image_path(found["owner"], found["filename"]), day, signature):
            raise HttpError(400, "The image_url is of this service, but not or no longer valid. List the images again.")
        return int(found["owner"]), found["id"]

    def _is_here(self, parts: SplitResult, request: Request) -> bool:
        if parts.scheme not in _PORTS:
            return False
        if parts.netloc.lower() == urlsplit(request.links.origin).netloc.lower():
            return True
        return is_known_host(parts.netloc, self._config) and (parts.port or _PORTS[parts.scheme]) == request.port
