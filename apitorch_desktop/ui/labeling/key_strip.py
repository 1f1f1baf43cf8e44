"""Key strip below the photos: label keys as buttons, auto-advance, and the next suspect."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QAction, QContextMenuEvent, QFontMetrics, QIcon, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QMenu,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QWidget,
)

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, in_row, surface
from apitorch_desktop.ui.widgets.label_menu import menus_of

MIN_WIDTH = 84
"""Minimum width of a key with the start of its label: narrower ones are moved to a menu."""
GAP = 2
NARROW = 560
"""Width of the strip below which the button of the next suspect is a flag and a number."""


class KeyChip(QPushButton):
    """A key and its label, elided if necessary."""

    def __init__(self, theme: Theme, key: str, name: str) -> None:
        super().__init__()
        self._theme = theme
        self.key, self.name = key, name
        self.shared = 0
        """Length of the start that the label shares with that of another key."""
        self.setProperty("kind", "quiet")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName(f"{name}, key {key}")
        self.setToolTip(f"{name}: put what is selected under it with {key}\nRight click: another label for {key}")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)

    def _key_width(self) -> int:
        return self._theme.px(16)

    def sizeHint(self) -> QSize:
        text = QFontMetrics(self._theme.font("small")).horizontalAdvance(self.name)
        width = self._key_width() + text + self._theme.px(14)
        return QSize(width, self._theme.px(26))

    def minimumSizeHint(self) -> QSize:
        """Return the size of the key alone."""
        return QSize(self._key_width() + self._theme.px(10), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
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
        text = elided_label(painter.fontMetrics(), self.name, self.shared, room.width())
        start = QStyle.visualAlignment(direction, Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QStyle.visualRect(direction, self.rect(), room), start | Qt.AlignmentFlag.AlignVCenter, text)


def elided_label(metrics: QFontMetrics, name: str, shared: int, width: int) -> str:
    """Return a label elided to `width` pixels: its start, or what follows the first `shared` letters if that is not seen."""
    text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, width)
    if text == name or len(text) - 1 > shared or shared >= len(name):
        return text
    word = max(name.rfind(mark, 0, shared) for mark in "_- ") + 1
    from_word = metrics.elidedText(f"…{name[word:]}", Qt.TextElideMode.ElideRight, width)
    if word and (from_word.endswith(name[word:]) or len(from_word) - 2 > shared - word):
        return from_word
    return metrics.elidedText(f"…{name[shared:]}", Qt.TextElideMode.ElideRight, width)


def _shared_start(first: str, second: str) -> int:
    """Return the length of the start that two texts share."""
    differing = (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differing, min(len(first), len(second)))


class KeyChipRow(QWidget):
    """Keys in one row: labels are elided first, then the last keys are moved to a menu."""

    label_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.chips: list[KeyChip] = []
        self.more = QPushButton(self)
        self.more.setProperty("kind", "quiet")
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.setFont(theme.font("small"))
        self.more.clicked.connect(lambda: self.menu().popup(self.more.mapToGlobal(self.more.rect().topLeft())))
        self.more.hide()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self._on_theme_changed)

    def show_keys(self, keys: dict[str, str]) -> None:
        """Set the keys and their labels."""
        for chip in self.chips:
            chip.hide()
            chip.deleteLater()
        self.chips = [KeyChip(self._theme, key, name) for key, name in keys.items()]
        for chip in self.chips:
            chip.setParent(self)
            chip.shared = max((_shared_start(chip.name, one.name) for one in self.chips if one is not chip), default=0)
            chip.clicked.connect(lambda _checked=False, name=chip.name: self.label_wanted.emit(name))
        self._place()

    def hidden(self) -> list[KeyChip]:
        """Return the keys that do not fit; they work all the same, and are in the menu."""
        return [chip for chip in self.chips if chip.isHidden()]

    def menu(self) -> QMenu:
        """Return a menu of the keys that do not fit."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for chip in self.hidden():
            action = QAction(f"{chip.name.replace('&', '&&')}\t{chip.key}", menu)
            action.triggered.connect(lambda _checked=False, name=chip.name: self.label_wanted.emit(name))
            menu.addAction(action)
        return menu

    def _on_theme_changed(self) -> None:
        self.more.setFont(self._theme.font("small"))
        self.updateGeometry()
        self._place()

    def sizeHint(self) -> QSize:
        return QSize(0, self._theme.px(26))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        room, height, direction = self.width(), self.height(), self.layoutDirection()
        widths = [chip.sizeHint().width() for chip in self.chips]
        shown = share_width(widths, room, self._theme.px(MIN_WIDTH), GAP)
        if len(shown) < len(widths):
            self.more.setText(f"{len(widths)} more…")  # its widest text
            shown = share_width(
                widths, room - self.more.sizeHint().width() - GAP, self._theme.px(MIN_WIDTH), GAP, all_=False
            )
        x = 0
        for at, chip in enumerate(self.chips):
            chip.setVisible(at < len(shown))
            if at < len(shown):
                chip.setGeometry(QStyle.visualRect(direction, self.rect(), QRect(x, 0, shown[at], height)))
                x += shown[at] + GAP
        left = len(widths) - len(shown)
        self.more.setVisible(left > 0)
        self.more.setText(f"{left} more…")
        self.more.setAccessibleName(f"{left} more label keys")
        place = QRect(x, 0, self.more.sizeHint().width(), height)
        self.more.setGeometry(QStyle.visualRect(direction, self.rect(), place))


def share_width(widths: Sequence[int], room: int, least: int, gap: int, *, all_: bool = True) -> list[int]:
    """Return widths for as many of the first as fit: each as wanted, or else an equal share of at least `least`.

    With `all_`, an empty list if not all fit.
    """
    for count in range(len(widths), 0, -1):
        some, free = widths[:count], room - gap * (count - 1)
        if sum(min(width, least) for width in some) > free:
            if all_:
                return []
            continue
        found = dict.fromkeys(range(count), 0)
        for done, at in enumerate(sorted(range(count), key=lambda at: some[at])):
            found[at] = min(some[at], free // (count - done))
            free -= found[at]
        return list(found.values())
    return []


class KeyStrip(QWidget):
    """Shows keys and suspects, and emits the user's requests."""

    label_wanted = Signal(str)
    """Move the selected photos to this label."""
    bound = Signal(str, str)
    """(key, label): assign the key to the label."""
    advance_switched = Signal(bool)
    suspect_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._labels: Sequence[str] = ()
        self._suspects = 0
        surface(self, "canvas")
        self.setAccessibleName("Label keys")
        self.advance = button("Auto-advance", "chip")
        self.advance.setCheckable(True)
        self.advance.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.advance.clicked.connect(self.advance_switched)
        self.suspect = button("", "chip", self.suspect_wanted.emit)
        self.suspect.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.row = KeyChipRow(theme)
        self.row.label_wanted.connect(self.label_wanted)
        in_row((self.row, 1), self.advance, self.suspect, on=self, margins=(12, 4, 12, 4), spacing=6)
        self.show_suspects(0)

    @property
    def chips(self) -> list[KeyChip]:
        """The keys, including those that do not fit."""
        return self.row.chips

    def show_keys(self, keys: dict[str, str], labels: Sequence[str]) -> None:
        """Set the keys and their labels; `labels` are all labels of the set."""
        self._labels = labels
        if [(chip.key, chip.name) for chip in self.chips] != list(keys.items()):
            self.row.show_keys(keys)

    def show_suspects(self, count: int) -> None:
        """Set the number of labels that look wrong."""
        self._suspects = count
        self.suspect.setVisible(count > 0)
        self._show_count()

    def _show_count(self) -> None:
        narrow, words = self.width() < self._theme.px(NARROW), f"Next suspect: {self._suspects:,}"
        self.suspect.setIcon(self._theme.icon("flag", "text") if narrow else QIcon())
        self.suspect.setText(f"{self._suspects:,}" if narrow else words)
        self.suspect.setAccessibleName(words)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_count()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Open the menu of a key."""
        chip = self.childAt(event.pos())
        if isinstance(chip, KeyChip):
            self.menu_for(chip.key).popup(event.globalPos())

    def menu_for(self, key: str) -> QMenu:
        """Return a menu of the labels that a key can be assigned to."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(f"Label of the key {key}").setEnabled(False)
        menu.addSeparator()
        chosen = next((chip.name for chip in self.chips if chip.key == key), "")
        for below, name in menus_of(menu, self._labels):
            action = QAction(name.replace("&", "&&"), below, checkable=True, checked=name == chosen)
            action.triggered.connect(lambda _checked=False, name=name: self.bound.emit(key, name))
            below.addAction(action)
        return menu
