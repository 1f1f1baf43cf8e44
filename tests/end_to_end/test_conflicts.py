"""Photos that someone else deleted or moved on our own service, while edits waited or between two looks: decided by pointer."""

from contextlib import contextmanager

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.service.launcher import ServiceProcess
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow
from apitorch_desktop.utils.paths import service_folder
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.documented_program import away, counts, listed, pictures_shown, press_photo, run, shown, waiting
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import press_cell

LABELS = ("dress", "hat", "pants")


@pytest.fixture(autouse=True)
def photographs(photos, tmp_path, home):
    return summer(photos, tmp_path, LABELS, 3)


@contextmanager
def someone_else():
    """Another program with the same key, on the embedded service itself."""
    service = ServiceProcess(service_folder())
    service.attach_or_start()
    client = ApiClient(service.url, service.key)
    try:
        yield client
    finally:
        client.close()
        service.stop(10)


@contextmanager
def no_service():
    """The folder of the embedded service cannot be used, as if its disk were not there."""
    folder, aside = service_folder(), service_folder().with_name("aside")
    folder.rename(aside)
    folder.write_text("")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def there(client):
    """Label → ids, as the service has them."""
    [one] = client.training_sets()
    return {group.label: {image.image_id for image in group.images} for group in client.images(one.id).data}


def all_there(made):
    """Label → ids, as the window's service has them at this moment."""
    return there(made.session.workspace.client)


def change(made, first, second):
    """One photo under another label, another one deleted, by hand."""
    press_photo(made, first)
    pointer.key("3")
    program.wait(lambda: counts(made)["pants"] == 4, "the photo under its new label")
    press_photo(made, second)
    pointer.key("Delete")


def rows(board, kind):
    return [(at, row) for at, row in enumerate(board.rows.rows) if isinstance(row, kind)]


def page_of(made, count):
    """The page, opened by a click on what the window says."""
    desk = made.wiring.conflicts
    program.wait(lambda: len(desk.views) == count and desk.banner.isVisible(), f"{count}: {desk.views}")
    program.press(desk.banner.decide)
    program.wait(desk.page.isVisible, "the page")
    return desk


def press_on_page(desk, image_id):
    board = desk.page.board
    [at] = [at for at, row in rows(board, PhotoRow) if row.image.image_id == image_id]
    press_cell(board, board.rows.index(at))
    program.wait(lambda: [row.image.image_id for row in board.selected_rows()] == [image_id], "the photo chosen")


def test_edits_that_waited_meet_what_someone_else_did_on_the_embedded_service(monkeypatch):
    chosen = {}

    def seen(made, _said):
        listed(made, 9)
        pictures_shown(made)
        chosen["dress"], chosen["hat"] = shown(made)["dress"], shown(made)["hat"]

    def offline(made, _said):
        program.wait(lambda: made.model.total == 9, "the photos seen before")
        away(made)
        change(made, chosen["dress"][0], chosen["hat"][0])
        program.wait(lambda: counts(made)["hat"] == 2, "the deletion")
        press_photo(made, chosen["dress"][1])
        pointer.key("3")
        program.wait(lambda: len(waiting(made)) == 3, "the edits that wait")

    def back(made, said):
        program.wait(lambda: not waiting(made) and made.session.open_set.listed, "the edits to be sent")
        desk = page_of(made, 2)
        headings = [(row.title, row.note) for _, row in rows(desk.page.board, HeadingRow)]
        assert sorted(headings) == [
            ("Deleted by someone else", "you chose “pants”"),
            ("Now under “scarf”", "you deleted it"),
        ]
        images = [row.image for _, row in rows(desk.page.board, PhotoRow)]
        program.wait(lambda: all(desk.page.board.loader.pixmap(one.image_id) for one in images), "their thumbnails")
        press_on_page(desk, chosen["hat"][0])
        assert desk.page.mine.text() == "Do mine: delete"
        assert desk.page.hint.text() == "Return does yours with what is selected · D keeps theirs"
        program.press(desk.page.mine)
        program.wait(lambda: all_there(made).get("scarf", set()) == set(), "my deletion")
        program.wait(lambda: len(desk.views) == 1, "the other one")
        press_on_page(desk, chosen["dress"][0])
        program.press(desk.page.theirs)
        program.wait(lambda: not desk.banner.isVisible() and not desk.page.isVisible(), "nothing more to decide")
        found = all_there(made)
        assert {label: len(ids) for label, ids in found.items() if ids} == {"dress": 1, "hat": 2, "pants": 4}
        assert chosen["dress"][1] in found["pants"]
        pointer.key("ctrl+z")
        program.wait(lambda: len(all_there(made).get("scarf", ())) == 1, f"the undo of my deletion: {said}")

    run(monkeypatch, seen)
    with no_service():
        run(monkeypatch, offline)
    with someone_else() as client:
        client.delete_image(chosen["dress"][0])
        client.move_images(client.training_sets()[0].id, [chosen["hat"][0]], "scarf")
        assert {label: len(ids) for label, ids in there(client).items()} == {
            "dress": 2, "hat": 2, "pants": 3, "scarf": 1,
        }  # fmt: skip
    run(monkeypatch, back)


def test_what_someone_else_did_between_two_looks_is_decided_on_the_same_page(monkeypatch):
    def steps(made, said):
        listed(made, 9)
        pictures_shown(made)
        (deleted, moved, third), hat = shown(made)["dress"], shown(made)["hat"][0]
        with someone_else() as client:
            client.delete_image(deleted)
            client.move_images(client.training_sets()[0].id, [moved], "scarf")
        press_photo(made, deleted)
        pointer.key("shift+Right", "shift+Right")
        program.wait(lambda: set(made.model.selected_ids()) == {deleted, moved, third}, "the three selected")
        pointer.key("3")
        desk = page_of(made, 2)
        assert any("2 photos were deleted or moved by someone else, and left out." in one for one in said), said
        assert third in all_there(made)["pants"]
        assert all_there(made)["scarf"] == {moved}
        press_on_page(desk, moved)
        assert desk.page.mine.text() == "Do mine: move to “pants”"
        program.press(desk.page.mine)
        program.wait(lambda: moved in all_there(made)["pants"], "my move")
        program.wait(lambda: len(desk.views) == 1, "the other one")
        press_on_page(desk, deleted)
        assert not desk.page.mine.isEnabled()
        program.press(desk.page.theirs)
        program.wait(lambda: not desk.page.isVisible() and not desk.banner.isVisible(), "nothing more to decide")
        program.wait(lambda: counts(made) == {"hat": 3, "pants": 5}, "the grid")

        with someone_else() as client:
            client.move_images(client.training_sets()[0].id, [hat], "scarf")
        press_photo(made, hat)
        pointer.key("Delete")
        desk = page_of(made, 1)
        assert any("omeone else deleted or moved these photos" in one for one in said), said[-1]
        program.wait(lambda: counts(made) == {"hat": 2, "pants": 5, "scarf": 1}, "what is there, shown")
        program.press(desk.page.mine)
        program.wait(lambda: not all_there(made).get("scarf"), "my deletion")
        program.wait(lambda: not desk.page.isVisible() and counts(made) == {"hat": 2, "pants": 5}, "the grid")

    run(monkeypatch, steps)
