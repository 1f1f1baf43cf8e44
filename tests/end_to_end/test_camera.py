"""The camera's page in the real program, by keys; a film that Qt's media player shows stands in place of a device."""

import os

import cv2
import numpy as np
import pytest
from PySide6.QtCore import QObject, QUrl, Signal

from apitorch_desktop.ui.camera import source
from apitorch_desktop.ui.camera.source import CameraDevice
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose_in_menu_bar, imports_ended, pick

multimedia = pytest.importorskip("PySide6.QtMultimedia", exc_type=ImportError)
SIZE = (320, 240)
EACH = 5


class Films(QObject):
    """In place of `Cameras`: each device is a film, shown over and over."""

    changed = Signal()
    failed = Signal(str)
    films: dict[str, str] = {}  # noqa: RUF012 - set by the test
    made: list["Films"] = []  # noqa: RUF012

    def __init__(self, sink, parent):
        super().__init__(parent)
        self.sink, self.player, self.opened = sink, None, ""
        self.made.append(self)

    def all(self):
        return [CameraDevice(path, name) for name, path in self.films.items()]

    def open(self, device):
        self.close()
        self.opened = device.name
        self.player = multimedia.QMediaPlayer(self)
        self.player.setVideoSink(self.sink)
        self.player.setLoops(multimedia.QMediaPlayer.Loops.Infinite)
        self.player.setSource(QUrl.fromLocalFile(device.id))
        self.player.play()

    def close(self):
        self.opened = ""
        if self.player is not None:
            self.player.stop()
            self.player.deleteLater()
            self.player = None


def write_film(path, photo):
    """A film of two seconds in which a photo stays."""
    image = cv2.resize(cv2.imread(str(photo)), SIZE)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    for _ in range(20):
        film.write(image)
    film.release()
    return image


@pytest.fixture
def films(monkeypatch, photos, tmp_path):
    """Two cameras: what each of them sees, by name."""
    monkeypatch.setitem(os.environ, "QT_FFMPEG_DECODING_HW_DEVICE_TYPES", ",")  # else FFmpeg writes that there is none
    seen = {}
    for name, label in (("Front", "dress"), ("Back", "shoes")):
        photo = min((photos / "test" / label).iterdir())
        seen[name] = write_film(tmp_path / f"{name}.mp4", photo)
    monkeypatch.setattr(Films, "films", {name: str(tmp_path / f"{name}.mp4") for name in seen})
    monkeypatch.setattr(Films, "made", [])
    monkeypatch.setattr(source, "Cameras", Films)
    return seen


def counts(made):
    """Photos of the training set by label, as the service has them."""
    (found,) = made.session.workspace.client.training_sets()
    return {label: count for label, count in zip(found.labels, found.counts, strict=True) if count}


def likeness(image, other):
    """Mean difference of two pictures, in levels."""
    return np.abs(cv2.resize(image, SIZE).astype(int) - other).mean()


def shown(page):
    """The picture on the page as blue, green and red."""
    image = page.picture.image
    if image is None:
        return np.zeros((*SIZE[::-1], 3))
    image = image.convertToFormat(image.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)[:, :, ::-1]


def picture_of(page, name, films):
    program.wait(
        lambda: page.picture.image is not None and likeness(shown(page), films[name]) < 16, f"what {name} sees"
    )


@pytest.mark.action("file.import_camera", "edit.undo")
def test_photos_are_taken_by_key_and_taken_back(monkeypatch, photos, tmp_path, home, films):
    summer(photos, tmp_path, ("dress", "shoes"), EACH)
    first = {"dress": EACH, "shoes": EACH}

    def steps(made):
        page = made.camera_page
        program.wait(lambda: made.model.total == 2 * EACH, "the photos")
        client = made.session.workspace.client
        program.wait(lambda: client.classifier("summer").status == "ready", "the classifier")
        made.session.refresh_classifiers()
        program.wait(lambda: any(one.slug == "summer" for one in made.session.classifiers), "the classifier listed")
        choose_in_menu_bar(made, "&File", "Import from the camera…")
        program.wait(page.isVisible, "the page")
        picture_of(page, "Front", films)
        assert [page.camera.itemText(at) for at in range(page.camera.count())] == ["Front", "Back"]
        assert page.classifier.currentText() == "summer"
        program.wait(lambda: page.answer.full_text() in ("dress", "shoes", "None of these"), "the live answer")
        program.wait(page.hasFocus, "the focus on the page")

        pointer.key("1")
        program.wait(lambda: counts(made) == first | {"dress": EACH + 1}, "a photo under its label")
        program.wait(lambda: made.model.total == 2 * EACH + 1, "it in the list")
        workspace, set_id = made.session.workspace, made.session.open_set.training_set.id
        known = workspace.listing(set_id).images
        (taken,) = [one for one in known if one.original_filename.startswith("camera ")]
        data = np.frombuffer(workspace.image(set_id, taken), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image.shape[1::-1] == SIZE and likeness(image, films["Front"]) < 16

        pick(page.camera, "Back")
        picture_of(page, "Back", films)
        assert made.settings.camera.endswith("Back.mp4")
        program.wait(page.hasFocus, "the focus back on the page")
        messages, failed, encode = [], [], source.as_jpeg

        def fail_once(picture, quality, edge=0):
            if edge or failed:
                return encode(picture, quality, edge)
            failed.append(picture)
            raise source.UnreadableFrame("The picture is gone.")

        made.session.message.connect(lambda message: messages.append(message.text))
        monkeypatch.setattr(source, "as_jpeg", fail_once)
        pointer.xdotool("keydown", "2")
        try:
            failure = "Taking a photo: the picture is gone."
            program.wait(lambda: failure in messages, "the report of a photo that failed")
            program.wait(lambda: made.camera.burst_size >= 4, "photos while the key is held")
            assert counts(made)["shoes"] == EACH, "they are added together"
        finally:  # else the tests after a failure would have it held down
            pointer.xdotool("keyup", "2")
        program.wait(lambda: counts(made)["shoes"] > EACH, "the photos of the burst")
        imports_ended(made)

        pointer.key("space")
        program.wait(lambda: counts(made).get("unlabelled") == 1, "a photo without a label")
        imports_ended(made)
        for gone in ("unlabelled", "shoes", "dress"):
            program.wait(page.hasFocus, "the focus on the page")
            before = counts(made)
            pointer.key("ctrl+z")
            program.wait(lambda: counts(made) != before, f"{gone} taken back")  # noqa: B023
            program.wait(lambda: counts(made).get(gone, 0) == first.get(gone, 0), f"all of {gone}")  # noqa: B023
        assert counts(made) == first

        films_open = Films.made[0]
        films_open.failed.emit("“Back” gives no picture: another program may be using it.")
        assert page.picture.sentence.startswith("“Back” gives no picture") and films_open.opened == ""
        Films.films.clear()
        films_open.changed.emit()
        assert page.picture.sentence == source.NO_CAMERA
        pointer.key("Escape")
        program.wait(lambda: not page.isVisible() and made.photos.grid.isVisible(), "the photos again")

        monkeypatch.setattr(source, "ask_permission", lambda _context, answered: answered(False))
        choose_in_menu_bar(made, "&File", "Import from the camera…")
        program.wait(lambda: page.picture.sentence == source.REFUSED, "that the system does not permit it")

    assert program.run(monkeypatch, steps) == 0
