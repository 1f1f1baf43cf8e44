"""Painting of the grid's cells and headers with the theme's colors and type; laid-out texts are cached."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap

from apitorch_desktop.api.types import label_name
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import DARK, Role
from apitorch_desktop.ui.widgets.text_cache import LaidOutText, TextCache
from apitorch_desktop.utils.text import percent, plural

_RADIUS = 7
_TINY = 96
"""Cell size in pixels below which no text is shown."""


class Cell(NamedTuple):
    """Contents of a cell."""

    pixmap: QPixmap | None
    failure: str | None
    badge: str
    selected: bool
    focused: bool
    whole: bool
    """Not cropped, because the pointer rests on it."""
    plain: bool = False
    """The badge only names what the image is: nothing was found."""


class Header(NamedTuple):
    """Contents of a group's header."""

    label: str
    images: int
    accuracy: float | None
    selected: int
    target: str
    """Effect of a drop here in words, during a drag over the group."""
    floating: bool
    """Sticks at the top, over photos."""
    hint: str = ""
    """Sentence about what to do with these photos."""


class GridPainter:
    """Paints cells, headers, drop targets and the rubber band. Caches laid-out texts and corner masks only."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._texts = TextCache(theme)
        self._corners: dict[tuple[int, float], QPixmap] = {}
        self._warning: QIcon | None = None
        self.refresh()

    def refresh(self) -> None:
        """Adopt the theme's colors and type."""
        color = self._theme.color
        self._texts.clear()
        self._corners.clear()
        self._warning = None
        self.canvas = color("canvas")
        self._bar, self._line = color("bar"), color("line")
        self._text, self._muted = color("text"), color("muted")
        self._accent, self._good = color("accent"), color("good")
        self._accent_text, self._on_accent = color("accent_text"), color("on_strong")
        self._behind_badge = QColor(DARK.canvas)
        self._behind_badge.setAlpha(225)
        self._on_badge = QColor(DARK.warn)

    # --- cells

    def cell(self, painter: QPainter, box: QRect, cell: Cell, mirrored: bool) -> None:
        """Paint an image in its square."""
        if cell.pixmap is not None:
            self._pixmap(painter, box, cell.pixmap, cell.whole)
        else:
            painter.fillRect(box, self._bar)
            if cell.failure is not None:
                self._failure(painter, box, cell.failure)
        self._round(painter, box)
        if cell.badge:
            self._badge(painter, box, cell.badge, mirrored, QColor(DARK.text) if cell.plain else self._on_badge)
        if cell.selected:
            self._ring(painter, box)
            self._tick(painter, box, mirrored)
        if cell.focused:
            self._focus(painter, box, cell.selected)

    def _pixmap(self, painter: QPainter, box: QRect, pixmap: QPixmap, whole: bool) -> None:
        width, height = pixmap.width(), pixmap.height()
        side = min(width, height)
        if not whole or width == height:
            source = QRect((width - side) // 2, (height - side) // 2, side, side)
            painter.drawPixmap(box, pixmap, source)
            return
        painter.fillRect(box, self._bar)
        longer = max(width, height)
        fitted = QSize(max(1, box.width() * width // longer), max(1, box.height() * height // longer))
        place = QRect(box.topLeft(), fitted)
        place.moveCenter(box.center())
        painter.drawPixmap(place, pixmap, pixmap.rect())

    def _round(self, painter: QPainter, box: QRect) -> None:
        """Round the corners by painting the canvas over them: cheaper than a clip, and anti-aliased."""
        radius = self._theme.px(_RADIUS)
        ratio = painter.device().devicePixelRatio()
        mask = self._corners.get((radius, ratio))
        if mask is None:
            mask = self._corners[radius, ratio] = self._corner_mask(radius, ratio)
        edge = round(radius * ratio)
        far_x, far_y = box.right() + 1 - radius, box.bottom() + 1 - radius
        for x, from_x in ((box.x(), 0), (far_x, edge)):
            painter.drawPixmap(x, box.y(), radius, radius, mask, from_x, 0, edge, edge)
            painter.drawPixmap(x, far_y, radius, radius, mask, from_x, edge, edge, edge)

    def _corner_mask(self, radius: int, ratio: float) -> QPixmap:
        edge = round(radius * ratio)
        mask = QPixmap(edge * 2, edge * 2)
        mask.fill(Qt.GlobalColor.transparent)
        outside = QPainterPath()
        outside.addRect(QRectF(0, 0, edge * 2, edge * 2))
        inside = QPainterPath()
        inside.addEllipse(QRectF(0, 0, edge * 2, edge * 2))
        with QPainter(mask) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.fillPath(outside.subtracted(inside), self.canvas)
        return mask

    def _failure(self, painter: QPainter, box: QRect, reason: str) -> None:
        if self._warning is None:
            self._warning = self._theme.icon("warning", "muted")
        edge, pad = self._theme.px(20), self._theme.px(8)
        if box.width() < self._theme.px(_TINY):
            place = QRect(0, 0, edge, edge)
            place.moveCenter(box.center())
            self._warning.paint(painter, place)
            return
        room = box.adjusted(pad, pad, -pad, -pad)
        words = self._texts.get(reason, "tiny", room.width(), wrap=True)
        height = min(words.height, room.height() - edge - pad)
        top = room.y() + max(0.0, (room.height() - edge - pad / 2 - height) / 2)
        self._warning.paint(painter, QRect(room.center().x() - edge // 2, round(top), edge, edge))
        painter.save()
        painter.setClipRect(QRectF(room.x(), top + edge + pad / 2, room.width(), height))
        painter.setFont(self._texts.font("tiny")[0])
        painter.setPen(self._muted)
        painter.drawStaticText(QPointF(room.x(), top + edge + pad / 2), words.text)
        painter.restore()

    def _badge(self, painter: QPainter, box: QRect, badge: str, mirrored: bool, color: QColor) -> None:
        px = self._theme.px
        words = self._texts.get(badge, "tiny", box.width() - px(28))
        pill = QRectF(0, 0, words.width + px(14), words.height + px(4))
        left = box.right() + 1 - px(7) - pill.width() if mirrored else box.x() + px(7)
        pill.moveTo(left, box.bottom() + 1 - px(7) - pill.height())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._behind_badge)
        painter.drawRoundedRect(pill, pill.height() / 2, pill.height() / 2)
        self._write(painter, pill.x() + px(7), pill.y() + px(2), words, "tiny", color)

    def _ring(self, painter: QPainter, box: QRect) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._accent, 2.5))
        radius = self._theme.px(_RADIUS) + 3.5
        painter.drawRoundedRect(QRectF(box).adjusted(-3.5, -3.5, 3.5, 3.5), radius, radius)

    def _tick(self, painter: QPainter, box: QRect, mirrored: bool) -> None:
        edge, pad = min(self._theme.px(18), box.width() // 4), self._theme.px(6)
        left = box.x() + pad if mirrored else box.right() + 1 - pad - edge
        disc = QRectF(left, box.y() + pad, edge, edge)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._accent)
        painter.drawEllipse(disc)
        pen = QPen(self._on_accent, max(1.6, edge * 0.095))
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        points = ((0.29, 0.53), (0.44, 0.67), (0.71, 0.36))
        painter.drawPolyline([QPointF(disc.x() + edge * x, disc.y() + edge * y) for x, y in points])

    def _focus(self, painter: QPainter, box: QRect, selected: bool) -> None:
        # a thin line, close to the photo or outside of its ring
        away = 6.5 if selected else 2.5
        radius = self._theme.px(_RADIUS) + away
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._text, 1))
        painter.drawRoundedRect(QRectF(box).adjusted(-away, -away, away, away), radius, radius)

    # --- headers

    def header(self, painter: QPainter, box: QRect, header: Header, mirrored: bool) -> None:
        """Paint a label with its figures on an opaque background."""
        px = self._theme.px
        painter.fillRect(box, self.canvas)
        if header.floating:
            painter.fillRect(QRect(box.x(), box.bottom(), box.width(), 1), self._line)
        place = _LineLayout(box.x() + px(18), box.right() + 1 - px(18), mirrored)
        center = box.y() + box.height() / 2 + px(2)
        if header.target:
            self._label(painter, place, center, header.target, "answer", self._accent_text)
            return
        if header.selected:
            words = self._texts.get(f"{header.selected:,} selected", "small")
            left = place.take_end(words.width, px(12))
            self._write(painter, left, self._top(center, "small"), words, "small", self._accent_text)
        count = plural(header.images, "photo")
        kept = self._texts.get(count, "small").width + px(12)  # a long label is elided, never the count
        self._label(painter, place, center, label_name(header.label) or "(no label)", "answer", self._text, kept)
        self._label(painter, place, center, count, "small", self._muted)
        if header.hint:
            self._label(painter, place, center, header.hint, "small", self._muted)
        if header.accuracy is not None:
            self._accuracy_bar(painter, place, center, header.accuracy)
            self._label(painter, place, center, f"{percent(header.accuracy)} right", "small", self._muted)

    def _label(
        self,
        painter: QPainter,
        line: _LineLayout,
        center: float,
        words: str,
        role: Role,
        color: QColor,
        kept: float = 0,
    ) -> None:
        """Paint a text at the start of the free room, `kept` pixels of which stay free."""
        room = line.room - kept
        if room < self._theme.px(24):
            return
        text = self._texts.get(words, role, int(room))
        self._write(painter, line.take(text.width, self._theme.px(10)), self._top(center, role), text, role, color)

    def _top(self, center: float, role: Role) -> float:
        # texts of both sizes share the baseline of the larger
        larger = self._texts.font("answer")[1]
        return center - larger.height() / 2 + larger.ascent() - self._texts.font(role)[1].ascent()

    def _accuracy_bar(self, painter: QPainter, line: _LineLayout, center: float, share: float) -> None:
        width, height = self._theme.px(64), self._theme.px(4)
        if line.room < width:
            return
        left = line.take(width, self._theme.px(10))
        bar = QRectF(left, center - height / 2 + 1, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._bar)
        painter.drawRoundedRect(bar, height / 2, height / 2)
        if share <= 0:
            return
        filled = QRectF(bar)
        filled.setWidth(max(height, width * min(1.0, share)))
        if line.mirrored:
            filled.moveRight(bar.right())
        painter.setBrush(self._good)
        painter.drawRoundedRect(filled, height / 2, height / 2)

    def empty(self, painter: QPainter, box: QRect, mirrored: bool) -> None:
        """Paint the hint of a group without images."""
        words = self._texts.get("No photos yet. Drop some here.", "small", box.width())
        left = box.right() + 1 - words.width if mirrored else box.x()
        self._write(painter, left, box.y(), words, "small", self._muted)

    def target(self, painter: QPainter, box: QRect) -> None:
        """Paint the frame around the target of a drop."""
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._accent, 2))
        painter.drawRoundedRect(QRectF(box).adjusted(5, 1, -5, -1), self._theme.px(10), self._theme.px(10))

    def band(self, painter: QPainter, box: QRect) -> None:
        """Paint the rubber band."""
        fill = QColor(self._accent)
        fill.setAlpha(36)
        painter.setPen(QPen(self._accent, 1))
        painter.setBrush(fill)
        painter.drawRect(QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5))

    def _write(self, painter: QPainter, x: float, y: float, text: LaidOutText, role: Role, color: QColor) -> None:
        painter.setFont(self._texts.font(role)[0])
        painter.setPen(color)
        painter.drawStaticText(QPointF(x, y), text.text)

    def drag_pixmap(self, pixmaps: list[QPixmap], count: int, ratio: float) -> QPixmap:
        """Return the pixmap of a drag: the first photos in a pile, and the number of photos."""
        px, edge = self._theme.px, self._theme.px(64)
        step = px(6)
        side = edge + step * 2 + px(12)
        result = QPixmap(round(side * ratio), round(side * ratio))
        result.setDevicePixelRatio(ratio)
        result.fill(Qt.GlobalColor.transparent)
        with QPainter(result) as painter:
            painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
            pile = list(enumerate(pixmaps[:3]))
            for at, pixmap in reversed(pile):
                box = QRectF(at * step, px(8) + at * step, edge, edge)
                path = QPainterPath()
                path.addRoundedRect(box, px(_RADIUS), px(_RADIUS))
                painter.setClipPath(path)
                short = min(pixmap.width(), pixmap.height())
                source = QRectF((pixmap.width() - short) / 2, (pixmap.height() - short) / 2, short, short)
                painter.drawPixmap(box, pixmap, source)
                painter.setClipping(False)
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(self.canvas, 1.5))
                painter.drawPath(path)
            if count > 1 or not pile:
                self._count_pill(painter, QPointF(edge, px(10)), f"{count:,}")
        return result

    def _count_pill(self, painter: QPainter, center: QPointF, count: str) -> None:
        font, metrics = self._texts.font("strong")
        height = metrics.height() + self._theme.px(4)
        pill = QRectF(0, 0, max(height, metrics.horizontalAdvance(count) + self._theme.px(14)), height)
        pill.moveCenter(center)
        pill.moveRight(min(pill.right(), center.x() + self._theme.px(20)))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._accent)
        painter.drawRoundedRect(pill, height / 2, height / 2)
        painter.setFont(font)
        painter.setPen(self._on_accent)
        painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, count)


class _LineLayout:
    """Free room on a line, taken from the start of the line."""

    def __init__(self, start: float, end: float, mirrored: bool) -> None:
        self.start, self.end, self.mirrored = start, end, mirrored

    @property
    def room(self) -> float:
        """Free pixels."""
        return max(0.0, self.end - self.start)

    def take(self, width: float, gap: float) -> float:
        """Take `width` pixels at the start and return their left edge."""
        if self.mirrored:
            self.end -= width + gap
            return self.end + gap
        self.start += width + gap
        return self.start - width - gap

    def take_end(self, width: float, gap: float) -> float:
        """Take `width` pixels at the end and return their left edge."""
        if self.mirrored:
            self.start += width + gap
            return self.start - width - gap
        self.end -= width + gap
        return self.end + gap
