"""Rows of the review pages: duplicates, suspects, quality, unsure."""

from __future__ import annotations

from apitorch_desktop.dataset.review.findings import Duplicate
from apitorch_desktop.ui.photo_board.model import HeadingRow, LabelIssueRow, PhotoRow, Row
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.utils.text import plural, size


def duplicates(review: ReviewController) -> list[Row]:
    """Return groups of near-duplicates, the photo to keep first."""
    rows: list[Row] = []
    groups = (review.found.groups if review.found is not None else None) or ()
    images = {
        image.image_id: image for image in review.images(image_id for group in groups for image_id in group.images)
    }
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
    """Return photos with a suspect label, the most doubtful first."""
    issues = [issue for issue in (review.found.label_issues if review.found else None) or () if issue.suspect]
    images = {image.image_id: image for image in review.images(issue.image for issue in issues)}
    return [LabelIssueRow(issue.image, images[issue.image], issue) for issue in issues if issue.image in images]


def quality(review: ReviewController) -> list[Row]:
    """Return photos by quality flag; a photo with two flags appears twice."""
    rows: list[Row] = []
    found = review.found
    if found is None:
        return rows
    by_flag: dict[str, list[str]] = {flag: [] for flag in found.sentences}
    for image in found.flagged or ():
        for flag in image.flags:
            by_flag.setdefault(flag, []).append(image.image)
    images = {image.image_id: image for image in review.images(image.image for image in found.flagged or ())}
    images |= {image.image_id: image for image in review.images(found.unreadable)}
    for flag, ids in by_flag.items():
        if ids:
            title = flag[0].upper() + flag[1:]
            note = f"{plural(len(ids), 'photo')}. {found.sentences.get(flag, '')}"
            rows.append(HeadingRow(f"flag:{flag}", title, note, (("Select all", "select"),)))
            known = [images[image_id] for image_id in ids if image_id in images]
            rows += [
                PhotoRow(f"{flag} {image.image_id}", image, (image.display_name, str(image.label))) for image in known
            ]
    broken = [image_id for image_id in found.unreadable if image_id in images]
    if broken:
        rows.append(HeadingRow("broken", "Unreadable", plural(len(broken), "photo"), (("Select all", "select"),)))
    for image_id in broken:
        lines = (found.unreadable[image_id], str(images[image_id].label))
        rows.append(PhotoRow(f"broken {image_id}", images[image_id], lines))
    return rows


def unsure(review: ReviewController) -> list[Row]:
    """Return photos whose label would improve the classifier most once it is confirmed."""
    found = review.found
    ids = (found.unsure if found is not None else None) or []
    issues = {issue.image: issue for issue in (found.label_issues if found is not None else None) or ()}
    rows: list[Row] = []
    for image in review.images(ids):
        issue = issues.get(image.image_id)
        other = f"or {issue.likely}?" if issue is not None else ""
        rows.append(PhotoRow(image.image_id, image, (f"{image.label}?", other)))
    return rows
