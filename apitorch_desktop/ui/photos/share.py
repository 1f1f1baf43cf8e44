"""Sharing photos with other programs: as an image or files on the clipboard, as paths, in the file manager, by drag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from PySide6.QtCore import QMimeData, QObject, QUrl
from PySide6.QtGui import QGuiApplication, QImage

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.images import decode
from apitorch_desktop.ui.session.file_manager import show_file
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.utils.text import plural

Photo = TypeVar("Photo")
"""What stands for a photo: the record of a training image, a row of a table."""

MOST = 500
"""Most photos that are copied or shown at a time: each becomes a file."""


class ShareActions(QObject, Generic[Photo]):
    """Writes photos to files on a lane and passes those on."""

    def __init__(
        self,
        session: Session,
        local_copy: Callable[[Photo, Callable[[], bool]], Path],
        origin: Callable[[Photo], str],
    ) -> None:
        """`local_copy` writes a photo to a file; `origin` returns where it came from, "" if unknown. Both block."""
        super().__init__(session)
        self._session = session
        self._local_copy = local_copy
        self._origin = origin

    def copy(self, images: Sequence[Photo]) -> None:
        """Copy one photo to the clipboard as an image and as a file, or several as files."""
        if len(images) == 1:
            self._run(images, self._image, self._copy_image, "Copying the photo")
        elif images:
            self._run(images, self._files, self._copy_files, f"Copying {plural(len(images), 'photo')}")

    def copy_paths(self, images: Sequence[Photo]) -> None:
        """Copy the paths of photos as text: of the files they were imported from while those exist, else of copies."""
        if images:
            self._run(images, self._paths, self._copy_text, "Copying the path")

    def show_in_folder(self, image: Photo) -> None:
        """Show the file that the photo was imported from in the file manager, or a copy if that is missing."""
        self._run(
            [image], self._paths, lambda paths: show_file(paths[0], self._session), "Showing the photo in its folder"
        )

    def look_up(self, image: Photo, done: Callable[[str], object]) -> None:
        """Look up the origin of a photo; `done` is called with "" if it is unknown."""
        self._session.run(
            "Looking up the origin of a photo",
            lambda _context: self._origin(image),
            done,
            failed=lambda _error: True,
            lane=Lane.DISK,
            owner=self,
        )

    # --- on a lane

    def _files(self, images: Sequence[Photo], context: JobContext) -> list[Path]:
        return [self._local_copy(image, context.cancelled) for image in images]

    def _image(self, images: Sequence[Photo], context: JobContext) -> tuple[Path, QImage]:
        from apitorch_desktop.vision.images import open_upright

        path = self._local_copy(images[0], context.cancelled)
        return path, decode.converted(open_upright(path.read_bytes()))

    def _paths(self, images: Sequence[Photo], context: JobContext) -> list[Path]:
        found = []
        for image in images:
            origin = self._origin(image)
            exists = bool(origin) and "://" not in origin and Path(origin).is_file()
            found.append(Path(origin) if exists else self._local_copy(image, context.cancelled))
        return found

    # --- in the window

    def _copy_image(self, copied: tuple[Path, QImage]) -> None:
        path, image = copied
        data = _urls([path])
        data.setImageData(image)
        QGuiApplication.clipboard().setMimeData(data)
        self._show_message("Copied the photo.")

    def _copy_files(self, paths: list[Path]) -> None:
        QGuiApplication.clipboard().setMimeData(_urls(paths))
        self._show_message(f"Copied {plural(len(paths), 'photo')} as files.")

    def _copy_text(self, paths: list[Path]) -> None:
        QGuiApplication.clipboard().setText("\n".join(map(str, paths)))
        self._show_message(f"Copied {'the path' if len(paths) == 1 else plural(len(paths), 'path')}.")

    def _show_message(self, text: str) -> None:
        self._session.show_message(text, "muted", "handing")

    def _run(
        self,
        images: Sequence[Photo],
        act: Callable[[Sequence[Photo], JobContext], object],
        done: Callable[..., object],
        title: str,
    ) -> None:
        if len(images) > MOST:
            self._show_message(f"{MOST:,} photos at most: select fewer, or export the training set.")
            return
        self._session.run(title, lambda context: act(images, context), done)


def local_copy(session: Session, folder: Path, image: TrainingImage, cancelled: Callable[[], bool]) -> Path:
    """Write an image to a file named as it was imported, and return that. Blocks. Raises ApiError and OSError."""
    data = session.read_image(image, cancelled)
    name = image.original_filename or image.filename
    return write_copy(folder / image.image_id, name if "." in name else image.filename, data)


def write_copy(folder: Path, name: str, data: bytes) -> Path:
    """Write bytes to a file in a folder that only the user can read, and return that. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name.replace("/", "_").replace("\\", "_")[-100:]
    path.write_bytes(data)
    return path


def _urls(paths: Sequence[Path]) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data
