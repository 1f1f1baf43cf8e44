"""The grid's surface: what is painted, and what is seen kept in place through changes. Input is in picking.py and view.py."""

from __future__ import annotations

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
)
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractItemView, QWidget

from apitorch_desktop.ui.grid.geometry import GridGeometry, Index
from apitorch_desktop.ui.grid.layout import Box
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.painter import Cell, GridPainter, Header
from apitorch_desktop.ui.grid.scroll_anchor import ScrollBookmark
from apitorch_desktop.ui.grid.thumbnail_requests import ThumbnailRequests
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.theme.theme import Theme

_REACH = 7
"""Pixels that ring and focus line reach beyond a cell."""


class GridSurface(GridGeometry):
    """Shows a GridModel, and keeps what is seen in place while it changes."""

    def __init__(self, model: GridModel, loader: ThumbnailLoader, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(model, theme, parent)
        self.loader = loader
        self._painter = GridPainter(theme)
        self._bookmark: ScrollBookmark | None = None
        self._drop_target: tuple[int, str] | None = None
        self._hovered = QPersistentModelIndex()
        self.supply = ThumbnailRequests(self, loader)
        self._set_up()
        self.setModel(model)
        model.about_to_rearrange.connect(self._mark_place)
        model.layoutChanged.connect(self._go_to_place)
        model.counts_changed.connect(self._counts_changed)
        model.ids_replaced.connect(loader.follow)
        theme.changed.connect(self._dressed)

    def laid_out(self) -> None:
        """Pictures may be wanted in another size."""
        self.supply.laid_out()

    def scrolled(self) -> None:
        """Other pictures may be wanted."""
        self.supply.scrolled()

    # --- changes of the model

    def repaint_row(self, row: int) -> None:
        """A row looks different now."""
        if not self._stale:  # else everything is painted anew in a moment
            self.viewport().update(self.rect_of(self._content.box(row)))

    def _mark_place(self) -> None:
        content, top = self.content, self.top()
        rows = content.rows_between(top + content.spacing.header, top + self.viewport().height()) if top else range(0)
        focus = self.currentIndex().row() if self.currentIndex().isValid() else None
        self._bookmark = ScrollBookmark(self.images, content, rows, top, focus)

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
        """Images have come in; what is seen stays where it is."""
        anchor = self._top_anchor()
        if anchor is not None and start <= anchor.row:
            anchor = anchor._replace(row=anchor.row + end - start + 1)
        self._relayout(anchor)

    def reset(self) -> None:
        """Another listing."""
        QAbstractItemView.reset(self)
        self._anchor = self._bookmark = None
        self._stale = True
        self.verticalScrollBar().setValue(0)
        self.scheduleDelayedItemsLayout()

    def dataChanged(self, topLeft: Index, bottomRight: Index, roles: object = ()) -> None:  # noqa: N803 - Qt's names
        self.viewport().update()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
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
        """The direction of reading."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.LayoutDirectionChange, QEvent.Type.FontChange):
            self._relayout()

    def _dressed(self) -> None:
        self._painter.refresh()
        self._relayout(self._top_anchor())
        self.viewport().update()
