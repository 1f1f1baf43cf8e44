"""Images, thumbnails and input for tests of the grid and the viewer, on the real screen."""

import threading
import zlib
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QApplication

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.model import LabelGroup
from tests.helpers.event_loop import wait_until
from tests.helpers.x11_pointer import xdotool


def image(number, label="shirt", url="", **more):
    more.setdefault("original_filename", f"IMG_{number}.jpg")
    return TrainingImage(filename=f"{number:040x}.jpg", url=str(url), label=label, **more)


def groups(*counts, labels=("boots", "hat", "shirt", "shoes", "skirt")):
    made, number = [], 0
    for label, count in zip(labels, counts, strict=False):
        made.append(LabelGroup(label, [image(number + at + 1, label, bytes=1000) for at in range(count)]))
        number += count
    return made


class Source:
    """Thumbnails made of real photos, by image; counts what is asked for, and can be told to wait or to fail."""

    def __init__(self, photos):
        from apitorch_desktop.vision.images import thumbnail

        self._thumbnail = thumbnail
        self._made = {}
        self.photos = sorted((photos / "train").glob("*/*.jpg"))
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()
        self.errors = {}

    def __call__(self, image, cancelled):
        self.asked.append(image.image_id)
        self.gate.wait(60)
        error = self.errors.get(image.image_id)
        if error is not None:
            raise error
        path = self.photo(image)
        if path not in self._made:
            self._made[path] = self._thumbnail(path.read_bytes())
        return self._made[path]

    def large(self, image, cancelled):
        return self.photo(image).read_bytes()

    def photo(self, image) -> Path:
        return self.photos[zlib.crc32(image.image_id.encode()) % 40]


class _Arrived(QObject):
    """Sees a key that stands for "all before this has arrived", and keeps it from everybody."""

    def __init__(self):
        super().__init__()
        self.seen = False

    def eventFilter(self, watched, event):  # noqa: N802 - Qt's name
        kinds = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease, QEvent.Type.ShortcutOverride)
        if event.type() in kinds and event.key() == Qt.Key.Key_F12:
            self.seen = self.seen or event.type() == QEvent.Type.KeyRelease
            return True
        return False


def send(*words):
    """Events by xdotool; returns when they have been handled, however slow the machine is."""
    arrived, app = _Arrived(), QApplication.instance()
    app.installEventFilter(arrived)
    try:
        xdotool(*words, "key", "F12")
        wait_until(lambda: arrived.seen)
    finally:
        app.removeEventFilter(arrived)


def click(point, button=1, repeat=1):
    send("mousemove", point.x(), point.y(), "click", "--repeat", repeat, "--delay", 40, button)


def key(*names):
    send("key", *names)


def write(text):
    xdotool("type", "--delay", 5, text)  # takes all words that follow for text
    send()


def cell_center(view, row):
    """The center of a row's cell on the screen."""
    return view.viewport().mapToGlobal(view.visualRect(view.images.index(row)).center())
