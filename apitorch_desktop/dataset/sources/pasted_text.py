"""Images named in pasted or dropped text: web addresses, `data:` addresses, `file:` addresses and paths."""

import base64
import binascii
import os
import re
import socket
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from apitorch_desktop.dataset.sources.image_source import ImageBytes, ImageFile, ImageUrl, Source

_URL: Final = re.compile(r"https?://[^\s<>\"“”]+", re.IGNORECASE)
_DATA: Final = re.compile(r"data:image/([a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s%]+)", re.IGNORECASE)


def in_text(text: str) -> tuple[list[Source], list[str]]:
    """Return the images that text names, and the lines that name none."""
    sources: list[Source] = []
    strange: list[str] = []
    if image := data_image(text):
        return [image], []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if urls := _URL.findall(line):
            sources += [ImageUrl(url.rstrip(".,;)]")) for url in urls]
        elif image := data_image(line):
            sources.append(image)
        elif line.lower().startswith("file:"):
            sources.append(ImageFile(file_path(line)))
        elif Path(line).is_absolute():
            sources.append(ImageFile(Path(line)))
        else:
            strange.append(line)
    return sources, strange


def file_path(address: str) -> Path:
    """Return the path of a `file:` address, whatever bytes its name has; this machine's name is no host."""
    parts = urlsplit(address)
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc and parts.netloc.lower() not in {"localhost", socket.gethostname().lower()}:
        return Path(f"//{unquote(parts.netloc)}{path}")
    if os.name == "nt" and path[2:3] == ":":  # file:///C:/photos
        path = path.removeprefix("/")
    return Path(path)


def is_url(text: str) -> bool:
    """Return True for a single web address with a host."""
    try:
        parts = urlsplit(text.strip())
        return parts.scheme.lower() in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def data_image(text: str) -> ImageBytes | None:
    """Return the image in a `data:image/…;base64,` address, as browsers give for small ones."""
    found = _DATA.fullmatch(text.strip())
    if not found:
        return None
    try:
        data = base64.b64decode(unquote(found[2]))
    except (binascii.Error, ValueError):
        return None
    return ImageBytes(data, f"picture.{found[1].lower().replace('jpeg', 'jpg').partition('+')[0]}")
