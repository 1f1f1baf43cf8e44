"""build_app: the ASGI application, assembled from the table of operations and its guards."""

from typing import TYPE_CHECKING

from apitorch_desktop.service.config import Config

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from apitorch_desktop.service.answers import Answers
    from apitorch_desktop.service.store import Store
    from apitorch_desktop.service.training import Trainer


def build_app(store: "Store", trainer: "Trainer", answers: "Answers", config: Config) -> "ASGIApp":
    """The service as an ASGI application. Serve it with `protocol.server_config`, which bounds what comes before it."""
    raise NotImplementedError
