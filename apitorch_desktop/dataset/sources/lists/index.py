"""Index of the images that a list may mean: finds an image by the path in the list."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from apitorch_desktop.dataset.sources.lists.names import is_container, normal, split_of

Parts = tuple[str, ...]

RAW_SUFFIXES: Final = frozenset({
    ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".rwl", ".3fr", ".iiq", ".erf",
    ".mef", ".dcr", ".crw", ".x3f", ".mrw", ".raw",
})  # fmt: skip
IMAGE_SUFFIXES: Final = RAW_SUFFIXES | {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".mpo", ".heic", ".heif",
    ".hif", ".heics", ".heifs", ".avif", ".avifs", ".jp2", ".j2k", ".jxl", ".jxr", ".ico", ".psd", ".svg", ".tga", ".ppm",
    ".pgm", ".qoi",
}  # fmt: skip
"""Suffixes of images, also of kinds that cannot be read: these are reported as unreadable, not as skipped."""
_MAX_FILES: Final = 200_000
_MAX_DEPTH: Final = 8
_MAX_CANDIDATES: Final = 1000
"""Images of one name up to which one of them is chosen by the folders."""
_LIST_FOLDERS: Final = frozenset(
    {"annotations", "annotation", "labels", "label", "lists", "meta", "metadata", "splits", "csv"}
)
"""Folders of lists, whose images lie in a folder beside them."""
_UPLOAD_PREFIX: Final = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix that Label Studio gives to the name of an uploaded file."""


def path_parts(path: str) -> Parts:
    """Return the parts of a path in a list or an archive; nothing in it leads out."""
    return tuple(
        part
        for part in path.replace("\\", "/").split("/")
        if part not in {"", ".", ".."} and not (len(part) <= 3 and part.endswith(":"))
    )


class ImageIndex:
    """Images below one folder, by their parts from there; `base` of a list is the folder it lies in."""

    def __init__(self, images: Iterable[Parts] = ()) -> None:
        self._by_name: dict[str, list[Parts]] = {}
        self._by_stem: dict[str, list[Parts]] = {}
        self._by_place: dict[tuple[str, str], list[Parts]] = {}
        """By the names of image and folder: many images may have the same name."""
        self._exact: set[Parts] = set()
        self._by_number: dict[str, list[Parts]] = {}
        """By names that are numbers, without their zeros in front."""
        for parts in images:
            if parts in self._exact:  # once more, in an archive of the folder
                continue
            self._exact.add(parts)
            name = _key(parts[-1])
            self._by_name.setdefault(name, []).append(parts)
            stem = name.rpartition(".")[0] or name
            self._by_stem.setdefault(stem, []).append(parts)
            if stem.isdecimal():
                self._by_number.setdefault(stem.lstrip("0"), []).append(parts)
            if len(parts) > 1:
                self._by_place.setdefault((_key(parts[-2]), name), []).append(parts)

    def locator(self, base: Parts = (), part: str = "", *, several: bool = False) -> Callable[[str], bool]:
        """Return a function that returns True for what a list at `base` calls an image, or `several`: see `candidates`."""
        return lambda path: 0 < len(self.candidates(path, base, part)) < (_MAX_CANDIDATES if several else 2)

    def find(self, path: str, base: Parts = (), part: str = "") -> Parts | None:
        """Return the image that a list calls `path`; None where there is none, or several are as likely."""
        found = self.candidates(path, base, part)
        return found[0] if len(found) == 1 else None

    def candidates(self, path: str, base: Parts = (), part: str = "") -> list[Parts]:
        """Return the images that a list at `base` may call `path`, all as likely.

        Spelling counts first; then case, Unicode form, slashes and a missing suffix do not, nor do folders in which
        neither the list nor the images lie any more; at last, an image of another format will do. Of several images,
        those in folders of `part` are meant, the part of a set that the list is called after.
        """
        exact = (*base, *path.split("/"))
        if exact in self._exact:
            return [exact]
        several: list[Parts] = []
        for spelled in _spellings(path):
            parts = path_parts(spelled)
            if not parts:
                continue
            absolute = bool(re.match(r"[\\/]|[A-Za-z]:|\w+://", spelled))
            for name in (parts[-1], _UPLOAD_PREFIX.sub("", parts[-1], count=1)):
                key = _key(name)
                candidates = (
                    self._by_place.get((_key(parts[-2]), key)) if len(parts) > 1 else None
                ) or self._by_name.get(key)
                if not candidates:  # the list leaves the suffix out, or the images were converted
                    candidates = self._by_stem.get(key.rpartition(".")[0] if _has_image_suffix(name) else key)
                if not candidates and key.isdecimal():  # a table drops the zeros in front of a number
                    candidates = self._by_number.get(key.lstrip("0"))
                    candidates = candidates if candidates and len(candidates) == 1 else None
                    name = candidates[0][-1] if candidates else name
                if not candidates or len(candidates) > _MAX_CANDIDATES:
                    continue
                found = _best(candidates, (*parts[:-1], name), base, absolute)
                if part and len(found) > 1:
                    found = [image for image in found if part in map(split_of, image[:-1])] or found
                if len(found) == 1:
                    return found
                several = several or found
        return several


class JoinedIndex(ImageIndex):
    """Images by the ids that one list gives them, for another that calls them by these."""

    def __init__(self, by_id: Mapping[str, Parts]) -> None:
        super().__init__()
        self._by_id = by_id

    def candidates(self, path: str, base: Parts = (), part: str = "") -> list[Parts]:  # noqa: ARG002
        """Return the image with an id."""
        found = self._by_id.get(path.strip())
        return [found] if found else []


class FolderIndex(ImageIndex):
    """Images on disk around a list; the folder is searched only when a path of the list does not exist."""

    def __init__(self, folder: Path, part: str = "") -> None:
        super().__init__()
        folder = folder.absolute()  # what is found counts from the root, which has to stay apart from it
        self._folder = folder
        self._part = part
        self._searched = False
        beside_images = normal(folder.name) in _LIST_FOLDERS
        self._root = folder.parent if beside_images else folder
        self._base: Parts = (folder.name,) if beside_images else ()

    def candidates(self, path: str, base: Parts = (), part: str = "") -> list[Parts]:  # noqa: ARG002
        """Return paths of images, each in one part, which counts from the list's folder: see `ImageIndex.candidates`."""
        try:
            if (self._folder / path).is_file():
                return [(path,)]
        except (OSError, ValueError):  # a name of more than 255 bytes
            return []
        if not self._searched:
            self._searched = True
            super().__init__(_walk(self._root))
        found = super().candidates(path, self._base, self._part)
        return [(str(self._root.joinpath(*image)),) for image in found]


def _walk(folder: Path) -> Iterable[Parts]:
    count = 0
    for root, folders, names in os.walk(folder):
        above = Path(root).relative_to(folder).parts
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if len(above) < _MAX_DEPTH else []
        for name in names:
            count += 1
            if count > _MAX_FILES:
                return
            if _has_image_suffix(name):
                yield (*above, name)


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a name, no path


def _spellings(path: str) -> Iterable[str]:
    """Yield a path as it stands, and the paths contained in an address of a storage or a tool's server."""
    yield path
    if "://" in path or path.startswith("/data/"):
        try:
            address = urlsplit(path)
        except ValueError:
            return
        if inner := parse_qs(address.query).get("d"):  # Label Studio: /data/local-files/?d=photos/1.jpg
            yield inner[0]
        yield unquote(address.path) if address.scheme == "file" else unquote(f"/{address.netloc}{address.path}")
    elif "%" in path:
        yield unquote(path)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _best(candidates: list[Parts], parts: Parts, base: Parts, absolute: bool) -> list[Parts]:
    """Return the candidates whose paths end in most of `parts`, none where too little fits."""
    wanted = [_key(part) for part in parts]
    best: list[Parts] = []
    best_rank = (0, False)
    for candidate in candidates:
        own = [_key(part) for part in candidate]
        same = 1  # the names fit
        while same < min(len(own), len(wanted)) and own[-same - 1] == wanted[-same - 1]:
            same += 1
        below = candidate[: len(base)] == base
        within = own[len(base) :] if below else own
        if same < len(wanted) and same < len(within) and not absolute:
            differing = [*wanted[:-same], *within[:-same]]
            if not all(is_container(name) or split_of(name) for name in differing):
                continue  # it is in another folder than in the list
        rank = (same, below and own == [_key(part) for part in base] + wanted)
        if rank > best_rank:
            best, best_rank = [candidate], rank
        elif rank == best_rank:
            best.append(candidate)
    if len(best) > 1:
        best = [candidate for candidate in best if candidate[: len(base)] == base] or best
    return best
