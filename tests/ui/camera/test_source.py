"""Frames of cameras in each form that they come in, and what is said where there is no camera, or no QtMultimedia."""

import sys

import cv2
import numpy as np
import pytest

from apitorch_desktop.ui.camera import source

multimedia = pytest.importorskip("PySide6.QtMultimedia", exc_type=ImportError)
from PySide6.QtCore import QObject, QSize  # noqa: E402
from PySide6.QtGui import QImage  # noqa: E402
from PySide6.QtMultimedia import QVideoFrame, QVideoFrameFormat  # noqa: E402

WIDTH, HEIGHT = 64, 32


@pytest.fixture(scope="module")
def scene():
    """Four areas of one color each, blue, green and red."""
    made = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for row, column, color in (
        (0, 0, (200, 60, 40)),
        (0, 1, (40, 190, 70)),
        (1, 0, (50, 60, 200)),
        (1, 1, (220, 220, 220)),
    ):
        half, side = HEIGHT // 2, WIDTH // 2
        made[row * half : (row + 1) * half, column * side : (column + 1) * side] = color
    return made


def planes_of(form, scene):
    """The planes of the scene in a form, each as rows of bytes."""
    four = np.dstack([scene, np.full(scene.shape[:2], 255, np.uint8)])
    orders = {
        "BGRA8888": (0, 1, 2, 3), "BGRX8888": (0, 1, 2, 3), "ARGB8888": (3, 2, 1, 0), "XRGB8888": (3, 2, 1, 0),
        "ABGR8888": (3, 0, 1, 2), "XBGR8888": (3, 0, 1, 2), "RGBA8888": (2, 1, 0, 3), "RGBX8888": (2, 1, 0, 3),
    }  # fmt: skip
    if form in orders:
        return [np.ascontiguousarray(four[:, :, orders[form]]).reshape(HEIGHT, -1)]
    if form == "Y8":
        return [cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)]
    flat = cv2.cvtColor(scene, cv2.COLOR_BGR2YUV_I420)
    light = flat[:HEIGHT]
    blue, red = flat[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    if form in ("YUV420P", "YV12"):
        return [light, blue, red] if form == "YUV420P" else [light, red, blue]
    if form in ("NV12", "NV21"):
        pair = (blue, red) if form == "NV12" else (red, blue)
        return [light, np.dstack(pair).reshape(HEIGHT // 2, WIDTH)]
    wide = [np.repeat(part, 2, axis=0) for part in (blue, red)]
    colors = np.dstack(wide).reshape(HEIGHT, WIDTH)
    pair = (light, colors) if form == "YUYV" else (colors, light)
    return [np.dstack(pair).reshape(HEIGHT, 2 * WIDTH)]


def frame_of(form, scene):
    frame = QVideoFrame(QVideoFrameFormat(QSize(WIDTH, HEIGHT), QVideoFrameFormat.PixelFormat[f"Format_{form}"]))
    assert frame.map(QVideoFrame.MapMode.WriteOnly)
    for at, rows in enumerate(planes_of(form, scene)):
        line = frame.bytesPerLine(at)
        target = np.frombuffer(frame.bits(at), np.uint8)
        for row, data in enumerate(rows):
            target[row * line : row * line + len(data)] = data
    frame.unmap()
    return frame


@pytest.mark.parametrize(
    "form",
    ["BGRA8888", "BGRX8888", "ARGB8888", "XRGB8888", "ABGR8888", "XBGR8888", "RGBA8888", "RGBX8888", "Y8", "YUV420P", "YV12",
     "NV12", "NV21", "YUYV", "UYVY"],
)  # fmt: skip
def test_a_frame_of_each_form_shows_the_scene(qapp, scene, form):
    read = source.pixels(frame_of(form, scene))
    expected = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) if form == "Y8" else scene
    assert read.shape == expected.shape and read.flags.c_contiguous
    inside = np.ones(expected.shape, bool)  # colors of two pixels each way run into one another at the borders
    inside[HEIGHT // 2 - 2 : HEIGHT // 2 + 2] = inside[:, WIDTH // 2 - 2 : WIDTH // 2 + 2] = False
    assert np.abs(read.astype(int) - expected)[inside].max() <= 4


def test_a_turned_and_a_mirrored_frame_are_upright(qapp, scene):
    from PySide6.QtMultimedia import QtVideo

    frame = frame_of("BGRA8888", scene)
    frame.setRotation(QtVideo.Rotation.Clockwise90)
    assert np.array_equal(source.pixels(frame), np.rot90(scene, -1))
    frame = frame_of("BGRA8888", scene)
    frame.setMirrored(True)
    assert np.array_equal(source.pixels(frame), scene[:, ::-1])


def test_a_form_that_is_not_read_and_a_cut_off_picture_are_sentences(qapp, scene):
    frame = QVideoFrame(QVideoFrameFormat(QSize(WIDTH, HEIGHT), QVideoFrameFormat.PixelFormat.Format_P010))
    with pytest.raises(source.UnreadableFrame, match="P010"):
        source.pixels(frame)
    whole = np.frombuffer(source.as_jpeg(scene, 90), np.uint8)
    assert source._converted("Jpeg", WIDTH, HEIGHT, [(whole, len(whole))]).shape == scene.shape
    with pytest.raises(source.UnreadableFrame, match="incomplete"):
        source._converted("Jpeg", WIDTH, HEIGHT, [(whole[:40], 40)])
    with pytest.raises(source.UnreadableFrame, match="incomplete"):
        source._converted("BGRA8888", WIDTH, HEIGHT, [(np.zeros(4 * WIDTH, np.uint8), 4 * WIDTH)])


def test_what_is_missing_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(source, "find_spec", lambda _name: None)
    with pytest.raises(source.NoMultimedia, match=r'pip install "apitorch-desktop\[camera\]"'):
        source.load_multimedia()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(source.NoMultimedia, match="This edition"):
        source.load_multimedia()

    def broken(_name):
        raise ImportError("libpulse.so.0: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(source, "find_spec", lambda _name: object())
    monkeypatch.setattr(source, "import_module", broken)
    with pytest.raises(source.NoMultimedia, match=r"library libpulse\.so\.0"):
        source.load_multimedia()


def test_a_camera_that_is_gone_is_a_sentence(qapp):
    owner, said = QObject(), []
    cameras = source.Cameras(source.make_sink(owner), owner)
    cameras.failed.connect(said.append)
    cameras.open(source.CameraDevice("gone", "Webcam"))
    assert said == ["“Webcam” is not connected any more."]
    cameras.close()
    assert all(one.name for one in cameras.all())
    assert not QImage.fromData(source.as_jpeg(np.zeros((900, 600, 3), np.uint8), 85, 480)).isNull()
    owner.deleteLater()
