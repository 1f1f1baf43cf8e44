"""Photo board: photos in rows below headings, painted, selected and acted on by mouse and keys."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from apitorch_desktop.ui.grid.painter import Cell, GridPainter
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import BoardModel, HeadingRow, LabelIssueRow, PhotoRow, Row
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import DARK, Role
from apitorch_desktop.utils.text import percent

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
    """Name of an action on the selected photos: accept, dismiss, keep, open, del and return, or a label's key.

    Those with a key of their own are actions of the registry, except for Return and the keys of labels.
    """
    heading_action_requested = Signal(object, str)
    """(HeadingRow, name of the action)"""

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
        """Return and label keys; the list handles other keys."""
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if plain and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.action_requested.emit("return")
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


EDGE: Final = 132
"""Side of a thumbnail in pixels."""
_SMALL_EDGE: Final = 96
_GAP: Final = 8
_MARGIN: Final = 10
_ISSUE_WIDTH: Final = 324
_KEEP: Final = "Keep this"
_ROLES: Final[tuple[Role, ...]] = ("base", "strong", "small", "tiny")


class BoardPainter:
    """Paints with the theme's colors and type; call `refresh` when these change."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._cells = GridPainter(theme)
        self.refresh()

    def refresh(self) -> None:
        """Adopt the theme's colors and type."""
        self._cells.refresh()
        self._fonts: dict[Role, QFont] = {role: self._theme.font(role) for role in _ROLES}
        self._metrics = {role: QFontMetrics(font) for role, font in self._fonts.items()}
        self._pill = QColor(DARK.canvas)
        self._pill.setAlpha(225)

    @property
    def edge(self) -> int:
        """Side of a thumbnail in pixels."""
        return self._theme.px(EDGE)

    # --- places

    def size(self, row: Row | None, width: int) -> QSize:
        """Return the size of a row; a heading has the whole width."""
        px = self._theme.px
        if isinstance(row, HeadingRow):
            return QSize(width, px(44))
        if isinstance(row, LabelIssueRow):
            return QSize(min(width, px(_ISSUE_WIDTH + _GAP * 2)), px(_SMALL_EDGE + _GAP * 2 + 4))
        lines = 2 * self._metrics["small"].height()
        return QSize(px(EDGE + _GAP * 2), px(EDGE + _GAP + 9) + lines + px(_GAP))

    def action_at(self, row: Row, rect: QRect, point: QPoint, mirrored: bool) -> str:
        """Return the name of the action at a point, "" for none."""
        places = self._action_places(row, rect) if not isinstance(row, PhotoRow) else self._mark_place(row, rect)
        for name, place in places.items():
            if _mirror(place, rect, mirrored).contains(point):
                return name
        return ""

    def _action_places(self, row: Row, rect: QRect) -> dict[str, QRect]:
        px = self._theme.px
        found: dict[str, QRect] = {}
        if isinstance(row, HeadingRow):
            right = rect.right() - px(_MARGIN)
            for verb, name in reversed(row.actions):
                width = self._metrics["base"].horizontalAdvance(verb) + px(12)
                found[name] = QRect(right - width, rect.top() + px(12), width, px(28))
                right -= width + px(4)
        elif isinstance(row, LabelIssueRow):
            inner = self._text_place(rect)
            top, left = inner.bottom() - px(26), inner.left()
            for verb, name in ((f"✓ {row.issue.likely}", "accept"), ("✕ Keep", "dismiss")):
                width = min(self._metrics["small"].horizontalAdvance(verb) + px(16), inner.right() - left)
                if name == "accept":
                    room = inner.width() - self._metrics["small"].horizontalAdvance("✕ Keep") - px(22)
                    width = min(width, room)
                found[name] = QRect(left, top, width, px(26))
                left += width + px(6)
        return found

    def _mark_place(self, row: PhotoRow, rect: QRect) -> dict[str, QRect]:
        if not row.mark:
            return {}
        px = self._theme.px
        box = self._box(rect)
        width = self._metrics["tiny"].horizontalAdvance(_KEEP) + px(16)
        return {"keep": QRect(box.left() + px(6), box.bottom() - px(26), width, px(20))} if row.mark == "go" else {}

    def _box(self, rect: QRect) -> QRect:
        px = self._theme.px
        return QRect(rect.left() + px(_GAP), rect.top() + px(_GAP), px(EDGE), px(EDGE))

    def _text_place(self, rect: QRect) -> QRect:
        px = self._theme.px
        left = rect.left() + px(_GAP + _SMALL_EDGE + 12)
        return QRect(left, rect.top() + px(_GAP), rect.right() - px(_GAP) - left, px(_SMALL_EDGE))

    # --- painting

    def heading(self, painter: QPainter, rect: QRect, row: HeadingRow, *, mirrored: bool) -> None:
        """Paint a heading: a line, title, note and actions."""
        px, color = self._theme.px, self._theme.color
        if rect.top() > 0:
            painter.fillRect(
                QRect(rect.left() + px(_MARGIN), rect.top() + px(4), rect.width() - 2 * px(_MARGIN), 1), color("line")
            )
        left, line = rect.left() + px(_MARGIN), QRect(rect.left(), rect.top() + px(12), rect.width(), px(28))
        verbs = self._action_places(row, rect)
        end = min((place.left() for place in verbs.values()), default=rect.right() - px(_MARGIN))
        parts: tuple[tuple[str, Role, str], ...] = ((row.title, "strong", "text"), (row.note, "base", "muted"))
        for text, role, token in parts:
            metrics = self._metrics[role]
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, end - px(8) - left))
            place = QRect(left, line.top(), metrics.horizontalAdvance(shown) + 2, line.height())
            self._write(painter, _mirror(place, rect, mirrored), shown, role, token)
            left = place.right() + px(8)
        names = {name: verb for verb, name in row.actions}
        for name, verb_place in verbs.items():
            self._write(painter, _mirror(verb_place, rect, mirrored), names[name], "base", "accent_text", centered=True)

    def photo(
        self,
        painter: QPainter,
        rect: QRect,
        row: PhotoRow | LabelIssueRow,
        loader: ThumbnailLoader,
        *,
        selected: bool,
        focused: bool,
        mirrored: bool,
    ) -> None:
        """Paint a photo with its texts."""
        px = self._theme.px
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        box = self._box(rect)
        if isinstance(row, LabelIssueRow):
            box.setSize(QSize(px(_SMALL_EDGE), px(_SMALL_EDGE)))
        image_id = row.image.image_id
        pixmap = loader.pixmap(image_id)
        failure = loader.failure(image_id) if pixmap is None else None
        cell = Cell(pixmap=pixmap, failure=failure, badge="", selected=selected, focused=focused, whole=False)
        shown = _mirror(box, rect, mirrored)
        self._cells.cell(painter, shown, cell, mirrored)
        if isinstance(row, LabelIssueRow):
            self._paint_issue(painter, rect, row, mirrored)
        else:
            self._paint_lines(painter, rect, row, box, mirrored)
        painter.restore()

    def _paint_lines(self, painter: QPainter, rect: QRect, row: PhotoRow, box: QRect, mirrored: bool) -> None:
        px, metrics = self._theme.px, self._metrics["small"]
        top = box.bottom() + px(9)
        for line, text in enumerate(row.lines):
            place = QRect(box.left(), top + line * metrics.height(), box.width(), metrics.height())
            mode = (
                Qt.TextElideMode.ElideMiddle if line == 0 else Qt.TextElideMode.ElideRight
            )  # the first may be a file name
            shown = metrics.elidedText(text, mode, place.width())
            self._write(painter, _mirror(place, rect, mirrored), shown, "small", "text" if line == 0 else "muted")
        if row.mark:
            text = "Kept" if row.mark == "keep" else _KEEP
            width = self._metrics["tiny"].horizontalAdvance(text) + px(16)
            place = _mirror(QRect(box.left() + px(6), box.bottom() - px(26), width, px(20)), rect, mirrored)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("strong") if row.mark == "keep" else self._pill)
            painter.drawRoundedRect(QRectF(place), px(10), px(10))
            painter.setPen(self._theme.color("on_strong") if row.mark == "keep" else QColor(DARK.text))
            painter.setFont(self._fonts["tiny"])
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_issue(self, painter: QPainter, rect: QRect, row: LabelIssueRow, mirrored: bool) -> None:
        px, issue = self._theme.px, row.issue
        inner = self._text_place(rect)
        height = px(32)
        for at, (label, value, token) in enumerate(
            ((issue.given, issue.given_value, "muted"), (issue.likely, issue.likely_value, "accent"))
        ):
            line = QRect(inner.left(), inner.top() + at * height, inner.width(), px(18))
            figure = percent(value)
            width = self._metrics["small"].horizontalAdvance(figure) + px(4)
            name = QRect(line.left(), line.top(), line.width() - width - px(4), line.height())
            text = self._metrics["strong"].elidedText(label, Qt.TextElideMode.ElideMiddle, name.width())
            self._write(painter, _mirror(name, rect, mirrored), text, "strong" if at else "base", "text")
            end = QRect(line.right() - width, line.top(), width, line.height())
            self._write(painter, _mirror(end, rect, mirrored), figure, "small", "muted", at_end=True)
            track = QRectF(line.left(), line.bottom() + px(3), line.width(), px(4))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("bar"))
            painter.drawRoundedRect(track, px(2), px(2))
            track.setWidth(max(px(3), track.width() * value))
            painter.setBrush(self._theme.color(token))
            whole = _mirror(track.toRect(), rect, mirrored)
            painter.drawRoundedRect(QRectF(whole), px(2), px(2))
        for action, place in self._action_places(row, rect).items():
            shown = _mirror(place, rect, mirrored)
            painter.setPen(QPen(self._theme.color("line"), 1))
            painter.setBrush(self._theme.color("canvas"))
            painter.drawRoundedRect(QRectF(shown).adjusted(0.5, 0.5, -0.5, -0.5), px(6), px(6))
            verb = f"✓ {issue.likely}" if action == "accept" else "✕ Keep"
            text = self._metrics["small"].elidedText(verb, Qt.TextElideMode.ElideRight, place.width() - px(10))
            token = "accent_text" if action == "accept" else "text"
            self._write(painter, shown, text, "small", token, centered=True)

    def _write(
        self,
        painter: QPainter,
        place: QRect,
        text: str,
        role: Role,
        token: str,
        *,
        centered: bool = False,
        at_end: bool = False,
    ) -> None:
        side = Qt.AlignmentFlag.AlignHCenter if centered else Qt.AlignmentFlag.AlignLeft
        if at_end:
            side = Qt.AlignmentFlag.AlignRight
        if painter.layoutDirection() == Qt.LayoutDirection.RightToLeft and not centered:
            side = Qt.AlignmentFlag.AlignLeft if at_end else Qt.AlignmentFlag.AlignRight
            side |= Qt.AlignmentFlag.AlignAbsolute
        painter.setPen(self._theme.color(token))
        painter.setFont(self._fonts[role])
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, text)


def _mirror(place: QRect, within: QRect, mirrored: bool) -> QRect:
    if not mirrored:
        return place
    return QRect(within.left() + within.right() - place.right(), place.top(), place.width(), place.height())
