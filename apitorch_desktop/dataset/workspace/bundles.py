"""Bundles: small images that go to a service, or come from it, several in one call.

Each costs the service half of what it would alone (`decisions/026-bundles.md`).
"""

from collections.abc import Collection, Sequence
from typing import Final

SMALL: Final = 2**18
"""Bytes up to which an image is sent or fetched in a bundle; the time of a larger one is not that of its call."""
BUNDLE_BYTES: Final = 2**20
"""Approximate size of a bundle: it takes seconds on a slow line too, and can be cancelled."""
UPLOADED_IMAGES: Final = 16
"""Most images in a bundle that is sent."""
_UPLOAD_EXTENSIONS: Final = frozenset({"images.upload", "formats", "splits", "unlabelled"})


def takes_uploads(extensions: Collection[str]) -> bool:
    """Return whether a service takes bundles, and every image as it is: `LocalClient` helps others with single ones."""
    return set(extensions) >= _UPLOAD_EXTENSIONS


def fits_upload(sizes: Sequence[int], size: int) -> bool:
    """Return whether an image of `size` bytes can be sent in a bundle with images of `sizes`, which is not empty."""
    return len(sizes) < UPLOADED_IMAGES and max(*sizes, size) <= SMALL and sum(sizes) + size <= BUNDLE_BYTES
