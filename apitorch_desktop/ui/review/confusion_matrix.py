"""Confusion matrix: a cell for each pair of labels, and the accuracy of each label beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from apitorch_desktop.dataset.review.findings import OutOfFoldFigures
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import percent, plural

_LEAST, _MOST = 22, 44
"""Side of a cell in pixels."""
_NAME, _HEAD, _FIGURES = 128, 128, 140
_AXIS = 18
"""Pixels for the name of the columns."""
"""Most pixels for the names at the start and above, and for the figures at the end."""
_ROWS, _COLUMNS = "Label", "Taken for"
"""Names of the axes."""
_ARROWS: Final = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class ConfusionMatrix(QWidget):
    """Rows are the given labels, columns the labels that the classifier predicts out of fold."""

    pair_chosen = Signal(str, str)
    """(given label, predicted label)"""
    resized = Signal()
    focus_moved = Signal(QRect)
    """The cell that has the focus now; with many labels it may be out of sight."""
    pointed = Signal(str)
    """Meaning of the cell that is focused or under the pointer, in a sentence; "" for none."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._figures: OutOfFoldFigures | None = None
        self._accuracy: Mapping[str, float] = {}
        self._focus: tuple[int, int] = (0, 0)
        self._hovered: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confusion matrix")
        self._longest = 0
        """Width of the longest label."""
        theme.changed.connect(self._measure)

    def show_figures(self, figures: OutOfFoldFigures, accuracy: Mapping[str, float]) -> None:
        """Show these figures; `accuracy` by label, 0 to 1, as the grid shows it."""
        self._accuracy = accuracy
        if self._figures is None or self._figures.labels != figures.labels:
            self._focus = (0, 0)
        self._figures = figures
        self._measure()
        self.update()

    def sentence(self, row: int, column: int) -> str:
        """Return the meaning of a cell."""
        figures = self._figures
        if figures is None or not figures.labels:
            return ""
        count = figures.confusion[row][column]
        given, predicted = figures.labels[row], figures.labels[column]
        if row == column:
            total = sum(figures.confusion[row])
            return f"{count:,} of {plural(total, 'photo')} of “{given}” are recognized."
        are = "is" if count == 1 else "are"
        return f"{plural(count, 'photo')} of “{given}” {are} taken for “{predicted}”."

    # --- geometry

    def cell_rect(self, row: int, column: int) -> QRect:
        """Return the place of a cell."""
        side, left, top = self._side(), self._left(), self._top()
        x = left + column * side
        if self.layoutDirection() == Qt.LayoutDirection.RightToLeft:
            x = self.width() - x - side
        return QRect(x, top + row * side, side, side)

    def _count(self) -> int:
        return len(self._figures.labels) if self._figures is not None else 0

    def _side(self) -> int:
        px = self._theme.px
        room = self.width() - self._left() - px(_FIGURES)
        return max(px(_LEAST), min(px(_MOST), room // max(1, self._count())))

    def _measure(self) -> None:
        metrics = QFontMetrics(self._theme.font("small"))
        labels = self._figures.labels if self._figures else ()
        self._longest = max((metrics.horizontalAdvance(label) for label in labels), default=0)
        self.updateGeometry()

    def _left(self) -> int:
        axis = QFontMetrics(self._theme.font("small")).horizontalAdvance(_ROWS)
        return min(self._theme.px(_NAME), max(self._longest, axis) + self._theme.px(10))

    def _top(self) -> int:
        return min(self._theme.px(_HEAD), self._longest + self._theme.px(8)) + self._theme.px(_AXIS)

    def sizeHint(self) -> QSize:
        return QSize(self._left() + self._count() * self._theme.px(_MOST) + self._theme.px(_FIGURES), self._height())

    def minimumSizeHint(self) -> QSize:
        least = self._left() + self._count() * self._theme.px(_LEAST) + self._theme.px(_FIGURES)
        return QSize(least, self._height())

    def _height(self) -> int:
        return self._top() + self._count() * self._side() + 2

    def resizeEvent(self, event: QEvent) -> None:
        """Adapt the height to the cells, whose size depends on the width."""
        self.setFixedHeight(self._height())
        self.resized.emit()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        figures = self._figures
        if figures is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font("small"))
        if self._count():
            self._paint_axes(painter)
        rows, columns = self._cells_in(event.rect())
        for column in columns:
            self._paint_column_name(painter, column, figures.labels[column])
        for row in rows:
            self._paint_row_name(painter, row, figures.labels[row])
            total = max(1, sum(figures.confusion[row]))
            for column in columns:
                self._paint_cell(painter, row, column, figures.confusion[row][column], total)
            if (accuracy := self._accuracy.get(figures.labels[row])) is not None:
                self._paint_figures(painter, row, accuracy)
        if self.hasFocus():
            rect = QRectF(self.cell_rect(*self._focus)).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._theme.color("text"), 2))
            painter.drawRoundedRect(rect, 3, 3)
        painter.end()

    def _cells_in(self, rect: QRect) -> tuple[range, range]:
        """Return the rows and columns of which a rectangle shows something: of hundreds of labels, few are in sight."""
        side, count = self._side(), self._count()
        start, end = rect.left(), rect.right()
        if self.layoutDirection() == Qt.LayoutDirection.RightToLeft:
            start, end = self.width() - end, self.width() - start
        columns = range(max(0, (start - self._left()) // side), min(count, (end - self._left()) // side + 1))
        return range(
            max(0, (rect.top() - self._top()) // side), min(count, (rect.bottom() - self._top()) // side + 1)
        ), columns

    def _paint_axes(self, painter: QPainter) -> None:
        """Name the columns above their names, and the rows above theirs."""
        px, metrics = self._theme.px, painter.fontMetrics()
        first, last = self.cell_rect(0, 0), self.cell_rect(0, self._count() - 1)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        painter.setPen(self._theme.color("muted"))
        line = max(first.united(last).width() + px(_FIGURES), metrics.horizontalAdvance(_COLUMNS))
        columns = QRect(first.right() - line + 1 if mirrored else first.left(), 0, line, px(_AXIS))
        rows = QRect(
            first.right() + px(8) if mirrored else 0,
            first.top() - px(6) - metrics.height(),
            self._left() - px(8),
            metrics.height(),
        )
        absolute = Qt.AlignmentFlag.AlignAbsolute | Qt.AlignmentFlag.AlignVCenter
        start, end = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        painter.drawText(columns, (end if mirrored else start) | absolute, _COLUMNS)
        painter.drawText(rows, (start if mirrored else end) | absolute, _ROWS)

    def _paint_row_name(self, painter: QPainter, at: int, label: str) -> None:
        px, metrics = self._theme.px, painter.fontMetrics()
        painter.setPen(self._theme.color("text"))
        cell = self.cell_rect(at, 0)
        room = self._left() - px(8)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        place = QRect(cell.right() + px(8) if mirrored else 0, cell.top(), room, cell.height())
        side = Qt.AlignmentFlag.AlignLeft if mirrored else Qt.AlignmentFlag.AlignRight
        text = metrics.elidedText(label, Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(place, side | Qt.AlignmentFlag.AlignAbsolute | Qt.AlignmentFlag.AlignVCenter, text)

    def _paint_column_name(self, painter: QPainter, at: int, label: str) -> None:
        px, metrics = self._theme.px, painter.fontMetrics()
        above = self.cell_rect(0, at)
        painter.save()
        painter.translate(QPointF(above.center().x() + metrics.ascent() / 2 - 1, above.top() - px(6)))
        painter.rotate(-90)
        painter.setPen(self._theme.color("muted"))
        painter.drawText(
            QPointF(0, 0), metrics.elidedText(label, Qt.TextElideMode.ElideMiddle, self._top() - px(_AXIS + 8))
        )
        painter.restore()

    def _paint_cell(self, painter: QPainter, row: int, column: int, count: int, total: int) -> None:
        rect = QRectF(self.cell_rect(row, column)).adjusted(1, 1, -1, -1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("bar" if count == 0 else "canvas"))
        if (row, column) == self._hovered:
            painter.setPen(QPen(self._theme.color("muted"), 1))
        painter.drawRoundedRect(rect, 3, 3)
        if not count:
            return
        color = QColor(self._theme.color("good" if row == column else "accent"))
        color.setAlphaF(0.12 + 0.48 * (count / total) ** 0.5)
        painter.setBrush(color)
        painter.drawRoundedRect(rect, 3, 3)
        text = f"{count:,}"
        if painter.fontMetrics().horizontalAdvance(text) < rect.width() - 2:
            painter.setPen(self._theme.color("text"))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_figures(self, painter: QPainter, row: int, accuracy: float) -> None:
        px = self._theme.px
        last = self.cell_rect(row, self._count() - 1)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        bar = QRectF(last.right() + px(12), last.center().y() - px(2), px(48), px(5))
        words = QRect(round(bar.right()) + px(8), last.top(), px(72), last.height())
        if mirrored:
            bar.moveRight(last.left() - px(12))
            words.moveRight(round(bar.left()) - px(8))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("bar"))
        painter.drawRoundedRect(bar, px(2), px(2))
        filled = QRectF(bar)
        filled.setWidth(bar.width() * accuracy)
        if mirrored:
            filled.moveRight(bar.right())
        painter.setBrush(self._theme.color("good"))
        painter.drawRoundedRect(filled, px(2), px(2))
        painter.setPen(self._theme.color("muted"))
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, f"{percent(accuracy)} right")

    # --- mouse and keys

    def _at(self, x: float, y: float) -> tuple[int, int] | None:
        if self.layoutDirection() == Qt.LayoutDirection.RightToLeft:
            x = self.width() - x
        side = self._side()
        column, row = int((x - self._left()) // side), int((y - self._top()) // side)
        count = self._count()
        return (row, column) if 0 <= row < count and 0 <= column < count else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Report the cell under the pointer."""
        pair = self._at(event.position().x(), event.position().y())
        if pair != self._hovered:
            self._hovered = pair
            self.setCursor(Qt.CursorShape.PointingHandCursor if pair else Qt.CursorShape.ArrowCursor)
            self.pointed.emit(self.sentence(*pair) if pair else "")
            self.update()

    def event(self, event: QEvent) -> bool:
        """Explain the cell under the pointer in a tooltip too: with many labels the sentence is out of sight."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            pair = self._at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), self.sentence(*pair) if pair else "", self)
            return True
        return super().event(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.pointed.emit("")
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a cell."""
        pair = self._at(event.position().x(), event.position().y())
        if pair is not None and event.button() == Qt.MouseButton.LeftButton:
            self._move_to(*pair)
            self._choose()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move the focus, Return or Space chooses a cell."""
        step = _ARROWS.get(Qt.Key(event.key()))
        if step is not None and self._count():
            across = -step[1] if self.layoutDirection() == Qt.LayoutDirection.RightToLeft else step[1]
            last = self._count() - 1
            self._move_to(max(0, min(last, self._focus[0] + step[0])), max(0, min(last, self._focus[1] + across)))
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.pointed.emit(self.sentence(*self._focus) if self._count() else "")

    def _move_to(self, row: int, column: int) -> None:
        self._focus = (row, column)
        text = self.sentence(row, column)
        self.pointed.emit(text)
        self.setAccessibleDescription(text)
        self.focus_moved.emit(self.cell_rect(row, column))
        self.update()

    def _choose(self) -> None:
        figures = self._figures
        if figures is not None and figures.labels:
            row, column = self._focus
            self.pair_chosen.emit(figures.labels[row], figures.labels[column])
