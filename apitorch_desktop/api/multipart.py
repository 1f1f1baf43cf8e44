"""Multipart body of a request that carries an image file."""

import mimetypes
from collections.abc import Callable, Iterator
from pathlib import Path

from apitorch_desktop.api.errors import BadRequest, TooLarge

_CHUNK = 64 * 1024
_LARGEST = 256 * 2**20


class Multipart:
    """Text fields and one file field `image`. Iterating yields the body in pieces, from the start each time.

    `on_sent` receives the bytes sent so far. Raises BadRequest where the file cannot be read, TooLarge above 256 MiB.
    """

    def __init__(
        self,
        fields: list[tuple[str, str]],
        source: Path | bytes,
        filename: str,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        from urllib3.filepost import encode_multipart_formdata  # not before the first upload: it takes its time

        data = source if isinstance(source, bytes) else _read(source, filename)
        media_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        self._body, self.content_type = encode_multipart_formdata(
            [*fields, ("image", (_encodable(filename), data, media_type))]
        )
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


def _read(path: Path, name: str) -> bytes:
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
