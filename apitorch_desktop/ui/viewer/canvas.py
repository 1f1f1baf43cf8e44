"""Canvas of the full-size view: a photo, fitted or zoomed, panned by dragging."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.viewer.loader import LoadedPhoto
from apitorch_desktop.ui.widgets.heat_map import HeatMap
from apitorch_desktop.ui.widgets.text_cache import TextCache

_MARGIN = 16
"""Pixels around a fitted photo."""
_STEP = 1.25
_LARGEST = 32.0
"""Largest zoom: single pixels are clearly visible."""
_ENLARGED = 2.0
"""Most enlargement of a small photo that is fitted."""
_CRISP = 3.0
"""Zoom from which pixels are not smoothed."""


class PhotoCanvas(QWidget):
    """Shows a `LoadedPhoto`, or its thumbnail until it is loaded. The zoom is in device pixels for each pixel of the photo."""

    zoom_changed = Signal()
    full_size_requested = Signal()
    """The zoom needs more pixels than are loaded."""
    resized = Signal()
    drag_requested = Signal()
    """The user drags a photo that cannot be panned, to another program."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._texts = TextCache(theme)
        self._photo: LoadedPhoto | None = None
        self._thumbnail: QPixmap | None = None
        self._claimed: tuple[int, int] | None = None
        self.heat_map: HeatMap | None = None
        """Painted over the photo."""
        self._zoom: float | None = None
        self._center = QPointF(0.5, 0.5)
        self._grabbed: QPointF | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        theme.changed.connect(self._restyle)

    # --- the photo

    def show_photo(self, photo: LoadedPhoto | None, thumbnail: QPixmap | None, claimed: tuple[int, int] | None) -> None:
        """Show another photo, fitted. `claimed` is its width and height if known before it is loaded."""
        self._photo, self._thumbnail, self._claimed, self.heat_map = photo, thumbnail, claimed, None
        self.fit()

    def show_heat_map(self, heat_map: HeatMap | None) -> None:
        """Show a heat map over the photo, or none."""
        self.heat_map = heat_map
        self.update()

    def refresh(self) -> None:
        """Update after more of the photo was loaded."""
        self.update()
        self._request()
        self.zoom_changed.emit()

    def room(self) -> QSize:
        """Return the device pixels available for a fitted photo."""
        margin = 2 * self._theme.px(_MARGIN)
        return QSize(round((self.width() - margin) * self._ratio()), round((self.height() - margin) * self._ratio()))

    def _ratio(self) -> float:
        return self.devicePixelRatioF()

    def _size(self) -> tuple[int, int] | None:
        """Return the photo's size in pixels: known, claimed, or that of its thumbnail."""
        if self._photo is not None and self._photo.size is not None:
            return self._photo.size
        if self._claimed is not None:
            return self._claimed
        return (self._thumbnail.width(), self._thumbnail.height()) if self._thumbnail is not None else None

    # --- zoom and pan

    @property
    def fitted(self) -> bool:
        """True while the photo is fitted to the window."""
        return self._zoom is None

    def zoom(self) -> float:
        """Return the device pixels for each pixel of the photo."""
        return self._zoom if self._zoom is not None else self._fit_zoom()

    def _fit_zoom(self) -> float:
        size, room = self._size(), self.room()
        if size is None or room.isEmpty():
            return 1.0
        return min(_ENLARGED * self._ratio(), room.width() / size[0], room.height() / size[1])

    def fit(self) -> None:
        """Fit the whole photo into the window."""
        self._zoom = None
        self._center = QPointF(0.5, 0.5)
        self._zoomed()

    def set_zoom(self, zoom: float, at: QPointF | None = None) -> None:
        """Set the zoom; the point of the photo at `at` (default: the center) keeps its place."""
        at = at if at is not None else QPointF(self.width() / 2, self.height() / 2)
        before = self._target()
        share = QPointF(
            (at.x() - before.x()) / max(1.0, before.width()), (at.y() - before.y()) / max(1.0, before.height())
        )
        self._zoom = max(min(self._fit_zoom(), 1.0), min(_LARGEST, zoom))
        shown = self._shown_size()
        self._center = QPointF(
            share.x() + (self.width() / 2 - at.x()) / max(1.0, shown.width()),
            share.y() + (self.height() / 2 - at.y()) / max(1.0, shown.height()),
        )
        self._limit()
        self._zoomed()

    def step(self, steps: float, at: QPointF | None = None) -> None:
        """Zoom in or out by steps of a quarter; fit once the whole photo is visible."""
        zoom = self.zoom() * _STEP**steps
        if steps < 0 and zoom <= self._fit_zoom():
            self.fit()
        else:
            self.set_zoom(zoom, at)

    def toggle(self, at: QPointF | None = None) -> None:
        """Switch between fitted and one pixel for each pixel."""
        if self.fitted and abs(self.zoom() - 1) > 0.01:
            self.set_zoom(1, at)
        else:
            self.fit()

    def pan(self, x: float, y: float) -> None:
        """Move the photo by pixels of the widget."""
        shown = self._shown_size()
        self._center -= QPointF(x / max(1.0, shown.width()), y / max(1.0, shown.height()))
        self._limit()
        self.update()

    def _shown_size(self) -> QSizeF:
        width, height = self._size() or (1, 1)
        return QSizeF(width, height) * (self.zoom() / self._ratio())

    def _target(self) -> QRectF:
        """Return the place of the whole photo in the widget."""
        shown = self._shown_size()
        left = self.width() / 2 - self._center.x() * shown.width()
        top = self.height() / 2 - self._center.y() * shown.height()
        return QRectF(QPointF(left, top), shown)

    def _limit(self) -> None:
        """Limit panning: no edge of the photo moves into the window, and a dimension that fits is centered."""
        shown = self._shown_size()

        def limited(center: float, size: float, room: float) -> float:
            half = room / 2 / max(1.0, size)
            return 0.5 if size <= room else min(1 - half, max(half, center))

        self._center = QPointF(
            limited(self._center.x(), shown.width(), self.width()),
            limited(self._center.y(), shown.height(), self.height()),
        )

    def _zoomed(self) -> None:
        self.update()
        self._request()
        self._update_cursor()
        self.zoom_changed.emit()

    def _request(self) -> None:
        photo = self._photo
        image = photo.image_for(self.zoom()) if photo is not None else None
        if photo is None or image is None or photo.size is None or photo.complete:
            return
        if image.width() < min(1.0, self.zoom()) * photo.size[0] - 1:
            self.full_size_requested.emit()

    def _larger(self) -> bool:
        """Return True if the photo exceeds the window."""
        shown = self._shown_size()
        return shown.width() > self.width() + 1 or shown.height() > self.height() + 1

    def _update_cursor(self) -> None:
        hand = Qt.CursorShape.ClosedHandCursor if self._grabbed is not None else Qt.CursorShape.OpenHandCursor
        self.setCursor(hand if self._larger() else Qt.CursorShape.ArrowCursor)

    # --- events

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom at the pointer."""
        self.step(event.angleDelta().y() / 120, event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start panning or a drag."""
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._grabbed = event.position()
            self._update_cursor()
        event.ignore()  # the view around it takes the focus

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan, or report a drag."""
        if self._grabbed is not None and not self._larger():
            if (event.position() - self._grabbed).manhattanLength() >= QApplication.startDragDistance():
                self._grabbed = None
                self._update_cursor()
                self.drag_requested.emit()
        elif self._grabbed is not None:
            moved = event.position() - self._grabbed
            self._grabbed = event.position()
            self.pan(moved.x(), moved.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = None
        self._update_cursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.toggle(event.position())

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._limit()
        self.resized.emit()
        self.zoom_changed.emit()

    def _restyle(self) -> None:
        self._texts.clear()
        self.update()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        color, photo = self._theme.color, self._photo
        with QPainter(self) as painter:
            painter.fillRect(event.rect(), color("canvas"))
            image = photo.image_for(self.zoom()) if photo is not None else None
            if photo is not None and photo.reason:
                self._paint_reason(painter, photo.reason)
                return
            if self._size() is None:
                return
            target = self._target()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.zoom() < _CRISP or image is None)
            if image is not None:
                self._paint_part(painter, target, image)
            elif self._thumbnail is not None:
                painter.drawPixmap(target, self._thumbnail, QRectF(self._thumbnail.rect()))
            else:
                painter.fillRect(target, color("bar"))
            if self.heat_map is not None:
                self.heat_map.paint(painter, target)

    def _paint_part(self, painter: QPainter, target: QRectF, image: QImage) -> None:
        """Paint the visible part only: an enlarged large photo would be slow."""
        visible = target.intersected(QRectF(self.rect()))
        if visible.isEmpty():
            return
        across, down = image.width() / target.width(), image.height() / target.height()
        source = QRectF(
            (visible.x() - target.x()) * across,
            (visible.y() - target.y()) * down,
            visible.width() * across,
            visible.height() * down,
        )
        painter.drawImage(visible, image, source)

    def _paint_reason(self, painter: QPainter, reason: str) -> None:
        px = self._theme.px
        words = self._texts.get(reason, "base", min(self.width() - px(40), px(420)), wrap=True)
        edge = px(28)
        top = (self.height() - edge - px(12) - words.height) / 2
        icon = self._theme.icon("warning", "muted")
        icon.paint(painter, round((self.width() - edge) / 2), round(top), edge, edge)
        painter.setPen(self._theme.color("muted"))
        painter.setFont(self._texts.font("base")[0])
        painter.drawStaticText(QPointF((self.width() - words.width) / 2, top + edge + px(12)), words.text)
