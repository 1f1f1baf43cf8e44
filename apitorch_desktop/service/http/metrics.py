"""Metrics of a service for Prometheus: requests, waiting work, training and process; no names of owners, sets or images."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apitorch_desktop import __version__

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OTHER: Final = "other"
"""The operation of a request that names none: what clients send must not become a label."""


class ServiceMetrics:
    """Counters of one process, in a registry of its own. Thread-safe.

    `gauges` return values that are asked for when the metrics are: by name, the description and a function.
    """

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = Gauge("apitorch_build_info", "Version of the program.", ["version"], registry=self._registry)
        build.labels(__version__).set(1)
        self._requests = Counter(
            "apitorch_requests", "Answered requests.", ["operation", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "apitorch_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Gauges(gauges))

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count an answered request; `operation` is "" where the request names none."""
        self._requests.labels(operation or _OTHER, str(status)).inc()
        self._seconds.labels(operation or _OTHER).observe(seconds)

    def text(self) -> bytes:
        """Return all values in Prometheus' text form. Blocks for the gauges."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterator[Metric]:
        for name, (description, _) in self._gauges.items():
            yield GaugeMetricFamily(name, description)

    def collect(self) -> Iterator[Metric]:
        for name, (description, value) in self._gauges.items():
            yield GaugeMetricFamily(name, description, value=value())
