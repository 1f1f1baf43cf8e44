"""MultipartReader: the text fields and the one file of a multipart body, as it comes in."""

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

_EXTENDED_NAME = re.compile(rb"""filename\*\s*=\s*utf-8'[^']*'([^;\s]+)""", re.IGNORECASE)
_HEADERS = 8
_HEADER_SIZE = 4096


class MultipartReader:
    """Fields go to `fields`, the file `image` to `spool` (None: files are not taken). Every method may raise Refusal."""

    def __init__(self, boundary: bytes, limits: Limits, spool: Spool | None) -> None:
        self.fields: list[tuple[str, str]] = []
        self.has_image = False
        self.filename = ""
        self._limits = limits
        self._spool = spool
        self._parts = self._text_size = 0
        self._ended = False
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
            self._parser = MultipartParser(boundary, callbacks, max_header_count=_HEADERS, max_header_size=_HEADER_SIZE)
        except FormParserError:
            raise HttpError(400, "The boundary of the multipart body is too long.") from None

    def write(self, chunk: bytes) -> None:
        """Take in a piece of the body."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise HttpError(400, f"The multipart body is broken: {str(error).rstrip('.')[:200]}.") from None

    def finish(self) -> None:
        """Say that this was all."""
        if not self._ended:
            raise HttpError(400, "The multipart body ends too early. Send it again, whole.")

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
            raise HttpError(400, "A part of the multipart body has no name. Name the file “image”.")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in {b"binary", b"8bit", b"7bit"}:
            raise HttpError(400, "A part of the multipart body is in a transfer encoding. Send the file as it is.")
        self._name = _text(options[b"name"])
        extended = _EXTENDED_NAME.search(disposition)
        given = options.get(b"filename")
        if self._name == "image" and self._spool is not None:
            if self.has_image:
                raise HttpError(400, "There are two files “image”. Send one image a call.")
            self.has_image = True
            self._text = None
            self.filename = _filename(unquote_to_bytes(extended[1]) if extended else given or b"")
        elif given is not None or extended is not None:
            wanted = "Name the file “image”." if self._spool is not None else "This call takes no file."
            raise HttpError(400, f"There is a file “{self._name[:80]}”. {wanted}")
        else:
            self._text = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._text is not None:
            self._text_size += size
            if len(self._text) + size > self._limits.text_field or self._text_size > self._limits.text:
                raise HttpError(413, f"The field “{self._name[:80]}” is too long.")
            self._text += data[start:end]
        elif self._spool is not None:
            self._spool.write(memoryview(data)[start:end])

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


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _filename(raw: bytes) -> str:
    """The name as it was meant: browsers, and our client, write %22, %0D and %0A for what a header cannot hold."""
    return _text(raw).replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
