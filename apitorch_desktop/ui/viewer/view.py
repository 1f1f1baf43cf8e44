"""Full-size view of a photo with its details: fit and 1:1, zoom and pan, previous and next by the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingImage, label_name
from apitorch_desktop.ui.images.thumbnail_loader import Fetch, ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.viewer.canvas import PhotoCanvas
from apitorch_desktop.ui.viewer.loader import PhotoLoader
from apitorch_desktop.ui.widgets.controls import ElidedLabel, Separator, button, icon_button, label
from apitorch_desktop.ui.widgets.dates import time_text
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
    delete_requested = Signal(list)
    """[id]"""
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
        """Size, bytes, date and label, and the classifier's answer."""
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
        self.fit.setToolTip("The whole photo (Ctrl+0)")
        self.actual = button("1:1", "quiet", lambda: self.canvas.set_zoom(1))
        self.actual.setToolTip("Pixel for pixel (Ctrl+1)")
        self.previous = icon_button(theme, "chevron-left", "Previous photo (←)")
        self.next = icon_button(theme, "chevron-right", "Next photo (→)")
        self.close_button = icon_button(theme, "close", "Back to the grid (Esc)")
        self.previous.clicked.connect(lambda: self.go(-1))
        self.next.clicked.connect(lambda: self.go(1))
        self.close_button.clicked.connect(self.closed)
        strip, below, foot = QHBoxLayout(), QHBoxLayout(), QVBoxLayout()
        foot.setContentsMargins(theme.px(18), theme.px(4), theme.px(10), theme.px(4))
        foot.setSpacing(0)
        for line in (strip, below):
            line.setSpacing(theme.px(10))
        strip.addWidget(self.name, 1)
        below.addWidget(self.id)
        below.addWidget(self.origin, 1)
        lines, lower = QVBoxLayout(), QHBoxLayout()
        lines.setSpacing(0)
        lines.addWidget(self.details)
        lines.addLayout(below)
        lines.addWidget(self.camera)
        lower.addLayout(lines, 1)
        lower.addWidget(self.nearest)
        foot.addLayout(strip)
        foot.addLayout(lower)
        for widget in (self.retry, self.zoom_label, self.fit, self.actual, self.previous, self.next, self.close_button):
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus if widget is not self.zoom_label else Qt.FocusPolicy.NoFocus)
            strip.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.canvas, 1)
        column.addWidget(Separator(theme))
        column.addLayout(foot)

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
        facts = details(image)
        self.details.setText(" · ".join([*facts, self._answer] if self._answer else facts))
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
        ctrl = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
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
        elif not self._command(key, ctrl):
            text = event.text()
            if not modifiers & ~Qt.KeyboardModifier.ShiftModifier and len(text) == 1 and text.isalnum():
                self.label_key.emit(text)
            else:
                event.ignore()

    def _command(self, key: int, ctrl: bool) -> bool:
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
        elif ctrl and key == Qt.Key.Key_0:
            self.canvas.fit()
        elif ctrl and key == Qt.Key.Key_1:
            self.canvas.set_zoom(1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.canvas.toggle(QPointF(self.canvas.width() / 2, self.canvas.height() / 2))
        elif key == Qt.Key.Key_Delete and self._image is not None:
            self.delete_requested.emit([self._image.image_id])
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
    """Return size, bytes, date, label and split, as far as the service reports them."""
    facts = []
    if isinstance(image.width, int) and isinstance(image.height, int):
        facts.append(f"{image.width:,} × {image.height:,}")
    if isinstance(image.bytes, int):
        facts.append(size(image.bytes))
    if isinstance(image.created_at, str) and (date := _date(image.created_at)):
        facts.append(date)
    if isinstance(image.label, str):
        facts.append(label_name(image.label))
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


def _date(text: str) -> str:
    """Format an ISO 8601 time in the local language and time zone; "" if it is not one."""
    try:
        return time_text(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return ""
