"""Actions of the whole window with their keys, and the sheet that lists all keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid

from apitorch_desktop.ui.actions import DELETE_KEYS, ActionRegistry, ActionSpec
from apitorch_desktop.ui.compare.controller import CompareController
from apitorch_desktop.ui.exporter.controller import ONNX, ExportController
from apitorch_desktop.ui.importer.controller import ImportController
from apitorch_desktop.ui.labeling.controller import LabelingController
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.main_window.main_window import MainWindow
from apitorch_desktop.ui.photo_board.page import key_rows
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.panel import PAGES, SECTION
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.sidebar.model import RowType, TreeModel, TreeNode
from apitorch_desktop.ui.sidebar.panel import TreeView
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import in_column, label, native_keys, surface
from apitorch_desktop.ui.widgets.label_menu import menus_of

WIDGET_KEYS = {
    "Photos": (
        ("Arrows", "Move the focus; with Shift, select"),
        ("Space", "Select or deselect the photo with the focus"),
        ("1 … 9, 0", "Put what is selected under that label; right click on one below to change it"),
        ("A … Z", "Type a label’s first letters to pick or make it"),
        ("Ctrl+wheel", "Size of the thumbnails"),
        ("Esc", "Deselect, or go one step back"),
    ),
    "Full size": (
        ("Left, Right", "The photo before, the next one"),
        ("Return", "The whole photo, or pixel for pixel"),
        ("Plus, Minus, wheel", "Zoom in, zoom out"),
        ("Shift+arrows", "Pan; so does the mouse"),
        ("1 … 9, 0, A … Z", "Labels, as in the grid"),
    ),
    "Table of answers": (
        ("1 … 9, 0, A … Z", "Add what is selected to that label of the open training set"),
        ("Esc", "Back to the photos"),
    ),
    "Camera": (
        ("1 … 9, 0", "Take a photo into that label; held, several, which Undo takes back together"),
        ("A … Z", "Type a label’s first letters to take a photo into it"),
        ("Space", "Take a photo without a label"),
        ("Esc", "Back to the photos"),
    ),
    "Map": (
        ("Drag, Ctrl+drag", "Select with the lasso; add to what is selected"),
        ("Right drag, arrows", "Move"),
        ("Wheel, +, −, Home", "Zoom; show all"),
        ("1 … 9, 0, A … Z", "As among the photos"),
    ),
    "Tree": (("Return", "Open the row"),),
}
"""Keys that widgets handle themselves, by section of the sheet."""


MENUS = {
    "&File": (
        "file.import_folder", "file.import_files", "file.import_clipboard", "file.import_addresses", "file.import_camera",
        "", "file.new_set", "file.new_from_folder", "file.new_from_files", "file.new_from_clipboard", "file.new_from_addresses",
        "", "file.open_recent", "",
        "photo.export", "", "file.quit",
    ),
    "&Edit": (
        "edit.undo", "edit.redo", "", "photo.copy", "photo.copy_paths", "edit.paste", "",
        "photo.select_all", "photo.invert", "photo.split", "photo.copy_to_set", "photo.unlabel", "photo.delete", "",
        "view.search", "", "edit.preferences",
    ),
    "&View": (
        "photo.open", "photo.show_in_file_manager", "", "view.zoom_in", "view.zoom_out", "view.zoom_reset", "view.actual_size",
        "", "view.training_sets", "view.classify_panel", "view.transfers",
        "view.menu_bar", "", "view.refresh",
    ),
    "&Training set": (
        "set.page", "set.map", "", "set.new_label", "set.rename", "label.rename", "label.delete", "",
        "label.accept_proposals", "label.next_suspect", "label.previous_suspect", "label.auto_advance", "",
        "set.export", "set.export_classifier", "set.compare", "", "set.delete",
    ),
    "&Classifier": (
        "classifier.classify_file", "photo.classify_with", "batch.add_each", "classifier.watch", "",
        "photo.find_similar", "photo.find_similar_everywhere", "photo.evidence", "", "classifier.versions",
    ),
    "&Help": ("help.documentation", "help.keys", "help.palette", "", "help.whats_new", "help.about"),
}  # fmt: skip
"""Menus of the menu bar: title → ids of actions, "" for a separator."""


class MenuBar(QObject):
    """Menu bar of the window, made from the registry. The user can hide it; Alt then shows it until it is left."""

    def __init__(self, registry: ActionRegistry, window: MainWindow, settings: Settings) -> None:
        super().__init__(window)
        self._settings = settings
        self._before: QWidget | None = None
        """Widget that had the focus before Alt."""
        self._bar = window.menuBar()
        self._bar.setAccessibleName("Menus")
        for title, action_ids in MENUS.items():
            menu = self._bar.addMenu(title)
            registry.fill(menu, *action_ids)
            menu.aboutToHide.connect(self._hide_when_left)
        self._bar.installEventFilter(self)
        window.alt_pressed.connect(self._summon)

    def toggle(self) -> None:
        """Show or hide the menu bar."""
        self._settings.menu_bar_shown = not self._settings.menu_bar_shown
        self._settings.save()
        self._bar.setVisible(self._settings.menu_bar_shown)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hide the menu bar that Alt has shown once it loses the focus, and by Escape or Alt."""
        escape = isinstance(event, QKeyEvent) and event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Alt)
        if event.type() == QEvent.Type.FocusOut or (event.type() == QEvent.Type.KeyPress and escape):
            self._hide_when_left()
        return False

    def _summon(self) -> None:
        if not self._bar.isVisible():
            self._before = QApplication.focusWidget()
            self._bar.show()
            self._bar.setFocus(Qt.FocusReason.MenuBarFocusReason)
            self._bar.setActiveAction(self._bar.actions()[0])

    def _hide_when_left(self) -> None:
        QTimer.singleShot(0, self, self._hide_if_left)

    def _hide_if_left(self) -> None:
        if self._settings.menu_bar_shown or QApplication.activePopupWidget() is not None:
            return
        if self._bar.hasFocus() and self._before is not None and isValid(self._before):
            self._before.setFocus(Qt.FocusReason.MenuBarFocusReason)
        self._bar.hide()


def add_set_actions(
    registry: ActionRegistry,
    session: Session,
    tree: TreeView,
    model: TreeModel,
    edits: EditController,
    exports: ExportController,
    comparisons: CompareController,
    show_page: Callable[[], object],
) -> None:
    """Add the actions of the open training set."""

    def is_row(row_type: RowType) -> Callable[[], bool]:
        return lambda: (row := tree.row()) is not None and row.row_type is row_type

    def node() -> TreeNode | None:
        row = tree.menu_row() or (tree.row() if tree.hasFocus() and is_row(RowType.TRAINING_SET)() else None)
        if row is not None:
            return row.parent if row.row_type is RowType.LABEL else row
        return model.find(session.open_set.training_set.id) if session.open_set is not None else None

    def label_row() -> TreeNode | None:
        row = tree.row()
        return row if row is not None and row.row_type is RowType.LABEL else None

    def reason(extension: str, found: Callable[[], TreeNode | None], missing: str) -> Callable[[], str]:
        return lambda: session.unavailable_reason(extension) if found() is not None else missing

    def of_set(extension: str) -> Callable[[], str]:
        return reason(extension, node, "No training set is open.")

    def of_label() -> Callable[[], str]:
        return reason("", label_row, "Choose a label in the tree first.")

    def no_name() -> str:
        row = label_row()
        return "Photos without a label have no name to change." if row is not None and row.is_inbox else of_label()()

    def on(found: Callable[[], TreeNode | None], act: Callable[[TreeNode], object]) -> Callable[[], None]:
        def run() -> None:
            if (row := found()) is not None:
                act(row)

        return run

    def no_classifier() -> str:
        row = node()
        missing = of_set("export.onnx")()
        return missing or (exports.no_classifier(row.training_set) if row is not None and row.training_set else "")

    registry.add(
        ActionSpec(
            "set.page", "Training set’s page", show_page, "Ctrl+I",
            "Figures, labels and actions of the training set; choosing its row again does the same", reason=of_set(""),
        ),
        ActionSpec(
            "set.export_classifier", "Export the classifier…", on(node, lambda row: exports.ask(row.set_id, ONNX)),
            reason=no_classifier,
        ),
        ActionSpec("set.new_label", "New label…", on(node, tree.start_naming), reason=of_set("labels"), icon="tag"),
        ActionSpec(
            "set.rename", "Rename…", on(node, tree.rename), "F2", "Rename a training set", "Tree",
            reason=of_set("training-sets"), within=(tree,), applies=is_row(RowType.TRAINING_SET), icon="pencil",
        ),
        ActionSpec("set.export", "Export…", on(node, lambda row: exports.ask(row.set_id)), reason=of_set("")),
        ActionSpec("set.compare", "Compare…", on(node, lambda row: comparisons.open(row.set_id)), reason=of_set("")),
        ActionSpec(
            "set.delete", "Delete training set", on(node, tree.delete), DELETE_KEYS, "Delete a training set", "Tree",
            reason=of_set("training-sets"), within=(tree,), applies=is_row(RowType.TRAINING_SET), icon="trash",
        ),
        ActionSpec(
            "label.rename", "Rename label…", on(label_row, tree.rename), "F2", "Rename a label", "Tree",
            reason=no_name, within=(tree,), applies=is_row(RowType.LABEL), icon="pencil",
        ),
        ActionSpec(
            "label.delete", "Delete label with its photos", on(label_row, tree.delete), DELETE_KEYS, "Delete a label", "Tree",
            reason=of_label(), within=(tree,), applies=is_row(RowType.LABEL), icon="trash",
        ),
    )  # fmt: skip

    def fill(menu: QMenu, row: TreeNode | None) -> None:
        if row is not None and row.row_type is RowType.LABEL:
            registry.fill(menu, "label.rename")
            if not row.is_inbox:
                _add_merge(menu, row, session.unavailable_reason(""), edits)
            registry.fill(menu, "label.delete", "")
        if row is not None and (row if row.row_type is RowType.TRAINING_SET else row.parent) is not None:
            registry.fill(menu, "set.new_label")
        if row is not None and row.row_type is RowType.TRAINING_SET:
            registry.fill(menu, "set.rename", "set.export", "set.compare", "", "set.delete", "")
        registry.fill(menu, "file.new_set")

    tree.fill_menu = fill


def _add_merge(menu: QMenu, row: TreeNode, reason: str, edits: EditController) -> None:
    """Add the menu of the labels that a label can be merged into."""
    set_row = row.parent
    assert set_row is not None  # noqa: S101 - a label's row is below its training set's
    labels = [other for other in set_row.children if other.row_type is RowType.LABEL and not other.is_inbox]
    others = [other.key for other in labels if other is not row]
    reason = reason or ("" if others else "There is no other label.")
    into = menu.addMenu("Merge into")
    into.menuAction().setEnabled(not reason)
    into.menuAction().setToolTip(reason)
    for below, name in menus_of(into, others):
        action = below.addAction(name.replace("&", "&&"))
        action.triggered.connect(lambda _checked=False, name=name: edits.merge_labels(row.set_id, row.key, name))


def add_window_actions(
    registry: ActionRegistry,
    window: QWidget,
    central_widget: CentralWidget,
    session: Session,
    photos: PhotosController,
    edits: EditController,
    imports: ImportController,
    labeling: LabelingController,
    theme: Theme,
    show_transfers: Callable[[], object],
) -> None:
    """Add the actions of the whole window. Qt leaves to a text field the keys it uses itself (Ctrl+Z, letters)."""

    def show_keys() -> None:
        sections = registry.key_sections()
        sections.pop(SECTION, None)
        review = {
            f"Review: {page.title.lower()}": [
                (keys, words[:1].upper() + words[1:]) for keys, words in key_rows(page.keys, registry.keys)
            ]
            for page in PAGES.values()
        }
        blocks = [
            *({title: [*WIDGET_KEYS.get(title, ()), *rows]} for title, rows in sections.items()),
            review,
            *({title: list(rows)} for title, rows in WIDGET_KEYS.items() if title not in sections),
        ]
        sheet = CheatSheet(theme, blocks, window)
        sheet.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        sheet.open()

    def show_palette() -> None:
        from apitorch_desktop.ui.actions import CommandPalette

        palette = CommandPalette(registry, theme, window)
        palette.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        palette.open()
        palette.line.setFocus()

    def no_new_set() -> str:
        return session.unavailable_reason("training-sets")

    def no_set() -> str:
        return "" if session.open_set is not None else "No training set is open."

    tree = central_widget.tree.view
    registry.add(
        ActionSpec("view.search", "Search", central_widget.toolbar.focus_search, "Ctrl+F", "Search", icon="search"),
        ActionSpec(
            "file.import_files", "Import files…", imports.choose_files, "Ctrl+O", "Import photos, archives or lists",
            icon="image",
        ),
        ActionSpec(
            "file.import_folder", "Import a folder…", imports.choose_folder, "Ctrl+Shift+O", "Import a folder",
            icon="folder",
        ),
        ActionSpec("file.import_clipboard", "Import from the clipboard", imports.paste, icon="paste"),
        ActionSpec("file.import_addresses", "Import from addresses…", imports.ask_addresses, icon="link"),
        ActionSpec(
            "file.new_from_folder", "New training set from a folder…", lambda: imports.choose_folder(new_set=True),
            reason=no_new_set,
        ),
        ActionSpec(
            "file.new_from_files", "New training set from files…", lambda: imports.choose_files(new_set=True),
            reason=no_new_set,
        ),
        ActionSpec(
            "file.new_from_clipboard", "New training set from the clipboard", lambda: imports.paste(new_set=True),
            reason=no_new_set,
        ),
        ActionSpec(
            "file.new_from_addresses", "New training set from addresses…", lambda: imports.ask_addresses(new_set=True),
            reason=no_new_set,
        ),
        ActionSpec(
            "file.new_set", "New training set…", lambda: tree.start_naming(None), "Ctrl+N", "New training set",
            icon="plus",
        ),
        ActionSpec(
            "edit.undo", edits.undo_text, edits.undo, "Ctrl+Z", "Undo the last change of the open training set",
            reason=edits.no_undo, looks_again=True, icon="undo",
        ),
        ActionSpec(
            "edit.redo", edits.redo_text, edits.redo, "Ctrl+Shift+Z, Ctrl+Y", "Redo what was undone",
            reason=edits.no_redo, looks_again=True, icon="redo",
        ),
        ActionSpec("view.refresh", "Refresh", session.refresh, "F5", "Refresh", icon="retry"),
        ActionSpec(
            "view.training_sets", "Training sets", lambda: central_widget.switch_side("left"), "F8",
            "Show or hide the training sets", checked=lambda: central_widget.side_shown("left"), icon="panel-left",
        ),
        ActionSpec(
            "view.classify_panel", "Classify panel", lambda: central_widget.switch_side("right"), "F9",
            "Show or hide the classify panel", checked=lambda: central_widget.side_shown("right"), icon="panel-right",
        ),
        ActionSpec(
            "view.transfers", "Transfers", show_transfers, "Ctrl+J", "Show or hide the list of transfers",
        ),
        ActionSpec(
            "label.next_suspect", "Next suspect", lambda: labeling.next_suspect(1), "F3",
            "Next photo whose label looks wrong", reason=no_set, icon="flag",
        ),
        ActionSpec(
            "label.previous_suspect", "Previous suspect", lambda: labeling.next_suspect(-1), "Shift+F3",
            "The one before", reason=no_set,
        ),
        ActionSpec(
            "label.accept_proposals", "Accept proposals…", labeling.ask_proposals, "Ctrl+Shift+L",
            "Label the photos without a label as the classifier proposes", reason=labeling.no_proposals,
        ),
        ActionSpec(
            "label.auto_advance", "Auto-advance", labeling.switch_advance, "F4",
            "Go to the next photo after labeling, or stay", checked=lambda: labeling.advance,
        ),
        ActionSpec(
            "help.palette", "Find an action…", show_palette, "Ctrl+Shift+P", "Find an action by a few letters",
            icon="search",
        ),
        ActionSpec("help.keys", "Keys", show_keys, "?, F1", "This page", icon="key"),
        ActionSpec("file.quit", "Quit", window.close, "Ctrl+Q", "Quit"),
        ActionSpec(
            "edit.paste", "Paste", imports.paste, "Ctrl+V", "Import photos, files and addresses from the clipboard",
            "Photos", within=(photos.grid, tree, central_widget.empty, central_widget.toolbar, central_widget.status),
            icon="paste",
        ),
    )  # fmt: skip


class CheatSheet(QDialog):
    """All keys on one page, in two columns. Sections (title → keys with what they do) of one of `blocks` stay together."""

    def __init__(
        self, theme: Theme, blocks: Sequence[Mapping[str, Sequence[tuple[str, str]]]], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setWindowTitle("Keys")
        px = theme.px
        columns = QHBoxLayout()
        columns.setSpacing(px(32))
        sides, used = (QVBoxLayout(), QVBoxLayout()), [0, 0]
        for block in blocks:
            shorter = int(used[1] < used[0])
            for title, rows in block.items():
                self._add(sides[shorter], title, rows)
                used[shorter] += len(rows) + 2
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
        in_column(area, on=self, margins=0)
        room = parent.size()
        self.resize(min(px(980), room.width() - px(24)), min(px(680), room.height() - px(24)))

    def _add(self, side: QVBoxLayout, title: str, rows: Sequence[tuple[str, str]]) -> None:
        px = self._theme.px
        grid = QGridLayout()
        grid.setHorizontalSpacing(px(16))
        grid.setVerticalSpacing(px(4))
        grid.setContentsMargins(0, px(2), 0, px(12))
        grid.setColumnMinimumWidth(0, px(140))  # for the longest, so that all sections align
        grid.setColumnStretch(1, 1)
        grid.addWidget(label(title, "heading", "muted"), 0, 0, 1, 2)
        for row, (sequence, words) in enumerate(rows, 1):
            grid.addWidget(label(native_keys(sequence), "strong", wrap=True), row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label(words, "base", "muted", wrap=True), row, 1)
        side.addLayout(grid)
