"""Toolbar: the connection, search, the menu of the filter, sort order, zoom, and the switches of the panels at the sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QRect, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QInputDialog, QLabel, QLineEdit, QMenu, QSizePolicy, QSlider, QStyle, QWidget

from apitorch_desktop.api.types import label_name, label_order
from apitorch_desktop.ui.grid.filters import AGES, ANSWERS, FOUND, SIZES, SPLIT_CHOICES, Filter
from apitorch_desktop.ui.settings import Settings
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
from apitorch_desktop.ui.widgets.label_menu import menus_of

NO_ZOOM, ICONS = 880, 760
"""Widths below which the zoom is hidden, then the texts of menus and switch."""
SEARCH_DELAY = 120
"""Milliseconds after the last key before the search starts."""
LONGEST = 60
"""Most characters of the name of a filter."""


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


class FilterMenu(QObject):
    """Fills a menu with the criteria of a filter when it opens, and changes the filter."""

    changed = Signal()

    def __init__(self, menu: QMenu, wanted: Filter, labels: Callable[[], Sequence[str]], settings: Settings) -> None:
        super().__init__(menu)
        self._menu = menu
        self._filter = wanted
        self._labels = labels
        self._settings = settings
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        menu, wanted = self._menu, self._filter
        menu.clear()
        below = menu.addMenu("Labels")
        self._tick(below, "All but these", wanted.but, self._but)  # first: there may be hundreds of labels
        below.addSeparator()
        for place, name in menus_of(below, self._labels(), wanted.labels):
            self._tick(place, label_name(name), name in wanted.labels, partial(self._in, wanted.labels, name))
        self._choices("Added", AGES, wanted.days, self._age)
        self._choices("Shorter side", SIZES, wanted.size, self._size)
        self._choices("Classifier’s answer", ANSWERS, wanted.answer, self._answer)
        self._choices("Split", SPLIT_CHOICES, wanted.split, self._split)
        below = menu.addMenu("Found by Review")
        for key, words in FOUND:
            self._tick(below, words, key in wanted.found, partial(self._in, wanted.found, key))
        menu.addSeparator()
        self._act(menu, "Show all", self.clear, self._no_filter())
        self._fill_saved()

    def _fill_saved(self) -> None:
        menu, kept = self._menu, dict(sorted(self._settings.saved_filters.items()))
        menu.addSeparator()
        for name, saved in kept.items():
            self._act(menu, name, partial(self._take, saved))
        if kept:
            menu.addSeparator()
        self._act(menu, "Save this filter…", self._ask, self._no_filter())
        if kept:
            below = menu.addMenu("Forget")
            for name in kept:
                self._act(below, name, partial(self._forget, name))

    def _no_filter(self) -> str:
        return "" if self._filter.chosen() or self._filter.words else "No filter is set."

    def _act(self, menu: QMenu, text: str, act: Callable[[], object], reason: str = "") -> None:
        action = QAction(text.replace("&", "&&"), menu)
        action.setEnabled(not reason)
        action.setToolTip(reason or text)
        action.triggered.connect(lambda _checked=False: act())
        menu.addAction(action)

    def _tick(self, menu: QMenu, text: str, on: bool, act: Callable[[bool], object]) -> None:
        action = QAction(text.replace("&", "&&"), menu, checkable=True, checked=on)
        action.toggled.connect(act)
        menu.addAction(action)

    def _choices(
        self, title: str, choices: Sequence[tuple[object, str]], chosen: object, choose: Callable[[Any], None]
    ) -> None:
        below = self._menu.addMenu(title)
        group = QActionGroup(below)
        for key, words in choices:
            action = QAction(words, group, checkable=True, checked=key == chosen)
            action.triggered.connect(lambda _checked=False, key=key: choose(key))
            below.addAction(action)

    # --- what is chosen

    def _in(self, names: set[Any], name: str, on: bool) -> None:
        (names.add if on else names.discard)(name)
        self.changed.emit()

    def _but(self, on: bool) -> None:
        self._filter.but = on
        self.changed.emit()

    def _age(self, days: Any) -> None:
        self._filter.days = days
        self.changed.emit()

    def _size(self, size: Any) -> None:
        self._filter.size = size
        self.changed.emit()

    def _answer(self, answer: Any) -> None:
        self._filter.answer = answer
        self.changed.emit()

    def _split(self, split: Any) -> None:
        self._filter.split = split
        self.changed.emit()

    def _take(self, other: Filter) -> None:
        self._filter.take(other)
        self.changed.emit()

    def clear(self) -> None:
        """Reset all criteria."""
        self._take(Filter())

    def _ask(self) -> None:
        parent = self._menu.parentWidget()
        dialog = QInputDialog(parent.window() if parent is not None else None)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Save this filter")
        dialog.setLabelText("Name")
        dialog.setOkButtonText("Save")
        dialog.setTextValue(suggestion(self._filter))
        dialog.textValueSelected.connect(self._save)
        dialog.resize(dialog.fontMetrics().averageCharWidth() * LONGEST, dialog.sizeHint().height())
        dialog.open()

    def _save(self, name: str) -> None:
        name = " ".join(name.split())[:LONGEST]
        if name:
            saved = self._settings.saved_filters[name] = Filter()
            saved.take(self._filter)
            self._settings.save()

    def _forget(self, name: str) -> None:
        self._settings.saved_filters.pop(name, None)
        self._settings.save()


def suggestion(wanted: Filter) -> str:
    """Return a name for a filter."""
    parts = [wanted.words.strip()] if wanted.words.strip() else []
    if wanted.labels:
        parts.append(
            ("not " if wanted.but else "") + ", ".join(map(label_name, sorted(wanted.labels, key=label_order)))
        )
    for value, choices in (
        (wanted.days, AGES),
        (wanted.size, SIZES),
        (wanted.answer, ANSWERS),
        (wanted.split, SPLIT_CHOICES),
    ):
        if value:
            parts.append(dict(choices)[value].lower())
    parts += [words.partition(":")[0].lower() for key, words in FOUND if key in wanted.found]
    return " · ".join(parts)[:LONGEST]
