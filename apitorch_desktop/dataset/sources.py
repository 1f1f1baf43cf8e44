"""Where a picture comes from: a file, a member of an archive, a web address, or bytes from memory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class File:
    """A picture on disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class Member:
    """A picture inside a zip or tar file, by its name in there."""

    archive: Path
    name: str


@dataclass(frozen=True, slots=True)
class Url:
    """A picture on the web (http or https); the service fetches it."""

    url: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in memory: pasted, or dragged out of a browser."""

    data: bytes
    name: str = "picture"


Source = File | Member | Url | Picture


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture on its way to a label. `size` in bytes and `sha256` (hex) where they are known."""

    label: str
    source: Source
    name: str
    size: int | None = None
    sha256: str | None = None
