"""Images that arrive whole: checked against what the service says of them, and where it says nothing, by decoding them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from apitorch_desktop.api.errors import TimedOut


class DamagedDownload(TimedOut):
    """What arrived is not what the service said it would be; the next try may be better."""

    advice = "Try again; if it stays so, the service has lost this image."


def is_whole(data: bytes) -> bool:
    """Whether bytes are an image that can be decoded to its end."""
    from apitorch_desktop.vision import images

    try:
        images.verify(data)
    except images.UnreadableImage:
        return False
    return True


def whole(fetch: Callable[[], bytes], name: str, sha256: object = None) -> bytes:
    """What `fetch` answers, whole: with the `sha256` that is known of it, else an image.

    An answer that is cut at a wrong length looks like a short image. What is not whole is therefore fetched a second time;
    where that brings the same bytes, they are what the service has. Raises Damaged, and what `fetch` raises.
    """
    data = fetch()
    if isinstance(sha256, str):
        if hashlib.sha256(data).hexdigest() != sha256:
            data = fetch()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise DamagedDownload(f"“{name}” arrived damaged.")
        return data
    if is_whole(data):
        return data
    again = fetch()
    if again == data or is_whole(again):
        return again
    raise DamagedDownload(f"“{name}” arrived damaged.")
