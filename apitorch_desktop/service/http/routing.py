"""Operation: one row of the table that makes both the routes and the OpenAPI description; Routes finds the row.

Paths are matched on the raw, still encoded segments, so that a slash within a label (`a%2Fb`) stays within it.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import Answer, Request

Handler = Callable[[Request], Awaitable[Answer]]
Access = Literal["key", "link", "open"]

PARAMETERS: dict[str, str] = {
    "id": "Identifier of the training set, a number.",
    "label": "Name of the label; any spelling is turned into snake_case.",
    "image_id": "Identifier of the training image, with or without `ti_`.",
    "slug": "Slug of the classifier.",
    "filename": "Name of the image file as a listing gives it.",
    "owner": "Number of the owner, as a listing gives it.",
    "set_slug": "Slug of the training set; for people, any will do.",
}
"""What a name within braces in a path stands for."""


@dataclass(frozen=True)
class Operation:
    """What one method on one path does.

    `path` has parameters in braces. `access`: with the API key, with a signed link (or the key where `basic`), or
    open. `body`: the fields of a JSON, urlencoded or multipart body; `by_url`: the same where multipart also takes a
    file `image`, as JSON and urlencoded bodies have to be, which cannot; `query`: the fields of the query; `loose`:
    body fields may stand in the query as well. `answer` is the type of the JSON, or a media type. `errors` are the
    statuses beside those every operation may have. `extension`: the name `ping` lists, empty for what is documented.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    answer: type[Struct] | str
    tag: str
    access: Access = "key"
    basic: bool = False
    body: type[Struct] | None = None
    by_url: type[Struct] | None = None
    query: type[Struct] | None = None
    loose: bool = False
    errors: tuple[int, ...] = ()
    extension: str = ""


@dataclass
class _Node:
    fixed: "dict[str, _Node]" = field(default_factory=dict)
    parameter: str = ""
    child: "_Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)


class Routes:
    """The operations by method and path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            node = self._root
            for segment in operation.path.strip("/").split("/"):
                node = self._step(node, segment)
            if operation.method in node.operations:
                raise ValueError(f"{operation.method} {operation.path} is there twice")
            node.operations[operation.method] = operation

    def find(self, method: str, raw_path: bytes) -> tuple[Operation, dict[str, str]]:
        """The operation and the decoded values of its parameters. A slash at the end changes nothing.

        Raises Refusal 404 or 405.
        """
        path = raw_path.decode("latin-1")
        segments = path[1:].removesuffix("/").split("/")
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for node, values in self._walk(self._root, segments, 0, {}):
            if wanted in node.operations:
                return node.operations[wanted], values
            allowed.update(node.operations)
        if not allowed:
            raise HttpError(404, _advice(path))
        if "GET" in allowed:
            allowed.add("HEAD")
        names = sorted(allowed)
        raise HttpError(
            405, f"{method[:20]} does nothing here. Use {' or '.join(names)}.", [("allow", ", ".join(names))]
        )

    def _step(self, node: _Node, segment: str) -> _Node:
        if not segment.startswith("{"):
            return node.fixed.setdefault(segment, _Node())
        name = segment.strip("{}")
        if node.child is None:
            node.parameter, node.child = name, _Node()
        elif node.parameter != name:
            raise ValueError(f"two names for one place in a path: {node.parameter} and {name}")
        return node.child

    def _walk(
        self, node: _Node, segments: list[str], at: int, values: dict[str, str]
    ) -> Iterator[tuple[_Node, dict[str, str]]]:
        if at == len(segments):
            if node.operations:
                yield node, values
            return
        fixed = node.fixed.get(segments[at])
        if fixed is not None:
            yield from self._walk(fixed, segments, at + 1, values)
        if node.child is not None and segments[at]:
            value = unquote(segments[at], errors="replace")
            yield from self._walk(node.child, segments, at + 1, {**values, node.parameter: value})


def _advice(path: str) -> str:
    if path == "/api" or path.startswith("/api/"):
        return "There is no such call. All calls are listed at /api/docs."
    return "There is nothing at this address. The base URL of the API ends in /api/, and its calls are listed at /api/docs."
