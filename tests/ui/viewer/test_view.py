"""The full-size view over real photos and hostile files, by a real mouse and keyboard."""

import io
import itertools
import time

import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt, QTimer

from apitorch_desktop.ui.viewer.view import PhotoView, details
from tests.helpers.event_loop import expose, turn, wait_until
from tests.helpers.grid_driver import image
from tests.helpers.x11_pointer import key, write, xdotool


def jpeg(width, height, color=(200, 80, 40), **options):
    stream = io.BytesIO()
    picture = Image.new("RGB", (width, height), color)
    picture.paste((20, 20, 220), (0, 0, width // 2, height // 2))
    picture.save(stream, "JPEG", **options)
    return stream.getvalue()


class Album:
    """Files by image id."""

    def __init__(self):
        self.files = {}
        self.images = []
        self.asked = []
        self.errors = {}

    def add(self, data, **more):
        one = image(len(self.images) + 1, **more)
        self.images.append(one)
        self.files[one.image_id] = data
        return one

    def __call__(self, image, cancelled):
        self.asked.append(image.image_id)
        if image.image_id in self.errors:
            raise self.errors[image.image_id]
        return self.files[image.image_id]

    def neighbor(self, image_id, step):
        at = [one.image_id for one in self.images].index(image_id) + step
        return self.images[at] if 0 <= at < len(self.images) else None


@pytest.fixture
def album(photos):
    album = Album()
    for path in sorted((photos / "train" / "shirt").glob("*.jpg"))[:4]:
        album.add(path.read_bytes(), original_filename=path.name, bytes=path.stat().st_size)
    return album


@pytest.fixture
def view(qtbot, tasks, album, theme):
    view = PhotoView(tasks, album, album.neighbor, theme)
    qtbot.addWidget(view)
    view.setGeometry(60, 60, 800, 640)
    expose(view)
    view.activateWindow()
    view.setFocus()
    wait_until(view.hasFocus)
    return view


def photo(view):
    return view._photos.get(view.image().image_id)


def show(view, one):
    view.show_image(one)
    wait_until(lambda: photo(view).fitted is not None or photo(view).reason)
    turn()


def pixel(view, x, y):
    """The color at a share of the photo's width and height on the screen."""
    target = view.canvas._target()
    point = QPoint(round(target.x() + target.width() * x), round(target.y() + target.height() * y))
    return view.canvas.grab().toImage().pixelColor(point)


def test_a_photo_is_fitted_whole_into_the_window(view, album):
    one = album.add(jpeg(3000, 1000))
    show(view, one)
    target = view.canvas._target()
    assert view.canvas.rect().contains(target.toAlignedRect())
    assert target.width() == pytest.approx(3 * target.height(), abs=3)
    assert target.width() > 700
    assert pixel(view, 0.25, 0.25).blue() > 200
    assert pixel(view, 0.75, 0.75).red() > 180
    assert photo(view).fitted.width() < 1000, "no more pixels than the window shows"


def test_a_small_photo_is_enlarged_at_most_twice(view, album):
    show(view, album.add(jpeg(100, 80)))
    assert view.canvas.zoom() == 2


def test_what_exif_turns_is_shown_upright(view, album):
    exif = Image.Exif()
    exif[0x0112] = 6
    show(view, album.add(jpeg(900, 600, exif=exif)))
    assert photo(view).size == (600, 900)
    assert pixel(view, 0.75, 0.25).blue() > 200, "the blue corner is on the upper right now"


def test_one_to_one_zoom_and_pan(view, album):
    show(view, album.add(jpeg(4000, 3000)))
    view.canvas.set_zoom(1)
    assert view.canvas.zoom() == 1
    wait_until(lambda: photo(view).complete)
    assert photo(view).image_for(1).width() == 4000
    assert len(photo(view).levels) >= 3
    assert "100 %" in view.zoom_label.text()
    before = view.canvas._target().x()
    key("shift+Right")
    assert view.canvas._target().x() < before
    for _ in range(60):
        view.canvas.pan(500, 500)
    assert view.canvas._target().topLeft().toPoint() == QPoint(0, 0), "no further than the photo's edge"
    key("plus")
    assert view.canvas.zoom() == 1.25
    view.canvas.fit()
    assert view.canvas.fitted
    for _ in range(40):
        key("plus")
    assert view.canvas.zoom() == 32
    for _ in range(60):
        key("minus")
    assert view.canvas.fitted


def test_the_wheel_zooms_at_the_pointer_and_a_drag_pans(view, album):
    show(view, album.add(jpeg(4000, 3000)))
    center = view.canvas.mapToGlobal(view.canvas.rect().center())
    at = center + QPoint(150, 100)
    target = view.canvas._target()
    inside = view.canvas.mapFromGlobal(at)
    share = (inside.x() - target.x()) / target.width()
    xdotool("mousemove", at.x(), at.y(), "click", "--repeat", 6, 4)
    target = view.canvas._target()
    assert not view.canvas.fitted
    assert (inside.x() - target.x()) / target.width() == pytest.approx(share, abs=0.01)
    assert view.canvas.cursor().shape() == Qt.CursorShape.OpenHandCursor
    before = target.topLeft()
    xdotool("mousemove", at.x(), at.y(), "mousedown", 1, "mousemove", at.x() - 60, at.y() - 40, "mouseup", 1)
    moved = view.canvas._target().topLeft() - before
    assert (round(moved.x()), round(moved.y())) == (-60, -40)


def test_a_double_click_goes_to_pixels_and_back(view, album):
    show(view, album.add(jpeg(3000, 2000)))
    center = view.canvas.mapToGlobal(view.canvas.rect().center())
    xdotool("mousemove", center.x(), center.y(), "click", "--repeat", 2, "--delay", 30, 1)
    assert view.canvas.zoom() == 1
    time.sleep(0.5)  # else it is one of four clicks
    xdotool("mousemove", center.x(), center.y(), "click", "--repeat", 2, "--delay", 30, 1)
    assert view.canvas.fitted


def test_arrows_go_on_and_back_and_end_at_the_ends(view, album):
    seen = []
    view.image_changed.connect(seen.append)
    show(view, album.images[0])
    assert not view.previous.isEnabled()
    key("Right", "Right", "Right", "Right", "Right")
    assert view.image() is album.images[3]
    assert not view.next.isEnabled()
    key("Left", "Up")
    assert view.image() is album.images[1]
    key("Down", "space")
    assert view.image() is album.images[3]
    key("BackSpace")
    assert view.image() is album.images[2]
    assert seen[0] is album.images[0]
    view.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    key("Left")
    assert view.image() is album.images[3]


def test_neighbours_are_loaded_ahead_and_what_is_left_behind_is_let_go(view, album):
    show(view, album.images[1])
    wait_until(lambda: all(one.image_id in album.asked for one in (album.images[0], album.images[2])))
    assert album.images[3].image_id not in album.asked
    key("Right", "Right")
    wait_until(lambda: photo(view).fitted is not None)
    assert view._photos.get(album.images[0].image_id) is None
    asked = len(album.asked)
    key("Left")
    turn()
    assert len(album.asked) == asked + 1, "only the one before it; itself was there"
    view.show_image(None)
    assert view._photos._photos == {}


def test_label_keys_and_escape_are_passed_on(view, album):
    typed, closed = [], []
    view.label_key.connect(typed.append)
    view.closed.connect(lambda: closed.append(1))
    show(view, album.images[0])
    write("1s0")
    key("Escape")
    assert typed == ["1", "s", "0"]
    assert closed == [1]


def test_the_menu_is_asked_for_where_the_pointer_is(view, album):
    asked = []
    view.context_menu_requested.connect(asked.append)
    show(view, album.images[0])
    xdotool("mousemove", 300, 300, "click", 3)
    assert asked == [QPoint(300, 300)]


def test_a_photo_that_cannot_be_read_says_why_and_can_be_tried_again(view, album):
    broken = album.add(album.files[album.images[0].image_id][:2000])
    show(view, broken)
    assert "cut off" in photo(view).reason
    assert view.retry.isVisible()
    shot = view.canvas.grab().toImage()
    assert len({shot.pixel(x, y) for x in range(250, 550, 3) for y in range(200, 400, 3)}) > 3, "there are words"
    album.files[broken.image_id] = album.files[album.images[0].image_id]
    view.retry.click()
    wait_until(lambda: photo(view).fitted is not None)
    assert not view.retry.isVisible()


def test_a_failed_connection_is_a_reason_not_a_fault(view, album, tasks):
    from apitorch_desktop.api.errors import ConnectionFailed

    shown = []
    tasks.failures.connect(shown.append)
    album.errors[album.images[1].image_id] = ConnectionFailed("The service does not answer.")
    show(view, album.images[1])
    assert photo(view).reason == "The service does not answer."
    assert shown == []


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_hostile_files_have_their_sentence(view, album, data):
    show(view, album.add(data))
    assert len(photo(view).reason) > 10
    assert photo(view).reason.endswith(".")


def test_details_are_what_the_service_tells(view, album):
    one = album.add(jpeg(40, 30), width=40, height=30, bytes=1_234_000, created_at="2024-05-03T12:04:05Z")
    view.show_image(one)
    assert view.name.full_text() == "IMG_5.jpg"
    parts = view.details.full_text().split(" · ")
    assert parts[:3] == [one.label, "40 × 30", "1.2 MB"]
    assert "2024" in parts[3]
    assert view.id.full_text() == one.image_id
    assert "some day" not in " ".join(details(image(1, created_at="some day")))


def test_the_thumbnail_is_there_until_the_photo_is(qtbot, tasks, album, theme):
    import threading

    from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
    from apitorch_desktop.vision.images import thumbnail

    gate = threading.Event()
    one = album.images[0]
    loader = ThumbnailLoader(tasks, lambda image, cancelled: thumbnail(album.files[image.image_id]))
    loader.request([one], 100)
    wait_until(lambda: loader.pixmap(one.image_id))

    def slow(image, cancelled):
        gate.wait(60)
        return album(image, cancelled)

    view = PhotoView(tasks, slow, album.neighbor, theme, loader=loader)
    qtbot.addWidget(view)
    view.resize(600, 500)
    view.show()
    view.show_image(one)
    turn()
    bar, canvas = theme.color("bar"), theme.color("canvas")
    assert pixel(view, 0.5, 0.5) not in (bar, canvas)
    gate.set()
    wait_until(lambda: photo(view).fitted is not None)


def test_a_photo_of_forty_megapixels_does_not_stop_the_window(view, album):
    """A generous bound on what the thread itself computes between two beats."""
    one = album.add(jpeg(8000, 5000))
    beats = []
    timer = QTimer(interval=10, timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: beats.append(time.thread_time()))
    timer.start()
    show(view, one)
    view.canvas.set_zoom(1)
    wait_until(lambda: photo(view).complete)
    turn()
    timer.stop()
    worst = max(later - sooner for sooner, later in itertools.pairwise(beats))
    assert worst < 0.5
    assert photo(view).levels[0].width() == 8000
