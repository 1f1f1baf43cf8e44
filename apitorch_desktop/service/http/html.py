"""Plain HTML pages for a browser: a training set, an image, what went wrong. No script, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlencode

from starlette.responses import Response

from apitorch_desktop.service.http.request import SignedUrls
from apitorch_desktop.service.storage.records import ImageRow, LabelRow, TrainingSetRow

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 68%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p, dd { color: var(--soft); } p { max-width: 46rem; margin: .4rem 0; } a { color: inherit; } code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
"""  # noqa: E501
_PHOTOS = """
.labels { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1.1rem 0; max-height: 11rem; overflow: auto; }
.labels a, .more a { border: 1px solid var(--line); border-radius: 1rem; padding: .05rem .75rem; text-decoration: none; max-width: min(20rem, 100%); box-sizing: border-box; display: flex; gap: .4rem; }
.labels a span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .labels a small { color: var(--soft); font-size: 1em; font-variant-numeric: tabular-nums; }
.labels a:hover, .more a:hover { border-color: currentColor; } .labels a[aria-current] { border-color: currentColor; box-shadow: inset 0 0 0 1px currentColor; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(9rem, 45%), 1fr)); gap: .5rem; }
.grid img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .3rem; display: block; background: var(--line); font-size: .8rem; overflow: hidden; }
.grid a:focus-visible { outline: 3px solid; outline-offset: 2px; border-radius: .3rem; }
.more { display: flex; justify-content: center; margin: 1.5rem 0; max-width: none; } .empty { text-align: center; max-width: none; padding: 4rem 0; }
.photo { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; margin-top: 1rem; }
.photo img { max-width: 100%; max-height: 85vh; width: auto; height: auto; border-radius: .3rem; background: var(--line); } .photo dl { flex: 1 1 18rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.2rem; margin: 0; } dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
"""  # noqa: E501
_POLICY = "default-src 'none'; img-src 'self'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def training_set_page(
    links: SignedUrls,
    row: TrainingSetRow,
    labels: Sequence[LabelRow],
    images: Iterable[ImageRow],
    label: str | None,
    onward: str | None,
) -> Response:
    """A training set: its labels, and one page of the images of all or one of them; `onward` is the next one's `after`."""
    here = links.training_set(row)
    total = sum(row.counts)
    tabs = [_tab(here, "All", total, label is None)] + [
        _tab(f"{here}&{urlencode({'label': known.name})}", known.name, known.count, known.name == label)
        for known in labels
    ]
    nav = f'<nav class="labels" aria-label="Labels">{"".join(tabs)}</nav>' if labels else ""
    cells = "".join(_cell(links, row.owner_id, image) for image in images)
    more = {"label": label, "after": onward} if label else {"after": onward}
    after = f'<p class="more"><a href="{escape(f"{here}&{urlencode(more)}")}">More images</a></p>' if onward else ""
    shown = f'<div class="grid">{cells}</div>' if cells else '<p class="empty">There are no images here yet.</p>'
    about = f"<p>{escape(row.description)}</p>" if row.description else ""
    return html_page(row.name, f"<h1>{escape(row.name)}</h1>{about}{nav}{shown}{after}", _PHOTOS)


def image_page(links: SignedUrls, owner: int, row: ImageRow) -> Response:
    """One image with what is known of it."""
    url = links.image(owner, row)[0]
    facts = {
        "Name": row.original_filename or row.filename,
        "Size": f"{row.width} × {row.height} pixels, {row.bytes / 1000:,.0f} kB",
        "Added": row.created_at[:16].replace("T", " ") + " UTC",
        "Id": row.wire_id,
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    image = f'<img src="{escape(url)}" width="{row.width}" height="{row.height}" alt="{escape(row.label)}">'
    return html_page(
        row.label, f'<h1>{escape(row.label)}</h1><div class="photo">{image}<dl>{lines}</dl></div>', _PHOTOS
    )


def error_page(status: int, message: str) -> Response:
    """Why a page is not shown, for a person who followed a link."""
    title = "This page cannot be shown"
    return html_page(title, f"<h1>{title}</h1><p>{escape(message)}</p>", status=status)


def html_page(title: str, body: str, style: str = "", status: int = 200) -> Response:
    """A page of this service; it needs nothing from elsewhere, and its policy allows nothing. `body` is HTML."""
    css = _STYLE + style
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} – API Torch Desktop</title>'
        f'<meta name="viewport" content="width=device-width"><style>{css}</style><body>{body}</body></html>'
    )
    headers = {
        "content-security-policy": _POLICY.format(base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()),
        "cache-control": "private, no-store",
        "vary": "Accept",
    }
    return Response(html, status, media_type="text/html", headers=headers)


def _tab(url: str, text: str, count: int, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    name = escape(text)
    return f'<a href="{escape(url)}" title="{name}"{mark}><span>{name}</span><small>{count:,}</small></a>'


def _cell(links: SignedUrls, owner: int, image: ImageRow) -> str:
    url, thumbnail = (escape(address) for address in links.image(owner, image))
    name = escape(f"{image.label}: {image.original_filename or image.filename}")
    return f'<a href="{url}" title="{name}"><img src="{thumbnail}" alt="{escape(image.label)}" loading="lazy"></a>'
