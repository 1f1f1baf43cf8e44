"""A board of what Review found: photos in rows below headings, chosen by mouse and keys, with thumbnails as they come."""

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
"""Screens beyond the edges whose thumbnails are fetched too."""


class _BoardDelegate(QStyledItemDelegate):
    def __init__(self, board: PhotoBoard, painter: BoardPainter) -> None:
        super().__init__(board)
        self._board = board
        self._painter = painter

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """A heading fills its line, so that photos begin below it."""
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
    """Says what is wanted of the photos that are chosen; does nothing by itself."""

    action_requested = Signal(str)
    """The name of an act on what is chosen: accept, dismiss, keep, open, del and return (the keys); or a label's key."""
    heading_action_requested = Signal(object, str)
    """(Heading, name of the act)"""

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
        self._soon = QTimer(self, interval=0, singleShot=True)
        self._soon.timeout.connect(self._fetch)
        self.verticalScrollBar().valueChanged.connect(self._soon.start)
        for signal in (self.rows.modelReset, self.rows.rowsRemoved, self.rows.dataChanged):
            signal.connect(self._soon.start)
        self._held = ("", 0)
        self.rows.modelAboutToBeReset.connect(self._hold)
        self.rows.modelReset.connect(self._take_up)
        loader.loaded.connect(lambda _ids: self.viewport().update())
        theme.changed.connect(self._themed)
        self._themed()

    def _themed(self) -> None:
        self._painter.refresh()
        self.verticalScrollBar().setSingleStep(self._theme.px(40))
        self.setViewportMargins(self._theme.px(7), 0, 0, 0)
        self.scheduleDelayedItemsLayout()

    # --- what is chosen

    def selected_rows(self) -> list[PhotoRow | LabelIssueRow]:
        """What is selected, else what has the focus."""
        rows = [self.rows.row(index) for index in sorted(self.selectedIndexes(), key=lambda index: index.row())]
        found = [row for row in rows if isinstance(row, (PhotoRow, LabelIssueRow))]
        row = self.rows.row(self.currentIndex())
        return found or ([row] if isinstance(row, (PhotoRow, LabelIssueRow)) else [])

    def _hold(self) -> None:
        row = self.rows.row(self.currentIndex())
        self._held = (row.key if row is not None else "", self.verticalScrollBar().value())

    def _take_up(self) -> None:
        """After other rows came, the photo that had the focus has it, else the first."""
        key, scrolled = self._held
        rows = self.rows.rows
        photos = [at for at, row in enumerate(rows) if not isinstance(row, HeadingRow)]
        again = next((at for at in photos if rows[at].key == key), None)
        if photos:
            self.setCurrentIndex(self.rows.index(photos[0] if again is None else again))
        if again is None:
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
        """Acts and label keys; the rest is the list's."""
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        name = self.KEYS.get(Qt.Key(event.key()))
        if plain and name is not None:
            self.action_requested.emit(name)
        elif plain and event.text() and event.text() in "1234567890":
            self.action_requested.emit(event.text())
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click on a verb is that act."""
        super().mouseReleaseEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        row = self.rows.row(index)
        if row is None or event.button() != Qt.MouseButton.LeftButton:
            return
        act = self._painter.action_at(row, self.visualRect(index), point, self._mirrored())
        if isinstance(row, HeadingRow):
            if act:
                self.heading_action_requested.emit(row, act)
        elif act:
            self.setCurrentIndex(index)
            self.action_requested.emit(act)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """A hand over what can be clicked."""
        super().mouseMoveEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        row = self.rows.row(index)
        act = self._painter.action_at(row, self.visualRect(index), point, self._mirrored()) if row is not None else ""
        if act:
            self.viewport().setCursor(Qt.CursorShape.PointingHandCursor)
        else:
            self.viewport().unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Look closely."""
        if isinstance(self.rows.row(self.indexAt(event.position().toPoint())), (PhotoRow, LabelIssueRow)):
            self.action_requested.emit("open")

    def _mirrored(self) -> bool:
        return self.layoutDirection() == Qt.LayoutDirection.RightToLeft

    # --- thumbnails

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Headings fill the line anew."""
        super().resizeEvent(event)
        self.scheduleDelayedItemsLayout()
        self._soon.start()

    def _fetch(self) -> None:
        """Ask for the thumbnails on the screen, then for those near it."""
        if not self.isVisible():
            return
        height = self.viewport().height()
        near = range(round(-height * _AHEAD), round(height * (1 + _AHEAD)))
        shown, beyond = [], []
        for at, row in enumerate(self.rows.rows):
            if isinstance(row, HeadingRow):
                continue
            rect = self.visualRect(self.rows.index(at))
            if rect.bottom() >= 0 and rect.top() < height:
                shown.append(row.image)
            elif rect.bottom() in near or rect.top() in near:
                beyond.append(row.image)
        edge = round(self._painter.edge * self.devicePixelRatioF())
        self.loader.request([*shown, *beyond], edge)

    def showEvent(self, event: object) -> None:
        """What is on the screen is wanted now."""
        self._soon.start()
