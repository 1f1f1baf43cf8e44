"""Handlers of what the service says of itself: ping, health, metrics, the API description (OpenAPI 3.1); and HTML pages."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from apitorch_desktop import __version__
from apitorch_desktop.api import types
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.html import reference_page, training_set_page
from apitorch_desktop.service.http.metrics import CONTENT_TYPE, ServiceMetrics
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.routing import PARAMETERS, Operation, OperationGroup
from apitorch_desktop.service.http.schemas import After
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.errors import StoreError
from apitorch_desktop.service.storage.store import Store

_PAGE = 200
_PATIENCE = 2.0  # seconds within which the database has to answer
_FRESH = 1.0  # seconds for which an answer counts: anybody may ask, as often as they like


class PageQuery(Struct):
    """The part of a training set that a page shows, and the signature of its link."""

    label: str | UnsetType = UNSET
    after: After | UnsetType = UNSET
    day: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET


class MetaRoutes(OperationGroup):
    """Handlers of ping, the API description and the HTML pages. `table` returns all operations, including these."""

    tag = "About"

    def __init__(self, dependencies: Dependencies, table: Callable[[], Sequence[Operation]]) -> None:
        self._store = dependencies.store
        self._workers = dependencies.workers
        self._signer = dependencies.signer
        self._table = table
        self._description = b""

    @Operation("GET", "/api/ping", types.Ping, tag="Ping")
    async def ping(self, request: Request) -> types.Ping:  # noqa: ARG002 - every handler takes one
        """Check the API key, and return the service's name, version and extensions."""
        return types.Ping(service="API Torch Desktop", version=__version__, extensions=list(types.EXTENSIONS))

    @Operation("GET", "/api/openapi.json", "application/json", access="open")
    async def get_description(self, request: Request) -> Response:  # noqa: ARG002
        """Return the description of all calls in OpenAPI 3.1, for programs."""
        if not self._description:
            self._description = msgspec.json.encode(description(self._table()))
        return Response(self._description, media_type="application/json")

    @Operation("GET", "/api/docs", "text/html", access="open")
    async def get_docs(self, request: Request) -> Response:
        """Return the description of all calls for people: a page."""
        return reference_page(description(self._table()), request.links.origin)

    @Operation(
        "GET", "/training-sets/{id}/{set_slug}", "text/html", access="link_or_key", query=PageQuery, errors=(404,)
    )
    async def show_training_set(self, request: Request) -> Response:
        """Return a page with the images of a training set, for a browser: by the `url` of the training set, or the key."""
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


Schema = dict[str, Any]

ERRORS = {
    400: "The request does not fit: a field is missing or wrong, or the image cannot be read.",
    401: "There is no API key, or it is not known here.",
    403: "A signed link that does not hold any longer, a host this service is not at, or a web page of another site.",
    404: "What the path or the body names is not there.",
    408: "The body came too slowly.",
    409: "It is in the way of something that is there, or not ready yet.",
    413: "More bytes than are taken.",
    429: "The service has too much to do and did nothing; `Retry-After` says when to send it again.",
    500: "The service failed; its log says why.",
    503: "The service is ending, or its storage is out of reach; `Retry-After` says when to try again.",
    507: "There is no room left on the disk.",
}
"""Descriptions of the statuses; the `message` in the JSON states what to do."""


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


_REF = "#/components/schemas/{name}"


def description(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the description as JSON-ready objects."""
    structs: list[Any] = [types.Error]
    for operation in operations:
        kinds = (operation.body, operation.by_url, operation.response, operation.packed)
        structs += [kind for kind in kinds if isinstance(kind, type)]
    unique = list(dict.fromkeys(structs))
    _, components = msgspec.json.schema_components(unique, schema_hook=types.id_schema, ref_template=_REF)
    for kind in unique:
        if hasattr(kind, "any_of"):
            components[kind.__name__]["anyOf"] = [{"required": [name]} for name in kind.any_of]
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "API Torch Desktop",
            "version": __version__,
            "summary": "The API Torch interface, served on your own machine.",
            "description": "Success is 200. Every other answer is an `Error`, whose message says what to do (to a browser "
            "that follows a link to a page: a page). Unknown fields are ignored. `x-extension` names the extensions beyond "
            "the API Torch documentation.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "basic", "description": "User: the API key. Password: blank."}
            },
            "responses": {_response_name(status): _error(text) for status, text in ERRORS.items()},
        },
    }


def statuses(operation: Operation) -> list[int]:
    """Return the statuses beside 200 that an operation may answer."""
    found = {403, 500, *operation.errors}
    if operation.access == "key":
        found |= {401, 429, 503}
    if operation.access in {"link_or_key", "local_or_key"}:
        found |= {401}
    if operation.body is not None:
        found |= {400, 408, 413, 507}
    if operation.query is not None:
        found.add(400)
    return sorted(found)


def _operation(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    response = operation.response
    if isinstance(response, str):
        schema: Schema = {"type": "string"} if response.startswith("text/") else {}
        content: dict[str, Any] = {response: {"schema": schema}}
    else:
        content = {"application/json": {"schema": _ref(response)}}
    if operation.packed is not None:
        content["application/msgpack"] = {"schema": _ref(operation.packed)}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    responses |= {
        str(status): {"$ref": f"#/components/responses/{_response_name(status)}"} for status in statuses(operation)
    }
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": responses,
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _body(operation, components)
    if operation.access != "key":
        described["security"] = [{"key": []}, {}] if operation.access.endswith("_or_key") else []
    if operation.extension:
        described["x-extension"] = operation.extension
    return described


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        number = name in {"id", "owner"}
        schema: Schema = {"type": "integer", "minimum": 1} if number else {"type": "string", "minLength": 1}
        if name == "label" and operation.file_field:
            schema["format"] = "label"
        yield {"name": name, "in": "path", "required": True, "description": PARAMETERS[name], "schema": schema}


def _query_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    """Yield the query parameters.

    The fields of a `body_in_query` operation are described where the API Torch documentation has them: required in the
    query. OpenAPI cannot express that the body may have them instead.
    """
    kinds = [(operation.query, operation.access == "link")]
    if operation.body_in_query:
        kinds.append((operation.body, True))
    for kind, needed in kinds:
        if kind is None:
            continue
        schema = _inline(kind)
        for name, field in schema["properties"].items():
            required = needed or name in schema.get("required", [])
            yield {"name": name, "in": "query", "required": required, "schema": field}


def _body(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    assert operation.body is not None  # noqa: S101 - for mypy; the caller checked
    plain = operation.by_url or operation.body
    flat, encoding = _flat(_inline(plain), components)
    multipart, _ = _flat(_inline(operation.body), components)
    if operation.by_url is not None:
        multipart["properties"]["image"] = {"type": "string", "format": "binary"}
        multipart["oneOf"] = [{"required": ["image"]}, {"required": ["image_url"]}]
    if operation.several:
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        multipart["properties"][operation.file_field] = {**files, "minItems": 1, "maxItems": types.MAX_UPLOADS}
        multipart["required"] = [operation.file_field]
        return {"required": True, "content": {"multipart/form-data": {"schema": multipart}}}
    form: dict[str, Any] = {"schema": flat}
    if encoding:
        form["encoding"] = encoding
    return {
        "required": not operation.body_in_query,
        "content": {
            "application/json": {"schema": _ref(plain)},
            "application/x-www-form-urlencoded": form,
            "multipart/form-data": {"schema": multipart},
        },
    }


def _flat(schema: Schema, components: dict[str, Any]) -> tuple[Schema, dict[str, Any]]:
    """Return a schema in form notation: `names[]` for a list, `options[name]` for a nested field."""
    properties: dict[str, Any] = {}
    encoding: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, field in schema["properties"].items():
        kinds = [_resolved(kind, components) for kind in field.get("anyOf", [field])]
        chosen = next((kind for kind in kinds if kind.get("type") in {"array", "object"}), kinds[0])
        if chosen.get("type") == "array":
            names[name] = f"{name}[]"
            encoding[names[name]] = {"style": "form", "explode": True}
            properties[names[name]] = {key: value for key, value in chosen.items() if key != "default"}
        elif chosen.get("type") == "object":
            properties |= {f"{name}[{inner}]": _form_field(kind) for inner, kind in chosen["properties"].items()}
        else:
            names[name] = name
            properties[name] = _form_field(chosen)
    required = [names[name] for name in schema.get("required", []) if name in names]
    flat: Schema = {"type": "object", "properties": properties}
    if "anyOf" in schema:
        flat["anyOf"] = schema["anyOf"]
    return (flat | {"required": required} if required else flat), encoding


def _form_field(schema: Schema) -> Schema:
    if schema.get("type") == "boolean":
        return {"type": "string", "enum": ["true", "false", "1", "0"]}
    return {key: value for key, value in schema.items() if key != "default"}


def _inline(kind: type[Struct]) -> Schema:
    (reference,), components = msgspec.json.schema_components([kind], ref_template=_REF)
    schema = _resolved(reference, components)
    if hasattr(kind, "any_of"):
        schema["anyOf"] = [{"required": [name]} for name in kind.any_of]
    return schema


def _resolved(schema: Schema, components: dict[str, Any]) -> Schema:
    reference = schema.get("$ref")
    return dict(components[reference.rpartition("/")[2]]) if reference else dict(schema)


def _ref(kind: type[Struct]) -> Schema:
    return {"$ref": _REF.format(name=kind.__name__)}


def _response_name(status: int) -> str:
    return f"E{status}"


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(types.Error)}}}
