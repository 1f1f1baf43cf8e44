"""Images on the pointer: their ids for this program, and files of them for others, made only once another asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QEventLoop, QMetaType, QMimeData, QTimer, QUrl, Signal

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.tasks.runner import Lane, Task, TaskRunner
from apitorch_desktop.ui.widgets import drag_drop

LocalCopy = Callable[[TrainingImage, Callable[[], bool]], Path]
"""Makes a file of an image for other programs; blocks, called on a worker, told whether it is still wanted."""

PATIENCE = 8000
"""Milliseconds another program is kept waiting for its files; Qt itself gives up on a drop not much later."""
_FILES = "text/uri-list"


class FileCopies:
    """Files of images, made on a lane."""

    def __init__(self, tasks: TaskRunner, copy: LocalCopy, images: Sequence[TrainingImage]) -> None:
        self._paths: dict[int, Path] = {}
        self._left = len(images)
        self._loop: QEventLoop | None = None
        self._running: list[Task] = [
            tasks.run(
                Lane.BATCH,
                lambda context, image=image: copy(image, context.cancelled),  # type: ignore[misc]
                done=partial(self._made, at),
                failed=self._failed,
                title="copy to drag out",
                priority=1,
            )
            for at, image in enumerate(images)
        ]

    def wait(self, milliseconds: int) -> list[Path]:
        """Those that are ready in time; the window lives on meanwhile."""
        if self._left:
            self._loop = QEventLoop()
            bound = QTimer(interval=milliseconds, singleShot=True)
            bound.timeout.connect(self._loop.quit)
            bound.start()
            self._loop.exec()
            bound.stop()
            self._loop = None
        return [self._paths[at] for at in sorted(self._paths)]

    def cancel(self) -> None:
        """Nobody waits for the rest."""
        for task in self._running:
            task.cancel()

    def _made(self, at: int, path: Path) -> None:
        self._paths[at] = path
        self._one_less()

    def _failed(self, error: Exception) -> None:  # what is missing is counted and told at the end
        self._one_less()

    def _one_less(self) -> None:
        self._left -= 1
        if not self._left and self._loop is not None:
            self._loop.quit()


class DraggedImages(QMimeData):
    """The data of a drag. Files are promised in the list of formats, and made when they are asked for."""

    incomplete = Signal(int, int)
    """Files that were ready, files that were wanted."""

    def __init__(self, images: Sequence[TrainingImage], tasks: TaskRunner | None, copy: LocalCopy | None) -> None:
        super().__init__()
        self._images = images
        self._ids = drag_drop.ids_bytes([image.image_id for image in images])
        self._make = partial(FileCopies, tasks, copy, images) if tasks is not None and copy is not None else None
        self._copies: FileCopies | None = None
        self._files: bytes | None = None

    def formats(self) -> list[str]:
        return [drag_drop.IDS_TYPE, _FILES] if self._make is not None else [drag_drop.IDS_TYPE]

    def hasFormat(self, mimetype: str) -> bool:
        return mimetype in self.formats()

    def retrieveData(self, mimetype: str, preferredType: QMetaType | QMetaType.Type) -> Any:  # noqa: N803 - Qt's name
        """Called when a program takes the data."""
        if mimetype == drag_drop.IDS_TYPE:
            return QByteArray(self._ids)  # plain bytes would reach no other program
        if mimetype == _FILES and self._make is not None:
            return QByteArray(self._ready_files())
        return None

    def end(self) -> None:
        """The drag is over."""
        if self._copies is not None:
            self._copies.cancel()

    def _ready_files(self) -> bytes:
        if self._files is None and self._make is not None:
            if self._copies is not None:  # asked again while the first answer is waited for
                return b""
            self._copies = self._make()
            paths = self._copies.wait(PATIENCE)
            self._files = b"".join(bytes(QUrl.fromLocalFile(str(path)).toEncoded().data()) + b"\r\n" for path in paths)
            if len(paths) < len(self._images):
                self.incomplete.emit(len(paths), len(self._images))
        return self._files or b""
