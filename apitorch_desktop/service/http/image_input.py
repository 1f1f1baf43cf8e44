"""Pictures: the image a call brings, as a file, by an address elsewhere, or by an address of this service's own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.access import is_served
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import Request, image_path
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.http.url_fetcher import UrlFetcher
from apitorch_desktop.service.http.work import WorkerPools
from apitorch_desktop.service.storage.store import Store

if TYPE_CHECKING:
    from apitorch_desktop.vision.images import ImageInfo

_PORTS = {"http": 80, "https": 443}
_IMAGE = re.compile(r"/(images|thumbnails)/(?P<owner>[0-9]{1,18})/(?P<filename>(?P<id>[0-9a-f]{40})\.[a-z0-9]+)")


@dataclass(frozen=True)
class ImageInput:
    """The bytes of an image that decodes, what it is, and the name it came under."""

    data: bytes
    info: "ImageInfo"
    filename: str


class ImageInputReader:
    """Gets and checks images."""

    def __init__(self, store: "Store", signer: Signer, work: WorkerPools, fetcher: UrlFetcher, config: Config) -> None:
        self._store = store
        self._signer = signer
        self._work = work
        self._fetcher = fetcher
        self._config = config

    @asynccontextmanager
    async def of(self, call: Request, image_url: str | msgspec.UnsetType | None) -> AsyncIterator[ImageInput]:
        """The image of a call, verified; its memory is accounted for within the context.

        Raises Refusal, UnreadableImage, StorageFull.
        """
        url = None if isinstance(image_url, msgspec.UnsetType) else image_url
        if call.image is not None and url is not None:
            raise HttpError(400, "Send one of image and image_url, not both.")
        if call.image is not None:
            async with self._work.bytes_of(call.image) as data:
                yield await self._verified(data, call.filename)
            return
        if url is None:
            raise HttpError(400, "Send one of image (a file, in a multipart body) and image_url.")
        own = self._own(url, call)
        if own is not None:
            row = await self._work.store(self._store.images.get, *own)
            async with self._work.holding(row.bytes):
                data = await self._work.store(self._store.read, row.sha256)
                yield await self._verified(data, row.original_filename)
            return
        spool = self._work.spool()
        try:
            filename = await self._fetcher.fetch(url, spool)
            async with self._work.bytes_of(spool) as data:
                yield await self._verified(data, filename)
        finally:
            spool.close()

    async def _verified(self, data: bytes, filename: str) -> ImageInput:
        from apitorch_desktop.vision import images

        return ImageInput(data, await self._work.decode(images.verify, data), filename)

    def _own(self, url: str, call: Request) -> tuple[int, str] | None:
        """Owner and image id of a signed address of this service; None for any other address.

        Raises Refusal 400 for one that does not hold.
        """
        try:
            parts = urlsplit(url.strip())
            found = _IMAGE.fullmatch(parts.path)
            if found is None or not self._is_here(parts, call):
                return None
        except ValueError:
            return None
        query = parse_qs(parts.query)
        day, signature = (query.get(name, [""])[-1] for name in ("day", "signature"))
        if not self._signer.signs(image_path(found["owner"], found["filename"]), day, signature):
            raise HttpError(400, "The image_url is of this service, but not or no longer valid. List the images again.")
        return int(found["owner"]), found["id"]

    def _is_here(self, parts: SplitResult, call: Request) -> bool:
        if parts.scheme not in _PORTS:
            return False
        if parts.netloc.lower() == urlsplit(call.links.origin).netloc.lower():
            return True
        return is_served(parts.netloc, self._config) and (parts.port or _PORTS[parts.scheme]) == call.port
