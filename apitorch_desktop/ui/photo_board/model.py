"""The rows of a review board: headings and photos, made of what Review found; a model that changes in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import Duplicate, DuplicateGroup, LabelIssue
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.utils.text import percent, plural, size

Index = QModelIndex | QPersistentModelIndex
_ONE_BY_ONE = 24
"""Rows that leave one at a time; for more it is quicker to lay all out anew."""
RowRole = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class HeadingRow:
    """A line above photos. `acts`: (verb, name of the act), offered at its end."""

    key: str
    title: str
    note: str = ""
    acts: tuple[tuple[str, str], ...] = ()
    group: DuplicateGroup | None = None


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo with up to two lines below. `mark`: "keep", "go" or ""."""

    key: str
    image: TrainingImage
    lines: tuple[str, ...] = ()
    mark: str = ""
    group: DuplicateGroup | None = None


@dataclass(frozen=True, slots=True)
class LabelIssueRow:
    """A photo with a label that may be wrong, and the likelier one."""

    key: str
    image: TrainingImage
    doubt: LabelIssue


Row = HeadingRow | PhotoRow | LabelIssueRow


class BoardModel(QAbstractListModel):
    """Rows by their keys. What stays keeps its place, so that focus and scrolling do."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows."""
        wanted = {row.key for row in rows}
        if sum(row.key not in wanted for row in self.rows) > _ONE_BY_ONE:
            self._reset(rows)
            return
        for at in range(len(self.rows) - 1, -1, -1):
            if self.rows[at].key not in wanted:
                self.beginRemoveRows(QModelIndex(), at, at)
                del self.rows[at]
                self.endRemoveRows()
        if [row.key for row in self.rows] != [row.key for row in rows]:
            self._reset(rows)
        elif self.rows != rows:
            self.rows = list(rows)
            self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))

    def _reset(self, rows: Sequence[Row]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def row(self, index: Index) -> Row | None:
        """The row behind an index."""
        return self.rows[index.row()] if index.isValid() and index.row() < len(self.rows) else None

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Headings are passed over."""
        row = self.row(index)
        if row is None or isinstance(row, HeadingRow):
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.row(index)
        if row is None:
            return None
        if role == RowRole:
            return row
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return _spoken(row)
        if role == Qt.ItemDataRole.ToolTipRole and not isinstance(row, HeadingRow):
            return row.image.display_name
        return None


def _spoken(row: Row) -> str:
    if isinstance(row, HeadingRow):
        return f"{row.title}. {row.note}"
    if isinstance(row, LabelIssueRow):
        doubt = row.doubt
        shares = f"{doubt.given} {percent(doubt.given_value)}, {doubt.likely} {percent(doubt.likely_value)}"
        return f"{row.image.display_name}: {shares}"
    mark = {"keep": "is kept", "go": "would be deleted"}.get(row.mark, "")
    return ", ".join(part for part in (row.image.display_name, *row.lines, mark) if part)


# --- the pages


def duplicates(review: ReviewController) -> list[Row]:
    """Groups side by side, the one to keep first."""
    rows: list[Row] = []
    groups = (review.found.groups if review.found is not None else None) or ()
    images = {image.image_id: image for image in review.images(one for group in groups for one in group.images)}
    for group in groups:
        kept = review.keeper(group)
        twins = sorted((twin for twin in group.twins if twin.image in images), key=lambda twin: twin.image != kept)
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
    doubts = [one for one in (review.found.doubts if review.found else None) or () if one.suspect]
    images = {image.image_id: image for image in review.images(one.image for one in doubts)}
    return [LabelIssueRow(one.image, images[one.image], one) for one in doubts if one.image in images]


def quality(review: ReviewController) -> list[Row]:
    """By kind of fault; a photo with two is there twice."""
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
    doubts = {one.image: one for one in (found.doubts if found is not None else None) or ()}
    rows: list[Row] = []
    for image in review.images(ids):
        doubt = doubts.get(image.image_id)
        other = f"or {doubt.likely}?" if doubt is not None else ""
        rows.append(PhotoRow(image.image_id, image, (f"{image.label}?", other)))
    return rows
