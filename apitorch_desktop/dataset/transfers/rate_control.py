"""Rate control: the number of parallel calls to a service, pauses between them, and the measured throughput."""

import random
from collections import deque
from time import monotonic
from typing import Final

MAX_PARALLEL: Final = 8
"""Parallel calls to one service; more of them gain nothing and only wait there."""
_START: Final = 1
"""The first call meets an idle service: its latency is the baseline for detecting overload."""
_LONGEST_PAUSE: Final = 15.0
_FIRST_PAUSE: Final = 0.25
_SLOW: Final = 0.5
"""Seconds: a latency below this is never a sign of overload."""
_RISEN: Final = 3.0
"""Multiple of its idle latency at which a service counts as overloaded (compare TCP Vegas)."""
_WINDOW = 8.0
_BUCKET = 0.25


class RateController:
    """Number of parallel calls to one service. Not thread-safe: the owner's lock guards it.

    One more after each round of successful calls, one less when latency has risen, half after a 429. After a failed
    connection one call at a time is tried, with pauses that double up to 15 s, until one succeeds.
    """

    def __init__(self) -> None:
        self.allowed = _START
        self.in_flight = 0
        self.down = False
        self._not_before = 0.0
        self._failures = 0
        self._since_change = 0
        self._latency = 0.0
        self._idle_latency = 0.0

    def delay(self) -> float:
        """Return the seconds until a call may start: 0 for now, infinity while a call has to end first."""
        limit = 1 if self.down else self.allowed
        if self.in_flight >= limit:
            return float("inf")
        return max(0.0, self._not_before - monotonic())

    def retry_now(self) -> None:
        """End the pause: the service may be there again."""
        self._not_before = 0.0

    def succeeded(self, seconds: float) -> None:
        """Record a successful call and its duration."""
        self.down = False
        self._failures = 0
        self._since_change += 1
        self._latency = seconds if not self._latency else 0.8 * self._latency + 0.2 * seconds
        self._idle_latency = min(self._idle_latency * 1.002, self._latency) if self._idle_latency else self._latency
        if self._since_change < self.allowed:  # only calls that were made at this rate count
            return
        self._since_change = 0
        if self._latency > max(_SLOW, _RISEN * self._idle_latency):
            self.allowed = max(1, self.allowed - 1)
        elif self.allowed < MAX_PARALLEL:
            self.allowed += 1

    def limited(self, retry_after: float | None) -> None:
        """Record that the service asks for fewer calls (429)."""
        if self._not_before <= monotonic():  # of several calls that were refused together, only the first counts
            self.allowed = max(1, self.allowed // 2)
        self._since_change = 0
        self._pause(retry_after)

    def failed(self, retry_after: float | None = None) -> None:
        """Record a broken connection or a failure of the service."""
        self.down = True
        self._pause(retry_after)

    def _pause(self, retry_after: float | None) -> None:
        if retry_after is None:
            if self._not_before > monotonic():  # calls that failed together are one failure
                return
            retry_after = min(_FIRST_PAUSE * 2.0**self._failures, _LONGEST_PAUSE) * random.uniform(0.6, 1.0)  # noqa: S311
            self._failures = min(self._failures + 1, 10)
        self._not_before = max(self._not_before, monotonic() + retry_after)


class Throughput:
    """Bytes and items a second over the last eight seconds."""

    def __init__(self) -> None:
        self._buckets: deque[list[float]] = deque()  # [start, bytes, items]
        self._since = 0.0

    def add(self, size: int, items: int = 0) -> None:
        """Record transferred bytes and items."""
        now = monotonic()
        self._drop(now)
        if not self._buckets:
            self._since = now
        if not self._buckets or now - self._buckets[-1][0] > _BUCKET:
            self._buckets.append([now, 0, 0])
        self._buckets[-1][1] += size
        self._buckets[-1][2] += items

    def rates(self) -> tuple[float, float]:
        """Return bytes and items a second."""
        now = monotonic()
        self._drop(now)
        if not self._buckets:
            return 0.0, 0.0
        span = max(now - max(self._since, now - _WINDOW), _BUCKET)
        return sum(bucket[1] for bucket in self._buckets) / span, sum(bucket[2] for bucket in self._buckets) / span

    def _drop(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] < now - _WINDOW:
            self._buckets.popleft()
