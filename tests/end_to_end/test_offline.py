"""A service that is away: what was seen stays browsable and marked, edits wait and are sent, conflicts are said."""

import hashlib
import secrets

from apitorch_desktop.dataset.connections.store import ConnectionStore
from apitorch_desktop.ui.session.session import ConnectionState
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.utils.paths import desktop_folder
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.documented_program import (
    away,
    counts,
    drop_on_label,
    listed,
    pictures_shown,
    press_photo,
    run,
    select,
    shown,
    waiting,
)
from tests.helpers.widget_driver import choose_in_connection_menu, to_grid


def seen_once(monkeypatch):
    """A first run, in which everything is seen."""

    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)

    run(monkeypatch, steps)


def test_a_start_without_the_service_shows_what_was_seen_and_says_since_when(monkeypatch, service):
    seen_once(monkeypatch)
    service.vanish()

    def steps(made, said):
        program.wait(lambda: made.model.total == 6, "the photos seen before")
        away(made)
        pictures_shown(made)
        words = made.central_widget.offline_banner.words.full_text()
        assert "is away: you see what was there" in words
        assert "Nothing answers" in made.central_widget.offline_banner.toolTip()
        assert made.central_widget.toolbar.connection.dot == "bad"
        assert not [one for one in said if "Listing the photos" in one]
        service.come_back()
        program.wait(lambda: made.session.state is ConnectionState.READY, "its return, by itself")
        program.wait(lambda: not made.central_widget.offline_banner.isVisible(), "the band to go")
        listed(made, 6)

    run(monkeypatch, steps)


def test_edits_wait_over_a_restart_and_are_sent_on_return(monkeypatch, service):
    seen_once(monkeypatch)
    before = service.content(service.number)

    def offline(made, said):
        listed(made, 6)
        pictures_shown(made)
        service.vanish()
        press_photo(made, shown(made)["plains"][0])
        pointer.key("1")
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 3}, "the photo under its new label")
        away(made)
        program.wait(lambda: any("kept here, and sent when the service is back" in one for one in said), "what is said")
        press_photo(made, shown(made)["plains"][0])
        program.wait(lambda: made.model.selected_ids() == shown(made)["plains"][:1], "the selection")
        pointer.key("Delete")
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "the deletion")
        program.wait(lambda: "2 changes wait" in made.central_widget.offline_banner.words.full_text(), "how many wait")

    def restarted(made, _said):
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "what was seen, with what waits")
        away(made)
        program.wait(lambda: "2 changes wait" in made.central_widget.offline_banner.words.full_text(), "how many wait")
        assert service.content(service.number) == before
        service.come_back()
        program.wait(lambda: not waiting(made), "what waited to be sent")
        content = service.content(service.number)
        assert {label: len(images) for label, images in content.items()} == {"mountain": 3, "plains": 2}
        listed(made, 5)
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "the grid as the service has it")
        program.wait(
            lambda: (
                {one for ids in shown(made).values() for one in ids}
                == {f"ti_{one}" for one in service.image_ids(service.number)}
            ),
            "its ids",
        )
        to_grid(made)
        pointer.key("ctrl+z")
        program.wait(lambda: made.model.total == 6, "the undo of the deletion")
        pointer.key("ctrl+z")
        program.wait(lambda: service.content(service.number) == before, "the undo of the move")

    run(monkeypatch, offline)
    run(monkeypatch, restarted)


def someone_moves(service, image_id, label):
    """To copy is to have another id, where there is no call to move."""
    labels = service.sets[service.number].labels
    for images in list(labels.values()):
        image = images.pop(image_id.removeprefix("ti_"), None)
        if image is not None:
            labels.setdefault(label, {})[secrets.token_hex(20)] = image


def someone_deletes(service, image_id):
    for images in service.sets[service.number].labels.values():
        images.pop(image_id.removeprefix("ti_"), None)


def sent_into_conflict(made, service):
    """Two moves and two deletions, made while the service is away; meanwhile of each one is moved, and one deleted."""
    listed(made, 6)
    pictures_shown(made)
    moved, deleted = shown(made)["plains"][:2], shown(made)["plains"][2:]
    select(made, moved)
    service.vanish()
    pointer.key("1")
    away(made)
    select(made, deleted)
    pointer.key("Delete")
    program.wait(lambda: len(waiting(made)) == 2, "the edits that wait")
    someone_moves(service, moved[0], "desert")
    someone_deletes(service, moved[1])
    someone_moves(service, deleted[0], "meadow")
    someone_deletes(service, deleted[1])
    service.come_back()
    program.wait(lambda: not waiting(made), "the edits")


def to_decide(made, count):
    """The page, opened by a click on what the window says."""
    desk = made.wiring.conflicts
    program.wait(lambda: len(desk.views) == count and desk.banner.isVisible(), f"{count}: {desk.views}")
    assert f"{count} photo{'s' if count > 1 else ''} that you changed" in desk.banner.words.full_text()
    program.press(desk.banner.decide)
    program.wait(desk.page.isVisible, "the page")
    return desk


def test_what_others_moved_or_deleted_meanwhile_is_shown_until_it_is_decided(monkeypatch, service):
    def first(made, said):
        sent_into_conflict(made, service)
        desk = made.wiring.conflicts
        program.wait(lambda: desk.banner.isVisible(), "the line that says so")
        assert not [one for one in said if one.startswith("While it was away")]

    def second(made, said):
        desk = to_decide(made, 3)
        board, page = desk.page.board, desk.page
        spoken = [board.rows.data(board.rows.index(at)) for at in range(len(board.rows.rows))]
        assert [one for one in spoken if one[0].isupper()] == [
            "Now under “desert”. you chose “mountain”",
            "Deleted by someone else. you chose “mountain”",
            "Now under “meadow”. you deleted it",
        ]
        images = [row.image for row in board.rows.rows if hasattr(row, "image")]
        program.wait(lambda: all(board.loader.pixmap(one.image_id) for one in images), "their thumbnails")
        program.wait(lambda: board.hasFocus(), "the keys to go there")
        assert page.mine.accessibleName() == "Do mine: move to “mountain”, 1 photo"
        pointer.key("Return")  # the first, my way
        program.wait(lambda: counts(made).get("mountain") == 3, f"my way: {counts(made)}")
        program.wait(lambda: len(desk.views) == 2, "the rest")
        board.setCurrentIndex(board.rows.index(1))
        program.wait(lambda: not page.mine.isEnabled(), "that it cannot be done")
        assert "not on this computer" in page.mine.toolTip()
        program.press(page.theirs)
        program.wait(lambda: len(desk.views) == 1, "the last")
        pointer.key("Escape")
        program.wait(lambda: not page.isVisible() and desk.banner.isVisible(), "the photos again")
        desk = to_decide(made, 1)
        pointer.key("d")
        program.wait(lambda: not desk.views and not desk.banner.isVisible() and not page.isVisible(), "the end")
        program.wait(lambda: made.photos.grid.hasFocus(), "the keys to go to the photos")
        assert counts(made) == {"meadow": 1, "mountain": 3}
        pointer.key("ctrl+z")
        program.wait(lambda: counts(made).get("desert") == 1, "the undo of my way")

    def third(made, _said):
        listed(made, 4)
        program.wait(lambda: not made.tasks.active(Lane.INTERACTIVE), "a look")
        assert not made.wiring.conflicts.banner.isVisible()

    run(monkeypatch, first)
    run(monkeypatch, second)
    run(monkeypatch, third)


def test_a_photo_that_others_deleted_is_sent_again_from_where_it_came(monkeypatch, service, photos):
    path = min((photos / "train" / "shoes").iterdir())

    def steps(made, said):
        listed(made, 6)
        drop_on_label(made, [path], "plains")
        program.wait(lambda: made.model.total == 7 and any(one.startswith("Added 1") for one in said), "the photo")
        pictures_shown(made)
        new = next(
            one
            for one in shown(made)["plains"]
            if made.session.stores.transfers.origin(made.session.connection.id, one)
        )
        select(made, [new])
        service.vanish()
        pointer.key("1")
        away(made)
        program.wait(lambda: waiting(made), "the edit that waits")
        someone_deletes(service, new)
        service.come_back()
        desk = to_decide(made, 1)
        program.press(desk.page.mine)
        wanted = hashlib.sha256(path.read_bytes()).hexdigest()
        program.wait(lambda: wanted in service.content(service.number)["mountain"], "the photo, sent again")
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 4}, f"{counts(made)}")
        program.wait(lambda: not desk.banner.isVisible(), "nothing more to decide")

    run(monkeypatch, steps)


def test_photos_dropped_while_it_is_away_are_sent_on_return(monkeypatch, service, photos):
    dropped = sorted((photos / "train" / "shoes").iterdir())[:3]

    def steps(made, _said):
        listed(made, 6)
        service.vanish()
        made.session.refresh()
        away(made)
        drop_on_label(made, dropped, "mountain")
        program.wait(lambda: [one.state for one in made.transfers.statuses] == ["waiting"], "a transfer that waits")
        program.wait(lambda: "Nothing answers" in made.transfers.statuses[0].note, "why it waits")
        service.come_back()
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 5, "the photos")
        program.wait(lambda: made.model.total == 9, "the photos in the grid")

    run(monkeypatch, steps)


def test_each_connection_keeps_its_name_colour_and_what_was_seen_of_it(monkeypatch, service):
    other = ConnectionStore(desktop_folder()).add("Elsewhere", "http://127.0.0.1:9/", "#2f9e44")

    def steps(made, _said):
        listed(made, 6)
        button, first = made.central_widget.toolbar.connection, made.session.connection.name
        assert (button.text(), button.stripe) == (first, "#1971c2")
        made.connection_menu._fill()
        entries = {one.text(): one for one in made.central_widget.toolbar.connection_menu.actions()}
        assert not entries["Elsewhere"].icon().isNull()
        choose_in_connection_menu(made, "Elsewhere")
        program.wait(lambda: made.session.state is ConnectionState.REFUSED, "that there is no key")
        assert (button.text(), button.stripe) == ("Elsewhere", other.color)
        assert made.model.total == 0
        assert made.central_widget.offline_banner.change.isVisible()
        words = made.central_widget.offline_banner.words.full_text()
        assert "There is no key for “Elsewhere”. This machine has no keyring. Enter it again." in words
        service.vanish()
        choose_in_connection_menu(made, first)
        program.wait(lambda: made.model.total == 6, "what was seen of the first")
        away(made)

    run(monkeypatch, steps)
