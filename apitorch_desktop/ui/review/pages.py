"""Rows of the review pages, made of the findings: duplicates, suspects, quality, unsure."""

from __future__ import annotations

from apitorch_desktop.dataset.review.findings import Duplicate
from apitorch_desktop.ui.photo_board.model import HeadingRow, LabelIssueRow, PhotoRow, Row
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.utils.text import plural, size


def duplicates(review: ReviewController) -> list[Row]:
    """Groups side by side, the one to keep first."""
    rows: list[Row] = []
    groups = (review.found.groups if review.found is not None else None) or ()
    images = {image.image_id: image for image in review.images(one for group in groups for one in group.images)}
    for group in groups:
        kept = review.keeper(group)
        twins = sorted((twin for twin in group.duplicates if twin.image in images), key=lambda twin: twin.image != kept)
        if len(twins) < 2:
            continue
        labels = list(dict.fromkeys(twin.label for twin in twins))
        key = " ".join(sorted(twin.image for twin in twins))
        acts = (("Keep all", "dismiss"), (f"Delete {plural(len(twins) - 1, 'other')}", "delete"))
        note = labels[0] if len(labels) == 1 else "under " + " and ".join(f"“{label}”" for label in labels)
        rows.append(HeadingRow(key, plural(len(twins), "photo"), note, acts, group))
        for twin in twins:
            mark = "keep" if twin.image == kept else "go"
            lines = _figures(twin, named=len(labels) > 1)
            rows.append(PhotoRow(f"{key} {twin.image}", images[twin.image], lines, mark, group))
    return rows


def _figures(twin: Duplicate, *, named: bool) -> tuple[str, ...]:
    pixels = f"{twin.width:,} × {twin.height:,}" if twin.width else ""
    first = " · ".join(part for part in (pixels, size(twin.bytes) if twin.bytes else "") if part)
    second = " · ".join(part for part in (twin.label if named else "", twin.created_at[:10]) if part)
    return (first, second)


def suspects(review: ReviewController) -> list[Row]:
    """The most doubtful first."""
    doubts = [one for one in (review.found.label_issues if review.found else None) or () if one.suspect]
    images = {image.image_id: image for image in review.images(one.image for one in doubts)}
    return [LabelIssueRow(one.image, images[one.image], one) for one in doubts if one.image in images]


def quality(review: ReviewController) -> list[Row]:
    """By kind of error; a photo with two is there twice."""
    rows: list[Row] = []
    found = review.found
    if found is None:
        return rows
    by_flag: dict[str, list[str]] = {flag: [] for flag in found.sentences}
    for one in found.flagged or ():
        for flag in one.flags:
            by_flag.setdefault(flag, []).append(one.image)
    images = {image.image_id: image for image in review.images(one.image for one in found.flagged or ())}
    images |= {image.image_id: image for image in review.images(found.unreadable)}
    for flag, ids in by_flag.items():
        if ids:
            title = flag[0].upper() + flag[1:]
            note = f"{plural(len(ids), 'photo')}. {found.sentences.get(flag, '')}"
            rows.append(HeadingRow(f"flag:{flag}", title, note, (("Select all", "select"),)))
            there = [images[one] for one in ids if one in images]
            rows += [PhotoRow(f"{flag} {one.image_id}", one, (one.display_name, str(one.label))) for one in there]
    broken = [one for one in found.unreadable if one in images]
    if broken:
        rows.append(HeadingRow("broken", "Unreadable", plural(len(broken), "photo"), (("Select all", "select"),)))
        rows += [
            PhotoRow(f"broken {one}", images[one], (found.unreadable[one], str(images[one].label))) for one in broken
        ]
    return rows


def unsure(review: ReviewController) -> list[Row]:
    """Photos whose label would teach most, once somebody has made sure of it."""
    found = review.found
    ids = (found.unsure if found is not None else None) or []
    doubts = {one.image: one for one in (found.label_issues if found is not None else None) or ()}
    rows: list[Row] = []
    for image in review.images(ids):
        doubt = doubts.get(image.image_id)
        other = f"or {doubt.likely}?" if doubt is not None else ""
        rows.append(PhotoRow(image.image_id, image, (f"{image.label}?", other)))
    return rows
