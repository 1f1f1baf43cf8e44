"""Photos that someone else deleted or moved before an edit of them was sent: kept until decided, done my way or theirs."""

import secrets

import pytest

from apitorch_desktop.api.errors import BadRequest, ConnectionFailed, NotFound
from apitorch_desktop.dataset.edits.conflicts import ConflictView
from apitorch_desktop.dataset.edits.history import EditStage
from apitorch_desktop.dataset.edits.model import EditConflict
from tests.helpers.dataset_home import Home, picture
from tests.helpers.fake_api import FakeApi


class Away:
    """A home whose service can be gone, of either kind."""

    def __init__(self, home: Home, documented: FakeApi | None) -> None:
        self.home, self._documented = home, documented
        for image in home.listing().images:
            home.workspace.thumbnail(home.set_id, image)
        self.others = home.client
        self.data = {image.image_id: home.workspace.image(home.set_id, image) for image in home.listing().images}

    def leave(self) -> None:
        if self._documented is not None:
            self._documented.vanish()
            return
        self._right = self.home.client._transport.call

        def call(*_given, **_more):
            failure = ConnectionFailed("Nothing answers.")
            failure.unsent = True
            raise failure

        self.home.client._transport.call = call

    def come_back(self) -> None:
        if self._documented is not None:
            self._documented.come_back()
        else:
            self.home.client._transport.call = self._right

    def someone_deletes(self, image_id: str) -> None:
        if self._documented is None:
            self.others.delete_image(image_id)
            return
        for images in self._documented.sets[self.home.set_id].labels.values():
            images.pop(image_id.removeprefix("ti_"), None)

    def someone_moves(self, image_id: str, label: str) -> None:
        if self._documented is None:
            self.others.move_images(self.home.set_id, [image_id], label)
            return
        labels = self._documented.sets[self.home.set_id].labels
        for images in list(labels.values()):
            image = images.pop(image_id.removeprefix("ti_"), None)
            if image is not None:
                labels.setdefault(label, {})[secrets.token_hex(20)] = image  # a copy has another id


@pytest.fixture(params=["real", "plain"])
def away(request, documented):
    return Away(request.getfixturevalue(request.param), documented if request.param == "plain" else None)


def original(_image_id: str) -> bytes | None:
    return None


def looked(home: Home, find=original):
    return [
        (
            one.conflict.name or one.conflict.image_id,
            one.conflict.label,
            one.current_label,
            one.conflict.wanted,
            one.reason,
        )
        for one in home.edits.conflicts.check(home.workspace, find)
    ]


def counts(home: Home) -> dict[str, int]:
    return {label: len(images) for label, images in home.content(empty=False).items()}


def conflicting(away: Away):
    """Two moves and two deletions, sent after someone else moved one of each, and deleted the others."""
    home = away.home
    moved, deleted = home.images("l0")[:3], home.images("l1")[:3]
    away.leave()
    home.edits.move(home.workspace, home.set_id, moved, "l9")
    home.edits.delete(home.workspace, home.set_id, deleted)
    away.come_back()
    away.someone_moves(moved[0].image_id, "l3")
    away.someone_deletes(moved[1].image_id)
    away.someone_moves(deleted[0].image_id, "l2")
    away.someone_deletes(deleted[1].image_id)
    home.restart()
    outcomes = home.edits.resume(home.workspace)
    assert [outcome.conflicts for outcome in outcomes] == [2, 2]
    assert all(outcome.edit.stage is EditStage.DONE for outcome in outcomes)
    return moved, deleted


def test_what_others_did_meanwhile_is_kept_over_restarts_and_told_as_it_is_now(away):
    home = away.home
    conflicting(away)
    assert counts(home) == {"l0": 2, "l1": 2, "l2": 6, "l3": 6, "l9": 1}
    for _ in range(2):
        found = looked(home)
        home.restart()
        assert [one[1:] for one in found] == [
            ("l0", "l3", "l9", ""),
            ("l0", None, "l9", "It is not on this computer, so it cannot be sent again."),
            ("l1", "l2", None, ""),
        ]  # of the one that both deleted there is nothing to decide
        assert all(name for name, *_ in found)


def test_my_way_is_one_edit_that_can_be_undone_and_theirs_changes_nothing(away):
    home = away.home
    conflicting(away)
    before = home.content(empty=False)
    standings = home.edits.conflicts.check(home.workspace, original)
    outcome = home.edits.conflicts.do_mine(home.workspace, [standings[0], standings[2]], original)
    assert outcome.edit.title == "change 2 photos your way"
    assert counts(home) == {"l0": 2, "l1": 2, "l2": 5, "l3": 5, "l9": 2}
    assert len(looked(home)) == 1
    home.restart()
    home.edits.undo(home.workspace)
    assert home.content(empty=False) == before
    home.edits.redo(home.workspace)
    home.edits.conflicts.keep_theirs(home.edits.conflicts.all("c1"))
    assert counts(home) == {"l0": 2, "l1": 2, "l2": 5, "l3": 5, "l9": 2}
    assert looked(home) == home.edits.conflicts.all("c1") == []


def test_what_others_deleted_is_sent_again_where_its_bytes_are_here(away):
    home = away.home
    moved, _ = conflicting(away)
    before = home.content(empty=False)
    [standing] = [one for one in home.edits.conflicts.check(home.workspace, away.data.get) if one.current is None]
    assert (standing.conflict.image_id, standing.reason) == (moved[1].image_id, "")
    outcome = home.edits.conflicts.do_mine(home.workspace, [standing], away.data.get)
    assert [image.label for image in outcome.added] == ["l9"]
    assert counts(home)["l9"] == 2
    home.edits.undo(home.workspace)
    assert home.content(empty=False) == before


def test_another_picture_at_the_place_it_came_from_is_not_taken_for_it(away):
    home = away.home
    conflicting(away)
    assert "not on this computer" in looked(home, lambda _image_id: picture(77))[1][-1]
    standing = [one for one in home.edits.conflicts.check(home.workspace, original) if one.current is None]
    with pytest.raises(BadRequest, match="None of these"):
        home.edits.conflicts.do_mine(home.workspace, standing, original)
    assert len(home.edits.conflicts.all("c1")) == 3


def test_my_way_decided_while_the_service_is_away_again_waits(away):
    home = away.home
    conflicting(away)
    standing = home.edits.conflicts.check(home.workspace, original)[0]
    away.leave()
    assert looked(home)[0][2] == "l3"  # as last seen
    outcome = home.edits.conflicts.do_mine(home.workspace, [standing], original)
    assert outcome.edit.stage is EditStage.WAITING
    away.come_back()
    home.edits.resume(home.workspace)
    assert counts(home)["l9"] == 2


def test_an_undo_that_waited_leaves_what_others_moved_where_they_put_it(away):
    home = away.home
    images = home.images("l0")[:2]
    changed = home.edits.move(home.workspace, home.set_id, images, "l1").changed
    home.listing()
    away.leave()
    home.edits.undo(home.workspace)
    away.come_back()
    away.someone_moves(changed.get(images[0].image_id, images[0].image_id), "l3")
    [outcome] = home.edits.resume(home.workspace)
    assert outcome.conflicts == 1
    assert counts(home) == {"l0": 4, "l1": 5, "l2": 5, "l3": 6}
    [conflict] = home.edits.conflicts.all("c1")
    assert (conflict.label, conflict.wanted) == ("l1", "l0")


def test_photos_of_a_label_that_is_no_more_are_to_be_decided(plain: Home, documented: FakeApi):
    away = Away(plain, documented)
    away.leave()
    plain.edits.rename_label(plain.workspace, plain.set_id, "l2", "l7")
    away.come_back()
    labels = documented.sets[plain.set_id].labels
    labels["l3"] |= labels.pop("l2")
    [outcome] = plain.edits.resume(plain.workspace)
    assert (outcome.edit.stage, outcome.conflicts) == (EditStage.REFUSED, 5)
    assert {one[1:] for one in looked(plain)} == {("l2", "l3", "l7", "")}
    plain.edits.conflicts.do_mine(plain.workspace, plain.edits.conflicts.check(plain.workspace, original), original)
    assert counts(plain) == {"l0": 5, "l1": 5, "l3": 5, "l7": 5}


def test_nobody_in_between_is_no_conflict(away):
    home = away.home
    images = home.images("l0")
    away.leave()
    home.edits.move(home.workspace, home.set_id, images, "l9")
    home.edits.delete(home.workspace, home.set_id, home.workspace.cached_listing(home.set_id).images[-2:])
    away.come_back()
    assert [outcome.conflicts for outcome in home.edits.resume(home.workspace)] == [0, 0]
    assert home.edits.conflicts.all("c1") == []
    assert counts(home)["l9"] == 5


def test_what_others_did_between_the_listing_and_an_edit_is_to_be_decided_too(away):
    home = away.home
    moved, deleted = home.images("l0")[:4], home.images("l1")[:3]
    away.someone_moves(moved[0].image_id, "l3")
    away.someone_deletes(moved[1].image_id)
    away.someone_moves(deleted[0].image_id, "l2")
    away.someone_deletes(deleted[1].image_id)
    first = home.edits.move(home.workspace, home.set_id, moved, "l9")
    second = home.edits.delete(home.workspace, home.set_id, deleted)
    assert (first.conflicts, second.conflicts) == (2, 2)
    assert first.edit.note == "2 photos were deleted or moved by someone else, and left out."
    assert counts(home) == {"l0": 1, "l1": 2, "l2": 6, "l3": 6, "l9": 2}
    home.restart()
    assert [one[1:4] for one in looked(home)] == [("l0", "l3", "l9"), ("l0", None, "l9"), ("l1", "l2", None)]
    home.edits.conflicts.do_mine(home.workspace, home.edits.conflicts.check(home.workspace, away.data.get), original)
    assert counts(home) == {"l0": 1, "l1": 2, "l2": 5, "l3": 5, "l9": 3}


def test_an_edit_of_which_others_left_nothing_is_refused_and_its_photos_are_to_be_decided(away):
    home = away.home
    images = home.images("l0")[:2]
    away.someone_moves(images[0].image_id, "l3")
    away.someone_deletes(images[1].image_id)
    with pytest.raises(NotFound, match="Someone else"):
        home.edits.move(home.workspace, home.set_id, images, "l9")
    assert home.edits.journal.rows("c1") == []
    assert [one[1:4] for one in looked(home)] == [("l0", "l3", "l9"), ("l0", None, "l9")]


@pytest.mark.parametrize("way", ["undo", "redo"])
def test_undo_and_redo_leave_what_others_moved_where_they_put_it(away, way):
    home = away.home
    images = home.images("l0")[:2]
    changes = [home.edits.move(home.workspace, home.set_id, images, "l1").changed]
    if way == "redo":
        changes.append(home.edits.undo(home.workspace).changed)
    now = images[0].image_id
    for changed in changes:
        now = changed.get(now, now)
    home.listing()
    away.someone_moves(now, "l3")
    outcome = getattr(home.edits, way)(home.workspace)
    assert outcome.conflicts == 1
    there = {"l0": 4, "l1": 5} if way == "undo" else {"l0": 3, "l1": 6}
    assert counts(home) == there | {"l2": 5, "l3": 6}


def test_an_edit_made_before_the_one_before_it_was_shown_is_no_conflict(real: Home):
    images = real.images("l0")[:2]
    real.edits.move(real.workspace, real.set_id, images[:1], "l1")
    assert real.edits.move(real.workspace, real.set_id, images, "l2").conflicts == 0
    assert counts(real) == {"l0": 3, "l1": 5, "l2": 7, "l3": 5}
    real.edits.undo(real.workspace)
    assert counts(real) == {"l0": 4, "l1": 6, "l2": 5, "l3": 5}
    real.client.move_images(real.set_id, [images[0].image_id], "l3")
    assert real.edits.move(real.workspace, real.set_id, images, "l2").conflicts == 1


def test_without_any_listing_nothing_is_known_of_a_photo_and_nothing_is_dropped(away, monkeypatch):
    home = away.home
    conflicting(away)
    before = home.edits.conflicts.all(home.workspace.connection.id)
    away.leave()
    monkeypatch.setattr(type(home.workspace), "cached_listing", lambda _workspace, _set_id: None)
    views = home.edits.conflicts.check(home.workspace, original)
    assert [view.conflict for view in views] == before
    assert all(view.unknown and view.reason and view.current is None for view in views)
    away.come_back()
    monkeypatch.undo()
    assert not any(view.unknown for view in home.edits.conflicts.check(home.workspace, original))


def test_my_way_is_of_one_training_set(real: Home):
    views = [ConflictView(EditConflict(f"ti_{number}", number, "a.jpg", "l0", "l1"), None) for number in (1, 2)]
    with pytest.raises(ValueError, match="several training sets"):
        real.edits.conflicts.do_mine(real.workspace, views, original)
