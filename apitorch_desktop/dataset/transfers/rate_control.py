"""How fast to go: as many calls at a time as a service takes with ease, pauses where it asks, and what rate comes of it."""

import random
from collections import deque
from time import monotonic
from typing import Final

MOST_AT_ONCE: Final = 8
"""Calls at a time to one service; more gains nothing over one HTTP connection each and only queues up there."""
_START: Final = 1
"""The first call finds the service at rest: what its latency is then tells later when there are too many."""
_LONGEST_PAUSE: Final = 15.0
_FIRST_PAUSE: Final = 0.25
_SLOW: Final = 0.5
"""Seconds: below this no latency is called a sign of overload."""
_RISEN: Final = 3.0
"""So many times its quiet latency, and a service is overloaded (TCP Vegas compares in the same way)."""
_WINDOW = 8.0
_BUCKET = 0.25


class RateController:
    """How many calls at a time one service gets. Not thread-safe: used under its owner's lock.

    One more whenever a round of calls went well, one less when latency has risen, half after a 429; after a failure of
    the connection a single call at a time tries, with pauses that double up to 15 s, until one gets through.
    """

    def __init__(self) -> None:
        self.allowed = _START
        self.in_flight = 0
        self.down = False
        self._not_before = 0.0
        self._failures = 0
        self._since_change = 0
        self._latency = 0.0
        self._quiet = 0.0

    def wait(self) -> float:
        """Seconds until a call may start; 0 for now, infinite while a call has to end first."""
        most = 1 if self.down else self.allowed
        if self.in_flight >= most:
            return float("inf")
        return max(0.0, self._not_before - monotonic())

    def retry_now(self) -> None:
        """Do not wait out the pause: the person, or the system, says that the service may be there again."""
        self._not_before = 0.0

    def succeeded(self, seconds: float) -> None:
        """A call took so long."""
        self.down = False
        self._failures = 0
        self._since_change += 1
        self._latency = seconds if not self._latency else 0.8 * self._latency + 0.2 * seconds
        self._quiet = min(self._quiet * 1.002, self._latency) if self._quiet else self._latency
        if self._since_change < self.allowed:  # judge by calls that were made at this pace
            return
        self._since_change = 0
        if self._latency > max(_SLOW, _RISEN * self._quiet):
            self.allowed = max(1, self.allowed - 1)
        elif self.allowed < MOST_AT_ONCE:
            self.allowed += 1

    def limited(self, retry_after: float | None) -> None:
        """The service asks for fewer calls (429)."""
        if self._not_before <= monotonic():  # of several calls that were refused together, the first halves
            self.allowed = max(1, self.allowed // 2)
        self._since_change = 0
        self._pause(retry_after)

    def failed(self, retry_after: float | None = None) -> None:
        """The connection broke, or the service failed."""
        self.down = True
        self._pause(retry_after)

    def _pause(self, retry_after: float | None) -> None:
        if retry_after is None:
            retry_after = min(_FIRST_PAUSE * 2.0**self._failures, _LONGEST_PAUSE) * random.uniform(0.6, 1.0)  # noqa: S311
            self._failures = min(self._failures + 1, 10)
        self._not_before = max(self._not_before, monotonic() + retry_after)


class Throughput:
    """Bytes and items a second over the last eight seconds."""

    def __init__(self) -> None:
        self._buckets: deque[list[float]] = deque()  # [start, bytes, items]
        self._since = 0.0

    def add(self, size: int, items: int = 0) -> None:
        """So much more got through."""
        now = monotonic()
        self._drop(now)
        if not self._buckets:
            self._since = now
        if not self._buckets or now - self._buckets[-1][0] > _BUCKET:
            self._buckets.append([now, 0, 0])
        self._buckets[-1][1] += size
        self._buckets[-1][2] += items

    def rates(self) -> tuple[float, float]:
        """Bytes and items a second."""
        now = monotonic()
        self._drop(now)
        if not self._buckets:
            return 0.0, 0.0
        span = max(now - max(self._since, now - _WINDOW), _BUCKET)
        return sum(bucket[1] for bucket in self._buckets) / span, sum(bucket[2] for bucket in self._buckets) / span

    def _drop(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] < now - _WINDOW:
            self._buckets.popleft()
