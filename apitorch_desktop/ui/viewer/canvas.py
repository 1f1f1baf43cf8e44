"""The surface of the full-size view: one photo, fitted or at any zoom, panned by hand."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.viewer.loader import LoadedPhoto
from apitorch_desktop.ui.widgets.text_cache import TextCache

_AIR = 16
"""Pixels around a fitted photo."""
_STEP = 1.25
_LARGEST = 32.0
"""Screen pixels for one of the photo's: where single pixels can be counted."""
_ENLARGED = 2.0
"""A photo smaller than the window is fitted by enlarging it this much at most."""
_CRISP = 3.0
"""From this zoom on pixels are shown as they are, not smoothed."""


class PhotoCanvas(QWidget):
    """Shows a `LoadedPhoto`, or its thumbnail until there is one. `zoom` is device pixels of the screen for one photo pixel."""

    zoom_changed = Signal()
    full_size_requested = Signal()
    """The zoom needs more pixels than are at hand."""
    resized = Signal()
    drag_requested = Signal()
    """A photo that cannot be panned is dragged: to another program."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._texts = TextCache(theme)
        self._photo: LoadedPhoto | None = None
        self._thumbnail: QPixmap | None = None
        self._claimed: tuple[int, int] | None = None
        self._zoom: float | None = None
        self._middle = QPointF(0.5, 0.5)
        self._grabbed: QPointF | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        theme.changed.connect(self._dressed)

    # --- what is shown

    def show_photo(self, photo: LoadedPhoto | None, thumbnail: QPixmap | None, claimed: tuple[int, int] | None) -> None:
        """Another photo, fitted. `claimed`: its width and height as far as they are known before it is there."""
        self._photo, self._thumbnail, self._claimed = photo, thumbnail, claimed
        self.fit()

    def refresh(self) -> None:
        """There is more of the photo now."""
        self.update()
        self._ask()
        self.zoom_changed.emit()

    def room(self) -> QSize:
        """Device pixels a fitted photo may take."""
        air = 2 * self._theme.px(_AIR)
        return QSize(round((self.width() - air) * self._ratio()), round((self.height() - air) * self._ratio()))

    def _ratio(self) -> float:
        return self.devicePixelRatioF()

    def _size(self) -> tuple[int, int] | None:
        """The photo's own pixels, known or claimed or guessed from its thumbnail."""
        if self._photo is not None and self._photo.size is not None:
            return self._photo.size
        if self._claimed is not None:
            return self._claimed
        return (self._thumbnail.width(), self._thumbnail.height()) if self._thumbnail is not None else None

    # --- zoom and pan

    @property
    def fitted(self) -> bool:
        """Whether the photo is fitted to the window, whatever its size."""
        return self._zoom is None

    def zoom(self) -> float:
        """Device pixels of the screen for one of the photo's."""
        return self._zoom if self._zoom is not None else self._fit_zoom()

    def _fit_zoom(self) -> float:
        size, room = self._size(), self.room()
        if size is None or room.isEmpty():
            return 1.0
        return min(_ENLARGED * self._ratio(), room.width() / size[0], room.height() / size[1])

    def fit(self) -> None:
        """The whole photo in the window."""
        self._zoom = None
        self._middle = QPointF(0.5, 0.5)
        self._zoomed()

    def set_zoom(self, zoom: float, at: QPointF | None = None) -> None:
        """Another zoom; what is under `at` (default: the middle) stays there."""
        at = at if at is not None else QPointF(self.width() / 2, self.height() / 2)
        before = self._target()
        share = QPointF(
            (at.x() - before.x()) / max(1.0, before.width()), (at.y() - before.y()) / max(1.0, before.height())
        )
        self._zoom = max(min(self._fit_zoom(), 1.0), min(_LARGEST, zoom))
        shown = self._shown_size()
        self._middle = QPointF(
            share.x() + (self.width() / 2 - at.x()) / max(1.0, shown.width()),
            share.y() + (self.height() / 2 - at.y()) / max(1.0, shown.height()),
        )
        self._hold()
        self._zoomed()

    def step(self, steps: float, at: QPointF | None = None) -> None:
        """Nearer by steps of a quarter, or further; back to fitted when nothing is beyond the window any more."""
        zoom = self.zoom() * _STEP**steps
        if steps < 0 and zoom <= self._fit_zoom():
            self.fit()
        else:
            self.set_zoom(zoom, at)

    def toggle(self, at: QPointF | None = None) -> None:
        """Fitted, or pixel for pixel."""
        if self.fitted and abs(self.zoom() - 1) > 0.01:
            self.set_zoom(1, at)
        else:
            self.fit()

    def pan(self, x: float, y: float) -> None:
        """Move the photo by pixels of the screen."""
        shown = self._shown_size()
        self._middle -= QPointF(x / max(1.0, shown.width()), y / max(1.0, shown.height()))
        self._hold()
        self.update()

    def _shown_size(self) -> QSizeF:
        width, height = self._size() or (1, 1)
        return QSizeF(width, height) * (self.zoom() / self._ratio())

    def _target(self) -> QRectF:
        """Where the whole photo lies, in the widget."""
        shown = self._shown_size()
        left = self.width() / 2 - self._middle.x() * shown.width()
        top = self.height() / 2 - self._middle.y() * shown.height()
        return QRectF(QPointF(left, top), shown)

    def _hold(self) -> None:
        """No edge of the photo comes further in than the window's, and what fits stays in the middle."""
        shown = self._shown_size()

        def held(middle: float, size: float, room: float) -> float:
            half = room / 2 / max(1.0, size)
            return 0.5 if size <= room else min(1 - half, max(half, middle))

        self._middle = QPointF(
            held(self._middle.x(), shown.width(), self.width()), held(self._middle.y(), shown.height(), self.height())
        )

    def _zoomed(self) -> None:
        self.update()
        self._ask()
        self._show_hand()
        self.zoom_changed.emit()

    def _ask(self) -> None:
        photo = self._photo
        picture = photo.picture(self.zoom()) if photo is not None else None
        if photo is None or picture is None or photo.size is None or photo.whole():
            return
        if picture.width() < min(1.0, self.zoom()) * photo.size[0] - 1:
            self.full_size_requested.emit()

    def _larger(self) -> bool:
        """Whether there is more of the photo than the window shows."""
        shown = self._shown_size()
        return shown.width() > self.width() + 1 or shown.height() > self.height() + 1

    def _show_hand(self) -> None:
        held = Qt.CursorShape.ClosedHandCursor if self._grabbed is not None else Qt.CursorShape.OpenHandCursor
        self.setCursor(held if self._larger() else Qt.CursorShape.ArrowCursor)

    # --- events

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zooms at the pointer."""
        self.step(event.angleDelta().y() / 120, event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Takes hold of the photo."""
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._grabbed = event.position()
            self._show_hand()
        event.ignore()  # the focus belongs to the view around it

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drags it."""
        if self._grabbed is not None and not self._larger():
            if (event.position() - self._grabbed).manhattanLength() >= QApplication.startDragDistance():
                self._grabbed = None
                self._show_hand()
                self.drag_requested.emit()
        elif self._grabbed is not None:
            moved = event.position() - self._grabbed
            self._grabbed = event.position()
            self.pan(moved.x(), moved.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Lets go."""
        self._grabbed = None
        self._show_hand()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Fitted, or pixel for pixel at the pointer."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.toggle(event.position())

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._hold()
        self.resized.emit()
        self.zoom_changed.emit()

    def _dressed(self) -> None:
        self._texts.clear()
        self.update()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        color, photo = self._theme.color, self._photo
        with QPainter(self) as painter:
            painter.fillRect(event.rect(), color("canvas"))
            picture = photo.picture(self.zoom()) if photo is not None else None
            if photo is not None and photo.reason:
                self._paint_reason(painter, photo.reason)
                return
            if self._size() is None:
                return
            target = self._target()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.zoom() < _CRISP or picture is None)
            if picture is not None:
                self._paint_part(painter, target, picture)
            elif self._thumbnail is not None:
                painter.drawPixmap(target, self._thumbnail, QRectF(self._thumbnail.rect()))
            else:
                painter.fillRect(target, color("bar"))

    def _paint_part(self, painter: QPainter, target: QRectF, picture: QImage) -> None:
        """Only the part in the window: the whole of a large photo, enlarged, would take its time."""
        seen = target.intersected(QRectF(self.rect()))
        if seen.isEmpty():
            return
        across, down = picture.width() / target.width(), picture.height() / target.height()
        source = QRectF(
            (seen.x() - target.x()) * across,
            (seen.y() - target.y()) * down,
            seen.width() * across,
            seen.height() * down,
        )
        painter.drawImage(seen, picture, source)

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
