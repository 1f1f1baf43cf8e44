"""Review of real photos with planted faults, on both kinds of service, with the real child process."""

import os
import struct
import threading
import time

import pytest
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.api.types import INBOX
from apitorch_desktop.dataset.review import child_process
from apitorch_desktop.dataset.review import reviewer as reviewer_module
from apitorch_desktop.dataset.review.cache import CachedComparison
from apitorch_desktop.dataset.review.findings import Findings, current, pairs_of
from apitorch_desktop.dataset.review.map import make_map
from apitorch_desktop.dataset.review.messages import MapRequest
from apitorch_desktop.dataset.review.reviewer import Reviewer, ReviewFailed, item_of
from apitorch_desktop.dataset.review.worker import Analysis
from apitorch_desktop.utils.errors import Cancelled
from tests.helpers.dataset_home import Home
from tests.helpers.fake_api import KEY, FakeApi
from tests.helpers.planted_set import plant
from tests.helpers.service_process import serving
from tests.helpers.waiting import until
from tests.vision.test_encoder_file import maps

FEW = {"each": 6, "wrong": 2, "twins": 3, "blurred": 2, "black": 1}


@pytest.fixture
def reviewing(tmp_path):
    made = Reviewer(tmp_path / "cache")
    yield made
    made.close()


def review(reviewing, home, **more) -> Findings:
    listing = home.listing()
    return reviewing.review(home.workspace, home.set_id, listing.images, listing.labels, **more)


def uploaded(home: Home, planted) -> dict[str, str]:
    """Put them on the service; image id → file name."""
    return {
        home.client.upload_image(home.set_id, label, data=data, filename=name).id: name
        for label, name, data in planted.uploads
    }


@pytest.fixture
def few(real_service, open_home, photos):
    """A few photos with a few faults on the real service: the home, what was planted, image id → name."""
    planted = plant(photos, **FEW)
    home = open_home(real_service.url, real_service.key, real_service.new_set("Few"))
    home.workspace.connect()
    return home, planted, uploaded(home, planted)


@pytest.mark.usefixtures("real_photos")
@pytest.mark.timeout(900)
def test_what_is_planted_among_600_photos_is_found_with_the_documented_calls_alone(photos, reviewing, tmp_path):
    planted = plant(photos)
    labels: dict[str, list[bytes]] = {}
    for label, _name, data in planted.uploads:
        labels.setdefault(label.replace("-", "_"), []).append(data)
    names = {data: name for _label, name, data in planted.uploads}
    with FakeApi() as service:
        set_id = service.add_set("Clothes", labels)
        home = Home(tmp_path / "home", service.url, KEY, set_id)
        home.workspace.connect()
        name_of = {
            f"ti_{image_id.removeprefix('ti_')}": names[image.data]
            for images in service.sets[set_id].labels.values()
            for image_id, image in images.items()
        }
        seen: list[tuple[int, int]] = []
        found = review(reviewing, home, progress=lambda done, of: seen.append((done, of)))
        home.close()
    assert seen[0] == (0, 670) and seen[-1] == (670, 670)

    first = [name_of[doubt.image] for doubt in found.label_issues[:60]]
    assert sum(name in planted.wrong for name in first) >= 20
    suspects = [name_of[doubt.image] for doubt in found.label_issues if doubt.suspect]
    assert sum(name in planted.wrong for name in suspects) >= 24
    assert len(suspects) <= 120

    truth = {frozenset(pair) for pair in planted.twins.items()}
    pairs = {frozenset((name_of[a], name_of[b])) for group in found.groups for a, b in pairs_of(group.images)}
    assert len(pairs & truth) >= 38
    assert len(pairs - truth) <= 2
    for group in found.groups:  # sizes were asked for: this service does not tell them
        assert all(twin.width and twin.bytes for twin in group.duplicates)
        largest = max(group.duplicates, key=lambda twin: twin.width * twin.height)
        kept = next(twin for twin in group.duplicates if twin.image == group.keepers["largest"])
        assert kept.width * kept.height == largest.width * largest.height

    flags = {name_of[one.image]: one.flags for one in found.flagged}
    assert all("blurred" in flags.get(name, ()) for name in planted.blurred)
    assert all("dark" in flags.get(name, ()) for name in planted.black)
    others = set(flags) - planted.blurred - planted.black
    assert len(others) <= 0.02 * 600

    assert sum(map(sum, found.learned.confusion)) == 670
    assert len(found.unsure) == len(set(found.unsure)) > 10
    asked = set(found.unsure)  # neither what is blurred or black, nor what is suspect anyway, nor two of a kind
    assert not asked & {one.image for one in found.flagged}
    assert not asked & {one.image for one in found.label_issues if one.suspect}
    assert all(len(asked & set(group.images)) <= 1 for group in found.groups)


def test_photos_without_a_label_get_answers_and_are_no_part_of_any_figure(few, reviewing, photos):
    home, _planted, names = few
    waiting = {
        home.client.upload_image(home.set_id, INBOX, path=path).id
        for path in sorted((photos / "train" / "hat").iterdir())[20:23]
    }
    found = review(reviewing, home)
    assert INBOX not in found.counts
    assert sum(found.counts.values()) == len(names)
    assert found.answers.keys() <= names.keys() | waiting
    assert found.answers.keys() & waiting, "none of them is like anything learned"
    assert INBOX not in {answer.label for answer in found.answers.values()}
    assert sum(map(sum, found.learned.confusion)) == len(names)
    assert not waiting & {issue.image for issue in found.label_issues}
    assert set(found.unsure) <= waiting and found.unsure, "a photo without a label is asked for before one that has one"
    labels = {**names, **dict.fromkeys(waiting, INBOX)}
    done = found.unsure[0]
    now = {**labels, done: "hat"}
    assert current(found, labels.get, frozenset()).unsure == found.unsure
    assert current(found, now.get, frozenset()).unsure in (found.unsure[1:], [done])


def test_only_new_photos_are_looked_at_again_even_by_another_process(few, reviewing, photos):
    home, _planted, names = few
    review(reviewing, home)
    reviewing.close()
    extra = min((photos / "test" / "hat").iterdir())
    home.client.upload_image(home.set_id, "hat", path=extra)
    seen = []
    again = review(reviewing, home, progress=lambda done, of: seen.append((done, of)))
    assert seen[0] == (len(names), len(names) + 1)
    assert sum(again.counts.values()) == len(names) + 1


def test_pairs_that_another_version_of_the_comparison_found_are_not_reused():
    current = Analysis("tiny").compared.method
    known = CachedComparison(current, ["a", "b"], [("a", "b", 0.99)])
    assert Analysis("tiny", known).compared is known
    for other in ("tiny", Analysis("large").compared.method, f"{current}0"):
        assert Analysis("tiny", CachedComparison(other, ["a", "b"], [])).compared.keys == []


def test_what_is_known_comes_in_parts_and_a_move_changes_what_is_suspect(few, reviewing):
    home, planted, names = few
    parts = []
    found = review(reviewing, home, found=parts.append)
    assert parts[0].flagged is not None and parts[0].groups is None
    assert parts[-1].groups is not None
    doubt = next(one for one in found.label_issues if names[one.image] in planted.wrong)
    listing = home.listing()
    image = next(one for one in listing.images if one.image_id == doubt.image)
    home.edits.move(home.workspace, home.set_id, [image], planted.wrong[names[doubt.image]].replace("-", "_"))
    again = review(reviewing, home)
    assert all(one.image != doubt.image or one.given != doubt.given for one in again.label_issues)
    assert again.counts[doubt.given] == found.counts[doubt.given] - 1


@pytest.mark.usefixtures("real_photos")
def test_pairs_a_person_keeps_apart_are_no_group_any_more(few, reviewing):
    home, planted, _names = few
    found = review(reviewing, home)
    assert len(found.groups) == len(planted.twins)
    group = found.groups[0]
    again = review(reviewing, home, apart=pairs_of(group.images))
    assert group.images not in [one.images for one in again.groups]
    assert len(again.groups) == len(found.groups) - 1


def test_the_very_same_bytes_under_two_labels_are_a_group(few, reviewing):
    home, planted, _names = few
    label, name, data = planted.uploads[0]
    other = next(one for one, _, _ in planted.uploads if one != label)
    home.client.upload_image(home.set_id, other, data=data, filename=name)
    groups = review(reviewing, home).groups
    assert any(len({twin.label for twin in group.duplicates}) == 2 for group in groups)


def test_a_photo_that_cannot_be_read_is_named_and_the_rest_goes_on(photos, reviewing, tmp_path):
    jpegs = [file.read_bytes() for file in sorted((photos / "train" / "hat").iterdir())[:3]]
    with FakeApi() as service:
        set_id = service.add_set("Odd", {"hat": [*jpegs, b"this is no picture"]})
        home = Home(tmp_path / "home", service.url, KEY, set_id)
        home.workspace.connect()
        found = review(reviewing, home)
        home.close()
    [why] = found.unreadable.values()
    assert "image" in why
    assert found.why_not.startswith("Labels can be checked once")
    assert [one.label for one in found.advice if one.urgent] == [None]
    assert found.groups == []


def test_an_image_whose_id_changed_is_not_looked_at_again(photos, reviewing, tmp_path):
    jpegs = [file.read_bytes() for file in sorted((photos / "train" / "hat").iterdir())[:5]]
    with FakeApi() as service:
        set_id = service.add_set("Ids", {"hat": jpegs, "cap": jpegs[:2]})
        home = Home(tmp_path / "home", service.url, KEY, set_id)
        home.workspace.connect()
        review(reviewing, home)
        moving = home.images("hat")[:2]
        outcome = home.edits.move(home.workspace, set_id, moving, "beret")
        assert len(outcome.changed) == 2
        reviewing.replace_ids(home.workspace.connection.id, outcome.changed)
        seen = []
        found = review(reviewing, home, progress=lambda done, of: seen.append((done, of)))
        home.close()
    assert seen == [(7, 7), (7, 7)]
    assert found.counts == {"hat": 3, "cap": 2, "beret": 2}


def test_a_set_with_an_encoder_of_its_own_is_reviewed_and_mapped_by_it(photos, reviewing, tmp_path):
    maps(tmp_path / "maps.onnx")
    with serving(tmp_path / "service", f"--encoder={tmp_path / 'maps.onnx'}") as served:
        client = ApiClient(served.url, served.key)
        set_id = client.create_training_set("Clothes").id
        for label in ("dress", "hat"):
            for path in sorted((photos / "train" / label).iterdir())[:5]:
                client.upload_image(set_id, label, path=path)
        home = Home(tmp_path / "home", served.url, served.key, set_id)
        home.workspace.connect()
        images = home.listing().images
        ids = [image.image_id for image in images]
        own = client.encoders()[1].name
        assert review(reviewing, home, encoder=own).encoder == "", "the service learns by another"
        client.update_training_set(set_id, encoder=own)
        until(lambda: len(client.embeddings(set_id, ids).data) == len(ids))
        found = review(reviewing, home, encoder=own)
        assert found.encoder == own and found.answers.keys() == set(ids)
        keys = [item_of(image).key for image in images[:3]]  # too few for a layout, which takes its time
        request = MapRequest(str(tmp_path / "cache"), "c1", str(set_id), keys, encoder=own)
        update = make_map(request, lambda _update: None)
        assert (update.encoder, update.keys, update.missing) == (own, keys, 0)
        home.close()
        client.close()


def test_what_is_there_is_analyzed_before_all_is(few, reviewing, monkeypatch):
    home, _planted, names = few
    monkeypatch.setattr(reviewer_module, "_EARLY", 16)  # a batch
    events = []
    found = review(
        reviewing,
        home,
        early=True,
        found=lambda part: events.append(("found", len(part.answers or ()))),
        progress=lambda done, _of: events.append(("there", done)),
    )
    assert events[:5] == [("there", 0), ("there", 16), ("found", 0), ("found", 0), ("found", 16)]
    assert events.index(("there", len(names))) > 5
    assert found.answers.keys() == names.keys()


def test_cancelling_ends_at_once_and_the_next_review_is_whole(few, reviewing):
    home, _planted, names = few
    asked = threading.Event()
    began = []

    def cancelled():
        return asked.is_set()

    def go():
        with pytest.raises(Cancelled):
            review(reviewing, home, cancelled=cancelled, progress=lambda *_: began.append(time.monotonic()))
        began.append("ended")

    thread = threading.Thread(target=go)
    thread.start()
    until(lambda: began)
    asked.set()
    thread.join(60)
    assert began[-1] == "ended"
    assert sum(review(reviewing, home).counts.values()) == len(names)


def test_a_killed_child_is_told_of_and_started_again(few, reviewing):
    home, _planted, names = few
    review(reviewing, home)
    killed = []

    def kill(*_):
        if not killed:
            killed.append(reviewing.pid)
            os.kill(reviewing.pid, 9)

    with pytest.raises(ReviewFailed, match="ended"):
        review(reviewing, home, progress=kill)
    found = review(reviewing, home)
    assert reviewing.pid != killed[0]
    assert sum(found.counts.values()) == len(names)


def test_a_service_that_went_away_is_an_api_error_and_the_child_lives(few, reviewing, photos, tmp_path):
    with FakeApi() as service:
        jpegs = [file.read_bytes() for file in sorted((photos / "train" / "hat").iterdir())[:4]]
        set_id = service.add_set("Away", {"hat": jpegs})
        home = Home(tmp_path / "home", service.url, KEY, set_id, attempts=1, timeout=(20, 20))
        home.workspace.connect()
        listing = home.listing()
        service.vanish()
        with pytest.raises(ConnectionFailed):
            reviewing.review(home.workspace, set_id, listing.images, listing.labels)
        home.close()
    other, _planted, names = few
    assert sum(review(reviewing, other).counts.values()) == len(names)


def test_the_child_ends_with_who_asked(few, reviewing):
    home, _planted, _names = few
    review(reviewing, home)
    pid = reviewing.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    reviewing.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_request_that_is_cut_off_ends_the_child_without_a_word(tmp_path, capfd):
    """The window was closed while it sent a large listing."""
    receiver, requests = child_process.pipe()
    answers, sender = child_process.pipe()
    process = child_process.start("review", reviewer_module._work, receiver, sender, tmp_path)
    receiver.close()
    sender.close()
    os.write(requests.fileno(), struct.pack("!i", 1000) + b"the first of them")
    requests.close()
    with answers:
        process.join(60)
    assert (process.exitcode, capfd.readouterr().err) == (0, "")


def test_what_is_dismissed_moved_or_gone_does_not_count_any_more(few, reviewing):
    home, _planted, _names = few
    found = review(reviewing, home)
    labels = {image.image_id: image.label for image in home.listing().images}
    doubt, flagged, group = found.label_issues[0], found.flagged[0], found.groups[0]
    dismissed = {(doubt.image, f"label:{doubt.given}"), *((flagged.image, f"flag:{flag}") for flag in flagged.flags)}
    dismissed |= {(one, f"twin:{other}") for one, other in pairs_of(group.images)}
    left = current(found, labels.get, frozenset(dismissed))
    assert doubt not in left.label_issues and flagged not in left.flagged and group not in left.groups
    assert len(left.label_issues) == len(found.label_issues) - 1
    moved = {**labels, doubt.image: doubt.likely}
    assert doubt not in current(found, moved.get, frozenset()).label_issues
    del labels[group.images[0]]
    assert group.images[1] not in [
        one for other in current(found, labels.get, frozenset()).groups for one in other.images
    ]


def test_tiny_and_odd_pictures_are_told_by_their_size_in_the_listing(real_service, open_home, reviewing, tmp_path):
    home = open_home(real_service.url, real_service.key, real_service.new_set("Shapes"))
    home.workspace.connect()
    sizes = {"tiny": (40, 50), "odd": (900, 200), "fine": (300, 200)}
    names = {}
    for name, size in sizes.items():
        path = tmp_path / f"{name}.png"
        Image.effect_noise(size, 90).convert("RGB").save(path)
        names[home.client.upload_image(home.set_id, "a", path=path).id] = name
    flags = {names[one.image]: one.flags for one in review(reviewing, home).flagged}
    assert flags == {"tiny": ["tiny"], "odd": ["odd shape"]}
