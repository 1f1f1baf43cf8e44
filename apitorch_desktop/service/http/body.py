"""Receiver: takes in a request's body, JSON, urlencoded or multipart alike, within limits of size and time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from msgspec import Struct
from python_multipart.multipart import parse_options_header
from starlette.types import Message, Receive

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http import form_data
from apitorch_desktop.service.http.errors import ClientDisconnected, HttpError
from apitorch_desktop.service.http.multipart import MultipartReader
from apitorch_desktop.service.http.resources import Spool
from apitorch_desktop.service.http.work import WorkerPools

_JSON, _FORM, _MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
_CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"}
_OVERHEAD = 2**20
_DRAIN = 64 * 2**20


@dataclass
class ParsedBody:
    """A parsed body: its fields, and the file with the name it came under. Close it."""

    fields: Struct | None = None
    image: Spool | None = None
    filename: str = ""

    def close(self) -> None:
        """Let the file go."""
        if self.image is not None:
            self.image.close()


@dataclass
class _BodyHeader:
    kind: str
    charset: str = "utf-8"
    boundary: bytes = b""
    length: int | None = None


class IncomingBody:
    """The body of one request as ASGI brings it; knows whether any and whether all of it has been asked for."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.begun = False
        self.ended = False

    async def next(self) -> Message:
        """The next message. Raises Disconnected."""
        self.begun = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise ClientDisconnected
        self.ended = not message.get("more_body", False)
        return message


class BodyReader:
    """Reads bodies. A body is bounded by what its operation takes; what a client claims it will send counts too."""

    def __init__(self, limits: Limits, work: WorkerPools) -> None:
        self._limits = limits
        self._work = work

    async def receive(
        self, headers: dict[str, str], incoming: IncomingBody, kind: type[Struct], *, image: bool, loose: bytes | None
    ) -> ParsedBody:
        """The body as `kind`; with `image`, multipart may bring a file.

        With `loose` (a query) its fields count where the body has none of that name. Raises Refusal 400, 408, 413, 507,
        and Disconnected.
        """
        head = _head(headers)
        most = self._limits.image + _OVERHEAD if image and head.kind == _MULTIPART else self._limits.text
        if head.length is not None and head.length > most:
            raise self._too_large(image and head.kind == _MULTIPART)
        spare = form_data.pairs_of(loose) if loose else []
        if head.kind == _MULTIPART:
            return await self._multipart(head, incoming, kind, image, most, spare)
        return ParsedBody(await self._text(head, incoming, kind, most, spare))

    @staticmethod
    def expects(headers: dict[str, str]) -> bool:
        """Whether the request has a body at all."""
        return "content-length" in headers or "transfer-encoding" in headers

    async def drain(self, headers: dict[str, str], incoming: IncomingBody) -> None:
        """Take in what is left of a body that is not wanted, within limits, so that the client reads the answer."""
        if incoming.ended or not self.expects(headers) or ("expect" in headers and not incoming.begun):
            return
        try:
            async with asyncio.timeout(self._limits.head_time):
                async for _ in self._chunks(incoming, _DRAIN):
                    pass
        except (HttpError, ClientDisconnected, TimeoutError):
            pass

    async def _multipart(
        self,
        head: _BodyHeader,
        incoming: IncomingBody,
        kind: type[Struct],
        image: bool,
        most: int,
        spare: list[tuple[str, str]],
    ) -> ParsedBody:
        spool = self._work.spool()
        try:
            reader = MultipartReader(head.boundary, self._limits, spool if image else None)
            async for chunk in self._chunks(incoming, most):
                reader.write(chunk)
            reader.finish()
            fields = form_data.from_pairs(kind, [*spare, *reader.fields])
        except BaseException:
            spool.close()
            raise
        return ParsedBody(fields, spool if reader.has_image else None, reader.filename)

    async def _text(
        self, head: _BodyHeader, incoming: IncomingBody, kind: type[Struct], most: int, spare: list[tuple[str, str]]
    ) -> Struct:
        spool = self._work.spool()
        try:
            async for chunk in self._chunks(incoming, most):
                spool.write(chunk)
            if not len(spool):
                return form_data.from_pairs(kind, spare)
            async with self._work.bytes_of(spool) as body:
                if len(body) > 2**16:
                    return await self._work.decode(_parsed, head, kind, body, spare)
                return _parsed(head, kind, body, spare)
        finally:
            spool.close()

    async def _chunks(self, incoming: IncomingBody, most: int) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Refusal for one that is too long or too slow, Disconnected for half of one."""
        limits, now = self._limits, asyncio.get_running_loop().time
        began, size = now(), 0
        while not incoming.ended:
            try:
                async with asyncio.timeout(limits.silence):
                    message = await incoming.next()
            except TimeoutError:
                raise _too_slow() from None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > most:
                raise self._too_large(most > limits.image)
            if not incoming.ended and size < (now() - began - limits.grace) * limits.slowest:
                raise _too_slow()
            if chunk:
                yield chunk

    def _too_large(self, image: bool) -> HttpError:
        if image:
            most = self._limits.image // 2**20
            return HttpError(413, f"The image is larger than {most} MiB. Make it smaller and send it again.")
        return HttpError(413, f"The body is larger than {self._limits.text // 2**20} MiB. Send less in one call.")


def _parsed(head: _BodyHeader, kind: type[Struct], body: bytes, spare: list[tuple[str, str]]) -> Struct:
    if head.kind == _FORM:
        return form_data.from_pairs(kind, [*spare, *form_data.pairs_of(body, head.charset)])
    if not head.kind:
        raise HttpError(400, f"Say in Content-Type what the body is: {_JSON}, {_FORM} or {_MULTIPART}.")
    fields = form_data.from_json(kind, body, head.charset)
    return form_data.filled(fields, spare) if spare else fields


def _head(headers: dict[str, str]) -> _BodyHeader:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", ""}:
        raise HttpError(400, f"A body in Content-Encoding “{coding[:40]}” is not taken. Send it as it is.")
    kind_bytes, options = parse_options_header(headers.get("content-type", ""))
    kind = kind_bytes.decode("latin-1")
    if kind.startswith("application/") and kind.endswith("+json"):
        kind = _JSON
    if kind not in {_JSON, _FORM, _MULTIPART, ""}:
        raise HttpError(400, f"A body of type “{kind[:80]}” is not taken. Send {_JSON}, {_FORM} or {_MULTIPART}.")
    charset = options.get(b"charset", b"utf-8").decode("latin-1").strip().lower()
    if charset not in _CHARSETS:
        raise HttpError(400, f"Text in “{charset[:40]}” is not taken. Send it as UTF-8.")
    if charset == "utf8":
        charset = "utf-8"
    length = headers.get("content-length")
    return _BodyHeader(kind, charset, options.get(b"boundary", b""), int(length) if length else None)


def _too_slow() -> HttpError:
    return HttpError(408, "The body came too slowly and was given up. Send it again.", [("connection", "close")])
