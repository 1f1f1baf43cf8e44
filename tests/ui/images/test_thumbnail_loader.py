import time

import pytest
from PySide6.QtGui import QPixmap

from apitorch_desktop.api.errors import ConnectionFailed, NotFound
from apitorch_desktop.ui.images import thumbnail_loader as loading
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.vision.images import UnreadableImage
from tests.helpers.event_loop import turn, wait_until
from tests.helpers.grid_driver import image


@pytest.fixture
def told(loader):
    told = []
    loader.loaded.connect(told.extend)
    return told


def test_a_picture_comes_in_the_wanted_size_and_is_told_of(loader, told):
    one = image(1)
    assert loader.pixmap(one.image_id) is None
    loader.request([one], 126)
    wait_until(lambda: told)
    pixmap = loader.pixmap(one.image_id)
    assert isinstance(pixmap, QPixmap)
    assert min(pixmap.width(), pixmap.height()) == 126
    assert pixmap.width() != pixmap.height(), "the whole photo is kept, not the crop"


def test_another_size_is_fetched_anew_and_the_old_one_shown_until_then(loader, source, told):
    one = image(1)
    loader.request([one], 100)
    wait_until(lambda: told)
    source.gate.clear()
    loader.request([one], 200)
    turn()
    assert min(loader.pixmap(one.image_id).size().toTuple()) == 100
    source.gate.set()
    wait_until(lambda: min(loader.pixmap(one.image_id).size().toTuple()) == 200)
    turn()
    asked = len(source.asked)
    loader.request([one], 200)
    turn()
    assert len(source.asked) == asked


def test_cells_larger_than_a_thumbnail_get_the_image_itself_after_its_thumbnail(loader, told):
    one = image(1, width=400, height=533)
    loader.request([one], 380)
    wait_until(lambda: told)
    assert min(loader.pixmap(one.image_id).size().toTuple()) in (256, 380)
    wait_until(lambda: min(loader.pixmap(one.image_id).size().toTuple()) == 380)


def test_an_image_no_larger_than_its_thumbnail_is_not_fetched_for_more(loader, source, told):
    loader.request([image(1, width=200, height=260)], 380)
    wait_until(lambda: told and loader.idle)
    assert len(source.asked) == 1


def test_the_most_wanted_comes_first_and_what_is_wanted_no_more_is_not_fetched(loader, source, told):
    images = [image(number) for number in range(200)]
    source.gate.clear()
    loader.request(images[:100], 100)
    wait_until(lambda: len(source.asked) == 2)  # the lane has two threads
    loader.request(images[150:160], 100)
    source.gate.set()
    wait_until(lambda: all(loader.pixmap(one.image_id) for one in images[150:160]))
    wait_until(lambda: loader.idle)
    asked = source.asked
    assert set(asked[2:]) <= {one.image_id for one in [*images[:4], *images[150:160]]}
    order = [one for one in asked if one in {image.image_id for image in images[150:160]}]
    assert order == sorted(order)


def test_a_failure_has_its_reason_and_is_tried_again(loader, source, told, monkeypatch):
    monkeypatch.setattr(loading, "_DELAYS", (0.05,))
    one = image(1)
    source.errors[one.image_id] = ConnectionFailed("The service does not answer.")
    loader.request([one], 100)
    wait_until(lambda: told)
    assert loader.failure(one.image_id) == "The service does not answer."
    source.errors.clear()
    wait_until(lambda: loader.pixmap(one.image_id))
    assert loader.failure(one.image_id) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreadableImage("The PNG is damaged."), "The PNG is damaged."),
        (NotFound("none such"), "The service does not have this photo any more."),
    ],
)
def test_what_cannot_get_better_is_tried_again_only_when_told_to(loader, source, told, error, reason, monkeypatch):
    monkeypatch.setattr(loading, "_DELAYS", (0.01,))
    one = image(1)
    source.errors[one.image_id] = error
    loader.request([one], 100)
    wait_until(lambda: told)
    assert loader.failure(one.image_id) == reason
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        turn()
    assert len(source.asked) == 1
    source.errors.clear()
    loader.retry()
    wait_until(lambda: loader.pixmap(one.image_id))


def test_bytes_that_are_no_picture_say_so(tasks, qapp):
    loader = ThumbnailLoader(tasks, lambda image, cancelled: b"<html>log in</html>")
    one = image(1)
    loader.request([one], 100)
    wait_until(lambda: loader.failure(one.image_id))
    assert loader.failure(one.image_id).startswith("It is a web page") or "not an image" in loader.failure(one.image_id)


def test_a_fault_of_ours_is_told_once_not_a_thousand_times(loader, source, tasks, told):
    shown = []
    tasks.failures.connect(shown.append)
    images = [image(number) for number in range(20)]
    for one in images:
        source.errors[one.image_id] = KeyError("a fault")
    loader.request(images, 100)
    wait_until(lambda: len(told) >= 20)
    assert len(shown) == 1
    assert loader.failure(images[7].image_id) == "Something went wrong with this photo."


def test_the_cache_is_bounded_and_what_is_wanted_stays(tasks, source):
    loader = ThumbnailLoader(tasks, source, budget=2_000_000)
    images = [image(number) for number in range(100)]
    for start in range(0, 100, 20):
        loader.request(images[start : start + 20], 120)
        wait_until(lambda start=start: all(loader.pixmap(one.image_id) for one in images[start : start + 20]))
        assert loader.bytes <= 2_000_000
    assert loader.pixmap(images[0].image_id) is None
    loader.request(images, 120)  # more than there is room for: all of it is on the screen, so all of it stays
    wait_until(lambda: all(loader.pixmap(one.image_id) for one in images))
    asked = len(source.asked)
    wait_until(lambda: loader.idle)
    assert len(source.asked) == asked
    loader.clear()
    assert loader.bytes == 0


def test_ids_that_changed_keep_their_pictures(loader, source, told):
    one = image(1)
    loader.request([one], 100)
    wait_until(lambda: told)
    loader.rename_ids({one.image_id: "ti_new"})
    assert loader.pixmap("ti_new") is not None
    assert loader.pixmap(one.image_id) is None


def test_another_source_forgets_the_pictures_of_the_first(loader, source, told):
    one = image(1)
    loader.request([one], 100)
    wait_until(lambda: told)
    loader.set_source(source)
    assert loader.pixmap(one.image_id) is None
    loader.request([one], 100)
    wait_until(lambda: loader.pixmap(one.image_id))
