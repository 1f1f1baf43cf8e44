"""Multipart body of a request that carries image files."""

import mimetypes
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from apitorch_desktop.api.errors import BadRequest, TooLarge

_ANSWER_WAIT = 2.0
_CHUNK = 64 * 1024
_LARGEST = 256 * 2**20


class SentFile(NamedTuple):
    """A file to be sent, from disk or memory, and the name it is sent under."""

    source: Path | bytes
    name: str


class Multipart:
    """Text fields and files, all in the field `file_field`. Iterating yields the body in pieces, from the start each time.

    `on_sent` receives the bytes sent so far. Raises BadRequest where a file cannot be read, TooLarge above 256 MiB.
    """

    def __init__(
        self,
        fields: list[tuple[str, str]],
        files: Sequence[SentFile],
        file_field: str = "image",
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        from urllib3.filepost import encode_multipart_formdata  # not before the first upload: it takes its time

        parts = [(file_field, (_encodable(name), _content(source, name), _media_type(name))) for source, name in files]
        self._body, self.content_type = encode_multipart_formdata([*fields, *parts])
        self._on_sent = on_sent
        self.sent = False
        """The whole body was sent: from then on the service may have the image."""

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[memoryview]:
        self.sent = False
        body = memoryview(self._body)
        for start in range(0, len(body), _CHUNK):
            yield body[start : start + _CHUNK]
            if self._on_sent is not None:
                self._on_sent(min(start + _CHUNK, len(body)))
        self.sent = True

    def delayed(self, cancelled: Callable[[], bool]) -> Callable[[], bool]:
        """Delay a cancellation once the whole body is sent: the answer shows whether the images were stored."""
        deadline = float("inf")

        def delayed() -> bool:
            nonlocal deadline
            if not cancelled():
                return False
            deadline = min(deadline, monotonic() + _ANSWER_WAIT)
            return not self.sent or monotonic() >= deadline

        return delayed


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _content(source: Path | bytes, name: str) -> bytes:
    return source if isinstance(source, bytes) else read_file(source, name)


def read_file(path: Path, name: str) -> bytes:
    """Read a file that is to be sent under a name. Raises BadRequest where it cannot be read, TooLarge above 256 MiB."""
    try:
        if not path.is_file():
            raise BadRequest(f"“{name}” is not there, or is no file.")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise BadRequest(f"“{name}” cannot be read: {reason}.", advice="Check the file, then retry.") from None
    if len(data) > _LARGEST:
        raise TooLarge(f"“{name}” has more than {_LARGEST // 2**20} MiB.")
    return data


def _encodable(filename: str) -> str:
    """Escape what a quoted string in a header cannot hold; urllib3 writes a quote as %22, as browsers do."""
    text = filename.encode("utf-8", "replace").decode().replace("\\", "\\\\")
    return "".join(char if char.isprintable() or char > "\x9f" else f"%{ord(char):02X}" for char in text)
