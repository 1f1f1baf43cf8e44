"""Refusal: every answer that is not a success, and what each kind of failure becomes on the wire."""

from collections.abc import Iterable

from apitorch_desktop.api import types
from apitorch_desktop.service.storage import errors

TYPES = {
    400: "bad_request",
    401: "wrong_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timed_out",
    409: "conflict",
    413: "too_large",
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
    (errors.StorageFault, 500),
)


class HttpError(Exception):
    """An answer other than 200. `message` is for the person: what is wrong and what to do."""

    def __init__(self, status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = list(headers)

    def body(self) -> bytes:
        """The answer's JSON."""
        return types.encode(types.Error(message=self.message, type=TYPES[self.status]))


class ClientDisconnected(Exception):  # noqa: N818
    """The client went away before its request was whole; nobody waits for an answer."""


def refusal_of(error: Exception) -> HttpError | None:
    """The answer for a failure that was foreseen; None for a bug."""
    from apitorch_desktop.vision.images import UnreadableImage  # Pillow: not before the first request that needs it

    if isinstance(error, HttpError):
        return error
    if isinstance(error, UnreadableImage):
        return HttpError(413 if error.too_large else 400, str(error))
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return HttpError(status, str(error))
    return None
