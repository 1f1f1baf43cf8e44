"""Config and Limits: what a service is told at its start, and how much of everything it takes."""

import os
from dataclasses import dataclass, field

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
