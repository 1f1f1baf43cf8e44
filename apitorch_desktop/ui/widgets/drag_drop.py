"""Drag and drop: reading what was dropped or pasted as plain Python objects, and the data of a drag of images."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlsplit

from PySide6.QtCore import (
    QBuffer,
    QByteArray,
    QEventLoop,
    QIODevice,
    QMetaType,
    QMimeData,
    QTimer,
    QUrl,
    Signal,
)
from PySide6.QtGui import QImage

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.sources.pasted_text import file_path
from apitorch_desktop.ui.tasks.runner import Lane, Task, TaskRunner
from apitorch_desktop.utils.text import shown

IDS_TYPE: Final = "application/x-apitorch-training-images"
"""MIME type of training images dragged inside the program: a JSON list of their ids."""

_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "image/x-bmp")
"""Types of image files, the one nearest to the original first: browsers add a PNG that they converted."""
_QT_IMAGE: Final = "application/x-qt-image"
_MOZ_IMAGE: Final = "application/x-moz-file-promise-url"
_MOZ_NAME: Final = "application/x-moz-file-promise-dest-filename"
_MOZ_URL: Final = "text/x-moz-url"
_FILES_TYPE: Final = "text/uri-list"
_MOST_LINES: Final = 10_000

PATIENCE = 8000
"""Milliseconds another program waits for its files; Qt itself gives up on a drop not much later."""
LocalCopy = Callable[[TrainingImage, Callable[[], bool]], Path]
"""Creates a file of an image for other programs. Blocks, runs on a worker; the second argument returns True once cancelled."""


class DroppedImage(NamedTuple):
    """An image that came as undecoded bytes, with its name or ""."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class DroppedContent:
    """Dropped or pasted content. Nothing in it has been read from disk or fetched yet.

    `paths`: files and folders; `urls`: http(s) addresses of images, not of the page they were on; `images`: images that
    came as bytes; `image_ids`: training images of this program (an internal drag); `unusable`: addresses that cannot be
    opened, of other machines or with other schemes.
    """

    paths: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    images: tuple[DroppedImage, ...] = ()
    image_ids: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.urls or self.images or self.image_ids or self.unusable)

    @property
    def problem(self) -> str:
        """Sentence for the user about the unusable addresses, "" where there are none."""
        if not self.unusable:
            return ""
        more = f" Nor can {len(self.unusable) - 1:,} more." if len(self.unusable) > 1 else ""
        where = "photos come from files on this computer and from web addresses"
        return f"“{shown(self.unusable[0][:100])}” cannot be opened: {where}.{more}"


def accepts(mime: QMimeData) -> bool:
    """Return True if `read` may find something. Checks formats only, so it is cheap enough for every move of the pointer."""
    formats = set(mime.formats())
    return not formats.isdisjoint({IDS_TYPE, _MOZ_IMAGE, _MOZ_URL, _QT_IMAGE, _FILES_TYPE, *_IMAGE_TYPES}) or (
        "text/html" in formats or "text/plain" in formats
    )


def holds_folder(mime: QMimeData) -> bool:
    """Return True if a folder is among the first files of a drag."""
    if mime.hasFormat(IDS_TYPE):  # to ask for its files would make the drag create them
        return False
    paths = [url.toLocalFile() for url in mime.urls()[:8] if url.isLocalFile()] if mime.hasUrls() else []
    return any(Path(path).is_dir() for path in paths)


def read(mime: QMimeData) -> DroppedContent:
    """Return the content of a drop or of the clipboard, where URLs may come as text; empty (falsy) if it is of no use.

    Of several representations the best is taken: ids, files, the bytes of an image, its address, and last a link.
    """
    if mime.hasFormat(IDS_TYPE):
        return DroppedContent(image_ids=_ids(_bytes(mime, IDS_TYPE)))
    listed = mime.urls() if mime.hasUrls() else []
    addresses = [bytes(url.toEncoded().data()).decode("ascii", "replace") for url in listed]
    paths, unusable = _files(addresses)
    if paths:
        return DroppedContent(paths=paths, urls=_web(addresses), unusable=unusable)
    sources = _image_sources(mime.html()) if mime.hasHtml() else []
    inline = tuple(image for source in sources if (image := _inline(source)) is not None)
    address = _text(mime, _MOZ_IMAGE) or next(iter(_web(sources)), "")
    if not mime.hasText() or address or inline:  # office programs add an image of copied text: that is no photo
        image = _raw(mime, address)
        if image is not None and len(sources) <= 1:
            return DroppedContent(images=(image,))
    promised = _web([_text(mime, _MOZ_IMAGE)])
    if promised or inline or _web(sources):
        return DroppedContent(urls=promised or _web(sources), images=inline)
    lines = _links(mime, addresses)
    paths, unusable = _files(lines)
    return DroppedContent(paths=paths, urls=_web(lines), unusable=unusable)


def read_lines(text: str) -> DroppedContent:
    """Return the files and web addresses that a user has entered, one a line; a line of neither is unusable."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [f"https://{line}" if line.lower().startswith("www.") else line for line in lines if line]
    paths, unusable = _files(lines)
    return DroppedContent(paths=paths, urls=_web(lines), unusable=unusable)


def _ids(data: bytes) -> tuple[str, ...]:
    try:
        ids = json.loads(data)
    except ValueError:
        return ()
    return tuple(image_id for image_id in ids if isinstance(image_id, str)) if isinstance(ids, list) else ()


def _bytes(mime: QMimeData, kind: str) -> bytes:
    return bytes(mime.data(kind).data())


def _text(mime: QMimeData, kind: str) -> str:
    """Return the text of one of Mozilla's types, which is UTF-16 or UTF-8, with or without a NUL at the end."""
    data = _bytes(mime, kind)
    wide = len(data) >= 2 and (data[:2] == b"\xff\xfe" or data[1::2].count(0) > len(data) // 4)
    return data.decode("utf-16-le" if wide else "utf-8", "replace").strip("\0\ufeff \r\n\t")


def _raw(mime: QMimeData, address: str) -> DroppedImage | None:
    """Return the image that was offered as bytes."""
    name = (_text(mime, _MOZ_NAME) if mime.hasFormat(_MOZ_NAME) else "") or _name_of(address)
    for kind in _IMAGE_TYPES:
        if mime.hasFormat(kind) and (data := _bytes(mime, kind)):
            return DroppedImage(data, name)
    if mime.hasFormat(_QT_IMAGE):
        return _encoded(mime, name)
    return None


def _encoded(mime: QMimeData, name: str) -> DroppedImage | None:
    """Return an image that this process offered as pixels, encoded as a PNG with little compression."""
    image = mime.imageData()
    if not isinstance(image, QImage) or image.isNull():
        return None
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG", 90)  # type: ignore[call-overload]
    return DroppedImage(bytes(buffer.data().data()), name)


def _web(addresses: Iterable[str]) -> tuple[str, ...]:
    found = []
    for address in addresses:
        address = address.strip()
        try:
            parts = urlsplit(address)
        except ValueError:
            continue
        if parts.scheme in ("http", "https") and parts.hostname:
            found.append(address)
    return tuple(dict.fromkeys(found))


def _files(addresses: Iterable[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the local files among addresses, and the addresses that are neither local files nor on the web."""
    paths, unusable = [], []
    for address in addresses:
        scheme = address.partition(":")[0].lower()
        path = file_path(address) if scheme == "file" else None
        if path is not None and path.name and (os.name == "nt" or not str(path).startswith("//")):
            paths.append(path)
        elif scheme not in ("http", "https", "data", "blob", "about", "javascript", "mailto", "tel"):
            unusable.append(address)
    return tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(unusable))


def _is_address(line: str) -> bool:
    scheme, colon, rest = line.partition("://")
    return bool(colon and rest) and scheme.isalnum() and " " not in line


def _links(mime: QMimeData, listed: list[str]) -> list[str]:
    """Return links if nothing else names an image: the URL list, Mozilla's link, or text whose lines are all URLs."""
    if _web(listed) or any(_files(listed)):
        return listed
    if mime.hasFormat(_MOZ_URL) and (first := _text(mime, _MOZ_URL).partition("\n")[0]):
        return [first]
    lines = [line.strip() for line in mime.text().splitlines()[:_MOST_LINES]] if mime.hasText() else []
    lines = [line for line in lines if line]
    return lines if all(_is_address(line) for line in lines) else []


def _inline(source: str) -> DroppedImage | None:
    """Return the image in a `data:` address."""
    head, comma, body = source.partition(",")
    if not comma or not head.lower().startswith("data:image/"):
        return None
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = b64decode(data)
        except ValueError:
            return None
    return DroppedImage(data, "") if data else None


def _name_of(address: str) -> str:
    try:
        return unquote(urlsplit(address).path.rpartition("/")[2])
    except ValueError:
        return ""


def _image_sources(html: str) -> list[str]:
    """Return the sources of the images in HTML, each once."""
    from html.parser import HTMLParser  # 3 ms that the start need not wait for

    sources: list[str] = []

    class ImageTags(HTMLParser):
        base = ""

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            values = dict(attributes)
            if tag == "base" and values.get("href"):
                self.base = values["href"] or ""
            elif tag == "img" and (source := (values.get("src") or "").strip()):
                if not source.lower().startswith("data:"):
                    source = urljoin(self.base, source)
                if source not in sources:
                    sources.append(source)

    ImageTags().feed(html)
    return sources


class FileCopies:
    """Files of dragged images, created by jobs."""

    def __init__(self, tasks: TaskRunner, copy: LocalCopy, images: Sequence[TrainingImage]) -> None:
        self._paths: dict[int, Path] = {}
        self._left = len(images)
        self._loop: QEventLoop | None = None
        self._running: list[Task] = [
            tasks.run(
                Lane.BATCH,
                lambda context, image=image: copy(image, context.cancelled),  # type: ignore[misc]
                done=partial(self._add, at),
                failed=self._failed,
                title="copy to drag out",
                priority=1,
            )
            for at, image in enumerate(images)
        ]

    def wait(self, milliseconds: int) -> list[Path]:
        """Wait in a nested event loop, at most so long. Return the files that are ready."""
        if self._left:
            self._loop = QEventLoop()
            timer = QTimer(interval=milliseconds, singleShot=True)
            timer.timeout.connect(self._loop.quit)
            timer.start()
            self._loop.exec()
            timer.stop()
            self._loop = None
        return [self._paths[at] for at in sorted(self._paths)]

    def cancel(self) -> None:
        """Cancel the jobs that are still running."""
        for task in self._running:
            task.cancel()

    def _add(self, at: int, path: Path) -> None:
        self._paths[at] = path
        self._finish_one()

    def _failed(self, error: Exception) -> None:  # missing files are counted at the end
        self._finish_one()

    def _finish_one(self) -> None:
        self._left -= 1
        if not self._left and self._loop is not None:
            self._loop.quit()


class DraggedImages(QMimeData):
    """The data of a drag of images: their ids, and their files, which are created when a program requests them."""

    incomplete = Signal(int, int)
    """(files that were ready, files that were requested)"""

    def __init__(self, images: Sequence[TrainingImage], tasks: TaskRunner | None, copy: LocalCopy | None) -> None:
        super().__init__()
        self._images = images
        self._ids = json.dumps([image.image_id for image in images]).encode()
        self._create = partial(FileCopies, tasks, copy, images) if tasks is not None and copy is not None else None
        self._copies: FileCopies | None = None
        self._files: bytes | None = None

    def formats(self) -> list[str]:
        return [IDS_TYPE, _FILES_TYPE] if self._create is not None else [IDS_TYPE]

    def hasFormat(self, mimetype: str) -> bool:
        return mimetype in self.formats()

    def retrieveData(self, mimetype: str, preferredType: QMetaType | QMetaType.Type) -> Any:  # noqa: N803 - Qt's name
        """Return the data when a program requests it."""
        if mimetype == IDS_TYPE:
            return QByteArray(self._ids)  # Qt passes plain bytes to no other program
        if mimetype == _FILES_TYPE and self._create is not None:
            return QByteArray(self._ready_files())
        return None

    def end(self) -> None:
        """End the drag: cancel the jobs."""
        if self._copies is not None:
            self._copies.cancel()

    def _ready_files(self) -> bytes:
        if self._files is None and self._create is not None:
            if self._copies is not None:  # requested again during the wait
                return b""
            self._copies = self._create()
            paths = self._copies.wait(PATIENCE)
            self._files = b"".join(bytes(QUrl.fromLocalFile(str(path)).toEncoded().data()) + b"\r\n" for path in paths)
            if len(paths) < len(self._images):
                self.incomplete.emit(len(paths), len(self._images))
        return self._files or b""
