"""Finding and looking closely in the real program: search, filters, status line; full size, copies, the file manager; restart."""

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QLabel

from apitorch_desktop.cli import main
from apitorch_desktop.ui.import_dialog import ImportDialog
from apitorch_desktop.ui.shortcuts import CheatSheet
from tests.end_to_end import pointer, program
from tests.end_to_end.test_whole_way import dialog

LABELS = ("dress", "hat", "pants")
EACH = 30


@pytest.fixture
def summer(photos, tmp_path, home):
    folder = tmp_path / "Summer"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        real = sorted((photos / "train" / label).iterdir())
        for n in range(EACH):
            data = real[n % len(real)].read_bytes()
            (folder / label / f"{label} {n:02}.jpg").write_bytes(data + (b"%d" % n if n >= len(real) else b""))
    return folder


def said(made):
    return made.frame.status.selection.whole()


def ready(made):
    program.wait(lambda: made.session.opened and made.session.opened.listed and made.model.total, "the photos")
    program.wait(made.photos.grid.isVisible, "the grid")
    made.photos.grid.setFocus()


def test_search_and_status_line_and_the_next_start_as_it_was_left(monkeypatch, summer):
    assert main(["import", str(summer), "--name", "Summer"]) == 0
    total = len(LABELS) * EACH
    kept = {}

    def steps(made):
        ready(made)
        grid, model = made.photos.grid, made.model
        program.wait(lambda: said(made) == f"{total} photos", "how many there are")
        pointer.key("ctrl+f")
        program.wait(made.frame.toolbar.search.hasFocus, "the focus in the search")
        pointer.write("not hat")
        program.wait(lambda: said(made) == f"{2 * EACH} of {total} photos shown", "the negative search")
        pointer.key("Return", "ctrl+a")
        program.wait(lambda: said(made).startswith(f"{2 * EACH} of {total} selected · "), "how many and how much")
        assert said(made).endswith(f"B · {2 * EACH} shown")
        grid.setCellSize(150)
        made.frame.show_side("right", False)
        program.wait(lambda: grid.width() > 1000, "the side gone")
        grid.verticalScrollBar().setValue(grid.verticalScrollBar().maximum() // 2)
        top = grid.content.rows_between(grid.top(), grid.top() + 400).start
        kept.update(image=model.image(top).image_id, y=grid.content.box(top).y - grid.top())

    def next_start(made):
        ready(made)
        grid, model = made.photos.grid, made.model
        program.wait(lambda: said(made) == f"{2 * EACH} of {total} photos shown", "what was filtered")
        assert made.frame.toolbar.search.text() == "not hat"
        assert grid.cellSize() == 150
        assert not made.frame.side_shown("right")
        program.wait(lambda: grid.top() > 0, "the place in the grid")
        row = model.row_of(kept["image"])  # also where a line holds more or fewer photos now
        assert grid.content.box(row).y - grid.top() == kept["y"]

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0


class Opened(QObject):
    """Stands where the desktop's file manager would."""

    def __init__(self):
        super().__init__()
        self.urls = []

    @Slot(QUrl)
    def open_url(self, url):
        self.urls.append(url.toLocalFile())


def test_a_photo_is_looked_at_closely_and_handed_to_other_programs(monkeypatch, summer, tmp_path):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    few = tmp_path / "Few"
    for label in LABELS[:2]:
        (few / label).mkdir(parents=True)
        for photo in sorted((summer / label).iterdir())[:3]:
            shutil.copy(photo, few / label)

    def steps(made):
        program.wait(lambda: made.session.heard, "the embedded service")
        made.importing.begin(content(few))
        plan = program.wait(lambda: dialog(ImportDialog), "the plan")
        program.wait(plan.start.isEnabled, "the look at the photos")
        program.press(plan.start)
        program.wait(lambda: made.model.total == 6, "the photos")
        ready(made)
        look_closely(made)
        copy(made)
        show_in_folder(made)
        all_keys(made)

    def look_closely(made):
        grid, big = made.photos.grid, made.photos.big
        point = pointer.centre(grid.viewport(), grid.visualRect(grid.images.index(0)))
        pointer.click(point, repeat=2)
        program.wait(big.isVisible, "full size")
        details = big.details
        program.wait(lambda: "from " in details.whole(), "where it came from")
        image = big.image()
        for fact in (f"{image.width:,} × {image.height:,}", "kB", image.label, image.image_id):
            assert fact in details.whole()
        assert str(few / image.label / image.original_filename) in details.whole()
        pointer.key("Right")
        program.wait(lambda: big.image().image_id != image.image_id, "the next one")
        pointer.key("Left", "Escape")
        program.wait(grid.isVisible, "the grid")

    def copy(made):
        grid, clipboard = made.photos.grid, QGuiApplication.clipboard()
        grid.setFocus()
        grid.choose(0)
        image = made.model.image(0)
        pointer.key("ctrl+c")
        program.wait(lambda: clipboard.mimeData().hasImage(), "the picture on the clipboard")
        assert (clipboard.image().width(), clipboard.image().height()) == (image.width, image.height)
        [url] = clipboard.mimeData().urls()
        assert Path(url.toLocalFile()).read_bytes() == (few / image.label / image.original_filename).read_bytes()
        grid.extend_to(2)
        pointer.key("ctrl+c")
        program.wait(lambda: len(clipboard.mimeData().urls()) == 3, "three files on the clipboard")
        grid.choose(1)
        pointer.key("ctrl+shift+c")
        there = few / made.model.image(1).label / made.model.image(1).original_filename
        program.wait(lambda: clipboard.text() == str(there), "the path it was imported from")

    def show_in_folder(made):
        opened = Opened()
        QDesktopServices.setUrlHandler("file", opened, "open_url")
        try:
            made.photos.grid.choose(0)
            menu = made.photos._menu(None)
            next(action for action in menu.actions() if action.text() == "Show in the file manager").trigger()
            program.wait(lambda: opened.urls == [str(few / made.model.image(0).label)], "the folder")
            menu.deleteLater()
        finally:
            QDesktopServices.unsetUrlHandler("file")

    def all_keys(made):
        pointer.key("question")
        sheet = program.wait(lambda: dialog(CheatSheet), "the page of keys")
        program.wait(sheet.isActiveWindow, "its focus")
        texts = " ".join(one.text() for one in sheet.findChildren(QLabel))
        for words in ("Undo", "Next photo whose label looks wrong", "Keeps this one", "Takes the likelier label"):
            assert words in texts
        pointer.key("Escape")
        program.wait(lambda: dialog(CheatSheet) is None, "the page closed")

    assert program.run(monkeypatch, steps) == 0


def content(*paths):
    from apitorch_desktop.ui.grid.drops import DroppedContent

    return DroppedContent(paths=paths)
