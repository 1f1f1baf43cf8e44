"""The grid of training images: sticky label headers, thumbnails, selection as in a file manager, zoom, drags in and out."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPersistentModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QDrag,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QToolTip, QWidget

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.geometry import DEFAULT, LARGEST, SMALLEST
from apitorch_desktop.ui.grid.hands import GridMouse, edge_speed
from apitorch_desktop.ui.grid.interaction import CTRL, SHIFT, GridInteraction, SelectionSummary
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.painter import GridPainter
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.dragging import DraggedImages, LocalCopy
from apitorch_desktop.utils.text import plural

__all__ = ["DEFAULT", "LARGEST", "SMALLEST", "GridView", "SelectionSummary"]

_RESTING = 180
"""Milliseconds the pointer rests on a photo until it is shown whole."""


class GridView(GridInteraction):
    """Mouse, drags and drops on top of selection and surface."""

    image_hovered = Signal(object)
    """TrainingImage or None."""
    content_dropped = Signal(object, object)
    """DroppedContent, label or None."""
    images_dropped = Signal(list, str)
    """Ids, label: an internal drag."""
    drag_over = Signal(str)
    """What a drop here would do, in words; "" when the drag is elsewhere."""
    context_menu_wanted = Signal(object, object)
    """QPoint on the screen; the label on a header, else None."""
    drop_refused = Signal(str)
    """Why what was dropped is of no use."""
    drag_incomplete = Signal(int, int)
    """Files that were ready for another program, files that were dragged out."""

    def __init__(
        self,
        model: GridModel,
        loader: ThumbnailLoader,
        theme: Theme,
        *,
        tasks: TaskRunner | None = None,
        local_copy: LocalCopy | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """Drags to other programs work where `tasks` and `local_copy` are given."""
        super().__init__(model, loader, theme, parent)
        self._tasks = tasks
        self._local_copy = local_copy
        self._hands = GridMouse(self)
        self._dragged: set[str] | None = None
        self._under = QPersistentModelIndex()
        self._rest = QTimer(self, interval=_RESTING, singleShot=True)
        self._rest.timeout.connect(self._show_whole)
        self._drag_edge = QTimer(self, interval=16)
        self._drag_edge.timeout.connect(self._scroll_in_drag)
        self._drag_speed = 0
        self.setAcceptDrops(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        self.setDropIndicatorShown(False)

    # --- mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._hover(None)
        self._hands.press(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hands.move(event)
        if not self._hands.busy:
            self._hover(self.row_under(event.position().toPoint()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._hands.release(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Opens a photo."""
        row = self.row_under(event.position().toPoint())
        if row is None or event.button() != Qt.MouseButton.LeftButton or event.modifiers() & (CTRL | SHIFT):
            self._hands.press(event)
            return
        self._hands.end()
        self.choose(row)
        self.image_activated.emit(self.images.image(row))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Ctrl zooms at the pointer."""
        if event.modifiers() & CTRL:
            self.zoom_steps(event.angleDelta().y() / 120, event.position().toPoint())
            event.accept()
        else:
            QAbstractItemView.wheelEvent(self, event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """At the pointer, or at the focused photo when it was asked for by key."""
        if event.reason() == event.Reason.Keyboard:
            place = self.visualRect(self.currentIndex()).center() if self.currentIndex().isValid() else QPoint()
            self.context_menu_wanted.emit(self.viewport().mapToGlobal(place), None)
            return
        group = self.header_under(event.pos())
        label = self.images.groups[group].label if group is not None else None
        self.context_menu_wanted.emit(event.globalPos(), label)

    def viewportEvent(self, event: QEvent) -> bool:
        """The tip says why a photo can't be shown; the pointer leaves."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row = self.row_under(event.pos())
            reason = self.loader.failure(self.images.image(row).image_id) if row is not None else None
            if reason:
                QToolTip.showText(event.globalPos(), reason, self.viewport())
                return True
        elif event.type() == QEvent.Type.Leave:
            self._hover(None)
        return super().viewportEvent(event)

    def _hover(self, row: int | None) -> None:
        index = QPersistentModelIndex() if row is None else QPersistentModelIndex(self.images.index(row))
        if index == self._under:
            return
        self._under = index
        if self._hovered.isValid():
            self.viewport().update(self.visualRect(self._hovered))
        self._hovered = QPersistentModelIndex()
        self._rest.start()
        self.image_hovered.emit(None if row is None else self.images.image(row))

    def _show_whole(self) -> None:
        self._hovered = self._under
        if self._hovered.isValid():
            self.viewport().update(self.visualRect(self._hovered))

    def paint_over(self, painter: QPainter, grid_painter: GridPainter) -> None:
        """The rubber band."""
        band = self._hands.band()
        if band is not None:
            grid_painter.band(painter, band)

    # --- drags out

    def start_drag(self, wanted: Sequence[TrainingImage] = ()) -> None:
        """Drag what is selected, or what is wanted; returns when it has been dropped."""
        images = list(wanted) or self.images.selected_images()
        if not images:
            return
        data = DraggedImages(images, self._tasks, self._local_copy)
        data.incomplete.connect(self.drag_incomplete)
        self._dragged = {self.images.label_of(image.image_id) or "" for image in images}
        drag = QDrag(self)
        drag.setMimeData(data)
        pixmaps = [pixmap for image in images[:3] if (pixmap := self.loader.pixmap(image.image_id)) is not None]
        drag.setPixmap(self._painter.drag_pixmap(pixmaps, len(images), self.devicePixelRatioF()))
        drag.setHotSpot(QPoint(self.theme.px(20), self.theme.px(20)))
        drag.exec(Qt.DropAction.CopyAction | Qt.DropAction.MoveAction, Qt.DropAction.MoveAction)
        data.end()
        self._dragged = None
        self._aim(None)

    # --- drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if drag_drop.accepts(event.mimeData()):
            event.acceptProposedAction()
        else:
            event.ignore()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Mark the group under the pointer and say what a drop would do."""
        point = event.position().toPoint()
        self._drag_speed = edge_speed(point.y(), self.viewport().height())
        if self._drag_speed and not self._drag_edge.isActive():
            self._drag_edge.start()
        if not drag_drop.accepts(event.mimeData()) or not self._aim(
            point, inside=event.mimeData().hasFormat(drag_drop.IDS_TYPE)
        ):
            event.ignore()
        else:
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._aim(None)

    def dropEvent(self, event: QDropEvent) -> None:
        """Hand on what was dropped, with the label it was dropped on."""
        group = self.group_under(event.position().toPoint())
        label = self.images.groups[group].label if group is not None else None
        content = drag_drop.read(event.mimeData())
        self._aim(None)
        event.acceptProposedAction()
        if not content:
            self.drop_refused.emit(
                "There is no photo in what was dropped, and no address of one: drop files, folders or pictures."
            )
        elif not content.image_ids:
            self.content_dropped.emit(content, label)
        elif label is not None:
            self.images_dropped.emit(list(content.image_ids), label)

    def _aim(self, point: QPoint | None, *, inside: bool = False) -> bool:
        """Mark where a drop would go; whether it may."""
        group = self.group_under(point) if point is not None else None
        label = self.images.groups[group].label if group is not None else None
        useless = inside and (label is None or self._dragged == {label})
        words = ""
        if point is not None and not useless:
            count = len(self.images.selection) if inside else 0
            words = (
                f"Move {plural(count, 'photo')} to “{label}”"
                if inside
                else f"Add to “{label}”"
                if label
                else "Add to this set"
            )
        target = (group, words) if group is not None and words else None
        if point is None:
            self._drag_edge.stop()
        if target != self._drop_target:
            self._drop_target = target
            self.viewport().update()
        self.drag_over.emit(words)
        return bool(words)

    def _scroll_in_drag(self) -> None:
        bar = self.verticalScrollBar()
        bar.setValue(bar.value() + self._drag_speed)
        if not self._drag_speed:
            self._drag_edge.stop()
