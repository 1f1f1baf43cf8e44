"""The request and response types that handlers work with."""

import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import Spool
from apitorch_desktop.service.http.signed_urls import SignedUrls


@dataclass(frozen=True)
class LargeResponse:
    """A response whose body of about `size` bytes is made by `load` once memory for it is reserved."""

    size: int
    load: Callable[[], Awaitable[Response]]


HandlerResult = Struct | Response | LargeResponse
_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")
_MOST_ID = 2**63 - 1
_COMPRESSED = 2**16  # bytes from which on a response is compressed
_GZIP = zlib.MAX_WBITS | 16


@dataclass
class Request:
    """A request with checked parameters and a parsed body.

    `owner` is the owner of the API key, 0 where the operation needs none. `path` has the decoded path parameters;
    `query` and `body` are of the operation's types, None where it has none; `image` has the bytes of the uploaded file,
    or of several one after another, `files` the name and size of each. `port` is the port the service listens on.
    `compresses`: the client takes gzip, and is on another machine: it saves five sixths of a listing, and takes a quarter
    of the time of making it, more than loopback does.
    """

    owner: int
    path: dict[str, str]
    links: SignedUrls
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    image: Spool | None = None
    files: list[tuple[str, int]] = field(default_factory=list)
    compresses: bool = False

    @property
    def filename(self) -> str:
        """Name of the uploaded file."""
        return self.files[0][0] if self.files else ""

    def large_response(self, body: bytes, media_type: str = "application/json") -> Response:
        """Return a response with a body that may be large, compressed where that pays; on any thread."""
        headers = {"vary": "Accept, Accept-Encoding"}
        if self.compresses and len(body) >= _COMPRESSED:
            compressor = zlib.compressobj(1, wbits=_GZIP)
            body = compressor.compress(body) + compressor.flush()
            headers["content-encoding"] = "gzip"
        return Response(body, media_type=media_type, headers=headers)

    def prefers(self, media_type: str, other: str) -> bool:
        """Return whether the client names a media type in `Accept`, and prefers it to another or likes both as much."""
        found = {media_type: 0.0, other: 0.0}
        for each in self.headers.get("accept", "").lower().split(","):
            name, *parameters = (part.strip() for part in each.split(";"))
            if name in found:
                given = [part[2:] for part in parameters if part.startswith("q=")]
                found[name] = float(given[0]) if given and _QUALITY.fullmatch(given[0]) else 1.0
        return found[media_type] > 0 and found[media_type] >= found[other]

    def id_parameter(self, name: str, noun: str) -> int:
        """Return a path parameter that is a row id. Raises HttpError 404 for anything else; `noun` names what it
        identifies.
        """
        text = self.path[name]
        if text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) <= _MOST_ID:
            return int(text)
        raise HttpError(404, f"There is no {noun} “{text[:80]}”.")
