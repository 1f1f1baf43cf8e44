import base64
import hashlib
import os
import re
import threading
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from apitorch_desktop.api import types
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import BadRequest, NotApiTorch, NotFound, WrongKey
from apitorch_desktop.api.extensions import label_of, segment
from apitorch_desktop.api.packed_listing import decode_listing
from apitorch_desktop.utils.errors import Cancelled
from tests.helpers.fake_api import KEY, FakeApi


def sizes(service: FakeApi, number: int) -> dict[str, int]:
    return {label: len(images) for label, images in service.sets[number].labels.items()}


def test_every_documented_call_is_understood(service: FakeApi, client: ApiClient, tmp_path: Path):
    number = service.add_set("Detect Zebra", {"mountain_zebra": [b"m" * 100]})
    assert (client.ping().object, client.ping().message) == ("ping", "ok")
    [zebras] = client.training_sets()
    assert (zebras.id, zebras.name) == (number, "Detect Zebra")
    path = tmp_path / "zebra.jpg"
    path.write_bytes(b"z" * 100)
    answer = client.upload_image(number, "Maneless Zebra", path=path)
    assert answer.id.startswith("ti_")
    assert client.upload_image(number, "maneless_zebra", data=b"z" * 100).id == answer.id
    listing = client.images(number)
    assert listing.training_set_slug == "detect-zebra"
    assert [group.label for group in listing.data] == ["mountain_zebra", "maneless_zebra"]
    [image] = listing.data[1].images
    assert image.image_id == answer.id
    assert client.download(image.url) == b"z" * 100
    [classifier] = client.classifiers()
    [classification] = client.classify(["work-safe"], image_url=image.url)
    assert (classifier.name, classification.classifier) == ("Work Safe", "work-safe")
    client.feedback_classification(classification.id, "not_work_safe")
    client.feedback_freeform("Schön! 🦓")
    assert service.sent == [(classification.id, "not_work_safe"), ("", "Schön! 🦓")]
    assert client.delete_image(answer.id).id == answer.id
    assert sizes(service, number) == {"mountain_zebra": 1, "maneless_zebra": 0}
    with pytest.raises(NotFound, match="There is no such image"):
        client.delete_image(answer.id.removeprefix("ti_"))


def test_unknown_fields_numbers_in_strings_and_any_order_are_fine(service: FakeApi, client: ApiClient):
    number = service.add_set("Clothes", {"dress": [b"x" * 100, b"y" * 100], "hat": [b"z" * 100], "shirt": []})
    service.unknown_fields = service.numbers_as_strings = service.reorder = True
    [clothes] = client.training_sets()
    assert str(clothes.id) == str(number)
    listing = client.images(clothes.id)
    assert {group.label: len(group.images) for group in listing.data} == {"dress": 2, "hat": 1, "shirt": 0}
    assert client.ping().message == "ok"
    assert client.classifiers()[0].name == "Work Safe"


def test_a_wrong_key_is_named(service: FakeApi):
    client = ApiClient(service.url, "x" * 42)
    with pytest.raises(WrongKey, match="This API key is not valid"):
        client.ping()
    client.close()


def test_an_upload_tells_how_far_it_is(service: FakeApi, client: ApiClient, tmp_path: Path):
    number = service.add_set("Clothes")
    path = tmp_path / "big.jpg"
    path.write_bytes(os.urandom(1_000_000))
    sent: list[int] = []
    client.upload_image(number, "dress", path=path, on_sent=sent.append)
    assert sent == sorted(sent)
    assert len(sent) > 10
    assert sent[-1] > 1_000_000
    assert service.content(number)["dress"]


def test_an_upload_can_be_cancelled_on_its_way(service: FakeApi, client: ApiClient):
    number = service.add_set("Clothes")
    sent: list[int] = []
    with pytest.raises(Cancelled):
        client.upload_image(
            number, "dress", data=b"x" * 3_000_000, on_sent=sent.append, cancelled=lambda: len(sent) > 3
        )
    assert sizes(service, number) == {}


@pytest.mark.parametrize("answered", [True, False])
def test_an_upload_that_is_all_sent_when_it_is_cancelled_has_a_moment_to_be_answered(answered, service, client):
    number = service.add_set("Clothes")
    service.wrong("held", method="POST")
    asked = []

    def cancelled():
        there = sizes(service, number) != {}
        if there:
            asked.append(1)
            if answered and len(asked) == 3:
                service.release()
        return there

    def upload():
        return client.upload_image(number, "dress", data=b"x" * 1000, cancelled=cancelled)

    if answered:
        assert upload().id
    else:
        with pytest.raises(Cancelled):
            upload()
    assert len(asked) >= 3, "it was not waited for"


@pytest.mark.parametrize("trouble", ["gone", "folder", "unreadable"])
def test_a_file_that_cannot_be_read_is_named_and_the_call_not_repeated(
    trouble, service: FakeApi, client: ApiClient, tmp_path: Path
):
    number = service.add_set("Clothes")
    path = tmp_path / "photo 🦓.jpg"
    if trouble == "folder":
        path.mkdir()
    elif trouble != "gone":
        path.write_bytes(b"x" * 1_000_000)
    if trouble == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root may read anything")
        path.chmod(0)
    with pytest.raises(BadRequest, match=r"photo 🦓\.jpg"):
        client.upload_image(number, "dress", path=path)
    assert sizes(service, number) == {}


@pytest.mark.parametrize("name", ['a"b.jpg', "a\\b.jpg", "a\nb.jpg", "🦓.jpg", "x" * 251 + ".jpg", "\udce4.jpg"])
def test_any_file_name_can_be_sent(name, service: FakeApi, client: ApiClient):
    number = service.add_set("Clothes")
    client.upload_image(number, "dress", data=b"x" * 100, filename=name)
    assert sizes(service, number) == {"dress": 1}


def test_a_long_message_does_not_go_into_the_url(service: FakeApi, client: ApiClient):
    client.feedback_freeform("x" * 100_000)
    assert service.sent == [("", "x" * 100_000)]
    assert len(service.seen[-1].path) < 100
    client.feedback_freeform("short")
    assert quote(base64.b64encode(b"short")) in service.seen[-1].path


@pytest.mark.parametrize("count", [0, 11])
def test_too_few_or_too_many_classifiers_are_refused_before_a_call(count, service: FakeApi, client: ApiClient):
    with pytest.raises(BadRequest, match="Choose 1 to 10 classifiers"):
        client.classify(["a"] * count, image_url="http://x.example/")
    assert service.seen == []


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_nothing_can_leave_its_segment_of_a_path(value, service: FakeApi, client: ApiClient):
    with pytest.raises(BadRequest):
        client.delete_image(value)
    with pytest.raises(NotFound):
        client.delete_image("../training-sets/1?x#y")
    assert service.seen[0].path == "/api/training-image/..%2Ftraining-sets%2F1%3Fx%23y"
    assert segment("ä b") == "%C3%A4%20b"


def test_a_label_is_sent_in_its_one_spelling():
    assert label_of("T-Shirt") == "t_shirt"
    with pytest.raises(BadRequest, match="cannot be a label"):
        label_of("!?")


def test_a_download_is_whole_or_fails(service: FakeApi):
    client = ApiClient(service.url, KEY, attempts=1)
    number = service.add_set("Clothes", {"dress": [b"x" * 100_000]})
    url = client.images(number).data[0].images[0].url
    for fault in ("half", "shorter", 500):
        service.wrong(fault, path="^/files")
        with pytest.raises(Exception, match=r".+"):
            client.download(url)
    assert client.download(url) == b"x" * 100_000
    client.close()


def test_many_threads_share_a_client(service: FakeApi):
    client = ApiClient(service.url, KEY, attempts=12)
    number = service.add_set("Clothes")
    service.chaos(0.15, [500, "drop", "lost", "half", 429, "twice"], seed=5)

    def upload(start: int) -> None:
        for one in range(start, start + 15):
            client.upload_image(number, "dress", data=f"{one:>100}".encode())

    threads = [threading.Thread(target=upload, args=(start,)) for start in range(0, 90, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert sizes(service, number) == {"dress": 90}


def test_a_client_shows_its_address_and_no_key(client: ApiClient):
    assert KEY not in repr(client)
    assert client.base_url in repr(client)


def test_a_listing_is_asked_for_in_messagepack_only_where_the_service_says_so(service: FakeApi, client: ApiClient):
    number = service.add_set("Clothes", {"dress": [b"x" * 100]})
    client.ping()
    expected = client.images(number)
    assert {each.accept for each in service.seen} == {"application/json"}
    client._takes_packed = True  # as of a service that was replaced by an older one meanwhile
    assert client.without_retries().images(number) == client.images(number) == expected
    assert service.seen[-1].accept == "application/msgpack, application/json;q=0.5"
    service.wrong("portal", times=9)
    with pytest.raises(NotApiTorch):
        client.images(number)


def test_a_packed_listing_that_does_not_fit_is_no_listing():
    image = [1, "ab", "dress", "cd", ".jpg", 4, 5, 6, "a.jpg", "2026", "train", "of a later version"]
    given = {
        "training_set_id": 3, "training_set_slug": "a", "training_set_url": "u", "data": [{"label": "dress", "images": []}],
        "image_url": "i/", "thumbnail_url": "t/", "query": "?s=", "images": [image], "signing_key": bytes(16),
    }  # fmt: skip
    [group] = decode_listing(msgspec.msgpack.encode(given)).data
    [found] = group.images
    signature = hashlib.blake2b(b"ab.jpg", key=bytes(16), digest_size=16).hexdigest()
    assert (found.filename, found.url, found.thumbnail_url) == (
        "ab.jpg",
        f"i/ab.jpg?s={signature}",
        f"t/ab.jpg?s={signature}",
    )
    assert (found.image_id, found.label, found.split, found.bytes) == ("ti_ab", "dress", "train", 6)
    for change in (
        {"signing_key": b""},
        {"signing_key": bytes(65)},
        {"data": []},
        {"images": [image[:5]]},
        {"images": 7},
    ):
        with pytest.raises(msgspec.DecodeError):
            decode_listing(msgspec.msgpack.encode(given | change))
    with pytest.raises(msgspec.DecodeError):
        decode_listing(b"")


def test_the_page_on_the_interface_lists_every_extension():
    page = (Path(types.__file__).parent / "INTERFACE.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `([a-z._-]+)` \|", page.partition("## Extensions")[2], re.MULTILINE)
    assert sorted(names) == sorted(types.EXTENSIONS)
