"""Handlers of ping, the API description and the HTML pages."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from apitorch_desktop import __version__
from apitorch_desktop.api import types
from apitorch_desktop.service.http import openapi
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.html import reference_page, training_set_page
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.http.schemas import After
from apitorch_desktop.service.routes.dependencies import Dependencies

_PAGE = 200


class PageQuery(Struct):
    """The part of a training set that a page shows, and the signature of its link."""

    label: str | UnsetType = UNSET
    after: After | UnsetType = UNSET
    day: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET


class MetaRoutes:
    """Handlers of ping, the API description and the HTML pages. `table` returns all operations, including these."""

    def __init__(self, dependencies: Dependencies, table: Callable[[], Sequence[Operation]]) -> None:
        self._store = dependencies.store
        self._workers = dependencies.workers
        self._signer = dependencies.signer
        self._table = table
        self._description = b""

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        return [
            Operation(
                "ping",
                "GET",
                "/api/ping",
                "Whether the API key works, and what is there.",
                self.ping,
                types.Ping,
                "Ping",
            ),
            Operation(
                "getDescription",
                "GET",
                "/api/openapi.json",
                "The description of all calls in OpenAPI 3.1, for programs.",
                self.description,
                "application/json",
                "About",
                access="open",
            ),
            Operation(
                "getDocs",
                "GET",
                "/api/docs",
                "The description of all calls for people: a page.",
                self.docs,
                "text/html",
                "About",
                access="open",
            ),
            Operation(
                "showTrainingSet",
                "GET",
                "/training-sets/{id}/{set_slug}",
                "A page with the images of a training set, for a browser: by the `url` of the training set, or the key.",
                self.page,
                "text/html",
                "About",
                access="link_or_key",
                query=PageQuery,
                errors=(404,),
            ),
        ]

    async def ping(self, request: Request) -> types.Ping:  # noqa: ARG002 - every handler takes one
        """`GET ping`."""
        return types.Ping(service="API Torch Desktop", version=__version__, extensions=list(types.EXTENSIONS))

    async def description(self, request: Request) -> Response:  # noqa: ARG002
        """`GET openapi.json`."""
        if not self._description:
            self._description = msgspec.json.encode(openapi.description(self._table()))
        return Response(self._description, media_type="application/json")

    async def docs(self, request: Request) -> Response:
        """`GET docs`."""
        return reference_page(openapi.description(self._table()), request.links.origin)

    async def page(self, request: Request) -> Response:
        """`GET /training-sets/:id/:slug`."""
        query: PageQuery = request.query
        set_id = request.id_parameter("id", "training set")
        owner = request.owner
        if not owner:
            path = f"/training-sets/{request.path['id']}/{request.path['set_slug']}"
            if not self._signer.verify(path, query.day or "", query.signature or ""):
                raise HttpError(
                    403, "This link does not hold, or no longer: links last for a day (UTC). Ask for a new one."
                )
            found = await self._workers.run_storage(self._store.training_sets.find, set_id)
            owner = found.owner_id if found is not None else 0
        row = await self._workers.run_storage(self._store.training_sets.get, owner, set_id)
        label = query.label if isinstance(query.label, str) else None
        after = query.after if isinstance(query.after, str) else None
        page = await self._workers.run_storage(
            self._store.images.page, owner, set_id, label=label, after=after, limit=_PAGE
        )
        return training_set_page(request.links, row, row.label_rows(), page.images, label, page.next)
