"""Page shown while there are no photos: a sentence with an explanation and actions."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ProgressBar, button, enable_unless, label, surface
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout


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
        self._sample.setProperty("tip", "A few dozen zebra coats, so that there is something to try")
        self._lay_out()
        theme.changed.connect(self._measure)
        self._measure()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setSpacing(8)
        column.addStretch(4)
        column.addWidget(self._icon)
        column.addSpacing(4)
        column.addWidget(self._title)
        centered = QHBoxLayout()  # an alignment would cut the height of the wrapped text
        centered.addStretch(1)
        centered.addWidget(self._text, 100)
        centered.addStretch(1)
        column.addLayout(centered)
        column.addSpacing(12)
        self._actions = QWidget()
        row = FlowLayout(self._actions, 8, centered=True)
        for control in (self._import, self._new, self._sample, self._again):
            row.addWidget(control)
        column.addWidget(self._actions)
        column.addWidget(self._meter, 0, Qt.AlignmentFlag.AlignHCenter)
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

    def show_empty_set(self, name: str) -> None:
        """Show that the open training set has no photos."""
        self._show_page(
            f"“{name}” has no photos yet",
            "Drop photos or a folder here. Drop them on a label at the left to put them under it.",
            [self._import],
        )
        enable_unless(self._import, "")

    def show_choice(self) -> None:
        """Show that no training set is open."""
        self._show_page("Choose a training set at the left", "Or drop a folder of photos here to make a new one.")

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
