"""Reads request bodies (JSON, urlencoded, multipart) within limits of size and time."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import Spool

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from msgspec import Struct
from starlette.types import Message, Receive

from apitorch_desktop.service.http import form_data
from apitorch_desktop.service.http.errors import ClientDisconnected
from apitorch_desktop.service.http.resources import WorkerPools

_EXTENDED_NAME = re.compile(rb"""filename\*\s*=\s*utf-8'[^']*'([^;\s]+)""", re.IGNORECASE)
_MAX_HEADERS = 8
_MAX_HEADER_SIZE = 4096


class MultipartReader:
    """An incremental reader of a multipart body.

    Text fields go to `fields`; the file in `file_field`, of one with `[]` several one after another, to `spool`, and to
    `files` as name and size. Without a spool files are rejected. Every method may raise HttpError.
    """

    def __init__(self, boundary: bytes, limits: Limits, spool: Spool | None, file_field: str = "image") -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[tuple[str, int]] = []
        self._file_field = file_field
        self._limits = limits
        self._spool = spool
        self._parts = self._text_size = 0
        self._ended = False
        self._delimiter = b"\n--" + boundary
        self._before: bytes | None = b"\n"
        """End of what came before the first boundary, None from there on."""
        self._headers: dict[bytes, bytes] = {}
        self._header = self._value = b""
        self._name = ""
        self._text: bytearray | None = None
        if not boundary:
            raise HttpError(400, "The Content-Type of the multipart body names no boundary. Let your library write it.")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._start,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(
                boundary, callbacks, max_header_count=_MAX_HEADERS, max_header_size=_MAX_HEADER_SIZE
            )
        except FormParserError:
            raise HttpError(400, "The boundary of the multipart body is too long.") from None

    def write(self, chunk: bytes) -> None:
        """Parse a chunk of the body. What lies before the first boundary (the preamble) is skipped."""
        if self._before is not None:
            chunk = self._skip_preamble(self._before + chunk)
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise HttpError(400, f"The multipart body is broken: {str(error).rstrip('.')[:200]}.") from None

    def finish(self) -> None:
        """Check that the body is complete."""
        if self._before not in (None, b"\n", self._delimiter):
            raise HttpError(400, "The multipart body has no line with the boundary that its Content-Type names.")
        if not self._ended:
            raise HttpError(400, "The multipart body ends too early. Send it again, whole.")

    def _skip_preamble(self, data: bytes) -> bytes:
        """Return what there is from the first boundary on, once it is there with the byte after it."""
        start = data.find(self._delimiter)
        after = start + len(self._delimiter)
        if start < 0 or after == len(data):
            self._before = data[-len(self._delimiter) :]
            return b""
        if data[after] == ord("\n"):
            raise HttpError(
                400,
                "The lines of the multipart body end with LF alone. End them with CR LF, or let your library write it.",
            )
        self._before = None
        return data[start + 1 :]

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise HttpError(400, f"The multipart body has more than {self._limits.parts} parts. Send fewer fields.")
        self._headers = {}
        self._header = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _start(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise HttpError(400, f"A part of the multipart body has no name. {self._advice()}")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in {b"binary", b"8bit", b"7bit"}:
            raise HttpError(400, "A part of the multipart body is in a transfer encoding. Send the file as it is.")
        self._name = _decode(options[b"name"])
        extended = _EXTENDED_NAME.search(disposition)
        given = options.get(b"filename")
        if self._name == self._file_field and self._spool is not None:
            if self.files and not self._file_field.endswith("[]"):
                raise HttpError(400, "There are two files “image”. Send one image a call.")
            self._text = None
            self.files.append((_filename(unquote_to_bytes(extended[1]) if extended else given or b""), 0))
        elif given is not None or extended is not None:
            raise HttpError(400, f"There is a file “{self._name[:80]}”. {self._advice()}")
        else:
            self._text = bytearray()

    def _advice(self) -> str:
        return f"Name the file “{self._file_field}”." if self._spool is not None else "This call takes no file."

    def _data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._text is not None:
            self._text_size += size
            if len(self._text) + size > self._limits.text_field or self._text_size > self._limits.text:
                raise HttpError(413, f"The field “{self._name[:80]}” is too long.")
            self._text += data[start:end]
        elif self._spool is not None:
            self._spool.write(memoryview(data)[start:end])
            name, before = self.files[-1]
            self.files[-1] = name, before + size

    def _end(self) -> None:
        if self._text is None:
            return
        try:
            self.fields.append((self._name, self._text.decode()))
        except UnicodeDecodeError:
            raise HttpError(400, f"The field “{self._name[:80]}” is not valid UTF-8. Send text as UTF-8.") from None
        self._text = None

    def _finish(self) -> None:
        self._ended = True


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _filename(raw: bytes) -> str:
    """Return the file name as it was meant: browsers, and our client, write %22, %0D and %0A for `"`, CR and LF."""
    return _decode(raw).replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


_JSON, _FORM, _MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
_CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"}
_MULTIPART_OVERHEAD = 2**20
_DRAIN_LIMIT = 64 * 2**20


@dataclass
class ParsedBody:
    """The fields of a body, and its files: the bytes of all, and the name and size of each. Has to be closed."""

    fields: Struct | None = None
    image: Spool | None = None
    files: list[tuple[str, int]] = field(default_factory=list)

    def close(self) -> None:
        """Close the file."""
        if self.image is not None:
            self.image.close()


@dataclass
class _BodyHeader:
    kind: str
    charset: str = "utf-8"
    boundary: bytes = b""
    length: int | None = None


class IncomingBody:
    """The body of one request as ASGI delivers it. `started` and `ended`: how much has been received."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.started = False
        self.ended = False

    async def receive(self) -> Message:
        """Return the next message. Raises ClientDisconnected."""
        self.started = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise ClientDisconnected
        self.ended = not message.get("more_body", False)
        return message

    async def wait_disconnected(self) -> None:
        """Return when the client has disconnected; to be called after the whole body was received."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class BodyReader:
    """Reads bodies. The size limit depends on the operation; the declared length counts too."""

    def __init__(self, limits: Limits, workers: WorkerPools) -> None:
        self._limits = limits
        self._workers = workers

    async def read(
        self,
        headers: dict[str, str],
        incoming: IncomingBody,
        kind: type[Struct],
        *,
        file_field: str,
        query: bytes | None,
    ) -> ParsedBody:
        """Return the body as `kind`; a multipart one may contain files in `file_field`, if that is not empty.

        With `query` its fields are used where the body has none of that name. Raises HttpError 400, 408, 413, 507, and
        ClientDisconnected.
        """
        header = _parse_header(headers)
        with_files = file_field != "" and header.kind == _MULTIPART
        max_size = self._limits.image + _MULTIPART_OVERHEAD if with_files else self._limits.text
        if header.length is not None and header.length > max_size:
            raise self._too_large(with_files)
        defaults = form_data.parse_pairs(query) if query else []
        if header.kind == _MULTIPART:
            return await self._multipart(header, incoming, kind, file_field, max_size, defaults)
        return ParsedBody(await self._read_text(header, incoming, kind, max_size, defaults))

    @staticmethod
    def has_body(headers: dict[str, str]) -> bool:
        """Return whether the request has a body."""
        return "content-length" in headers or "transfer-encoding" in headers

    async def drain(self, headers: dict[str, str], incoming: IncomingBody) -> None:
        """Read and drop the rest of an unwanted body, within limits, so that the client gets to read the response."""
        if incoming.ended or not self.has_body(headers) or ("expect" in headers and not incoming.started):
            return
        try:
            async with asyncio.timeout(self._limits.head_time):
                async for _ in self._chunks(incoming, _DRAIN_LIMIT):
                    pass
        except (HttpError, ClientDisconnected, TimeoutError):
            pass

    async def _multipart(
        self,
        header: _BodyHeader,
        incoming: IncomingBody,
        kind: type[Struct],
        file_field: str,
        max_size: int,
        defaults: list[tuple[str, str]],
    ) -> ParsedBody:
        spool = self._workers.spool()
        try:
            reader = MultipartReader(header.boundary, self._limits, spool if file_field else None, file_field)
            async for chunk in self._chunks(incoming, max_size):
                reader.write(chunk)
            reader.finish()
            fields = form_data.decode_pairs(kind, [*defaults, *reader.fields])
        except BaseException:
            spool.close()
            raise
        return ParsedBody(fields, spool if reader.files else None, reader.files)

    async def _read_text(
        self,
        header: _BodyHeader,
        incoming: IncomingBody,
        kind: type[Struct],
        max_size: int,
        defaults: list[tuple[str, str]],
    ) -> Struct:
        spool = self._workers.spool()
        try:
            async for chunk in self._chunks(incoming, max_size):
                spool.write(chunk)
            if not len(spool):
                return form_data.decode_pairs(kind, defaults)
            async with self._workers.load_spool(spool) as body:
                if len(body) > 2**16:
                    return await self._workers.run_decoding(_parse_text, header, kind, body, defaults)
                return _parse_text(header, kind, body, defaults)
        finally:
            spool.close()

    async def _chunks(self, incoming: IncomingBody, max_size: int) -> AsyncIterator[bytes]:
        """Yield the body in chunks. Raises HttpError for one that is too long or too slow, ClientDisconnected for a
        partial one.
        """
        limits, now = self._limits, asyncio.get_running_loop().time
        began, size = now(), 0
        while not incoming.ended:
            try:
                async with asyncio.timeout(limits.silence):
                    message = await incoming.receive()
            except TimeoutError:
                raise _timed_out() from None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > max_size:
                raise self._too_large(max_size > limits.image)
            if not incoming.ended and size < (now() - began - limits.grace) * limits.slowest:
                raise _timed_out()
            if chunk:
                yield chunk

    def _too_large(self, image: bool) -> HttpError:
        if image:
            max_size = self._limits.image // 2**20
            return HttpError(
                413, f"An image, or several in one call, may have {max_size} MiB. Make it smaller, or send fewer."
            )
        return HttpError(413, f"The body is larger than {self._limits.text // 2**20} MiB. Send less in one call.")


def _parse_text(header: _BodyHeader, kind: type[Struct], body: bytes, defaults: list[tuple[str, str]]) -> Struct:
    if header.kind == _FORM:
        return form_data.decode_pairs(kind, [*defaults, *form_data.parse_pairs(body, header.charset)])
    if not header.kind:
        raise HttpError(400, f"Say in Content-Type what the body is: {_JSON}, {_FORM} or {_MULTIPART}.")
    fields = form_data.decode_json(kind, body, header.charset)
    return form_data.fill_missing(fields, defaults) if defaults else fields


def _parse_header(headers: dict[str, str]) -> _BodyHeader:
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


def _timed_out() -> HttpError:
    return HttpError(408, "The body came too slowly and was given up. Send it again.", [("connection", "close")])
