"""The parts of the window and their places: toolbar on top, tree, photos and classify panel side by side, status line below."""

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
"""Widths of the window below which the classify panel, then the tree, fold by themselves."""
LEAST_LEFT, LEAST_MIDDLE, LEAST_RIGHT = 180, 280, 280
SMALLEST, LARGEST = 64, 384
"""Sizes of a thumbnail, as the grid has them."""


class CentralWidget(QWidget):
    """The window's inside. What the parts do is wired elsewhere."""

    content_dropped = Signal(object)
    """`DroppedContent` that fell on no part with a meaning of its own."""

    def __init__(self, theme: Theme, settings: Settings, why_not: WhyNot) -> None:
        super().__init__()
        self._theme = theme
        self._settings = settings
        self.drop_text = "Drop to make a training set of it"
        """What a drop on the middle would do."""
        self.setAcceptDrops(True)
        self.toolbar = Toolbar(theme, (SMALLEST, LARGEST))
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
        self.centre = QWidget()
        self._centre = QVBoxLayout(self.centre)
        self._centre.setContentsMargins(0, 0, 0, 0)
        self._centre.setSpacing(0)
        self._centre.addWidget(self.pages, 1)
        self.splitter.addWidget(self.centre)
        self.splitter.setStretchFactor(0, 0)
        self.splitter.setStretchFactor(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.setSizeConstraint(QVBoxLayout.SizeConstraint.SetNoConstraint)  # a window that cannot shrink cannot fold
        column.addWidget(self.toolbar)
        column.addWidget(Separator(self._theme))
        column.addWidget(self.offline_banner)
        column.addWidget(self.splitter, 1)
        column.addWidget(Separator(self._theme))
        column.addWidget(self.status)

    def minimumSizeHint(self) -> QSize:
        """Small enough for every side to be folded."""
        return QSize(self._theme.px(420), self._theme.px(320))

    def _measure(self) -> None:
        px = self._theme.px
        self.tree.setMinimumWidth(px(LEAST_LEFT))
        self.pages.setMinimumWidth(px(LEAST_MIDDLE))
        if self.panel is not None:
            self.panel.setMinimumWidth(px(LEAST_RIGHT))

    # --- the parts that come later

    def add_page(self, part: QWidget) -> None:
        """Something else to show in the middle: the photos, one photo, the list of transfers."""
        self.pages.addWidget(part)

    def add_banner(self, part: QWidget) -> None:
        """A line across the window, below the one that says that the service is away."""
        column = self.layout()
        assert isinstance(column, QVBoxLayout)  # noqa: S101 - made so in `_lay_out`
        column.insertWidget(column.indexOf(self.offline_banner) + 1, part)

    def add_footer(self, part: QWidget) -> None:
        """Something below the middle, as wide as that."""
        self._centre.addWidget(part)

    def add_panel(self, panel: QWidget) -> None:
        """Put the classify panel at the right."""
        self.panel = panel
        self.splitter.addWidget(panel)
        self.splitter.setStretchFactor(2, 0)
        self._measure()
        width = self._settings.classify_width
        right = self._theme.px(RIGHT) if width is UNSET else width
        left, middle = self.splitter.sizes()[:2]
        self.splitter.setSizes([left, max(self._theme.px(LEAST_MIDDLE), middle - right), right])
        self._fold()

    # --- sides

    def show_side(self, side: str, shown: bool) -> None:
        """Show or hide the tree ("left") or the classify panel ("right"), as the person asks."""
        self._wanted[side] = shown
        self._forced.discard("left")  # in a narrow window there is room for one of them
        self._forced.discard("right")
        if shown:
            self._forced.add(side)
        self._fold()

    def side_shown(self, side: str) -> bool:
        """Whether a side is to be seen."""
        part = self.tree if side == "left" else self.panel
        return part is not None and not part.isHidden()

    def switch_side(self, side: str) -> None:
        """Show a side that is hidden, hide one that is shown."""
        self.show_side(side, not self.side_shown(side))

    def _fold(self) -> None:
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
        """Fold or unfold the sides."""
        super().resizeEvent(event)
        if self.width() >= self._theme.px(FOLD_RIGHT):
            self._forced.clear()
        self._fold()
        self.drop_overlay.setGeometry(self.rect())

    # --- state

    def _restore(self) -> None:
        width = self._settings.tree_width
        left = self._theme.px(LEFT) if width is UNSET else width
        self.splitter.setSizes([left, max(self._theme.px(LEAST_MIDDLE), self._theme.px(1440) - left)])
        self._wanted = {"left": self._settings.tree_shown, "right": self._settings.classify_shown}

    def save(self) -> None:
        """Keep the sides as they are for the next start."""
        sizes, settings = self.splitter.sizes(), self._settings
        if self.side_shown("left"):
            settings.tree_width = sizes[0]
        if self.side_shown("right"):
            settings.classify_width = sizes[2]
        settings.tree_shown, settings.classify_shown = self._wanted["left"], self._wanted["right"]
        settings.save()

    # --- the whole window is a drop target

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """What comes from elsewhere is taken anywhere; photos of our own only where there is a label."""
        if drag_drop.accepts(event.mimeData()) and not event.mimeData().hasFormat(drag_drop.IDS_TYPE):
            event.acceptProposedAction()
            self.drop_overlay.aim(self.pages, self.drop_text)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Say it again: the part the drag came from may have taken its words away."""
        self.drop_overlay.aim(self.pages, self.drop_text)
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Say nothing more."""
        self.drop_overlay.aim(self.pages, "")

    def dropEvent(self, event: QDropEvent) -> None:
        """Hand on what was dropped."""
        self.drop_overlay.aim(self.pages, "")
        content = drag_drop.read(event.mimeData())
        if content:
            event.acceptProposedAction()
            self.content_dropped.emit(content)
