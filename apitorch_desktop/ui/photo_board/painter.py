"""Painting of the photo board: headings, photos, label issues, and the places of their actions."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen

from apitorch_desktop.ui.grid.painter import Cell, GridPainter
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, LabelIssueRow, PhotoRow, Row
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import DARK, Role
from apitorch_desktop.utils.text import percent

EDGE: Final = 132
"""Side of a thumbnail in pixels."""
_SMALL_EDGE: Final = 96
_GAP: Final = 8
_MARGIN: Final = 10
_ISSUE_WIDTH: Final = 324
_KEEP: Final = "Keep this"
_ROLES: Final[tuple[Role, ...]] = ("base", "strong", "small", "tiny")


class BoardPainter:
    """Paints with the theme's colors and type; call `refresh` when these change."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._cells = GridPainter(theme)
        self.refresh()

    def refresh(self) -> None:
        """Adopt the theme's colors and type."""
        self._cells.refresh()
        self._fonts: dict[Role, QFont] = {role: self._theme.font(role) for role in _ROLES}
        self._metrics = {role: QFontMetrics(font) for role, font in self._fonts.items()}
        self._pill = QColor(DARK.canvas)
        self._pill.setAlpha(225)

    @property
    def edge(self) -> int:
        """Side of a thumbnail in pixels."""
        return self._theme.px(EDGE)

    # --- places

    def size(self, row: Row | None, width: int) -> QSize:
        """Return the size of a row; a heading has the whole width."""
        px = self._theme.px
        if isinstance(row, HeadingRow):
            return QSize(width, px(44))
        if isinstance(row, LabelIssueRow):
            return QSize(min(width, px(_ISSUE_WIDTH + _GAP * 2)), px(_SMALL_EDGE + _GAP * 2 + 4))
        lines = 2 * self._metrics["small"].height()
        return QSize(px(EDGE + _GAP * 2), px(EDGE + _GAP + 9) + lines + px(_GAP))

    def action_at(self, row: Row, rect: QRect, point: QPoint, mirrored: bool) -> str:
        """Return the name of the action at a point, "" for none."""
        places = self._action_places(row, rect) if not isinstance(row, PhotoRow) else self._mark_place(row, rect)
        for name, place in places.items():
            if _mirror(place, rect, mirrored).contains(point):
                return name
        return ""

    def _action_places(self, row: Row, rect: QRect) -> dict[str, QRect]:
        px = self._theme.px
        found: dict[str, QRect] = {}
        if isinstance(row, HeadingRow):
            right = rect.right() - px(_MARGIN)
            for verb, name in reversed(row.actions):
                width = self._metrics["base"].horizontalAdvance(verb) + px(12)
                found[name] = QRect(right - width, rect.top() + px(12), width, px(28))
                right -= width + px(4)
        elif isinstance(row, LabelIssueRow):
            inner = self._text_place(rect)
            top, left = inner.bottom() - px(26), inner.left()
            for verb, name in ((f"✓ {row.issue.likely}", "accept"), ("✕ Keep", "dismiss")):
                width = min(self._metrics["small"].horizontalAdvance(verb) + px(16), inner.right() - left)
                if name == "accept":
                    room = inner.width() - self._metrics["small"].horizontalAdvance("✕ Keep") - px(22)
                    width = min(width, room)
                found[name] = QRect(left, top, width, px(26))
                left += width + px(6)
        return found

    def _mark_place(self, row: PhotoRow, rect: QRect) -> dict[str, QRect]:
        if not row.mark:
            return {}
        px = self._theme.px
        box = self._box(rect)
        width = self._metrics["tiny"].horizontalAdvance(_KEEP) + px(16)
        return {"keep": QRect(box.left() + px(6), box.bottom() - px(26), width, px(20))} if row.mark == "go" else {}

    def _box(self, rect: QRect) -> QRect:
        px = self._theme.px
        return QRect(rect.left() + px(_GAP), rect.top() + px(_GAP), px(EDGE), px(EDGE))

    def _text_place(self, rect: QRect) -> QRect:
        px = self._theme.px
        left = rect.left() + px(_GAP + _SMALL_EDGE + 12)
        return QRect(left, rect.top() + px(_GAP), rect.right() - px(_GAP) - left, px(_SMALL_EDGE))

    # --- painting

    def heading(self, painter: QPainter, rect: QRect, row: HeadingRow, *, mirrored: bool) -> None:
        """Paint a heading: a line, title, note and actions."""
        px, color = self._theme.px, self._theme.color
        if rect.top() > 0:
            painter.fillRect(
                QRect(rect.left() + px(_MARGIN), rect.top() + px(4), rect.width() - 2 * px(_MARGIN), 1), color("line")
            )
        left, line = rect.left() + px(_MARGIN), QRect(rect.left(), rect.top() + px(12), rect.width(), px(28))
        verbs = self._action_places(row, rect)
        end = min((place.left() for place in verbs.values()), default=rect.right() - px(_MARGIN))
        parts: tuple[tuple[str, Role, str], ...] = ((row.title, "strong", "text"), (row.note, "base", "muted"))
        for text, role, token in parts:
            metrics = self._metrics[role]
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, end - px(8) - left))
            place = QRect(left, line.top(), metrics.horizontalAdvance(shown) + 2, line.height())
            self._write(painter, _mirror(place, rect, mirrored), shown, role, token)
            left = place.right() + px(8)
        names = {name: verb for verb, name in row.actions}
        for name, verb_place in verbs.items():
            self._write(painter, _mirror(verb_place, rect, mirrored), names[name], "base", "accent_text", centered=True)

    def photo(
        self,
        painter: QPainter,
        rect: QRect,
        row: PhotoRow | LabelIssueRow,
        loader: ThumbnailLoader,
        *,
        selected: bool,
        focused: bool,
        mirrored: bool,
    ) -> None:
        """Paint a photo with its texts."""
        px = self._theme.px
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        box = self._box(rect)
        if isinstance(row, LabelIssueRow):
            box.setSize(QSize(px(_SMALL_EDGE), px(_SMALL_EDGE)))
        image_id = row.image.image_id
        pixmap = loader.pixmap(image_id)
        failure = loader.failure(image_id) if pixmap is None else None
        cell = Cell(pixmap=pixmap, failure=failure, badge="", selected=selected, focused=focused, whole=False)
        shown = _mirror(box, rect, mirrored)
        self._cells.cell(painter, shown, cell, mirrored)
        if isinstance(row, LabelIssueRow):
            self._paint_issue(painter, rect, row, mirrored)
        else:
            self._paint_lines(painter, rect, row, box, mirrored)
        painter.restore()

    def _paint_lines(self, painter: QPainter, rect: QRect, row: PhotoRow, box: QRect, mirrored: bool) -> None:
        px, metrics = self._theme.px, self._metrics["small"]
        top = box.bottom() + px(9)
        for line, text in enumerate(row.lines):
            place = QRect(box.left(), top + line * metrics.height(), box.width(), metrics.height())
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, place.width())
            self._write(painter, _mirror(place, rect, mirrored), shown, "small", "text" if line == 0 else "muted")
        if row.mark:
            text = "Kept" if row.mark == "keep" else _KEEP
            width = self._metrics["tiny"].horizontalAdvance(text) + px(16)
            place = _mirror(QRect(box.left() + px(6), box.bottom() - px(26), width, px(20)), rect, mirrored)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("strong") if row.mark == "keep" else self._pill)
            painter.drawRoundedRect(QRectF(place), px(10), px(10))
            painter.setPen(self._theme.color("on_strong") if row.mark == "keep" else QColor(DARK.text))
            painter.setFont(self._fonts["tiny"])
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_issue(self, painter: QPainter, rect: QRect, row: LabelIssueRow, mirrored: bool) -> None:
        px, issue = self._theme.px, row.issue
        inner = self._text_place(rect)
        height = px(32)
        for at, (label, value, token) in enumerate(
            ((issue.given, issue.given_value, "muted"), (issue.likely, issue.likely_value, "accent"))
        ):
            line = QRect(inner.left(), inner.top() + at * height, inner.width(), px(18))
            figure = percent(value)
            width = self._metrics["small"].horizontalAdvance(figure) + px(4)
            name = QRect(line.left(), line.top(), line.width() - width - px(4), line.height())
            text = self._metrics["strong"].elidedText(label, Qt.TextElideMode.ElideMiddle, name.width())
            self._write(painter, _mirror(name, rect, mirrored), text, "strong" if at else "base", "text")
            end = QRect(line.right() - width, line.top(), width, line.height())
            self._write(painter, _mirror(end, rect, mirrored), figure, "small", "muted", at_end=True)
            track = QRectF(line.left(), line.bottom() + px(3), line.width(), px(4))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("bar"))
            painter.drawRoundedRect(track, px(2), px(2))
            track.setWidth(max(px(3), track.width() * value))
            painter.setBrush(self._theme.color(token))
            whole = _mirror(track.toRect(), rect, mirrored)
            painter.drawRoundedRect(QRectF(whole), px(2), px(2))
        for action, place in self._action_places(row, rect).items():
            shown = _mirror(place, rect, mirrored)
            painter.setPen(QPen(self._theme.color("line"), 1))
            painter.setBrush(self._theme.color("canvas"))
            painter.drawRoundedRect(QRectF(shown).adjusted(0.5, 0.5, -0.5, -0.5), px(6), px(6))
            verb = f"✓ {issue.likely}" if action == "accept" else "✕ Keep"
            text = self._metrics["small"].elidedText(verb, Qt.TextElideMode.ElideRight, place.width() - px(10))
            token = "accent_text" if action == "accept" else "text"
            self._write(painter, shown, text, "small", token, centered=True)

    def _write(
        self,
        painter: QPainter,
        place: QRect,
        text: str,
        role: Role,
        token: str,
        *,
        centered: bool = False,
        at_end: bool = False,
    ) -> None:
        side = Qt.AlignmentFlag.AlignHCenter if centered else Qt.AlignmentFlag.AlignLeft
        if at_end:
            side = Qt.AlignmentFlag.AlignRight
        if painter.layoutDirection() == Qt.LayoutDirection.RightToLeft and not centered:
            side = Qt.AlignmentFlag.AlignLeft if at_end else Qt.AlignmentFlag.AlignRight
            side |= Qt.AlignmentFlag.AlignAbsolute
        painter.setPen(self._theme.color(token))
        painter.setFont(self._fonts[role])
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, text)


def _mirror(place: QRect, within: QRect, mirrored: bool) -> QRect:
    if not mirrored:
        return place
    return QRect(within.left() + within.right() - place.right(), place.top(), place.width(), place.height())
