"""Configuration of the service: hosts, limits, and storage URLs from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypedDict
from urllib.parse import urlsplit

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.hosts import LOOPBACK_NAMES, split_url

LOOPBACK_HOSTS = LOOPBACK_NAMES | {"127.0.0.1", "[::1]"}


@dataclass(frozen=True)
class Limits:
    """Limits of the memory and time that clients can take up. Sizes are bytes, times seconds.

    Memory that clients can claim stays below 2 × `body_memory` (bodies being received, beyond which they go to disk;
    bodies loaded from there and images read from the store for processing) + `answer_memory` (responses being sent) +
    (2 × `workers` + 1) × what `vision.images` takes for 65 megapixels (images being decoded, classified, and learned from)
    + `image` (the file of the one that is learned from) + `connections` × 192 KiB (request heads and transport buffers).
    `tests/service/http/test_memory_bound.py` measures it.
    """

    image: int = 32 * 2**20
    """One image file; a larger one is a 413."""
    text: int = 16 * 2**20
    """A JSON body, or all text fields of a form together; 16 MiB hold 300,000 image ids."""
    text_field: int = 2**20
    """One text field of a form."""
    parts: int = 64
    """Parts of a multipart body."""
    body_memory: int = 64 * 2**20
    answer_memory: int = 192 * 2**20
    workers: int = field(default_factory=lambda: max(2, min(4, os.cpu_count() or 2)))
    """Images decoded at a time, and images classified at a time."""
    queue: int = 64
    """Images that wait to be classified; a further one is a 503."""
    fetches: int = 8
    """Images fetched by URL at a time."""
    connections: int = 2000
    """Open connections; beyond it the longest-idle one is closed."""
    head: int = 32 * 2**10
    """A request line with its headers."""
    head_time: float = 10
    """From the connection, or the last response, to a complete request head."""
    silence: float = 15
    """Between two chunks of a body."""
    grace: float = 30
    """After this a body or a response has to have moved at `slowest` bytes a second on average."""
    slowest: float = 16 * 2**10
    contended: float = 256 * 2**10
    """The same for a response that is sent while others wait for its memory."""


@dataclass(frozen=True)
class Config:
    """Settings of a running service.

    `hosts` are its host names (lower case, no port); with `any_address` a bare IP address in `Host` is accepted too,
    which DNS rebinding cannot forge. `allow_private_urls` lets `image_url` name this machine and its network.
    `behind_proxy`: a caller on this machine may be a proxy, which speaks for anybody.
    """

    hosts: frozenset[str] = LOOPBACK_HOSTS
    any_address: bool = False
    allow_private_urls: bool = False
    behind_proxy: bool = False
    limits: Limits = field(default_factory=Limits)


Network = IPv4Network | IPv6Network


def proxy_networks(addresses: str) -> tuple[Network, ...]:
    """Return the networks in a list with commas: addresses, networks as `10.0.0.0/8`, or `*` for all.

    Raises InvalidConfig.
    """
    found: list[Network] = []
    for text in addresses.replace("*", "0.0.0.0/0,::/0").split(","):
        try:
            found += [ip_network(text.strip(), strict=False)] if text.strip() else []
        except ValueError:
            raise InvalidConfig(
                f"“{text.strip()[:80]}” is no address of a proxy: give addresses or networks, with commas between them."
            ) from None
    return tuple(found)


class InvalidConfig(UserError):  # noqa: N818 - named for what happened
    """An option or environment variable cannot be used; `str()` is a sentence that names it, `status` the exit status."""

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


DATABASE_VARIABLE: Final = "APITORCH_DATABASE_URL"
BLOB_VARIABLE: Final = "APITORCH_BLOB_URL"
SCHEDULER_VARIABLE: Final = "APITORCH_SCHEDULER_URL"


class StorageUrls(TypedDict):
    """Addresses of the rows and of the images, for `Store.open`; None is the data folder."""

    database_url: str | None
    blob_url: str | None


def storage_urls(environment: Mapping[str, str] | None = None) -> StorageUrls:
    """Return what is set in the environment.

    Raises InvalidConfig for a value that is no URL, and for a bucket that would reject every request.
    """
    given = os.environ if environment is None else environment
    database, blobs = given.get(DATABASE_VARIABLE) or None, given.get(BLOB_VARIABLE) or None
    for name, value in ((DATABASE_VARIABLE, database), (BLOB_VARIABLE, blobs)):
        if value is not None and not _is_url(value):
            raise InvalidConfig(f"{name} is not a URL: write it as {_EXAMPLES[name]}.")
    if blobs and blobs.startswith("s3") and given.get("AWS_ALLOW_HTTP", "").lower() not in _YES:
        for name in _ENDPOINTS:
            if given.get(name, "").startswith("http://"):
                raise InvalidConfig(
                    f"{name} begins with http://, and images would go there unencrypted. Give an https:// address, or set "
                    "AWS_ALLOW_HTTP=true."
                )
    return {"database_url": database, "blob_url": blobs}


def scheduler_url(given: str | None, storage: StorageUrls, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the address of a Dask scheduler: the option, else of the environment; None where neither is there.

    Raises InvalidConfig for a value that is no such address, and where its workers could not reach the data.
    """
    url = given or (os.environ if environment is None else environment).get(SCHEDULER_VARIABLE) or None
    if url is None:
        return None
    if split_url(url).scheme not in {"tcp", "tls"}:
        raise InvalidConfig(f"“{url[:80]}” is no address of a Dask scheduler: write it as tcp://host:8786.")
    if not all(storage.values()):
        raise InvalidConfig(
            f"The workers of a scheduler need the data in {DATABASE_VARIABLE} and {BLOB_VARIABLE}: set both, or name none."
        )
    return url


def _is_url(text: str) -> bool:
    try:
        return "://" in text and bool(urlsplit(text).scheme)
    except ValueError:  # as of `postgresql://[::1`
        return False


def storage_sentence(named: StorageUrls) -> str:
    """Return a sentence about remote storage, without user names and passwords; empty where there is none."""
    database, blobs = named["database_url"], named["blob_url"]
    places = [f"rows in {without_password(database)}"] if database else []
    places += [f"images in {without_password(blobs)}"] if blobs else []
    return f"This service keeps its {', its '.join(places)}." if places else ""


def without_password(url: str) -> str:
    """Return a URL without driver, user, password and query, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme.partition('+')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_YES = {"1", "true", "on", "yes", "y"}
_EXAMPLES = {DATABASE_VARIABLE: "postgresql://user:password@host/name", BLOB_VARIABLE: "s3://bucket/prefix"}
