import base64
import io
import json
import sqlite3
import tarfile
from urllib.parse import urlsplit

import pytest
import requests

from apitorch_desktop.api.packed_listing import decode_listing
from apitorch_desktop.service.http.signed_urls import Signer
from tests.helpers.service_process import run
from tests.helpers.stores import replace_by


def assert_refused(answer: requests.Response, status: int, *words: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["object"] == "error"
    assert body["type"]
    for word in words:
        assert word in body["message"]
    return body["message"]


def test_ping_answers_the_documented_fields_and_lists_every_extension(service):
    answer = service.call("GET", "ping")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["object"], body["message"]) == ("ping", "ok")
    assert body["service"]
    assert body["version"]
    named = {"training-sets", "labels", "images", "paging", "thumbnails", "classify.upload", "training", "alternatives"}
    assert set(body["extensions"]) == named | {
        "images.archive",
        "images.msgpack",
        "images.restore",
        "images.upload",
        "changes",
        "classify.unkept",
        "feedback.read",
        "versions",
        "export.onnx",
        "none_of_these",
        "unlabelled",
        "splits",
        "formats",
        "similar",
        "evidence",
        "encoders",
        "embeddings",
        "forecast",
        "monitoring",
    }


@pytest.mark.parametrize("path", ["ping/", "ping?", "ping?x=1", "./ping"])
def test_oddities_at_the_end_of_a_path_change_nothing(service, path):
    assert service.call("GET", path).json()["message"] == "ok"


@pytest.mark.parametrize("path", ["", "nothing", "ping/x", "/ping", "training-set", "training-set//labels"])
def test_unknown_paths_are_404_in_json(service, path):
    assert_refused(service.call("GET", path), 404, "/api/docs")


def test_a_base_url_without_api_is_told_where_the_api_is(service):
    assert_refused(service.call("GET", service.origin + "/ping"), 404, "ends in /api/")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "ping", "GET, HEAD"),
        ("OPTIONS", "training-sets", "GET, HEAD, POST"),
        ("GET", "training-set/1/cats/image", "POST"),
        ("POST", "training-image/ti_1", "DELETE, GET, HEAD, PATCH"),
    ],
)
def test_a_wrong_method_is_405_and_told_the_right_ones(service, method, path, allowed):
    answer = service.call(method, path)
    assert_refused(answer, 405, method)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("label", ["a/b", "", "q?x=1", "h#y"])
def test_a_label_that_is_not_encoded_is_told_how(service, label):
    answer = requests.post(
        f"{service.url}training-set/1/{label}/image", auth=(service.key, ""), files={"image": b"x"}, timeout=60
    )
    assert_refused(answer, 404, "%2F")


def test_head_answers_like_get_without_a_body(service):
    answer = service.call("HEAD", "ping")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 20
    assert not answer.content


# --- keys


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic …".encode(),
        b"Basic \xe9",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:").decode(),
        "Basic " + base64.b64encode(b"x" * 42 + b":").decode(),
        "Bearer abc",
        "Basic " + base64.b64encode(b":").decode(),
    ],
)
def test_without_a_known_key_every_call_is_401_with_a_challenge(service, header):
    headers = {} if header is None else {"Authorization": header}
    for method, path in [("GET", "ping"), ("GET", "training-sets"), ("POST", "classify"), ("DELETE", "training-set/1")]:
        answer = requests.request(method, service.url + path, headers=headers, timeout=60)
        assert_refused(answer, 401, "API key")
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_a_key_with_a_password_is_refused_with_the_reason(service):
    assert_refused(requests.get(service.url + "ping", auth=(service.key, "x"), timeout=60), 401, "password")


def test_a_key_is_told_by_all_of_its_characters(service):
    for at in (0, 20, 41):
        wrong = service.key[:at] + ("a" if service.key[at] != "a" else "b") + service.key[at + 1 :]
        assert_refused(service.call("GET", "ping", wrong), 401)


# --- training sets


@pytest.mark.parametrize("form", ["json", "urlencoded", "multipart"])
def test_a_training_set_is_made_from_json_forms_and_multipart_alike(service, form):
    fields = {"name": f"Zebra “Breeds” {form} é🦓", "description": "stripes & more", "unknown": "ignored"}
    sent = {"json": {"json": fields}, "urlencoded": {"data": fields}}.get(
        form, {"files": {name: (None, value) for name, value in fields.items()}}
    )
    made = service.call("POST", "training-sets", **sent)
    assert made.status_code == 200, made.text
    body = made.json()
    assert body["object"] == "training_set"
    assert isinstance(body["id"], int)
    assert (body["name"], body["description"]) == (fields["name"], fields["description"])
    assert body["slug"] == f"zebra-breeds-{form}-é"
    listed = [row for row in service.call("GET", "training-sets").json()["data"] if row["id"] == body["id"]]
    assert listed[0]["name"] == fields["name"]
    assert listed[0]["labels"] == []


def test_a_training_set_is_changed_and_deleted(service):
    set_id = service.new_set("Before")
    changed = service.call("PATCH", f"training-set/{set_id}", json={"name": "After"})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["slug"]) == ("After", "after")
    assert service.call("PATCH", f"training-set/{set_id}", data={"description": "d"}).json()["description"] == "d"
    assert_refused(service.call("PATCH", f"training-set/{set_id}", json={}), 400, "nothing to change")
    gone = service.call("DELETE", f"training-set/{set_id}")
    assert gone.status_code == 200
    assert "deleted" in gone.json()["message"]
    assert_refused(service.call("DELETE", f"training-set/{set_id}"), 404)
    assert_refused(service.call("GET", f"training-set/{set_id}/images"), 404)


@pytest.mark.parametrize(
    "set_id", ["0", "-1", "abc", "1.5", "99999999", "9" * 40, "%00", "%2e%2e", "1%20", "ti_1", "١"]
)
def test_ids_that_are_no_training_set_are_404(service, set_id, picture):
    assert_refused(service.call("GET", f"training-set/{set_id}/images"), 404)
    assert_refused(service.call("GET", f"training-set/{set_id}/labels"), 404)
    assert_refused(service.upload(set_id, "cats", picture()), 404)
    assert_refused(service.call("DELETE", f"training-set/{set_id}"), 404)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "“name” is missing"),
        ({"name": 3}, "“name”"),
        ({"name": ""}, "“name”"),
        ({"name": "x" * 201}, "“name”"),
        ({"name": None}, "“name”"),
        ([], "The body"),
        ("x", "The body"),
    ],
)
def test_a_training_set_that_cannot_be_is_400_and_names_the_field(service, body, word):
    assert_refused(service.call("POST", "training-sets", json=body), 400, word)


# --- labels


def test_labels_are_made_listed_renamed_merged_and_deleted(service, picture):
    set_id = service.new_set("Labels")
    path = f"training-set/{set_id}/labels"
    made = service.call("POST", path, json={"label": "T-Shirt"})
    assert made.status_code == 200
    assert (made.json()["object"], made.json()["label"], made.json()["count"]) == ("training_label", "t_shirt", 0)
    assert_refused(service.call("POST", path, data={"label": "t shirt"}), 409, "t_shirt")
    assert service.upload(set_id, "Hut", picture(1)).status_code == 200
    renamed = service.call("PATCH", f"{path}/t_shirt", json={"label": "Größe Ü"})
    assert renamed.json()["label"] == "größe_ü"
    assert_refused(service.call("PATCH", f"{path}/hut", json={"label": "größe ü"}), 409)
    merged = service.call("PATCH", f"{path}/hut", data={"label": "größe ü", "merge": "true"})
    assert (merged.json()["label"], merged.json()["count"]) == ("größe_ü", 1)
    listed = service.call("GET", path).json()
    assert [(row["label"], row["count"]) for row in listed["data"]] == [("größe_ü", 1)]
    assert listed["training_set_id"] == set_id.wire
    gone = service.call("DELETE", f"{path}/{listed['data'][0]['id']}")
    assert gone.status_code == 200
    assert service.call("GET", path).json()["data"] == []
    assert_refused(service.call("DELETE", f"{path}/hut"), 404)


@pytest.mark.parametrize("label", ["images", "labels", "image", "move", "delete"])
def test_labels_named_like_parts_of_paths_can_be_uploaded_to_and_deleted(service, picture, label):
    set_id = service.new_set(f"Words {label}")
    assert service.upload(set_id, label, picture()).json()["label"] == label
    assert service.call("DELETE", f"training-set/{set_id}/labels/{label}").status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a%2Fb", "a_b"),
        ("..%2F..%2Fetc%2Fpasswd", "etc_passwd"),
        ("T-Shirt", "t_shirt"),
        ("%E5%B8%BD%E5%AD%90", "帽子"),
        ("caf%C3%A9", "café"),
        ("a%00b", "a_b"),
        ("a%0Ab", "a_b"),
        ("%ff%fea", "a"),
        ("%252e%252e", "2e_2e"),
        ("x" * 100, "x" * 100),
    ],
)
def test_labels_in_a_path_become_snake_case_and_never_leave_their_place(service, picture, given, kept):
    set_id = service.new_set("Odd labels")
    answer = service.upload(set_id, given, picture())
    assert answer.status_code == 200, answer.text
    assert answer.json()["label"] == kept


@pytest.mark.parametrize("label", ["%2e%2e", "%2F", "---", "%F0%9F%A6%93", "%20"])
def test_labels_with_no_letter_are_400_and_leave_nothing(service, picture, label):
    set_id = service.new_set("No letter")
    assert_refused(service.upload(set_id, label, picture()), 400)
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"] == []


# --- images


def test_an_upload_answers_as_documented_and_the_same_again_is_the_first(service, picture):
    set_id = service.new_set("Uploads")
    first = service.upload(set_id, "cats", picture(5), 'Möwe "1"\n🦓.jpg')
    assert first.status_code == 200
    body = first.json()
    assert body["object"] == "training_image"
    assert body["id"].startswith("ti_")
    assert len(body["id"]) == 43
    assert body["message"] == "Image added to training set."
    assert (body["width"], body["height"], body["bytes"]) == (32, 24, len(picture(5)))
    assert body["original_filename"] == 'Möwe "1"\n🦓.jpg'
    again = service.upload(set_id, "cats", picture(5))
    assert again.status_code == 200
    assert again.json()["id"] == body["id"]
    assert again.json()["message"] != body["message"]
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["count"] == 1


def test_a_split_is_taken_with_a_file_or_an_address_kept_and_listed(service, picture):
    set_id = service.new_set("Parts")
    upload = f"training-set/{set_id}/hat/image"
    plain, tested = picture(1), picture(2)
    sent = {"files": {"image": ("a.jpg", tested, "image/jpeg")}, "data": {"split": "test"}}
    first = service.call("POST", upload, **sent).json()
    assert first["split"] == "test"
    url = service.upload(set_id, "hat", plain).json()["url"]
    by_url = service.call("POST", f"training-set/{set_id}/cap/image", json={"image_url": url, "split": "train"}).json()
    assert by_url["split"] == "train"
    sent["data"]["split"] = "validation"  # what has a split keeps it
    assert service.call("POST", upload, **sent).json()["split"] == "test"
    moved = service.call("PATCH", f"training-image/{first['id']}", json={"label": "cap"}).json()
    assert (moved["label"], moved["split"]) == ("cap", "test")
    listed = service.call("GET", f"training-set/{set_id}/images").json()["data"]
    splits = {image["id"]: image.get("split") for label in listed for image in label["images"]}
    assert [splits[first["id"]], splits[by_url["id"]]] == ["test", "train"]
    assert list(splits.values()).count(None) == 1
    sent["data"]["split"] = "half"
    assert_refused(service.call("POST", upload, **sent), 400, "split")


def test_the_inbox_is_no_label_to_correct_to(service, picture):
    set_id = service.new_set("Waiting")
    assert service.upload(set_id, "Unlabelled", picture()).json()["label"] == "unlabelled"
    found = service.call("GET", "classifier/waiting").json()
    assert (found["labels"], found["status"]) == ([], "needs_images")
    body = {"image_url": service.call("GET", f"training-set/{set_id}/images").json()["data"][0]["images"][0]["url"]}
    asked = service.call("POST", "classify", json={"classifiers": ["safe-for-work"], **body}).json()["data"][0]
    correction = {"classification_id": asked["id"], "correct_label_id": "unlabelled"}
    assert_refused(service.call("POST", "feedback/classification", json=correction), 400, "stands for no label")


def test_a_listing_has_all_labels_and_signed_urls_that_give_the_bytes_back(service, picture):
    set_id = service.new_set("Detect Zebra")
    sent = {seed: picture(seed) for seed in (1, 2, 3)}
    for seed, data in sent.items():
        service.upload(set_id, "mountain zebra" if seed < 3 else "plains", data)
    service.call("POST", f"training-set/{set_id}/labels", json={"label": "maneless_zebra"})
    body = service.call("GET", f"training-set/{set_id}/images").json()
    assert (body["object"], body["training_set_id"], body["training_set_slug"]) == ("list", set_id.wire, "detect-zebra")
    assert body["training_set_url"].startswith(f"{service.origin}/training-sets/{set_id}/detect-zebra")
    by_label = {group["label"]: group["images"] for group in body["data"]}
    assert {label: len(images) for label, images in by_label.items()} == {
        "mountain_zebra": 2,
        "maneless_zebra": 0,
        "plains": 1,
    }
    got = set()
    for image in [*by_label["mountain_zebra"], *by_label["plains"]]:
        assert "ti_" + image["filename"].removesuffix(".jpg") == image["id"]
        file = requests.get(image["url"], timeout=60)
        assert (file.status_code, file.headers["content-type"]) == (200, "image/jpeg")
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in file.headers["cache-control"]
        assert "sandbox" in file.headers["content-security-policy"]
        assert (
            requests.get(image["url"], headers={"If-None-Match": file.headers["etag"]}, timeout=60).status_code == 304
        )
        got.add(file.content)
        small = requests.get(image["thumbnail_url"], timeout=60)
        assert small.status_code == 200
        assert small.content.startswith(b"\xff\xd8")
    assert got == set(sent.values())


@pytest.mark.parametrize("what", ["a flipped byte", "an empty file", "a link"])
def test_an_image_that_is_damaged_is_an_error_of_the_service_until_it_is_sent_again(start, picture, what):
    service = start()
    set_id = service.new_set()
    data = picture(1, (300, 200))
    image = service.upload(set_id, "dress", data).json()
    since = service.call("GET", f"training-set/{set_id}/changes").json()["revision"]
    path = service.folder / "images" / image["sha256"][0] / image["sha256"]
    replace_by(what, path)
    for url in (image["url"], image["thumbnail_url"]):
        answer = requests.get(url, timeout=60)
        assert answer.status_code == 500
        assert "The stored image is damaged" in answer.json()["message"]
    by_url = service.call("POST", "classify", json={"image_url": image["url"], "classifiers": "extract-text"})
    assert by_url.status_code == 500

    def hashes() -> set[str | None]:
        listed = service.call("GET", f"training-set/{set_id}/images")
        packed = service.call("GET", f"training-set/{set_id}/images", headers={"Accept": "application/msgpack"})
        (of_json,) = listed.json()["data"][0]["images"]
        (of_packed,) = decode_listing(packed.content).data[0].images
        (changed,) = service.call("GET", f"training-set/{set_id}/changes?since={since}").json()["images"]
        shown = service.call("GET", f"training-image/{image['id']}").json()
        return {of_json.get("sha256"), of_packed.sha256 or None, changed.get("sha256"), shown.get("sha256")}

    assert hashes() == {None}
    again = service.upload(set_id, "dress", data)
    assert (again.status_code, again.json()["id"]) == (200, image["id"])
    assert hashes() == {image["sha256"]}
    assert requests.get(image["url"], timeout=60).content == data
    assert requests.get(image["thumbnail_url"], timeout=60).status_code == 200


def test_several_images_go_up_in_one_call_and_what_is_none_is_named(service, picture):
    set_id = service.new_set("Several")
    route = f"training-set/{set_id}/Polka-Dots/images"

    def call(images, route=route, name="images[]", **more):
        files = [(name, (f"ü “{number}”.jpg", image)) for number, image in enumerate(images)]
        return service.call("POST", route, files=files, **more)

    sent = [picture(1), b"no image", picture(2), picture(1)[:-400], b"", picture(1)]  # the last one is the first again
    answer = call(sent, data={"split": "test"})
    assert answer.status_code == 200
    body = answer.json()
    names = [image["original_filename"] for image in body["data"]]
    assert names[0] == names[2] in {"ü “0”.jpg", "ü “5”.jpg"}
    assert names[1] == "ü “2”.jpg"
    assert body["data"][0]["id"] == body["data"][2]["id"]
    for number, image in zip((0, 2), body["data"], strict=False):
        assert (image["label"], image["split"]) == ("polka_dots", "test")
        assert requests.get(image["url"], timeout=60).content == sent[number]
    assert [error["index"] for error in body["errors"]] == [1, 3, 4]
    for error in body["errors"]:
        alone = service.upload(set_id, "Polka-Dots", sent[error["index"]])
        told = alone.json()
        assert (error["status"], error["message"], error["type"]) == (alone.status_code, told["message"], told["type"])
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["count"] == 2
    assert [image["id"] for image in call(sent).json()["data"]] == [image["id"] for image in body["data"]]

    assert_refused(call([]), 400, "images[]")
    assert_refused(service.call("POST", route, json={"split": "test"}), 400, "images[]")
    assert_refused(call([picture(1)], name="image"), 400, "images[]")
    assert_refused(call([picture(1)] * 33), 400, "32")
    assert_refused(call([picture(3), bytes(33 * 2**20)]), 413)
    assert_refused(call([picture(3)], data={"split": "some"}), 400)
    assert_refused(call([picture(3)], route=f"training-set/{set_id}/~/images"), 400)
    assert_refused(call([picture(3)], route="training-set/999999/a/images"), 404)
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["count"] == 2


def test_many_images_come_in_one_archive_and_what_is_gone_is_left_out(service, picture):
    set_id, other = service.new_set("Archive"), service.new_set("Another")
    sent = {service.upload(set_id, "ab"[seed % 2], picture(seed)).json()["id"]: picture(seed) for seed in range(5)}
    foreign = service.upload(other, "a", picture(9)).json()["id"]
    gone, *kept = sent
    service.call("DELETE", f"training-image/{gone}")
    wanted = {"image_ids": [*sent, foreign, kept[0].removeprefix("ti_")]}
    answer = service.call("POST", f"training-set/{set_id}/images/archive", json=wanted)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        got = {entry.name: archive.extractfile(entry).read() for entry in archive}
    assert got == {f"{image.removeprefix('ti_')}.jpg": sent[image] for image in kept}
    assert_refused(service.call("POST", f"training-set/{set_id}/images/archive", json={"image_ids": []}), 400)
    assert_refused(service.call("POST", "training-set/999999/images/archive", json=wanted), 404)
    for ids in ([foreign], [gone], [kept[0], "1"]):
        assert_refused(service.call("POST", f"training-set/{set_id}/images/archive", json={"image_ids": ids}), 404)


def test_deleted_images_are_restored_to_their_owner_until_they_are_forgotten(service, picture):
    set_id, key = service.new_set("Restored"), run("keys", "--data", str(service.folder), "make", "Bea").stdout.strip()
    route = f"training-set/{set_id}/images/restore"
    ids = [service.upload(set_id, "ab"[seed % 2], picture(seed)).json()["id"] for seed in range(4)]
    before = service.call("GET", f"training-set/{set_id}/images").json()["data"]
    assert service.call("POST", f"training-set/{set_id}/images/delete", json={"image_ids": ids[:3]}).status_code == 200
    wanted = {"image_ids": [ids[2], "ti_" + "0" * 40, *ids[:2], ids[3]]}
    theirs = service.new_set("Hers", key)
    stolen = service.call("POST", f"training-set/{theirs}/images/restore", key, json=wanted).json()
    assert (stolen["data"], stolen["missing"]) == ([], wanted["image_ids"])
    for _ in range(2):
        answer = service.call("POST", route, json=wanted)
        assert answer.status_code == 200
        body = answer.json()
        assert [image["id"] for image in body["data"]] == [ids[2], *ids[:2], ids[3]]
        assert body["missing"] == ["ti_" + "0" * 40]
        assert requests.get(body["data"][0]["url"], timeout=60).content == picture(2)
    after = service.call("GET", f"training-set/{set_id}/images").json()["data"]
    for group, other in zip(before, after, strict=True):
        assert (group["label"], group["count"]) == (other["label"], other["count"])
        assert {image["id"]: image for image in group["images"]} == {image["id"]: image for image in other["images"]}
    service.call("DELETE", f"training-image/{ids[0]}")
    assert service.call("DELETE", "deleted-images").status_code == 200
    assert service.call("POST", route, json={"image_ids": ids[:1]}).json()["missing"] == ids[:1]
    assert_refused(service.call("POST", route, json={"image_ids": []}), 400)
    assert_refused(service.call("POST", "training-set/999999/images/restore", json=wanted), 404)
    assert_refused(service.call("POST", route, json={"image_ids": [ids[0], "1"]}), 404)
    assert_refused(service.call("POST", route, key, json=wanted), 404)


def test_an_archive_that_would_be_too_large_is_refused(service, picture):
    set_id = service.new_set("Large archive")
    ids = [service.upload(set_id, "a", picture(seed) + bytes(30 * 2**20)).json()["id"] for seed in range(3)]
    assert_refused(service.call("POST", f"training-set/{set_id}/images/archive", json={"image_ids": ids}), 400)
    one = service.call("POST", f"training-set/{set_id}/images/archive", json={"image_ids": ids[:1]})
    assert one.status_code == 200


def test_pages_of_a_listing_follow_one_another_and_miss_nothing(service, picture):
    set_id = service.new_set("Pages")
    ids = [service.upload(set_id, "ab"[seed % 2], picture(seed)).json()["id"] for seed in range(7)]
    seen, after = [], None
    for _ in range(10):
        parameters = {"limit": 3} | ({"after": after} if after else {})
        body = service.call("GET", f"training-set/{set_id}/images", params=parameters).json()
        seen += [image["id"] for group in body["data"] for image in group["images"]]
        after = body.get("next")
        if not after:
            break
    assert sorted(seen) == sorted(ids)
    one = service.call("GET", f"training-set/{set_id}/images", params={"label": "B"}).json()
    assert [group["label"] for group in one["data"]] == ["b"]
    assert len(one["data"][0]["images"]) == 3
    for bad in ({"limit": "0"}, {"limit": "x"}, {"limit": "-1"}, {"after": "nonsense"}, {"limit": "9" * 30}):
        assert_refused(service.call("GET", f"training-set/{set_id}/images", params=bad), 400)
    assert_refused(service.call("GET", f"training-set/{set_id}/images", params={"label": "none"}), 404)


def test_images_are_deleted_by_id_with_and_without_the_prefix(service, picture):
    set_id = service.new_set("Deletes")
    for seed, strip in ((1, False), (2, True)):
        wire = service.upload(set_id, "a", picture(seed)).json()["id"]
        gone = service.call("DELETE", "training-image/" + (wire[3:] if strip else wire))
        assert gone.status_code == 200
        assert (gone.json()["object"], gone.json()["id"], gone.json()["message"]) == (
            "training_image",
            wire,
            "Image deleted.",
        )
        assert_refused(service.call("DELETE", f"training-image/{wire}"), 404)


@pytest.mark.parametrize("image_id", ["ti_", "ti_x", "-1", "x" * 500, "%00", "%2e%2e%2f", "ti_" + "0" * 40, "🦓"])
def test_ids_that_are_no_image_are_404(service, image_id):
    assert_refused(service.call("DELETE", f"training-image/{image_id}"), 404)
    assert_refused(service.call("PATCH", f"training-image/{image_id}", json={"label": "a"}), 404)


def test_images_move_one_by_one_and_many_all_or_none(service, picture):
    set_id = service.new_set("Moves")
    ids = [service.upload(set_id, "a", picture(seed)).json()["id"] for seed in range(4)]
    moved = service.call("PATCH", f"training-image/{ids[0]}", data={"label": "B B"})
    assert (moved.status_code, moved.json()["label"]) == (200, "b_b")
    path = f"training-set/{set_id}/images"
    many = service.call("POST", f"{path}/move", json={"image_ids": [ids[1], ids[2][3:]], "label": "c"})
    assert many.status_code == 200, many.text
    assert [(row["id"], row["label"]) for row in many.json()["data"]] == [(ids[1], "c"), (ids[2], "c")]
    assert_refused(
        service.call("POST", f"{path}/move", json={"image_ids": [ids[3], "ti_" + "0" * 40], "label": "d"}), 404
    )
    assert_refused(service.call("POST", f"{path}/delete", json={"image_ids": [ids[3], "nonsense"]}), 404)
    counts = {row["label"]: row["count"] for row in service.call("GET", f"training-set/{set_id}/labels").json()["data"]}
    assert {label: count for label, count in counts.items() if count} == {"a": 1, "b_b": 1, "c": 2}
    assert_refused(service.call("POST", f"{path}/delete", json={"image_ids": []}), 400, "image_ids")
    form = service.call("POST", f"{path}/delete", data={"image_ids[]": ids[1:]})
    assert form.status_code == 200
    assert "3 images" in form.json()["message"]
    assert sum(len(group["images"]) for group in service.call("GET", path).json()["data"]) == 1


# --- links


def test_a_signed_link_holds_only_unchanged(service, picture):
    set_id = service.new_set("Links")
    answer = service.upload(set_id, "a", picture()).json()
    for url in (answer["url"], answer["thumbnail_url"]):
        assert requests.get(url, timeout=60).status_code == 200
        where = len(service.origin)
        for at in range(where + 1, len(url)):
            other = "0" if url[at] != "0" else "1"
            changed = url[:at] + other + url[at + 1 :]
            status = requests.get(changed, timeout=60).status_code
            assert status in {403, 404}, changed
            if url[at] in "0123456789abcdef" and at > url.index("?"):
                assert status == 403
        assert_refused(requests.get(url.partition("?")[0], timeout=60), 403, "List the images again")
    deleted = service.call("DELETE", f"training-image/{answer['id']}")
    assert deleted.status_code == 200
    assert_refused(requests.get(answer["url"], timeout=60), 404)


def test_a_link_of_another_day_is_403(service, picture):
    url = urlsplit(service.upload(service.new_set("Days"), "a", picture()).json()["url"])
    day = url.query.partition("&")[0].removeprefix("day=")
    with sqlite3.connect(f"file:{service.folder / 'store.db'}?mode=ro", uri=True) as database:
        signer = Signer(database.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()[0])
    assert url.query == f"day={day}&signature={signer.signature(url.path, day)}"
    for other in (str(int(day) - 1), str(int(day) + 1), "", "99999999"):
        stale = f"{service.origin}{url.path}?day={other}&signature={signer.signature(url.path, other)}"
        assert_refused(requests.get(stale, timeout=60), 403)


def test_a_browser_that_opens_an_images_url_gets_a_page_with_it(service, picture):
    set_id = service.new_set("Browser <b>")
    url = service.upload(set_id, "a", picture(), "<script>.jpg").json()["url"]
    page = requests.get(url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, timeout=60)
    assert page.headers["content-type"].startswith("text/html")
    assert url.replace("&", "&amp;") in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert requests.get(url, headers={"Accept": "image/avif,image/webp,*/*"}, timeout=60).content == picture()


def test_a_training_sets_url_opens_a_page_by_its_link_or_the_key(service, picture):
    set_id = service.new_set("Page <b>of</b> images")
    wire = [service.upload(set_id, "cats", picture(seed)).json() for seed in range(3)]
    url = next(row["url"] for row in service.call("GET", "training-sets").json()["data"] if row["id"] == set_id.wire)
    page = requests.get(url, timeout=60)
    assert page.status_code == 200
    assert "Page &lt;b&gt;of&lt;/b&gt; images" in page.text
    for image in wire:
        assert image["thumbnail_url"].replace("&", "&amp;") in page.text
    bare = url.partition("?")[0]
    unknown = requests.get(bare, timeout=60)
    assert_refused(unknown, 401)
    assert unknown.headers["www-authenticate"].startswith("Basic ")
    assert requests.get(bare, auth=(service.key, ""), timeout=60).status_code == 200
    assert_refused(requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=60), 403)
    assert requests.get(url + "&label=cats", timeout=60).status_code == 200


# --- feedback


@pytest.mark.parametrize("form", ["query", "json", "urlencoded", "multipart"])
def test_a_message_is_taken_from_the_query_json_and_forms(service, form):
    text = f"Schön – 🦓 {form} {'?' * 200}"
    coded = base64.b64encode(text.encode()).decode()
    sent = {
        "query": {"params": {"message": coded}},
        "json": {"json": {"message": coded}},
        "urlencoded": {"data": {"message": coded}},
        "multipart": {"files": {"message": (None, coded)}},
    }[form]
    answer = service.call("POST", "feedback/freeform", **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "feedback"
    assert text in [row.get("text") for row in service.call("GET", "feedback").json()["data"]]


def test_a_plus_that_a_form_made_a_space_is_still_base64(service):
    coded = base64.b64encode("ûûû>>>".encode()).decode()
    assert "+" in coded
    answer = service.call("POST", "feedback/freeform?message=" + coded)
    assert answer.status_code == 200
    assert service.call("GET", "feedback").json()["data"][0]["text"] == "ûûû>>>"


@pytest.mark.parametrize("message", ["hello world!", "aGk", "====", "/w==", "", "IA==", "aGk=x"])
def test_a_message_that_is_not_base64_of_utf8_is_400(service, message):
    assert_refused(service.call("POST", "feedback/freeform", data={"message": message}), 400, "message")


def test_feedback_without_its_fields_is_400_and_about_nothing_is_404(service):
    assert_refused(service.call("POST", "feedback/freeform"), 400, "message")
    assert_refused(service.call("POST", "feedback/classification"), 400, "classification_id")
    assert_refused(service.call("POST", "feedback/classification?classification_id=cls_1"), 400, "correct_label_id")
    unknown = {"classification_id": "cls_" + "0" * 40, "correct_label_id": "cat"}
    for sent in ({"params": unknown}, {"json": unknown}, {"data": unknown}):
        assert_refused(service.call("POST", "feedback/classification", **sent), 404)


# --- bodies


@pytest.mark.parametrize(
    ("headers", "body", "word"),
    [
        ({"Content-Type": "application/json"}, b'{"name": "a"', "JSON"),
        ({"Content-Type": "application/json"}, b"\xff\xfe", "JSON"),
        ({"Content-Type": "application/json"}, b'{"name": "\\ud800"}', "half of a surrogate pair"),
        ({"Content-Type": "application/json"}, b'{"x": ' + b"[" * 100_000, "nested"),
        ({"Content-Type": "application/json; charset=utf-16"}, b'{"name": "a"}', "utf-16"),
        ({"Content-Type": "text/plain"}, b"name=a", "text/plain"),
        ({"Content-Type": ""}, b"name=a", "Content-Type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"name=%ff", "UTF-8"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"\x1f\x8b", "gzip"),
        ({"Content-Type": "multipart/form-data"}, b"--x--", "boundary"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"nonsense", "multipart"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"", "too early"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nhalf',
            "too early",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\r\n--x--\r\n',
            "UTF-8",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b"--x\r\nContent-Type: a/b\r\n\r\nv\r\n--x--\r\n",
            "name",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nv\r\n--x--\r\n',
            "takes no file",
        ),
    ],
)
def test_bodies_that_cannot_be_read_are_400_and_say_why(service, headers, body, word):
    assert_refused(service.call("POST", "training-sets", data=body, headers=headers), 400, word)


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("utf-8", '{"name": "é"}'.encode()),
        ("UTF-8", b"\xef\xbb\xbf" + '{"name": "é"}'.encode()),
        ("iso-8859-1", '{"name": "é"}'.encode("latin-1")),
        ('"utf8"', '{"name": "é"}'.encode()),
    ],
)
def test_json_comes_in_the_charsets_scripts_send(service, charset, body):
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = service.call("POST", "training-sets", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "é"


def test_an_upload_needs_one_image_and_says_so(service, picture):
    set_id = service.new_set("One image")
    path = f"training-set/{set_id}/a/image"
    for sent in ({}, {"json": {}}, {"data": {"x": "1"}}, {"files": {"x": (None, "1")}}, {"json": {"image_url": None}}):
        assert_refused(service.call("POST", path, **sent), 400, "image_url")
    assert_refused(service.call("POST", path, files={"file": ("a.jpg", picture())}), 400, "“image”")
    twice = [("image", ("a.jpg", picture())), ("image", ("b.jpg", picture()))]
    assert_refused(service.call("POST", path, files=twice), 400, "two files")
    both = {"files": {"image": ("a.jpg", picture())}, "data": {"image_url": "http://example.com/"}}
    assert_refused(service.call("POST", path, **both), 400, "not both")
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"] == []


def test_a_name_in_the_extended_form_is_understood(service, picture):
    set_id = service.new_set("Extended")
    body = (
        b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename*=UTF-8''M%C3%B6we%20%22.jpg\r\n\r\n"
        + picture()
        + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.call("POST", f"training-set/{set_id}/a/image", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["original_filename"] == 'Möwe ".jpg'


def test_api_answers_are_not_cached_and_not_for_other_sites(service):
    answer = service.call("GET", "training-sets")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_no_answer_gave_the_service_a_reason_to_log(service):
    assert "Traceback" not in service.log
    assert json.loads(service.call("GET", "ping").text)["message"] == "ok"
