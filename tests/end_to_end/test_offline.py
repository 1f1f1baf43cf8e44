"""A service that is away: what was seen stays browsable and marked, edits wait and are sent, conflicts are said."""

import pytest

from apitorch_desktop.dataset.connections import Connections
from apitorch_desktop.paths import desktop_folder
from apitorch_desktop.ui.session import State
from tests.end_to_end import pointer, program
from tests.end_to_end.documented_program import cell, listed, pictures_shown, run, shown, use
from tests.misbehaving import Misbehaving


@pytest.fixture
def service(monkeypatch, photos):
    data = [path.read_bytes() for path in sorted((photos / "train" / "dress").iterdir())[:6]]
    with Misbehaving() as made:
        made.number = made.add_set("Coats", {"plains": data[:4], "mountain": data[4:]})
        use(monkeypatch, made)
        yield made


def seen_once(monkeypatch):
    """A first run, in which everything is seen."""

    def steps(made, _said):
        listed(made, 6)
        pictures_shown(made)

    run(monkeypatch, steps)


def away(made):
    program.wait(lambda: made.session.state is State.AWAY, "the service to be missed")
    program.wait(made.frame.away.isVisible, "the band that says so")


def waiting(made):
    return made.session.stores.edits.unfinished(made.session.connection.id)


def counts(made):
    return {label: len(ids) for label, ids in shown(made).items()}


def test_a_start_without_the_service_shows_what_was_seen_and_says_since_when(monkeypatch, service):
    seen_once(monkeypatch)
    service.vanish()

    def steps(made, said):
        program.wait(lambda: made.model.total == 6, "the photos seen before")
        away(made)
        pictures_shown(made)
        words = made.frame.away.words.whole()
        assert "is away: you see what was there" in words
        assert "Nothing answers" in made.frame.away.toolTip()
        assert made.frame.toolbar.connection.dot == "bad"
        assert not [one for one in said if "Listing the photos" in one]
        service.come_back()
        program.wait(lambda: made.session.state is State.READY, "its return, by itself")
        program.wait(lambda: not made.frame.away.isVisible(), "the band to go")
        listed(made, 6)

    run(monkeypatch, steps)


def test_edits_wait_over_a_restart_and_are_sent_on_return(monkeypatch, service):
    seen_once(monkeypatch)
    before = service.content(service.number)

    def offline(made, said):
        listed(made, 6)
        pictures_shown(made)
        service.vanish()
        pointer.click(cell(made, shown(made)["plains"][0]))
        pointer.key("1")
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 3}, "the photo under its new label")
        away(made)
        program.wait(lambda: any("kept here, and sent when the service is back" in one for one in said), "what is said")
        made.photos.delete(shown(made)["plains"][:1])
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "the deletion")
        program.wait(lambda: "2 changes wait" in made.frame.away.words.whole(), "how many wait")

    def restarted(made, _said):
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "what was seen, with what waits")
        away(made)
        program.wait(lambda: "2 changes wait" in made.frame.away.words.whole(), "how many wait")
        assert service.content(service.number) == before
        service.come_back()
        program.wait(lambda: not waiting(made), "what waited to be sent")
        content = service.content(service.number)
        assert {label: len(images) for label, images in content.items()} == {"mountain": 3, "plains": 2}
        listed(made, 5)
        program.wait(lambda: counts(made) == {"mountain": 3, "plains": 2}, "the grid as the service has it")
        assert sorted(one for ids in shown(made).values() for one in ids) == sorted(
            image.image_id for image in made.session.workspace.listing(service.number).images
        )
        made.editing.undo()
        program.wait(lambda: made.model.total == 6, "the undo of the deletion")
        made.editing.undo()
        program.wait(lambda: service.content(service.number) == before, "the undo of the move")

    run(monkeypatch, offline)
    run(monkeypatch, restarted)


@pytest.mark.parametrize("act", ["move", "delete"])
def test_what_others_deleted_meanwhile_is_said_with_what_to_do(monkeypatch, service, act):
    def steps(made, said):
        listed(made, 6)
        chosen = shown(made)["plains"][:2]
        service.vanish()
        if act == "move":
            made.photos.move(chosen, "mountain")
        else:
            made.photos.delete(chosen)
        away(made)
        program.wait(lambda: waiting(made), "the edit that waits")
        del service.sets[service.number].labels["plains"][chosen[0].removeprefix("ti_")]
        said.clear()
        service.come_back()
        program.wait(lambda: not waiting(made), "the edit")
        sentence = program.wait(
            lambda: next((one for one in said if one.startswith("While")), ""), f"what is said: {said}"
        )
        assert "deleted or moved by someone else, and left out" in sentence
        assert "You see what is there now; do again what you still want." in sentence
        left = 5 if act == "move" else 4
        program.wait(lambda: made.model.total == left, "the grid as the service has it")
        assert sum(map(len, service.content(service.number).values())) == left

    run(monkeypatch, steps)


def test_what_others_moved_meanwhile_stays_where_they_put_it(monkeypatch, service):
    service.ids = "random"

    def steps(made, said):
        listed(made, 6)
        chosen = shown(made)["plains"][0]
        service.vanish()
        made.photos.move([chosen], "mountain")
        away(made)
        program.wait(lambda: waiting(made), "the edit that waits")
        labels = service.sets[service.number].labels
        labels["desert"] = {"f" * 40: labels["plains"].pop(chosen.removeprefix("ti_"))}
        said.clear()
        service.come_back()
        program.wait(lambda: not waiting(made), "the edit")
        program.wait(
            lambda: any(one.startswith("While it was away: Not done: move 1 image") for one in said), f"{said}"
        )
        program.wait(lambda: counts(made) == {"desert": 1, "mountain": 2, "plains": 3}, "where they put it")

    run(monkeypatch, steps)


def test_photos_dropped_while_it_is_away_are_sent_on_return(monkeypatch, service, photos):
    dropped = sorted((photos / "train" / "shoes").iterdir())[:3]

    def steps(made, _said):
        from apitorch_desktop.ui.grid.drops import DroppedContent

        listed(made, 6)
        service.vanish()
        made.session.refresh()
        away(made)
        made.importing.begin(DroppedContent(paths=tuple(dropped)), str(service.number), "mountain")
        program.wait(lambda: [one.state for one in made.desk.statuses] == ["waiting"], "a transfer that waits")
        program.wait(lambda: "Nothing answers" in made.desk.statuses[0].note, "why it waits")
        service.come_back()
        program.wait(lambda: len(service.content(service.number)["mountain"]) == 5, "the photos")
        program.wait(lambda: made.model.total == 9, "the photos in the grid")

    run(monkeypatch, steps)


def test_each_connection_keeps_its_name_colour_and_what_was_seen_of_it(monkeypatch, service):
    other = Connections(desktop_folder()).add("Elsewhere", "http://127.0.0.1:9/", "#2f9e44")

    def steps(made, _said):
        listed(made, 6)
        button = made.frame.toolbar.connection
        assert (button.text(), button.stripe) == (made.session.connection.name, "#1971c2")
        made.connection_menu._fill()
        entries = {one.text(): one for one in made.frame.toolbar.connection_menu.actions()}
        assert not entries["Elsewhere"].icon().isNull()
        entries["Elsewhere"].trigger()
        program.wait(lambda: made.session.state is State.REFUSED, "that there is no key")
        assert (button.text(), button.stripe) == ("Elsewhere", other.colour)
        assert made.model.total == 0
        assert made.frame.away.change.isVisible()
        words = made.frame.away.words.whole()
        assert "There is no key at hand for “Elsewhere”. This machine has no keyring. Enter it again." in words
        service.vanish()
        made.connection_menu._fill()
        next(one for one in made.frame.toolbar.connection_menu.actions() if "environment" in one.text()).trigger()
        program.wait(lambda: made.model.total == 6, "what was seen of the first")
        away(made)

    run(monkeypatch, steps)
