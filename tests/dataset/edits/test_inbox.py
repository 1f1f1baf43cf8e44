"""Photos without a label, and splits: on a service that keeps both, and on one that leaves them to this machine."""

import hashlib

import pytest

from apitorch_desktop.api.errors import BadRequest, ConnectionFailed, NotFound
from apitorch_desktop.dataset.edits.history import CannotUndo
from apitorch_desktop.ui.session.session import OfflineClient
from tests.helpers.dataset_home import Home, import_images, picture
from tests.helpers.fake_api import FakeApi


def hashes(*seeds: int) -> list[str]:
    return sorted(hashlib.sha256(picture(seed)).hexdigest() for seed in seeds)


def content(home: Home) -> dict[str, list[str]]:
    return home.content(empty=False)


def splits(home: Home) -> dict[str, str]:
    """Name of each image that has a split → label and split."""
    images = home.listing().images
    data = {image.image_id: home.workspace.image(home.set_id, image) for image in images if image.known_split}
    return {
        hashlib.sha256(data[image.image_id]).hexdigest(): f"{image.label} {image.known_split}"
        for image in images
        if image.known_split
    }


def test_photos_wait_are_labeled_in_one_edit_and_wait_again_after_undo(either: Home):
    home, labels = either, content(either)
    assert home.workspace.has_inbox
    edit = import_images(home, [("unlabelled", picture(seed)) for seed in (100, 101, 102)], split="test")
    waiting = {**labels, "unlabelled": hashes(100, 101, 102)}
    assert content(home) == waiting
    home.restart()
    assert content(home) == waiting
    images = home.images("unlabelled")
    assert [home.workspace.thumbnail(home.set_id, image)[:2] for image in images] == [b"\xff\xd8"] * 3
    targets = dict(zip(hashes(100, 101), ["l0", "new"], strict=True))
    chosen = [(image, targets[str(image.sha256)]) for image in images if image.sha256 in targets]
    outcome = home.edits.move_each(home.workspace, home.set_id, chosen)
    assert outcome.edit.title == "label 2 photos as proposed"
    (first, second), (last,) = targets.items(), set(hashes(100, 101, 102)) - targets.keys()
    assert content(home) == {
        **labels, "l0": sorted([*labels["l0"], first[0]]), "new": [second[0]], "unlabelled": [last]
    }  # fmt: skip
    assert splits(home) == {first[0]: "l0 test", second[0]: "new test", last: "unlabelled test"}
    home.restart()
    home.edits.undo(home.workspace)
    assert content(home) == waiting
    assert set(splits(home).values()) == {"unlabelled test"}
    home.edits.undo(home.workspace)
    assert content(home) == labels
    home.edits.redo(home.workspace)
    assert content(home) == waiting
    assert edit is not None
    home.edits.redo(home.workspace)
    with pytest.raises(CannotUndo):
        home.edits.redo(home.workspace)


def test_a_photo_goes_back_to_the_inbox_to_the_trash_and_out_of_it_with_its_split(either: Home):
    home = either
    before = content(home)
    import_images(home, [("l1", picture(200))], split="validation")
    (image,) = [one for one in home.images("l1") if one.known_split]
    digest = hashes(200)[0]
    outcome = home.edits.move(home.workspace, home.set_id, [image], "unlabelled")
    assert outcome.edit.title == "move 1 photo to “No label yet”"
    assert splits(home) == {digest: "unlabelled validation"}
    (image,) = home.images("unlabelled")
    home.edits.delete(home.workspace, home.set_id, [image])
    assert content(home) == before
    with pytest.raises(NotFound):
        home.workspace.image(home.set_id, image)
    (trashed,) = home.edits.trash("c1")
    assert trashed.label == "unlabelled"
    home.edits.restore(home.workspace, [trashed])
    assert content(home) == {**before, "unlabelled": [digest]}
    assert splits(home) == {digest: "unlabelled validation"}
    assert home.edits.journal.trashed_splits("c1") == {}
    home.edits.undo(home.workspace)
    home.edits.undo(home.workspace)
    assert splits(home) == {digest: "unlabelled validation"}
    home.edits.undo(home.workspace)
    assert splits(home) == {digest: "l1 validation"}


def test_the_split_of_photos_is_changed_undone_and_kept_through_a_move(either: Home):
    home = either
    edits, workspace, set_id = home.edits, home.workspace, home.set_id
    first, second, third = (image.image_id for image in home.images("l0")[:3])

    def held():
        return {image.image_id: image.known_split for image in home.listing().images if image.known_split}

    def images(*ids):
        return [image for image in home.listing().images if image.image_id in ids]

    outcome = edits.set_split(workspace, set_id, images(first, second), "test")
    assert outcome.edit.title == "put 2 photos into the split “test”"
    assert outcome.splits == held() == {first: "test", second: "test"}
    assert edits.set_split(workspace, set_id, images(first, second, third), "validation").splits == {
        first: "validation", second: "validation", third: "validation",
    }  # fmt: skip
    outcome = edits.set_split(workspace, set_id, images(second), "")
    assert (outcome.edit.title, outcome.splits) == ("take 1 photo out of their split", {second: ""})
    edits.undo(workspace)
    assert edits.undo(workspace).splits == {first: "test", second: "test", third: ""}
    assert held() == {first: "test", second: "test"}
    moved = edits.move(workspace, set_id, images(first), "l1")
    assert set(held().values()) == {"test"} and len(held()) == 2
    edits.undo(workspace)
    home.client.delete_image(next(image_id for image_id in held() if image_id != moved.changed.get(first, first)))
    undone = edits.undo(workspace)
    assert undone.edit.stage == "undone" and undone.conflicts == 0
    if workspace.has("splits"):
        assert "not there any more" in undone.edit.note
    assert held() == {}
    with pytest.raises(BadRequest, match="nothing to do"):
        edits.set_split(workspace, set_id, images(third), "")


def test_nothing_of_the_inbox_is_sent_to_a_service_with_the_documented_calls_alone(plain: Home, documented: FakeApi):
    home = plain
    there = documented.content(home.set_id)
    import_images(home, [("unlabelled", picture(300)), ("l0", picture(301))], split="train")
    assert documented.content(home.set_id) == {**there, "l0": sorted([*there["l0"], *hashes(301)])}
    assert splits(home) == {hashes(300)[0]: "unlabelled train", hashes(301)[0]: "l0 train"}
    assert (home.local.count("c1"), home.local.count("c2")) == (1, 0)
    files = home.folder / "waiting"
    assert [path.name for path in files.iterdir()] == hashes(300)
    assert files.stat().st_mode & 0o77 == 0
    assert (home.folder / "waiting.sqlite").stat().st_mode & 0o77 == 0
    home.edits.move(home.workspace, home.set_id, home.images("unlabelled"), "l2")
    assert not list(files.iterdir())
    assert documented.content(home.set_id)["l2"] == sorted([*there["l2"], *hashes(300)])
    assert "unlabelled" not in home.listing().labels


def test_what_cannot_wait_here_is_refused_in_a_sentence(plain: Home):
    home, client = plain, plain.client
    with pytest.raises(BadRequest, match="only under a label"):
        client.upload_image_url(home.set_id, "Unlabelled", "https://example.invalid/a.jpg")
    with pytest.raises(BadRequest, match="not an image"):
        client.upload_image(home.set_id, "unlabelled", data=b"Dear zebra,", filename="letter.jpg")
    first, again = (client.upload_image(home.set_id, "unlabelled", data=picture(1), filename="a.jpg") for _ in (1, 2))
    assert first.id == again.id
    assert client.without_retries().images(home.set_id).data[-1].images[0].original_filename == "a.jpg"
    client.delete_image(first.id)
    client.delete_image(first.id)  # what is gone counts as deleted
    with pytest.raises(NotFound):
        client.download(str(first.url))
    client._extensions = frozenset({"images", "paging"})  # as version 0.1.0 lists them: its classifiers would learn it
    with pytest.raises(BadRequest, match="too old"):
        client.upload_image(home.set_id, "unlabelled", data=picture(1))


def test_what_waits_here_can_be_seen_while_the_service_is_away(plain: Home, documented: FakeApi):
    home = plain
    import_images(home, [("unlabelled", picture(400))])
    (image,) = home.images("unlabelled")
    documented.vanish()
    with pytest.raises(ConnectionFailed):
        home.listing()
    assert home.workspace.image(home.set_id, image) == picture(400)
    assert home.workspace.thumbnail(home.set_id, image)
    assert home.workspace.offline
    assert OfflineClient("", home.local).download(image.url) == picture(400)
