"""Sources of images: a file, a member of an archive, a web address, or bytes in memory; and their names."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import shown


class SourceMissing(UserError):  # noqa: N818 - named for what happened
    """The source cannot be read any more."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Image on disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """Image inside an archive, by its name in there.

    Where several members have the same name, NUL and a number follow from the second on: `cat/1.jpg\\0` and `2`.
    """

    archive: Path
    name: str

    @property
    def path(self) -> str:
        """The name without the number."""
        return self.name.partition("\0")[0]


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """Image on the web (http or https); the service fetches it."""

    url: str


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """Image in memory: pasted, or dragged out of a browser."""

    data: bytes
    name: str = "picture"


Source = ImageFile | ArchiveMember | ImageUrl | ImageBytes


@dataclass(frozen=True, slots=True)
class UploadItem:
    """Image to be uploaded to a label. `size` in bytes and `sha256` (hex) where they are known; `split` may be empty."""

    label: str
    source: Source
    name: str
    size: int | None = None
    sha256: str | None = None
    split: str = ""


def filename_of(source: Source) -> str:
    """Return the name an image is uploaded under; never empty. It may hold surrogates where a file's name is no text."""
    match source:
        case ImageFile(path):
            return path.name
        case ArchiveMember():
            return PurePosixPath(source.path.replace("\\", "/")).name or "picture"
        case ImageUrl(url):
            return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2] or urlsplit(url).hostname or "picture"
        case ImageBytes(_, name):
            return name or "picture"


def place_of(source: Source) -> str:
    """Return where an image lies, for the user, in one line: a path, an archive and the name in it, an address."""
    match source:
        case ImageFile(path):
            return shown(str(path))
        case ArchiveMember(archive):
            return shown(f"{archive}/{source.path}")
        case ImageUrl(url):
            return shown(url)
        case _:
            return shown(filename_of(source))
