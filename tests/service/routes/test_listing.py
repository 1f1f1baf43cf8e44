"""Listings: written from columns, byte for byte as from the wire objects; compressed for other machines."""

import gzip
import hashlib
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import requests

from apitorch_desktop.api import types
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.packed_listing import decode_listing
from apitorch_desktop.service.http.access import takes_gzip
from apitorch_desktop.service.http.signed_urls import SignedUrls, Signer
from apitorch_desktop.service.routes.listing import json_groups, wire_image
from apitorch_desktop.service.storage.records import ImagePage, LabelRow
from apitorch_desktop.service.storage.store import Store
from tests.helpers.service_process import Service, serving
from tests.helpers.stores import ME, add, add_many

NAMES = (
    "a.jpg",
    "",
    "Löwe 🦁 <&>'.jpg",
    'a "b" \\ c/d.jpg',
    "new\nline\t\x00\x1f\x7f",
    "\u2028\u2029\ufeff",
    "é" * 200,
)
LABELS = [LabelRow(f"tl_{name}", 3, name, 9) for name in ("empty", "b", "a", 'odd "label" \\ é')]
MANY = 150
OTHER = {"X-Forwarded-For": "203.0.113.9", "Accept-Encoding": "deflate, gzip"}
"""Headers of a client elsewhere, by way of a proxy."""


def links(origin: str = "http://127.0.0.1:8765") -> SignedUrls:
    return SignedUrls(origin, Signer(b"secret", lambda: datetime(2026, 5, 1, tzinfo=UTC)))


def columns(count: int, seed: int = 0) -> ImagePage:
    """Images under the labels but the first, and under one that is not known."""
    chance = random.Random(seed)
    rows = [
        (
            number,
            chance.randbytes(20).hex(),
            chance.choice([*(label.name for label in LABELS[1:]), "made meanwhile"]),
            chance.randbytes(32).hex(),
            chance.choice([".jpg", ".png", ".nef"]),
            chance.randrange(1, 10**5),
            chance.randrange(1, 10**5),
            chance.randrange(1, 2**33),
            chance.choice(NAMES),
            "2026-05-01T12:00:00.000Z",
            chance.choice(["", *types.SPLITS]),
        )
        for number in range(count)
    ]
    return ImagePage(3, rows, None)


def by_objects(listed: ImagePage, shown: list[LabelRow], damaged: set[str]) -> list[types.TrainingLabel]:
    """What `json_groups` returns, by way of an object for each image."""
    groups: dict[str, list[types.TrainingImage]] = {label.name: [] for label in shown}
    for row in listed.images:
        groups.setdefault(row.label, []).append(wire_image(row, 7, links(), damaged))
    known = {label.name: label for label in LABELS}
    return [
        types.TrainingLabel(label=name, images=images, id=known[name].id, count=known[name].count)
        if name in known
        else types.TrainingLabel(label=name, images=images)
        for name, images in groups.items()
    ]


@pytest.mark.parametrize("shown", [[], LABELS], ids=["page", "whole"])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_listing_is_byte_for_byte_that_of_its_objects(shown, count):
    listed = columns(count)
    damaged = {row.sha256 for row in listed.images[1:9]}

    def encoded(groups: list[types.TrainingLabel]) -> bytes:
        answer = types.TrainingImages(training_set_id=types.Id("3"), training_set_slug="zebras", data=groups, next="9")
        return types.encode(answer)

    text = encoded(json_groups(listed, shown, LABELS, 7, links(), damaged))
    assert text == encoded(by_objects(listed, shown, damaged))
    answer = types.decode_json(text, types.TrainingImages)
    assert sum(len(group.images) for group in answer.data) == count


@pytest.mark.parametrize(
    ("header", "takes"),
    [("gzip", True), ("deflate, GZIP;q=0.5, br", True), ("gzip;q=1.0", True), ("", False), ("br", False),
     ("gzip;q=0", False), ("gzip; q=0.000, br", False), ("identity", False)],
)  # fmt: skip
def test_a_client_says_whether_it_takes_gzip(header, takes):
    assert takes_gzip({"accept-encoding": header}) is takes
    assert not takes_gzip({})


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service, and the path of a listing of 150 images; a second training set, with the number after, has one."""
    folder: Path = tmp_path_factory.mktemp("filled") / "data"
    with Store.open(folder) as store:
        sets = [store.training_sets.create(ME, name).id for name in ("Many", "Few")]
        add_many(store, sets[0], "a", [f"image {number}".encode() for number in range(MANY)])
        add(store, sets[0], "b", b"odd", name='an "odd" name é.jpg')
        add(store, sets[1], "a", b"one")
    with serving(folder) as service:
        yield service, f"training-set/{sets[0]}/images"


def raw(service: Service, path: str, **headers: str) -> tuple[requests.Response, bytes]:
    """Return the answer and its body as it came."""
    with service.call("GET", path, headers=headers, stream=True) as answer:
        return answer, answer.raw.read()


def test_a_long_listing_is_compressed_for_other_machines_alone(filled):
    service, path = filled
    plain, body = raw(service, path, **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    answer, packed = raw(service, path, **OTHER)
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(packed) < len(body) / 3
    assert gzip.decompress(packed) == body
    assert "Accept-Encoding" in answer.headers["vary"]
    for headers in ({**OTHER, "Accept-Encoding": "identity"}, {**OTHER, "Accept-Encoding": "gzip;q=0"}):
        assert raw(service, path, **headers)[1] == body


def test_what_is_short_or_an_image_is_never_compressed(filled):
    service, path = filled
    answer, body = raw(service, f"{path}?limit=3", **OTHER)
    assert "content-encoding" not in answer.headers
    assert body.startswith(b"{")
    listed = service.call("GET", path).json()
    image = next(group for group in listed["data"] if group["label"] == "b")["images"][0]
    file = requests.get(image["url"], headers=OTHER, timeout=60)
    assert (file.content, "content-encoding" in file.headers) == (b"odd", False)


@pytest.mark.parametrize("query", ["", "?limit=3", "?label=b", "?limit=4&after={after}"])
def test_our_client_gets_the_same_in_messagepack(filled, query):
    service, path = filled
    after = service.call("GET", f"{path}?limit=2").json()["next"]
    whole = path + query.format(after=after)
    in_json = service.call("GET", whole)
    assert in_json.headers["content-type"] == "application/json"
    expected = types.decode_json(in_json.content, types.TrainingImages, strict=False)
    for headers in ({}, OTHER):
        packed = service.call("GET", whole, headers={**headers, "Accept": "application/msgpack"})
        assert packed.headers["content-type"] == "application/msgpack"
        assert decode_listing(packed.content) == expected
        assert len(packed.content) < len(in_json.content) * (1 if query else 0.5)
    client = ApiClient(service.url, service.key)
    if not query:
        assert client.images(path.split("/")[1]) == expected
        client.ping()
        assert client._takes_packed
        assert client.images(path.split("/")[1]) == expected
    elif "after" in query:
        client.ping()
        assert client.image_page(path.split("/")[1], after=after, limit=4) == expected
    client.close()


@pytest.mark.parametrize(
    ("accept", "packed"),
    [("*/*", False), ("application/json", False), ("text/html, */*;q=0.8", False), ("application/msgpack", True),
     ("application/json, application/msgpack;q=0.5", False), ("Application/MsgPack;q=0.9, application/json;q=0.5", True),
     ("application/msgpack;q=0", False), ("application/msgpack;q=x, application/json", True)],
)  # fmt: skip
def test_a_script_gets_messagepack_if_it_prefers_it(filled, accept, packed):
    service, path = filled
    command = ["curl", "-s", "-i", "-H", f"Accept: {accept}", "-u", f"{service.key}:", service.url + path]
    head, _, body = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout.partition(b"\r\n\r\n")
    assert (b"content-type: application/msgpack" in head.lower()) is packed
    if packed:
        answer = msgspec.msgpack.decode(body)
        assert len(answer["images"]) == MANY + 1
        name = answer["images"][0][1] + answer["images"][0][4]
        signature = hashlib.blake2b(name.encode(), key=answer["signing_key"], digest_size=16).hexdigest()
        file = requests.get(f"{answer['image_url']}{name}{answer['query']}{signature}", timeout=60)
        assert file.content.startswith(b"image ")
    else:
        assert body == service.call("GET", path).content


def test_errors_are_in_json_whatever_is_asked_for(filled):
    service, _ = filled
    answer = service.call("GET", "training-set/404/images", headers={"Accept": "application/msgpack"})
    assert (answer.status_code, answer.json()["object"]) == (404, "error")


def test_curl_unpacks_what_it_asks_for(filled):
    service, path = filled
    command = ["curl", "-s", "--compressed", "-H", "X-Forwarded-For: 203.0.113.9", "-u", f"{service.key}:"]
    told = subprocess.run([*command, service.url + path], capture_output=True, timeout=60, check=True).stdout
    assert told == service.call("GET", path).content
    assert told.count(b'"filename"') == MANY + 1
