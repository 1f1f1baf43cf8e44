"""The grid as geometry: where things are in the window, scroll, zoom, and what Qt asks of a view. Painting is in surface.py."""

from __future__ import annotations

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    Qt,
    Signal,
)
from PySide6.QtGui import QRegion, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QWidget

from apitorch_desktop.ui.grid.layout import Box, GridLayout, Spacing
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.scroll_anchor import ScrollAnchor, anchor_at
from apitorch_desktop.ui.theme.theme import Theme

SMALLEST, LARGEST, DEFAULT = 64, 384, 120
"""Least sizes of a cell in pixels: cells grow a little so that rows fill the width."""

Index = QModelIndex | QPersistentModelIndex


class GridGeometry(QListView):
    """A view of a GridModel with a layout of its own. A QListView by descent, so that screen readers find its items."""

    zoom_changed = Signal(int)
    """The least cell size, in pixels."""

    def __init__(self, model: GridModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.images = model
        self.theme = theme
        self._cell = DEFAULT
        self._content = GridLayout([], 0, DEFAULT)
        self._stale = True
        self._anchor: ScrollAnchor | None = None

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
        self.laid_out()

    def _sync_bar(self) -> None:
        bar, height = self.verticalScrollBar(), self.viewport().height()
        bar.setSingleStep(self.theme.px(40))
        bar.setPageStep(max(1, height - self._content.spacing.header))
        bar.setRange(0, max(0, self._content.height - height))

    def _relayout(self, anchor: ScrollAnchor | None = None) -> None:
        """Lay out anew before the next paint; what is at `anchor` stays there."""
        if anchor is not None:
            self._anchor = anchor
        self._stale = True
        self.scheduleDelayedItemsLayout()

    def _top_anchor(self) -> ScrollAnchor | None:
        """What is at the top of the window, unless that is the very top, which stays the top."""
        if self._stale or not self.top():
            return self._anchor
        return anchor_at(self._content, self.top(), self._content.spacing.header)

    # --- zoom

    def cell_size(self) -> int:
        """The chosen size of a cell in pixels; cells are a little larger so that rows fill the width."""
        return self._cell

    def set_cell_size(self, size: int) -> None:
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
        self.zoom_changed.emit(size)

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

    # --- what Qt asks of a view

    def doItemsLayout(self) -> None:
        """A moment after something changed."""
        QAbstractItemView.doItemsLayout(self)

    def updateGeometries(self) -> None:
        _ = self.content
        self.scrolled()

    def resizeEvent(self, event: QResizeEvent) -> None:
        width = event.size().width() != event.oldSize().width()
        if width or self._stale:
            self._relayout(self._top_anchor())
        else:
            self._sync_bar()
        self.scrolled()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()
        self.scrolled()

    def visualRect(self, index: Index) -> QRect:
        """The cell of a row in the viewport."""
        content = self.content
        if not index.isValid() or index.row() >= content.count:
            return QRect()
        return self.rect_of(content.box(index.row()))

    def indexAt(self, point: QPoint) -> QModelIndex:
        row = self.row_under(point)
        return QModelIndex() if row is None else self.images.index(row)

    def scrollTo(self, index: Index, hint: QListView.ScrollHint = QListView.ScrollHint.EnsureVisible) -> None:
        """Bring a row's cell into the window, below the sticky header."""
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
        return 0

    def verticalOffset(self) -> int:
        return self.top()

    def isIndexHidden(self, index: Index) -> bool:
        return False

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        return QRegion(self.viewport().rect())

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """Qt's; the mouse is handled by `hands`."""

    def laid_out(self) -> None:
        """For what depends on where cells are and how large."""

    def scrolled(self) -> None:
        """For what depends on what is in the window."""
