"""Handlers for load balancers and Prometheus: health and metrics."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.metrics import CONTENT_TYPE, ServiceMetrics
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.storage.errors import StoreError
from apitorch_desktop.service.storage.store import Store

_PATIENCE = 2.0  # seconds within which the database has to answer
_FRESH = 1.0  # seconds for which an answer counts: anybody may ask, as often as they like


class Readiness:
    """Finds out if the database answers, asked at most once a second, on a thread of its own. For one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(2, "monitor")
        self._asked: asyncio.Future[bool] | None = None
        self.answers = False
        """What was found last."""
        self._asked_at = 0.0

    async def check(self) -> bool:
        """Return whether the database has answered within seconds."""
        if self._asked is None or (self._asked.done() and monotonic() > self._asked_at + _FRESH):
            self._asked = asyncio.get_running_loop().run_in_executor(self._pool, self._ask)
            self._asked_at = monotonic()
        try:
            self.answers = await asyncio.wait_for(asyncio.shield(self._asked), _PATIENCE)
        except TimeoutError:
            self.answers = False
        return self.answers

    async def run(self, job: Callable[[], bytes]) -> bytes:
        """Run a job on a thread that other requests do not use."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def _ask(self) -> bool:
        try:
            self._store.check_database()
        except StoreError:
            return False
        return True

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class MonitoringRoutes(OperationGroup):
    """Handlers of health and metrics."""

    tag = "Monitoring"

    def __init__(self, readiness: Readiness, metrics: ServiceMetrics) -> None:
        self._readiness = readiness
        self._metrics = metrics

    @Operation("GET", "/api/health", types.Health, access="open", errors=(503,), extension="monitoring")
    async def check_health(self, request: Request) -> types.Health:  # noqa: ARG002
        """Return whether the service is ready: its database answers. 503 where it is not."""
        if not await self._readiness.check():
            raise HttpError(503, "The database does not answer. Try again in a moment.", [("retry-after", "5")])
        return types.Health(ready=True)

    @Operation("GET", "/api/health/live", types.Health, access="open", extension="monitoring")
    async def check_liveness(self, request: Request) -> types.Health:  # noqa: ARG002
        """Return that the process answers, whatever its storage does: restart it only where this fails."""
        return types.Health()

    @Operation("GET", "/api/metrics", "text/plain", access="local_or_key", extension="monitoring")
    async def get_metrics(self, request: Request) -> Response:  # noqa: ARG002
        """Return metrics in Prometheus' text form, to programs on this machine and to the key of the local owner."""
        await self._readiness.check()
        return Response(await self._readiness.run(self._metrics.text), headers={"content-type": CONTENT_TYPE})
