"""The grid of training images: sticky label headers, thumbnails, selection as in a file manager, zoom, drags in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PySide6.QtCore import (
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QContextMenuEvent,
    QDrag,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QRegion,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QListView, QToolTip, QWidget

from apitorch_desktop.api.types import INBOX, TrainingImage
from apitorch_desktop.dataset.workspace.listing import image_labels
from apitorch_desktop.ui.grid.interaction import (
    CTRL,
    DEFAULT,
    LARGEST,
    SHIFT,
    SMALLEST,
    GridDrops,
    GridKeys,
    GridMouse,
)
from apitorch_desktop.ui.grid.layout import Box, GridLayout, ScrollAnchor, Spacing, anchor_at
from apitorch_desktop.ui.grid.model import GridModel, ScrollBookmark
from apitorch_desktop.ui.grid.painter import Cell, GridPainter, Header
from apitorch_desktop.ui.grid.thumbnail_requests import ThumbnailRequests
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.drag_drop import DraggedImages, LocalCopy

__all__ = ["DEFAULT", "LARGEST", "SMALLEST", "GridView", "SelectionSummary"]

Index = QModelIndex | QPersistentModelIndex
_REACH = 7
"""Pixels that the selection ring and the focus line extend beyond a cell."""
_HOVER = 180
"""Milliseconds the pointer rests on a photo until it is drawn uncropped."""


class SelectionSummary(NamedTuple):
    """Number of selected images, their bytes as far as known, and the numbers of images shown and in all."""

    images: int
    bytes: int
    shown: int
    total: int


class GridView(QListView):
    """View of a `GridModel` with its own layout and painting.

    It derives from QListView for its accessibility: screen readers find the items. The model holds the selection.
    """

    image_activated = Signal(object)
    """TrainingImage: Enter or double-click."""
    summary_changed = Signal(object)
    """SelectionSummary, at most once each turn of the event loop."""
    zoom_changed = Signal(int)
    """The minimum cell size in pixels."""
    left = Signal()
    """Escape with nothing selected."""
    label_key = Signal(str)
    """A typed digit or letter."""
    content_dropped = Signal(object, object)
    """(DroppedContent, label or None)"""
    images_dropped = Signal(list, str)
    """(image ids, label): an internal drag."""
    drag_over = Signal(str)
    """The effect of a drop here, in words; "" when the drag has left."""
    context_menu_requested = Signal(object, object)
    """(QPoint on the screen, the label on a header, else None)"""
    drop_refused = Signal(str)
    """The reason why the dropped content is of no use."""
    drag_incomplete = Signal(int, int)
    """(files that were ready for another program, files that were dragged out)"""

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
        """Drags to other programs need `tasks` and `local_copy`."""
        super().__init__(parent)
        self.images = model
        self.loader = loader
        self.theme = theme
        self._tasks, self._local_copy = tasks, local_copy
        self.inbox_hint = ""
        """Sentence beside the heading of the photos without a label."""
        self._cell = DEFAULT
        self._content = GridLayout([], 0, DEFAULT)
        self._stale = True
        self._anchor: ScrollAnchor | None = None
        self._bookmark: ScrollBookmark | None = None
        self._given = False
        """True while the focus is where Qt has put it, on the first photo."""
        self._pivot = QPersistentModelIndex()
        self._pointed = QPersistentModelIndex()  # under the pointer
        self._uncropped = QPersistentModelIndex()  # drawn uncropped, since the pointer has rested on it
        self._summary: SelectionSummary | None = None
        self._painter = GridPainter(theme)
        self._requests = ThumbnailRequests(self, loader)
        self._mouse, self._keys, self._drops = GridMouse(self), GridKeys(self), GridDrops(self)
        self._hover_timer = QTimer(self, interval=_HOVER, singleShot=True)
        self._hover_timer.timeout.connect(self._show_uncropped)
        self._summary_timer = QTimer(self, interval=0, singleShot=True)
        self._summary_timer.timeout.connect(self._report_summary)
        self._set_up()
        self.setModel(model)
        model.about_to_rearrange.connect(self._mark_place)
        model.layoutChanged.connect(self._restore_place)
        model.counts_changed.connect(self._counts_changed)
        model.counts_changed.connect(self._summary_timer.start)
        model.ids_replaced.connect(loader.rename_ids)
        theme.changed.connect(self._restyle)

    def _set_up(self) -> None:
        self.setAccessibleName("Photos by label")
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)  # of Qt's selection model
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)  # else its appearance would move cells
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAutoScroll(False)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setAcceptDrops(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        self.setDropIndicatorShown(False)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.viewport().setMouseTracking(True)

    # --- geometry

    @property
    def content(self) -> GridLayout:
        """The current layout of headers and cells, in coordinates of the scrolled content."""
        if self._stale:
            self._lay_out()
        return self._content

    def top(self) -> int:
        """Return the scroll offset in pixels."""
        return self.verticalScrollBar().value()

    def rect_of(self, box: Box) -> QRect:
        """Map a box of the content to the viewport."""
        x = self.viewport().width() - box.right if self.isRightToLeft() else box.x
        return QRect(x, box.y - self.top(), box.width, box.height)

    def row_under(self, point: QPoint) -> int | None:
        """Return the row of the cell under a point of the viewport."""
        if self._sticky_under(point) is not None:
            return None
        x = self.viewport().width() - 1 - point.x() if self.isRightToLeft() else point.x()
        return self.content.row_at(x, point.y() + self.top())

    def header_under(self, point: QPoint) -> int | None:
        """Return the group whose header is under a point of the viewport."""
        sticky = self._sticky_under(point)
        return sticky if sticky is not None else self.content.header_at(point.y() + self.top())

    def group_under(self, point: QPoint) -> int | None:
        """Return the group whose header or cells are under a point of the viewport."""
        sticky = self._sticky_under(point)
        return sticky if sticky is not None else self.content.group_at(point.y() + self.top())

    def _sticky_under(self, point: QPoint) -> int | None:
        sticky = self.content.sticky(self.top())
        if sticky is None:
            return None
        group, y = sticky
        return group if 0 <= point.y() < y - self.top() + self.content.spacing.header else None

    def _lay_out(self) -> None:
        px = self.theme.px
        spacing = Spacing(margin=px(18), gap=px(10), header=px(42), empty=px(34), foot=px(6))
        counts = [len(group.images) for group in self.images.groups]
        width = self.viewport().width()
        self._content = content = GridLayout(counts, width, min(self._cell, max(1, width)), spacing)
        self._stale = False
        self._sync_bar()
        anchor, self._anchor = self._anchor, None
        if anchor is not None and content.count:
            self.verticalScrollBar().setValue(anchor.scroll(content))
        self._requests.laid_out()

    def _sync_bar(self) -> None:
        bar, height = self.verticalScrollBar(), self.viewport().height()
        bar.setSingleStep(self.theme.px(40))
        bar.setPageStep(max(1, height - self._content.spacing.header))
        bar.setRange(0, max(0, self._content.height - height))

    def _relayout(self, anchor: ScrollAnchor | None = None) -> None:
        """Schedule a new layout before the next paint; `anchor` keeps its place."""
        if anchor is not None:
            self._anchor = anchor
        self._stale = True
        self.scheduleDelayedItemsLayout()

    def _top_anchor(self) -> ScrollAnchor | None:
        """Return the anchor at the top of the viewport, None at the top of the grid, so that it stays there.

        While a layout is pending, the anchor is the one that it will keep.
        """
        if self._stale or not self.top():
            return self._anchor
        return anchor_at(self._content, self.top(), self._content.spacing.header)

    # --- zoom

    def cell_size(self) -> int:
        """Return the chosen minimum cell size in pixels."""
        return self._cell

    def set_cell_size(self, size: int) -> None:
        """Set the minimum cell size (64 to 384 pixels); the center of a scrolled viewport keeps its place."""
        self.zoom_at(size, self.viewport().rect().center())

    def zoom_at(self, size: int, point: QPoint) -> None:
        """Set the minimum cell size; the photo at the height of `point` keeps its place unless the grid is at its top."""
        size = min(LARGEST, max(SMALLEST, size))
        if size == self._cell:
            return
        anchor = anchor_at(self.content, self.top(), point.y(), self.row_under(point)) if self.top() else None
        self._cell = size
        self._relayout(anchor)
        self.viewport().update()
        self.zoom_changed.emit(size)

    def zoom_steps(self, steps: float, point: QPoint | None = None) -> None:
        """Enlarge or shrink the cells by an eighth a step, at least by one column in all."""
        content = self.content
        size = self._cell * 1.125**steps
        room = content.width - 2 * content.spacing.margin + content.spacing.gap
        columns = content.columns - 1 if steps > 0 else content.columns + 1
        if columns > 0:
            column = room // columns - content.spacing.gap
            size = max(size, column) if steps > 0 else min(size, column)
        self.zoom_at(round(size), point if point is not None else self.viewport().rect().center())

    # --- changes of the model

    def repaint_row(self, row: int) -> None:
        """Schedule a repaint of a row."""
        if not self._stale:  # else everything is repainted anyway
            self.viewport().update(self.rect_of(self._content.box(row)))

    def _mark_place(self) -> None:
        content, top = self.content, self.top()
        rows = content.rows_between(top + content.spacing.header, top + self.viewport().height()) if top else range(0)
        focus = self.currentIndex().row() if self.currentIndex().isValid() else None
        self._bookmark = ScrollBookmark(self.images, content, rows, top, focus)

    def _restore_place(self) -> None:
        bookmark, self._bookmark = self._bookmark, None
        self._stale = True
        if bookmark is not None:
            self._anchor = bookmark.anchor()
            if not self._keep_first():
                self.set_current(bookmark.focus())
        self.scheduleDelayedItemsLayout()

    def _counts_changed(self) -> None:
        if not self._stale and [len(group.images) for group in self.images.groups] == self._content.counts:
            self.viewport().update()  # for the count in its header
        else:
            self._relayout()

    def set_current(self, row: int | None) -> None:
        """Give a row the focus; None removes it."""
        index = QModelIndex() if row is None else self.images.index(row)
        self._given = False
        self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
        self.viewport().update()

    def _keep_first(self) -> bool:
        """Leave the focus that the user has not moved yet at the first photo, whatever comes in. Return False if it was."""
        if not self._given or self.top() or not self.images.shown:
            return False
        self.set_current(0)
        self._given = True
        return True

    def rowsInserted(self, parent: Index, start: int, end: int) -> None:
        """Keep the visible rows in place."""
        anchor = self._top_anchor()
        if anchor is not None and start <= anchor.row:
            anchor = anchor._replace(row=anchor.row + end - start + 1)
        self._relayout(anchor)
        self._keep_first()

    def reset(self) -> None:
        QAbstractItemView.reset(self)
        self._anchor = self._bookmark = None
        self._stale = True
        self.verticalScrollBar().setValue(0)
        self.scheduleDelayedItemsLayout()

    def dataChanged(self, topLeft: Index, bottomRight: Index, roles: object = ()) -> None:  # noqa: N803 - Qt's names
        self.viewport().update()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        content, top, region, exposed = self.content, self.top(), event.region(), event.rect()
        with QPainter(self.viewport()) as painter:
            painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
            painter.fillRect(exposed, self._painter.canvas)
            for group in content.groups_between(top + exposed.top(), top + exposed.bottom() + 1):
                self._paint_header(painter, group, content.header(group).y, floating=False)
                if not content.rows_of(group):
                    self._paint_empty(painter, group)
            for row in content.rows_between(top + exposed.top() - _REACH, top + exposed.bottom() + 1 + _REACH):
                box = self.rect_of(content.box(row))
                if region.intersects(box.adjusted(-_REACH, -_REACH, _REACH, _REACH)):
                    self._paint_cell(painter, box, row)
            sticky = content.sticky(top)
            if sticky is not None and sticky[1] > content.header(sticky[0]).y:
                self._paint_header(painter, *sticky, floating=True)
            target = self._drops.target
            if target is not None and target[0] < content.groups:
                frame = self.rect_of(content.group(target[0]))
                self._painter.target(painter, frame.intersected(self.viewport().rect()))
            rubber_band = self._mouse.band()
            if rubber_band is not None:
                self._painter.band(painter, rubber_band)

    def _paint_cell(self, painter: QPainter, box: QRect, row: int) -> None:
        image_id = self.images.id_at(row)
        cell = Cell(
            *self._requests.look_up(image_id, row),
            self.images.badge(image_id),
            row in self.images.selection,
            self.hasFocus() and row == self.currentIndex().row(),
            self._uncropped.isValid() and row == self._uncropped.row(),
            self.images.flat is not None,
        )
        self._painter.cell(painter, box, cell, self.isRightToLeft())

    def _paint_header(self, painter: QPainter, group: int, y: int, *, floating: bool) -> None:
        shown, content, target = self.images.groups[group], self._content, self._drops.target
        header = Header(
            shown.label if self.images.flat is None else self.images.flat.title,
            len(shown.images),
            shown.accuracy,
            self.images.selection.count(content.rows_of(group)),
            target[1] if target is not None and target[0] == group else "",
            floating,
            self.inbox_hint if shown.label == INBOX else "",
        )
        box = content.header(group)._replace(y=y)
        self._painter.header(painter, self.rect_of(box), header, self.isRightToLeft())

    def _paint_empty(self, painter: QPainter, group: int) -> None:
        spacing, header = self._content.spacing, self._content.header(group)
        room = Box(spacing.margin, header.bottom, header.width - 2 * spacing.margin, spacing.empty)
        self._painter.empty(painter, self.rect_of(room), self.isRightToLeft())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.LayoutDirectionChange, QEvent.Type.FontChange):
            self._relayout()

    def _restyle(self) -> None:
        self._painter.refresh()
        self._relayout(self._top_anchor())
        self.viewport().update()

    # --- selection

    def summary(self) -> SelectionSummary:
        """Return the figures of the current selection."""
        model = self.images
        count = len(model.selection)
        return SelectionSummary(count, model.selected_bytes() if count else 0, model.shown, model.total)

    def select(self, image_ids: Iterable[str]) -> None:
        """Select these images only."""
        self.images.selection.only(range(row, row + 1) for row in self.images.rows_of(list(image_ids)))
        self.selection_changed()

    def selectAll(self) -> None:
        self.images.selection.all()
        self.selection_changed()

    def invert_selection(self) -> None:
        self.images.selection.invert()
        self.selection_changed()

    def clearSelection(self) -> None:
        if self.images.selection:
            self.images.selection.clear()
            self.selection_changed()

    def select_label(self, label: str) -> None:
        """Select the images of a label only."""
        for position, group in enumerate(self.images.groups):
            if group.label == label:
                self.choose_group(position)

    def reveal(self, image_id: str) -> bool:
        """Focus an image and scroll to it. Return False if it is not shown."""
        row = self.images.row_of(image_id)
        if row is None:
            return False
        self.set_current(row)
        self.set_pivot(row)
        self.scrollTo(self.images.index(row))
        return True

    def reveal_label(self, label: str) -> bool:
        """Scroll the header of a label to the top. Return False if it is not shown."""
        for position, group in enumerate(self.images.groups):
            if group.label == label:
                self.verticalScrollBar().setValue(self.content.header(position).y)
                return True
        return False

    def focused_image(self) -> TrainingImage | None:
        """Return the image with the keyboard focus."""
        index = self.currentIndex()
        return self.images.image(index.row()) if index.isValid() else None

    def advance(self) -> None:
        """Select the focused image only: after a move, the one that took the place of the moved one."""
        if self.currentIndex().isValid():
            self.choose(self.currentIndex().row())
            self.scrollTo(self.currentIndex())

    def choose(self, row: int) -> None:
        """Select one row only."""
        self.images.selection.only([range(row, row + 1)])
        self.set_pivot(row)
        self.set_current(row)
        self.selection_changed()

    def toggle(self, row: int) -> None:
        """Invert the selection of a row."""
        self.images.selection.toggle(row)
        self.set_pivot(row)
        self.set_current(row)
        self.selection_changed()

    def extend_to(self, row: int, *, add: bool = False) -> None:
        """Select from the pivot to a row; `add` keeps the rest of the selection."""
        pivot = self._pivot.row() if self._pivot.isValid() else row
        run = range(min(pivot, row), max(pivot, row) + 1)
        if add:
            self.images.selection.set(run)
        else:
            self.images.selection.only([run])
        self.set_current(row)
        self.selection_changed()

    def choose_group(self, position: int, *, add: bool = False, extend: bool = False) -> None:
        """Select a group alone. With `add` the rest of the selection is kept, and a wholly selected group deselected.

        With `extend` everything from the pivot to the far end of the group is selected, the whole group included.
        """
        rows, selection = self.content.rows_of(position), self.images.selection
        if not rows:
            return
        if extend and self._pivot.isValid():
            pivot = self._pivot.row()
            selection.only([range(min(pivot, rows.start), max(pivot + 1, rows.stop))])
        elif add:
            selection.set(rows, not selection.whole(rows))
        else:
            selection.only([rows])
        if not extend:
            self.set_pivot(rows.start)
        self.set_current(rows.start)
        self.selection_changed()

    def set_pivot(self, row: int) -> None:
        """Set the row from which Shift selects."""
        self._pivot = QPersistentModelIndex(self.images.index(row))

    def selection_changed(self) -> None:
        """Repaint, and report the change to screen readers and listeners."""
        self.viewport().update()
        self._summary_timer.start()
        if QAccessible.isActive() and self.currentIndex().isValid():
            changed = QAccessibleEvent(self, QAccessible.Event.NameChanged)  # "selected" is part of the name
            changed.setChild(self.currentIndex().row())
            QAccessible.updateAccessibility(changed)

    def _report_summary(self) -> None:
        summary = self.summary()
        if summary != self._summary:
            self._summary = summary
            self.summary_changed.emit(summary)

    # --- mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._hover(None)
        self._mouse.press(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._mouse.move(event)
        if not self._mouse.busy:
            self._hover(self.row_under(event.position().toPoint()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._mouse.release(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self._keys.press(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        row = self.row_under(event.position().toPoint())
        if row is None or event.button() != Qt.MouseButton.LeftButton or event.modifiers() & (CTRL | SHIFT):
            self._mouse.press(event)
            return
        self._mouse.end()
        self.choose(row)
        self.image_activated.emit(self.images.image(row))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & CTRL:
            self.zoom_steps(event.angleDelta().y() / 120, event.position().toPoint())
            event.accept()
        else:
            QAbstractItemView.wheelEvent(self, event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Open the menu at the pointer, or at the focused photo if it was requested by key."""
        if event.reason() == event.Reason.Keyboard:
            place = self.visualRect(self.currentIndex()).center() if self.currentIndex().isValid() else QPoint()
            self.context_menu_requested.emit(self.viewport().mapToGlobal(place), None)
            return
        group = self.header_under(event.pos())
        label = self.images.group_label(group)
        self.context_menu_requested.emit(event.globalPos(), label)

    def viewportEvent(self, event: QEvent) -> bool:
        """Show the reason of a failure as the tooltip; end hovering when the pointer leaves."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row = self.row_under(event.pos())
            reason = self.loader.failure(self.images.id_at(row)) if row is not None else None
            if reason:
                QToolTip.showText(event.globalPos(), reason, self.viewport())
                return True
        elif event.type() == QEvent.Type.Leave:
            self._hover(None)
        return super().viewportEvent(event)

    def _hover(self, row: int | None) -> None:
        index = QPersistentModelIndex() if row is None else QPersistentModelIndex(self.images.index(row))
        if index == self._pointed:
            return
        self._pointed = index
        if self._uncropped.isValid():
            self.viewport().update(self.visualRect(self._uncropped))
        self._uncropped = QPersistentModelIndex()
        self._hover_timer.start()

    def _show_uncropped(self) -> None:
        self._uncropped = self._pointed
        if self._uncropped.isValid():
            self.viewport().update(self.visualRect(self._uncropped))

    # --- drags and drops

    def start_drag(self, images: Sequence[TrainingImage] = ()) -> None:
        """Drag these images, by default the selected ones. Returns after the drop."""
        images = images or self.images.selected_images()
        if not images:
            return
        data = DraggedImages(images, self._tasks, self._local_copy)
        data.incomplete.connect(self.drag_incomplete)
        self._drops.dragged_labels = set(image_labels(images))
        drag = QDrag(self)
        drag.setMimeData(data)
        pixmaps = [pixmap for image in images[:3] if (pixmap := self.loader.pixmap(image.image_id)) is not None]
        drag.setPixmap(self._painter.drag_pixmap(pixmaps, len(images), self.devicePixelRatioF()))
        drag.setHotSpot(QPoint(-self.theme.px(12), -self.theme.px(20)))  # the label aimed at stays readable
        drag.exec(Qt.DropAction.CopyAction | Qt.DropAction.MoveAction, Qt.DropAction.MoveAction)
        data.end()
        self._drops.dragged_labels = set()
        self._drops.leave()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if drag_drop.accepts(event.mimeData()):
            event.acceptProposedAction()
        else:
            event.ignore()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        self._drops.move(event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._drops.leave()

    def dropEvent(self, event: QDropEvent) -> None:
        self._drops.drop(event)

    # --- overrides for the layout

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.viewport().update()

    def moveCursor(self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier) -> QModelIndex:
        """Return the first visible photo: Qt asks when the grid gets the focus and no photo has it."""
        rows = self.content.rows_between(self.top(), self.top() + self.viewport().height())
        self._given = True
        return self.images.index(rows.start) if rows else QModelIndex()

    def doItemsLayout(self) -> None:
        QAbstractItemView.doItemsLayout(self)

    def updateGeometries(self) -> None:
        _ = self.content
        self._requests.scrolled()

    def resizeEvent(self, event: QResizeEvent) -> None:
        width = event.size().width() != event.oldSize().width()
        if width or self._stale:
            self._relayout(self._top_anchor())
        else:
            self._sync_bar()
        self._requests.scrolled()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()
        self._requests.scrolled()

    def visualRect(self, index: Index) -> QRect:
        """Return the cell of a row in the viewport."""
        content = self.content
        if not index.isValid() or index.row() >= content.count:
            return QRect()
        return self.rect_of(content.box(index.row()))

    def indexAt(self, point: QPoint) -> QModelIndex:
        row = self.row_under(point)
        return QModelIndex() if row is None else self.images.index(row)

    def scrollTo(self, index: Index, hint: QListView.ScrollHint = QListView.ScrollHint.EnsureVisible) -> None:
        """Scroll until the cell of a row is visible, below the sticky header."""
        content = self.content
        if not index.isValid() or index.row() >= content.count:
            return
        box, bar, height = content.box(index.row()), self.verticalScrollBar(), self.viewport().height()
        high = box.y - content.spacing.header
        last = box.bottom + content.pitch > content.height
        low = (content.height if last else box.bottom + content.spacing.gap) - height
        if hint is QListView.ScrollHint.PositionAtTop:
            bar.setValue(high)
        elif hint is QListView.ScrollHint.PositionAtCenter:
            bar.setValue(box.y + box.height // 2 - height // 2)
        elif bar.value() > high:
            # a first line would be cut off from its header otherwise
            first = index.row() - content.rows_of(content.group_of(index.row())).start < content.columns
            bar.setValue(high if not first else content.header(content.group_of(index.row())).y)
        elif bar.value() < low:
            bar.setValue(min(low, high))

    def horizontalOffset(self) -> int:
        return 0

    def verticalOffset(self) -> int:
        return self.top()

    def rows_in_sight(self) -> list[int]:
        """Return the rows of which the middle is in the viewport."""
        content, top, height = self.content, self.top(), self.viewport().height()
        half = content.cell // 2
        return [row for row in content.rows_between(top, top + height) if 0 <= content.box(row).y + half - top < height]

    def isIndexHidden(self, index: Index) -> bool:
        return False

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        return QRegion(self.viewport().rect())

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """Do nothing: `GridMouse` selects."""
