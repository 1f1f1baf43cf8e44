"""Call: a request as a handler sees it, with its parameters checked and its body parsed; Links: addresses in answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from starlette.responses import Response

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import Spool
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.storage.records import ImageRow, TrainingSetRow


@dataclass(frozen=True)
class LargeAnswer:
    """An answer of some `size` in bytes that is made (`load`) once there is memory for it."""

    size: int
    load: Callable[[], Awaitable[Response]]


Answer = Struct | Response | LargeAnswer
_MOST_ID = 2**63 - 1


@dataclass
class Request:
    """One request. `owner` is whose key or signed link it came with; 0 where neither was asked for.

    `path` has the decoded parameters of the path; `query` and `body` are of the operation's types, None where it has
    none; `image` is the uploaded file and `filename` the name it came under. `port` is the service's own.
    """

    owner: int
    path: dict[str, str]
    links: "SignedUrls"
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    image: Spool | None = None
    filename: str = ""

    def number(self, name: str, what: str) -> int:
        """A parameter of the path that is an id. Raises Refusal 404 for what cannot be one."""
        text = self.path[name]
        if text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) <= _MOST_ID:
            return int(text)
        raise HttpError(404, f"There is no {what} “{text[:80]}”.")


class SignedUrls:
    """Addresses in answers, signed for the rest of the day. `origin` is `http://host:port` as the client wrote it."""

    def __init__(self, origin: str, signer: Signer) -> None:
        self.origin = origin
        self._signer = signer
        self._day = ""  # taken once: a listing signs 100,000 times

    def image(self, owner: int, row: ImageRow) -> tuple[str, str]:
        """Where the image is, and its thumbnail: one signature holds for both."""
        name = row.filename
        query = self._sign(image_path(owner, name))
        return f"{self.origin}/images/{owner}/{name}?{query}", f"{self.origin}/thumbnails/{owner}/{name}?{query}"

    def training_set(self, row: TrainingSetRow) -> str:
        """The training set's page."""
        path = f"/training-sets/{row.id}/{row.slug}"
        return f"{self.origin}{quote(path)}?{self._sign(path)}"

    def _sign(self, path: str) -> str:
        if not self._day:
            self._day = self._signer.today()
        return f"day={self._day}&signature={self._signer.signature(path, self._day)}"


def image_path(owner: int | str, filename: str) -> str:
    """What is signed for an image and its thumbnail."""
    return f"/images/{owner}/{filename}"
