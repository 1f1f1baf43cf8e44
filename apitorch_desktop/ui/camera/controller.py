"""Flow of the camera's page: pictures are read and answered in the background, and photos taken into labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.types import INBOX, Classification, Id
from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec
from apitorch_desktop.ui.camera import source
from apitorch_desktop.ui.camera.page import CameraPage
from apitorch_desktop.ui.camera.source import NO_CAMERA, REFUSED, CameraDevice, Cameras
from apitorch_desktop.ui.labeling.controller import LabelingController, LabelTarget
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent, DroppedImage

if TYPE_CHECKING:
    from PySide6.QtMultimedia import QVideoFrame

    from apitorch_desktop.ui.camera.source import Pixels

VIEW: Final = 1280
"""Longer edge of the live picture in pixels."""
QUALITY: Final = 92
"""JPEG quality of photos."""
ASKED_EDGE, ASKED_QUALITY = 480, 85
"""Edge and JPEG quality of what a classifier is asked about: above the input of every encoder that comes with the program."""
ANSWER_INTERVAL: Final = 500
"""Milliseconds between an answer and the next question; ten times that after a failure."""
BURST_INTERVAL: Final = 250
"""Milliseconds between two photos while a key is held."""
MAX_BURST: Final = 100
"""Photos that a held key takes at most."""


@dataclass
class Burst:
    """Photos of one press of a key, which are added together, and taken back together."""

    set_id: Id
    label: str
    photos: list[DroppedImage] = field(default_factory=list)
    taken: int = 0
    encoding: int = 0
    """Number of photos taken that are still being encoded."""
    ended: bool = False


class CameraController(QObject):
    """Opens the chosen camera while the page is in sight, and closes it with that."""

    shown = Signal(bool)
    photos_taken = Signal(object, object, str)
    """`DroppedContent`, a training set's id and a label."""

    def __init__(
        self,
        session: Session,
        labeling: LabelingController,
        page: CameraPage,
        actions: ActionRegistry,
        settings: Settings,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._session = session
        self._labeling = labeling
        self._page = page
        self._settings = settings
        self._cameras: Cameras | None = None
        self._open: CameraDevice | None = None
        self._newest: QVideoFrame | None = None
        """The last frame, while the one before is being read."""
        self._reading = False
        self._picture: Pixels | None = None
        """The picture shown, in full size."""
        self._asking = False
        self._burst: Burst | None = None
        self._burst_timer = QTimer(self, interval=BURST_INTERVAL)
        self._burst_timer.timeout.connect(self._take)
        self._ask_timer = QTimer(self, singleShot=True)
        self._ask_timer.timeout.connect(self._ask)
        page.active_changed.connect(self._set_active)
        page.pressed.connect(self._on_key)
        page.released.connect(self._end_burst)
        page.typed.connect(
            lambda text: labeling.typed(text, LabelTarget(page, self._count, self.take_one, lambda: None))
        )
        page.label_wanted.connect(self.take_one)
        page.closed.connect(lambda: self.shown.emit(False))
        page.camera.activated.connect(self._choose)
        page.classifier.activated.connect(lambda _index: self._ask())
        labeling.keys.changed.connect(self._show_labels)
        session.open_set_changed.connect(self._show_labels)
        session.open_set_changed.connect(self._show_classifiers)
        session.classifiers_changed.connect(self._show_classifiers)
        actions.add(
            ActionSpec(
                "file.import_camera", "Import from the camera…", lambda: self.shown.emit(True), icon="eye",
                reason=lambda: session.unavailable_reason(""),
            )
        )  # fmt: skip

    @property
    def burst_size(self) -> int:
        """Number of photos that the held key has taken."""
        return self._burst.taken if self._burst is not None else 0

    # --- the camera

    def _set_active(self, active: bool) -> None:
        if not active:
            self._close()
            return
        self._show_labels()
        self._show_classifiers()
        self._page.picture.show_sentence("Opening the camera…")

        def done(_none: None) -> None:
            if self._page.isVisible():
                source.ask_permission(self, self._permitted)

        def failed(error: Exception) -> bool:
            self._page.picture.show_sentence(error_message(error).text)
            return True

        self._session.run(
            "Loading what the camera needs", lambda _context: source.load_multimedia(), done, failed=failed,
            lane=Lane.CAMERA, owner=self,
        )  # fmt: skip

    def _permitted(self, permitted: bool) -> None:
        if not permitted:
            self._page.picture.show_sentence(REFUSED)
            return
        if self._cameras is None:
            sink = source.make_sink(self)
            sink.videoFrameChanged.connect(self._receive)
            self._cameras = source.Cameras(sink, self)
            self._cameras.changed.connect(self._list)
            self._cameras.failed.connect(self._on_failed)
        self._list()

    def _list(self) -> None:
        """Offer the cameras there are; open the one of last time, or the first, unless one is open."""
        cameras, choice = self._cameras, self._page.camera
        if cameras is None or not self._page.isVisible():
            return
        found = cameras.all()
        gone = self._open is not None and self._open not in found
        if gone:
            self._close()
        choice.clear()
        for device in found:
            choice.addItem(device.name, device)
        choice.setEnabled(len(found) > 1)
        choice.setVisible(bool(found))
        if not found:
            self._page.picture.show_sentence(NO_CAMERA)
            self._page.show_answer(None)
            return
        chosen = self._open or next((one for one in found if one.id == self._settings.camera), found[0])
        choice.setCurrentIndex(found.index(chosen))
        if self._open is None:
            self._start(chosen)

    def _choose(self, index: int) -> None:
        device = self._page.camera.itemData(index)
        if device is not None and device != self._open:
            self._settings.camera = device.id
            self._settings.save()
            self._close()
            self._start(device)

    def _start(self, device: CameraDevice) -> None:
        assert self._cameras is not None  # noqa: S101 - devices come from it
        self._page.picture.show_sentence(f"Waiting for the picture of “{device.name}”…")
        self._open = device
        self._cameras.open(device)

    def _close(self) -> None:
        self._end_burst()
        self._ask_timer.stop()
        self._open = self._newest = self._picture = None
        if self._cameras is not None:
            self._cameras.close()

    def _on_failed(self, sentence: str) -> None:
        self._close()
        self._page.show_answer(None)
        self._page.picture.show_sentence(sentence)

    # --- pictures

    def _receive(self, frame: QVideoFrame) -> None:
        if self._open is None or not frame.isValid():
            return
        self._newest = frame
        self._read()

    def _read(self) -> None:
        """Have the newest frame read, unless one is just being read: the frames in between are not shown."""
        frame, device = self._newest, self._open
        if frame is None or self._reading:
            return
        self._newest, self._reading = None, True

        def done(answer: tuple[Pixels, QImage]) -> None:
            self._reading = False
            if self._open is device and device is not None:
                first = self._picture is None
                self._picture = answer[0]
                self._page.picture.show_image(answer[1])
                if first:
                    self._ask()
            self._read()

        def failed(error: Exception) -> bool:
            self._reading = False
            if self._open is device and device is not None:
                self._on_failed(error_message(error).text)
            return True

        self._session.run(
            "Reading the camera’s picture",
            lambda _context: _read(frame),
            done,
            failed=failed,
            lane=Lane.CAMERA,
            owner=self,
        )

    # --- answers

    def _show_classifiers(self) -> None:
        """Offer the classifiers; that of the open training set is chosen when it appears, or another set is opened."""
        if not self._page.isVisible():
            return
        choice, session = self._page.classifier, self._session
        slugs = [str(one.slug) for one in session.classifiers if isinstance(one.slug, str)]
        own = session.open_set.classifier_status.slug if session.open_set is not None else ""
        known = [choice.itemText(at) for at in range(choice.count())]
        wanted = own if own in slugs and own not in known else choice.currentText()
        if slugs != known:
            choice.clear()
            choice.addItems(slugs)
        choice.setCurrentIndex(max(0, choice.findText(wanted or own)))
        if not self._ask_timer.isActive():
            self._ask()

    def _ask(self) -> None:
        """Ask the chosen classifier about the picture, and again after its answer."""
        picture, workspace, slug = self._picture, self._session.workspace, self._page.classifier.currentText()
        if picture is None or self._asking:
            return
        if workspace is None or not slug:
            self._page.show_answer(None, self._session.unavailable_reason("") or "There is no classifier yet.")
            return
        if not workspace.has("classify.upload"):
            self._page.show_answer(None, "The service classifies photos by their web address only.")
            return
        self._asking = True

        def job(context: JobContext) -> Classification:
            data = source.as_jpeg(picture, ASKED_QUALITY, ASKED_EDGE)
            (answer,) = workspace.classify(
                [slug], data=data, filename="camera.jpg", keep=False, cancelled=context.cancelled
            )
            return answer

        def done(answer: Classification) -> None:
            ended(ANSWER_INTERVAL)
            if self._picture is not None and slug == self._page.classifier.currentText():
                self._page.show_answer(answer)

        def failed(error: Exception) -> bool:
            ended(10 * ANSWER_INTERVAL)
            if self._picture is not None:
                self._page.show_answer(None, error_message(error).text)
            return True

        def ended(pause: int) -> None:
            self._asking = False
            if self._picture is not None:
                self._ask_timer.start(pause)

        self._session.run(
            "Classifying the camera’s picture", job, done, failed=failed, lane=Lane.INTERACTIVE, owner=self
        )

    # --- photos

    def _show_labels(self) -> None:
        workspace = self._session.workspace
        can_wait = self._session.open_set is not None and workspace is not None and workspace.has_inbox
        self._page.show_labels(self._labeling.keys.shown(), unlabelled=can_wait)

    def _count(self) -> int:
        return int(self._picture is not None)

    def _on_key(self, key: str) -> None:
        if key == " ":
            if self._page.unlabelled.isVisible():
                self._begin_burst(INBOX)
        elif (label := self._labeling.keys.use(key)) is not None:
            self._begin_burst(label)
        else:
            self._session.show_message(
                f"No label has the key {key}. Make one: type its first letters.", "muted", "camera"
            )

    def take_one(self, label: str) -> None:
        """Take one photo into a label, "" for none."""
        self._begin_burst(label or INBOX)
        self._end_burst()
        self._page.setFocus()

    def _begin_burst(self, label: str) -> None:
        self._end_burst()
        open_set = self._session.open_set
        if open_set is None:
            self._session.show_message("Open a training set first: photos go under its labels.", "warn", "camera")
        elif self._picture is None:
            self._session.show_message("There is no picture to take a photo of yet.", "warn", "camera")
        else:
            self._burst = Burst(open_set.training_set.id, label)
            self._page.picture.set_lit(True)
            self._take()
            self._burst_timer.start()

    def _take(self) -> None:
        """Encode the picture shown as a photo of the burst."""
        burst, picture = self._burst, self._picture
        if burst is None or picture is None or burst.taken >= MAX_BURST:
            return
        burst.taken += 1
        burst.encoding += 1
        name = f"camera {datetime.now().astimezone():%Y-%m-%d %H.%M.%S} {burst.taken}.jpg"

        def done(data: bytes) -> None:
            burst.photos.append(DroppedImage(data, name))
            encoded()

        def failed(error: Exception) -> None:
            self._session.show_error(error, "Taking a photo")
            encoded()

        def encoded() -> None:
            burst.encoding -= 1
            self._send(burst)

        self._session.run(
            "Taking a photo", lambda _context: source.as_jpeg(picture, QUALITY), done, failed=failed,
            lane=Lane.CAMERA, owner=self,
        )  # fmt: skip

    def _end_burst(self) -> None:
        burst, self._burst = self._burst, None
        self._burst_timer.stop()
        if burst is not None:
            self._page.picture.set_lit(False)
            burst.ended = True
            self._send(burst)

    def _send(self, burst: Burst) -> None:
        """Add the photos once the key has come up and all are encoded; those that failed were reported."""
        if burst.ended and burst.photos and not burst.encoding:
            self.photos_taken.emit(DroppedContent(images=tuple(burst.photos)), burst.set_id, burst.label)


def _read(frame: QVideoFrame) -> tuple[Pixels, QImage]:
    """Return a frame's pixels, and the picture to show."""
    import numpy as np

    image = source.pixels(frame)
    longest = max(image.shape[:2])
    small = image if longest <= VIEW else source.load_opencv().resize(image, None, fx=VIEW / longest, fy=VIEW / longest)
    small = np.ascontiguousarray(small)
    height, width = small.shape[:2]
    return image, QImage(small.data, width, height, small.strides[0], QImage.Format.Format_BGR888).copy()
