"""Small icons of images that are in no training set: of files, archives and pasted bytes, made as they come into sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QIcon, QImage, QPainter, QPixmap

from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import ImageUrl, Source, SourceMissing
from apitorch_desktop.ui.images.decode import from_image
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

_AT_ONCE: Final = 12
"""Images of one job: the last ones asked for come first, so that scrolling does not wait for what has gone by."""
_KEPT: Final = 1000
"""Icons kept in memory."""


class SourceThumbnails(QObject):
    """Icons of a table's rows. `icon` returns a blank one until the image is decoded; `loaded` is called then."""

    def __init__(self, tasks: TaskRunner, edge: int, loaded: Callable[[Any], object], parent: QObject) -> None:
        """`edge` is the side of an icon in physical pixels; `loaded` receives the row."""
        super().__init__(parent)
        self._tasks = tasks
        self._edge = edge
        self._loaded = loaded
        self._blank = _icon(QImage(), edge)
        self._icons: dict[int, QIcon] = {}
        self._wanted: dict[int, tuple[object, Source]] = {}
        self._task: Task | None = None
        self._archives = Archives()
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._start)

    def icon(self, row: object, source: Source) -> QIcon:
        """Return the icon of a row, and have it made if it is not there yet. An image on the web has none."""
        key = id(row)
        found = self._icons.get(key)
        if found is None and not isinstance(source, ImageUrl):
            self._wanted.pop(key, None)
            self._wanted[key] = (row, source)
            if self._task is None:
                self._timer.start()
        return found or self._blank

    def clear(self) -> None:
        """Forget all rows."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._icons.clear()
        self._wanted.clear()

    def _start(self) -> None:
        if not self._wanted:
            return
        batch = [self._wanted.popitem()[1] for _ in range(min(_AT_ONCE, len(self._wanted)))]
        self._task = self._tasks.run(
            Lane.THUMBNAILS,
            lambda context: _decode(context, batch, self._archives, self._edge),
            done=lambda _none: self._end(),
            failed=lambda _error: self._end(),
            progress=lambda made: self._add(*made),
            owner=self,
            title="Making thumbnails",
        )

    def _end(self) -> None:
        self._task = None
        if self._wanted:
            self._start()
        else:
            self._archives.close()

    def _add(self, row: object, image: QImage) -> None:
        while len(self._icons) >= _KEPT:
            self._icons.pop(next(iter(self._icons)))
        self._icons[id(row)] = _icon(image, self._edge)
        self._loaded(row)


def _decode(context: JobContext, rows: list[tuple[object, Source]], archives: Archives, edge: int) -> None:
    from apitorch_desktop.vision.images import MAX_BYTES, UnreadableImage

    for row, source in rows:
        context.check()
        if isinstance(source, ImageUrl):
            continue
        try:
            image = from_image(read(source, archives, MAX_BYTES), edge)
        except (SourceMissing, UnreadableImage):
            image = QImage()
        context.post((row, image))


def _icon(image: QImage, edge: int) -> QIcon:
    """Return an image centered in a square, so that names are aligned; not tinted where its row is selected."""
    square = QPixmap(edge, edge)
    square.fill(Qt.GlobalColor.transparent)
    if not image.isNull():
        fitted = image.scaled(
            edge, edge, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        painter = QPainter(square)
        painter.drawImage((edge - fitted.width()) // 2, (edge - fitted.height()) // 2, fitted)
        painter.end()
    icon = QIcon(square)
    icon.addPixmap(square, QIcon.Mode.Selected)
    return icon
