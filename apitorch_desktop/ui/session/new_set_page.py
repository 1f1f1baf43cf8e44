"""Address of the page on which a service without the extension makes training sets."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from apitorch_desktop.api.types import TrainingSet

_FOLDER = "training-sets"


def new_set_page(sets: Iterable[TrainingSet], base_url: str) -> str:
    """Where training sets are made: the page above those that the service names, else the one beside its interface."""
    for one in sets:
        parts = urlsplit(one.url) if isinstance(one.url, str) else urlsplit("")
        above, found, _ = parts.path.partition(f"/{_FOLDER}/")
        if parts.scheme in {"http", "https"} and parts.hostname and found:
            return urlunsplit((parts.scheme, parts.netloc, f"{above}/{_FOLDER}", "", ""))
    return f"{base_url.removesuffix('api/')}{_FOLDER}" if base_url else ""
