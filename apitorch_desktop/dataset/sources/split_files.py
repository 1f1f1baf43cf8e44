"""Files that were cut into parts (`photos.tar.gz.aa`, `photos.zip.001`), read as the whole that they were."""

import io
import re
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final

_PART: Final = re.compile(
    r"(?P<whole>.+\.(?:zip|7z|tar|tgz|tbz2?|txz|tzst|gz|bz2|xz|lzma|zst))"
    r"(?:[._-]?(?P<part>part)[._-]?(?=[a-z]{2,3}$|\d{1,4}$)|[._-]?(?=[a-z]{2,3}$|\d{2,4}$))"
    r"(?P<number>(?!(?:gz|xz|zst|lz|tar|tgz|tbz|txz|zip|rar)$).+)",
    re.IGNORECASE,
)
"""Name of a part: `split` counts in letters or from 0, 7-Zip from 1. One digit alone is that of a second download."""
_MOST: Final = 10_000


def whole_name(name: str) -> str:
    """Return the name of the file of which one with this name may be a part; of any other, its own."""
    found = _PART.fullmatch(name)
    return found["whole"] if found else name


def is_part(name: str) -> bool:
    """Return True for a name that only a part of a file has."""
    found = _PART.fullmatch(name)
    return found is not None and (bool(found["part"]) or re.fullmatch(r"\d{3}", found["number"]) is not None)


def parts_of(path: Path) -> list[Path]:
    """Return the parts that lie beside a part and itself, in their order up to the first that is missing.

    Empty for a file that is no part, or the first part of which is missing.
    """
    found = _PART.fullmatch(path.name)
    if not found:
        return []
    prefix, number = path.name[: found.start("number")], found["number"]
    for first in ["a" * len(number)] if number.isalpha() else [f"{start:0{len(number)}}" for start in (0, 1)]:
        parts: list[Path] = []
        mark = first.upper() if number.isupper() else first
        while len(parts) < _MOST and (part := path.with_name(prefix + mark)).is_file():
            parts.append(part)
            mark = _next(mark)
        if path in parts:
            return parts
    return []


def _next(mark: str) -> str:
    """Return the number, in digits or letters, behind another."""
    if mark.isdigit():
        return f"{int(mark) + 1:0{len(mark)}}"
    head, last = mark[:-1], mark[-1]
    if last not in "zZ":
        return head + chr(ord(last) + 1)
    return (_next(head) if head else "") + ("a" if last == "z" else "A")


def open_whole(path: Path) -> io.BufferedReader:
    """Open a file for reading; the first of several parts opens them all."""
    parts = parts_of(path)
    return io.BufferedReader(_Joined(parts)) if len(parts) > 1 and parts[0] == path else path.open("rb")


class _Joined(io.RawIOBase):
    """Parts one behind the other. One is open at a time."""

    def __init__(self, parts: list[Path]) -> None:
        self._parts = parts
        self._ends = list(accumulate(part.stat().st_size for part in parts))
        self._place = 0
        self._number = -1
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ends[-1]}[whence]
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if (number := bisect_right(self._ends, self._place)) == len(self._parts):
            return 0
        if self._file is None or number != self._number:
            self._close_part()
            self._file, self._number = self._parts[number].open("rb"), number
        left = self._ends[number] - self._place
        self._file.seek(-left, io.SEEK_END)
        data = self._file.read(min(left, len(buffer)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _close_part(self) -> None:
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        self._close_part()
        super().close()
