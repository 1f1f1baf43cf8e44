"""Full-size view of a photo with its details: fit and 1:1, zoom and pan, previous and next by the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from apitorch_desktop.api.types import TrainingImage, label_name
from apitorch_desktop.ui.images.thumbnail_loader import Fetch, ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.viewer.loader import LoadedPhoto, PhotoLoader
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    Separator,
    button,
    icon_button,
    in_column,
    in_row,
    label,
)
from apitorch_desktop.ui.widgets.dates import time_text, time_text_of
from apitorch_desktop.ui.widgets.heat_map import HeatMap
from apitorch_desktop.ui.widgets.text_cache import TextCache
from apitorch_desktop.ui.widgets.thumbnail_row import ThumbnailRow
from apitorch_desktop.utils.text import size

if TYPE_CHECKING:
    from apitorch_desktop.vision.exif import CameraFacts

Neighbor = Callable[[str, int], TrainingImage | None]
"""`GridModel.neighbor`: the image some rows after another, or before."""

_PAN = 80
_RESIZED = 200
"""Milliseconds after the last resize until the photo is fitted again from its file."""


class PhotoView(QWidget):
    """Widget for a stack beside the grid. Call `show_image` and give it the focus."""

    closed = Signal()
    """The user goes back to the grid (Escape)."""
    image_changed = Signal(object)
    """The TrainingImage shown now."""
    label_key = Signal(str)
    """A typed digit or letter."""
    drag_requested = Signal(object)
    """The TrainingImage to drag to another program."""
    context_menu_requested = Signal(object)
    """QPoint on the screen."""

    def __init__(
        self,
        tasks: TaskRunner,
        fetch: Fetch,
        neighbor: Neighbor,
        theme: Theme,
        *,
        loader: ThumbnailLoader | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """`fetch` returns the bytes of an image; `loader` has its thumbnail for the time until then."""
        super().__init__(parent)
        self._neighbor = neighbor
        self._thumbnails = loader
        self._image: TrainingImage | None = None
        self._answer = ""
        self._photos = PhotoLoader(tasks, fetch, self)
        self._photos.changed.connect(self._update_photo)
        self.canvas = PhotoCanvas(theme)
        self.canvas.zoom_changed.connect(self._show_zoom)
        self.canvas.full_size_requested.connect(self._request_full_size)
        self._refit = QTimer(self, interval=_RESIZED, singleShot=True)
        self._refit.timeout.connect(self._resized)
        self.canvas.resized.connect(self._refit.start)
        self.canvas.drag_requested.connect(lambda: self.drag_requested.emit(self._image))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Photo")
        self._build(theme)

    def _build(self, theme: Theme) -> None:
        self.name = ElidedLabel("", "strong")
        self.details = ElidedLabel("", "small", "muted")
        """Label, the classifier's answer, size, bytes and date."""
        self.camera = ElidedLabel("", "small", "muted")
        """What the camera wrote into the file."""
        self.id = ElidedLabel("", "small", "muted")
        self.origin = ElidedLabel("", "small", "muted", Qt.TextElideMode.ElideMiddle)
        """The origin of the photo."""
        self.origin.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.nearest = ThumbnailRow(theme, "Nearest")
        """The training photos nearest to this one."""
        policy = self.nearest.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # the photo must not move when they come
        self.nearest.setSizePolicy(policy)
        self.zoom_label = label("", "small", "muted")
        self.retry = button("Try again", "link", self._retry)
        self.retry.hide()
        self.fit = button("Fit", "quiet", self.canvas.fit)
        self.actual = button("1:1", "quiet", lambda: self.canvas.set_zoom(1))
        self.previous = icon_button(theme, "chevron-left", "Previous photo (←)")
        self.next = icon_button(theme, "chevron-right", "Next photo (→)")
        self.close_button = icon_button(theme, "close", "Back to the grid (Esc)")
        self.previous.clicked.connect(lambda: self.go(-1))
        self.next.clicked.connect(lambda: self.go(1))
        self.close_button.clicked.connect(self.closed)
        controls = (self.retry, self.zoom_label, self.fit, self.actual, self.previous, self.next, self.close_button)
        for widget in controls:
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus if widget is not self.zoom_label else Qt.FocusPolicy.NoFocus)
        strip = in_row((self.name, 1), *controls, spacing=theme.px(10))
        below = in_row(self.id, (self.origin, 1), spacing=theme.px(10))
        lower = in_row((in_column(self.details, below, self.camera, spacing=0), 1), self.nearest)
        margins = (theme.px(18), theme.px(4), theme.px(10), theme.px(4))
        foot = in_column(strip, lower, margins=margins, spacing=0)
        in_column((self.canvas, 1), Separator(theme), foot, on=self, margins=0, spacing=0)

    # --- the photo

    def image(self) -> TrainingImage | None:
        """Return the image shown."""
        return self._image

    def show_image(self, image: TrainingImage | None) -> None:
        """Show an image, fitted to the window. None discards all pixels."""
        self._image = image
        self._request()
        if image is None:
            self.canvas.show_photo(None, None, None)
            return
        thumbnail = self._thumbnails.pixmap(image.image_id) if self._thumbnails is not None else None
        known = isinstance(image.width, int) and isinstance(image.height, int)
        claimed = (image.width, image.height) if known else None
        self.canvas.show_photo(self._photos.get(image.image_id), thumbnail, claimed)  # type: ignore[arg-type]
        self.name.setText(image.display_name)
        self._answer = ""
        self.nearest.show_images([])
        self._show_details(image)
        self.previous.setEnabled(self._neighbor(image.image_id, -1) is not None)
        self.next.setEnabled(self._neighbor(image.image_id, 1) is not None)
        self._update_photo(image.image_id)
        self.image_changed.emit(image)

    def add_detail(self, image_id: str, text: str) -> None:
        """Add a detail, if this image is still shown."""
        if self._image is not None and self._image.image_id == image_id:
            self._show_details(self._image, text)

    def set_answer(self, text: str) -> None:
        """Show what the classifier thinks of the photo shown, "" if that is not known."""
        if self._image is not None and text != self._answer:
            self._answer = text
            self._show_facts(self._image)

    def _show_details(self, image: TrainingImage, *more: str) -> None:
        self.id.setText(image.image_id)
        self.origin.setText(" · ".join(more))
        self._show_facts(image)

    def _show_facts(self, image: TrainingImage) -> None:
        named = [label_name(image.label)] if isinstance(image.label, str) else []
        self.details.setText(" · ".join([*named, *filter(None, (self._answer,)), *details(image)]))
        parts = (self.name, self.details, self.camera, self.id, self.origin)
        self.setAccessibleDescription(", ".join(part.full_text() for part in parts if part.full_text()))

    def set_source(self, fetch: Fetch) -> None:
        """Switch to another connection."""
        self._photos.set_source(fetch)

    def go(self, step: int) -> None:
        """Show the image `step` places after the current one, or before."""
        following = self._neighbor(self._image.image_id, step) if self._image is not None else None
        if following is not None:
            self.show_image(following)

    def _request(self) -> None:
        if self._image is None:
            self._photos.request([], self.canvas.room())
            return
        beside = (self._neighbor(self._image.image_id, step) for step in (1, -1))
        self._photos.request([self._image, *(image for image in beside if image is not None)], self.canvas.room())

    def _resized(self) -> None:
        self._request()
        self.canvas.refresh()

    def _request_full_size(self) -> None:
        if self._image is not None:
            self._photos.request_full_size(self._image.image_id)

    def _retry(self) -> None:
        if self._image is not None:
            self._photos.retry(self._image.image_id, self.canvas.room())

    def _update_photo(self, image_id: str) -> None:
        if self._image is None or image_id != self._image.image_id:
            return
        photo = self._photos.get(image_id)
        self.retry.setVisible(photo is not None and bool(photo.reason))
        facts = camera_text(photo.facts) if photo is not None and photo.facts is not None else ""
        self.camera.setText(facts)
        self.camera.setToolTip(facts)
        self.canvas.refresh()

    def _show_zoom(self) -> None:
        photo = self._photos.get(self._image.image_id) if self._image is not None else None
        loads = photo is not None and not photo.reason
        self.zoom_label.setText(f"{self.canvas.zoom() * 100:.0f} %" if loads else "")

    # --- keys and mouse

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows show the previous or next photo, with Shift they pan; Escape closes; other characters are label keys."""
        key, modifiers = event.key(), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
        arrows = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
        }
        if key in arrows:
            x, y = arrows[Qt.Key(key)]
            if shift:
                self.canvas.pan(-x * _PAN, -y * _PAN)
            else:
                self.go(-x if self.isRightToLeft() and x else x or y)
        elif not self._command(key):
            text = event.text()
            if not modifiers & ~Qt.KeyboardModifier.ShiftModifier and len(text) == 1 and text.isalnum():
                self.label_key.emit(text)
            else:
                event.ignore()

    def _command(self, key: int) -> bool:
        """Run the command of a key. Return False for a key without one."""
        if key == Qt.Key.Key_Escape:
            self.closed.emit()
        elif key == Qt.Key.Key_Space:
            self.go(1)
        elif key == Qt.Key.Key_Backspace:
            self.go(-1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.canvas.step(1)
        elif key == Qt.Key.Key_Minus:
            self.canvas.step(-1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.canvas.toggle(QPointF(self.canvas.width() / 2, self.canvas.height() / 2))
        else:
            return False
        return True

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() == Qt.MouseButton.BackButton:
            self.go(-1)
        elif event.button() == Qt.MouseButton.ForwardButton:
            self.go(1)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.context_menu_requested.emit(event.globalPos())


def details(image: TrainingImage) -> list[str]:
    """Return size, bytes, date and split, as far as the service reports them."""
    facts = []
    if isinstance(image.width, int) and isinstance(image.height, int):
        facts.append(f"{image.width:,} × {image.height:,}")
    if isinstance(image.bytes, int):
        facts.append(size(image.bytes))
    if isinstance(image.created_at, str) and (date := time_text_of(image.created_at)):
        facts.append(date)
    if image.known_split:
        facts.append(f"split: {image.known_split}")
    return facts


def camera_text(facts: CameraFacts) -> str:
    """Return what a camera wrote as a line of text, the time in the form of the locale."""
    taken = f"taken {time_text(facts.taken)}" if facts.taken is not None else ""
    place = ""
    if facts.place is not None:
        north, east = facts.place
        place = f"{abs(north):.4f}° {'N' if north >= 0 else 'S'} {abs(east):.4f}° {'E' if east >= 0 else 'W'}"
    return " · ".join(part for part in (taken, facts.camera, facts.lens, *facts.exposure, place) if part)


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
