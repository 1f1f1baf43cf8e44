"""The reference of the API for people: one HTML page made of the OpenAPI description, so that the two agree."""

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from starlette.responses import Response

from apitorch_desktop.service.http.html import html_page

Schema = dict[str, Any]

_STYLE = """
body { max-width: 78rem; }
.side { position: sticky; top: 1rem; max-height: calc(100vh - 2rem); overflow: auto; font-size: .87rem; }
.side a { display: block; padding: .1rem 0; text-decoration: none; overflow-wrap: anywhere; color: var(--soft); }
.side a:hover { text-decoration: underline; } .side strong { display: block; margin-top: .9rem; }
section { border-top: 1px solid var(--line); padding: 1rem 0 .4rem; scroll-margin-top: .5rem; }
section:target { box-shadow: -.8rem 0 0 -.6rem currentColor; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; } section p { margin: .4rem 0; }
b { display: inline-block; min-width: 3.2rem; text-align: center; font: 600 .75rem/1 ui-monospace, monospace; border-radius: .3rem; padding: .25rem .3rem; margin-right: .5rem; color: #fff; background: #2463a8; }
b.post { background: #1f7a4d; } b.patch { background: #8a6100; } b.delete { background: #b3362f; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: .93em; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); font-weight: normal; overflow-wrap: anywhere; }
tr:last-child > * { border-bottom: 0; } th:first-child { width: 11rem; } td:nth-child(2) { width: 13rem; } td, caption { color: var(--soft); }
caption { text-align: left; font-weight: 600; padding: .3rem 0 0; } th em { font-style: normal; color: #b3362f; }
pre { border: 1px solid var(--line); border-radius: .4rem; padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.5 ui-monospace, monospace; }
.tag { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem; font-size: .8rem; color: var(--soft); margin-left: .4rem; font-weight: normal; white-space: nowrap; }
@media (prefers-color-scheme: dark) { th em { color: #f08a84; } }
@media (min-width: 62rem) { .two { display: grid; grid-template-columns: 17rem minmax(0, 1fr); gap: 2.5rem; align-items: start; } }
@media (max-width: 62rem) { .side { position: static; max-height: 14rem; border: 1px solid var(--line); border-radius: .4rem; padding: 0 .9rem .6rem; margin-bottom: 1.5rem; } }
@media (max-width: 36rem) { th:first-child, td:nth-child(2) { width: auto; } td:nth-child(3):empty { display: none; } }
"""  # noqa: E501
_INTRODUCTION = """<h1>{title}</h1><p>{summary} Authentication is HTTP Basic: the API key is the user name, the password is
blank. Bodies are JSON, urlencoded or multipart. {description} For programs: <a href="/api/openapi.json">openapi.json</a>
(OpenAPI 3.1).</p><pre>curl -u "$APITORCH_API_KEY:" {origin}/api/ping
curl -u "$APITORCH_API_KEY:" -F image=@photo.jpg -F classifiers=safe-for-work {origin}/api/classify</pre>"""


def docs_page(description: dict[str, Any], origin: str) -> Response:
    """All calls, then the objects they take and answer, then the errors. `origin`: `http://host:port` for the examples."""
    calls = [
        (operation["tags"][0], method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    body, side = [], []
    for tag in (entry["name"] for entry in description["tags"]):
        mine = [call[1:] for call in calls if call[0] == tag]
        body += [f"<h2>{escape(tag)}</h2>", *(_call(*call) for call in mine)]
        side += [f"<strong>{escape(tag)}</strong>"]
        side += [
            f'<a href="#{operation["operationId"]}">{method.upper()} {escape(path.removeprefix("/api"))}</a>'
            for method, path, operation in mine
        ]
    schemas = description["components"]["schemas"].items()
    body += ["<h2>Objects</h2>", *(_object(name, schema) for name, schema in schemas)]
    errors = (
        (entry.removeprefix("E"), "", text["description"])
        for entry, text in description["components"]["responses"].items()
    )
    body += ['<h2 id="errors">Errors</h2>', _table("", errors)]
    side += ['<strong><a href="#errors">Errors</a></strong>']
    introduction = _INTRODUCTION.format(
        title=escape(description["info"]["title"]),
        summary=escape(description["info"]["summary"]),
        description=_text(description["info"]["description"]),
        origin=escape(origin),
    )
    return html_page(
        "API",
        f'<div class="two"><nav class="side" aria-label="Calls">{"".join(side)}</nav>'
        f"<main>{introduction}{''.join(body)}</main></div>",
        _STYLE,
    )


def _call(method: str, path: str, operation: Schema) -> str:
    extension = f'<span class="tag">{escape(operation["x-extension"])}</span>' if "x-extension" in operation else ""
    tables = []
    for place, title in (("path", "In the path"), ("query", "In the query")):
        rows = [
            (
                _name(each["name"], each["required"] and place == "query"),
                _kind(each["schema"]),
                each.get("description") or each["schema"].get("description", ""),
            )
            for each in operation.get("parameters", [])
            if each["in"] == place
        ]
        tables.append(_table(title, rows))
    if "requestBody" in operation and not _same_in_query(operation):
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        tables.append(_table("In the body", _fields(form)))
    answers = (_kind(kind["schema"]) or escape(name) for name, kind in operation["responses"]["200"]["content"].items())
    failing = ", ".join(status for status in operation["responses"] if status != "200")
    access = " No key is needed." if operation.get("security") == [] else ""
    return (
        f'<section id="{operation["operationId"]}"><h3><b class="{method}">{method.upper()}</b>'
        f"<code>{escape(path)}</code>{extension}</h3><p>{_text(operation['summary'])}{access}</p>{''.join(tables)}"
        f'<p>Answers {", ".join(answers)}; <a href="#errors">errors</a> {failing}.</p></section>'
    )


def _same_in_query(operation: Schema) -> bool:
    return not operation["requestBody"]["required"]


def _object(name: str, schema: Schema) -> str:
    text = " ".join(schema.get("description", "").split())
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><p>{_text(text)}</p>{_table("", _fields(schema))}</section>'


def _fields(schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Name, kind and description of each field; a field that must be there is marked."""
    for name, field in schema.get("properties", {}).items():
        yield _name(name, name in schema.get("required", [])), _kind(field), field.get("description", "")


def _name(name: str, required: bool) -> str:
    mark = ' <em title="must be there" aria-label="must be there">*</em>' if required else ""
    return f"<code>{escape(name)}</code>{mark}"


def _kind(schema: Schema) -> str:
    """What a value is, in words, with links to the objects."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_kind, schema["anyOf"]))))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind: str = schema.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {})) or 'anything'}"
    if schema.get("format") == "binary":
        return "file"
    return {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "nothing"}.get(kind, kind)


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{name}</th>{f"<td>{kind}</td>" if kind else "<td></td>"}<td>{_text(text)}</td></tr>'
        for name, kind, text in rows
    )
    caption = f"<caption>{title}</caption>" if title else ""
    return f"<table>{caption}{lines}</table>" if lines else ""


def _text(text: str) -> str:
    """Text with `code` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
