"""Signed paths: a link that opens one thing until the end of the current UTC day, and nothing else."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

_DIGITS = 32  # of the hex signature: 128 bits


def _now() -> datetime:
    return datetime.now(UTC)


class Signer:
    """Signs paths with a secret. Thread-safe.

    `secret` is `Store.secret`: it stays the same over restarts, so that a link of this morning holds this evening.
    """

    def __init__(self, secret: bytes, now: Callable[[], datetime] = _now) -> None:
        self._mac = hmac.new(secret, digestmod=hashlib.sha256)
        self._now = now

    def sign(self, path: str) -> str:
        """The query (`day=20260501&signature=…`) that opens `path` for the rest of the day."""
        day = self.today()
        return f"day={day}&signature={self.signature(path, day)}"

    def signs(self, path: str, day: str, signature: str) -> bool:
        """Whether the signature is right for this path and the day is today (UTC). Constant time; any strings."""
        given = signature.encode("utf-8", "replace")
        right = hmac.compare_digest(self.signature(path, day).encode(), given)
        return right and day == self.today()

    def today(self) -> str:
        """The UTC day, as it is signed; for a listing, take it once."""
        return self._now().astimezone(UTC).strftime("%Y%m%d")

    def signature(self, path: str, day: str) -> str:
        """The signature of a path for one day: HMAC-SHA256 over both, cut to 128 bits, in hex."""
        mac = self._mac.copy()
        mac.update(f"{len(day)} {day} {path}".encode("utf-8", "surrogatepass"))
        return mac.hexdigest()[:_DIGITS]
