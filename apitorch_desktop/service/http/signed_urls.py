"""Signed URLs, each of which gives access to one resource until the end of the current UTC day."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from apitorch_desktop.api.packed_listing import filename_signer
from apitorch_desktop.service.storage.records import ImageRow, TrainingSetRow

_KEY_BYTES = 32


def _now() -> datetime:
    return datetime.now(UTC)


class Signer:
    """Signs paths with a secret. Thread-safe.

    `secret` is `Store.secret`, at most 64 bytes, which is the same after a restart, so that links stay valid.
    """

    def __init__(self, secret: bytes, now: Callable[[], datetime] = _now) -> None:
        self._secret = secret
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
        """Return the signature of a path for one day: that of its last part, with the key of its folder."""
        parent, slash, name = path.rpartition("/")
        return filename_signer(self.folder_key(parent + slash, day))(name)

    def folder_key(self, folder: str, day: str) -> bytes:
        """Return the key that signs the names in `folder` (which ends with "/") for one day: keyed BLAKE2b over both.

        Whoever lists images gets it in place of a signature of each: it opens what the listing does, and nothing else.
        """
        signed = f"{len(day)} {day} {folder}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(signed, key=self._secret, digest_size=_KEY_BYTES).digest()


class ListingUrls(NamedTuple):
    """The parts of the signed URLs of one owner's images: `images` or `thumbnails`, the filename, `query`, and the
    signature that `filename_signer` makes of the filename with `key`.
    """

    images: str
    thumbnails: str
    query: str
    key: bytes


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
        return ListingUrls(images, thumbnails, f"?day={day}&signature=", self._signer.folder_key(prefix, day))

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
