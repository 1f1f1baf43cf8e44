"""Config and Limits: what a service is told at its start, and how much of everything it takes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from apitorch_desktop.utils.errors import UserError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients can make the service hold or wait for. Sizes are bytes, times seconds.

    Memory that clients can claim stays below 2 × `body_memory` (bodies being received, those beyond it wait on disk;
    bodies taken from there, and images read from the store, to be worked on) + `answer_memory` (answers being sent)
    + 2 × `workers` × 64 megapixels × 4 bytes (images being decoded and classified) + `connections` × 192 KiB (heads,
    and what the transport holds). `tests/service/http/test_hostile_clients.py` measures it.
    """

    image: int = 32 * 2**20
    """One image file; more is a 413."""
    text: int = 16 * 2**20
    """A JSON body, and all text fields of a form together; 16 MiB hold 300,000 image ids."""
    text_field: int = 2**20
    """One text field of a form."""
    parts: int = 64
    """Parts of a multipart body; only text fields beside the one image make sense."""
    body_memory: int = 64 * 2**20
    answer_memory: int = 192 * 2**20
    workers: int = field(default_factory=lambda: max(2, min(4, os.cpu_count() or 2)))
    """Images being decoded, and beside them images being classified, at the same time."""
    fetches: int = 8
    """Images being fetched by URL at the same time."""
    connections: int = 2000
    """Open connections; beyond it the one that has been idle longest is closed."""
    head: int = 32 * 2**10
    """A request line with its headers."""
    head_time: float = 10
    """From the connection, or the last answer, to a whole head."""
    silence: float = 15
    """Between two pieces of a body."""
    grace: float = 30
    """After this a body has to have come, or an answer to have gone, at `slowest` bytes a second on average."""
    slowest: float = 16 * 2**10
    contended: float = 256 * 2**10
    """The same for an answer that is being sent while others wait for its memory."""


@dataclass(frozen=True)
class Config:
    """What the service serves and trusts.

    `hosts` are the names (lower case, no port) it answers to; with `any_address` a bare IP address in `Host` is fine
    too, which no DNS rebinding can forge. `allow_private_urls` lets `image_url` name this machine and its network.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    allow_private_urls: bool = False
    limits: Limits = field(default_factory=Limits)


class InvalidConfig(UserError):  # noqa: N818 - named for what happened
    """A variable of the environment cannot be used; `str()` is a sentence that names it."""


DATABASE_VARIABLE: Final = "APITORCH_DATABASE_URL"
BLOB_VARIABLE: Final = "APITORCH_BLOB_URL"


def storage_urls(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """`database_url` and `blob_url` for `Store.open`, None where nothing is named.

    Raises InvalidConfig for what is no URL, and for a bucket that would refuse every call.
    """
    given = os.environ if environment is None else environment
    database, blobs = given.get(DATABASE_VARIABLE) or None, given.get(BLOB_VARIABLE) or None
    for name, value in ((DATABASE_VARIABLE, database), (BLOB_VARIABLE, blobs)):
        if value is not None and "://" not in value:
            raise InvalidConfig(f"{name} is not a URL: write it as {_EXAMPLES[name]}.")
    if blobs and blobs.startswith("s3") and given.get("AWS_ALLOW_HTTP", "").lower() not in _YES:
        for name in _ENDPOINTS:
            if given.get(name, "").startswith("http://"):
                raise InvalidConfig(
                    f"{name} begins with http://, and images would go there unencrypted. Give an https:// address, or set "
                    "AWS_ALLOW_HTTP=true."
                )
    return {"database_url": database, "blob_url": blobs}


def storage_sentence(named: Mapping[str, str | None]) -> str:
    """A sentence about what is elsewhere, without user names and passwords; empty where nothing is."""
    database, blobs = named["database_url"], named["blob_url"]
    places = [f"rows in {without_password(database)}"] if database else []
    places += [f"images in {without_password(blobs)}"] if blobs else []
    return f"This service keeps its {', its '.join(places)}." if places else ""


def without_password(url: str) -> str:
    """A URL for sentences: without driver, user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme.partition('+')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_YES = {"1", "true", "on", "yes", "y"}
_EXAMPLES = {DATABASE_VARIABLE: "postgresql://user:password@host/name", BLOB_VARIABLE: "s3://bucket/prefix"}
