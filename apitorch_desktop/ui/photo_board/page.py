"""Page with a photo board, a title, and controls for its actions."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.view import PhotoBoard
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import icon_button, label, surface
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout


class BoardPage(QWidget):
    """Base class of pages with a board. A subclass calls `lay_out` once."""

    closed = Signal()

    def __init__(self, theme: Theme, loader: ThumbnailLoader, name: str) -> None:
        super().__init__()
        surface(self, "canvas")
        self.board = PhotoBoard(theme, loader)
        self.board.setAccessibleName(name)
        self._close = icon_button(theme, "close", "Back to the photos (Esc)")
        self._close.clicked.connect(self.closed)

    def lay_out(
        self, title: str, controls: Sequence[QWidget], hint: str, *, why: str = "", center: QWidget | None = None
    ) -> None:
        """Build the page. `why` is a sentence below the title, `center` replaces the board, `hint` explains the keys."""
        head = QHBoxLayout()
        head.setContentsMargins(16, 8, 8, 0)
        head.addWidget(label(title, "title"), 1)
        head.addWidget(self._close)
        row = QWidget()
        flow = FlowLayout(row)
        for control in controls:
            flow.addWidget(control)
        below = QVBoxLayout()
        below.setContentsMargins(16, 4, 16, 4)
        below.setSpacing(8)
        if why:
            below.addWidget(label(why, "base", "muted", wrap=True))
        below.addWidget(row)
        foot = QHBoxLayout()
        foot.setContentsMargins(16, 4, 16, 8)
        foot.addWidget(label(hint, "small", "muted", wrap=True))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addLayout(below)
        column.addWidget(center or self.board, 1)
        column.addLayout(foot)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)
