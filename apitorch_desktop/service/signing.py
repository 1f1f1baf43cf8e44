"""Signed paths: a link that opens one thing until the end of the current UTC day, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime


def _today() -> datetime:
    return datetime.now(UTC)


class Signer:
    """Signs paths with a secret. Thread-safe.

    `secret` is `Store.secret`: it stays the same over restarts, so that a link of this morning holds this evening.
    """

    def __init__(self, secret: bytes, now: Callable[[], datetime] = _today) -> None:
        raise NotImplementedError

    def sign(self, path: str) -> str:
        """The query (`day=20260501&signature=…`) that opens `path` for the rest of the day."""
        raise NotImplementedError

    def signs(self, path: str, day: str, signature: str) -> bool:
        """Whether the signature is right for this path and the day is today (UTC). Constant time; any strings."""
        raise NotImplementedError
