"""Error responses, and the mapping from exceptions to them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from apitorch_desktop.api import types
from apitorch_desktop.service.storage import errors

if TYPE_CHECKING:
    from apitorch_desktop.vision.images import UnreadableImage

TYPES = {
    400: "bad_request",
    401: "wrong_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timed_out",
    409: "conflict",
    413: "too_large",
    429: "busy",
    500: "server_fault",
    503: "busy",
    507: "storage_full",
}
"""The `type` of an error by its status."""

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.RecordNotFound, 404),
    (errors.RecordConflict, 409),
    (errors.Invalid, 400),
    (errors.DiskFull, 507),
    (errors.Closed, 503),
    (errors.StorageUnreachable, 503),
    (errors.StorageFault, 500),
)


class HttpError(Exception):
    """An error response. `message` is for the user: what is wrong and what to do."""

    def __init__(self, status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = list(headers)

    def body(self) -> bytes:
        """Return the JSON of the response."""
        return types.encode(types.Error(message=self.message, type=TYPES[self.status]))


class ClientDisconnected(Exception):  # noqa: N818
    """The client closed the connection before its request was complete."""


def unreadable_error(error: "UnreadableImage") -> HttpError:
    """Return the response for an image that cannot be read."""
    return HttpError(413 if error.too_large else 400, str(error))


def to_http_error(error: Exception) -> HttpError | None:
    """Return the response for an expected failure, None for any other exception."""
    from apitorch_desktop.vision.images import UnreadableImage  # imports Pillow, which is heavy

    if isinstance(error, HttpError):
        return error
    if isinstance(error, UnreadableImage):
        return unreadable_error(error)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return HttpError(status, str(error), [("retry-after", "5")] if status == 503 else ())
    return None
