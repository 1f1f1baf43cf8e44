"""Listings written straight from the columns of the database.

For 100,000 images, records and wire objects of each took one and a half times as long as the query, and encoding them
as long again. `images.wire_image` has the same fields for a few images.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from apitorch_desktop.api import types
from apitorch_desktop.api.packed_listing import PackedListing
from apitorch_desktop.service.http.signed_urls import SignedUrls
from apitorch_desktop.service.storage.records import ImagePage, LabelRow, TrainingSetRow


def json_groups(
    page: ImagePage, shown: Sequence[LabelRow], known: Sequence[LabelRow], owner: int, links: SignedUrls
) -> list[types.TrainingLabel]:
    """Return the images by label, to be encoded as JSON: the labels in `shown` even when empty, then others in order of
    appearance.
    """
    encode = msgspec.json.encode
    urls = links.listing(owner)
    sign = urls.sign
    image_url, thumbnail_url = (encode(url).decode()[1:-1] for url in (urls.images, urls.thumbnails))
    found: dict[str, tuple[str, list[str]]] = {row.name: (encode(row.name).decode(), []) for row in shown}
    for _, digits, label, sha256, extension, width, height, size, original, created_at, split in page.rows:
        group = found.get(label)
        if group is None:
            group = found[label] = encode(label).decode(), []
        filename = digits + extension
        query = urls.query + sign(filename).hex()
        group[1].append(
            f'{{"filename":"{filename}","url":"{image_url}{filename}{query}","object":"training_image","id":"ti_{digits}",'
            f'"label":{group[0]},"thumbnail_url":"{thumbnail_url}{filename}{query}","width":{width},"height":{height},'
            f'"bytes":{size},"created_at":"{created_at}","sha256":"{sha256}","original_filename":{encode(original).decode()}'
            + (f',"split":"{split}"}}' if split else "}")
        )
    groups = _label_groups(found, known)
    for answer, (_, texts) in zip(groups, found.values(), strict=True):
        answer.images = msgspec.Raw(f"[{','.join(texts)}]".encode())  # type: ignore[assignment]
        texts.clear()
    return groups


def packed_listing(
    row: TrainingSetRow, page: ImagePage, shown: Sequence[LabelRow], known: Sequence[LabelRow], links: SignedUrls
) -> bytes:
    """Return a `PackedListing` in MessagePack; its images are the rows themselves."""
    urls = links.listing(row.owner_id)
    sign = urls.sign
    names = dict.fromkeys([*(label.name for label in shown), *(image[2] for image in page.rows)])
    listing = PackedListing(
        training_set_id=types.Id(row.id),
        training_set_slug=row.slug,
        training_set_url=links.training_set(row),
        data=_label_groups(names, known),
        image_url=urls.images,
        thumbnail_url=urls.thumbnails,
        query=urls.query,
        images=page.rows,  # type: ignore[arg-type]
        signatures=b"".join([sign(image[1] + image[4]) for image in page.rows]),
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
