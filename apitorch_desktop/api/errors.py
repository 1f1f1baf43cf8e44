"""Errors of a call, with texts for the user.

ApiError                    message, advice, can_retry
├── ConnectionFailed        nobody answers at this address
├── TimedOut                no answer within the time limit
├── NotApiTorch             an answer, but not of an API Torch service (a captive portal, truncated JSON)
├── WrongKey                401
├── NotFound                404
├── BadRequest              400 and other refusals of the request
│   ├── Conflict            409: conflicts with something that exists, or not ready yet
│   └── TooLarge            413
├── RateLimited             429; `retry_after` in seconds
└── ServerError             500 and up
    └── StorageFull         507
"""

from apitorch_desktop.utils.errors import UserError


class ApiError(UserError):
    """A failed call. `str()` is a sentence for the user that states the cause; `advice` suggests what to do.

    `can_retry`: the same call may succeed later without a change. Neither text ever contains a key.
    """

    advice = "Try again later."
    can_retry = False
    unsent = False
    """The service cannot have seen the call: it may be sent again, also one that changes something."""
    retry_after: float | None = None
    """Seconds to wait before the next attempt, where the service sent them."""

    def __init__(self, message: str, *, status: int | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        if advice is not None:
            self.advice = advice


class ConnectionFailed(ApiError):  # noqa: N818 - named for what happened
    """Nobody answers at this address."""

    advice = "Check the network and the address of the connection."
    can_retry = True


class TimedOut(ApiError):  # noqa: N818
    """No answer within the time limit."""

    advice = "The service or the network is slow. Try again."
    can_retry = True


class NotApiTorch(ApiError):  # noqa: N818
    """The answer is not that of an API Torch service."""

    advice = "Check the address; a network that asks for a log-in page answers like this too."
    can_retry = True
    truncated = False
    """The answer is incomplete; another attempt may bring all of it."""


class WrongKey(ApiError):  # noqa: N818
    """401: the service does not know this key."""

    advice = "Check the API key of this connection."


class NotFound(ApiError):  # noqa: N818
    """404: the object that the call names does not exist."""

    advice = "It may have been deleted. Refresh, and try again."


class BadRequest(ApiError):  # noqa: N818
    """400 and others: the service refused the request and states the reason."""

    advice = "Replace the file, or change what was entered: the same again will be refused."


class Conflict(BadRequest):
    """409: conflicts with something that exists, or is not ready yet; the message states which."""

    advice = ""


class TooLarge(BadRequest):
    """413: more bytes than the service accepts."""

    advice = "Make the image smaller and send it again."


class RateLimited(ApiError):  # noqa: N818
    """429: too many calls. `retry_after` is seconds to wait, where the service sent them."""

    advice = "Wait a little; it goes on by itself."
    can_retry = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, status=429)
        self.retry_after = retry_after


class ServerError(ApiError):
    """500 and up: the service failed."""

    advice = "The service failed. Try again; if it stays so, tell who runs it."
    can_retry = True


class StorageFull(ServerError):  # noqa: N818
    """507: the service has no room left."""

    advice = "Free some disk space where the service keeps its images, then retry."
