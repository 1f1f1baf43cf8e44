"""The confusion matrix as a picture: a cell for each pair of labels, each label's figures beside; by mouse and by keys."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from apitorch_desktop.dataset.review.findings import OutOfFoldFigures
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import percent, plural

_LEAST, _MOST = 22, 44
"""Pixels of a cell's side."""
_NAME, _HEAD, _FIGURES = 128, 96, 132
"""Pixels at most for the names at the left and above, and for the figures at the right."""
_ARROWS: Final = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class ConfusionMatrix(QWidget):
    """Rows are what photos are labelled as, columns what they are taken for when the classifier has not seen them."""

    pair_chosen = Signal(str, str)
    """(label, what its photos were taken for)"""
    pointed = Signal(str)
    """What the cell with the focus or under the pointer says, in a sentence."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._learned: OutOfFoldFigures | None = None
        self._focus: tuple[int, int] = (0, 0)
        self._under: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confusion matrix")
        theme.changed.connect(self.updateGeometry)

    def show_learned(self, learned: OutOfFoldFigures) -> None:
        """Show these figures."""
        if self._learned is None or self._learned.labels != learned.labels:
            self._focus = (0, 0)
        self._learned = learned
        self.updateGeometry()
        self.update()

    def sentence(self, row: int, column: int) -> str:
        """What a cell says."""
        learned = self._learned
        if learned is None or not learned.labels:
            return ""
        count = learned.confusion[row][column]
        given, taken = learned.labels[row], learned.labels[column]
        if row == column:
            of = sum(learned.confusion[row])
            return f"{count:,} of {plural(of, 'photo')} of “{given}” are recognised."
        are = "is" if count == 1 else "are"
        return f"{plural(count, 'photo')} of “{given}” {are} taken for “{taken}”."

    # --- places

    def cell_rect(self, row: int, column: int) -> QRect:
        """Where a cell is."""
        side, left, top = self._side(), self._left(), self._top()
        x = left + column * side
        if self.layoutDirection() == Qt.LayoutDirection.RightToLeft:
            x = self.width() - x - side
        return QRect(x, top + row * side, side, side)

    def _number(self) -> int:
        return len(self._learned.labels) if self._learned is not None else 0

    def _side(self) -> int:
        px = self._theme.px
        room = self.width() - self._left() - px(_FIGURES)
        return max(px(_LEAST), min(px(_MOST), room // max(1, self._number())))

    def _longest(self) -> int:
        metrics = QFontMetrics(self._theme.font("small"))
        return max(
            (metrics.horizontalAdvance(label) for label in (self._learned.labels if self._learned else ())), default=0
        )

    def _left(self) -> int:
        return min(self._theme.px(_NAME), self._longest() + self._theme.px(10))

    def _top(self) -> int:
        return min(self._theme.px(_HEAD), self._longest() + self._theme.px(8))

    def sizeHint(self) -> QSize:
        return QSize(self._left() + self._number() * self._theme.px(_MOST) + self._theme.px(_FIGURES), self._height())

    def minimumSizeHint(self) -> QSize:
        least = self._left() + self._number() * self._theme.px(_LEAST) + self._theme.px(_FIGURES)
        return QSize(least, self._height())

    def _height(self) -> int:
        return self._top() + self._number() * self._side() + 2

    def resizeEvent(self, event: QEvent) -> None:
        """Cells grow with the width, and the height with them."""
        self.setFixedHeight(self._height())

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        learned = self._learned
        if learned is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font("small"))
        for row in range(self._number()):
            self._paint_names(painter, row, learned.labels[row])
            total = max(1, sum(learned.confusion[row]))
            for column in range(self._number()):
                self._paint_cell(painter, row, column, learned.confusion[row][column], total)
            self._paint_figures(painter, row, learned.label_accuracy[row], sum(learned.confusion[row]))
        if self.hasFocus():
            rect = QRectF(self.cell_rect(*self._focus)).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._theme.color("text"), 2))
            painter.drawRoundedRect(rect, 3, 3)
        painter.end()

    def _paint_names(self, painter: QPainter, at: int, label: str) -> None:
        px, metrics = self._theme.px, painter.fontMetrics()
        painter.setPen(self._theme.color("text"))
        cell = self.cell_rect(at, 0)
        room = self._left() - px(8)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        place = QRect(cell.right() + px(8) if mirrored else 0, cell.top(), room, cell.height())
        side = Qt.AlignmentFlag.AlignLeft if mirrored else Qt.AlignmentFlag.AlignRight
        text = metrics.elidedText(label, Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(place, side | Qt.AlignmentFlag.AlignAbsolute | Qt.AlignmentFlag.AlignVCenter, text)
        above = self.cell_rect(0, at)
        painter.save()
        painter.translate(QPointF(above.center().x() + metrics.ascent() / 2 - 1, above.top() - px(6)))
        painter.rotate(-90)
        painter.setPen(self._theme.color("muted"))
        painter.drawText(QPointF(0, 0), metrics.elidedText(label, Qt.TextElideMode.ElideMiddle, self._top() - px(8)))
        painter.restore()

    def _paint_cell(self, painter: QPainter, row: int, column: int, count: int, total: int) -> None:
        rect = QRectF(self.cell_rect(row, column)).adjusted(1, 1, -1, -1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("bar" if count == 0 else "canvas"))
        if (row, column) == self._under:
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

    def _paint_figures(self, painter: QPainter, row: int, accuracy: float, count: int) -> None:
        px = self._theme.px
        last = self.cell_rect(row, self._number() - 1)
        mirrored = self.layoutDirection() == Qt.LayoutDirection.RightToLeft
        bar = QRectF(last.right() + px(12), last.center().y() - px(2), px(48), px(5))
        words = QRect(round(bar.right()) + px(8), last.top(), px(64), last.height())
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
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, f"{percent(accuracy)}")

    # --- mouse and keys

    def _at(self, x: float, y: float) -> tuple[int, int] | None:
        if self.layoutDirection() == Qt.LayoutDirection.RightToLeft:
            x = self.width() - x
        side = self._side()
        column, row = int((x - self._left()) // side), int((y - self._top()) // side)
        number = self._number()
        return (row, column) if 0 <= row < number and 0 <= column < number else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what is under the pointer."""
        under = self._at(event.position().x(), event.position().y())
        if under != self._under:
            self._under = under
            self.setCursor(Qt.CursorShape.PointingHandCursor if under else Qt.CursorShape.ArrowCursor)
            self.pointed.emit(self.sentence(*under) if under else "")
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Say nothing more."""
        self._under = None
        self.pointed.emit("")
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Show the photos of a cell."""
        under = self._at(event.position().x(), event.position().y())
        if under is not None and event.button() == Qt.MouseButton.LeftButton:
            self._move_to(*under)
            self._choose()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows go from cell to cell, Return shows the photos."""
        step = _ARROWS.get(Qt.Key(event.key()))
        if step is not None and self._number():
            across = -step[1] if self.layoutDirection() == Qt.LayoutDirection.RightToLeft else step[1]
            last = self._number() - 1
            self._move_to(max(0, min(last, self._focus[0] + step[0])), max(0, min(last, self._focus[1] + across)))
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Say where the focus is."""
        super().focusInEvent(event)
        self.pointed.emit(self.sentence(*self._focus) if self._number() else "")

    def _move_to(self, row: int, column: int) -> None:
        self._focus = (row, column)
        text = self.sentence(row, column)
        self.pointed.emit(text)
        self.setAccessibleDescription(text)
        self.update()

    def _choose(self) -> None:
        learned = self._learned
        if learned is not None and learned.labels:
            row, column = self._focus
            self.pair_chosen.emit(learned.labels[row], learned.labels[column])
