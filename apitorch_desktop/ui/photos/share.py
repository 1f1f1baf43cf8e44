"""Photos handed to other programs: as a picture or as files on the clipboard, as paths, and in the file manager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QImage

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.utils.text import plural

LocalCopy = Callable[[TrainingImage, Callable[[], bool]], Path]
Origin = Callable[[TrainingImage], str]
"""Where an image came from, in a line; "" where that is not known. Blocks."""

MOST = 500
"""Photos that are copied or shown at a time: each becomes a file."""
ANSWER = 5000
"""Milliseconds the file manager has to answer, and to start where it must."""


class ShareActions(QObject):
    """Makes files of photos on a lane and passes them on."""

    def __init__(self, session: Session, local_copy: LocalCopy, origin: Origin) -> None:
        super().__init__(session)
        self._session = session
        self._local_copy = local_copy
        self._origin = origin

    def copy(self, images: Sequence[TrainingImage]) -> None:
        """To the clipboard: one photo as a picture and as a file, several as files."""
        if len(images) == 1:
            self._run(images, self._one, self._copied_one, "Copying the photo")
        elif images:
            self._run(images, self._files, self._copied, f"Copying {plural(len(images), 'photo')}")

    def copy_paths(self, images: Sequence[TrainingImage]) -> None:
        """The paths of the files as text: the one a photo was imported from while that is there, else a copy's."""
        if images:
            self._run(images, self._places, self._copied_paths, "Copying the path")

    def show_in_folder(self, image: TrainingImage) -> None:
        """Open the file manager where the photo was imported from while that is there, else at a copy."""
        self._run([image], self._places, lambda paths: show(paths[0], self), "Showing the photo in its folder")

    def look_up(self, image: TrainingImage, done: Callable[[str], object]) -> None:
        """Where a photo came from; `done` is called with "" where that is not known."""
        self._session.tasks.run(
            Lane.DISK,
            lambda _context: self._origin(image),
            done=done,
            failed=lambda _fault: True,
            owner=self,
            title="Look up where a photo came from",
        )

    # --- on a lane

    def _files(self, images: Sequence[TrainingImage], context: JobContext) -> list[Path]:
        return [self._local_copy(image, context.cancelled) for image in images]

    def _one(self, images: Sequence[TrainingImage], context: JobContext) -> tuple[Path, QImage]:
        from apitorch_desktop.ui.images import decode
        from apitorch_desktop.vision.images import open_upright

        path = self._local_copy(images[0], context.cancelled)
        return path, decode.converted(open_upright(path.read_bytes()))

    def _places(self, images: Sequence[TrainingImage], context: JobContext) -> list[Path]:
        found = []
        for image in images:
            origin = self._origin(image)
            there = bool(origin) and "://" not in origin and Path(origin).is_file()
            found.append(Path(origin) if there else self._local_copy(image, context.cancelled))
        return found

    # --- in the window

    def _copied_one(self, made: tuple[Path, QImage]) -> None:
        path, picture = made
        data = _urls([path])
        data.setImageData(picture)
        QGuiApplication.clipboard().setMimeData(data)
        self._say("Copied the photo.")

    def _copied(self, paths: list[Path]) -> None:
        QGuiApplication.clipboard().setMimeData(_urls(paths))
        self._say(f"Copied {plural(len(paths), 'photo')} as files.")

    def _copied_paths(self, paths: list[Path]) -> None:
        QGuiApplication.clipboard().setText("\n".join(map(str, paths)))
        self._say(f"Copied {'the path' if len(paths) == 1 else plural(len(paths), 'path')}.")

    def _say(self, text: str) -> None:
        self._session.show_message(text, "muted", "handing")

    def _run(
        self,
        images: Sequence[TrainingImage],
        act: Callable[[Sequence[TrainingImage], JobContext], object],
        done: Callable[..., object],
        doing: str,
    ) -> None:
        session = self._session
        if len(images) > MOST:
            self._say(f"{MOST:,} photos at most: select fewer, or export the training set.")
            return
        session.tasks.run(
            Lane.INTERACTIVE,
            lambda context: act(images, context),
            done=done,
            failed=lambda fault: session.show_error(fault, doing),
            owner=session.connection_scope,
            title=doing,
        )


def _urls(paths: Sequence[Path]) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def show(path: Path, owner: QObject) -> None:
    """Open a file's folder in the file manager, the file selected where the desktop can do that.

    It is asked by the interface that freedesktop.org defines for this, and started for it where it is not up; without
    waiting. Where nobody answers, the folder is opened.
    """
    import os

    def open_folder() -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))

    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not address:
        open_folder()
        return
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher

    name = "org.freedesktop.FileManager1"
    message = QDBusMessage.createMethodCall(name, "/org/freedesktop/FileManager1", name, "ShowItems")
    message.setArguments([[bytes(QUrl.fromLocalFile(str(path)).toEncoded().data()).decode()], ""])
    bus = QDBusConnection.connectToBus(address, f"files {address}")  # Qt's own may be of another time, or broken
    watcher = QDBusPendingCallWatcher(bus.asyncCall(message, ANSWER), owner)

    def answered(call: QDBusPendingCallWatcher) -> None:
        if call.isError():
            open_folder()
        call.deleteLater()

    watcher.finished.connect(answered)
