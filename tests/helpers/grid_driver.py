"""Images, thumbnails and places for tests of the grid and the viewer, on the real screen."""

import threading
import zlib
from pathlib import Path

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.grid.model import LabelGroup


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


def cell_center(view, row):
    """The center of a row's cell on the screen."""
    return view.viewport().mapToGlobal(view.visualRect(view.images.index(row)).center())
