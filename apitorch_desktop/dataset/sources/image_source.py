"""Where a picture comes from: a file, a member of an archive, a web address, or bytes from memory; and its names."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import shown


class SourceMissing(UserError):  # noqa: N818 - named for what happened
    """A source cannot be read any more; `str()` is a sentence that names it."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture on disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A picture inside a zip or tar file, by its name in there."""

    archive: Path
    name: str


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """A picture on the web (http or https); the service fetches it."""

    url: str


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """A picture in memory: pasted, or dragged out of a browser."""

    data: bytes
    name: str = "picture"


Source = ImageFile | ArchiveMember | ImageUrl | ImageBytes


@dataclass(frozen=True, slots=True)
class UploadItem:
    """One picture on its way to a label. `size` in bytes and `sha256` (hex) where they are known."""

    label: str
    source: Source
    name: str
    size: int | None = None
    sha256: str | None = None


def filename_of(source: Source) -> str:
    """The name a picture is uploaded under; never empty. It may hold surrogates where a file's name is no text."""
    match source:
        case ImageFile(path):
            return path.name
        case ArchiveMember(_, name):
            return PurePosixPath(name.replace("\\", "/")).name or "picture"
        case ImageUrl(url):
            return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2] or urlsplit(url).hostname or "picture"
        case ImageBytes(_, name):
            return name or "picture"


def place_of(source: Source) -> str:
    """Where a picture lies, as the person knows it, in one line: a path, an archive and the name in it, an address."""
    match source:
        case ImageFile(path):
            return shown(str(path))
        case ArchiveMember(archive, name):
            return shown(f"{archive}/{name}")
        case ImageUrl(url):
            return shown(url)
        case _:
            return shown(filename_of(source))
