"""The ASGI application of the service, assembled from the operation table and the access checks."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import nullcontext, suppress
from time import monotonic
from typing import TypeVar

from msgspec import Struct
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.embeddings import SimilarityIndex
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config, Limits
from apitorch_desktop.service.http import access, form_data
from apitorch_desktop.service.http.body import BodyReader, IncomingBody
from apitorch_desktop.service.http.errors import ClientDisconnected, HttpError, to_http_error
from apitorch_desktop.service.http.html import error_page
from apitorch_desktop.service.http.image_input import ImageInputReader
from apitorch_desktop.service.http.metrics import ServiceMetrics
from apitorch_desktop.service.http.request import HandlerResult, LargeResponse, Request
from apitorch_desktop.service.http.resources import WorkerPools
from apitorch_desktop.service.http.routing import Operation, Routes
from apitorch_desktop.service.http.signed_urls import SignedUrls, Signer
from apitorch_desktop.service.http.url_fetcher import UrlFetcher
from apitorch_desktop.service.routes.classifiers import ClassifierRoutes, ExplanationRoutes
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.images import FileRoutes, ImageRoutes
from apitorch_desktop.service.routes.listing import ChangeRoutes
from apitorch_desktop.service.routes.meta import MetaRoutes, MonitoringRoutes, Readiness
from apitorch_desktop.service.routes.training_sets import TrainingSetRoutes
from apitorch_desktop.service.storage.errors import StorageUnreachable, StoreError
from apitorch_desktop.service.storage.owners import LOCAL_OWNER
from apitorch_desktop.service.storage.store import Store

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_CHUNK = 2**16
_LOOKUP_PATIENCE = 1.0
"""Seconds after which a key that is known already is accepted while the database does not answer."""
_DEFAULT_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Set on every response that has no value of its own. Without CORS headers, pages of other sites cannot read responses."""


def build_app(
    store: Store, trainer: Trainer, classification: ClassificationService, config: Config
) -> "ServiceApplication":
    """Return the service as an ASGI application.

    Serve it with `protocol.server_config`, which sets the limits below the application.
    """
    limits = config.limits
    workers = WorkerPools(limits, store.folder)
    signer = Signer(store.secret)
    fetcher = UrlFetcher(max_bytes=limits.image, concurrency=limits.fetches, allow_private=config.allow_private_urls)
    similarity = SimilarityIndex(store)
    store.on_change(similarity.notify_changed)
    dependencies = Dependencies(
        store=store,
        trainer=trainer,
        classification=classification,
        similarity=similarity,
        workers=workers,
        image_inputs=ImageInputReader(store, signer, workers, fetcher, config),
        signer=signer,
        config=config,
    )

    readiness = Readiness(store)

    def count_waiting() -> float:
        with suppress(StoreError):
            if readiness.answers:
                return trainer.count_waiting()
        return float("nan")

    metrics = ServiceMetrics(
        {
            "apitorch_jobs": ("Storage and image jobs that run or wait.", lambda: workers.jobs),
            "apitorch_classifications": ("Classifications under way.", lambda: workers.classifications),
            "apitorch_training_sets_waiting": ("Training sets to be learned, of all processes.", count_waiting),
            "apitorch_database_up": ("1 where the database answers.", lambda: readiness.answers),
            "apitorch_notified": ("1 where changes by other processes arrive.", lambda: store.is_current),
        }
    )
    table: list[Operation] = []
    table += MetaRoutes(dependencies, lambda: table).operations()
    table += MonitoringRoutes(readiness, metrics).operations()
    for group in (TrainingSetRoutes, ImageRoutes, ChangeRoutes, ClassifierRoutes, ExplanationRoutes, FileRoutes):
        table += group(dependencies).operations()
    return ServiceApplication(table, dependencies, fetcher, readiness, metrics)


class ServiceApplication:
    """An ASGI application that authorizes a request, routes it, reads its body, runs the handler, sends the response.

    Call `close` after the server has ended, to end the threads.
    """

    def __init__(
        self,
        table: list[Operation],
        dependencies: Dependencies,
        fetcher: UrlFetcher,
        readiness: Readiness,
        metrics: ServiceMetrics,
    ) -> None:
        self._routes = Routes(table)
        self._workers = dependencies.workers
        self._similarity = dependencies.similarity
        self._owners = dependencies.store.owners
        self._config = dependencies.config
        self._signer = dependencies.signer
        self._body_reader = BodyReader(dependencies.config.limits, dependencies.workers)
        self._fetcher = fetcher
        self._readiness = readiness
        self._metrics = metrics

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        self._fetcher.close()
        self._readiness.close()
        self._workers.close()
        self._similarity.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not scope["raw_path"].startswith((b"/", b"*")):
            scope["raw_path"], headers["host"] = access.origin_form(scope["raw_path"])
        incoming = IncomingBody(receive)
        sender = ResponseSender(send, incoming, self._workers, self._config.limits)
        began = monotonic()
        try:
            await self._respond(scope, headers, incoming, sender)
        finally:
            if sender.status:
                self._metrics.count(sender.operation, sender.status, monotonic() - began)

    async def _respond(
        self, scope: Scope, headers: dict[str, str], incoming: IncomingBody, sender: "ResponseSender"
    ) -> None:
        try:
            await self._handle(scope, headers, incoming, sender)
        except ClientDisconnected:
            return
        except Exception as error:  # every failure gets a response
            http_error = to_http_error(error)
            if http_error is None:
                _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                http_error = HttpError(500, "The service failed. Try again; if it stays so, its log says why.")
            if sender.started:
                raise
            await self._body_reader.drain(headers, incoming)
            unread = self._body_reader.has_body(headers) and not incoming.ended
            as_page = not scope["raw_path"].startswith(b"/api") and "text/html" in headers.get("accept", "")
            await sender.send_error(http_error, close=unread, as_page=as_page)

    async def _handle(
        self, scope: Scope, headers: dict[str, str], incoming: IncomingBody, sender: "ResponseSender"
    ) -> None:
        max_head = self._config.limits.head
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, headers.values())) > max_head:
            raise HttpError(400, f"The request line and headers are over {max_head // 1024} KiB. Send a form instead.")
        if "content-length" in headers and "transfer-encoding" in headers:  # proxies disagree on where such a body ends
            raise HttpError(
                400,
                "A body has a Content-Length or a Transfer-Encoding, not both. Send one.",
                [("connection", "close")],
            )
        host = access.named_host(headers, scope)
        access.check_host(host, self._config)
        access.check_origin(headers, host, by_link=not scope["raw_path"].startswith(b"/api"))
        operation, path = self._routes.find(scope["method"], scope["raw_path"])
        sender.operation = operation.name
        owner = await self._authenticate(operation, headers, scope)
        request = Request(
            owner=owner,
            path=path,
            links=SignedUrls(f"{scope['scheme']}://{host}", self._signer),
            port=(scope.get("server") or ("", 0))[1] or 0,
            headers=headers,
            compresses=access.takes_gzip(headers) and not access.is_local_call(_address(scope), headers, self._config),
        )
        if operation.query is not None:
            request.query = form_data.decode_pairs(operation.query, form_data.parse_pairs(scope["query_string"]))
        if operation.body is None:
            await sender.send(await self._run_handler(operation, request, incoming))
            return
        with self._workers.classification() if operation.classifies else nullcontext():
            body = await self._body_reader.read(
                headers,
                incoming,
                operation.body,
                file_field=operation.file_field,
                query=scope["query_string"] if operation.body_in_query else None,
            )
            request.body, request.image, request.files = body.fields, body.image, body.files
            try:
                result = await self._run_handler(operation, request, incoming)
            finally:
                body.close()
        await sender.send(result)

    async def _run_handler(self, operation: Operation, request: Request, incoming: IncomingBody) -> HandlerResult:
        if not operation.abandonable:
            return await operation.handler(request)
        return await _unless_disconnected(operation.handler(request), incoming)

    async def _authenticate(self, operation: Operation, headers: dict[str, str], scope: Scope) -> int:
        """Return the owner of the request's API key; 0 where the operation needs none."""
        if operation.access == "local_or_key":
            if access.is_local_call(_address(scope), headers, self._config):
                return 0
            if await access.authenticate(headers.get("authorization"), self._find_owner) != LOCAL_OWNER:
                raise HttpError(
                    403, "Figures of the whole service are for its own key, and for programs on its machine."
                )
        if operation.access == "key" or (
            operation.access == "link_or_key" and b"signature=" not in scope["query_string"]
        ):
            return await access.authenticate(headers.get("authorization"), self._find_owner)
        return 0

    async def _find_owner(self, key: str) -> int | None:
        owner = self._owners.cached_owner(key)
        if owner is not None:
            return owner
        found = asyncio.ensure_future(self._workers.run_lookup(self._owners.find_by_key, key))
        found.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may be left alone
        try:
            return await asyncio.wait_for(asyncio.shield(found), _LOOKUP_PATIENCE)
        except (TimeoutError, StorageUnreachable):
            owner = self._owners.remembered_owner(key)
            return await found if owner is None else owner


def _address(scope: Scope) -> str:
    return (scope.get("client") or ("",))[0]


async def _unless_disconnected(job: Awaitable[_T], incoming: IncomingBody) -> _T:
    """Return the result of a job, which is cancelled when the client disconnects. Raises ClientDisconnected.

    What waits for a thread is then never begun; what has begun runs to its end.
    """
    running = asyncio.ensure_future(job)
    disconnected = asyncio.ensure_future(incoming.wait_disconnected())
    try:
        await asyncio.wait({running, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientDisconnected
        return running.result()
    finally:
        for task in (running, disconnected):
            task.cancel()
        await asyncio.wait({running, disconnected})


class ResponseSender:
    """Sends the response to one request; a large body goes out in chunks, at the pace of the client."""

    def __init__(self, send: Send, incoming: IncomingBody, workers: WorkerPools, limits: Limits) -> None:
        self._send = send
        self._incoming = incoming
        self._workers = workers
        self._limits = limits
        self.started = False
        self.status = 0
        self.operation = ""

    async def send(self, result: HandlerResult) -> None:
        """Send the result of a handler."""
        if isinstance(result, LargeResponse):
            async with self._workers.reserve_response(result.size):
                await self._send_response(await _unless_disconnected(result.load(), self._incoming))
        elif isinstance(result, Struct):
            await self._send_response(Response(types.encode(result), media_type="application/json"))
        else:
            await self._send_response(result)

    async def send_error(self, error: HttpError, *, close: bool, as_page: bool) -> None:
        """Send an error as JSON or as an HTML page; `close` ends the connection, for a body that was not read."""
        response = Response(error.body(), error.status, media_type="application/json")
        if as_page:
            response = error_page(error.status, error.message)
        for name, value in error.headers:
            response.headers[name] = value
        if close:
            response.headers["connection"] = "close"
        await self._send_response(response)

    async def _send_response(self, response: Response) -> None:
        headers = response.raw_headers
        own = {name for name, _ in headers}
        headers = headers + [header for header in _DEFAULT_HEADERS if header[0] not in own]
        self.started, self.status = True, response.status_code
        await self._send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        body = response.body
        if len(body) <= _CHUNK:
            await self._send({"type": "http.response.body", "body": body})
            return
        now = asyncio.get_running_loop().time
        started_at = now()
        for start in range(0, len(body), _CHUNK):
            min_rate = self._limits.contended if self._workers.contended else self._limits.slowest
            if start < (now() - started_at - self._limits.grace) * min_rate:
                raise ClientDisconnected
            chunk = body[start : start + _CHUNK]
            await self._send({"type": "http.response.body", "body": chunk, "more_body": start + _CHUNK < len(body)})
