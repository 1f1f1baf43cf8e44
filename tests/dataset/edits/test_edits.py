import hashlib
import sys
from contextlib import suppress

import pytest
from msgspec import UNSET

from apitorch_desktop.api.errors import ApiError, BadRequest, ConnectionFailed, NotFound
from apitorch_desktop.api.multipart import SentFile
from apitorch_desktop.dataset.edits.history import CannotUndo, EditKind, EditRun, EditStage
from apitorch_desktop.dataset.edits.model import NextEdit
from apitorch_desktop.utils.errors import Cancelled
from tests.helpers.dataset_home import Home, import_images, picture
from tests.helpers.fake_api import FakeApi
from tests.helpers.killing import kill_at_work
from tests.helpers.random_edits import Dice
from tests.helpers.waiting import until


def sha256(number: int) -> str:
    return hashlib.sha256(picture(number)).hexdigest()


def content(home: Home) -> dict[str, list[str]]:
    """What is there, without the labels that are empty: with the documented calls alone they cannot be deleted."""
    return home.content(empty=home.workspace.has("labels"))


# --- undo and redo


@pytest.mark.parametrize(("kind", "count"), [("real", 1000), ("plain", 1000), ("content", 300)])
def test_random_edits_undone_to_the_start_and_redone_to_the_end_leave_the_same_listing(kind, count, request):
    """`content`: ids that come from label and bytes, so that an id that was given up is given to another image."""
    if kind == "content":
        request.getfixturevalue("documented").ids = "content"
    home: Home = request.getfixturevalue("real" if kind == "real" else "plain")
    if kind != "real":
        service: FakeApi = request.getfixturevalue("documented")
        home.content = lambda empty: {label: service.content(home.set_id)[label] for label in home.listing().labels}
    dice = Dice(home, seed=7, whole=kind == "real")
    seen = [content(home)]
    while len(seen) <= count:
        if dice.throw():
            seen.append(content(home))
        else:
            assert content(home) == seen[-1]
        if len(seen) % 250 == 0:
            home.restart()
    for number in reversed(range(count)):
        home.edits.undo(home.workspace)
        assert content(home) == seen[number]
    assert home.edits.journal.undoable("c1") is None
    home.restart()
    for number in range(count):
        home.edits.redo(home.workspace)
        assert content(home) == seen[number + 1]
    assert home.edits.journal.redoable("c1") is None


def test_a_move_and_its_undo_tell_what_changed(either: Home):
    home = either
    images = home.images("l0")[:2]
    before = content(home)
    outcome = home.edits.move(home.workspace, home.set_id, images, "New Label")
    assert len(content(home)["new_label"]) == 2
    assert outcome.edit.title == "move 2 photos to “new_label”"
    assert outcome.edit.stage is EditStage.DONE
    assert outcome.labels_added == ["new_label"]
    if home.workspace.has("images"):
        assert outcome.moved == {image.image_id: "new_label" for image in images}
    else:
        assert set(outcome.changed) == {image.image_id for image in images} == set(outcome.removed)
        assert {image.image_id for image in outcome.added} == set(outcome.changed.values())
        assert {image.label for image in outcome.added} == {"new_label"}
    undone = home.edits.undo(home.workspace)
    assert content(home) == before
    assert undone.edit.stage is EditStage.UNDONE
    assert home.edits.journal.undoable("c1") is None
    assert home.edits.journal.redoable("c1").title == outcome.edit.title


@pytest.mark.parametrize("way", ["undo", "trash"])
def test_what_comes_back_under_another_id_says_which_one_it_had(either: Home, way):
    home = either
    images = home.images("l0")[:2]
    olds = {image.image_id for image in images}
    home.edits.delete(home.workspace, home.set_id, images)
    for _ in range(2):  # deleted, back, deleted again, back again: always the id of last time
        edits, workspace = home.edits, home.workspace
        outcome = edits.undo(workspace) if way == "undo" else edits.restore(workspace, edits.trash("c1"))
        came = {image.image_id for image in outcome.added}
        assert len(came) == 2
        assert outcome.changed == {old: new for old, new in outcome.changed.items() if old in olds and new in came}
        assert set(outcome.changed) == olds - came
        olds = came
        if way == "undo":
            home.edits.redo(home.workspace)
        else:
            home.edits.delete(home.workspace, home.set_id, [one for one in home.images("l0") if one.image_id in came])


def test_undo_survives_a_restart_and_ids_that_changed_since(either: Home):
    home = either
    states = [content(home)]
    for label in ("a", "b", "c"):
        listing = home.listing()
        chosen = [image for image in listing.images if image.label in ("l1", "a", "b")][:3]
        home.edits.move(home.workspace, home.set_id, chosen, label)
        states.append(content(home))
    home.edits.delete(home.workspace, home.set_id, home.images("c")[:2])
    for state in reversed(states):
        home.restart()
        home.edits.undo(home.workspace)
        assert content(home) == state
    for state in states[1:]:
        home.restart()
        home.edits.redo(home.workspace)
        assert content(home) == state


def test_a_new_edit_takes_the_place_of_what_was_undone(either: Home):
    home = either
    home.edits.move(home.workspace, home.set_id, home.images("l0")[:1], "x")
    home.edits.undo(home.workspace)
    home.edits.move(home.workspace, home.set_id, home.images("l1")[:1], "y")
    assert home.edits.journal.redoable("c1") is None
    with pytest.raises(CannotUndo, match="nothing to redo"):
        home.edits.redo(home.workspace)


def test_two_images_that_are_the_same_under_one_label_come_apart_again(either: Home):
    home = either
    home.client.upload_image(home.set_id, "l1", data=picture(0), filename="twin.jpg")
    before = content(home)
    assert sha256(0) in before["l0"]
    assert sha256(0) in before["l1"]
    moved = [image for image in home.images("l0") if image.label == "l0"]
    home.edits.move(home.workspace, home.set_id, moved, "l1")
    assert len(content(home)["l1"]) == len(before["l0"]) + len(before["l1"]) - 1
    merged = content(home)
    home.edits.undo(home.workspace)
    assert content(home) == before
    home.edits.redo(home.workspace)
    assert content(home) == merged
    home.edits.undo(home.workspace)
    assert content(home) == before


def test_deleted_images_come_back_with_their_names(real: Home):
    names = sorted(str(image.original_filename) for image in real.images("l2"))
    real.edits.delete_label(real.workspace, real.set_id, "l2")
    assert "l2" not in content(real)
    real.edits.undo(real.workspace)
    assert sorted(str(image.original_filename) for image in real.images("l2")) == names


def test_labels_are_made_renamed_merged_and_deleted_with_their_undo(real: Home):
    states = [content(real)]
    for act in (
        lambda: real.edits.create_label(real.workspace, real.set_id, "Empty One"),
        lambda: real.edits.rename_label(real.workspace, real.set_id, "l0", "Shoes & Boots"),
        lambda: real.edits.merge_labels(real.workspace, real.set_id, "l1", "l2"),
        lambda: real.edits.delete_label(real.workspace, real.set_id, "shoes_boots"),
        lambda: real.edits.delete_label(real.workspace, real.set_id, "empty_one"),
    ):
        act()
        states.append(content(real))
    assert sorted(states[-1]) == ["l2", "l3"]
    assert len(states[-1]["l2"]) == 10
    for state in reversed(states[:-1]):
        real.edits.undo(real.workspace)
        assert content(real) == state


def test_labels_are_renamed_merged_and_deleted_where_the_service_has_no_call_for_it(plain: Home):
    def there():
        return {label: len(plain.images(label)) for label in plain.listing().labels}

    states = [(there(), content(plain))]
    outcomes = []
    for act in (
        lambda: plain.edits.rename_label(plain.workspace, plain.set_id, "l0", "Shoes & Boots"),
        lambda: plain.edits.merge_labels(plain.workspace, plain.set_id, "l1", "l2"),
        lambda: plain.edits.delete_label(plain.workspace, plain.set_id, "shoes_boots"),
    ):
        outcomes.append(act())
        states.append((there(), content(plain)))
    assert [counts for counts, _ in states[1:]] == [
        {"l1": 5, "l2": 5, "l3": 5, "shoes_boots": 5},
        {"l2": 10, "l3": 5, "shoes_boots": 5},
        {"l2": 10, "l3": 5},
    ]
    assert outcomes[0].renamed == {"l0": "shoes_boots"}
    assert [outcome.labels_removed for outcome in outcomes] == [["l0"], ["l1"], ["shoes_boots"]]
    assert len(plain.edits.trash("c1")) == 5
    for state in reversed(states[:-1]):
        plain.restart()
        plain.edits.undo(plain.workspace)
        assert (there(), content(plain)) == state
    for state in states[1:]:
        plain.restart()
        plain.edits.redo(plain.workspace)
        assert (there(), content(plain)) == state


def test_a_label_that_was_dropped_is_shown_again_when_somebody_fills_it(plain: Home):
    plain.edits.delete_label(plain.workspace, plain.set_id, "l0")
    assert "l0" not in plain.listing().labels
    plain.client.upload_image(plain.set_id, "l0", data=picture(90), filename="n.jpg")
    assert "l0" in plain.listing().labels


def test_an_empty_label_of_a_service_without_calls_for_labels_is_left_out_or_kept(plain: Home, documented: FakeApi):
    documented.sets[plain.set_id].labels["bare"] = {}
    assert "bare" in plain.listing().labels
    with pytest.raises(BadRequest, match="makes a label by its first photo"):
        plain.edits.rename_label(plain.workspace, plain.set_id, "bare", "other")
    outcome = plain.edits.delete_label(plain.workspace, plain.set_id, "bare")
    assert "keeps the empty label “bare”" in outcome.edit.note
    assert "bare" not in plain.listing().labels
    plain.edits.undo(plain.workspace)
    assert "bare" in plain.listing().labels


def test_a_long_edit_tells_how_far_it_is_and_can_be_cancelled(plain: Home, documented: FakeApi):
    for number in range(30, 60):
        plain.client.upload_image(plain.set_id, "l0", data=picture(number), filename="n.jpg")
    before, seen = content(plain), []
    plain.edits.rename_label(plain.workspace, plain.set_id, "l0", "x", EditRun(lambda *at: seen.append(at)))
    assert seen == sorted(seen)
    assert seen[0] == (0, 35)
    assert seen[-1] == (35, 35)
    assert len(set(seen)) > 30, "it tells of single images"
    plain.edits.undo(plain.workspace)
    assert content(plain) == before
    for limit in (3, 20, 30):
        seen.clear()
        with pytest.raises(Cancelled):
            plain.edits.rename_label(
                plain.workspace,
                plain.set_id,
                "l0",
                "x",
                EditRun(lambda *at: seen.append(at), lambda limit=limit: bool(seen) and seen[-1][0] >= limit),
            )
        assert content(plain) == before
        assert plain.edits.unfinished("c1") == []
    assert plain.listing().labels == ["l0", "l1", "l2", "l3"]


def test_a_name_that_is_taken_is_refused_and_nothing_changes(either: Home):
    home = either
    before = content(home)
    with pytest.raises(BadRequest, match="already"):
        home.edits.rename_label(home.workspace, home.set_id, "l0", "L1")
    assert content(home) == before
    assert home.edits.journal.undoable("c1") is None
    assert home.edits.journal.rows("c1") == []


# --- training sets


def test_a_deleted_training_set_comes_back_whole_and_older_edits_are_still_undone(real: Home):
    states = [content(real)]
    real.edits.move(real.workspace, real.set_id, real.images("l0"), "l1")
    real.edits.create_label(real.workspace, real.set_id, "empty")
    states.append(content(real))
    old = real.set_id
    gone = real.edits.delete_training_set(real.workspace, old)
    assert gone.training_set_removed
    assert old not in [one.id for one in real.client.training_sets()]
    real.restart()
    back = real.edits.undo(real.workspace)
    assert back.replaces == old
    real.set_id = back.training_set_id
    assert content(real) == states[1]
    real.edits.undo(real.workspace)
    real.edits.undo(real.workspace)
    assert content(real) == states[0]
    for _ in range(3):
        real.edits.redo(real.workspace)
    assert real.set_id not in [one.id for one in real.client.training_sets()]


def test_training_sets_are_made_and_renamed_with_their_undo(real: Home):
    before = {one.name for one in real.client.training_sets()}
    made = real.edits.create_training_set(real.workspace, "Zebras", "striped")
    renamed = real.edits.rename_training_set(real.workspace, made.training_set_id, "Horses")
    assert {one.name for one in real.client.training_sets()} == before | {"Horses"}
    assert renamed.edit.title == "rename “Zebras” to “Horses”"
    real.edits.undo(real.workspace)
    assert {one.name: one.description for one in real.client.training_sets()}["Zebras"] == "striped"
    real.edits.undo(real.workspace)
    assert {one.name for one in real.client.training_sets()} == before
    real.edits.redo(real.workspace)
    real.edits.redo(real.workspace)
    assert {one.name for one in real.client.training_sets()} == before | {"Horses"}
    real.edits.undo(real.workspace)
    real.edits.undo(real.workspace)


def test_undoing_an_import_deletes_what_it_added_and_nothing_else(either: Home):
    home = either
    before = content(home)
    edit = import_images(home, [(f"new{number % 2}", picture(number)) for number in range(40, 46)])
    after = content(home)
    assert edit.title == "import 6 photos"
    assert (len(after["new0"]), len(after["new1"])) == (3, 3)
    home.edits.undo(home.workspace)
    assert content(home) == before
    home.edits.redo(home.workspace)
    assert content(home) == after


# --- feedback


def test_feedback_is_undone_by_taking_the_image_out_again(plain: Home, documented: FakeApi):
    documented.feedback_set = plain.set_id
    before = content(plain)
    url = plain.images("l0")[0].url
    answer = plain.workspace.classify(["work-safe"], image_url=url)[0]
    outcome = plain.edits.correct(plain.workspace, answer, "l3", training_set_id=plain.set_id)
    assert [image.label for image in outcome.added] == ["l3"]
    assert documented.sent == [(answer.id, "l3")]
    after = content(plain)
    assert len(after["l3"]) == len(before["l3"]) + 1
    plain.edits.undo(plain.workspace)
    assert content(plain) == before
    plain.edits.redo(plain.workspace)
    assert content(plain) == after
    assert len(documented.sent) == 1  # the correction itself is sent once


def test_feedback_on_an_image_of_the_training_set_is_undone_by_moving_it_back(real: Home):
    slug = next(one.slug for one in real.client.training_sets() if one.id == real.set_id)
    until(lambda: real.client.classifier(slug).status == "ready")
    before = content(real)
    [answer] = real.workspace.classify([slug], data=picture(0), filename="again.jpg")
    outcome = real.edits.correct(real.workspace, answer, "l3", training_set_id=real.set_id)
    assert list(outcome.moved.values()) == ["l3"]
    assert sha256(0) in content(real)["l3"]
    real.edits.undo(real.workspace)
    assert content(real) == before
    [answer] = real.workspace.classify([slug], data=picture(77), filename="new.jpg")
    real.edits.correct(real.workspace, answer, "quite new", training_set_id=real.set_id)
    assert content(real)["quite_new"] == [sha256(77)]
    real.edits.undo(real.workspace)
    assert content(real) == before


# --- the trash


def test_the_trash_keeps_deleted_images_until_it_is_emptied(either: Home):
    home = either
    before = content(home)
    home.edits.delete(home.workspace, home.set_id, home.images("l0")[:3])
    trash = home.edits.trash("c1")
    assert len(trash) == 3
    assert {one.label for one in trash} == {"l0"}
    assert {one.training_set_id for one in trash} == {home.set_id}
    assert {hashlib.sha256(home.edits.trashed_bytes(one)).hexdigest() for one in trash} < set(before["l0"])
    home.edits.restore(home.workspace, trash)
    assert content(home) == before
    assert home.edits.trash("c1") == []
    home.edits.undo(home.workspace)
    assert len(home.edits.trash("c1")) == 3
    assert home.edits.empty_trash() > 0
    assert home.edits.trash("c1") == []
    assert home.edits.journal.undoable("c1") is None
    assert home.edits.journal.redoable("c1") is None
    assert not list((home.folder / "trash").glob("*"))
    with pytest.raises(CannotUndo):
        home.edits.undo(home.workspace)


def test_bytes_that_nobody_needs_are_not_kept(either: Home):
    home = either
    home.edits.move(home.workspace, home.set_id, home.images("l0"), "l9")
    home.edits.delete(home.workspace, home.set_id, home.images("l1"))
    home.edits.undo(home.workspace)
    assert not list((home.folder / "trash").glob("*"))


def ids(home: Home) -> dict[str, set[str]]:
    return {label: {image.image_id for image in home.images(label)} for label in home.listing().labels}


def test_deleted_images_are_restored_by_the_service_and_nothing_is_uploaded(real: Home, monkeypatch):
    real.client.upload_image(real.set_id, "l1", data=picture(0), filename="twin.jpg")
    with_twin = ids(real)
    edits, workspace = real.edits, real.workspace
    edits.delete(workspace, real.set_id, [image for label in ("l2", "l3") for image in real.images(label)])
    edits.merge_labels(workspace, real.set_id, "l0", "l1")  # two photos become one
    edits.delete_label(workspace, real.set_id, "l1")
    monkeypatch.setattr(real.client, "upload_image", lambda *_args, **_more: pytest.fail("it was uploaded"))
    outcome = edits.undo(workspace)
    assert len({image.image_id for image in outcome.added}) == len(outcome.added) == 5 + 5 + 1 - 1
    assert outcome.changed == {}
    real.restart()
    monkeypatch.setattr(real.client, "upload_image", lambda *_args, **_more: pytest.fail("it was uploaded"))
    for _ in range(2):
        real.edits.undo(real.workspace)
    assert ids(real) == with_twin
    assert not list((real.folder / "trash").glob("*"))
    for _ in range(3):
        real.edits.redo(real.workspace)
    assert set(real.listing().labels) == {"l2", "l3"}
    real.edits.undo(real.workspace)
    real.edits.undo(real.workspace)
    assert real.edits.restore(real.workspace, real.edits.trash("c1")).stale is False
    assert ids(real) == with_twin


def test_what_the_service_no_longer_has_is_uploaded_from_the_trash(real: Home):
    before, there = content(real), ids(real)
    first, *others = real.images("l0")
    real.edits.delete(real.workspace, real.set_id, [first])
    real.client.forget_deleted_images()
    real.edits.delete(real.workspace, real.set_id, others)
    real.edits.undo(real.workspace)
    outcome = real.edits.undo(real.workspace)
    assert content(real) == before
    assert list(outcome.changed) == [first.image_id]
    assert ids(real)["l0"] - {outcome.changed[first.image_id]} == there["l0"] - {first.image_id}
    real.edits.redo(real.workspace)
    real.edits.redo(real.workspace)
    real.client.forget_deleted_images()
    assert len(real.edits.trash("c1")) == 5
    real.edits.restore(real.workspace, real.edits.trash("c1"))
    assert content(real) == before


def test_small_photos_that_come_back_are_uploaded_several_in_a_call(real: Home, monkeypatch):
    before = content(real)
    sent, upload_images = [], real.client.upload_images

    def noting(set_id, label, files, **options):
        sent.append((label, len(files)))
        return upload_images(set_id, label, files, **options)

    monkeypatch.setattr(real.client, "upload_images", noting)
    monkeypatch.setattr(real.client, "upload_image", lambda *_args, **_more: pytest.fail("one went up by itself"))
    real.edits.delete(real.workspace, real.set_id, real.listing().images)
    real.client.forget_deleted_images()
    real.edits.undo(real.workspace)
    assert content(real) == before
    assert sorted(sent) == [("l0", 5), ("l1", 5), ("l2", 5), ("l3", 5)]


def test_one_that_is_refused_among_several_keeps_none_of_the_others_back(real: Home, monkeypatch):
    before = content(real)
    real.edits.delete(real.workspace, real.set_id, real.images("l0"))
    real.client.forget_deleted_images()
    upload_images = real.client.upload_images

    def damaged(set_id, label, files, **options):
        return upload_images(set_id, label, [files[0], SentFile(b"text", "a.jpg"), *files[2:]], **options)

    monkeypatch.setattr(real.client, "upload_images", damaged)
    with pytest.raises(BadRequest, match="image"):
        real.edits.undo(real.workspace)
    monkeypatch.undo()
    real.edits.undo(real.workspace)
    assert content(real) == before
    assert real.edits.trash("c1") == []


def test_an_older_version_that_answers_meanwhile_gets_them_one_by_one(real: Home, monkeypatch):
    before = content(real)
    real.edits.delete(real.workspace, real.set_id, real.images("l0"))
    real.client.forget_deleted_images()

    def unknown(*_args, **_options):
        raise NotFound("There is no such call.")

    monkeypatch.setattr(real.client, "upload_images", unknown)
    real.edits.undo(real.workspace)
    assert content(real) == before


def test_what_was_renamed_since_goes_under_the_label_that_the_undo_names(real: Home):
    before = content(real)
    real.edits.delete(real.workspace, real.set_id, real.images("l0")[:3])
    restore = real.client.restore_images

    def elsewhere(set_id, image_ids):
        restore(set_id, image_ids)
        return {image.image_id: image for image in real.client.move_images(set_id, image_ids, "l1")}

    real.client.restore_images = elsewhere
    real.edits.undo(real.workspace)
    assert content(real) == before


def test_an_undo_that_fails_after_the_service_restored_is_taken_back(real: Home):
    real.edits.delete(real.workspace, real.set_id, real.images("l0")[:3])
    real.client.upload_image(real.set_id, "l0", data=picture(0), filename="again.jpg")
    after = content(real)
    restore = real.client.restore_images

    def refused(set_id, image_ids):
        restore(set_id, image_ids)
        raise BadRequest("This was refused.")

    real.client.restore_images = refused
    with pytest.raises(BadRequest):
        real.edits.undo(real.workspace)
    assert content(real) == after
    assert len(real.edits.trash("c1")) == 3
    real.client.restore_images = restore
    real.restart()
    real.edits.undo(real.workspace)
    assert len(content(real)["l0"]) == 5


def test_a_damaged_image_in_the_trash_stops_the_undo_and_changes_nothing(either: Home):
    home = either
    home.edits.delete(home.workspace, home.set_id, home.images("l0")[:2])
    if home.workspace.has("images.restore"):
        home.client.forget_deleted_images()
    after = content(home)
    path = next((home.folder / "trash").glob("*"))
    path.write_bytes(b"damaged")
    with pytest.raises(OSError, match="damaged"):
        home.edits.undo(home.workspace)
    assert content(home) == after
    assert home.edits.journal.undoable("c1") is not None


def test_a_damaged_journal_is_begun_anew_and_no_bytes_are_lost(plain: Home):
    plain.edits.delete(plain.workspace, plain.set_id, plain.images("l0"))
    plain.close()
    kept = {path.name for path in (plain.folder / "trash").iterdir()}
    (plain.folder / "edits.sqlite").write_bytes(b"damaged " * 5000)
    plain.open()
    assert "edits.sqlite was damaged and is begun anew" in plain.edits.note
    assert plain.edits.trash("c1") == []
    [aside] = plain.folder.glob("trash.*")
    assert str(aside) in plain.edits.note
    assert {path.name for path in aside.iterdir()} == kept
    plain.workspace.connect()
    plain.edits.move(plain.workspace, plain.set_id, plain.images("l1"), "x")
    plain.edits.undo(plain.workspace)


def test_a_disk_that_is_full_is_named_and_nothing_is_half(plain: Home):
    before = content(plain)
    images = plain.images("l0")
    right = plain.edits._trash.add

    def full(data: bytes) -> str:
        raise OSError(28, "No space left on device", "trash")

    plain.edits._trash.add = full
    for act in (
        lambda: plain.edits.delete(plain.workspace, plain.set_id, images),
        lambda: plain.edits.move(plain.workspace, plain.set_id, images, "x"),
    ):
        with pytest.raises(OSError, match="No space left"):
            act()
        assert content(plain) == before
    assert plain.edits.unfinished("c1") == []
    plain.edits._trash.add = right
    plain.edits.delete(plain.workspace, plain.set_id, images)


# --- someone else, refusals, cancelling


def test_images_that_someone_else_deleted_are_left_out_and_named(either: Home):
    home = either
    images = home.images("l0")
    home.client.delete_image(images[0].image_id)
    outcome = home.edits.move(home.workspace, home.set_id, images, "x")
    assert outcome.edit.note == "One photo was deleted or moved by someone else, and left out."
    assert len(content(home)["x"]) == 4
    home.edits.undo(home.workspace)
    assert len(content(home)["l0"]) == 4
    home.client.delete_image(home.images("l1")[0].image_id)
    for image in (gone := home.images("l2")):
        home.client.delete_image(image.image_id)
    with pytest.raises(NotFound, match="Someone else deleted or moved"):
        home.edits.delete(home.workspace, home.set_id, gone)


def test_a_refusal_in_the_middle_takes_everything_back(plain: Home, documented: FakeApi):
    before = content(plain)
    documented.wrong(400, path="/x/image$", times=1)
    with pytest.raises(BadRequest, match="The service says 400"):
        plain.edits.move(plain.workspace, plain.set_id, plain.images("l0"), "x")
    documented.right()
    assert content(plain) == before
    assert plain.edits.journal.undoable("c1") is None
    assert plain.edits.unfinished("c1") == []


def test_an_edit_that_is_cancelled_is_taken_back(either: Home):
    home = either
    before = content(home)
    asked, last = iter(range(1000)), 2 if home.workspace.has("images.archive") else 6  # before all are in the trash
    with pytest.raises(Cancelled):
        home.edits.delete(
            home.workspace, home.set_id, home.listing().images, EditRun(cancelled=lambda: next(asked) > last)
        )
    assert content(home) == before
    assert home.edits.unfinished("c1") == []


def test_a_service_that_takes_an_image_under_two_labels_for_one_loses_none(plain: Home, documented: FakeApi):
    before = content(plain)
    put = documented._put

    def same_id(one, label, data):
        number = put(one, label, data)
        same = hashlib.sha1(data).hexdigest()
        one.labels[label][same] = one.labels[label].pop(number)
        return same

    documented._put = same_id
    documented.sets[plain.set_id].labels = {
        label: {hashlib.sha1(image.data).hexdigest(): image for image in images.values()}
        for label, images in documented.sets[plain.set_id].labels.items()
    }
    with pytest.raises(BadRequest, match="takes a photo under two labels for one"):
        plain.edits.move(plain.workspace, plain.set_id, plain.images("l0")[:1], "x")
    found = content(plain)
    assert all(set(hashes) <= set(found[label]) for label, hashes in before.items())


# --- a service that goes away


def test_edits_made_while_the_service_is_away_are_sent_when_it_is_back(plain: Home, documented: FakeApi):
    images, more = plain.images("l0"), plain.images("l1")[:2]
    before = content(plain)
    documented.vanish()
    waiting = plain.edits.move(plain.workspace, plain.set_id, images, "x")
    assert waiting.edit.stage is EditStage.WAITING
    assert waiting.moved == {image.image_id: "x" for image in images}
    assert plain.edits.delete(plain.workspace, plain.set_id, more).removed == [image.image_id for image in more]
    assert plain.edits.merge_labels(plain.workspace, plain.set_id, "l2", "l3").edit.stage is EditStage.WAITING
    plain.restart_offline()
    assert [edit.stage for edit in plain.edits.unfinished("c1")] == [EditStage.WAITING] * 3
    assert [outcome.edit.stage for outcome in plain.edits.resume(plain.workspace)] == [EditStage.WAITING]
    documented.come_back()
    assert [outcome.edit.stage for outcome in plain.edits.resume(plain.workspace)] == [EditStage.DONE] * 3
    found = content(plain)
    assert (len(found["x"]), len(found["l1"]), len(found["l3"])) == (5, 3, 10)
    for _ in range(3):
        plain.edits.undo(plain.workspace)
    assert content(plain) == before


def test_an_edit_that_waits_is_undone_without_the_service(plain: Home, documented: FakeApi):
    images, before = plain.images("l0"), content(plain)
    documented.vanish()
    plain.edits.move(plain.workspace, plain.set_id, images, "x")
    undone = plain.edits.undo(plain.workspace)
    assert undone.moved == {image.image_id: "l0" for image in images}
    plain.edits.redo(plain.workspace)
    plain.edits.undo(plain.workspace)
    documented.come_back()
    assert plain.edits.resume(plain.workspace) == []
    assert content(plain) == before


@pytest.mark.parametrize("back", [True, False], ids=["the service is back", "it is still away"])
def test_an_undo_is_possible_while_the_one_before_it_waits(plain: Home, documented: FakeApi, back: bool):
    """What the deletion needs to be undone is on its way to the trash, not lost."""
    before = content(plain)
    plain.edits.delete(plain.workspace, plain.set_id, plain.images("l0")[:2])
    plain.edits.restore(plain.workspace, plain.edits.trash("c1"))
    documented.vanish()
    assert plain.edits.undo(plain.workspace).edit.stage is EditStage.UNDOING
    if back:
        documented.come_back()
    stage = plain.edits.undo(plain.workspace).edit.stage
    assert stage is (EditStage.UNDONE if back else EditStage.UNDOING)
    if not back:
        documented.come_back()
        plain.edits.resume(plain.workspace)
    assert content(plain) == before
    assert plain.edits.unfinished("c1") == []
    plain.edits.redo(plain.workspace)
    assert len(plain.edits.trash("c1")) == 2


def test_what_changed_while_an_edit_waited_is_told(plain: Home, documented: FakeApi):
    images = plain.images("l0")
    documented.vanish()
    plain.edits.move(plain.workspace, plain.set_id, images, "x")
    plain.edits.rename_label(plain.workspace, plain.set_id, "l2", "l7")
    plain.edits.move(plain.workspace, plain.set_id, plain.workspace.cached_listing(plain.set_id).images[-1:], "y")
    with documented._lock:  # someone else, meanwhile
        documented.sets[plain.set_id].labels["l0"].pop(images[0].image_id.removeprefix("ti_"))
        documented.sets[plain.set_id].labels.pop("l2")
    documented.come_back()
    moved, renamed, last = plain.edits.resume(plain.workspace)
    assert moved.edit.note == "One photo was deleted or moved by someone else, and left out."
    assert renamed.edit.stage is EditStage.REFUSED
    assert renamed.edit.note == "There is no label “l2” any more."
    assert last.edit.stage is EditStage.DONE
    found = content(plain)
    assert (len(found["x"]), len(found["y"])) == (4, 1)


FAULTS = ["drop", "lost", 500, "half", 401]
ACTS = {
    "move": lambda home: home.edits.move(home.workspace, home.set_id, home.images("l0"), "l1"),
    "delete": lambda home: home.edits.delete(home.workspace, home.set_id, home.images("l2")),
    "merge": lambda home: home.edits.merge_labels(home.workspace, home.set_id, "l0", "l1"),
    "rename": lambda home: home.edits.rename_label(home.workspace, home.set_id, "l0", "new"),
    "delete label": lambda home: home.edits.delete_label(home.workspace, home.set_id, "l0"),
    "undo": lambda home: home.edits.undo(home.workspace),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_call_fails_an_edit_is_whole_in_the_end(act, fault, plain: Home, documented: FakeApi):
    """The n-th request fails, for each n; then the service is well again."""
    plain.client.upload_image(plain.set_id, "l1", data=picture(0), filename="twin.jpg")
    if act == "undo":
        plain.edits.merge_labels(plain.workspace, plain.set_id, "l0", "l1")
        ACTS["delete"](plain)
    before = content(plain)
    ACTS[act](plain)
    after = content(plain)
    (plain.edits.redo if act == "undo" else plain.edits.undo)(plain.workspace)
    assert content(plain) == before
    number = 0
    while True:
        if act != "undo":
            plain.edits.empty_trash()
        start = len(documented.seen)
        documented.fail_at(number, fault)
        with suppress(ApiError):
            ACTS[act](plain)
        ended = len(documented.seen) - start <= number
        documented.right()
        plain.restart()
        plain.edits.resume(plain.workspace)
        assert plain.edits.unfinished("c1") == []
        assert content(plain) in (before, after)
        if content(plain) == after:
            (plain.edits.redo if act == "undo" else plain.edits.undo)(plain.workspace)
            assert content(plain) == before
        if ended:
            return
        number += 1
        assert number < 200


@pytest.mark.parametrize("act", ["move", "merge", "rename", "delete label"])
@pytest.mark.parametrize("twin", [False, True], ids=["apart", "one is there already"])
def test_wherever_an_edit_is_cut_off_its_undo_loses_no_image(act, twin, plain: Home, documented: FakeApi):
    """The n-th call is the last that is heard; then it is taken back, not finished."""
    if twin:
        plain.client.upload_image(plain.set_id, "l1", data=picture(0), filename="twin.jpg")
    before = content(plain)
    for number in range(100):
        start = len(documented.seen)
        documented.fail_at(number, "lost")
        with suppress(ApiError):
            ACTS[act](plain)
        ended = len(documented.seen) - start <= number
        documented.right()
        plain.restart()
        with suppress(CannotUndo):  # the first call failed: it never was
            plain.edits.undo(plain.workspace)
        assert content(plain) == before, number
        assert plain.edits.unfinished("c1") == []
        if ended:
            return
    pytest.fail("it never ended")


WHOLE_ACTS = {
    "move": lambda home: home.edits.move(home.workspace, home.set_id, home.images("l0"), "l1"),
    "delete": lambda home: home.edits.delete(home.workspace, home.set_id, home.images("l2")),
    "merge": lambda home: home.edits.merge_labels(home.workspace, home.set_id, "l0", "l1"),
    "delete label": lambda home: home.edits.delete_label(home.workspace, home.set_id, "l0"),
    "rename": lambda home: home.edits.rename_label(home.workspace, home.set_id, "l0", "new"),
    "create": lambda home: home.edits.create_label(home.workspace, home.set_id, "new"),
    "delete empty": lambda home: home.edits.delete_label(home.workspace, home.set_id, "empty"),
    "undo": lambda home: home.edits.undo(home.workspace),
}


@pytest.mark.parametrize("heard", [False, True], ids=["not sent", "answer lost"])
@pytest.mark.parametrize("act", WHOLE_ACTS)
def test_whichever_call_of_the_extensions_fails_an_edit_is_whole_in_the_end(act, heard, real: Home):
    real.client.upload_image(real.set_id, "l1", data=picture(0), filename="twin.jpg")
    real.client.create_label(real.set_id, "empty")
    if act == "undo":
        WHOLE_ACTS["delete label"](real)
    before = content(real)
    WHOLE_ACTS[act](real)
    after = content(real)
    back = real.edits.redo if act == "undo" else real.edits.undo
    back(real.workspace)
    for number in range(100):
        calls = break_at(real, number, heard)
        with suppress(ApiError):
            WHOLE_ACTS[act](real)
        real.restart()
        real.edits.resume(real.workspace)
        assert real.edits.unfinished("c1") == []
        found = content(real)
        assert found in (before, after)
        if found == after:
            (real.edits.redo if act == "undo" else real.edits.undo)(real.workspace)
            assert content(real) == before
        if len(calls) <= number:
            return
    pytest.fail("it never ended")


def break_at(home: Home, number: int, heard: bool) -> list[str]:
    """Let a call fail, after or before the service has heard it; the calls that were made."""
    calls: list[str] = []
    transport = home.client._transport
    right = transport.call

    def call(method, route, *arguments, **more):
        calls.append(f"{method} {route}")
        if len(calls) - 1 != number:
            return right(method, route, *arguments, **more)
        if heard:
            right(method, route, *arguments, **more)
        failure = ConnectionFailed("The connection broke off.")
        failure.unsent = not heard
        raise failure

    transport.call = call
    return calls


def test_a_training_set_is_deleted_whole_or_not_at_all(real: Home):
    before = content(real)
    for heard in (False, True):
        for number in range(100):
            calls = break_at(real, number, heard)
            with suppress(ApiError):
                real.edits.delete_training_set(real.workspace, real.set_id)
            real.restart()
            real.edits.resume(real.workspace)
            if real.set_id not in [one.id for one in real.client.training_sets()]:
                calls += break_at(real, number, heard)
                with suppress(ApiError):
                    real.edits.undo(real.workspace)
                real.restart()
                real.edits.resume(real.workspace)
                real.set_id = real.edits.journal.training_set_id(real.edits.journal.rows("c1")[-1])
            assert content(real) == before
            if len(calls) <= number:
                break


def test_a_program_that_is_killed_again_and_again_leaves_nothing_half(plain: Home, documented: FakeApi):
    before = content(plain)
    plain.close()
    for round_ in range(12):
        command = [sys.executable, "-m", "tests.helpers.killed_edits", str(plain.folder), plain.url, str(plain.set_id)]
        # that it is ready, and the first of its edits
        kill_at_work([*command, str(round_)], 2 + round_ % 4, 0.01 * round_)
    plain.open()
    plain.workspace.connect()
    plain.edits.resume(plain.workspace)
    assert plain.edits.unfinished("c1") == []
    assert len(plain.edits.journal.rows("c1")) > 12
    while plain.edits.journal.undoable("c1"):
        plain.edits.undo(plain.workspace)
    assert content(plain) == before


def test_each_training_set_has_an_order_of_its_own(real: Home):
    """The edits of one are undone and redone whatever was done in another since, and each only as the next of its own."""
    edits, workspace, here = real.edits, real.workspace, real.set_id
    there = edits.create_training_set(workspace, "Winter").training_set_id
    moves = [edits.move(workspace, here, real.images("l0")[:1], label).edit for label in ("x", "y")]
    label = edits.create_label(workspace, there, "hat").edit
    found = edits.next_undo("c1", here)
    assert (found.here.id, found.elsewhere.id) == (moves[1].id, label.id)
    assert edits.next_undo("c1", there).here.id == edits.next_undo("c1", None).elsewhere.id == label.id
    assert edits.next_undo("c1", there).elsewhere is None
    with pytest.raises(CannotUndo, match="not the last one"):
        edits.undo(workspace, edit_id=moves[0].id)
    for edit in reversed(moves):
        assert edits.undo(workspace, edit_id=edit.id).edit.stage is EditStage.UNDONE
    assert set(content(real)) == {"l0", "l1", "l2", "l3"}
    assert edits.next_undo("c1", here) == NextEdit(None, edits.journal.edit(edits.journal.undoable("c1")))
    edits.create_label(workspace, there, "scarf")  # which leaves the other's redo alone
    with pytest.raises(CannotUndo, match="not the last one"):
        edits.redo(workspace, edit_id=moves[1].id)
    assert [edits.redo(workspace, edit_id=edits.next_redo("c1", here).here.id).edit.id for _ in moves] == [
        edit.id for edit in moves
    ]
    assert edits.next_redo("c1", here) == NextEdit()

    edits.delete_training_set(workspace, there)
    removed = edits.next_undo("c1", here).elsewhere
    assert removed.kind is EditKind.DELETE_TRAINING_SET
    assert edits.next_undo("c1", there).here == removed, "it was open when it was deleted"
    again = edits.undo(workspace, edit_id=removed.id).training_set_id
    assert edits.next_undo("c1", again).here.title == "make the label “scarf”"


def test_one_connection_does_not_undo_anothers_edits(plain: Home):
    plain.edits.move(plain.workspace, plain.set_id, plain.images("l0")[:1], "x")
    assert plain.edits.journal.undoable("another") is None
    assert plain.edits.trash("another") == plain.edits.journal.rows("another") == []


def test_a_version_is_chosen_taken_back_and_chosen_again_but_never_over_a_newer_one(real):
    client, edits, workspace = real.client, real.edits, real.workspace
    [slug] = [found.slug for found in client.training_sets() if found.id == real.set_id]

    def trained(after: int) -> int:
        def newest():
            state = client.classifier(slug)
            return state.version if state.status == "ready" and state.version > after else 0

        return until(newest)

    first = trained(0)
    client.upload_image(real.set_id, "l0", data=picture(100))
    second = trained(first)
    outcome = edits.choose_version(workspace, real.set_id, first, second)
    assert (client.classifier(slug).version, outcome.edit.title) == (first, f"use version {first}")
    edits.undo(workspace)
    assert client.classifier(slug).version == second
    edits.redo(workspace)
    assert client.classifier(slug).version == first

    client.make_current(slug, first, waiting=second)  # as if it were clearly worse
    edits.choose_version(workspace, real.set_id, first, first, waiting=second)
    assert client.classifier(slug).waiting_version is UNSET
    edits.undo(workspace)
    assert client.classifier(slug).waiting_version == second

    client.upload_image(real.set_id, "l0", data=picture(101))
    third = trained(second)
    outcome = edits.undo(workspace)
    assert (outcome.edit.stage, outcome.edit.note) == (
        "undone",
        f"Version {third} answers by now, so nothing was changed.",
    )
    assert client.classifier(slug).version == third
