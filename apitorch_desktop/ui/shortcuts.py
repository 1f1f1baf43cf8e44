"""The window's keys, and the sheet that lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from apitorch_desktop.ui.importer.controller import ImportController
from apitorch_desktop.ui.labeling.controller import LabelingController
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.panel import PAGES
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.controls import label, surface

Bound = tuple[str, str, Callable[[], object]]
"""Keys, what they do in words, and how."""

PHOTOS = (
    ("Arrows", "Move the focus; with Shift, select"),
    ("Space", "Select or deselect the photo with the focus"),
    ("1 … 9, 0", "Put what is selected under that label; right click on one below to change it"),
    ("A … Z", "Type a label’s first letters to pick or make it"),
    ("Delete", "Delete what is selected; Undo brings it back"),
    ("Ctrl+A, Ctrl+I", "Select all; select the others"),
    ("Ctrl+C, Ctrl+Shift+C", "Copy the photos; copy their paths"),
    ("Ctrl+V", "Import pictures, files and addresses from the clipboard"),
    ("Ctrl+wheel, Ctrl+0", "Size of the thumbnails; back to the first one"),
    ("Return", "Show the photo full size"),
    ("Esc", "Deselect; one layer back"),
)
FULL_SIZE = (
    ("Left, Right", "The photo before, the next one"),
    ("Return, Ctrl+0, Ctrl+1", "Fit or pixel for pixel; fit; pixel for pixel"),
    ("Plus, Minus, wheel", "Nearer, further"),
    ("Shift+arrows", "Pan; so does the mouse"),
    ("1 … 9, 0, A … Z", "Labels, as among the photos"),
)
TREE = (
    ("F2", "Rename a label or a training set"),
    ("Delete", "Delete it; Undo brings it back"),
    ("Return", "Open it"),
)


class Shortcuts(QObject):
    """Binds the keys. Qt leaves to a line of text what that has for itself (Ctrl+Z, letters)."""

    def __init__(
        self,
        window: QWidget,
        frame: CentralWidget,
        session: Session,
        photos: PhotosController,
        edits: EditController,
        imports: ImportController,
        labeling: LabelingController,
        theme: Theme,
        open_list: Callable[[], object],
    ) -> None:
        super().__init__(window)
        self._window = window
        self._session = session
        self._imports = imports
        self._theme = theme
        self._keys: list[Bound] = [
            ("Ctrl+F", "Search", frame.toolbar.focus_search),
            ("Ctrl+O", "Import photos, archives or lists", imports.choose_files),
            ("Ctrl+Shift+O", "Import a folder", imports.choose_folder),
            ("Ctrl+N", "New training set", lambda: frame.tree.view.start_naming(None)),
            ("Ctrl+Z", "Undo", edits.undo),
            ("Ctrl+Shift+Z, Ctrl+Y", "Redo", edits.redo),
            ("F5", "List again", session.refresh),
            ("F8", "Show or hide the training sets", lambda: frame.switch_side("left")),
            ("F9", "Show or hide the classify panel", lambda: frame.switch_side("right")),
            ("Ctrl+J", "Show or hide the list of transfers", open_list),
            ("F3", "Next photo whose label looks wrong", lambda: labeling.next_suspect(1)),
            ("Shift+F3", "The one before", lambda: labeling.next_suspect(-1)),
            ("F4", "Go on to the next photo after labelling, or stay", labeling.switch_advance),
            ("?, F1", "This page", self.show_sheet),
            ("Ctrl+Q", "Quit", window.close),
        ]
        for sequence, _words, act in self._keys:
            for one in sequence.split(", "):
                self._bind(window, QKeySequence(one), Qt.ShortcutContext.WindowShortcut, act)
        within = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for part in (photos.grid, frame.tree.view, frame.empty):
            self._bind(part, QKeySequence(QKeySequence.StandardKey.Paste), within, self._paste)
        for shown in (photos.grid, photos.big):
            self._bind(shown, QKeySequence(QKeySequence.StandardKey.Copy), within, photos.copy)
            self._bind(shown, QKeySequence("Ctrl+Shift+C"), within, photos.copy_paths)

    def _bind(self, part: QWidget, keys: QKeySequence, context: Qt.ShortcutContext, act: Callable[[], object]) -> None:
        shortcut = QShortcut(keys, part)
        shortcut.setContext(context)
        shortcut.activated.connect(act)

    def show_sheet(self) -> None:
        """Show all keys."""
        pages = [(f"Review: {page.title.lower()}", _pairs(page.keys)) for page in PAGES.values()]
        bound = [(sequence, words) for sequence, words, _ in self._keys]
        sections = [("Everywhere", bound), ("Photos", PHOTOS), ("Full size", FULL_SIZE), ("Tree", TREE), *pages]
        sheet = CheatSheet(self._theme, sections, self._window)
        sheet.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        sheet.open()

    def _paste(self) -> None:
        if content := drag_drop.read(QGuiApplication.clipboard().mimeData()):
            self._imports.begin(content)
        else:
            text = "There is no picture and no address on the clipboard."
            self._session.show_message(text, "muted")


class CheatSheet(QDialog):
    """All keys on one page, in two columns."""

    def __init__(
        self, theme: Theme, sections: Sequence[tuple[str, Sequence[tuple[str, str]]]], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setWindowTitle("Keys")
        px = theme.px
        columns = QHBoxLayout()
        columns.setSpacing(px(32))
        half, used = sum(len(rows) + 2 for _, rows in sections) / 2, 0
        sides = [QVBoxLayout(), QVBoxLayout()]
        for title, rows in sections:
            self._add(sides[used + len(rows) / 2 > half], title, rows)
            used += len(rows) + 2
        for side in sides:
            side.addStretch(1)
            columns.addLayout(side, 1)
        inside = surface(QWidget(), "canvas")
        inside.setLayout(columns)
        columns.setContentsMargins(*[px(20)] * 4)
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setAccessibleName("Keys")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(area)
        room = parent.size()
        self.resize(min(px(980), room.width() - px(24)), min(px(680), room.height() - px(24)))

    def _add(self, side: QVBoxLayout, title: str, rows: Sequence[tuple[str, str]]) -> None:
        px = self._theme.px
        grid = QGridLayout()
        grid.setHorizontalSpacing(px(16))
        grid.setVerticalSpacing(px(4))
        grid.setContentsMargins(0, px(2), 0, px(12))
        grid.setColumnMinimumWidth(0, px(120))
        grid.setColumnStretch(1, 1)
        grid.addWidget(label(title, "heading", "muted"), 0, 0, 1, 2)
        for row, (sequence, words) in enumerate(rows, 1):
            native = ", ".join(
                QKeySequence(one).toString(QKeySequence.SequenceFormat.NativeText) or one
                for one in sequence.split(", ")
            )
            grid.addWidget(label(native, "strong", wrap=True), row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label(words, "base", "muted", wrap=True), row, 1)
        side.addLayout(grid)


def _pairs(keys: str) -> list[tuple[str, str]]:
    """`K keeps this one · A or Return takes it` as keys and words."""
    pairs = []
    for part in keys.split(" · "):
        key, colon, words = part.partition(": ")
        if not colon:
            names = part.split(" ")
            count = 3 if names[1:2] == ["or"] else 1
            key, words = " ".join(names[:count]), " ".join(names[count:])
        pairs.append((key.replace(" or ", ", "), words[:1].upper() + words[1:]))
    return pairs
