"""The strip below the photos: the label keys as buttons, whether to go on by itself, and the way to the next suspect."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QAction, QFontMetrics, QPainter
from PySide6.QtWidgets import (
    QMenu,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.ui.controls import button, surface
from apitorch_desktop.ui.flow_layout import FlowLayout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QContextMenuEvent, QPaintEvent

    from apitorch_desktop.ui.theme import Theme


class KeyChip(QPushButton):
    """A key and its label; the label is cut where the room ends."""

    def __init__(self, theme: Theme, key: str, name: str) -> None:
        super().__init__()
        self._theme = theme
        self.key, self.name = key, name
        self.setProperty("kind", "quiet")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName(f"{name}, key {key}")
        self.setToolTip(f"{name}: put what is selected under it with {key}\nRight click: another label for {key}")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)

    def _key_width(self) -> int:
        return self._theme.px(16)

    def sizeHint(self) -> QSize:
        """Qt's."""
        text = QFontMetrics(self._theme.font("small")).horizontalAdvance(self.name)
        width = self._key_width() + text + self._theme.px(14)
        return QSize(width, self._theme.px(26))

    def minimumSizeHint(self) -> QSize:
        """Qt's: the key alone."""
        return QSize(self._key_width() + self._theme.px(10), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt's."""
        theme, px = self._theme, self._theme.px
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        painter.drawControl(QStyle.ControlElement.CE_PushButtonBevel, option)
        direction, edge = self.layoutDirection(), self._key_width()
        box = QStyle.visualRect(direction, self.rect(), QRect(px(3), (self.height() - edge) // 2, edge, edge))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("bar"))
        painter.drawRoundedRect(box, px(4), px(4))
        painter.setFont(theme.font("small"))
        painter.setPen(theme.color("text"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self.key)
        room = self.rect().adjusted(px(3) + edge + px(5), 0, -px(4), 0)
        if room.width() < px(16):
            return
        text = painter.fontMetrics().elidedText(self.name, Qt.TextElideMode.ElideRight, room.width())
        start = QStyle.visualAlignment(direction, Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QStyle.visualRect(direction, self.rect(), room), start | Qt.AlignmentFlag.AlignVCenter, text)


class LabelStrip(QWidget):
    """Shows what it is told, and says what is asked for."""

    label_wanted = Signal(str)
    """Put what is selected under this label."""
    bound = Signal(str, str)
    """(key, label): give the label this key."""
    advance_switched = Signal(bool)
    suspect_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._labels: Sequence[str] = ()
        self.chips: list[KeyChip] = []
        surface(self, "canvas")
        self.setAccessibleName("Label keys")
        self.advance = button("Go on", "chip")
        self.advance.setCheckable(True)
        self.advance.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.advance.setToolTip("Select the next photo after each labelling (F4)")
        self.advance.clicked.connect(self.advance_switched)
        self.suspect = button("", "chip", self.suspect_wanted.emit)
        self.suspect.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.suspect.setToolTip("Go to the next photo whose label looks wrong (F3; back with Shift+F3)")
        inner = QWidget()
        self._flow = FlowLayout(inner, spacing=2)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 4, 12, 4)
        column.addWidget(inner)
        self._flow.addWidget(self.advance)
        self._flow.addWidget(self.suspect)
        self.show_suspects(0)

    def show_keys(self, keys: dict[str, str], labels: Sequence[str]) -> None:
        """Show the keys and their labels; `labels` are all there are."""
        self._labels = labels
        if [(chip.key, chip.name) for chip in self.chips] == list(keys.items()):
            return
        for part in (*self.chips, self.advance, self.suspect):
            self._flow.removeWidget(part)
        for chip in self.chips:
            chip.hide()
            chip.deleteLater()
        self.chips = [KeyChip(self._theme, key, name) for key, name in keys.items()]
        for chip in self.chips:
            chip.clicked.connect(partial(self._clicked, chip.name))
        for part in (*self.chips, self.advance, self.suspect):
            self._flow.addWidget(part)

    def _clicked(self, name: str, _checked: bool = False) -> None:
        self.label_wanted.emit(name)

    def show_suspects(self, count: int) -> None:
        """How many labels look wrong."""
        self.suspect.setText(f"Next suspect: {count:,}")
        self.suspect.setVisible(count > 0)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Which label a key stands for."""
        chip = self.childAt(event.pos())
        if isinstance(chip, KeyChip):
            self.menu_for(chip.key).popup(event.globalPos())

    def menu_for(self, key: str) -> QMenu:
        """The labels a key may stand for."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addSection(f"Key {key}")
        chosen = next((chip.name for chip in self.chips if chip.key == key), "")
        for name in self._labels:
            action = QAction(name.replace("&", "&&"), menu, checkable=True, checked=name == chosen)
            action.triggered.connect(partial(self._bind, key, name))
            menu.addAction(action)
        return menu

    def _bind(self, key: str, name: str, _checked: bool = False) -> None:
        self.bound.emit(key, name)
