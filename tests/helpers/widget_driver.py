"""Menus, choices and tables as a person uses them: with the pointer, where they are on the screen."""

import subprocess
from pathlib import Path

from PySide6.QtCore import QObject, QPersistentModelIndex, QRect, QTimer, QUrl, Slot
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QMenu, QPushButton
from shiboken6 import isValid

from apitorch_desktop.dataset.edits.model import EditStage
from apitorch_desktop.ui.compare.controller import CompareDialog
from apitorch_desktop.ui.exporter.controller import FORMATS, ExportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer


class OpenedFolders(QObject):
    """Stands where the desktop would open folders: `QDesktopServices.setUrlHandler("file", opened, "open_url")`."""

    def __init__(self):
        super().__init__()
        self.paths = []

    @Slot(QUrl)
    def open_url(self, url):
        self.paths.append(url.toLocalFile())


def popup():
    """The menu that is open."""
    shown = QApplication.activePopupWidget()
    return shown if isinstance(shown, QMenu) else None


def choose(*path):
    """Choose from the menu that opens, through its submenus: texts, or the id of an action whose text changes."""
    shown = program.wait(popup, "the menu")
    for at, words in enumerate(path):
        action = next(one for one in shown.actions() if words in (one.text(), one.objectName()))
        program.press(shown, shown.actionGeometry(action))
        if at < len(path) - 1:
            shown = action.menu()
            program.wait(shown.isVisible, f"the menu of {words}")
    program.wait(lambda: popup() is None, "the menus closed")


def choose_in_menu_bar(made, title, *path):
    """Choose from a menu of the menu bar."""
    bar = made.window.menuBar()
    action = next(one for one in bar.actions() if one.text() == title)
    program.press(bar, bar.actionGeometry(action))
    choose(*path)


def export(made, form, folder, split=None, jpeg=False, keep=False):
    """Ask for an export in the tree's menu and say how in the dialog; `split`: shares in percent, then the seed."""
    tree, model = made.central_widget.tree.view, made.central_widget.tree.model
    program.wait(made.window.isActiveWindow, "the focus in the window")
    press_cell(tree, model.index_of(model.top()[0]), button=3)
    choose("Export…")
    shown = program.wait(lambda: program.dialog(ExportDialog), "the export dialog")
    program.wait(shown.isActiveWindow, "the focus in the dialog")
    if shown.format.currentText() != FORMATS[form][0]:
        pick(shown.format, FORMATS[form][0])
    assert shown.folder.text() == (made.settings.export_folder or str(Path.home())), "the folder of the last export"
    write_into(shown.folder, str(folder))
    if jpeg:
        program.press(shown.jpeg)
    if keep:
        program.press(
            shown.keep, QRect(0, 0, shown.keep.sizeHint().width(), shown.keep.sizeHint().height())
        )  # its text
        program.wait(shown.keep.isChecked, "the split of their own")
    if split:
        program.press(shown.split)
        program.wait(lambda: shown.shares[0].isVisible(), "the shares")
        for spin, value in zip((*shown.shares, shown.seed), split, strict=True):
            write_into(spin, str(value))
    program.wait(shown.start.isEnabled, "an export that can begin")
    program.press(shown.start)
    program.wait(lambda: program.dialog(ExportDialog) is None, "the dialog closed")
    assert made.settings.export_folder == str(folder)
    made.window.activateWindow()


def compare_with(made, connection):
    """Ask to compare the open training set with those of a connection, given by its name."""
    program.wait(lambda: program.dialog(CompareDialog) is None, "the last comparison closed")
    made.window.activateWindow()
    program.wait(made.window.isActiveWindow, "the focus in the window")
    choose_in_menu_bar(made, "&Training set", "Compare…")
    shown = program.wait(lambda: program.dialog(CompareDialog), "the comparison")
    program.wait(shown.isActiveWindow, "the focus in it")
    if shown.connection.currentText() != connection:
        pick(shown.connection, connection)
    return shown


def close_dialog(shown):
    """Leave a dialog by Escape."""
    program.wait(shown.isActiveWindow, "the focus in the dialog")
    pointer.key("Escape")
    program.wait(lambda: not isValid(shown) or not shown.isVisible(), "the dialog closed")


def write_into(line, text):
    program.press(line)
    program.wait(line.hasFocus, "the focus in the line")
    pointer.key("ctrl+a")
    pointer.write(text)


def choose_in_connection_menu(made, *path):
    """Choose from the connection menu."""
    program.press(made.central_widget.toolbar.connection)
    choose(*path)


def choose_from_button(made, button, words):
    """Choose from the menu of a tool button, which waits for the choice in an event loop of its own."""
    places, clicks = [], []

    def look():
        shown = popup()
        action = shown and next((one for one in shown.actions() if one.text() == words), None)
        if action is None or clicks:
            return
        places.append(pointer.center(shown, shown.actionGeometry(action)))
        if len(places) > program.SETTLED and all(one == places[-1] for one in places[-program.SETTLED :]):
            at = places[-1]
            clicks.append(subprocess.Popen(["xdotool", "mousemove", str(at.x()), str(at.y()), "click", "1"]))

    timer = QTimer(interval=5)
    timer.timeout.connect(look)
    timer.start()
    program.press(button)
    program.wait(lambda: clicks and popup() is None, f"“{words}” chosen")
    timer.stop()
    assert clicks[0].wait(program.PATIENCE) == 0
    made.window.activateWindow()


def imports_ended(made):
    """Wait until what was imported is an edit that can be undone: its photos are seen before."""
    journal, connection = made.session.stores.edits.journal, made.session.connection.id
    program.wait(
        lambda: not made.transfers.current() and not journal.imports(connection, EditStage.BEGUN), "the import"
    )


def photos_in(folder, pattern="*.jpg"):
    """Files of finished exports; a staging folder, which has a dot in front, may go while it is read."""
    return [one for top in folder.glob("[!.]*") for one in top.rglob(pattern) if one.is_file()]


def to_grid(made):
    """Give the keyboard to the photos; no window manager does that here when a dialog closes."""
    made.window.activateWindow()
    made.photos.grid.setFocus()
    program.wait(made.photos.grid.hasFocus, "the focus in the grid")


def save_table(made, words, path):
    """Save the table of a batch as the menu offers it."""
    table = made.batch_panel
    program.press(table.save)
    choose(words)
    asked = program.wait(lambda: program.dialog(QFileDialog), "where to")
    line = asked.findChild(QLineEdit, "fileNameEdit")
    program.wait(lambda: line.hasFocus() and line.text(), "the focus in the name")
    write_path(asked, path)
    program.wait(path.exists, "the saved table")
    made.window.activateWindow()


def write_path(shown, path):
    """Name a file or folder in the file dialog that is open, and take it."""
    line = shown.findChild(QLineEdit, "fileNameEdit")

    def is_typed():
        """Type it, once more where the dialog was just reading a folder and has completed something else."""
        shown.activateWindow()
        line.setFocus()
        program.wait(lambda: shown.isActiveWindow() and line.hasFocus(), "the focus in the name")
        pointer.key("ctrl+a")
        pointer.write(str(path))
        for _ in range(200):
            program.turn()
            if line.text() == str(path):
                return True
        return False

    program.wait(is_typed, "the name")
    pointer.key("Return")
    program.wait(lambda: program.dialog(QFileDialog) is not shown, "the file dialog closed")


def answer(made, verb):
    """Press a button beside the message in the bottom line."""
    message = made.central_widget.status.message
    program.press(lambda: next((one for one in message.findChildren(QPushButton) if one.text() == verb), None))


def chip(panel, slug):
    """The button of a chosen classifier, once there is one."""
    return next((one for one in panel.findChildren(QPushButton) if one.text() == slug), None)


def pick(choice, words):
    """Pick an entry of a combo box."""
    program.press(choice)
    view = choice.view()
    program.wait(view.isVisible, "the entries")
    program.press(view.viewport(), view.visualRect(choice.model().index(choice.findText(words), 0)))
    program.wait(lambda: choice.currentText() == words and not view.isVisible(), f"“{words}” picked")


def press_cell(table, index, **how):
    """Click a cell of a table; `button` and `repeat` as `pointer.click` has them."""
    table.scrollTo(index)
    kept = QPersistentModelIndex(index)  # rows may still come and go
    program.press(table.viewport(), lambda: table.visualRect(kept), **how)


def press_header(table, column, part=0.5):
    """Click the head of a column, at a part of its width: two clicks at one place may be a double-click."""
    header = table.header()

    def place():
        x = header.sectionViewportPosition(column) + round(part * header.sectionSize(column))
        return QRect(x - 1, 0, 3, header.height())

    program.press(header.viewport(), place)


def tick(table, index):
    """Click the box of a cell."""
    table.scrollTo(index)
    program.turn()
    cell = table.visualRect(index)
    program.press(table.viewport(), QRect(cell.left(), cell.top(), 2 * TICK, cell.height()))


TICK = 14
"""Pixels from the edge of a cell to the middle of its box."""
