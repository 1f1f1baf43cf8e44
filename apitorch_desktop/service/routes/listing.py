"""Listings written straight from the columns of the database, and handlers of what has changed since one.

For 100,000 images, records and wire objects of each took one and a half times as long as the query, and encoding them
as long again. `wire_image` has the same fields for a few images.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.api.packed_listing import PackedListing, filename_signer
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.http.signed_urls import SignedUrls
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.changes import MOST
from apitorch_desktop.service.storage.records import ImagePage, ImageRow, LabelRow, TrainingSetRow

WIRE_SIZE = 700
"""Approximate bytes of an image in a listing."""


def json_groups(
    page: ImagePage,
    shown: Sequence[LabelRow],
    known: Sequence[LabelRow],
    owner: int,
    links: SignedUrls,
    damaged: Set[str],
) -> list[types.TrainingLabel]:
    """Return the images by label, to be encoded as JSON: the labels in `shown` even when empty, then others in order of
    appearance. Those that are `damaged` have no sha256.
    """
    encode = msgspec.json.encode
    urls = links.listing(owner)
    sign = filename_signer(urls.key)
    image_url, thumbnail_url = (encode(url).decode()[1:-1] for url in (urls.images, urls.thumbnails))
    found: dict[str, tuple[str, list[str]]] = {row.name: (encode(row.name).decode(), []) for row in shown}
    for _, digits, label, sha256, extension, width, height, size, original, created_at, split in page.rows:
        group = found.get(label)
        if group is None:
            group = found[label] = encode(label).decode(), []
        filename = digits + extension
        query = urls.query + sign(filename)
        group[1].append(
            f'{{"filename":"{filename}","url":"{image_url}{filename}{query}","object":"training_image","id":"ti_{digits}",'
            f'"label":{group[0]},"thumbnail_url":"{thumbnail_url}{filename}{query}","width":{width},"height":{height},'
            f'"bytes":{size},"created_at":"{created_at}",'
            + ("" if sha256 in damaged else f'"sha256":"{sha256}",')
            + f'"original_filename":{encode(original).decode()}'
            + (f',"split":"{split}"}}' if split else "}")
        )
    groups = _label_groups(found, known)
    for answer, (_, texts) in zip(groups, found.values(), strict=True):
        answer.images = msgspec.Raw(f"[{','.join(texts)}]".encode())  # type: ignore[assignment]
        texts.clear()
    return groups


def packed_listing(
    row: TrainingSetRow,
    page: ImagePage,
    shown: Sequence[LabelRow],
    known: Sequence[LabelRow],
    links: SignedUrls,
    damaged: Set[str],
) -> bytes:
    """Return a `PackedListing` in MessagePack; its images are the rows themselves, if no sha256 is to be left out."""
    urls = links.listing(row.owner_id)
    names = dict.fromkeys([*(label.name for label in shown), *(image[2] for image in page.rows)])
    images = (
        [(*each[:3], "", *each[4:]) if each[3] in damaged else each for each in page.rows] if damaged else page.rows
    )
    listing = PackedListing(
        training_set_id=types.Id(row.id),
        training_set_slug=row.slug,
        training_set_url=links.training_set(row),
        data=_label_groups(names, known),
        image_url=urls.images,
        thumbnail_url=urls.thumbnails,
        query=urls.query,
        images=images,  # type: ignore[arg-type]
        signing_key=urls.key,
        next=page.next or UNSET,
    )
    return types.encode_msgpack(listing)


def _label_groups(names: Iterable[str], known: Sequence[LabelRow]) -> list[types.TrainingLabel]:
    """Return labels without images, with ids and counts as far as they are known."""
    rows = {row.name: row for row in known}
    return [
        types.TrainingLabel(
            label=name,
            images=[],
            id=rows[name].id if name in rows else UNSET,
            count=rows[name].count if name in rows else UNSET,
        )
        for name in names
    ]


def wire_image(row: ImageRow, owner: int, links: SignedUrls, damaged: Set[str]) -> types.TrainingImage:
    """Return an image as it is in a listing."""
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
        sha256=UNSET if row.sha256 in damaged else row.sha256,
        original_filename=row.original_filename,
        split=row.split or UNSET,
    )


class ChangesQuery(Struct):
    """The `revision` of an earlier answer; without one, the answer has the present revision and no images."""

    since: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET


class ChangeRoutes(OperationGroup):
    """Handlers of changes."""

    tag = "Training images"

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._workers = dependencies.workers

    @Operation(
        "GET",
        "/api/training-set/{id}/changes",
        types.ListingChanges,
        query=ChangesQuery,
        extension="changes",
        errors=(404,),
    )
    async def list_image_changes(self, request: Request) -> LargeResponse:
        """Return what came, changed and went since a revision, or that it is too old: then list the images anew."""
        query: ChangesQuery = request.query
        set_id = request.id_parameter("id", "training set")
        since = query.since if isinstance(query.since, str) else None

        def load() -> Response:
            found = self._store.changes.since(request.owner, set_id, since)
            damaged = self._store.damaged()
            answer = types.ListingChanges(
                training_set_id=types.Id(str(set_id)),
                revision=found.revision,
                too_old=found.too_old,
                labels=[types.LabelCount(id=row.id, label=row.name, count=row.count) for row in found.labels],
                images=[wire_image(row, request.owner, request.links, damaged) for row in found.images],
                removed=[f"ti_{image_id}" for image_id in found.removed],
            )
            return request.large_response(types.encode(answer))

        size = 0 if since is None else WIRE_SIZE * MOST // 20
        return LargeResponse(size, lambda: self._workers.run_storage(load))

    @Operation("GET", "/api/training-image/{image_id}", types.TrainingImage, extension="changes", errors=(404,))
    async def show_image(self, request: Request) -> types.TrainingImage:
        """Return an image as it is in a listing, with URLs that hold for the current UTC day."""

        def load() -> types.TrainingImage:
            row = self._store.images.get(request.owner, request.path["image_id"])
            return wire_image(row, request.owner, request.links, self._store.damaged())

        return await self._workers.run_storage(load)
