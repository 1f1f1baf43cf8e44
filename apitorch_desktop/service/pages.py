"""Plain HTML pages for a browser: a training set, an image, the calls of the API. No script, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlencode

from starlette.responses import Response

from apitorch_desktop.service.calls import Links
from apitorch_desktop.service.records import ImageRow, LabelRow, TrainingSetRow
from apitorch_desktop.service.routing import Operation

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 65%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, small, dd { color: var(--soft); } a { color: inherit; } code { font-size: .9em; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1rem 0; } nav a { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .7rem; text-decoration: none; }
nav a[aria-current] { font-weight: 600; border-color: currentColor; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; }
.grid img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .3rem; display: block; background: var(--line); }
.one { max-width: 100%; max-height: 85vh; border-radius: .3rem; }
section { border-top: 1px solid var(--line); padding: .8rem 0; } h3 { font-size: 1rem; margin: 0; }
b { font: 600 .8rem/1 ui-monospace, monospace; border: 1px solid var(--line); border-radius: .3rem; padding: .15rem .4rem; margin-right: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .4rem 0 0; } dt { font-weight: 600; } dd { margin: 0; }
"""  # noqa: E501
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; img-src 'self'; style-src 'sha256-{_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cache-control": "private, no-store",
    "vary": "Accept",
}


def training_set_page(
    links: Links,
    row: TrainingSetRow,
    labels: Sequence[LabelRow],
    images: Iterable[ImageRow],
    label: str | None,
    onward: str | None,
) -> Response:
    """A training set: its labels, and one page of the images of all or one of them; `onward` is the next one's `after`."""
    here = links.training_set(row)
    total = sum(row.counts)
    tabs = [_tab(here, f"All {total}", label is None)] + [
        _tab(f"{here}&{urlencode({'label': known.name})}", f"{known.name} {known.count}", known.name == label)
        for known in labels
    ]
    cells = "".join(_cell(links, row.owner_id, image) for image in images)
    more = {"label": label, "after": onward} if label else {"after": onward}
    after = f'<p><a href="{escape(f"{here}&{urlencode(more)}")}">More images</a></p>' if onward else ""
    empty = "" if cells else "<p>There are no images here yet.</p>"
    return _page(
        row.name,
        f"<h1>{escape(row.name)}</h1><p>{escape(row.description)}</p><nav>{''.join(tabs)}</nav>"
        f'{empty}<div class="grid">{cells}</div>{after}',
    )


def image_page(links: Links, owner: int, row: ImageRow) -> Response:
    """One image with what is known of it."""
    url = links.image(owner, row)[0]
    facts = {
        "Label": row.label,
        "Name": row.original_filename or row.filename,
        "Size": f"{row.width} × {row.height} pixels, {row.bytes / 1000:,.0f} kB",
        "Added": row.created_at[:16].replace("T", " ") + " UTC",
        "Id": row.wire_id,
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    image = f'<img class="one" src="{escape(url)}" alt="{escape(row.label)}">'
    return _page(row.label, f"<h1>{escape(row.label)}</h1><dl>{lines}</dl><p>{image}</p>")


def docs_page(operations: Iterable[Operation], errors: dict[int, str]) -> Response:
    """All calls of the API, from the table that makes them."""
    groups: dict[str, list[str]] = {}
    for operation in operations:
        groups.setdefault(operation.tag, []).append(_call(operation))
    calls = "".join(f"<h2>{escape(tag)}</h2>{''.join(sections)}" for tag, sections in groups.items())
    lines = "".join(f"<dt>{status}</dt><dd>{escape(text)}</dd>" for status, text in errors.items())
    return _page(
        "API",
        "<h1>API</h1><p>Authentication is HTTP Basic: the API key is the user name, the password is blank. Bodies are "
        "JSON, urlencoded or multipart. Success is 200; every other answer is a JSON object with a message that says what "
        f'to do. The same in OpenAPI 3.1: <a href="/api/openapi.json">openapi.json</a>.</p>{calls}'
        f"<h2>Errors</h2><dl>{lines}</dl>",
    )


def _page(title: str, body: str) -> Response:
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} – API Torch Desktop</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><body>{body}</body></html>'
    )
    return Response(html, media_type="text/html", headers=_HEADERS)


def _tab(url: str, text: str, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<a href="{escape(url)}"{mark}>{escape(text)}</a>'


def _cell(links: Links, owner: int, image: ImageRow) -> str:
    url, thumbnail = (escape(address) for address in links.image(owner, image))
    name = escape(f"{image.label}: {image.original_filename or image.filename}")
    return f'<a href="{url}" title="{name}"><img src="{thumbnail}" alt="{escape(image.label)}" loading="lazy"></a>'


def _call(operation: Operation) -> str:
    lines = []
    for name, kind in (("Query", operation.query), ("Body", operation.body)):
        if kind is not None and kind.__struct_fields__:
            fields = [f"<code>{escape(field)}</code>" for field in kind.__struct_encode_fields__]
            if name == "Body" and operation.by_url is not None:
                fields.append("<code>image</code> (a file, multipart)")
            lines.append(f"<dt>{name}</dt><dd>{', '.join(fields)}</dd>")
    answer = operation.answer if isinstance(operation.answer, str) else operation.answer.__name__
    lines.append(f"<dt>Answer</dt><dd>{escape(answer)}</dd>")
    if operation.extension:
        lines.append(f"<dt>Extension</dt><dd>{escape(operation.extension)}</dd>")
    return (
        f"<section><h3><b>{operation.method}</b><code>{escape(operation.path)}</code></h3>"
        f"<p>{escape(operation.summary)}</p><dl>{''.join(lines)}</dl></section>"
    )
