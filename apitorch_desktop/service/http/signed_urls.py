"""Signed URLs, each of which gives access to one resource until the end of the current UTC day."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from apitorch_desktop.service.storage.records import ImageRow, TrainingSetRow

_SIGNATURE = 16  # bytes of a signature; in hex in a URL


def _now() -> datetime:
    return datetime.now(UTC)


class Signer:
    """Signs paths with a secret. Thread-safe.

    `secret` is `Store.secret`, at most 64 bytes, which is the same after a restart, so that links stay valid.
    """

    def __init__(self, secret: bytes, now: Callable[[], datetime] = _now) -> None:
        self._mac = hashlib.blake2b(key=secret, digest_size=_SIGNATURE)
        self._now = now

    def sign(self, path: str) -> str:
        """Return the query (`day=20260501&signature=…`) that gives access to `path` for the rest of the day."""
        day = self.today()
        return f"day={day}&signature={self.signature(path, day)}"

    def verify(self, path: str, day: str, signature: str) -> bool:
        """Return whether the signature belongs to the path and the day is today (UTC). Compares in constant time; takes
        any strings.
        """
        given = signature.encode("utf-8", "replace")
        right = hmac.compare_digest(self.signature(path, day).encode(), given)
        return right and day == self.today()

    def today(self) -> str:
        """Return the UTC day in the form that is signed."""
        return self._now().astimezone(UTC).strftime("%Y%m%d")

    def signature(self, path: str, day: str) -> str:
        """Return the signature of a path for one day: keyed BLAKE2b (RFC 7693) over both, 128 bits, in hex.

        A listing signs each of its images: HMAC-SHA256 takes three times as long.
        """
        return self.signs("", day)(path).hex()

    def signs(self, prefix: str, day: str) -> Callable[[str], bytes]:
        """Return a function that signs `prefix` and a rest, and returns the 128 bits.

        The state after key, day and prefix is copied for each rest.
        """
        begun = self._mac.copy()
        begun.update(f"{len(day)} {day} {prefix}".encode("utf-8", "surrogatepass"))

        def sign(rest: str) -> bytes:
            mac = begun.copy()
            mac.update(rest.encode("utf-8", "surrogatepass"))
            return mac.digest()

        return sign


class ListingUrls(NamedTuple):
    """The parts of the signed URLs of one owner's images: `images` or `thumbnails`, the filename, `query`, the signature.

    `sign` takes the filename; the signature is in the URL in hex.
    """

    images: str
    thumbnails: str
    query: str
    sign: Callable[[str], bytes]


class SignedUrls:
    """Makes the signed URLs of a response. `origin` is `http://host:port` as the client wrote it."""

    def __init__(self, origin: str, signer: Signer) -> None:
        self.origin = origin
        self._signer = signer
        self._day = ""  # one for all URLs of a response

    def image(self, owner: int, row: ImageRow) -> tuple[str, str]:
        """Return the URLs of the image and of its thumbnail, which share one signature."""
        name = row.filename
        query = self._sign(image_path(owner, name))
        return f"{self.origin}/images/{owner}/{name}?{query}", f"{self.origin}/thumbnails/{owner}/{name}?{query}"

    def listing(self, owner: int) -> ListingUrls:
        """Return what the URLs of many images are made of."""
        day, prefix = self._today(), image_path(owner, "")
        images, thumbnails = f"{self.origin}{prefix}", f"{self.origin}/thumbnails/{owner}/"
        return ListingUrls(images, thumbnails, f"?day={day}&signature=", self._signer.signs(prefix, day))

    def training_set(self, row: TrainingSetRow) -> str:
        """Return the URL of the training set's page."""
        path = f"/training-sets/{row.id}/{row.slug}"
        return f"{self.origin}{quote(path)}?{self._sign(path)}"

    def _sign(self, path: str) -> str:
        return f"day={self._today()}&signature={self._signer.signature(path, self._day)}"

    def _today(self) -> str:
        self._day = self._day or self._signer.today()
        return self._day


def image_path(owner: int | str, filename: str) -> str:
    """Return the path that is signed for an image and its thumbnail."""
    return f"/images/{owner}/{filename}"
