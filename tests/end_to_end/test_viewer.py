"""Looking closely in the real program: full size by key and mouse, details, copies, drags to other programs, the file manager."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QApplication, QMenu

from apitorch_desktop.cli.main import main
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.widget_driver import OpenedFolders

HELPERS = Path(__file__).parents[1] / "helpers"
CORNER = QPoint(1390, 790)


@pytest.fixture
def few(photos, tmp_path, home):
    """A training set of five photos in the embedded service, one of them larger than any window."""
    folder = tmp_path / "Few"
    for label in ("dress", "hat"):
        (folder / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[:2]:
            shutil.copy(photo, folder / label)
    assert main(["import", str(folder), "--name", "Few"]) == 0
    with Image.open(min((photos / "train" / "dress").iterdir())) as photo:
        written = Image.Exif()
        written.update({0x010F: "Canon", 0x0110: "Canon EOS 5D"})
        written.get_ifd(0x8769).update({0x9003: "2021:05:03 14:03:07", 0x829D: 1.8})
        photo.convert("RGB").transpose(Image.Transpose.ROTATE_180).resize((2400, 3200)).save(
            folder / "dress" / "zz.jpg", exif=written
        )
    assert main(["import", str(folder), "--name", "Few"]) == 0  # once more: the large one comes last under its label
    return folder


@contextmanager
def listening(*command):
    """Another program; what it prints, line by line, as it comes."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, start_new_session=True, **quiet) as process:
        lines = []
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
        reader.start()
        try:
            yield lines
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # with all that it started
            reader.join()


@pytest.fixture
def file_manager(monkeypatch):
    """A file manager on a session bus of its own; the addresses it was asked to show."""
    if not shutil.which("dbus-run-session"):
        pytest.skip("dbus-run-session is missing")
    with listening("dbus-run-session", "--", sys.executable, str(HELPERS / "file_manager.py")) as lines:
        program.wait(lambda: lines, "the file manager")
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", lines[0].strip())
        yield lambda: [json.loads(line) for line in lines[1:]]


def ready(made):
    program.wait(lambda: made.model.total == 5 and made.session.open_set.listed, "the photos")
    program.wait(made.photos.grid.isVisible, "the grid")
    made.photos.grid.setFocus()
    program.wait(made.photos.grid.hasFocus, "the focus in the grid")


def source(few, image):
    return few / image.label / image.original_filename


def choose_in_menu(made, place, words):
    """Choose from the menu of a right click, with the pointer."""
    pointer.click(place, button=3)

    def menu():
        shown = QApplication.activePopupWidget()
        return shown if isinstance(shown, QMenu) else None

    shown = program.wait(menu, "the menu")
    action = next(one for one in shown.actions() if one.text() == words)
    program.press(shown, shown.actionGeometry(action))
    program.wait(lambda: QApplication.activePopupWidget() is None, "the menu closed")


@pytest.mark.action("photo.copy", "photo.copy_paths", "photo.show_in_file_manager")
def test_a_photo_is_looked_at_closely_labelled_there_and_handed_to_other_programs(monkeypatch, few, file_manager):
    def steps(made):
        ready(made)
        grid, big, model = made.photos.grid, made.photos.big, made.model
        grid.choose(0)
        pointer.key("Return")
        program.wait(big.isVisible, "full size by key")
        told(made)
        there_and_back(big, model)
        zoom_and_pan(big)
        label_there(made)
        copy(made)
        drag_out(made)
        choose_in_menu(made, pointer.center(big.canvas), "Show in file manager")
        shown = [[QUrl.fromLocalFile(str(source(few, big.image()))).toString()]]
        program.wait(lambda: file_manager() == shown, "what the file manager was asked for")
        delete_there(made)
        last = big.image().image_id
        pointer.key("Escape")
        program.wait(grid.hasFocus, "the grid")
        assert model.image(grid.currentIndex().row()).image_id == last
        pointer.click(pointer.center(grid.viewport(), grid.visualRect(model.index(1, 0))), repeat=2)
        program.wait(big.isVisible, "full size by double click")
        assert big.image() is model.image(1)

    def told(made):
        big = made.photos.big
        image = big.image()
        program.wait(
            lambda: made.central_widget.status.selection.text() == "Photo 1 of 5", "its place in the bottom line"
        )
        program.wait(lambda: "from " in big.origin.full_text(), "where it came from")
        for fact in (f"{image.width:,} × {image.height:,}", "kB", image.created_at[2:4], "dress"):
            assert fact in big.details.text()
        assert big.id.text() == image.image_id
        assert big.origin.full_text() == f"from {source(few, image)}"

    def there_and_back(big, model):
        pointer.key("Right")
        program.wait(lambda: big.image() is model.image(1), "the next one")
        pointer.key("Left", "Left")
        program.wait(lambda: big.image() is model.image(0), "the first; nothing is before it")
        assert not big.previous.isEnabled()
        pointer.key("Right", "Right")
        program.wait(lambda: big.image().original_filename == "zz.jpg", "the large one")

    def zoom_and_pan(big):
        canvas = big.canvas
        program.wait(lambda: big._photos.get(big.image().image_id) is not None, "the photo itself")
        program.wait(lambda: "Canon EOS 5D · f/1.8" in big.camera.full_text(), "what the camera wrote")
        assert big.camera.full_text().startswith("taken ")
        assert "14:03" in big.camera.full_text()
        assert canvas.fitted
        assert canvas.zoom() < 0.5
        assert canvas.cursor().shape() == Qt.CursorShape.ArrowCursor
        pointer.key("ctrl+1")
        program.wait(lambda: canvas.zoom() == 1, "pixel for pixel")
        middle, center = canvas._target(), pointer.center(canvas)
        pointer.xdotool(
            "mousemove", center.x(), center.y(), "mousedown", 1, "mousemove", center.x() - 90, center.y() - 60
        )
        program.wait(lambda: canvas.cursor().shape() == Qt.CursorShape.ClosedHandCursor, "the hand closed")
        pointer.xdotool("mouseup", 1)
        moved = canvas._target()
        assert (round(moved.x() - middle.x()), round(moved.y() - middle.y())) == (-90, -60)
        pointer.key("shift+Left")
        program.wait(lambda: canvas._target().x() > moved.x(), "panned by key")
        pointer.xdotool("click", 4)
        program.wait(lambda: canvas.zoom() > 1.2, "nearer by the wheel")
        pointer.key("ctrl+0")
        program.wait(lambda: canvas.fitted, "the whole photo")
        program.press(big.actual)
        program.wait(lambda: canvas.zoom() == 1, "pixel for pixel by button")
        program.press(big.fit)
        program.wait(lambda: canvas.fitted, "the whole photo by button")
        pointer.click(pointer.center(canvas), repeat=2)
        program.wait(lambda: canvas.zoom() == 1, "pixel for pixel by double click")
        big.setFocus()
        pointer.key("Return")
        program.wait(lambda: canvas.fitted, "the whole photo by key")

    def label_there(made):
        big, image = made.photos.big, made.photos.big.image()
        pointer.key("2")
        program.wait(lambda: made.model.label_of(image.image_id) == "hat", "the label by its key")
        program.wait(lambda: big.details.full_text().startswith("hat · "), "the label in the details")
        assert big.image().image_id == image.image_id
        pointer.write("dr")
        program.wait(made.labeling.picker.isVisible, "the picker")
        pointer.key("Return")
        program.wait(lambda: made.model.label_of(image.image_id) == "dress", "the label by its letters")
        program.wait(big.hasFocus, "the focus back")
        stores, connection = made.session.stores, made.session.connection
        program.wait(
            lambda: len(stores.edits.journal.rows(connection.id)) == 4, "both in the journal, after the imports"
        )
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.label_of(image.image_id) == "hat", "the letters undone")
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.label_of(image.image_id) == "dress", "the key undone")

    def copy(made):
        image, clipboard = made.photos.big.image(), QGuiApplication.clipboard()
        pointer.key("ctrl+c")
        program.wait(lambda: clipboard.mimeData().hasImage(), "the picture on the clipboard")
        assert (clipboard.image().width(), clipboard.image().height()) == (2400, 3200)
        [url] = clipboard.mimeData().urls()
        assert Path(url.toLocalFile()).read_bytes() == source(few, image).read_bytes()
        pointer.key("ctrl+shift+c")
        program.wait(lambda: clipboard.text() == str(source(few, image)), "the path it was imported from")

    def drag_out(made):
        big = made.photos.big
        size = source(few, big.image()).stat().st_size
        command = (
            sys.executable,
            str(HELPERS / "drop_target.py"),
            str(CORNER.x()),
            str(CORNER.y()),
        )
        with listening(*command) as lines:
            program.wait(lambda: "ready\n" in lines, "the other program")
            start, end = pointer.center(big.canvas), CORNER + QPoint(100, 100)
            steps = ["mousemove", start.x(), start.y(), "mousedown", 1, "sleep", 0.1]
            for part in (0.1, 0.4, 0.7, 0.9, 1.0):
                at = start + (end - start) * part
                steps += ["mousemove", at.x(), at.y(), "sleep", 0.1]
            pointer.xdotool(*steps, "sleep", 0.5, "mouseup", 1)
            dropped = program.wait(lambda: next((one for one in lines if one.startswith("dropped")), ""), "the drop")
            assert json.loads(dropped.removeprefix("dropped ")) == {"zz.jpg": size}

    def delete_there(made):
        big, image = made.photos.big, made.photos.big.image()
        pointer.key("Delete")
        program.wait(lambda: made.model.total == 4, "the photo gone")
        assert big.isVisible()
        assert big.image().image_id != image.image_id
        program.wait(lambda: len(made.review.trash.here) == 1, "the photo in the trash")
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == 5, "the photo back")
        back = next(one for one in made.model.records() if one.original_filename == "zz.jpg")
        big.show_image(back)
        program.wait(
            lambda: f"from {source(few, back)}" in big.origin.full_text(), "where it came from, under its new id"
        )

    assert program.run(monkeypatch, steps) == 0


def test_without_a_file_manager_on_the_bus_the_folder_is_opened(monkeypatch, few):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)

    def steps(made):
        ready(made)
        grid, opened = made.photos.grid, OpenedFolders()
        grid.choose(0)
        QDesktopServices.setUrlHandler("file", opened, "open_url")
        try:
            place = pointer.center(grid.viewport(), grid.visualRect(made.model.index(0, 0)))
            choose_in_menu(made, place, "Show in file manager")
            program.wait(lambda: opened.paths == [str(few / "dress")], "the folder")
        finally:
            QDesktopServices.unsetUrlHandler("file")

    assert program.run(monkeypatch, steps) == 0
