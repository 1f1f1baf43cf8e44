"""Basic widgets: labels by role, buttons by kind, cards, separators, menus, progress bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Literal, TypeVar

from PySide6.QtCore import QEvent, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QKeySequence, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QStyle,
    QStyleOptionButton,
    QStyleOptionProgressBar,
    QStylePainter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import Role

Box = TypeVar("Box", QHBoxLayout, QVBoxLayout)
Tone = Literal["", "muted", "accent", "good", "warn", "bad"]
Kind = Literal["", "primary", "quiet", "link", "chip"]
Surface = Literal["canvas", "side", "panel", "card", "note"]
_PARTS: Final = 1000
"""Steps of a progress bar."""
_CYCLE: Final = 2.9
"""Seconds in which the chunk of an indeterminate progress bar moves to and fro."""


def label(text: str = "", role: Role = "base", tone: Tone = "", *, wrap: bool = False) -> QLabel:
    """Create a label in a role's type. Always plain text, since file names and labels come from outside."""
    result = QLabel(text)
    result.setTextFormat(Qt.TextFormat.PlainText)
    if result.isRightToLeft():  # Qt would align by the script of the text
        result.setAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignAbsolute | Qt.AlignmentFlag.AlignVCenter
        )
    result.setProperty("role", role)
    result.setProperty("tone", tone)
    result.setWordWrap(wrap)
    return result


def native_keys(keys: str) -> str:
    """Return key sequences, separated by ", ", as the desktop writes them; also “Ctrl” and what is no key (“Ctrl+drag”)."""
    native = QKeySequence.SequenceFormat.NativeText
    control = QKeySequence("Ctrl+A").toString(native).removesuffix("A")
    parts = keys.split(", ") if keys else []
    return ", ".join(
        QKeySequence(part).toString(native) or part.replace("Ctrl+", control).replace("Ctrl", control.rstrip("+"))
        for part in parts
    )


def set_property(widget: QWidget, name: str, value: str) -> None:
    """Set a property that the style sheet selects by, and apply the style again."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def button(text: str, kind: Kind = "", clicked: Callable[[], object] | None = None) -> QPushButton:
    """Create a push button of a kind; its text is a verb."""
    result = QPushButton(text)
    result.setProperty("kind", kind)
    result.setAutoDefault(False)
    if clicked is not None:
        result.clicked.connect(lambda _checked=False: clicked())
    return result


def icon_button(theme: Theme, icon: str, name: str, kind: Kind = "quiet", tint: str = "text") -> QToolButton:
    """Create a square button with an icon; `name` is its tooltip and accessible name."""
    result = QToolButton()
    result.setIcon(theme.icon(icon, tint))
    result.setIconSize(QSize(theme.px(16), theme.px(16)))
    result.setToolTip(name)
    result.setAccessibleName(name)
    result.setProperty("kind", kind)
    result.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return result


Part = QWidget | QLayout | int | tuple[QWidget | QLayout, int | Qt.AlignmentFlag]
"""What is laid out: a widget, a layout or a stretch; a widget or a layout with its stretch or its alignment."""
Margins = int | tuple[int, int, int, int]
"""Pixels on all sides; or left, top, right and bottom."""


def in_row(
    *parts: Part, on: QWidget | None = None, margins: Margins | None = None, spacing: int | None = None
) -> QHBoxLayout:
    """Lay out parts beside one another, on a widget or to be part of another layout."""
    return _fill(QHBoxLayout(on) if on is not None else QHBoxLayout(), parts, margins, spacing)


def in_column(
    *parts: Part, on: QWidget | None = None, margins: Margins | None = None, spacing: int | None = None
) -> QVBoxLayout:
    """Lay out parts below one another, on a widget or to be part of another layout."""
    return _fill(QVBoxLayout(on) if on is not None else QVBoxLayout(), parts, margins, spacing)


def _fill(box: Box, parts: Sequence[Part], margins: Margins | None, spacing: int | None) -> Box:
    if margins is not None:
        box.setContentsMargins(*((margins,) * 4 if isinstance(margins, int) else margins))
    if spacing is not None:
        box.setSpacing(spacing)
    for given in parts:
        if isinstance(given, int):
            box.addStretch(given)
            continue
        part, how = given if isinstance(given, tuple) else (given, 0)
        stretch, alignment = (0, how) if isinstance(how, Qt.AlignmentFlag) else (how, None)  # it is an int too
        if isinstance(part, QLayout):
            box.addLayout(part, stretch)
        elif alignment is None:
            box.addWidget(part, stretch)
        else:
            box.addWidget(part, stretch, alignment)
    return box


def lay_out_dialog(
    dialog: QDialog,
    theme: Theme,
    parts: Sequence[QWidget | QLayout],
    buttons: Sequence[QWidget],
    *,
    beside: QWidget | None = None,
    grows: QWidget | None = None,
    spacing: int = 8,
) -> None:
    """Lay out `parts` below one another, and below them `buttons` at the right, with `beside` at their left.

    `grows` is the part that takes the height that is left, by default the space above the buttons. `spacing` in pixels at
    100 %.
    """
    last = in_row((beside, 1) if beside is not None else 1, *buttons)
    rows: list[Part] = [(part, 1) if part is grows else part for part in parts]
    in_column(*rows, *([1] if grows is None else []), last, on=dialog, margins=theme.px(16), spacing=theme.px(spacing))


def surface(widget: QWidget, name: Surface) -> QWidget:
    """Paint a widget as a surface of the theme."""
    widget.setProperty("surface", name)
    widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    return widget


def enable_unless(widget: QWidget, reason: str) -> None:
    """Enable a control, or disable it with the reason as its tooltip."""
    widget.setEnabled(not reason)
    widget.setToolTip(reason or str(widget.property("tip") or ""))


class Card(QFrame):
    """A frame with rounded corners; `rows` is its layout."""

    def __init__(self, margin: int = 12, spacing: int = 8) -> None:
        super().__init__()
        surface(self, "card")
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(margin, margin, margin, margin)
        self.rows.setSpacing(spacing)


class CentralPage(QWidget):
    """Base class of pages in the center of the window, left by `close_button` or Escape; a subclass lays it out."""

    closed = Signal()

    def __init__(self, theme: Theme, tip: str = "Back to the photos (Esc)") -> None:
        super().__init__()
        surface(self, "canvas")
        self.close_button = icon_button(theme, "close", tip)
        self.close_button.clicked.connect(self.closed)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)


class Separator(QFrame):
    """A line of one pixel between two parts."""

    def __init__(self, theme: Theme, *, vertical: bool = False) -> None:
        super().__init__()
        self._theme = theme
        if vertical:
            self.setFixedWidth(1)
        else:
            self.setFixedHeight(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(event.rect(), self._theme.color("line"))


def spin_box(theme: Theme, name: str, value: int, least: int, most: int, suffix: str = "") -> QSpinBox:
    """Create a field for a whole number; `name` is its accessible name."""
    result = QSpinBox(minimum=least, maximum=most, value=value, suffix=suffix)
    result.setAccessibleName(name)
    result.lineEdit().setTextMargins(theme.px(6), 0, 0, 0)
    return result


class MenuButton(QPushButton):
    """A button with a chevron at its end, and optionally a dot in a token's color and a stripe at its start."""

    def __init__(self, theme: Theme, text: str = "", icon: str = "") -> None:
        super().__init__(text)
        self._theme = theme
        self._dot = ""
        self.stripe = ""
        """Color (`#rrggbb`) of a stripe at the start; empty for none."""
        self._mark = ""
        self._compact = False
        self._chevron = theme.icon("chevron-down", "muted")
        if icon:
            self.setIcon(theme.icon(icon))
        self.setAutoDefault(False)

    @property
    def dot(self) -> str:
        """Token of the dot's color; empty for none."""
        return self._dot

    @dot.setter
    def dot(self, token: str) -> None:
        self._dot = token
        self.updateGeometry()
        self.update()

    @property
    def mark(self) -> str:
        """Name of a small warning icon after the text; empty for none."""
        return self._mark

    @mark.setter
    def mark(self, icon: str) -> None:
        self._mark = icon
        self.updateGeometry()
        self.update()

    def set_compact(self, compact: bool) -> None:
        """Show the icon or the dot without the text, which stays the accessible name."""
        if compact != self._compact:
            self._compact = compact
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        px = self._theme.px
        mark = px(16) if self._dot else px(20) if self._compact and not self.icon().isNull() else 0
        text = 0 if self._compact else self.fontMetrics().horizontalAdvance(self.text()) + px(6)
        text += px(20) if self._mark else 0
        return QSize(px(12) + mark + text + px(12) + px(10) + 2, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Return the width for an elided text."""
        return QSize(min(self.sizeHint().width(), self._theme.px(72)), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        px = self._theme.px
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = ""
        painter.drawControl(QStyle.ControlElement.CE_PushButtonBevel, option)
        inner = self.rect().adjusted(px(12), 0, -px(10), 0)
        mirror = self._mirrored
        end = QRect(inner.right() - px(12), (self.height() - px(12)) // 2, px(12), px(12))
        primary = self.property("kind") == "primary" and self.isEnabled()
        (self._theme.icon("chevron-down", "on_strong") if primary else self._chevron).paint(painter, mirror(end))
        inner.setRight(end.left() - px(6))
        if self._mark:
            size = px(14)
            place = QRect(inner.right() - size, (self.height() - size) // 2, size, size)
            self._theme.icon(self._mark, "warn").paint(painter, mirror(place))
            inner.setRight(place.left() - px(6))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.stripe:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.stripe))
            painter.drawRoundedRect(mirror(QRect(px(4), px(6), px(3), self.height() - px(12))), 1.5, 1.5)
        if self._dot:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color(self._dot))
            painter.drawEllipse(mirror(QRect(inner.left(), self.height() // 2 - px(4), px(8), px(8))))
            inner.setLeft(inner.left() + px(16))
        elif self._compact and not self.icon().isNull():
            size = px(14)
            self.icon().paint(painter, mirror(QRect(inner.left(), (self.height() - size) // 2, size, size)))
            inner.setLeft(inner.left() + size + px(6))
        if self._compact:
            return
        painter.setPen(self._theme.color("on_strong" if primary else "text" if self.isEnabled() else "muted"))
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, inner.width())
        start = QStyle.visualAlignment(self.layoutDirection(), Qt.AlignmentFlag.AlignLeft)
        painter.drawText(mirror(inner), start | Qt.AlignmentFlag.AlignVCenter, text)

    def _mirrored(self, rect: QRect) -> QRect:
        return QStyle.visualRect(self.layoutDirection(), self.rect(), rect)


class ComboBox(QComboBox):
    """A combo box with the theme's chevron."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self._chevron = theme.icon("chevron-down", "muted")
        self.setAccessibleName(name)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        size = self._theme.px(12)
        place = QRect(self.width() - size - self._theme.px(10), (self.height() - size) // 2, size, size)
        mode = QIcon.Mode.Normal if self.isEnabled() else QIcon.Mode.Disabled
        place = QStyle.visualRect(self.layoutDirection(), self.rect(), place)
        self._chevron.paint(QPainter(self), place, Qt.AlignmentFlag.AlignCenter, mode)


class ProgressBar(QProgressBar):
    """A progress bar for a share from 0 to 1, without text; for None a part of it moves gently to and fro."""

    def __init__(self, share: float | None = 0, tone: Tone = "accent", *, thin: bool = False) -> None:
        super().__init__(textVisible=False)
        self.setProperty("thin", thin)
        self._started = monotonic()
        self._timer = QTimer(self, interval=40)
        self._timer.timeout.connect(self.update)
        self.set_share(share, tone)

    def set_share(self, share: float | None, tone: Tone | None = None) -> None:
        """Show another share, in another tone if given."""
        if tone is not None:
            set_property(self, "tone", tone)
        self.setRange(0, 0 if share is None else _PARTS)
        self.setValue(round(_PARTS * min(1, share or 0)))
        self._animate()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.maximum():
            super().paintEvent(event)
            return
        option, painter = QStyleOptionProgressBar(), QStylePainter(self)
        self.initStyleOption(option)
        painter.drawControl(QStyle.ControlElement.CE_ProgressBarGroove, option)
        phase = (monotonic() - self._started) / _CYCLE % 1 if self._timer.isActive() else 0
        width = round(self.width() * 0.3)
        place = QRect(round((self.width() - width) * (1 - abs(2 * phase - 1))), 0, width, self.height())
        option.rect = QStyle.visualRect(self.layoutDirection(), self.rect(), place)
        option.maximum = option.progress = 1
        painter.drawControl(QStyle.ControlElement.CE_ProgressBarContents, option)

    def showEvent(self, event: QEvent) -> None:
        self._animate()

    def hideEvent(self, event: QEvent) -> None:
        self._timer.stop()

    def _animate(self) -> None:
        enabled = self.style().styleHint(QStyle.StyleHint.SH_Widget_Animation_Duration, None, self) != 0
        if self.maximum() or not self.isVisible() or not enabled:
            self._timer.stop()
        elif not self._timer.isActive():
            self._started = monotonic()
            self._timer.start()


class ElidedLabel(QLabel):
    """A one-line label that elides its text to its width, with the full text as the tooltip."""

    def __init__(
        self,
        text: str = "",
        role: Role = "base",
        tone: Tone = "",
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:
        super().__init__()
        self._mode = mode
        self._full_text = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)
        self.setProperty("tone", tone)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setText(text)

    def setText(self, text: str) -> None:
        self._full_text = " ".join(text.split("\n"))
        self.updateGeometry()
        self._elide()

    def full_text(self) -> str:
        """Return the text before it is elided."""
        return self._full_text

    def sizeHint(self) -> QSize:
        self.ensurePolished()
        return QSize(self.fontMetrics().horizontalAdvance(self._full_text) + 2, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._elide()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.updateGeometry()
            self._elide()

    def _elide(self) -> None:
        shown = self.fontMetrics().elidedText(self._full_text, self._mode, self.width())
        super().setText(shown)
        self.setAccessibleName(self._full_text)
        self.setToolTip(self._full_text if shown != self._full_text else "")
