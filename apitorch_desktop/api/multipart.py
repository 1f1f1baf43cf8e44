"""A multipart body that is read from disk while it is sent, with its length known beforehand."""

import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from apitorch_desktop.api.errors import BadRequest

_CHUNK = 64 * 1024


class Multipart:
    """Text fields and one file field `image`. Iterating gives the body's bytes, from the start each time.

    Raises BadRequest where the file cannot be read, or changes its length while it is being sent.
    """

    def __init__(
        self,
        fields: list[tuple[str, str]],
        source: Path | bytes,
        filename: str,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._source = source
        self._name = filename
        self._on_sent = on_sent
        self.through = False
        """Whether all of it was sent: from then on the service may have it."""
        texts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        media_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        texts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{_quoted(filename)}"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        )
        self._head = "".join(texts).encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._size = len(source) if isinstance(source, bytes) else self._size_on_disk(source)

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        self.through, sent = False, 0
        chunks: Iterable[bytes] = self._chunks()
        if (
            self._size <= _CHUNK
        ):  # in one piece: each costs both sides a system call, and the service a turn of its loop
            chunks = [b"".join(chunks)]
        for chunk in chunks:
            yield chunk
            sent += len(chunk)
            if self._on_sent is not None:
                self._on_sent(sent)
        self.through = True

    def _chunks(self) -> Iterator[bytes]:
        yield self._head
        if isinstance(self._source, bytes):
            for start in range(0, self._size, _CHUNK):
                yield self._source[start : start + _CHUNK]
        else:
            yield from self._from_disk(self._source)
        yield self._tail

    def _from_disk(self, path: Path) -> Iterator[bytes]:
        # An OSError must not come out of the iterator: urllib3 would take it for the network's
        left = self._size
        try:
            with path.open("rb") as file:
                while left:
                    chunk = file.read(min(_CHUNK, left))
                    if not chunk:
                        raise BadRequest(f"“{self._name}” became shorter while it was being sent.")
                    left -= len(chunk)
                    yield chunk
                if file.read(1):
                    raise BadRequest(f"“{self._name}” became longer while it was being sent.")
        except OSError as error:
            raise self._unreadable(error) from None

    def _size_on_disk(self, path: Path) -> int:
        try:
            if not path.is_file():
                raise BadRequest(f"“{self._name}” is not there, or is no file.")
            return path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> BadRequest:
        reason = error.strerror or "unknown reason"
        return BadRequest(f"“{self._name}” cannot be read: {reason}.", advice="Check the file, then retry.")


def _quoted(filename: str) -> str:
    """A quoted-string: backslash before quote and backslash; control characters in percent form, as browsers do."""
    escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char.isprintable() or char > "\x9f" else f"%{ord(char):02X}" for char in escaped)
