"""Toolbar: the connection with its state, import, search, filter, sort order, zoom, and the classify panel's switch."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QLineEdit, QMenu, QSizePolicy, QSlider, QStyle, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    MenuButton,
    button,
    enable_unless,
    icon_button,
    in_row,
    native_keys,
    set_property,
    surface,
)

NO_ZOOM, ICONS = 880, 760
"""Widths below which the zoom is hidden, then the texts of menus and switch."""
SEARCH_DELAY = 120
"""Milliseconds after the last key before the search starts."""


class SearchField(QLineEdit):
    """Search field with a delay; Escape clears it, then returns the focus."""

    searched = Signal(str)
    left = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setPlaceholderText("Search labels and file names")
        self.setAccessibleName("Search")
        self.setClearButtonEnabled(True)
        self._theme = theme
        self._glass = theme.icon("search", "muted")
        self._rest = QTimer(self, interval=SEARCH_DELAY, singleShot=True)
        self._rest.timeout.connect(lambda: self.searched.emit(self.text().strip()))
        self.textChanged.connect(lambda _text: self._rest.start())

    def show_words(self, words: str) -> None:
        """Show the words of the current search."""
        if self.text().strip() != words:
            self.setText(words)
        self._rest.stop()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the field with a magnifying glass at the start."""
        super().paintEvent(event)
        size, px = self._theme.px(14), self._theme.px
        place = QRect(px(10), (self.height() - size) // 2, size, size)
        self._glass.paint(QPainter(self), QStyle.visualRect(self.layoutDirection(), self.rect(), place))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Handle Escape, and the keys that lead to the photos."""
        if event.key() == Qt.Key.Key_Escape:
            if self.text():
                self.clear()
            else:
                self.left.emit()
            return
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Down):
            self._rest.stop()
            self.searched.emit(self.text().strip())
            self.left.emit()
            return
        super().keyPressEvent(event)


class Toolbar(QWidget):
    """Emits the user's requests, and shows the state that its setters receive."""

    connection_menu_wanted = Signal()
    """The connection menu is about to open and has to be filled."""
    searched = Signal(str)
    search_left = Signal()
    sort_chosen = Signal(str)
    zoom_moved = Signal(int)

    def __init__(self, theme: Theme, zoom_range: tuple[int, int]) -> None:
        super().__init__()
        self._theme = theme
        surface(self, "side")
        self.tree = icon_button(theme, "panel-left", "Show or hide the training sets (F8)", "")
        self.tree.setCheckable(True)
        self.tree.hide()
        self.connection = MenuButton(theme, "On this computer")
        self.connection.setAccessibleName("Connection")
        self.connection_menu = QMenu(self)
        self.connection_menu.aboutToShow.connect(self.connection_menu_wanted)
        self.connection.setMenu(self.connection_menu)
        self.import_button = MenuButton(theme, "Import")
        self.import_button.setProperty("kind", "primary")
        self.import_button.setToolTip(
            "Add photos from folders, files, archives, lists, the clipboard and web addresses"
        )
        self.import_menu = QMenu(self)
        self.import_button.setMenu(self.import_menu)
        self.search = SearchField(theme)
        self.search.searched.connect(self.searched)
        self.search.left.connect(self.search_left)
        self.filter = MenuButton(theme, "Filter", "filter")
        self.filter.setToolTip("Show only some of the photos")
        self.filter_menu = QMenu(self)
        self.filter.setMenu(self.filter_menu)
        self.sort = MenuButton(theme, "Sort: label", "sort")
        self.sort_menu = QMenu(self)
        self.sort.setMenu(self.sort_menu)
        self.zoom = QSlider(Qt.Orientation.Horizontal)
        self.zoom.setRange(*zoom_range)
        self.zoom.setPageStep(32)
        self.zoom.setSingleStep(8)
        self.zoom.setAccessibleName("Size of the thumbnails")
        self.zoom.setToolTip(f"Size of the thumbnails ({native_keys('Ctrl+wheel')})")
        self.zoom.valueChanged.connect(self.zoom_moved)
        self.classify = button(" Classify")  # Qt leaves no space between icon and text
        self.classify.setCheckable(True)
        self.classify.setAccessibleName("Classify panel")
        self.classify.setIcon(theme.icon("panel-right"))
        self._lay_out()
        theme.changed.connect(self._measure)
        self._measure()

    def _lay_out(self) -> None:
        row = in_row(
            self.tree,
            self.connection,
            self.import_button,
            (self.search, 1),
            self.filter,
            self.sort,
            on=self,
            margins=(14, 8, 14, 8),
            spacing=10,
        )
        row.addStretch(0)
        self._small, self._big = QLabel(), QLabel()
        row.addWidget(self._small)
        row.addWidget(self.zoom)
        row.addWidget(self._big)
        row.addWidget(self.classify)
        self.search.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def _measure(self) -> None:
        px = self._theme.px
        self.search.setMinimumWidth(px(100))
        room = (0, 0, px(18), 0) if self.isRightToLeft() else (px(18), 0, 0, 0)
        self.search.setTextMargins(*room)
        self.classify.setIconSize(QSize(px(16), px(16)))
        set_property(self.zoom, "mirrored", "true" if self.isRightToLeft() else "")
        self.search.setMaximumWidth(px(380))
        self.connection.setMaximumWidth(px(220))
        self.connection.setMinimumWidth(px(96))
        self.zoom.setFixedWidth(px(110))
        icon = QSize(px(14), px(14))
        ratio = self.devicePixelRatioF()
        self._small.setPixmap(self._theme.icon("small-square", "muted").pixmap(icon, ratio))
        self._big.setPixmap(self._theme.icon("big-square", "muted").pixmap(icon, ratio))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Hide the zoom in a narrow window, then the texts of buttons with an icon."""
        super().resizeEvent(event)
        width, px = self.width(), self._theme.px
        for part in (self._small, self.zoom, self._big):
            part.setVisible(width >= px(NO_ZOOM))
        for menu in (self.filter, self.sort):
            menu.set_compact(width < px(ICONS))
        self.classify.setText(" Classify" if width >= px(ICONS) else "")

    def set_connection(self, name: str, dot: str, tip: str, color: str = "", mark: str = "") -> None:
        """Show a connection: its name, color, and state as a dot in the color of a token; `tip` describes that.

        `mark`: the icon of something unusual about it.
        """
        self.connection.setText(name)
        self.connection.stripe = color
        self.connection.dot = dot
        self.connection.mark = mark
        self.connection.setToolTip(tip)
        self.connection.setAccessibleDescription(tip)

    def set_sorts(self, sorts: Sequence[tuple[str, str]], chosen: str) -> None:
        """Set the sort orders, as (key, text)."""
        self.sort_menu.clear()
        for key, words in sorts:
            action = QAction(words, self.sort_menu, checkable=True, checked=key == chosen)
            action.triggered.connect(lambda _checked=False, key=key: self.sort_chosen.emit(key))
            self.sort_menu.addAction(action)
            if key == chosen:
                self.sort.setText(f"Sort: {words.lower()}")

    def set_filtered(self, criteria: int) -> None:
        """Show the number of filter criteria."""
        self.filter.setText(f"Filter: {criteria}" if criteria else "Filter")
        self.filter.dot = "accent" if criteria else ""

    def set_zoom(self, size: int) -> None:
        """Show a thumbnail size that was set elsewhere."""
        with QSignalBlocker(self.zoom):
            self.zoom.setValue(size)

    def set_sides(self, *, tree: bool, tree_can_hide: bool, classify: bool) -> None:
        """Show which sides are shown; the tree's switch is hidden in a wide window."""
        self.tree.setVisible(tree_can_hide)
        self.tree.setChecked(tree)
        self.classify.setChecked(classify)

    def enable_photo_controls(self, enabled: bool, reason: str) -> None:
        """Enable the controls that need photos, or disable them with the reason."""
        for control in (self.search, self.filter, self.sort, self.zoom):
            if control.property("tip") is None:
                control.setProperty("tip", control.toolTip())
            enable_unless(control, "" if enabled else reason)

    def focus_search(self) -> None:
        """Move the focus to the search field, and select its text."""
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()
