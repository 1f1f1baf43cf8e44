"""The grid's surface: where things are, scroll and zoom, painting, and which pictures are sent for. Input is in view.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    Qt,
    Signal,
)
from PySide6.QtGui import QPainter, QRegion
from PySide6.QtWidgets import QAbstractItemView, QListView, QWidget

from apitorch_desktop.ui.grid.delegate import Cell, GridPainter, Header
from apitorch_desktop.ui.grid.layout import Box, GridLayout, Spacing
from apitorch_desktop.ui.grid.places import Anchor, Bookmark, anchor_at
from apitorch_desktop.ui.grid.supply import Supply

if TYPE_CHECKING:
    from PySide6.QtCore import QItemSelection
    from PySide6.QtGui import QPaintEvent, QResizeEvent

    from apitorch_desktop.ui.grid.loader import ThumbnailLoader
    from apitorch_desktop.ui.grid.model import GridModel
    from apitorch_desktop.ui.theme import Theme

SMALLEST, LARGEST, DEFAULT = 64, 384, 120
"""Least sizes of a cell in pixels: cells grow a little so that rows fill the width."""
_REACH = 7
"""Pixels that ring and focus line reach beyond a cell."""

Index = QModelIndex | QPersistentModelIndex


class GridSurface(QListView):
    """Shows a GridModel. A QListView by descent, so that screen readers find its items; geometry and painting are its own."""

    zoomChanged = Signal(int)
    """The least cell size, in pixels."""

    def __init__(self, model: GridModel, loader: ThumbnailLoader, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.images = model
        self.loader = loader
        self.theme = theme
        self._painter = GridPainter(theme)
        self._cell = DEFAULT
        self._content = GridLayout([], 0, DEFAULT)
        self._stale = True
        self._anchor: Anchor | None = None
        self._bookmark: Bookmark | None = None
        self._drop_target: tuple[int, str] | None = None
        self._hovered = QPersistentModelIndex()
        self.supply = Supply(self, loader)
        self._set_up()
        self.setModel(model)
        model.rearranging.connect(self._mark_place)
        model.layoutChanged.connect(self._go_to_place)
        model.countsChanged.connect(self._counts_changed)
        model.idsReplaced.connect(loader.follow)
        theme.changed.connect(self._dressed)

    def _set_up(self) -> None:
        self.setAccessibleName("Photos by label")
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)  # the selection is the model's own
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)  # else its coming and going moves cells
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAutoScroll(False)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.viewport().setMouseTracking(True)

    # --- geometry

    @property
    def content(self) -> GridLayout:
        """Where everything is, as of now."""
        if self._stale:
            self._lay_out()
        return self._content

    def top(self) -> int:
        """How far the content is scrolled, in pixels."""
        return self.verticalScrollBar().value()

    def rect_of(self, box: Box) -> QRect:
        """A box of the content in the viewport."""
        x = self.viewport().width() - box.right if self.isRightToLeft() else box.x
        return QRect(x, box.y - self.top(), box.width, box.height)

    def row_under(self, point: QPoint) -> int | None:
        """The row of the cell under a point of the viewport."""
        if self._sticky_under(point) is not None:
            return None
        x = self.viewport().width() - 1 - point.x() if self.isRightToLeft() else point.x()
        return self.content.row_at(x, point.y() + self.top())

    def header_under(self, point: QPoint) -> int | None:
        """The group whose header is under a point of the viewport."""
        sticky = self._sticky_under(point)
        return sticky if sticky is not None else self.content.header_at(point.y() + self.top())

    def group_under(self, point: QPoint) -> int | None:
        """The group whose header or cells are under a point of the viewport."""
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
        self.supply.laid_out()

    def _sync_bar(self) -> None:
        bar, height = self.verticalScrollBar(), self.viewport().height()
        bar.setSingleStep(self.theme.px(40))
        bar.setPageStep(max(1, height - self._content.spacing.header))
        bar.setRange(0, max(0, self._content.height - height))

    def _relayout(self, anchor: Anchor | None = None) -> None:
        """Lay out anew before the next paint; what is at `anchor` stays there."""
        if anchor is not None:
            self._anchor = anchor
        self._stale = True
        self.scheduleDelayedItemsLayout()

    def _top_anchor(self) -> Anchor | None:
        """What is at the top of the window, unless that is the very top, which stays the top."""
        if self._stale or not self.top():
            return self._anchor
        return anchor_at(self._content, self.top(), self._content.spacing.header)

    # --- zoom

    def cellSize(self) -> int:
        """The chosen size of a cell in pixels; cells are a little larger so that rows fill the width."""
        return self._cell

    def setCellSize(self, size: int) -> None:
        """64…384; keeps the middle of what is shown in place."""
        self.zoom_at(size, self.viewport().rect().center())

    def zoom_at(self, size: int, point: QPoint) -> None:
        """Choose a cell size; what is at the height of `point` stays there."""
        size = min(LARGEST, max(SMALLEST, size))
        if size == self._cell:
            return
        anchor = anchor_at(self.content, self.top(), point.y(), self.row_under(point)) if self.top() else None
        self._cell = size
        self._relayout(anchor)
        self.viewport().update()
        self.zoomChanged.emit(size)

    def zoom_steps(self, steps: float, point: QPoint | None = None) -> None:
        """Larger or smaller by an eighth, and at least by one column, a step."""
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
        """A row looks different now."""
        if not self._stale:  # else everything is painted anew in a moment
            self.viewport().update(self.rect_of(self._content.box(row)))

    def _mark_place(self) -> None:
        content, top = self.content, self.top()
        rows = content.rows_between(top + content.spacing.header, top + self.viewport().height()) if top else range(0)
        focus = self.currentIndex().row() if self.currentIndex().isValid() else None
        self._bookmark = Bookmark(self.images, content, rows, top, focus)

    def _go_to_place(self) -> None:
        bookmark, self._bookmark = self._bookmark, None
        self._stale = True
        if bookmark is not None:
            self._anchor = bookmark.anchor()
            row = bookmark.focus()
            self.set_current(row)
        self.scheduleDelayedItemsLayout()

    def _counts_changed(self) -> None:
        if not self._stale and [len(group.images) for group in self.images.groups] == self._content.counts:
            self.viewport().update()  # a figure in a header
        else:
            self._relayout()

    def set_current(self, row: int | None) -> None:
        """Give a row the focus; None takes it away."""
        index = QModelIndex() if row is None else self.images.index(row)
        self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
        self.viewport().update()

    def rowsInserted(self, parent: Index, start: int, end: int) -> None:
        """Qt's: images have come in; what is seen stays where it is."""
        anchor = self._top_anchor()
        if anchor is not None and start <= anchor.row:
            anchor = anchor._replace(row=anchor.row + end - start + 1)
        self._relayout(anchor)

    def reset(self) -> None:
        """Qt's: another listing."""
        QAbstractItemView.reset(self)
        self._anchor = self._bookmark = None
        self._stale = True
        self.verticalScrollBar().setValue(0)
        self.scheduleDelayedItemsLayout()

    def dataChanged(self, topLeft: Index, bottomRight: Index, roles: object = ()) -> None:  # noqa: N803 - Qt's names
        """Qt's."""
        self.viewport().update()

    # --- what Qt asks of a view

    def doItemsLayout(self) -> None:
        """Qt's: a moment after something changed."""
        QAbstractItemView.doItemsLayout(self)

    def updateGeometries(self) -> None:
        """Qt's."""
        _ = self.content
        self.supply.scrolled()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt's."""
        width = event.size().width() != event.oldSize().width()
        if width or self._stale:
            self._relayout(self._top_anchor())
        else:
            self._sync_bar()
        self.supply.scrolled()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Qt's."""
        self.viewport().update()
        self.supply.scrolled()

    def visualRect(self, index: Index) -> QRect:
        """Qt's: the cell of a row in the viewport."""
        content = self.content
        if not index.isValid() or index.row() >= content.count:
            return QRect()
        return self.rect_of(content.box(index.row()))

    def indexAt(self, point: QPoint) -> QModelIndex:
        """Qt's."""
        row = self.row_under(point)
        return QModelIndex() if row is None else self.images.index(row)

    def scrollTo(self, index: Index, hint: QListView.ScrollHint = QListView.ScrollHint.EnsureVisible) -> None:
        """Qt's: bring a row's cell into the window, below the sticky header."""
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
            # the first line comes with its header
            first = index.row() - content.rows_of(content.group_of(index.row())).start < content.columns
            bar.setValue(high if not first else content.header(content.group_of(index.row())).y)
        elif bar.value() < low:
            bar.setValue(min(low, high))

    def horizontalOffset(self) -> int:
        """Qt's."""
        return 0

    def verticalOffset(self) -> int:
        """Qt's."""
        return self.top()

    def isIndexHidden(self, index: Index) -> bool:
        """Qt's."""
        return False

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        """Qt's."""
        return QRegion(self.viewport().rect())

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """Qt's; the mouse is handled by `hands`."""

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt's."""
        content, top, region = self.content, self.top(), event.region()
        band = event.rect()
        with QPainter(self.viewport()) as painter:
            painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
            painter.fillRect(band, self._painter.canvas)
            for group in content.groups_between(top + band.top(), top + band.bottom() + 1):
                self._paint_header(painter, group, content.header(group).y, floating=False)
                if not content.rows_of(group):
                    self._paint_empty(painter, group)
            for row in content.rows_between(top + band.top() - _REACH, top + band.bottom() + 1 + _REACH):
                box = self.rect_of(content.box(row))
                if region.intersects(box.adjusted(-_REACH, -_REACH, _REACH, _REACH)):
                    self._paint_cell(painter, box, row)
            sticky = content.sticky(top)
            if sticky is not None and sticky[1] > content.header(sticky[0]).y:
                self._paint_header(painter, *sticky, floating=True)
            if self._drop_target is not None and self._drop_target[0] < content.groups:
                frame = self.rect_of(content.group(self._drop_target[0]))
                self._painter.target(painter, frame.intersected(self.viewport().rect()))
            self.paint_over(painter, self._painter)

    def paint_over(self, painter: QPainter, grid_painter: GridPainter) -> None:
        """For what input draws on top."""

    def _paint_cell(self, painter: QPainter, box: QRect, row: int) -> None:
        image = self.images.image(row)
        image_id = image.image_id
        cell = Cell(
            *self.supply.look(image_id, row),
            self.images.badges.get(image_id, ""),
            row in self.images.selection,
            self.hasFocus() and row == self.currentIndex().row(),
            self._hovered.isValid() and row == self._hovered.row(),
        )
        self._painter.cell(painter, box, cell, self.isRightToLeft())

    def _paint_header(self, painter: QPainter, group: int, y: int, *, floating: bool) -> None:
        shown = self.images.groups[group]
        content = self._content
        header = Header(
            shown.label,
            len(shown.images),
            shown.accuracy,
            self.images.selection.count(content.rows_of(group)),
            self._drop_target[1] if self._drop_target is not None and self._drop_target[0] == group else "",
            floating,
        )
        box = content.header(group)._replace(y=y)
        self._painter.header(painter, self.rect_of(box), header, self.isRightToLeft())

    def _paint_empty(self, painter: QPainter, group: int) -> None:
        spacing, header = self._content.spacing, self._content.header(group)
        room = Box(spacing.margin, header.bottom, header.width - 2 * spacing.margin, spacing.empty)
        self._painter.empty(painter, self.rect_of(room), self.isRightToLeft())

    def changeEvent(self, event: QEvent) -> None:
        """Qt's: the direction of reading."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.LayoutDirectionChange, QEvent.Type.FontChange):
            self._relayout()

    def _dressed(self) -> None:
        self._painter.refresh()
        self._relayout(self._top_anchor())
        self.viewport().update()
