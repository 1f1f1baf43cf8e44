"""HTTP before the application: uvicorn's protocol with time limits, a cap on connections, and errors in JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.service.config import Limits

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


def server_config(
    app: "ASGIApp",
    limits: Limits,
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> "uvicorn.Config":
    """What to run uvicorn with: `uvicorn.Server(server_config(app, limits)).run(sockets=[…])`; no logging set up."""
    raise NotImplementedError
