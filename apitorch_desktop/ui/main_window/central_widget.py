"""Layout of the window: toolbar on top, tree, photos and classify panel side by side, status bar below."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET
from PySide6.QtCore import QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QLabel, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from apitorch_desktop.ui.connections.offline_banner import OfflineBanner
from apitorch_desktop.ui.main_window.main_window import LEFT, RIGHT
from apitorch_desktop.ui.main_window.status_bar import StatusBar
from apitorch_desktop.ui.main_window.toolbar import Toolbar
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.sidebar.panel import TreePanel, WhyNot
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.controls import (
    ProgressBar,
    Separator,
    button,
    enable_unless,
    in_column,
    in_row,
    label,
    surface,
)
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout

GRACE = 60
"""Milliseconds between leaving one target and entering the next without flicker."""


class DropOverlay(QWidget):
    """Covers the window during a drag; transparent for the pointer."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._window = parent
        self._text = ""
        self._framed = True
        self._part: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self._grace = QTimer(self, interval=GRACE, singleShot=True)
        self._grace.timeout.connect(self.hide)
        self.hide()

    def aim(self, part: QWidget, text: str, *, framed: bool = True) -> None:
        """Describe a drop on a part of the window; "" when the drag has left that.

        `framed` is False for a part that marks the target itself.
        """
        if not text:
            if part is self._part:
                self._grace.start()
            return
        self._grace.stop()
        self._part, self._text, self._framed = part, text, framed
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()
        self.update()

    def text(self) -> str:
        """Return the text shown, "" without a drag."""
        return self._text if self.isVisible() else ""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the frame around the part, and the text at its bottom."""
        if self._part is None:
            return
        theme, px = self._theme, self._theme.px
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        part = QRect(self._part.mapTo(self._window, self._part.rect().topLeft()), self._part.size())
        if self._framed:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.drawRoundedRect(QRectF(part).adjusted(4, 4, -4, -4), px(10), px(10))
        painter.setFont(theme.font("strong"))
        metrics = painter.fontMetrics()
        text = metrics.elidedText(self._text, Qt.TextElideMode.ElideMiddle, max(px(120), self.width() - px(80)))
        width, height = metrics.horizontalAdvance(text) + px(32), px(36)
        left = max(px(8), min(part.center().x() - width // 2, self.width() - width - px(8)))
        pill = QRectF(left, part.bottom() - height - px(20), width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("strong"))
        painter.drawRoundedRect(pill, height / 2, height / 2)
        painter.setPen(theme.color("on_strong"))
        painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, text)


class EmptyPage(QWidget):
    """A title, an explanation, and the three ways to begin."""

    import_wanted = Signal()
    new_set_wanted = Signal()
    sample_wanted = Signal()
    again_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._icon_name = "image"
        self.footer: QWidget | None = None
        """Shown below the welcome."""
        self._welcomes = False
        surface(self, "canvas")
        self._icon = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._title = label("", "title")
        self._text = label("", "base", "muted", wrap=True)
        for line in (self._title, self._text):
            line.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._meter = ProgressBar(None, thin=True)
        self._import = button("Import a folder…", "primary", self.import_wanted.emit)
        self._new = button("New training set…", "", self.new_set_wanted.emit)
        self._sample = button("Open the sample", "", self.sample_wanted.emit)
        self._again = button("Try again", "", self.again_wanted.emit)
        self._sample.setProperty("tip", "A few dozen zebra coats, to try things out")
        self._lay_out()
        theme.changed.connect(self._measure)
        self._measure()

    def _lay_out(self) -> None:
        column = in_column(4, self._icon, on=self, spacing=8)
        column.addSpacing(4)
        column.addWidget(self._title)
        centered = in_row(1, (self._text, 100), 1)  # an alignment would cut the height of the wrapped text
        column.addLayout(centered)
        column.addSpacing(12)
        self._actions = QWidget()
        row = FlowLayout(self._actions, 8, centered=True)
        for control in (self._import, self._new, self._sample, self._again):
            row.addWidget(control)
        column.addWidget(self._actions)
        column.addWidget(self._meter, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(12)
        self._footer_row = in_row(1, 1)  # as for the text
        column.addLayout(self._footer_row)
        column.addStretch(5)

    def _measure(self) -> None:
        px = self._theme.px
        size = QSize(px(40), px(40))
        self._icon.setPixmap(self._theme.icon(self._icon_name, "muted").pixmap(size, self.devicePixelRatioF()))
        self._text.setMinimumWidth(px(200))
        self._text.setMaximumWidth(px(420))
        self._meter.setFixedWidth(px(160))

    def show_welcome(self, *, can_create: str = "", can_import: str = "", page: str = "") -> None:
        """Show the first steps. `can_…`: the reason why an action is unavailable, or ""; `page`: where sets are made, or ""."""
        if page:
            self._show_page(
                "There is no training set yet",
                "This service makes them on its own page. Make one there, then drop photos on it here.",
                [self._import, self._new],
            )
            self._new.setProperty("tip", f"Opens {page}")
            enable_unless(self._import, can_import)
            enable_unless(self._new, "")
            return
        self._new.setProperty("tip", "")
        self._show_page(
            "Drop a folder of photos here",
            "Its sub-folders become labels, and a classifier learns from them by itself. "
            "The photos are copied; the originals stay as they are.",
            [self._import, self._new, self._sample],
        )
        enable_unless(self._import, can_import)
        enable_unless(self._new, can_create)
        enable_unless(self._sample, can_create)

    def set_footer(self, footer: QWidget | None) -> None:
        """Show a widget below the welcome, or remove it."""
        if self.footer is not None:
            self.footer.hide()
            self.footer.deleteLater()
        self.footer = footer
        if footer is not None:
            self._footer_row.insertWidget(1, footer, 100)
            footer.setVisible(self._welcomes)

    def show_empty_set(self, name: str) -> None:
        """Show that the open training set has no photos."""
        self._show_page(
            f"“{name}” has no photos yet",
            "Drop photos or a folder here. Drop them on a label on the left to put them under it.",
            [self._import],
        )
        enable_unless(self._import, "")

    def show_choice(self) -> None:
        """Show that no training set is open."""
        self._show_page("Choose a training set on the left", "Or drop a folder of photos here to make a new one.")

    def show_nothing_found(self, what: str) -> None:
        """Show that no photo passes search and filter."""
        self._show_page("No photo matches", what)

    def show_busy(self, title: str, text: str = "") -> None:
        """Show that something is in progress."""
        self._show_page(title, text, busy=True)

    def show_failure(self, title: str, text: str) -> None:
        """Show a failure, with advice."""
        self._show_page(title, text, [self._again], icon="warning")

    def title(self) -> str:
        """Return the title shown."""
        return self._title.text()

    def _show_page(
        self, title: str, text: str, actions: Sequence[QPushButton] = (), *, busy: bool = False, icon: str = "image"
    ) -> None:
        self._icon_name = icon
        self._welcomes = self._new in actions
        if self.footer is not None:
            self.footer.setVisible(self._welcomes)
        self._measure()
        self._title.setText(title)
        self._text.setText(text)
        self._text.setVisible(bool(text))
        if not actions and self._actions.isAncestorOf(self.focusWidget() or self):
            self.setFocus()  # otherwise the focus would go to the classify panel
        for control in (self._import, self._new, self._sample, self._again):
            control.setVisible(control in actions)
        self._meter.setVisible(busy)
        self._icon.setVisible(not busy)


FOLD_RIGHT, FOLD_LEFT = 960, 720
"""Widths of the window below which the classify panel, then the tree, are hidden."""
MIN_LEFT, MIN_CENTER, MIN_RIGHT = 180, 280, 280
MIN_THUMBNAIL, MAX_THUMBNAIL = 64, 384
"""Range of thumbnail sizes in pixels, that of the grid."""


class CentralWidget(QWidget):
    """The central widget of the window; its parts are connected in `ui.wiring`."""

    content_dropped = Signal(object)
    """`DroppedContent` dropped on a part that does not handle drops itself."""

    def __init__(self, theme: Theme, settings: Settings, why_not: WhyNot) -> None:
        super().__init__()
        self._theme = theme
        self._settings = settings
        self.drop_text = "Drop to make a training set of it"
        """Text shown while something is dragged over the photos."""
        self.setAcceptDrops(True)
        self.toolbar = Toolbar(theme, (MIN_THUMBNAIL, MAX_THUMBNAIL))
        self.offline_banner = OfflineBanner(theme)
        self.tree = TreePanel(theme, why_not)
        self.empty = EmptyPage(theme)
        self.status = StatusBar(theme)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.empty)
        self.panel: QWidget | None = None
        self._wanted = {"left": True, "right": True}
        self._forced: set[str] = set()
        self._lay_out()
        self.drop_overlay = DropOverlay(theme, self)
        theme.changed.connect(self._measure)
        self._measure()
        self._restore()

    def _lay_out(self) -> None:
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(1)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.tree)
        self.center = QWidget()
        self._center_rows = in_column((self.pages, 1), on=self.center, margins=0, spacing=0)
        self.splitter.addWidget(self.center)
        self.splitter.setStretchFactor(0, 0)
        self.splitter.setStretchFactor(1, 1)
        below = in_column((self.splitter, 1), Separator(self._theme), self.status, spacing=0)
        top = (self.toolbar, Separator(self._theme), self.offline_banner)
        column = in_column(*top, (below, 1), on=self, margins=0, spacing=0)
        column.setSizeConstraint(QVBoxLayout.SizeConstraint.SetNoConstraint)  # else the window could not shrink

    def minimumSizeHint(self) -> QSize:
        """Return a size in which both sides are hidden."""
        return QSize(self._theme.px(420), self._theme.px(320))

    def _measure(self) -> None:
        px = self._theme.px
        self.tree.setMinimumWidth(px(MIN_LEFT))
        self.pages.setMinimumWidth(px(MIN_CENTER))
        if self.panel is not None:
            self.panel.setMinimumWidth(px(MIN_RIGHT))

    # --- parts that are added later

    def add_page(self, part: QWidget) -> None:
        """Add a page that can be shown in the center: the photos, one photo, the list of transfers."""
        self.pages.addWidget(part)

    def add_banner(self, part: QWidget) -> None:
        """Add a banner across the window, below the offline banner."""
        column = self.layout()
        assert isinstance(column, QVBoxLayout)  # noqa: S101 - made so in `_lay_out`
        column.insertWidget(column.indexOf(self.offline_banner) + 1, part)

    def add_footer(self, part: QWidget) -> None:
        """Add a widget below the pages."""
        self._center_rows.addWidget(part)

    def add_panel(self, panel: QWidget) -> None:
        """Add the classify panel on the right."""
        self.panel = panel
        self.splitter.addWidget(panel)
        self.splitter.setStretchFactor(2, 0)
        self._measure()
        width = self._settings.classify_width
        right = self._theme.px(RIGHT) if width is UNSET else width
        left, center = self.splitter.sizes()[:2]
        self.splitter.setSizes([left, max(self._theme.px(MIN_CENTER), center - right), right])
        self._fold_sides()

    # --- sides

    def show_side(self, side: str, shown: bool) -> None:
        """Show or hide the tree ("left") or the classify panel ("right") at the user's request."""
        self._wanted[side] = shown
        self._forced.discard("left")  # a narrow window has room for one of them
        self._forced.discard("right")
        if shown:
            self._forced.add(side)
        self._fold_sides()

    def side_shown(self, side: str) -> bool:
        """Return True if a side is shown."""
        part = self.tree if side == "left" else self.panel
        return part is not None and not part.isHidden()

    def switch_side(self, side: str) -> None:
        """Toggle a side."""
        self.show_side(side, not self.side_shown(side))

    def _fold_sides(self) -> None:
        width, px = self.width(), self._theme.px
        wide, middling = width >= px(FOLD_RIGHT), width >= px(FOLD_LEFT)
        right = self._wanted["right"] and (wide or "right" in self._forced)
        left = self._wanted["left"] and (
            wide or "left" in self._forced or (middling and not right) or width >= px(FOLD_RIGHT - 80)
        )
        self.tree.setVisible(left)
        if self.panel is not None:
            self.panel.setVisible(right)
        self.toolbar.set_sides(tree=left, tree_can_hide=not wide or not left, classify=right)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Hide the sides in a narrow window, show them in a wide one."""
        super().resizeEvent(event)
        if self.width() >= self._theme.px(FOLD_RIGHT):
            self._forced.clear()
        self._fold_sides()
        self.drop_overlay.setGeometry(self.rect())

    # --- state

    def _restore(self) -> None:
        width = self._settings.tree_width
        left = self._theme.px(LEFT) if width is UNSET else width
        self.splitter.setSizes([left, max(self._theme.px(MIN_CENTER), self._theme.px(1440) - left)])
        self._wanted = {"left": self._settings.tree_shown, "right": self._settings.classify_shown}

    def save(self) -> None:
        """Keep the state of the sides for the next start."""
        sizes, settings = self.splitter.sizes(), self._settings
        if self.side_shown("left"):
            settings.tree_width = sizes[0]
        if self.side_shown("right"):
            settings.classify_width = sizes[2]
        settings.tree_shown, settings.classify_shown = self._wanted["left"], self._wanted["right"]
        settings.save()

    # --- the whole window is a drop target

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept content from outside anywhere; photos of the window only on a label."""
        if drag_drop.accepts(event.mimeData()) and not event.mimeData().hasFormat(drag_drop.IDS_TYPE):
            event.acceptProposedAction()
            self.drop_overlay.aim(self.pages, self.drop_text)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Show the text again: the part that the drag came from may have removed it."""
        self.drop_overlay.aim(self.pages, self.drop_text)
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Hide the text."""
        self.drop_overlay.aim(self.pages, "")

    def dropEvent(self, event: QDropEvent) -> None:
        """Emit the dropped content."""
        self.drop_overlay.aim(self.pages, "")
        content = drag_drop.read(event.mimeData())
        if content:
            event.acceptProposedAction()
            self.content_dropped.emit(content)
