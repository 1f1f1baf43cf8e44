"""Layout of the window: toolbar on top, tree, photos and classify panel side by side, status bar below."""

from __future__ import annotations

from msgspec import UNSET
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from apitorch_desktop.ui.connections.offline_banner import OfflineBanner
from apitorch_desktop.ui.main_window.drop_overlay import DropOverlay
from apitorch_desktop.ui.main_window.empty_page import EmptyPage
from apitorch_desktop.ui.main_window.main_window import LEFT, RIGHT
from apitorch_desktop.ui.main_window.status_bar import StatusBar
from apitorch_desktop.ui.main_window.toolbar import Toolbar
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.sidebar.panel import TreePanel, WhyNot
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.controls import Separator

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
        self.toolbar.classify_switched.connect(lambda shown: self.show_side("right", shown))
        self.toolbar.tree_switched.connect(lambda shown: self.show_side("left", shown))
        theme.changed.connect(self._measure)
        self._measure()
        self._restore()

    def _lay_out(self) -> None:
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(1)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.tree)
        self.center = QWidget()
        self._center_rows = QVBoxLayout(self.center)
        self._center_rows.setContentsMargins(0, 0, 0, 0)
        self._center_rows.setSpacing(0)
        self._center_rows.addWidget(self.pages, 1)
        self.splitter.addWidget(self.center)
        self.splitter.setStretchFactor(0, 0)
        self.splitter.setStretchFactor(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.setSizeConstraint(QVBoxLayout.SizeConstraint.SetNoConstraint)  # else the window could not shrink
        column.addWidget(self.toolbar)
        column.addWidget(Separator(self._theme))
        column.addWidget(self.offline_banner)
        column.addWidget(self.splitter, 1)
        column.addWidget(Separator(self._theme))
        column.addWidget(self.status)

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
