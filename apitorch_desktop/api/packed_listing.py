"""Listings in MessagePack (`images.msgpack`): a third of the JSON, and quicker to make and to read."""

from collections.abc import Callable
from hashlib import blake2b

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apitorch_desktop.api.types import Id, TrainingImage, TrainingImages, TrainingLabel, decode_msgpack

_SIGNATURE_BYTES = 16


def filename_signer(key: bytes) -> Callable[[str], str]:
    """Return a function that signs a filename: keyed BLAKE2b (RFC 7693), 128 bits, in hex. `key` has up to 64 bytes.

    A listing signs each of its images: HMAC-SHA256 takes three times as long. The state after the key is copied for each.
    """
    begun = blake2b(key=key, digest_size=_SIGNATURE_BYTES)

    def sign(filename: str) -> str:
        mac = begun.copy()
        mac.update(filename.encode("utf-8", "surrogatepass"))
        return mac.hexdigest()

    return sign


class PackedImage(Struct, array_like=True, gc=False):
    """An image in a `PackedListing`, an array of these values; later versions may add some at its end.

    `number` grows in the order of arrival; `digits` is the `id` without `ti_`; `split` may be "".
    """

    number: int
    digits: str
    label: str
    sha256: str
    extension: str
    width: int
    height: int
    bytes: int
    original_filename: str
    created_at: str
    split: str


class PackedListing(Struct, kw_only=True):
    """`TrainingImages` in MessagePack (`images.msgpack`), in which what all images share is there once.

    `data` are the labels, without images; `images` those of all labels in the order of arrival. The filename of one is
    `digits` and `extension`; its URLs are `image_url` or `thumbnail_url`, filename, `query`, and what `filename_signer`
    makes of the filename with `signing_key`, which holds for the images of this owner and for one day.
    """

    object: str = "packed_listing"
    training_set_id: Id
    training_set_slug: str
    training_set_url: str
    data: list[TrainingLabel]
    image_url: str
    thumbnail_url: str
    query: str
    images: list[PackedImage]
    signing_key: bytes
    next: str | UnsetType = UNSET

    def unpacked(self) -> TrainingImages:
        """Return the listing as it is in JSON. Raises `msgspec.ValidationError`."""
        if not 0 < len(self.signing_key) <= blake2b.MAX_KEY_SIZE:
            raise msgspec.ValidationError("a key of 1 to 64 bytes")
        sign = filename_signer(self.signing_key)
        groups = {group.label: group for group in self.data}
        for image in self.images:
            filename = image.digits + image.extension
            rest = f"{filename}{self.query}{sign(filename)}"
            group = groups.get(image.label)
            if group is None:
                raise msgspec.ValidationError("a label that is not in the listing")
            group.images.append(
                TrainingImage(
                    filename=filename,
                    url=self.image_url + rest,
                    object="training_image",
                    id="ti_" + image.digits,
                    label=group.label,
                    thumbnail_url=self.thumbnail_url + rest,
                    width=image.width,
                    height=image.height,
                    bytes=image.bytes,
                    created_at=image.created_at,
                    sha256=image.sha256 or UNSET,
                    original_filename=image.original_filename,
                    split=image.split or UNSET,
                )
            )
        return TrainingImages(
            training_set_id=self.training_set_id,
            training_set_slug=self.training_set_slug,
            training_set_url=self.training_set_url,
            data=self.data,
            next=self.next,
        )


def decode_listing(data: bytes) -> TrainingImages:
    """Decode a listing in MessagePack. Raises `msgspec.DecodeError`."""
    return decode_msgpack(data, PackedListing).unpacked()
