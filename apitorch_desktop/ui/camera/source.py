"""Cameras of this computer, and their pictures as arrays, by QtMultimedia: the extra `camera`, loaded when it is needed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PySide6.QtCore import QCameraPermission, QCoreApplication, QObject, Qt, Signal

from apitorch_desktop.ui.session.file_manager import silence_qt
from apitorch_desktop.utils.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtMultimedia import QCameraDevice, QVideoFrame, QVideoSink

    Pixels = NDArray[np.uint8]
    """Shape (height, width, 3), blue, green and red, as OpenCV has them."""

NO_CAMERA: Final = "There is no camera at this computer: connect one, and its picture appears here."
REFUSED: Final = "The system does not let this program use the camera: allow it in the system’s privacy settings."


class NoMultimedia(UserError):  # noqa: N818 - named for what it is
    """QtMultimedia cannot be loaded; the sentence names the remedy."""


class UnreadableFrame(UserError):  # noqa: N818 - named for what it is
    """A camera's picture cannot be read."""


class CameraDevice(NamedTuple):
    """A camera: its id, which stays the same, and its name for the user."""

    id: str
    name: str


def load_multimedia() -> None:
    """Load QtMultimedia; for a worker, since it takes a while. Raises NoMultimedia."""
    if find_spec("PySide6.QtMultimedia") is None:
        if getattr(sys, "frozen", False):
            raise NoMultimedia(
                "This edition comes without the camera: install the program by pip, with the extra “camera”."
            )
        raise NoMultimedia(
            'The camera needs an extra: pip install "apitorch-desktop[camera]", then start the program again.'
        )
    try:
        import_module("PySide6.QtMultimedia")
    except ImportError as error:
        missing = str(error).partition(":")[0]
        text = f"The camera needs the system’s library {missing}: install that, and start the program again."
        raise NoMultimedia(text) from error


def load_opencv() -> ModuleType:
    """Return OpenCV without threads of its own, which would outlive the lane, and take the service's cores."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


class Cameras(QObject):
    """The cameras of this computer, of which one is open at a time. Needs `load_multimedia`."""

    changed = Signal()
    """A camera was connected or removed."""
    failed = Signal(str)
    """The open camera has ended, for a reason."""

    def __init__(self, sink: QVideoSink, parent: QObject) -> None:
        super().__init__(parent)
        from PySide6.QtMultimedia import QMediaCaptureSession, QMediaDevices

        self._devices = QMediaDevices(self)
        self._devices.videoInputsChanged.connect(self.changed)
        self._capture = QMediaCaptureSession(self)
        self._capture.setVideoSink(sink)
        self._camera: Any = None

    def all(self) -> list[CameraDevice]:
        """Return the cameras, the system's default one first."""
        default = self._devices.defaultVideoInput()
        found = sorted(self._devices.videoInputs(), key=lambda one: one != default)
        return [CameraDevice(_id_of(one), one.description()) for one in found]

    def open(self, device: CameraDevice) -> None:
        """Let a camera's pictures go to the sink; the one that was open is closed."""
        from PySide6.QtMultimedia import QCamera

        self.close()
        found = next((one for one in self._devices.videoInputs() if _id_of(one) == device.id), None)
        if found is None:
            self.failed.emit(f"“{device.name}” is not connected any more.")
            return
        self._camera = QCamera(found, self)
        self._camera.errorOccurred.connect(lambda _error, text: self._fail(device, text))
        self._capture.setCamera(self._camera)
        self._camera.start()

    def close(self) -> None:
        """Close the open camera, whose light goes out."""
        if (camera := self._camera) is not None:
            self._camera = None
            camera.stop()
            self._capture.setCamera(None)  # type: ignore[arg-type]
            camera.deleteLater()

    def _fail(self, device: CameraDevice, text: str) -> None:
        if self._camera is not None:
            self.close()
            reason = f" ({text.strip().rstrip('.')})" if text.strip() else ""
            self.failed.emit(f"“{device.name}” gives no picture{reason}: another program may be using it.")


def _id_of(device: QCameraDevice) -> str:
    return bytes(device.id().data()).decode(errors="replace")


def ask_permission(context: QObject, answered: Any) -> None:
    """Call `answered(True)` once the system lets the program use the camera, `answered(False)` if it does not."""
    app, permission = QCoreApplication.instance(), QCameraPermission()
    assert app is not None  # noqa: S101 - there is a window
    status = app.checkPermission(permission)
    if status == Qt.PermissionStatus.Undetermined:
        app.requestPermission(
            permission, context, lambda given: answered(given.status() == Qt.PermissionStatus.Granted)
        )
    else:
        answered(status == Qt.PermissionStatus.Granted)


def make_sink(parent: QObject) -> QVideoSink:
    """Return what a camera's pictures go to: `videoFrameChanged` brings each."""
    from PySide6.QtMultimedia import QVideoSink

    silence_qt()
    return QVideoSink(parent)


def pixels(frame: QVideoFrame) -> Pixels:
    """Return a frame upright, as a copy; for a worker. Raises UnreadableFrame."""
    import numpy as np
    from PySide6.QtMultimedia import QVideoFrame

    if not frame.map(QVideoFrame.MapMode.ReadOnly):
        raise UnreadableFrame("The camera’s picture cannot be read.")
    try:
        planes = [(np.frombuffer(frame.bits(at), np.uint8), frame.bytesPerLine(at)) for at in range(frame.planeCount())]
        image = _converted(frame.pixelFormat().name.removeprefix("Format_"), frame.width(), frame.height(), planes)
    finally:
        frame.unmap()
    turned = np.rot90(image, -frame.rotation().value // 90)
    return np.ascontiguousarray(turned[:, ::-1] if frame.mirrored() else turned)


_PACKED: Final = {
    "BGRA8888": (0, 1, 2), "BGRA8888_Premultiplied": (0, 1, 2), "BGRX8888": (0, 1, 2),
    "ARGB8888": (3, 2, 1), "ARGB8888_Premultiplied": (3, 2, 1), "XRGB8888": (3, 2, 1),
    "ABGR8888": (1, 2, 3), "XBGR8888": (1, 2, 3), "RGBA8888": (2, 1, 0), "RGBX8888": (2, 1, 0),
}  # fmt: skip
"""Places of blue, green and red among the four bytes of a pixel, by `QVideoFrameFormat.PixelFormat`."""


def _converted(form: str, width: int, height: int, planes: list[tuple[Pixels, int]]) -> Pixels:
    """Convert the bytes of a frame, given with the length of their lines, to blue, green and red."""
    import numpy as np

    cv2 = load_opencv()

    def plane(at: int, columns: int, rows: int) -> Pixels:
        data, line = planes[at]
        if len(data) < line * (rows - 1) + columns:
            raise UnreadableFrame("The camera’s picture came incomplete.")
        return np.lib.stride_tricks.as_strided(data, (rows, columns), (line, 1), writeable=False)

    def convert(image: Pixels, code: int) -> Pixels:
        return np.asarray(cv2.cvtColor(image, code), np.uint8)

    if form == "Jpeg":
        decoded = cv2.imdecode(planes[0][0], cv2.IMREAD_COLOR)
        if decoded is None:
            raise UnreadableFrame("The camera’s picture came incomplete.")
        return np.asarray(decoded, np.uint8)
    if form in _PACKED:
        return plane(0, 4 * width, height).reshape(height, width, 4)[:, :, _PACKED[form]]
    if form == "Y8":
        return convert(np.ascontiguousarray(plane(0, width, height)), cv2.COLOR_GRAY2BGR)
    even, lines = width // 2 * 2, height // 2 * 2  # colors are for two pixels each way
    if form in ("YUYV", "UYVY"):
        packed = np.ascontiguousarray(plane(0, 2 * even, height)).reshape(height, even, 2)
        return convert(packed, cv2.COLOR_YUV2BGR_YUYV if form == "YUYV" else cv2.COLOR_YUV2BGR_UYVY)
    if form in ("NV12", "NV21"):
        both = np.vstack([plane(0, even, lines), plane(1, even, lines // 2)])
        return convert(both, cv2.COLOR_YUV2BGR_NV12 if form == "NV12" else cv2.COLOR_YUV2BGR_NV21)
    if form in ("YUV420P", "YV12"):
        parts = [plane(0, even, lines), plane(1, even // 2, lines // 2), plane(2, even // 2, lines // 2)]
        flat = np.concatenate([part.ravel() for part in parts]).reshape(lines * 3 // 2, even)
        return convert(flat, cv2.COLOR_YUV2BGR_I420 if form == "YUV420P" else cv2.COLOR_YUV2BGR_YV12)
    raise UnreadableFrame(f"The camera sends its picture in a form that is not read here ({form}).")


def as_jpeg(image: Pixels, quality: int, edge: int = 0) -> bytes:
    """Encode a picture, with its longer edge reduced to `edge` pixels if given; for a worker."""
    import numpy as np

    cv2 = load_opencv()
    longest = max(image.shape[:2])
    if edge and longest > edge:
        scale = edge / longest
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].data)
