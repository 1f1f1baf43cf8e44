"""Row of a few clickable thumbnails with a caption."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import QToolButton, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import in_row, label


class ThumbnailRow(QWidget):
    """Shows images, each a button; hidden while there are none."""

    chosen = Signal(int)
    """Position of the image that was clicked."""

    def __init__(self, theme: Theme, caption: str) -> None:
        super().__init__()
        self.edge = theme.px(44)
        """Side of a thumbnail in pixels."""
        self._side = self.edge + theme.px(6)
        self.setMinimumHeight(self._side)
        self.buttons: list[QToolButton] = []
        self._row = in_row(label(caption, "small", "muted"), 1, on=self, margins=0, spacing=theme.px(6))
        self.hide()

    def show_images(self, images: Sequence[tuple[QImage, str]]) -> None:
        """Replace the images, each with its tool tip."""
        for old in self.buttons:
            old.deleteLater()
        self.buttons = [self._button(at, image, text) for at, (image, text) in enumerate(images)]
        self.setVisible(bool(self.buttons))

    def _button(self, at: int, image: QImage, text: str) -> QToolButton:
        side = min(image.width(), image.height())
        square = image.copy((image.width() - side) // 2, (image.height() - side) // 2, side, side)
        made = QToolButton()
        made.setProperty("kind", "thumbnail")
        made.setIcon(QIcon(QPixmap.fromImage(square)))
        made.setIconSize(QSize(self.edge, self.edge))
        made.setFixedSize(self._side, self._side)
        made.setToolTip(text)
        made.setAccessibleName(text)
        made.setCursor(Qt.CursorShape.PointingHandCursor)
        made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        made.clicked.connect(lambda: self.chosen.emit(at))
        self._row.insertWidget(1 + at, made)
        return made
