"""HTML pages for a browser: a training set, an image, an error, and the API reference.

Templates and styles are in `resources/web`. No page has a script or loads anything from another site.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from string import Template
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from apitorch_desktop.service.http.signed_urls import SignedUrls
from apitorch_desktop.service.storage.records import ImageRow, LabelRow, TrainingSetRow
from apitorch_desktop.utils import paths

Schema = dict[str, Any]

_BROWSER_FORMATS = frozenset({".jpg", ".png", ".gif", ".webp", ".bmp", ".avif"})
"""Extensions of images that every browser shows; of others it gets the thumbnail."""
_POLICY = "default-src 'none'; img-src 'self'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def training_set_page(
    links: SignedUrls,
    row: TrainingSetRow,
    labels: Sequence[LabelRow],
    images: Iterable[ImageRow],
    label: str | None,
    next_after: str | None,
) -> Response:
    """Return the page of a training set: its labels and one page of images, of all labels or of `label`.

    `next_after` is the `after` of the following page, None on the last.
    """
    page_url = links.training_set(row)
    total = sum(row.counts)
    tabs = [_tab(page_url, "All", total, label is None)] + [
        _tab(f"{page_url}&{urlencode({'label': known.name})}", known.name, known.count, known.name == label)
        for known in labels
    ]
    nav = f'<nav class="labels" aria-label="Labels">{"".join(tabs)}</nav>' if labels else ""
    cells = "".join(_cell(links, row.owner_id, image) for image in images)
    more = {"label": label, "after": next_after} if label else {"after": next_after}
    after = (
        f'<p class="more"><a href="{escape(f"{page_url}&{urlencode(more)}")}">More images</a></p>' if next_after else ""
    )
    grid = f'<div class="grid">{cells}</div>' if cells else '<p class="empty">There are no images here yet.</p>'
    description = f"<p>{escape(row.description)}</p>" if row.description else ""
    return html_page(row.name, f"<h1>{escape(row.name)}</h1>{description}{nav}{grid}{after}", "photos.css")


def image_page(links: SignedUrls, owner: int, row: ImageRow) -> Response:
    """Return the page of one image and its details."""
    url = links.image(owner, row)[0]
    details = {
        "Name": row.original_filename or row.filename,
        **({"Split": row.split} if row.split else {}),
        "Size": f"{row.width} × {row.height} pixels, {row.bytes / 1000:,.0f} kB",
        "Added": row.created_at[:16].replace("T", " ") + " UTC",
        "Id": row.wire_id,
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in details.items())
    size = f' width="{row.width}" height="{row.height}"'
    if row.extension not in _BROWSER_FORMATS:
        url, size = links.image(owner, row)[1], ""
    image = f'<img src="{escape(url)}"{size} alt="{escape(row.label)}">'
    return html_page(
        row.label, f'<h1>{escape(row.label)}</h1><div class="photo">{image}<dl>{lines}</dl></div>', "photos.css"
    )


def error_page(status: int, message: str) -> Response:
    """Return an error as a page, for a browser that followed a link."""
    title = "This page cannot be shown"
    return html_page(title, f"<h1>{title}</h1><p>{escape(message)}</p>", status=status)


def html_page(title: str, body: str, style: str = "", status: int = 200) -> Response:
    """Return a page with a content security policy that allows only its own style and images.

    `body` is HTML; `style` names a style sheet in `resources/web` that is added to `page.css`.
    """
    css = _read("page.css") + (_read(style) if style else "")
    html = Template(_read("page.html")).substitute(title=escape(title), style=css, body=body)
    headers = {
        "content-security-policy": _POLICY.format(base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()),
        "cache-control": "private, no-store",
        "vary": "Accept",
    }
    return Response(html, status, media_type="text/html", headers=headers)


def reference_page(description: dict[str, Any], origin: str) -> Response:
    """Return the API reference made from the OpenAPI description: operations, schemas, errors.

    `origin` is the `http://host:port` shown in the examples.
    """
    calls = [
        (operation["tags"][0], method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    body, index = [], []
    for tag in (entry["name"] for entry in description["tags"]):
        tagged = [call[1:] for call in calls if call[0] == tag]
        body += [f"<h2>{escape(tag)}</h2>", *(_operation_section(*call) for call in tagged)]
        index += [f"<strong>{escape(tag)}</strong>"]
        index += [
            f'<a href="#{operation["operationId"]}">{method.upper()} {escape(path.removeprefix("/api"))}</a>'
            for method, path, operation in tagged
        ]
    schemas = description["components"]["schemas"].items()
    body += ["<h2>Objects</h2>", *(_schema_section(name, schema) for name, schema in schemas)]
    errors = (
        (entry.removeprefix("E"), "", text["description"])
        for entry, text in description["components"]["responses"].items()
    )
    body += ['<h2 id="errors">Errors</h2>', _table("", errors)]
    index += ['<strong><a href="#errors">Errors</a></strong>']
    page = Template(_read("reference.html")).substitute(
        index="".join(index),
        title=escape(description["info"]["title"]),
        summary=escape(description["info"]["summary"]),
        description=_code_spans(description["info"]["description"]),
        origin=escape(origin),
        calls="".join(body),
    )
    return html_page("API", page, "reference.css")


@cache
def _read(name: str) -> str:
    return (paths.resources() / "web" / name).read_text(encoding="utf-8")


def _tab(url: str, text: str, count: int, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    name = escape(text)
    return f'<a href="{escape(url)}" title="{name}"{mark}><span>{name}</span><small>{count:,}</small></a>'


def _cell(links: SignedUrls, owner: int, image: ImageRow) -> str:
    url, thumbnail = (escape(address) for address in links.image(owner, image))
    name = escape(f"{image.label}: {image.original_filename or image.filename}")
    return f'<a href="{url}" title="{name}"><img src="{thumbnail}" alt="{escape(image.label)}" loading="lazy"></a>'


def _operation_section(method: str, path: str, operation: Schema) -> str:
    extension = f'<span class="tag">{escape(operation["x-extension"])}</span>' if "x-extension" in operation else ""
    tables = []
    for place, title in (("path", "In the path"), ("query", "In the query")):
        rows = [
            (
                _name(each["name"], each["required"] and place == "query"),
                _type_text(each["schema"]),
                each.get("description") or each["schema"].get("description", ""),
            )
            for each in operation.get("parameters", [])
            if each["in"] == place
        ]
        tables.append(_table(title, rows))
    if operation.get("requestBody", {}).get("required"):
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        tables.append(_table("In the body", _fields(form)))
    answers = (
        _type_text(kind["schema"]) or escape(name) for name, kind in operation["responses"]["200"]["content"].items()
    )
    failing = ", ".join(status for status in operation["responses"] if status != "200")
    access = " No key is needed." if operation.get("security") == [] else ""
    return (
        f'<section id="{operation["operationId"]}"><h3><b class="{method}">{method.upper()}</b>'
        f"<code>{escape(path)}</code>{extension}</h3><p>{_code_spans(operation['summary'])}{access}</p>{''.join(tables)}"
        f'<p>Answers {", ".join(answers)}; <a href="#errors">errors</a> {failing}.</p></section>'
    )


def _schema_section(name: str, schema: Schema) -> str:
    text = _code_spans(" ".join(schema.get("description", "").split()))
    table = _table("", _fields(schema))
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><p>{text}</p>{table}</section>'


def _fields(schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and description of each field; required fields are marked."""
    for name, field in schema.get("properties", {}).items():
        yield _name(name, name in schema.get("required", [])), _type_text(field), field.get("description", "")


def _name(name: str, required: bool) -> str:
    mark = ' <em title="must be there" aria-label="must be there">*</em>' if required else ""
    return f"<code>{escape(name)}</code>{mark}"


def _type_text(schema: Schema) -> str:
    """Return the type of a value in words, with links to the schemas."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_type_text, schema["anyOf"]))))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind: str = schema.get("type", "")
    if kind == "array":
        return f"list of {_type_text(schema.get('items', {})) or 'anything'}"
    if schema.get("format") == "binary":
        return "file"
    return {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "nothing"}.get(kind, kind)


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{name}</th>{f"<td>{kind}</td>" if kind else "<td></td>"}<td>{_code_spans(text)}</td></tr>'
        for name, kind, text in rows
    )
    caption = f"<caption>{title}</caption>" if title else ""
    return f"<table>{caption}{lines}</table>" if lines else ""


def _code_spans(text: str) -> str:
    """Escape text and turn its backticks into code elements."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
