"""What a drag or the clipboard holds, as plain Python: shared by grid, tree, classify panel and the empty window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlsplit

from PySide6.QtCore import QMimeData

IDS_TYPE: Final = "application/x-apitorch-training-images"
"""Mime type of training images dragged inside the program: a JSON list of their ids."""

_PICTURES: Final = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "image/x-bmp")
"""Bytes as they are, the ones nearest to the original first: a browser adds a PNG of its own making."""
_QT_IMAGE: Final = "application/x-qt-image"
_MOZ_PICTURE: Final = "application/x-moz-file-promise-url"
_MOZ_NAME: Final = "application/x-moz-file-promise-dest-filename"
_MOZ_URL: Final = "text/x-moz-url"
_MOST_LINES: Final = 10_000


class DroppedImage(NamedTuple):
    """An image that came as bytes, undecoded, with the name its source gives it or ""."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class DroppedContent:
    """What was dropped or pasted. Nothing here has been looked at on disk or fetched.

    `paths`: files and folders; `urls`: http(s) addresses of pictures, never of the page they were on;
    `images`: images that came as bytes; `image_ids`: training images of this program (an internal drag).
    """

    paths: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    images: tuple[DroppedImage, ...] = ()
    image_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.urls or self.images or self.image_ids)


def accepts(mime: QMimeData) -> bool:
    """Whether `read` may find something: by formats only, so cheap enough for every move of the pointer."""
    formats = set(mime.formats())
    return not formats.isdisjoint({IDS_TYPE, _MOZ_PICTURE, _MOZ_URL, _QT_IMAGE, "text/uri-list", *_PICTURES}) or (
        "text/html" in formats or "text/plain" in formats
    )


def read(mime: QMimeData) -> DroppedContent:
    """What it holds; empty (falsy) when nothing of use. Also reads the clipboard's, with URLs pasted as text.

    Of several ways in which one thing is offered the best is taken: ids, files, the picture's bytes, the picture's
    address, and last a link.
    """
    if mime.hasFormat(IDS_TYPE):
        return DroppedContent(image_ids=_ids(_bytes(mime, IDS_TYPE)))
    listed = mime.urls() if mime.hasUrls() else []
    paths = tuple(dict.fromkeys(Path(url.toLocalFile()) for url in listed if url.isLocalFile() and url.toLocalFile()))
    addresses = [bytes(url.toEncoded().data()).decode("ascii", "replace") for url in listed]
    if paths:
        return DroppedContent(paths=paths, urls=_web(addresses))
    shown = _ImageTags()
    if mime.hasHtml():
        shown.feed(mime.html())
    inline = tuple(picture for source in shown.sources if (picture := _inline(source)) is not None)
    address = _text(mime, _MOZ_PICTURE) or next(iter(_web(shown.sources)), "")
    if not mime.hasText() or address or inline:  # an office program offers a picture of copied text: that is no photo
        picture = _raw(mime, address)
        if picture is not None and len(shown.sources) <= 1:
            return DroppedContent(images=(picture,))
    promised = _web([_text(mime, _MOZ_PICTURE)])
    if promised or inline or _web(shown.sources):
        return DroppedContent(urls=promised or _web(shown.sources), images=inline)
    return DroppedContent(urls=_web(_links(mime, addresses)))


def ids_bytes(image_ids: Sequence[str]) -> bytes:
    """The data of an `IDS_TYPE` drag."""
    return json.dumps(list(image_ids)).encode()


def _ids(data: bytes) -> tuple[str, ...]:
    try:
        ids = json.loads(data)
    except ValueError:
        return ()
    return tuple(one for one in ids if isinstance(one, str)) if isinstance(ids, list) else ()


def _bytes(mime: QMimeData, kind: str) -> bytes:
    return bytes(mime.data(kind).data())


def _text(mime: QMimeData, kind: str) -> str:
    """Text of one of Mozilla's types, which come as UTF-16 or UTF-8, with or without a NUL at the end."""
    data = _bytes(mime, kind)
    wide = len(data) >= 2 and (data[:2] == b"\xff\xfe" or data[1::2].count(0) > len(data) // 4)
    return data.decode("utf-16-le" if wide else "utf-8", "replace").strip("\0\ufeff \r\n\t")


def _raw(mime: QMimeData, address: str) -> DroppedImage | None:
    """The picture's own bytes."""
    name = (_text(mime, _MOZ_NAME) if mime.hasFormat(_MOZ_NAME) else "") or _name_of(address)
    for kind in _PICTURES:
        if mime.hasFormat(kind) and (data := _bytes(mime, kind)):
            return DroppedImage(data, name)
    if mime.hasFormat(_QT_IMAGE):
        return _encoded(mime, name)
    return None


def _encoded(mime: QMimeData, name: str) -> DroppedImage | None:
    """A picture this very process put there: pixels without bytes, so they are written as PNG, lightly packed."""
    from PySide6.QtCore import QBuffer, QIODevice
    from PySide6.QtGui import QImage

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


def _links(mime: QMimeData, listed: list[str]) -> list[str]:
    """Links, where nothing says which picture is meant: URL list, Mozilla's, or lines of text that all are URLs."""
    if _web(listed):
        return listed
    if mime.hasFormat(_MOZ_URL) and (first := _text(mime, _MOZ_URL).partition("\n")[0]):
        return [first]
    lines = [line.strip() for line in mime.text().splitlines()[:_MOST_LINES]] if mime.hasText() else []
    lines = [line for line in lines if line]
    return lines if len(_web(lines)) == len(set(lines)) else []


def _inline(source: str) -> DroppedImage | None:
    """The picture in a `data:` address."""
    head, comma, body = source.partition(",")
    if not comma or not head.lower().startswith("data:image/"):
        return None
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        from base64 import b64decode

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


class _ImageTags(HTMLParser):
    """Sources of the pictures in a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self._base = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """HTMLParser's."""
        values = dict(attributes)
        if tag == "base" and values.get("href"):
            self._base = values["href"] or ""
        elif tag == "img" and (source := (values.get("src") or "").strip()):
            if not source.lower().startswith("data:"):
                source = urljoin(self._base, source)
            if source not in self.sources:
                self.sources.append(source)
