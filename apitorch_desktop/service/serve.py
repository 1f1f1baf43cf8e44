"""`apitorch-desktop serve`: assembles the service, runs uvicorn, prints the one JSON line, ends on SIGTERM."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line says. `folder` None is the embedded service's own folder."""

    host: str = "127.0.0.1"
    port: int = 8765
    folder: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_private_urls: bool = False


def run(options: Options) -> int:
    """Serve until SIGTERM, SIGINT or the parent's end; answers the exit status."""
    raise NotImplementedError
