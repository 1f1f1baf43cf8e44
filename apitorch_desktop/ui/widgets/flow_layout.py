"""Flow layout: widgets side by side, in as many rows as the width requires."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QStyle, QWidget


class FlowLayout(QLayout):
    """Places widgets side by side, in as many rows as the width requires; mirrored in right-to-left layouts."""

    def __init__(self, parent: QWidget | None = None, spacing: int = 6, *, centered: bool = False) -> None:
        super().__init__(parent)
        self._centered = centered
        self._items: list[QLayoutItem] = []
        self.setSpacing(spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), move=False)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        size = QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def _place(self, rect: QRect, *, move: bool) -> int:
        parent = self.parentWidget()
        direction = parent.layoutDirection() if parent else Qt.LayoutDirection.LeftToRight
        y = 0
        for row in self._rows(rect.width()):
            height = max(size.height() for _, size in row)
            x = (rect.width() - _width(row, self.spacing())) // 2 if self._centered else 0
            for item, size in row if move else ():
                place = QRect(rect.topLeft() + QPoint(x, y + (height - size.height()) // 2), size)
                item.setGeometry(QStyle.visualRect(direction, rect, place))
                x += size.width() + self.spacing()
            y += height + self.spacing()
        return max(0, y - self.spacing())

    def _rows(self, room: int) -> list[list[tuple[QLayoutItem, QSize]]]:
        rows: list[list[tuple[QLayoutItem, QSize]]] = []
        for item in self._items:
            if item.isEmpty():
                continue
            sized = (item, item.sizeHint().boundedTo(QSize(room, item.sizeHint().height())))
            if rows and _width([*rows[-1], sized], self.spacing()) <= room:
                rows[-1].append(sized)
            else:
                rows.append([sized])
        return rows


def _width(row: list[tuple[QLayoutItem, QSize]], spacing: int) -> int:
    return sum(size.width() for _, size in row) + spacing * (len(row) - 1)
