import dataclasses
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, ConnectionFailed, NotFound, WrongKey
from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.compare import Side, compare
from apitorch_desktop.dataset.exporter.exporter import client_source, export
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher
from apitorch_desktop.dataset.workspace.scratch import SCRATCH_LABEL
from apitorch_desktop.dataset.workspace.workspace import ListingProgress, NeedsScratch
from apitorch_desktop.vision.images import UnreadableImage, verify
from tests.helpers.dataset_home import Home, picture
from tests.helpers.fake_api import FakeApi


def paths(service: FakeApi, start: int = 0) -> list[str]:
    return [seen.path.partition("?")[0] for seen in service.seen[start:]]


# --- listings


def test_a_listing_is_the_same_in_one_piece_and_in_pages(real: Home):
    parts: list[ListingProgress] = []
    paged = real.workspace.listing(real.set_id, progress=parts.append)
    real.workspace._extensions = frozenset()
    whole = real.workspace.listing(real.set_id)
    assert [image.image_id for image in paged.images] == [image.image_id for image in whole.images]
    assert paged.labels == whole.labels == ["l0", "l1", "l2", "l3"]
    assert paged.label_ids == whole.label_ids
    assert set(paged.label_ids) == {"l0", "l1", "l2", "l3"}
    assert sum(len(part.images) for part in parts) == 20
    assert {part.total for part in parts} == {20}


def test_a_known_listing_takes_what_has_changed_alone(real: Home, monkeypatch):
    def same():
        anew = Home.listing(real).images
        full = real.workspace.listing(real.set_id, anew=True)
        assert {one.image_id: one.label for one in anew} == {one.image_id: one.label for one in full.images}
        assert {one.label for one in anew} <= set(full.labels)
        return full

    first = same()
    listed: list[object] = []
    page = real.client.image_page
    monkeypatch.setattr(real.client, "image_page", lambda *args, **more: listed.append(args) or page(*args, **more))
    real.client.upload_image(real.set_id, "l9", data=picture(900))
    real.client.move_images(real.set_id, [one.image_id for one in first.images[:3]], "l3")
    real.client.delete_images(real.set_id, [one.image_id for one in first.images[4:6]])
    real.client.rename_label(real.set_id, "l2", "new")
    real.client.create_label(real.set_id, "empty")
    changed = real.workspace.listing(real.set_id)
    assert listed == []
    assert real.workspace.cached_listing(real.set_id) == changed
    assert changed.labels == ["empty", "l0", "l1", "l3", "l9", "new"]
    full = same()
    assert {one.label: one.image_id for one in changed.images} == {one.label: one.image_id for one in full.images}
    assert changed.label_ids == full.label_ids
    # records of an earlier day are renewed with those that follow them
    real.restart()
    page = real.client.image_page
    monkeypatch.setattr(real.client, "image_page", lambda *args, **more: listed.append(args) or page(*args, **more))
    listed.clear()
    under = [image for image in changed.images if image.label == "l3"]
    stale = [replace(image, url=image.url.replace("signature=", "signature=0")) for image in under]
    assert all(real.workspace.image(real.set_id, image) for image in stale)
    assert len(under) > 3 and len(listed) == 1
    stale = stale[0]
    gone = replace(stale, id="ti_" + "0" * 40)
    with pytest.raises(NotFound, match="no longer in the training set"):
        real.workspace.image(real.set_id, gone)


def test_a_listing_that_the_service_no_longer_leads_to_is_made_anew(real: Home):
    full = real.listing()
    for damage in ({"revision": "999-9"}, {"images": full.images[:-1]}, {"label_ids": {"l0": "tl_" + "0" * 40}}):
        real.cache.save_listing("c1", dataclasses.replace(full, **damage))
        again = real.listing()
        assert [one.image_id for one in again.images] == [one.image_id for one in full.images]
        assert again.label_ids == full.label_ids


def test_many_pages_make_one_listing(real: Home, monkeypatch):
    monkeypatch.setattr("apitorch_desktop.dataset.workspace.workspace._FIRST_PAGE", 3)
    monkeypatch.setattr("apitorch_desktop.dataset.workspace.workspace._PAGE", 4)
    real.client.create_label(real.set_id, "empty")
    parts: list[ListingProgress] = []
    listing = real.workspace.listing(real.set_id, progress=parts.append)
    assert [len(part.images) for part in parts][:2] == [3, 4]
    assert listing.labels == ["empty", "l0", "l1", "l2", "l3"]
    assert [image.label for image in listing.images] == [f"l{one}" for one in range(4) for _ in range(5)]


def test_a_first_listing_that_broke_off_goes_on_after_its_last_page(real: Home, monkeypatch):
    for name, value in (("_FIRST_PAGE", 3), ("_PAGE", 4), ("_CACHE_AFTER", 0), ("_CACHE_PAUSE", 0)):
        monkeypatch.setattr(f"apitorch_desktop.dataset.workspace.workspace.{name}", value)

    def break_off(part: ListingProgress) -> None:
        came.extend(image.image_id for image in part.images)
        if len(came) >= 11:
            raise ConnectionFailed("broken off")

    came: list[str] = []
    with pytest.raises(ConnectionFailed):
        real.workspace.listing(real.set_id, progress=break_off)
    assert len(came) == 11
    assert real.workspace.cached_listing(real.set_id) is None  # a part is never taken for the whole
    real.client.move_images(real.set_id, came[:2], "l3")
    real.client.delete_images(real.set_id, came[2:3])
    real.client.upload_image(real.set_id, "l9", data=picture(900))
    asked: list[object] = []
    page = real.client.image_page
    monkeypatch.setattr(
        real.client, "image_page", lambda *args, **more: asked.append(more.get("after")) or page(*args, **more)
    )
    parts: list[ListingProgress] = []
    found = real.workspace.listing(real.set_id, progress=parts.append)
    assert None not in asked
    assert len(parts[0].images) == 7 - 1 + 1  # two pages, of which one image is gone, and what came since
    asked.clear()
    assert real.listing().images == found.images
    assert not asked
    full = real.workspace.listing(real.set_id, anew=True)
    assert {one.image_id: one.label for one in found.images} == {one.image_id: one.label for one in full.images}
    assert {one.image_id for part in parts for one in part.images} == {one.image_id for one in full.images}
    assert sum(len(part.images) for part in parts) == len(full.images)
    assert found.label_ids == full.label_ids
    came.clear()
    with pytest.raises(ConnectionFailed):
        real.workspace.listing(real.set_id, progress=break_off, anew=True)
    cached = real.workspace.cached_listing(real.set_id)
    assert cached is not None  # the whole is not given up for a part
    assert cached.images == full.images


def test_what_was_seen_stays_browsable_when_the_service_is_away(plain: Home, documented: FakeApi):
    listing = plain.workspace.listing(plain.set_id)
    plain.workspace.training_sets()
    assert not plain.workspace.offline
    documented.vanish()
    plain.restart_offline()
    with pytest.raises(ConnectionFailed):
        plain.workspace.listing(plain.set_id)
    assert plain.workspace.offline
    assert plain.workspace.cached_listing(plain.set_id) == listing
    assert [one.name for one in plain.workspace.cached_training_sets()] == ["Clothes"]
    documented.come_back()
    plain.workspace.connect()
    assert not plain.workspace.offline


def test_a_refusal_is_no_absence(plain: Home, documented: FakeApi):
    documented.wrong(401)
    with pytest.raises(WrongKey):
        plain.workspace.training_sets()
    assert not plain.workspace.offline


def test_the_extensions_are_known_before_the_service_answers(real: Home):
    real.restart_offline()
    assert real.workspace.has("paging")
    assert not real.workspace.has("telepathy")


def test_an_image_that_is_listed_twice_is_there_once(plain: Home, documented: FakeApi):
    answer = documented._listing

    def twice(one):
        found = answer(one)
        found.body = found.body.replace(b'"images": [{', b'"images": [{"filename": "same.jpg", "url": "x"}, {')
        return found

    documented._listing = twice
    listing = plain.workspace.listing(plain.set_id)
    assert len({image.image_id for image in listing.images}) == len(listing.images) == 21


def test_ids_that_all_changed_are_simply_others(plain: Home, documented: FakeApi):
    before = {image.image_id for image in plain.listing().images}
    documented.change_ids()
    image = plain.listing().images[0]
    assert image.image_id not in before
    assert plain.workspace.image(plain.set_id, image)


# --- pictures


@pytest.mark.parametrize("kind", ["real", "plain"])
def test_a_thumbnail_is_made_once_and_then_there_without_the_service(kind, request):
    home: Home = request.getfixturevalue(kind)
    image = home.listing().images[0]
    assert home.workspace.cached_thumbnail(image.image_id) is None
    small = home.workspace.thumbnail(home.set_id, image)
    assert (verify(small).width, verify(small).height, verify(small).format) == (16, 12, "JPEG")
    home.restart_offline()
    home.client._transport._origin = "nowhere"
    assert home.workspace.cached_thumbnail(image.image_id) == small
    assert home.workspace.thumbnail(home.set_id, image) == small


def test_a_service_without_thumbnails_gives_what_cannot_be_shown_its_reason(plain: Home, documented: FakeApi):
    number = documented.add_set("Odd", {"a": [b"this is no image at all"]})
    image = plain.workspace.listing(number).images[0]
    with pytest.raises(UnreadableImage):
        plain.workspace.thumbnail(number, image)
    assert plain.workspace.cached_thumbnail(image.image_id) is None


def test_addresses_that_ran_out_are_fetched_anew_once_for_all(plain: Home, documented: FakeApi):
    images = plain.listing().images
    documented.expire()
    start = len(documented.seen)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(plain.workspace.thumbnail(plain.set_id, one)))
        for one in images
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert paths(documented, start).count(f"/api/training-set/{plain.set_id}/images") == 1


def test_the_day_may_change_as_often_as_it_likes(plain: Home, documented: FakeApi):
    image = plain.listing().images[0]
    for _ in range(3):
        documented.expire()
        assert plain.workspace.image(plain.set_id, image) == picture(0)


def test_an_image_that_is_gone_is_not_found_and_not_asked_for_again_and_again(plain: Home, documented: FakeApi):
    image = plain.listing().images[0]
    gone = replace(image, filename="f" * 40 + ".jpg", url=image.url.replace("/files/", "/file/"))
    start = len(documented.seen)
    for _ in range(10):
        with pytest.raises(NotFound, match="no longer in the training set"):
            plain.workspace.image(plain.set_id, gone)
    assert paths(documented, start).count(f"/api/training-set/{plain.set_id}/images") <= 1


def test_an_image_that_came_after_the_last_listing_is_found_by_its_id(plain: Home):
    plain.listing()
    answer = plain.client.upload_image(plain.set_id, "l0", data=picture(55), filename="new.jpg")
    record = TrainingImage(filename=answer.id.removeprefix("ti_") + ".jpg", url="")
    assert plain.workspace.image(plain.set_id, record) == picture(55)


def test_an_address_of_an_earlier_start_is_renewed_and_one_of_this_service_is_not(plain: Home):
    [record] = plain.images("l0")[:1]
    earlier = replace(record, url="http://127.0.0.1:9/image/x.jpg")  # nothing answers there
    plain.workspace._fetcher = ImageFetcher(lambda number: plain.workspace.listing(number).images)
    assert plain.workspace.image(plain.set_id, earlier) == plain.workspace.image(plain.set_id, record)
    listed = []
    fetcher = ImageFetcher(lambda number: listed.append(number) or [record])

    def away(_image):
        raise ConnectionFailed("Nothing answers.")

    with pytest.raises(ConnectionFailed):
        fetcher.use(plain.client, plain.set_id, replace(record, url=f"{plain.url}image/x.jpg"), away)
    assert not listed


def test_addresses_are_forgotten_before_they_pile_up():
    client = ApiClient("http://127.0.0.1:9/", "k" * 42)
    asked: list[object] = []

    def relist(number):
        asked.append(number)
        return [TrainingImage(filename="a.jpg", url=f"new {number}")]

    fetcher = ImageFetcher(relist)

    def get(image: TrainingImage) -> str:
        if image.url == "old":
            raise NotFound("run out")
        return image.url

    for number in range(10):
        assert fetcher.use(client, number, TrainingImage(filename="a.jpg", url="old"), get) == f"new {number}"
    assert len(fetcher._images) <= 4
    assert fetcher.use(client, 9, TrainingImage(filename="a.jpg", url=""), get) == "new 9"
    assert asked == list(range(10))


# --- classification


def test_a_local_file_goes_up_with_the_call_where_the_service_takes_it(real: Home, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture(3))
    for given in ({"path": path}, {"data": picture(3)}):
        [answer] = real.workspace.classify(["safe-for-work"], **given)
        assert answer.classifier == "safe-for-work"
    assert SCRATCH_LABEL not in real.listing().labels


def test_classifiers_have_a_slug_in_any_case(plain: Home, real: Home):
    assert [one.slug for one in plain.workspace.classifiers()] == ["work-safe"]
    assert "safe-for-work" in [one.slug for one in real.workspace.classifiers()]


def test_without_leave_no_local_file_is_uploaded(plain: Home, documented: FakeApi):
    start = len(documented.seen)
    with pytest.raises(NeedsScratch):
        plain.workspace.classify(["work-safe"], data=picture(3))
    assert documented.seen[start:] == []


HEIC = Path(__file__).parents[2] / "data" / "heif" / "scene.heic"


def scratch_images(service: FakeApi, number: int) -> int:
    return len(service.sets[number].labels.get(SCRATCH_LABEL, {}))


def test_a_local_file_is_classified_through_the_scratch_label_and_deleted(plain: Home, documented: FakeApi):
    scratch = documented.add_set("Scratch")
    [answer] = plain.workspace.classify(["work-safe"], data=picture(3), scratch=scratch)
    assert answer.label == "safe for work"
    assert scratch_images(documented, scratch) == 0
    assert plain.workspace.delete_scratch_images() == 0
    plain.workspace.connection = replace_scratch(plain, scratch)
    assert plain.workspace.classify(["work-safe"], data=picture(4))


def replace_scratch(home: Home, number: int):
    return dataclasses.replace(home.workspace.connection, scratch_training_set=number)


@pytest.mark.parametrize("fault", ["drop", "lost", 500, "half", "garbage"])
def test_whichever_call_fails_no_scratch_image_stays(fault, plain: Home, documented: FakeApi):
    scratch = documented.add_set("Scratch")
    for number in range(10):
        start = len(documented.seen)
        documented.fail_at(number, fault)
        with suppress(ApiError):  # a HEIC photo goes up as JPEG, by whose hash it is found
            data = HEIC.read_bytes() if fault == "lost" else picture(number)
            plain.workspace.classify(["work-safe"], data=data, scratch=scratch)
        ended = len(documented.seen) - start <= number
        documented.right()
        plain.restart()  # connecting clears away what is left
        assert plain.workspace.delete_scratch_images() == 0
        assert scratch_images(documented, scratch) == 0
        if ended:
            return
    pytest.fail("it never ended")


def test_a_photo_that_is_being_classified_is_in_no_listing_download_comparison_or_export(
    plain: Home, documented: FakeApi, tmp_path: Path
):
    """The moment is held: the answer to `classify` waits until all four have looked."""
    number = documented.add_set("Zebras", {"plains": [picture(1)], "mountain": [picture(2)]})
    listed, go_on = threading.Event(), threading.Event()
    right = documented.answer

    def answer(method, path, query, body):
        if path.endswith("/classify"):
            listed.set()
            documented._lock.release()  # others are answered meanwhile
            try:
                assert go_on.wait(60)
            finally:
                documented._lock.acquire()
        return right(method, path, query, body)

    documented.answer = answer
    workspace, client = plain.workspace, plain.workspace.client
    with ThreadPoolExecutor(1) as pool:
        classified = pool.submit(workspace.classify, ["work-safe"], data=picture(3), scratch=number)
        try:
            assert listed.wait(60)
            assert scratch_images(documented, number) == 1
            listing = workspace.listing(number)
            assert (sorted(listing.labels), len(listing.images)) == (["mountain", "plains"], 2)
            transfers = TransferQueue(plain.folder / "transfers", lambda _id: client)
            transfers.add_download("c1", number, "Zebras", tmp_path / "down")
            transfers.work(lambda: False, until_done=True)
            transfers.close()
            export(*client_source(client, number, scratch_label=workspace.scratch_label(number)), tmp_path / "out")
            for folder in ("down", "out"):
                files = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
                assert sorted(path.parent.name for path in files) == ["mountain", "plains"], folder
            other = documented.add_set("Others", {"plains": [picture(1)]})
            found = compare(Side(workspace, number), Side(workspace, other))
            assert [image.label for image in found.only_here] == ["mountain"]
        finally:
            go_on.set()
        assert classified.result()[0].label == "safe for work"
    assert scratch_images(documented, number) == 0


def test_a_persons_own_label_of_that_name_is_theirs(plain: Home, documented: FakeApi, tmp_path: Path):
    theirs = picture(98)
    number = documented.add_set("Scratches", {"plains": [picture(1)], "Desktop scratch": [theirs]})
    workspace, client = plain.workspace, plain.workspace.client
    seen, right = [], client.classify

    def classify(*given, **more):
        seen.append((documented.content(number), workspace.listing(number)))
        return right(*given, **more)

    client.classify = classify
    for again in range(2):
        assert workspace.classify(["work-safe"], data=picture(3 + again), scratch=number)
        plain.restart()
        workspace, client = plain.workspace, plain.workspace.client
        client.classify = classify
    for content, listing in seen:
        assert len(content["desktop_scratch_2"]) == 1  # ours, beside theirs
        assert sorted(str(image.label) for image in listing.images) == ["Desktop scratch", "plains"]
        assert "desktop_scratch_2" not in listing.labels
    assert documented.content(number)["Desktop scratch"] == [hashlib.sha256(theirs).hexdigest()]
    assert documented.content(number)["desktop_scratch_2"] == []
    transfers = TransferQueue(plain.folder / "transfers", lambda _id: client)
    transfers.add_download("c1", number, "Scratches", tmp_path / "down")
    transfers.work(lambda: False, until_done=True)
    transfers.close()
    export(*client_source(client, number, scratch_label=workspace.scratch_label(number)), tmp_path / "out")
    for folder in ("down", "out"):
        names = sorted(path.parent.name for path in (tmp_path / folder).rglob("*") if path.is_file())
        assert names == ["Desktop scratch", "plains"], folder


def test_another_connection_and_another_training_set_have_labels_of_their_own(plain: Home, documented: FakeApi):
    one, other = documented.add_set("One"), documented.add_set("Other", {"desktop_scratch": [picture(98)]})
    plain.workspace.classify(["work-safe"], data=picture(3), scratch=one)
    assert plain.workspace.scratch_label(one) == "desktop_scratch"
    assert plain.workspace.scratch_label(other) == plain.scratch.label("c2", one) == ""
    assert plain.workspace.listing(other).labels == ["desktop_scratch"]
    assert plain.workspace.listing(one).labels == []


def test_scratch_images_are_deleted_after_the_service_was_away(plain: Home, documented: FakeApi):
    scratch = documented.add_set("Scratch")
    plain.workspace.classify(["work-safe"], data=picture(4), scratch=scratch)  # the label is ours from now on
    documented._put(documented.sets[scratch], SCRATCH_LABEL, picture(99))  # another program's
    documented.wrong("lost", path="/classify$")
    documented.wrong("drop", method="DELETE", times=9)
    with pytest.raises(ConnectionFailed):
        plain.workspace.classify(["work-safe"], data=picture(3), scratch=scratch)
    documented.vanish()
    documented.right()
    assert scratch_images(documented, scratch) == 2
    plain.restart_offline()
    assert plain.workspace.delete_scratch_images() == 1
    documented.come_back()
    plain.workspace.connect()
    assert plain.workspace.delete_scratch_images() == 0
    assert [image.data for image in documented.sets[scratch].labels[SCRATCH_LABEL].values()] == [picture(99)]


def test_a_crash_before_the_uploads_answer_is_cleared_away_by_content(plain: Home, documented: FakeApi):
    scratch = documented.add_set("Scratch")
    documented._put(documented.sets[scratch], "desktop_scratch", picture(99))
    with plain.scratch._file.transaction() as rows:
        rows.execute(
            "INSERT INTO upload (connection, training_set, sha256, started_at) VALUES ('c1', ?, ?, 0)",
            (str(scratch), hashlib.sha256(picture(3)).hexdigest()),
        )
    documented._put(documented.sets[scratch], "desktop_scratch", picture(3))
    assert plain.workspace.delete_scratch_images() == 0
    assert [image.data for image in documented.sets[scratch].labels["desktop_scratch"].values()] == [picture(99)]


def test_a_message_arrives(plain: Home, documented: FakeApi):
    plain.workspace.send_message("Well done")
    assert documented.sent == [("", "Well done")]


def test_a_service_that_moved_is_used_at_its_new_place(plain: Home, documented: FakeApi):
    documented.vanish()
    with FakeApi() as other:
        client = ApiClient(other.url, other.key)
        plain.workspace.set_client(client)
        assert plain.workspace.connect().message == "ok"
        client.close()
