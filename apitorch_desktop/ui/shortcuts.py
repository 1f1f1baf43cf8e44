"""The window's keys, and the sheet that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QGridLayout, QVBoxLayout, QWidget

from apitorch_desktop.ui.controls import label
from apitorch_desktop.ui.grid import drops
from apitorch_desktop.ui.status_line import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apitorch_desktop.ui.assembly import Assembly
    from apitorch_desktop.ui.theme import Theme

    Bound = tuple[str, str, Callable[[], object]]
    """Keys, what they do in words, and how."""

GRID_KEYS = (
    ("Arrows", "Move the focus; with Shift, select"),
    ("Space", "Select or deselect the photo with the focus"),
    ("Return", "Show the photo full size"),
    ("1 … 9, 0", "Put what is selected under that label"),
    ("Delete", "Delete what is selected"),
    ("Ctrl+A, Ctrl+I", "Select all; select the others"),
    ("Ctrl+wheel, Ctrl+0", "Size of the thumbnails; back to the first one"),
    ("F2", "Rename a label or a training set in the tree"),
    ("Esc", "One layer back"),
)


class Keys(QObject):
    """Binds the keys. Qt leaves to a line of text what that has for itself (Ctrl+Z, letters)."""

    def __init__(self, made: Assembly, open_list: Callable[[], object]) -> None:
        super().__init__(made)
        self._made = made
        frame, importing, editing = made.frame, made.importing, made.editing
        self._keys: list[Bound] = [
            ("Ctrl+F", "Search", frame.toolbar.focus_search),
            ("Ctrl+O", "Import photos, archives or lists", importing.choose_files),
            ("Ctrl+Shift+O", "Import a folder", importing.choose_folder),
            ("Ctrl+N", "New training set", lambda: frame.tree.view.name_new(None)),
            ("Ctrl+Z", "Undo", editing.undo),
            ("Ctrl+Shift+Z, Ctrl+Y", "Redo", editing.redo),
            ("F5", "List again", made.session.refresh),
            ("F8", "Show or hide the training sets", lambda: frame.switch_side("left")),
            ("F9", "Show or hide the classify panel", lambda: frame.switch_side("right")),
            ("Ctrl+J", "Show or hide the list of transfers", open_list),
            ("?, F1", "This page", self.show_sheet),
            ("Ctrl+Q", "Quit", made.window.close),
        ]
        for sequence, _words, act in self._keys:
            for one in sequence.split(", "):
                self._bind(made.window, QKeySequence(one), Qt.ShortcutContext.WindowShortcut, act)
        within = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for part in (made.photos.grid, frame.tree.view, frame.empty):
            self._bind(part, QKeySequence(QKeySequence.StandardKey.Paste), within, self._paste)
        self._bind(made.photos.grid, QKeySequence(QKeySequence.StandardKey.Copy), within, made.photos.copy)

    def _bind(self, part: QWidget, keys: QKeySequence, context: Qt.ShortcutContext, act: Callable[[], object]) -> None:
        shortcut = QShortcut(keys, part)
        shortcut.setContext(context)
        shortcut.activated.connect(act)

    def show_sheet(self) -> None:
        """Show all keys."""
        rows = [(sequence, words) for sequence, words, _ in self._keys] + list(GRID_KEYS)
        sheet = CheatSheet(self._made.theme, rows, self._made.window)
        sheet.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        sheet.open()

    def _paste(self) -> None:
        if content := drops.read(QGuiApplication.clipboard().mimeData()):
            self._made.importing.begin(content)
        else:
            text = "There is no picture and no address on the clipboard."
            self._made.session.said.emit(Message(text, "muted"))


class CheatSheet(QDialog):
    """All keys on one page."""

    def __init__(self, theme: Theme, keys: Sequence[tuple[str, str]], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.px(24))
        grid.setVerticalSpacing(theme.px(6))
        for row, (sequence, words) in enumerate(keys):
            native = ", ".join(
                QKeySequence(one).toString(QKeySequence.SequenceFormat.NativeText) or one
                for one in sequence.split(", ")
            )
            grid.addWidget(label(native, "strong"), row, 0)
            grid.addWidget(label(words, "base", "muted"), row, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(20)] * 4)
        column.setSpacing(theme.px(12))
        column.addWidget(label("Keys", "answer"))
        column.addLayout(grid)
