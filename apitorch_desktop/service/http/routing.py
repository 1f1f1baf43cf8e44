"""The operation table, from which both the routes and the OpenAPI description are made."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar, Final, Literal, TypeVar
from urllib.parse import unquote

from msgspec import Struct
from starlette.routing import compile_path

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import HandlerResult, Request

Handler = Callable[[Request], Awaitable[HandlerResult]]
Access = Literal["key", "link", "link_or_key", "local_or_key", "open"]

PARAMETERS: dict[str, str] = {
    "id": "Identifier of the training set, a number.",
    "label": "Name of the label; any spelling is turned into snake_case.",
    "image_id": "Identifier of the training image, with or without `ti_`.",
    "slug": "Slug of the classifier.",
    "classification_id": "Identifier of the classification, as `classify` answered it.",
    "filename": "Name of the image file as a listing gives it.",
    "owner": "Number of the owner, as a listing gives it.",
    "set_slug": "Slug of the training set; for people, any will do.",
}
"""Descriptions of the path parameters by name, of every parameter that an `Operation.path` has."""


_Method = TypeVar("_Method", bound=Callable[..., Awaitable[HandlerResult]])


async def _unbound(_request: Request) -> HandlerResult:
    raise NotImplementedError


@dataclass(frozen=True)
class Operation:
    """The handler of one method on one path, with its description; used as a decorator of the handler.

    `path` has its parameters in braces. `response` is the type of the JSON response, or a media type. `access` is the
    credential: the API key, a signed link, either of them, none from this machine and else the local owner's key, or none
    at all ("open"). `packed` is the type of a response in MessagePack, for clients that ask for it. `body` has the fields
    of a JSON, urlencoded or multipart body; `by_url` the fields of a JSON or urlencoded body where multipart also takes a
    file `image`; with `several` the body is multipart with files `images[]`; `query` the fields of the query. With
    `body_in_query` the fields of the body may be sent in the query as well. `errors` are the statuses beside those that
    every operation may answer. `extension` is the name that `ping` lists, empty for documented operations. `abandonable`:
    the handler is cancelled when the client disconnects. `classifies`: it counts as a classification from before its body
    is read. The others come from the handler and its group.
    """

    method: str
    path: str
    response: type[Struct] | str
    _: KW_ONLY
    access: Access = "key"
    body: type[Struct] | None = None
    by_url: type[Struct] | None = None
    several: bool = False
    packed: type[Struct] | None = None
    query: type[Struct] | None = None
    body_in_query: bool = False
    errors: tuple[int, ...] = ()
    extension: str = ""
    abandonable: bool = False
    classifies: bool = False
    tag: str = ""
    name: str = ""
    summary: str = ""
    handler: Handler = field(default=_unbound)

    @property
    def file_field(self) -> str:
        """Name of the field of a multipart body that takes a file, or with `[]` several; "" where none does."""
        return "images[]" if self.several else "image" if self.by_url is not None else ""

    def __call__(self, handler: _Method) -> _Method:
        """Mark a handler of an `OperationGroup`."""
        handler.__dict__["operation"] = self
        return handler


class OperationGroup:
    """Handlers of one tag: its methods with the decorator `Operation`.

    The name of a method in camel case is the operation's `operationId`, its docstring the summary in the description.
    """

    tag: ClassVar[str]

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        return [
            replace(
                operation,
                tag=operation.tag or self.tag,
                name=_camel_case(name),
                summary=method.__doc__ or "",
                handler=getattr(self, name),
            )
            for name, method in vars(type(self)).items()
            if isinstance(operation := getattr(method, "operation", None), Operation)
        ]


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


class Routes:
    """Finds the operation of a request by method and path.

    Patterns match the raw, still encoded path, so that an encoded slash (`a%2Fb`) stays within its parameter.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        table: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            methods = table.setdefault(operation.path, {})
            if methods.setdefault(operation.method, operation) is not operation:
                raise ValueError(f"{operation.method} {operation.path} is there twice")
            if undescribed := compile_path(operation.path)[2].keys() - PARAMETERS.keys():
                raise ValueError(f"{operation.path}: {sorted(undescribed)} must be described in PARAMETERS")
        # "{" sorts after letters and digits, so that a fixed segment is tried before a parameter
        paths = sorted(table, key=lambda path: path.split("/"))
        self._patterns = [(compile_path(path)[0], table[path]) for path in paths]
        self._fixed = {path: methods for path, methods in table.items() if "{" not in path}

    def find(self, method: str, raw_path: bytes) -> tuple[Operation, dict[str, str]]:
        """Return the operation and its decoded path parameters. One trailing slash is ignored.

        Raises HttpError 404 or 405.
        """
        path = raw_path.decode("latin-1")
        if (found := self._fixed.get(path)) and method in found:
            return found[method], {}
        allowed: set[str] = set()
        for pattern, methods in self._patterns:
            if match := pattern.match(path.removesuffix("/")):
                if operation := methods.get("GET" if method == "HEAD" else method):
                    return operation, {
                        name: unquote(value, errors="replace") for name, value in match.groupdict().items()
                    }
                allowed.update(methods)
        if not allowed:
            raise HttpError(404, _not_found_message(path))
        if "GET" in allowed:
            allowed.add("HEAD")
        names = sorted(allowed)
        raise HttpError(
            405, f"{method[:20]} does nothing here. Use {' or '.join(names)}.", [("allow", ", ".join(names))]
        )


_OF_LABEL: Final = re.compile(r"/api/training-sets?/[^/]+/.*")
"""Path of a call that a label is part of; one that is not percent-encoded makes another path of it, or ends it."""


def _not_found_message(path: str) -> str:
    if _OF_LABEL.fullmatch(path):
        return (
            "There is no such call. A label with “/”, “?” or “#” is written with %2F, %3F or %23 in its path, and none is "
            "empty; all calls are listed at /api/docs."
        )
    if path == "/api" or path.startswith("/api/"):
        return "There is no such call. The base URL of the API ends in /api/, and its calls are listed at /api/docs."
    return "There is nothing at this address. The base URL of the API ends in /api/, and its calls are listed at /api/docs."
