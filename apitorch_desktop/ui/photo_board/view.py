"""Photo board: photos in rows below headings, with selection and actions by mouse and keys."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import BoardModel, HeadingRow, LabelIssueRow, PhotoRow
from apitorch_desktop.ui.photo_board.painter import BoardPainter
from apitorch_desktop.ui.theme.theme import Theme

Index = QModelIndex | QPersistentModelIndex
_AHEAD = 0.6
"""Screens beyond the edges whose thumbnails are loaded too."""


class _BoardDelegate(QStyledItemDelegate):
    def __init__(self, board: PhotoBoard, painter: BoardPainter) -> None:
        super().__init__(board)
        self._board = board
        self._painter = painter

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        row = self._board.rows.row(index)
        return self._painter.size(row, self._board.viewport().width() - 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row = self._board.rows.row(index)
        rect: QRect = option.rect
        mirrored = option.direction == Qt.LayoutDirection.RightToLeft
        state: QStyle.StateFlag = option.state
        if isinstance(row, HeadingRow):
            self._painter.heading(painter, rect, row, mirrored=mirrored)
        elif row is not None:
            self._painter.photo(
                painter,
                rect,
                row,
                self._board.loader,
                selected=bool(state & QStyle.StateFlag.State_Selected),
                focused=bool(state & QStyle.StateFlag.State_HasFocus),
                mirrored=mirrored,
            )


class PhotoBoard(QListView):
    """Reports the actions that the user requests for photos, and performs none."""

    action_requested = Signal(str)
    """Name of an action on the selected photos: accept, dismiss, keep, open, del and return (the keys), or a label's key."""
    heading_action_requested = Signal(object, str)
    """(HeadingRow, name of the action)"""

    KEYS = {  # noqa: RUF012 - never changed
        Qt.Key.Key_A: "accept",
        Qt.Key.Key_Return: "return",
        Qt.Key.Key_Enter: "return",
        Qt.Key.Key_D: "dismiss",
        Qt.Key.Key_Delete: "del",
        Qt.Key.Key_K: "keep",
        Qt.Key.Key_O: "open",
    }

    def __init__(self, theme: Theme, loader: ThumbnailLoader) -> None:
        super().__init__()
        self._theme = theme
        self.loader = loader
        self.rows = BoardModel(self)
        self._painter = BoardPainter(theme)
        self.setModel(self.rows)
        self.setItemDelegate(_BoardDelegate(self, self._painter))
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setMouseTracking(True)
        self.setAccessibleName("What Review found")
        self._fetch_timer = QTimer(self, interval=0, singleShot=True)
        self._fetch_timer.timeout.connect(self._fetch)
        self.verticalScrollBar().valueChanged.connect(self._fetch_timer.start)
        for signal in (self.rows.modelReset, self.rows.rowsRemoved, self.rows.dataChanged):
            signal.connect(self._fetch_timer.start)
        self._focused = ("", 0)
        self.rows.modelAboutToBeReset.connect(self._store_focus)
        self.rows.modelReset.connect(self._restore_focus)
        loader.loaded.connect(self._show_thumbnails)
        theme.changed.connect(self._restyle)
        self._restyle()

    def _show_thumbnails(self) -> None:
        # a method, which Qt disconnects with the view: the loader lives longer
        self.viewport().update()

    def _restyle(self) -> None:
        self._painter.refresh()
        self.verticalScrollBar().setSingleStep(self._theme.px(40))
        self.setViewportMargins(self._theme.px(7), 0, 0, 0)
        self.scheduleDelayedItemsLayout()

    # --- selection

    def selected_rows(self) -> list[PhotoRow | LabelIssueRow]:
        """Return the selected rows, else the focused one."""
        rows = [self.rows.row(index) for index in sorted(self.selectedIndexes(), key=lambda index: index.row())]
        found = [row for row in rows if isinstance(row, (PhotoRow, LabelIssueRow))]
        row = self.rows.row(self.currentIndex())
        return found or ([row] if isinstance(row, (PhotoRow, LabelIssueRow)) else [])

    def _store_focus(self) -> None:
        row = self.rows.row(self.currentIndex())
        self._focused = (row.key if row is not None else "", self.verticalScrollBar().value())

    def _restore_focus(self) -> None:
        """After a reset, give the focus back to its photo, else to the first one."""
        key, scrolled = self._focused
        rows = self.rows.rows
        photos = [index for index, row in enumerate(rows) if not isinstance(row, HeadingRow)]
        restored = next((index for index in photos if rows[index].key == key), None)
        if photos:
            self.setCurrentIndex(self.rows.index(photos[0] if restored is None else restored))
        if restored is None:
            self.scrollToTop()
        else:
            self.verticalScrollBar().setValue(scrolled)

    def select_section(self, heading: HeadingRow) -> None:
        """Select the photos below a heading."""
        self.clearSelection()
        model, inside = self.selectionModel(), False
        for at, row in enumerate(self.rows.rows):
            if isinstance(row, HeadingRow):
                inside = row.key == heading.key
            elif inside:
                model.select(self.rows.index(at), model.SelectionFlag.Select)

    # --- mouse and keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Actions and label keys; the list handles other keys."""
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        name = self.KEYS.get(Qt.Key(event.key()))
        if plain and name is not None:
            self.action_requested.emit(name)
        elif plain and event.text() and event.text() in "1234567890":
            self.action_requested.emit(event.text())
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Report the action that was clicked."""
        super().mouseReleaseEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        row = self.rows.row(index)
        if row is None or event.button() != Qt.MouseButton.LeftButton:
            return
        action = self._painter.action_at(row, self.visualRect(index), point, self._mirrored())
        if isinstance(row, HeadingRow):
            if action:
                self.heading_action_requested.emit(row, action)
        elif action:
            self.setCurrentIndex(index)
            self.action_requested.emit(action)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show a hand over actions."""
        super().mouseMoveEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        row = self.rows.row(index)
        action = (
            self._painter.action_at(row, self.visualRect(index), point, self._mirrored()) if row is not None else ""
        )
        if action:
            self.viewport().setCursor(Qt.CursorShape.PointingHandCursor)
        else:
            self.viewport().unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the photo."""
        if isinstance(self.rows.row(self.indexAt(event.position().toPoint())), (PhotoRow, LabelIssueRow)):
            self.action_requested.emit("open")

    def _mirrored(self) -> bool:
        return self.layoutDirection() == Qt.LayoutDirection.RightToLeft

    # --- thumbnails

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.scheduleDelayedItemsLayout()
        self._fetch_timer.start()

    def _fetch(self) -> None:
        """Request the visible thumbnails, then those nearby."""
        if not self.isVisible():
            return
        height = self.viewport().height()
        near = range(round(-height * _AHEAD), round(height * (1 + _AHEAD)))
        visible, nearby = [], []
        for at, row in enumerate(self.rows.rows):
            if isinstance(row, HeadingRow):
                continue
            rect = self.visualRect(self.rows.index(at))
            if rect.bottom() >= 0 and rect.top() < height:
                visible.append(row.image)
            elif rect.bottom() in near or rect.top() in near:
                nearby.append(row.image)
        edge = round(self._painter.edge * self.devicePixelRatioF())
        self.loader.request([*visible, *nearby], edge)

    def showEvent(self, event: object) -> None:
        self._fetch_timer.start()
