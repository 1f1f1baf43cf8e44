"""Page of the map: the photos as a plane with a lasso, made beside the window and colored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QToolTip, QWidget

from apitorch_desktop.dataset.review.map import make_map
from apitorch_desktop.dataset.review.messages import MapRequest, MapUpdate
from apitorch_desktop.dataset.review.reviewer import item_of
from apitorch_desktop.ui.grid.view import GridView
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    CentralPage,
    ComboBox,
    ElidedLabel,
    ProgressBar,
    button,
    in_column,
    in_row,
    label,
    native_keys,
)
from apitorch_desktop.utils.text import plural

UPDATE_DELAY = 120
"""Milliseconds in which changes are gathered before the points are colored again."""
RETRY_DELAY = 3_000
"""Milliseconds after which photos that Review had not looked at are asked for again."""
COLORINGS = (("label", "By label"), ("confidence", "By confidence"), ("right", "By right and wrong"))
_KEYS = (
    "Drag: lasso · {add} adds · right drag or arrows move · wheel, + and − zoom · Home shows all · "
    "1–0, letters and Delete as among the photos"
)


class MapPage(CentralPage):
    """The open training set as a plane, on which photos that look alike lie together."""

    open_requested = Signal(object)
    """The `TrainingImage` to open full size."""

    def __init__(self, session: Session, grid: GridView, loader: ThumbnailLoader, cache: Path, theme: Theme) -> None:
        super().__init__(theme)
        self._session = session
        self._grid = grid
        self._model = grid.images
        self._cache = cache
        self._theme = theme
        self._task: Task | None = None
        self._update: MapUpdate | None = None
        self._behind = False
        """True if Review has ended since the map under way was begun."""
        self.view = MapView(theme, loader, self._model.record, self._describe)
        self.coloring = ComboBox(theme, "Color")
        for key, text in COLORINGS:
            self.coloring.addItem(text, key)
        self.again = button("Lay out again", "", lambda: self.make(anew=True))
        self.note = ElidedLabel("", "base", "muted")
        self.meter = ProgressBar(0, thin=True)
        self._lay_out()
        self._later = QTimer(self, interval=UPDATE_DELAY, singleShot=True)
        self._later.timeout.connect(self._place)
        self._retry = QTimer(self, interval=RETRY_DELAY, singleShot=True)
        self._retry.timeout.connect(self.make)
        self._wire()

    def _lay_out(self) -> None:
        head = in_row(
            label("Map", "title"),
            (self.note, 1),
            self.coloring,
            self.again,
            self.close_button,
            margins=(16, 8, 8, 4),
            spacing=8,
        )
        foot = in_row(
            label(_KEYS.format(add=native_keys("Ctrl+drag")), "small", "muted", wrap=True), margins=(16, 4, 16, 8)
        )
        in_column(head, self.meter, (self.view, 1), foot, on=self, margins=0, spacing=2)

    def _wire(self) -> None:
        self.coloring.currentIndexChanged.connect(lambda _index: self._color())
        self.view.selected.connect(self._select)
        self.view.activated.connect(self._open)
        self.view.key_pressed.connect(self._key)
        self._session.open_set_changed.connect(self._on_open_set_changed)
        self._session.listing_changed.connect(self._on_listing_changed)
        self._model.counts_changed.connect(self._later.start)
        self._model.modelReset.connect(self._later.start)
        self._model.dataChanged.connect(lambda *_: self._later.start())
        self._grid.summary_changed.connect(lambda _summary: self._mark())

    # --- making

    def make(self, *, anew: bool = False) -> None:
        """Make the map of the open training set, or complete it."""
        open_set, workspace = self._session.open_set, self._session.workspace
        if open_set is None or workspace is None or (self._task is not None and not anew):
            return
        self._cancel()
        connection, set_id = workspace.connection.id, str(open_set.training_set.id)
        encoder = self._wanted_encoder
        images = self._model.records()

        def job(context: JobContext) -> MapUpdate:
            keys = [item_of(image).key for image in images]
            request = MapRequest(str(self._cache), connection, set_id, keys, anew, encoder)
            return make_map(request, context.post, context.cancelled)

        self.meter.show()
        self.meter.set_share(None)
        self._task = self._session.run(
            "Map", job, self._done, failed=self._failed, progress=self._show, lane=Lane.WATCH, owner=open_set
        )

    @property
    def _wanted_encoder(self) -> str:
        open_set, workspace = self._session.open_set, self._session.workspace
        there = open_set is not None and workspace is not None and workspace.has("embeddings")
        return open_set.training_set.own_encoder if open_set is not None and there else ""

    def follow_review(self) -> None:
        """Make the map again if it was made by another encoder than the training set's, which Review may have used now."""
        self._behind = self._task is not None
        made = self._update
        if not self._behind and made is not None and made.encoder != self._wanted_encoder and self.isVisible():
            self.make()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None

    def _done(self, update: MapUpdate) -> None:
        self._task = None
        self.meter.hide()
        self._show(update)
        if update.missing and self.isVisible():
            self._retry.start()
        if self._behind:
            self.follow_review()

    def _failed(self, error: Exception) -> bool:
        self._task = None
        self.meter.hide()
        self.note.setText(error_message(error).text)
        return True

    def _show(self, update: MapUpdate) -> None:
        self.meter.set_share(update.share)
        count = plural(len(update.keys), "photo")
        waiting = f"; {plural(update.missing, 'photo')} not looked at yet" if update.missing else ""
        self.note.setText(f"{count}{waiting}" if update.final else f"Laying out {count}{waiting}…")
        if update.positions is not None:
            self._update = update
            self._place()

    # --- showing

    def _place(self) -> None:
        """Give the view the positions of the photos that the grid shows."""
        update = self._update
        if update is None or update.positions is None or not self.isVisible():
            return
        places = {key: index for index, key in enumerate(update.keys)}
        ids, index = [], []
        for image in self._model.records():
            place = places.get(item_of(image).key)
            if place is not None and self._model.row_of(image.image_id) is not None:
                ids.append(image.image_id)
                index.append(place)
        positions = np.frombuffer(update.positions, "<f4").reshape(-1, 2)
        self.view.set_points(ids, positions[np.array(index, np.intp)])
        self._color()
        self._mark()

    def _color(self) -> None:
        ids = self.view.ids
        if not ids:
            return
        colors, legend = self._colorings()[str(self.coloring.currentData())](ids)
        self.view.set_colors(np.array(colors, np.uint32), legend)

    def _colorings(self) -> dict[str, Callable[[list[str]], tuple[list[int], list[tuple[str, QColor]]]]]:
        return {"label": self._by_label, "confidence": self._by_confidence, "right": self._by_right}

    def _by_label(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        labels = [self._model.label_of(image_id) or "" for image_id in ids]
        colors = {name: label_color(place) for place, name in enumerate(sorted(set(labels)))}
        values = {name: color.rgb() for name, color in colors.items()}
        return [values[name] for name in labels], list(colors.items())

    def _by_confidence(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        answers, muted = self._model.answers, self._theme.color("muted")
        ramp = [_mixed(self._theme, step / 20) for step in range(21)]
        values = [color.rgb() for color in ramp]
        found = [answers.get(image_id) for image_id in ids]
        colors = [muted.rgb() if answer is None else values[round(answer.confidence * 20)] for answer in found]
        return colors, [("sure", ramp[20]), ("half sure", ramp[10]), ("unsure", ramp[4]), ("not answered yet", muted)]

    def _by_right(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        right, wrong, muted = (self._theme.color(token) for token in ("good", "bad", "muted"))
        colors = []
        for image_id in ids:
            answer = self._model.answers.get(image_id)
            tone = muted if answer is None else right if answer.label == self._model.label_of(image_id) else wrong
            colors.append(tone.rgb())
        return colors, [("right", right), ("wrong", wrong), ("not answered yet", muted)]

    def _mark(self) -> None:
        if not self.view.ids or not self.isVisible():
            return
        chosen = set(self._model.selected_ids())
        self.view.set_chosen(np.array([image_id in chosen for image_id in self.view.ids], bool))

    def _describe(self, image_id: str) -> str:
        image = self._model.record(image_id)
        if image is None:
            return ""
        answer = self._model.answers.get(image_id)
        lines = [image.display_name, str(image.label), answer.text if answer is not None else ""]
        return "\n".join(line for line in lines if line)

    # --- acts

    def focus(self) -> None:
        """Focus the widget that handles the keys."""
        self.view.setFocus()

    def _select(self, ids: list[str], add: bool) -> None:
        self._grid.select([*(self._model.selected_ids() if add else ()), *ids])
        self._mark()

    def _open(self, image_id: str) -> None:
        image = self._model.record(image_id)
        if image is not None:
            self.open_requested.emit(image)

    def _key(self, event: QKeyEvent) -> None:
        text = event.text()
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        elif len(text) == 1 and text.isalnum():
            self._grid.keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """Make the map when it is first shown, else complete it."""
        super().showEvent(event)
        self._place()
        self.make()

    def _on_open_set_changed(self) -> None:
        self._cancel()
        self._retry.stop()
        self._update = None
        self.view.clear()
        self.meter.hide()
        self.note.setText("")

    def _on_listing_changed(self) -> None:
        if self.isVisible():
            self._later.start()
            self._retry.start()


def label_color(place: int) -> QColor:
    """Return the color of the label at a place: hues by the golden angle, so that neighbors differ."""
    return QColor.fromHsvF(
        (0.03 + place * 0.61803398875) % 1.0, 0.62 if place % 2 else 0.78, 0.85 if place % 3 else 0.7
    )


def _mixed(theme: Theme, share: float) -> QColor:
    """Return a color between bad (0), warn and good (1)."""
    tokens = ("bad", "warn") if share < 0.5 else ("warn", "good")
    low, high = (theme.color(token) for token in tokens)
    part = share * 2 % 1 if share < 1 else 1.0
    return QColor.fromRgbF(
        *(
            a + (b - a) * part
            for a, b in ((low.redF(), high.redF()), (low.greenF(), high.greenF()), (low.blueF(), high.blueF()))
        )
    )


MOST_THUMBNAILS = 400
"""Photos in sight up to which thumbnails are drawn in place of points."""
_FEW = 50
"""Photos of which thumbnails are drawn also when all are in sight."""
_THUMBNAIL = 72
_REACH = 8
"""Pixels from a point within which the pointer is on it."""
_PAD = 8
"""Pixels around a frame, so that discs at its edge need no clipping."""
_MOST_ZOOM = 4_000.0
_FILLED = 0.92
"""Share of the widget that all points fill."""
_ADD = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
_PAN_KEYS = {
    Qt.Key.Key_Left: (1, 0),
    Qt.Key.Key_Right: (-1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}


class MapView(QWidget):
    """Draws points by id; emits what the lasso or a click selects. Images and texts come from functions given to it.

    A frame with 100,000 points is put into one image by NumPy.
    """

    selected = Signal(list, bool)
    """(ids, add): select these photos, in addition to those that are."""
    activated = Signal(str)
    key_pressed = Signal(object)
    """A `QKeyEvent` that is not the view's own."""

    def __init__(
        self, theme: Theme, loader: ThumbnailLoader, image: Callable[[str], Any], describe: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._theme = theme
        self._loader = loader
        self._image = image
        self._describe = describe
        self.ids: list[str] = []
        self._points: Any = None
        """(n, 2) float32, None before there are any."""
        self._columns: Any = None
        """The same as two arrays, which is faster to draw."""
        self._colors: npt.NDArray[np.uint32] | None = None
        self._chosen: npt.NDArray[np.bool_] | None = None
        self.legend: list[tuple[str, QColor]] = []
        self._scale = 1.0
        """Pixels a unit."""
        self._center = QPointF()
        self._bounds = QPointF(), QPointF()
        self._lasso: list[QPointF] = []
        self._dragged: QPointF | None = None
        self._moved = False
        """The user has moved or zoomed since everything was in sight."""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Map")
        self.setMinimumSize(120, 120)
        loader.loaded.connect(self._show_thumbnails)

    def _show_thumbnails(self) -> None:
        # a method, which Qt disconnects with the view: the loader lives longer
        self.update()

    # --- content

    def set_points(self, ids: Sequence[str], points: Any) -> None:
        """Show (n, 2) positions of the photos with these ids; the view stays where the user has moved it."""
        self.ids = list(ids)
        self._points = points
        self._colors = self._chosen = None
        if len(self.ids):
            self._columns = points[:, 0].copy(), points[:, 1].copy()
            self._bounds = QPointF(*points.min(axis=0).tolist()), QPointF(*points.max(axis=0).tolist())
        if not self._moved and len(self.ids):
            self.fit()
        self.update()

    def set_colors(self, colors: Any, legend: Sequence[tuple[str, QColor]]) -> None:
        """Color the points: (n,) of 0xffrrggbb; `legend` explains the colors."""
        self._colors, self.legend = colors, list(legend)
        self.update()

    def set_chosen(self, chosen: Any) -> None:
        """Mark the selected points, (n,) of booleans."""
        self._chosen = chosen
        self.update()

    def clear(self) -> None:
        """Show nothing, and fit what comes next."""
        self.ids, self._points, self._moved = [], None, False
        self.update()

    # --- view

    def fit(self) -> None:
        """Show all points."""
        low, high = self._bounds
        self._center = (low + high) / 2
        self._scale = self._fit_scale()
        self._moved = False
        self.update()

    def _fit_scale(self) -> float:
        size = self._bounds[1] - self._bounds[0]
        edge = self._theme.px(_THUMBNAIL) if len(self.ids) <= _FEW else 0  # else points, or thumbnails of a part
        width, height = max(self.width() - edge, self.width() / 2), max(self.height() - edge, self.height() / 2)
        return _FILLED * min(width / max(size.x(), 1e-3), height / max(size.y(), 1e-3))

    def zoom(self, factor: float, at: QPointF) -> None:
        """Zoom around a place in the widget."""
        before = self._plane(at)
        self._moved = True
        self._scale = min(max(self._scale * factor, 1e-3), _MOST_ZOOM)
        self._center += before - self._plane(at)
        self.update()

    def place_of(self, image_id: str) -> QPoint:
        """Return where a photo lies in the widget."""
        x, y = self._pixels()[self.ids.index(image_id)].tolist()
        return QPointF(x, y).toPoint()

    def _plane(self, place: QPointF) -> QPointF:
        return (place - QPointF(self.width() / 2, self.height() / 2)) / self._scale + self._center

    def _pixels(self) -> Any:
        """(n, 2) float32, places in the widget."""
        center = np.array([self._center.x(), self._center.y()], np.float32)
        middle = np.array([self.width() / 2, self.height() / 2], np.float32)
        return (self._points - center) * np.float32(self._scale) + middle

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._points is None or not len(self.ids):
            painter.fillRect(self.rect(), self._theme.color("canvas"))
            return
        ratio = self.devicePixelRatioF()
        size = round(self.width() * ratio), round(self.height() * ratio)
        near = self._near()
        frame = self._frame(size, ratio, near is not None)  # kept while the image refers to it
        start = memoryview(frame).cast("B")[4 * _PAD * (size[0] + 2 * _PAD + 1) :]
        image = QImage(start, size[0], size[1], 4 * (size[0] + 2 * _PAD), QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        painter.drawImage(QPoint(0, 0), image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if near is not None:
            self._paint_thumbnails(painter, near)
        self._paint_legend(painter)
        if len(self._lasso) > 1:
            color = self._theme.color("accent")
            painter.setPen(QPen(color, 1.5))
            color.setAlpha(40)
            painter.setBrush(QBrush(color))
            painter.drawPolygon(QPolygonF(self._lasso))

    def _near(self) -> list[int] | None:
        """Return the points in sight if thumbnails have room."""
        if len(self.ids) > _FEW and self._scale < 2 * self._fit_scale():
            return None
        pixels, margin = self._pixels(), self._theme.px(_THUMBNAIL)
        inside = np.flatnonzero(
            ((pixels > -margin) & (pixels < (self.width() + margin, self.height() + margin))).all(axis=1)
        )
        return inside.tolist() if len(inside) <= MOST_THUMBNAILS else None

    def _frame(self, size: tuple[int, int], ratio: float, faint: bool) -> Any:
        """Put all points in sight into rows of pixels, with _PAD around them; faint ones are left out: thumbnails cover them."""
        width, height = size[0] + 2 * _PAD, size[1] + 2 * _PAD
        buffer = np.full(width * height, self._theme.color("canvas").rgb(), np.uint32)
        if faint:
            return buffer
        scale = np.float32(self._scale * ratio)
        x, y = (
            (part * scale + np.float32((size[axis] / 2 - self._scale * ratio * middle) + 0.5)).astype(np.int32)
            for axis, (part, middle) in enumerate(
                ((self._columns[0], self._center.x()), (self._columns[1], self._center.y()))
            )
        )
        # A negative number is a large one without its sign
        inside = np.flatnonzero((x.view(np.uint32) < size[0]) & (y.view(np.uint32) < size[1]))
        flat = (y[inside] + _PAD) * width + (x[inside] + _PAD)
        count = len(flat)
        radius = (1.2 if count > 30_000 else 2.3 if count > 3_000 else 3.3) * ratio
        muted = np.uint32(self._theme.color("muted").rgb())
        colors = np.full(count, muted) if self._colors is None else self._colors[inside]
        _stamp(buffer, flat, colors, radius, width)
        if self._chosen is not None and self._chosen.any():
            chosen = self._chosen[inside]
            ring = np.full(int(chosen.sum()), np.uint32(self._theme.color("accent").rgb()))
            _stamp(buffer, flat[chosen], ring, min(radius + 2.2 * ratio, _PAD - 1), width)
            _stamp(buffer, flat[chosen], colors[chosen], radius, width)
        return buffer

    def _paint_thumbnails(self, painter: QPainter, near: list[int]) -> None:
        places = self._pixels()
        side = self._theme.px(_THUMBNAIL)
        images = [image for index in near if (image := self._image(self.ids[index])) is not None]
        self._loader.request(images, round(side * self.devicePixelRatioF()))
        for index in near:
            x, y = places[index].tolist()
            pixmap = self._loader.pixmap(self.ids[index])
            color = QColor.fromRgb(int(self._colors[index])) if self._colors is not None else self._theme.color("muted")
            if pixmap is None:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(color)
                painter.drawEllipse(QPointF(x, y), 4, 4)
                continue
            shape = pixmap.deviceIndependentSize()
            shape.scale(side, side, Qt.AspectRatioMode.KeepAspectRatio)
            box = QRectF(x - shape.width() / 2, y - shape.height() / 2, shape.width(), shape.height())
            painter.drawPixmap(box, pixmap, QRectF(pixmap.rect()))
            chosen = self._chosen is not None and bool(self._chosen[index])
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(color, 2))
            painter.drawRect(box)
            if chosen:
                painter.setPen(QPen(self._theme.color("accent"), 3))
                painter.drawRect(box.adjusted(-3, -3, 3, 3))

    def _paint_legend(self, painter: QPainter) -> None:
        px, theme = self._theme.px, self._theme
        painter.setFont(theme.font("small"))
        line = painter.fontMetrics().height() + px(2)
        room = max(1, (self.height() - px(24)) // line)
        shown = self.legend[:room]
        top = self.height() - px(12) - line * len(shown)
        left_to_right = self.layoutDirection() == Qt.LayoutDirection.LeftToRight
        for number, (text, color) in enumerate(shown):
            y = top + number * line
            x = px(12) if left_to_right else self.width() - px(22)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawEllipse(QRect(x, y + (line - px(8)) // 2, px(8), px(8)))
            painter.setPen(theme.color("text"))
            width = min(painter.fontMetrics().horizontalAdvance(text), px(180))
            text = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, px(180))
            start = x + px(14) if left_to_right else x - px(6) - width
            painter.drawText(QRect(start, y, width + 1, line), Qt.AlignmentFlag.AlignVCenter, text)

    # --- input

    def nearest(self, place: QPointF) -> str | None:
        """Return the photo under the pointer."""
        if self._points is None or not len(self.ids):
            return None
        apart = self._pixels() - [place.x(), place.y()]
        distance = (apart * apart).sum(axis=1)
        best = int(distance.argmin())
        return self.ids[best] if float(distance[best]) <= self._theme.px(_REACH) ** 2 else None

    def enclosed(self, lasso: Sequence[QPointF]) -> list[str]:
        """Return the photos inside a polygon in the widget, by the even-odd rule."""
        if self._points is None:
            return []
        corners = np.array([(point.x(), point.y()) for point in lasso], np.float32)
        pixels = self._pixels()
        low, high = corners.min(axis=0), corners.max(axis=0)
        boxed = np.flatnonzero(((pixels >= low) & (pixels <= high)).all(axis=1))
        x, y = pixels[boxed].T
        inside = np.zeros(len(boxed), bool)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        return [self.ids[index] for index in boxed[inside]]

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus()
        if event.button() == Qt.MouseButton.LeftButton:
            self._lasso = [event.position()]
        else:
            self._dragged = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._dragged is not None:
            self._moved = True
            self._center -= (event.position() - self._dragged) / self._scale
            self._dragged = event.position()
            self.update()
        elif self._lasso and (event.position() - self._lasso[-1]).manhattanLength() > 3:
            self._lasso.append(event.position())
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._dragged = None
        lasso, self._lasso = self._lasso, []
        if not lasso:
            return
        add = bool(event.modifiers() & _ADD)
        if len(lasso) > 2:
            self.selected.emit(self.enclosed(lasso), add)
        else:
            found = self.nearest(event.position())
            self.selected.emit([found] if found else [], add)
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        found = self.nearest(event.position())
        if found is not None:
            self.activated.emit(found)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.zoom(1.0015 ** event.angleDelta().y(), event.position())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        middle = QPointF(self.width() / 2, self.height() / 2)
        if event.key() in _PAN_KEYS:
            across, down = _PAN_KEYS[Qt.Key(event.key())]
            self._moved = True
            self._center -= QPointF(across, down) * (self.width() / 10 / self._scale)
            self.update()
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(1.25, middle)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom(0.8, middle)
        elif event.key() == Qt.Key.Key_Home:
            self.fit()
        elif event.key() == Qt.Key.Key_Escape and self._lasso:
            self._lasso = []
            self.update()
        else:
            event.ignore()
            self.key_pressed.emit(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if not self._moved and len(self.ids):
            self.fit()

    def event(self, event: QEvent) -> bool:
        """Show what is under the pointer."""
        if isinstance(event, QHelpEvent):
            found = self.nearest(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self._describe(found) if found is not None else "", self)
            return True
        return super().event(event)


def _stamp(buffer: Any, places: Any, colors: Any, radius: float, width: int) -> None:
    """Put a disc of each color at places in a flat buffer of rows of `width`."""
    reach = int(radius)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            if across * across + down * down <= radius * radius:
                buffer[places + (down * width + across)] = colors
