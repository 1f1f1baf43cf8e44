"""build_app: the ASGI application, assembled from the table of operations and its guards."""

import asyncio
import logging

from msgspec import Struct
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config, Limits
from apitorch_desktop.service.http import access, form_data
from apitorch_desktop.service.http.body import BodyReader, IncomingBody, ParsedBody
from apitorch_desktop.service.http.errors import ClientDisconnected, HttpError, refusal_of
from apitorch_desktop.service.http.html import error_page
from apitorch_desktop.service.http.image_input import ImageInputReader
from apitorch_desktop.service.http.request import Answer, LargeAnswer, Request, SignedUrls
from apitorch_desktop.service.http.routing import Operation, Routes
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.http.url_fetcher import UrlFetcher
from apitorch_desktop.service.http.work import WorkerPools
from apitorch_desktop.service.routes.classifiers import ClassifierRoutes
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.files import FileRoutes
from apitorch_desktop.service.routes.images import ImageRoutes
from apitorch_desktop.service.routes.meta import MetaRoutes
from apitorch_desktop.service.routes.training_sets import TrainingSetRoutes
from apitorch_desktop.service.storage.store import Store

_log = logging.getLogger(__name__)
_CHUNK = 2**16
_ALWAYS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer that does not say otherwise. There is no CORS header: pages of other sites may not read answers."""


def build_app(store: "Store", trainer: "Trainer", answers: "ClassificationService", config: Config) -> "Application":
    """The service as an ASGI application. Serve it with `protocol.server_config`, which bounds what comes before it."""
    limits = config.limits
    work = WorkerPools(limits, store.folder)
    signer = Signer(store.secret)
    fetcher = UrlFetcher(most=limits.image, at_once=limits.fetches, allow_private=config.allow_private_urls)
    context = Dependencies(
        store=store,
        trainer=trainer,
        answers=answers,
        work=work,
        pictures=ImageInputReader(store, signer, work, fetcher, config),
        signer=signer,
        config=config,
    )
    table: list[Operation] = []
    table += MetaRoutes(context, lambda: table).operations()
    for routes in (TrainingSetRoutes(context), ImageRoutes(context), ClassifierRoutes(context), FileRoutes(context)):
        table += routes.operations()
    return Application(table, context, fetcher)


class Application:
    """An ASGI application: checks who calls, finds the operation, takes in its body, runs it, sends its answer.

    `close` ends its threads; call it when the server has ended.
    """

    def __init__(self, table: list[Operation], context: Dependencies, fetcher: UrlFetcher) -> None:
        self._routes = Routes(table)
        self._work = context.work
        self._of_key = context.store.owners.of_key
        self._config = context.config
        self._head = context.config.limits.head
        self._signer = context.signer
        self._receiver = BodyReader(context.config.limits, context.work)
        self._fetcher = fetcher

    def close(self) -> None:
        """Let what is under way finish, and end the threads."""
        self._fetcher.close()
        self._work.close()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        incoming = IncomingBody(receive)
        reply = Reply(send, self._work, self._config.limits)
        try:
            await self._answer(scope, headers, incoming, reply)
        except ClientDisconnected:
            return
        except Exception as error:  # whatever it was, the client gets an answer
            refusal = refusal_of(error)
            if refusal is None:
                _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                refusal = HttpError(500, "The service failed. Try again; if it stays so, its log says why.")
            if reply.begun:
                raise
            await self._receiver.drain(headers, incoming)
            unread = self._receiver.expects(headers) and not incoming.ended
            for_people = not scope["raw_path"].startswith(b"/api") and "text/html" in headers.get("accept", "")
            await reply.refuse(refusal, unread=unread, for_people=for_people)

    async def _answer(self, scope: "Scope", headers: dict[str, str], incoming: IncomingBody, reply: "Reply") -> None:
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, headers.values())) > self._head:
            raise HttpError(
                400, f"The request line and headers are over {self._head // 1024} KiB. Send a form instead."
            )
        host = access.check_host(headers.get("host"), self._config)
        access.check_origin(headers, host, by_link=not scope["raw_path"].startswith(b"/api"))
        operation, path = self._routes.find(scope["method"], scope["raw_path"])
        owner = self._owner(operation, headers, scope["query_string"])
        call = Request(
            owner=owner,
            path=path,
            links=SignedUrls(f"{scope['scheme']}://{host}", self._signer),
            port=(scope.get("server") or ("", 0))[1] or 0,
            headers=headers,
        )
        if operation.query is not None:
            call.query = form_data.from_pairs(operation.query, form_data.pairs_of(scope["query_string"]))
        received = ParsedBody()
        if operation.body is not None:
            received = await self._receiver.receive(
                headers,
                incoming,
                operation.body,
                image=operation.by_url is not None,
                loose=scope["query_string"] if operation.loose else None,
            )
            call.body, call.image, call.filename = received.fields, received.image, received.filename
        try:
            await reply.send(await operation.handler(call))
        finally:
            received.close()

    def _owner(self, operation: Operation, headers: dict[str, str], query: bytes) -> int:
        if operation.access == "key" or (operation.basic and b"signature=" not in query):
            return access.owner_of(headers.get("authorization"), self._of_key)
        return 0


class Reply:
    """Sends one answer, large ones in pieces that wait for the client."""

    def __init__(self, send: "Send", work: WorkerPools, limits: Limits) -> None:
        self._send = send
        self._work = work
        self._limits = limits
        self.begun = False

    async def send(self, answer: Answer) -> None:
        """Send what a handler answered."""
        if isinstance(answer, LargeAnswer):
            async with self._work.sending(answer.size):
                await self._response(await answer.load())
        elif isinstance(answer, Struct):
            await self._response(Response(types.encode(answer), media_type="application/json"))
        else:
            await self._response(answer)

    async def refuse(self, refusal: HttpError, *, unread: bool, for_people: bool) -> None:
        """Send an error; with `unread` (a body nobody will read) the connection ends. `for_people`: as a page."""
        response = Response(refusal.body(), refusal.status, media_type="application/json")
        if for_people:
            response = error_page(refusal.status, refusal.message)
        for name, value in refusal.headers:
            response.headers[name] = value
        if unread:
            response.headers["connection"] = "close"
        await self._response(response)

    async def _response(self, response: Response) -> None:
        for name, value in _ALWAYS.items():
            response.headers.setdefault(name, value)
        self.begun = True
        await self._send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        body = response.body
        if len(body) <= _CHUNK:
            await self._send({"type": "http.response.body", "body": body})
            return
        now = asyncio.get_running_loop().time
        began = now()
        for start in range(0, len(body), _CHUNK):
            pace = self._limits.contended if self._work.contended else self._limits.slowest
            if start < (now() - began - self._limits.grace) * pace:
                raise ClientDisconnected
            piece = body[start : start + _CHUNK]
            await self._send({"type": "http.response.body", "body": piece, "more_body": start + _CHUNK < len(body)})
