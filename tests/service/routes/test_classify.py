"""Classifiers over HTTP, with real photos: learning, answers, feedback, versions, the exported file."""

import json

import pytest

from tests.helpers.waiting import until

LABELS = ("hat", "shoes")


@pytest.fixture(scope="module")
def trained(service, photos):
    """A training set that has become a classifier: its id and slug."""
    set_id = service.new_set("Hats and Shoes")
    for label in LABELS:
        for path in sorted((photos / "train" / label).glob("*.jpg"))[:12]:
            assert service.upload(set_id, label, path.read_bytes(), path.name).status_code == 200
    until(lambda: state(service)["status"] == "ready" and state(service)["metrics"]["images"] == 24)
    return set_id, "hats-and-shoes"


def state(service, slug="hats-and-shoes"):
    answer = service.call("GET", f"classifier/{slug}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def photo_of(photos, label, number=0):
    return sorted((photos / "test" / label).glob("*.jpg"))[number]


def classify(service, path, *slugs, **fields):
    data = [("classifiers[]", slug) for slug in slugs] + list(fields.items())
    return service.call("POST", "classify", data=data, files={"image": (path.name, path.read_bytes())})


def test_a_training_set_is_a_classifier_with_its_figures(service, trained):
    set_id, slug = trained
    body = state(service)
    assert (body["object"], body["slug"], body["training_set_id"]) == ("classifier", slug, set_id.wire)
    assert sorted(body["labels"]) == sorted(LABELS)
    assert body["metrics"]["accuracy"] > 0.7
    assert {row["label"] for row in body["metrics"]["labels"]} == set(LABELS)
    assert slug in [row["slug"] for row in service.call("GET", "classifiers").json()["data"]]
    assert service.call("GET", "classifier/no-such").status_code == 404


def test_a_file_is_classified_with_alternatives_and_values(service, trained, photos):
    _, slug = trained
    answer = classify(
        service, photo_of(photos, "hat"), slug, "safe-for-work", **{"options[show_confidence_value]": "true"}
    )
    assert answer.status_code == 200, answer.text
    mine, safe = answer.json()["data"]
    assert (mine["object"], mine["classifier"], mine["label"]) == ("classification", slug, "hat")
    assert 0.5 < float(mine["confidence_value"]) <= 1
    assert isinstance(mine["confidence_value"], str)
    assert mine["confidence"] in {"very high", "high", "possible", "low"}
    assert [row["label"] for row in mine["alternatives"]] == ["shoes"]
    assert mine["label_id"].startswith("tl_")
    assert safe["label"] == "safe for work"
    plain = classify(service, photo_of(photos, "hat"), slug).json()["data"][0]
    assert "confidence_value" not in plain


def test_an_answer_that_is_not_kept_is_the_same_without_an_id(service, trained, photos):
    _, slug = trained
    picture, options = photo_of(photos, "hat", 3), {"options[show_confidence_value]": "true"}
    answer = classify(service, picture, slug, **options, **{"options[keep]": "false"}).json()
    again = classify(service, picture, slug, **options).json()
    assert (answer["id"], answer["data"][0]["id"]) == ("", "")
    assert again["data"][0] | {"id": ""} == answer["data"][0]
    correction = {"classification_id": answer["data"][0]["id"], "correct_label_id": "shoes"}
    assert service.call("POST", "feedback/classification", json=correction).status_code == 404


@pytest.mark.parametrize(
    "options", [{"show_confidence_value": True}, {"show_confidence_value": False}, None, {}, {"unknown": 1}]
)
def test_options_in_json(service, trained, photos, options):
    set_id, slug = trained
    url = service.call("GET", f"training-set/{set_id}/images").json()["data"][0]["images"][0]["url"]
    body = {"classifiers": slug, "image_url": url, "options": options}
    answer = service.call("POST", "classify", json=body)
    assert answer.status_code == 200, answer.text
    assert ("confidence_value" in answer.json()["data"][0]) == bool(options and options.get("show_confidence_value"))


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"classifiers": []}, 400, "classifiers"),
        ({"classifiers": ["safe-for-work"] * 11}, 400, "classifiers"),
        ({}, 400, "classifiers"),
        ({"classifiers": ["no-such-thing"]}, 404, "no-such-thing"),
        (
            {"classifiers": ["safe-for-work"], "options": {"show_confidence_value": "maybe"}},
            400,
            "show_confidence_value",
        ),
    ],
)
def test_classifiers_that_cannot_be_asked_are_named(service, trained, body, status, word):
    set_id, _ = trained
    url = service.call("GET", f"training-set/{set_id}/images").json()["data"][0]["images"][0]["url"]
    answer = service.call("POST", "classify", json={**body, "image_url": url})
    assert answer.status_code == status, answer.text
    assert word in answer.json()["message"]


def test_an_untrained_classifier_says_what_it_needs(service, photos):
    service.new_set("Nothing yet")
    answer = classify(service, photo_of(photos, "hat"), "nothing-yet")
    assert answer.status_code == 409
    assert "nothing-yet" in answer.json()["message"]
    assert service.call("GET", "classifier/nothing-yet/onnx").status_code == 409
    assert state(service, "nothing-yet")["status"] == "needs_images"


def test_bad_images_are_refused_by_classify_as_by_uploads(service):
    for data in (b"", b"no image", b"\xff\xd8\xff"):
        answer = service.call(
            "POST", "classify", data={"classifiers[]": "safe-for-work"}, files={"image": ("a.jpg", data)}
        )
        assert answer.status_code == 400
        assert answer.json()["type"] == "bad_request"


@pytest.mark.parametrize("by", ["query", "json", "form"])
def test_feedback_adds_the_image_to_the_label_it_should_have_had(service, trained, photos, by):
    set_id, slug = trained
    path = photo_of(photos, "hat", {"query": 1, "json": 2, "form": 3}[by])
    found = classify(service, path, slug).json()["data"][0]
    labels = {row["label"]: row for row in service.call("GET", f"training-set/{set_id}/labels").json()["data"]}
    wanted = {"classification_id": found["id"], "correct_label_id": labels["hat"]["id"] if by == "query" else "Hat"}
    sent = {"query": {"params": wanted}, "json": {"json": wanted}, "form": {"data": wanted}}[by]
    answer = service.call("POST", "feedback/classification", **sent)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["object"], answer.json()["label"]) == ("feedback", "hat")
    after = {row["label"]: row["count"] for row in service.call("GET", f"training-set/{set_id}/labels").json()["data"]}
    assert after["hat"] == labels["hat"]["count"] + 1
    newest = service.call("GET", "feedback").json()["data"][0]
    assert newest["classification_id"] == found["id"]
    assert newest["training_image_id"] == answer.json()["training_image_id"]


def test_versions_are_listed_compared_taken_back_and_exported(service, photos, tmp_path):
    set_id, slug = service.new_set("Versions of it"), "versions-of-it"
    for label in LABELS:
        for path in sorted((photos / "train" / label).glob("*.jpg"))[12:16]:
            service.upload(set_id, label, path.read_bytes())
    first = until(lambda: state(service, slug)["status"] == "ready" and state(service, slug)["version"])
    wrong = photo_of(photos, "dress")
    service.upload(set_id, "shoes", wrong.read_bytes())
    second = until(lambda: state(service, slug)["status"] == "ready" and state(service, slug)["version"] != first
                   and state(service, slug)["version"])  # fmt: skip
    rows = service.call("GET", f"classifier/{slug}/versions").json()
    assert rows["object"] == "list"
    assert [row["version"] for row in rows["data"]] == sorted((row["version"] for row in rows["data"]), reverse=True)
    assert [row["version"] for row in rows["data"] if row["current"]] == [second]
    assert {"object", "version", "trained_at", "current", "images", "labels", "metrics"} <= set(rows["data"][0])

    changes = service.call("GET", f"classifier/{slug}/changes", params={"from": first, "to": second})
    assert changes.status_code == 200, changes.text
    for row in changes.json()["data"]:
        assert row["from_label"] != row["to_label"]
        assert row["kind"] in {"better", "worse", "sideways"}
    difference = rows["data"][0]["difference"]
    assert (difference["version"], difference["added"], difference["images"]) == (first, 1, 4 * len(LABELS))
    assert service.call("GET", f"classifier/{slug}/changes").status_code == 400
    assert service.call("GET", f"classifier/{slug}/changes", params={"from": 999, "to": second}).status_code == 404

    back = service.call("POST", f"classifier/{slug}/current", json={"version": first})
    assert (back.status_code, back.json()["version"]) == (200, first)
    assert "waiting_version" not in back.json()
    held = service.call("POST", f"classifier/{slug}/current", json={"version": first, "waiting": second}).json()
    assert (held["status"], held["version"], held["waiting_version"]) == ("ready", first, second)
    assert f"Version {second} is clearly worse than version {first}" in held["status_message"]
    assert service.call("GET", f"classifier/{slug}/versions").json()["data"][0]["waiting"] is True
    assert classify(service, photo_of(photos, "hat"), slug).json()["data"][0]["version"] == first
    assert service.call("POST", f"classifier/{slug}/current", data={"version": "999"}).status_code == 404
    assert service.call("GET", "classifier/no-such-classifier/versions").status_code == 404

    def estimated():
        found = service.call("GET", f"classifier/{slug}/forecast").json()
        return found if found["status"] != "estimating" else None

    forecast = until(estimated)
    assert (forecast["status"], forecast["version"], forecast["more"]) == ("ready", first, 50)
    assert forecast["message"].startswith("Estimated from ")
    assert [row["label"] for row in forecast["data"]] == sorted(LABELS)
    for row in forecast["data"]:
        assert 0 <= row["accuracy"] <= row["accuracy_then"] <= 1
    assert service.call("GET", "classifier/no-such-classifier/forecast").status_code == 404

    file = service.call("GET", f"classifier/{slug}/onnx")
    assert file.status_code == 200, file.text
    assert file.headers["content-type"] == "application/octet-stream"
    assert f"{slug}.onnx" in file.headers["content-disposition"]
    path = tmp_path / "classifier.onnx"
    path.write_bytes(file.content)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert sorted(json.loads(metadata["labels"])) == sorted(LABELS)
    assert metadata["classifier"] == slug
